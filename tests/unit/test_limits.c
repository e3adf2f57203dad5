/* What a queue at its limits promises: a size that is never passed, the right data gone first, a
 * row in the ledger for all of it, and disk that comes back. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

#include "gateway/base/log.h"
#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"
#include "storage/claim.h"
#include "storage/salvage.h"
#include "tests/support/expect.h"
#include "tests/support/patience.h"
#include "tests/support/queue_file.h"

enum { A = 1, B = 2, MAX = 16 << 20, BODY = 100 << 10 };
#define HOUR  (INT64_C(3600) * NS_PER_S)
#define DAY   (24 * HOUR)
#define TODAY INT64_C(1780272000000000000) /* 2026-06-01 */

struct fixture {
	struct queue_file file;
	struct writer *w;
	struct writer_options o;
	int64_t a;
	int64_t b;
	uint64_t quota; /* of alpha */
};

static void open_writer(struct fixture *f)
{
	struct err e = { .text = "" };
	int slot;
	enum status st = writer_open(&f->o, &f->w, &e);
	ck_assert_msg(!st, "%s", e.text);
	EXPECT_OK(writer_destination(f->w, "alpha", "file", &slot, &f->a, &e));
	writer_set_quota(f->w, slot, f->quota);
	EXPECT_OK(writer_destination(f->w, "beta", "otlp_http", &slot, &f->b, &e));
	EXPECT_OK(writer_start(f->w, &e));
}

/* Sizes mean what they say: nothing is compressed. */
static void begin(struct fixture *f, uint64_t max_bytes, struct writer_limits limits)
{
	*f = (struct fixture){ .quota = f->quota };
	queue_file_make(&f->file);
	f->o = (struct writer_options){ .path = f->file.path,
					.max_size_bytes = max_bytes,
					.limits = limits,
					.has_encoding = true,
					.encoding = ENCODING_NONE };
	open_writer(f);
}

static int64_t ask(const struct fixture *f, const char *sql)
{
	return queue_file_int(f->file.path, sql);
}

static void expect_books(const struct fixture *f)
{
	ck_assert_int_eq(ask(f, "SELECT count(*) FROM balance WHERE difference <> 0"), 0);
	/* The ledger and the totals say the same. */
	ck_assert_int_eq(ask(f, "SELECT count(*) FROM (SELECT destination_id, signal, reason, "
				"sum(records) AS n FROM losses GROUP BY 1, 2, 3) l "
				"LEFT JOIN totals t ON t.destination_id = l.destination_id AND "
				"t.signal = l.signal AND t.outcome = l.reason WHERE "
				"coalesce(t.records, 0) <> l.n"),
			 0);
	ck_assert_int_eq(ask(f, "SELECT (SELECT coalesce(sum(records), 0) FROM losses) - (SELECT "
				"coalesce(sum(records), 0) FROM totals WHERE outcome IN "
				"('rejected', 'expired', 'evicted', 'purged', 'damaged'))"),
			 0);
	ck_assert_int_eq(ask(f, "SELECT count(*) FROM payloads WHERE batch_id NOT IN "
				"(SELECT batch_id FROM deliveries)"),
			 0);
}

static void end(struct fixture *f)
{
	expect_books(f);
	writer_stop(f->w);
	queue_file_remove(&f->file);
	now_fake_off();
}

static enum status put(struct fixture *f, enum record_class class, uint64_t to, size_t bytes)
{
	static char body[4 << 20];
	return test_put_run(f->w, SIGNAL_LOGS, class, 1, to, bytes_of(body, bytes));
}

/* Puts until the queue says that it is full. Returns how many. */
static int fill(struct fixture *f, enum record_class class, uint64_t to)
{
	int n = 0;
	while (n < 1000 && put(f, class, to, BODY) == ST_OK)
		n++;
	ck_assert_int_gt(n, 20);
	return n;
}

/* Room comes from what the writer lets go between its groups. */
static enum status put_in_time(struct fixture *f, enum record_class class, size_t bytes)
{
	int64_t end = patience_end_ns();
	enum status st = put(f, class, A, bytes);
	while (st == ST_FULL && patience_pause(end))
		st = put(f, class, A, bytes);
	return st;
}

