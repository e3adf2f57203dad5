/* storage/depart.h - deliveries that leave by a rule and not by delivery: out of the table, into
 * the totals and the loss ledger, in one transaction. For storage/ only. Owner: the writer thread,
 * within its transaction. Needs: storage/queue.h. */
#ifndef STORAGE_DEPART_H
#define STORAGE_DEPART_H

#include "storage/queue.h"

/* The rule, for losses.detail. */
#define DEPART_MAX_AGE   "older than queue.max_age"
#define DEPART_FULL      "the queue was full"
#define DEPART_QUOTA     "over the destination's max_queue_size"
#define DEPART_DEAD_SIZE "over dead_letters.max_size"
#define DEPART_DEAD_AGE  "older than dead_letters.max_age"

/* Let one delivery go; the payload goes with the last one. Nothing happens where there is none in
 * that state. why: static, one of the above. */
MUST_USE enum status depart_delivery(struct queue *q, int64_t batch_id, int64_t destination_id,
				     enum delivery_state state, enum outcome outcome,
				     const char *why);
/* The same for every delivery of the batch, whatever its state. */
MUST_USE enum status depart_batch(struct queue *q, int64_t batch_id, enum outcome outcome,
				  const char *why);
/* Count records as d->outcome, and gather them for the ledger. Those that differ in sums and times
 * alone become one row; d->why is told apart by its address, and must live until the commit. */
MUST_USE enum status depart_note(struct queue *q, const struct queue_departed *d);
/* Write what has gathered to the ledger: one row for each (destination, signal, class, rule).
 * Called by queue_commit. */
MUST_USE enum status depart_flush(struct queue *q);

/* One delivery of a list. */
struct depart_item {
	int64_t batch_id;
	int64_t destination_id;
	int64_t stored_bytes;
	int64_t boot; /* 0: unknown */
	int64_t received_mono_ns;
	int64_t received_at_ns;
	int64_t last_attempt_at_ns;
	int64_t last_boot; /* 0: unknown */
	int64_t last_mono_ns;
};

/* The oldest deliveries of a destination behind after_id, in the order of their ids; class: -1 for
 * all of the dead ones. Cheap however many there are. */
MUST_USE enum status depart_list(struct queue *q, enum delivery_state state, int64_t destination_id,
				 int class, int64_t after_id, struct depart_item *ret, size_t max,
				 size_t *ret_count);
/* Some configured destination still waits for the batch. */
MUST_USE enum status depart_is_awaited(struct queue *q, int64_t batch_id, bool *ret);

struct depart_destination {
	int64_t id;
	bool is_configured;
};
enum { DEPART_DESTINATIONS_MAX = 256 };
MUST_USE enum status depart_destinations(struct queue *q, struct depart_destination *ret,
					 size_t *ret_count);

#endif
