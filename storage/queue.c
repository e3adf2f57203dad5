/* queue.c - the row operations of the queue, each within a transaction of the writer.
 *
 * INVARIANTS
 * (1) A batch row, its payload and its deliveries are inserted in one transaction; payload and
 *     batch go in the transaction that takes the last delivery.
 * (2) A delivery leaves the table only in the transaction that counts its outcome in `totals`.
 * (3) Per destination and signal, at each commit: accepted = queued + dead + the other outcomes.
 *     So whatever inserts a delivery counts `accepted`, in the same transaction; but for the parts
 *     of a batch (SETTLE_SPLIT), whose records were accepted with the whole.
 * (4) A batch id is never given out twice, also not over a file that was set aside: a settlement
 *     that comes late can only meet its own batch, or nothing.
 * (5) A settlement may come twice (its first commit failed after it reached the disk): the second
 *     finds no ready delivery and changes nothing.
 *
 * STATES of a delivery, with the function that makes the move:
 *
 *   (none) -> ready   [queue_insert, queue_reroute]
 *   ready  -> ready   [queue_settle, SETTLE_RETRY]
 *   ready  -> dead    [queue_settle, SETTLE_DEAD]
 *   ready  -> gone    [queue_settle, SETTLE_DELIVERED] [queue_reroute]   gone: the row is deleted
 *   ready  -> gone    [queue_settle, SETTLE_MOVED, SETTLE_UNREADABLE]
 *   ready  -> gone, and its parts  (none) -> dead    [queue_settle, SETTLE_SPLIT]
 *   any    -> gone    [storage/depart.c: expired, evicted]
 *   dead   -> ready   [redrive.c, replay]
 *   any    -> gone    [redrive.c, purge and move]
 *
 * `claimed` is in the memory of a destination's thread only. Every move asks queue_may_move, which
 * reads schema/delivery_states.def.
 *
 * `totals` is written once a transaction and key: the sums gather in memory and are flushed by
 * queue_commit. A rollback forgets them. */
#include "storage/queue.h"

#include <string.h>

#include "storage/depart.h"
#include "storage/queue_sql.h"

/* Transactions */

enum status queue_begin(struct queue *q)
{
	q->total_count = 0;
	q->departed_count = 0;
	return queue_run(q, Q_BEGIN, 0, 0);
}

static enum status flush_totals(struct queue *q)
{
	sqlite3_stmt *s = NULL;
	enum status st = queue_statement(q, Q_TOTAL_ADD, &s);
	for (size_t i = 0; i < q->total_count && !st; i++) {
		const struct queue_total *t = &q->totals[i];
		if (t->records == 0)
			continue;
		stmt_bind_int(s, 1, t->destination_id);
		stmt_bind_text(s, 2, bytes_str(signal_text(t->signal)));
		stmt_bind_text(s, 3, bytes_str(outcome_text(t->outcome)));
		stmt_bind_int(s, 4, t->records);
		st = stmt_run(s, &q->err);
	}
	q->total_count = 0;
	return st;
}

enum status queue_commit(struct queue *q)
{
	enum status st = depart_flush(q);
	if (!st)
		st = flush_totals(q);
	return st ? st : queue_run(q, Q_COMMIT, 0, 0);
}

void queue_rollback(struct queue *q)
{
	q->total_count = 0;
	q->departed_count = 0;
	unwanted_forget(&q->unwanted);
	/* SQLite rolls back by itself on the grave errors. */
	if (queue_is_open(q))
		(void)sqlite3_exec(q->db, "ROLLBACK", NULL, NULL, NULL);
}

bool queue_is_open(const struct queue *q)
{
	return q->db && !sqlite3_get_autocommit(q->db);
}

int64_t queue_changes(const struct queue *q)
{
	return sqlite3_total_changes64(q->db);
}

enum status queue_count(struct queue *q, int64_t destination_id, enum signal signal,
			enum outcome outcome, int64_t records)
{
	for (size_t i = 0; i < q->total_count; i++) {
		struct queue_total *t = &q->totals[i];
		if (t->destination_id == destination_id && t->signal == signal &&
		    t->outcome == outcome) {
			t->records += records;
			return ST_OK;
		}
	}
	if (q->total_count == QUEUE_TOTALS_MAX) {
		enum status st = flush_totals(q);
		if (st)
			return st;
	}
	q->totals[q->total_count++] = (struct queue_total){ .destination_id = destination_id,
							    .signal = signal,
							    .outcome = outcome,
							    .records = records };
	return ST_OK;
}

