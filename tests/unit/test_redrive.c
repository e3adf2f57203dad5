/* Replay, purge and move: what was chosen is moved, nothing else is, and the books balance. */
#include "storage/redrive.h"

#include <stdio.h>
#include <stdlib.h>

#include "gateway/base/now.h"
#include "storage/inspect_dead.h"
#include "tests/support/expect.h"
#include "tests/support/queue_file.h"

static struct queue_file file;
static struct writer *writer;
static int64_t a;
static int64_t b;

enum { A = 1, B = 2, BOTH = 3 };

static void begin(void)
{
	struct err e = { 0 };
	int slot;
	queue_file_make(&file);
	struct writer_options o = { .path = file.path,
				    .max_size_bytes = 1 << 30,
				    .merge_bytes = 1 };
	ck_assert_msg(writer_open(&o, &writer, &e) == ST_OK, "%s", e.text);
	EXPECT_OK(writer_destination(writer, "alpha", "file", &slot, &a, &e));
	EXPECT_OK(writer_destination(writer, "beta", "file", &slot, &b, &e));
	EXPECT_OK(writer_start(writer, &e));
}

static int64_t number(const char *sql)
{
	return queue_file_int(file.path, sql);
}

static void end(void)
{
	ck_assert_int_eq(number("SELECT coalesce(sum(abs(difference)), 0) FROM balance"), 0);
	ck_assert_int_eq(number("SELECT count(*) FROM payloads"),
			 number("SELECT count(*) FROM batches"));
	writer_stop(writer);
	queue_file_remove(&file);
}

/* Batches are numbered from 1. */
static void put(enum signal signal, enum record_class class, uint64_t destinations)
{
	EXPECT_OK(test_put_run(writer, signal, class, 10, destinations, bytes_str("body")));
}

static void kill_batch(int64_t id, const char *error)
{
	EXPECT_OK(test_settle(writer, a, id, SETTLE_DEAD, 0, error));
}

struct chosen {
	struct redrive r;
	char reason[REASON_MAX];
};

static void choose_one(void *ctx, const struct inspect_owed *o)
{
	struct chosen *c = ctx;
	c->r.batch_ids[c->r.count++] = o->batch_id;
	(void)snprintf(c->reason, sizeof(c->reason), "%s", o->reason);
}

static size_t choose_behind(struct chosen *c, const struct inspect_selector *s, int64_t *cursor,
			    size_t max)
{
	struct inspect *in = NULL;
	struct err e = { 0 };
	EXPECT_OK(inspect_open(file.path, 5 * NS_PER_S, &in, &e));
	*c = (struct chosen){ .r = { .state = s->state, .destination_id = a } };
	EXPECT_OK(inspect_owed(in, s, cursor, max, choose_one, c, &e));
	inspect_close(in);
	return c->r.count;
}

static size_t choose(struct chosen *c, const struct inspect_selector *s)
{
	int64_t cursor = 0;
	size_t n = choose_behind(c, s, &cursor, REDRIVE_MAX);
	ck_assert_int_eq(cursor, 0);
	return n;
}

START_TEST(a_selector_chooses_by_each_of_its_fields)
{
	struct chosen c;
	begin();
	put(SIGNAL_LOGS, RECORD_CLASS_INFO, BOTH);
	put(SIGNAL_LOGS, RECORD_CLASS_CRITICAL, A);
	put(SIGNAL_TRACES, RECORD_CLASS_INFO, A);
	put(SIGNAL_TRACES, RECORD_CLASS_INFO, B);
	kill_batch(1, "HTTP 400: line 17 is bad");
	kill_batch(3, "HTTP 400: line 18 is bad");
	const struct inspect_selector dead = { .destination = "alpha", .state = DELIVERY_DEAD };
	struct inspect_selector s = dead;
	ck_assert_uint_eq(choose(&c, &s), 2);
	ck_assert_str_eq(c.reason, "HTTP 400: line # is bad");
	s.reason = "HTTP 400: line 99 is bad";
	ck_assert_uint_eq(choose(&c, &s), 2);
	s.reason = "another";
	ck_assert_uint_eq(choose(&c, &s), 0);
	s = dead;
	s.signal = "traces";
	ck_assert_uint_eq(choose(&c, &s), 1);
	s = dead;
	s.batch_id = 3;
	ck_assert_uint_eq(choose(&c, &s), 1);
	s.batch_id = 2; /* it is ready, not dead */
	ck_assert_uint_eq(choose(&c, &s), 0);
	s = dead;
	s.has_status = true;
	s.status = 500;
	ck_assert_uint_eq(choose(&c, &s), 0);
	s = (struct inspect_selector){ .destination = "alpha", .class = "critical" };
	ck_assert_uint_eq(choose(&c, &s), 1);
	s.received_to_ns = 1;
	ck_assert_uint_eq(choose(&c, &s), 0);
	end();
}
END_TEST

