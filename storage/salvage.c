/* salvage.c - the thread that moves the readable rows of damaged files into the queue.
 *
 * It works through the rows of `salvages` that are 'running', one file after the other:
 *
 *   find -> open -> adopt what it knew of older ones -> pass what is done, counting it
 *        -> read a group -> move it -> read a group ... -> finish
 *
 * The file that was set aside last comes first: what it holds of older ones is not moved twice.
 *
 * Reading happens here, on a connection of its own to the damaged file; writing is a job of the
 * writer like any other, small enough not to hold up commits, and the next group is read only when
 * the last one is committed. So ingest goes first, and a full queue or a disk without space just
 * makes the salvage wait. What could not be done is tried again, later each time.
 *
 * The end compares with the damaged file's own totals: what was owed by them and was not found is
 * lost. For that each start counts through the batches that were dealt with before, without their
 * payloads; the damaged file does not change, so the sums come out the same.
 *
 * STATES of a row: running -> done [finish_file]. The damaged file itself is never touched. */
#include "storage/salvage.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "gateway/base/log.h"
#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"
#include "storage/salvage_move.h"

enum {
	NICE = 10,
	PLACES_MAX = 1024,
	OPEN_TRIES_MAX = 5,
	GROUP_BYTES = 1 << 20,
	BATCH_BYTES_MAX = 160 << 20
};
#define IDLE_NS      (2 * NS_PER_S)
#define WAIT_FIRST   (50 * NS_PER_MS)
#define WAIT_LONGEST (30 * NS_PER_S)

struct salvage {
	struct writer *writer;
	struct chan chan; /* jobs come back; stop rings */
	pthread_t thread;
	atomic_bool stop;
	struct salvage_job *job;
	bool is_job_back;
	int64_t wait_ns; /* grows with each failure in a row */
	/* of the file at work */
	struct salvage_place places[PLACES_MAX];
	size_t place_count;
	struct salvage_total found[SALVAGE_TOTALS_MAX];
	size_t found_count;
};

/* ---- waiting ---- */

static bool is_stopping(const struct salvage *s)
{
	return atomic_load(&s->stop);
}

/* What came back is ours: there is one job. */
static void take_back(struct salvage *s, struct chan_item *item)
{
	if (item)
		s->is_job_back = true;
}

static void pause_for(struct salvage *s, int64_t ns)
{
	int64_t deadline = now_mono_ns() + ns;
	if (!is_stopping(s))
		take_back(s, chan_wait_all(&s->chan, deadline));
}

static void pause_longer(struct salvage *s)
{
	pause_for(s, s->wait_ns);
	s->wait_ns = s->wait_ns * 2 > WAIT_LONGEST ? WAIT_LONGEST : s->wait_ns * 2;
}

static void job_is_done(struct write_job *job, enum status st)
{
	struct salvage_job *j = (struct salvage_job *)(void *)job;
	j->status = st;
	chan_give_item(j->chan, &job->item);
}

/* Give the job to the writer and wait for it: even while stopping, because it is ours to free. */
static enum status run_job(struct salvage *s,
			   enum status (*apply)(struct queue *, struct write_job *))
{
	s->job->job = (struct write_job){ .apply = apply, .done = job_is_done };
	s->job->chan = &s->chan;
	s->job->at_ns = now_wall_ns();
	s->is_job_back = false;
	writer_give(s->writer, &s->job->job);
	while (!s->is_job_back)
		take_back(s, chan_wait_all(&s->chan, INT64_MAX));
	return s->job->status;
}

/* The same until it is done. ST_CONFLICT, ST_NOT_FOUND: the row is not ours to work on any more. */
static enum status run_until_done(struct salvage *s,
				  enum status (*apply)(struct queue *, struct write_job *))
{
	static struct log_rate rate;
	while (!is_stopping(s)) {
		enum status st = writer_state(s->writer);
		if (!st)
			st = run_job(s, apply);
		if (st == ST_OK || st == ST_CONFLICT || st == ST_NOT_FOUND)
			s->wait_ns = WAIT_FIRST;
		if (st == ST_OK || st == ST_CONFLICT || st == ST_NOT_FOUND || st == ST_STOPPING)
			return st;
		if (log_every(&rate, 60, NULL))
			log_warn("salvage.waits", "path=%s status=%s", LOG_QUOTE(s->job->row.path),
				 status_name(st));
		pause_longer(s);
	}
	return ST_STOPPING;
}

/* ---- what was found ---- */

