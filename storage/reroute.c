/* reroute.c - moves what waits for a route to the destinations that it has now.
 *
 * A job of the writer that gives itself again: each run moves one slice within the group commit it
 * happens to ride in, so that a backlog of any size delays nobody. The cursor moves on only after
 * the commit (apply may run again after a rollback). A failure waits for better times with the
 * writer; at a stop the job ends, and the next start begins from the front. */
#include "gateway/base/xalloc.h"
#include "storage/writer_internal.h"

struct reroute {
	struct write_job job;
	struct writer *w;
	int64_t unrouted_id;
	struct queue_cursor cursor;
	struct queue_cursor next; /* set by apply, used after the commit */
	size_t count;
	struct queue_routes routes;
};

static enum status apply(struct queue *q, struct write_job *job)
{
	struct reroute *r = (struct reroute *)job;
	return queue_reroute(q, r->unrouted_id, &r->routes, r->cursor, &r->next, &r->count);
}

static void done(struct write_job *job, enum status st)
{
	struct reroute *r = (struct reroute *)job;
	struct writer *w = r->w;
	if (st == ST_STOPPING || (!st && r->count < QUEUE_REROUTE_MAX)) {
		for (int i = 0; i < w->store.slot_count && !st; i++)
			if (w->subscribers[i])
				chan_ring(w->subscribers[i]);
		free(r);
		return;
	}
	if (st) {
		job->item.next = w->delayed;
		w->delayed = &job->item;
		return;
	}
	r->cursor = r->next;
	writer_give(w, job);
}

void writer_reroute(struct writer *w, int unrouted_slot,
		    const uint64_t slots[SIGNAL_COUNT][RECORD_CLASS_COUNT])
{
	const struct store *s = &w->store;
	CHECK(unrouted_slot >= 0 && unrouted_slot < s->slot_count);
	struct reroute *r = xcalloc(1, sizeof(*r));
	r->job.apply = apply;
	r->job.done = done;
	r->w = w;
	r->unrouted_id = s->slots[unrouted_slot].id;
	r->cursor = (struct queue_cursor){ .priority = -1 };
	for (unsigned i = 0; i < SIGNAL_COUNT; i++)
		for (unsigned c = 0; c < RECORD_CLASS_COUNT; c++) {
			size_t n = 0;
			for (int slot = 0; slot < s->slot_count; slot++)
				if (slots[i][c] >> slot & 1 && slot != unrouted_slot)
					r->routes.ids[i][c][n++] = s->slots[slot].id;
		}
	writer_give(w, &r->job);
}
