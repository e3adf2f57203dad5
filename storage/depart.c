/* depart.c - how a delivery leaves by a rule: age, a full queue, a quota, the bounds of dead
 * letters.
 *
 * The delivery's row, its outcome in `totals` and its row in the ledger are one transaction, so the
 * books balance at each commit and nothing goes unrecorded (invariants (2) and (3) of queue.c).
 *
 * The ledger gets one row for each (destination, signal, class, rule) and transaction: the sums
 * gather in memory and are flushed by queue_commit, as the totals are. A rollback forgets them.
 * Rows of the ledger do not grow later: readers follow it by its ids (what is exported as
 * telemetry, the counters of the metrics). storage/ledger.c folds old ones. */
#include "storage/depart.h"

#include <string.h>

#include "storage/queue_sql.h"

static enum status write_row(struct queue *q, const struct queue_departed *d)
{
	const struct queue_loss loss = { .destination_id = d->destination_id,
					 .signal = signal_text(d->signal),
					 .class = record_class_text(d->class),
					 .reason = outcome_text(d->outcome),
					 .records = d->records,
					 .bytes = d->bytes,
					 .first_time_ns = d->first_time_ns,
					 .last_time_ns = d->last_time_ns,
					 .detail = bytes_str(d->why) };
	return queue_lose(q, &loss);
}

enum status depart_flush(struct queue *q)
{
	enum status st = ST_OK;
	for (size_t i = 0; i < q->departed_count && !st; i++)
		st = write_row(q, &q->departed[i]);
	q->departed_count = 0;
	return st;
}

static void widen(struct queue_departed *sum, const struct queue_departed *d)
{
	sum->records += d->records;
	sum->bytes += d->bytes;
	if (d->first_time_ns && (!sum->first_time_ns || d->first_time_ns < sum->first_time_ns))
		sum->first_time_ns = d->first_time_ns;
	if (d->last_time_ns > sum->last_time_ns)
		sum->last_time_ns = d->last_time_ns;
}

static enum status gather(struct queue *q, const struct queue_departed *d)
{
	for (size_t i = 0; i < q->departed_count; i++) {
		struct queue_departed *sum = &q->departed[i];
		if (sum->destination_id == d->destination_id && sum->signal == d->signal &&
		    sum->class == d->class && sum->outcome == d->outcome && sum->why == d->why) {
			widen(sum, d);
			return ST_OK;
		}
	}
	enum status st = q->departed_count == QUEUE_LOSSES_MAX ? depart_flush(q) : ST_OK;
	if (!st)
		q->departed[q->departed_count++] = *d;
	return st;
}

enum status depart_note(struct queue *q, const struct queue_departed *d)
{
	enum status st = queue_count(q, d->destination_id, d->signal, d->outcome, d->records);
	return st ? st : gather(q, d);
}

/* What is known of a delivery that is to go. */
struct leaving {
	enum delivery_state state;
	int64_t stored_bytes; /* of the payload, as those who walk count it */
	struct queue_departed departed;
};

/* The first delivery of the batch to a destination within the range. ST_END: none. */
static enum status find(struct queue *q, int64_t batch_id, int64_t from_id, int64_t to_id,
			struct leaving *ret)
{
	sqlite3_stmt *s = NULL;
	enum status st = queue_statement(q, Q_DEPART_FIND, &s);
	if (st)
		return st;
	stmt_bind_int(s, 1, batch_id);
	stmt_bind_int(s, 2, from_id);
	stmt_bind_int(s, 3, to_id);
	st = stmt_step(s, &q->err);
	if (st)
		return st;
	int64_t of_batch = sqlite3_column_int64(s, 6);
	const char *state = (const char *)sqlite3_column_text(s, 1);
	bool is_ready = state && strcmp(state, delivery_state_text(DELIVERY_READY)) == 0;
	struct queue_departed d = { .destination_id = sqlite3_column_int64(s, 0),
				    .records = sqlite3_column_int64(s, 2),
				    .signal = queue_read_signal(s, 3),
				    .class = queue_read_class(s, 4),
				    .bytes = sqlite3_column_int64(s, 5),
				    .first_time_ns = sqlite3_column_int64(s, 7),
				    .last_time_ns = sqlite3_column_int64(s, 8) };
	ret->state = is_ready ? DELIVERY_READY : DELIVERY_DEAD;
	ret->stored_bytes = d.bytes;
	/* Part of it was settled before: the bytes in proportion. */
	if (of_batch > d.records && d.records >= 0)
		d.bytes = (int64_t)((double)d.bytes * (double)d.records / (double)of_batch);
	ret->departed = d;
	stmt_reset(s);
	return ST_OK;
}

