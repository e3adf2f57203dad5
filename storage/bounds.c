/* bounds.c - how much of one kind is kept: all dead letters, and what waits for one destination.
 *
 * Sums are made by walking the index in slices between the groups, over and over: a walk ends, what
 * is over the bound goes, oldest first, and the next walk begins. Counters that every insert and
 * every settlement keeps were rejected: they would cost the way that must be fast, would have to be
 * counted at the start anyhow, and one that is wrong would delete data. So a bound is kept with a
 * delay: a second for what is small, and longer for what takes long to walk (PAUSE times what was
 * spent on it, without the groups in between: those say nothing of the walk's price).
 *
 * What left since the walk counted it is taken off again (storage/gone.h).
 *
 * What is over goes oldest first. For a destination: of its least urgent class first, and nothing
 * of a class that the operator protects (queue.when_full: reject). Its payloads stay for the other
 * destinations. A dead letter's age is the time since it was refused, by the clock of that boot: no
 * step of the wall clock makes it older, or keeps it (storage/boot.h). */
#include "storage/bounds.h"

#include "gateway/base/now.h"
#include "storage/evict.h"

enum { SLICE = 64, PAUSE = 20 };
#define PAUSE_MIN_NS (NS_PER_S / 2)
#define PAUSE_MAX_NS (60 * NS_PER_S)
#define NOTHING_NS   (10 * NS_PER_S) /* what is over is protected: it is looked at less often */

void bounds_init(struct bounds *b, const struct writer_limits *limits)
{
	*b = (struct bounds){ .limits = limits };
	b->dead = (struct bounds_tally){ .state = DELIVERY_DEAD,
					 .max_bytes = limits->dead_max_bytes };
}

void bounds_add_quota(struct bounds *b, int64_t destination_id, uint64_t max_bytes)
{
	CHECK(b->quota_count < DESTINATIONS_MAX);
	b->quotas[b->quota_count++] = (struct bounds_tally){ .state = DELIVERY_READY,
							     .destination_id = destination_id,
							     .max_bytes = max_bytes };
}

static void restart(struct bounds_tally *t)
{
	*t = (struct bounds_tally){ .state = t->state,
				    .destination_id = t->destination_id,
				    .max_bytes = t->max_bytes };
}

void bounds_restart(struct bounds *b)
{
	b->expired_count = 0;
	restart(&b->dead);
	for (size_t i = 0; i < b->quota_count; i++)
		restart(&b->quotas[i]);
}

static int64_t dead_age(const struct queue *q, const struct depart_item *item)
{
	return item->last_attempt_at_ns ? boot_age_ns(&q->boot, item->last_boot, item->last_mono_ns,
						      item->last_attempt_at_ns) :
					  boot_age_ns(&q->boot, item->boot, item->received_mono_ns,
						      item->received_at_ns);
}

static void note_item(struct bounds *b, const struct queue *q, const struct bounds_tally *t,
		      const struct depart_item *item)
{
	if (t->state == DELIVERY_DEAD && b->limits->dead_max_age_ns &&
	    b->expired_count < BOUNDS_EXPIRED_MAX &&
	    dead_age(q, item) >= b->limits->dead_max_age_ns)
		b->expired[b->expired_count++] = *item;
}

/* The walk's next slice. *ret_end: it is through. */
static enum status walk(struct bounds *b, struct bounds_tally *t, struct queue *q,
			const struct depart_destination *places, size_t count, bool *ret_end)
{
	struct depart_item items[SLICE];
	size_t n = 0;
	*ret_end = t->place >= count;
	if (*ret_end)
		return ST_OK;
	bool is_dead = t->state == DELIVERY_DEAD;
	enum status st = ST_OK;
	if (!t->destination_id || places[t->place].id == t->destination_id)
		st = depart_list(q, t->state, places[t->place].id, is_dead ? -1 : t->class,
				 t->after_id, items, SLICE, &n);
	for (size_t i = 0; i < n && !st; i++) {
		t->bytes += items[i].stored_bytes > 0 ? (uint64_t)items[i].stored_bytes : 0;
		t->after_id = items[i].batch_id;
		note_item(b, q, t, &items[i]);
	}
	if (n == SLICE || st)
		return st;
	t->after_id = 0;
	if (is_dead || ++t->class == RECORD_CLASS_COUNT) {
		t->class = 0;
		t->place++;
	}
	return ST_OK;
}

/* What left by other ways than ours since the last look is in *io_sum no more. */
static void take_off_left(struct bounds_tally *t, const struct queue *q, uint64_t *io_sum)
{
	uint64_t now = gone_bytes(&q->gone, t->destination_id, t->state);
	/* Less than before: the file was opened again, and what left is not known. */
	uint64_t left = now >= t->left ? now - t->left : UINT64_MAX;
	*io_sum = *io_sum > left ? *io_sum - left : 0;
	t->left = now;
}

static void finish_walk(struct bounds_tally *t, const struct queue *q)
{
	int64_t now = now_mono_ns();
	int64_t pause = t->spent_ns * PAUSE;
	take_off_left(t, q, &t->bytes);
	t->excess = t->max_bytes && t->bytes > t->max_bytes ? t->bytes - t->max_bytes : 0;
	pause = pause < PAUSE_MIN_NS ? PAUSE_MIN_NS : pause;
	t->next_ns = now + (pause > PAUSE_MAX_NS ? PAUSE_MAX_NS : pause);
	t->is_walking = false;
	t->spent_ns = 0;
	t->bytes = 0;
	t->place = 0;
}

