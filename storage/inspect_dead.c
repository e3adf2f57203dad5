/* inspect_dead.c - choosing deliveries, and grouping the dead ones.
 *
 * A walk reads one destination's index (deliveries_ready, deliveries_dead) in windows of
 * WINDOW_ROWS, each a read transaction of its own, and applies the other conditions here: a
 * selector that matches nothing in millions of rows holds no snapshot for long, and costs the
 * writer nothing. What changes the queue (storage/redrive.c) gets ids from here and looks again
 * within its transaction, so a row that moved meanwhile is left alone.
 *
 * Ready ones are read class by class. The cursor is a batch id, with the number of classes that are
 * done above it: ids stay far below 2^56 (a file that follows a damaged one begins at the
 * microseconds since 1970).
 *
 * Groups are gathered in a table of INSPECT_GROUPS_MAX; what finds no place there counts for the
 * sum alone. Backends have few reasons once the numbers are out of them (storage/reason.c). */
#include "storage/inspect_dead.h"

#include <stdio.h>
#include <stdlib.h>

#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"
#include "storage/inspect_read.h"

enum { WINDOW_ROWS = 2000, CLASS_SHIFT = 56 };
#define ID_MASK ((INT64_C(1) << CLASS_SHIFT) - 1)

/* Times as the clocks of their boots were corrected to. */
#define OWED_COLUMNS                                                                   \
	"SELECT q.batch_id, b.signal, b.class, b.service, b.preview, "                 \
	"q.last_error, q.last_status, q.records, b.stored_bytes, q.attempts, "         \
	"coalesce(a.offset_ns + q.last_mono, q.last_attempt_at), "                     \
	"coalesce(t.offset_ns + b.received_mono, b.received_at) FROM deliveries q "    \
	"LEFT JOIN batches b ON b.id = q.batch_id LEFT JOIN boots t ON t.id = b.boot " \
	"LEFT JOIN boots a ON a.id = q.last_boot "                                     \
	"WHERE q.destination_id = ?1 "

static const char ready_sql[] =
	OWED_COLUMNS "AND q.state = 'ready' AND q.priority = ?2 AND q.batch_id > ?3 "
		     "ORDER BY q.batch_id LIMIT ?4";
static const char dead_sql[] = OWED_COLUMNS "AND q.state = 'dead' AND ?2 = 0 AND q.batch_id > ?3 "
					    "ORDER BY q.batch_id LIMIT ?4";
static const char one_sql[] = OWED_COLUMNS "AND q.state = ?2 AND q.batch_id = ?3 LIMIT ?4";

struct walk {
	struct inspect *in;
	const struct inspect_selector *s;
	int64_t destination_id;
	char reason[REASON_MAX]; /* that is asked for */
	int64_t cursor;
	size_t max;
	size_t found;
	void (*row)(void *ctx, const struct inspect_owed *o);
	void *ctx;
};

enum status inspect_destination(struct inspect *in, const char *name, int64_t *ret_id,
				bool *ret_is_configured, struct err *e)
{
	sqlite3_stmt *stmt = NULL;
	enum status st = inspect_begin(in, 0, e);
	if (!st)
		st = inspect_prepare(
			in, "SELECT id, is_configured FROM destinations WHERE name = ?1", &stmt, e);
	if (!st && sqlite3_bind_text(stmt, 1, name, -1, SQLITE_STATIC))
		st = inspect_fail(in, SQLITE_ERROR, e);
	if (!st)
		st = inspect_step(in, stmt, e);
	if (!st) {
		*ret_id = sqlite3_column_int64(stmt, 0);
		*ret_is_configured = sqlite3_column_int(stmt, 1) != 0;
	}
	(void)sqlite3_finalize(stmt);
	inspect_end(in);
	return st == ST_END ?
		       err_set(e, ST_NOT_FOUND, "the queue has no destination \"%s\"", name) :
		       st;
}

