/* group.c - one group commit: the order in which the promise is kept.
 *
 * INVARIANTS
 * (1) done(ST_OK) is called for a job only after the commit that holds its work returned success.
 * (2) A commit that failed, or whose outcome is not known, completes no job with ST_OK. The data
 *     may be in the file all the same; clients send again, and at-least-once covers it.
 * (3) Each job is completed exactly once.
 * (4) A job that fails with a CLASS_REJECT status has written nothing; any other failure undoes the
 *     whole transaction.
 *
 * Puts for which there is no room, and can be made none (storage/admit.c), are left out. When the
 * commit would pass the cap all the same, or the disk is full, the transaction is run again without
 * its puts: deliveries are settled on a full disk too. When a bug of ours fails the transaction
 * (ST_INTERNAL), its jobs are run one by one, so that only the one at fault pays. */
#include "storage/writer_internal.h"

#include <string.h>

#include "gateway/base/now.h"
#include "storage/admit.h"

enum { OTHER_FRAMES_MAX = 24 };

/* What a waiter is told: always something that it may try again. */
static enum status for_waiter(enum status st)
{
	return status_class(st) == CLASS_RETRY ? st : ST_UNAVAILABLE;
}

/* What the rows of a group's puts come to. */
struct sums {
	uint64_t rows;
	uint64_t raw_bytes;
	uint64_t stored_bytes;
	uint64_t slots;
};

static struct sums sum_puts(const struct group *g)
{
	struct sums s = { 0 };
	for (size_t i = 0; i < g->count; i++) {
		if (g->results[i] || !packer_is_put(g->jobs[i]))
			continue;
		const struct packed *packed = packer_packed(g->jobs[i]);
		s.rows += packed->row_count;
		s.raw_bytes += packed->raw_bytes;
		s.stored_bytes += packed->stored_bytes;
		s.slots |= packed->slots;
	}
	return s;
}

/* Apply the jobs. Sets the results of those that failed alone. *ret_changes: rows that those other
 * than puts have changed. */
static enum status apply_jobs(struct writer *w, struct group *g, enum status admit,
			      int64_t *ret_changes)
{
	*ret_changes = 0;
	for (size_t i = 0; i < g->count; i++) {
		struct write_job *job = g->jobs[i];
		bool is_refused = (admit || g->admits[i]) && admit_is_put(job);
		int64_t before = queue_changes(&w->store.queue);
		enum status st = is_refused ? (admit ? admit : g->admits[i]) :
					      job->apply(&w->store.queue, job);
		if (!packer_is_put(job))
			*ret_changes += queue_changes(&w->store.queue) - before;
		if (status_class(st) == CLASS_OK)
			st = ST_OK;
		g->results[i] = st;
		if (st && status_class(st) != CLASS_REJECT && !is_refused)
			return st; /* (4) */
	}
	return ST_OK;
}

static enum status commit(struct writer *w)
{
	int64_t start = now_mono_ns();
	enum status st = queue_commit(&w->store.queue);
	series_observe(w->metrics.commit_seconds, (double)(now_mono_ns() - start) / NS_PER_S);
	series_add(st ? w->metrics.commits_failed : w->metrics.commits_ok, 1);
	return st;
}

static enum status check_space(struct writer *w, const struct group *g, int64_t changes)
{
	const struct checkpoint *c = &w->store.checkpoint;
	struct sums sums = sum_puts(g);
	bool grows = sums.rows > 0;
	for (size_t i = 0; i < g->count && !grows; i++)
		grows = !g->results[i] && admit_is_put(g->jobs[i]);
	/* Rows that go lie close together, and pages that get empty are not written. */
	int64_t others = changes / 2 < OTHER_FRAMES_MAX ? changes / 2 : OTHER_FRAMES_MAX;
	int64_t frames = space_pages_for(c, sums.rows, sums.stored_bytes) + others;
	return space_check_commit(&w->space, &w->store.queue, c, frames, grows);
}

/* One try. On failure nothing of it is left. */
static enum status try_group(struct writer *w, struct group *g, enum status admit)
{
	struct queue *q = &w->store.queue;
	int64_t changes = 0;
	q->ignored = 0;
	q->has_losses = false;
	q->has_moved = false;
	memset(g->results, 0, sizeof(g->results[0]) * g->count);
	memset(g->admits, 0, sizeof(g->admits[0]) * g->count);
	enum status st = admit ? ST_OK : admit_prepare(w, g);
	if (!st)
		st = queue_begin(q);
	if (!st && !admit)
		st = admit_group(w, g);
	if (!st)
		st = apply_jobs(w, g, admit, &changes);
	if (!st)
		st = check_space(w, g, changes);
	if (!st)
		st = commit(w);
	if (st)
		queue_rollback(q);
	return st;
}

static bool has_puts(const struct group *g, bool *ret_only)
{
	size_t puts = 0;
	for (size_t i = 0; i < g->count; i++)
		puts += admit_is_put(g->jobs[i]);
	*ret_only = puts == g->count;
	return puts > 0;
}

