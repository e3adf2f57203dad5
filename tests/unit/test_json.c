/* What JSON promises: protobuf to JSON and back loses nothing that OTLP knows, OTLP's own rules are
 * kept to, and a bad document is refused with its path and line. */
#include "gateway/telemetry/json.h"

#include <jansson.h>
#include <stdlib.h>

#include "gateway/telemetry/scan.h"
#include "tests/support/expect.h"
#include "tests/support/otlp_build.h"
#include "tests/support/otlp_oracle.h"
#include "tests/support/wrap.h"

static struct arena arena;
static struct buf body;
static struct buf text;
static struct buf back;
static struct err err;

static void begin(void)
{
	arena_init(&arena, 64 << 20, NULL);
	buf_init(&body, 64 << 20, NULL);
	buf_init(&text, 64 << 20, NULL);
	buf_init(&back, 64 << 20, NULL);
	err.text[0] = '\0';
}

static void end(void)
{
	arena_done(&arena);
	buf_done(&body);
	buf_done(&text);
	buf_done(&back);
}

static void append(const char *bytes, size_t n)
{
	EXPECT_OK(buf_append(&body, bytes_of(bytes, n)));
}

/* body to text to back. */
static void round_trip(enum signal signal)
{
	buf_clear(&text);
	buf_clear(&back);
	EXPECT_OK(otlp_to_json(signal, buf_view(&body), &text, &err));
	ck_assert_msg(json_to_otlp(signal, buf_view(&text), &back, &err) == ST_OK, "%s in %.*s",
		      err.text, (int)text.n, (const char *)text.p);
}

/* What the JSON of a body is. */
static void expect_json(enum signal signal, const char *want)
{
	buf_clear(&text);
	EXPECT_OK(otlp_to_json(signal, buf_view(&body), &text, &err));
	EXPECT_OK(buf_append_byte(&text, 0));
	ck_assert_str_eq((const char *)text.p, want);
	text.n--;
}

START_TEST(protobuf_to_json_and_back_is_the_same_request)
{
	for (int signal = 0; signal < SIGNAL_COUNT; signal++) {
		for (uint64_t seed = 1; seed < 10; seed++) {
			begin();
			struct otlp_build b = { .signal = (enum signal)signal,
						.records = 3 * seed,
						.resources = 1 + seed % 3,
						.seed = seed,
						.critical_percent = 30 };
			otlp_build(&b, &body);
			round_trip(b.signal);
			struct bytes want = oracle_repack(b.signal, buf_view(&body), &arena);
			struct bytes got = oracle_repack(b.signal, buf_view(&back), &arena);
			ck_assert_ptr_nonnull(want.p);
			ck_assert(bytes_equal(want, got));
			ck_assert_ptr_null(memchr(text.p, '\n', text.n));
			json_t *root = json_loadb((const char *)text.p, text.n, 0, NULL);
			ck_assert_ptr_nonnull(root);
			json_decref(root);
			end();
		}
	}
}
END_TEST

/* One document with every field of a signal, in the order that we write: text to protobuf to text.
 */
