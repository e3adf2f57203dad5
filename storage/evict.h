/* storage/evict.h - which stored batches go first when there is no room, and letting them go.
 * Owner: the writer thread, within its transaction. Needs: storage/depart.h. */
#ifndef STORAGE_EVICT_H
#define STORAGE_EVICT_H

#include "storage/depart.h"

enum { EVICT_SLICE = 16 };

/* Let the next few batches go, for the sake of data of the class `arriving`. may_evict[c]: batches
 * of class c may go. *ret_count 0: there is nothing that may, unless evict_is_searching: then call
 * again. */
MUST_USE enum status evict_some(struct queue *q, const bool may_evict[RECORD_CLASS_COUNT],
				enum record_class arriving, size_t *ret_count);
bool evict_is_searching(const struct queue *q);
/* There is something that may go. Reads only. */
MUST_USE enum status evict_can(struct queue *q, const bool may_evict[RECORD_CLASS_COUNT],
			       enum record_class arriving, bool *ret);

/* The oldest deliveries of all the destinations given, by batch: for evict.c and bounds.c. */
struct evict_front {
	size_t count;
	struct depart_item items[EVICT_SLICE]; /* sorted by batch, then destination */
};
MUST_USE enum status evict_add_front(struct queue *q, enum delivery_state state,
				     int64_t destination_id, int class, struct evict_front *f);

#endif
