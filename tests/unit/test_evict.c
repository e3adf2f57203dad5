/* In which order data leaves a full queue, however much stands in front of what may go first. */
#include "storage/evict.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "storage/bounds.h"
#include "storage/db.h"
#include "storage/file_checks.h"
#include "storage/queue_sql.h"
#include "tests/support/expect.h"
#include "tests/support/queue_file.h"

struct fixture {
	struct queue_file file;
	sqlite3 *db;
	struct queue q;
	int64_t ids[3]; /* alpha and beta; gamma is not configured any more */
};

static const bool all[RECORD_CLASS_COUNT] = { true, true, true };

static void begin(struct fixture *f)
{
	static const char *const names[] = { "alpha", "beta", "gamma" };
	f->db = queue_file_open(&f->file);
	queue_init(&f->q, f->db);
	EXPECT_OK(queue_begin(&f->q));
	for (int i = 0; i < 3; i++)
		EXPECT_OK(queue_destination(&f->q, names[i], "file", 0, i < 2, &f->ids[i]));
	EXPECT_OK(queue_commit(&f->q));
}

static int64_t ask(struct fixture *f, const char *sql)
{
	int64_t v = 0;
	struct err e = { .text = "" };
	EXPECT_OK(stmt_get_int(f->db, sql, &v, &e));
	return v;
}

static void end(struct fixture *f)
{
	ck_assert_int_eq(ask(f, "SELECT count(*) FROM balance WHERE difference <> 0"), 0);
	queue_done(&f->q);
	db_close(f->db);
	queue_file_remove(&f->file);
}

/* to: bit i is ids[i]. */
static int64_t insert(struct fixture *f, enum record_class class, unsigned to)
{
	const struct queue_batch b = { .received_at_ns = 5,
				       .signal = SIGNAL_LOGS,
				       .class = class,
				       .requests = 1,
				       .records = 1,
				       .raw_bytes = 4,
				       .crc = 1,
				       .body = bytes_str("body") };
	int64_t ids[3];
	size_t count = 0;
	int64_t id = 0;
	for (int i = 0; i < 3; i++)
		if (to >> i & 1)
			ids[count++] = f->ids[i];
	EXPECT_OK(queue_insert(&f->q, &b, ids, count, &id));
	return id;
}

static void settle(struct fixture *f, int to, int64_t batch, enum settle_outcome outcome)
{
	struct settlement *s = calloc(1, sizeof(*s) + sizeof(s->items[0]));
	s->destination_id = f->ids[to];
	s->count = 1;
	s->items[0] = (struct settle_item){ .batch_id = batch, .outcome = outcome };
	EXPECT_OK(queue_settle(&f->q, s));
	free(s);
}

/* Steps until something went; each one is bounded. Returns how many batches. */
static int64_t evict(struct fixture *f, enum record_class arriving)
{
	int64_t before = ask(f, "SELECT count(*) FROM batches");
	for (int i = 0; i < 1000; i++) {
		size_t count = 0;
		EXPECT_OK(evict_some(&f->q, all, arriving, &count));
		int64_t now = ask(f, "SELECT count(*) FROM batches");
		if (now < before || (count == 0 && !evict_is_searching(&f->q)))
			return before - now;
	}
	ck_abort_msg("the search does not end");
}

enum { AWAITED = 400 };

/* Alpha has refused them all, and beta, which is down, waits for all but the last ten. */
static void make_backlog(struct fixture *f)
{
	EXPECT_OK(queue_begin(&f->q));
	for (int i = 1; i <= AWAITED + 10; i++) {
		ck_assert_int_eq(insert(f, RECORD_CLASS_INFO, 3), i);
		settle(f, 0, i, SETTLE_DEAD);
		if (i > AWAITED)
			settle(f, 1, i, SETTLE_DELIVERED);
	}
	EXPECT_OK(queue_commit(&f->q));
}

START_TEST(what_nobody_waits_for_goes_first_behind_any_number_of_dead_letters)
{
	struct fixture f;
	begin(&f);
	make_backlog(&f);
	EXPECT_OK(queue_begin(&f.q));
	ck_assert_int_eq(evict(&f, RECORD_CLASS_INFO), 10);
	ck_assert_int_eq(ask(&f, "SELECT max(id) FROM batches"), AWAITED);
	/* Then what is wanted, the oldest first. */
	ck_assert_int_gt(evict(&f, RECORD_CLASS_INFO), 0);
	ck_assert_int_eq(ask(&f, "SELECT max(id) FROM batches"), AWAITED);
	ck_assert_int_gt(ask(&f, "SELECT min(id) FROM batches"), 1);
	EXPECT_OK(queue_commit(&f.q));
	end(&f);
}
END_TEST

