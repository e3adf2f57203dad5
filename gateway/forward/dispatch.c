/* dispatch.c - which lane sends next, and what its answer leads to. Runs within forward.c's loop.
 *
 * Order: a lane has one export at a time, made of the next batches in the order of the queue. Its
 * next one starts when this one was answered for good; a failed one stays at the head with the same
 * members. So order within (signal, class) is never violated, and lanes know nothing of one
 * another.
 *
 *   idle -> in flight            [start]
 *   in flight -> idle            [delivered, dead, split]       the outcome goes to settle.c
 *   in flight -> waiting         [retry, unauthorized, other encoding]
 *   waiting -> in flight         [start]
 *
 * Which lane: while the destination is up, the most urgent class, and within it the lane that
 * waited longest. While it is down there is one attempt at a time, and it goes to the lane that
 * waited longest whatever its class, or one poisoned batch would keep a living backend marked as
 * down for ever.
 *
 * Down is a property of the destination (breaker.c); but a lane whose head is answered with 5xx
 * while other lanes get through backs off alone, without pulling the destination down each time.
 *
 * Refusals: an export of several batches that is refused is taken apart, and its batches go one by
 * one, so that only those at fault become dead letters. 413 is answered with smaller exports first.
 *
 * Memory: bodies come out of a budget of BUDGET_EXPORTS times the export size. What has no room
 * waits for exports under way to end. A single batch that is larger than all of it (the receivers'
 * limit is above max_export_size) goes alone, with a budget widened for it. */
#include "gateway/forward/dispatch.h"

#include <stdio.h>

#include "gateway/base/log.h"
#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"

enum {
	BUDGET_EXPORTS = 6,
	BUDGET_MIN = 1024 * 1024,
	WINDOW_EXPORTS = 4,
	SPLIT_MIN = 64 * 1024, /* do not learn a smaller export size than this */
	LOG_EVERY_S = 10
};
#define READER_RETRY_NS (NS_PER_S)
#define RENEWAL_LOOK_NS (NS_PER_S)
#define RESCAN_NS       (10 * NS_PER_S) /* look for replayed batches: nobody rings for them */

enum { RATE_READER, RATE_DEAD, RATE_REJECTED, RATE_COUNT };

static size_t budget_base(const struct dispatch *d)
{
	return BUDGET_EXPORTS * d->config->max_export_size + BUDGET_MIN;
}

void dispatch_init(struct dispatch *d, const struct destination_config *c, struct writer *w,
		   int64_t destination_id, struct exporter *exporter, struct chan *chan)
{
	*d = (struct dispatch){ .config = c, .exporter = exporter, .writer = w };
	d->max_raw_bytes = c->max_export_size;
	if (exporter->ops->max_raw_bytes && exporter->ops->max_raw_bytes < d->max_raw_bytes)
		d->max_raw_bytes = exporter->ops->max_raw_bytes;
	d->window = claim_window_new(destination_id, WINDOW_EXPORTS * c->max_export_size);
	budget_init(&d->budget, budget_base(d));
	struct backoff backoff = { .initial_ns = c->retry_initial_interval,
				   .max_ns = c->retry_max_interval,
				   .random = backoff_system_random };
	breaker_init(&d->breaker, &backoff, exporter->ops->probe ? c->probe_interval : 0);
	d->settler = (struct settler){
		.writer = w, .chan = chan, .window = d->window, .destination_id = destination_id
	};
	settle_init(&d->settler, c->name);
	for (int i = 0; i < LANES; i++) {
		d->lanes[i].signal = (enum signal)(i % SIGNAL_COUNT);
		d->lanes[i].class = (enum record_class)(i / SIGNAL_COUNT);
	}
	d->rates = xcalloc(RATE_COUNT, sizeof(*d->rates));
	for (int v = 0; v < VERDICT_COUNT; v++)
		d->attempts[v] = metric_series(M_DESTINATION_ATTEMPTS, c->name,
					       outcome_verdict_text((enum verdict)v));
	d->sent_bytes = metric_series(M_DESTINATION_SENT_BYTES, c->name);
	d->in_flight_gauge = metric_series(M_EXPORTER_IN_FLIGHT, c->name);
}

void dispatch_done(struct dispatch *d)
{
	if (d->exporter)
		d->exporter->ops->close(d->exporter);
	for (int i = 0; i < LANES; i++)
		export_free(d->lanes[i].export);
	claim_reader_close(d->reader);
	settle_done(&d->settler);
	claim_window_free(d->window);
	encoder_done(&d->encoder);
	free(d->rates);
	*d = (struct dispatch){ 0 };
}

static bool has_work(const struct dispatch *d, const struct lane *l)
{
	return l->export || claim_window_has(d->window, l->signal, l->class, NULL);
}