static void await(const struct fixture *f, const char *sql, int64_t want)
{
	int64_t end = patience_end_ns();
	int64_t got = ask(f, sql);
	while (got != want && patience_pause(end))
		got = ask(f, sql);
	ck_assert_msg(got == want, "%s is %lld, expected %lld", sql, (long long)got,
		      (long long)want);
}

/* The same where the clock is a fake, which stands still but for this: it moves for some seconds,
 * and then only the threads go on. */
static void await_fake(struct fixture *f, const char *sql, int64_t want)
{
	int64_t end = patience_end_ns();
	for (int i = 0; ask(f, sql) != want && (i < 600 || patience_pause(end)); i++) {
		if (i < 600)
			now_fake_advance(20 * NS_PER_MS);
		EXPECT_OK(test_settle(f->w, f->a, 999, SETTLE_DELIVERED, 0, ""));
	}
	ck_assert_int_eq(ask(f, sql), want);
}

static const struct writer_limits drop_all = { .may_evict = { true, true, true } };
static const struct writer_limits as_configured = {
	.may_evict = { [RECORD_CLASS_INFO] = true, [RECORD_CLASS_WARNING] = true }
};

/* ---- the size ---- */

struct sampler {
	const char *path;
	atomic_bool is_stopping;
	_Atomic int64_t largest;
	_Atomic int64_t samples;
};

static int64_t size_of(const char *path, const char *suffix)
{
	char name[256];
	struct stat sb;
	(void)snprintf(name, sizeof(name), "%s%s", path, suffix);
	return stat(name, &sb) == 0 ? (int64_t)sb.st_size : 0;
}

static int64_t size_on_disk(const char *path)
{
	return size_of(path, "") + size_of(path, "-wal") + size_of(path, ".reserve");
}

static void *sample(void *arg)
{
	struct sampler *s = arg;
	while (!atomic_load(&s->is_stopping)) {
		int64_t size = size_on_disk(s->path);
		if (size > s->largest)
			s->largest = size;
		s->samples++;
	}
	return NULL;
}

struct producer {
	struct fixture *f;
	uint64_t random;
	int stored;
	int refused;
};

static void *produce(void *arg)
{
	struct producer *p = arg;
	for (int i = 0; i < 150; i++) {
		p->random = p->random * UINT64_C(6364136223846793005) + 1442695040888963407u;
		uint32_t r = (uint32_t)(p->random >> 33);
		size_t bytes = r % 10 == 0 ? 300000 + r % 700000 : 100 + r % 60000;
		enum status st = put(p->f, RECORD_CLASS_INFO, 1 + r % 3, bytes);
		ck_assert_msg(!st || st == ST_FULL, "%s", status_name(st));
		p->stored += !st;
		p->refused += st == ST_FULL;
		if (st)
			(void)usleep(1000);
	}
	return NULL;
}

static void run_producers(struct fixture *f, struct producer *p, int count)
{
	pthread_t threads[4];
	for (int i = 0; i < count; i++) {
		p[i] = (struct producer){ .f = f, .random = (uint64_t)i + 1 };
		ck_assert_int_eq(pthread_create(&threads[i], NULL, produce, &p[i]), 0);
	}
	for (int i = 0; i < count; i++)
		(void)pthread_join(threads[i], NULL);
}

/* Files are looked at all the time, while the queue is overrun several times. With a reader that
 * keeps the log, room for commits ends, and nothing is evicted in vain. */
