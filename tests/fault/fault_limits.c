/* fault_limits.c - each operation on the disk fails once, or from then on, while a small queue
 * evicts, expires, settles in parts, moves, replays, purges, folds its ledger and gives disk back.
 *
 * A run overruns a queue whose cap is small, with a class that expires and dead letters that are
 * bounded, settles it in all ways, has people move and purge, and drains it. For N = 1, 2, 3, 4, 6
 * ... the Nth operation fails. Each time:
 *
 *   (1) the queue takes puts again when the fault is over, without a restart
 *   (2) after a stop and a start the file is sound, and the books balance: what was acknowledged
 *       is there, was delivered, or stands in the ledger
 *   (3) the ledger and the totals say the same */
#include <stdio.h>

#include "gateway/base/now.h"
#include "storage/redrive.h"
#include "tests/support/expect.h"
#include "tests/support/fault_vfs.h"
#include "tests/support/patience.h"
#include "tests/support/queue_client.h"

enum { IDS = 2048, PUTS = 48, CAP = 1 << 20, TRIES = 400 };

static char dir[CLIENT_PATH_SIZE];
static char path[CLIENT_PATH_SIZE + 16];
static struct facts facts;
static struct {
	char what[128];
	int next_id;
	int64_t id;    /* of the destination */
	int64_t other; /* of the one that gets what is moved */
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
		st = writer_destination(w, "other", "otlp_http", &slot, &run.other, &e);
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

/* One batch in the way of its turn. What fails is not done, and what is done twice changes nothing.
 */
static void settle_one(struct writer *w, int64_t id)
{
	static uint8_t body[3000];
	const struct settle_part part = { .records = 1,
					  .raw_bytes = sizeof(body),
					  .encoding = ENCODING_NONE,
					  .body = bytes_of(body, sizeof(body)),
					  .status = 400,
					  .error = "one record is at fault" };
	static const enum settle_outcome outcomes[] = { SETTLE_SPLIT, SETTLE_DEAD, SETTLE_MOVED,
							SETTLE_RETRY };
	const struct settle_item item = { .batch_id = id,
					  .outcome = outcomes[id % 4],
					  .rejected_records = 1,
					  .parts = &part,
					  .part_count = 1,
					  .to_destination_id = run.other };
	client_fill_body(body, sizeof(body), ++run.next_id);
	(void)client_settle_items(w, run.id, 400, "no", &item, 1);
}

/* Of both destinations and states: some of each slice are not so any more. */
static void redrive_some(struct writer *w, int64_t from, int64_t to)
{
	for (int action = REDRIVE_REPLAY; action <= (int)REDRIVE_MOVE; action++) {
		struct redrive r = { .action = (enum redrive_action)action,
				     .state = action == REDRIVE_MOVE ? DELIVERY_READY :
								       DELIVERY_DEAD,
				     .destination_id = run.id,
				     .to_id = run.other,
				     .detail = "the test says so" };
		for (int64_t id = from + action; id <= to && r.count < REDRIVE_MAX; id += 3)
			r.batch_ids[r.count++] = id;
		enum status st = redrive_run(w, &r);
		ck_assert_msg(!st || status_class(st) == CLASS_RETRY, "%s: redrive: %s", run.what,
			      status_name(st));
	}
}

static void deliver(struct writer *w, int64_t from, int64_t to)
{
	int64_t ids[8];
	for (int64_t id = from; id <= to; id += 8) {
		for (int i = 0; i < 8; i++)
			ids[i] = id + i;
		(void)client_settle(w, run.id, ids, 8, SETTLE_DELIVERED, 0);
		(void)client_settle(w, run.other, ids, 8, SETTLE_DELIVERED, 0);
	}
}

/* Time goes by, and the writer is rung. */
static void pass(struct writer *w, int times)
{
	const int64_t none = INT64_MAX;
	for (int i = 0; i < times; i++) {
		now_fake_advance(300 * NS_PER_MS);
		(void)client_settle(w, run.id, &none, 1, SETTLE_RETRY, 0);
	}
}

/* Overrun it, settle and move it; then the disk comes back. */
static void work(struct writer *w)
{
	static const char last_sql[] = "SELECT ifnull(max(seq), 0) FROM sqlite_sequence "
				       "WHERE name = 'batches'";
	int64_t first = facts_int(path, last_sql) + 1;
	for (int i = 0; i < PUTS; i++)
		(void)put_one(w, i % 8 == 0 ? RECORD_CLASS_WARNING : RECORD_CLASS_INFO);
	int64_t last = facts_int(path, last_sql);
	/* The oldest were evicted. Where the disk failed, there may be fewer, or none. */
	int64_t from = last - 12 > first ? last - 12 : first;
	for (int64_t id = from; id <= last; id++)
		settle_one(w, id);
	redrive_some(w, from, facts_int(path, last_sql));
	deliver(w, first, facts_int(path, last_sql));
	pass(w, 12);
}

/* The rules have done what there was to do: of a class that expires at once, and of the disk. */
static void await_rules(struct writer *w)
{
	int64_t end = patience_end_ns();
	(void)put_one(w, RECORD_CLASS_WARNING);
	do {
		pass(w, 1);
	} while (patience_pause(end) &&
		 (!facts_int(path, "SELECT count(*) FROM losses WHERE reason = 'expired'") ||
		  facts_int(path, "SELECT page_count FROM pragma_page_count") >= CAP / 4096 / 2));
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
	static const char *const reasons[] = { "evicted", "expired", "purged", "rejected" };
	ck_assert_msg(facts_read(path, &facts), "%s: %s", run.what, facts.problem);
	ck_assert_msg(facts.is_sound, "%s: not sound: %s", run.what, facts.problem);
	ck_assert_msg(!facts.imbalance && !facts.crc_errors, "%s: the books", run.what);
	ck_assert_msg(facts.accepted >= run.acked, "%s: %lld of %lld acknowledged records",
		      run.what, (long long)facts.accepted, (long long)run.acked);
	ck_assert_msg(facts_int(path, "SELECT ifnull(sum(records), 0) FROM losses") ==
			      facts_int(path, "SELECT ifnull(sum(records), 0) FROM totals WHERE "
					      "outcome NOT IN ('accepted', 'delivered')"),
		      "%s: the ledger", run.what);
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
		char sql[96];
		(void)snprintf(sql, sizeof(sql), "SELECT count(*) FROM losses WHERE reason = '%s'",
			       reasons[i]);
		ck_assert_msg(facts_int(path, sql) > 0, "%s: nothing was %s", run.what, reasons[i]);
	}
}

/* False: the run met no fault. */
static bool run_once(const struct fault_row *row, int nth)
{
	memset(&run, 0, sizeof(run));
	/* Earlier than any machine that runs this: a writer that waits for a time wakes by itself.
	 */
	now_fake(INT64_C(1780272000000000000), 10 * NS_PER_S);
	(void)snprintf(run.what, sizeof(run.what), "%s (number %d)", row->name, nth);
	client_make_dir(dir, sizeof(dir), "limits");
	(void)snprintf(path, sizeof(path), "%s/queue.db", dir);
	struct writer *w = open_writer();
	fault_plan(row->op, row->error, nth, row->is_lasting);
	work(w);
	bool has_fired = fault_off();
	await_recovery(w); /* (1) */
	work(w);
	await_rules(w);
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
	const struct fault_row *row = &fault_rows[_i];
	int runs = 0;
	for (int nth = 1; nth < 2000 && run_once(row, nth); nth += 1 + nth / 2)
		runs++;
	ck_assert_int_gt(runs, 3);
}
END_TEST

int main(void)
{
	fault_begin();
	return run_loop("limits", a_failing_disk_loses_nothing_that_a_rule_has_not_let_go,
			FAULT_ROWS_RUNNING);
}
