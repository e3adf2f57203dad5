/* forward.c - the thread of one destination.
 *
 * One turn of its loop: learn what the writer has committed, claim and start what may be started,
 * tell the queue how the destination is, sleep until an answer, a commit or a time comes.
 * Everything below it (dispatch, exporters, breaker, settle) runs on this thread and waits nowhere
 * else. It talks to the rest of the gateway through one channel, on whose eventfd it sleeps, and
 * which carries
 *
 *  - rings: the writer stored something for us, or forward_stop wants us to end;
 *  - settlements and state updates, back from the writer.
 *
 * Its state is published to the queue at each change, and besides not more often than every
 * PUBLISH_NS: status shows it while the gateway runs, and after. */
#include "gateway/forward/forward.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>

#include "gateway/base/log.h"
#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"
#include "gateway/forward/dispatch.h"

#define PUBLISH_NS       (10 * NS_PER_S)
#define PUBLISH_AGAIN_NS (NS_PER_S) /* where it was not committed */

/* The state on its way to the queue. */
struct publication {
	struct destination_update update; /* first: the job comes back as this */
	struct chan *chan;
	enum status result; /* of the last one; written by the writer's thread before it is back */
	bool is_at_writer;
	bool is_shown;    /* it is in the queue file */
	uint64_t changes; /* writer_changes of the slot at that time */
	int64_t at_ns;    /* mono, the last time */
};

/* An order on its way to the thread. */
struct order {
	struct write_job
		job; /* first: what comes through the channel is one; done tells them apart */
	enum forward_order order;
	int64_t at_ns; /* wall */
	char reason[SETTLE_ERROR_MAX];
};

struct forward {
	struct forward_options options;
	struct chan chan;
	pthread_t thread;
	bool is_started;
	atomic_bool is_stopping;
	_Atomic int64_t stop_ns; /* mono: the deadline of forward_stop */
	/* The thread's own from here. */
	struct dispatch dispatch;
	struct publication publication;
	struct log_rate settle_rate;
	struct series *states[DESTINATION_STATE_COUNT];
	struct series *since;
	struct series *next_attempt;
};

const struct exporter_ops *exporter_ops_of(const struct destination_config *c)
{
	static const struct exporter_ops *const kinds[] = {
		[CONFIG_KIND_OTLP_HTTP] = &otlp_http_ops,
		[CONFIG_KIND_OTLP_GRPC] = &otlp_grpc_ops,
		[CONFIG_KIND_PROMETHEUS] = &prometheus_ops,
		[CONFIG_KIND_LOKI] = &loki_ops,
		[CONFIG_KIND_FILE] = &file_ops,
	};
	return kinds[c->kind];
}

/* What an operator paused stays so across a restart. */
static void restore_pause(struct forward *f)
{
	struct destination_stored stored;
	if (!f->options.writer ||
	    writer_destination_stored(f->options.writer, f->options.destination_id, &stored))
		return;
	if (stored.state == DESTINATION_PAUSED)
		dispatch_pause(&f->dispatch, stored.since_ns, stored.reason);
}

enum status forward_new(const struct forward_options *o, struct forward **ret, struct err *e)
{
	struct forward *f = xcalloc(1, sizeof(*f));
	struct exporter *exporter = NULL;
	f->options = *o;
	enum status st = chan_init(&f->chan, CHAN_WAKE_FD);
	if (st) {
		free(f);
		return err_set(e, st, "destinations.%s: no eventfd", o->config->name);
	}
	st = exporter_ops_of(o->config)->open(o->config, chan_fd(&f->chan), &exporter, e);
	if (st) {
		chan_done(&f->chan);
		free(f);
		return err_wrap(e, st, "destinations.%s", o->config->name);
	}
	const struct dispatch_options d = { .config = o->config,
					    .writer = o->writer,
					    .slot = o->slot,
					    .destination_id = o->destination_id,
					    .too_old_id = o->too_old_id,
					    .exporter = exporter,
					    .chan = &f->chan,
					    .uplink = o->uplink,
					    .shares = o->shares };
	dispatch_init(&f->dispatch, &d);
	restore_pause(f);
	f->publication.chan = &f->chan;
	for (int i = 0; i < DESTINATION_STATE_COUNT; i++)
		f->states[i] = metric_series(M_DESTINATION_STATE, o->config->name,
					     destination_state_text((enum destination_state)i));
	f->since = metric_series(M_DESTINATION_STATE_SINCE, o->config->name);
	f->next_attempt = metric_series(M_DESTINATION_NEXT_ATTEMPT, o->config->name);
	writer_subscribe(o->writer, o->slot, &f->chan);
	*ret = f;
	return ST_OK;
}

