/* evict.c - the order in which data leaves a full queue.
 *
 *   (1) what nobody waits for: every destination has taken it or refused it for good (a dead
 *       letter), or is not configured any more; least urgent class first, in it the oldest first
 *   (2) what some destination still needs; least urgent class first, in it the oldest first
 *
 * never a class that is more urgent than what arrives, and never one that the operator protects
 * (queue.when_full: reject). A batch goes whole, for all its destinations: only that frees its
 * payload. Oldest is the smallest id: ids follow the order of receipt.
 *
 * The partial indexes give each destination's front, and the smallest of these fronts is the oldest
 * of all. For (1) what somebody waits for is gone past, LOOK_MAX deliveries at most of each
 * destination and class: behind more of them (1) is not found, and goes in its turn as (2) does. So
 * a slice costs the same in a queue of any length. */
#include "storage/evict.h"

enum { LOOK_MAX = 512 };

static bool is_before(const struct depart_item *a, const struct depart_item *b)
{
	return a->batch_id != b->batch_id ? a->batch_id < b->batch_id :
					    a->destination_id < b->destination_id;
}

/* Keeps the smallest ones. */
static void insert(struct evict_front *f, const struct depart_item *item)
{
	size_t i = f->count;
	if (f->count == EVICT_SLICE && !is_before(item, &f->items[EVICT_SLICE - 1]))
		return;
	if (f->count == EVICT_SLICE)
		i--;
	else
		f->count++;
	for (; i > 0 && is_before(item, &f->items[i - 1]); i--)
		f->items[i] = f->items[i - 1];
	f->items[i] = *item;
}

enum status evict_add_front(struct queue *q, enum delivery_state state, int64_t destination_id,
			    int class, struct evict_front *f)
{
	struct depart_item items[EVICT_SLICE];
	size_t n = 0;
	enum status st = depart_list(q, state, destination_id, class, 0, items, EVICT_SLICE, &n);
	for (size_t i = 0; i < n && !st; i++)
		insert(f, &items[i]);
	return st;
}

/* Of these, the ones that no destination waits for: what stands in front of them is gone past, up
 * to LOOK_MAX. */
static enum status add_unwanted(struct queue *q, enum delivery_state state, int64_t destination_id,
				int class, struct evict_front *f)
{
	struct depart_item items[EVICT_SLICE];
	size_t found = 0;
	size_t n = EVICT_SLICE;
	int64_t after_id = 0;
	enum status st = ST_OK;
	for (int seen = 0; seen < LOOK_MAX && n == EVICT_SLICE && found < EVICT_SLICE && !st;
	     seen += EVICT_SLICE) {
		st = depart_list(q, state, destination_id, class, after_id, items, EVICT_SLICE, &n);
		for (size_t i = 0; i < n && !st; i++) {
			bool is_awaited = false;
			st = depart_is_awaited(q, items[i].batch_id, &is_awaited);
			if (st || is_awaited)
				continue;
			insert(f, &items[i]);
			found++;
		}
		after_id = n ? items[n - 1].batch_id : after_id;
	}
	return st;
}

struct search {
	struct depart_destination places[DEPART_DESTINATIONS_MAX];
	size_t count;
};

/* (1) */
static enum status find_unwanted(struct queue *q, const struct search *s, int class,
				 struct evict_front *f)
{
	enum status st = ST_OK;
	for (size_t i = 0; i < s->count && !st; i++) {
		st = add_unwanted(q, DELIVERY_DEAD, s->places[i].id, class, f);
		if (!st && !s->places[i].is_configured)
			st = add_unwanted(q, DELIVERY_READY, s->places[i].id, class, f);
	}
	return st;
}

/* (2) */
static enum status find_wanted(struct queue *q, const struct search *s, int class,
			       struct evict_front *f)
{
	enum status st = ST_OK;
	for (size_t i = 0; i < s->count && !st; i++)
		st = evict_add_front(q, DELIVERY_READY, s->places[i].id, class, f);
	return st;
}

static enum status find_front(struct queue *q, const bool *may_evict, enum record_class arriving,
			      struct evict_front *f)
{
	struct search s;
	f->count = 0;
	enum status st = depart_destinations(q, s.places, &s.count);
	for (int c = RECORD_CLASS_COUNT - 1; c >= (int)arriving && !st && !f->count; c--)
		if (may_evict[c])
			st = find_unwanted(q, &s, c, f);
	for (int c = RECORD_CLASS_COUNT - 1; c >= (int)arriving && !st && !f->count; c--)
		if (may_evict[c])
			st = find_wanted(q, &s, c, f);
	return st;
}

enum status evict_some(struct queue *q, const bool may_evict[RECORD_CLASS_COUNT],
		       enum record_class arriving, size_t *ret_count)
{
	struct evict_front f;
	enum status st = find_front(q, may_evict, arriving, &f);
	for (size_t i = 0; i < f.count && !st; i++)
		/* The same batch for the next destination: it is gone, which does no harm. */
		st = depart_batch(q, f.items[i].batch_id, OUTCOME_EVICTED, DEPART_FULL);
	if (!st)
		*ret_count = f.count;
	return st;
}

enum status evict_can(struct queue *q, const bool may_evict[RECORD_CLASS_COUNT],
		      enum record_class arriving, bool *ret)
{
	struct evict_front f;
	enum status st = find_front(q, may_evict, arriving, &f);
	if (!st)
		*ret = f.count > 0;
	return st;
}
