/* What opening a queue file promises: pragmas that hold, files of others left alone, damaged ones
 * set aside and never deleted. */
#include "storage/db.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/file_checks.h"
#include "storage/migrations.h"
#include "storage/quarantine.h"
#include "storage/stmt.h"
#include "storage/writer.h"
#include "tests/support/expect.h"
#include "tests/support/queue_file.h"

static void open_file(const struct queue_file *f, sqlite3 **ret)
{
	struct err e = { .text = "" };
	int fd = -1;
	EXPECT_OK(file_lock(f->path, &fd, &e));
	enum status st = db_open(f->path, 0, 1 << 20, ret, &e);
	ck_assert_msg(!st, "%s", e.text);
	file_unlock(fd);
}

static size_t count_set_aside(const struct queue_file *f, bool is_wal)
{
	DIR *d = opendir(f->dir);
	struct dirent *entry;
	size_t n = 0;
	while ((entry = readdir(d)))
		n += strstr(entry->d_name, ".damaged-") && !strstr(entry->d_name, "-shm") &&
		     (strstr(entry->d_name, "-wal") != NULL) == is_wal;
	(void)closedir(d);
	return n;
}

static void write_file(const char *path, const char *suffix, const char *mode, long at,
		       const void *p, size_t n)
{
	char name[300];
	(void)snprintf(name, sizeof(name), "%s%s", path, suffix);
	FILE *file = fopen(name, mode);
	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(fseek(file, at, SEEK_SET), 0);
	ck_assert_uint_eq(fwrite(p, 1, n, file), n);
	(void)fclose(file);
}

START_TEST(every_pragma_holds_in_a_new_file)
{
	static const struct {
		const char *sql;
		const char *want;
	} rows[] = {
		{ "PRAGMA journal_mode", "wal" },
		{ "PRAGMA synchronous", "2" },
		{ "PRAGMA wal_autocheckpoint", "0" },
		{ "PRAGMA page_size", "8192" },
		{ "PRAGMA auto_vacuum", "2" },
		{ "PRAGMA secure_delete", "0" },
		{ "PRAGMA trusted_schema", "0" },
		{ "PRAGMA cell_size_check", "1" },
		{ "PRAGMA application_id", "1416193095" },
	};
	struct queue_file f;
	struct err e;
	sqlite3 *db = NULL;
	queue_file_make(&f);
	open_file(&f, &db);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char got[64];
		EXPECT_OK(stmt_get_text(db, rows[i].sql, got, sizeof(got), &e));
		ck_assert_msg(strcmp(got, rows[i].want) == 0, "%s is %s", rows[i].sql, got);
	}
	int64_t version = 0;
	EXPECT_OK(stmt_get_int(db, "PRAGMA user_version", &version, &e));
	ck_assert_int_eq(version, migration_count);
	db_close(db);
	struct stat sb;
	ck_assert_int_eq(stat(f.path, &sb), 0);
	ck_assert_int_eq(sb.st_mode & 0777, 0600);
	queue_file_remove(&f);
}
END_TEST

START_TEST(a_reader_cannot_write)
{
	struct queue_file f;
	struct err e = { .text = "" };
	sqlite3 *db = NULL;
	sqlite3 *reader = NULL;
	queue_file_make(&f);
	open_file(&f, &db);
	EXPECT_OK(db_open_reader(f.path, &reader, &e));
	ck_assert_int_ne(stmt_exec(reader, "DELETE FROM totals", &e), ST_OK);
	db_close(reader);
	db_close(db);
	queue_file_remove(&f);
}
END_TEST

START_TEST(files_of_others_and_of_newer_versions_are_refused_and_left_as_they_are)
{
	static const struct {
		const char *sql;
		const char *says;
	} rows[] = {
		{ "PRAGMA application_id=7; CREATE TABLE t(x); INSERT INTO t VALUES (1)",
		  "another application" },
		{ "CREATE TABLE t(x); INSERT INTO t VALUES (1)", "another application" },
		{ "PRAGMA application_id=1416193095; PRAGMA user_version=99; CREATE TABLE t(x); "
		  "INSERT INTO t VALUES (1)",
		  "newer tidegate" },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct queue_file f;
		struct err e = { .text = "" };
		struct writer *w = NULL;
		queue_file_make(&f);
		queue_file_exec(f.path, rows[i].sql);
		struct writer_options o = { .path = f.path };
		EXPECT_STATUS(writer_open(&o, &w, &e), ST_UNSUPPORTED);
		ck_assert_msg(strstr(e.text, rows[i].says) && strstr(e.text, "queue.path"), "%s",
			      e.text);
		ck_assert_int_eq(queue_file_int(f.path, "SELECT x FROM t"), 1);
		char mode[16];
		queue_file_text(f.path, "PRAGMA journal_mode", mode, sizeof(mode));
		ck_assert_str_eq(mode, "delete");
		ck_assert_uint_eq(count_set_aside(&f, false), 0);
		queue_file_remove(&f);
	}
}
END_TEST