static const char every_span_field[] =
	"{\"resourceSpans\":[{\"resource\":{\"attributes\":[{\"key\":\"s\",\"value\":{"
	"\"stringValue\":"
	"\"\"}},{\"key\":\"b\",\"value\":{\"boolValue\":false}},{\"key\":\"i\",\"value\":{"
	"\"intValue\":"
	"\"-9223372036854775808\"}},{\"key\":\"d\",\"value\":{\"doubleValue\":0.1}},{\"key\":\"a\","
	"\"value\":{\"arrayValue\":{\"values\":[{\"intValue\":\"0\"},{},{\"arrayValue\":{}}]}}},{"
	"\"key\":\"m\",\"value\":{\"kvlistValue\":{\"values\":[{\"key\":\"k\",\"value\":{"
	"\"bytesValue\":\"AP8=\"}}]}}},{\"key\":\"e\",\"value\":{}}],\"droppedAttributesCount\":1,"
	"\"entityRefs\":[{\"schemaUrl\":\"u\",\"type\":\"t\",\"idKeys\":[\"s\",\"\"],"
	"\"descriptionKeys\":[\"b\"]}]},\"scopeSpans\":[{\"scope\":{\"name\":\"n\",\"version\":"
	"\"v\","
	"\"attributes\":[{\"key\":\"x\"}],\"droppedAttributesCount\":2},\"spans\":[{\"traceId\":"
	"\"5b8efff798038103d269b633813fc60c\",\"spanId\":\"eee19b7ec3c1b174\",\"traceState\":\"a="
	"b\","
	"\"parentSpanId\":\"eee19b7ec3c1b173\",\"name\":\"I'm a server\",\"kind\":2,"
	"\"startTimeUnixNano\":\"1544712660000000000\",\"endTimeUnixNano\":"
	"\"18446744073709551615\","
	"\"attributes\":[{\"key\":\"k\",\"value\":{\"stringValue\":\"v\"}}],"
	"\"droppedAttributesCount\":4294967295,\"events\":[{\"timeUnixNano\":\"1\",\"name\":\"e\","
	"\"attributes\":[{\"key\":\"k\"}],\"droppedAttributesCount\":3}],\"droppedEventsCount\":4,"
	"\"links\":[{\"traceId\":\"00000000000000000000000000000000\",\"spanId\":"
	"\"ffffffffffffffff\",\"traceState\":\"c\",\"attributes\":[{"
	"\"key\":\"k\"}],\"droppedAttributesCount\":5,\"flags\":257}],\"droppedLinksCount\":6,"
	"\"status\":{\"message\":\"m\",\"code\":2},\"flags\":4294967295}],\"schemaUrl\":\"u2\"}],"
	"\"schemaUrl\":\"u3\"}]}";

static const char every_log_field[] =
	"{\"resourceLogs\":[{\"resource\":{},\"scopeLogs\":[{\"scope\":{},\"logRecords\":[{"
	"\"timeUnixNano\":\"1\",\"severityNumber\":-1,\"severityText\":\"ERROR\",\"body\":{"
	"\"stringValue\":\"a\\u0000b\\\"\\\\\\n\\r\\t\\u001f/\xe2\x82\xac\xf0\x9f\x8c\x8a\"},"
	"\"attributes\":[{\"key\":\"k\",\"value\":{}}],\"droppedAttributesCount\":1,\"flags\":1,"
	"\"traceId\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\",\"spanId\":\"bbbbbbbbbbbbbbbb\","
	"\"observedTimeUnixNano\":\"2\",\"eventName\":\"n\"},{"
	"}],"
	"\"schemaUrl\":\"u\"}],\"schemaUrl\":\"u\"}]}";

static const char every_metric_field[] =
	"{\"resourceMetrics\":[{\"scopeMetrics\":[{\"metrics\":[{\"name\":\"n\",\"description\":"
	"\"d\","
	"\"unit\":\"u\",\"gauge\":{\"dataPoints\":[{\"startTimeUnixNano\":\"1\",\"timeUnixNano\":"
	"\"2\","
	"\"asDouble\":0,\"exemplars\":[{\"timeUnixNano\":\"3\",\"spanId\":\"0101010101010101\","
	"\"traceId\":"
	"\"02020202020202020202020202020202\","
	"\"asInt\":\"-4\",\"filteredAttributes\":[{\"key\":\"k\"}]},{\"asDouble\":\"NaN\"}],"
	"\"attributes\":[{\"key\":\"k\"}],\"flags\":1},{\"asInt\":\"0\"}]},\"metadata\":[{\"key\":"
	"\"k\"}]},{\"sum\":{\"dataPoints\":[{\"asDouble\":\"-Infinity\"},{\"asDouble\":"
	"\"Infinity\"},{"
	"\"asDouble\":-0.0},{\"asDouble\":1e+300},{\"asDouble\":4.94065645841247e-324},{"
	"\"asDouble\":"
	"1.7976931348623157e+308}],\"aggregationTemporality\":2,\"isMonotonic\":true}},{"
	"\"histogram\":{"
	"\"dataPoints\":[{\"count\":\"6\",\"sum\":0,\"bucketCounts\":[\"0\","
	"\"18446744073709551615\"],"
	"\"explicitBounds\":[-1.5,2],\"min\":0,\"max\":0}],\"aggregationTemporality\":1}},{"
	"\"exponentialHistogram\":{\"dataPoints\":[{\"attributes\":[{\"key\":\"k\"}],\"count\":"
	"\"1\","
	"\"sum\":1.5,\"scale\":-10,\"zeroCount\":\"2\",\"positive\":{\"offset\":-2147483648,"
	"\"bucketCounts\":[\"1\",\"300\"]},\"negative\":{},\"flags\":1,\"exemplars\":[{}],\"min\":-"
	"1,"
	"\"max\":1,\"zeroThreshold\":0.25}]}},{\"summary\":{\"dataPoints\":[{\"count\":\"1\","
	"\"sum\":2,"
	"\"quantileValues\":[{\"quantile\":0.99,\"value\":3},{}]}]}},{\"gauge\":{}}]}]}]}";

