/* What the loss ledger promises: the right time, also of what was let go before the time was known;
 * sums that stay, and rows that do not grow once they may have been reported. */
#include "storage/ledger.h"

#include <stdio.h>
#include <stdlib.h>

#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"
#include "gateway/ingest/loss_report.h"
#include "gateway/telemetry/json.h"
#include "storage/db.h"
#include "storage/salvage_move.h"
#include "tests/support/expect.h"
#include "tests/support/queue_file.h"

#define HOUR  (INT64_C(3600) * NS_PER_S)
#define DAY   (24 * HOUR)
#define TODAY INT64_C(1780272000000000000) /* 2026-06-01 */

struct fixture {
	struct queue_file file;
	sqlite3 *db;
	struct queue q;
	int64_t a;
};

/* The machine has run for `mono`. before: statements on the file, of the time before. */
static void begin(struct fixture *f, int64_t wall, int64_t mono, const char *before)
{
	struct err e = { .text = "" };
	now_fake(wall, mono);
	f->db = queue_file_open(&f->file);
	queue_init(&f->q, f->db);
	ck_assert_msg(stmt_exec(f->db, before, &e) == ST_OK, "%s", e.text);
	EXPECT_OK(queue_begin(&f->q));
	EXPECT_OK(boot_register(&f->q.boot, f->db, &e));
	EXPECT_OK(queue_destination(&f->q, "alpha", "file", 0, true, &f->a));
	EXPECT_OK(queue_commit(&f->q));
}

static void end(struct fixture *f)
{
	queue_done(&f->q);
	db_close(f->db);
	queue_file_remove(&f->file);
	now_fake_off();
}

static int64_t ask(const struct fixture *f, const char *sql)
{
	return queue_file_int(f->file.path, sql);
}

static void fold(struct fixture *f)
{
	int64_t next = 0;
	EXPECT_OK(queue_begin(&f->q));
	EXPECT_OK(ledger_fold(&f->q, 0, &next));
	EXPECT_OK(queue_commit(&f->q));
	ck_assert_int_eq(next, 0);
}

static void lose(struct fixture *f, int64_t records)
{
	const struct queue_loss loss = { .destination_id = f->a,
					 .signal = "logs",
					 .class = "info",
					 .reason = "expired",
					 .records = records,
					 .detail = bytes_str("why") };
	EXPECT_OK(queue_begin(&f->q));
	EXPECT_OK(queue_lose(&f->q, &loss));
	EXPECT_OK(queue_commit(&f->q));
}

static void look_at_clock(struct fixture *f)
{
	struct err e = { .text = "" };
	boot_look(&f->q.boot);
	EXPECT_OK(boot_save(&f->q.boot, f->db, &e));
}

static void add_row(void *ctx, const struct inspect_loss *l)
{
	ck_assert(loss_report_add(ctx, l));
}

/* The report as it would go out now, as OTLP JSON. */
static const char *report_of(const struct fixture *f)
{
	static char text[1 << 14];
	static struct loss_report report;
	const struct attributes none = { 0 };
	struct inspect *in = NULL;
	struct buf out;
	struct buf json;
	struct err e = { .text = "" };
	int64_t wall = -1;
	buf_init(&out, 1 << 20, NULL);
	buf_init(&json, sizeof(text) - 1, NULL);
	EXPECT_OK(inspect_open(f->file.path, 5 * NS_PER_S, &in, &e));
	EXPECT_OK(inspect_losses_behind(in, 0, 100, add_row, &report, &e));
	EXPECT_OK(inspect_wall(in, &wall, &e));
	inspect_close(in);
	EXPECT_OK(loss_report_write(&report, &none, wall, &out));
	EXPECT_OK(otlp_to_json(SIGNAL_LOGS, buf_view(&out), &json, &e));
	(void)snprintf(text, sizeof(text), "%.*s", (int)json.n, (const char *)json.p);
	loss_report_clear(&report);
	buf_done(&out);
	buf_done(&json);
	return text;
}

START_TEST(a_loss_of_1970_is_told_with_its_time_once_that_is_known)
{
	struct fixture f;
	begin(&f, 50 * NS_PER_S, HOUR, "");
	lose(&f, 7);
	const char *text = report_of(&f);
	ck_assert_ptr_nonnull(strstr(text, "7 records of logs (info)"));
	/* No time is better than a wrong one; the queue has the time of receipt. */
	ck_assert_ptr_null(strstr(text, "imeUnixNano\":\""));
	now_fake(TODAY, HOUR + 60 * NS_PER_S);
	look_at_clock(&f);
	text = report_of(&f);
	ck_assert_ptr_nonnull(strstr(text, "\"timeUnixNano\":\"1780271940000000000\""));
	ck_assert_ptr_nonnull(strstr(text, "\"observedTimeUnixNano\":\"1780272000000000000\""));
	ck_assert_int_eq(ask(&f, "SELECT at = '2026-05-31 23:59:00' FROM loss_ledger"), 1);
	end(&f);
}
END_TEST

