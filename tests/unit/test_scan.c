/* What the scan promises: it counts what protobuf-c would count, finds the class of each record,
 * and refuses what is damaged, hostile or not UTF-8 with the field's path and byte. */
#include "gateway/telemetry/scan.h"

#include <stdlib.h>

#include "tests/support/expect.h"
#include "tests/support/otlp_build.h"
#include "tests/support/otlp_oracle.h"
#include "tests/support/wrap.h"

static struct arena arena;
static struct buf body;
static struct err err;

static void begin(void)
{
	arena_init(&arena, 64 << 20, NULL);
	buf_init(&body, 64 << 20, NULL);
	err.text[0] = '\0';
}

static void end(void)
{
	arena_done(&arena);
	buf_done(&body);
}

static void append(const char *bytes, size_t n)
{
	EXPECT_OK(buf_append(&body, bytes_of(bytes, n)));
}

static enum status scan_body(enum signal signal, struct scan *ret)
{
	arena_clear(&arena);
	return scan_request(signal, buf_view(&body), NULL, &arena, ret, &err);
}

START_TEST(it_counts_what_protobuf_c_counts)
{
	for (int signal = 0; signal < SIGNAL_COUNT; signal++) {
		for (uint64_t seed = 1; seed < 20; seed++) {
			begin();
			struct otlp_build b = { .signal = (enum signal)signal,
						.records = seed * 7,
						.resources = 1 + seed % 4,
						.scopes = 1 + seed % 3,
						.seed = seed,
						.critical_percent = 20,
						.warning_percent = 20 };
			otlp_build(&b, &body);
			struct scan scan;
			EXPECT_OK(scan_body(b.signal, &scan));
			size_t records = 0;
			ck_assert(oracle_count(b.signal, buf_view(&body), &arena, &records));
			ck_assert_uint_eq(scan.all.records, records);
			ck_assert_uint_eq(scan.all.records, b.records);
			ck_assert(bytes_equal(scan.all.service, bytes_str("service-0")));
			ck_assert_uint_gt(scan.all.preview.n, 3);
			ck_assert_int_eq(scan.all.first_time_ns, INT64_C(1767225600000000000));
			ck_assert_int_ge(scan.all.last_time_ns,
					 scan.all.first_time_ns + (int64_t)(records - 1) * 1000000);
			ck_assert(!scan.needs_attributes);
			end();
		}
	}
}
END_TEST

START_TEST(all_five_kinds_of_metric_count_their_points)
{
	static const uint32_t kinds[] = { 5, 7, 9, 10, 11 };
	for (size_t i = 0; i < 5; i++) {
		begin();
		append("\x0a\x00\x0a\x00\x0a\x00", 6); /* three empty points */
		WRAP(&body, kinds[i]);
		append("\x0a\x04tide", 6); /* the name, behind the data */
		WRAP(&body, 2, 2, 1);
		struct scan scan;
		EXPECT_OK(scan_body(SIGNAL_METRICS, &scan));
		ck_assert_uint_eq(scan.all.records, 3);
		ck_assert_uint_eq(scan.of_class[RECORD_CLASS_INFO].records, 3);
		ck_assert(bytes_equal(scan.all.preview, bytes_str("tide")));
		ck_assert_int_eq(scan.all.first_time_ns, 0);
		end();
	}
}
END_TEST

START_TEST(a_metric_with_two_kinds_of_data_is_refused)
{
	begin();
	append("\x0a\x00", 2);
	WRAP(&body, 5);
	append("\x3a\x02\x0a\x00", 4);
	WRAP(&body, 2, 2, 1);
	struct scan scan;
	EXPECT_STATUS(scan_body(SIGNAL_METRICS, &scan), ST_INVALID);
	ck_assert_str_eq(err.text, "resource_metrics.scope_metrics.metrics.sum: a metric with two "
				   "values for its data at byte 10");
	end();
}
END_TEST