START_TEST(the_cap_is_never_passed_and_puts_go_on)
{
	struct fixture f = { 0 };
	struct producer p[3];
	pthread_t thread;
	sqlite3 *reader = NULL;
	begin(&f, MAX, drop_all);
	struct sampler s = { .path = f.file.path };
	ck_assert_int_eq(pthread_create(&thread, NULL, sample, &s), 0);
	run_producers(&f, p, 3);
	int stored = p[0].stored + p[1].stored + p[2].stored;
	int refused = p[0].refused + p[1].refused + p[2].refused;
	(void)printf("stored %d, refused %d, largest %lld of %d\n", stored, refused,
		     (long long)s.largest, MAX);
	ck_assert_int_gt(stored, 20 * refused);
	int64_t evicted = ask(&f, "SELECT sum(evicted) FROM balance");
	ck_assert_int_gt(evicted, 100);
	/* Gathered: by transaction, destination, signal and class. */
	ck_assert_int_lt(ask(&f, "SELECT count(*) FROM losses"), evicted / 2);
	ck_assert_int_eq(
		ask(&f, "SELECT count(*) FROM losses WHERE reason <> 'evicted' OR bytes <= 0"), 0);

	ck_assert_int_eq(sqlite3_open_v2(f.file.path, &reader, SQLITE_OPEN_READONLY, NULL),
			 SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(reader, "BEGIN; SELECT count(*) FROM batches", 0, 0, 0),
			 SQLITE_OK);
	int64_t before = ask(&f, "SELECT count(*) FROM batches");
	run_producers(&f, p, 1);
	ck_assert_int_gt(p[0].refused, 0);
	ck_assert_int_gt(ask(&f, "SELECT count(*) FROM batches"), before / 2);
	ck_assert_int_eq(sqlite3_close(reader), SQLITE_OK);
	EXPECT_OK(put_in_time(&f, RECORD_CLASS_INFO, BODY));

	AWAIT(s.samples > 100);
	atomic_store(&s.is_stopping, true);
	(void)pthread_join(thread, NULL);
	ck_assert_msg(s.largest <= MAX, "%lld bytes", (long long)s.largest);
	end(&f);
}
END_TEST

START_TEST(a_file_of_a_larger_cap_shrinks_under_a_smaller_one)
{
	struct fixture f = { 0 };
	begin(&f, 2 * MAX, drop_all);
	for (int i = 0; i < 250; i++)
		EXPECT_OK(put(&f, RECORD_CLASS_INFO, A, BODY));
	writer_stop(f.w);
	ck_assert_int_gt(size_on_disk(f.file.path), MAX);
	f.o.max_size_bytes = MAX;
	open_writer(&f);
	EXPECT_OK(put_in_time(&f, RECORD_CLASS_INFO, BODY));
	AWAIT(size_on_disk(f.file.path) <= MAX);
	ck_assert_int_gt(ask(&f, "SELECT count(*) FROM batches"), 50);
	end(&f);
}
END_TEST

/* ---- the order ---- */

START_TEST(the_least_urgent_goes_first_and_what_is_protected_never)
{
	static const char other_sql[] = "SELECT count(*) FROM batches WHERE class <> 'critical'";
	struct fixture f = { 0 };
	begin(&f, MAX, as_configured);
	for (int i = 0; i < 60; i++)
		EXPECT_OK(put(&f, (enum record_class)(i % 3), A, BODY));
	/* Info for info: the oldest went, nothing else. */
	for (int i = 0; i < 100; i++)
		EXPECT_OK(put_in_time(&f, RECORD_CLASS_INFO, BODY));
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM losses WHERE class <> 'info'"), 0);
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM batches WHERE class <> 'info'"), 40);
	ck_assert_int_gt(ask(&f, "SELECT min(id) FROM batches WHERE class = 'info'"), 60);
	/* Warnings push out all info before the first warning. */
	for (int i = 0; i < 150; i++)
		EXPECT_OK(put_in_time(&f, RECORD_CLASS_WARNING, BODY));
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM batches WHERE class = 'info'"), 0);
	ck_assert_int_gt(ask(&f, "SELECT sum(records) FROM losses WHERE class = 'warning'"), 20);
	/* Info only ever pushes out info: what little room it finds. */
	static const char lost_sql[] = "SELECT sum(records) FROM losses WHERE class <> 'info'";
	int64_t lost = ask(&f, lost_sql);
	for (int i = 0; i < 60; i++)
		(void)put(&f, RECORD_CLASS_INFO, A, BODY);
	ck_assert_int_eq(ask(&f, lost_sql), lost);
	EXPECT_OK(put_in_time(&f, RECORD_CLASS_WARNING, BODY));
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM losses WHERE class = 'critical'"), 0);
	/* Critical data pushes out warnings, and is refused for good when none is left. */
	int n = 0;
	for (bool is_full = false; n < 1000 && !is_full;) {
		bool is_last = ask(&f, other_sql) == 0;
		enum status st = put(&f, RECORD_CLASS_CRITICAL, A, BODY);
		ck_assert_msg(!st || st == ST_FULL, "%s", status_name(st));
		n += !st;
		is_full = st && is_last;
	}
	ck_assert_int_gt(n, 50);
	ck_assert_int_eq(ask(&f, other_sql), 0);
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM batches"), n + 20);
	EXPECT_STATUS(writer_state(f.w), ST_FULL);
	end(&f);
}
END_TEST

