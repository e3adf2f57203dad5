/* What outlives a queue file that is set aside: an operator's pause and the uplinks' usage before
 * anything is sent, ids, times, books and ledger. */
#include "storage/inherit.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "gateway/base/log.h"
#include "gateway/base/now.h"
#include "storage/db.h"
#include "storage/file_checks.h"
#include "storage/migrations.h"
#include "storage/salvage.h"
#include "tests/support/expect.h"
#include "tests/support/patience.h"
#include "tests/support/queue_file.h"

#define HOUR  (INT64_C(3600) * NS_PER_S)
#define DAY   (24 * HOUR)
#define TODAY INT64_C(1780272000000000000) /* 2026-06-01 */

enum { BATCHES = 40, PAGE = 4096 };

struct fixture {
	struct queue_file file;
	struct writer *w;
	struct salvage *salvage;
	int64_t a;
	int64_t b;
};

static void open_writer(struct fixture *f)
{
	struct err e = { .text = "" };
	const struct writer_options o = { .path = f->file.path,
					  .max_size_bytes = UINT64_C(1) << 30,
					  .page_size = PAGE,
					  .merge_bytes = 1 };
	int slot;
	enum status st = writer_open(&o, &f->w, &e);
	ck_assert_msg(!st, "%s", e.text);
	/* Not in the order of the old file. */
	EXPECT_OK(writer_destination(f->w, "beta", "file", &slot, &f->b, &e));
	EXPECT_OK(writer_destination(f->w, "alpha", "file", &slot, &f->a, &e));
}

static int64_t ask(const struct fixture *f, const char *sql)
{
	return queue_file_int(f->file.path, sql);
}

static void await(struct fixture *f, const char *sql)
{
	AWAIT(ask(f, sql) != 0);
}

/* Batches of alpha, some delivered; alpha is paused, the uplink used, and losses were reported up
 * to the second. */
static void begin(struct fixture *f)
{
	char body[700];
	memset(body, 'x', sizeof(body));
	*f = (struct fixture){ .w = NULL };
	queue_file_make(&f->file);
	open_writer(f);
	EXPECT_OK(writer_start(f->w, NULL));
	for (int i = 0; i < BATCHES; i++) {
		body[i] = 'y';
		EXPECT_OK(test_put_run(f->w, SIGNAL_LOGS, RECORD_CLASS_INFO, 2, 2,
				       bytes_of(body, sizeof(body))));
	}
	for (int id = 1; id <= 5; id++)
		EXPECT_OK(test_settle(f->w, f->a, id, SETTLE_DELIVERED, 0, ""));
	for (int id = 6; id <= 8; id++)
		EXPECT_OK(test_settle(f->w, f->a, id, SETTLE_DELIVERED, 1, "no"));
	EXPECT_OK(test_settle(f->w, f->a, 9, SETTLE_DEAD, 0, "never"));
	writer_stop(f->w);
	queue_file_exec(f->file.path,
			"UPDATE destinations SET state = 'paused', state_since = 7, reason = "
			"'by hand' WHERE name = 'alpha';"
			"INSERT INTO destinations (name, kind, is_configured, state, state_since) "
			"VALUES ('former', 'file', 0, 'paused', 8), ('other', 'file', 0, 'up', 8);"
			"INSERT INTO uplink_usage VALUES ('wan', '2026-06-01', 100), "
			"('wan', '2026-06', 4000);"
			"INSERT INTO settings VALUES ('losses_reported', 2);");
}

static void end(struct fixture *f)
{
	salvage_stop(f->salvage);
	writer_stop(f->w);
	queue_file_remove(&f->file);
}

static void write_at(const struct fixture *f, long at, const void *p, size_t n)
{
	FILE *file = fopen(f->file.path, "r+b");
	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(fseek(file, at, SEEK_SET), 0);
	ck_assert_uint_eq(fwrite(p, 1, n, file), n);
	(void)fclose(file);
}

/* The header: its own is made up for it while it is salvaged. */
static void damage_header(const struct fixture *f)
{
	write_at(f, 0, "no header at all", 16);
}