START_TEST(the_class_follows_the_rules)
{
	static const struct {
		const char *what;
		enum signal signal;
		const char *record;
		size_t n;
		enum record_class class;
	} cases[] = {
		{ "a log without severity", SIGNAL_LOGS, "", 0, RECORD_CLASS_INFO },
		{ "INFO4", SIGNAL_LOGS, "\x10\x0c", 2, RECORD_CLASS_INFO },
		{ "WARN", SIGNAL_LOGS, "\x10\x0d", 2, RECORD_CLASS_WARNING },
		{ "WARN4", SIGNAL_LOGS, "\x10\x10", 2, RECORD_CLASS_WARNING },
		{ "ERROR", SIGNAL_LOGS, "\x10\x11", 2, RECORD_CLASS_CRITICAL },
		{ "FATAL4", SIGNAL_LOGS, "\x10\x18", 2, RECORD_CLASS_CRITICAL },
		{ "a severity below 0", SIGNAL_LOGS, "\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
		  11, RECORD_CLASS_INFO },
		{ "ERROR and then INFO: the last wins", SIGNAL_LOGS, "\x10\x11\x10\x09", 4,
		  RECORD_CLASS_INFO },
		{ "a span without status", SIGNAL_TRACES, "", 0, RECORD_CLASS_INFO },
		{ "an empty status", SIGNAL_TRACES, "\x7a\x00", 2, RECORD_CLASS_INFO },
		{ "status OK", SIGNAL_TRACES, "\x7a\x02\x18\x01", 4, RECORD_CLASS_INFO },
		{ "status ERROR", SIGNAL_TRACES, "\x7a\x02\x18\x02", 4, RECORD_CLASS_CRITICAL },
		{ "ERROR in a status of two parts", SIGNAL_TRACES,
		  "\x7a\x02\x18\x02\x7a\x03\x12\x01x", 9, RECORD_CLASS_CRITICAL },
		{ "a kind of 2 is no status", SIGNAL_TRACES, "\x30\x02", 2, RECORD_CLASS_INFO },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		begin();
		append(cases[i].record, cases[i].n);
		WRAP(&body, 2, 2, 1);
		struct scan scan;
		EXPECT_OK(scan_body(cases[i].signal, &scan));
		ck_assert_msg(scan.of_class[cases[i].class].records == 1, "%s", cases[i].what);
		ck_assert_uint_eq(scan.all.records, 1);
		end();
	}
}
END_TEST

/* {record fields} as the only log record, scanned. */
static void scan_log(const char *record, size_t n, struct scan *ret)
{
	body.n = 0;
	append(record, n);
	WRAP(&body, 2, 2, 1);
	EXPECT_OK(scan_body(SIGNAL_LOGS, ret));
}

START_TEST(times_come_from_the_field_that_counts)
{
	begin();
	struct scan scan;
	scan_log("\x09\x05\0\0\0\0\0\0\0\x59\x09\0\0\0\0\0\0\0", 18, &scan);
	ck_assert_int_eq(scan.all.first_time_ns, 5);
	ck_assert_int_eq(scan.all.last_time_ns, 5);
	scan_log("\x59\x09\0\0\0\0\0\0\0", 9, &scan);
	ck_assert_int_eq(scan.all.first_time_ns, 9);
	scan_log("\x09\xff\xff\xff\xff\xff\xff\xff\xff", 9, &scan);
	ck_assert_int_eq(scan.all.last_time_ns, 0);
	body.n = 0;
	append("\x39\x05\0\0\0\0\0\0\0\x41\x09\0\0\0\0\0\0\0", 18);
	WRAP(&body, 2, 2, 1);
	EXPECT_OK(scan_body(SIGNAL_TRACES, &scan));
	ck_assert_int_eq(scan.all.first_time_ns, 5);
	ck_assert_int_eq(scan.all.last_time_ns, 9);
	end();
}
END_TEST