/* Insert */

static enum status insert_batch_row(struct queue *q, const struct queue_batch *b)
{
	sqlite3_stmt *s = NULL;
	enum status st = queue_statement(q, Q_BATCH_INSERT, &s);
	if (st)
		return st;
	stmt_bind_int(s, 1, b->received_at_ns);
	stmt_bind_text(s, 2, bytes_str(signal_text(b->signal)));
	stmt_bind_text(s, 3, b->tenant);
	stmt_bind_text(s, 4, bytes_str(record_class_text(b->class)));
	stmt_bind_int(s, 5, (int64_t)b->class);
	stmt_bind_int(s, 6, b->requests);
	stmt_bind_int(s, 7, b->records);
	stmt_bind_int(s, 8, (int64_t)b->raw_bytes);
	stmt_bind_int(s, 9, (int64_t)b->body.n);
	stmt_bind_text(s, 10, bytes_str(encoding_text(b->encoding)));
	stmt_bind_int(s, 11, b->crc);
	stmt_bind_words(s, 12, b->service);
	stmt_bind_nonzero(s, 13, b->first_time_ns);
	stmt_bind_nonzero(s, 14, b->last_time_ns);
	stmt_bind_words(s, 15, b->preview);
	int64_t boot = b->boot ? b->boot : q->boot.this.id;
	if (b->received_mono_ns && boot) {
		stmt_bind_int(s, 16, boot);
		stmt_bind_int(s, 17, b->received_mono_ns);
	}
	return stmt_run(s, &q->err);
}

enum status queue_insert_payload(struct queue *q, int64_t id, struct bytes body)
{
	sqlite3_stmt *s = NULL;
	enum status st = queue_statement(q, Q_PAYLOAD_INSERT, &s);
	if (st)
		return st;
	stmt_bind_int(s, 1, id);
	stmt_bind_blob(s, 2, body);
	return stmt_run(s, &q->err);
}

enum status queue_insert_delivery(struct queue *q, int64_t batch_id, int64_t destination_id,
				  int priority, int64_t records, enum signal signal)
{
	sqlite3_stmt *s = NULL;
	enum status st = queue_statement(q, Q_DELIVERY_INSERT, &s);
	if (st)
		return st;
	stmt_bind_int(s, 1, batch_id);
	stmt_bind_int(s, 2, destination_id);
	stmt_bind_int(s, 3, priority);
	stmt_bind_int(s, 4, records);
	st = stmt_run(s, &q->err);
	if (!st && sqlite3_changes(q->db) == 1)
		st = queue_count(q, destination_id, signal, OUTCOME_ACCEPTED, records);
	return st;
}

enum status queue_insert(struct queue *q, const struct queue_batch *b,
			 const int64_t *destination_ids, size_t count, int64_t *ret_id)
{
	CHECK(queue_is_open(q) && count > 0);
	enum status st = insert_batch_row(q, b);
	if (st)
		return st;
	int64_t id = sqlite3_last_insert_rowid(q->db);
	st = queue_insert_payload(q, id, b->body);
	for (size_t i = 0; i < count && !st; i++)
		st = queue_insert_delivery(q, id, destination_ids[i], (int)b->class, b->records,
					   b->signal);
	if (!st) {
		q->last_id = id;
		*ret_id = id;
	}
	return st;
}

/* Settle */

bool queue_may_move(enum delivery_state from, enum delivery_state to)
{
#define TO(name) (1U << DELIVERY_##name)
	static const unsigned moves[] = {
#define DELIVERY_STATE(name, text, to_states) [DELIVERY_##name] = (to_states),
#include "schema/delivery_states.def"
#undef DELIVERY_STATE
	};
#undef TO
	return from < DELIVERY_STATE_COUNT && to < DELIVERY_STATE_COUNT && moves[from] >> to & 1;
}