/* Before the waiters are told, so that whoever asks next hears the same. The loop logs it. */
static void answer(struct writer *w, enum status st)
{
	if (!atomic_load(&w->is_stopping))
		atomic_store(&w->state, (int)st);
}

static void refuse(struct writer *w, enum status st)
{
	w->refused = st;
	answer(w, st);
}

/* Some puts had no room: the next ones of their kind shall hear it before they are compressed. */
static void note_refused(struct writer *w, const struct group *g)
{
	enum status why = ST_OK;
	for (size_t i = 0; i < g->count && !why; i++)
		why = g->admits[i];
	if (!why)
		return;
	unsigned blocked = admit_blocked(w);
	atomic_store(&w->blocked, blocked);
	if (blocked == ADMIT_ALL_CLASSES)
		refuse(w, why);
}

/* Puts are refused where the queue is full; what remains is tried. */
static enum status try_with_space(struct writer *w, struct group *g)
{
	enum status admit = (enum status)atomic_load(&w->state);
	bool is_only_puts;
	w->refused = ST_OK;
	bool is_with_puts = has_puts(g, &is_only_puts);
	enum status st = admit && is_only_puts ? admit : try_group(w, g, admit);
	if (!st)
		note_refused(w, g);
	if ((st == ST_FULL || st == ST_NO_SPACE) && !admit && is_with_puts) {
		admit = st;
		refuse(w, st);
		if (is_only_puts)
			return st;
		st = try_group(w, g, admit);
	}
	/* The reserve's space is for this: settlements on a disk that is full to the brim. */
	if (st == ST_NO_SPACE && !is_only_puts && space_release_reserve(&w->space)) {
		refuse(w, ST_NO_SPACE);
		st = try_group(w, g, ST_NO_SPACE);
	}
	return st;
}

static void complete(struct group *g)
{
	for (size_t i = 0; i < g->count; i++) {
		struct write_job *job = g->jobs[i];
		job->done(job, g->results[i]); /* (3) the job is gone */
	}
	g->count = 0;
}

/* The transaction is on the disk. last_id is of the last batch before it. */
static void note_stored(struct writer *w, const struct group *g, int64_t last_id)
{
	const struct sums sums = sum_puts(g);
	struct queue *q = &w->store.queue;
	if (q->ignored) {
		series_add(w->metrics.ignored, (double)q->ignored);
		q->ignored = 0;
	}
	if (q->has_losses && w->losses)
		chan_ring(w->losses);
	/* A salvage inserts by jobs, for whom is not known here: a ring too many does no harm. */
	bool is_by_jobs = q->last_id > last_id + (int64_t)sums.rows || q->has_moved;
	uint64_t slots = is_by_jobs ? UINT64_MAX : sums.slots;
	if (sums.rows) {
		w->store.acked_id = q->last_id;
		series_add(w->metrics.stored_bytes, (double)sums.stored_bytes);
		series_add(w->metrics.received_bytes, (double)sums.raw_bytes);
	}
	for (int i = 0; i < w->store.slot_count; i++)
		if (slots >> i & 1 && w->subscribers[i])
			chan_ring(w->subscribers[i]);
}

void group_fail(struct group *g, enum status st)
{
	for (size_t i = 0; i < g->count; i++)
		g->results[i] = for_waiter(st);
	complete(g);
}

/* (2) Those that were rejected alone keep their own answer. */
static void fail_rest(struct group *g, enum status st)
{
	for (size_t i = 0; i < g->count; i++)
		if (status_class(g->results[i]) != CLASS_REJECT)
			g->results[i] = for_waiter(st);
	complete(g);
}

static enum status run_one_by_one(struct writer *w, struct group *g)
{
	enum status first = ST_OK;
	size_t count = g->count;
	for (size_t i = 0; i < count; i++) {
		struct group one = { .count = 1, .jobs = { g->jobs[i] } };
		if (first == ST_IO || first == ST_CORRUPT) {
			group_fail(&one, first);
			continue;
		}
		enum status st = group_run(w, &one);
		if (st)
			first = st;
	}
	g->count = 0;
	return first;
}

static bool is_all_puts(const struct group *g)
{
	bool is_only = false;
	(void)has_puts(g, &is_only);
	return is_only;
}

enum status group_run(struct writer *w, struct group *g)
{
	int64_t last_id = w->store.queue.last_id;
	/* Not every way runs the jobs: the last group's results must not be taken for theirs. */
	memset(g->results, 0, sizeof(g->results[0]) * g->count);
	enum status st = try_with_space(w, g);
	/* One that grows must not keep one that frees from being settled. */
	bool is_one_at_fault = st == ST_INTERNAL || (st == ST_FULL && !is_all_puts(g));
	if (is_one_at_fault && g->count > 1)
		return run_one_by_one(w, g);
	if (st) {
		if (st == ST_IO || st == ST_CORRUPT)
			answer(w, ST_UNAVAILABLE); /* the loop enters recovery */
		fail_rest(g, st);
		return st;
	}
	note_stored(w, g, last_id);
	complete(g); /* (1) */
	return ST_OK;
}
