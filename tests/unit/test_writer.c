/* What the writer promises: a success only for what is in the file, one row for many requests, a
 * balance of 0 at every moment, full as a state. */
#include "storage/writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

#include "gateway/base/compression.h"
#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"
#include "storage/claim.h"
#include "tests/support/expect.h"
#include "tests/support/patience.h"
#include "tests/support/queue_file.h"

enum { A = 1, B = 2 }; /* bits of the first two slots */

struct fixture {
	struct queue_file file;
	struct writer *w;
	int64_t a;
	int64_t b;
};

static void open_options(struct fixture *f, const struct writer_options *o)
{
	struct err e = { .text = "" };
	int slot;
	enum status st = writer_open(o, &f->w, &e);
	ck_assert_msg(!st, "%s", e.text);
	EXPECT_OK(writer_destination(f->w, "alpha", "file", &slot, &f->a, &e));
	EXPECT_OK(writer_destination(f->w, "beta", "otlp_http", &slot, &f->b, &e));
	ck_assert_int_eq(slot, 1);
}

static void begin(struct fixture *f)
{
	struct err e;
	queue_file_make(&f->file);
	struct writer_options o = { .path = f->file.path };
	open_options(f, &o);
	EXPECT_OK(writer_start(f->w, &e));
}

static void reopen(struct fixture *f)
{
	struct err e;
	writer_stop(f->w);
	struct writer_options o = { .path = f->file.path };
	open_options(f, &o);
	EXPECT_OK(writer_start(f->w, &e));
}

static void end(struct fixture *f)
{
	writer_stop(f->w);
	queue_file_remove(&f->file);
}

static int64_t ask(struct fixture *f, const char *sql)
{
	return queue_file_int(f->file.path, sql);
}

static void expect_balance(struct fixture *f)
{
	ck_assert_int_eq(ask(f, "SELECT count(*) FROM balance WHERE difference <> 0"), 0);
}

START_TEST(an_acknowledged_put_is_in_the_file_after_a_reopen)
{
	struct fixture f;
	begin(&f);
	EXPECT_OK(test_put_run(f.w, SIGNAL_TRACES, RECORD_CLASS_INFO, 3, A | B, bytes_str("abc")));
	ck_assert_int_eq(ask(&f, "SELECT records FROM batches"), 3);
	reopen(&f);
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM payloads"), 1);
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM deliveries WHERE state = 'ready'"), 2);
	ck_assert_int_eq(ask(&f, "SELECT sum(accepted) FROM balance"), 6);
	expect_balance(&f);
	end(&f);
}
END_TEST

START_TEST(requests_that_wait_together_become_one_row_of_their_key)
{
	struct fixture f;
	struct err e;
	struct waiter waiter;
	struct test_put puts[6];
	waiter_init(&waiter);
	queue_file_make(&f.file);
	struct writer_options o = { .path = f.file.path };
	open_options(&f, &o);
	/* Before the start: all are there when the first group is taken. */
	for (int i = 0; i < 6; i++) {
		test_put_fill(&puts[i], &waiter, i < 3 ? SIGNAL_LOGS : SIGNAL_TRACES,
			      i == 5 ? RECORD_CLASS_CRITICAL : RECORD_CLASS_INFO, 10, A,
			      bytes_of(&"abcdef"[i], 1));
		writer_put(f.w, &puts[i].put);
	}
	EXPECT_OK(writer_start(f.w, &e));
	EXPECT_OK(waiter_wait(&waiter, 6));
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM batches"), 3);
	ck_assert_int_eq(ask(&f, "SELECT requests FROM batches WHERE signal = 'logs'"), 3);
	ck_assert_int_eq(ask(&f, "SELECT records FROM batches WHERE signal = 'logs'"), 30);
	struct claim_reader *r = NULL;
	struct claim c;
	size_t n = 0;
	struct buf stored;
	struct buf raw;
	buf_init(&stored, 1000, NULL);
	buf_init(&raw, 1000, NULL);
	EXPECT_OK(claim_reader_open(f.file.path, &r, &e));
	EXPECT_OK(claim_list(r, f.a, RECORD_CLASS_CRITICAL, INT64_MAX, &c, 1, &n, &e));
	ck_assert_uint_eq(n, 1);
	EXPECT_OK(claim_body(r, &c, &stored, &e));
	EXPECT_OK(decompress(c.encoding, buf_view(&stored), &raw, &e));
	ck_assert(bytes_equal(buf_view(&raw), bytes_str("abc")));
	claim_reader_close(r);
	buf_done(&stored);
	buf_done(&raw);
	expect_balance(&f);
	end(&f);
	waiter_done(&waiter);
}
END_TEST