/* What is in it stays, with the times that it had. */
START_TEST(a_file_of_version_1_is_brought_up_to_date)
{
	struct queue_file f;
	struct err e = { .text = "" };
	struct writer *w = NULL;
	char sql[600];
	queue_file_make(&f);
	queue_file_exec(f.path, migrations[0].sql);
	(void)snprintf(sql, sizeof(sql),
		       "PRAGMA application_id = %d; PRAGMA user_version = 1;"
		       "INSERT INTO destinations (name, kind, state_since) VALUES ('a', 'file', 1);"
		       "INSERT INTO losses VALUES (1, 1780272000000000000, 1, 'logs', 'info', "
		       "'expired', 2, 1, NULL, NULL, 'old');"
		       "INSERT INTO totals VALUES (1, 'logs', 'accepted', 2), "
		       "(1, 'logs', 'expired', 2)",
		       DB_APPLICATION_ID);
	queue_file_exec(f.path, sql);
	const struct writer_options o = { .path = f.path };
	ck_assert_msg(writer_open(&o, &w, &e) == ST_OK, "%s", e.text);
	ck_assert(!writer_is_degraded(w));
	writer_stop(w);
	ck_assert_int_eq(queue_file_int(f.path, "PRAGMA user_version"), migration_count);
	ck_assert_int_eq(queue_file_int(f.path, "SELECT records FROM loss_ledger WHERE at = "
						"'2026-06-01 00:00:00' AND destination = 'a'"),
			 2);
	ck_assert_int_eq(queue_file_int(f.path, "SELECT count(*) FROM balance WHERE difference"),
			 0);
	queue_file_remove(&f);
}
END_TEST

START_TEST(network_file_systems_are_refused_by_name)
{
	static const struct {
		uint64_t type;
		const char *name;
	} rows[] = { { 0x6969, "NFS" },    { 0xFF534D42, "CIFS" }, { 0xFE534D42, "SMB2" },
		     { 0x01021997, "9p" }, { 0xEF53, NULL }, /* ext4 */
		     { 0x58465342, NULL } };                 /* xfs */
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *got = file_system_refusal(rows[i].type);
		ck_assert(rows[i].name ? got && strcmp(got, rows[i].name) == 0 : !got);
	}
	ck_assert_ptr_nonnull(file_system_note(0x01021994));
	ck_assert_ptr_nonnull(file_system_note(0x794C7630));
	ck_assert_ptr_null(file_system_note(0xEF53));
}
END_TEST

/* Fill a queue, so that there is something to damage. */
static void fill(const struct queue_file *f)
{
	struct err e;
	struct writer *w = NULL;
	int slot;
	int64_t id;
	char body[5000];
	struct writer_options o = { .path = f->path, .merge_bytes = 1 };
	EXPECT_OK(writer_open(&o, &w, &e));
	EXPECT_OK(writer_destination(w, "alpha", "file", &slot, &id, &e));
	EXPECT_OK(writer_start(w, &e));
	for (size_t i = 0; i < sizeof(body); i++)
		body[i] = (char)(i * i * 31 >> 3);
	for (int i = 0; i < 20; i++)
		EXPECT_OK(test_put_run(w, SIGNAL_LOGS, RECORD_CLASS_INFO, 1, 1,
				       bytes_of(body, sizeof(body))));
	writer_stop(w);
}

/* The gateway starts, has the damaged file aside, and takes data. */
static void expect_set_aside(const struct queue_file *f, bool has_wal)
{
	struct err e = { .text = "" };
	struct writer *w = NULL;
	int slot;
	int64_t id;
	struct writer_options o = { .path = f->path };
	enum status st = writer_open(&o, &w, &e);
	ck_assert_msg(!st, "%s", e.text);
	ck_assert(writer_is_degraded(w));
	EXPECT_OK(writer_destination(w, "alpha", "file", &slot, &id, &e));
	EXPECT_OK(writer_start(w, &e));
	EXPECT_OK(test_put_run(w, SIGNAL_LOGS, RECORD_CLASS_INFO, 1, 1, bytes_str("x")));
	writer_stop(w);
	ck_assert_uint_eq(count_set_aside(f, false), 1);
	ck_assert_uint_eq(count_set_aside(f, true), has_wal);
	ck_assert_int_eq(queue_file_int(f->path, "SELECT count(*) FROM salvages"), 1);
	ck_assert_int_eq(queue_file_int(f->path, "SELECT count(*) FROM batches"), 1);
	/* Ids of the damaged file are never given out again. */
	ck_assert_int_gt(queue_file_int(f->path, "SELECT id FROM batches"), 1000000);
}

START_TEST(a_file_that_is_no_database_is_set_aside)
{
	struct queue_file f;
	queue_file_make(&f);
	char junk[40000];
	memset(junk, 0x5a, sizeof(junk));
	write_file(f.path, "", "wb", 0, junk, sizeof(junk));
	expect_set_aside(&f, true) /* SQLite makes an empty one where it looks into the file */;
	queue_file_remove(&f);
}
END_TEST