/* ---- reading the queue ---- */

static void reader_failed(struct dispatch *d, enum status st, const struct err *e)
{
	claim_reader_close(d->reader);
	d->reader = NULL;
	d->reader_due_ns = now_mono_ns() + READER_RETRY_NS;
	if (log_every(&d->rates[RATE_READER], LOG_EVERY_S, NULL))
		log_warn("forward.queue_unreadable", "destination=%s status=%s error=%s",
			 d->config->name, status_name(st), LOG_QUOTE(err_text(e, st)));
}

/* Its batches wait in the queue's order again, to be exported in another way. */
static void take_apart(struct dispatch *d, struct lane *l)
{
	for (size_t i = 0; i < l->export->count; i++)
		claim_window_put_back(d->window, &l->export->members[i]);
	export_free(l->export);
	l->export = NULL;
}

/* Somebody purged, replayed or moved deliveries: what is not on its way yet is claimed afresh. */
static void look_for_changes(struct dispatch *d)
{
	uint64_t changes = writer_changes(d->writer);
	if (changes == d->changes)
		return;
	d->changes = changes;
	for (int i = 0; i < LANES; i++)
		if (d->lanes[i].export && !d->lanes[i].is_in_flight)
			take_apart(d, &d->lanes[i]);
	claim_window_refresh(d->window);
}

static bool claim_more(struct dispatch *d, int64_t now)
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

/* ---- starting ---- */

static bool is_before(const struct dispatch *d, const struct lane *a, const struct lane *b)
{
	if (breaker_is_up(&d->breaker) && a->class != b->class)
		return a->class < b->class;
	return a->attempted_ns < b->attempted_ns;
}

static struct lane *next_lane(struct dispatch *d, int64_t now)
{
	struct lane *best = NULL;
	if (d->settler.unsettled >= SETTLE_UNSETTLED_MAX)
		return NULL;
	if (!breaker_is_up(&d->breaker) && (d->in_flight > 0 || now < d->breaker.due_ns))
		return NULL;
	for (int i = 0; i < LANES; i++) {
		struct lane *l = &d->lanes[i];
		if (l->is_in_flight || l->due_ns > now || !has_work(d, l))
			continue;
		if (!best || is_before(d, l, best))
			best = l;
	}
	return best;
}

static void log_dead(struct dispatch *d, const struct claim *c, int status, const char *reason)
{
	uint64_t skipped = 0;
	if (log_every(&d->rates[RATE_DEAD], LOG_EVERY_S, &skipped))
		log_warn("forward.dead_letter",
			 "destination=%s batch=%lld records=%u status=%d reason=%s not_shown=%llu",
			 d->config->name, (long long)c->batch_id, c->records, status,
			 LOG_QUOTE(reason), (unsigned long long)skipped);
}

/* A member that cannot be read: damaged ones become dead letters, those that retention took are
 * gone. */
static void drop_member(struct dispatch *d, struct export *x, size_t index, enum status st,
			const struct err *e)
{
	struct claim c = x->members[index];
	export_drop(x, index);
	if (st == ST_CORRUPT) {
		settle_member_dead(&d->settler, &c, err_text(e, st));
		log_dead(d, &c, 0, err_text(e, st));
	} else {
		claim_window_release(d->window, c.class, c.batch_id);
	}
}

/* Members that grew too old, in the queue or while they were sent in vain. */
static void drop_expired(struct dispatch *d, struct export *x)
{
	struct claim expired[EXPORT_MEMBERS_MAX];
	int64_t max_age = writer_max_age_ns(d->writer, x->class);
	int64_t now = now_boot_ns();
	size_t n = 0;
	for (size_t i = x->count; max_age && i > 0; i--) {
		if (now - x->members[i - 1].received_boot_ns < max_age)
			continue;
		expired[n++] = x->members[i - 1];
		export_drop(x, i - 1);
	}
	if (n)
		settle_expired(&d->settler, expired, n);
}

static enum status load(struct dispatch *d, struct export *x)
{
	drop_expired(d, x);
	const struct exporter_ops *ops = d->exporter->ops;
	const struct export_form form = { .encoding = ops->encoding ? ops->encoding(d->exporter) :
								      ENCODING_NONE,
					  .convert = ops->convert,
					  .exporter = d->exporter };
	enum status st = ST_OK;
	while (x->count > 0) {
		struct err e = { 0 };
		size_t index = 0;
		st = export_load(x, &d->encoder, d->reader, &form, &d->budget, &index, &e);
		if (st == ST_CORRUPT || st == ST_NOT_FOUND) {
			drop_member(d, x, index, st, &e);
			st = ST_OK;
		} else if (st == ST_BUSY && d->in_flight == 0 && d->budget.max < SIZE_MAX / 2) {
			d->budget.max *= 2;
		} else {
			if (st && st != ST_BUSY)
				reader_failed(d, st, &e);
			break;
		}
	}
	return st;
}

