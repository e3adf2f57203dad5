/* writer.c - the writer thread. Puts reach it packed (storage/packer.c).
 *
 * One loop: take all that waits, run it as one transaction (storage/group.c), complete the waiters,
 * checkpoint a step where it is time. While one commit syncs, the next group gathers in the
 * channel: under load the groups grow by themselves, and a lone request waits for nobody. With a
 * commit_interval the loop waits that long for company, for the sake of flash memory.
 *
 * STATES, as writer_state tells them and every put is answered:
 *
 *   ST_OK          -> ST_FULL         [upkeep_measure, group.c]  the cap on the queue's size
 *   ST_OK          -> ST_NO_SPACE     [upkeep_measure, group.c]  the floor of free disk, or ENOSPC
 *   any            -> ST_UNAVAILABLE  [upkeep_enter_recovery]    memory and disk may disagree
 *   ST_UNAVAILABLE -> ST_OK           [upkeep_try_recovery]      reopened and verified
 *   ST_FULL, ST_NO_SPACE -> ST_OK     [upkeep_measure]           room again; settlements made it
 *   any            -> ST_STOPPING     [writer_stop]
 *
 * Puts are answered by the state at once; settlements and other jobs run in all but the last two.
 * This is the only thread that touches the connection, and only it logs: here, and in
 * storage/upkeep.c, which has what is done between two groups. */
#include "storage/writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/log.h"
#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"
#include "storage/file_checks.h"
#include "storage/upkeep.h"

#define MEASURE_NS  (100 * NS_PER_MS)
#define IDLE_NS     (2 * NS_PER_S)
#define SLEEP_NS    (10 * NS_PER_S)
#define SETTLE_COST 4096  /* of a settled batch, in bytes of a put that takes as long */
#define JOB_COST    65536 /* of any other job */

/* Opening */

static struct writer *make(const struct writer_options *o)
{
	struct writer *w = xcalloc(1, sizeof(*w));
	w->lock_fd = -1;
	w->pending_end = &w->pending;
	w->commit_interval_ns = o->commit_interval_ns;
	w->store.path = xstrdup(o->path);
	w->store.page_size = o->page_size;
	w->store.step_bytes = o->checkpoint_bytes ? o->checkpoint_bytes : CHECKPOINT_BYTES;
	space_init(&w->space, w->store.path, o->max_size_bytes, o->min_free_disk_bytes,
		   &w->store.step_bytes);
	/* A log that a large commit made longer is cut when it starts over. */
	w->store.wal_keep_bytes = 2 * w->store.step_bytes;
	struct pack_compression compression = {
		.encoding = o->has_encoding ? o->encoding : ENCODING_ZSTD,
		.level = o->has_encoding ? o->level : PACK_LEVEL,
		.busy_level = o->has_encoding ? o->level : PACK_BUSY_LEVEL,
	};
	w->limits = o->limits;
	chore_init(&w->chore, w);
	w->pack = pack_new(o->merge_bytes ? o->merge_bytes : PACK_MERGE_BYTES, &compression);
	upkeep_register(&w->metrics);
	return w;
}

static void destroy(struct writer *w)
{
	store_free(&w->store);
	if (w->packer)
		packer_free(w->packer);
	else
		pack_free(w->pack);
	file_unlock(w->lock_fd);
	chan_done(&w->chan);
	free(w);
}

static enum status open_at(const struct writer_options *o, struct writer **ret, struct err *e)
{
	struct writer *w = make(o);
	struct err ignored;
	enum status st = chan_init(&w->chan, CHAN_WAKE_WAIT);
	if (!st)
		st = packer_new(w, w->pack, o->commit_interval_ns, &w->packer);
	if (!st)
		st = file_make_directory(o->path, e);
	if (!st)
		st = file_check_system(o->path, &w->note, e);
	if (!st)
		st = file_lock(o->path, &w->lock_fd, e);
	if (!st)
		st = store_open(&w->store, e);
	if (st) {
		destroy(w);
		return st;
	}
	/* What a killed process left in the log may be readable and not on the disk (recover.c).
	 * Where a reader or a full disk is in the way, the next checkpoints do it. */
	st = checkpoint_truncate(&w->store.checkpoint, &w->is_truncated, &ignored);
	(void)st;
	upkeep_look_at_salvages(w);
	*ret = w;
	return ST_OK;
}