START_TEST(a_preview_is_cut_between_characters)
{
	begin();
	for (int i = 0; i < 41; i++)
		append("\xe2\x82\xac", 3);
	WRAP(&body, 1, 5, 2, 2, 1); /* the string of a log's body */
	struct scan scan;
	EXPECT_OK(scan_body(SIGNAL_LOGS, &scan));
	ck_assert_uint_eq(scan.all.preview.n, 120);
	body.n = 0;
	append("x", 1);
	for (int i = 0; i < 41; i++)
		append("\xe2\x82\xac", 3);
	WRAP(&body, 1, 5, 2, 2, 1);
	EXPECT_OK(scan_body(SIGNAL_LOGS, &scan));
	ck_assert_uint_eq(scan.all.preview.n, 118);
	end();
}
END_TEST

START_TEST(damage_is_named_by_path_and_byte)
{
	static const struct {
		const char *text; /* what the error ends with */
		uint32_t wrap[6]; /* from the inside out */
		const char *inner;
		size_t n;
	} cases[] = {
		{ "resource_spans.scope_spans.spans.name: not valid UTF-8 at byte 10",
		  { 2, 2, 1 },
		  "\x2a\x03it\xff",
		  5 },
		{ "resource_spans.schema_url: not valid UTF-8 at byte 4",
		  { 1 },
		  "\x1a\x01\x80",
		  3 },
		{ "resource_spans.resource.attributes.key: not valid UTF-8 at byte 8",
		  { 1, 1, 1 },
		  "\x0a\x01\xc0",
		  3 },
		{ "resource_spans.scope_spans.spans.attributes.value.string_value: not valid UTF-8 "
		  "at "
		  "byte 12",
		  { 2, 9, 2, 2, 1 },
		  "\x0a\x01\xff",
		  3 },
		{ "resource_spans.scope_spans.spans: the message ends within a varint at byte 6",
		  { 2, 2, 1 },
		  "\x80",
		  1 },
		{ "resource_spans.scope_spans.spans.kind: the message ends within a varint at byte "
		  "7",
		  { 2, 2, 1 },
		  "\x30\xff",
		  2 },
		{ "resource_spans.scope_spans.spans.trace_id: a length runs past the end of its "
		  "message "
		  "at byte 7",
		  { 2, 2, 1 },
		  "\x0a\x10xy",
		  4 },
		{ "resource_spans.scope_spans.spans.name: the wire type is not that of this field "
		  "at "
		  "byte 6",
		  { 2, 2, 1 },
		  "\x28\x01",
		  2 },
		{ "resource_spans.scope_spans.spans.flags: the wire type is not that of this field "
		  "at "
		  "byte 6",
		  { 2, 2, 1 },
		  "\x80\x01\x01",
		  3 },
		{ "resource_spans.scope_spans.spans.flags: the message ends within a fixed-size "
		  "number "
		  "at byte 8",
		  { 2, 2, 1 },
		  "\x85\x01\x01\x02\x03",
		  5 },
		{ "resource_spans.scope_spans: a group, which OTLP does not have at byte 4",
		  { 2, 1 },
		  "\xf3\x01\xf4\x01",
		  4 },
		{ "not a legal field number at byte 0", { 0 }, "\x00\x01", 2 },
		{ "a wire type that does not exist at byte 0", { 0 }, "nope", 4 },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		begin();
		append(cases[i].inner, cases[i].n);
		for (size_t k = 0; cases[i].wrap[k]; k++)
			WRAP(&body, cases[i].wrap[k]);
		struct scan scan;
		EXPECT_STATUS(scan_body(SIGNAL_TRACES, &scan), ST_INVALID);
		ck_assert_str_eq(err.text, cases[i].text);
		end();
	}
}
END_TEST

START_TEST(ids_have_their_length_or_none)
{
	/* By the field of a span: trace_id, span_id, parent_span_id. */
	static const struct {
		uint32_t number;
		size_t size;
	} ids[] = { { 1, 16 }, { 2, 8 }, { 4, 8 } };
	static const uint8_t bytes[17];
	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		for (size_t n = 0; n <= sizeof(bytes); n++) {
			begin();
			EXPECT_OK(wire_put_bytes(&body, ids[i].number, bytes_of(bytes, n)));
			WRAP(&body, 2, 2, 1);
			struct scan scan;
			bool is_good = n == 0 || n == ids[i].size;
			EXPECT_STATUS(scan_body(SIGNAL_TRACES, &scan),
				      is_good ? ST_OK : ST_INVALID);
			if (!is_good)
				ck_assert_ptr_nonnull(
					strstr(err.text, ids[i].size == 16 ?
								 "a trace id has 16 bytes or none" :
								 "a span id has 8 bytes or none"));
			end();
		}
	}
}
END_TEST