START_TEST(every_field_survives_json_to_protobuf_to_json)
{
	static const struct {
		enum signal signal;
		const char *json;
	} cases[] = { { SIGNAL_TRACES, every_span_field },
		      { SIGNAL_LOGS, every_log_field },
		      { SIGNAL_METRICS, every_metric_field },
		      { SIGNAL_LOGS, "{}" } };
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		begin();
		enum status st =
			json_to_otlp(cases[i].signal, bytes_str(cases[i].json), &body, &err);
		ck_assert_msg(st == ST_OK, "%s", err.text);
		struct scan scan;
		EXPECT_OK(
			scan_request(cases[i].signal, buf_view(&body), NULL, &arena, &scan, &err));
		ck_assert(body.n == 0 || oracle_repack(cases[i].signal, buf_view(&body), &arena).p);
		expect_json(cases[i].signal, cases[i].json);
		end();
	}
}
END_TEST

/* The fields of a data point, as they came and as we write them. */
static void expect_point(const char *what, const char *in, const char *out)
{
	static const char head[] = "{\"resourceMetrics\":[{\"scopeMetrics\":[{\"metrics\":[{"
				   "\"gauge\":{\"dataPoints\":[{";
	static const char tail[] = "}]}}]}]}]}";
	struct buf want;
	begin();
	buf_init(&want, 1 << 20, NULL);
	EXPECT_OK(buf_printf(&want, "%s%s%s", head, out, tail));
	EXPECT_OK(buf_printf(&back, "%s%s%s", head, in, tail));
	enum status st = json_to_otlp(SIGNAL_METRICS, buf_view(&back), &body, &err);
	ck_assert_msg(st == ST_OK, "%s: %s", what, err.text);
	EXPECT_OK(otlp_to_json(SIGNAL_METRICS, buf_view(&body), &text, &err));
	ck_assert_msg(bytes_equal(buf_view(&text), buf_view(&want)), "%s: %.*s", what, (int)text.n,
		      (const char *)text.p);
	buf_done(&want);
	end();
}

