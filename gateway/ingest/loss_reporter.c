/* loss_reporter.c - the thread that tells the centre what never came.
 *
 * A ring from the writer says that the ledger grew. What stands behind the last reported row
 * becomes one request of log records (loss_report.c) and goes into the queue like any client's: the
 * same admission, the same routes (logs of class warning), the same order.
 *
 *   idle -> at the writer: the put      [look, where there is something new]
 *   put done -> at the writer: the cursor (settings.losses_reported) [put_is_back]
 *   cursor done -> idle
 *
 * At least once: the cursor is saved after the put was committed, so a crash between the two sends
 * those records again. They carry the ids of their rows, by which they can be told apart. The other
 * order would lose some for good, and a record of a loss that is lost itself is the worse of the
 * two.
 *
 * No feedback: a report may itself expire or be evicted, which is a row of the ledger, which is
 * reported. So there is one report a minute at most, with at most LOSS_REPORT_RECORDS_MAX records,
 * and rows of one kind are one record in it: however often reports are lost, they do not multiply.
 *
 * Where the queue does not take it (it is full), the rows stay where they are, and the next minute
 * tries again. */
#include "gateway/ingest/loss_reporter.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "gateway/base/container.h"
#include "gateway/base/log.h"
#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"
#include "gateway/ingest/loss_report.h"

enum { PAGE_ROWS = 500, BODY_MAX = 1 << 20 };
#define INTERVAL_NS (60 * NS_PER_S)
#define COMPANY_NS  NS_PER_S /* one rule lets go of much at once: wait for the rest of it */
#define LOOK_NS     (2 * NS_PER_S)

static const char setting[] = "losses_reported";

struct loss_reporter {
	struct loss_reporter_options options;
	struct chan chan;
	pthread_t thread;
	bool is_started;
	atomic_bool is_stopping;
	/* The thread's own from here. */
	int64_t due_ns;        /* mono: when to look; INT64_MAX: when the writer rings */
	int64_t not_before_ns; /* mono: a minute after the last try */
	bool is_at_writer;
	struct put_job put;
	struct setting_update cursor;
	enum status back; /* of the job that came back */
	struct loss_report report;
	int64_t wall_ns; /* of the report; 0: not known */
	bool is_full;
	struct buf body;
	struct log_rate rate;
};

static void add_row(void *ctx, const struct inspect_loss *l)
{
	struct loss_reporter *r = ctx;
	/* What comes behind a row that found no place waits with it. */
	if (!r->is_full)
		r->is_full = !loss_report_add(&r->report, l);
}

/* Everything behind the cursor that one report can hold. */
static enum status gather(struct loss_reporter *r, struct err *e)
{
	struct inspect *in = NULL;
	int64_t before = -1;
	int64_t end = now_mono_ns() + LOOK_NS;
	loss_report_clear(&r->report);
	r->report.last_id = 0;
	r->is_full = false;
	enum status st = inspect_open(writer_path(r->options.writer), LOOK_NS, &in, e);
	if (!st)
		st = inspect_setting(in, setting, &r->report.last_id, e);
	if (!st)
		st = inspect_wall(in, &r->wall_ns, e);
	while (!st && !r->is_full && r->report.last_id != before && now_mono_ns() < end) {
		before = r->report.last_id;
		st = inspect_losses_behind(in, before, PAGE_ROWS, add_row, r, e);
	}
	inspect_close(in);
	return st;
}

/* On the writer's or the packer's thread. */
static void give_back(struct loss_reporter *r, struct write_job *job, enum status st)
{
	r->back = st;
	chan_give_item(&r->chan, &job->item);
}

static void put_done(struct write_job *job, enum status st)
{
	give_back(container_of(job, struct loss_reporter, put.job), job, st);
}

static void cursor_done(struct write_job *job, enum status st)
{
	give_back(container_of(job, struct loss_reporter, cursor.job), job, st);
}

static void put_report(struct loss_reporter *r)
{
	const struct loss_report *report = &r->report;
	struct put_part part = { .class = RECORD_CLASS_WARNING,
				 .records = (uint32_t)report->count,
				 .service = bytes_str("tidegate"),
				 .preview = bytes_str("tidegate.loss"),
				 .body = buf_view(&r->body),
				 .destinations = r->options.destinations };
	loss_report_times(report, &part.first_time_ns, &part.last_time_ns);
	r->put = (struct put_job){ .job.done = put_done, .signal = SIGNAL_LOGS, .part_count = 1 };
	r->put.parts[0] = part;
	r->is_at_writer = true;
	writer_put(r->options.writer, &r->put);
}

