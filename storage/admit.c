/* admit.c - the gate in front of the queue: counts what arrives before it is written, and makes
 * room for it.
 *
 * Three cases, in the order of how often they happen:
 *
 *   There is room: one comparison for the group.
 *
 *   There is little: batches go in the same transaction, as many as are needed, oldest of the least
 *   urgent class first (storage/evict.c). A put of a class can only push out its own class and less
 *   urgent ones.
 *
 *   None can be made: the put is refused, in a way that asks the client to come again.
 *   Where nothing is left that may go, its classes are noted in w->blocked, so that the
 *   next ones are refused before they are compressed; classes that can still push others
 *   out go on.
 *
 * Evicting is cheap per byte but not free, so it has a time limit in each commit (MAKE_ROOM_NS),
 * which is not looked at before the first step: nothing is refused for the time that others took of
 * the processor. And between the groups room is kept ahead (LOW, HIGH): under a sustained overload
 * the eviction runs beside the puts in steps of some MiB, each of which is one row of the ledger
 * for each destination, signal and class. Only the least urgent class goes ahead of need: whatever
 * comes may take that room, and it must not be had from a class that is above what comes.
 *
 * A log that is long already leaves no room for a large commit: it is started over first.
 *
 * What eviction cannot help: a WAL that a reader holds, and a file that was made under a larger
 * cap. Then nothing is evicted in vain. */
#include "storage/admit.h"

#include "gateway/base/now.h"
#include "storage/evict.h"
#include "storage/salvage_move.h"

enum {
	LOW_BYTES = 8 << 20,
	HIGH_BYTES = 24 << 20,
	EVICT_FRAMES = 24, /* that the deletes of a slice may write */
	LEAST_URGENT = RECORD_CLASS_COUNT - 1,
};
#define MAKE_ROOM_NS (20 * NS_PER_MS)

static int64_t payload_pages(const struct writer *w, uint64_t bytes)
{
	return space_pages_for(&w->store.checkpoint, 1, bytes) -
	       space_pages_for(&w->store.checkpoint, 0, 0);
}

bool admit_is_put(const struct write_job *job)
{
	return packer_is_put(job) || job->apply == salvage_move;
}

struct admit_need admit_need_of(const struct writer *w, const struct write_job *job)
{
	struct admit_need n = { 0 };
	if (packer_is_put(job)) {
		const struct packed *p = packer_packed(job);
		for (size_t i = 0; i < p->row_count; i++)
			n.pages[p->rows[i].batch.class] += payload_pages(w, p->rows[i].length);
	} else if (job->apply == salvage_move) {
		const struct salvage_job *j = (const struct salvage_job *)(const void *)job;
		for (size_t i = 0; i < j->count; i++)
			n.pages[j->batches[i].class] += payload_pages(w, j->bytes[i].n);
	}
	return n;
}

/* Measured in the transaction: what it has evicted counts. */
static enum status measure(struct writer *w)
{
	return space_measure(&w->space, &w->store.queue, &w->store.checkpoint);
}

static enum status measure_if_near(struct writer *w, int64_t pages)
{
	return space_measure_if_near(&w->space, &w->store.queue, &w->store.checkpoint, pages);
}

static bool fits(const struct writer *w, int64_t pages, struct space_room *ret)
{
	*ret = space_room(&w->space, &w->store.checkpoint, pages + EVICT_FRAMES);
	return ret->growth_pages >= 0 && ret->free_pages + ret->growth_pages >= pages;
}

/* The puts of a group so far, and what the next one comes to. */
struct gate {
	struct writer *w;
	int64_t taken[RECORD_CLASS_COUNT];
	int64_t deadline_ns;
	bool has_tried; /* to make room: then the time counts */
};

/* What is to be in the file of this class and the less urgent ones. */
static int64_t pages_up_to(const struct gate *g, const struct admit_need *n, int class)
{
	int64_t pages = space_pages_for(&g->w->store.checkpoint, 0, 0);
	for (int c = class; c < RECORD_CLASS_COUNT; c++)
		pages += g->taken[c] + n->pages[c];
	return pages;
}

/* *ret: ST_OK, or why there is no room for the pages of this class. */
static enum status make_room_for(struct gate *g, const struct admit_need *n, int class,
				 enum status *ret)
{
	struct writer *w = g->w;
	struct space_room room;
	int64_t pages = pages_up_to(g, n, class);
	enum status st = ST_OK;
	*ret = ST_OK;
	while (!st && !fits(w, pages, &room)) {
		size_t count = 0;
		*ret = room.why;
		if (room.growth_pages < 0 || (g->has_tried && now_mono_ns() >= g->deadline_ns))
			return ST_OK;
		g->has_tried = true;
		st = evict_some(&w->store.queue, w->limits.may_evict, (enum record_class) class,
				&count);
		if (!st && count == 0 && !evict_is_searching(&w->store.queue))
			return ST_OK;
		if (!st && count)
			st = measure(w);
		*ret = ST_OK;
	}
	return st;
}

