/* What the rows of the queue promise: moves by the table, books that balance, ids that never come
 * back. */
#include "storage/queue.h"

#include <stdio.h>
#include <stdlib.h>

#include "gateway/base/now.h"
#include "storage/bounds.h"
#include "storage/db.h"
#include "storage/queue_sql.h"
#include "tests/support/expect.h"
#include "tests/support/queue_file.h"

struct fixture {
	struct queue_file file;
	sqlite3 *db;
	struct queue q;
	int64_t a;
	int64_t b;
};

static void begin(struct fixture *f)
{
	f->db = queue_file_open(&f->file);
	queue_init(&f->q, f->db);
	EXPECT_OK(queue_begin(&f->q));
	EXPECT_OK(queue_destination(&f->q, "alpha", "file", 0, true, &f->a));
	EXPECT_OK(queue_destination(&f->q, "beta", "file", 0, true, &f->b));
	EXPECT_OK(queue_commit(&f->q));
}

static void end(struct fixture *f)
{
	queue_done(&f->q);
	db_close(f->db);
	queue_file_remove(&f->file);
}

static int64_t insert(struct fixture *f, enum signal signal, uint32_t records, size_t count)
{
	const struct queue_batch b = { .received_at_ns = 5,
				       .signal = signal,
				       .class = RECORD_CLASS_WARNING,
				       .requests = 1,
				       .records = records,
				       .raw_bytes = 4,
				       .encoding = ENCODING_NONE,
				       .crc = 1,
				       .service = bytes_str("shop"),
				       .body = bytes_str("body") };
	const int64_t ids[] = { f->a, f->b };
	int64_t id = 0;
	EXPECT_OK(queue_insert(&f->q, &b, ids, count, &id));
	return id;
}

static enum status settle_item(struct fixture *f, int64_t destination, struct settle_item item)
{
	struct settlement *s = calloc(1, sizeof(*s) + sizeof(s->items[0]));
	s->destination_id = destination;
	s->at_ns = 9;
	s->count = 1;
	s->items[0] = item;
	enum status st = queue_settle(&f->q, s);
	free(s);
	return st;
}

static enum status settle(struct fixture *f, int64_t destination, int64_t batch,
			  enum settle_outcome outcome, uint32_t rejected)
{
	return settle_item(f, destination,
			   (struct settle_item){ .batch_id = batch,
						 .outcome = outcome,
						 .rejected_records = rejected });
}

/* Two parts of 2 records and 1 record died. */
static enum status settle_split(struct fixture *f, int64_t destination, int64_t batch,
				uint32_t rejected)
{
	static const struct settle_part parts[] = {
		{ .records = 2,
		  .raw_bytes = 7,
		  .encoding = ENCODING_NONE,
		  .body = { (const uint8_t *)"part", 4 },
		  .last_time_ns = 77,
		  .preview = { (const uint8_t *)"bad line", 8 },
		  .status = 400,
		  .error = "no" },
		{ .records = 1,
		  .body = { (const uint8_t *)"p", 1 },
		  .status = 422,
		  .error = "never" },
	};
	return settle_item(f, destination,
			   (struct settle_item){ .batch_id = batch,
						 .outcome = SETTLE_SPLIT,
						 .rejected_records = rejected,
						 .parts = parts,
						 .part_count = 2 });
}

static int64_t ask(struct fixture *f, const char *sql)
{
	return queue_file_int(f->file.path, sql);
}