/* The first page of a table. */
static void zero_page_of(const struct fixture *f, const char *table)
{
	static const char zeros[PAGE];
	char sql[128];
	(void)snprintf(sql, sizeof(sql), "SELECT rootpage FROM sqlite_schema WHERE name = '%s'",
		       table);
	write_at(f, (long)(ask(f, sql) - 1) * PAGE, zeros, PAGE);
}

static void expect_pause_and_usage(struct fixture *f)
{
	struct destination_stored stored;
	EXPECT_OK(writer_destination_stored(f->w, f->a, &stored));
	ck_assert_int_eq(stored.state, DESTINATION_PAUSED);
	ck_assert_int_eq(stored.since_ns, 7);
	ck_assert_str_eq(stored.reason, "by hand");
	EXPECT_OK(writer_destination_stored(f->w, f->b, &stored));
	ck_assert_int_eq(stored.state, DESTINATION_UP);
	ck_assert_int_eq(ask(f, "SELECT count(*) FROM destinations WHERE state = 'paused' AND "
				"name IN ('alpha', 'former')"),
			 2);
	ck_assert_int_eq(ask(f, "SELECT bytes FROM uplink_usage WHERE period = '2026-06'"), 4000);
	ck_assert_int_eq(ask(f, "SELECT bytes FROM uplink_usage WHERE period = '2026-06-01'"), 100);
}

static void salvage_to_the_end(struct fixture *f)
{
	EXPECT_OK(writer_start(f->w, NULL));
	EXPECT_OK(salvage_start(f->w, &f->salvage, NULL));
	await(f, "SELECT NOT EXISTS (SELECT 1 FROM salvages WHERE state = 'running')");
}

static void expect_books(struct fixture *f)
{
	ck_assert_int_eq(ask(f, "SELECT count(*) FROM balance WHERE difference <> 0"), 0);
	ck_assert_int_eq(ask(f, "SELECT accepted FROM balance WHERE destination = 'alpha'"),
			 2 * BATCHES);
	ck_assert_int_eq(ask(f, "SELECT delivered FROM balance WHERE destination = 'alpha'"), 13);
	ck_assert_int_eq(ask(f, "SELECT rejected FROM balance WHERE destination = 'alpha'"), 3);
	ck_assert_int_eq(ask(f, "SELECT dead FROM balance WHERE destination = 'alpha'"), 2);
	ck_assert_int_eq(ask(f, "SELECT queued + damaged FROM balance WHERE destination = 'alpha'"),
			 2 * (BATCHES - 9));
	/* The ledger: what was reported under its id, what was not behind all others. */
	ck_assert_int_eq(ask(f, "SELECT count(*) FROM losses WHERE reason = 'rejected' AND id IN "
				"(1, 2) AND boot IS NOT NULL"),
			 2);
	ck_assert_int_eq(ask(f, "SELECT count(*) FROM losses WHERE reason = 'rejected' AND id > "
				"(SELECT value FROM settings WHERE name = 'losses_reported')"),
			 1);
	ck_assert_int_eq(ask(f, "SELECT sum(records) FROM losses WHERE reason = 'rejected'"), 3);
	ck_assert_int_eq(ask(f, "SELECT value FROM settings WHERE name = 'losses_reported'"), 3);
}

START_TEST(a_pause_the_usage_and_the_books_outlive_a_damaged_file)
{
	struct fixture f;
	begin(&f);
	damage_header(&f);
	open_writer(&f);
	ck_assert(writer_is_degraded(f.w));
	expect_pause_and_usage(&f);
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM boots"), 1);
	salvage_to_the_end(&f);
	expect_books(&f);
	/* The time of death goes along, on the clock of this boot. */
	ck_assert_int_eq(ask(&f, "SELECT last_mono > 0 FROM deliveries WHERE state = 'dead'"), 1);
	/* A second one, of this boot of the gateway: nothing is counted twice. */
	salvage_stop(f.salvage);
	f.salvage = NULL;
	writer_stop(f.w);
	damage_header(&f);
	open_writer(&f);
	expect_pause_and_usage(&f);
	salvage_to_the_end(&f);
	ck_assert_int_eq(ask(&f, "SELECT sum(accepted) FROM balance WHERE difference = 0"),
			 2 * BATCHES);
	ck_assert_int_eq(ask(&f, "SELECT sum(records) FROM losses WHERE reason = 'rejected'"), 3);
	end(&f);
}
END_TEST

