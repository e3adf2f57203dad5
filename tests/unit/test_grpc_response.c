/* What an answer to a gRPC export means, from whole ones to those of servers that mean ill. */
#include <stdio.h>

#include "gateway/base/grpc_status.h"
#include "gateway/base/now.h"
#include "gateway/forward/grpc_response.h"
#include "gateway/telemetry/reply.h"
#include "tests/support/expect.h"

/* Headers and trailers of an answer, name and value by turns. */
static struct export_reply read_all(const char *const *headers, struct bytes data, size_t step,
				    enum encoding encoding)
{
	struct grpc_response r;
	struct export_reply reply;
	grpc_response_init(&r);
	for (; headers[0]; headers += 2)
		grpc_response_header(&r, bytes_str(headers[0]), bytes_str(headers[1]));
	for (size_t at = 0; at < data.n; at += step)
		grpc_response_data(&r,
				   bytes_of(data.p + at, data.n - at < step ? data.n - at : step));
	grpc_response_read(&r, SIGNAL_LOGS, encoding, NULL, &reply);
	grpc_response_done(&r);
	return reply;
}

static const struct {
	const char *name;
	const char *headers[9];
	const char *data; /* without prefix */
	enum encoding encoding;
	enum verdict want;
	int status;
	const char *error;
} rows[] = {
	{ "success",
	  { ":status", "200", "content-type", "application/grpc", "grpc-status", "0" },
	  "",
	  ENCODING_GZIP,
	  VERDICT_DELIVERED,
	  0,
	  "" },
	{ "success with a content type of its own",
	  { ":status", "200", "content-type", "application/grpc+proto", "grpc-status", "0" },
	  "",
	  ENCODING_GZIP,
	  VERDICT_DELIVERED,
	  0,
	  "" },
	{ "partial success",
	  { ":status", "200", "content-type", "application/grpc", "grpc-status", "0" },
	  "\x0a\x07\x08\x02\x12\x03old",
	  ENCODING_GZIP,
	  VERDICT_DELIVERED,
	  0,
	  "partial success, 2 rejected: old" },
	{ "success with nonsense behind it: never sent again",
	  { ":status", "200", "content-type", "application/grpc", "grpc-status", "0" },
	  "\x0a\xff",
	  ENCODING_GZIP,
	  VERDICT_DELIVERED,
	  0,
	  "" },
	{ "a failure with an encoded message",
	  { ":status", "200", "content-type", "application/grpc", "grpc-status", "3",
	    "grpc-message", "100%25%0Abad" },
	  "",
	  ENCODING_GZIP,
	  VERDICT_REFUSED,
	  3,
	  "grpc INVALID_ARGUMENT: 100% bad" },
	{ "a failure without a word",
	  { ":status", "200", "content-type", "application/grpc", "grpc-status", "13" },
	  "",
	  ENCODING_GZIP,
	  VERDICT_RETRY,
	  13,
	  "grpc INTERNAL" },
	{ "a code that does not exist",
	  { ":status", "200", "content-type", "application/grpc", "grpc-status", "77" },
	  "",
	  ENCODING_GZIP,
	  VERDICT_RETRY,
	  77,
	  "grpc UNKNOWN" },
	{ "a code that is no number is no success",
	  { ":status", "200", "content-type", "application/grpc", "grpc-status", "zero" },
	  "",
	  ENCODING_GZIP,
	  VERDICT_RETRY,
	  2,
	  "grpc UNKNOWN" },
	{ "no trailers",
	  { ":status", "200", "content-type", "application/grpc" },
	  "",
	  ENCODING_GZIP,
	  VERDICT_RETRY,
	  200,
	  "the answer ended without a grpc-status" },
	{ "a captive portal",
	  { ":status", "200", "content-type", "text/html", "grpc-status", "0" },
	  "<html>",
	  ENCODING_GZIP,
	  VERDICT_RETRY,
	  200,
	  "HTTP 200 with" },
	{ "a page that is no HTML",
	  { ":status", "200", "content-type", "text/plain" },
	  "hello",
	  ENCODING_GZIP,
	  VERDICT_RETRY,
	  200,
	  "HTTP 200 with content type \"text/plain\", which is no gRPC answer" },
	{ "a proxy without its backend",
	  { ":status", "502", "content-type", "text/plain", "retry-after", "7" },
	  "upstream is gone",
	  ENCODING_GZIP,
	  VERDICT_RETRY,
	  502,
	  "HTTP 502: upstream is gone" },
	{ "a proxy that asks who we are",
	  { ":status", "401" },
	  "",
	  ENCODING_GZIP,
	  VERDICT_UNAUTHORIZED,
	  401,
	  "HTTP 401" },
	{ "a proxy with a limit",
	  { ":status", "413", "content-type", "text/html" },
	  "",
	  ENCODING_GZIP,
	  VERDICT_TOO_LARGE,
	  413,
	  "HTTP 413" },
	{ "no such service",
	  { ":status", "200", "content-type", "application/grpc", "grpc-status", "12",
	    "grpc-message", "unknown service LogsService" },
	  "",
	  ENCODING_GZIP,
	  VERDICT_REFUSED,
	  12,
	  "grpc UNIMPLEMENTED: unknown service LogsService" },
	{ "grpc-go cannot decompress",
	  { ":status", "200", "content-type", "application/grpc", "grpc-status", "12",
	    "grpc-message", "grpc: Decompressor is not installed for grpc-encoding \"gzip\"" },
	  "",
	  ENCODING_GZIP,
	  VERDICT_ENCODING,
	  12,
	  "grpc UNIMPLEMENTED" },
	{ "a server lists what it accepts",
	  { ":status", "200", "content-type", "application/grpc", "grpc-status", "12",
	    "grpc-accept-encoding", "identity,deflate" },
	  "",
	  ENCODING_GZIP,
	  VERDICT_ENCODING,
	  12,
	  "grpc UNIMPLEMENTED" },
	{ "and what we sent is in the list",
	  { ":status", "200", "content-type", "application/grpc", "grpc-status", "12",
	    "grpc-accept-encoding", "identity,gzip" },
	  "",
	  ENCODING_GZIP,
	  VERDICT_REFUSED,
	  12,
	  "grpc UNIMPLEMENTED" },
	{ "grpc-core does not know the name",
	  { ":status", "200", "content-type", "application/grpc", "grpc-status", "13",
	    "grpc-message", "Error parsing 'grpc-encoding' metadata" },
	  "",
	  ENCODING_ZSTD,
	  VERDICT_ENCODING,
	  13,
	  "grpc INTERNAL" },
	{ "there is nothing weaker than none",
	  { ":status", "200", "content-type", "application/grpc", "grpc-status", "12",
	    "grpc-accept-encoding", "gzip" },
	  "",
	  ENCODING_NONE,
	  VERDICT_REFUSED,
	  12,
	  "grpc UNIMPLEMENTED" },
};
enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

