/* loading.c - reads the queue for one destination.
 *
 * Memory: bodies come out of a budget of BUDGET_EXPORTS times the export size. What has no room
 * waits for exports under way to end. A single batch that is larger than all of it (the receivers'
 * limit is above max_export_size) goes alone, with a budget widened for it.
 *
 * Members that cannot be sent do not hold up the others of their export:
 *
 *   damaged: a dead letter. What is left of it stays where people can look at it.
 *
 *   missing: the writer finds out whether its batch is gone too (retention took it), or only its
 *   payload, which is damage and counted so.
 *
 *   expired: past its queue.max_age, by the boot clock, which no step of the wall clock moves.
 *
 *   too old: the backend's window is known (too_old.after), and would refuse it. A dead letter, or
 *   another destination's (too_old.send_to).
 *
 * Too old is judged by the newest record of a batch, right before each attempt. A batch of which
 * only some records are too old is sent: backends take the others, and say so in a partial success
 * or a refusal, which is split. Batches are made within one commit, so such ones are few. Nothing
 * is too old by a wall clock that is not believable, by one that jumped forward, or without a time
 * in the data. */
#include "gateway/forward/loading.h"

#include "gateway/base/now.h"

enum { BUDGET_EXPORTS = 6, BUDGET_MIN = 1024 * 1024, LOG_EVERY_S = 10 };
#define READER_RETRY_NS (NS_PER_S)

size_t loading_budget(const struct destination_config *c)
{
	return BUDGET_EXPORTS * c->max_export_size + BUDGET_MIN;
}

static void reader_failed(struct dispatch *d, enum status st, const struct err *e)
{
	claim_reader_close(d->reader);
	d->reader = NULL;
	d->reader_due_ns = now_mono_ns() + READER_RETRY_NS;
	if (log_every(&d->rates[RATE_READER], LOG_EVERY_S, NULL))
		log_warn("forward.queue_unreadable", "destination=%s status=%s error=%s",
			 d->config->name, status_name(st), LOG_QUOTE(err_text(e, st)));
}

/* Somebody purged, replayed or moved deliveries: what is not on its way yet is claimed afresh. */
static void look_for_changes(struct dispatch *d)
{
	uint64_t changes = writer_changes(d->writer, d->slot);
	if (changes == d->changes)
		return;
	d->changes = changes;
	for (int i = 0; i < LANES; i++) {
		struct lane *l = &d->lanes.lanes[i];
		for (size_t k = l->count; k-- > 0;)
			if (!l->slots[k].is_in_flight && !l->slots[k].split)
				loading_put_back(d, l, &l->slots[k]);
	}
	claim_window_refresh(d->window);
}

bool loading_claim(struct dispatch *d, int64_t now)
{
	struct err e = { 0 };
	enum status st = ST_OK;
	if (!d->reader) {
		if (now < d->reader_due_ns)
			return false;
		st = claim_reader_open(writer_path(d->writer), &d->reader, &e);
	}
	look_for_changes(d);
	if (!st)
		st = claim_window_fill(d->window, d->reader, &e);
	/* Rows of the queue itself, not of one batch: the writer looks, and sets the file aside if
	 * so. */
	if (st == ST_CORRUPT)
		writer_suspect(d->writer);
	if (st)
		reader_failed(d, st, &e);
	return !st;
}

struct export *loading_next(struct dispatch *d, const struct lane *l)
{
	struct claim claims[EXPORT_MEMBERS_MAX];
	size_t most = gate_export_max(&d->gate);
	/* To an address that may be wrong, or need a credential that we lack, it goes in vain again
	 * and again, over a link that may be metered. */
	if (!d->has_taken[l->signal] && most > EXPORT_SIZE_MIN)
		most = EXPORT_SIZE_MIN;
	size_t n = claim_window_take(d->window, l->side, l->signal, l->class,
				     most < d->size.now ? most : d->size.now, claims,
				     EXPORT_MEMBERS_MAX);
	struct export *x = export_new(claims, n);
	x->lane = (int)(l - d->lanes.lanes);
	return x;
}

void loading_put_back(struct dispatch *d, struct lane *l, struct slot *slot)
{
	for (size_t i = 0; i < slot->export->count; i++)
		claim_window_put_back(d->window, &slot->export->members[i]);
	lane_remove(l, slot);
}

void loading_log_dead(struct dispatch *d, const struct claim *c, uint32_t records, int status,
		      const char *reason)
{
	uint64_t skipped = 0;
	if (log_every(&d->rates[RATE_DEAD], LOG_EVERY_S, &skipped))
		log_warn("forward.dead_letter",
			 "destination=%s batch=%lld records=%u status=%d reason=%s not_shown=%llu",
			 d->config->name, (long long)c->batch_id, records, status,
			 LOG_QUOTE(reason), (unsigned long long)skipped);
}