enum status writer_open(const struct writer_options *o, struct writer **ret, struct err *e)
{
	struct writer_options at = *o;
	char *path = NULL;
	enum status st = file_resolve(o->path, &path, e);
	at.path = path;
	if (!st)
		st = open_at(&at, ret, e);
	free(path);
	return st;
}

enum status writer_destination(struct writer *w, const char *name, const char *kind, int *ret_slot,
			       int64_t *ret_id, struct err *e)
{
	struct store *s = &w->store;
	struct queue *q = &s->queue;
	int64_t id = 0;
	CHECK(!w->is_started);
	if (s->slot_count == DESTINATIONS_MAX)
		return err_set(e, ST_TOO_LARGE, "more than %d destinations", DESTINATIONS_MAX);
	enum status st = queue_begin(q);
	if (!st)
		st = queue_destination(q, name, kind, 0, true, &id);
	if (!st)
		st = queue_commit(q);
	if (st) {
		queue_rollback(q);
		return err_set(e, st, "store the destination %s: %s", name, err_text(&q->err, st));
	}
	int slot = s->slot_count++;
	s->slots[slot] =
		(struct store_slot){ .name = xstrdup(name), .kind = xstrdup(kind), .id = id };
	pack_set_slot(w->pack, slot, id);
	*ret_slot = slot;
	*ret_id = id;
	return ST_OK;
}

void writer_set_quota(struct writer *w, int slot, uint64_t max_bytes)
{
	CHECK(!w->is_started && slot >= 0 && slot < w->store.slot_count);
	if (max_bytes)
		bounds_add_quota(&w->chore.bounds, w->store.slots[slot].id, max_bytes);
}

enum status writer_destination_stored(struct writer *w, int64_t id, struct destination_stored *ret)
{
	CHECK(!w->is_started);
	return queue_stored_destination(&w->store.queue, id, ret);
}

void writer_subscribe(struct writer *w, int slot, struct chan *chan)
{
	CHECK(!w->is_started && slot >= 0 && slot < w->store.slot_count);
	w->subscribers[slot] = chan;
}

void writer_watch_losses(struct writer *w, struct chan *chan)
{
	CHECK(!w->is_started);
	w->losses = chan;
}

/* The loop */

static void append_pending(struct writer *w, struct chan_item *list)
{
	*w->pending_end = list;
	while (*w->pending_end)
		w->pending_end = &(*w->pending_end)->next;
}

static enum status apply_settlement(struct queue *q, struct write_job *job)
{
	return queue_settle(q, (const struct settlement *)job);
}

static size_t cost(const struct write_job *job)
{
	if (packer_is_put(job))
		return packer_packed(job)->stored_bytes;
	if (job->apply == apply_settlement)
		return ((const struct settlement *)job)->count * SETTLE_COST;
	return JOB_COST;
}

static void take_group(struct writer *w, struct group *g)
{
	size_t bytes = 0;
	g->count = 0;
	while (w->pending && g->count < GROUP_JOBS_MAX && bytes < GROUP_BYTES_MAX) {
		struct write_job *job = (struct write_job *)w->pending;
		w->pending = w->pending->next;
		g->jobs[g->count++] = job;
		bytes += cost(job);
	}
	if (!w->pending)
		w->pending_end = &w->pending;
}

static void fail_pending(struct writer *w, enum status st)
{
	while (w->pending) {
		take_group(w, &w->group);
		group_fail(&w->group, st);
	}
}

static size_t pending_cost(const struct writer *w)
{
	size_t n = 0;
	for (const struct chan_item *i = w->pending; i && n < GROUP_BYTES_MAX; i = i->next)
		n += cost((const struct write_job *)i);
	return n;
}

/* The longest wait decides: a packed put has waited in the packer already. */
static int64_t oldest_given_ns(const struct writer *w)
{
	int64_t oldest = INT64_MAX;
	for (const struct chan_item *i = w->pending; i; i = i->next) {
		int64_t given = ((const struct write_job *)i)->given_ns;
		oldest = given < oldest ? given : oldest;
	}
	return oldest;
}

