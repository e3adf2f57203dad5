/* fault_power_cut.c - the power goes at every moment of a run, and nothing that was acknowledged is
 * lost.
 *
 * A run of puts, settlements and checkpoints is recorded write by write (fault_vfs). Then, for
 * every prefix of the record and each way in which unsynced writes can survive or not
 * (crash_image), the files are laid out as the disk would hold them, the writer opens them, and the
 * oracle looks:
 *
 *   (1) it opens, and the file is not taken for a damaged one
 *   (2) integrity_check is ok, every payload matches its checksum, the balance is 0
 *   (3) a request that was acknowledged before the cut is owed to each of its destinations, once,
 *       unless a settlement of its batch had been given before the cut
 *   (4) a settlement that was acknowledged before the cut is not undone */
#include <stdio.h>

#include "gateway/base/log.h"
#include "gateway/base/xalloc.h"
#include "tests/support/crash_image.h"
#include "tests/support/expect.h"
#include "tests/support/queue_client.h"

enum { ROUNDS = 24, IDS = 128, DESTINATIONS = 2 };
enum mark { MARK_ACKED, MARK_SETTLE_GIVEN, MARK_SETTLED };

/* What the run did. A batch's settlement is marked with batch * DESTINATIONS + slot. */
static struct {
	struct client_request requests[IDS];
	int64_t batch_of[IDS];
	int64_t destination_ids[DESTINATIONS];
	int count;
} run;

/* What must be so at a prefix. */
static struct {
	bool is_acked[IDS];
	bool is_settle_given[IDS][DESTINATIONS];
	bool is_settled[IDS][DESTINATIONS];
} oracle;

static struct facts facts;
static char dir[CLIENT_PATH_SIZE];

static void on_done(int64_t id, enum status st)
{
	if (st == ST_OK)
		vfs_log_mark(MARK_ACKED, id);
}

static struct writer *open_writer(void)
{
	char path[CLIENT_PATH_SIZE + 16];
	struct err e = { 0 };
	struct writer *w = NULL;
	(void)snprintf(path, sizeof(path), "%s/queue.db", dir);
	const struct writer_options o = { .path = path,
					  .max_size_bytes = UINT64_C(1) << 30,
					  .page_size = 4096,
					  .checkpoint_bytes = 96 << 10 };
	enum status st = writer_open(&o, &w, &e);
	ck_assert_msg(st == ST_OK, "open: %s: %s", status_name(st), e.text);
	for (int i = 0; i < DESTINATIONS; i++) {
		int slot;
		EXPECT_OK(writer_destination(w, i ? "second" : "first", "otlp_http", &slot,
					     &run.destination_ids[i], &e));
		ck_assert_int_eq(slot, i);
	}
	return w;
}

/* ---- the recorded run ---- */

static void put_some(struct writer *w, int round)
{
	static const uint64_t owed[] = { 1, 3, 2 };
	size_t count = 1 + (size_t)round % 3;
	enum status st[3];
	struct client_request *r = &run.requests[run.count + 1];
	for (size_t i = 0; i < count; i++) {
		int64_t id = ++run.count;
		r[i] = (struct client_request){ .id = id,
						.signal = SIGNAL_LOGS,
						.class = (enum record_class)(id % 3),
						.records = (uint32_t)id,
						.size = 200 + (size_t)(id * 977 % 9000),
						.destinations = owed[id % 3] };
	}
	client_put(w, r, count, st, on_done);
	for (size_t i = 0; i < count; i++)
		EXPECT_OK(st[i]);
}

/* Settle the batch of one request at one of its destinations. */
static void settle_one(struct writer *w, const char *path, int64_t id, enum settle_outcome outcome)
{
	int slot = run.requests[id].destinations & 1 ? 0 : 1;
	ck_assert(facts_read(path, &facts));
	int64_t batch = facts.batch_of[id];
	int64_t destination = run.destination_ids[slot];
	if (!batch || !facts.ready[destination][id])
		return; /* settled with a neighbour of its batch */
	vfs_log_mark(MARK_SETTLE_GIVEN, batch * DESTINATIONS + slot);
	EXPECT_OK(client_settle(w, destination, &batch, 1, outcome, 0));
	if (outcome == SETTLE_DELIVERED || outcome == SETTLE_SPLIT)
		vfs_log_mark(MARK_SETTLED, batch * DESTINATIONS + slot);
}