START_TEST(moves_follow_the_table)
{
	static const struct {
		enum delivery_state from;
		enum delivery_state to;
		bool may;
	} rows[] = {
		{ DELIVERY_READY, DELIVERY_READY, true }, { DELIVERY_READY, DELIVERY_DEAD, true },
		{ DELIVERY_READY, DELIVERY_GONE, true },  { DELIVERY_DEAD, DELIVERY_READY, true },
		{ DELIVERY_DEAD, DELIVERY_GONE, true },   { DELIVERY_DEAD, DELIVERY_DEAD, false },
		{ DELIVERY_GONE, DELIVERY_READY, false }, { DELIVERY_GONE, DELIVERY_DEAD, false },
		{ DELIVERY_GONE, DELIVERY_GONE, false },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		ck_assert_msg(queue_may_move(rows[i].from, rows[i].to) == rows[i].may, "%s -> %s",
			      delivery_state_text(rows[i].from), delivery_state_text(rows[i].to));
}
END_TEST

START_TEST(a_rollback_leaves_nothing_not_even_totals)
{
	struct fixture f;
	begin(&f);
	EXPECT_OK(queue_begin(&f.q));
	(void)insert(&f, SIGNAL_LOGS, 7, 2);
	queue_rollback(&f.q);
	ck_assert(!queue_is_open(&f.q));
	EXPECT_OK(queue_begin(&f.q));
	int64_t id = insert(&f, SIGNAL_LOGS, 5, 1);
	EXPECT_OK(queue_commit(&f.q));
	ck_assert_int_eq(ask(&f, "SELECT sum(records) FROM totals"), 5);
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM batches"), 1);
	ck_assert_int_eq(ask(&f, "SELECT id FROM batches"), id);
	end(&f);
}
END_TEST

START_TEST(more_sums_than_fit_in_memory_are_written_all_the_same)
{
	struct fixture f;
	begin(&f);
	EXPECT_OK(queue_begin(&f.q));
	for (int round = 0; round < 2; round++)
		for (int64_t d = 1; d <= QUEUE_TOTALS_MAX; d++)
			for (enum signal s = 0; s < SIGNAL_COUNT; s++)
				EXPECT_OK(queue_count(&f.q, d, s, OUTCOME_PURGED, 2));
	EXPECT_OK(queue_commit(&f.q));
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM totals WHERE records = 4"),
			 QUEUE_TOTALS_MAX * SIGNAL_COUNT);
	end(&f);
}
END_TEST

START_TEST(more_rejected_than_there_are_count_as_all)
{
	struct fixture f;
	begin(&f);
	EXPECT_OK(queue_begin(&f.q));
	int64_t id = insert(&f, SIGNAL_METRICS, 5, 1);
	EXPECT_OK(settle(&f, f.a, id, SETTLE_DELIVERED, 99));
	EXPECT_OK(queue_commit(&f.q));
	ck_assert_int_eq(ask(&f, "SELECT rejected FROM balance"), 5);
	ck_assert_int_eq(ask(&f, "SELECT delivered FROM balance"), 0);
	ck_assert_int_eq(ask(&f, "SELECT difference FROM balance"), 0);
	ck_assert_int_eq(ask(&f, "SELECT records FROM losses"), 5);
	ck_assert_int_eq(ask(&f, "SELECT bytes FROM losses"), 4);
	end(&f);
}
END_TEST

START_TEST(settlements_of_others_and_of_nothing_change_nothing)
{
	struct fixture f;
	begin(&f);
	EXPECT_OK(queue_begin(&f.q));
	int64_t id = insert(&f, SIGNAL_TRACES, 5, 1);
	EXPECT_OK(settle(&f, f.b, id, SETTLE_DELIVERED, 0));
	EXPECT_OK(settle(&f, f.a, id + 1, SETTLE_DEAD, 0));
	EXPECT_OK(settle(&f, 99, id, SETTLE_RETRY, 0));
	ck_assert_uint_eq(f.q.ignored, 3);
	EXPECT_OK(queue_commit(&f.q));
	ck_assert_int_eq(ask(&f, "SELECT queued FROM balance"), 5);
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM balance"), 1);
	ck_assert_int_eq(ask(&f, "SELECT difference FROM balance"), 0);
	end(&f);
}
END_TEST

static void settle_somehow(struct fixture *f, uint32_t r, int64_t id)
{
	int64_t from = r & 8 ? f->a : f->b;
	enum settle_outcome outcome = (enum settle_outcome)(r / 60 % 6);
	if (outcome == SETTLE_SPLIT)
		EXPECT_OK(settle_split(f, from, id, r % 3));
	else if (outcome == SETTLE_MOVED)
		EXPECT_OK(settle_item(
			f, from,
			(struct settle_item){ .batch_id = id,
					      .outcome = SETTLE_MOVED,
					      .to_destination_id = from == f->a ? f->b : f->a }));
	else
		EXPECT_OK(settle(f, from, id, outcome, r % 7));
}