START_TEST(what_becomes_unwanted_behind_the_search_is_found)
{
	struct fixture f;
	begin(&f);
	make_backlog(&f);
	EXPECT_OK(queue_begin(&f.q));
	ck_assert_int_eq(evict(&f, RECORD_CLASS_INFO), 10);
	settle(&f, 1, 50, SETTLE_DELIVERED);
	settle(&f, 1, 60, SETTLE_DEAD);
	ck_assert_int_eq(evict(&f, RECORD_CLASS_INFO), 2);
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM batches WHERE id IN (50, 60)"), 0);
	/* More than are remembered one by one. */
	for (int id = 100; id < 200; id++)
		settle(&f, 1, id, SETTLE_DELIVERED);
	int64_t gone = 0;
	while (gone < 100)
		gone += evict(&f, RECORD_CLASS_INFO);
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM batches WHERE id BETWEEN 100 AND 199"), 0);
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM batches"), AWAITED - 102);
	EXPECT_OK(queue_commit(&f.q));
	end(&f);
}
END_TEST

START_TEST(a_rollback_brings_back_what_is_to_go_first)
{
	struct fixture f;
	begin(&f);
	make_backlog(&f);
	for (int i = 0; i < 2; i++) {
		EXPECT_OK(queue_begin(&f.q));
		ck_assert_int_eq(evict(&f, RECORD_CLASS_INFO), 10);
		ck_assert_int_eq(ask(&f, "SELECT max(id) FROM batches"), AWAITED);
		queue_rollback(&f.q);
	}
	end(&f);
}
END_TEST

START_TEST(a_step_is_bounded_and_a_look_needs_no_search)
{
	struct fixture f;
	size_t count = 1;
	bool can = false;
	begin(&f);
	make_backlog(&f);
	EXPECT_OK(evict_can(&f.q, all, RECORD_CLASS_INFO, &can));
	ck_assert(can);
	EXPECT_OK(queue_begin(&f.q));
	EXPECT_OK(evict_some(&f.q, all, RECORD_CLASS_INFO, &count));
	ck_assert_uint_eq(count, 0);
	ck_assert(evict_is_searching(&f.q));
	queue_rollback(&f.q);
	EXPECT_OK(stmt_exec(f.db, "DELETE FROM deliveries WHERE state = 'ready'", NULL));
	EXPECT_OK(evict_can(&f.q, all, RECORD_CLASS_INFO, &can));
	ck_assert(can);
	EXPECT_OK(stmt_exec(f.db, "DELETE FROM deliveries; DELETE FROM batches; DELETE FROM totals",
			    NULL));
	EXPECT_OK(evict_can(&f.q, all, RECORD_CLASS_INFO, &can));
	ck_assert(!can);
	end(&f);
}
END_TEST

/* A walk over the backlog counts payloads whole (storage/bounds.c), so they must leave whole: or
 * the rest would be taken for excess. */
START_TEST(what_was_partly_settled_leaves_with_all_that_was_counted)
{
	struct fixture f;
	begin(&f);
	EXPECT_OK(queue_begin(&f.q));
	for (unsigned i = 1; i <= 2; i++) {
		int64_t id = insert(&f, RECORD_CLASS_INFO, 1);
		EXPECT_OK(stmt_exec(f.db, "UPDATE batches SET records = 4", NULL));
		EXPECT_OK(depart_delivery(&f.q, id, f.ids[0], DELIVERY_READY, OUTCOME_EXPIRED,
					  DEPART_MAX_AGE));
		ck_assert_uint_eq(gone_bytes(&f.q.gone, f.ids[0], DELIVERY_READY), 4 * i);
	}
	EXPECT_OK(queue_commit(&f.q));
	ck_assert_int_eq(ask(&f, "SELECT sum(bytes) FROM losses"), 2);
	end(&f);
}
END_TEST

static int stop_after_a_slice(void *ctx)
{
	const struct bounds *b = ctx;
	return b->dead.bytes > 0;
}

/* Damage that a walk meets makes the file another one, into which the same data is moved. */
START_TEST(what_a_walk_counted_of_a_damaged_file_is_not_counted_again)
{
	const struct writer_limits limits = { .dead_max_bytes = 500 };
	struct fixture f;
	struct bounds b;
	bool is_due = true;
	int64_t next = 0;
	begin(&f);
	bounds_init(&b, &limits);
	EXPECT_OK(queue_begin(&f.q));
	for (int i = 0; i < 100; i++)
		settle(&f, 0, insert(&f, RECORD_CLASS_INFO, 1), SETTLE_DEAD);
	EXPECT_OK(queue_commit(&f.q));
	sqlite3_progress_handler(f.db, 1, stop_after_a_slice, &b);
	ck_assert_int_ne(bounds_look(&b, &f.q, INT64_MAX, &is_due, &next), ST_OK);
	sqlite3_progress_handler(f.db, 0, NULL, NULL);
	ck_assert_uint_gt(b.dead.bytes, 0);
	queue_done(&f.q);
	queue_init(&f.q, f.db);
	EXPECT_OK(stmt_exec(f.db,
			    "UPDATE batches SET id = id + 1000; UPDATE deliveries SET "
			    "batch_id = batch_id + 1000; UPDATE payloads SET batch_id = "
			    "batch_id + 1000",
			    NULL));
	bounds_restart(&b);
	EXPECT_OK(bounds_look(&b, &f.q, INT64_MAX, &is_due, &next));
	ck_assert(!b.dead.is_walking);
	ck_assert(!is_due);
	end(&f);
}
END_TEST