START_TEST(damage_in_packed_numbers_is_found)
{
	begin();
	append("\x32\x0c"
	       "123456781234",
	       14); /* bucket_counts: twelve bytes */
	WRAP(&body, 1, 9, 2, 2, 1);
	struct scan scan;
	EXPECT_STATUS(scan_body(SIGNAL_METRICS, &scan), ST_INVALID);
	ck_assert_ptr_nonnull(strstr(err.text, "histogram.data_points.bucket_counts: a packed"));
	body.n = 0;
	append("\x12\x02\x01\x80", 4); /* Buckets.bucket_counts: a cut varint */
	WRAP(&body, 8, 1, 10, 2, 2, 1);
	EXPECT_STATUS(scan_body(SIGNAL_METRICS, &scan), ST_INVALID);
	ck_assert_ptr_nonnull(strstr(err.text, "positive.bucket_counts: the message ends"));
	body.n = 0;
	append("\x12\x02\x01\x7f\x10\x05", 6); /* packed, and one that is not: both are legal */
	WRAP(&body, 8, 1, 10, 2, 2, 1);
	EXPECT_OK(scan_body(SIGNAL_METRICS, &scan));
	end();
}
END_TEST

/* AnyValue in ArrayValue in AnyValue ... as the body of a log, `messages` deep in all. */
static void build_deep(size_t messages)
{
	body.n = 0;
	size_t nested = messages - 4; /* request's fields: envelope, scope, record, body */
	size_t need = nested * 5;
	uint8_t *text = malloc(need + 1);
	size_t at = need;
	size_t n = 0;
	for (size_t i = 0; i < nested; i++) {
		/* From the inside out, written backwards. */
		size_t size = wire_varint_size(n);
		at -= size;
		for (size_t k = 0; k < size; k++)
			text[at + k] = (uint8_t)((n >> (7 * k) & 0x7f) | (k + 1 < size ? 0x80 : 0));
		text[--at] = (i + nested) % 2 ? 0x2a : 0x0a; /* values, or array_value */
		n = need - at;
	}
	append((const char *)text + at, n);
	free(text);
	WRAP(&body, 5, 2, 2, 1);
}

START_TEST(nesting_has_a_limit_and_the_stack_survives)
{
	begin();
	struct scan scan;
	build_deep(SCAN_DEPTH_MAX);
	EXPECT_OK(scan_body(SIGNAL_LOGS, &scan));
	build_deep(SCAN_DEPTH_MAX + 1);
	EXPECT_STATUS(scan_body(SIGNAL_LOGS, &scan), ST_INVALID);
	ck_assert_ptr_nonnull(strstr(err.text, "nested deeper than 100 messages"));
	build_deep(10000);
	EXPECT_STATUS(scan_body(SIGNAL_LOGS, &scan), ST_INVALID);
	ck_assert_ptr_nonnull(strstr(err.text, "resource_logs.scope_logs.log_records.body."));
	end();
}
END_TEST

/* Attributes take a short cut in the scan; it must not lead below the limit. */
START_TEST(attributes_at_the_depth_limit_count_like_other_messages)
{
	static const struct {
		int lists;  /* 3 messages each */
		int arrays; /* 2 messages each */
		enum status want;
	} cases[] = {
		{ 0, 46, ST_OK }, { 1, 45, ST_OK }, { 0, 47, ST_INVALID }, { 1, 46, ST_INVALID }
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		begin();
		append("\x0a\x01k\x12\x03\x0a\x01v", 8); /* a KeyValue */
		WRAP(&body, 1, 6); /* in a list that is an AnyValue: 7 deep in a log's body */
		for (int k = 0; k < cases[i].lists; k++)
			WRAP(&body, 2, 1, 6);
		for (int k = 0; k < cases[i].arrays; k++)
			WRAP(&body, 1, 5);
		WRAP(&body, 5, 2, 2, 1);
		struct scan scan;
		EXPECT_STATUS(scan_body(SIGNAL_LOGS, &scan), cases[i].want);
		/* Bytes instead of a string: the short cut does not take it, the answer is the
		 * same. */
		uint8_t *v = body.p + body.n - 3;
		ck_assert_uint_eq(v[0], 0x0a);
		v[0] = 0x3a;
		EXPECT_STATUS(scan_body(SIGNAL_LOGS, &scan), cases[i].want);
		end();
	}
}
END_TEST

