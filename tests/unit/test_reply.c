/* What replies promise: what we write can be read by protobuf-c, by jansson and by ourselves; what
 * a backend answers is read whatever it is, and told from HTML. */
#include "gateway/telemetry/reply.h"

#include <jansson.h>
#include <stdlib.h>

#include "proto/google/rpc/status.pb-c.h"
#include "proto/opentelemetry/collector_logs.pb-c.h"
#include "tests/support/expect.h"
#include "tests/support/wrap.h"

static struct buf out;

static void begin(void)
{
	buf_init(&out, 1 << 20, NULL);
}

static void write_status(int code, const char *message, int retry_after_s, bool is_json)
{
	buf_done(&out);
	begin();
	EXPECT_OK(reply_write_status(&out, code, message, retry_after_s, is_json));
}

START_TEST(a_status_is_googles_message)
{
	write_status(14, "the queue is full", 7, false);
	Google__Rpc__Status *status = google__rpc__status__unpack(NULL, out.n, out.p);
	ck_assert_ptr_nonnull(status);
	ck_assert_int_eq(status->code, 14);
	ck_assert_str_eq(status->message, "the queue is full");
	ck_assert_uint_eq(status->n_details, 1);
	ck_assert_str_eq(status->details[0]->type_url, "type.googleapis.com/google.rpc.RetryInfo");
	Google__Rpc__RetryInfo *info = google__rpc__retry_info__unpack(
		NULL, status->details[0]->value.len, status->details[0]->value.data);
	ck_assert_int_eq(info->retry_delay->seconds, 7);
	google__rpc__retry_info__free_unpacked(info, NULL);
	google__rpc__status__free_unpacked(status, NULL);
	write_status(3, "bad", 0, false);
	status = google__rpc__status__unpack(NULL, out.n, out.p);
	ck_assert_uint_eq(status->n_details, 0);
	google__rpc__status__free_unpacked(status, NULL);
	buf_done(&out);
}
END_TEST

START_TEST(a_status_in_json_is_protobufs_mapping)
{
	write_status(14, "a \"quote\"\nand \xff", 7, true);
	ck_assert(bytes_equal(
		buf_view(&out),
		bytes_str("{\"code\":14,\"message\":\"a \\\"quote\\\"\\nand "
			  "\xef\xbf\xbd\",\"details\":[{"
			  "\"@type\":\"type.googleapis.com/google.rpc.RetryInfo\",\"retryDelay\":"
			  "\"7s\"}]}")));
	json_t *root = json_loadb((const char *)out.p, out.n, 0, NULL);
	ck_assert_ptr_nonnull(root);
	json_decref(root);
	buf_done(&out);
}
END_TEST

START_TEST(what_is_written_reads_back)
{
	for (int is_json = 0; is_json < 2; is_json++) {
		for (int code = 0; code <= 16; code++) {
			struct reply_status status;
			write_status(code, "Grüße\tund mehr", code * 3, is_json);
			EXPECT_OK(reply_read_status(buf_view(&out), is_json, &status));
			ck_assert_int_eq(status.code, code);
			ck_assert_int_eq(status.retry_after_ms, code * 3000);
			ck_assert_str_eq(status.message, "Grüße und mehr");
		}
	}
	buf_done(&out);
}
END_TEST

START_TEST(a_body_that_is_no_status_is_told_apart)
{
	static const struct {
		const char *body;
		bool is_json;
		enum status want;
		int code;
	} cases[] = {
		{ "", false, ST_OK, 0 },
		{ "", true, ST_INVALID, 0 },
		{ "{}", true, ST_OK, 0 },
		{ "{\"code\":3}", true, ST_OK, 3 },
		{ "{\"code\":\"5\"}", true, ST_OK, 5 },
		{ "{\"code\":404,\"message\":\"no\"}", true, ST_OK, 2 },
		{ "{\"error\":\"not found\"}", true, ST_INVALID, 0 },
		{ "[]", true, ST_INVALID, 0 },
		{ "null", true, ST_INVALID, 0 },
		{ "<html>502</html>", true, ST_INVALID, 0 },
		{ "<html>502</html>", false, ST_INVALID, 0 },
		{ "404 page not found\n", false, ST_INVALID, 0 },
		{ "no healthy upstream", false, ST_INVALID, 0 },
		{ "Bad Gateway", false, ST_INVALID, 0 },
		{ "\x08\x08", false, ST_OK, 8 },
		{ "\x08\x7f", false, ST_OK, 2 },
		{ "\x0a\x01x", false, ST_INVALID, 0 },
		{ "\x12\x05x", false, ST_INVALID, 0 },
		{ "\x22\x01x", false, ST_INVALID, 0 },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct reply_status status = { .code = 0 };
		enum status st =
			reply_read_status(bytes_str(cases[i].body), cases[i].is_json, &status);
		ck_assert_msg(st == cases[i].want, "%s is %s", cases[i].body, status_name(st));
		ck_assert_int_eq(status.code, cases[i].code);
	}
}
END_TEST

START_TEST(delays_are_read_with_sense)
{
	static const struct {
		const char *text;
		int64_t ms;
	} cases[] = { { "1.5s", 1500 },     { "0s", 0 },           { "-3s", 0 }, { "0.0001s", 1 },
		      { "5", 0 },           { "5m", 0 },           { "", 0 },    { "nans", 0 },
		      { "infs", 86400000 }, { "1e300s", 86400000 } };
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct reply_status status;
		begin();
		EXPECT_OK(buf_printf(&out,
				     "{\"code\":14,\"details\":[{\"@type\":\"x\"},{\"@type\":"
				     "\"type.googleapis.com/google.rpc.RetryInfo\",\"retryDelay\":"
				     "\"%s\"}]}",
				     cases[i].text));
		EXPECT_OK(reply_read_status(buf_view(&out), true, &status));
		ck_assert_msg(status.retry_after_ms == cases[i].ms, "%s", cases[i].text);
		buf_done(&out);
	}
}
END_TEST