START_TEST(what_nobody_waits_for_goes_before_what_somebody_needs)
{
	struct fixture f = { 0 };
	begin(&f, MAX, drop_all);
	for (int i = 0; i < 60; i++)
		EXPECT_OK(put(&f, i < 30 ? RECORD_CLASS_INFO : RECORD_CLASS_WARNING, A | B, BODY));
	/* The newest five are refused for good by alpha and taken by beta. */
	for (int64_t id = 56; id <= 60; id++) {
		EXPECT_OK(test_settle(f.w, f.a, id, SETTLE_DEAD, 0, "no"));
		EXPECT_OK(test_settle(f.w, f.b, id, SETTLE_DELIVERED, 0, ""));
	}
	/* One more is dead for alpha, but beta still needs it. */
	EXPECT_OK(test_settle(f.w, f.a, 55, SETTLE_DEAD, 0, "no"));
	while (ask(&f, "SELECT count(*) FROM losses") == 0)
		EXPECT_OK(put_in_time(&f, RECORD_CLASS_WARNING, BODY));
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM batches WHERE id BETWEEN 56 AND 60"), 0);
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM batches WHERE id = 55"), 1);
	ck_assert_int_eq(ask(&f, "SELECT sum(records) FROM losses WHERE class = 'warning' AND "
				 "destination_id = 1"),
			 5);
	end(&f);
}
END_TEST

START_TEST(what_nobody_waits_for_is_found_behind_dead_letters_that_others_need)
{
	struct fixture f = { 0 };
	begin(&f, MAX, drop_all);
	for (int64_t id = 1; id <= 60; id++) {
		EXPECT_OK(put(&f, RECORD_CLASS_INFO, A | B, BODY));
		EXPECT_OK(test_settle(f.w, f.a, id, SETTLE_DEAD, 0, "no"));
	}
	EXPECT_OK(test_settle(f.w, f.b, 58, SETTLE_DELIVERED, 0, ""));
	while (ask(&f, "SELECT count(*) FROM losses") == 0)
		EXPECT_OK(put_in_time(&f, RECORD_CLASS_INFO, BODY));
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM batches WHERE id = 58"), 0);
	/* Room is kept ahead, so some of the oldest may have followed. */
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM batches WHERE id BETWEEN 40 AND 57"), 18);
	end(&f);
}
END_TEST

START_TEST(without_a_rule_nothing_ever_goes)
{
	struct fixture f = { 0 };
	begin(&f, MAX, (struct writer_limits){ 0 });
	int n = fill(&f, RECORD_CLASS_INFO, A);
	for (int i = 0; i < 20; i++)
		EXPECT_STATUS(put(&f, RECORD_CLASS_CRITICAL, A, BODY), ST_FULL);
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM batches"), n);
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM losses"), 0);
	end(&f);
}
END_TEST

/* ---- ages ---- */

static const struct writer_limits ages = {
	.max_age_ns = { [RECORD_CLASS_INFO] = HOUR, [RECORD_CLASS_WARNING] = DAY }
};

START_TEST(each_class_expires_by_its_age_and_dead_letters_by_theirs)
{
	struct fixture f = { 0 };
	struct writer_limits limits = ages;
	limits.dead_max_age_ns = 2 * DAY;
	now_fake(TODAY, DAY);
	begin(&f, MAX, limits);
	for (int i = 0; i < 300; i++)
		EXPECT_OK(put(&f, RECORD_CLASS_INFO, i % 2 ? A | B : A, 100));
	EXPECT_OK(put(&f, RECORD_CLASS_WARNING, A, 100));
	EXPECT_OK(put(&f, RECORD_CLASS_CRITICAL, A, 100));
	EXPECT_OK(test_settle(f.w, f.a, 1, SETTLE_DEAD, 0, "no"));
	now_fake_advance(HOUR - NS_PER_S);
	EXPECT_OK(put(&f, RECORD_CLASS_INFO, A, 100));
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM batches"), 303);
	now_fake_advance(NS_PER_S);
	await_fake(&f, "SELECT count(*) FROM batches", 4);
	await_fake(&f, "SELECT sum(expired) FROM balance", 299 + 150);
	ck_assert_int_eq(ask(&f, "SELECT dead FROM balance WHERE destination = 'alpha'"), 1);
	now_fake_advance(DAY);
	await_fake(&f, "SELECT count(*) FROM batches", 2);
	now_fake_advance(DAY);
	await_fake(&f, "SELECT count(*) FROM batches", 1);
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM losses WHERE reason <> 'expired'"), 0);
	ck_assert_int_eq(ask(&f, "SELECT records FROM losses WHERE detail LIKE '%dead_letters%'"),
			 1);
	end(&f);
}
END_TEST