/* 4 MB that protobuf-c would unpack to nearly 500 MB, at each depth. */
START_TEST(a_request_of_empty_messages_is_refused_at_little_cost)
{
	static const struct {
		enum signal signal;
		char tag;
		uint32_t wraps[4];
		const char *error;
	} cases[] = {
		{ SIGNAL_TRACES,
		  0x0a,
		  { 0 },
		  "resource_spans: more than 65536 empty messages, "
		  "and little else at byte 131074" },
		{ SIGNAL_METRICS,
		  0x12,
		  { 1 },
		  "resource_metrics.scope_metrics: more than 65536 "
		  "empty messages, and little else at byte 131079" },
		{ SIGNAL_LOGS,
		  0x12,
		  { 2, 1 },
		  "resource_logs.scope_logs.log_records: more than "
		  "65536 empty messages, and little else at byte "
		  "131084" },
		{ SIGNAL_TRACES,
		  0x5a,
		  { 2, 2, 1 },
		  "resource_spans.scope_spans.spans.events: more "
		  "than 65536 empty messages, and little else "
		  "at byte 131089" },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		begin();
		arena_done(&arena);
		arena_init(&arena, 64 << 10, NULL);
		const char field[] = { cases[i].tag, 0 };
		append(field, 2);
		EXPECT_OK(buf_reserve(&body, 4 << 20)); /* so that it does not move */
		while (body.n < 4 << 20)
			append((const char *)body.p, body.n);
		for (size_t k = 0; cases[i].wraps[k]; k++)
			WRAP(&body, cases[i].wraps[k]);
		struct scan scan;
		EXPECT_STATUS(scan_body(cases[i].signal, &scan), ST_INVALID);
		ck_assert_str_eq(err.text, cases[i].error);
		end();
	}
}
END_TEST

/* An empty value is a value: there may be as many of them as there are records that are some. */
START_TEST(empty_messages_among_others_are_fine)
{
	static const struct {
		const char *bytes;
		size_t n;
		enum status want;
	} records[] = {
		{ "\x12\x0b\x09\x01\0\0\0\0\0\0\0\x2a\x00", 13, ST_OK }, /* a time, no body */
		{ "\x12\x06\x10\x01\x10\x01\x10\x01", 8, ST_OK },        /* nothing is empty */
		{ "\x12\x04\x10\x09\x2a\x00", 6, ST_INVALID },
	};
	for (size_t i = 0; i < sizeof(records) / sizeof(records[0]); i++) {
		begin();
		for (size_t k = 0; k < 100000; k++)
			append(records[i].bytes, records[i].n);
		WRAP(&body, 2);
		WRAP(&body, 1);
		struct scan scan;
		EXPECT_STATUS(scan_body(SIGNAL_LOGS, &scan), records[i].want);
		if (records[i].want == ST_OK)
			ck_assert_uint_eq(scan.all.records, 100000);
		end();
	}
	/* Few are never too many, whatever else there is. */
	begin();
	for (size_t k = 0; k < 65536; k++)
		append("\x12\x00", 2);
	WRAP(&body, 2);
	WRAP(&body, 1);
	struct scan scan;
	EXPECT_OK(scan_body(SIGNAL_LOGS, &scan));
	end();
}
END_TEST

