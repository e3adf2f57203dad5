/* From OTLP to a push: names, labels, order, limits, times, and nothing but a push for damaged
 * bytes. What Loki makes of it is in tests/integration/it_loki_takes_what_was_sent.py. */
#include <stdio.h>

#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"
#include "gateway/forward/loki_convert.h"
#include "tests/support/expect.h"
#include "tests/support/otlp_build.h"
#include "tests/support/wrap.h"

enum { OUT_MAX = 64 << 20 };

static struct loki_form form_of(bool is_json)
{
	return (struct loki_form){ .labels = { { .attribute = bytes_str("service.name"),
						 .name = bytes_str("service_name") } },
				   .label_count = 1,
				   .max_line = 256 * 1024,
				   .is_json = is_json };
}

static enum status convert(const struct loki_form *form, struct bytes otlp, struct buf *out,
			   struct loki_push *push)
{
	struct loki_member member = { .raw_bytes = otlp.n, .received_at_ns = 77 };
	struct loki_source source = {
		.otlp = otlp, .class = RECORD_CLASS_WARNING, .members = &member, .member_count = 1
	};
	return loki_convert(form, &source, out, push, NULL);
}

START_TEST(names_are_mapped_as_loki_maps_them)
{
	static const struct {
		const char *from;
		const char *want;
	} cases[] = {
		{ "service.name", "service_name" },
		{ "a-b c/d", "a_b_c_d" },
		{ "0abc", "key_0abc" },
		{ "_a", "key_a" },
		{ "__name__", "key_name_" },
		{ ".a", "key_a" },
		{ "", "key_" },
		{ "h\xc3\xb6he", "h_he" },
		{ "\xe6\x97\xa5", "key_" },
		{ "A9_z", "A9_z" },
		{ "a..b", "a_b" },
		{ "a__b", "a_b" },
		{ "a.\xc3\xb6.b", "a_b" },
		{ "_", "key_" },
		{ "__", "key_" },
		{ "0_", "key_0_" },
	};
	struct buf out;
	buf_init(&out, 8192, NULL);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		buf_clear(&out);
		EXPECT_OK(loki_name(bytes_str(cases[i].from), &out));
		EXPECT_OK(buf_append_byte(&out, 0));
		ck_assert_str_eq((const char *)out.p, cases[i].want);
	}
	char longer[3000];
	memset(longer, '7', sizeof(longer));
	buf_clear(&out);
	EXPECT_OK(loki_name(bytes_of(longer, sizeof(longer)), &out));
	ck_assert_uint_eq(out.n, LOKI_NAME_MAX);
	buf_done(&out);
}
END_TEST

START_TEST(label_values_are_quoted_and_cut_at_whole_characters)
{
	struct buf out;
	char longer[LOKI_LABEL_VALUE_MAX + 10];
	buf_init(&out, 8192, NULL);
	EXPECT_OK(loki_label(bytes_str("a"), bytes_str("x\"\\\n\t\r\x01\x7f\xc3\xb6"), &out));
	EXPECT_OK(buf_append_byte(&out, 0));
	ck_assert_str_eq((const char *)out.p, "a=\"x\\\"\\\\\\n\\t\\r\\x01\\x7f\xc3\xb6\"");
	memset(longer, 'x', sizeof(longer));
	/* A character of two bytes across the limit. */
	longer[LOKI_LABEL_VALUE_MAX - 1] = '\xc3';
	longer[LOKI_LABEL_VALUE_MAX] = '\xb6';
	buf_clear(&out);
	EXPECT_OK(loki_label(bytes_str("a"), bytes_of(longer, sizeof(longer)), &out));
	ck_assert_uint_eq(out.n, strlen("a=\"\"") + LOKI_LABEL_VALUE_MAX - 1);
	buf_done(&out);
}
END_TEST

/* Appends a KeyValue with a string as field `number`. */
static void put_attribute(struct buf *b, uint32_t number, const char *key, const char *value)
{
	struct buf any;
	struct buf pair;
	buf_init(&any, 1 << 20, NULL);
	buf_init(&pair, 1 << 20, NULL);
	EXPECT_OK(wire_put_bytes(&any, 1, bytes_str(value)));
	EXPECT_OK(wire_put_bytes(&pair, 1, bytes_str(key)));
	EXPECT_OK(wire_put_bytes(&pair, 2, buf_view(&any)));
	EXPECT_OK(wire_put_bytes(b, number, buf_view(&pair)));
	buf_done(&any);
	buf_done(&pair);
}

