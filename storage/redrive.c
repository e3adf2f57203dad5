/* redrive.c - replay, purge and move, a slice at a time.
 *
 * Whoever gives a slice has chosen its ids on a connection of their own (storage/inspect_dead.h),
 * so nothing is searched for here: each delivery is looked up by its key, and moved if it is still
 * in the state that it was chosen for. Invariants are those of storage/queue.c:
 *
 *   dead  -> ready  [replay]   attempts, status and error stay: they are history until the next one
 *   dead  -> gone   [purge]    counted `purged`, and a row of the ledger, in the same transaction
 * (2) ready -> gone   [purge] any   -> gone here, and the same state there  [move]   `accepted`
 * moves along (3)
 *
 * A purge writes one row of the ledger for each signal and class of the slice, and not for each
 * batch: a purged backlog must not leave a ledger as long as itself.
 *
 * A destination holds what it is about to send in memory. So after each commit its count of changes
 * goes up and it is woken: it compares, forgets what it has not begun to send, and reads its queue
 * from the front. */
#include "storage/redrive.h"

#include "gateway/base/container.h"
#include "storage/depart.h"
#include "storage/queue_sql.h"
#include "storage/writer_internal.h"

/* Its part of the payload, where some of the batch's records were delivered before. */
static int64_t share_of(const struct queue_delivery *d)
{
	int64_t all = d->batch_records > 0 ? d->batch_records : 1;
	return (int64_t)((double)d->stored_bytes * (double)d->records / (double)all);
}

static enum status replay(struct queue *q, const struct queue_delivery *d)
{
	CHECK(queue_may_move(d->state, DELIVERY_READY));
	gone_add(&q->gone, d->destination_id, d->state, d->stored_bytes);
	return queue_run(q, Q_DELIVERY_REPLAY, d->batch_id, d->destination_id);
}

static enum status purge(struct queue *q, const struct redrive *r, const struct queue_delivery *d)
{
	const struct queue_departed gone = { .destination_id = d->destination_id,
					     .signal = d->signal,
					     .class = d->class,
					     .outcome = OUTCOME_PURGED,
					     .why = r->detail,
					     .records = d->records,
					     .bytes = share_of(d),
					     .first_time_ns = d->first_time_ns,
					     .last_time_ns = d->last_time_ns };
	enum status st = depart_note(q, &gone);
	return st ? st : queue_remove_delivery(q, d);
}

/* Where the other is owed the batch already, its own delivery stands, and this one just goes. */
static enum status move(struct queue *q, const struct queue_delivery *d, int64_t to_id)
{
	sqlite3_stmt *s = NULL;
	enum status st = queue_statement(q, Q_DELIVERY_MOVE, &s);
	if (st)
		return st;
	gone_add(&q->gone, d->destination_id, d->state, d->stored_bytes);
	stmt_bind_int(s, 1, d->batch_id);
	stmt_bind_int(s, 2, d->destination_id);
	stmt_bind_int(s, 3, to_id);
	st = stmt_run(s, &q->err);
	if (!st && sqlite3_changes(q->db) == 1)
		st = queue_count(q, to_id, d->signal, OUTCOME_ACCEPTED, d->records);
	else if (!st)
		st = queue_run(q, Q_DELIVERY_DELETE, d->batch_id, d->destination_id);
	return st ? st :
		    queue_count(q, d->destination_id, d->signal, OUTCOME_ACCEPTED, -d->records);
}

static enum status apply_one(struct queue *q, struct redrive *r, const struct queue_delivery *d)
{
	r->batches++;
	r->records += d->records;
	r->bytes += share_of(d);
	switch (r->action) {
	case REDRIVE_REPLAY:
		return replay(q, d);
	case REDRIVE_PURGE:
		return purge(q, r, d);
	case REDRIVE_MOVE:
		return move(q, d, r->to_id);
	}
	return ST_INTERNAL;
}

/* May run again after a rollback: the results begin anew. */
static enum status apply(struct queue *q, struct write_job *job)
{
	struct redrive *r = container_of(job, struct redrive, job);
	enum status st = ST_OK;
	r->batches = 0;
	r->records = 0;
	r->bytes = 0;
	for (size_t i = 0; i < r->count && !st; i++) {
		struct queue_delivery d;
		st = queue_find_delivery(q, r->batch_ids[i], r->destination_id, &d);
		if (st == ST_END || (!st && d.state != r->state))
			st = ST_OK;
		else if (!st)
			st = apply_one(q, r, &d);
	}
	return st;
}

/* On the writer's thread. r is the giver's again with the last line. */
static void done(struct write_job *job, enum status st)
{
	struct redrive *r = container_of(job, struct redrive, job);
	r->status = st;
	if (!st && r->batches) {
		writer_changed(r->writer, r->destination_id);
		if (r->action == REDRIVE_MOVE)
			writer_changed(r->writer, r->to_id);
	}
	chan_give_item(&r->chan, &job->item);
}

enum status redrive_run(struct writer *w, struct redrive *r)
{
	CHECK(r->count <= REDRIVE_MAX);
	CHECK(r->action != REDRIVE_REPLAY || r->state == DELIVERY_DEAD);
	enum status st = chan_init(&r->chan, CHAN_WAKE_WAIT);
	if (st)
		return st;
	r->job = (struct write_job){ .apply = apply, .done = done };
	r->writer = w;
	writer_give(w, &r->job);
	/* Every job comes back, also from a writer that is recovering or stopping. */
	struct chan_item *back = NULL;
	while (!back)
		back = chan_wait_all(&r->chan, INT64_MAX);
	chan_done(&r->chan);
	if (r->status) {
		r->batches = 0;
		r->records = 0;
		r->bytes = 0;
	}
	return r->status;
}