enum status queue_find_delivery(struct queue *q, int64_t batch_id, int64_t destination_id,
				struct queue_delivery *ret)
{
	sqlite3_stmt *s = NULL;
	enum status st = queue_statement(q, Q_DELIVERY_FIND, &s);
	if (st)
		return st;
	stmt_bind_int(s, 1, batch_id);
	stmt_bind_int(s, 2, destination_id);
	st = stmt_step(s, &q->err);
	if (st)
		return st;
	const char *state = (const char *)sqlite3_column_text(s, 0);
	bool is_ready = state && strcmp(state, delivery_state_text(DELIVERY_READY)) == 0;
	*ret = (struct queue_delivery){
		.batch_id = batch_id,
		.destination_id = destination_id,
		.state = is_ready ? DELIVERY_READY : DELIVERY_DEAD,
		.records = sqlite3_column_int64(s, 1),
		.signal = queue_read_signal(s, 2),
		.class = queue_read_class(s, 3),
		.stored_bytes = sqlite3_column_int64(s, 4),
		.batch_records = sqlite3_column_int64(s, 5),
		.first_time_ns = sqlite3_column_int64(s, 6),
		.last_time_ns = sqlite3_column_int64(s, 7),
		.priority = sqlite3_column_int(s, 8),
	};
	stmt_reset(s);
	return ST_OK;
}

/* (1) The caller has counted the outcome (2). */
enum status queue_remove_delivery(struct queue *q, const struct queue_delivery *d)
{
	CHECK(queue_may_move(d->state, DELIVERY_GONE));
	int64_t other;
	gone_add(&q->gone, d->destination_id, d->state, d->stored_bytes);
	enum status st = queue_run(q, Q_DELIVERY_DELETE, d->batch_id, d->destination_id);
	if (!st)
		st = queue_ask(q, Q_DELIVERY_ANY, d->batch_id, &other);
	if (!st && d->state == DELIVERY_READY)
		st = unwanted_left(q, d->batch_id, d->class);
	if (st != ST_END)
		return st;
	st = queue_run(q, Q_PAYLOAD_DELETE, d->batch_id, 0);
	return st ? st : queue_run(q, Q_BATCH_DELETE, d->batch_id, 0);
}

enum status queue_lose(struct queue *q, const struct queue_loss *l)
{
	sqlite3_stmt *s = NULL;
	enum status st = queue_statement(q, Q_LOSS_INSERT, &s);
	if (st)
		return st;
	stmt_bind_int(s, 1, boot_wall_ns(&q->boot));
	stmt_bind_int(s, 2, l->destination_id);
	stmt_bind_text(s, 3, bytes_str(l->signal));
	stmt_bind_text(s, 4, bytes_str(l->class));
	stmt_bind_text(s, 5, bytes_str(l->reason));
	stmt_bind_int(s, 6, l->records);
	stmt_bind_int(s, 7, l->bytes);
	stmt_bind_nonzero(s, 8, l->first_time_ns);
	stmt_bind_nonzero(s, 9, l->last_time_ns);
	stmt_bind_words(s, 10, l->detail);
	queue_bind_moment(q, s, 11);
	q->has_losses = true;
	return stmt_run(s, &q->err);
}

enum status queue_lose_of(struct queue *q, const struct queue_delivery *d, enum outcome outcome,
			  int64_t records, struct bytes detail)
{
	int64_t all = d->batch_records > 0 ? d->batch_records : 1;
	struct queue_loss loss = {
		.destination_id = d->destination_id,
		.signal = signal_text(d->signal),
		.class = record_class_text(d->class),
		.reason = outcome_text(outcome),
		.records = records,
		.bytes = (int64_t)((double)d->stored_bytes * (double)records / (double)all),
		.first_time_ns = d->first_time_ns,
		.last_time_ns = d->last_time_ns,
		.detail = detail,
	};
	enum status st = queue_count(q, d->destination_id, d->signal, outcome, records);
	return st ? st : queue_lose(q, &loss);
}

static enum status settle_delivered(struct queue *q, const struct settlement *s,
				    const struct queue_delivery *d, uint32_t rejected_records)
{
	int64_t rejected = rejected_records < d->records ? rejected_records : d->records;
	enum status st = ST_OK;
	if (d->records > rejected)
		st = queue_count(q, d->destination_id, d->signal, OUTCOME_DELIVERED,
				 d->records - rejected);
	if (!st && rejected > 0)
		/* Within an export that the destination took. */
		st = queue_lose_of(q, d, OUTCOME_REJECTED, rejected, bytes_str(s->error));
	return st ? st : queue_remove_delivery(q, d);
}

