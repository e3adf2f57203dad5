/* queue_model.c - the queue without files: arrays, and the rules as docs/ says them.
 *
 * It shares no code with storage/: where the product looks up an index or sums up in slices, this
 * walks all batches, which are in the order of their ids. So it is slow and easy to read, and a
 * mistake would have to be made twice to go unseen.
 *
 * A delivery that leaves is counted at once; a batch of which none is left is gone, and only kept
 * here so that a test can settle it once more. */
#include "tests/support/queue_model.h"

#include "gateway/base/now.h"

/* ---- rows ---- */

struct model_batch *model_find(struct model *m, int64_t id)
{
	for (int i = 0; i < m->count; i++)
		if (m->batches[i].id == id)
			return &m->batches[i];
	return NULL;
}

bool model_is_stored(const struct model_batch *b)
{
	bool is_owed = false;
	for (int i = 0; i < MODEL_PLACES; i++)
		is_owed = is_owed || b->to[i].state != MODEL_NONE;
	return is_owed;
}

int model_stored(const struct model *m)
{
	int count = 0;
	for (int i = 0; i < m->count; i++)
		count += model_is_stored(&m->batches[i]);
	return count;
}

static struct model_batch *add(struct model *m, const struct model_batch *b)
{
	CHECK(m->count < MODEL_BATCHES_MAX);
	m->batches[m->count] = *b;
	m->batches[m->count].id = ++m->last_id;
	m->batches[m->count].has_payload = true;
	return &m->batches[m->count++];
}

static int64_t *total(struct model *m, int place, const struct model_batch *b, enum outcome outcome)
{
	return &m->totals[place][b->signal][outcome];
}

/* It is owed to the place from now on, unless it is already. */
static void owe(struct model *m, struct model_batch *b, int place, int64_t records)
{
	if (b->to[place].state != MODEL_NONE)
		return;
	b->to[place] = (struct model_delivery){
		.state = MODEL_READY, .records = records, .attempt_ns = -1, .error = ""
	};
	*total(m, place, b, OUTCOME_ACCEPTED) += records;
}

struct model_batch *model_put(struct model *m, const struct model_batch *b, unsigned places)
{
	struct model_batch *added = add(m, b);
	for (int i = 0; i < MODEL_PLACES; i++)
		if (places >> i & 1)
			owe(m, added, i, b->records);
	return added;
}

/* ---- leaving ---- */

static void note_loss(struct model *m, int place, const struct model_batch *b, enum outcome outcome,
		      int64_t records)
{
	struct model_loss *l = &m->losses[place][b->signal][b->class][outcome];
	l->records += records;
	l->bytes += (int64_t)((double)b->bytes * (double)records / (double)b->records);
	if (b->first_ns && (!l->first_ns || b->first_ns < l->first_ns))
		l->first_ns = b->first_ns;
	if (b->last_ns > l->last_ns)
		l->last_ns = b->last_ns;
}

/* Some records become this; the delivery stays as it is. */
static void lose(struct model *m, int place, const struct model_batch *b, enum outcome outcome,
		 int64_t records)
{
	if (!records)
		return;
	*total(m, place, b, outcome) += records;
	note_loss(m, place, b, outcome, records);
}

static void lose_whole(struct model *m, int place, struct model_batch *b, enum outcome outcome)
{
	lose(m, place, b, outcome, b->to[place].records);
	b->to[place].state = MODEL_NONE;
}

/* ---- outcomes ---- */

static int64_t least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int place_of(const struct model *m, int64_t destination_id)
{
	int i = 0;
	while (i < MODEL_PLACES && m->places[i].id != destination_id)
		i++;
	CHECK(i < MODEL_PLACES);
	return i;
}

static void deliver(struct model *m, int place, struct model_batch *b, int64_t records,
		    int64_t rejected)
{
	rejected = least(rejected, records);
	lose(m, place, b, OUTCOME_REJECTED, rejected);
	*total(m, place, b, OUTCOME_DELIVERED) += records - rejected;
	b->to[place].state = MODEL_NONE;
}

/* The parts are dead letters of batches of their own; what they leave is delivered. */
static void split(struct model *m, const struct model_answer *a, struct model_batch *whole,
		  const struct settle_item *item)
{
	struct model_delivery *d = &whole->to[a->place];
	int64_t left = d->records;
	for (size_t i = 0; i < item->part_count; i++) {
		const struct settle_part *p = &item->parts[i];
		struct model_batch part = *whole;
		int64_t owed = least(p->records, left);
		left -= owed;
		if (!owed)
			continue;
		part.records = p->records;
		part.bytes = (int64_t)p->body.n;
		part.first_ns = p->first_time_ns ? p->first_time_ns : whole->first_ns;
		part.last_ns = p->last_time_ns ? p->last_time_ns : whole->last_ns;
		for (int k = 0; k < MODEL_PLACES; k++)
			part.to[k].state = MODEL_NONE;
		part.to[a->place] = (struct model_delivery){ .state = MODEL_DEAD,
							     .records = owed,
							     .attempts = d->attempts + 1,
							     .attempt_ns = a->at_ns,
							     .status = p->status,
							     .error = p->error };
		(void)add(m, &part);
	}
	deliver(m, a->place, whole, left, item->rejected_records);
}

