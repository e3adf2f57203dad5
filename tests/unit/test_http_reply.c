/* What an answer says: verdict, reason in words, and when to come again. */
#include <stdio.h>

#include "gateway/base/now.h"
#include "gateway/forward/http_reply.h"
#include "gateway/telemetry/reply.h"
#include "tests/support/expect.h"

static struct export_reply read_answer(int status, const char *content_type, struct bytes body,
				       const char *retry_after)
{
	struct http_answer a = { .status = status,
				 .content_type = content_type,
				 .retry_after = retry_after,
				 .body = body };
	struct export_reply r;
	http_reply_read(SIGNAL_LOGS, &a, &r);
	ck_assert_int_eq(r.status, status);
	return r;
}

START_TEST(the_reason_is_what_the_backend_says)
{
	static const struct {
		int status;
		const char *type;
		const char *body;
		const char *want;
	} cases[] = {
		{ 503, NULL, "", "HTTP 503" },
		{ 503, "text/plain", "try later\r\n", "HTTP 503: try later" },
		{ 503, "TEXT/PLAIN;charset=utf-8", "a\x1b[31mb\nc", "HTTP 503: a [31mb c" },
		{ 400, "application/json", "{\"code\":3,\"message\":\"too old\"}",
		  "HTTP 400: too old" },
		{ 400, "application/json; charset=utf-8", "{\"error\":\"no\"}",
		  "HTTP 400: {\"error\":\"no\"}" },
		{ 404, "text/html", "<html><h1>404</h1>", "HTTP 404" },
		{ 302, "text/html", "<html>",
		  "HTTP 302: redirects are not followed: put the final "
		  "URL into endpoint" },
		{ 500, "text/plainer", "not text", "HTTP 500" },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct export_reply r =
			read_answer(cases[i].status, cases[i].type, bytes_str(cases[i].body), NULL);
		ck_assert_str_eq(r.error, cases[i].want);
		ck_assert_int_eq(r.verdict, outcome_of_http(cases[i].status));
		ck_assert_int_eq(r.retry_after_ns, 0);
	}
}
END_TEST

START_TEST(a_long_text_is_cut)
{
	char text[5000];
	memset(text, 'x', sizeof(text));
	struct export_reply r = read_answer(500, "text/plain", bytes_of(text, sizeof(text)), NULL);
	ck_assert_uint_eq(strlen(r.error), strlen("HTTP 500: ") + 200);
}
END_TEST

START_TEST(the_later_of_retry_after_and_retry_info_counts)
{
	struct buf body;
	buf_init(&body, 4096, NULL);
	EXPECT_OK(reply_write_status(&body, 14, "queue is full", 7, false));
	static const struct {
		const char *header;
		int64_t want_s;
	} cases[] = { { NULL, 7 }, { "3", 7 }, { "30", 30 }, { "never", 7 } };
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct export_reply r = read_answer(503, "application/x-protobuf", buf_view(&body),
						    cases[i].header);
		ck_assert_int_eq(r.retry_after_ns, cases[i].want_s * NS_PER_S);
		ck_assert_str_eq(r.error, "HTTP 503: queue is full");
	}
	/* It says nothing of a refusal for good. */
	ck_assert_int_eq(read_answer(400, NULL, buf_view(&body), "30").retry_after_ns, 0);
	buf_done(&body);
}
END_TEST

START_TEST(a_success_is_one_whatever_its_body_but_for_html)
{
	static const struct {
		const char *type;
		const char *body;
		enum verdict want;
	} cases[] = {
		{ "application/x-protobuf", "", VERDICT_DELIVERED },
		{ NULL, "", VERDICT_DELIVERED },
		{ "application/json", "{}", VERDICT_DELIVERED },
		{ "application/json", "{\"partialSuccess\":", VERDICT_DELIVERED },
		{ "text/plain", "OK", VERDICT_DELIVERED },
		{ "text/html", "<html>Welcome to Airport WiFi", VERDICT_RETRY },
		{ "Text/HTML; charset=utf-8", "", VERDICT_RETRY },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct export_reply r =
			read_answer(200, cases[i].type, bytes_str(cases[i].body), NULL);
		ck_assert_int_eq(r.verdict, cases[i].want);
		ck_assert_int_eq(r.rejected, 0);
		ck_assert_int_eq(r.error[0] != '\0', r.verdict != VERDICT_DELIVERED);
	}
}
END_TEST

START_TEST(a_partial_success_says_how_many_and_why)
{
	struct export_reply r = read_answer(200, "application/json",
					    bytes_str("{\"partialSuccess\":{\"rejectedLogRecords\":"
						      "\"4\",\"errorMessage\":\"old\"}}"),
					    NULL);
	ck_assert_int_eq(r.verdict, VERDICT_DELIVERED);
	ck_assert_int_eq(r.rejected, 4);
	ck_assert_str_eq(r.error, "partial success, 4 rejected: old");
	r = read_answer(200, "application/json",
			bytes_str("{\"partialSuccess\":{\"errorMessage\":\"use gzip\"}}"), NULL);
	ck_assert_int_eq(r.rejected, 0);
	ck_assert_str_eq(r.error, "warning: use gzip");
	r = read_answer(200, "application/json",
			bytes_str("{\"partialSuccess\":{\"rejectedLogRecords\":\"-4\"}}"), NULL);
	ck_assert_int_eq(r.rejected, 0);
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		the_reason_is_what_the_backend_says,
		a_long_text_is_cut,
		the_later_of_retry_after_and_retry_info_counts,
		a_success_is_one_whatever_its_body_but_for_html,
		a_partial_success_says_how_many_and_why,
	};
	return run_cases("http_reply", cases, sizeof(cases) / sizeof(cases[0]));
}