static enum status settle_kept(struct queue *q, const struct settlement *s,
			       const struct queue_delivery *d, enum delivery_state to)
{
	sqlite3_stmt *u = NULL;
	CHECK(queue_may_move(d->state, to));
	enum status st = queue_statement(q, Q_DELIVERY_UPDATE, &u);
	if (st)
		return st;
	if (to != d->state)
		gone_add(&q->gone, d->destination_id, d->state, d->stored_bytes);
	stmt_bind_int(u, 1, d->batch_id);
	stmt_bind_int(u, 2, d->destination_id);
	stmt_bind_text(u, 3, bytes_str(delivery_state_text(to)));
	stmt_bind_int(u, 4, s->at_ns);
	stmt_bind_nonzero(u, 5, s->status);
	stmt_bind_words(u, 6, bytes_str(s->error));
	queue_bind_moment(q, u, 7);
	st = stmt_run(u, &q->err);
	return st || to != DELIVERY_DEAD ? st : unwanted_left(q, d->batch_id, d->class);
}

/* What was taken of it before, in parts: counted, and not owed any more. */
static enum status settle_taken(struct queue *q, const struct settlement *s,
				struct queue_delivery *d, const struct settle_item *item)
{
	int64_t taken = item->taken_records < d->records ? item->taken_records : d->records;
	int64_t rejected = item->rejected_records < taken ? item->rejected_records : taken;
	sqlite3_stmt *u = NULL;
	enum status st = ST_OK;
	if (taken == 0)
		return ST_OK;
	if (taken > rejected)
		st = queue_count(q, d->destination_id, d->signal, OUTCOME_DELIVERED,
				 taken - rejected);
	if (!st && rejected > 0)
		st = queue_lose_of(q, d, OUTCOME_REJECTED, rejected, bytes_str(s->error));
	if (!st)
		st = queue_statement(q, Q_DELIVERY_OWE, &u);
	if (st)
		return st;
	d->records -= taken;
	stmt_bind_int(u, 1, d->batch_id);
	stmt_bind_int(u, 2, d->destination_id);
	stmt_bind_int(u, 3, d->records);
	return stmt_run(u, &q->err);
}

static enum status settle_one(struct queue *q, const struct settlement *s,
			      const struct queue_delivery *d, const struct settle_item *item)
{
	switch (item->outcome) {
	case SETTLE_DELIVERED:
		return settle_delivered(q, s, d, item->rejected_records);
	case SETTLE_RETRY:
		return settle_kept(q, s, d, DELIVERY_READY);
	case SETTLE_DEAD:
		return settle_kept(q, s, d, DELIVERY_DEAD);
	case SETTLE_SPLIT:
		return queue_settle_split(q, s, d, item);
	case SETTLE_MOVED:
		return queue_settle_moved(q, d, item->to_destination_id);
	case SETTLE_UNREADABLE:
		return queue_settle_unreadable(q, d);
	case SETTLE_EXPIRED:
		return depart_delivery(q, d->batch_id, d->destination_id, DELIVERY_READY,
				       OUTCOME_EXPIRED, DEPART_MAX_AGE);
	}
	return ST_INTERNAL;
}

/* An outcome that is none: the payload is there. */
static enum status is_void(struct queue *q, const struct settle_item *item, bool *ret)
{
	int64_t one;
	*ret = false;
	if (item->outcome != SETTLE_UNREADABLE)
		return ST_OK;
	enum status st = queue_ask(q, Q_PAYLOAD_ANY, item->batch_id, &one);
	*ret = st == ST_OK;
	return st == ST_END ? ST_OK : st;
}

enum status queue_settle(struct queue *q, const struct settlement *s)
{
	enum status st = ST_OK;
	for (size_t i = 0; i < s->count && !st; i++) {
		const struct settle_item *item = &s->items[i];
		struct queue_delivery d;
		st = queue_find_delivery(q, item->batch_id, s->destination_id, &d);
		if (st == ST_END || (!st && d.state != DELIVERY_READY)) {
			q->ignored++; /* (5) */
			st = ST_OK;
			continue;
		}
		bool is_nothing = false;
		if (!st)
			st = is_void(q, item, &is_nothing);
		if (!st && is_nothing)
			continue;
		if (!st)
			st = settle_taken(q, s, &d, item);
		if (st)
			break;
		/* All that was owed is decided: there is nothing left that could die. */
		st = item->taken_records && d.records == 0 ? queue_remove_delivery(q, &d) :
							     settle_one(q, s, &d, item);
	}
	return st;
}
