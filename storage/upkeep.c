/* upkeep.c - what the writer thread does between two groups: measure, checkpoint, recover, tell.
 *
 * Nothing here completes a job. Statuses come from below; this is where they become a state of the
 * queue, a metric and, once each and at a limited rate, a line of the log.
 *
 * The state changes by measurement (every 100 ms while there is work, else every few seconds), by
 * what a commit met (storage/group.c), and by recovery, which is tried with back-off for ever. */
#include "storage/upkeep.h"

#include "gateway/base/log.h"
#include "gateway/base/now.h"
#include "storage/admit.h"

#define BACKOFF_MIN_NS (100 * NS_PER_MS)
#define BACKOFF_MAX_NS (10 * NS_PER_S)

void upkeep_register(struct writer_metrics *m)
{
	static const char *const states[] = { "ok", "full", "recovering", "degraded" };
	m->commit_seconds = metric_series(M_COMMIT_SECONDS);
	m->commits_ok = metric_series(M_COMMITS, "ok");
	m->commits_failed = metric_series(M_COMMITS, "failed");
	m->checkpoint_seconds = metric_series(M_CHECKPOINT_SECONDS);
	m->wal_bytes = metric_series(M_WAL_BYTES);
	m->db_bytes = metric_series(M_DB_BYTES);
	m->free_bytes = metric_series(M_FREE_BYTES);
	m->disk_free_bytes = metric_series(M_DISK_FREE_BYTES);
	m->written[COUNTING_DATABASE] = metric_series(M_WRITTEN_BYTES, "database");
	m->written[COUNTING_WAL] = metric_series(M_WRITTEN_BYTES, "wal");
	m->stored_bytes = metric_series(M_STORED_BYTES);
	m->received_bytes = metric_series(M_RECEIVED_BYTES);
	m->ignored = metric_series(M_SETTLE_IGNORED);
	m->vacuumed_bytes = metric_series(M_VACUUMED_BYTES);
	for (size_t i = 0; i < STATE_COUNT; i++)
		m->states[i] = metric_series(M_QUEUE_STATE, states[i]);
}

/* Is something of a damaged file still to be moved over? */
void upkeep_look_at_salvages(struct writer *w)
{
	bool has = false;
	if (queue_has_salvage(&w->store.queue, &has) == ST_OK)
		atomic_store(&w->is_degraded, has);
}

static void show_state(struct writer *w)
{
	enum status st = (enum status)atomic_load(&w->state);
	bool is_full = st == ST_FULL || st == ST_NO_SPACE;
	series_set(w->metrics.states[STATE_OK], st == ST_OK);
	series_set(w->metrics.states[STATE_FULL], is_full);
	series_set(w->metrics.states[STATE_RECOVERING], st == ST_UNAVAILABLE);
	series_set(w->metrics.states[STATE_DEGRADED], atomic_load(&w->is_degraded));
}

static void log_state(const struct writer *w, enum status was, enum status now)
{
	if (now == ST_OK)
		log_info("queue.room", "path=%s was=%s", LOG_QUOTE(w->store.path),
			 status_name(was));
	else
		log_warn("queue.full",
			 "path=%s state=%s file_bytes=%llu free_bytes=%llu wal_bytes=%llu "
			 "disk_free_bytes=%llu max_size=%llu min_free_disk=%llu",
			 LOG_QUOTE(w->store.path), status_name(now),
			 (unsigned long long)w->space.file_bytes,
			 (unsigned long long)w->space.free_bytes,
			 (unsigned long long)w->space.wal_bytes,
			 (unsigned long long)w->space.disk_free_bytes,
			 (unsigned long long)w->space.max_bytes,
			 (unsigned long long)w->space.min_free_bytes);
}

void upkeep_show_change(struct writer *w, enum status was, enum status now)
{
	static struct log_rate rate;
	bool is_about_room =
		now == ST_FULL || now == ST_NO_SPACE || was == ST_FULL || was == ST_NO_SPACE;
	show_state(w);
	if (was != now && is_about_room && now != ST_UNAVAILABLE && log_every(&rate, 5, NULL))
		log_state(w, was, now);
}

static void set_state(struct writer *w, enum status now)
{
	if (atomic_load(&w->is_stopping))
		return;
	upkeep_show_change(w, (enum status)atomic_exchange(&w->state, (int)now), now);
}

void upkeep_enter_recovery(struct writer *w, enum status cause, const char *words)
{
	w->is_recovering = true;
	w->cause = cause;
	w->backoff_ns = BACKOFF_MIN_NS;
	w->recover_at_ns = 0;
	set_state(w, ST_UNAVAILABLE);
	log_error("queue.recovering", "path=%s error=%s", LOG_QUOTE(w->store.path),
		  LOG_QUOTE(words));
}

/* Memory and disk may disagree after these; after the others a transaction failed and no more. */
bool upkeep_is_grave(enum status st)
{
	return st == ST_IO || st == ST_CORRUPT;
}