/* Marks orders in the channel; the writer never sees them. */
static void on_order(struct write_job *job, enum status st)
{
	(void)job;
	(void)st;
	CHECK(false);
}

static bool is_order(const struct write_job *job)
{
	return job->done == on_order;
}

void forward_order(struct forward *f, enum forward_order order, const char *reason)
{
	struct order *o = xcalloc(1, sizeof(*o));
	o->job.done = on_order;
	o->order = order;
	o->at_ns = now_wall_ns();
	(void)snprintf(o->reason, sizeof(o->reason), "%s", reason);
	chan_give_item(&f->chan, &o->job.item);
}

static void take_order(struct forward *f, const struct order *o)
{
	static const char *const words[] = {
		[FORWARD_PAUSE] = "pause", [FORWARD_RESUME] = "resume", [FORWARD_FLUSH] = "flush"
	};
	struct dispatch *d = &f->dispatch;
	log_info("forward.order", "destination=%s order=%s", f->options.config->name,
		 words[o->order]);
	switch (o->order) {
	case FORWARD_PAUSE:
		if (!d->is_paused)
			dispatch_pause(d, o->at_ns, o->reason);
		break;
	case FORWARD_RESUME:
		dispatch_resume(d);
		break;
	case FORWARD_FLUSH:
		dispatch_flush(d);
		break;
	}
}

void forward_free(struct forward *f)
{
	if (!f)
		return;
	dispatch_done(&f->dispatch);
	/* Orders that came after the thread's end. */
	struct chan_item *item = chan_take_all(&f->chan);
	while (item) {
		struct chan_item *next = item->next;
		CHECK(is_order((struct write_job *)item));
		free(item);
		item = next;
	}
	chan_done(&f->chan);
	free(f);
}

/* On the writer's thread. */
static void on_published(struct write_job *job, enum status st)
{
	struct publication *p = (struct publication *)job;
	p->result = st;
	chan_give_item(p->chan, &job->item);
}

static void publish(struct forward *f, int64_t now)
{
	struct publication *p = &f->publication;
	const struct dispatch *d = &f->dispatch;
	struct destination_update *u = &p->update;
	enum destination_state state = dispatch_state(d);
	int64_t since_ns = dispatch_since_wall_ns(d);
	int64_t due_ns = 0;
	char reason[sizeof(u->reason)];
	uint64_t changes = writer_changes(f->options.writer, f->options.slot);
	if (p->is_at_writer || (p->result && now < p->at_ns + PUBLISH_AGAIN_NS))
		return;
	/* A new file, perhaps, which does not know of a pause. */
	if (changes != p->changes)
		p->is_shown = false;
	dispatch_reason(d, reason, sizeof(reason), &due_ns);
	bool is_change = !p->is_shown || u->state != state || u->since_ns != since_ns ||
			 (state == DESTINATION_UP && strcmp(u->reason, reason) != 0);
	bool is_news =
		u->next_attempt_at_ns != due_ns || u->last_success_at_ns != d->last_success_ns;
	if (!is_change && !(is_news && now >= p->at_ns + PUBLISH_NS))
		return;
	*u = (struct destination_update){ .job = { .done = on_published },
					  .destination_id = f->options.destination_id,
					  .state = state,
					  .since_ns = since_ns,
					  .next_attempt_at_ns = due_ns,
					  .last_success_at_ns = d->last_success_ns };
	memcpy(u->reason, reason, sizeof(u->reason));
	for (int i = 0; i < DESTINATION_STATE_COUNT; i++)
		series_set(f->states[i], i == (int)state);
	series_set(f->since, (double)since_ns / (double)NS_PER_S);
	series_set(f->next_attempt, (double)due_ns / (double)NS_PER_S);
	p->is_at_writer = true;
	p->is_shown = true;
	p->changes = changes;
	p->at_ns = now;
	writer_update_destination(f->options.writer, u);
}

