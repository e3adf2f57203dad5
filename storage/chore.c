/* chore.c - one job of the writer that gives itself again, as reroute.c does: each run rides in
 * whatever group commit there is, or in one of its own when the queue is idle.
 *
 * A look comes first, between the groups, and only reads: a queue in which nothing is due makes no
 * commit and lets the disk sleep. A run has RUN_NS, and the next one follows at the earliest
 * PAUSE_NS after it, so that the chores take at most half of the writer's time, and no put waits
 * for them longer than a few milliseconds.
 *
 * apply may run again after a rollback, so what it finds is only taken over in done, after the
 * commit. A failure is forgotten: the next look finds the same things due. */
#include "storage/chore.h"

#include "gateway/base/now.h"
#include "storage/admit.h"
#include "storage/ledger.h"
#include "storage/retention.h"
#include "storage/upkeep.h"

#define RUN_NS    (5 * NS_PER_MS)
#define LOOK_NS   (2 * NS_PER_MS)
#define PAUSE_NS  (5 * NS_PER_MS)
#define VACUUM_NS (40 * NS_PER_MS)
#define WALK_NS   (40 * NS_PER_MS)
#define AGAIN_NS  (NS_PER_S)
#define SLEEP_NS  (5 * NS_PER_S)
#define BOOT_NS   (60 * NS_PER_S)
#define LEDGER_NS (3600 * NS_PER_S)

/* ---- looking ---- */

static bool has_rule(const int64_t max_age_ns[RECORD_CLASS_COUNT])
{
	for (int i = 0; i < RECORD_CLASS_COUNT; i++)
		if (max_age_ns[i])
			return true;
	return false;
}

static bool may_evict(const struct writer_limits *l)
{
	for (int i = 0; i < RECORD_CLASS_COUNT; i++)
		if (l->may_evict[i])
			return true;
	return false;
}

static enum status look_at_rows(struct writer *w, int64_t now, int64_t *io_next)
{
	struct chore *c = &w->chore;
	struct queue *q = &w->store.queue;
	int64_t next = INT64_MAX;
	enum status st = ST_OK;
	if (now >= c->next_ns[CHORE_EXPIRE] && has_rule(w->limits.max_age_ns)) {
		st = retention_look(q, w->limits.max_age_ns, &c->is_due[CHORE_EXPIRE]);
		c->next_ns[CHORE_EXPIRE] = now + AGAIN_NS;
	}
	if (!st)
		st = bounds_look(&c->bounds, q, now_mono_ns() + LOOK_NS, &c->is_due[CHORE_BOUNDS],
				 &next);
	/* A walk goes on after a pause. */
	if (next < now + WALK_NS)
		next = now + WALK_NS;
	*io_next = next < *io_next ? next : *io_next;
	return st;
}

static void look_at_clocks(struct writer *w, int64_t now)
{
	struct chore *c = &w->chore;
	struct boot *b = &w->store.queue.boot;
	boot_look(b);
	/* How long this boot has run is only news where something was stored. */
	bool is_news = w->last_group_ns > c->next_ns[CHORE_BOOT] - BOOT_NS;
	c->is_due[CHORE_BOOT] =
		b->is_changed || (is_news && now >= c->next_ns[CHORE_BOOT] && b->this.id);
}

/* It is wanted: now, or when its pause is over. */
static void want(struct chore *c, int which, bool is_wanted, int64_t now, int64_t *io_next)
{
	c->is_due[which] = is_wanted && now >= c->next_ns[which];
	if (is_wanted && !c->is_due[which] && c->next_ns[which] < *io_next)
		*io_next = c->next_ns[which];
}

static void look_at_space(struct writer *w, int64_t now, int64_t *io_next)
{
	struct chore *c = &w->chore;
	bool is_spare = vacuum_look(&c->vacuum, &w->space, &w->store.checkpoint);
	bool is_tight = may_evict(&w->limits) && admit_wants_room(w);
	want(c, CHORE_VACUUM, is_spare, now, io_next);
	want(c, CHORE_ROOM, is_tight, now, io_next);
	want(c, CHORE_LEDGER, !w->is_truncated || c->fold_cursor, now, io_next);
}

static bool is_anything_due(const struct chore *c)
{
	for (int i = 0; i < CHORE_COUNT; i++)
		if (c->is_due[i])
			return true;
	return false;
}

static enum status apply(struct queue *q, struct write_job *job);
static void done(struct write_job *job, enum status st);

