/* fault_io.c - each operation on the disk fails once, or from then on, at every place where it can.
 *
 * A row of the table is an operation, an error, and whether the fault lasts. For N = 1, 2, 3 ...
 * the Nth such operation of a run fails, until a run completes without meeting the fault. Each
 * time:
 *
 *   (1) the process lives, the start gives an error that is not taken for damage, or works
 *   (2) a put that fails is refused in a way that asks the client to come again
 *   (3) when the fault is lifted (the space returns), puts succeed again without a restart
 *   (4) after a stop and a start every put that was acknowledged is there, whole and balanced
 *   (5) and a power cut at the moment of an acknowledgement would not have lost it: after a failed
 *       sync the pages that it was to write may be gone for good, though the process can still read
 *       them, so what is written behind them is worth nothing
 *
 * Nothing here waits by the clock: puts wait for their completion, and recovery is polled for by
 * putting again, within a deadline. */
#include <stdio.h>

#include "gateway/base/log.h"
#include "gateway/base/now.h"
#include "tests/support/crash_image.h"
#include "tests/support/expect.h"
#include "tests/support/patience.h"
#include "tests/support/queue_client.h"

enum { MARK_BEFORE, MARK_AFTER }; /* an acknowledgement before or after the fault */
enum { ROUNDS = 3, IDS = 512 };

static const struct fault_row rows[] = {
	{ "an open fails once", FAULT_OPEN, FAULT_EIO, false },
	{ "opens fail until later", FAULT_OPEN, FAULT_EIO, true },
	{ "a write fails once with EIO", FAULT_WRITE, FAULT_EIO, false },
	{ "writes fail with EIO until later", FAULT_WRITE, FAULT_EIO, true },
	{ "a write fails once for want of space", FAULT_WRITE, FAULT_ENOSPC, false },
	{ "the disk is full until later", FAULT_WRITE, FAULT_ENOSPC, true },
	{ "a write is cut short once", FAULT_WRITE, FAULT_SHORT, false },
	{ "a sync fails once", FAULT_SYNC, FAULT_EIO, false },
	{ "syncs fail until later", FAULT_SYNC, FAULT_EIO, true },
	{ "a sync fails once for want of space", FAULT_SYNC, FAULT_ENOSPC, false },
	{ "a truncation fails once", FAULT_TRUNCATE, FAULT_EIO, false },
	{ "truncations fail until later", FAULT_TRUNCATE, FAULT_EIO, true },
	{ "a read fails once", FAULT_READ, FAULT_EIO, false },
	{ "reads fail until later", FAULT_READ, FAULT_EIO, true },
	{ "a deletion fails once", FAULT_DELETE, FAULT_EIO, false },
};

static char dir[CLIENT_PATH_SIZE];
static char path[CLIENT_PATH_SIZE + 16];
static struct facts facts;

/* One run. */
static struct {
	char what[128];
	bool is_acked[IDS];
	int next_id;
	int64_t destination_id;
	uint64_t acked_records;
} run;

static enum status try_open(const char *file, struct writer **ret, struct err *e)
{
	const struct writer_options o = { .path = file,
					  .max_size_bytes = UINT64_C(1) << 30,
					  .page_size = 4096,
					  .checkpoint_bytes = 24 << 10 };
	int slot;
	struct writer *w = NULL;
	enum status st = writer_open(&o, &w, e);
	if (!st)
		st = writer_destination(w, "backend", "otlp_http", &slot, &run.destination_id, e);
	if (!st)
		st = writer_start(w, e);
	if (st) {
		writer_stop(w);
		return st;
	}
	*ret = w;
	return ST_OK;
}

static void on_done(int64_t id, enum status st)
{
	if (st == ST_OK)
		vfs_log_mark(fault_has_fired() ? MARK_AFTER : MARK_BEFORE, id);
}

static enum status put_one(struct writer *w)
{
	enum status st;
	int id = ++run.next_id;
	ck_assert_int_lt(id, IDS);
	const struct client_request r = { .id = id,
					  .signal = SIGNAL_TRACES,
					  .class = RECORD_CLASS_INFO,
					  .records = 3,
					  .size = 3000 + (size_t)id * 911 % 6000,
					  .destinations = 1 };
	client_put(w, &r, 1, &st, on_done);
	if (st == ST_OK) {
		run.is_acked[id] = true;
		run.acked_records += r.records;
	} else {
		ck_assert_msg(status_class(st) == CLASS_RETRY || st == ST_CORRUPT,
			      "%s: a put fails with %s", run.what, status_name(st));
	}
	return st;
}

static void work(struct writer *w)
{
	for (int round = 0; round < ROUNDS; round++)
		(void)put_one(w);
	const int64_t none = 1000000; /* a batch that is not there: settlements do I/O too */
	(void)client_settle(w, run.destination_id, &none, 1, SETTLE_DELIVERED, 0);
	(void)put_one(w);
}

/* (3) */
static void await_recovery(struct writer *w)
{
	int64_t end = patience_end_ns();
	do {
		if (writer_state(w) == ST_OK && put_one(w) == ST_OK)
			return;
	} while (patience_pause(end));
	ck_abort_msg("%s: no recovery, the queue says %s", run.what, status_name(writer_state(w)));
}