static void wait_for_company(struct writer *w)
{
	int64_t until = oldest_given_ns(w) + w->commit_interval_ns;
	while (now_mono_ns() < until && !atomic_load(&w->is_stopping) &&
	       pending_cost(w) < GROUP_BYTES_MAX) {
		append_pending(w, chan_wait_all(&w->chan, until));
		until = oldest_given_ns(w) + w->commit_interval_ns;
	}
}

static int64_t next_measure(const struct writer *w, int64_t now)
{
	if (atomic_load(&w->state))
		return now + MEASURE_NS;
	if (!w->is_truncated)
		return w->last_group_ns + IDLE_NS > now ? w->last_group_ns + IDLE_NS :
							  now + IDLE_NS;
	/* What others do with the disk is looked at now and then. */
	return now + (w->delayed ? NS_PER_S : SLEEP_NS);
}

static int64_t next_deadline(const struct writer *w, int64_t now)
{
	if (w->is_recovering)
		return w->recover_at_ns;
	int64_t measure = next_measure(w, now);
	int64_t chore = chore_next_ns(w, now);
	return chore < measure ? chore : measure;
}

static void run_pending(struct writer *w)
{
	static struct log_rate rate;
	take_group(w, &w->group);
	bool has_jobs = false;
	for (size_t i = 0; i < w->group.count && !has_jobs; i++)
		has_jobs = !packer_is_put(w->group.jobs[i]);
	enum status was = (enum status)atomic_load(&w->state);
	enum status st = group_run(w, &w->group);
	w->last_group_ns = now_mono_ns();
	w->is_truncated = false;
	if (w->refused)
		upkeep_show_change(w, was, w->refused);
	if (upkeep_is_grave(st) || (st && queue_is_open(&w->store.queue)))
		upkeep_enter_recovery(w, st, err_text(&w->store.queue.err, st));
	else if (st && st != ST_FULL && st != ST_NO_SPACE && st != ST_STOPPING &&
		 log_every(&rate, 10, NULL))
		log_error("queue.commit_failed", "path=%s error=%s", LOG_QUOTE(w->store.path),
			  LOG_QUOTE(err_text(&w->store.queue.err, st)));
	if (!w->is_recovering && has_jobs && atomic_load(&w->is_degraded))
		upkeep_look_at_salvages(w);
	if (!w->is_recovering)
		upkeep_after_group(w);
}

static void retry_delayed(struct writer *w)
{
	append_pending(w, w->delayed);
	w->delayed = NULL;
}

static void loop_once(struct writer *w)
{
	int64_t now = now_mono_ns();
	if (!w->pending)
		append_pending(w, chan_wait_all(&w->chan, next_deadline(w, now)));
	else
		append_pending(w, chan_take_all(&w->chan));
	if (atomic_load(&w->is_stopping))
		return;
	if (!w->is_recovering && atomic_exchange(&w->is_suspect, false))
		upkeep_enter_recovery(w, ST_CORRUPT, "a reader found the file damaged");
	now = now_mono_ns();
	if (w->is_recovering) {
		fail_pending(w, ST_UNAVAILABLE);
		if (now >= w->recover_at_ns)
			upkeep_try_recovery(w, now);
		return;
	}
	if (w->pending && w->commit_interval_ns > 0)
		wait_for_company(w);
	if (w->pending)
		run_pending(w);
	now = now_mono_ns();
	if (!w->is_recovering && now - w->measured_at_ns >= MEASURE_NS) {
		upkeep_measure(w, now);
		retry_delayed(w);
	}
	if (!w->is_recovering)
		chore_look(w, now);
	bool is_idle = !w->pending && now - w->last_group_ns >= IDLE_NS;
	/* On a disk that is short the log's file is what commits are written into. */
	bool is_short = w->space.disk_free_bytes < w->space.min_free_bytes;
	if (!w->is_recovering && is_idle && !w->is_truncated && !is_short &&
	    atomic_load(&w->state) != ST_NO_SPACE)
		upkeep_when_idle(w);
}

static void log_start(struct writer *w)
{
	if (w->note)
		log_warn("queue.file_system", "path=%s note=%s", LOG_QUOTE(w->store.path),
			 LOG_QUOTE(w->note));
	if (w->store.set_aside[0])
		upkeep_log_set_aside(w);
	upkeep_log_inherited(w);
	log_info("queue.open", "path=%s file_bytes=%llu free_bytes=%llu sqlite=%s",
		 LOG_QUOTE(w->store.path), (unsigned long long)w->space.file_bytes,
		 (unsigned long long)w->space.free_bytes, sqlite3_libversion());
}

