/* fault_rules_cut.c - the power goes while a small queue evicts, expires, bounds its dead letters,
 * splits, replays, purges, moves and gives disk back.
 *
 * One run overruns a queue of a MiB with data of three classes for two destinations, does by hand
 * what people do, lets time pass, drains it, and waits until the file has shrunk. All that reaches
 * the disk is recorded, and cut at its events (crash_image). Each image is opened again:
 *
 *   (1) it opens, and is not taken for damaged; integrity_check is ok, the payloads are whole
 *   (2) the balance is 0, and the ledger says what the totals say
 *   (3) a request that was acknowledged is in the queue, was settled, or stands in the ledger: what
 *       is missing at a destination is no more than what its ledger has
 *   (4) what was acknowledged as delivered, purged or moved away is not back, and what was replayed
 *       is not dead
 *
 * What the rules take depends on sizes and times, so the oracle does not say which. In CI some
 * images of a fixed choice are checked, with TIDEGATE_FAULT_ALL=1 all of them. */
#include <stdio.h>

#include "gateway/base/log.h"
#include "gateway/base/now.h"
#include "storage/redrive.h"
#include "tests/support/crash_image.h"
#include "tests/support/expect.h"
#include "tests/support/queue_client.h"

enum { IDS = 512, SLOTS = 2, PUTS = 110, CAP = 1 << 20, PAGE = 4096, IMAGES_MAX = 450 };
#define HOUR (INT64_C(3600) * NS_PER_S)

/* Marks are about request id / SLOTS at slot id % SLOTS. */
enum mark {
	MARK_OWED,     /* acknowledged: it is there from now on */
	MARK_GIVEN,    /* something that may take it away was given */
	MARK_GONE,     /* and is on the disk: it must not come back */
	MARK_REPLAYED, /* it must not be dead, */
	MARK_DYING,    /* until it may be so again */
	MARK_COUNT
};

/* What happened to a request at a slot, up to where the power goes. */
struct fate {
	bool is_owed;
	bool is_given;
	bool is_gone;
	bool is_replayed;
};

static struct fate fates[IDS][SLOTS];
static uint32_t records_of[IDS];
static int64_t batch_of[IDS];
static int next_id;
static int64_t ids[SLOTS]; /* of the destinations */
static char dir[CLIENT_PATH_SIZE];
static char path[CLIENT_PATH_SIZE + 16];
static struct facts facts;

static struct writer *open_writer(void)
{
	const struct writer_options o = {
		.path = path,
		.max_size_bytes = CAP,
		.page_size = PAGE,
		.checkpoint_bytes = 64 << 10,
		.limits = { .may_evict = { [RECORD_CLASS_INFO] = true,
					   [RECORD_CLASS_WARNING] = true },
			    .max_age_ns = { [RECORD_CLASS_WARNING] = HOUR },
			    .dead_max_bytes = 12000,
			    .vacuum_after_ns = 1 },
	};
	struct err e = { 0 };
	struct writer *w = NULL;
	enum status st = writer_open(&o, &w, &e);
	ck_assert_msg(st == ST_OK, "open: %s: %s", status_name(st), e.text);
	for (int i = 0; i < SLOTS; i++) {
		int slot;
		EXPECT_OK(writer_destination(w, i ? "second" : "first", "otlp_http", &slot, &ids[i],
					     &e));
	}
	writer_set_quota(w, 1, 60000);
	return w;
}

/* ---- the recorded run ---- */

static void mark(enum mark m, int id, int slot)
{
	vfs_log_mark((int)m, (int64_t)id * SLOTS + slot);
}

static int64_t last_batch(void)
{
	return facts_int(path, "SELECT seq FROM sqlite_sequence WHERE name = 'batches'");
}

static int put_one(struct writer *w)
{
	enum status st;
	int id = ++next_id;
	const struct client_request r = { .id = id,
					  .signal = (enum signal)(id % 3),
					  .class = (enum record_class)(id % 5 % 3),
					  .records = (uint32_t)id,
					  .size = 4000 + (size_t)(id * 977 % 30000),
					  .destinations = 1 + (uint64_t)(id % 4 == 0) * 2 +
							  (uint64_t)(id % 4 == 2) };
	ck_assert_int_lt(id, IDS);
	records_of[id] = r.records;
	now_fake_advance(80 * NS_PER_MS); /* what is done in the background comes with time */
	client_put(w, &r, 1, &st, NULL);
	ck_assert_msg(!st || st == ST_FULL, "put: %s", status_name(st));
	if (st)
		return 0;
	batch_of[id] = last_batch();
	for (int slot = 0; slot < SLOTS; slot++)
		if (r.destinations >> slot & 1)
			mark(MARK_OWED, id, slot);
	return id;
}

static bool is_there(int id, int slot, bool is_dead)
{
	char sql[160];
	(void)snprintf(sql, sizeof(sql),
		       "SELECT count(*) FROM deliveries WHERE batch_id = %lld AND destination_id = "
		       "%lld AND state = '%s'",
		       (long long)batch_of[id], (long long)ids[slot], is_dead ? "dead" : "ready");
	return facts_int(path, sql) == 1;
}

