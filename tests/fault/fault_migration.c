/* fault_migration.c - a queue of version 1 is opened by this version, and the power goes, or the
 * disk fails, at any point of it.
 *
 * The old file is made with the first migration alone, as version 1 made it, with data that waits
 * and dead letters. Whatever happens while it is migrated, the next start finds all of it, at the
 * new version, with books that balance; and it is never taken for a damaged file. */
#include <sqlite3.h>
#include <stdio.h>
#include <zlib.h>

#include "gateway/base/log.h"
#include "storage/db.h"
#include "storage/migrations.h"
#include "tests/support/crash_image.h"
#include "tests/support/expect.h"
#include "tests/support/queue_client.h"

enum { OLD = 60, NEW_ID = 100, SIZE = 700, RECORDS = 3 };

static char dir[CLIENT_PATH_SIZE];
static char path[CLIENT_PATH_SIZE + 16];
static struct facts facts;
static bool is_new_acked;

/* ---- version 1 ---- */

static void run(sqlite3 *db, const char *sql)
{
	char *error = NULL;
	ck_assert_msg(sqlite3_exec(db, sql, NULL, NULL, &error) == SQLITE_OK, "%s: %s", sql, error);
}

static void add_old(sqlite3 *db, int id)
{
	uint8_t body[SIZE];
	char sql[512];
	sqlite3_stmt *stmt = NULL;
	client_fill_body(body, sizeof(body), id);
	(void)snprintf(sql, sizeof(sql),
		       "INSERT INTO batches (id, received_at, signal, class, priority, requests, "
		       "records, raw_bytes, stored_bytes, encoding, crc) VALUES (%d, 1, 'logs', "
		       "'info', 2, 1, %d, %d, %d, 'none', %lu);"
		       "INSERT INTO deliveries (batch_id, destination_id, priority, state, "
		       "records) VALUES (%d, 1, 2, '%s', %d)",
		       id, RECORDS, SIZE, SIZE, crc32(0, body, sizeof(body)), id,
		       id % 3 ? "ready" : "dead", RECORDS);
	run(db, sql);
	ck_assert_int_eq(
		sqlite3_prepare_v2(db, "INSERT INTO payloads VALUES (?1, ?2)", -1, &stmt, NULL),
		SQLITE_OK);
	(void)sqlite3_bind_int(stmt, 1, id);
	(void)sqlite3_bind_blob(stmt, 2, body, sizeof(body), SQLITE_STATIC);
	ck_assert_int_eq(sqlite3_step(stmt), SQLITE_DONE);
	(void)sqlite3_finalize(stmt);
}

static void make_old(void)
{
	sqlite3 *db = NULL;
	char sql[256];
	client_make_dir(dir, sizeof(dir), "migration");
	(void)snprintf(path, sizeof(path), "%s/queue.db", dir);
	is_new_acked = false;
	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	run(db, "PRAGMA page_size = 4096; PRAGMA auto_vacuum = 2; PRAGMA journal_mode = WAL; "
		"PRAGMA synchronous = FULL; BEGIN");
	run(db, migrations[0].sql);
	run(db, "INSERT INTO destinations (name, kind, state_since) VALUES ('backend', "
		"'otlp_http', 1)");
	for (int id = 1; id <= OLD; id++)
		add_old(db, id);
	(void)snprintf(sql, sizeof(sql),
		       "INSERT INTO totals VALUES (1, 'logs', 'accepted', %d); PRAGMA "
		       "application_id = %d; PRAGMA user_version = 1; COMMIT",
		       OLD * RECORDS, DB_APPLICATION_ID);
	run(db, sql);
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}

/* ---- this version ---- */

static enum status try_open(struct writer **ret, struct err *e)
{
	const struct writer_options o = { .path = path,
					  .max_size_bytes = UINT64_C(1) << 30,
					  .checkpoint_bytes = 64 << 10 };
	int64_t id;
	int slot;
	enum status st = writer_open(&o, ret, e);
	if (!st)
		st = writer_destination(*ret, "backend", "otlp_http", &slot, &id, e);
	if (!st)
		st = writer_start(*ret, e);
	if (st) {
		writer_stop(*ret);
		*ret = NULL;
	}
	return st;
}