/* NULL: the name cannot be read. */
static const struct salvage_place *find_place(struct salvage *s, struct salvage_file *f,
					      int64_t old_id)
{
	for (size_t i = 0; i < s->place_count; i++)
		if (s->places[i].old_id == old_id)
			return &s->places[i];
	struct salvage_place *p = &s->places[s->place_count];
	if (s->place_count == PLACES_MAX ||
	    salvage_file_destination(f, old_id, p->name, p->kind) != ST_OK)
		return NULL;
	p->old_id = old_id;
	s->place_count++;
	return p;
}

static void count_found(struct salvage *s, const struct salvage_batch *b)
{
	for (size_t i = 0; i < b->owed_count; i++) {
		const struct salvage_owed *owed = &b->owed[i];
		size_t k = 0;
		while (k < s->found_count && (s->found[k].destination_id != owed->destination_id ||
					      s->found[k].signal != b->signal))
			k++;
		if (k == SALVAGE_TOTALS_MAX)
			continue;
		if (k == s->found_count)
			s->found[s->found_count++] =
				(struct salvage_total){ .destination_id = owed->destination_id,
							.signal = b->signal };
		s->found[k].records += owed->records;
	}
}

static int64_t found_records(const struct salvage *s, const struct salvage_total *t)
{
	for (size_t k = 0; k < s->found_count; k++)
		if (s->found[k].destination_id == t->destination_id &&
		    s->found[k].signal == t->signal)
			return s->found[k].records;
	return 0;
}

/* What the totals owe beyond what was found, into the job. */
static void count_missing(struct salvage *s, struct salvage_file *f)
{
	struct salvage_total totals[SALVAGE_TOTALS_MAX];
	size_t count = 0;
	struct salvage_job *j = s->job;
	j->missing_count = 0;
	j->is_unknown = !f || salvage_file_totals(f, totals, SALVAGE_TOTALS_MAX, &count) != ST_OK;
	for (size_t i = 0; i < count && !j->is_unknown; i++) {
		int64_t missing = totals[i].records - found_records(s, &totals[i]);
		const struct salvage_place *p = find_place(s, f, totals[i].destination_id);
		if (missing > 0)
			j->missing[j->missing_count++] =
				(struct salvage_missing){ .place = p ? p : &salvage_unrouted,
							  .signal = totals[i].signal,
							  .records = missing };
	}
}

/* ---- one file ---- */

static enum status adopt_past(struct salvage *s, struct salvage_file *f)
{
	struct salvage_job *j = s->job;
	salvage_file_past(f, j->past, SALVAGE_PAST_MAX, &j->past_count);
	return j->past_count ? run_until_done(s, salvage_adopt) : ST_OK;
}

/* Count through what was dealt with before. */
static enum status pass_done(struct salvage *s, struct salvage_file *f)
{
	struct salvage_batch *b = &s->job->batches[0];
	int64_t from = 1;
	enum status st = ST_OK;
	while (from < s->job->row.next_id && !st) {
		st = salvage_file_next(f, from, false, &s->job->bytes[0], b);
		if (!st && b->id < s->job->row.next_id)
			count_found(s, b);
		if (!st)
			from = b->id + 1;
	}
	return st == ST_END ? ST_OK : st;
}

/* Read the next group into the job. ST_END: there is nothing more. */
static enum status read_group(struct salvage *s, struct salvage_file *f)
{
	struct salvage_job *j = s->job;
	size_t bytes = 0;
	enum status st = ST_OK;
	j->count = 0;
	j->next_id = j->row.next_id > 0 ? j->row.next_id : 1;
	while (j->count < SALVAGE_GROUP_MAX && bytes < GROUP_BYTES) {
		struct salvage_batch *b = &j->batches[j->count];
		st = salvage_file_next(f, j->next_id, true, &j->bytes[j->count], b);
		if (st)
			break;
		for (size_t i = 0; i < b->owed_count; i++)
			(void)find_place(s, f, b->owed[i].destination_id);
		count_found(s, b);
		bytes += j->bytes[j->count].n;
		j->next_id = b->id + 1;
		j->count++;
	}
	j->places = s->places;
	j->place_count = s->place_count;
	return j->count ? ST_OK : st;
}

/* Big payloads are rare: their memory is given back at once. */
static void drop_bytes(struct salvage_job *j)
{
	for (size_t i = 0; i < SALVAGE_GROUP_MAX; i++) {
		buf_done(&j->bytes[i]);
		buf_init(&j->bytes[i], BATCH_BYTES_MAX, NULL);
	}
}

static void note_moved(struct salvage_job *j)
{
	for (size_t i = 0; i < j->count; i++) {
		j->row.batches += j->batches[i].has_body;
		j->row.records += j->batches[i].has_body ? j->batches[i].records : 0;
	}
	j->row.next_id = j->next_id;
}