/* A clock that came up wrong, but after 1970, is no better. */
START_TEST(a_time_that_is_not_believed_is_not_told)
{
	struct fixture f;
	begin(&f, TODAY - 200 * DAY, HOUR,
	      "INSERT INTO boots (boot_id, offset_ns, age_offset_ns, is_set, last_mono) VALUES "
	      "('former', 1780185600000000000, 1780185600000000000, 1, 3600000000000)");
	lose(&f, 1);
	ck_assert_ptr_null(strstr(report_of(&f), "imeUnixNano\":\""));
	end(&f);
}
END_TEST

#define BOOT(id, offset, is_set, last_mono)                                                       \
	"INSERT INTO boots VALUES (" #id ", 'former " #id "', " #offset ", " #offset ", " #is_set \
	", " #last_mono ");"
#define ROW(at, boot, mono)                                                               \
	"INSERT INTO losses (at, destination_id, signal, class, reason, records, bytes, " \
	"first_time, last_time, detail, boot, mono) VALUES (" #at ", 1, 'logs', 'info', " \
	"'evicted', 3, 10, 5, 6, 'why', " #boot ", " #mono ");"

START_TEST(rows_of_several_boots_are_folded_by_their_true_hours)
{
	struct fixture f;
	/* Boot 1 learned the time when its rows were written; 2 and 3 never did, for days. Nine
	 * days ago, at noon: 1779494400. */
	begin(&f, TODAY, HOUR,
	      BOOT(1, 1779490000000000000, 1, 100000000000000) BOOT(2, 0, 0, 200000000000000) BOOT(
		      3, 0, 0, 200000000000000) ROW(60000000000, 1, 4400000000000)
		      ROW(1779494401000000000, NULL, NULL) ROW(90000000000, 1, 4500000000000) ROW(
			      60000000000, 1, 9000000000000) ROW(60000000000, 2, 60000000000)
			      ROW(90000000000, 2, 90000000000) ROW(60000000000, 3, 60000000000)
				      ROW(90000000000, NULL, NULL) ROW(60000000000, NULL, NULL)
					      ROW(1780272000000000000, NULL, NULL));
	fold(&f);
	ck_assert_int_eq(ask(&f, "SELECT sum(records) FROM losses"), 30);
	/* Two from version 1 of a boot that was wrong, and nobody will know. */
	ck_assert_int_eq(ask(&f, "SELECT records FROM losses WHERE id = 8"), 6);
	ck_assert_int_eq(ask(&f, "SELECT records FROM losses WHERE id = 1"), 9);
	ck_assert_int_eq(ask(&f,
			     "SELECT at = 1779494400000000000 AND boot IS NULL AND mono IS NULL "
			     "FROM losses WHERE id = 1"),
			 1);
	ck_assert_int_eq(ask(&f, "SELECT at FROM losses WHERE id = 4"), 1779499000000000000);
	/* Those of boot 2 are one, and not of boot 3's hour. */
	ck_assert_int_eq(ask(&f, "SELECT records FROM losses WHERE id = 5 AND boot = 2"), 6);
	ck_assert_int_eq(ask(&f, "SELECT records FROM losses WHERE id = 7 AND boot = 3"), 3);
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM losses"), 6);
	end(&f);
}
END_TEST

START_TEST(after_a_month_a_time_that_nobody_learned_needs_no_boot)
{
	struct fixture f;
	begin(&f, TODAY, HOUR,
	      BOOT(1, 0, 0, 200000000000000) BOOT(2, 0, 0, 9000000000000000)
		      ROW(60000000000, 1, 60000000000) ROW(90000000000, 1, 90000000000)
			      ROW(60000000000, 2, 60000000000)
				      ROW(1780272000000000000, NULL, NULL));
	fold(&f);
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM losses WHERE boot IS NOT NULL"), 0);
	ck_assert_int_eq(ask(&f, "SELECT records FROM losses WHERE id = 1"), 9);
	end(&f);
}
END_TEST

/* It is an hour old, and not as old as 1970. */
START_TEST(what_was_lost_before_the_time_was_known_is_not_old)
{
	struct fixture f;
	begin(&f, 50 * NS_PER_S, HOUR, "");
	for (int i = 0; i < 3; i++)
		lose(&f, 1);
	now_fake(TODAY, 2 * HOUR);
	look_at_clock(&f);
	fold(&f);
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM losses"), 3);
	now_fake(TODAY + 8 * DAY, 2 * HOUR + 8 * DAY);
	fold(&f);
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM losses"), 2);
	/* Of this boot: its clock may still be put right. */
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM losses WHERE boot IS NOT NULL"), 2);
	end(&f);
}
END_TEST