/* Where the rules were faster, nothing is done, and it is marked as gone all the same. */
static void settle(struct writer *w, int id, int slot, enum settle_outcome outcome)
{
	static uint8_t body[2000];
	int part = outcome == SETTLE_SPLIT ? ++next_id : 0;
	const struct settle_part parts = { .records = 1,
					   .raw_bytes = sizeof(body),
					   .encoding = ENCODING_NONE,
					   .body = bytes_of(body, sizeof(body)),
					   .status = 400,
					   .error = "one record is at fault" };
	const struct settle_item item = { .batch_id = batch_of[id],
					  .outcome = outcome,
					  .parts = &parts,
					  .part_count = part ? 1 : 0,
					  .to_destination_id = ids[!slot] };
	bool is_ready = is_there(id, slot, false);
	bool was_there = is_there(id, !slot, false) || is_there(id, !slot, true);
	bool stays = outcome == SETTLE_RETRY || outcome == SETTLE_DEAD;
	if (!is_ready)
		return;
	client_fill_body(body, sizeof(body), part);
	if (outcome == SETTLE_DEAD)
		mark(MARK_DYING, id, slot);
	if (!stays)
		mark(MARK_GIVEN, id, slot);
	EXPECT_OK(client_settle_items(w, ids[slot], 400, "no", &item, 1));
	if (!stays)
		mark(MARK_GONE, id, slot);
	if (outcome == SETTLE_MOVED && !was_there)
		mark(MARK_OWED, id, !slot);
	if (part) {
		records_of[part] = 1;
		batch_of[part] = last_batch();
		mark(MARK_OWED, part, slot);
	}
}

static void redrive(struct writer *w, int id, int slot, enum redrive_action action)
{
	struct redrive r = { .action = action,
			     .detail = "the test says so",
			     .destination_id = ids[slot],
			     .to_id = ids[!slot],
			     .count = 1,
			     .batch_ids = { batch_of[id] } };
	bool is_dead = is_there(id, slot, true);
	bool was_there = is_there(id, !slot, false) || is_there(id, !slot, true);
	r.state = is_dead ? DELIVERY_DEAD : DELIVERY_READY;
	if (!is_dead && (action == REDRIVE_REPLAY || !is_there(id, slot, false)))
		return;
	if (action != REDRIVE_REPLAY)
		mark(MARK_GIVEN, id, slot);
	EXPECT_OK(redrive_run(w, &r));
	ck_assert_uint_eq(r.batches, 1);
	mark(action == REDRIVE_REPLAY ? MARK_REPLAYED : MARK_GONE, id, slot);
	if (action == REDRIVE_MOVE && !was_there)
		mark(MARK_OWED, id, !slot);
}

static void pass(struct writer *w, int64_t ns, int steps)
{
	const int64_t none = INT64_C(1) << 50;
	for (int i = 0; i < steps; i++) {
		now_fake_advance(ns);
		(void)client_settle(w, ids[0], &none, 1, SETTLE_RETRY, 0);
	}
}

static void handle(struct writer *w, int id)
{
	static const enum settle_outcome outcomes[] = { SETTLE_SPLIT, SETTLE_DEAD,     SETTLE_MOVED,
							SETTLE_RETRY, SETTLE_DEAD,     SETTLE_DEAD,
							SETTLE_SPLIT, SETTLE_DELIVERED };
	static const enum redrive_action actions[] = { REDRIVE_REPLAY, REDRIVE_MOVE,
						       REDRIVE_PURGE };
	enum redrive_action action = actions[id / 3 % 3];
	int slot = id / 9 % 2;
	if (id % 2 == 0)
		settle(w, id, id % 4 == 0, outcomes[id / 2 % 8]);
	for (int it = id; it > 0 && id % 3 == 0; it--)
		if (is_there(it, slot, true) ||
		    (action != REDRIVE_REPLAY && is_there(it, slot, false))) {
			redrive(w, it, slot, action);
			return;
		}
}

static int64_t number(const char *sql)
{
	return facts_int(path, sql);
}

/* The test itself: all that it is about must have happened. */
static void check_run(int64_t pages)
{
	static const char *const happened[] = {
		"SELECT count(*) FROM losses WHERE reason = 'evicted' AND detail LIKE '%was full'",
		"SELECT count(*) FROM losses WHERE detail LIKE '%dead_letters.max_size'",
		"SELECT count(*) FROM losses WHERE detail LIKE '%max_queue_size'",
		"SELECT count(*) FROM losses WHERE reason = 'expired'",
		"SELECT count(*) FROM losses WHERE reason = 'purged'",
	};
	int counts[MARK_COUNT] = { 0 };
	int truncations = 0;
	for (size_t i = 0; i < sizeof(happened) / sizeof(happened[0]); i++)
		ck_assert_msg(number(happened[i]) > 0, "none: %s", happened[i]);
	for (size_t i = 0; i < vfs_log_count(); i++) {
		const struct vfs_event *e = vfs_log_event(i);
		if (e->kind == VFS_MARK)
			counts[e->mark]++;
		else if (e->kind == VFS_TRUNCATE)
			truncations += strcmp(vfs_log_name(e->file), "queue.db") == 0;
	}
	for (int m = 0; m < MARK_COUNT; m++)
		ck_assert_msg(counts[m] > 2, "mark %d: %d times", m, counts[m]);
	ck_assert_int_gt(truncations, 1);
	ck_assert_int_lt(number("SELECT page_count FROM pragma_page_count"), pages / 2);
}

