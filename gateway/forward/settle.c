/* settle.c - from the answer of a backend to the row in the queue.
 *
 * Invariants:
 *  (1) Once an outcome (delivered, dead) is known, its batches are not sent again while the process
 * lives, whatever becomes of the settlement. They stay claimed until it is committed, and a
 * settlement that failed (the writer is recovering, the disk is full) is kept and given again. (2)
 * A settlement is given to the writer once at a time and comes back exactly once. (3) The number of
 * outcomes kept so is bounded: past SETTLE_UNSETTLED_MAX nothing new is sent.
 *
 * The counters of what was sent are moved when the outcome is committed, so that after a crash they
 * and the books agree about which side of it a batch was on.
 *
 * An attempt that failed is only counted (attempts, last_status, last_error of the rows): losing
 * one of these is harmless, and they are not kept. */
#include "gateway/forward/settle.h"

#include <stdio.h>

#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"

#define GIVE_AGAIN_NS (NS_PER_S)

struct settling {
	struct settling *next;
	struct chan *chan;
	struct settlement *settlement;
	enum status
		result; /* of the commit; written by the writer's thread before the chan is given */
	bool is_outcome; /* delivered or dead: must be committed */
	enum signal signal;
	enum record_class class;
	uint64_t sent;
	uint64_t failed;
	struct settle_dead_part *parts; /* of a batch that was split */
	struct settle_part *views;
	size_t part_count;
};

static const enum metric sent_metrics[SIGNAL_COUNT] = {
	[SIGNAL_TRACES] = M_EXPORTER_SENT_SPANS,
	[SIGNAL_METRICS] = M_EXPORTER_SENT_METRIC_POINTS,
	[SIGNAL_LOGS] = M_EXPORTER_SENT_LOG_RECORDS,
};
static const enum metric failed_metrics[SIGNAL_COUNT] = {
	[SIGNAL_TRACES] = M_EXPORTER_SEND_FAILED_SPANS,
	[SIGNAL_METRICS] = M_EXPORTER_SEND_FAILED_METRIC_POINTS,
	[SIGNAL_LOGS] = M_EXPORTER_SEND_FAILED_LOG_RECORDS,
};

void settle_init(struct settler *s, const char *destination)
{
	for (int i = 0; i < SIGNAL_COUNT; i++) {
		s->sent[i] = metric_series(sent_metrics[i], destination);
		s->failed[i] = metric_series(failed_metrics[i], destination);
	}
}

static void free_settling(struct settling *t)
{
	settle_parts_free(t->parts, t->part_count);
	free(t->views);
	free(t->settlement);
	free(t);
}

void settle_parts_free(struct settle_dead_part *parts, size_t count)
{
	for (size_t i = 0; i < count; i++)
		buf_done(&parts[i].body);
	free(parts);
}

void settle_done(struct settler *s)
{
	CHECK(s->at_writer == 0);
	while (s->waiting) {
		struct settling *t = s->waiting;
		s->waiting = t->next;
		free_settling(t);
	}
}

/* On the writer's thread. */
static void on_done(struct write_job *job, enum status st)
{
	struct settling *t = ((struct settlement *)job)->owner;
	t->result = st;
	chan_give_item(t->chan, &job->item);
}

static void give(struct settler *s, struct settling *t)
{
	t->settlement->job = (struct write_job){ .done = on_done };
	s->at_writer++;
	writer_settle(s->writer, t->settlement);
}

static struct settling *settling_new(struct settler *s, enum signal signal, enum record_class class,
				     size_t count)
{
	struct settling *t = xcalloc(1, sizeof(*t));
	t->settlement = xcalloc(1, sizeof(struct settlement) + count * sizeof(struct settle_item));
	t->chan = s->chan;
	t->signal = signal;
	t->class = class;
	t->settlement->owner = t;
	t->settlement->destination_id = s->destination_id;
	t->settlement->at_ns = now_wall_ns();
	t->settlement->count = count;
	return t;
}

static struct settling *settling_of(struct settler *s, const struct export *x)
{
	struct settling *t = settling_new(s, x->signal, x->class, x->count);
	t->settlement->status = x->reply.status;
	(void)snprintf(t->settlement->error, sizeof(t->settlement->error), "%s", x->reply.error);
	return t;
}

static struct settling *settling_one(struct settler *s, const struct claim *c,
				     enum settle_outcome outcome)
{
	struct settling *t = settling_new(s, c->signal, c->class, 1);
	t->settlement->items[0] =
		(struct settle_item){ .batch_id = c->batch_id, .outcome = outcome };
	return t;
}

static void give_outcome(struct settler *s, struct settling *t)
{
	t->is_outcome = true;
	s->unsettled++;
	give(s, t);
}