START_TEST(a_split_batch_leaves_its_dead_parts_and_counts_the_rest_once)
{
	struct fixture f;
	char text[200];
	begin(&f);
	EXPECT_OK(queue_begin(&f.q));
	int64_t id = insert(&f, SIGNAL_LOGS, 10, 2);
	EXPECT_OK(queue_commit(&f.q));
	queue_file_exec(f.file.path,
			"UPDATE batches SET boot = 3, received_mono = 4, tenant = 't'");
	for (int i = 0; i < 2; i++) {
		/* The second time it finds nothing to settle. */
		EXPECT_OK(queue_begin(&f.q));
		EXPECT_OK(settle_split(&f, f.a, id, 1));
		EXPECT_OK(queue_commit(&f.q));
		ck_assert_int_eq(ask(&f, "SELECT sum(abs(difference)) FROM balance"), 0);
		ck_assert_int_eq(
			ask(&f, "SELECT accepted FROM balance WHERE destination = 'alpha'"), 10);
		ck_assert_int_eq(ask(&f, "SELECT delivered FROM balance WHERE dead = 3"), 6);
		ck_assert_int_eq(ask(&f, "SELECT rejected FROM balance WHERE dead = 3"), 1);
	}
	ck_assert_uint_eq(f.q.ignored, 1);
	/* The other destination still has the whole. */
	ck_assert_int_eq(ask(&f, "SELECT queued FROM balance WHERE destination = 'beta'"), 10);
	queue_file_text(
		f.file.path,
		"SELECT group_concat(records || ' ' || last_status || ' ' || last_error || ' ' "
		"|| coalesce(preview, '') || ' ' || service, '; ') FROM dead_letters",
		text, sizeof(text));
	ck_assert_str_eq(text, "2 400 no bad line shop; 1 422 never  shop");
	ck_assert_int_eq(ask(&f,
			     "SELECT count(*) FROM batches WHERE boot = 3 AND received_mono = 4 "
			     "AND tenant = 't' AND received_at = 5 AND priority = 1 AND class = "
			     "'warning'"),
			 3);
	ck_assert_int_eq(ask(&f, "SELECT last_time FROM batches WHERE records = 2"), 77);
	ck_assert_int_eq(ask(&f,
			     "SELECT count(*) FROM payloads p JOIN batches b ON b.id = p.batch_id "
			     "AND b.stored_bytes = length(p.body)"),
			 3);
	end(&f);
}
END_TEST

START_TEST(a_split_that_names_more_than_there_is_still_balances)
{
	struct fixture f;
	begin(&f);
	EXPECT_OK(queue_begin(&f.q));
	int64_t id = insert(&f, SIGNAL_LOGS, 2, 1);
	EXPECT_OK(settle_split(&f, f.a, id, 5));
	EXPECT_OK(queue_commit(&f.q));
	ck_assert_int_eq(ask(&f, "SELECT dead FROM balance"), 2);
	ck_assert_int_eq(ask(&f, "SELECT difference FROM balance"), 0);
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM batches"), 1);
	end(&f);
}
END_TEST

START_TEST(what_is_moved_is_owed_to_the_other_destination_only)
{
	struct fixture f;
	begin(&f);
	EXPECT_OK(queue_begin(&f.q));
	const struct settle_item one = { .batch_id = insert(&f, SIGNAL_LOGS, 4, 1),
					 .outcome = SETTLE_MOVED,
					 .to_destination_id = f.b };
	const struct settle_item both = { .batch_id = insert(&f, SIGNAL_LOGS, 3, 2),
					  .outcome = SETTLE_MOVED,
					  .to_destination_id = f.b };
	EXPECT_OK(settle_item(&f, f.a, one));
	EXPECT_OK(settle_item(&f, f.a, both));
	EXPECT_OK(queue_commit(&f.q));
	ck_assert_int_eq(ask(&f, "SELECT queued FROM balance WHERE destination = 'beta'"), 7);
	ck_assert_int_eq(ask(&f, "SELECT accepted FROM balance WHERE destination = 'beta'"), 7);
	ck_assert_int_eq(
		ask(&f,
		    "SELECT coalesce(sum(accepted), 0) FROM balance WHERE destination = 'alpha'"),
		0);
	ck_assert_int_eq(ask(&f, "SELECT sum(abs(difference)) FROM balance"), 0);
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM deliveries WHERE priority = 1"), 2);
	end(&f);
}
END_TEST