static struct export *make_export(struct dispatch *d, const struct lane *l)
{
	struct claim claims[EXPORT_MEMBERS_MAX];
	int64_t head = 0;
	bool has = claim_window_has(d->window, l->signal, l->class, &head);
	CHECK(has);
	size_t max = head <= l->alone_until ? 1 : EXPORT_MEMBERS_MAX;
	size_t n = claim_window_take(d->window, l->signal, l->class, d->max_raw_bytes, claims, max);
	return export_new(claims, n);
}

static void finish_lane(struct lane *l)
{
	export_free(l->export);
	l->export = NULL;
	l->failures = 0;
	l->due_ns = 0;
}

static void log_rejected(struct dispatch *d, const struct export *x)
{
	if (x->reply.error[0] && log_every(&d->rates[RATE_REJECTED], LOG_EVERY_S, NULL))
		log_warn("forward.partial_success", "destination=%s rejected=%lld reason=%s",
			 d->config->name, (long long)x->reply.rejected, LOG_QUOTE(x->reply.error));
}

/* What the conversion could not say was not taken either. */
static void count_left_out(struct export *x)
{
	x->reply.rejected += x->left_out;
	if (x->left_out && !x->reply.error[0])
		(void)snprintf(x->reply.error, sizeof(x->reply.error), "%s", x->left_out_reason);
}

/* The kind has no words for any of its records. */
static void settle_nothing_to_send(struct dispatch *d, struct lane *l)
{
	struct export *x = l->export;
	export_unload(x);
	x->reply = (struct export_reply){ .verdict = VERDICT_DELIVERED };
	count_left_out(x);
	settle_delivered(&d->settler, x);
	log_rejected(d, x);
	finish_lane(l);
}

static void set_in_flight(struct dispatch *d, size_t n)
{
	d->in_flight = n;
	series_set(d->in_flight_gauge, (double)n);
	if (n == 0)
		d->budget.max = budget_base(d);
}

/* False: nothing more can be started now. */
static bool start(struct dispatch *d, struct lane *l)
{
	if (!l->export)
		l->export = make_export(d, l);
	struct export *x = l->export;
	if (load(d, x))
		return false;
	if (x->count == 0) {
		export_free(x);
		l->export = NULL;
		return true;
	}
	if (x->body.n == 0 && d->exporter->ops->convert) {
		settle_nothing_to_send(d, l);
		return true;
	}
	x->attempts++;
	x->started_ns = now_mono_ns();
	l->attempted_ns = x->started_ns;
	l->is_in_flight = true;
	set_in_flight(d, d->in_flight + 1);
	d->exporter->ops->send(d->exporter, x);
	return true;
}

/* Unauthorized: a token that was renewed is tried at once, and not when the long wait ends. */
static bool waits_for_credential(const struct dispatch *d)
{
	return d->breaker.state == DESTINATION_UNAUTHORIZED && d->exporter->ops->is_renewed;
}

static bool is_anything_to_do(const struct dispatch *d)
{
	for (int i = 0; i < LANES; i++)
		if (has_work(d, &d->lanes[i]))
			return true;
	return false;
}

void dispatch_start_due(struct dispatch *d, int64_t now)
{
	settle_retry(&d->settler, now);
	if (waits_for_credential(d) && d->exporter->ops->is_renewed(d->exporter))
		breaker_renewed(&d->breaker);
	if (!claim_more(d, now))
		return;
	struct lane *l = next_lane(d, now);
	while (l && start(d, l))
		l = next_lane(d, now);
	if (d->exporter->ops->probe && d->breaker.probe_due_ns <= now && is_anything_to_do(d))
		d->exporter->ops->probe(d->exporter);
}

int64_t dispatch_next_ns(const struct dispatch *d, int64_t now)
{
	int64_t next = now + RESCAN_NS;
	int64_t gate = breaker_is_up(&d->breaker) ? 0 : d->breaker.due_ns;
	bool has_any = false;
	for (int i = 0; i < LANES; i++) {
		const struct lane *l = &d->lanes[i];
		if (!has_work(d, l))
			continue;
		has_any = true;
		int64_t due = l->due_ns > gate ? l->due_ns : gate;
		/* What is due and yet not under way waits for an event, not for a time. */
		if (!l->is_in_flight && due > now && due < next)
			next = due;
	}
	if (has_any && d->breaker.probe_due_ns > now && d->breaker.probe_due_ns < next)
		next = d->breaker.probe_due_ns;
	if (has_any && waits_for_credential(d) && now + RENEWAL_LOOK_NS < next)
		next = now + RENEWAL_LOOK_NS;
	if (!d->reader && d->reader_due_ns < next)
		next = d->reader_due_ns;
	if (d->settler.waiting && d->settler.retry_ns < next)
		next = d->settler.retry_ns;
	return next;
}