static void move(struct model *m, struct model_batch *b, int from, int to)
{
	*total(m, from, b, OUTCOME_ACCEPTED) -= b->to[from].records;
	owe(m, b, to, b->to[from].records);
	b->to[from].state = MODEL_NONE;
}

static void attempt(struct model_delivery *d, const struct model_answer *a, enum model_state state)
{
	d->state = state;
	d->attempts++;
	d->attempt_ns = a->at_ns;
	d->status = a->status;
	d->error = a->error;
}

/* Some of it was taken before: only the rest is still owed. */
static void take(struct model *m, int place, struct model_batch *b, const struct settle_item *item)
{
	struct model_delivery *d = &b->to[place];
	int64_t taken = least(item->taken_records, d->records);
	int64_t rejected = least(item->rejected_records, taken);
	lose(m, place, b, OUTCOME_REJECTED, rejected);
	*total(m, place, b, OUTCOME_DELIVERED) += taken - rejected;
	d->records -= taken;
	if (taken && !d->records)
		d->state = MODEL_NONE;
}

static void settle_one(struct model *m, const struct model_answer *a, struct model_batch *b,
		       const struct settle_item *item)
{
	struct model_delivery *d = &b->to[a->place];
	if (d->state != MODEL_READY)
		return; /* a settlement that comes late changes nothing */
	if (item->outcome == SETTLE_UNREADABLE && b->has_payload)
		return; /* it is not so */
	take(m, a->place, b, item);
	if (d->state == MODEL_NONE)
		return; /* nothing is left that could have an outcome */
	switch (item->outcome) {
	case SETTLE_DELIVERED:
		deliver(m, a->place, b, d->records, item->rejected_records);
		break;
	case SETTLE_RETRY:
		attempt(d, a, MODEL_READY);
		break;
	case SETTLE_DEAD:
		attempt(d, a, MODEL_DEAD);
		break;
	case SETTLE_SPLIT:
		split(m, a, b, item);
		break;
	case SETTLE_MOVED:
		move(m, b, a->place, place_of(m, item->to_destination_id));
		break;
	case SETTLE_UNREADABLE:
		lose_whole(m, a->place, b, OUTCOME_DAMAGED);
		break;
	case SETTLE_EXPIRED:
		lose_whole(m, a->place, b, OUTCOME_EXPIRED);
		break;
	}
}

void model_settle(struct model *m, const struct model_answer *a, const struct settle_item *items,
		  size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct model_batch *b = model_find(m, items[i].batch_id);
		if (b)
			settle_one(m, a, b, &items[i]);
	}
}

/* ---- what people do ---- */

void model_redrive(struct model *m, struct redrive *r)
{
	enum model_state state = r->state == DELIVERY_DEAD ? MODEL_DEAD : MODEL_READY;
	int place = place_of(m, r->destination_id);
	r->batches = 0;
	r->records = 0;
	for (size_t i = 0; i < r->count; i++) {
		struct model_batch *b = model_find(m, r->batch_ids[i]);
		if (!b || b->to[place].state != state)
			continue;
		struct model_delivery was = b->to[place];
		r->batches++;
		r->records += was.records;
		if (r->action == REDRIVE_REPLAY) {
			b->to[place].state = MODEL_READY;
		} else if (r->action == REDRIVE_PURGE) {
			lose_whole(m, place, b, OUTCOME_PURGED);
		} else {
			int to = place_of(m, r->to_id);
			bool is_new = b->to[to].state == MODEL_NONE;
			move(m, b, place, to);
			if (is_new) /* with its state and history */
				b->to[to] = was;
		}
	}
}

void model_reroute(struct model *m, int place, const unsigned to[SIGNAL_COUNT][RECORD_CLASS_COUNT])
{
	for (int i = 0; i < m->count; i++) {
		struct model_batch *b = &m->batches[i];
		unsigned places = to[b->signal][b->class];
		if (b->to[place].state != MODEL_READY || !places)
			continue;
		for (int k = 0; k < MODEL_PLACES; k++)
			if (places >> k & 1)
				owe(m, b, k, b->to[place].records);
		*total(m, place, b, OUTCOME_ACCEPTED) -= b->to[place].records;
		b->to[place].state = MODEL_NONE;
	}
}

