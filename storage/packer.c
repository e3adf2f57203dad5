/* packer.c - merges and compresses beside the writer.
 *
 * Compression is most of what a stored record costs, and the writer spends much of its time waiting
 * for the disk. So puts come here first: this thread takes what waits, packs it, and gives it to
 * the writer as one job, while the writer commits what it had before.
 *
 * There are PACKS_MAX struct packed. When all are on their way, or some with GIVEN_BYTES_MAX in
 * them, puts gather in the channel: that is the back-pressure, what makes rows and commits larger
 * under load, and what bounds the memory of packed rows, which no budget is charged for. A lone put
 * is packed at once. With a commit_interval the thread waits that long for company first.
 *
 * STATES of a struct packed:
 *
 *   free    -> packing  [pack_some]
 *   packing -> given    [pack_some]        writer_give: it is the writer's
 *   packing -> free     [give_up]          no put was taken, or it could not be compressed
 *   given   -> free     [on_packed_done]   on the writer's thread: every put is completed
 *
 * Each put is completed exactly once: by on_packed_done with the writer's result, or here with a
 * status that stores nothing. Only the writer's result can be ST_OK. */
#include "storage/packer.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "gateway/base/metrics.h"
#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"
#include "storage/writer_internal.h"

enum {
	PACKS_MAX = 6,
	PACK_PUTS_MAX = 2048,
	PACK_BYTES_MAX =
		2 << 20, /* raw: past it the next packed begins, so that the writer can begin too */
	GIVEN_BYTES_MAX = 16 << 20,    /* raw: only large bodies reach it */
	BUSY_BYTES = 1 << 20,          /* raw, that wait: compress fast */
	BUSY_BEHIND_BYTES = 128 << 10, /* the same, while the writer has not stored the last */
};

struct packer {
	struct writer *writer;
	struct pack *pack;
	int64_t commit_interval_ns;
	struct chan chan;     /* puts; rung when a packed comes back */
	struct chan returned; /* packed that are free */
	struct series *wait_seconds;
	atomic_bool is_stopping;
	bool is_started;
	pthread_t thread;
	/* the packer thread's own */
	struct chan_item *pending;
	struct chan_item **pending_end;
	size_t alone_count; /* so many at the front are packed alone */
	struct packed *free[PACKS_MAX];
	size_t free_count;
	size_t given_bytes; /* raw, of those that are given */
};

static enum status apply_packed(struct queue *q, struct write_job *job)
{
	return packed_insert((const struct packed *)job, q);
}

bool packer_is_put(const struct write_job *job)
{
	return job->apply == apply_packed;
}

const struct packed *packer_packed(const struct write_job *job)
{
	CHECK(packer_is_put(job));
	return (const struct packed *)job;
}

/* The put is gone behind this. */
static void complete(struct packer *p, struct chan_item *item, enum status st)
{
	struct write_job *put = (struct write_job *)item;
	series_observe(p->wait_seconds, (double)(now_mono_ns() - put->given_ns) / NS_PER_S);
	put->done(put, st);
}

static void complete_all(struct packer *p, struct chan_item *list, enum status st)
{
	while (list) {
		struct chan_item *item = list;
		list = list->next;
		complete(p, item, st);
	}
}

/* On the writer's thread. */
static void on_packed_done(struct write_job *job, enum status st)
{
	struct packed *packed = (struct packed *)job;
	struct packer *p = packed->owner;
	struct chan_item *puts = packed->puts;
	packed->puts = NULL;
	complete_all(p, puts, st);
	chan_give_item(&p->returned, &packed->job.item);
	chan_ring(&p->chan);
}

static void append_pending(struct packer *p, struct chan_item *list)
{
	*p->pending_end = list;
	while (*p->pending_end)
		p->pending_end = &(*p->pending_end)->next;
}

