/* queue_part.c - outcomes of a delivery that are neither a success nor a failure of the whole.
 *
 * Invariants are numbered in storage/queue.c.
 *
 * SETTLE_SPLIT: most records of a batch were taken, some were refused for good. Those become a
 * batch of their own, with one delivery, which is dead. In one transaction: their rows are there,
 * the other records are counted as delivered (or rejected), and the old delivery is gone. The
 * records of the new batch were accepted with the old one, so `accepted` is not counted again: each
 * record of the old delivery is now in exactly one of delivered, rejected and dead (3). Another
 * destination to which the batch is owed too has it as it was. What comes twice finds no delivery
 * the second time, and makes no second part (5). The new payloads are part of the old one, and are
 * written after it went: so it takes no room where nobody else needs the old one.
 *
 * SETTLE_MOVED is a reroute of one delivery: `accepted` moves along. Where the other destination
 * has the batch already, nothing is added to it.
 *
 * SETTLE_UNREADABLE: a destination found no payload. Whether that is damage, or the batch went in
 * the meantime with its deliveries, only this connection can tell. Where the payload is there all
 * the same, queue_settle changes nothing: what of it was taken before is counted when it is sent
 * again, once (5). */
#include <zlib.h>

#include "storage/queue_sql.h"

static enum status insert_part_row(struct queue *q, int64_t batch_id, const struct settle_part *p)
{
	sqlite3_stmt *s = NULL;
	enum status st = queue_statement(q, Q_PART_INSERT, &s);
	if (st)
		return st;
	stmt_bind_int(s, 1, batch_id);
	stmt_bind_int(s, 2, p->records);
	stmt_bind_int(s, 3, (int64_t)p->raw_bytes);
	stmt_bind_int(s, 4, (int64_t)p->body.n);
	stmt_bind_text(s, 5, bytes_str(encoding_text(p->encoding)));
	stmt_bind_int(s, 6, (int64_t)crc32_z(0, p->body.p, p->body.n));
	stmt_bind_words(s, 7, p->service);
	stmt_bind_nonzero(s, 8, p->first_time_ns);
	stmt_bind_nonzero(s, 9, p->last_time_ns);
	stmt_bind_words(s, 10, p->preview);
	return stmt_run(s, &q->err);
}

static enum status insert_part_delivery(struct queue *q, const struct settlement *settlement,
					const struct queue_delivery *d, const struct settle_part *p,
					uint32_t owed)
{
	sqlite3_stmt *s = NULL;
	enum status st = queue_statement(q, Q_PART_DELIVERY_INSERT, &s);
	if (st)
		return st;
	stmt_bind_int(s, 1, d->batch_id);
	stmt_bind_int(s, 2, d->destination_id);
	stmt_bind_int(s, 3, q->last_id);
	stmt_bind_text(s, 4, bytes_str(delivery_state_text(DELIVERY_DEAD)));
	stmt_bind_int(s, 5, owed);
	stmt_bind_int(s, 6, settlement->at_ns);
	stmt_bind_nonzero(s, 7, p->status);
	stmt_bind_words(s, 8, bytes_str(p->error));
	queue_bind_moment(q, s, 9);
	return stmt_run(s, &q->err);
}

/* All but the payload. */
static enum status insert_part(struct queue *q, const struct settlement *s,
			       const struct queue_delivery *d, const struct settle_part *p,
			       uint32_t owed)
{
	enum status st = insert_part_row(q, d->batch_id, p);
	if (st)
		return st;
	q->last_id = sqlite3_last_insert_rowid(q->db);
	return insert_part_delivery(q, s, d, p, owed);
}

/* The payloads come last, into the pages that the old one leaves: on a full queue there are no
 * others. */
enum status queue_settle_split(struct queue *q, const struct settlement *s,
			       const struct queue_delivery *d, const struct settle_item *item)
{
	int64_t ids[SETTLE_PARTS_MAX] = { 0 };
	int64_t left = d->records;
	enum status st = ST_OK;
	CHECK(item->part_count <= SETTLE_PARTS_MAX);
	for (size_t i = 0; i < item->part_count && !st; i++) {
		const struct settle_part *p = &item->parts[i];
		/* Fewer are owed than its payload holds where some were delivered before; the books
		 * balance. */
		uint32_t owed = p->records < left ? p->records : (uint32_t)left;
		left -= owed;
		if (owed > 0)
			st = insert_part(q, s, d, p, owed);
		ids[i] = owed > 0 ? q->last_id : 0;
	}
	int64_t rejected = item->rejected_records < left ? item->rejected_records : left;
	left -= rejected;
	if (!st && left > 0)
		st = queue_count(q, d->destination_id, d->signal, OUTCOME_DELIVERED, left);
	if (!st && rejected > 0)
		st = queue_lose_of(q, d, OUTCOME_REJECTED, rejected, bytes_str(s->error));
	if (!st)
		st = queue_remove_delivery(q, d);
	for (size_t i = 0; i < item->part_count && !st; i++)
		if (ids[i])
			st = queue_insert_payload(q, ids[i], item->parts[i].body);
	return st;
}

enum status queue_settle_moved(struct queue *q, const struct queue_delivery *d,
			       int64_t to_destination_id)
{
	if (to_destination_id == d->destination_id)
		return ST_INVALID;
	enum status st = queue_insert_delivery(q, d->batch_id, to_destination_id, d->priority,
					       d->records, d->signal);
	if (!st)
		st = queue_count(q, d->destination_id, d->signal, OUTCOME_ACCEPTED, -d->records);
	q->has_moved = true;
	return st ? st : queue_remove_delivery(q, d);
}

enum status queue_settle_unreadable(struct queue *q, const struct queue_delivery *d)
{
	static const char detail[] = "the payload of the batch is missing in the queue file";
	enum status st = queue_lose_of(q, d, OUTCOME_DAMAGED, d->records, bytes_str(detail));
	return st ? st : queue_remove_delivery(q, d);
}