START_TEST(hostile_replies_are_survived)
{
	/* Deep in JSON, long in protobuf, and cut at every byte. */
	struct reply_status status;
	begin();
	for (int i = 0; i < 10000; i++)
		EXPECT_OK(buf_append_str(&out, "[{\"a\":"));
	EXPECT_STATUS(reply_read_status(buf_view(&out), true, &status), ST_INVALID);
	buf_clear(&out);
	EXPECT_OK(buf_append_str(&out, "{\"code\":1,\"message\":\""));
	for (int i = 0; i < 70000; i++)
		EXPECT_OK(buf_append_byte(&out, 'x'));
	EXPECT_OK(buf_append_str(&out, "\"}"));
	EXPECT_STATUS(reply_read_status(buf_view(&out), true, &status), ST_INVALID);
	char text[1001];
	memset(text, 'x', 1000);
	text[1000] = '\0';
	write_status(14, text, 5, false);
	EXPECT_OK(reply_read_status(buf_view(&out), false, &status));
	ck_assert_uint_eq(strlen(status.message), sizeof(status.message) - 1);
	write_status(14, "short", 5, false);
	for (size_t n = 0; n < out.n; n++) {
		uint8_t *cut = malloc(n + 1);
		memcpy(cut, out.p, n);
		(void)!reply_read_status(bytes_of(cut, n), false, &status);
		free(cut);
	}
	buf_done(&out);
}
END_TEST

START_TEST(partial_success_is_read_in_both_forms)
{
	static const struct {
		enum signal signal;
		bool is_json;
		const char *body;
		enum status want;
		int64_t rejected;
		const char *message;
	} cases[] = {
		{ SIGNAL_LOGS, false, "", ST_OK, 0, "" },
		{ SIGNAL_LOGS, true, "", ST_OK, 0, "" },
		{ SIGNAL_LOGS, true, "{}", ST_OK, 0, "" },
		{ SIGNAL_LOGS, true, "{\"partialSuccess\":{}}", ST_OK, 0, "" },
		{ SIGNAL_LOGS, true,
		  "{\"partialSuccess\":{\"rejectedLogRecords\":\"3\",\"errorMessage\":\"old\"}}",
		  ST_OK, 3, "old" },
		{ SIGNAL_TRACES, true, "{\"partialSuccess\":{\"rejectedSpans\":4}}", ST_OK, 4, "" },
		{ SIGNAL_METRICS, true, "{\"partialSuccess\":{\"rejectedDataPoints\":5}}", ST_OK, 5,
		  "" },
		{ SIGNAL_METRICS, true, "{\"partialSuccess\":{\"rejectedDataPoints\":-5}}", ST_OK,
		  0, "" },
		{ SIGNAL_METRICS, true, "oops", ST_INVALID, 0, "" },
		{ SIGNAL_METRICS, false, "\x0a\x06\x08\x05\x12\x02no", ST_OK, 5, "no" },
		{ SIGNAL_METRICS, false, "\x0a\x04\x12\x02no", ST_OK, 0, "no" },
		{ SIGNAL_METRICS, false, "\x0a\x04\x12\x09no", ST_INVALID, 0, "" },
		{ SIGNAL_METRICS, false, "<html>", ST_INVALID, 0, "" },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct reply_partial partial = { .rejected = 0 };
		enum status st = reply_read_partial(cases[i].signal, bytes_str(cases[i].body),
						    cases[i].is_json, &partial);
		ck_assert_msg(st == cases[i].want, "%s", cases[i].body);
		ck_assert_int_eq(partial.rejected, cases[i].rejected);
		ck_assert_str_eq(partial.message, cases[i].message);
	}
}
END_TEST

START_TEST(partial_success_agrees_with_protobuf_c)
{
	typedef Opentelemetry__Proto__Collector__Logs__V1__ExportLogsPartialSuccess partial_message;
	typedef Opentelemetry__Proto__Collector__Logs__V1__ExportLogsServiceResponse
		response_message;
	partial_message partial =
		OPENTELEMETRY__PROTO__COLLECTOR__LOGS__V1__EXPORT_LOGS_PARTIAL_SUCCESS__INIT;
	response_message response =
		OPENTELEMETRY__PROTO__COLLECTOR__LOGS__V1__EXPORT_LOGS_SERVICE_RESPONSE__INIT;
	char message[] = "too old";
	partial.rejected_log_records = INT64_C(1) << 40;
	partial.error_message = message;
	response.partial_success = &partial;
	uint8_t packed[100];
	size_t n = opentelemetry__proto__collector__logs__v1__export_logs_service_response__pack(
		&response, packed);
	struct reply_partial read;
	EXPECT_OK(reply_read_partial(SIGNAL_LOGS, bytes_of(packed, n), false, &read));
	ck_assert_int_eq(read.rejected, INT64_C(1) << 40);
	ck_assert_str_eq(read.message, "too old");
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		a_status_is_googles_message,
		a_status_in_json_is_protobufs_mapping,
		what_is_written_reads_back,
		a_body_that_is_no_status_is_told_apart,
		delays_are_read_with_sense,
		hostile_replies_are_survived,
		partial_success_is_read_in_both_forms,
		partial_success_agrees_with_protobuf_c,
	};
	return run_cases("reply", cases, sizeof(cases) / sizeof(cases[0]));
}
