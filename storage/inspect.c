/* inspect.c - opening a queue file to look at it, and the small reads: file facts, books, ledger.
 *
 * The connection is opened SQLITE_OPEN_READONLY with query_only on top, and never checkpoints, not
 * even when it is the last to close: only the writer may (docs/durability.md). It needs no gateway:
 * SQLite builds the WAL index itself where no one else has.
 *
 * A reader's snapshot keeps a checkpoint from resetting the WAL, so no read may last. Each goes
 * through inspect_begin, which sets a deadline; SQLite's progress handler looks at the clock every
 * few thousand steps of its machine and ends the statement there (ST_TIMEOUT).
 *
 * Statements are prepared per call. That costs some tens of microseconds, and in return no
 * statement can be left open, which would keep its snapshot. */
#include "storage/inspect.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"
#include "storage/boot.h"
#include "storage/db.h"
#include "storage/inspect_read.h"
#include "storage/migrations.h"

enum { STEPS_BETWEEN_LOOKS = 4000, BUSY_MS = 1000 };

static int is_late(void *arg)
{
	const struct inspect *in = arg;
	return in->deadline_ns && now_mono_ns() > in->deadline_ns;
}

enum status inspect_fail(const struct inspect *in, int rc, struct err *e)
{
	switch (rc & 0xff) {
	case SQLITE_INTERRUPT:
		return err_set(e, ST_TIMEOUT, "%s: reading took longer than %.1f s", in->path,
			       (double)in->limit_ns / (double)NS_PER_S);
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return err_set(e, ST_BUSY, "%s: locked by another program; try again", in->path);
	case SQLITE_CORRUPT:
		return err_set(e, ST_CORRUPT, "%s: the file is damaged: %s", in->path,
			       sqlite3_errmsg(in->db));
	case SQLITE_NOTADB:
		return err_set(e, ST_UNSUPPORTED, "%s: this is not a SQLite file", in->path);
	case SQLITE_CANTOPEN:
	case SQLITE_READONLY:
		/* With no gateway, the reader has to make the -shm file. */
		return err_set(e, ST_DENIED,
			       "%s: SQLite cannot make its -shm file in the directory; run as the "
			       "gateway's user, or read a copy",
			       in->path);
	case SQLITE_NOMEM:
		return err_set(e, ST_NO_MEMORY, "%s: out of memory", in->path);
	default:
		return err_set(e, ST_IO, "%s: %s (SQLite code %d)", in->path,
			       sqlite3_errmsg(in->db), sqlite3_extended_errcode(in->db));
	}
}

enum status inspect_prepare(struct inspect *in, const char *sql, sqlite3_stmt **ret, struct err *e)
{
	int rc = sqlite3_prepare_v2(in->db, sql, -1, ret, NULL);
	return rc == SQLITE_OK ? ST_OK : inspect_fail(in, rc, e);
}

enum status inspect_step(struct inspect *in, sqlite3_stmt *stmt, struct err *e)
{
	int rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW)
		return ST_OK;
	return rc == SQLITE_DONE ? ST_END : inspect_fail(in, rc, e);
}

enum status inspect_each(struct inspect *in, const char *sql, int64_t parameter,
			 void (*row)(void *ctx, sqlite3_stmt *stmt), void *ctx, struct err *e)
{
	sqlite3_stmt *stmt = NULL;
	enum status st = inspect_prepare(in, sql, &stmt, e);
	if (!st && sqlite3_bind_parameter_count(stmt) == 1 &&
	    sqlite3_bind_int64(stmt, 1, parameter))
		st = inspect_fail(in, SQLITE_ERROR, e);
	while (!st) {
		st = inspect_step(in, stmt, e);
		if (!st)
			row(ctx, stmt);
	}
	(void)sqlite3_finalize(stmt);
	return st == ST_END ? ST_OK : st;
}

enum status inspect_begin(struct inspect *in, int64_t deadline_ns, struct err *e)
{
	in->deadline_ns = deadline_ns ? deadline_ns : now_mono_ns() + in->limit_ns;
	int rc = sqlite3_exec(in->db, "BEGIN", NULL, NULL, NULL);
	return rc == SQLITE_OK ? ST_OK : inspect_fail(in, rc, e);
}

void inspect_end(struct inspect *in)
{
	in->deadline_ns = 0;
	/* Nothing was written: a rollback just drops the snapshot, and cannot leave it open. */
	(void)sqlite3_exec(in->db, "ROLLBACK", NULL, NULL, NULL);
}

