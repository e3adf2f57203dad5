/* unwanted.c - remembers how far dead letters were looked through.
 *
 * A full queue lets go first of what nobody waits for (storage/evict.c): dead letters, and what is
 * owed to destinations that are not configured any more. There may be a hundred thousand of them
 * that another destination still waits for, as long as that one is down, and each search would look
 * at all of these first. So it goes on where the last one ended:
 *
 * (1) Of a class, every batch with an id of `after` or below that is not in `freed` is awaited by a
 *     configured destination, or has left.
 * (2) `freed`: those of them that a delivery has left since, and that nobody waits for any more.
 *
 * A batch stops being awaited only where a ready delivery goes or dies, and each place that does
 * this says so here; the question whether others wait costs one seek, and only behind the search.
 * Where `freed` is full the search goes back to the smallest of them. A rollback brings back what
 * had left: then all is forgotten. */
#include "storage/unwanted.h"

#include <string.h>

#include "storage/depart.h"

void unwanted_forget(struct unwanted *u)
{
	memset(u, 0, sizeof(*u));
}

enum status unwanted_left(struct queue *q, int64_t batch_id, enum record_class class)
{
	struct unwanted *u = &q->unwanted;
	bool is_awaited = true;
	if (batch_id > u->after[class])
		return ST_OK;
	enum status st = depart_is_awaited(q, batch_id, &is_awaited);
	if (st || is_awaited)
		return st;
	size_t *n = &u->freed_count[class];
	if (*n < UNWANTED_FREED_MAX) {
		u->freed[class][(*n)++] = batch_id;
		return ST_OK;
	}
	u->after[class] = batch_id - 1;
	for (size_t i = 0; i < *n; i++)
		if (u->freed[class][i] <= u->after[class])
			u->after[class] = u->freed[class][i] - 1;
	*n = 0;
	return ST_OK;
}

int64_t unwanted_take(struct unwanted *u, enum record_class class)
{
	int64_t *ids = u->freed[class];
	size_t *n = &u->freed_count[class];
	size_t least = 0;
	if (*n == 0)
		return 0;
	for (size_t i = 1; i < *n; i++)
		if (ids[i] < ids[least])
			least = i;
	int64_t id = ids[least];
	ids[least] = ids[--*n];
	return id;
}
