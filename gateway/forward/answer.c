/* answer.c - from a verdict to what is settled, sent again, or taken apart.
 *
 *   delivered          settled; of a partial success the rejected records are counted, and nothing
 *                      is sent again
 *   refused            taken apart (apart.c), so that only what is at fault becomes a dead letter
 *   too large          of several batches: smaller exports, for a time (export_size.c); one batch:
 *                      taken apart
 *   retry              the same again, later; so is a 404 from an address that never took anything
 *   unauthorized       the same again, much later; everything waits
 *   encoding           the same again at once, encoded otherwise
 *
 * Down is a property of the destination (breaker.c); but a lane whose head is answered with 5xx
 * while other lanes get through backs off alone, without pulling the destination down each time.
 * Exports of a lane that were under way together fail together: that is one failure. */
#include "gateway/forward/answer.h"

#include <stdio.h>

#include "gateway/base/now.h"
#include "gateway/forward/apart.h"
#include "gateway/forward/loading.h"

enum { LOG_EVERY_S = 10 };

static void log_down(const struct dispatch *d)
{
	const struct breaker *b = &d->breaker;
	log_warn("forward.down", "destination=%s state=%s next_attempt_s=%.1f reason=%s",
		 d->config->name, destination_state_text(b->state),
		 (double)(b->due_ns - now_mono_ns()) / (double)NS_PER_S, LOG_QUOTE(b->reason));
}

static void log_rejected(struct dispatch *d, const struct export *x)
{
	if (x->reply.error[0] && log_every(&d->rates[RATE_REJECTED], LOG_EVERY_S, NULL))
		log_warn("forward.partial_success", "destination=%s rejected=%lld reason=%s",
			 d->config->name, (long long)x->reply.rejected, LOG_QUOTE(x->reply.error));
}

static void log_size(const struct dispatch *d, const char *reason)
{
	log_info("forward.export_size", "destination=%s max_bytes=%zu reason=%s", d->config->name,
		 d->size.now, LOG_QUOTE(reason));
}

void answer_show_in_flight(struct dispatch *d)
{
	series_set(d->in_flight_gauge, (double)d->lanes.in_flight);
	if (d->lanes.in_flight == 0)
		d->budget.max = loading_budget(d->config);
}

/* Whatever it said of the data: it is there, and lets us in. */
static void note_answered(struct dispatch *d)
{
	int64_t since = d->breaker.since_mono_ns;
	gate_note_up(&d->gate);
	if (breaker_answered(&d->breaker))
		log_info("forward.up", "destination=%s after_s=%.1f", d->config->name,
			 (double)(now_mono_ns() - since) / (double)NS_PER_S);
}

/* The lane's head was answered for good. */
static void note_settled(struct lane *l)
{
	l->failures = 0;
	l->due_ns = 0;
}

/* What the conversion could not say was not taken either. */
static void count_left_out(struct export *x)
{
	x->reply.rejected += x->left_out;
	if (x->left_out && !x->reply.error[0])
		(void)snprintf(x->reply.error, sizeof(x->reply.error), "%s", x->left_out_reason);
}

static void settle_taken(struct dispatch *d, struct lane *l, struct slot *slot)
{
	count_left_out(slot->export);
	log_rejected(d, slot->export);
	note_settled(l);
	if (slot->split) {
		apart_delivered(d, l, slot);
		return;
	}
	settle_delivered(&d->settler, slot->export);
	lane_remove(l, slot);
}

void answer_nothing_to_send(struct dispatch *d, struct lane *l, struct slot *slot)
{
	export_unload(slot->export);
	slot->export->reply = (struct export_reply){ .verdict = VERDICT_DELIVERED };
	settle_taken(d, l, slot);
}

static bool has_own_address(const struct dispatch *d, enum signal signal)
{
	return config_endpoints(d->config).of[signal].url[0] != '\0';
}

/* Signals without an endpoint of their own have their paths from one: what holds for one of them
 * holds for all. */
static void note_taken(struct dispatch *d, enum signal signal)
{
	bool is_own = has_own_address(d, signal);
	d->has_taken[signal] = true;
	for (int i = 0; i < SIGNAL_COUNT; i++)
		if (!is_own && !has_own_address(d, (enum signal)i))
			d->has_taken[i] = true;
}

