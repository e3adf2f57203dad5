/* inspect_shape.c - what each destination holds: its state, what waits, what is dead, its totals.
 *
 * All numbers come from one snapshot, so that the books can be checked against each other.
 *
 * Counting is a walk over every delivery with its batch, about a microsecond each. A queue of small
 * requests can hold millions, and an API call must not hold a snapshot that long. So the walk gets
 * most of the time limit and no more; where that is not enough, the totals tell how many records
 * must be waiting (accepted less all that left), and a sample of batches tells how many bytes that
 * is. The shape then says that it is an estimate. A table of counters that the writer keeps was
 * rejected: it would cost every commit, and could not be used to check itself. */
#include <stdio.h>

#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"
#include "storage/inspect_read.h"

enum { DESTINATIONS_CAP = 1024 };

static int text_index(const char *text, const char *(*name)(int), int count)
{
	for (int i = 0; i < count; i++)
		if (text && strcmp(text, name(i)) == 0)
			return i;
	return -1;
}

static const char *signal_name_of(int i)
{
	return signal_text((enum signal)i);
}

static const char *outcome_name_of(int i)
{
	return outcome_text((enum outcome)i);
}

static struct inspect_destination *find(struct inspect_shape *s, int64_t id)
{
	for (size_t i = 0; i < s->count; i++)
		if (s->items[i].id == id)
			return &s->items[i];
	return NULL;
}

static char *copy_text(sqlite3_stmt *stmt, int column)
{
	const char *text = inspect_text(stmt, column);
	return text ? xstrdup(text) : NULL;
}

static void destination_row(void *ctx, sqlite3_stmt *stmt)
{
	struct inspect_shape *s = ctx;
	if (s->count == DESTINATIONS_CAP)
		return;
	s->items[s->count++] = (struct inspect_destination){
		.id = sqlite3_column_int64(stmt, 0),
		.name = copy_text(stmt, 1),
		.kind = copy_text(stmt, 2),
		.is_configured = sqlite3_column_int(stmt, 3) != 0,
		.state = copy_text(stmt, 4),
		.state_since_ns = sqlite3_column_int64(stmt, 5),
		.reason = copy_text(stmt, 6),
		.next_attempt_at_ns = sqlite3_column_int64(stmt, 7),
		.last_success_at_ns = sqlite3_column_int64(stmt, 8),
	};
}

static void total_row(void *ctx, sqlite3_stmt *stmt)
{
	struct inspect_destination *d = find(ctx, sqlite3_column_int64(stmt, 0));
	int signal = text_index(inspect_text(stmt, 1), signal_name_of, SIGNAL_COUNT);
	int outcome = text_index(inspect_text(stmt, 2), outcome_name_of, OUTCOME_COUNT);
	if (d && signal >= 0 && outcome >= 0)
		d->totals[signal][outcome] = sqlite3_column_int64(stmt, 3);
}

/* One delivery. Summing here saves SQLite's sort for GROUP BY, which is most of the work. */
static void count_row(void *ctx, sqlite3_stmt *stmt)
{
	struct inspect_destination *d = find(ctx, sqlite3_column_int64(stmt, 0));
	int signal = text_index(inspect_text(stmt, 1), signal_name_of, SIGNAL_COUNT);
	if (!d || signal < 0)
		return;
	bool is_dead = inspect_text(stmt, 2)[0] == delivery_state_text(DELIVERY_DEAD)[0];
	struct inspect_count *c = is_dead ? &d->dead[signal] : &d->ready[signal];
	int64_t received_at_ns = sqlite3_column_int64(stmt, 5);
	c->batches++;
	c->records += sqlite3_column_int64(stmt, 3);
	c->bytes += sqlite3_column_int64(stmt, 4);
	if (!is_dead && (d->oldest_at_ns == 0 || received_at_ns < d->oldest_at_ns))
		d->oldest_at_ns = received_at_ns;
}

/* The dead are few: by their index. The ready are most of the table, so it is read in its own
 * order, which is that of the batches too; the plus keeps the planner from jumping about by an
 * index. */
#define RECEIVED_AT "coalesce(t.offset_ns + b.received_mono, b.received_at)"
#define COUNT_SQL(state, value)                                                               \
	"SELECT q.destination_id, b.signal, q.state, q.records, b.stored_bytes, " RECEIVED_AT \
	" FROM deliveries q JOIN batches b ON b.id = q.batch_id LEFT JOIN boots t "           \
	"ON t.id = b.boot WHERE " state " = '" value "'"

static void oldest_row(void *ctx, sqlite3_stmt *stmt)
{
	struct inspect_destination *d = ctx;
	d->oldest_at_ns = sqlite3_column_int64(stmt, 0);
}

/* For an estimate: the front of each class, by index, which is cheap however long the queue is. Ids
 * follow the time of receipt, but for what a salvage moved over. */
#define FRONT(priority)                                                                          \
	"SELECT (SELECT batch_id FROM deliveries WHERE state = 'ready' AND destination_id = ?1 " \
	"AND priority = " #priority " ORDER BY batch_id LIMIT 1) AS id"