START_TEST(a_payload_that_is_missing_is_counted_as_damage_and_one_that_is_there_is_kept)
{
	struct fixture f;
	begin(&f);
	EXPECT_OK(queue_begin(&f.q));
	int64_t whole = insert(&f, SIGNAL_LOGS, 4, 1);
	int64_t broken = insert(&f, SIGNAL_LOGS, 3, 1);
	EXPECT_OK(queue_commit(&f.q));
	queue_file_exec(f.file.path, "DELETE FROM payloads WHERE batch_id = 2");
	EXPECT_OK(queue_begin(&f.q));
	/* It may come twice: what was taken before is counted once. */
	const struct settle_item item = { .batch_id = whole,
					  .outcome = SETTLE_UNREADABLE,
					  .taken_records = 1 };
	EXPECT_OK(settle_item(&f, f.a, item));
	EXPECT_OK(settle_item(&f, f.a, item));
	EXPECT_OK(settle(&f, f.a, broken, SETTLE_UNREADABLE, 0));
	EXPECT_OK(queue_commit(&f.q));
	ck_assert_int_eq(ask(&f, "SELECT queued FROM balance"), 4);
	ck_assert_int_eq(ask(&f, "SELECT damaged FROM balance"), 3);
	ck_assert_int_eq(ask(&f, "SELECT difference FROM balance"), 0);
	ck_assert_int_eq(ask(&f, "SELECT records FROM losses WHERE reason = 'damaged'"), 3);
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM batches"), 1);
	end(&f);
}
END_TEST

START_TEST(random_settlements_keep_the_books)
{
	struct fixture f;
	begin(&f);
	uint32_t seed = 12345;
	int64_t ids[60];
	for (int round = 0; round < 40; round++) {
		EXPECT_OK(queue_begin(&f.q));
		for (int i = 0; i < 60; i++) {
			seed = seed * 1103515245 + 12345;
			uint32_t r = seed >> 16;
			if (round == 0)
				ids[i] = insert(&f, (enum signal)(r % SIGNAL_COUNT), 1 + r % 50,
						1 + r % 2);
			else if (r % 3 == 0)
				settle_somehow(&f, r, ids[r % 60]);
		}
		if (seed >> 16 & 1)
			queue_rollback(&f.q);
		else
			EXPECT_OK(queue_commit(&f.q));
		if (round == 0 && seed >> 16 & 1)
			round--;
	}
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM balance WHERE difference <> 0"), 0);
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM batches WHERE id NOT IN "
				 "(SELECT batch_id FROM deliveries)"),
			 0);
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM payloads WHERE batch_id NOT IN "
				 "(SELECT id FROM batches)"),
			 0);
	ck_assert_int_gt(ask(&f, "SELECT sum(delivered) FROM balance"), 0);
	end(&f);
}
END_TEST

START_TEST(ids_are_never_given_out_twice)
{
	struct fixture f;
	int64_t highest = 0;
	begin(&f);
	EXPECT_OK(queue_begin(&f.q));
	int64_t id = insert(&f, SIGNAL_LOGS, 1, 1);
	EXPECT_OK(settle(&f, f.a, id, SETTLE_DELIVERED, 0));
	int64_t next = insert(&f, SIGNAL_LOGS, 1, 1);
	ck_assert_int_gt(next, id);
	EXPECT_OK(queue_skip_ids(&f.q, 1000));
	ck_assert_int_eq(insert(&f, SIGNAL_LOGS, 1, 1), 1001);
	EXPECT_OK(queue_skip_ids(&f.q, 10));
	EXPECT_OK(queue_highest_id(&f.q, &highest));
	ck_assert_int_eq(highest, 1001);
	EXPECT_OK(queue_commit(&f.q));
	end(&f);
}
END_TEST