/* Forms of input that are not the ones that we write. */
START_TEST(all_legal_forms_of_a_value_are_taken)
{
	static const struct {
		const char *what;
		const char *in;  /* fields of a data point */
		const char *out; /* what we write for them */
	} cases[] = {
		{ "a 64-bit integer as a number", "\"timeUnixNano\":1544712660000000000",
		  "\"timeUnixNano\":\"1544712660000000000\"" },
		{ "one past 2^63", "\"timeUnixNano\":18446744073709551615",
		  "\"timeUnixNano\":\"18446744073709551615\"" },
		{ "one in exponent form", "\"timeUnixNano\":1.7e18",
		  "\"timeUnixNano\":\"1700000000000000000\"" },
		{ "that in a string", "\"timeUnixNano\":\"1.7E+18\"",
		  "\"timeUnixNano\":\"1700000000000000000\"" },
		{ "an exact one with a fraction of 0", "\"asInt\":9007199254740993.0",
		  "\"asInt\":\"9007199254740993\"" },
		{ "a negative one", "\"asInt\":-5", "\"asInt\":\"-5\"" },
		{ "a double in a string", "\"asDouble\":\"2.5\"", "\"asDouble\":2.5" },
		{ "a double without a fraction", "\"asDouble\":3", "\"asDouble\":3" },
		{ "a large double", "\"asDouble\":12345678901234567890",
		  "\"asDouble\":1.2345678901234567e+19" },
		{ "an integer in a string for 32 bits", "\"flags\":\"1\"", "\"flags\":1" },
		{ "null is absence", "\"asInt\":null,\"attributes\":null,\"flags\":1",
		  "\"flags\":1" },
		{ "unknown keys are ignored",
		  "\"x\":[1,{\"y\":[true,false,null,\"\\u20ac\",-1.5e-3]},{},[]],\"flags\":1",
		  "\"flags\":1" },
		{ "snake_case is unknown", "\"as_int\":\"5\",\"flags\":1", "\"flags\":1" },
		{ "a key with escapes", "\"fl\\u0061gs\":1", "\"flags\":1" },
		{ "white space", " \n\t\"flags\"\r : 1 ", "\"flags\":1" },
		{ "ids in upper case",
		  "\"exemplars\":[{\"traceId\":\"ABcdABcdABcdABcdABcdABcdABcdABcd\"}]",
		  "\"exemplars\":[{\"traceId\":\"abcdabcdabcdabcdabcdabcdabcdabcd\"}]" },
		{ "a null among messages", "\"exemplars\":[null]", "\"exemplars\":[{}]" },
		{ "base64 without padding", "\"attributes\":[{\"value\":{\"bytesValue\":\"AP8\"}}]",
		  "\"attributes\":[{\"value\":{\"bytesValue\":\"AP8=\"}}]" },
		{ "base64 for URLs", "\"attributes\":[{\"value\":{\"bytesValue\":\"-_-_\"}}]",
		  "\"attributes\":[{\"value\":{\"bytesValue\":\"+/+/\"}}]" },
		{ "base64 with escaped slashes",
		  "\"attributes\":[{\"value\":{\"bytesValue\":\"+\\/+\\/\"}}]",
		  "\"attributes\":[{\"value\":{\"bytesValue\":\"+/+/\"}}]" },
		{ "a surrogate pair", "\"attributes\":[{\"key\":\"\\ud83C\\udf0a\\b\\f\"}]",
		  "\"attributes\":[{\"key\":\"\xf0\x9f\x8c\x8a\\u0008\\u000c\"}]" },
		{ "a oneof with a null", "\"asInt\":null,\"asDouble\":2", "\"asDouble\":2" },
		{ "a number of 67 characters",
		  "\"asDouble\":0."
		  "0000000000"
		  "0000000000"
		  "0000000000"
		  "0000000000"
		  "0000000000"
		  "0000000000"
		  "12345",
		  "\"asDouble\":1.2345e-61" },
		{ "defaults are not written",
		  "\"flags\":0,\"startTimeUnixNano\":\"0\",\"attributes\":[]", "" },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		expect_point(cases[i].what, cases[i].in, cases[i].out);
}
END_TEST

/* As the field twice on the wire. */
START_TEST(of_a_key_that_stands_twice_the_last_value_counts)
{
	expect_point("a number", "\"flags\":1,\"flags\":2", "\"flags\":2");
	expect_point("a default", "\"flags\":1,\"startTimeUnixNano\":\"7\",\"flags\":0",
		     "\"startTimeUnixNano\":\"7\"");
	expect_point("an empty text", "\"attributes\":[{\"key\":\"a\",\"key\":\"\"}]",
		     "\"attributes\":[{}]");
	expect_point("in another message",
		     "\"exemplars\":[{\"asInt\":\"1\"},{\"asInt\":\"0\"}],\"flags\":1,\"flags\":0",
		     "\"exemplars\":[{\"asInt\":\"1\"},{\"asInt\":\"0\"}]");
}
END_TEST

static const struct {
	const char *json;
	const char *error;
} bad_documents[] = {
	{ "", "expected an object on line 1, byte 0" },
	{ "[]", "expected an object on line 1, byte 0" },
	{ "{", "expected a string on line 1, byte 1" },
	{ "{} x", "something behind the end of the document on line 1, byte 3" },
	{ "{}\n\n{}", "something behind the end of the document on line 3, byte 4" },
	{ "{\"resourceSpans\":{}}", "resourceSpans: expected an array on line 1, byte 17" },
	{ "{\"resourceSpans\":[1]}", "resourceSpans[0]: expected an object on line 1, byte 18" },
	{ "{\"resourceSpans\":[{} {}]}", "resourceSpans[0]: expected , or ] on line 1, byte 21" },
	{ "{\"resourceSpans\":[{},]}", "resourceSpans[1]: expected an object on line 1, byte 21" },
	{ "{\"resourceSpans\":[\n{},\n{\"scopeSpans\":[{\"spans\":[{},{\"traceId\":\"xy\"}]"
	  "}]}]}",
	  "resourceSpans[1].scopeSpans[0].spans[1].traceId: a trace id has 32 hex digits "
	  "or none on "
	  "line 3, byte 66" },
	{ "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{\"traceId\":\"abc\"}]}]}]}",
	  "resourceSpans[0].scopeSpans[0].spans[0].traceId: a trace id has 32 hex digits "
	  "or none on "
	  "line 1, byte 59" },
	{ "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{\"kind\":\"SPAN_KIND_SERVER\"}"
	  "]}]}]}",
	  "resourceSpans[0].scopeSpans[0].spans[0].kind: OTLP wants a number here, and no "
	  "string on "
	  "line 1, byte 51" },
	{ "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{\"attributes\":[{\"value\":"
	  "{\"intValue\":\"1\",\"stringValue\":\"a\"}}]}]}]}]}",
	  "resourceSpans[0].scopeSpans[0].spans[0].attributes[0].value.stringValue: a second "
	  "value where OTLP has room for one on line 1, byte 97" },
	{ "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{\"startTimeUnixNano\":1.5}]}]}"
	  "]}",
	  "resourceSpans[0].scopeSpans[0].spans[0].startTimeUnixNano: not a whole number "
	  "from 0 to "
	  "2^64 - 1 on line 1, byte 67" },
	{ "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{\"startTimeUnixNano\":-1}]}]}]"
	  "}",
	  "resourceSpans[0].scopeSpans[0].spans[0].startTimeUnixNano: not a whole number "
	  "from 0 to "
	  "2^64 - 1 on line 1, byte 66" },
	{ "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{\"endTimeUnixNano\":"
	  "18446744073709551616}]}]}]}",
	  "resourceSpans[0].scopeSpans[0].spans[0].endTimeUnixNano: not a whole number "
	  "from 0 to "
	  "2^64 - 1 on line 1, byte 82" },
	{ "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{\"flags\":4294967296}]}]}]}",
	  "resourceSpans[0].scopeSpans[0].spans[0].flags: larger than 2^32 - 1 on line 1, "
	  "byte 62" },
	{ "{\"resourceSpans\":[{\"schemaUrl\":5}]}",
	  "resourceSpans[0].schemaUrl: expected a string on line 1, byte 31" },
	{ "{\"resourceSpans\":[{\"schemaUrl\":\"\xff\"}]}",
	  "resourceSpans[0].schemaUrl: not valid UTF-8 on line 1, byte 32" },
	{ "{\"resourceSpans\":[{\"schemaUrl\":\"\\ud800\"}]}",
	  "resourceSpans[0].schemaUrl: half of a surrogate pair on line 1, byte 38" },
	{ "{\"resourceSpans\":[{\"schemaUrl\":\"\\x\"}]}",
	  "resourceSpans[0].schemaUrl: an escape that JSON does not have on line 1, byte "
	  "34" },
	{ "{\"resourceSpans\":[{\"schemaUrl\":\"a\nb\"}]}",
	  "resourceSpans[0].schemaUrl: a control character in a string on line 1, byte "
	  "33" },
	{ "{\"resourceSpans\":[{\"schemaUrl\":\"a",
	  "resourceSpans[0].schemaUrl: a string that does not end on line 1, byte 33" },
	{ "{\"x\":01}", "expected a value on line 1, byte 5" },
	{ "{\"x\":1 2}", "expected , or } on line 1, byte 7" },
	{ "{\"x\":+1}", "expected a value on line 1, byte 5" },
	{ "{\"x\":nul}", "expected a value on line 1, byte 5" },
	{ "{'x':1}", "expected a string on line 1, byte 1" },
	{ "{\"x\" 1}", "expected : on line 1, byte 5" },
	{ "{\"x\":1,}", "expected a string on line 1, byte 7" },
};

START_TEST(bad_documents_are_refused_with_path_and_line)
{
	for (size_t i = 0; i < sizeof(bad_documents) / sizeof(bad_documents[0]); i++) {
		begin();
		EXPECT_OK(buf_append_str(&body, "before"));
		enum status st =
			json_to_otlp(SIGNAL_TRACES, bytes_str(bad_documents[i].json), &body, &err);
		ck_assert_msg(st == ST_INVALID, "%s was taken", bad_documents[i].json);
		ck_assert_str_eq(err.text, bad_documents[i].error);
		ck_assert(bytes_equal(buf_view(&body), bytes_str("before")));
		end();
	}
}
END_TEST

START_TEST(ids_have_their_length_or_none)
{
	static const struct {
		const char *span;
		const char *error; /* NULL: taken */
	} cases[] = {
		{ "{\"traceId\":\"\",\"spanId\":\"\"}", NULL },
		{ "{\"traceId\":\"abcd\"}", "traceId: a trace id has 32 hex digits or none" },
		{ "{\"parentSpanId\":\"5b8efff798038103d269b633813fc60c\"}",
		  "parentSpanId: a span id has 16 hex digits or none" },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		begin();
		EXPECT_OK(buf_printf(&text,
				     "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[%s]}]}]}",
				     cases[i].span));
		EXPECT_STATUS(json_to_otlp(SIGNAL_TRACES, buf_view(&text), &body, &err),
			      cases[i].error ? ST_INVALID : ST_OK);
		if (cases[i].error)
			ck_assert_ptr_nonnull(strstr(err.text, cases[i].error));
		end();
	}
}
END_TEST

START_TEST(documents_have_a_depth_limit)
{
	begin();
	for (size_t depth = 90; depth < 120; depth++) {
		buf_clear(&text);
		buf_clear(&back);
		/* 4 messages down to the body, then 2 for each array */
		EXPECT_OK(buf_append_str(&text,
					 "{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[{"
					 "\"body\":"));
		size_t arrays = (depth - 4) / 2;
		for (size_t i = 0; i < arrays; i++)
			EXPECT_OK(buf_append_str(&text, "{\"arrayValue\":{\"values\":["));
		EXPECT_OK(buf_append_str(&text, "{}"));
		for (size_t i = 0; i < arrays; i++)
			EXPECT_OK(buf_append_str(&text, "]}}"));
		EXPECT_OK(buf_append_str(&text, "}]}]}]}"));
		enum status st = json_to_otlp(SIGNAL_LOGS, buf_view(&text), &back, &err);
		ck_assert_int_eq(st, 4 + 2 * arrays <= SCAN_DEPTH_MAX ? ST_OK : ST_INVALID);
		struct scan scan;
		if (st == ST_OK)
			EXPECT_OK(scan_request(SIGNAL_LOGS, buf_view(&back), NULL, &arena, &scan,
					       &err));
	}
	static const char *const repeated[] = { "[", "{\"a\":", "{\"resourceLogs\":[",
						"{\"arrayValue\":{\"values\":[" };
	static const size_t bytes[] = { 225, 1105, 1875, 1844 }; /* of the first that is too deep */
	for (size_t i = 0; i < sizeof(repeated) / sizeof(repeated[0]); i++) {
		buf_clear(&text);
		EXPECT_OK(buf_append_str(&text, "{\"x\":"));
		for (int k = 0; k < 10000; k++)
			EXPECT_OK(buf_append_str(&text, repeated[i]));
		EXPECT_STATUS(json_to_otlp(SIGNAL_LOGS, buf_view(&text), &back, &err), ST_INVALID);
		char want[96];
		(void)snprintf(want, sizeof(want),
			       "arrays and objects nested too deep on line 1, byte %zu", bytes[i]);
		ck_assert_str_eq(err.text, want);
	}
	end();
}
END_TEST

START_TEST(a_document_cut_or_changed_anywhere_is_survived)
{
	static const struct {
		enum signal signal;
		const char *json;
	} cases[] = { { SIGNAL_TRACES, every_span_field },
		      { SIGNAL_LOGS, every_log_field },
		      { SIGNAL_METRICS, every_metric_field } };
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		begin();
		size_t whole = strlen(cases[i].json);
		for (size_t n = 0; n < whole; n++) {
			char *cut = malloc(n + 1);
			memcpy(cut, cases[i].json, n);
			EXPECT_STATUS(json_to_otlp(cases[i].signal, bytes_of(cut, n), &body, &err),
				      ST_INVALID);
			free(cut);
		}
		char *copy = strdup(cases[i].json);
		for (size_t n = 0; n < whole; n++) {
			copy[n] ^= 0x11;
			buf_clear(&body);
			struct scan scan;
			enum status st =
				json_to_otlp(cases[i].signal, bytes_of(copy, whole), &body, &err);
			/* A metric may have got two kinds of data; all else that passes is sound.
			 */
			if (st == ST_OK && cases[i].signal != SIGNAL_METRICS)
				EXPECT_OK(scan_request(cases[i].signal, buf_view(&body), NULL,
						       &arena, &scan, &err));
			copy[n] ^= 0x11;
		}
		free(copy);
		end();
	}
}
END_TEST

