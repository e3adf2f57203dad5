/* queue_file.c - see the header. Looks at the file with a connection of its own, as an operator's
 * sqlite3 shell would, so that tests do not trust the code under test. */
#include "tests/support/queue_file.h"

#include <dirent.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"
#include "storage/db.h"
#include "storage/file_checks.h"
#include "tests/support/expect.h"
#include "tests/support/patience.h"

enum { IN_MEMORY_MIN = 512 << 20 };

void queue_file_make(struct queue_file *f)
{
	const char *tmp = getenv("TMPDIR");
	(void)snprintf(f->dir, sizeof(f->dir), "%.80s/tidegate-XXXXXX", tmp ? tmp : "/tmp");
	CHECK(mkdtemp(f->dir));
	(void)snprintf(f->path, sizeof(f->path), "%s/queue.db", f->dir);
}

sqlite3 *queue_file_open(struct queue_file *f)
{
	struct err e = { .text = "" };
	sqlite3 *db = NULL;
	int fd = -1;
	queue_file_make(f);
	EXPECT_OK(file_lock(f->path, &fd, &e));
	file_unlock(fd);
	EXPECT_OK(db_open(f->path, 4096, 1 << 20, &db, &e));
	return db;
}

void queue_file_in_memory(void)
{
	struct statvfs fs;
	/* A container's may have 64 MiB in all. */
	if (access("/dev/shm", W_OK) == 0 && statvfs("/dev/shm", &fs) == 0 &&
	    (uint64_t)fs.f_bavail * fs.f_frsize >= IN_MEMORY_MIN)
		(void)setenv("TMPDIR", "/dev/shm", 0);
}

void queue_file_remove(struct queue_file *f)
{
	DIR *d = opendir(f->dir);
	struct dirent *entry;
	while (d && (entry = readdir(d))) {
		char name[sizeof(f->dir) + sizeof(entry->d_name) + 2];
		(void)snprintf(name, sizeof(name), "%s/%s", f->dir, entry->d_name);
		if (entry->d_name[0] != '.')
			(void)unlink(name);
	}
	if (d)
		(void)closedir(d);
	(void)rmdir(f->dir);
}

static sqlite3 *open_file(const char *path, int flags)
{
	sqlite3 *db = NULL;
	int rc = sqlite3_open_v2(path, &db, flags, NULL);
	if (rc != SQLITE_OK)
		(void)fprintf(stderr, "%s: %s\n", path, sqlite3_errmsg(db));
	CHECK(rc == SQLITE_OK);
	(void)sqlite3_busy_timeout(db, patience_s() * 1000);
	return db;
}