START_TEST(the_state_of_a_destination_is_kept)
{
	struct fixture f;
	char text[64];
	begin(&f);
	struct destination_update u = { .destination_id = f.b,
					.state = DESTINATION_UNAUTHORIZED,
					.since_ns = 70,
					.next_attempt_at_ns = 80,
					.last_success_at_ns = 60,
					.reason = "401" };
	EXPECT_OK(queue_begin(&f.q));
	EXPECT_OK(queue_update_destination(&f.q, &u));
	u.last_success_at_ns = 0;
	EXPECT_OK(queue_update_destination(&f.q, &u));
	u.destination_id = 99;
	EXPECT_STATUS(queue_update_destination(&f.q, &u), ST_NOT_FOUND);
	EXPECT_OK(queue_commit(&f.q));
	queue_file_text(
		f.file.path,
		"SELECT state || state_since || next_attempt_at || last_success_at || reason "
		"FROM destinations WHERE name = 'beta'",
		text, sizeof(text));
	ck_assert_str_eq(text, "unauthorized708060401");
	struct destination_stored stored;
	EXPECT_OK(queue_stored_destination(&f.q, f.b, &stored));
	ck_assert_int_eq(stored.state, DESTINATION_UNAUTHORIZED);
	ck_assert_int_eq(stored.since_ns, 70);
	ck_assert_str_eq(stored.reason, "401");
	EXPECT_STATUS(queue_stored_destination(&f.q, 99, &stored), ST_NOT_FOUND);
	/* A row that is configured keeps its kind when a salvage names it. */
	int64_t id = 0;
	EXPECT_OK(queue_begin(&f.q));
	EXPECT_OK(queue_destination(&f.q, "beta", "otlp_http", 0, false, &id));
	EXPECT_OK(queue_commit(&f.q));
	ck_assert_int_eq(id, f.b);
	/* Ids are given to new names alone. */
	ck_assert_int_eq(ask(&f, "SELECT seq FROM sqlite_sequence WHERE name = 'destinations'"),
			 f.b);
	ck_assert_int_eq(ask(&f, "SELECT is_configured FROM destinations WHERE kind = 'file' AND "
				 "name = 'beta'"),
			 1);
	end(&f);
}
END_TEST

/* Walks, and says whether something has to go. */
static bool is_over(struct fixture *f, struct bounds *b)
{
	bool is_due = false;
	int64_t next;
	EXPECT_OK(bounds_look(b, &f->q, now_mono_ns() + 60 * NS_PER_S, &is_due, &next));
	return is_due;
}

static void shrink(struct fixture *f, struct bounds *b)
{
	EXPECT_OK(queue_begin(&f->q));
	EXPECT_OK(bounds_step(b, &f->q, now_mono_ns() + 60 * NS_PER_S));
	EXPECT_OK(queue_commit(&f->q));
	bounds_committed(b, &f->q);
}

START_TEST(what_left_after_it_was_counted_is_not_evicted_once_more)
{
	static const char waiting_sql[] =
		"SELECT count(*) FROM deliveries WHERE state = 'ready' AND destination_id = 1";
	static const struct writer_limits limits = { .may_evict = { true, true, true },
						     .dead_max_bytes = 4 };
	struct fixture f;
	struct bounds b;
	begin(&f);
	bounds_init(&b, &limits);
	bounds_add_quota(&b, f.a, 40); /* ten batches */
	EXPECT_OK(queue_begin(&f.q));
	for (int i = 0; i < 30; i++)
		(void)insert(&f, SIGNAL_LOGS, 1, 2);
	EXPECT_OK(settle(&f, f.b, 1, SETTLE_DEAD, 0));
	EXPECT_OK(settle(&f, f.b, 2, SETTLE_DEAD, 0));
	EXPECT_OK(queue_commit(&f.q));
	ck_assert(is_over(&f, &b));
	/* Drained to its quota meanwhile, and the dead letters below theirs. */
	EXPECT_OK(queue_begin(&f.q));
	for (int64_t id = 1; id <= 18; id++)
		EXPECT_OK(settle(&f, f.a, id, SETTLE_DELIVERED, 0));
	EXPECT_OK(depart_delivery(&f.q, 1, f.b, DELIVERY_DEAD, OUTCOME_PURGED, DEPART_FULL));
	EXPECT_OK(queue_commit(&f.q));
	shrink(&f, &b);
	/* Twelve waited, two too many. */
	ck_assert_int_eq(ask(&f, waiting_sql), 10);
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM deliveries WHERE state = 'dead'"), 1);
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM balance WHERE difference <> 0"), 0);
	/* And what leaves when nothing is over changes nothing. */
	shrink(&f, &b);
	ck_assert_int_eq(ask(&f, waiting_sql), 10);
	end(&f);
}
END_TEST

