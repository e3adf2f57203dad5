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
 * Nothing is scanned for (2): the partial indexes give each destination's front, and the smallest
 * of these fronts is the oldest of all. So a slice costs the same in a queue of any length. For (1)
 * dead letters that somebody else still waits for have to be passed. That search is done in steps
 * of ROUNDS slices and remembers where it is (storage/unwanted.c). While it is not through, nothing
 * of (2) goes. */
#include "storage/evict.h"

enum { ROUNDS = 16 };

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

static enum status add_front(struct queue *q, enum delivery_state state, int64_t destination_id,
			     int class, int64_t after_id, struct evict_front *f)
{
	struct depart_item items[EVICT_SLICE];
	size_t n = 0;
	enum status st =
		depart_list(q, state, destination_id, class, after_id, items, EVICT_SLICE, &n);
	for (size_t i = 0; i < n && !st; i++)
		insert(f, &items[i]);
	return st;
}

enum status evict_add_front(struct queue *q, enum delivery_state state, int64_t destination_id,
			    int class, struct evict_front *f)
{
	return add_front(q, state, destination_id, class, 0, f);
}

/* Those for which some destination waits are not for nobody. */
static enum status drop_awaited(struct queue *q, struct evict_front *f)
{
	size_t kept = 0;
	for (size_t i = 0; i < f->count; i++) {
		bool is_awaited = false;
		enum status st = depart_is_awaited(q, f->items[i].batch_id, &is_awaited);
		if (st)
			return st;
		if (!is_awaited)
			f->items[kept++] = f->items[i];
	}
	f->count = kept;
	return ST_OK;
}

struct search {
	struct depart_destination places[DEPART_DESTINATIONS_MAX];
	size_t count;
};

/* What became unwanted behind the search: it is older than what is before it. */
static enum status take_freed(struct queue *q, int class, struct evict_front *f)
{
	int64_t id = 1;
	while (f->count < EVICT_SLICE &&
	       (id = unwanted_take(&q->unwanted, (enum record_class) class)) > 0)
		f->items[f->count++] = (struct depart_item){ .batch_id = id };
	/* Some may have been replayed since. */
	return drop_awaited(q, f);
}

/* The next slice of the search. *ret_end: there is no more. */
static enum status search_slice(struct queue *q, const struct search *s, int class,
				struct evict_front *f, bool *ret_end)
{
	int64_t *after = &q->unwanted.after[class];
	enum status st = ST_OK;
	f->count = 0;
	for (size_t i = 0; i < s->count && !st; i++) {
		st = add_front(q, DELIVERY_DEAD, s->places[i].id, class, *after, f);
		if (!st && !s->places[i].is_configured)
			st = add_front(q, DELIVERY_READY, s->places[i].id, class, *after, f);
	}
	*ret_end = f->count < EVICT_SLICE;
	if (!st && f->count)
		*after = f->items[f->count - 1].batch_id;
	return st ? st : drop_awaited(q, f);
}

/* (1) */
static enum status find_unwanted(struct queue *q, const struct search *s, int class, int *io_rounds,
				 struct evict_front *f)
{
	bool is_end = false;
	enum status st = take_freed(q, class, f);
	while (!st && !f->count && !is_end && *io_rounds > 0) {
		(*io_rounds)--;
		st = search_slice(q, s, class, f, &is_end);
	}
	q->unwanted.is_open = !f->count && !is_end;
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
	int rounds = ROUNDS;
	f->count = 0;
	q->unwanted.is_open = false;
	enum status st = depart_destinations(q, s.places, &s.count);
	for (int c = RECORD_CLASS_COUNT - 1;
	     c >= (int)arriving && !st && !f->count && !q->unwanted.is_open; c--)
		if (may_evict[c])
			st = find_unwanted(q, &s, c, &rounds, f);
	for (int c = RECORD_CLASS_COUNT - 1;
	     c >= (int)arriving && !st && !f->count && !q->unwanted.is_open; c--)
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

bool evict_is_searching(const struct queue *q)
{
	return q->unwanted.is_open;
}

/* Whatever is stored of such a class may go: in (1) or in (2). */
enum status evict_can(struct queue *q, const bool may_evict[RECORD_CLASS_COUNT],
		      enum record_class arriving, bool *ret)
{
	struct search s;
	size_t n = 0;
	enum status st = depart_destinations(q, s.places, &s.count);
	for (int c = RECORD_CLASS_COUNT - 1; c >= (int)arriving && !st && !n; c--)
		for (size_t i = 0; i < s.count && may_evict[c] && !st && !n; i++) {
			struct depart_item item;
			st = depart_list(q, DELIVERY_READY, s.places[i].id, c, 0, &item, 1, &n);
			if (!st && !n)
				st = depart_list(q, DELIVERY_DEAD, s.places[i].id, c, 0, &item, 1,
						 &n);
		}
	if (!st)
		*ret = n > 0;
	return st;
}