static void take_returned(struct packer *p)
{
	struct chan_item *list = chan_take_all(&p->returned);
	while (list) {
		struct packed *packed = (struct packed *)list;
		list = list->next;
		CHECK(p->free_count < PACKS_MAX);
		p->given_bytes -= packed->raw_bytes;
		/* Now: the next time that this one is needed may never come. */
		packed_empty(packed);
		p->free[p->free_count++] = packed;
	}
}

static struct chan_item *pop_pending(struct packer *p)
{
	struct chan_item *item = p->pending;
	p->pending = item->next;
	if (!p->pending)
		p->pending_end = &p->pending;
	item->next = NULL;
	return item;
}

static void fail_pending(struct packer *p, enum status st)
{
	while (p->pending)
		complete(p, pop_pending(p), st);
}

static size_t put_bytes(const struct chan_item *item)
{
	const struct put_job *put = (const struct put_job *)item;
	size_t n = 0;
	for (size_t i = 0; i < put->part_count && i < RECORD_CLASS_COUNT; i++)
		n += put->parts[i].body.n;
	return n;
}

/* What waits, counted up to a little past PACK_BYTES_MAX. */
static size_t pending_bytes(const struct packer *p)
{
	size_t n = 0;
	for (const struct chan_item *i = p->pending; i && n < PACK_BYTES_MAX; i = i->next)
		n += put_bytes(i);
	return n;
}

/* No room can be made for a class of the put: it would be compressed for nothing. */
static bool is_blocked(const struct packer *p, const struct chan_item *item)
{
	const struct put_job *put = (const struct put_job *)item;
	unsigned blocked = atomic_load_explicit(&p->writer->blocked, memory_order_relaxed);
	for (size_t i = 0; blocked && i < put->part_count && i < RECORD_CLASS_COUNT; i++)
		if (blocked >> put->parts[i].class & 1)
			return true;
	return false;
}

/* So much waits that it shall be packed fast. A large request that comes alone does not make the
 * gateway busy; that more came while the last was on its way to the disk does. */
static bool is_busy(const struct packer *p)
{
	size_t waiting = pending_bytes(p);
	return waiting >= BUSY_BYTES || (p->given_bytes > 0 && waiting >= BUSY_BEHIND_BYTES);
}

/* Pack from the front of what waits: packed->puts are those that were taken, in order. A status: it
 * could not be packed; puts that are themselves at fault are completed here. */
static enum status fill(struct packer *p, struct packed *packed)
{
	struct chan_item **end = &packed->puts;
	size_t bytes = 0;
	size_t count_max = p->alone_count > 0 ? 1 : PACK_PUTS_MAX;
	pack_begin(p->pack, packed, is_busy(p));
	while (p->pending && bytes < PACK_BYTES_MAX && packed->put_count < count_max &&
	       pack_has_room(p->pack)) {
		struct chan_item *item = pop_pending(p);
		if (is_blocked(p, item)) {
			complete(p, item, ST_FULL);
			continue;
		}
		bytes += put_bytes(item);
		enum status st = pack_add(p->pack, (const struct put_job *)item);
		if (status_class(st) == CLASS_REJECT) {
			complete(p, item, st);
			continue;
		}
		*end = item;
		end = &item->next;
		packed->put_count++;
		if (st)
			return st;
	}
	return pack_flush(p->pack);
}

/* The puts go back to the front of what waits, each to be packed alone: so only the one that cannot
 * be packed fails, and not those that happened to come with it. */
static void isolate(struct packer *p, struct packed *packed)
{
	struct chan_item *last = packed->puts;
	while (last->next)
		last = last->next;
	last->next = p->pending;
	if (!p->pending)
		p->pending_end = &last->next;
	p->pending = packed->puts;
	p->alone_count = packed->put_count;
}

static void give_up(struct packer *p, struct packed *packed, enum status st)
{
	bool is_ours = st && status_class(st) != CLASS_RETRY;
	if (is_ours && packed->put_count > 1)
		isolate(p, packed);
	else
		complete_all(p, packed->puts, is_ours ? ST_UNAVAILABLE : st);
	packed_empty(packed);
	p->free[p->free_count++] = packed;
}

