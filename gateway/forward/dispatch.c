/* dispatch.c - the turns of one destination: claim, start what may start, hear the answers. Runs
 * within forward.c's loop.
 *
 *   lanes.c     what stays in order, and whose turn it is
 *   loading.c   from rows of the queue to the body of an export
 *   answer.c    what an answer leads to
 *   apart.c     a refused export, taken apart (split.c decides, apart.c does)
 *   settle.c    outcomes on their way to the queue
 *   breaker.c   whether the destination is up
 *
 * What is promised on order: with max_in_flight 1 a lane (signal and class) sends its next export
 * when the last was answered for good, so a backend sees the queue's order. With more, exports of a
 * lane are started in the order of the queue and may overtake each other on their way: spans do not
 * mind. So by default only traces have several. The retry of one export never changes its members.
 *
 * A pause is an operator's: nothing is started, and what is under way ends as it would. It is
 * stored with the destination and holds across restarts. */
#include "gateway/forward/dispatch.h"

#include <stdio.h>

#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"
#include "gateway/forward/answer.h"
#include "gateway/forward/apart.h"
#include "gateway/forward/loading.h"

enum { WINDOW_EXPORTS = 4, IN_FLIGHT_DEFAULT = 4 };
#define RENEWAL_LOOK_NS (NS_PER_S)
#define APART_WAIT_NS   (NS_PER_S)
#define RESCAN_NS       (10 * NS_PER_S)  /* look for replayed batches: nobody rings for them */
#define LOOK_ON_NS      (10 * NS_PER_MS) /* between two parts of a long backlog that is held up */

static void init_lanes(struct dispatch *d, const struct dispatch_options *o)
{
	static const int usual[RECORD_CLASS_COUNT] = { 70, 20, 10 };
	const struct destination_config *c = o->config;
	size_t given = (size_t)c->max_in_flight;
	size_t total = o->exporter->ops->takes_any_order ? IN_FLIGHT_DEFAULT : 1;
	struct lanes_options lo = { .window = d->window,
				    .shares = o->shares ? o->shares : usual,
				    .backfill_percent = c->backfill_share,
				    .max_in_flight = given ? given : total };
	_Static_assert((int)LANE_SLOTS_MAX + (int)RECORD_CLASS_COUNT <= (int)EXPORTER_IN_FLIGHT_MAX,
		       "what is urgent may pass the limit");
	for (int i = 0; i < SIGNAL_COUNT; i++)
		lo.max_of_signal[i] = given ? given : i == SIGNAL_TRACES ? total : 1;
	lanes_init(&d->lanes, &lo);
}

void dispatch_init(struct dispatch *d, const struct dispatch_options *o)
{
	const struct destination_config *c = o->config;
	struct exporter *exporter = o->exporter;
	*d = (struct dispatch){ .config = c,
				.exporter = exporter,
				.writer = o->writer,
				.slot = o->slot,
				.too_old_id = o->too_old_id };
	size_t kind_max = exporter->ops->max_raw_bytes ? exporter->ops->max_raw_bytes : SIZE_MAX;
	export_size_init(&d->size, kind_max < c->max_export_size ? kind_max : c->max_export_size);
	d->window = claim_window_new(o->destination_id, WINDOW_EXPORTS * c->max_export_size,
				     c->order == CONFIG_ORDER_FRESH_FIRST);
	init_lanes(d, o);
	budget_init(&d->budget, loading_budget(c));
	struct backoff backoff = { .initial_ns = c->retry_initial_interval,
				   .max_ns = c->retry_max_interval,
				   .random = backoff_system_random };
	breaker_init(&d->breaker, &backoff, exporter->ops->probe ? c->probe_interval : 0);
	d->settler = (struct settler){ .writer = o->writer,
				       .chan = o->chan,
				       .window = d->window,
				       .destination_id = o->destination_id };
	settle_init(&d->settler, c->name);
	gate_init(&d->gate, o->uplink, c->name, o->chan);
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
	lanes_done(&d->lanes);
	claim_reader_close(d->reader);
	settle_done(&d->settler);
	claim_window_free(d->window);
	encoder_done(&d->encoder);
	gate_done(&d->gate);
	*d = (struct dispatch){ 0 };
}

/* ---- starting ---- */

static void send_export(struct dispatch *d, struct lane *l, struct slot *slot)
{
	struct export *x = slot->export;
	x->attempts++;
	x->started_ns = now_mono_ns();
	lanes_started(&d->lanes, l, slot, breaker_is_up(&d->breaker));
	answer_show_in_flight(d);
	gate_sent(&d->gate, x);
	d->exporter->ops->send(d->exporter, x);
}

/* False: nothing more can be started now. */
static bool start_granted(struct dispatch *d, struct lane *l)
{
	struct slot *slot = lane_slot(l);
	if (!slot->export && slot->split) {
		enum apart_next next = apart_next(d, l, slot);
		if (next == APART_WAIT)
			l->due_ns = now_mono_ns() + APART_WAIT_NS; /* and others go on */
		if (next != APART_PIECE)
			return true;
	} else if (!slot->export) {
		slot->export = loading_next(d, l);
	}
	enum status st = loading_body(d, slot);
	bool is_inseparable = st == ST_INVALID && slot->export->part.count > 0;
	if (slot->split && (is_inseparable || (!st && slot->export->count == 0))) {
		apart_failed(d, l, slot, st);
		return true;
	}
	if (st)
		return false;
	if (slot->export->count == 0)
		lane_remove(l, slot);
	else if (slot->export->body.n == 0 && d->exporter->ops->convert)
		answer_nothing_to_send(d, l, slot);
	else
		send_export(d, l, slot);
	return true;
}