static bool is_text(const char *want, const char *text)
{
	return !want || (text && strcmp(want, text) == 0);
}

static void read_owed(const struct walk *w, sqlite3_stmt *stmt, struct inspect_owed *o)
{
	*o = (struct inspect_owed){
		.batch_id = sqlite3_column_int64(stmt, 0),
		.destination = w->s->destination,
		.signal = inspect_text(stmt, 1),
		.class = inspect_text(stmt, 2),
		.service = inspect_text(stmt, 3),
		.preview = inspect_text(stmt, 4),
		.error = inspect_text(stmt, 5),
		.status = sqlite3_column_int(stmt, 6),
		.records = sqlite3_column_int64(stmt, 7),
		.bytes = sqlite3_column_int64(stmt, 8),
		.attempts = sqlite3_column_int64(stmt, 9),
		.last_attempt_at_ns = sqlite3_column_int64(stmt, 10),
		.received_at_ns = sqlite3_column_int64(stmt, 11),
	};
}

static bool is_wanted(const struct walk *w, struct inspect_owed *o)
{
	const struct inspect_selector *s = w->s;
	if (!is_text(s->signal, o->signal) || !is_text(s->class, o->class) ||
	    (s->has_status && s->status != o->status) ||
	    (s->received_to_ns && o->received_at_ns > s->received_to_ns))
		return false;
	reason_of(o->error, o->reason, sizeof(o->reason));
	return !s->reason || strcmp(o->reason, w->reason) == 0;
}

static int64_t classes_done(const struct walk *w)
{
	return w->cursor >> CLASS_SHIFT;
}

/* The class whose turn it is; the dead are read without. */
static int64_t class_of_window(const struct walk *w)
{
	int64_t done = classes_done(w);
	return w->s->is_least_urgent_first ? RECORD_CLASS_COUNT - 1 - done : done;
}

static bool skip_to_next_class(struct walk *w)
{
	bool has_next = w->s->state == DELIVERY_READY && !w->s->batch_id &&
			classes_done(w) < RECORD_CLASS_COUNT - 1;
	if (has_next)
		w->cursor = (classes_done(w) + 1) << CLASS_SHIFT;
	return has_next;
}

static enum status bind_window(const struct walk *w, sqlite3_stmt *stmt, struct err *e)
{
	const struct inspect_selector *s = w->s;
	int rc = sqlite3_bind_int64(stmt, 1, w->destination_id);
	if (s->batch_id)
		rc |= sqlite3_bind_text(stmt, 2, delivery_state_text(s->state), -1, SQLITE_STATIC);
	else
		rc |= sqlite3_bind_int64(stmt, 2,
					 s->state == DELIVERY_READY ? class_of_window(w) : 0);
	rc |= sqlite3_bind_int64(stmt, 3, s->batch_id ? s->batch_id : w->cursor & ID_MASK);
	rc |= sqlite3_bind_int(stmt, 4, WINDOW_ROWS);
	return rc == SQLITE_OK ? ST_OK : inspect_fail(w->in, SQLITE_ERROR, e);
}

/* The rows of one window. ST_END: they were the last. */
static enum status visit_rows(struct walk *w, sqlite3_stmt *stmt, struct err *e)
{
	enum status st = ST_OK;
	int n = 0;
	while (!st && w->found < w->max) {
		st = inspect_step(w->in, stmt, e);
		if (st)
			break;
		struct inspect_owed o;
		read_owed(w, stmt, &o);
		w->cursor = classes_done(w) << CLASS_SHIFT | (o.batch_id & ID_MASK);
		n++;
		if (!is_wanted(w, &o))
			continue;
		w->row(w->ctx, &o);
		w->found++;
	}
	return st == ST_END && n == WINDOW_ROWS ? ST_OK : st;
}