static enum status read_oldest(struct inspect *in, struct inspect_destination *d, struct err *e)
{
	static const char sql[] =
		"SELECT coalesce(min(" RECEIVED_AT "), 0) FROM (" FRONT(0) " UNION ALL " FRONT(
			1) " UNION ALL " FRONT(2) ") f JOIN batches b ON b.id = f.id "
						  "LEFT JOIN boots t ON t.id = b.boot";
	return inspect_each(in, sql, d->id, oldest_row, d, e);
}

struct sample {
	int64_t records[SIGNAL_COUNT];
	int64_t bytes[SIGNAL_COUNT];
};

static void sample_row(void *ctx, sqlite3_stmt *stmt)
{
	struct sample *p = ctx;
	int signal = text_index(inspect_text(stmt, 0), signal_name_of, SIGNAL_COUNT);
	if (signal < 0)
		return;
	p->records[signal] = sqlite3_column_int64(stmt, 1);
	p->bytes[signal] = sqlite3_column_int64(stmt, 2);
}

int64_t inspect_difference(const struct inspect_destination *d, enum signal s)
{
	int64_t left = d->totals[s][OUTCOME_ACCEPTED] - d->ready[s].records - d->dead[s].records;
	for (int i = 0; i < OUTCOME_COUNT; i++)
		if (i != OUTCOME_ACCEPTED)
			left -= d->totals[s][i];
	return left;
}

static enum status estimate_ready(struct inspect *in, struct inspect_destination *d, struct err *e)
{
	struct sample p = { 0 };
	enum status st = inspect_each(
		in,
		"SELECT b.signal, sum(q.records), sum(b.stored_bytes) FROM (SELECT batch_id, "
		"records FROM deliveries WHERE state = 'ready' AND destination_id = ?1 "
		"ORDER BY priority, batch_id LIMIT 2000) q JOIN batches b ON b.id = q.batch_id "
		"GROUP BY 1",
		d->id, sample_row, &p, e);
	if (st)
		return st;
	int64_t records = 0;
	int64_t bytes = 0;
	for (int s = 0; s < SIGNAL_COUNT; s++) {
		records += p.records[s];
		bytes += p.bytes[s];
	}
	for (int s = 0; s < SIGNAL_COUNT; s++) {
		d->ready[s] = (struct inspect_count){ .batches = -1 };
		int64_t waits = inspect_difference(d, (enum signal)s);
		double ratio = p.records[s] ? (double)p.bytes[s] / (double)p.records[s] :
			       records      ? (double)bytes / (double)records :
					      0;
		d->ready[s].records = waits > 0 ? waits : 0;
		d->ready[s].bytes = (int64_t)(ratio * (double)d->ready[s].records);
	}
	return ST_OK;
}

static enum status count_or_estimate(struct inspect *in, struct inspect_shape *s, struct err *e)
{
	int64_t deadline = in->deadline_ns;
	in->deadline_ns = now_mono_ns() + in->limit_ns * 6 / 10;
	enum status st = inspect_each(in, COUNT_SQL("+q.state", "ready"), 0, count_row, s, e);
	in->deadline_ns = deadline;
	if (st != ST_TIMEOUT)
		return st;
	in->deadline_ns = now_mono_ns() + in->limit_ns; /* a busy machine may have used up all */
	s->is_estimate = true;
	st = ST_OK;
	for (size_t i = 0; i < s->count && !st; i++)
		st = estimate_ready(in, &s->items[i], e);
	for (size_t i = 0; i < s->count && !st; i++)
		st = read_oldest(in, &s->items[i], e);
	return st;
}

enum status inspect_shape(struct inspect *in, struct inspect_shape *ret, struct err *e)
{
	struct inspect_shape s = { .items = xcalloc(DESTINATIONS_CAP, sizeof(*s.items)) };
	enum status st = inspect_begin(in, 0, e);
	if (!st)
		st = inspect_each(
			in,
			"SELECT id, name, kind, is_configured, state, state_since, reason, "
			"next_attempt_at, last_success_at FROM destinations "
			"ORDER BY is_configured DESC, id LIMIT 1024",
			0, destination_row, &s, e);
	if (!st)
		st = inspect_each(in, "SELECT destination_id, signal, outcome, records FROM totals",
				  0, total_row, &s, e);
	if (!st)
		st = inspect_each(in, COUNT_SQL("q.state", "dead"), 0, count_row, &s, e);
	if (!st)
		st = count_or_estimate(in, &s, e);
	inspect_end(in);
	if (st) {
		inspect_shape_done(&s);
		return st;
	}
	*ret = s;
	return ST_OK;
}

void inspect_shape_done(struct inspect_shape *s)
{
	for (size_t i = 0; i < s->count; i++) {
		free(s->items[i].name);
		free(s->items[i].kind);
		free(s->items[i].state);
		free(s->items[i].reason);
	}
	free(s->items);
	*s = (struct inspect_shape){ 0 };
}