START_TEST(scattered_parts_come_together)
{
	begin();
	/* Two names, events and links in turns, a status in two pieces. */
	append("\x2a\x03old\x5a\x03\x12\x01"
	       "1\x6a\x03\x1a\x01"
	       "a\x7a\x03\x12\x01m\x5a\x03\x12\x01"
	       "2\x2a\x03new\x6a\x03\x1a\x01"
	       "b\x7a\x02\x18\x02",
	       39);
	WRAP(&body, 2, 2, 1);
	expect_json(
		SIGNAL_TRACES,
		"{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{\"name\":\"new\",\"events\":[{"
		"\"name\":\"1\"},{\"name\":\"2\"}],\"links\":[{\"traceState\":\"a\"},{"
		"\"traceState\":"
		"\"b\"}],\"status\":{\"message\":\"m\",\"code\":2}}]}]}]}");
	/* Packed numbers in two fields, and one that is not packed. */
	body.n = 0;
	append("\x12\x02\x01\x02\x10\x03\x12\x01\x04\x12\x00", 11);
	WRAP(&body, 8, 1, 10, 2, 2, 1);
	expect_json(
		SIGNAL_METRICS,
		"{\"resourceMetrics\":[{\"scopeMetrics\":[{\"metrics\":[{\"exponentialHistogram\":{"
		"\"dataPoints\":[{\"positive\":{\"bucketCounts\":[\"1\",\"2\",\"3\",\"4\"]}}]}}]}]}"
		"]}");
	/* Requests behind one another are one. */
	body.n = 0;
	append("\x0a\x03\x1a\x01x\x0a\x03\x1a\x01y", 10);
	expect_json(SIGNAL_LOGS,
		    "{\"resourceLogs\":[{\"schemaUrl\":\"x\"},{\"schemaUrl\":\"y\"}]}");
	end();
}
END_TEST