/* The destination's ids stay, for others hold them. */
START_TEST(a_file_that_is_set_aside_in_use_is_followed_in_the_same_way)
{
	struct fixture f;
	begin(&f);
	open_writer(&f);
	const int64_t a = f.a;
	EXPECT_OK(writer_start(f.w, NULL));
	EXPECT_OK(salvage_start(f.w, &f.salvage, NULL));
	zero_page_of(&f, "losses");
	writer_suspect(f.w);
	AWAIT(writer_is_degraded(f.w));
	await(&f, "SELECT NOT EXISTS (SELECT 1 FROM salvages WHERE state = 'running')");
	ck_assert_int_eq(ask(&f, "SELECT id FROM destinations WHERE name = 'alpha' AND state = "
				 "'paused'"),
			 a);
	ck_assert_int_eq(ask(&f, "SELECT bytes FROM uplink_usage WHERE period = '2026-06'"), 4000);
	/* The ledger cannot be read, nor its ids: new ones are above any. */
	ck_assert_int_gt(ask(&f, "SELECT value FROM settings WHERE name = 'losses_reported'"),
			 1000000);
	ck_assert_int_eq(ask(&f, "SELECT rejected FROM balance WHERE destination = 'alpha' AND "
				 "difference = 0"),
			 3);
	end(&f);
}
END_TEST

/* The wall clock cannot make up for the ids then. */
START_TEST(ids_go_on_above_the_old_ones_also_in_1970)
{
	struct fixture f;
	now_fake(TODAY, HOUR);
	begin(&f);
	queue_file_exec(f.file.path, "UPDATE sqlite_sequence SET seq = 1790000000000000 WHERE name "
				     "= 'batches'");
	damage_header(&f);
	now_fake(50 * NS_PER_S, 2 * HOUR);
	open_writer(&f);
	ck_assert_int_gt(ask(&f, "SELECT seq FROM sqlite_sequence WHERE name = 'batches'"),
			 1790000000000000);
	/* And what this boot believed of the time is not forgotten. */
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM boots WHERE is_set AND offset_ns = "
				 "1780268400000000000"),
			 1);
	writer_stop(f.w);
	f.w = NULL;
	queue_file_remove(&f.file);
	now_fake_off();
}
END_TEST

/* A queue without a writer, to take into. Ids go on, but not from what makes no sense. */
static void take(const struct fixture *f, struct inherited *ret)
{
	int64_t id = 0;
	struct queue_file to;
	struct queue q;
	sqlite3 *db = NULL;
	struct err e = { .text = "" };
	int fd = -1;
	queue_file_make(&to);
	EXPECT_OK(file_lock(to.path, &fd, &e));
	file_unlock(fd);
	EXPECT_OK(db_open(to.path, PAGE, 1 << 20, &db, &e));
	queue_init(&q, db);
	EXPECT_OK(queue_begin(&q));
	EXPECT_OK(inherit_take(&q, f->file.path, 0, ret));
	EXPECT_OK(queue_commit(&q));
	EXPECT_OK(stmt_get_int(db, "SELECT value FROM settings WHERE name = 'losses_reported'", &id,
			       &e));
	ck_assert_int_gt(id, 0);
	ck_assert_int_lt(id, INT64_C(1) << 55);
	EXPECT_OK(queue_highest_id(&q, &id));
	ck_assert_int_gt(id, BATCHES);
	ck_assert_int_lt(id, INT64_C(1) << 55);
	queue_done(&q);
	db_close(db);
	queue_file_remove(&to);
}