static void put_new(struct writer *w)
{
	const struct client_request r = {
		.id = NEW_ID, .records = 1, .size = SIZE, .destinations = 1
	};
	enum status st;
	client_put(w, &r, 1, &st, NULL);
	ck_assert_msg(!st || status_class(st) == CLASS_RETRY, "%s", status_name(st));
	is_new_acked = st == ST_OK;
}

/* The next start. */
static void check(const char *what)
{
	struct writer *w = NULL;
	struct err e = { 0 };
	enum status st = try_open(&w, &e);
	ck_assert_msg(!st, "%s: %s: %s", what, status_name(st), e.text);
	ck_assert_msg(!writer_is_degraded(w), "%s: taken for damaged", what);
	writer_stop(w);
	ck_assert_msg(facts_read(path, &facts) && facts.is_sound, "%s: %s", what, facts.problem);
	ck_assert_msg(!facts.imbalance && !facts.crc_errors, "%s: the books", what);
	ck_assert_msg(facts_int(path, "PRAGMA user_version") == migration_count, "%s: version",
		      what);
	for (int id = 1; id <= OLD; id++)
		ck_assert_msg(facts.ready[1][id] == (id % 3 != 0) &&
				      facts.dead[1][id] == (id % 3 == 0),
			      "%s: request %d is not as it was", what, id);
	ck_assert_msg(facts.ready[1][NEW_ID] || !is_new_acked, "%s: what came after is gone", what);
}

static bool learn(const struct vfs_event *mark)
{
	is_new_acked = mark->id == NEW_ID;
	return true;
}

START_TEST(a_power_cut_leaves_one_version_or_the_other)
{
	struct crash_cuts cuts = {
		.dir = dir, .variants = CRASH_ALL_VARIANTS, .learn = learn, .check = check
	};
	struct writer *w = NULL;
	vfs_log_start();
	make_old();
	vfs_log_mark(0, 0);
	cuts.first = vfs_log_count();
	EXPECT_OK(try_open(&w, NULL));
	put_new(w);
	ck_assert(is_new_acked);
	vfs_log_mark(0, NEW_ID);
	writer_stop(w);
	vfs_log_stop();
	is_new_acked = false;
	int images = crash_cut_everywhere(&cuts);
	(void)printf("migration: %zu events, %d images\n", vfs_log_count(), images);
	ck_assert_int_gt(images, 30);
	vfs_log_clear();
	client_remove_dir(dir);
}
END_TEST

/* False: the run met no fault. */
static bool run_once(const struct fault_row *row, int nth)
{
	char what[128];
	struct writer *w = NULL;
	struct err e = { 0 };
	(void)snprintf(what, sizeof(what), "%s (number %d)", row->name, nth);
	make_old();
	fault_plan(row->op, row->error, nth, row->is_lasting);
	enum status st = try_open(&w, &e);
	ck_assert_msg(!st || fault_has_fired(), "%s: the start fails: %s", what, e.text);
	if (!st)
		put_new(w);
	writer_stop(w);
	bool has_fired = fault_off();
	check(what);
	client_remove_dir(dir);
	return has_fired;
}

START_TEST(a_failing_disk_leaves_one_version_or_the_other)
{
	for (size_t i = 0; i < FAULT_ROWS; i++) {
		int runs = 0;
		for (int nth = 1; run_once(&fault_rows[i], nth); nth += 1 + nth / 6)
			runs++;
		ck_assert_msg(runs > 0, "%s: never", fault_rows[i].name);
	}
}
END_TEST

int main(void)
{
	fault_begin();
	const TTest *const cases[] = { a_power_cut_leaves_one_version_or_the_other,
				       a_failing_disk_leaves_one_version_or_the_other };
	return run_cases("migration", cases, sizeof(cases) / sizeof(cases[0]));
}