static void record_run(void)
{
	vfs_log_start();
	struct writer *w = open_writer();
	EXPECT_OK(writer_start(w, NULL));
	for (int i = 0; i < PUTS; i++) {
		int id = put_one(w);
		if (id)
			handle(w, id);
		if (i == PUTS / 2)
			pass(w, HOUR / 2, 4);
	}
	int64_t pages = number("SELECT page_count FROM pragma_page_count");
	for (int id = 1; id <= next_id; id++)
		for (int slot = 0; slot < SLOTS; slot++)
			settle(w, id, slot, SETTLE_DELIVERED);
	pass(w, 300 * NS_PER_MS, 40);
	(void)put_one(w);
	writer_stop(w);
	vfs_log_stop();
	check_run(pages);
}

/* ---- the oracle ---- */

static bool learn(const struct vfs_event *event)
{
	struct fate *f = &fates[event->id / SLOTS][event->id % SLOTS];
	switch ((enum mark)event->mark) {
	case MARK_OWED:
		*f = (struct fate){ .is_owed = true };
		break;
	case MARK_GIVEN:
		f->is_given = true;
		break;
	case MARK_GONE:
		f->is_gone = true;
		break;
	case MARK_REPLAYED:
		f->is_replayed = true;
		break;
	case MARK_DYING:
		f->is_replayed = false;
		break;
	case MARK_COUNT:
		break;
	}
	return true;
}

/* (3) and (4). Returns how many records are missing. */
static int64_t check_request(int id, int slot, const char *what)
{
	const struct fate *f = &fates[id][slot];
	int ready = facts.ready[ids[slot]][id];
	int dead = facts.dead[ids[slot]][id];
	ck_assert_msg(ready + dead <= 1, "%s: request %d is there %d times", what, id,
		      ready + dead);
	ck_assert_msg(!f->is_gone || !(ready + dead), "%s: request %d left and is back", what, id);
	ck_assert_msg(!f->is_replayed || !dead, "%s: request %d was replayed and is dead", what,
		      id);
	return f->is_owed && !f->is_given && !ready && !dead ? records_of[id] : 0;
}

static int64_t lost_at(int slot)
{
	char sql[96];
	(void)snprintf(sql, sizeof(sql),
		       "SELECT ifnull(sum(records), 0) FROM losses WHERE destination_id = %lld",
		       (long long)ids[slot]);
	return number(sql);
}

static void check_image(const char *what)
{
	static const char ledger[] =
		"SELECT (SELECT ifnull(sum(records), 0) FROM losses) - (SELECT ifnull(sum("
		"records), 0) FROM totals WHERE outcome NOT IN ('accepted', 'delivered'))";
	struct writer *w = open_writer();
	ck_assert_msg(!writer_is_degraded(w), "%s: taken for damaged", what);
	writer_stop(w);
	ck_assert_msg(facts_read(path, &facts), "%s: unreadable: %s", what, facts.problem);
	ck_assert_msg(facts.is_sound, "%s: not sound: %s", what, facts.problem);
	ck_assert_msg(!facts.crc_errors, "%s: payloads damaged", what);
	ck_assert_msg(!facts.imbalance, "%s: the books do not balance", what);
	ck_assert_msg(number(ledger) == 0, "%s: the ledger and the totals differ", what);
	for (int slot = 0; slot < SLOTS; slot++) {
		int64_t missing = 0;
		for (int id = 1; id <= next_id; id++)
			missing += check_request(id, slot, what);
		ck_assert_msg(missing <= lost_at(slot), "%s: %lld records are missing, %lld lost",
			      what, (long long)missing, (long long)lost_at(slot));
	}
}

START_TEST(a_power_cut_loses_nothing_that_no_rule_let_go)
{
	const struct crash_cuts cuts = { .dir = dir,
					 .variants = CRASH_ALL_VARIANTS,
					 .images_max = IMAGES_MAX,
					 .learn = learn,
					 .check = check_image };
	now_fake(INT64_C(1780272000000000000), CLIENT_BOOT_NS);
	client_make_dir(dir, sizeof(dir), "rules-cut");
	(void)snprintf(path, sizeof(path), "%s/queue.db", dir);
	record_run();
	int images = crash_cut_everywhere(&cuts);
	(void)printf("rules cut: %zu events, %d images, %d requests\n", vfs_log_count(), images,
		     next_id);
	ck_assert_int_gt(images, 200);
	vfs_log_clear();
	client_remove_dir(dir);
	now_fake_off();
}
END_TEST

int main(void)
{
	fault_begin();
	const TTest *const cases[] = { a_power_cut_loses_nothing_that_no_rule_let_go };
	return run_cases("rules_cut", cases, sizeof(cases) / sizeof(cases[0]));
}