START_TEST(what_was_reported_takes_in_nothing_that_was_not)
{
	struct fixture f;
	begin(&f, TODAY, HOUR,
	      ROW(1778000000000000000, NULL, NULL) ROW(1778000000000000000, NULL, NULL)
		      ROW(1778000000000000000, NULL, NULL) ROW(1778000000000000000, NULL, NULL)
			      ROW(1780272000000000000, NULL,
				  NULL) "INSERT INTO settings VALUES ('losses_reported', 2);");
	fold(&f);
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM losses"), 3);
	ck_assert_int_eq(ask(&f, "SELECT records FROM losses WHERE id = 1"), 6);
	ck_assert_int_eq(ask(&f, "SELECT records FROM losses WHERE id = 3"), 6);
	end(&f);
}
END_TEST

START_TEST(a_boot_that_a_loss_names_is_kept)
{
	struct fixture f;
	struct err e = { .text = "" };
	begin(&f, 50 * NS_PER_S, HOUR, "");
	lose(&f, 1);
	for (int i = 0; i < 30; i++) {
		EXPECT_OK(stmt_exec(f.db, "UPDATE boots SET boot_id = 'former ' || id", &e));
		EXPECT_OK(boot_register(&f.q.boot, f.db, &e));
	}
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM boots"), 31);
	EXPECT_OK(stmt_exec(f.db, "UPDATE losses SET boot = NULL, mono = NULL", &e));
	EXPECT_OK(stmt_exec(f.db, "UPDATE boots SET boot_id = 'former ' || id", &e));
	EXPECT_OK(boot_register(&f.q.boot, f.db, &e));
	ck_assert_int_le(ask(&f, "SELECT count(*) FROM boots"), 17);
	end(&f);
}
END_TEST

/* Ids name rows in reports: what follows what was reported has one above it. */
START_TEST(an_id_is_not_given_out_again)
{
	struct fixture f;
	begin(&f, TODAY, HOUR, "INSERT INTO settings VALUES ('losses_reported', 41);");
	lose(&f, 1);
	lose(&f, 1);
	ck_assert_int_eq(ask(&f, "SELECT min(id) FROM losses"), 42);
	ck_assert_int_eq(ask(&f, "SELECT max(id) FROM losses"), 43);
	end(&f);
}
END_TEST

/* One batch whose payload cannot be read; the salvage's jobs come one after the other. */
START_TEST(what_a_salvage_loses_is_a_row_of_its_own)
{
	struct fixture f;
	struct salvage_job *j = xcalloc(1, sizeof(*j));
	begin(&f, TODAY, HOUR, "");
	EXPECT_OK(queue_begin(&f.q));
	EXPECT_OK(queue_add_salvage(&f.q, "aside", TODAY, "damage"));
	EXPECT_OK(queue_commit(&f.q));
	j->row.id = 1;
	(void)snprintf(j->row.path, sizeof(j->row.path), "aside");
	(void)snprintf(j->detail, sizeof(j->detail), "unreadable");
	j->count = 1;
	j->batches[0] = (struct salvage_batch){ .signal = SIGNAL_LOGS,
						.class = RECORD_CLASS_INFO,
						.records = 5,
						.owed_count = 1,
						.owed = { { .records = 5 } } };
	for (int i = 1; i <= 2; i++) {
		j->next_id = i;
		EXPECT_OK(queue_begin(&f.q));
		EXPECT_OK(salvage_move(&f.q, &j->job));
		EXPECT_OK(queue_commit(&f.q));
		j->row.next_id = i;
	}
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM losses WHERE records = 5 AND reason = "
				 "'damaged' AND boot IS NOT NULL"),
			 2);
	ck_assert_int_eq(ask(&f, "SELECT damaged FROM balance WHERE difference = 0"), 10);
	free(j);
	end(&f);
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		a_loss_of_1970_is_told_with_its_time_once_that_is_known,
		a_time_that_is_not_believed_is_not_told,
		rows_of_several_boots_are_folded_by_their_true_hours,
		after_a_month_a_time_that_nobody_learned_needs_no_boot,
		what_was_lost_before_the_time_was_known_is_not_old,
		what_was_reported_takes_in_nothing_that_was_not,
		a_boot_that_a_loss_names_is_kept,
		an_id_is_not_given_out_again,
		what_a_salvage_loses_is_a_row_of_its_own,
	};
	return run_cases("ledger", cases, sizeof(cases) / sizeof(cases[0]));
}