static void read_int(void *ctx, sqlite3_stmt *stmt)
{
	*(int64_t *)ctx = sqlite3_column_int64(stmt, 0);
}

static enum status check_file(struct inspect *in, struct err *e)
{
	int64_t version = -1;
	int64_t application = 0;
	int64_t tables = 0;
	enum status st = inspect_each(in, "PRAGMA user_version", 0, read_int, &version, e);
	if (!st)
		st = inspect_each(in, "PRAGMA application_id", 0, read_int, &application, e);
	if (!st)
		st = inspect_each(in,
				  "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND "
				  "name IN ('batches', 'payloads', 'deliveries', 'totals')",
				  0, read_int, &tables, e);
	if (st)
		return st;
	if (version > migration_count)
		return err_set(
			e, ST_UNSUPPORTED,
			"%s: written by a newer tidegate (schema %d, this program knows %d); "
			"use that version's tidegate",
			in->path, (int)version, migration_count);
	/* What sqlite3's .recover or .dump made of a damaged queue has no id. */
	bool is_ours = application == DB_APPLICATION_ID || application == 0;
	if (tables != 4 || !is_ours)
		return err_set(e, ST_UNSUPPORTED, "%s: this is not a tidegate queue", in->path);
	return version == migration_count ? ST_OK :
					    err_set(e, ST_UNSUPPORTED,
						    "%s: written by an older tidegate (schema %d, "
						    "this program reads %d); "
						    "start the gateway once to bring it up to date",
						    in->path, (int)version, migration_count);
}