static void take_back(struct forward *f, struct write_job *job)
{
	if (is_order(job)) {
		take_order(f, (struct order *)job);
		free(job);
		return;
	}
	if (!settle_is_ours(job)) {
		/* A pause must not be lost to a queue that could not be written for a moment. */
		f->publication.is_shown = f->publication.result == ST_OK;
		f->publication.is_at_writer = false;
		return;
	}
	enum status st = settle_take_back(&f->dispatch.settler, job);
	if (st && log_every(&f->settle_rate, 10, NULL))
		log_warn("forward.settle_failed",
			 "destination=%s status=%s waiting=%zu hint=\"kept, and tried again\"",
			 f->options.config->name, status_name(st), f->dispatch.settler.unsettled);
}

/* What the writer has done with our jobs. */
static void take_all_back(struct forward *f)
{
	struct chan_item *item = chan_take_all(&f->chan);
	while (item) {
		struct chan_item *next = item->next;
		take_back(f, (struct write_job *)item);
		item = next;
	}
}

/* Jobs at the writer are waited for in any case: they point into our memory, and always come back.
 */
static bool is_over(const struct forward *f, bool is_stopping, int64_t now)
{
	const struct dispatch *d = &f->dispatch;
	if (!is_stopping || d->settler.at_writer > 0 || f->publication.is_at_writer)
		return false;
	return now >= atomic_load(&f->stop_ns) ||
	       (d->lanes.in_flight == 0 && d->settler.unsettled == 0);
}

/* Start nothing; hear what is still to be heard. */
static void wind_down(struct forward *f, int64_t now)
{
	struct dispatch *d = &f->dispatch;
	int64_t stop = atomic_load(&f->stop_ns);
	int64_t until = now + NS_PER_S;
	if (now < stop)
		settle_retry(&d->settler, now);
	if (now < stop && stop < until)
		until = stop;
	dispatch_wait(d, until);
}

static int64_t next_turn_ns(const struct forward *f, int64_t now)
{
	int64_t next = dispatch_next_ns(&f->dispatch, now);
	int64_t again = f->publication.at_ns + PUBLISH_AGAIN_NS;
	bool is_owed = !f->publication.is_at_writer && f->publication.result;
	return is_owed && again < next ? again : next;
}

static void *run(void *arg)
{
	struct forward *f = arg;
	struct dispatch *d = &f->dispatch;
	int64_t now = now_mono_ns();
	bool is_stopping = false;
	for (;;) {
		/* First: with what came back it may be over, and then nobody rings any more. */
		take_all_back(f);
		if (is_over(f, is_stopping, now))
			return NULL;
		if (!is_stopping) {
			dispatch_start_due(d, now);
			publish(f, now);
			dispatch_wait(d, next_turn_ns(f, now));
		} else {
			wind_down(f, now);
		}
		is_stopping = atomic_load(&f->is_stopping);
		now = now_mono_ns();
	}
}

enum status forward_start(struct forward *f, struct err *e)
{
	sigset_t all;
	sigset_t old;
	char name[16]; /* what pthread_setname_np takes */
	(void)sigfillset(&all);
	/* Signals are main's; and a peer that is gone is an error code, not SIGPIPE. */
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	int rc = pthread_create(&f->thread, NULL, run, f);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc)
		return err_set(e, ST_NO_MEMORY, "destinations.%s: cannot start a thread: %s",
			       f->options.config->name, strerror(rc));
	(void)snprintf(name, sizeof(name), "to-%s", f->options.config->name);
	(void)pthread_setname_np(f->thread, name);
	f->is_started = true;
	return ST_OK;
}

void forward_begin_stop(struct forward *f, int64_t deadline_ns)
{
	if (!f || !f->is_started)
		return;
	atomic_store(&f->stop_ns, deadline_ns);
	atomic_store(&f->is_stopping, true);
	chan_ring(&f->chan);
}

void forward_stop(struct forward *f, int64_t deadline_ns)
{
	if (!f || !f->is_started)
		return;
	forward_begin_stop(f, deadline_ns);
	CHECK(pthread_join(f->thread, NULL) == 0);
	f->is_started = false;
	claim_reader_close(f->dispatch.reader);
	f->dispatch.reader = NULL;
}