/* Unauthorized: a token that was renewed is tried at once, and not when the long wait ends. */
static bool waits_for_credential(const struct dispatch *d)
{
	return !d->is_paused && d->breaker.state == DESTINATION_UNAUTHORIZED &&
	       d->exporter->ops->is_renewed;
}

static bool start(struct dispatch *d, struct lane *l)
{
	if (!gate_pass(&d->gate, l->class)) {
		d->lanes.closed = d->gate.closed;
		return true; /* another class may */
	}
	bool is_more = start_granted(d, l);
	gate_give_back(&d->gate); /* where nothing was sent */
	return is_more;
}

static void find_work(const struct dispatch *d, bool ret_of[RECORD_CLASS_COUNT])
{
	for (int i = 0; i < LANES; i++)
		if (lane_has_work(&d->lanes, &d->lanes.lanes[i]))
			ret_of[d->lanes.lanes[i].class] = true;
}

static struct lane *next_lane(struct dispatch *d, int64_t now)
{
	bool is_up = breaker_is_up(&d->breaker);
	if (d->settler.unsettled >= SETTLE_UNSETTLED_MAX || (!is_up && now < d->breaker.due_ns))
		return NULL;
	return lanes_next(&d->lanes, is_up, now);
}

void dispatch_start_due(struct dispatch *d, int64_t now)
{
	settle_retry(&d->settler, now);
	if (waits_for_credential(d) && d->exporter->ops->is_renewed(d->exporter))
		breaker_renewed(&d->breaker);
	d->lanes.closed = 0;
	if (d->is_paused || !loading_claim(d, now))
		return;
	bool work[RECORD_CLASS_COUNT] = { 0 };
	find_work(d, work);
	gate_turn(&d->gate, work, now);
	struct lane *l = next_lane(d, now);
	while (l && start(d, l))
		l = next_lane(d, now);
	if (d->exporter->ops->probe && d->breaker.probe_due_ns <= now && gate_probe(&d->gate, work))
		d->exporter->ops->probe(d->exporter);
}

/* When a lane may go on, or a probe is due. */
static int64_t next_start_ns(const struct dispatch *d, int64_t now, int64_t next)
{
	int64_t gate = breaker_is_up(&d->breaker) ? 0 : d->breaker.due_ns;
	bool has_any = false;
	for (int i = 0; i < LANES; i++) {
		const struct lane *l = &d->lanes.lanes[i];
		if (!lane_has_work(&d->lanes, l))
			continue;
		has_any = true;
		int64_t due = l->due_ns > gate ? l->due_ns : gate;
		/* What is due and yet not under way waits for an event, not for a time. */
		if (l->in_flight == 0 && due > now && due < next)
			next = due;
		if (d->lanes.closed >> l->class & 1 && d->gate.due_ns[l->class] < next)
			next = d->gate.due_ns[l->class];
	}
	if (has_any && d->breaker.probe_due_ns > now && d->breaker.probe_due_ns < next)
		next = d->breaker.probe_due_ns;
	if (has_any && waits_for_credential(d) && now + RENEWAL_LOOK_NS < next)
		next = now + RENEWAL_LOOK_NS;
	if (!d->reader && d->reader_due_ns < next)
		next = d->reader_due_ns;
	if (claim_window_is_behind(d->window) && now + LOOK_ON_NS < next)
		next = now + LOOK_ON_NS;
	return next;
}

int64_t dispatch_next_ns(const struct dispatch *d, int64_t now)
{
	int64_t next = now + RESCAN_NS;
	if (!d->is_paused)
		next = next_start_ns(d, now, next);
	if (d->settler.waiting && d->settler.retry_ns < next)
		next = d->settler.retry_ns;
	return next;
}

void dispatch_wait(struct dispatch *d, int64_t deadline_ns)
{
	struct export *x = NULL;
	enum exporter_event event = d->exporter->ops->poll(d->exporter, deadline_ns, &x);
	while (event != EXPORTER_NOTHING) {
		if (event == EXPORTER_DONE)
			answer_take(d, x);
		else
			breaker_probed(&d->breaker, event == EXPORTER_REACHABLE);
		event = d->exporter->ops->poll(d->exporter, 0, &x);
	}
}

/* ---- what operators say ---- */

void dispatch_pause(struct dispatch *d, int64_t since_wall_ns, const char *reason)
{
	d->is_paused = true;
	d->paused_wall_ns = since_wall_ns;
	(void)snprintf(d->paused_reason, sizeof(d->paused_reason), "%s", reason);
	gate_withdraw(&d->gate);
}

static void forget_back_off(struct dispatch *d)
{
	breaker_flush(&d->breaker);
	for (int i = 0; i < LANES; i++)
		d->lanes.lanes[i].due_ns = 0;
}

void dispatch_resume(struct dispatch *d)
{
	d->is_paused = false;
	forget_back_off(d);
}

void dispatch_flush(struct dispatch *d)
{
	forget_back_off(d);
	gate_flush(&d->gate, now_mono_ns());
}

enum destination_state dispatch_state(const struct dispatch *d)
{
	return d->is_paused ? DESTINATION_PAUSED : d->breaker.state;
}

int64_t dispatch_since_wall_ns(const struct dispatch *d)
{
	return d->is_paused ? d->paused_wall_ns : d->breaker.since_wall_ns;
}

void dispatch_reason(const struct dispatch *d, char *dst, size_t size, int64_t *ret_due_ns)
{
	int64_t until_ns = 0;
	*ret_due_ns = d->is_paused ? 0 : d->breaker.due_wall_ns;
	if (!d->is_paused && breaker_is_up(&d->breaker) &&
	    gate_reason(&d->gate, dst, size, &until_ns)) {
		*ret_due_ns = until_ns;
		return;
	}
	(void)snprintf(dst, size, "%s", d->is_paused ? d->paused_reason : d->breaker.reason);
}