START_TEST(what_cannot_be_read_is_named_and_the_rest_is_taken)
{
	static const struct {
		const char *table;
		const char *missing;
	} rows[] = { { "destinations", "paused destinations" },
		     { "uplink_usage", "the uplinks' usage" },
		     { "boots", "boots" },
		     { "settings", "" } };
	struct inherited got;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct fixture f;
		begin(&f);
		zero_page_of(&f, rows[i].table);
		take(&f, &got);
		ck_assert_str_eq(got.missing, rows[i].missing);
		ck_assert_uint_eq(got.paused, i == 0 ? 0 : 2);
		ck_assert_uint_eq(got.usage_rows, i == 1 ? 0 : 2);
		ck_assert_uint_eq(got.boots, i == 2 ? 0 : 1);
		f.w = NULL;
		queue_file_remove(&f.file);
	}
	struct fixture none;
	queue_file_make(&none.file);
	take(&none, &got);
	ck_assert_str_eq(got.missing, "the file");
	queue_file_remove(&none.file);
}
END_TEST

START_TEST(words_and_numbers_that_make_no_sense_are_left_out)
{
	struct fixture f;
	struct inherited got;
	begin(&f);
	queue_file_exec(f.file.path,
			"UPDATE destinations SET name = '' WHERE name = 'former';"
			"UPDATE uplink_usage SET bytes = -1 WHERE period = '2026-06';"
			"UPDATE uplink_usage SET bytes = 9223372036854775807 WHERE period = "
			"'2026-06-01';"
			"INSERT INTO uplink_usage VALUES (hex(zeroblob(1000)), 'x', 1), "
			"('lan', '2026-06', 7);"
			"INSERT INTO boots (boot_id, offset_ns, age_offset_ns, last_mono) VALUES "
			"('', 1, 1, 1), ('x', 1, 1, -1), (hex(zeroblob(99)), 1, 1, 1);"
			"UPDATE sqlite_sequence SET seq = 9223372036854775807;"
			"UPDATE settings SET value = 9223372036854775807;");
	take(&f, &got);
	ck_assert_str_eq(got.missing, "");
	ck_assert_uint_eq(got.paused, 1);
	ck_assert_uint_eq(got.usage_rows, 1);
	ck_assert_uint_eq(got.boots, 1);
	queue_file_remove(&f.file);
}
END_TEST

/* Whatever is added to a number as large as can be fails, or is negative. */
START_TEST(numbers_that_no_queue_has_do_not_stop_the_next_one)
{
	struct fixture f;
	begin(&f);
	queue_file_exec(f.file.path,
			"UPDATE totals SET records = 9223372036854775806 WHERE outcome = "
			"'delivered';"
			"UPDATE settings SET value = 9223372036854775807;"
			"UPDATE losses SET id = 9223372036854775807 WHERE id = 1;"
			"UPDATE losses SET records = 9223372036854775807 WHERE id = 2;"
			"UPDATE losses SET bytes = 9223372036854775807 WHERE id = 3;"
			"UPDATE batches SET raw_bytes = 9223372036854775807 WHERE id = 20;"
			"UPDATE deliveries SET attempts = 9223372036854775807 WHERE batch_id = 21;"
			"UPDATE batches SET received_mono = 9223372036854775807 WHERE id = 22;"
			"UPDATE batches SET received_at = 9000000000000000000, boot = NULL, "
			"received_mono = NULL WHERE id = 23");
	damage_header(&f);
	open_writer(&f);
	salvage_to_the_end(&f);
	int64_t id = ask(&f, "SELECT max(id) FROM batches");
	int64_t first = ask(&f, "SELECT min(id) FROM batches");
	ck_assert_int_eq(ask(&f, "SELECT max(raw_bytes) FROM batches"), 700);
	/* What comes from the future would not get old. */
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM batches b LEFT JOIN boots t ON t.id = "
				 "b.boot WHERE coalesce(t.offset_ns + b.received_mono, "
				 "b.received_at) > (strftime('%s', 'now') + 9) * 1000000000"),
			 0);
	/* One of them was tried very often. */
	for (int64_t i = first; i <= id; i++)
		EXPECT_OK(test_settle(f.w, f.a, i, SETTLE_RETRY, 0, "later"));
	for (; id >= first; id--)
		EXPECT_OK(test_settle(f.w, f.a, id, SETTLE_DELIVERED, 1, "no"));
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM deliveries WHERE state = 'ready'"), 0);
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM balance WHERE difference <> 0"), 0);
	ck_assert_int_lt(ask(&f, "SELECT max(accepted) FROM balance"), 1000);
	ck_assert_int_lt(ask(&f, "SELECT max(id) FROM losses"), INT64_C(1) << 55);
	ck_assert_int_lt(ask(&f, "SELECT sum(records) + sum(bytes) FROM losses"), 1 << 20);
	end(&f);
}
END_TEST