static sqlite3_stmt *first_row(sqlite3 *db, const char *sql, bool *ret_has_row)
{
	sqlite3_stmt *s = NULL;
	int rc = sqlite3_prepare_v2(db, sql, -1, &s, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(s);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		(void)fprintf(stderr, "%s: %s\n", sql, sqlite3_errmsg(db));
	CHECK(rc == SQLITE_ROW || rc == SQLITE_DONE);
	*ret_has_row = rc == SQLITE_ROW;
	return s;
}

int64_t queue_file_int(const char *path, const char *sql)
{
	bool has_row;
	sqlite3 *db = open_file(path, SQLITE_OPEN_READONLY);
	sqlite3_stmt *s = first_row(db, sql, &has_row);
	CHECK(has_row);
	int64_t v = sqlite3_column_int64(s, 0);
	(void)sqlite3_finalize(s);
	(void)sqlite3_close(db);
	return v;
}

void queue_file_text(const char *path, const char *sql, char *ret, size_t size)
{
	bool has_row;
	sqlite3 *db = open_file(path, SQLITE_OPEN_READONLY);
	sqlite3_stmt *s = first_row(db, sql, &has_row);
	const unsigned char *text = has_row ? sqlite3_column_text(s, 0) : NULL;
	(void)snprintf(ret, size, "%s", text ? (const char *)text : "");
	(void)sqlite3_finalize(s);
	(void)sqlite3_close(db);
}

void queue_file_exec(const char *path, const char *sql)
{
	char *message = NULL;
	sqlite3 *db = open_file(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
	if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
		(void)fprintf(stderr, "%s: %s\n", sql, message);
	CHECK(!message);
	(void)sqlite3_close(db);
}

void waiter_init(struct waiter *w)
{
	memset(w, 0, sizeof(*w));
	CHECK(pthread_mutex_init(&w->mutex, NULL) == 0);
	pthread_condattr_t attr;
	CHECK(pthread_condattr_init(&attr) == 0);
	CHECK(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
	CHECK(pthread_cond_init(&w->cond, &attr) == 0);
	(void)pthread_condattr_destroy(&attr);
}

enum status waiter_wait(struct waiter *w, int count)
{
	const struct timespec until = patience_until(CLOCK_MONOTONIC);
	int rc = 0;
	CHECK(pthread_mutex_lock(&w->mutex) == 0);
	while (w->done < count && rc == 0)
		rc = pthread_cond_timedwait(&w->cond, &w->mutex, &until);
	int done = w->done;
	enum status st = w->st;
	CHECK(pthread_mutex_unlock(&w->mutex) == 0);
	ck_assert_msg(done >= count, "%d of %d jobs done within %d s", done, count, patience_s());
	return st;
}

void waiter_done(struct waiter *w)
{
	(void)pthread_mutex_destroy(&w->mutex);
	(void)pthread_cond_destroy(&w->cond);
}

static void note(struct waiter *w, enum status st)
{
	CHECK(pthread_mutex_lock(&w->mutex) == 0);
	w->st = st;
	w->done++;
	CHECK(pthread_cond_signal(&w->cond) == 0);
	CHECK(pthread_mutex_unlock(&w->mutex) == 0);
}

static void put_done(struct write_job *job, enum status st)
{
	note(((struct test_put *)job)->waiter, st);
}

void test_put_fill(struct test_put *t, struct waiter *waiter, enum signal signal,
		   enum record_class class, uint32_t records, uint64_t destinations,
		   struct bytes body)
{
	memset(t, 0, sizeof(*t));
	t->waiter = waiter;
	t->put.job.done = put_done;
	t->put.signal = signal;
	t->put.part_count = 1;
	t->put.parts[0] = (struct put_part){ .class = class,
					     .records = records,
					     .service = bytes_str("shop"),
					     .preview = bytes_str("GET /"),
					     .body = body,
					     .destinations = destinations };
}

enum status test_put_run(struct writer *w, enum signal signal, enum record_class class,
			 uint32_t records, uint64_t destinations, struct bytes body)
{
	struct waiter waiter;
	struct test_put t;
	waiter_init(&waiter);
	test_put_fill(&t, &waiter, signal, class, records, destinations, body);
	writer_put(w, &t.put);
	enum status st = waiter_wait(&waiter, 1);
	waiter_done(&waiter);
	return st;
}

/* The waiter stands behind the items. */
static struct waiter **settle_waiter(struct settlement *s)
{
	return (struct waiter **)(void *)&s->items[2];
}

static void settle_done(struct write_job *job, enum status st)
{
	struct settlement *s = (struct settlement *)job;
	struct waiter *w = *settle_waiter(s);
	free(s);
	note(w, st);
}

enum status test_settle(struct writer *w, int64_t destination_id, int64_t batch_id,
			enum settle_outcome outcome, uint32_t rejected, const char *error)
{
	struct waiter waiter;
	waiter_init(&waiter);
	struct settlement *s =
		xcalloc(1, sizeof(*s) + 2 * sizeof(s->items[0]) + sizeof(struct waiter *));
	*settle_waiter(s) = &waiter;
	s->job.done = settle_done;
	s->destination_id = destination_id;
	s->at_ns = now_wall_ns();
	s->status = 418;
	(void)snprintf(s->error, sizeof(s->error), "%s", error);
	s->count = 1;
	s->items[0] = (struct settle_item){ .batch_id = batch_id,
					    .outcome = outcome,
					    .rejected_records = rejected };
	writer_settle(w, s);
	enum status st = waiter_wait(&waiter, 1);
	waiter_done(&waiter);
	return st;
}