/* ---- eviction ---- */

static bool is_awaited(const struct model *m, const struct model_batch *b)
{
	bool is = false;
	for (int i = 0; i < MODEL_PLACES; i++)
		is = is || (b->to[i].state == MODEL_READY && m->places[i].is_configured);
	return is;
}

/* The oldest batch of the class that nobody waits for, or that is owed. */
static struct model_batch *next_to_evict(struct model *m, int class, bool is_unwanted)
{
	for (int i = 0; i < m->count; i++) {
		struct model_batch *b = &m->batches[i];
		if ((int)b->class == class && model_is_stored(b) && is_awaited(m, b) != is_unwanted)
			return b;
	}
	return NULL;
}

struct model_batch *model_to_evict(struct model *m, const bool may_evict[RECORD_CLASS_COUNT],
				   enum record_class arriving)
{
	struct model_batch *b = NULL;
	for (int unwanted = 1; unwanted >= 0 && !b; unwanted--)
		for (int c = RECORD_CLASS_COUNT - 1; c >= (int)arriving && !b; c--)
			if (may_evict[c])
				b = next_to_evict(m, c, unwanted);
	return b;
}

void model_evict(struct model *m, struct model_batch *b)
{
	CHECK(b);
	for (int i = 0; i < MODEL_PLACES; i++)
		if (b->to[i].state != MODEL_NONE)
			lose_whole(m, i, b, OUTCOME_EVICTED);
}

/* ---- rules ---- */

/* Oldest first, up to the first that is young enough: what was replayed out of turn waits for it.
 */
static void expire(struct model *m, int place, int class)
{
	for (int i = 0; i < m->count; i++) {
		struct model_batch *b = &m->batches[i];
		if ((int)b->class != class || b->to[place].state != MODEL_READY)
			continue;
		if (now_boot_ns() - b->received_ns < m->rules.max_age_ns[class])
			return;
		lose_whole(m, place, b, OUTCOME_EXPIRED);
	}
}

/* Since it was refused, but not more than since it was received. */
static bool is_dead_too_long(const struct model *m, const struct model_batch *b, int place)
{
	const struct model_delivery *d = &b->to[place];
	return d->state == MODEL_DEAD &&
	       now_boot_ns() - b->received_ns >= m->rules.dead_max_age_ns &&
	       now_wall_ns() - d->attempt_ns >= m->rules.dead_max_age_ns;
}

static void bound_dead(struct model *m)
{
	uint64_t bytes = 0;
	for (int i = 0; i < m->count; i++)
		for (int k = 0; k < MODEL_PLACES; k++) {
			struct model_batch *b = &m->batches[i];
			if (m->rules.dead_max_age_ns && is_dead_too_long(m, b, k))
				lose_whole(m, k, b, OUTCOME_EXPIRED);
			bytes += b->to[k].state == MODEL_DEAD ? (uint64_t)b->bytes : 0;
		}
	for (int i = 0; i < m->count && m->rules.dead_max_bytes; i++)
		for (int k = 0; k < MODEL_PLACES && bytes > m->rules.dead_max_bytes; k++) {
			struct model_batch *b = &m->batches[i];
			if (b->to[k].state != MODEL_DEAD)
				continue;
			bytes -= (uint64_t)b->bytes;
			lose_whole(m, k, b, OUTCOME_EVICTED);
		}
}

static void bound_place(struct model *m, int place)
{
	uint64_t bytes = 0;
	for (int i = 0; i < m->count; i++)
		if (m->batches[i].to[place].state == MODEL_READY)
			bytes += (uint64_t)m->batches[i].bytes;
	for (int c = RECORD_CLASS_COUNT - 1; c >= 0; c--)
		for (int i = 0; i < m->count && bytes > m->quotas[place]; i++) {
			struct model_batch *b = &m->batches[i];
			if ((int)b->class != c || !m->rules.may_evict[c] ||
			    b->to[place].state != MODEL_READY)
				continue;
			bytes -= (uint64_t)b->bytes;
			lose_whole(m, place, b, OUTCOME_EVICTED);
		}
}

void model_obey(struct model *m)
{
	for (int i = 0; i < MODEL_PLACES; i++)
		for (int c = 0; c < RECORD_CLASS_COUNT; c++)
			if (m->rules.max_age_ns[c])
				expire(m, i, c);
	bound_dead(m);
	for (int i = 0; i < MODEL_PLACES; i++)
		if (m->quotas[i])
			bound_place(m, i);
}