/* Neither boots nor settings, nor the columns that name them. */
START_TEST(a_file_of_version_1_is_inherited_and_salvaged)
{
	struct fixture f = { .w = NULL };
	char sql[1024];
	queue_file_make(&f.file);
	queue_file_exec(f.file.path, "PRAGMA page_size = 4096; PRAGMA auto_vacuum = 2; "
				     "PRAGMA journal_mode = WAL");
	queue_file_exec(f.file.path, migrations[0].sql);
	(void)snprintf(
		sql, sizeof(sql),
		"PRAGMA application_id = %d; PRAGMA user_version = 1;"
		"INSERT INTO destinations (name, kind, state, state_since, reason) VALUES "
		"('alpha', 'file', 'paused', 7, 'by hand');"
		"INSERT INTO batches VALUES (1, 5, 'logs', '', 'info', 2, 1, 3, 1, 1, 'none', "
		"2212294583, NULL, NULL, NULL, NULL);"
		"INSERT INTO payloads VALUES (1, x'31');"
		"INSERT INTO deliveries VALUES (1, 1, 2, 'dead', 3, 4, 6, 400, 'no');"
		"INSERT INTO losses VALUES (1, 9, 1, 'logs', 'info', 'expired', 2, 1, NULL, "
		"NULL, 'old');"
		"INSERT INTO totals VALUES (1, 'logs', 'accepted', 5), "
		"(1, 'logs', 'expired', 2);",
		DB_APPLICATION_ID);
	queue_file_exec(f.file.path, sql);
	damage_header(&f);
	open_writer(&f);
	struct destination_stored stored;
	EXPECT_OK(writer_destination_stored(f.w, f.a, &stored));
	ck_assert_int_eq(stored.state, DESTINATION_PAUSED);
	salvage_to_the_end(&f);
	ck_assert_int_eq(ask(&f, "SELECT expired + dead FROM balance WHERE destination = 'alpha' "
				 "AND difference = 0"),
			 5);
	ck_assert_int_eq(ask(&f, "SELECT attempts FROM deliveries WHERE last_error = 'no' AND "
				 "last_attempt_at = 6 AND last_boot IS NULL"),
			 4);
	/* It was never reported. */
	ck_assert_int_eq(ask(&f, "SELECT id FROM losses WHERE detail = 'old' AND boot IS NULL AND "
				 "at = 9"),
			 2);
	end(&f);
}
END_TEST

int main(void)
{
	log_init(LOG_FATAL_LEVEL, LOG_FORMAT_LOGFMT);
	queue_file_in_memory();
	const TTest *const cases[] = {
		a_pause_the_usage_and_the_books_outlive_a_damaged_file,
		a_file_that_is_set_aside_in_use_is_followed_in_the_same_way,
		ids_go_on_above_the_old_ones_also_in_1970,
		what_cannot_be_read_is_named_and_the_rest_is_taken,
		words_and_numbers_that_make_no_sense_are_left_out,
		numbers_that_no_queue_has_do_not_stop_the_next_one,
		a_file_of_version_1_is_inherited_and_salvaged,
	};
	return run_cases("inherit", cases, sizeof(cases) / sizeof(cases[0]));
}