START_TEST(a_damaged_schema_page_is_set_aside)
{
	struct queue_file f;
	char junk[8000];
	queue_file_make(&f);
	fill(&f);
	memset(junk, 0xa5, sizeof(junk));
	write_file(f.path, "", "r+b", 100, junk, sizeof(junk));
	expect_set_aside(&f, true) /* the WAL is empty and goes along */;
	queue_file_remove(&f);
}
END_TEST

START_TEST(a_truncated_file_is_set_aside)
{
	struct queue_file f;
	queue_file_make(&f);
	fill(&f);
	ck_assert_int_eq(truncate(f.path, 16384 * 8), 0);
	expect_set_aside(&f, true) /* the WAL is empty and goes along */;
	queue_file_remove(&f);
}
END_TEST

START_TEST(a_log_without_its_file_is_set_aside_and_not_deleted)
{
	struct queue_file f;
	char junk[5000];
	queue_file_make(&f);
	memset(junk, 1, sizeof(junk));
	write_file(f.path, "-wal", "wb", 0, junk, sizeof(junk));
	struct err e = { .text = "" };
	struct writer *w = NULL;
	struct writer_options o = { .path = f.path };
	EXPECT_OK(writer_open(&o, &w, &e));
	writer_stop(w);
	ck_assert_uint_eq(count_set_aside(&f, true), 1);
	queue_file_remove(&f);
}
END_TEST

START_TEST(a_set_aside_that_was_cut_in_the_middle_is_finished_by_the_next_start)
{
	struct queue_file f;
	struct err e = { .text = "" };
	char name[PATH_MAX];
	char junk[5000];
	queue_file_make(&f);
	memset(junk, 1, sizeof(junk));
	write_file(f.path, "", "wb", 0, junk, sizeof(junk));
	EXPECT_OK(quarantine_file(f.path, INT64_C(1700000000000000000), name, &e));
	ck_assert_ptr_nonnull(strstr(name, "queue.db.damaged-20231114T221320Z"));
	/* The crash came here: the WAL still has its old name. */
	write_file(f.path, "-wal", "wb", 0, junk, sizeof(junk));
	expect_set_aside(&f, true);
	strcat(name, "-wal");
	ck_assert_int_eq(access(name, F_OK), 0);
	queue_file_remove(&f);
}
END_TEST

/* The order of the salvage, and what a new file takes over, go by the names. */
START_TEST(a_file_that_is_set_aside_sorts_behind_those_before_it)
{
	static const int64_t walls[] = { INT64_C(1700000000000000000), INT64_C(60000000000),
					 INT64_C(1700000000000000000),
					 INT64_C(1700000001000000000) };
	struct queue_file f;
	struct err e = { .text = "" };
	char name[PATH_MAX];
	char last[PATH_MAX] = "";
	queue_file_make(&f);
	for (size_t i = 0; i < sizeof(walls) / sizeof(walls[0]); i++) {
		write_file(f.path, "", "wb", 0, "x", 1);
		EXPECT_OK(quarantine_file(f.path, walls[i], name, &e));
		ck_assert_msg(strcmp(name, last) > 0, "%s after %s", name, last);
		memcpy(last, name, sizeof(last));
	}
	ck_assert_uint_eq(count_set_aside(&f, false), 4);
	/* Whatever names there are, one is found. */
	write_file(f.path, ".damaged-ZZ", "wb", 0, "x", 1);
	write_file(f.path, "", "wb", 0, "x", 1);
	EXPECT_OK(quarantine_file(f.path, walls[0], name, &e));
	ck_assert_uint_eq(count_set_aside(&f, false), 6);
	queue_file_remove(&f);
}
END_TEST

START_TEST(a_missing_directory_is_made)
{
	struct queue_file f;
	struct err e = { .text = "" };
	char path[300];
	char dir[160];
	struct stat sb;
	queue_file_make(&f);
	(void)snprintf(dir, sizeof(dir), "%s/a", f.dir);
	(void)snprintf(path, sizeof(path), "%s/b/queue.db", dir);
	EXPECT_OK(file_make_directory(path, &e));
	(void)snprintf(path, sizeof(path), "%s/b", dir);
	ck_assert_int_eq(stat(path, &sb), 0);
	ck_assert_int_eq(sb.st_mode & 0777, 0700);
	(void)rmdir(path);
	(void)rmdir(dir);
	queue_file_remove(&f);
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		every_pragma_holds_in_a_new_file,
		a_reader_cannot_write,
		files_of_others_and_of_newer_versions_are_refused_and_left_as_they_are,
		a_file_of_version_1_is_brought_up_to_date,
		network_file_systems_are_refused_by_name,
		a_file_that_is_no_database_is_set_aside,
		a_damaged_schema_page_is_set_aside,
		a_truncated_file_is_set_aside,
		a_log_without_its_file_is_set_aside_and_not_deleted,
		a_set_aside_that_was_cut_in_the_middle_is_finished_by_the_next_start,
		a_file_that_is_set_aside_sorts_behind_those_before_it,
		a_missing_directory_is_made,
	};
	return run_cases("db", cases, sizeof(cases) / sizeof(cases[0]));
}