static enum status move_all(struct salvage *s, struct salvage_file *f)
{
	enum status st = adopt_past(s, f);
	if (!st)
		st = pass_done(s, f);
	while (!st && (st = read_group(s, f)) == ST_OK) {
		st = run_until_done(s, salvage_move);
		if (!st)
			note_moved(s->job);
		drop_bytes(s->job);
	}
	return st == ST_END ? ST_OK : st;
}

static enum status finish_file(struct salvage *s, struct salvage_file *f)
{
	count_missing(s, f);
	enum status st = run_until_done(s, salvage_finish);
	if (st)
		return st;
	int64_t missing = 0;
	for (size_t i = 0; i < s->job->missing_count; i++)
		missing += s->job->missing[i].records;
	log_warn("salvage.done",
		 "batches=%lld records=%lld missing_records=%lld missing_known=%s kept_as=%s",
		 (long long)s->job->row.batches, (long long)s->job->row.records, (long long)missing,
		 s->job->is_unknown ? "no" : "yes", LOG_QUOTE(s->job->row.path));
	return ST_OK;
}

/* *ret NULL with ST_OK: nothing of it can be read, or it is gone. */
static enum status open_file(struct salvage *s, struct salvage_file **ret)
{
	struct err e = { 0 };
	enum status st = ST_OK;
	for (int tries = 0; tries < OPEN_TRIES_MAX && !is_stopping(s); tries++) {
		st = salvage_file_open(s->job->row.path, &s->stop, ret, &e);
		if (st == ST_OK || st == ST_CORRUPT || access(s->job->row.path, F_OK) != 0)
			break;
		pause_longer(s);
	}
	if (is_stopping(s))
		return ST_STOPPING;
	if (st) {
		log_error("salvage.unreadable", "path=%s error=%s", LOG_QUOTE(s->job->row.path),
			  LOG_QUOTE(err_text(&e, st)));
		*ret = NULL;
	}
	return ST_OK;
}

static enum status salvage_one(struct salvage *s)
{
	struct salvage_file *f = NULL;
	s->place_count = 0;
	s->found_count = 0;
	(void)snprintf(s->job->detail, sizeof(s->job->detail),
		       "payloads that cannot be read; the damaged file is kept as %s",
		       s->job->row.path);
	log_warn("salvage.begin", "path=%s from_id=%lld", LOG_QUOTE(s->job->row.path),
		 (long long)s->job->row.next_id);
	enum status st = open_file(s, &f);
	if (!st && f)
		st = move_all(s, f);
	if (!st)
		st = finish_file(s, f);
	salvage_file_close(f);
	return st;
}

/* ---- the thread ---- */

static void *thread_main(void *arg)
{
	struct salvage *s = arg;
	/* Linux: of this thread alone. Ingest and delivery go first. */
	(void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICE);
	s->wait_ns = WAIT_FIRST;
	while (!is_stopping(s)) {
		enum status st = ST_NOT_FOUND;
		if (writer_is_degraded(s->writer))
			st = run_until_done(s, salvage_find);
		if (!st)
			st = salvage_one(s);
		if (st == ST_NOT_FOUND)
			pause_for(s, IDLE_NS);
		else if (st && st != ST_CONFLICT)
			pause_longer(s);
	}
	return NULL;
}

enum status salvage_start(struct writer *w, struct salvage **ret, struct err *e)
{
	struct salvage *s = xcalloc(1, sizeof(*s));
	s->job = xcalloc(1, sizeof(*s->job));
	s->writer = w;
	drop_bytes(s->job);
	enum status st = chan_init(&s->chan, CHAN_WAKE_WAIT);
	if (st) {
		err_set(e, st, "the salvage's channel cannot be made");
		goto out;
	}
	int error = pthread_create(&s->thread, NULL, thread_main, s);
	if (error) {
		chan_done(&s->chan);
		st = err_set(e, ST_NO_MEMORY, "the salvage's thread cannot be started: %s",
			     strerror(error));
		goto out;
	}
	*ret = s;
	s = NULL;
out:
	if (s) {
		free(s->job);
		free(s);
	}
	return st;
}

void salvage_stop(struct salvage *s)
{
	if (!s)
		return;
	atomic_store(&s->stop, true);
	chan_ring(&s->chan);
	CHECK(pthread_join(s->thread, NULL) == 0);
	struct chan_item *rest = chan_take_all(&s->chan);
	CHECK(!rest);
	chan_done(&s->chan);
	for (size_t i = 0; i < SALVAGE_GROUP_MAX; i++)
		buf_done(&s->job->bytes[i]);
	free(s->job);
	free(s);
}