/* A 404 from where nothing was ever taken: a typo must not cost a backlog. */
static void judge_address(const struct dispatch *d, struct export *x)
{
	char said[SETTLE_ERROR_MAX];
	struct export_reply *r = &x->reply;
	if (r->verdict != VERDICT_REFUSED || !outcome_is_about_address(r->status) ||
	    d->has_taken[x->signal])
		return;
	r->verdict = VERDICT_RETRY;
	(void)snprintf(said, sizeof(said), "%s", r->error);
	(void)snprintf(r->error, sizeof(r->error),
		       "%.280s; nothing was taken at this address since the start, so the data "
		       "waits: look at endpoint, or change the routes if it does not take %s",
		       said, signal_text(x->signal));
}

static void on_delivered(struct dispatch *d, struct lane *l, struct slot *slot, size_t body_bytes)
{
	note_answered(d);
	series_add(d->sent_bytes, (double)body_bytes);
	d->last_success_ns = now_wall_ns();
	note_taken(d, slot->export->signal);
	l->barren = 0;
	l->earnest_wait_ns = 0;
	if (!slot->split && export_size_taken(&d->size, slot->export->raw_bytes, now_mono_ns()))
		log_size(d, "grows again");
	settle_taken(d, l, slot);
}

static void on_refused(struct dispatch *d, struct lane *l, struct slot *slot)
{
	struct export *x = slot->export;
	/* What we refuse ourselves says nothing of the destination: it may be down. */
	if (!x->reply.is_own)
		note_answered(d);
	note_settled(l);
	if (slot->split) {
		apart_refused(d, l, slot);
		return;
	}
	if (x->reply.verdict != VERDICT_TOO_LARGE || x->count == 1 ||
	    x->raw_bytes / 2 < EXPORT_SIZE_MIN) {
		apart_begin(d, l, slot);
		return;
	}
	if (export_size_refused(&d->size, x->raw_bytes, now_mono_ns()))
		log_size(d, x->reply.error);
	loading_put_back(d, l, slot);
}

static void on_retry(struct dispatch *d, struct lane *l, struct slot *slot)
{
	struct export *x = slot->export;
	bool is_answer = x->reply.status != 0 && x->reply.verdict == VERDICT_RETRY;
	settle_attempt(&d->settler, x);
	if (is_answer && (l->failures == 0 || x->started_ns >= l->failed_ns)) {
		l->failures++;
		l->failed_ns = now_mono_ns();
	}
	if (is_answer && l->failures > 1 && breaker_is_up(&d->breaker)) {
		l->due_ns = now_mono_ns() + backoff_wait_ns(&d->breaker.backoff, l->failures,
							    x->reply.retry_after_ns);
		return;
	}
	if (breaker_failed(&d->breaker, &x->reply, x->started_ns))
		log_down(d);
	if (d->breaker.state == DESTINATION_BACKING_OFF)
		gate_note_down(&d->gate);
	if (is_answer)
		l->due_ns = d->breaker.due_ns;
}

static void on_encoding(struct dispatch *d, const struct export *x)
{
	const struct exporter_ops *ops = d->exporter->ops;
	note_answered(d);
	if (!ops->encoding) {
		/* Another version of what the kind speaks. */
		log_info("forward.protocol", "destination=%s reason=%s", d->config->name,
			 LOG_QUOTE(x->reply.error));
		return;
	}
	enum encoding now = ops->encoding(d->exporter);
	if (now != x->encoding)
		log_warn("forward.encoding",
			 "destination=%s refused=%s now=%s hint=\"set compression: %s\"",
			 d->config->name, encoding_text(x->encoding), encoding_text(now),
			 encoding_text(now));
}

void answer_take(struct dispatch *d, struct export *x)
{
	struct lane *l = &d->lanes.lanes[x->lane];
	struct slot *slot = lane_find(l, x);
	size_t body_bytes = x->body.n;
	export_unload(x);
	gate_ended(&d->gate, x, body_bytes);
	lanes_ended(&d->lanes, l, slot);
	answer_show_in_flight(d);
	judge_address(d, x);
	series_add(d->attempts[x->reply.verdict], 1);
	switch (x->reply.verdict) {
	case VERDICT_DELIVERED:
		on_delivered(d, l, slot, body_bytes);
		break;
	case VERDICT_REFUSED:
	case VERDICT_TOO_LARGE:
		on_refused(d, l, slot);
		break;
	case VERDICT_RETRY:
	case VERDICT_UNAUTHORIZED:
		on_retry(d, l, slot);
		break;
	case VERDICT_ENCODING:
		on_encoding(d, x);
		break;
	case VERDICT_COUNT:
		CHECK(false);
	}
}