static void record_run(void)
{
	char path[CLIENT_PATH_SIZE + 16];
	(void)snprintf(path, sizeof(path), "%s/queue.db", dir);
	vfs_log_start();
	struct writer *w = open_writer();
	EXPECT_OK(writer_start(w, NULL));
	for (int round = 0; round < ROUNDS; round++) {
		put_some(w, round);
		ck_assert(facts_read(path, &facts));
		for (int id = 1; id <= run.count; id++)
			if (facts.batch_of[id])
				run.batch_of[id] = facts.batch_of[id];
		if (round % 3 == 2)
			settle_one(w, path, round - 1, round % 2 ? SETTLE_DELIVERED : SETTLE_RETRY);
		if (round % 5 == 4)
			settle_one(w, path, round + 3,
				   round % 2 ? SETTLE_DEAD :
				   round % 4 ? SETTLE_SPLIT :
					       SETTLE_DELIVERED);
	}
	writer_stop(w);
	vfs_log_stop();
}

/* ---- the oracle ---- */

static bool learn_mark(const struct vfs_event *event)
{
	if (event->mark == MARK_ACKED) {
		oracle.is_acked[event->id] = true;
		return true;
	}
	int64_t batch = event->id / DESTINATIONS;
	int64_t slot = event->id % DESTINATIONS;
	for (int id = 1; id <= run.count; id++) {
		if (run.batch_of[id] != batch)
			continue;
		if (event->mark == MARK_SETTLED)
			oracle.is_settled[id][slot] = true;
		else
			oracle.is_settle_given[id][slot] = true;
	}
	return true;
}

/* (3) and (4) of one request at one destination. */
static void check_request(int id, int slot, const char *what)
{
	int64_t destination = run.destination_ids[slot];
	int there = facts.ready[destination][id] + facts.dead[destination][id];
	ck_assert_msg(there <= 1, "%s: request %d is there %d times", what, id, there);
	if (!(run.requests[id].destinations >> slot & 1)) {
		ck_assert_msg(!there, "%s: request %d is owed to a stranger", what, id);
		return;
	}
	if (oracle.is_acked[id] && !oracle.is_settle_given[id][slot])
		ck_assert_msg(there, "%s: request %d was acknowledged and is lost", what, id);
	if (oracle.is_settled[id][slot])
		ck_assert_msg(!there, "%s: request %d was settled and is back", what, id);
}

static void check_image(const char *what)
{
	char path[CLIENT_PATH_SIZE + 16];
	(void)snprintf(path, sizeof(path), "%s/queue.db", dir);
	struct writer *w = open_writer();
	ck_assert_msg(!writer_is_degraded(w), "%s: taken for damaged", what);
	writer_stop(w);
	ck_assert_msg(facts_read(path, &facts), "%s: unreadable: %s", what, facts.problem);
	ck_assert_msg(facts.is_sound, "%s: not sound: %s", what, facts.problem);
	ck_assert_msg(!facts.crc_errors, "%s: payloads damaged", what);
	ck_assert_msg(!facts.imbalance, "%s: the books do not balance", what);
	for (int id = 1; id <= run.count; id++)
		for (int slot = 0; slot < DESTINATIONS; slot++)
			check_request(id, slot, what);
}

START_TEST(a_power_cut_at_any_write_loses_nothing_acknowledged)
{
	const struct crash_cuts cuts = { .dir = dir,
					 .variants = CRASH_ALL_VARIANTS,
					 .learn = learn_mark,
					 .check = check_image };
	client_make_dir(dir, sizeof(dir), "power");
	record_run();
	int images = crash_cut_everywhere(&cuts);
	/* The test itself: it must have cut within checkpoints, not only within the WAL. */
	printf("power cut: %zu events, %d images, %d requests\n", vfs_log_count(), images,
	       run.count);
	ck_assert_int_gt(images, 500);
	vfs_log_clear();
	client_remove_dir(dir);
}
END_TEST

int main(void)
{
	fault_begin();
	const TTest *const cases[] = { a_power_cut_at_any_write_loses_nothing_acknowledged };
	return run_cases("power_cut", cases, sizeof(cases) / sizeof(cases[0]));
}