/* The least urgent first: it can push out least. */
static enum status admit_one(struct gate *g, const struct admit_need *n, enum status *ret)
{
	enum status st = ST_OK;
	*ret = ST_OK;
	for (int c = RECORD_CLASS_COUNT - 1; c >= 0 && !st && !*ret; c--)
		if (n->pages[c])
			st = make_room_for(g, n, c, ret);
	for (int c = 0; c < RECORD_CLASS_COUNT && !st && !*ret; c++)
		g->taken[c] += n->pages[c];
	return st;
}

/* The sums that the packer has made are enough for it. */
static int64_t pages_of_group(const struct writer *w, const struct group *g, bool *ret_has)
{
	int64_t pages = space_pages_for(&w->store.checkpoint, 0, 0);
	*ret_has = false;
	for (size_t i = 0; i < g->count; i++) {
		const struct write_job *job = g->jobs[i];
		if (!admit_is_put(job))
			continue;
		*ret_has = true;
		if (packer_is_put(job)) {
			const struct packed *p = packer_packed(job);
			pages += payload_pages(w, p->stored_bytes) +
				 (int64_t)p->row_count * payload_pages(w, 0);
			continue;
		}
		struct admit_need n = admit_need_of(w, job);
		for (int c = 0; c < RECORD_CLASS_COUNT; c++)
			pages += n.pages[c];
	}
	return pages;
}

enum status admit_prepare(struct writer *w, const struct group *g)
{
	struct checkpoint *c = &w->store.checkpoint;
	struct space_room room;
	bool has_puts = false;
	int64_t pages = pages_of_group(w, g, &has_puts);
	enum status st = has_puts ? measure_if_near(w, pages) : ST_OK;
	if (st || !has_puts || fits(w, pages, &room) || room.growth_pages >= 0)
		return st;
	return checkpoint_restart(c, &w->store.queue.err);
}

enum status admit_group(struct writer *w, struct group *g)
{
	struct space_room room;
	bool has_puts = false;
	int64_t pages = pages_of_group(w, g, &has_puts);
	enum status st = has_puts ? measure_if_near(w, pages) : ST_OK;
	if (st || !has_puts || fits(w, pages, &room))
		return st;
	struct gate gate = { .w = w, .deadline_ns = now_mono_ns() + MAKE_ROOM_NS };
	for (size_t i = 0; i < g->count && !st; i++) {
		struct admit_need n = admit_need_of(w, g->jobs[i]);
		if (admit_is_put(g->jobs[i]))
			st = admit_one(&gate, &n, &g->admits[i]);
	}
	return st;
}

unsigned admit_blocked(struct writer *w)
{
	struct space_room room;
	unsigned blocked = 0;
	/* Not for want of pages: of room for the log, or under the cap at all. */
	if (!fits(w, 0, &room))
		return ADMIT_ALL_CLASSES;
	for (int c = 0; c < RECORD_CLASS_COUNT; c++) {
		bool can = false;
		enum status st =
			evict_can(&w->store.queue, w->limits.may_evict, (enum record_class)c, &can);
		if (st || !can)
			blocked |= 1U << c;
	}
	return blocked;
}

/* ---- ahead of the puts ---- */

static int64_t share(const struct writer *w, uint64_t bytes, uint64_t part)
{
	uint64_t of = w->space.max_bytes / part;
	return (int64_t)((bytes < of ? bytes : of) / w->store.checkpoint.page_bytes);
}

/* Under a cap that is lower than the file, enough to shrink it. */
static bool has_room(const struct writer *w, int64_t pages)
{
	struct space_room room = space_room(&w->space, &w->store.checkpoint, EVICT_FRAMES);
	uint64_t excess = space_excess(&w->space, &w->store.checkpoint);
	if (excess)
		return room.free_pages >=
		       pages + (int64_t)(excess / w->store.checkpoint.page_bytes);
	/* Where only the log is too long, batches would go in vain. */
	return room.growth_pages < 0 || room.free_pages + room.growth_pages >= pages;
}

bool admit_wants_room(const struct writer *w)
{
	return !has_room(w, share(w, LOW_BYTES, 32));
}

enum status admit_make_room(struct writer *w, int64_t deadline_ns, bool *ret_done)
{
	enum status st = measure(w);
	bool has_more = true;
	while (!st && has_more && !has_room(w, share(w, HIGH_BYTES, 16)) &&
	       now_mono_ns() < deadline_ns) {
		size_t count = 0;
		st = evict_some(&w->store.queue, w->limits.may_evict,
				(enum record_class)LEAST_URGENT, &count);
		if (!st && count)
			st = measure(w);
		has_more = count || evict_is_searching(&w->store.queue);
	}
	if (!st)
		*ret_done = !has_more || has_room(w, share(w, HIGH_BYTES, 16));
	return st;
}