/* A LogRecord with a body that is a string, and a time (0: none). */
static void put_record(struct buf *scope, uint64_t time_ns, const char *line)
{
	struct buf any;
	struct buf record;
	buf_init(&any, 1 << 20, NULL);
	buf_init(&record, 1 << 20, NULL);
	if (time_ns) {
		EXPECT_OK(wire_put_tag(&record, 1, WIRE_FIXED64));
		EXPECT_OK(wire_put_fixed64(&record, time_ns));
	}
	EXPECT_OK(wire_put_bytes(&any, 1, bytes_str(line)));
	EXPECT_OK(wire_put_bytes(&record, 5, buf_view(&any)));
	EXPECT_OK(wire_put_bytes(scope, 2, buf_view(&record)));
	buf_done(&any);
	buf_done(&record);
}

static void expect_json(struct bytes otlp, const char *want)
{
	struct loki_form form = form_of(true);
	struct loki_push push;
	struct buf out;
	buf_init(&out, OUT_MAX, NULL);
	EXPECT_OK(convert(&form, otlp, &out, &push));
	EXPECT_OK(buf_append_byte(&out, 0));
	ck_assert_str_eq((const char *)out.p, want);
	buf_done(&out);
}

START_TEST(entries_are_sorted_by_stream_and_time)
{
	struct buf b;
	struct buf resource;
	buf_init(&b, 1 << 20, NULL);
	buf_init(&resource, 1 << 20, NULL);
	put_record(&b, 30, "c");
	put_record(&b, 10, "a");
	put_record(&b, 30, "d");
	put_record(&b, 20, "b");
	put_record(&b, 0, "now");
	put_record(&b, UINT64_MAX, "never");
	WRAP(&b, 2);
	/* The resource may stand behind its scopes, and in pieces. */
	put_attribute(&resource, 1, "service.name", "s");
	EXPECT_OK(wire_put_bytes(&b, 1, buf_view(&resource)));
	buf_clear(&resource);
	put_attribute(&resource, 1, "host.name", "h");
	EXPECT_OK(wire_put_bytes(&b, 1, buf_view(&resource)));
	WRAP(&b, 1);
	expect_json(buf_view(&b),
		    "{\"streams\":[{\"stream\":{\"class\":\"warning\",\"service_name\":\"s\"},"
		    "\"values\":[[\"10\",\"a\",{\"host_name\":\"h\"}],"
		    "[\"20\",\"b\",{\"host_name\":\"h\"}],"
		    "[\"30\",\"c\",{\"host_name\":\"h\"}],"
		    "[\"30\",\"d\",{\"host_name\":\"h\"}],"
		    "[\"77\",\"now\",{\"host_name\":\"h\"}],"
		    "[\"9223372036854775807\",\"never\",{\"host_name\":\"h\"}]]}]}");
	buf_done(&b);
	buf_done(&resource);
}
END_TEST

START_TEST(streams_without_the_label_have_the_class)
{
	struct buf b;
	buf_init(&b, 1 << 20, NULL);
	put_record(&b, 1, "");
	WRAP(&b, 2, 1);
	expect_json(buf_view(&b), "{\"streams\":[{\"stream\":{\"class\":\"warning\"},\"values\":"
				  "[[\"1\",\"\"]]}]}");
	buf_done(&b);
}
END_TEST

