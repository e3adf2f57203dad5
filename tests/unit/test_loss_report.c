/* Rows of the ledger as log records: valid OTLP, one for each kind and hour, bounded. */
#include "gateway/ingest/loss_report.h"

#include <stdio.h>
#include <stdlib.h>

#include "gateway/base/now.h"
#include "gateway/telemetry/json.h"
#include "gateway/telemetry/scan.h"
#include "tests/support/expect.h"

#define AT (INT64_C(1763900000) * NS_PER_S)
static const int64_t hour = 3600 * NS_PER_S;

static struct loss_report report;
static struct attributes resource;

static struct inspect_loss loss(int64_t id, const char *reason, int64_t records)
{
	return (struct inspect_loss){ .id = id,
				      .at_ns = AT + id,
				      .is_at_known = true,
				      .destination = "central",
				      .signal = "logs",
				      .class = "info",
				      .reason = reason,
				      .records = records,
				      .bytes = 100 * records,
				      .first_time_ns = AT - id,
				      .last_time_ns = AT + 2 * id };
}

static void begin(void)
{
	struct err e = { 0 };
	report.last_id = 0;
	EXPECT_OK(attributes_insert(&resource, "tidegate.site", "plant-7", &e));
}

static void end(void)
{
	loss_report_clear(&report);
	attributes_done(&resource);
}

/* The request as OTLP JSON; it must pass the scan as a client's would. */
static char *written(uint32_t records)
{
	static char text[1 << 16];
	struct buf out;
	struct buf json;
	struct arena arena;
	struct scan scan;
	struct err e = { 0 };
	buf_init(&out, 1 << 20, NULL);
	buf_init(&json, sizeof(text) - 1, NULL);
	arena_init(&arena, 1 << 20, NULL);
	EXPECT_OK(loss_report_write(&report, &resource, AT, &out));
	ck_assert_msg(scan_request(SIGNAL_LOGS, buf_view(&out), NULL, &arena, &scan, &e) == ST_OK,
		      "%s", e.text);
	ck_assert_uint_eq(scan.all.records, records);
	ck_assert_uint_eq(scan.of_class[RECORD_CLASS_WARNING].records, records);
	if (records <= 4) {
		EXPECT_OK(otlp_to_json(SIGNAL_LOGS, buf_view(&out), &json, &e));
		(void)snprintf(text, sizeof(text), "%.*s", (int)json.n, (const char *)json.p);
	}
	arena_done(&arena);
	buf_done(&out);
	buf_done(&json);
	return text;
}

START_TEST(rows_of_one_kind_are_one_record)
{
	begin();
	for (int64_t i = 1; i <= 3; i++) {
		const struct inspect_loss l = loss(i, "evicted", 10 * i);
		ck_assert(loss_report_add(&report, &l));
	}
	const struct inspect_loss other = loss(4, "expired", 1);
	ck_assert(loss_report_add(&report, &other));
	struct inspect_loss later = loss(5, "evicted", 1);
	later.at_ns += hour;
	ck_assert(loss_report_add(&report, &later));
	ck_assert_uint_eq(report.count, 3);
	ck_assert_int_eq(report.last_id, 5);
	const struct loss_group *g = &report.groups[0];
	ck_assert_int_eq(g->records, 60);
	ck_assert_int_eq(g->bytes, 6000);
	ck_assert_int_eq(g->rows, 3);
	ck_assert_int_eq(g->first_time_ns, AT - 3);
	ck_assert_int_eq(g->last_time_ns, AT + 6);
	const char *text = written(3);
	ck_assert_ptr_nonnull(strstr(text, "\"eventName\":\"tidegate.loss\""));
	ck_assert_ptr_nonnull(strstr(text, "60 records of logs (info) for central were let go: "
					   "evicted; they were of 2025-11-23T12:13:19Z to "
					   "2025-11-23T12:13:20Z"));
	ck_assert_ptr_nonnull(strstr(text, "\"timeUnixNano\":\"1763900000000000003\""));
	end();
}
END_TEST

START_TEST(a_clock_that_was_not_set_gives_no_time)
{
	begin();
	struct inspect_loss l = loss(1, "expired", 1);
	l.at_ns = 77 * NS_PER_S;
	l.is_at_known = false;
	l.first_time_ns = 0;
	l.last_time_ns = 0;
	ck_assert(loss_report_add(&report, &l));
	const char *text = written(1);
	ck_assert_ptr_null(strstr(text, "\"timeUnixNano\""));
	ck_assert_ptr_null(strstr(text, "first_time_unix_nano"));
	ck_assert_ptr_null(strstr(text, "they were of"));
	end();
}
END_TEST

START_TEST(any_words_are_valid_utf8_in_the_end)
{
	char detail[2 * LOSS_DETAIL_MAX];
	begin();
	memset(detail, 'x', sizeof(detail));
	memcpy(detail + LOSS_DETAIL_MAX - 3, "\xe2\x82\xac", 3); /* cut within */
	detail[sizeof(detail) - 1] = '\0';
	struct inspect_loss l = loss(1, "rejected\xff", 1);
	l.destination = NULL;
	l.detail = detail;
	ck_assert(loss_report_add(&report, &l));
	const char *text = written(1);
	ck_assert_ptr_nonnull(strstr(text, "for ? were let go: rejected?"));
	end();
}
END_TEST

START_TEST(a_report_is_bounded_and_what_does_not_fit_waits)
{
	char reason[32];
	begin();
	for (int64_t i = 1; i <= LOSS_REPORT_RECORDS_MAX; i++) {
		(void)snprintf(reason, sizeof(reason), "r%d", (int)i);
		const struct inspect_loss l = loss(i, reason, 1);
		ck_assert(loss_report_add(&report, &l));
	}
	const struct inspect_loss known = loss(1000, "r7", 1);
	const struct inspect_loss another = loss(1001, "another", 1);
	ck_assert(loss_report_add(&report, &known));
	ck_assert(!loss_report_add(&report, &another));
	ck_assert_int_eq(report.last_id, 1000);
	(void)written(LOSS_REPORT_RECORDS_MAX);
	end();
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		rows_of_one_kind_are_one_record,
		a_clock_that_was_not_set_gives_no_time,
		any_words_are_valid_utf8_in_the_end,
		a_report_is_bounded_and_what_does_not_fit_waits,
	};
	return run_cases("loss_report", cases, sizeof(cases) / sizeof(cases[0]));
}