START_TEST(ages_go_by_the_corrected_clock)
{
	struct chosen c;
	begin();
	put(SIGNAL_LOGS, RECORD_CLASS_INFO, A);
	writer_stop(writer);
	/* It was received before the clock was set, and now we know when that was. */
	queue_file_exec(file.path,
			"DROP TABLE boots;"
			"CREATE TABLE boots (id INTEGER PRIMARY KEY, offset_ns INTEGER);"
			"INSERT INTO boots VALUES (9, 5000);"
			"UPDATE batches SET received_at = 7, boot = 9, received_mono = 10");
	struct inspect_selector s = { .destination = "alpha", .received_to_ns = 5009 };
	ck_assert_uint_eq(choose(&c, &s), 0);
	s.received_to_ns = 5010;
	ck_assert_uint_eq(choose(&c, &s), 1);
	queue_file_remove(&file);
}
END_TEST

START_TEST(pages_meet_over_classes)
{
	struct chosen c;
	int64_t cursor = 0;
	size_t count = 0;
	begin();
	for (int i = 0; i < 9; i++)
		put(SIGNAL_LOGS, (enum record_class)(i % RECORD_CLASS_COUNT), A);
	const struct inspect_selector s = { .destination = "alpha" };
	do
		count += choose_behind(&c, &s, &cursor, 2);
	while (cursor);
	ck_assert_uint_eq(count, 9);
	end();
}
END_TEST

/* What begins is what is left over where the walk is broken off. */
START_TEST(ready_ones_come_by_class_from_either_end)
{
	static const struct {
		bool is_least_urgent_first;
		int64_t ids[6];
	} cases[] = { { false, { 2, 5, 3, 6, 1, 4 } }, { true, { 1, 4, 3, 6, 2, 5 } } };
	begin();
	for (int i = 0; i < 2; i++) {
		put(SIGNAL_LOGS, RECORD_CLASS_INFO, A);
		put(SIGNAL_LOGS, RECORD_CLASS_CRITICAL, A);
		put(SIGNAL_LOGS, RECORD_CLASS_WARNING, A);
	}
	for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
		const struct inspect_selector s = { .destination = "alpha",
						    .is_least_urgent_first =
							    cases[k].is_least_urgent_first };
		for (size_t max = 1; max <= 6; max++) {
			struct chosen c;
			int64_t cursor = 0;
			size_t n = 0;
			do {
				(void)choose_behind(&c, &s, &cursor, max);
				for (size_t i = 0; i < c.r.count; i++)
					ck_assert_int_eq(c.r.batch_ids[i], cases[k].ids[n++]);
			} while (cursor);
			ck_assert_uint_eq(n, 6);
		}
	}
	end();
}
END_TEST

START_TEST(a_replayed_dead_letter_is_ready_and_keeps_its_history)
{
	struct chosen c;
	begin();
	put(SIGNAL_LOGS, RECORD_CLASS_INFO, A);
	kill_batch(1, "bad");
	uint64_t changes = writer_changes(writer, 0);
	(void)choose(&c,
		     &(struct inspect_selector){ .destination = "alpha", .state = DELIVERY_DEAD });
	c.r.action = REDRIVE_REPLAY;
	EXPECT_OK(redrive_run(writer, &c.r));
	ck_assert_uint_eq(c.r.batches, 1);
	ck_assert_int_eq(c.r.records, 10);
	ck_assert_uint_eq(writer_changes(writer, 0), changes + 1);
	ck_assert_uint_eq(writer_changes(writer, 1), 0); /* it is not about beta */
	ck_assert_int_eq(number("SELECT state = 'ready' AND attempts = 1 AND last_error = 'bad' "
				"FROM deliveries"),
			 1);
	/* The second time there is nothing dead. */
	EXPECT_OK(redrive_run(writer, &c.r));
	ck_assert_uint_eq(c.r.batches, 0);
	ck_assert_uint_eq(writer_changes(writer, 0), changes + 1);
	end();
}
END_TEST