void chore_look(struct writer *w, int64_t now)
{
	struct chore *c = &w->chore;
	if (c->is_given || now < c->look_ns)
		return;
	c->look_ns = now + (w->is_truncated ? SLEEP_NS : AGAIN_NS);
	for (int i = 0; i < CHORE_COUNT; i++)
		c->is_due[i] = false;
	int64_t next = c->look_ns;
	enum status st = look_at_rows(w, now, &next);
	look_at_clocks(w, now);
	look_at_space(w, now, &next);
	if (!w->is_truncated)
		c->look_ns = next;
	if (upkeep_is_grave(st))
		upkeep_enter_recovery(w, st, err_text(&w->store.queue.err, st));
	if (st || !is_anything_due(c))
		return;
	c->is_given = true;
	c->job.apply = apply;
	c->job.done = done;
	writer_give(w, &c->job);
}

int64_t chore_next_ns(const struct writer *w, int64_t now)
{
	const struct chore *c = &w->chore;
	return c->is_given ? INT64_MAX : c->look_ns > now ? c->look_ns : now;
}

/* ---- doing ---- */

static enum status fold(struct chore *c, struct queue *q)
{
	return ledger_fold(q, c->fold_cursor, &c->fold_next);
}

static enum status apply(struct queue *q, struct write_job *job)
{
	struct chore *c = (struct chore *)job;
	struct writer *w = c->w;
	int64_t deadline = now_mono_ns() + RUN_NS;
	enum status st = ST_OK;
	if (c->is_due[CHORE_ROOM])
		st = admit_make_room(w, deadline, &c->is_done[CHORE_ROOM]);
	if (!st && c->is_due[CHORE_EXPIRE])
		st = retention_step(q, w->limits.max_age_ns, deadline, &c->is_done[CHORE_EXPIRE]);
	if (!st && c->is_due[CHORE_BOUNDS])
		st = bounds_step(&c->bounds, q, deadline);
	if (!st && c->is_due[CHORE_VACUUM])
		st = vacuum_step(&c->vacuum, q, &w->space, &w->store.checkpoint, deadline);
	if (!st && c->is_due[CHORE_LEDGER])
		st = fold(c, q);
	if (!st && c->is_due[CHORE_BOOT])
		st = boot_save(&q->boot, q->db, &q->err);
	/* Whatever it is, it is no fault of a client's. */
	return status_class(st) == CLASS_REJECT ? ST_INTERNAL : st;
}

static void take_over(struct chore *c, int64_t now)
{
	struct writer *w = c->w;
	if (c->is_due[CHORE_ROOM]) {
		/* Where nothing is left that may go, there is no use in trying. */
		int64_t pause = admit_wants_room(w) ? SLEEP_NS : AGAIN_NS / 10;
		c->next_ns[CHORE_ROOM] = c->is_done[CHORE_ROOM] ? now + pause : now;
	}
	if (c->is_due[CHORE_EXPIRE])
		c->next_ns[CHORE_EXPIRE] = c->is_done[CHORE_EXPIRE] ? now + AGAIN_NS : now;
	if (c->is_due[CHORE_BOUNDS])
		bounds_committed(&c->bounds, &w->store.queue);
	if (c->is_due[CHORE_VACUUM]) {
		uint64_t bytes = vacuum_committed(&c->vacuum);
		series_add(w->metrics.vacuumed_bytes, (double)bytes);
		c->next_ns[CHORE_VACUUM] = now + (bytes ? VACUUM_NS : AGAIN_NS);
	}
	if (c->is_due[CHORE_LEDGER]) {
		c->fold_cursor = c->fold_next;
		c->next_ns[CHORE_LEDGER] = now + (c->fold_cursor ? VACUUM_NS : LEDGER_NS);
	}
	if (c->is_due[CHORE_BOOT]) {
		w->store.queue.boot.is_changed = false;
		c->next_ns[CHORE_BOOT] = now + BOOT_NS;
	}
}

static void done(struct write_job *job, enum status st)
{
	struct chore *c = (struct chore *)job;
	int64_t now = now_mono_ns();
	c->is_given = false;
	if (st) {
		c->look_ns = now + AGAIN_NS;
		return;
	}
	take_over(c, now);
	c->look_ns = now + PAUSE_NS;
}

void chore_init(struct chore *c, struct writer *w)
{
	*c = (struct chore){ .w = w };
	c->next_ns[CHORE_BOOT] = now_mono_ns() + BOOT_NS;
	bounds_init(&c->bounds, &w->limits);
	vacuum_init(&c->vacuum, w->limits.vacuum_after_ns);
}