/* A writer that is busy between the slices of a walk does not make the walk dear. */
START_TEST(a_walk_that_was_held_up_is_not_followed_by_a_long_pause)
{
	const struct writer_limits limits = { .dead_max_bytes = 4 };
	struct fixture f;
	struct bounds b;
	bool is_due = false;
	int64_t next = 0;
	begin(&f);
	now_fake(1000 * NS_PER_S, 1000 * NS_PER_S);
	bounds_init(&b, &limits);
	EXPECT_OK(queue_begin(&f.q));
	(void)insert(&f, SIGNAL_LOGS, 1, 2);
	EXPECT_OK(queue_commit(&f.q));
	EXPECT_OK(bounds_look(&b, &f.q, now_mono_ns(), &is_due, &next)); /* begins, no more */
	now_fake_advance(30 * NS_PER_S);
	EXPECT_OK(bounds_look(&b, &f.q, now_mono_ns() + NS_PER_S, &is_due, &next));
	ck_assert(!is_due);
	ck_assert_int_le(next, now_mono_ns() + NS_PER_S);
	now_fake_off();
	end(&f);
}
END_TEST

/* The writer lists them to make room, while others wait for it. */
START_TEST(dead_letters_of_one_class_are_listed_without_reading_the_others)
{
	struct fixture f;
	struct depart_item item;
	size_t n = 1;
	begin(&f);
	EXPECT_OK(queue_begin(&f.q));
	for (int64_t id = 1; id <= 500; id++) {
		(void)insert(&f, SIGNAL_LOGS, 1, 1);
		EXPECT_OK(settle(&f, f.a, id, SETTLE_DEAD, 0));
	}
	EXPECT_OK(queue_commit(&f.q));
	EXPECT_OK(depart_list(&f.q, DELIVERY_DEAD, f.a, RECORD_CLASS_WARNING, 7, &item, 1, &n));
	ck_assert(n == 1 && item.batch_id == 8);
	EXPECT_OK(depart_list(&f.q, DELIVERY_DEAD, f.a, -1, 8, &item, 1, &n));
	ck_assert(n == 1 && item.batch_id == 9);
	sqlite3_stmt *s = f.q.statements[Q_DEPART_DEAD_CLASS];
	(void)sqlite3_stmt_status(s, SQLITE_STMTSTATUS_VM_STEP, 1);
	EXPECT_OK(depart_list(&f.q, DELIVERY_DEAD, f.a, RECORD_CLASS_INFO, 0, &item, 1, &n));
	ck_assert_uint_eq(n, 0);
	ck_assert_int_lt(sqlite3_stmt_status(s, SQLITE_STMTSTATUS_VM_STEP, 0), 100);
	end(&f);
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		a_walk_that_was_held_up_is_not_followed_by_a_long_pause,
		what_left_after_it_was_counted_is_not_evicted_once_more,
		dead_letters_of_one_class_are_listed_without_reading_the_others,
		moves_follow_the_table,
		a_rollback_leaves_nothing_not_even_totals,
		more_sums_than_fit_in_memory_are_written_all_the_same,
		more_rejected_than_there_are_count_as_all,
		settlements_of_others_and_of_nothing_change_nothing,
		random_settlements_keep_the_books,
		ids_are_never_given_out_twice,
		the_state_of_a_destination_is_kept,
		a_split_batch_leaves_its_dead_parts_and_counts_the_rest_once,
		a_split_that_names_more_than_there_is_still_balances,
		what_is_moved_is_owed_to_the_other_destination_only,
		a_payload_that_is_missing_is_counted_as_damage_and_one_that_is_there_is_kept,
	};
	return run_cases("queue", cases, sizeof(cases) / sizeof(cases[0]));
}