START_TEST(unknown_fields_are_left_out)
{
	begin();
	append("\xa2\x06\x03xyz\x2a\x01n\xa0\x06\x01", 12);
	WRAP(&body, 2, 2, 1);
	expect_json(SIGNAL_TRACES,
		    "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{\"name\":\"n\"}]}]}]}");
	end();
}
END_TEST

START_TEST(damaged_bytes_never_become_bad_json)
{
	for (int signal = 0; signal < SIGNAL_COUNT; signal++) {
		begin();
		struct otlp_build b = { .signal = (enum signal)signal, .records = 2, .seed = 6 };
		otlp_build(&b, &body);
		for (size_t i = 0; i < body.n; i++) {
			uint8_t before = body.p[i];
			for (int bit = 0; bit < 8; bit += 3) {
				body.p[i] = (uint8_t)(before ^ 1 << bit);
				buf_clear(&text);
				enum status st =
					otlp_to_json(b.signal, buf_view(&body), &text, &err);
				if (st) {
					ck_assert_int_eq(st, ST_INVALID);
					ck_assert_uint_eq(text.n, 0);
					continue;
				}
				json_t *root = json_loadb((const char *)text.p, text.n,
							  JSON_ALLOW_NUL, NULL);
				ck_assert_ptr_nonnull(root);
				json_decref(root);
			}
			body.p[i] = before;
		}
		end();
	}
}
END_TEST