static enum status walk_window(struct walk *w, struct err *e)
{
	const char *sql = w->s->batch_id                ? one_sql :
			  w->s->state == DELIVERY_READY ? ready_sql :
							  dead_sql;
	sqlite3_stmt *stmt = NULL;
	enum status st = inspect_begin(w->in, 0, e);
	if (!st)
		st = inspect_prepare(w->in, sql, &stmt, e);
	if (!st)
		st = bind_window(w, stmt, e);
	if (!st)
		st = visit_rows(w, stmt, e);
	(void)sqlite3_finalize(stmt);
	inspect_end(w->in);
	if (st == ST_END && skip_to_next_class(w))
		return ST_OK;
	return w->s->batch_id && !st ? ST_END : st;
}

enum status inspect_owed(struct inspect *in, const struct inspect_selector *s, int64_t *cursor,
			 size_t max, void (*row)(void *ctx, const struct inspect_owed *o),
			 void *ctx, struct err *e)
{
	struct walk w = { .in = in, .s = s, .cursor = *cursor, .max = max, .row = row, .ctx = ctx };
	bool is_configured;
	reason_of(s->reason, w.reason, sizeof(w.reason));
	enum status st =
		inspect_destination(in, s->destination, &w.destination_id, &is_configured, e);
	int64_t end = now_mono_ns() + in->limit_ns / 2;
	/* Behind a full page one more look would tell whether there is more; the next call does. */
	while (!st && w.found < max) {
		st = walk_window(&w, e);
		if (!st && now_mono_ns() >= end)
			break;
	}
	if (st && st != ST_END)
		return st;
	*cursor = st == ST_END ? 0 : w.cursor;
	return ST_OK;
}

/* Groups */

struct gathering {
	struct inspect_dead_groups *groups;
	const char *destination;
	bool is_cut;
};

static enum signal signal_of(const char *text)
{
	int i = 0;
	while (i < SIGNAL_COUNT - 1 && !is_text(signal_text((enum signal)i), text))
		i++;
	return (enum signal)i;
}

static void read_held(sqlite3_stmt *stmt, char *kind, size_t kind_size, unsigned *ret_signals)
{
	const char *text = (const char *)sqlite3_column_text(stmt, 0);
	const char *signal = (const char *)sqlite3_column_text(stmt, 1);
	(void)snprintf(kind, kind_size, "%s", text ? text : "");
	if (signal)
		*ret_signals |= 1u << signal_of(signal);
}

enum status inspect_held(struct inspect *in, int64_t destination_id, char *kind, size_t kind_size,
			 unsigned *ret_signals, struct err *e)
{
	static const char sql[] =
		"SELECT t.kind, h.signal FROM destinations t LEFT JOIN (SELECT signal, sum(CASE "
		"outcome WHEN 'accepted' THEN records ELSE -records END) AS n FROM totals WHERE "
		"destination_id = ?1 GROUP BY signal) h ON h.n > 0 WHERE t.id = ?1";
	sqlite3_stmt *stmt = NULL;
	*ret_signals = 0;
	enum status st = inspect_begin(in, 0, e);
	if (!st)
		st = inspect_prepare(in, sql, &stmt, e);
	if (!st && sqlite3_bind_int64(stmt, 1, destination_id))
		st = inspect_fail(in, SQLITE_ERROR, e);
	while (!st && (st = inspect_step(in, stmt, e)) == ST_OK)
		read_held(stmt, kind, kind_size, ret_signals);
	(void)sqlite3_finalize(stmt);
	inspect_end(in);
	return st == ST_END ? ST_OK : st;
}

static struct inspect_dead_group *group_of(struct gathering *g, const struct inspect_owed *o)
{
	struct inspect_dead_groups *all = g->groups;
	enum signal signal = signal_of(o->signal);
	/* The newest first: dead letters of one reason come in rows. */
	for (size_t i = all->count; i-- > 0;) {
		struct inspect_dead_group *group = &all->items[i];
		if (group->status == o->status && group->signal == signal &&
		    strcmp(group->reason, o->reason) == 0 &&
		    strcmp(group->destination, g->destination) == 0)
			return group;
	}
	if (all->count == INSPECT_GROUPS_MAX)
		return NULL;
	struct inspect_dead_group *group = &all->items[all->count++];
	*group = (struct inspect_dead_group){ .destination = xstrdup(g->destination),
					      .status = o->status,
					      .signal = signal,
					      .first_died_ns = o->last_attempt_at_ns,
					      .last_died_ns = o->last_attempt_at_ns,
					      .example_batch_id = o->batch_id };
	(void)snprintf(group->reason, sizeof(group->reason), "%s", o->reason);
	return group;
}