START_TEST(a_put_that_is_wrong_fails_alone)
{
	struct fixture f;
	struct err e;
	struct waiter waiter;
	struct waiter bad_waiter;
	struct test_put good;
	struct test_put bad;
	queue_file_make(&f.file);
	struct writer_options o = { .path = f.file.path };
	open_options(&f, &o);
	waiter_init(&waiter);
	waiter_init(&bad_waiter);
	test_put_fill(&good, &waiter, SIGNAL_LOGS, RECORD_CLASS_INFO, 1, A, bytes_str("x"));
	test_put_fill(&bad, &bad_waiter, SIGNAL_LOGS, RECORD_CLASS_INFO, 1, 1 << 7, bytes_str("x"));
	writer_put(f.w, &bad.put);
	writer_put(f.w, &good.put);
	EXPECT_OK(writer_start(f.w, &e));
	EXPECT_OK(waiter_wait(&waiter, 1));
	EXPECT_STATUS(waiter_wait(&bad_waiter, 1), ST_INVALID);
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM batches"), 1);
	end(&f);
	waiter_done(&waiter);
	waiter_done(&bad_waiter);
}
END_TEST

START_TEST(settlements_keep_the_balance_and_the_last_one_takes_the_payload)
{
	struct fixture f;
	begin(&f);
	EXPECT_OK(test_put_run(f.w, SIGNAL_LOGS, RECORD_CLASS_INFO, 10, A | B, bytes_str("x")));
	int64_t id = ask(&f, "SELECT id FROM batches");
	EXPECT_OK(test_settle(f.w, f.a, id, SETTLE_RETRY, 0, "down"));
	ck_assert_int_eq(ask(&f, "SELECT attempts FROM deliveries WHERE destination_id = 1"), 1);
	expect_balance(&f);
	EXPECT_OK(test_settle(f.w, f.a, id, SETTLE_DELIVERED, 4, "four were bad"));
	ck_assert_int_eq(ask(&f, "SELECT delivered FROM balance WHERE destination = 'alpha'"), 6);
	ck_assert_int_eq(ask(&f, "SELECT rejected FROM balance WHERE destination = 'alpha'"), 4);
	ck_assert_int_eq(ask(&f, "SELECT sum(records) FROM losses WHERE reason = 'rejected'"), 4);
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM payloads"), 1);
	/* Again, as after a commit whose outcome was not known: nothing changes. */
	EXPECT_OK(test_settle(f.w, f.a, id, SETTLE_DELIVERED, 0, ""));
	ck_assert_int_eq(ask(&f, "SELECT delivered FROM balance WHERE destination = 'alpha'"), 6);
	expect_balance(&f);
	EXPECT_OK(test_settle(f.w, f.b, id, SETTLE_DEAD, 0, "bad request"));
	ck_assert_int_eq(ask(&f, "SELECT dead FROM balance WHERE destination = 'beta'"), 10);
	/* A dead letter is not settled a second time. */
	EXPECT_OK(test_settle(f.w, f.b, id, SETTLE_DELIVERED, 0, ""));
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM dead_letters"), 1);
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM payloads"), 1);
	expect_balance(&f);

	EXPECT_OK(test_put_run(f.w, SIGNAL_LOGS, RECORD_CLASS_INFO, 10, A, bytes_str("x")));
	int64_t second = ask(&f, "SELECT max(id) FROM batches");
	EXPECT_OK(test_settle(f.w, f.a, second, SETTLE_DELIVERED, 0, ""));
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM payloads"), 1);
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM batches"), 1);
	expect_balance(&f);
	end(&f);
}
END_TEST

START_TEST(a_second_gateway_is_refused)
{
	struct fixture f;
	struct err e;
	struct writer *second = NULL;
	begin(&f);
	struct writer_options o = { .path = f.file.path };
	EXPECT_STATUS(writer_open(&o, &second, &e), ST_CONFLICT);
	ck_assert_ptr_nonnull(strstr(e.text, "another gateway"));
	end(&f);
}
END_TEST

