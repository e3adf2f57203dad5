/* gone.c - what left while somebody counted.
 *
 * A walk over a backlog (storage/bounds.c) takes minutes, while the destination drains it, or an
 * operator purges. What was counted and is gone since would be taken for excess, and its size be
 * evicted once more, of what is still needed. So the walk takes off what left since it began.
 *
 * What left in a transaction that was rolled back is counted all the same, and so is what left
 * before the walk came to it: the error is on the side of keeping, and the next walk sees it right.
 * With more destinations than there is room for, the others share one sum, for the same reason. */
#include "storage/gone.h"

static size_t find(const struct gone *g, int64_t destination_id)
{
	size_t i = 0;
	while (i < g->count && g->of[i].destination_id != destination_id)
		i++;
	return i;
}

void gone_add(struct gone *g, int64_t destination_id, enum delivery_state from, int64_t bytes)
{
	size_t i = find(g, destination_id);
	uint64_t n = bytes > 0 ? (uint64_t)bytes : 0;
	if (i == g->count && g->count < GONE_DESTINATIONS_MAX)
		g->of[g->count++].destination_id = destination_id;
	if (i < g->count)
		g->of[i].bytes[from] += n;
	else
		g->others[from] += n;
}

uint64_t gone_bytes(const struct gone *g, int64_t destination_id, enum delivery_state from)
{
	uint64_t sum = g->others[from];
	size_t i = find(g, destination_id);
	if (destination_id)
		return i < g->count ? g->of[i].bytes[from] : sum;
	for (i = 0; i < g->count; i++)
		sum += g->of[i].bytes[from];
	return sum;
}
