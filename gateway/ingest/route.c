/* route.c - the routing table: one bit set of destinations for each signal and class.
 *
 * Routes add up: a batch goes to every destination that some route names for it. A pair that no
 * route matches is owed to the unrouted slot, whose data waits until a configuration gives it a
 * destination. */
#include "gateway/ingest/route.h"

void route_add(struct route_table *t, unsigned signal_mask, unsigned class_mask, uint64_t slots)
{
	for (unsigned s = 0; s < SIGNAL_COUNT; s++)
		for (unsigned c = 0; c < RECORD_CLASS_COUNT; c++)
			if (signal_mask >> s & 1 && class_mask >> c & 1)
				t->slots[s][c] |= slots;
}

void route_fill(struct route_table *t, int unrouted_slot)
{
	for (unsigned s = 0; s < SIGNAL_COUNT; s++)
		for (unsigned c = 0; c < RECORD_CLASS_COUNT; c++)
			if (t->slots[s][c] == 0)
				t->slots[s][c] = UINT64_C(1) << unrouted_slot;
}
