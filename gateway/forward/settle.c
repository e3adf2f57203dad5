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
 * (4) The dead parts of a batch that was split are payloads of their own, and a full queue may have
 * no room for them, where others still need the old one. They are kept for PARTED_TRIES_MAX tries;
 * then the batch is kept whole, as a dead letter of the records that nobody took, with words that
 * say how many were. That needs no room.
 *
 * An attempt that failed is only counted (attempts, last_status, last_error of the rows): losing
 * one of these is harmless, and they are not kept. */
#include "gateway/forward/settle.h"

#include <stdio.h>

#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"

#define GIVE_AGAIN_NS (NS_PER_S)
enum {
	PARTED_TRIES_MAX = 3,
	PART_BYTES_MAX = 16 << 20 /* and what one more batch comes to */
};

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
	size_t part_bytes;
	struct claim claim; /* of these parts */
	int full;           /* times that there was no room for it */
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

/* What was taken before is no part of the outcome. */
static void set_taken(struct settling *t, const struct claim *c, struct export_taken taken)
{
	struct settle_item *item = &t->settlement->items[0];
	item->taken_records = taken.records;
	item->rejected_records = taken.rejected;
	t->sent = taken.records - taken.rejected;
	t->failed = c->records > t->sent ? c->records - t->sent : 0;
}

static void set_dead(struct settling *t, const struct claim *c, int status, const char *reason)
{
	struct settlement *s = t->settlement;
	uint32_t taken = s->items[0].taken_records;
	s->items[0].outcome = SETTLE_DEAD;
	s->status = status;
	if (taken)
		(void)snprintf(s->error, sizeof(s->error),
			       "%.380s; %u of the %u records of this batch were taken before",
			       reason, taken, c->batch_records);
	else
		(void)snprintf(s->error, sizeof(s->error), "%s", reason);
}

void settle_batch_dead(struct settler *s, const struct claim *c, struct export_taken taken,
		       int status, const char *reason)
{
	struct settling *t = settling_one(s, c, SETTLE_DEAD);
	set_taken(t, c, taken);
	set_dead(t, c, status, reason);
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
		t->part_bytes += parts[i].body.cap;
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
	t->claim = *c;
	s->part_bytes += t->part_bytes;
	give_outcome(s, t);
}

bool settle_has_room(const struct settler *s)
{
	return s->part_bytes < PART_BYTES_MAX;
}

static void forget_parts(struct settler *s, struct settling *t)
{
	s->part_bytes -= t->part_bytes;
	t->part_bytes = 0;
	settle_parts_free(t->parts, t->part_count);
	free(t->views);
	t->parts = NULL;
	t->views = NULL;
	t->part_count = 0;
}

/* (4) Nothing else changes: what is counted as sent and as failed stays so. */
static void keep_whole(struct settler *s, struct settling *t)
{
	struct settle_item *item = &t->settlement->items[0];
	char reason[SETTLE_ERROR_MAX];
	int status = t->parts[0].part.status;
	(void)snprintf(reason, sizeof(reason),
		       "%.300s; not kept apart, for the queue has no room for it",
		       t->parts[0].error);
	item->taken_records = (uint32_t)t->sent + item->rejected_records;
	item->parts = NULL;
	item->part_count = 0;
	set_dead(t, &t->claim, status, reason);
	forget_parts(s, t);
}

void settle_moved(struct settler *s, const struct claim *c, int64_t to_destination_id)
{
	struct settling *t = settling_one(s, c, SETTLE_MOVED);
	t->settlement->items[0].to_destination_id = to_destination_id;
	give_outcome(s, t);
}

void settle_unreadable(struct settler *s, const struct claim *c, struct export_taken taken)
{
	struct settling *t = settling_one(s, c, SETTLE_UNREADABLE);
	set_taken(t, c, taken);
	t->failed = taken.rejected;
	give_outcome(s, t);
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
	forget_parts(s, t);
}

static void keep(struct settler *s, struct settling *t)
{
	bool is_full = t->result == ST_FULL || t->result == ST_NO_SPACE;
	if (is_full && t->part_count && ++t->full >= PARTED_TRIES_MAX)
		keep_whole(s, t);
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