START_TEST(a_full_queue_refuses_puts_settles_and_takes_puts_again)
{
	struct fixture f;
	struct err e;
	queue_file_make(&f.file);
	enum { MAX = 16 << 20, BODY = 200 << 10 };
	struct writer_options o = { .path = f.file.path,
				    .max_size_bytes = MAX,
				    .has_encoding = true,
				    .encoding = ENCODING_NONE };
	open_options(&f, &o);
	EXPECT_OK(writer_start(f.w, &e));
	char *body = xcalloc(1, BODY);
	enum status st = ST_OK;
	int stored = 0;
	while (!st && stored < 200) {
		st = test_put_run(f.w, SIGNAL_LOGS, RECORD_CLASS_INFO, 1, A, bytes_of(body, BODY));
		stored += st == ST_OK;
	}
	EXPECT_STATUS(st, ST_FULL);
	EXPECT_STATUS(writer_state(f.w), ST_FULL);
	ck_assert_int_gt(stored, 20);
	char names[4][256];
	static const char *const suffixes[] = { "", "-wal", ".reserve", "-shm" };
	int64_t size = 0;
	for (int i = 0; i < 4; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "%s%s", f.file.path, suffixes[i]);
		FILE *file = i == 0 ? NULL : fopen(names[i], "rb");
		if (file && i < 3) {
			(void)fseek(file, 0, SEEK_END);
			size += ftell(file);
		}
		if (file)
			(void)fclose(file);
	}
	size += ask(&f, "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size");
	ck_assert_int_le(size, MAX);
	for (int64_t id = 1; id <= 10 + stored / 2; id++)
		EXPECT_OK(test_settle(f.w, f.a, id, SETTLE_DELIVERED, 0, ""));
	AWAIT(writer_state(f.w) == ST_OK);
	EXPECT_OK(test_put_run(f.w, SIGNAL_LOGS, RECORD_CLASS_INFO, 1, A, bytes_of(body, BODY)));
	expect_balance(&f);
	free(body);
	end(&f);
}
END_TEST

START_TEST(unrouted_data_moves_when_a_route_comes)
{
	struct fixture f;
	struct err e;
	int slot;
	int64_t id;
	uint64_t slots[SIGNAL_COUNT][RECORD_CLASS_COUNT] = { 0 };
	queue_file_make(&f.file);
	struct writer_options o = { .path = f.file.path, .merge_bytes = 1 };
	open_options(&f, &o);
	EXPECT_OK(writer_destination(f.w, "(unrouted)", "unrouted", &slot, &id, &e));
	EXPECT_OK(writer_start(f.w, &e));
	uint64_t unrouted = UINT64_C(1) << slot;
	enum { MANY = 600 };
	struct waiter waiter;
	waiter_init(&waiter);
	struct test_put *puts = xcalloc(MANY, sizeof(*puts));
	for (int i = 0; i < MANY; i++) {
		test_put_fill(&puts[i], &waiter, i % 3 ? SIGNAL_LOGS : SIGNAL_TRACES,
			      RECORD_CLASS_INFO, 2, unrouted, bytes_str("x"));
		writer_put(f.w, &puts[i].put);
	}
	EXPECT_OK(waiter_wait(&waiter, MANY));
	slots[SIGNAL_LOGS][RECORD_CLASS_INFO] = A | B;
	slots[SIGNAL_TRACES][RECORD_CLASS_INFO] = unrouted;
	writer_reroute(f.w, slot, slots);
	AWAIT(ask(&f, "SELECT count(*) FROM deliveries WHERE destination_id = 1") == 400);
	EXPECT_OK(test_put_run(f.w, SIGNAL_LOGS, RECORD_CLASS_INFO, 1, unrouted, bytes_str("x")));
	ck_assert_int_eq(ask(&f, "SELECT accepted FROM balance WHERE destination = 'alpha'"), 800);
	ck_assert_int_eq(ask(&f, "SELECT accepted FROM balance WHERE destination = 'beta'"), 800);
	ck_assert_int_eq(ask(&f, "SELECT accepted FROM balance WHERE destination = '(unrouted)' "
				 "AND signal = 'traces'"),
			 400);
	ck_assert_int_eq(ask(&f, "SELECT accepted FROM balance WHERE destination = '(unrouted)' "
				 "AND signal = 'logs'"),
			 1);
	expect_balance(&f);
	free(puts);
	waiter_done(&waiter);
	end(&f);
}
END_TEST

START_TEST(destinations_keep_their_id_and_leave_the_configuration_without_their_data)
{
	struct fixture f;
	struct err e;
	int slot;
	int64_t id;
	begin(&f);
	EXPECT_OK(test_put_run(f.w, SIGNAL_LOGS, RECORD_CLASS_INFO, 1, A | B, bytes_str("x")));
	writer_stop(f.w);
	struct writer_options o = { .path = f.file.path };
	EXPECT_OK(writer_open(&o, &f.w, &e));
	EXPECT_OK(writer_destination(f.w, "beta", "file", &slot, &id, &e));
	ck_assert_int_eq(id, f.b);
	ck_assert_int_eq(slot, 0);
	EXPECT_OK(writer_start(f.w, &e));
	ck_assert_int_eq(ask(&f, "SELECT is_configured FROM destinations WHERE name = 'alpha'"), 0);
	ck_assert_int_eq(ask(&f, "SELECT is_configured FROM destinations WHERE name = 'beta'"), 1);
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM deliveries"), 2);
	end(&f);
}
END_TEST