static void fail(struct loss_reporter *r, const char *what, enum status st, const struct err *e)
{
	r->not_before_ns = now_mono_ns() + r->options.interval_ns;
	r->due_ns = r->not_before_ns;
	if (st != ST_STOPPING && log_every(&r->rate, 600, NULL))
		log_warn("losses.not_reported",
			 "step=%s status=%s error=%s hint=\"tried again; the "
			 "ledger keeps them\"",
			 what, status_name(st), LOG_QUOTE(err_text(e, st)));
}

static void look(struct loss_reporter *r)
{
	struct err e = { 0 };
	r->due_ns = INT64_MAX;
	enum status st = gather(r, &e);
	if (st) {
		fail(r, "read", st, &e);
		return;
	}
	if (r->report.count == 0)
		return;
	buf_clear(&r->body);
	st = loss_report_write(&r->report, r->options.resource, r->wall_ns, &r->body);
	if (st)
		fail(r, "write", st, &e);
	else
		put_report(r);
}

/* The ledger may have grown: look soon, but not before the interval is over. */
static void set_due(struct loss_reporter *r)
{
	int64_t due = now_mono_ns() + COMPANY_NS;
	if (due < r->not_before_ns)
		due = r->not_before_ns;
	if (due < r->due_ns)
		r->due_ns = due;
}

/* The put is on the disk, or not; then the cursor is, or not. */
static void take_back(struct loss_reporter *r, const struct chan_item *item)
{
	const struct err none = { 0 };
	bool is_put = item == &r->put.job.item;
	r->is_at_writer = false;
	if (r->back) {
		fail(r, is_put ? "put" : "cursor", r->back, &none);
		return;
	}
	/* A ring that came together with the item is not seen, so one more look is due. */
	r->not_before_ns = now_mono_ns() + r->options.interval_ns;
	set_due(r);
	if (!is_put)
		return;
	log_info("losses.reported", "records=%zu last_id=%lld", r->report.count,
		 (long long)r->report.last_id);
	r->cursor = (struct setting_update){ .job.done = cursor_done,
					     .name = setting,
					     .value = r->report.last_id };
	r->is_at_writer = true;
	writer_save_setting(r->options.writer, &r->cursor);
}

static void *run(void *arg)
{
	struct loss_reporter *r = arg;
	r->due_ns = 0; /* what the last process did not get to */
	while (!atomic_load(&r->is_stopping) || r->is_at_writer) {
		int64_t until = r->is_at_writer ? INT64_MAX : r->due_ns;
		struct chan_item *item = chan_wait_all(&r->chan, until);
		if (item)
			take_back(r, item);
		else if (now_mono_ns() < until)
			set_due(r);
		if (!r->is_at_writer && !atomic_load(&r->is_stopping) && now_mono_ns() >= r->due_ns)
			look(r);
	}
	return NULL;
}

enum status loss_reporter_new(const struct loss_reporter_options *o, struct loss_reporter **ret,
			      struct err *e)
{
	struct loss_reporter *r = xcalloc(1, sizeof(*r));
	r->options = *o;
	if (!r->options.interval_ns)
		r->options.interval_ns = INTERVAL_NS;
	enum status st = chan_init(&r->chan, CHAN_WAKE_WAIT);
	if (st) {
		free(r);
		return err_set(e, st, "telemetry.losses: no channel");
	}
	buf_init(&r->body, BODY_MAX, NULL);
	writer_watch_losses(o->writer, &r->chan);
	*ret = r;
	return ST_OK;
}

enum status loss_reporter_start(struct loss_reporter *r, struct err *e)
{
	sigset_t all;
	sigset_t old;
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are main's */
	int rc = pthread_create(&r->thread, NULL, run, r);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc)
		return err_set(e, ST_NO_MEMORY, "telemetry.losses: cannot start a thread: %s",
			       strerror(rc));
	(void)pthread_setname_np(r->thread, "losses");
	r->is_started = true;
	return ST_OK;
}

void loss_reporter_stop(struct loss_reporter *r)
{
	if (!r || !r->is_started)
		return;
	atomic_store(&r->is_stopping, true);
	chan_ring(&r->chan);
	CHECK(pthread_join(r->thread, NULL) == 0);
	r->is_started = false;
}

void loss_reporter_free(struct loss_reporter *r)
{
	if (!r)
		return;
	loss_report_clear(&r->report);
	buf_done(&r->body);
	chan_done(&r->chan);
	free(r);
}
