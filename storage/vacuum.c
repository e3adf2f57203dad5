/* vacuum.c - the file grows with a backlog; when it has drained, the disk gets it back.
 *
 * Free pages are used again before the file grows, so for most of a queue's life they are where
 * they should be. They are given back when they were free for a whole window (a minute), down to a
 * rest of an eighth of what is used and a few MiB: an outage that comes and goes does not make the
 * file breathe.
 *
 * PRAGMA incremental_vacuum moves the last page of the file into a free one and cuts the file at
 * the next checkpoint. It goes STEP pages at a time until a deadline of a few milliseconds, within
 * a transaction of the writer: no commit waits longer for it than that. Each moved page is written
 * twice more, so it is done once per outage, and not for each batch that left.
 *
 * (VACUUM would need the file's size again, and hold the writer up for all of it.) */
#include "storage/vacuum.h"

#include "gateway/base/now.h"
#include "storage/queue_sql.h"

enum {
	STEP = 8, /* pages; as in queue_sql.h */
	REST_BYTES = 8 << 20,
	LEAST_BYTES = 1 << 20, /* not worth a commit below it */
};
#define AFTER_NS (60 * NS_PER_S)

void vacuum_init(struct vacuum *v, int64_t after_ns)
{
	*v = (struct vacuum){ .after_ns = after_ns ? after_ns : AFTER_NS };
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Free bytes that may go. */
static uint64_t spare(const struct vacuum *v, const struct space *s, const struct checkpoint *c)
{
	uint64_t rest =
		min_u64(REST_BYTES, s->max_bytes / 32) + (s->file_bytes - s->free_bytes) / 8;
	uint64_t unused = min_u64(min_u64(v->least_now, v->least_before), s->free_bytes);
	uint64_t excess = min_u64(space_excess(s, c), s->free_bytes);
	uint64_t bytes = unused > rest ? unused - rest : 0;
	return excess > bytes ? excess : bytes;
}

bool vacuum_look(struct vacuum *v, const struct space *s, const struct checkpoint *c)
{
	int64_t now = now_mono_ns();
	if (now >= v->window_ends_ns) {
		/* Windows that nobody looked at were idle: they know nothing less. */
		v->least_before = v->window_ends_ns ? v->least_now : 0;
		v->least_now = s->free_bytes;
		v->window_ends_ns = now + v->after_ns;
	}
	v->least_now = min_u64(v->least_now, s->free_bytes);
	uint64_t least = min_u64(LEAST_BYTES, s->max_bytes / 32);
	return spare(v, s, c) >= (space_excess(s, c) ? 1 : least);
}

static enum status step(struct queue *q)
{
	sqlite3_stmt *s = NULL;
	enum status st = queue_statement(q, Q_VACUUM_STEP, &s);
	/* A row for each page. */
	while (!st)
		st = stmt_step(s, &q->err);
	return st == ST_END ? ST_OK : st;
}

enum status vacuum_step(struct vacuum *v, struct queue *q, const struct space *s,
			const struct checkpoint *c, int64_t deadline_ns)
{
	int64_t before = 0;
	int64_t after = 0;
	int64_t free_pages = 0;
	uint64_t pages = spare(v, s, c) / c->page_bytes;
	enum status st = queue_pages(q, &before, &free_pages);
	v->freed = 0;
	for (uint64_t done = 0; !st && done < pages && now_mono_ns() < deadline_ns; done += STEP)
		st = step(q);
	if (!st)
		st = queue_pages(q, &after, &free_pages);
	if (!st && before > after)
		v->freed = (uint64_t)(before - after) * c->page_bytes;
	return st;
}

uint64_t vacuum_committed(struct vacuum *v)
{
	uint64_t freed = v->freed;
	v->least_now = v->least_now > freed ? v->least_now - freed : 0;
	v->least_before = v->least_before > freed ? v->least_before - freed : 0;
	v->freed = 0;
	return freed;
}