static void gather(void *ctx, const struct inspect_owed *o)
{
	struct gathering *g = ctx;
	struct inspect_count *sum = &g->groups->sum;
	struct inspect_dead_group *group = group_of(g, o);
	sum->batches++;
	sum->records += o->records;
	sum->bytes += o->bytes;
	g->is_cut |= !group;
	if (!group)
		return;
	group->batches++;
	group->records += o->records;
	group->bytes += o->bytes;
	if (o->last_attempt_at_ns < group->first_died_ns)
		group->first_died_ns = o->last_attempt_at_ns;
	if (o->last_attempt_at_ns > group->last_died_ns)
		group->last_died_ns = o->last_attempt_at_ns;
}

struct names {
	char **items;
	size_t count;
};

static void add_name(void *ctx, sqlite3_stmt *stmt)
{
	struct names *n = ctx;
	char **items = realloc(n->items, (n->count + 1) * sizeof(*items));
	CHECK(items);
	n->items = items;
	n->items[n->count++] = xstrdup(inspect_text(stmt, 0));
}

/* The destinations that have dead letters, or the one that is asked for. */
static enum status list_names(struct inspect *in, const char *wanted, struct names *n,
			      struct err *e)
{
	if (wanted) {
		n->items = xcalloc(1, sizeof(*n->items));
		n->items[n->count++] = xstrdup(wanted);
		return ST_OK;
	}
	enum status st = inspect_begin(in, 0, e);
	if (!st)
		st = inspect_each(in,
				  "SELECT name FROM destinations d WHERE EXISTS (SELECT 1 FROM "
				  "deliveries WHERE state = 'dead' AND destination_id = d.id) "
				  "ORDER BY name",
				  0, add_name, n, e);
	inspect_end(in);
	return st;
}

static int by_records(const void *a, const void *b)
{
	const struct inspect_dead_group *x = a;
	const struct inspect_dead_group *y = b;
	if (x->records != y->records)
		return x->records < y->records ? 1 : -1;
	return strcmp(x->reason, y->reason);
}

enum status inspect_dead_groups(struct inspect *in, const struct inspect_selector *s,
				struct inspect_dead_groups *ret, struct err *e)
{
	struct names names = { 0 };
	struct inspect_dead_groups groups = {
		.items = xcalloc(INSPECT_GROUPS_MAX, sizeof(*groups.items)), .is_complete = true
	};
	enum status st = list_names(in, s->destination, &names, e);
	for (size_t i = 0; i < names.count && !st; i++) {
		struct inspect_selector one = *s;
		struct gathering g = { .groups = &groups, .destination = names.items[i] };
		int64_t cursor = 0;
		one.destination = names.items[i];
		st = inspect_owed(in, &one, &cursor, SIZE_MAX, gather, &g, e);
		groups.is_complete &= cursor == 0 && !g.is_cut;
	}
	for (size_t i = 0; i < names.count; i++)
		free(names.items[i]);
	free(names.items);
	if (st) {
		inspect_dead_groups_done(&groups);
		return st;
	}
	qsort(groups.items, groups.count, sizeof(*groups.items), by_records);
	*ret = groups;
	return ST_OK;
}

void inspect_dead_groups_done(struct inspect_dead_groups *g)
{
	for (size_t i = 0; i < g->count; i++)
		free(g->items[i].destination);
	free(g->items);
	*g = (struct inspect_dead_groups){ 0 };
}