void upkeep_measure(struct writer *w, int64_t now)
{
	struct store *s = &w->store;
	enum status was = (enum status)atomic_load(&w->state);
	w->measured_at_ns = now;
	enum status st = space_measure(&w->space, &s->queue, &s->checkpoint);
	if (upkeep_is_grave(st))
		upkeep_enter_recovery(w, st, err_text(&s->queue.err, st));
	if (st)
		return;
	/* Where it is full, but batches may go for what comes, puts go on. */
	enum status now_is = space_state(&w->space, &s->checkpoint, was);
	unsigned blocked = now_is ? admit_blocked(w) : 0;
	atomic_store(&w->blocked, blocked);
	set_state(w, blocked == ADMIT_ALL_CLASSES ? now_is : ST_OK);
	if (atomic_load(&w->state) == ST_OK)
		space_hold_reserve(&w->space);
	series_set(w->metrics.wal_bytes, (double)w->space.wal_bytes);
	series_set(w->metrics.db_bytes, (double)w->space.file_bytes);
	series_set(w->metrics.free_bytes, (double)w->space.free_bytes);
	for (int i = 0; i < COUNTING_FILE_COUNT; i++)
		series_set(w->metrics.written[i],
			   (double)counting_vfs_written((enum counting_file)i));
	series_set(w->metrics.disk_free_bytes, (double)w->space.disk_free_bytes);
}

void upkeep_log_set_aside(const struct writer *w)
{
	log_error("queue.set_aside",
		  "path=%s kept_as=%s error=%s next=\"a new file was started; what can be read of "
		  "the old one is moved over in the background\"",
		  LOG_QUOTE(w->store.path), LOG_QUOTE(w->store.set_aside),
		  LOG_QUOTE(w->store.damage));
}

void upkeep_log_inherited(struct writer *w)
{
	struct inherited *i = &w->store.inherited;
	if (i->is_news)
		log_info("queue.inherited", "path=%s from=%s paused=%zu usage_rows=%zu boots=%zu",
			 LOG_QUOTE(w->store.path), LOG_QUOTE(i->path), i->paused, i->usage_rows,
			 i->boots);
	if (i->is_news && i->missing[0])
		log_warn("queue.not_inherited",
			 "path=%s from=%s cannot_read=%s hint=\"destinations that were paused may "
			 "send, and budgets begin anew: see that this is right\"",
			 LOG_QUOTE(w->store.path), LOG_QUOTE(i->path), LOG_QUOTE(i->missing));
	i->is_news = false;
}

void upkeep_try_recovery(struct writer *w, int64_t now)
{
	struct store *s = &w->store;
	struct err e = { .text = "" };
	enum status st = store_recover(s, w->cause, &e);
	if (s->set_aside[0])
		upkeep_log_set_aside(w);
	upkeep_log_inherited(w);
	if (st) {
		static struct log_rate rate;
		w->recover_at_ns = now + w->backoff_ns;
		w->backoff_ns =
			w->backoff_ns * 2 < BACKOFF_MAX_NS ? w->backoff_ns * 2 : BACKOFF_MAX_NS;
		if (log_every(&rate, 10, NULL))
			log_warn("queue.recovery_failed", "path=%s error=%s", LOG_QUOTE(s->path),
				 LOG_QUOTE(err_text(&e, st)));
		return;
	}
	if (s->lost_from)
		log_error("queue.acknowledged_missing", "path=%s after_batch=%lld",
			  LOG_QUOTE(s->path), (long long)s->lost_from);
	/* Of a new file nothing is known yet that was in the old one. */
	for (int i = 0; i < s->slot_count; i++) {
		atomic_fetch_add(&w->changes[i], s->set_aside[0] != '\0');
		if (w->subscribers[i])
			chan_ring(w->subscribers[i]);
	}
	w->is_recovering = false;
	bounds_restart(&w->chore.bounds);
	upkeep_look_at_salvages(w);
	log_info("queue.recovered", "path=%s", LOG_QUOTE(s->path));
	set_state(w, ST_OK);
	upkeep_measure(w, now);
}

/* Checkpoints */

static void note_checkpoint(struct writer *w, enum status st, int64_t start, const struct err *e)
{
	static struct log_rate rate;
	const struct checkpoint *c = &w->store.checkpoint;
	series_observe(w->metrics.checkpoint_seconds, (double)(now_mono_ns() - start) / NS_PER_S);
	series_set(w->metrics.wal_bytes, (double)checkpoint_wal_bytes(c));
	if (upkeep_is_grave(st))
		upkeep_enter_recovery(w, st, err_text(e, st));
	else if (st == ST_NO_SPACE && !space_release_reserve(&w->space))
		set_state(w, ST_NO_SPACE);
	if (c->is_held && checkpoint_is_alarming(c) && log_every(&rate, 60, NULL))
		log_warn("queue.wal_held",
			 "path=%s wal_bytes=%llu hint=\"a reader keeps the write-ahead log from "
			 "being started over: look for a long SELECT in another process\"",
			 LOG_QUOTE(w->store.path), (unsigned long long)checkpoint_wal_bytes(c));
}

void upkeep_after_group(struct writer *w)
{
	struct err e = { .text = "" };
	bool did = false;
	int64_t start = now_mono_ns();
	enum status st = checkpoint_step(&w->store.checkpoint, &did, &e);
	if (did)
		note_checkpoint(w, st, start, &e);
}

void upkeep_when_idle(struct writer *w)
{
	struct err e = { .text = "" };
	int64_t start = now_mono_ns();
	enum status st = checkpoint_truncate(&w->store.checkpoint, &w->is_truncated, &e);
	note_checkpoint(w, st, start, &e);
}
