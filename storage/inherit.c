/* inherit.c - a damaged file is set aside, and the gateway goes on with a new one, at once. What it
 * must know before it sends anything cannot wait for the salvage:
 *
 *   boots    what former boots believed of the time, and what this one does
 *   paused   what an operator has stopped stays so
 *   usage    a budget is not spent twice
 *   ids      of batches and of the ledger go on above the old ones: a settlement that comes late
 *            meets its own batch or nothing, and a report of a loss means one loss
 *
 * The rest (batches, what they are owed, totals, ledger) is moved by storage/salvage.c in the
 * background. States but `paused` are not taken: they are what the next attempt finds.
 *
 * It is read around the damage: what of it fails is named, for the log, and the others are taken.
 * Nothing in that file can make the start fail: names and numbers that make no sense are left out.
 */
#include "storage/inherit.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "gateway/base/now.h"
#include "storage/queue_sql.h"
#include "storage/salvage_tables.h"
#include "storage/usage.h"

enum {
	BATCH_IDS_AHEAD = 1 << 20, /* what the log held is perhaps not readable */
	ROWS_MAX = 10000
};

struct taking {
	struct queue *q;
	struct salvage_file *from;
	struct inherited *ret;
};

static void note_missing(struct taking *t, const char *what)
{
	size_t n = strlen(t->ret->missing);
	(void)snprintf(t->ret->missing + n, sizeof(t->ret->missing) - n, "%s%s", n ? ", " : "",
		       what);
}

/* Each row of the query on the damaged file, as long as they can be read. */
static enum status each(struct taking *t, const char *what, const char *sql,
			enum status (*row)(struct taking *t, sqlite3_stmt *s))
{
	sqlite3_stmt *s = NULL;
	enum status written = ST_OK;
	enum status st = stmt_prepare(salvage_file_db(t->from), sql, &s, NULL);
	for (int n = 0; n < ROWS_MAX && !st && !written; n++) {
		st = stmt_step(s, NULL);
		if (!st)
			written = row(t, s);
	}
	(void)sqlite3_finalize(s);
	if (st && st != ST_END)
		note_missing(t, what);
	return written;
}

/* False: it is empty, or too long. */
static bool take_text(sqlite3_stmt *s, int i, char *ret, size_t size)
{
	struct bytes text = salvage_file_column(s, i);
	if (text.n == 0 || text.n >= size || memchr(text.p, '\0', text.n))
		return false;
	(void)snprintf(ret, size, "%.*s", (int)text.n, (const char *)text.p);
	return true;
}

static enum status run(struct taking *t, sqlite3_stmt *s)
{
	enum status st = stmt_run(s, &t->q->err);
	(void)sqlite3_finalize(s);
	return st;
}

static enum status take_boot(struct taking *t, sqlite3_stmt *from)
{
	static const char sql[] =
		"INSERT INTO boots (boot_id, offset_ns, age_offset_ns, is_set, last_mono)"
		" VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING";
	char name[SALVAGE_BOOT_MAX];
	sqlite3_stmt *s = NULL;
	if (!take_text(from, 0, name, sizeof(name)) || sqlite3_column_int64(from, 4) < 0)
		return ST_OK;
	enum status st = stmt_prepare(t->q->db, sql, &s, &t->q->err);
	if (st)
		return st;
	stmt_bind_text(s, 1, bytes_str(name));
	for (int i = 1; i < 5; i++)
		stmt_bind_int(s, i + 1, sqlite3_column_int64(from, i));
	t->ret->boots++;
	return run(t, s);
}

static enum status take_paused(struct taking *t, sqlite3_stmt *from)
{
	char name[SALVAGE_NAME_MAX];
	char kind[SALVAGE_NAME_MAX];
	struct destination_update u = { .state = DESTINATION_PAUSED,
					.since_ns = sqlite3_column_int64(from, 2) };
	if (!take_text(from, 0, name, sizeof(name)) || !take_text(from, 1, kind, sizeof(kind)))
		return ST_OK;
	(void)take_text(from, 3, u.reason, sizeof(u.reason));
	enum status st = queue_destination(t->q, name, kind, 0, false, &u.destination_id);
	t->ret->paused++;
	return st ? st : queue_update_destination(t->q, &u);
}