/* It died in a year that has not come: its age is the time that has passed. */
START_TEST(a_dead_letter_of_a_clock_that_was_ahead_expires_by_its_age)
{
	struct fixture f = { 0 };
	const struct writer_limits limits = { .dead_max_age_ns = 2 * DAY };
	now_fake(TODAY + 200 * DAY, DAY);
	begin(&f, MAX, limits);
	EXPECT_OK(put(&f, RECORD_CLASS_INFO, A, 100));
	EXPECT_OK(test_settle(f.w, f.a, 1, SETTLE_DEAD, 0, "no"));
	now_fake(TODAY, DAY + HOUR);
	await_fake(&f, "SELECT offset_ns = 1780272000000000000 - 90000000000000 FROM boots", 1);
	ck_assert_int_eq(ask(&f, "SELECT died < '2026-06-02' FROM dead_letters"), 1);
	now_fake(TODAY + 2 * DAY - 2 * HOUR, 3 * DAY - HOUR);
	for (int i = 0; i < 100; i++) {
		now_fake_advance(20 * NS_PER_MS);
		EXPECT_OK(test_settle(f.w, f.a, 999, SETTLE_DELIVERED, 0, ""));
	}
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM dead_letters"), 1);
	now_fake(TODAY + 2 * DAY, 3 * DAY + HOUR);
	await_fake(&f, "SELECT count(*) FROM dead_letters", 0);
	end(&f);
}
END_TEST

START_TEST(a_jump_of_the_wall_clock_expires_nothing)
{
	static const int64_t walls[] = { 0, TODAY + 3650 * DAY, 1, TODAY };
	struct fixture f = { 0 };
	now_fake(0, HOUR); /* before the time is known */
	begin(&f, MAX, ages);
	for (int i = 0; i < 3; i++)
		EXPECT_OK(put(&f, RECORD_CLASS_INFO, A, 100));
	for (size_t i = 0; i < sizeof(walls) / sizeof(walls[0]); i++) {
		now_fake(walls[i], HOUR + (int64_t)(i + 1) * 5 * NS_PER_S);
		EXPECT_OK(put(&f, RECORD_CLASS_CRITICAL, A, 100));
		now_fake(walls[i], HOUR + (int64_t)(i + 1) * 5 * NS_PER_S + 2 * NS_PER_S);
		EXPECT_OK(test_settle(f.w, f.a, 999, SETTLE_DELIVERED, 0, ""));
	}
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM losses"), 0);
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM batches"), 7);
	/* And what came in 1970 is told as of its day, now that it is known. */
	await_fake(&f, "SELECT abs(offset_ns - 1780268400000000000) < 60000000000 FROM boots", 1);
	struct claim_reader *r = NULL;
	struct claim c[3];
	struct err e;
	size_t n = 0;
	EXPECT_OK(claim_reader_open(f.file.path, &r, &e));
	EXPECT_OK(claim_list(r, f.a, RECORD_CLASS_INFO, 0, c, 3, &n, &e));
	ck_assert_uint_eq(n, 3);
	ck_assert_int_gt(c[0].received_at_ns, TODAY - DAY);
	ck_assert_int_eq(c[0].received_boot_ns, HOUR);
	claim_reader_close(r);
	ck_assert_int_eq(ask(&f, "SELECT received > '2026' FROM queue WHERE class = 'info'"), 1);
	end(&f);
}
END_TEST