/* ---- what cannot be sent ---- */

static struct claim take_out(struct slot *slot, size_t index)
{
	struct claim c = slot->export->members[index];
	export_drop(slot->export, index);
	if (slot->split)
		split_drop(slot->split, c.batch_id);
	return c;
}

static void drop_unreadable(struct dispatch *d, struct slot *slot, size_t index, enum status st,
			    const struct err *e)
{
	struct export_taken taken = { 0 };
	if (slot->split)
		taken = split_taken(slot->split, slot->export->members[index].batch_id);
	struct claim c = take_out(slot, index);
	if (st == ST_CORRUPT) {
		settle_batch_dead(&d->settler, &c, taken, 0, err_text(e, st));
		loading_log_dead(d, &c, export_left(&c, taken), 0, err_text(e, st));
	} else {
		settle_unreadable(&d->settler, &c, taken);
	}
}

static void drop_too_old(struct dispatch *d, struct slot *slot, size_t index)
{
	static const char reason[] = "too old: past what the destination takes (too_old.after)";
	struct claim c = take_out(slot, index);
	uint64_t skipped = 0;
	if (d->too_old_id)
		settle_moved(&d->settler, &c, d->too_old_id);
	else
		settle_batch_dead(&d->settler, &c, (struct export_taken){ 0 }, 0, reason);
	if (log_every(&d->rates[RATE_TOO_OLD], LOG_EVERY_S, &skipped))
		log_warn("forward.too_old",
			 "destination=%s batch=%lld records=%u now=%s not_shown=%llu",
			 d->config->name, (long long)c.batch_id, c.records,
			 d->too_old_id ? d->config->too_old_send_to : "dead_letter",
			 (unsigned long long)skipped);
}

/* What is being taken apart was not too old when that began, and is finished. */
static void drop_all_too_old(struct dispatch *d, struct slot *slot)
{
	int64_t now = d->reader ? claim_wall_ns(d->reader) : 0;
	if (d->config->too_old_after == 0 || slot->split || now == 0)
		return;
	for (size_t i = slot->export->count; i-- > 0;) {
		int64_t last = slot->export->members[i].last_time_ns;
		if (last > 0 && last < now - d->config->too_old_after)
			drop_too_old(d, slot, i);
	}
}

/* Members that grew too old for anybody, in the queue or while they were sent in vain. */
static void drop_expired(struct dispatch *d, struct slot *slot)
{
	struct claim expired[EXPORT_MEMBERS_MAX];
	struct export *x = slot->export;
	int64_t max_age = writer_max_age_ns(d->writer, x->class);
	int64_t now = now_boot_ns();
	size_t n = 0;
	for (size_t i = x->count; max_age && !slot->split && i-- > 0;)
		if (now - x->members[i].received_boot_ns >= max_age)
			expired[n++] = take_out(slot, i);
	if (n)
		settle_expired(&d->settler, expired, n);
}

/* ---- bodies ---- */

/* Nothing under way will make room: take it from the system. True: try again. */
static bool widen_budget(struct dispatch *d)
{
	if (d->lanes.in_flight > 0 || d->budget.max >= SIZE_MAX / 2)
		return false;
	d->budget.max *= 2;
	return true;
}

enum status loading_body(struct dispatch *d, struct slot *slot)
{
	const struct exporter_ops *ops = d->exporter->ops;
	const struct export_form form = { .encoding = ops->encoding ? ops->encoding(d->exporter) :
								      ENCODING_NONE,
					  .convert = ops->convert,
					  .exporter = d->exporter };
	struct export *x = slot->export;
	enum status st = ST_OK;
	drop_expired(d, slot);
	drop_all_too_old(d, slot);
	while (x->count > 0) {
		struct err e = { 0 };
		size_t index = 0;
		st = export_load(x, &d->encoder, d->reader, &form, &d->budget, &index, &e);
		if (st == ST_CORRUPT || st == ST_NOT_FOUND) {
			drop_unreadable(d, slot, index, st, &e);
			st = ST_OK;
		} else if (st != ST_BUSY || !widen_budget(d)) {
			if (st && st != ST_BUSY && !(st == ST_INVALID && x->part.count))
				reader_failed(d, st, &e);
			break;
		}
	}
	return st;
}

enum status loading_batch(struct dispatch *d, const struct claim *c, struct buf *out, struct err *e)
{
	enum status st;
	/* An answer may come while the queue cannot be read. */
	if (!d->reader)
		return err_set(e, ST_UNAVAILABLE, "the queue cannot be read now");
	do {
		buf_clear(out);
		st = export_read_batch(c, d->reader, out, e);
	} while (st == ST_BUSY && widen_budget(d));
	if (st && st != ST_BUSY && st != ST_CORRUPT && st != ST_NOT_FOUND)
		reader_failed(d, st, e);
	return st;
}