START_TEST(deep_stored_bytes_are_refused)
{
	begin();
	/* ArrayValue in AnyValue, again and again. */
	for (int i = 0; i < 60; i++)
		WRAP(&body, 1, 5);
	WRAP(&body, 5, 2, 2, 1);
	EXPECT_STATUS(otlp_to_json(SIGNAL_LOGS, buf_view(&body), &text, &err), ST_INVALID);
	ck_assert_str_eq(err.text, "stored logs: nested deeper than 100 messages");
	end();
}
END_TEST

START_TEST(a_full_buffer_is_too_large_and_nothing_stays)
{
	begin();
	for (size_t max = 1; max < 600; max += 13) {
		buf_done(&back);
		buf_init(&back, max, NULL);
		enum status st =
			json_to_otlp(SIGNAL_TRACES, bytes_str(every_span_field), &back, &err);
		ck_assert(st == ST_OK || (st == ST_TOO_LARGE && back.n == 0));
		ck_assert(st == ST_TOO_LARGE || max > 300);
	}
	EXPECT_OK(json_to_otlp(SIGNAL_TRACES, bytes_str(every_span_field), &body, &err));
	for (size_t max = 1; max < strlen(every_span_field); max += 13) {
		buf_done(&text);
		buf_init(&text, max, NULL);
		EXPECT_STATUS(otlp_to_json(SIGNAL_TRACES, buf_view(&body), &text, &err),
			      ST_TOO_LARGE);
		ck_assert_uint_eq(text.n, 0);
	}
	end();
}
END_TEST