START_TEST(resources_past_the_arena_are_refused)
{
	begin();
	arena_done(&arena);
	arena_init(&arena, 64 << 10, NULL);
	for (size_t i = 0; i < 100000; i++)
		append("\x0a\x04\x12\x02\x12\x00", 6);
	struct scan scan;
	EXPECT_STATUS(scan_body(SIGNAL_LOGS, &scan), ST_TOO_LARGE);
	ck_assert_ptr_nonnull(strstr(err.text, "too many resources"));
	end();
}
END_TEST

START_TEST(a_request_cut_at_any_byte_is_taken_or_refused)
{
	for (int signal = 0; signal < SIGNAL_COUNT; signal++) {
		begin();
		struct otlp_build b = { .signal = (enum signal)signal, .records = 5, .seed = 3 };
		otlp_build(&b, &body);
		size_t whole = body.n;
		size_t taken = 0;
		for (size_t n = 0; n < whole; n++) {
			/* Memory of exactly this size: reading past it shows under ASan. */
			uint8_t *cut = malloc(n + 1);
			memcpy(cut, body.p, n);
			struct scan scan;
			enum status st =
				scan_request(b.signal, bytes_of(cut, n), NULL, &arena, &scan, &err);
			ck_assert(st == ST_OK || st == ST_INVALID);
			taken += st == ST_OK;
			free(cut);
		}
		ck_assert_uint_eq(taken, 1); /* the empty one */
		end();
	}
}
END_TEST

START_TEST(any_changed_byte_is_survived_and_what_passes_unpacks)
{
	begin();
	struct otlp_build b = { .signal = SIGNAL_TRACES, .records = 2, .seed = 4 };
	otlp_build(&b, &body);
	for (size_t i = 0; i < body.n; i++) {
		uint8_t before = body.p[i];
		for (unsigned bit = 0; bit < 8; bit++) {
			body.p[i] = (uint8_t)(before ^ 1u << bit);
			struct scan scan;
			enum status st = scan_body(SIGNAL_TRACES, &scan);
			size_t records = 0;
			if (st == ST_OK) {
				ck_assert(oracle_count(SIGNAL_TRACES, buf_view(&body), &arena,
						       &records));
				ck_assert_uint_eq(scan.all.records, records);
			} else {
				ck_assert_int_eq(st, ST_INVALID);
			}
		}
		body.p[i] = before;
	}
	end();
}
END_TEST

START_TEST(unknown_fields_and_odd_but_legal_encodings_pass)
{
	begin();
	/* Unknown varint, fixed64, bytes (not UTF-8), fixed32; tags and lengths longer than need
	 * be. */
	append("\xa0\x06\x01\xa1\x06"
	       "12345678\xa2\x06\x02\xff\xfe\xa5\x06"
	       "1234",
	       24);
	append("\xaa\x00\x84\x00name", 8);
	append("\x0a\x00\x12\x00\x22\x00", 6); /* ids that are set, to nothing */
	WRAP(&body, 2, 2, 1);
	append("\xa0\x06\x01", 3);
	struct scan scan;
	EXPECT_OK(scan_body(SIGNAL_TRACES, &scan));
	ck_assert_uint_eq(scan.all.records, 1);
	ck_assert(bytes_equal(scan.all.preview, bytes_str("name")));
	end();
}
END_TEST

START_TEST(each_class_has_its_own_summary)
{
	begin();
	struct otlp_build calm = {
		.signal = SIGNAL_LOGS, .records = 3, .seed = 1, .time_ns = 1000
	};
	struct otlp_build bad = { .signal = SIGNAL_LOGS,
				  .records = 2,
				  .resources = 2,
				  .seed = 2,
				  .critical_percent = 100,
				  .time_ns = 900000000 };
	otlp_build(&calm, &body);
	body.p[body.n - 1] = '9'; /* another schema_url, the same length */
	otlp_build(&bad, &body);
	struct scan scan;
	EXPECT_OK(scan_body(SIGNAL_LOGS, &scan));
	ck_assert_uint_eq(scan.all.records, 5);
	ck_assert_uint_eq(scan.resource_count, 3);
	const struct scan_summary *info = &scan.of_class[RECORD_CLASS_INFO];
	const struct scan_summary *critical = &scan.of_class[RECORD_CLASS_CRITICAL];
	ck_assert_uint_eq(info->records, 3);
	ck_assert_uint_eq(critical->records, 2);
	ck_assert_int_eq(info->first_time_ns, 1000);
	ck_assert_int_eq(info->last_time_ns, 2001000);
	ck_assert_int_eq(critical->first_time_ns, 900000000);
	ck_assert_int_eq(scan.all.first_time_ns, 1000);
	ck_assert_int_eq(scan.all.last_time_ns, critical->last_time_ns);
	ck_assert_uint_eq(scan.of_class[RECORD_CLASS_WARNING].records, 0);
	ck_assert(bytes_equal(critical->service, bytes_str("service-0")));
	end();
}
END_TEST