START_TEST(protobuf_is_what_the_schema_says)
{
	struct buf b;
	struct buf out;
	struct buf want;
	struct loki_form form = form_of(false);
	struct loki_push push;
	buf_init(&b, 1 << 20, NULL);
	buf_init(&out, OUT_MAX, NULL);
	buf_init(&want, 1 << 20, NULL);
	put_record(&b, 3 * NS_PER_S + 5, "hi");
	WRAP(&b, 2, 1);
	EXPECT_OK(convert(&form, buf_view(&b), &out, &push));
	ck_assert_uint_eq(push.entries, 1);
	static const uint8_t entry[] = { 0x12, 10, 0x0a, 4, 8, 3, 0x10, 5, 0x12, 2, 'h', 'i' };
	EXPECT_OK(wire_put_bytes(&want, 1, bytes_str("{class=\"warning\"}")));
	EXPECT_OK(buf_append(&want, bytes_of(entry, sizeof(entry))));
	WRAP(&want, 1);
	ck_assert(bytes_equal(buf_view(&out), buf_view(&want)));
	buf_done(&b);
	buf_done(&out);
	buf_done(&want);
}
END_TEST

START_TEST(members_give_their_own_times)
{
	struct buf b;
	struct buf second;
	struct buf out;
	struct loki_form form = form_of(true);
	struct loki_push push;
	buf_init(&b, 1 << 20, NULL);
	buf_init(&second, 1 << 20, NULL);
	buf_init(&out, OUT_MAX, NULL);
	put_record(&b, 0, "first");
	WRAP(&b, 2, 1);
	put_record(&second, 0, "second");
	put_record(&second, 0, "third");
	WRAP(&second, 2, 1);
	struct loki_member members[] = { { .raw_bytes = b.n, .received_at_ns = 100 },
					 { .raw_bytes = second.n, .received_at_ns = 50 } };
	EXPECT_OK(buf_append(&b, buf_view(&second)));
	struct loki_source source = { .otlp = buf_view(&b),
				      .class = RECORD_CLASS_INFO,
				      .members = members,
				      .member_count = 2 };
	EXPECT_OK(loki_convert(&form, &source, &out, &push, NULL));
	EXPECT_OK(buf_append_byte(&out, 0));
	ck_assert_str_eq((const char *)out.p,
			 "{\"streams\":[{\"stream\":{\"class\":\"info\"},\"values\":"
			 "[[\"50\",\"second\"],[\"50\",\"third\"],[\"100\",\"first\"]]}]}");
	buf_done(&b);
	buf_done(&second);
	buf_done(&out);
}
END_TEST

START_TEST(lines_that_are_left_out_leave_nothing_behind)
{
	struct loki_form forms[] = { form_of(false), form_of(true) };
	for (size_t i = 0; i < 2; i++) {
		struct buf b;
		struct buf out;
		struct loki_push push;
		forms[i].leaves_out = true;
		forms[i].max_line = 8;
		buf_init(&b, 1 << 20, NULL);
		buf_init(&out, OUT_MAX, NULL);
		put_record(&b, 1, "123456789");
		put_record(&b, 2, "1234567890");
		WRAP(&b, 2, 1);
		EXPECT_OK(convert(&forms[i], buf_view(&b), &out, &push));
		ck_assert_uint_eq(out.n, 0);
		ck_assert_uint_eq(push.entries, 0);
		ck_assert_uint_eq(push.left_out, 2);
		ck_assert_uint_eq(push.longest_out, 10);
		buf_done(&b);
		buf_done(&out);
	}
}
END_TEST

START_TEST(what_loki_would_never_take_at_once_is_said_to_be_too_large)
{
	struct buf b;
	struct buf resource;
	struct buf out;
	struct loki_form form = form_of(false);
	struct loki_push push;
	char *value = xcalloc(1, 10001);
	memset(value, 'x', 10000);
	buf_init(&b, 1 << 20, NULL);
	buf_init(&resource, 1 << 20, NULL);
	buf_init(&out, OUT_MAX, NULL);
	put_attribute(&resource, 1, "large", value);
	WRAP(&resource, 1);
	for (int i = 0; i < 500; i++)
		put_record(&b, (uint64_t)i + 1, "x");
	WRAP(&b, 2);
	EXPECT_OK(buf_append(&b, buf_view(&resource)));
	WRAP(&b, 1);
	EXPECT_OK(convert(&form, buf_view(&b), &out, &push));
	ck_assert(push.is_too_large);
	/* It stopped there: the memory is bounded too. */
	ck_assert_uint_lt(out.n, LOKI_PUSH_MAX + LOKI_PUSH_MAX / 8);
	free(value);
	buf_done(&b);
	buf_done(&resource);
	buf_done(&out);
}
END_TEST