void settle_delivered(struct settler *s, const struct export *x)
{
	struct settling *t = settling_of(s, x);
	/* OTLP says how many, not which. */
	int64_t rejected = x->reply.rejected;
	for (size_t i = 0; i < x->count; i++) {
		uint32_t records = x->members[i].records;
		uint32_t share = rejected < records ? (uint32_t)rejected : records;
		rejected -= share;
		t->settlement->items[i] = (struct settle_item){ .batch_id = x->members[i].batch_id,
								.outcome = SETTLE_DELIVERED,
								.rejected_records = share };
		t->sent += records - share;
		t->failed += share;
	}
	give_outcome(s, t);
}

static void settle_all(struct settler *s, const struct export *x, enum settle_outcome outcome)
{
	struct settling *t = settling_of(s, x);
	for (size_t i = 0; i < x->count; i++) {
		t->settlement->items[i] = (struct settle_item){ .batch_id = x->members[i].batch_id,
								.outcome = outcome };
		t->failed += outcome == SETTLE_EXPIRED ? 0 : x->members[i].records;
	}
	if (outcome == SETTLE_DEAD || outcome == SETTLE_EXPIRED)
		give_outcome(s, t);
	else
		give(s, t);
}

void settle_dead(struct settler *s, const struct export *x)
{
	settle_all(s, x, SETTLE_DEAD);
}

void settle_attempt(struct settler *s, const struct export *x)
{
	settle_all(s, x, SETTLE_RETRY);
}

void settle_batch_dead(struct settler *s, const struct claim *c, int status, const char *reason)
{
	struct settling *t = settling_one(s, c, SETTLE_DEAD);
	t->settlement->status = status;
	(void)snprintf(t->settlement->error, sizeof(t->settlement->error), "%s", reason);
	t->failed = c->records;
	give_outcome(s, t);
}

void settle_split(struct settler *s, const struct claim *c, int64_t rejected, const char *reason,
		  struct settle_dead_part *parts, size_t count)
{
	struct settling *t = settling_one(s, c, SETTLE_SPLIT);
	struct settle_item *item = &t->settlement->items[0];
	struct settle_part *views = xcalloc(count + 1, sizeof(*views));
	uint64_t failed = 0;
	for (size_t i = 0; i < count; i++) {
		views[i] = parts[i].part;
		failed += views[i].records;
	}
	item->rejected_records = rejected < c->records ? (uint32_t)rejected : c->records;
	failed += item->rejected_records;
	(void)snprintf(t->settlement->error, sizeof(t->settlement->error), "%s", reason);
	item->parts = views;
	item->part_count = count;
	t->views = views;
	t->parts = parts;
	t->part_count = count;
	t->failed = failed < c->records ? failed : c->records;
	t->sent = c->records - t->failed;
	give_outcome(s, t);
}

void settle_moved(struct settler *s, const struct claim *c, int64_t to_destination_id)
{
	struct settling *t = settling_one(s, c, SETTLE_MOVED);
	t->settlement->items[0].to_destination_id = to_destination_id;
	give_outcome(s, t);
}

void settle_unreadable(struct settler *s, const struct claim *c)
{
	give_outcome(s, settling_one(s, c, SETTLE_UNREADABLE));
}

void settle_expired(struct settler *s, const struct claim *members, size_t count)
{
	struct export *x = export_new(members, count);
	settle_all(s, x, SETTLE_EXPIRED);
	export_free(x);
}

bool settle_is_ours(const struct write_job *job)
{
	return job->done == on_done;
}

static void committed(struct settler *s, struct settling *t)
{
	for (size_t i = 0; i < t->settlement->count; i++)
		claim_window_release(s->window, t->class, t->settlement->items[i].batch_id);
	series_add(s->sent[t->signal], (double)t->sent);
	series_add(s->failed[t->signal], (double)t->failed);
	s->unsettled--;
}

static void keep(struct settler *s, struct settling *t)
{
	struct settling **end = &s->waiting;
	while (*end)
		end = &(*end)->next;
	t->next = NULL;
	*end = t;
	s->retry_ns = now_mono_ns() + GIVE_AGAIN_NS;
}

enum status settle_take_back(struct settler *s, struct write_job *job)
{
	struct settling *t = ((struct settlement *)job)->owner;
	enum status st = t->result;
	s->at_writer--;
	if (!t->is_outcome) {
		free_settling(t);
		return ST_OK;
	}
	if (st) {
		keep(s, t);
		return st;
	}
	committed(s, t);
	free_settling(t);
	return ST_OK;
}

void settle_retry(struct settler *s, int64_t now)
{
	if (now < s->retry_ns)
		return;
	while (s->waiting) {
		struct settling *t = s->waiting;
		s->waiting = t->next;
		give(s, t);
	}
}
