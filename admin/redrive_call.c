/* redrive_call.c - changes to the queue that a person asks for.
 *
 * What is meant has to be said: a call without a batch, a reason or `all` changes nothing, as the
 * names of destinations alone are too easily typed. Rows are chosen on this thread's own connection
 * and given to the writer in slices (storage/redrive.h), one at a time, so that a purge of millions
 * rides along with other commits and holds up none; a dry run is the same walk without the slices.
 *
 * A walk sees each delivery once. A dead letter that is replayed and dies again meanwhile is behind
 * the cursor, so no call goes round in circles. */
#include "admin/redrive_call.h"

#include <stdio.h>

#include "admin/value.h"
#include "gateway/base/config.h"
#include "gateway/base/now.h"

enum { SLICE_FIRST = 32, SLICE_MIN = 8, SLICE_BYTES = 8 << 20 };

/* A move looks at dead letters after what is ready; the cursor remembers that. */
#define CURSOR_DEAD (INT64_C(1) << 60)

struct work {
	const struct redrive_call *call;
	struct inspect_selector selector;
	int64_t cursor; /* of selector.state */
	int64_t destination_id;
	int64_t to_id;
	int64_t left; /* batches that may still be changed */
	size_t slice_max;
	struct redrive slice;
	/* What was done. */
	int64_t batches;
	int64_t records;
	int64_t bytes;
	json_t *ids;
	bool is_complete;
};

static enum status find_target(struct work *w, const char *name, int64_t *ret, struct err *e)
{
	bool is_configured = false;
	enum status st = inspect_destination(w->call->in, name, ret, &is_configured, e);
	if (!st && !is_configured)
		return err_set(e, ST_CONFLICT,
			       "%s is not in the configuration, so nothing would be sent: add it, "
			       "or move its data to one that is",
			       name);
	return st;
}

/* "traces, logs" */
static void write_signals(unsigned mask, char *dst, size_t size)
{
	size_t n = 0;
	dst[0] = '\0';
	for (int i = 0; i < SIGNAL_COUNT; i++)
		if (mask >> i & 1 && n < size)
			n += (size_t)snprintf(dst + n, size - n, "%s%s", n ? ", " : "",
					      signal_text((enum signal)i));
}

/* Which kinds take all of these. */
static void write_kinds(unsigned mask, char *dst, size_t size)
{
	size_t n = 0;
	dst[0] = '\0';
	for (int i = 0; i < CONFIG_KIND_COUNT; i++)
		if ((config_signals_of_kind(config_kind_text(i)) & mask) == mask && n < size)
			n += (size_t)snprintf(dst + n, size - n, "%s%s", n ? ", " : "",
					      config_kind_text(i));
}

/* What the other does not take would come back as dead letters. */
static enum status check_signals(const struct work *w, struct err *e)
{
	const struct parameters *p = w->call->parameters;
	char kind[32] = "";
	char takes[64];
	char has[64];
	char kinds[128];
	unsigned asked = 0;
	unsigned held = 0;
	enum status st = inspect_held(w->call->in, w->to_id, kind, sizeof(kind), &held, e);
	unsigned taken = config_signals_of_kind(kind);
	if (!st)
		st = inspect_held(w->call->in, w->destination_id, kind, 0, &held, e);
	for (int i = 0; i < SIGNAL_COUNT; i++)
		if (!p->selector.signal ||
		    strcmp(p->selector.signal, signal_text((enum signal)i)) == 0)
			asked |= 1u << i;
	unsigned wrong = (p->selector.signal ? asked : held) & ~taken;
	if (st || !wrong)
		return st;
	write_signals(taken, takes, sizeof(takes));
	write_signals(wrong, has, sizeof(has));
	write_kinds(wrong, kinds, sizeof(kinds));
	return err_set(e, ST_CONFLICT,
		       "%s is of kind %s, which takes %s and not %s: choose with signal what it "
		       "takes, or name a destination of kind %s",
		       p->to, kind, takes, has, kinds);
}

static enum status find_destinations(struct work *w, struct err *e)
{
	const struct parameters *p = w->call->parameters;
	bool is_configured = false;
	if (w->call->action == REDRIVE_REPLAY)
		return find_target(w, p->selector.destination, &w->destination_id, e);
	enum status st = inspect_destination(w->call->in, p->selector.destination,
					     &w->destination_id, &is_configured, e);
	if (!st && w->call->action == REDRIVE_MOVE)
		st = find_target(w, p->to, &w->to_id, e);
	return !st && w->call->action == REDRIVE_MOVE ? check_signals(w, e) : st;
}

static void choose(void *ctx, const struct inspect_owed *o)
{
	struct work *w = ctx;
	w->slice.batch_ids[w->slice.count++] = o->batch_id;
	if (json_array_size(w->ids) < REDRIVE_IDS_SHOWN)
		(void)json_array_append_new(w->ids, json_integer(o->batch_id));
	/* As the writer counts them: the part of the batch that is owed. */
	w->slice.records += o->records;
	w->slice.bytes += o->bytes;
}

/* Who and why, as it stands in the ledger. */
static void write_detail(struct work *w)
{
	const struct parameters *p = w->call->parameters;
	const struct inspect_selector *s = &w->selector;
	(void)snprintf(w->slice.detail, sizeof(w->slice.detail),
		       "%s batches purged through the admin API from %s%s%s%s%.150s%s%.200s",
		       delivery_state_text(w->call->state), w->call->caller,
		       p->is_all ? ", all" : "", s->batch_id ? ", by id" : "",
		       s->reason ? ", reason: " : "", s->reason ? s->reason : "",
		       p->why ? ", why: " : "", p->why ? p->why : "");
}