/* ---- answers ---- */

static void log_down(const struct dispatch *d)
{
	const struct breaker *b = &d->breaker;
	log_warn("forward.down", "destination=%s state=%s next_attempt_s=%.1f reason=%s",
		 d->config->name, destination_state_text(b->state),
		 (double)(b->due_ns - now_mono_ns()) / (double)NS_PER_S, LOG_QUOTE(b->reason));
}

/* Whatever it said of the data: it is there, and lets us in. */
static void note_answered(struct dispatch *d)
{
	int64_t since = d->breaker.since_mono_ns;
	if (breaker_answered(&d->breaker))
		log_info("forward.up", "destination=%s after_s=%.1f", d->config->name,
			 (double)(now_mono_ns() - since) / (double)NS_PER_S);
}

static void on_delivered(struct dispatch *d, struct lane *l, size_t body_bytes)
{
	struct export *x = l->export;
	note_answered(d);
	count_left_out(x);
	settle_delivered(&d->settler, x);
	series_add(d->sent_bytes, (double)body_bytes);
	d->last_success_ns = now_wall_ns();
	log_rejected(d, x);
	finish_lane(l);
}

static void on_refused(struct dispatch *d, struct lane *l)
{
	struct export *x = l->export;
	note_answered(d);
	if (x->count == 1) {
		settle_dead(&d->settler, x);
		log_dead(d, &x->members[0], x->reply.status, x->reply.error);
		finish_lane(l);
		return;
	}
	if (x->reply.verdict == VERDICT_TOO_LARGE && x->raw_bytes / 2 >= SPLIT_MIN)
		d->max_raw_bytes = x->raw_bytes / 2;
	else
		l->alone_until = x->members[x->count - 1].batch_id;
	take_apart(d, l);
}

static void on_retry(struct dispatch *d, struct lane *l)
{
	struct export *x = l->export;
	bool is_answer = x->reply.status != 0 && x->reply.verdict == VERDICT_RETRY;
	settle_attempt(&d->settler, x);
	l->failures += is_answer;
	if (is_answer && l->failures > 1 && breaker_is_up(&d->breaker)) {
		l->due_ns = now_mono_ns() + backoff_wait_ns(&d->breaker.backoff, l->failures,
							    x->reply.retry_after_ns);
		return;
	}
	if (breaker_failed(&d->breaker, &x->reply, x->started_ns))
		log_down(d);
	if (is_answer)
		l->due_ns = d->breaker.due_ns;
}

static void on_encoding(struct dispatch *d, const struct export *x)
{
	enum encoding now = d->exporter->ops->encoding(d->exporter);
	note_answered(d);
	if (now != x->encoding)
		log_warn("forward.encoding",
			 "destination=%s refused=%s now=%s hint=\"set compression: %s\"",
			 d->config->name, encoding_text(x->encoding), encoding_text(now),
			 encoding_text(now));
}

static void on_reply(struct dispatch *d, struct export *x)
{
	struct lane *l = &d->lanes[(int)x->class * SIGNAL_COUNT + (int)x->signal];
	CHECK(l->export == x && l->is_in_flight);
	size_t body_bytes = x->body.n;
	export_unload(x);
	l->is_in_flight = false;
	set_in_flight(d, d->in_flight - 1);
	series_add(d->attempts[x->reply.verdict], 1);
	switch (x->reply.verdict) {
	case VERDICT_DELIVERED:
		on_delivered(d, l, body_bytes);
		break;
	case VERDICT_REFUSED:
	case VERDICT_TOO_LARGE:
		on_refused(d, l);
		break;
	case VERDICT_RETRY:
	case VERDICT_UNAUTHORIZED:
		on_retry(d, l);
		break;
	case VERDICT_ENCODING:
		on_encoding(d, x);
		break;
	case VERDICT_COUNT:
		CHECK(false);
	}
}

void dispatch_wait(struct dispatch *d, int64_t deadline_ns)
{
	struct export *x = NULL;
	enum exporter_event event = d->exporter->ops->poll(d->exporter, deadline_ns, &x);
	while (event != EXPORTER_NOTHING) {
		if (event == EXPORTER_DONE)
			on_reply(d, x);
		else
			breaker_probed(&d->breaker, event == EXPORTER_REACHABLE);
		event = d->exporter->ops->poll(d->exporter, 0, &x);
	}
}
