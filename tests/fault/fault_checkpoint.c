/* What storage/counting_vfs.c promises of a checkpoint's writes: they are few; whichever of them
 * fails, the checkpoint says so and the next one makes up for it; and where a reader is in the way,
 * so that nobody would be told of a last failure, they are not gathered. */
#include <stdio.h>

#include "storage/db.h"
#include "tests/support/expect.h"
#include "tests/support/fault_vfs.h"
#include "tests/support/queue_file.h"

enum { PAGE = 4096, PAGES = 64 };

struct fixture {
	struct queue_file file;
	sqlite3 *db;
	sqlite3 *reader; /* NULL, or in the way of what was committed last */
	int mode;        /* of its checkpoints */
};

static void run(sqlite3 *db, const char *sql)
{
	char *error = NULL;
	(void)sqlite3_exec(db, sql, NULL, NULL, &error);
	ck_assert_msg(!error, "%s: %s", sql, error);
}

/* Busy is well: a reader was in the way, and what could be copied was. */
static int checkpoint(const struct fixture *f)
{
	int rc = sqlite3_wal_checkpoint_v2(f->db, NULL, f->mode, NULL, NULL);
	return f->reader && rc == SQLITE_BUSY ? SQLITE_OK : rc;
}

static int64_t sum(const struct fixture *f)
{
	return queue_file_int(f->file.path, "SELECT sum(length(b) + unicode(b)) FROM t");
}

/* One row of 64 pages in the log, and with a reader another one behind what it reads. */
static void make(struct fixture *f, bool has_reader)
{
	char sql[128];
	*f = (struct fixture){ .mode = SQLITE_CHECKPOINT_FULL };
	queue_file_make(&f->file);
	f->db = queue_file_open(&f->file);
	(void)sqlite3_busy_timeout(f->db, 0);
	run(f->db, "CREATE TABLE t(b TEXT)");
	ck_assert_int_eq(checkpoint(f), SQLITE_OK);
	(void)snprintf(sql, sizeof(sql), "INSERT INTO t SELECT printf('%%.*c', %d, 'a')",
		       PAGE * PAGES);
	run(f->db, sql);
	if (!has_reader)
		return;
	EXPECT_OK(db_open_reader(f->file.path, &f->reader, NULL));
	run(f->reader, "BEGIN; SELECT count(*) FROM t");
	run(f->db, "INSERT INTO t VALUES('b')");
}

static void drop(struct fixture *f)
{
	if (f->reader)
		db_close(f->reader);
	ck_assert_int_eq(checkpoint(f), SQLITE_OK);
	ck_assert_int_eq(queue_file_int(f->file.path, "SELECT integrity_check = 'ok' FROM "
						      "pragma_integrity_check"),
			 1);
	db_close(f->db);
	queue_file_remove(&f->file);
}

/* Fails the checkpoint's nth write. False: it has fewer, and went well. */
static bool fail_write(int n, enum fault_error error, bool has_reader, int mode)
{
	struct fixture f;
	make(&f, has_reader);
	f.mode = mode;
	int64_t before = sum(&f);
	fault_plan(FAULT_WRITE, error, n, false);
	int rc = checkpoint(&f);
	bool has_fired = fault_off();
	if (has_fired)
		ck_assert_msg(rc != SQLITE_OK, "write %d failed, and the checkpoint did not", n);
	else
		ck_assert_int_eq(rc, SQLITE_OK);
	ck_assert_int_eq(sum(&f), before);
	/* Now it is the whole truth, without the log. */
	if (f.reader)
		db_close(f.reader);
	f.reader = NULL;
	ck_assert_int_eq(
		sqlite3_wal_checkpoint_v2(f.db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL),
		SQLITE_OK);
	ck_assert_int_eq(sum(&f), before);
	drop(&f);
	return has_fired;
}

/* How many writes a checkpoint has. */
static int fail_each(enum fault_error error, bool has_reader, int mode)
{
	int n = 1;
	while (fail_write(n, error, has_reader, mode))
		n++;
	return n - 1;
}

START_TEST(a_checkpoint_has_few_writes_and_tells_of_each_that_fails)
{
	int writes = fail_each(FAULT_EIO, false, SQLITE_CHECKPOINT_FULL);
	ck_assert_int_gt(writes, 1);
	ck_assert_int_lt(writes, PAGES / 8);
	ck_assert_int_eq(fail_each(FAULT_ENOSPC, false, SQLITE_CHECKPOINT_FULL), writes);
	ck_assert_int_eq(fail_each(FAULT_SHORT, false, SQLITE_CHECKPOINT_FULL), writes);
}
END_TEST

START_TEST(with_a_reader_in_the_way_each_page_is_written_and_told_of)
{
	ck_assert_int_ge(fail_each(FAULT_EIO, true, SQLITE_CHECKPOINT_FULL), PAGES);
}
END_TEST

/* Another process may commit behind a passive one: nothing would tell of its last failure. */
START_TEST(without_the_writers_lock_each_page_is_written_and_told_of)
{
	ck_assert_int_ge(fail_each(FAULT_EIO, false, SQLITE_CHECKPOINT_PASSIVE), PAGES);
}
END_TEST

START_TEST(once_the_reader_is_gone_pages_are_gathered_again)
{
	struct fixture f;
	make(&f, true);
	ck_assert_int_eq(checkpoint(&f), SQLITE_OK);
	db_close(f.reader);
	f.reader = NULL;
	run(f.db, "UPDATE t SET b = replace(b, 'a', 'c')");
	/* The eighth would fail: there are fewer. */
	fault_plan(FAULT_WRITE, FAULT_EIO, PAGES / 8, false);
	ck_assert_int_eq(checkpoint(&f), SQLITE_OK);
	ck_assert(!fault_off());
	drop(&f);
}
END_TEST

int main(void)
{
	fault_begin();
	const TTest *const cases[] = {
		a_checkpoint_has_few_writes_and_tells_of_each_that_fails,
		with_a_reader_in_the_way_each_page_is_written_and_told_of,
		without_the_writers_lock_each_page_is_written_and_told_of,
		once_the_reader_is_gone_pages_are_gathered_again,
	};
	return run_cases("checkpoint", cases, sizeof(cases) / sizeof(cases[0]));
}