/* Large batches take longer to delete: as many as come to SLICE_BYTES. */
static void set_slice_max(struct work *w)
{
	size_t count = w->slice.count;
	size_t average = count && w->slice.bytes > 0 ? (size_t)w->slice.bytes / count : 0;
	size_t fit = average ? SLICE_BYTES / average : REDRIVE_MAX;
	w->slice_max = fit < SLICE_MIN ? SLICE_MIN : fit > REDRIVE_MAX ? REDRIVE_MAX : fit;
}

/* The next slice of this state: chosen, and done where it is no dry run. */
static enum status run_slice(struct work *w, struct err *e)
{
	const struct redrive_call *c = w->call;
	size_t max = w->left < (int64_t)w->slice_max ? (size_t)w->left : w->slice_max;
	w->slice = (struct redrive){ .action = c->action,
				     .state = w->selector.state,
				     .destination_id = w->destination_id,
				     .to_id = w->to_id };
	if (c->action == REDRIVE_PURGE)
		write_detail(w);
	enum status st = inspect_owed(c->in, &w->selector, &w->cursor, max, choose, w, e);
	if (st)
		return st;
	w->slice.batches = w->slice.count;
	if (!c->parameters->is_dry_run && w->slice.count)
		st = redrive_run(c->writer, &w->slice);
	if (st)
		return err_set(e, st, "%s: %lld batches were done before", status_text(st),
			       (long long)w->batches);
	w->batches += (int64_t)w->slice.batches;
	w->records += w->slice.records;
	w->bytes += w->slice.bytes;
	set_slice_max(w);
	w->left -= (int64_t)w->slice.count;
	return ST_OK;
}

static enum status run_slices(struct work *w, struct err *e)
{
	int64_t end = now_mono_ns() + REDRIVE_CALL_S * NS_PER_S;
	bool has_more = true;
	enum status st = ST_OK;
	while (!st && has_more && w->left > 0 && now_mono_ns() < end &&
	       !atomic_load(w->call->is_stopping)) {
		st = run_slice(w, e);
		has_more = w->cursor != 0;
		if (!has_more && w->call->action == REDRIVE_MOVE &&
		    w->selector.state == DELIVERY_READY) {
			w->selector.state = DELIVERY_DEAD;
			has_more = true;
		}
	}
	w->is_complete = !has_more;
	return st;
}

static int64_t next_cursor(const struct work *w)
{
	bool is_second = w->call->action == REDRIVE_MOVE && w->selector.state == DELIVERY_DEAD;
	return w->cursor | (is_second ? CURSOR_DEAD : 0);
}

static enum status write_result(struct work *w, struct buf *out)
{
	static const char *const words[] = {
		[REDRIVE_REPLAY] = "replay", [REDRIVE_PURGE] = "purge", [REDRIVE_MOVE] = "move"
	};
	const struct redrive_call *c = w->call;
	json_t *o = json_object();
	int rc = json_object_set_new(o, "at", value_time(now_wall_ns()));
	rc |= json_object_set_new(o, "action", json_string(words[c->action]));
	rc |= json_object_set_new(o, "destination", value_string(w->selector.destination));
	rc |= json_object_set_new(o, "to", value_string(c->parameters->to));
	rc |= json_object_set_new(o, "is_dry_run", json_boolean(c->parameters->is_dry_run));
	rc |= json_object_set_new(o, "batches", json_integer(w->batches));
	rc |= json_object_set_new(o, "records", json_integer(w->records));
	rc |= json_object_set_new(o, "bytes", json_integer(w->bytes));
	rc |= json_object_set(o, "batch_ids", w->ids);
	rc |= json_object_set_new(o, "is_complete", json_boolean(w->is_complete));
	rc |= json_object_set_new(o, "next_cursor",
				  w->is_complete ? json_null() : json_integer(next_cursor(w)));
	if (rc == 0)
		return value_write(o, out);
	json_decref(o);
	return ST_NO_MEMORY;
}

enum status redrive_call(const struct redrive_call *c, struct buf *out, struct err *e)
{
	const struct parameters *p = c->parameters;
	bool is_second = c->action == REDRIVE_MOVE && p->filter.after_id & CURSOR_DEAD;
	struct work w = { .call = c,
			  .selector = p->selector,
			  .cursor = p->filter.after_id & ~CURSOR_DEAD,
			  .slice_max = SLICE_FIRST,
			  .left = p->max_batches ? p->max_batches : INT64_MAX };
	w.selector.state = is_second ? DELIVERY_DEAD : c->state;
	/* Where either is broken off, what is urgent shall be the part that is safe. */
	w.selector.is_least_urgent_first = c->action == REDRIVE_PURGE;
	enum status st = find_destinations(&w, e);
	if (st)
		return st;
	w.ids = json_array();
	st = run_slices(&w, e);
	if (!st && w.selector.batch_id && w.batches == 0)
		st = err_set(e, ST_NOT_FOUND, "batch %lld is not %s for %s",
			     (long long)w.selector.batch_id, delivery_state_text(c->state),
			     w.selector.destination);
	if (!st)
		st = write_result(&w, out);
	json_decref(w.ids);
	return st;
}