START_TEST(doubles_come_back_to_the_bit)
{
	static const uint64_t fixed[] = { 1, UINT64_C(0x7fefffffffffffff),
					  UINT64_C(0x3ff0000000000001),
					  UINT64_C(0x433fffffffffffff),
					  UINT64_C(0x8000000000000000) };
	uint64_t bits = 88172645463325252u;
	for (int i = 0; i < 20000; i++) {
		begin();
		bits ^= bits << 13;
		bits ^= bits >> 7;
		bits ^= bits << 17;
		uint64_t value = i < 5 ? fixed[i] : bits;
		if ((value >> 52 & 0x7ff) == 0x7ff)
			value &= ~(UINT64_C(1) << 62);
		append("\x21", 1);
		EXPECT_OK(wire_put_fixed64(&body, value));
		WRAP(&body, 1, 5, 2, 2, 1);
		round_trip(SIGNAL_METRICS);
		ck_assert(bytes_equal(buf_view(&body), buf_view(&back)));
		end();
	}
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		protobuf_to_json_and_back_is_the_same_request,
		every_field_survives_json_to_protobuf_to_json,
		all_legal_forms_of_a_value_are_taken,
		of_a_key_that_stands_twice_the_last_value_counts,
		bad_documents_are_refused_with_path_and_line,
		ids_have_their_length_or_none,
		documents_have_a_depth_limit,
		a_document_cut_or_changed_anywhere_is_survived,
		scattered_parts_come_together,
		unknown_fields_are_left_out,
		damaged_bytes_never_become_bad_json,
		deep_stored_bytes_are_refused,
		a_full_buffer_is_too_large_and_nothing_stays,
		doubles_come_back_to_the_bit,
	};
	return run_cases("json", cases, sizeof(cases) / sizeof(cases[0]));
}