START_TEST(a_commit_interval_waits_for_company)
{
	struct fixture f;
	struct err e;
	const int64_t interval_ns = 400 * NS_PER_MS;
	int64_t give_up_ns = patience_end_ns();
	int64_t apart = interval_ns;
	queue_file_make(&f.file);
	struct writer_options o = { .path = f.file.path, .commit_interval_ns = interval_ns };
	open_options(&f, &o);
	EXPECT_OK(writer_start(f.w, &e));
	/* Once more where this thread was held up for so long between the two. */
	while (apart >= interval_ns && patience_pause(give_up_ns)) {
		struct waiter waiter;
		struct test_put puts[2];
		waiter_init(&waiter);
		int64_t began = now_mono_ns();
		for (int i = 0; i < 2; i++) {
			test_put_fill(&puts[i], &waiter, SIGNAL_LOGS, RECORD_CLASS_INFO, 1, A,
				      bytes_str("x"));
			writer_put(f.w, &puts[i].put);
		}
		apart = now_mono_ns() - began;
		EXPECT_OK(waiter_wait(&waiter, 2));
		ck_assert_int_ge(now_mono_ns() - began, interval_ns);
		waiter_done(&waiter);
	}
	ck_assert_int_eq(ask(&f, "SELECT requests FROM batches ORDER BY id DESC LIMIT 1"), 2);
	end(&f);
}
END_TEST

static int64_t wal_bytes(const struct fixture *f)
{
	char name[256];
	struct stat sb;
	(void)snprintf(name, sizeof(name), "%s-wal", f->file.path);
	return stat(name, &sb) == 0 ? sb.st_size : 0;
}

START_TEST(the_log_stays_short_and_shrinks_again_when_a_reader_has_held_it)
{
	enum { STEP = 256 << 10, BODY = 64 << 10 };
	struct fixture f;
	struct err e;
	sqlite3 *reader = NULL;
	static char body[BODY];
	queue_file_make(&f.file);
	struct writer_options o = { .path = f.file.path,
				    .checkpoint_bytes = STEP,
				    .has_encoding = true,
				    .encoding = ENCODING_NONE };
	open_options(&f, &o);
	EXPECT_OK(writer_start(f.w, &e));
	for (int i = 0; i < 60; i++)
		EXPECT_OK(test_put_run(f.w, SIGNAL_LOGS, RECORD_CLASS_INFO, 1, A,
				       bytes_of(body, BODY)));
	ck_assert_int_le(wal_bytes(&f), 4 * STEP);
	ck_assert_int_eq(sqlite3_open_v2(f.file.path, &reader, SQLITE_OPEN_READONLY, NULL),
			 SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(reader, "BEGIN; SELECT count(*) FROM batches", 0, 0, 0),
			 SQLITE_OK);
	for (int i = 0; i < 30; i++)
		EXPECT_OK(test_put_run(f.w, SIGNAL_LOGS, RECORD_CLASS_INFO, 1, A,
				       bytes_of(body, BODY)));
	ck_assert_int_gt(wal_bytes(&f), 4 * STEP);
	ck_assert_int_eq(sqlite3_close(reader), SQLITE_OK);
	for (int i = 0; i < 3; i++)
		EXPECT_OK(test_put_run(f.w, SIGNAL_LOGS, RECORD_CLASS_INFO, 1, A,
				       bytes_of(body, BODY)));
	ck_assert_int_le(wal_bytes(&f), 4 * STEP);
	end(&f);
}
END_TEST

START_TEST(what_waits_at_the_stop_is_told_so)
{
	struct fixture f;
	struct waiter waiter;
	struct test_put t;
	queue_file_make(&f.file);
	struct writer_options o = { .path = f.file.path };
	open_options(&f, &o);
	waiter_init(&waiter);
	test_put_fill(&t, &waiter, SIGNAL_LOGS, RECORD_CLASS_INFO, 1, A, bytes_str("x"));
	writer_put(f.w, &t.put);
	writer_stop(f.w);
	EXPECT_STATUS(waiter_wait(&waiter, 1), ST_STOPPING);
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM batches"), 0);
	queue_file_remove(&f.file);
	waiter_done(&waiter);
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		an_acknowledged_put_is_in_the_file_after_a_reopen,
		requests_that_wait_together_become_one_row_of_their_key,
		a_put_that_is_wrong_fails_alone,
		settlements_keep_the_balance_and_the_last_one_takes_the_payload,
		a_second_gateway_is_refused,
		a_full_queue_refuses_puts_settles_and_takes_puts_again,
		unrouted_data_moves_when_a_route_comes,
		destinations_keep_their_id_and_leave_the_configuration_without_their_data,
		a_commit_interval_waits_for_company,
		the_log_stays_short_and_shrinks_again_when_a_reader_has_held_it,
		what_waits_at_the_stop_is_told_so,
	};
	return run_cases("writer", cases, sizeof(cases) / sizeof(cases[0]));
}
