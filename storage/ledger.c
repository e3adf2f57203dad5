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
 * as telemetry says how far it is (settings.losses_reported), and is waited for, a week at most;
 * what it has not seen never joins what it has.
 *
 * Ages and hours are those of storage/boot.h: a row of a boot that did not know the time yet is as
 * old as that boot has run, and not as 1970. The time of a former boot's row does not change any
 * more. Where that boot knew it, it is written into the row, and where not, then after a month, so
 * that a ledger of years does not need the boots of years. Rows whose time nobody knows join
 * nothing but each other, and only those of one boot while that boot may still learn the time.
 *
 * A pass goes through the table in slices of SLICE rows, up to the first slice that is too young;
 * rows of one slice are folded. What the border of a slice keeps apart meets in a later pass, when
 * the slices hold fewer rows each. */
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
	int64_t at_ns;  /* corrected */
	int64_t age_ns; /* a lower bound; INT64_MAX: nobody will ever know */
	int64_t boot;   /* 0: none */
	int64_t mono_ns;
	int64_t destination_id;
	char signal[WORD];
	char class[WORD];
	char reason[WORD];
	char detail[DETAIL];
	int64_t records;
	int64_t bytes;
	int64_t first_time_ns;
	int64_t last_time_ns;
	bool is_at_known;
	bool is_reported;
	bool is_changed;
	bool is_gone;
};

static void read_word(sqlite3_stmt *s, int column, char *ret, size_t size)
{
	const char *text = (const char *)sqlite3_column_text(s, column);
	(void)snprintf(ret, size, "%s", text ? text : "");
}

static void read_row(const struct queue *q, sqlite3_stmt *s, struct row *r)
{
	int64_t at = sqlite3_column_int64(s, 1);
	*r = (struct row){ .id = sqlite3_column_int64(s, 0),
			   .at_ns = sqlite3_column_int64(s, 13),
			   .boot = sqlite3_column_int64(s, 11),
			   .mono_ns = sqlite3_column_int64(s, 12),
			   .destination_id = sqlite3_column_int64(s, 2),
			   .records = sqlite3_column_int64(s, 6),
			   .bytes = sqlite3_column_int64(s, 7),
			   .first_time_ns = sqlite3_column_int64(s, 8),
			   .last_time_ns = sqlite3_column_int64(s, 9),
			   .is_at_known = sqlite3_column_type(s, 14) == SQLITE_NULL ?
						  at >= BOOT_RELEASE_NS :
						  sqlite3_column_int(s, 14) != 0,
			   .is_reported = sqlite3_column_int(s, 15) != 0 };
	r->age_ns = !r->boot && !r->is_at_known ? INT64_MAX :
						  boot_age_ns(&q->boot, r->boot, r->mono_ns, at);
	read_word(s, 3, r->signal, sizeof(r->signal));
	read_word(s, 4, r->class, sizeof(r->class));
	read_word(s, 5, r->reason, sizeof(r->reason));
	read_word(s, 10, r->detail, sizeof(r->detail));
}

/* Those of the next SLICE rows that are old enough. *ret_next: behind them; 0: there are none. */
static enum status read_slice(struct queue *q, int64_t cursor, struct row *rows, size_t *ret_count,
			      int64_t *ret_next)
{
	sqlite3_stmt *s = NULL;
	size_t seen = 0;
	size_t n = 0;
	int64_t last_id = 0;
	enum status st = queue_statement(q, Q_LEDGER_SLICE, &s);
	if (st)
		return st;
	stmt_bind_int(s, 1, cursor);
	stmt_bind_int(s, 2, SLICE);
	stmt_bind_int(s, 3, INT64_MAX);
	for (; seen < SLICE && (st = stmt_step(s, &q->err)) == ST_OK; seen++) {
		struct row *r = &rows[n];
		read_row(q, s, r);
		last_id = r->id;
		if (r->age_ns >= WAIT_NS || (r->age_ns >= DAY_NS && r->is_reported))
			n++;
	}
	stmt_reset(s);
	if (st && st != ST_END)
		return st;
	*ret_count = n;
	*ret_next = seen == SLICE && n > 0 ? last_id : 0;
	return ST_OK;
}

/* What its boot tells of the time of a row is told for good. */
static void settle_time(const struct queue *q, struct row *r)
{
	if (!r->boot || r->boot == q->boot.this.id || (!r->is_at_known && r->age_ns < MONTH_NS))
		return;
	r->boot = 0;
	r->is_changed = true;
}

/* The hour, day or month that the row belongs to. */
static int64_t bucket(const struct row *r)
{
	int64_t length = r->age_ns > 366 * DAY_NS ? MONTH_NS :
			 r->age_ns > MONTH_NS     ? DAY_NS :
						    HOUR_NS;
	return r->at_ns / length * length;
}

static bool is_of_one_time(const struct row *a, const struct row *b)
{
	if (a->is_at_known != b->is_at_known || (!a->is_at_known && a->boot != b->boot))
		return false;
	return (!a->is_at_known && !a->boot) || bucket(a) == bucket(b);
}

static bool is_alike(const struct row *a, const struct row *b)
{
	return a->destination_id == b->destination_id && a->is_reported == b->is_reported &&
	       strcmp(a->signal, b->signal) == 0 && strcmp(a->class, b->class) == 0 &&
	       strcmp(a->reason, b->reason) == 0 &&
	       (a->age_ns > MONTH_NS || strcmp(a->detail, b->detail) == 0) && is_of_one_time(a, b);
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
	stmt_bind_int(s, 6, r->at_ns);
	if (r->boot) {
		stmt_bind_int(s, 7, r->boot);
		stmt_bind_int(s, 8, r->mono_ns);
	}
	return stmt_run(s, &q->err);
}

enum status ledger_fold(struct queue *q, int64_t cursor, int64_t *ret_next)
{
	struct row rows[SLICE];
	size_t n = 0;
	int64_t next = 0;
	enum status st = read_slice(q, cursor, rows, &n, &next);
	for (size_t i = 0; i < n && !st; i++)
		settle_time(q, &rows[i]);
	for (size_t i = 0; i < n && !st; i++)
		for (size_t k = i + 1; k < n && !rows[i].is_gone; k++)
			if (!rows[k].is_gone && is_alike(&rows[i], &rows[k]))
				fold(&rows[i], &rows[k]);
	for (size_t i = 0; i < n && !st; i++)
		st = write_row(q, &rows[i]);
	if (!st)
		*ret_next = next;
	return st;
}