START_TEST(each_answer_has_its_verdict_and_its_words)
{
	for (size_t step = 1; step <= 64; step *= 4) {
		struct buf data;
		bool is_grpc = strstr(rows[_i].headers[3] ? rows[_i].headers[3] : "", "grpc");
		uint8_t prefix[GRPC_FRAME_PREFIX_SIZE];
		size_t n = strlen(rows[_i].data);
		buf_init(&data, 1000, NULL);
		grpc_frame_write_prefix(prefix, false, (uint32_t)n);
		if (is_grpc)
			EXPECT_OK(buf_append(&data, bytes_of(prefix, sizeof(prefix))));
		EXPECT_OK(buf_append_str(&data, rows[_i].data));
		struct export_reply r =
			read_all(rows[_i].headers, buf_view(&data), step, rows[_i].encoding);
		ck_assert_msg(r.verdict == rows[_i].want, "%s: %d, %s", rows[_i].name, r.verdict,
			      r.error);
		ck_assert_int_eq(r.status, rows[_i].status);
		ck_assert_msg(strncmp(r.error, rows[_i].error, strlen(rows[_i].error)) == 0,
			      "%s: %s", rows[_i].name, r.error);
		if (!rows[_i].error[0])
			ck_assert_str_eq(r.error, "");
		buf_done(&data);
	}
}
END_TEST

START_TEST(retry_info_says_when_to_come_again)
{
	static const struct {
		int code;
		int seconds;
		enum verdict verdict;
		int64_t want_s;
	} cases[] = {
		{ 14, 5, VERDICT_RETRY, 5 },
		{ 8, 30, VERDICT_RETRY, 30 },
		{ 14, 1000000, VERDICT_RETRY, 3600 },
		{ 3, 5, VERDICT_REFUSED, 0 },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf details;
		struct buf text;
		char code[8];
		buf_init(&details, 1000, NULL);
		buf_init(&text, 1000, NULL);
		EXPECT_OK(reply_write_status(&details, cases[i].code, "larger than life",
					     cases[i].seconds, false));
		EXPECT_OK(grpc_base64_encode(&text, buf_view(&details)));
		EXPECT_OK(buf_append_byte(&text, 0));
		(void)snprintf(code, sizeof(code), "%d", cases[i].code);
		const char *headers[] = { ":status",
					  "200",
					  "content-type",
					  "application/grpc",
					  "grpc-status",
					  code,
					  "grpc-status-details-bin",
					  (const char *)text.p,
					  NULL };
		struct export_reply r = read_all(headers, bytes_of(NULL, 0), 1, ENCODING_GZIP);
		ck_assert_int_eq(r.verdict, cases[i].verdict);
		ck_assert_int_eq(r.retry_after_ns, cases[i].want_s * NS_PER_S);
		/* Without a grpc-message, the details' own. */
		ck_assert_ptr_nonnull(strstr(r.error, "larger than life"));
		buf_done(&details);
		buf_done(&text);
	}
}
END_TEST

START_TEST(no_answer_is_too_large_or_too_odd)
{
	const char *const headers[] = {
		":status", "200", "content-type", "application/grpc", "grpc-status", "0", NULL
	};
	struct buf data;
	buf_init(&data, 1 << 20, NULL);
	/* A message over what is kept; a compressed one; two; a flag that does not exist. */
	static const uint8_t prefixes[][GRPC_FRAME_PREFIX_SIZE] = { { 0, 0, 2, 0, 0 },
								    { 1, 0, 0, 0, 9 },
								    { 0, 0xff, 0xff, 0xff, 0xff },
								    { 7, 0, 0, 0, 0 } };
	for (size_t i = 0; i < 4; i++) {
		buf_clear(&data);
		EXPECT_OK(buf_append(&data, bytes_of(prefixes[i], 5)));
		for (size_t k = 0; k < 200000; k++)
			EXPECT_OK(buf_append_byte(&data, (uint8_t)k));
		struct export_reply r = read_all(headers, buf_view(&data), 16384, ENCODING_GZIP);
		ck_assert_int_eq(r.verdict, VERDICT_DELIVERED);
		ck_assert_int_eq(r.rejected, 0);
	}
	buf_done(&data);
}
END_TEST

int main(void)
{
	const TTest *const cases[] = { retry_info_says_when_to_come_again,
				       no_answer_is_too_large_or_too_odd };
	int failed = run_cases("grpc_response", cases, sizeof(cases) / sizeof(cases[0]));
	return failed |
	       run_loop("grpc_response rows", each_answer_has_its_verdict_and_its_words, ROWS);
}