static enum status take_usage(struct taking *t, sqlite3_stmt *from)
{
	static const char sql[] = "INSERT INTO uplink_usage (uplink, period, bytes)"
				  " VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
	char uplink[USAGE_UPLINK_MAX];
	char period[USAGE_PERIOD_MAX];
	sqlite3_stmt *s = NULL;
	if (!take_text(from, 0, uplink, sizeof(uplink)) ||
	    !take_text(from, 1, period, sizeof(period)) || sqlite3_column_int64(from, 2) < 0 ||
	    sqlite3_column_int64(from, 2) >= SALVAGE_COUNT_LIMIT)
		return ST_OK;
	enum status st = stmt_prepare(t->q->db, sql, &s, &t->q->err);
	if (st)
		return st;
	stmt_bind_text(s, 1, bytes_str(uplink));
	stmt_bind_text(s, 2, bytes_str(period));
	stmt_bind_int(s, 3, sqlite3_column_int64(from, 2));
	t->ret->usage_rows++;
	return run(t, s);
}

static enum status take_rows(struct taking *t)
{
	bool is_first_version = salvage_file_is_first_version(t->from);
	enum status st = each(t, "paused destinations",
			      "SELECT name, kind, state_since, reason FROM destinations"
			      " WHERE state = 'paused' ORDER BY id",
			      take_paused);
	if (!st && !is_first_version)
		st = each(t, "the uplinks' usage", "SELECT uplink, period, bytes FROM uplink_usage",
			  take_usage);
	if (!st && !is_first_version)
		st = each(t, "boots",
			  "SELECT boot_id, offset_ns, age_offset_ns, is_set, last_mono FROM"
			  " (SELECT * FROM boots ORDER BY id DESC LIMIT 64) ORDER BY id",
			  take_boot);
	return st;
}

/* Microseconds since 1970 are above any count of what came until now. */
static int64_t above_all(void)
{
	int64_t now = now_wall_ns();
	return (now > BOOT_RELEASE_NS ? now : BOOT_RELEASE_NS) / 1000;
}

static int64_t greater(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* What is at or below settings.losses_reported counts as reported, and is not given out. */
static enum status take_ids(struct taking *t, int64_t acked_id)
{
	int64_t last = t->from ? salvage_file_last_id(t->from) : 0;
	int64_t loss = 0;
	int64_t reported = 0;
	if (last >= SALVAGE_ID_LIMIT)
		last = 0;
	last = greater(greater(last + BATCH_IDS_AHEAD, above_all()), acked_id);
	bool is_known = t->from && !salvage_tables_last_loss(t->from, &loss) &&
			!salvage_tables_reported(t->from, &reported);
	loss = greater(loss, reported);
	if (!is_known || loss >= SALVAGE_ID_LIMIT)
		loss = above_all();
	enum status st = queue_skip_ids(t->q, last);
	return st || !loss ? st : queue_save_setting(t->q, "losses_reported", loss);
}

enum status inherit_take(struct queue *q, const char *path, int64_t acked_id, struct inherited *ret)
{
	static const atomic_bool never;
	struct err e = { .text = "" };
	struct taking t = { .q = q, .ret = ret };
	*ret = (struct inherited){ .is_news = true };
	(void)snprintf(ret->path, sizeof(ret->path), "%s", path);
	if (salvage_file_open(path, &never, &t.from, &e))
		note_missing(&t, "the file");
	enum status st = t.from ? take_rows(&t) : ST_OK;
	if (!st)
		st = take_ids(&t, acked_id);
	salvage_file_close(t.from);
	return st;
}