START_TEST(one_long_line_that_is_allowed_goes_alone)
{
	struct buf b;
	struct buf out;
	struct loki_form form = form_of(false);
	struct loki_push push;
	char *line = xcalloc(1, LOKI_PUSH_MAX + 2);
	memset(line, 'x', LOKI_PUSH_MAX + 1);
	form.max_line = 16 << 20;
	buf_init(&b, 16 << 20, NULL);
	buf_init(&out, OUT_MAX, NULL);
	EXPECT_OK(wire_put_bytes(&b, 1, bytes_str(line)));
	WRAP(&b, 5, 2, 2, 1);
	EXPECT_OK(convert(&form, buf_view(&b), &out, &push));
	ck_assert(!push.is_too_large);
	ck_assert_uint_eq(push.entries, 1);
	ck_assert_uint_gt(out.n, LOKI_PUSH_MAX);
	free(line);
	buf_done(&b);
	buf_done(&out);
}
END_TEST

START_TEST(half_a_million_empty_records_go_in_parts)
{
	struct buf b;
	struct buf out;
	struct loki_form form = form_of(false);
	struct loki_push push;
	buf_init(&b, 1 << 22, NULL);
	buf_init(&out, OUT_MAX, NULL);
	for (int i = 0; i < 500000; i++)
		EXPECT_OK(buf_append(&b, bytes_of("\x12\0", 2)));
	WRAP(&b, 2, 1);
	EXPECT_OK(convert(&form, buf_view(&b), &out, &push));
	ck_assert(push.is_too_large);
	buf_done(&b);
	buf_done(&out);
}
END_TEST

START_TEST(memory_comes_out_of_the_budget)
{
	struct buf otlp;
	struct loki_form form = form_of(false);
	struct otlp_build build = { .signal = SIGNAL_LOGS, .records = 500, .seed = 1 };
	buf_init(&otlp, 1 << 22, NULL);
	otlp_build(&build, &otlp);
	bool is_done = false;
	/* Every size up to what it takes: refused each time, and given back. */
	for (size_t max = 4096; !is_done; max += max / 3) {
		struct budget budget;
		struct buf out;
		struct loki_push push;
		budget_init(&budget, max);
		buf_init(&out, OUT_MAX, &budget);
		enum status st = convert(&form, buf_view(&otlp), &out, &push);
		is_done = st == ST_OK;
		ck_assert(is_done || st == ST_BUSY);
		buf_done(&out);
		ck_assert_uint_eq(budget_used(&budget), 0);
		ck_assert_uint_lt(max, 16 << 20);
	}
	buf_done(&otlp);
}
END_TEST

START_TEST(damaged_bytes_are_refused)
{
	struct buf otlp;
	struct loki_form forms[] = { form_of(false), form_of(true) };
	struct otlp_build build = { .signal = SIGNAL_LOGS, .records = 3, .seed = 1 };
	buf_init(&otlp, 1 << 20, NULL);
	otlp_build(&build, &otlp);
	for (size_t i = 1; i < otlp.n; i++) {
		struct buf out;
		struct loki_push push;
		buf_init(&out, OUT_MAX, NULL);
		/* Cut off anywhere but between resources. */
		EXPECT_STATUS(convert(&forms[i % 2], bytes_of(otlp.p, i), &out, &push), ST_INVALID);
		ck_assert_uint_eq(out.n, 0);
		buf_done(&out);
	}
	buf_done(&otlp);
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		names_are_mapped_as_loki_maps_them,
		label_values_are_quoted_and_cut_at_whole_characters,
		entries_are_sorted_by_stream_and_time,
		streams_without_the_label_have_the_class,
		protobuf_is_what_the_schema_says,
		members_give_their_own_times,
		lines_that_are_left_out_leave_nothing_behind,
		what_loki_would_never_take_at_once_is_said_to_be_too_large,
		one_long_line_that_is_allowed_goes_alone,
		half_a_million_empty_records_go_in_parts,
		memory_comes_out_of_the_budget,
		damaged_bytes_are_refused,
	};
	return run_cases("loki_convert", cases, sizeof(cases) / sizeof(cases[0]));
}