static void *writer_main(void *arg)
{
	struct writer *w = arg;
	(void)pthread_setname_np(pthread_self(), "writer");
	upkeep_measure(w, now_mono_ns());
	log_start(w);
	while (!atomic_load(&w->is_stopping))
		loop_once(w);
	return NULL;
}

enum status writer_start(struct writer *w, struct err *e)
{
	enum status st = store_save_slots(&w->store, e);
	if (st)
		return st;
	if (pthread_create(&w->thread, NULL, writer_main, w) != 0)
		return err_set(e, ST_NO_MEMORY, "start the writer thread");
	w->is_started = true;
	st = packer_start(w->packer);
	return st ? err_set(e, st, "start the packer thread") : ST_OK;
}

void writer_stop(struct writer *w)
{
	struct err e = { .text = "" };
	bool is_whole = false;
	if (!w)
		return;
	atomic_store(&w->state, (int)ST_STOPPING);
	atomic_store(&w->is_stopping, true);
	packer_join(w->packer);
	chan_ring(&w->chan);
	if (w->is_started)
		(void)pthread_join(w->thread, NULL);
	atomic_store(&w->state, (int)ST_STOPPING);
	/* From here on this thread is the writer. */
	append_pending(w, chan_take_all(&w->chan));
	retry_delayed(w);
	fail_pending(w, ST_STOPPING);
	if (w->store.db && !w->is_recovering) {
		enum status st = checkpoint_truncate(&w->store.checkpoint, &is_whole, &e);
		if (st)
			log_warn("queue.checkpoint_failed",
				 "path=%s error=%s next=\"nothing is lost: "
				 "the next start does it\"",
				 LOG_QUOTE(w->store.path), LOG_QUOTE(err_text(&e, st)));
	}
	destroy(w);
}

/* Giving */

void writer_give_as_of(struct writer *w, struct write_job *job, int64_t given_ns)
{
	job->given_ns = given_ns;
	chan_give_item(&w->chan, &job->item);
}

void writer_give(struct writer *w, struct write_job *job)
{
	writer_give_as_of(w, job, now_mono_ns());
}

void writer_put(struct writer *w, struct put_job *put)
{
	packer_put(w->packer, put);
}

void writer_settle(struct writer *w, struct settlement *s)
{
	s->job.apply = apply_settlement;
	writer_give(w, &s->job);
}

static enum status apply_destination_update(struct queue *q, struct write_job *job)
{
	return queue_update_destination(q, (const struct destination_update *)job);
}

void writer_update_destination(struct writer *w, struct destination_update *u)
{
	u->job.apply = apply_destination_update;
	writer_give(w, &u->job);
}

static enum status apply_setting(struct queue *q, struct write_job *job)
{
	const struct setting_update *u = (const struct setting_update *)job;
	return queue_save_setting(q, u->name, u->value);
}

void writer_save_setting(struct writer *w, struct setting_update *u)
{
	u->job.apply = apply_setting;
	writer_give(w, &u->job);
}

uint64_t writer_changes(struct writer *w, int slot)
{
	return atomic_load(&w->changes[slot]);
}

void writer_changed(struct writer *w, int64_t destination_id)
{
	for (int i = 0; i < w->store.slot_count; i++) {
		if (w->store.slots[i].id != destination_id)
			continue;
		atomic_fetch_add(&w->changes[i], 1);
		if (w->subscribers[i])
			chan_ring(w->subscribers[i]);
	}
}

enum status writer_state(struct writer *w)
{
	return (enum status)atomic_load(&w->state);
}

bool writer_is_degraded(struct writer *w)
{
	return atomic_load(&w->is_degraded);
}

int64_t writer_max_age_ns(const struct writer *w, enum record_class class)
{
	return w->limits.max_age_ns[class];
}

const char *writer_path(const struct writer *w)
{
	return w->store.path;
}

void writer_suspect(struct writer *w)
{
	atomic_store(&w->is_suspect, true);
	chan_ring(&w->chan);
}