START_TEST(it_says_which_requests_lack_an_attribute)
{
	struct attributes add = { 0 };
	EXPECT_OK(attributes_insert(&add, "host.name", "ours", NULL));
	begin();
	struct otlp_build b = { .signal = SIGNAL_METRICS, .records = 9, .resources = 3, .seed = 5 };
	otlp_build(&b, &body);
	struct scan scan;
	EXPECT_OK(scan_request(b.signal, buf_view(&body), &add, &arena, &scan, &err));
	ck_assert(!scan.needs_attributes); /* each resource has a host.name */
	append("\x0a\x08\x12\x06\x12\x04\x2a\x02\x0a\x00", 10);
	EXPECT_OK(scan_request(b.signal, buf_view(&body), &add, &arena, &scan, &err));
	ck_assert(scan.needs_attributes);
	/* One without records does not matter. */
	body.n -= 10;
	append("\x0a\x00", 2);
	EXPECT_OK(scan_request(b.signal, buf_view(&body), &add, &arena, &scan, &err));
	ck_assert(!scan.needs_attributes);
	attributes_done(&add);
	end();
}
END_TEST

START_TEST(an_inserted_service_name_is_the_service)
{
	struct attributes add = { 0 };
	EXPECT_OK(attributes_insert(&add, "service.name", "inserted", NULL));
	begin();
	append("\x0a\x04\x12\x02\x12\x00", 6);
	struct scan scan;
	EXPECT_OK(scan_request(SIGNAL_LOGS, buf_view(&body), &add, &arena, &scan, &err));
	ck_assert(bytes_equal(scan.all.service, bytes_str("inserted")));
	EXPECT_OK(scan_body(SIGNAL_LOGS, &scan));
	ck_assert_uint_eq(scan.all.service.n, 0);
	attributes_done(&add);
	end();
}
END_TEST

START_TEST(an_empty_request_is_fine)
{
	begin();
	struct scan scan;
	EXPECT_OK(scan_request(SIGNAL_TRACES, bytes_of(NULL, 0), NULL, &arena, &scan, &err));
	ck_assert_uint_eq(scan.all.records, 0);
	end();
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		it_counts_what_protobuf_c_counts,
		all_five_kinds_of_metric_count_their_points,
		a_metric_with_two_kinds_of_data_is_refused,
		the_class_follows_the_rules,
		times_come_from_the_field_that_counts,
		a_preview_is_cut_between_characters,
		damage_is_named_by_path_and_byte,
		ids_have_their_length_or_none,
		damage_in_packed_numbers_is_found,
		nesting_has_a_limit_and_the_stack_survives,
		attributes_at_the_depth_limit_count_like_other_messages,
		a_request_of_empty_messages_is_refused_at_little_cost,
		empty_messages_among_others_are_fine,
		resources_past_the_arena_are_refused,
		a_request_cut_at_any_byte_is_taken_or_refused,
		any_changed_byte_is_survived_and_what_passes_unpacks,
		unknown_fields_and_odd_but_legal_encodings_pass,
		each_class_has_its_own_summary,
		it_says_which_requests_lack_an_attribute,
		an_inserted_service_name_is_the_service,
		an_empty_request_is_fine,
	};
	return run_cases("scan", cases, sizeof(cases) / sizeof(cases[0]));
}
