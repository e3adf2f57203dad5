/* What selecting promises: the parts of a request have its records, each once, in order, below all
 * that stood around them; every field that we do not know is still there. */
#include "gateway/telemetry/select.h"

#include <stdio.h>

#include "gateway/telemetry/scan.h"
#include "tests/support/expect.h"
#include "tests/support/otlp_build.h"
#include "tests/support/otlp_oracle.h"

static struct arena arena;
static struct buf body;
static struct buf out;
static uint32_t selected;
static uint32_t total;

static void begin(void)
{
	arena_init(&arena, 64 << 20, NULL);
	buf_init(&body, 64 << 20, NULL);
	buf_init(&out, 64 << 20, NULL);
}

static void end(void)
{
	arena_done(&arena);
	buf_done(&body);
	buf_done(&out);
}

static void select_one_range(enum signal signal, uint32_t first, uint32_t count)
{
	const struct select_range range = { .first = first, .count = count };
	EXPECT_OK(select_records(signal, buf_view(&body), &range, 1, &out, &selected, &total));
}

static uint32_t scanned(enum signal signal, struct bytes part)
{
	struct scan scan;
	struct err e = { 0 };
	ck_assert_msg(scan_request(signal, part, NULL, &arena, &scan, &e) == ST_OK, "%s", e.text);
	return scan.all.records;
}

/* How often the record of this index is named: its test.id, with the length in front. */
static int count_name(uint32_t index)
{
	char name[32];
	int n = 0;
	int length = snprintf(name + 1, sizeof(name) - 1, "9-%u", index);
	name[0] = (char)length;
	const uint8_t *p = out.p;
	const uint8_t *stop = out.p + out.n;
	while (p && (p = memmem(p, (size_t)(stop - p), name, (size_t)length + 1)) != NULL) {
		p += length + 1;
		n++;
	}
	return n;
}

START_TEST(each_record_is_in_one_part_and_the_parts_are_requests)
{
	enum { RECORDS = 100, STEP = 7 };
	for (int i = 0; i < SIGNAL_COUNT; i++) {
		enum signal signal = (enum signal)i;
		begin();
		const struct otlp_build b = {
			.signal = signal, .records = RECORDS, .resources = 3, .scopes = 2, .seed = 9
		};
		otlp_build(&b, &body);
		for (uint32_t first = 0; first < RECORDS; first += STEP) {
			uint32_t count = RECORDS - first < STEP ? RECORDS - first : STEP;
			buf_clear(&out);
			select_one_range(signal, first, STEP);
			ck_assert_uint_eq(selected, count);
			ck_assert_uint_eq(total, RECORDS);
			ck_assert_uint_eq(scanned(signal, buf_view(&out)), count);
			for (uint32_t r = 0; r < RECORDS; r++)
				ck_assert_int_eq(count_name(r), r >= first && r < first + count);
		}
		end();
	}
}
END_TEST

START_TEST(everything_selected_is_the_request_itself)
{
	for (int i = 0; i < SIGNAL_COUNT; i++) {
		enum signal signal = (enum signal)i;
		begin();
		const struct otlp_build b = { .signal = signal, .records = 50, .resources = 4 };
		otlp_build(&b, &body);
		select_one_range(signal, 0, UINT32_MAX);
		ck_assert(bytes_equal(buf_view(&out), buf_view(&body)));
		end();
	}
}
END_TEST

START_TEST(several_ranges_leave_gaps)
{
	begin();
	const struct otlp_build b = {
		.signal = SIGNAL_LOGS, .records = 20, .resources = 2, .seed = 9
	};
	otlp_build(&b, &body);
	static const struct select_range ranges[] = { { 0, 1 }, { 5, 3 }, { 19, 4 } };
	EXPECT_OK(select_records(SIGNAL_LOGS, buf_view(&body), ranges, 3, &out, &selected, &total));
	ck_assert_uint_eq(selected, 5);
	for (uint32_t r = 0; r < 20; r++)
		ck_assert_int_eq(count_name(r), r == 0 || (r >= 5 && r < 8) || r == 19);
	end();
}
END_TEST

/* Fields 60 to 63 are nobody's. */
START_TEST(unknown_fields_are_kept_at_every_level)
{
	static const char logs[] = "\x0a\x1a" /* resource_logs */
				   "\x0a\x00" /* resource */
				   "\x12\x13" /* scope_logs */
				   "\x0a\x00" /* scope */
				   "\x12\x05\x2a\x03\x0a\x01"
				   "a" /* log_records */
				   "\x12\x05\x2a\x03\x0a\x01"
				   "b"            /* log_records */
				   "\xe2\x03\x00" /* 60, of the scope's envelope */
				   "\xea\x03\x00" /* 61, of the resource's envelope */
				   "\xf2\x03\x01"
				   "x"; /* 62, of the request */
	static const char second[] = "\x0a\x13\x0a\x00\x12\x0c\x0a\x00"
				     "\x12\x05\x2a\x03\x0a\x01"
				     "b"
				     "\xe2\x03\x00"
				     "\xea\x03\x00"
				     "\xf2\x03\x01"
				     "x";
	begin();
	EXPECT_OK(buf_append(&body, bytes_of(logs, sizeof(logs) - 1)));
	ck_assert_uint_eq(scanned(SIGNAL_LOGS, buf_view(&body)), 2);
	select_one_range(SIGNAL_LOGS, 1, 1);
	ck_assert(bytes_equal(buf_view(&out), bytes_of(second, sizeof(second) - 1)));
	end();
}
END_TEST

START_TEST(bytes_that_no_scan_accepted_are_an_error_and_no_harm)
{
	begin();
	EXPECT_OK(buf_append_str(&body, "<id=00000042>abcdefg"));
	const struct select_range range = { .count = 1 };
	EXPECT_STATUS(
		select_records(SIGNAL_LOGS, buf_view(&body), &range, 1, &out, &selected, NULL),
		ST_INVALID);
	end();
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		each_record_is_in_one_part_and_the_parts_are_requests,
		everything_selected_is_the_request_itself,
		several_ranges_leave_gaps,
		unknown_fields_are_kept_at_every_level,
		bytes_that_no_scan_accepted_are_an_error_and_no_harm,
	};
	return run_cases("select", cases, sizeof(cases) / sizeof(cases[0]));
}