START_TEST(a_salvage_keeps_the_time_as_it_was_corrected)
{
	struct fixture f = { 0 };
	struct salvage *salvage = NULL;
	struct err e = { .text = "" };
	now_fake(0, HOUR);
	begin(&f, MAX, ages);
	EXPECT_OK(put(&f, RECORD_CLASS_INFO, A, 100));
	now_fake(TODAY, HOUR + 5 * NS_PER_S);
	await_fake(&f, "SELECT is_set FROM boots", 1);
	writer_stop(f.w);
	FILE *file = fopen(f.file.path, "r+b");
	ck_assert_ptr_nonnull(file);
	ck_assert_uint_eq(fwrite("no header at all", 1, 16, file), 16);
	(void)fclose(file);
	open_writer(&f);
	ck_assert(writer_is_degraded(f.w));
	EXPECT_OK(salvage_start(f.w, &salvage, &e));
	await_fake(&f, "SELECT count(*) FROM batches", 1);
	ck_assert_int_eq(
		ask(&f, "SELECT received_at > 1780272000000000000 - 60000000000 FROM batches"), 1);
	/* It is this boot still, so its age is that of the boot clock. */
	ck_assert_int_eq(ask(&f, "SELECT received_mono FROM batches"), HOUR);
	salvage_stop(salvage);
	end(&f);
}
END_TEST

/* ---- one destination, dead letters ---- */

START_TEST(a_destination_keeps_no_more_than_its_quota_from_going)
{
	struct fixture f = { .quota = 2 << 20 };
	begin(&f, 2 * MAX, as_configured);
	for (int i = 0; i < 60; i++)
		EXPECT_OK(put(&f, (enum record_class)(i % 3), A | B, BODY));
	await(&f,
	      "SELECT sum(b.stored_bytes) <= 2 * 1048576 FROM deliveries q JOIN batches b ON "
	      "b.id = q.batch_id WHERE q.destination_id = 1",
	      1);
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM deliveries WHERE destination_id = 2"), 60);
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM losses WHERE destination_id = 2"), 0);
	/* Critical ones are protected, and of the others the least urgent went first. */
	ck_assert_int_eq(
		ask(&f,
		    "SELECT count(*) FROM deliveries WHERE destination_id = 1 AND priority = 0"),
		20);
	ck_assert_int_eq(
		ask(&f,
		    "SELECT count(*) FROM deliveries WHERE destination_id = 1 AND priority = 2"),
		0);
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM losses WHERE detail LIKE '%quota%' OR "
				 "detail LIKE '%max_queue_size%'"),
			 ask(&f, "SELECT count(*) FROM losses"));
	end(&f);
}
END_TEST

START_TEST(dead_letters_keep_their_size)
{
	struct fixture f = { 0 };
	struct writer_limits limits = { .dead_max_bytes = 1 << 20 };
	begin(&f, 2 * MAX, limits);
	for (int64_t i = 1; i <= 40; i++) {
		EXPECT_OK(put(&f, RECORD_CLASS_CRITICAL, A | B, BODY));
		EXPECT_OK(test_settle(f.w, i % 2 ? f.a : f.b, i, SETTLE_DEAD, 0, "no"));
	}
	await(&f, "SELECT count(*) FROM deliveries WHERE state = 'dead'", 10);
	ck_assert_int_eq(ask(&f, "SELECT min(batch_id) FROM deliveries WHERE state = 'dead'"), 31);
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM deliveries WHERE state = 'ready'"), 40);
	ck_assert_int_eq(ask(&f, "SELECT sum(evicted) FROM balance"), 30);
	end(&f);
}
END_TEST

/* ---- disk ---- */