static void pack_some(struct packer *p)
{
	struct packed *packed = p->free[--p->free_count];
	enum status st = fill(p, packed);
	if (p->alone_count > 0)
		p->alone_count--;
	if (st || packed->put_count == 0) {
		give_up(p, packed, st);
		return;
	}
	/* Since when it waits is what the writer's commit_interval goes by. */
	int64_t since = ((const struct write_job *)packed->puts)->given_ns;
	packed->job.apply = apply_packed;
	packed->job.done = on_packed_done;
	p->given_bytes += packed->raw_bytes;
	writer_give_as_of(p->writer, &packed->job, since);
}

static void wait_for_company(struct packer *p)
{
	int64_t until = ((const struct write_job *)p->pending)->given_ns + p->commit_interval_ns;
	while (now_mono_ns() < until && !atomic_load(&p->is_stopping) &&
	       pending_bytes(p) < PACK_BYTES_MAX)
		append_pending(p, chan_wait_all(&p->chan, until));
}

static bool has_room(const struct packer *p)
{
	return p->free_count > 0 && p->given_bytes < GIVEN_BYTES_MAX;
}

static void loop_once(struct packer *p)
{
	bool is_able = p->pending && has_room(p);
	append_pending(p, is_able ? chan_take_all(&p->chan) : chan_wait_all(&p->chan, INT64_MAX));
	if (p->pending && p->commit_interval_ns > 0)
		wait_for_company(p);
	/* Behind all that waits: it may have taken the ring of one that came back. */
	take_returned(p);
	if (!p->pending)
		return;
	/* Do not compress what would be refused. */
	enum status state = writer_state(p->writer);
	if (state)
		fail_pending(p, state);
	else if (has_room(p))
		pack_some(p);
}

static void *packer_main(void *arg)
{
	struct packer *p = arg;
	(void)pthread_setname_np(pthread_self(), "packer");
	while (!atomic_load(&p->is_stopping))
		loop_once(p);
	return NULL;
}

enum status packer_new(struct writer *w, struct pack *pack, int64_t commit_interval_ns,
		       struct packer **ret)
{
	struct packer *p = xcalloc(1, sizeof(*p));
	p->writer = w;
	p->pack = pack;
	p->commit_interval_ns = commit_interval_ns;
	p->pending_end = &p->pending;
	p->wait_seconds = metric_series(M_COMMIT_WAIT_SECONDS);
	CHECK(chan_init(&p->chan, CHAN_WAKE_WAIT) == ST_OK);
	CHECK(chan_init(&p->returned, CHAN_WAKE_WAIT) == ST_OK);
	while (p->free_count < PACKS_MAX) {
		struct packed *packed = packed_new(pack);
		packed->owner = p;
		p->free[p->free_count++] = packed;
	}
	*ret = p;
	return ST_OK;
}

enum status packer_start(struct packer *p)
{
	if (pthread_create(&p->thread, NULL, packer_main, p) != 0)
		return ST_NO_MEMORY;
	p->is_started = true;
	return ST_OK;
}

void packer_put(struct packer *p, struct put_job *put)
{
	put->job.given_ns = now_mono_ns();
	chan_give_item(&p->chan, &put->job.item);
}

void packer_join(struct packer *p)
{
	if (!p)
		return;
	atomic_store(&p->is_stopping, true);
	chan_ring(&p->chan);
	if (p->is_started)
		(void)pthread_join(p->thread, NULL);
	p->is_started = false;
	fail_pending(p, ST_STOPPING);
}

void packer_free(struct packer *p)
{
	if (!p)
		return;
	append_pending(p, chan_take_all(&p->chan));
	fail_pending(p, ST_STOPPING);
	take_returned(p);
	CHECK(p->free_count == PACKS_MAX);
	while (p->free_count > 0)
		packed_free(p->free[--p->free_count]);
	chan_done(&p->chan);
	chan_done(&p->returned);
	pack_free(p->pack);
	free(p);
}