/* ---- any order of events ---- */

static uint64_t random_state;

static unsigned pick(unsigned count)
{
	random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (unsigned)(random_state >> 33) % count;
}

/* Straight from the promise: nobody waits, less urgent, older. */
#define RANK                                                                                  \
	"(EXISTS (SELECT 1 FROM deliveries d JOIN destinations t ON t.id = d.destination_id " \
	"WHERE d.batch_id = b.id AND d.state = 'ready' AND t.is_configured)) * 10000000 + "   \
	"(2 - b.priority) * 1000000 + b.id"

/* All that stays ranks behind all that went. */
static void check_eviction(struct fixture *f, enum record_class arriving)
{
	char sql[600];
	struct err e = { .text = "" };
	EXPECT_OK(stmt_exec(f->db, "CREATE TEMP TABLE IF NOT EXISTS ranks (id, rank)", &e));
	(void)snprintf(sql, sizeof(sql),
		       "DELETE FROM ranks; INSERT INTO ranks SELECT id, " RANK
		       " FROM batches b WHERE priority >= %d",
		       arriving);
	EXPECT_OK(stmt_exec(f->db, sql, &e));
	int64_t gone = evict(f, arriving);
	ck_assert(gone > 0 || ask(f, "SELECT count(*) FROM ranks") == 0);
	ck_assert_int_eq(ask(f, "SELECT count(*) FROM ranks WHERE id NOT IN (SELECT id FROM "
				"batches) AND rank > (SELECT min(rank) FROM ranks WHERE id IN "
				"(SELECT id FROM batches))"),
			 0);
}

static void step(struct fixture *f, int64_t *io_last)
{
	int64_t batch = *io_last ? 1 + pick((unsigned)*io_last) : 1;
	int to = (int)pick(3);
	switch (pick(40)) {
	case 0:
		check_eviction(f, (enum record_class)pick(3));
		break;
	case 1:
	case 2:
	case 3:
	case 9:
	case 10:
	case 11:
	case 12:
	case 13:
	case 14:
		*io_last = insert(f, (enum record_class)pick(3), 1 + pick(7));
		break;
	case 4:
	case 5:
	case 15:
	case 16:
		settle(f, to, batch, SETTLE_DELIVERED);
		break;
	case 6: {
		struct queue_delivery d;
		if (queue_find_delivery(&f->q, batch, f->ids[to], &d) == ST_OK &&
		    d.state == DELIVERY_DEAD)
			EXPECT_OK(queue_run(&f->q, Q_DELIVERY_REPLAY, batch, f->ids[to]));
		break;
	}
	case 7:
		EXPECT_OK(depart_delivery(&f->q, batch, f->ids[to], DELIVERY_READY, OUTCOME_EXPIRED,
					  DEPART_MAX_AGE));
		break;
	case 8:
		if (pick(8) == 0) {
			queue_rollback(&f->q);
			EXPECT_OK(queue_begin(&f->q));
		} else if (pick(2)) {
			EXPECT_OK(queue_commit(&f->q));
			EXPECT_OK(queue_begin(&f->q));
		}
		break;
	default:
		settle(f, to, batch, SETTLE_DEAD);
	}
}

START_TEST(whatever_happens_the_order_holds)
{
	for (uint64_t seed = 1; seed <= 12; seed++) {
		struct fixture f;
		int64_t last = 0;
		random_state = seed;
		begin(&f);
		EXPECT_OK(queue_begin(&f.q));
		for (int i = 0; i < 800; i++)
			step(&f, &last);
		EXPECT_OK(queue_commit(&f.q));
		end(&f);
	}
}
END_TEST

int main(void)
{
	queue_file_in_memory();
	const TTest *const cases[] = {
		what_nobody_waits_for_goes_first_behind_any_number_of_dead_letters,
		what_becomes_unwanted_behind_the_search_is_found,
		a_rollback_brings_back_what_is_to_go_first,
		a_step_is_bounded_and_a_look_needs_no_search,
		what_was_partly_settled_leaves_with_all_that_was_counted,
		what_a_walk_counted_of_a_damaged_file_is_not_counted_again,
		whatever_happens_the_order_holds,
	};
	return run_cases("evict", cases, sizeof(cases) / sizeof(cases[0]));
}