START_TEST(disk_comes_back_after_a_backlog_and_no_commit_waits_for_it)
{
	struct fixture f = { 0 };
	enum { MANY = 600 };
	struct writer_limits limits = { .vacuum_after_ns = 100 * NS_PER_MS };
	int64_t longest = 0;
	begin(&f, UINT64_C(1) << 30, limits);
	for (int i = 0; i < MANY; i++)
		EXPECT_OK(put(&f, RECORD_CLASS_INFO, A, BODY));
	int64_t full = ask(&f, "SELECT page_count * page_size FROM pragma_page_count, "
			       "pragma_page_size");
	/* The last one stays: pages have to move. */
	for (int64_t id = 1; id < MANY; id++)
		EXPECT_OK(test_settle(f.w, f.a, id, SETTLE_DELIVERED, 0, ""));
	int64_t size = full;
	int64_t give_up_ns = patience_end_ns();
	while (size > full / 4 && patience_pause(give_up_ns)) {
		struct stopwatch watch = stopwatch_start();
		EXPECT_OK(put(&f, RECORD_CLASS_CRITICAL, B, 100));
		int64_t took = stopwatch_ns(&watch);
		longest = took > longest ? took : longest;
		size = size_of(f.file.path, "");
	}
	(void)printf("%lld of %lld bytes left, longest put %.1f ms\n", (long long)size,
		     (long long)full, (double)longest / NS_PER_MS);
	ck_assert_int_le(size, full / 4);
	ck_assert_int_lt(longest, 2 * NS_PER_S);
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM pragma_integrity_check WHERE "
				 "integrity_check <> 'ok'"),
			 0);
	end(&f);
}
END_TEST

/* ---- the ledger ---- */

START_TEST(old_rows_of_the_ledger_are_folded_and_their_sums_stay)
{
	struct fixture f = { 0 };
	now_fake(TODAY, DAY);
	begin(&f, MAX, ages);
	writer_stop(f.w);
	/* One a minute for two days, of two kinds. */
	queue_file_exec(f.file.path,
			"WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE "
			"i < 2879) INSERT INTO losses (at, destination_id, signal, class, reason, "
			"records, bytes, first_time, last_time, detail) SELECT "
			"1780272000000000000 - 200000000000000 + i * 60000000000, 1, 'logs', "
			"iif(i % 2, 'info', 'warning'), 'evicted', 3, 10, i + 1, i + 5, 'why' "
			"FROM n;"
			"INSERT INTO totals VALUES (1, 'logs', 'evicted', 8640);"
			"INSERT INTO totals VALUES (1, 'logs', 'accepted', 8640);");
	int64_t recent = ask(&f, "SELECT count(*) FROM losses WHERE at >= 1780272000000000000 - "
				 "86400000000000");
	int64_t newest = ask(&f, "SELECT max(id) FROM losses");
	open_writer(&f);
	for (int i = 0; i < 100; i++) { /* the first pass begins at once */
		now_fake_advance(NS_PER_S / 10);
		EXPECT_OK(put(&f, RECORD_CLASS_CRITICAL, A, 100));
	}
	ck_assert_int_lt(ask(&f, "SELECT count(*) FROM losses"), recent + 130);
	ck_assert_int_ge(ask(&f, "SELECT count(*) FROM losses"), recent + 2);
	ck_assert_int_eq(ask(&f, "SELECT max(id) FROM losses"), newest);
	ck_assert_int_eq(ask(&f, "SELECT sum(records) FROM losses"), 8640);
	ck_assert_int_eq(ask(&f, "SELECT min(first_time) FROM losses WHERE class = 'info'"), 2);
	end(&f);
}
END_TEST

int main(void)
{
	log_init(LOG_ERROR_LEVEL, LOG_FORMAT_LOGFMT);
	/* Nothing is cut off here: a disk's syncs would only take time. */
	queue_file_in_memory();
	const TTest *const cases[] = {
		the_cap_is_never_passed_and_puts_go_on,
		a_file_of_a_larger_cap_shrinks_under_a_smaller_one,
		the_least_urgent_goes_first_and_what_is_protected_never,
		what_nobody_waits_for_goes_before_what_somebody_needs,
		what_nobody_waits_for_is_found_behind_dead_letters_that_others_need,
		without_a_rule_nothing_ever_goes,
		each_class_expires_by_its_age_and_dead_letters_by_theirs,
		a_dead_letter_of_a_clock_that_was_ahead_expires_by_its_age,
		a_jump_of_the_wall_clock_expires_nothing,
		a_salvage_keeps_the_time_as_it_was_corrected,
		a_destination_keeps_no_more_than_its_quota_from_going,
		dead_letters_keep_their_size,
		disk_comes_back_after_a_backlog_and_no_commit_waits_for_it,
		old_rows_of_the_ledger_are_folded_and_their_sums_stay,
	};
	return run_cases("limits", cases, sizeof(cases) / sizeof(cases[0]));
}
