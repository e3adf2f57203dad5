/* ledger.c - a ledger that is kept for years must not become a queue of its own.
 *
 * Rows of the last day stay as they were written. Older ones of one destination, signal, class,
 * reason and rule are folded: those of an hour into one row, after a month those of a day, after a
 * year those of a month. Sums, time ranges and the time of the first row stay; nothing is
 * forgotten. So each (destination, signal, class, reason, rule) has at most some 1,100 rows for the
 * last year and 12 for each before. Past a month the words of a backend that refused records part
 * no rows any more: the first ones stay. The balance does not come from here, but from `totals`.
 *
 * A folded row keeps the smallest id of its rows, and the newest row of all is left alone: whoever
 * follows the ledger by ids neither sees a loss twice nor misses one. The one that reports losses
 * as telemetry says how far it is (settings.losses_reported), and is waited for, a week at most.
 *
 * A pass goes through the table in slices of SLICE rows; rows of one slice are folded. What the
 * border of a slice keeps apart meets in a later pass, when the slices hold fewer rows each. */
#include "storage/ledger.h"

#include <stdio.h>
#include <string.h>

#include "gateway/base/now.h"
#include "storage/queue_sql.h"

enum { SLICE = 128, WORD = 16, DETAIL = 256 };
#define HOUR_NS  (INT64_C(3600) * NS_PER_S)
#define DAY_NS   (24 * HOUR_NS)
#define MONTH_NS (30 * DAY_NS)
#define WAIT_NS  (7 * DAY_NS) /* for a report that does not get through */

struct row {
	int64_t id;
	int64_t at_ns;
	int64_t destination_id;
	char signal[WORD];
	char class[WORD];
	char reason[WORD];
	char detail[DETAIL];
	int64_t records;
	int64_t bytes;
	int64_t first_time_ns;
	int64_t last_time_ns;
	bool is_changed;
	bool is_gone;
};

static void read_word(sqlite3_stmt *s, int column, char *ret, size_t size)
{
	const char *text = (const char *)sqlite3_column_text(s, column);
	(void)snprintf(ret, size, "%s", text ? text : "");
}

static enum status read_slice(struct queue *q, int64_t cursor, struct row *rows, size_t *ret_count)
{
	sqlite3_stmt *s = NULL;
	size_t n = 0;
	enum status st = queue_statement(q, Q_LEDGER_OLD, &s);
	if (st)
		return st;
	stmt_bind_int(s, 1, cursor);
	stmt_bind_int(s, 2, boot_wall_ns(&q->boot) - DAY_NS);
	stmt_bind_int(s, 3, SLICE);
	stmt_bind_int(s, 4, boot_wall_ns(&q->boot) - WAIT_NS);
	stmt_bind_int(s, 5, INT64_MAX);
	while (n < SLICE && (st = stmt_step(s, &q->err)) == ST_OK) {
		struct row *r = &rows[n++];
		*r = (struct row){ .id = sqlite3_column_int64(s, 0),
				   .at_ns = sqlite3_column_int64(s, 1),
				   .destination_id = sqlite3_column_int64(s, 2),
				   .records = sqlite3_column_int64(s, 6),
				   .bytes = sqlite3_column_int64(s, 7),
				   .first_time_ns = sqlite3_column_int64(s, 8),
				   .last_time_ns = sqlite3_column_int64(s, 9) };
		read_word(s, 3, r->signal, sizeof(r->signal));
		read_word(s, 4, r->class, sizeof(r->class));
		read_word(s, 5, r->reason, sizeof(r->reason));
		read_word(s, 10, r->detail, sizeof(r->detail));
	}
	stmt_reset(s);
	if (st && st != ST_END)
		return st;
	*ret_count = n;
	return ST_OK;
}

/* The hour, day or month that the row belongs to. */
static int64_t bucket(int64_t at_ns, int64_t now_ns)
{
	int64_t age = now_ns - at_ns;
	int64_t length = age > 366 * DAY_NS ? MONTH_NS : age > MONTH_NS ? DAY_NS : HOUR_NS;
	return at_ns / length * length;
}

static bool is_alike(const struct row *a, const struct row *b, int64_t now_ns)
{
	return a->destination_id == b->destination_id && strcmp(a->signal, b->signal) == 0 &&
	       strcmp(a->class, b->class) == 0 && strcmp(a->reason, b->reason) == 0 &&
	       (now_ns - a->at_ns > MONTH_NS || strcmp(a->detail, b->detail) == 0) &&
	       bucket(a->at_ns, now_ns) == bucket(b->at_ns, now_ns);
}

static void fold(struct row *into, struct row *r)
{
	into->records += r->records;
	into->bytes += r->bytes;
	if (r->first_time_ns && (!into->first_time_ns || r->first_time_ns < into->first_time_ns))
		into->first_time_ns = r->first_time_ns;
	if (r->last_time_ns > into->last_time_ns)
		into->last_time_ns = r->last_time_ns;
	into->is_changed = true;
	r->is_gone = true;
}

static enum status write_row(struct queue *q, const struct row *r)
{
	sqlite3_stmt *s = NULL;
	if (r->is_gone)
		return queue_run(q, Q_LEDGER_DELETE, r->id, 0);
	enum status st = r->is_changed ? queue_statement(q, Q_LEDGER_MERGE, &s) : ST_OK;
	if (st || !r->is_changed)
		return st;
	stmt_bind_int(s, 1, r->id);
	stmt_bind_int(s, 2, r->records);
	stmt_bind_int(s, 3, r->bytes);
	stmt_bind_nonzero(s, 4, r->first_time_ns);
	stmt_bind_nonzero(s, 5, r->last_time_ns);
	return stmt_run(s, &q->err);
}

enum status ledger_fold(struct queue *q, int64_t cursor, int64_t *ret_next)
{
	struct row rows[SLICE];
	size_t n = 0;
	int64_t now = boot_wall_ns(&q->boot);
	enum status st = read_slice(q, cursor, rows, &n);
	for (size_t i = 0; i < n && !st; i++)
		for (size_t k = i + 1; k < n && !rows[i].is_gone; k++)
			if (!rows[k].is_gone && is_alike(&rows[i], &rows[k], now))
				fold(&rows[i], &rows[k]);
	for (size_t i = 0; i < n && !st; i++)
		st = write_row(q, &rows[i]);
	if (!st)
		*ret_next = n == SLICE ? rows[n - 1].id : 0;
	return st;
}