static enum status connect_file(struct inspect *in, struct err *e)
{
	/* access: where the file is missing or closed to us, say so in words of our own. */
	if (access(in->path, R_OK)) {
		if (errno == ENOENT || errno == ENOTDIR)
			return err_set(e, ST_NOT_FOUND, "there is no queue file at %s", in->path);
		return err_set(e, ST_DENIED, "cannot read %s: %s; run as the gateway's user",
			       in->path, strerror(errno));
	}
	struct stat s;
	if (stat(in->path, &s) == 0 && !S_ISREG(s.st_mode))
		return err_set(e, ST_INVALID, "%s is %s: name the queue file", in->path,
			       S_ISDIR(s.st_mode) ? "a directory" : "no regular file");
	int rc = sqlite3_open_v2(in->path, &in->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX,
				 NULL);
	if (rc != SQLITE_OK)
		return inspect_fail(in, rc, e);
	(void)sqlite3_extended_result_codes(in->db, 1);
	(void)sqlite3_busy_timeout(in->db, BUSY_MS);
	(void)sqlite3_db_config(in->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	(void)sqlite3_db_config(in->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	(void)sqlite3_db_config(in->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	sqlite3_progress_handler(in->db, STEPS_BETWEEN_LOOKS, is_late, in);
	rc = sqlite3_exec(
		in->db, "PRAGMA query_only = ON; PRAGMA mmap_size = 0; PRAGMA cell_size_check = ON",
		NULL, NULL, NULL);
	return rc == SQLITE_OK ? check_file(in, e) : inspect_fail(in, rc, e);
}

enum status inspect_open(const char *path, int64_t limit_ns, struct inspect **ret, struct err *e)
{
	struct inspect *in = xcalloc(1, sizeof(*in));
	in->path = xstrdup(path);
	in->limit_ns = limit_ns;
	enum status st = connect_file(in, e);
	if (st) {
		inspect_close(in);
		return st;
	}
	*ret = in;
	return ST_OK;
}

const char *inspect_engine_version(void)
{
	return sqlite3_libversion();
}

void inspect_close(struct inspect *in)
{
	if (!in)
		return;
	CHECK(sqlite3_close(in->db) == SQLITE_OK);
	free(in->path);
	free(in);
}

enum status inspect_file(struct inspect *in, struct inspect_file *ret, struct err *e)
{
	struct inspect_file f = { 0 };
	int64_t version = 0;
	enum status st = inspect_begin(in, 0, e);
	if (!st)
		st = inspect_each(in, "PRAGMA page_size", 0, read_int, &f.page_bytes, e);
	if (!st)
		st = inspect_each(in, "PRAGMA page_count", 0, read_int, &f.pages, e);
	if (!st)
		st = inspect_each(in, "PRAGMA freelist_count", 0, read_int, &f.free_pages, e);
	if (!st)
		st = inspect_each(in, "PRAGMA user_version", 0, read_int, &version, e);
	inspect_end(in);
	if (st)
		return st;
	f.version = (int)version;
	char wal[4096];
	struct stat meta;
	int n = snprintf(wal, sizeof(wal), "%s-wal", in->path);
	if (n > 0 && n < (int)sizeof(wal) && stat(wal, &meta) == 0)
		f.wal_bytes = meta.st_size;
	*ret = f;
	return ST_OK;
}

/* One read transaction around inspect_each. */
static enum status read_all(struct inspect *in, const char *sql, int64_t parameter,
			    void (*row)(void *ctx, sqlite3_stmt *stmt), void *ctx, struct err *e)
{
	enum status st = inspect_begin(in, 0, e);
	if (!st)
		st = inspect_each(in, sql, parameter, row, ctx, e);
	inspect_end(in);
	return st;
}

struct balance_ctx {
	void (*row)(void *ctx, const struct inspect_balance *b);
	void *ctx;
};

static void balance_row(void *arg, sqlite3_stmt *stmt)
{
	struct balance_ctx *c = arg;
	struct inspect_balance b = {
		.destination = inspect_text(stmt, 0),
		.signal = inspect_text(stmt, 1),
		.queued = sqlite3_column_int64(stmt, 2),
		.dead = sqlite3_column_int64(stmt, 3),
		.difference = sqlite3_column_int64(stmt, 4),
	};
	for (int i = 0; i < OUTCOME_COUNT; i++)
		b.totals[i] = sqlite3_column_int64(stmt, 5 + i);
	c->row(c->ctx, &b);
}

enum status inspect_balance(struct inspect *in,
			    void (*row)(void *ctx, const struct inspect_balance *b), void *ctx,
			    struct err *e)
{
	struct balance_ctx c = { .row = row, .ctx = ctx };
	return read_all(in,
			"SELECT destination, signal, queued, dead, difference"
#define OUTCOME(name, text) ", " text
#include "schema/vocabulary.def"
#undef OUTCOME
			" FROM balance ORDER BY destination, signal",
			0, balance_row, &c, e);
}

struct loss_ctx {
	void (*row)(void *ctx, const struct inspect_loss *l);
	void *ctx;
	int64_t last_id;
	int count;
	int limit;
};

static void loss_row(void *arg, sqlite3_stmt *stmt)
{
	struct loss_ctx *c = arg;
	struct inspect_loss l = {
		.id = sqlite3_column_int64(stmt, 0),
		.at_ns = sqlite3_column_int64(stmt, 1),
		.destination = inspect_text(stmt, 2),
		.signal = inspect_text(stmt, 3),
		.class = inspect_text(stmt, 4),
		.reason = inspect_text(stmt, 5),
		.records = sqlite3_column_int64(stmt, 6),
		.bytes = sqlite3_column_int64(stmt, 7),
		.first_time_ns = sqlite3_column_int64(stmt, 8),
		.last_time_ns = sqlite3_column_int64(stmt, 9),
		.detail = inspect_text(stmt, 10),
		.is_at_known = sqlite3_column_int(stmt, 11) != 0,
	};
	if (c->count++ < c->limit) {
		c->last_id = l.id;
		c->row(c->ctx, &l);
	}
}

/* `at` by the corrected clock of its boot, as RECEIVED_AT of inspect_batches.c. */
#define LOSSES                                                                           \
	"SELECT l.id, coalesce(t.offset_ns + l.mono, l.at), d.name, l.signal, l.class, " \
	"l.reason, l.records, l.bytes, l.first_time, l.last_time, l.detail, "            \
	"coalesce(t.is_set, l.at >= %lld) FROM losses l LEFT JOIN destinations d "       \
	"ON d.id = l.destination_id LEFT JOIN boots t ON t.id = l.boot "

enum status inspect_losses(struct inspect *in, int64_t before_id, int limit,
			   void (*row)(void *ctx, const struct inspect_loss *l), void *ctx,
			   int64_t *ret_next, struct err *e)
{
	struct loss_ctx c = { .row = row, .ctx = ctx, .limit = limit };
	char sql[600];
	/* One row more than wanted tells whether there is a next page. */
	(void)snprintf(sql, sizeof(sql), LOSSES "WHERE l.id < ?1 ORDER BY l.id DESC LIMIT %d",
		       (long long)BOOT_RELEASE_NS, limit + 1);
	enum status st = read_all(in, sql, before_id > 0 ? before_id : INT64_MAX, loss_row, &c, e);
	if (!st)
		*ret_next = c.count > limit ? c.last_id : 0;
	return st;
}

enum status inspect_losses_behind(struct inspect *in, int64_t after_id, int limit,
				  void (*row)(void *ctx, const struct inspect_loss *l), void *ctx,
				  struct err *e)
{
	struct loss_ctx c = { .row = row, .ctx = ctx, .limit = limit };
	char sql[600];
	(void)snprintf(sql, sizeof(sql), LOSSES "WHERE l.id > ?1 ORDER BY l.id LIMIT %d",
		       (long long)BOOT_RELEASE_NS, limit);
	return read_all(in, sql, after_id, loss_row, &c, e);
}

enum status inspect_wall(struct inspect *in, int64_t *ret_ns, struct err *e)
{
	struct boot boot;
	enum status st = inspect_begin(in, 0, e);
	if (!st)
		st = boot_load(&boot, in->db, e);
	inspect_end(in);
	if (!st)
		*ret_ns = boot.this.is_set ? boot_wall_ns(&boot) : 0;
	return st;
}

enum status inspect_setting(struct inspect *in, const char *name, int64_t *ret, struct err *e)
{
	sqlite3_stmt *stmt = NULL;
	enum status st = inspect_begin(in, 0, e);
	if (!st)
		st = inspect_prepare(in, "SELECT value FROM settings WHERE name = ?1", &stmt, e);
	if (!st && sqlite3_bind_text(stmt, 1, name, -1, SQLITE_STATIC))
		st = inspect_fail(in, SQLITE_ERROR, e);
	if (!st)
		st = inspect_step(in, stmt, e);
	if (!st || st == ST_END)
		*ret = st ? 0 : sqlite3_column_int64(stmt, 0);
	(void)sqlite3_finalize(stmt);
	inspect_end(in);
	return st == ST_END ? ST_OK : st;
}

static void loss_sum_row(void *arg, sqlite3_stmt *stmt)
{
	struct loss_ctx *c = arg;
	struct inspect_loss l = {
		.destination = inspect_text(stmt, 0),
		.signal = inspect_text(stmt, 1),
		.reason = inspect_text(stmt, 2),
		.records = sqlite3_column_int64(stmt, 3),
	};
	c->row(c->ctx, &l);
}

enum status inspect_loss_sums(struct inspect *in, int64_t *after_id,
			      void (*row)(void *ctx, const struct inspect_loss *l), void *ctx,
			      struct err *e)
{
	struct loss_ctx c = { .row = row, .ctx = ctx };
	int64_t newest = 0;
	enum status st = inspect_begin(in, 0, e);
	if (!st)
		st = inspect_each(in, "SELECT coalesce(max(id), 0) FROM losses", 0, read_int,
				  &newest, e);
	if (!st)
		st = inspect_each(
			in,
			"SELECT coalesce(d.name, ''), l.signal, l.reason, sum(l.records) "
			"FROM losses l LEFT JOIN destinations d ON d.id = l.destination_id "
			"WHERE l.id > ?1 GROUP BY 1, 2, 3",
			*after_id, loss_sum_row, &c, e);
	inspect_end(in);
	/* A file that follows a damaged one has none at first. Its own are above those of the old
	 * one, which come back below (storage/salvage_books.c). */
	if (!st && newest > *after_id)
		*after_id = newest;
	return st;
}

struct salvage_ctx {
	void (*row)(void *ctx, const struct inspect_salvage *s);
	void *ctx;
};

static void salvage_row(void *arg, sqlite3_stmt *stmt)
{
	struct salvage_ctx *c = arg;
	struct inspect_salvage s = {
		.path = inspect_text(stmt, 0),
		.reason = inspect_text(stmt, 1),
		.state = inspect_text(stmt, 2),
		.found_at_ns = sqlite3_column_int64(stmt, 3),
		.batches = sqlite3_column_int64(stmt, 4),
		.records = sqlite3_column_int64(stmt, 5),
		.finished_at_ns = sqlite3_column_int64(stmt, 6),
	};
	c->row(c->ctx, &s);
}

enum status inspect_salvages(struct inspect *in,
			     void (*row)(void *ctx, const struct inspect_salvage *s), void *ctx,
			     struct err *e)
{
	struct salvage_ctx c = { .row = row, .ctx = ctx };
	return read_all(in,
			"SELECT path, reason, state, found_at, batches, records, finished_at "
			"FROM salvages ORDER BY id DESC LIMIT 100",
			0, salvage_row, &c, e);
}
