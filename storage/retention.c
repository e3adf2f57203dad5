/* retention.c - queue.max_age: deliveries that are too old are counted as expired.
 *
 * Ids follow the order of receipt, so the oldest delivery of a destination and class stands at the
 * front of its index, and a look costs one seek each. What a salvage moved over has kept its time
 * and got a new id: it may stand behind younger data and then leaves with that, later than it
 * could. Never earlier: the age of storage/boot.h is a lower bound.
 *
 * Each destination's delivery goes by itself; the payload goes with the last. Dead letters have an
 * age of their own (storage/bounds.c). A destination's thread that holds such a claim finds it too
 * old by the same rule, or gone (storage/claim.h). */
#include "storage/retention.h"

#include "gateway/base/now.h"

enum { SLICE = 32 };

/* How many of the front are too old. */
static enum status list_old(struct queue *q, int64_t destination_id, int class, int64_t max_age_ns,
			    size_t max, struct depart_item *items, size_t *ret_count)
{
	size_t n = 0;
	size_t old = 0;
	enum status st = depart_list(q, DELIVERY_READY, destination_id, class, 0, items, max, &n);
	while (!st && old < n &&
	       boot_age_ns(&q->boot, items[old].boot, items[old].received_mono_ns,
			   items[old].received_at_ns) >= max_age_ns)
		old++;
	if (!st)
		*ret_count = old;
	return st;
}

static enum status expire_slice(struct queue *q, int64_t destination_id, int class,
				int64_t max_age_ns, size_t *ret_count)
{
	struct depart_item items[SLICE];
	size_t n = 0;
	enum status st = list_old(q, destination_id, class, max_age_ns, SLICE, items, &n);
	for (size_t i = 0; i < n && !st; i++)
		st = depart_delivery(q, items[i].batch_id, destination_id, DELIVERY_READY,
				     OUTCOME_EXPIRED, DEPART_MAX_AGE);
	if (!st)
		*ret_count = n;
	return st;
}

enum status retention_look(struct queue *q, const int64_t max_age_ns[RECORD_CLASS_COUNT],
			   bool *ret_due)
{
	struct depart_destination places[DEPART_DESTINATIONS_MAX];
	size_t count = 0;
	size_t old = 0;
	enum status st = depart_destinations(q, places, &count);
	for (size_t i = 0; i < count && !st && !old; i++)
		for (int c = 0; c < RECORD_CLASS_COUNT && !st && !old; c++) {
			struct depart_item item;
			if (max_age_ns[c])
				st = list_old(q, places[i].id, c, max_age_ns[c], 1, &item, &old);
		}
	if (!st)
		*ret_due = old > 0;
	return st;
}

enum status retention_step(struct queue *q, const int64_t max_age_ns[RECORD_CLASS_COUNT],
			   int64_t deadline_ns, bool *ret_done)
{
	struct depart_destination places[DEPART_DESTINATIONS_MAX];
	size_t count = 0;
	bool is_late = false;
	enum status st = depart_destinations(q, places, &count);
	for (size_t i = 0; i < count && !st && !is_late; i++)
		for (int c = 0; c < RECORD_CLASS_COUNT && !st && !is_late; c++) {
			size_t n = max_age_ns[c] ? SLICE : 0;
			while (n == SLICE && !st && !is_late) {
				st = expire_slice(q, places[i].id, c, max_age_ns[c], &n);
				is_late = now_mono_ns() >= deadline_ns;
			}
		}
	if (!st)
		*ret_done = !is_late;
	return st;
}