static void check_facts(const char *file, const bool *is_acked, const char *when)
{
	ck_assert_msg(facts_read(file, &facts), "%s, %s: %s", run.what, when, facts.problem);
	ck_assert_msg(facts.is_sound, "%s, %s: not sound: %s", run.what, when, facts.problem);
	ck_assert_msg(!facts.imbalance, "%s, %s: the books do not balance", run.what, when);
	ck_assert_msg(!facts.crc_errors, "%s, %s: damaged payloads", run.what, when);
	for (int id = 1; id <= run.next_id; id++)
		ck_assert_msg(!is_acked[id] || facts.ready[run.destination_id][id] == 1,
			      "%s, %s: put %d was acknowledged, and is there %d times", run.what,
			      when, id, facts.ready[run.destination_id][id]);
}

static void check_image(const char *image, const bool *is_acked)
{
	struct writer *w = NULL;
	struct err e = { 0 };
	enum status st = try_open(image, &w, &e);
	ck_assert_msg(st == ST_OK, "%s, power cut: %s", run.what, e.text);
	ck_assert_msg(!writer_is_degraded(w), "%s, power cut: taken for damaged", run.what);
	writer_stop(w);
	check_facts(image, is_acked, "after a power cut");
}

/* (5) At the first acknowledgements after the fault, lay out what the disk has for sure. */
static void check_power_cuts(int cuts_max)
{
	char image_dir[CLIENT_PATH_SIZE];
	char image[CLIENT_PATH_SIZE + 16];
	bool is_acked[IDS] = { false };
	int cuts = 0;
	struct crash_disk *disk = crash_disk_new();
	client_make_dir(image_dir, sizeof(image_dir), "io-cut");
	(void)snprintf(image, sizeof(image), "%s/queue.db", image_dir);
	for (size_t i = 0; i < vfs_log_count() && cuts < cuts_max; i++) {
		const struct vfs_event *event = vfs_log_event(i);
		crash_disk_advance(disk, event);
		if (event->kind != VFS_MARK)
			continue;
		is_acked[event->id] = true;
		if (event->mark == MARK_BEFORE)
			continue;
		(void)crash_disk_cut(disk, CRASH_DROPPED, 1);
		crash_disk_write(disk, image_dir);
		check_image(image, is_acked);
		cuts++;
	}
	ck_assert_int_gt(cuts, 0);
	client_remove_dir(image_dir);
	crash_disk_free(disk);
}

/* Start, with a fault that may hit: then once more without it. */
static struct writer *start(bool *ret_has_hit)
{
	struct writer *w = NULL;
	struct err e = { 0 };
	enum status st = try_open(path, &w, &e);
	*ret_has_hit = st != ST_OK;
	if (st) {
		ck_assert_msg(fault_off(), "%s: the start fails: %s", run.what, e.text);
		st = try_open(path, &w, &e);
	}
	ck_assert_msg(st == ST_OK, "%s: the second start fails: %s", run.what, e.text);
	return w;
}

/* False: the run met no fault. */
static bool run_once(const struct fault_row *row, int nth)
{
	bool has_failed_start;
	memset(&run, 0, sizeof(run));
	(void)snprintf(run.what, sizeof(run.what), "%s (number %d)", row->name, nth);
	client_make_dir(dir, sizeof(dir), "io");
	(void)snprintf(path, sizeof(path), "%s/queue.db", dir);
	vfs_log_start();
	fault_plan(row->op, row->error, nth, row->is_lasting);
	struct writer *w = start(&has_failed_start);
	work(w);
	bool has_fired = has_failed_start || fault_has_fired();
	if (has_fired) {
		(void)fault_off();
		await_recovery(w);
		work(w);
		vfs_log_stop();
		check_power_cuts(row->op == FAULT_SYNC ? 3 : 1);
	}
	writer_stop(w); /* with the fault ahead, if it was not met yet */
	has_fired = fault_off() || has_fired;
	struct err e = { 0 };
	enum status st = try_open(path, &w, &e);
	ck_assert_msg(st == ST_OK, "%s: the last start fails: %s", run.what, e.text);
	ck_assert_msg(!writer_is_degraded(w), "%s: taken for damaged", run.what);
	writer_stop(w);
	check_facts(path, run.is_acked, "at the end");
	ck_assert_int_ge(run.next_id, ROUNDS + 1);
	client_remove_dir(dir);
	return has_fired;
}

START_TEST(a_failing_disk_never_earns_a_false_success)
{
	const struct fault_row *row = &rows[_i];
	int nth = 1;
	int64_t began = now_mono_ns();
	while (run_once(row, nth))
		nth++;
	(void)printf("%-40s %d places, %lld ms\n", row->name, nth - 1,
		     (long long)((now_mono_ns() - began) / NS_PER_MS));
	/* A row that met nothing tests nothing. */
	ck_assert_int_gt(nth, 1);
}
END_TEST

int main(void)
{
	fault_begin();
	return run_loop("io", a_failing_disk_never_earns_a_false_success,
			(int)(sizeof(rows) / sizeof(rows[0])));
}
