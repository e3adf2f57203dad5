/* What the answer to a remote write request says: delivered, in part, or not understood. */
#include "gateway/forward/prometheus_reply.h"

#include <strings.h>

#include "tests/support/expect.h"

struct header {
	const char *name;
	const char *value;
};

struct answer_case {
	const char *promise;
	enum prometheus_protocol protocol;
	int status;
	const char *samples; /* headers; NULL: absent */
	const char *histograms;
	const char *exemplars;
	bool is_2_known;
	enum prometheus_answer want;
	enum verdict verdict;
	int64_t rejected;
	const char *body; /* NULL: a word */
};

#define V1    PROMETHEUS_WRITE_1
#define V2    PROMETHEUS_WRITE_2
#define PLAIN PROMETHEUS_ANSWER_PLAIN
#define IS_2  PROMETHEUS_ANSWER_2
#define NOT_2 PROMETHEUS_ANSWER_NOT_2

/* 20 samples that stand for 10 records were sent. */
static const struct answer_case cases[] = {
	{ "1.0: a success is one", V1, 200, NULL, NULL, NULL, false, PLAIN, VERDICT_DELIVERED, 0,
	  NULL },
	{ "1.0: so is an empty one", V1, 204, NULL, NULL, NULL, false, PLAIN, VERDICT_DELIVERED, 0,
	  NULL },
	{ "1.0: headers of 2.0 mean nothing", V1, 204, "0", NULL, NULL, false, PLAIN,
	  VERDICT_DELIVERED, 0, NULL },
	{ "1.0: 400 is for good", V1, 400, NULL, NULL, NULL, false, PLAIN, VERDICT_REFUSED, 0,
	  NULL },
	{ "1.0: 415 too", V1, 415, NULL, NULL, NULL, false, PLAIN, VERDICT_REFUSED, 0, NULL },
	{ "1.0: 429 is to come again", V1, 429, NULL, NULL, NULL, false, PLAIN, VERDICT_RETRY, 0,
	  NULL },
	{ "500 is to come again", V1, 500, NULL, NULL, NULL, false, PLAIN, VERDICT_RETRY, 0, NULL },
	{ "1.0: 500 for native histograms is for good", V1, 500, NULL, NULL, NULL, false, PLAIN,
	  VERDICT_REFUSED, 0, "native histograms are disabled\n" },
	{ "2.0: so it is", V2, 500, "0", "0", "0", true, IS_2, VERDICT_REFUSED, 0,
	  "native histograms are disabled\n" },
	{ "out of order too", V1, 500, NULL, NULL, NULL, false, PLAIN, VERDICT_REFUSED, 0,
	  "out-of-order native histogram ingestion is disabled\n" },
	{ "503 is to come again, whatever it says", V1, 503, NULL, NULL, NULL, false, PLAIN,
	  VERDICT_RETRY, 0, "native histograms are disabled\n" },
	{ "2.0: all written", V2, 204, "15", "5", "0", false, IS_2, VERDICT_DELIVERED, 0, NULL },
	{ "2.0: one header is enough", V2, 204, "20", NULL, NULL, false, IS_2, VERDICT_DELIVERED, 0,
	  NULL },
	{ "2.0: none written", V2, 204, "0", "0", "0", false, IS_2, VERDICT_DELIVERED, 10, NULL },
	{ "2.0: half written", V2, 200, "10", "0", "0", false, IS_2, VERDICT_DELIVERED, 5, NULL },
	{ "2.0: one missing is one record", V2, 200, "19", "0", "0", false, IS_2, VERDICT_DELIVERED,
	  1, NULL },
	{ "2.0: more than sent is a lie, and no loss", V2, 200, "999999999999999999999", NULL, NULL,
	  false, IS_2, VERDICT_DELIVERED, 0, NULL },
	{ "2.0: garbage is 0", V2, 200, "-5", "x", "", false, IS_2, VERDICT_DELIVERED, 10, NULL },
	{ "2.0: 400 with a part written is a partial success", V2, 400, "16", "0", "0", true, IS_2,
	  VERDICT_DELIVERED, 2, NULL },
	{ "2.0: 400 with nothing written is a refusal", V2, 400, "0", "0", "0", true, IS_2,
	  VERDICT_REFUSED, 0, NULL },
	{ "2.0: 400 with all written is a delivery", V2, 400, "20", "0", "0", true, IS_2,
	  VERDICT_DELIVERED, 0, NULL },
	{ "2.0: 503 is for now, whatever was written", V2, 503, "5", "0", "0", true, IS_2,
	  VERDICT_RETRY, 0, NULL },
	{ "2.0: a success without headers was swallowed", V2, 204, NULL, NULL, NULL, true, NOT_2,
	  VERDICT_RETRY, 0, NULL },
	{ "2.0: 415", V2, 415, NULL, NULL, NULL, true, NOT_2, VERDICT_REFUSED, 0, NULL },
	{ "2.0: 400 from who knows whom", V2, 400, NULL, NULL, NULL, false, NOT_2, VERDICT_REFUSED,
	  0, NULL },
	{ "2.0: 400 from a receiver of 2.0", V2, 400, NULL, NULL, NULL, true, PLAIN,
	  VERDICT_REFUSED, 0, NULL },
	{ "2.0: 401 keeps everything", V2, 401, NULL, NULL, NULL, false, PLAIN,
	  VERDICT_UNAUTHORIZED, 0, NULL },
	{ "2.0: 404 is for good", V2, 404, NULL, NULL, NULL, false, PLAIN, VERDICT_REFUSED, 0,
	  NULL },
};

static const char *header_of(void *ctx, const char *name)
{
	const struct header *h = ctx;
	for (; h->name; h++)
		if (strcasecmp(h->name, name) == 0)
			return h->value;
	return NULL;
}

START_TEST(an_answer_says)
{
	const struct answer_case *c = &cases[_i];
	struct header headers[] = {
		{ "x-prometheus-remote-write-samples-written", c->samples },
		{ "x-prometheus-remote-write-histograms-written", c->histograms },
		{ "x-prometheus-remote-write-exemplars-written", c->exemplars },
		{ NULL, NULL },
	};
	const struct http_answer a = { .status = c->status,
				       .content_type = "text/plain",
				       .body = bytes_str(c->body          ? c->body :
							 c->status >= 400 ? "why" :
									    ""),
				       .header = header_of,
				       .header_ctx = headers };
	const struct prometheus_sent sent = { .protocol = c->protocol,
					      .samples = 20,
					      .records = 10 };
	struct export_reply r;
	ck_assert_msg(prometheus_reply_read(&a, &sent, c->is_2_known, &r) == c->want, "%s",
		      c->promise);
	ck_assert_msg(r.verdict == c->verdict, "%s: %s", c->promise,
		      outcome_verdict_text(r.verdict));
	ck_assert_msg(r.rejected == c->rejected, "%s: %lld", c->promise, (long long)r.rejected);
	ck_assert_int_eq(r.status, c->status);
	/* A reason where there is something to explain. */
	bool is_fine = r.verdict == VERDICT_DELIVERED && r.rejected == 0;
	ck_assert_msg(is_fine || r.error[0], "%s", c->promise);
}
END_TEST

int main(void)
{
	return run_loop("prometheus_reply", an_answer_says,
			(int)(sizeof(cases) / sizeof(cases[0])));
}