static enum status look(struct bounds *b, struct bounds_tally *t, struct queue *q,
			int64_t deadline_ns, int64_t *io_next_ns)
{
	struct depart_destination places[DEPART_DESTINATIONS_MAX];
	size_t count = 0;
	bool is_through = false;
	int64_t now = now_mono_ns();
	enum status st = ST_OK;
	if (!t->excess && now >= t->next_ns) {
		if (!t->is_walking)
			t->left = gone_bytes(&q->gone, t->destination_id, t->state);
		t->is_walking = true;
		st = depart_destinations(q, places, &count);
		while (!st && !is_through && now_mono_ns() < deadline_ns)
			st = walk(b, t, q, places, count, &is_through);
		t->spent_ns += now_mono_ns() - now;
		if (!st && is_through)
			finish_walk(t, q);
	}
	if (t->next_ns < *io_next_ns)
		*io_next_ns = t->next_ns;
	return st;
}

enum status bounds_look(struct bounds *b, struct queue *q, int64_t deadline_ns, bool *ret_due,
			int64_t *ret_next_ns)
{
	enum status st = ST_OK;
	bool is_over = false;
	*ret_next_ns = INT64_MAX;
	if (b->limits->dead_max_bytes || b->limits->dead_max_age_ns) {
		st = look(b, &b->dead, q, deadline_ns, ret_next_ns);
		is_over = b->dead.excess > 0 || b->expired_count > 0;
	}
	for (size_t i = 0; i < b->quota_count && !st; i++) {
		st = look(b, &b->quotas[i], q, deadline_ns, ret_next_ns);
		is_over = is_over || b->quotas[i].excess > 0;
	}
	*ret_due = is_over;
	return st;
}

/* ---- letting go ---- */

static enum status find_oldest_dead(struct queue *q, struct evict_front *f)
{
	struct depart_destination places[DEPART_DESTINATIONS_MAX];
	size_t count = 0;
	enum status st = depart_destinations(q, places, &count);
	f->count = 0;
	for (size_t i = 0; i < count && !st; i++)
		st = evict_add_front(q, DELIVERY_DEAD, places[i].id, -1, f);
	return st;
}

static enum status find_oldest_of(struct queue *q, const struct bounds *b, int64_t destination_id,
				  struct evict_front *f)
{
	enum status st = ST_OK;
	f->count = 0;
	for (int c = RECORD_CLASS_COUNT - 1; c >= 0 && !st && !f->count; c--)
		if (b->limits->may_evict[c])
			st = evict_add_front(q, DELIVERY_READY, destination_id, c, f);
	return st;
}

static enum status shrink(struct bounds *b, struct bounds_tally *t, struct queue *q,
			  int64_t deadline_ns)
{
	bool is_dead = t->state == DELIVERY_DEAD;
	enum status st = ST_OK;
	t->gone = 0;
	take_off_left(t, q, &t->excess);
	while (!st && t->gone < t->excess && now_mono_ns() < deadline_ns) {
		struct evict_front f;
		st = is_dead ? find_oldest_dead(q, &f) :
			       find_oldest_of(q, b, t->destination_id, &f);
		if (!st && f.count == 0) { /* all that may go is gone */
			t->gone = t->excess;
			t->next_ns = now_mono_ns() + NOTHING_NS;
		}
		for (size_t i = 0; i < f.count && !st && t->gone < t->excess; i++) {
			st = depart_delivery(q, f.items[i].batch_id, f.items[i].destination_id,
					     t->state, OUTCOME_EVICTED,
					     is_dead ? DEPART_DEAD_SIZE : DEPART_QUOTA);
			t->gone +=
				f.items[i].stored_bytes > 0 ? (uint64_t)f.items[i].stored_bytes : 1;
		}
	}
	return st;
}

enum status bounds_step(struct bounds *b, struct queue *q, int64_t deadline_ns)
{
	enum status st = ST_OK;
	for (size_t i = 0; i < b->expired_count && !st; i++)
		st = depart_delivery(q, b->expired[i].batch_id, b->expired[i].destination_id,
				     DELIVERY_DEAD, OUTCOME_EXPIRED, DEPART_DEAD_AGE);
	if (!st && b->dead.excess)
		st = shrink(b, &b->dead, q, deadline_ns);
	for (size_t i = 0; i < b->quota_count && !st; i++)
		if (b->quotas[i].excess)
			st = shrink(b, &b->quotas[i], q, deadline_ns);
	return st;
}

static void commit_tally(struct bounds_tally *t, const struct queue *q)
{
	if (!t->gone)
		return;
	t->excess = t->gone < t->excess ? t->excess - t->gone : 0;
	t->gone = 0;
	t->left = gone_bytes(&q->gone, t->destination_id, t->state);
}

void bounds_committed(struct bounds *b, const struct queue *q)
{
	/* More than the list holds: the walk goes on at once. */
	if (b->expired_count == BOUNDS_EXPIRED_MAX)
		b->dead.next_ns = 0;
	b->expired_count = 0;
	commit_tally(&b->dead, q);
	for (size_t i = 0; i < b->quota_count; i++)
		commit_tally(&b->quotas[i], q);
}
