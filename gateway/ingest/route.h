/* ingest/route.h - which destinations a batch is owed to, by signal and class.
 * Owner: made by main, then immutable. Needs: gateway/base, schema. */
#ifndef INGEST_ROUTE_H
#define INGEST_ROUTE_H

#include <stdint.h>

#include "schema/vocabulary.h"

struct route_table {
	uint64_t slots[SIGNAL_COUNT][RECORD_CLASS_COUNT]; /* bit i: the destination of slot i */
};

/* Add a route: every signal of signal_mask and class of class_mask (bit = enum value) to the slots.
 */
void route_add(struct route_table *t, unsigned signal_mask, unsigned class_mask, uint64_t slots);
/* What no route matched goes to unrouted_slot: it is kept, and never dropped silently. */
void route_fill(struct route_table *t, int unrouted_slot);

#endif
