/* fault_limits.c - each operation on the disk fails once, or from then on, while a small queue
 * evicts, expires, folds its ledger and gives disk back.
 *
 * A run overruns a queue whose cap is small, with a class that expires and dead letters that are
 * bounded, and drains it. For N = 1, 2, 3, 4, 6 ... the Nth operation fails. Each time:
 *
 *   (1) the queue takes puts again when the fault is over, without a restart
 *   (2) after a stop and a start the file is sound, and the books balance: what was acknowledged
 *       is there, was delivered, or stands in the ledger
 *   (3) the ledger and the totals say the same */
#include <stdio.h>

#include "gateway/base/log.h"
#include "gateway/base/now.h"
#include "tests/support/expect.h"
#include "tests/support/fault_vfs.h"
#include "tests/support/queue_client.h"

enum { IDS = 2048, PUTS = 48, CAP = 1 << 20, TRIES = 400 };

static const struct fault_row {
	const char *name;
	enum fault_op op;
	enum fault_error error;
	bool is_lasting;
} rows[] = {
	{ "a write fails once with EIO", FAULT_WRITE, FAULT_EIO, false },
	{ "the disk is full until later", FAULT_WRITE, FAULT_ENOSPC, true },
	{ "a write is cut short once", FAULT_WRITE, FAULT_SHORT, false },
	{ "a sync fails once", FAULT_SYNC, FAULT_EIO, false },
	{ "a truncation fails once", FAULT_TRUNCATE, FAULT_EIO, false },
	{ "a read fails once", FAULT_READ, FAULT_EIO, false },
};

static char dir[CLIENT_PATH_SIZE];
static char path[CLIENT_PATH_SIZE + 16];
static struct facts facts;
static struct {
	char what[128];
	int next_id;
	int64_t id; /* of the destination */
	int64_t acked;
} run;

static struct writer *open_writer(void)
{
	const struct writer_options o = {
		.path = path,
		.max_size_bytes = CAP,
		.page_size = 4096,
		.checkpoint_bytes = 64 << 10,
		.limits = { .may_evict = { [RECORD_CLASS_INFO] = true },
			    .max_age_ns = { [RECORD_CLASS_WARNING] = 1 },
			    .dead_max_bytes = 1,
			    .vacuum_after_ns = 1 },
	};
	struct err e = { 0 };
	struct writer *w = NULL;
	int slot;
	enum status st = writer_open(&o, &w, &e);
	if (!st)
		st = writer_destination(w, "backend", "otlp_http", &slot, &run.id, &e);
	if (!st)
		st = writer_start(w, &e);
	ck_assert_msg(st == ST_OK, "%s: open: %s", run.what, e.text);
	return w;
}

static enum status put_one(struct writer *w, enum record_class class)
{
	enum status st;
	const struct client_request r = { .id = ++run.next_id,
					  .signal = SIGNAL_LOGS,
					  .class = class,
					  .records = 3,
					  .size = 30000,
					  .destinations = 1 };
	ck_assert_int_lt(run.next_id, IDS);
	now_fake_advance(20 * NS_PER_MS); /* what is done in the background comes with time */
	client_put(w, &r, 1, &st, NULL);
	run.acked += st ? 0 : r.records;
	ck_assert_msg(!st || status_class(st) == CLASS_RETRY, "%s: a put fails with %s", run.what,
		      status_name(st));
	return st;
}

/* Overrun it, let some die and the rest be delivered; then the disk comes back. */
static void work(struct writer *w)
{
	int64_t last = facts_int(path, "SELECT ifnull(max(id), 0) FROM batches");
	for (int i = 0; i < PUTS; i++)
		(void)put_one(w, i % 8 == 0 ? RECORD_CLASS_WARNING : RECORD_CLASS_INFO);
	for (int64_t id = last + PUTS - 8; id < last + PUTS; id++)
		(void)client_settle(w, run.id, &id, 1, id % 2 ? SETTLE_DEAD : SETTLE_DELIVERED, 0);
	for (int64_t id = last + 1; id < last + PUTS; id++)
		(void)client_settle(w, run.id, &id, 1, SETTLE_DELIVERED, 0);
	for (int i = 0; i < 12; i++) {
		now_fake_advance(300 * NS_PER_MS);
		(void)client_settle(w, run.id, &last, 1, SETTLE_RETRY, 0);
	}
}

static void await_recovery(struct writer *w)
{
	for (int tries = 0; tries < TRIES; tries++) {
		if (put_one(w, RECORD_CLASS_INFO) == ST_OK)
			return;
		now_fake_advance(100 * NS_PER_MS);
	}
	ck_abort_msg("%s: no recovery, the queue says %s", run.what, status_name(writer_state(w)));
}

static void check_file(void)
{
	ck_assert_msg(facts_read(path, &facts), "%s: %s", run.what, facts.problem);
	ck_assert_msg(facts.is_sound, "%s: not sound: %s", run.what, facts.problem);
	ck_assert_msg(!facts.imbalance && !facts.crc_errors, "%s: the books", run.what);
	ck_assert_msg(facts.accepted >= run.acked, "%s: %lld of %lld acknowledged records",
		      run.what, (long long)facts.accepted, (long long)run.acked);
	ck_assert_msg(facts_int(path, "SELECT ifnull(sum(records), 0) FROM losses") ==
			      facts_int(path, "SELECT ifnull(sum(records), 0) FROM totals WHERE "
					      "outcome IN ('expired', 'evicted')"),
		      "%s: the ledger", run.what);
	ck_assert_msg(facts_int(path, "SELECT sum(records) FROM losses WHERE reason = 'evicted'") >
			      0,
		      "%s: nothing was evicted", run.what);
}

/* False: the run met no fault. */
static bool run_once(const struct fault_row *row, int nth)
{
	memset(&run, 0, sizeof(run));
	now_fake(INT64_C(1780272000000000000), 3600 * NS_PER_S);
	(void)snprintf(run.what, sizeof(run.what), "%s (number %d)", row->name, nth);
	client_make_dir(dir, sizeof(dir), "limits");
	(void)snprintf(path, sizeof(path), "%s/queue.db", dir);
	struct writer *w = open_writer();
	fault_plan(row->op, row->error, nth, row->is_lasting);
	work(w);
	bool has_fired = fault_off();
	await_recovery(w); /* (1) */
	work(w);
	ck_assert_msg(facts_int(path, "SELECT page_count FROM pragma_page_count") < CAP / 4096 / 2,
		      "%s: the file did not shrink", run.what);
	writer_stop(w);
	w = open_writer();
	ck_assert_msg(!writer_is_degraded(w), "%s: taken for damaged", run.what);
	writer_stop(w);
	check_file(); /* (2), (3) */
	client_remove_dir(dir);
	return has_fired;
}

START_TEST(a_failing_disk_loses_nothing_that_a_rule_has_not_let_go)
{
	const struct fault_row *row = &rows[_i];
	int runs = 0;
	for (int nth = 1; nth < 2000 && run_once(row, nth); nth += 1 + nth / 2)
		runs++;
	ck_assert_int_gt(runs, 3);
}
END_TEST

int main(void)
{
	log_init(LOG_FATAL_LEVEL, LOG_FORMAT_LOGFMT);
	fault_vfs_install();
	fault_vfs_skip_sync(true);
	return run_loop("limits", a_failing_disk_loses_nothing_that_a_rule_has_not_let_go,
			(int)(sizeof(rows) / sizeof(rows[0])));
}