static enum status let_go(struct queue *q, int64_t batch_id, struct leaving *l,
			  enum outcome outcome, const char *why)
{
	CHECK(queue_may_move(l->state, DELIVERY_GONE));
	struct queue_departed *d = &l->departed;
	gone_add(&q->gone, d->destination_id, l->state, l->stored_bytes);
	d->outcome = outcome;
	d->why = why;
	enum status st = depart_note(q, d);
	return st ? st : queue_run(q, Q_DELIVERY_DELETE, batch_id, d->destination_id);
}

static enum status drop_payload(struct queue *q, int64_t batch_id)
{
	enum status st = queue_run(q, Q_PAYLOAD_DELETE, batch_id, 0);
	return st ? st : queue_run(q, Q_BATCH_DELETE, batch_id, 0);
}

enum status depart_delivery(struct queue *q, int64_t batch_id, int64_t destination_id,
			    enum delivery_state state, enum outcome outcome, const char *why)
{
	struct leaving l;
	int64_t other;
	enum status st = find(q, batch_id, destination_id, destination_id, &l);
	if (st)
		return st == ST_END ? ST_OK : st;
	if (l.state != state)
		return ST_OK;
	st = let_go(q, batch_id, &l, outcome, why);
	if (!st)
		st = queue_ask(q, Q_DELIVERY_ANY, batch_id, &other);
	if (!st && state == DELIVERY_READY)
		st = unwanted_left(q, batch_id, l.departed.class);
	return st == ST_END ? drop_payload(q, batch_id) : st;
}

enum status depart_batch(struct queue *q, int64_t batch_id, enum outcome outcome, const char *why)
{
	struct leaving l;
	enum status st = find(q, batch_id, INT64_MIN, INT64_MAX, &l);
	while (!st) {
		st = let_go(q, batch_id, &l, outcome, why);
		if (!st)
			st = find(q, batch_id, INT64_MIN, INT64_MAX, &l);
	}
	return st == ST_END ? drop_payload(q, batch_id) : st;
}

/* ---- lists ---- */

enum status depart_list(struct queue *q, enum delivery_state state, int64_t destination_id,
			int class, int64_t after_id, struct depart_item *ret, size_t max,
			size_t *ret_count)
{
	sqlite3_stmt *s = NULL;
	size_t n = 0;
	enum statement which = state == DELIVERY_READY ? Q_DEPART_READY :
			       class < 0               ? Q_DEPART_DEAD :
							 Q_DEPART_DEAD_CLASS;
	enum status st = queue_statement(q, which, &s);
	if (st)
		return st;
	stmt_bind_int(s, 1, destination_id);
	stmt_bind_int(s, 2, class);
	stmt_bind_int(s, 3, after_id);
	stmt_bind_int(s, 4, (int64_t)max);
	while (n < max && (st = stmt_step(s, &q->err)) == ST_OK)
		ret[n++] = (struct depart_item){ .batch_id = sqlite3_column_int64(s, 0),
						 .destination_id = destination_id,
						 .stored_bytes = sqlite3_column_int64(s, 1),
						 .boot = sqlite3_column_int64(s, 2),
						 .received_mono_ns = sqlite3_column_int64(s, 3),
						 .received_at_ns = sqlite3_column_int64(s, 4),
						 .last_attempt_at_ns = sqlite3_column_int64(s, 5),
						 .last_boot = sqlite3_column_int64(s, 6),
						 .last_mono_ns = sqlite3_column_int64(s, 7) };
	stmt_reset(s);
	if (st && st != ST_END)
		return st;
	*ret_count = n;
	return ST_OK;
}

enum status depart_is_awaited(struct queue *q, int64_t batch_id, bool *ret)
{
	int64_t one;
	enum status st = queue_ask(q, Q_DEPART_WAITED, batch_id, &one);
	if (st && st != ST_END)
		return st;
	*ret = st == ST_OK;
	return ST_OK;
}

enum status depart_destinations(struct queue *q, struct depart_destination *ret, size_t *ret_count)
{
	sqlite3_stmt *s = NULL;
	size_t n = 0;
	enum status st = queue_statement(q, Q_DESTINATION_LIST, &s);
	if (st)
		return st;
	stmt_bind_int(s, 1, DEPART_DESTINATIONS_MAX);
	while (n < DEPART_DESTINATIONS_MAX && (st = stmt_step(s, &q->err)) == ST_OK)
		ret[n++] = (struct depart_destination){ .id = sqlite3_column_int64(s, 0),
							.is_configured =
								sqlite3_column_int(s, 1) != 0 };
	stmt_reset(s);
	if (st && st != ST_END)
		return st;
	*ret_count = n;
	return ST_OK;
}
