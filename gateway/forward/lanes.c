/* lanes.c - order within a lane, turns among lanes. Nothing here sends or settles.
 *
 * A lane is one signal of one class (and with order: fresh_first one end of the queue). Its exports
 * are begun in the order of the queue, each in a slot:
 *
 *   (none) -> in flight     [lane_slot, lanes_started]   a new one: only while none waits or is
 * split in flight -> waiting    [lanes_ended]                failed, refused; sent again from here
 *   waiting -> in flight    [lanes_started]              the first that waits
 *   in flight, waiting -> (none)  [lane_remove]          settled, or put back
 *
 * With `max` 1, the next is begun when the last is settled, and order is never violated. With more
 * it is the order of starting that is kept. After a failure nothing new is begun until what failed
 * is settled, and what failed is sent again one at a time: a backend that fails is not asked four
 * times.
 *
 * Whose turn it is, while the destination is up: the class by its share of the bytes (shares.c),
 * within it the end of the queue by its share, within that the lane that waited longest. The shares
 * hold because at most max_in_flight exports share the link; with every lane on its own connection,
 * TCP would give each the same. One exception: a class more urgent than all that is under way does
 * not wait for one of those to end. It is charged for it, so it has its share and no more.
 *
 * While the destination is down there is one attempt at a time, and it goes to the lane that waited
 * longest whatever its class, or one poisoned batch would keep a living backend marked as down for
 * ever. Nobody is charged for these: an outage of hours would be a debt of hours. */
#include "gateway/forward/lanes.h"

#include <stdlib.h>
#include <string.h>

void lanes_init(struct lanes *ls, const struct lanes_options *o)
{
	int backfill = o->backfill_percent;
	*ls = (struct lanes){ .window = o->window, .max_in_flight = o->max_in_flight };
	shares_init(&ls->classes, o->shares, RECORD_CLASS_COUNT);
	for (int c = 0; c < RECORD_CLASS_COUNT; c++) {
		int weights[CLAIM_SIDE_COUNT] = {
			[CLAIM_OLDEST] = backfill, [CLAIM_NEWEST] = 100 - backfill
		};
		shares_init(&ls->sides[c], weights, CLAIM_SIDE_COUNT);
	}
	for (int i = 0; i < LANES; i++) {
		struct lane *l = &ls->lanes[i];
		l->signal = (enum signal)(i % SIGNAL_COUNT);
		l->class = (enum record_class)(i / SIGNAL_COUNT % RECORD_CLASS_COUNT);
		l->side = (enum claim_side)(i / SIGNAL_COUNT / RECORD_CLASS_COUNT);
		l->max = o->max_of_signal[l->signal];
		CHECK(l->max > 0 && l->max <= LANE_SLOTS_MAX);
	}
}

void lanes_done(struct lanes *ls)
{
	for (int i = 0; i < LANES; i++) {
		struct lane *l = &ls->lanes[i];
		while (l->count > 0)
			lane_remove(l, &l->slots[0]);
	}
}

bool lane_has_work(const struct lanes *ls, const struct lane *l)
{
	return l->count > 0 || claim_window_has(ls->window, l->side, l->signal, l->class);
}

/* Apart from what others do. */
static bool may_start(const struct lanes *ls, const struct lane *l, int64_t now)
{
	bool is_waiting = l->in_flight < l->count;
	if (l->due_ns > now || ls->closed >> l->class & 1)
		return false;
	if (l->in_flight > 0 && (is_waiting || l->failures > 0))
		return false;
	for (size_t i = 0; i < l->count; i++)
		if (l->slots[i].split && l->in_flight > 0)
			return false;
	if (is_waiting)
		return true;
	return l->in_flight < l->max && claim_window_has(ls->window, l->side, l->signal, l->class);
}

static bool is_more_urgent_than_all(const struct lanes *ls, enum record_class class)
{
	for (int i = 0; i < LANES; i++)
		if (ls->lanes[i].in_flight > 0 && ls->lanes[i].class <= class)
			return false;
	return true;
}

static struct lane *longest_waiting(struct lanes *ls, int64_t now)
{
	struct lane *best = NULL;
	for (int i = 0; i < LANES; i++) {
		struct lane *l = &ls->lanes[i];
		if (may_start(ls, l, now) && (!best || l->attempted_ns < best->attempted_ns))
			best = l;
	}
	return best;
}

struct lane *lanes_next(struct lanes *ls, bool is_up, int64_t now)
{
	if (!is_up)
		return ls->in_flight > 0 ? NULL : longest_waiting(ls, now);
	bool may[LANES];
	unsigned classes = 0;
	bool is_full = ls->in_flight >= ls->max_in_flight;
	for (int i = 0; i < LANES; i++) {
		const struct lane *l = &ls->lanes[i];
		may[i] = may_start(ls, l, now) &&
			 (!is_full || is_more_urgent_than_all(ls, l->class));
		classes |= may[i] ? 1u << l->class : 0;
	}
	int class = shares_pick(&ls->classes, classes);
	unsigned sides = 0;
	for (int i = 0; i < LANES; i++)
		if (may[i] && (int)ls->lanes[i].class == class)
			sides |= 1u << ls->lanes[i].side;
	int side = class < 0 ? -1 : shares_pick(&ls->sides[class], sides);
	struct lane *best = NULL;
	for (int i = 0; i < LANES; i++) {
		struct lane *l = &ls->lanes[i];
		if (may[i] && (int)l->class == class && (int)l->side == side &&
		    (!best || l->attempted_ns < best->attempted_ns))
			best = l;
	}
	return best;
}

struct slot *lane_slot(struct lane *l)
{
	for (size_t i = 0; i < l->count; i++)
		if (!l->slots[i].is_in_flight)
			return &l->slots[i];
	CHECK(l->count < LANE_SLOTS_MAX);
	struct slot *slot = &l->slots[l->count++];
	*slot = (struct slot){ 0 };
	return slot;
}

struct slot *lane_find(struct lane *l, const struct export *x)
{
	for (size_t i = 0; i < l->count; i++)
		if (l->slots[i].export == x)
			return &l->slots[i];
	CHECK(false);
	return NULL;
}

void lanes_started(struct lanes *ls, struct lane *l, struct slot *slot, bool is_up)
{
	CHECK(!slot->is_in_flight);
	slot->is_in_flight = true;
	l->in_flight++;
	ls->in_flight++;
	l->attempted_ns = slot->export->started_ns;
	if (!is_up)
		return;
	shares_charge(&ls->classes, (int)l->class, slot->export->body.n);
	shares_charge(&ls->sides[l->class], (int)l->side, slot->export->body.n);
}

void lanes_ended(struct lanes *ls, struct lane *l, struct slot *slot)
{
	CHECK(slot->is_in_flight);
	slot->is_in_flight = false;
	l->in_flight--;
	ls->in_flight--;
}

void lane_remove(struct lane *l, struct slot *slot)
{
	export_free(slot->export);
	split_free(slot->split);
	size_t i = (size_t)(slot - l->slots);
	l->count--;
	memmove(slot, slot + 1, (l->count - i) * sizeof(*slot));
}