START_TEST(a_purge_is_counted_and_written_into_the_ledger)
{
	struct chosen c;
	char detail[64];
	begin();
	put(SIGNAL_LOGS, RECORD_CLASS_INFO, BOTH);
	put(SIGNAL_LOGS, RECORD_CLASS_INFO, A);
	put(SIGNAL_TRACES, RECORD_CLASS_CRITICAL, A);
	(void)choose(&c, &(struct inspect_selector){ .destination = "alpha" });
	c.r.action = REDRIVE_PURGE;
	(void)snprintf(c.r.detail, sizeof(c.r.detail), "by the test");
	EXPECT_OK(redrive_run(writer, &c.r));
	ck_assert_int_eq(c.r.records, 30);
	ck_assert_int_eq(number("SELECT sum(records) FROM totals WHERE outcome = 'purged'"), 30);
	ck_assert_int_eq(number("SELECT count(*) FROM losses"), 2);
	ck_assert_int_eq(number("SELECT records FROM losses WHERE signal = 'logs' AND reason = "
				"'purged' AND class = 'info'"),
			 20);
	queue_file_text(file.path, "SELECT detail FROM losses", detail, sizeof(detail));
	ck_assert_str_eq(detail, "by the test");
	/* Only what beta is owed is left, with its payload. */
	ck_assert_int_eq(number("SELECT count(*) FROM batches"), 1);
	ck_assert_int_eq(number("SELECT batch_id FROM payloads"), 1);
	end();
}
END_TEST

START_TEST(a_move_keeps_the_state_and_gives_nothing_twice)
{
	struct chosen c;
	begin();
	put(SIGNAL_LOGS, RECORD_CLASS_INFO, BOTH);
	put(SIGNAL_LOGS, RECORD_CLASS_INFO, A);
	put(SIGNAL_TRACES, RECORD_CLASS_INFO, A);
	kill_batch(3, "bad");
	for (int s = DELIVERY_READY; s <= (int)DELIVERY_DEAD; s++) {
		(void)choose(&c, &(struct inspect_selector){ .destination = "alpha",
							     .state = (enum delivery_state)s });
		c.r.action = REDRIVE_MOVE;
		c.r.to_id = b;
		EXPECT_OK(redrive_run(writer, &c.r));
	}
	ck_assert_int_eq(number("SELECT count(*) FROM deliveries WHERE destination_id = 1"), 0);
	ck_assert_int_eq(number("SELECT count(*) FROM deliveries WHERE state = 'ready'"), 2);
	ck_assert_int_eq(number("SELECT batch_id FROM deliveries WHERE state = 'dead' AND "
				"last_error = 'bad'"),
			 3);
	ck_assert_int_eq(number("SELECT sum(records) FROM totals WHERE outcome = 'accepted'"), 30);
	end();
}
END_TEST

START_TEST(dead_letters_are_grouped_by_why)
{
	begin();
	for (int i = 1; i <= 6; i++) {
		char error[64];
		put(i == 6 ? SIGNAL_TRACES : SIGNAL_LOGS, RECORD_CLASS_INFO, A);
		(void)snprintf(error, sizeof(error), i < 4 ? "line %d is bad" : "too old: %d", i);
		kill_batch(i, error);
	}
	struct inspect *in = NULL;
	struct inspect_dead_groups g;
	struct err e = { 0 };
	EXPECT_OK(inspect_open(file.path, 5 * NS_PER_S, &in, &e));
	EXPECT_OK(inspect_dead_groups(in, &(struct inspect_selector){ .state = DELIVERY_DEAD }, &g,
				      &e));
	ck_assert(g.is_complete);
	ck_assert_uint_eq(g.count, 3);
	ck_assert_str_eq(g.items[0].reason, "line # is bad");
	ck_assert_str_eq(g.items[0].destination, "alpha");
	ck_assert_int_eq(g.items[0].records, 30);
	ck_assert_int_eq(g.items[0].example_batch_id, 1);
	ck_assert_int_eq(g.sum.records, 60);
	inspect_dead_groups_done(&g);
	inspect_close(in);
	end();
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		a_selector_chooses_by_each_of_its_fields,
		ages_go_by_the_corrected_clock,
		pages_meet_over_classes,
		ready_ones_come_by_class_from_either_end,
		a_replayed_dead_letter_is_ready_and_keeps_its_history,
		a_purge_is_counted_and_written_into_the_ledger,
		a_move_keeps_the_state_and_gives_nothing_twice,
		dead_letters_are_grouped_by_why,
	};
	return run_cases("redrive", cases, sizeof(cases) / sizeof(cases[0]));
}
