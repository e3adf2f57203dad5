/* What claiming promises: the order to send in, nothing twice, damage noticed, and the file that is
 * in use. */
#include "storage/claim.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "gateway/base/now.h"
#include "storage/stmt.h"
#include "tests/support/expect.h"
#include "tests/support/patience.h"
#include "tests/support/queue_file.h"

struct fixture {
	struct queue_file file;
	struct writer *w;
	struct claim_reader *r;
	int64_t a;
	int64_t b;
};

static void begin(struct fixture *f)
{
	struct err e = { .text = "" };
	int slot;
	queue_file_make(&f->file);
	struct writer_options o = { .path = f->file.path,
				    .merge_bytes = 1,
				    .has_encoding = true,
				    .encoding = ENCODING_NONE };
	EXPECT_OK(writer_open(&o, &f->w, &e));
	EXPECT_OK(writer_destination(f->w, "alpha", "file", &slot, &f->a, &e));
	EXPECT_OK(writer_destination(f->w, "beta", "file", &slot, &f->b, &e));
	EXPECT_OK(writer_start(f->w, &e));
	EXPECT_OK(claim_reader_open(f->file.path, &f->r, &e));
}

static void end(struct fixture *f)
{
	claim_reader_close(f->r);
	writer_stop(f->w);
	queue_file_remove(&f->file);
}

static void put(struct fixture *f, enum record_class class, const char *body)
{
	EXPECT_OK(test_put_run(f->w, SIGNAL_LOGS, class, 1, 1, bytes_str(body)));
}

START_TEST(claims_come_by_urgency_then_age_and_go_on_behind_the_last)
{
	struct fixture f;
	struct err e = { .text = "" };
	struct claim all[10];
	struct claim one;
	size_t n = 0;
	begin(&f);
	put(&f, RECORD_CLASS_INFO, "i1");
	put(&f, RECORD_CLASS_CRITICAL, "c1");
	put(&f, RECORD_CLASS_INFO, "i2");
	put(&f, RECORD_CLASS_WARNING, "w1");
	put(&f, RECORD_CLASS_CRITICAL, "c2");
	EXPECT_OK(claim_list(f.r, f.a, -1, 0, all, 10, &n, &e));
	ck_assert_uint_eq(n, 5);
	static const int64_t order[] = { 2, 5, 4, 1, 3 };
	for (size_t i = 0; i < n; i++)
		ck_assert_int_eq(all[i].batch_id, order[i]);
	int priority = -1;
	int64_t id = 0;
	for (size_t i = 0; i < n; i++) {
		EXPECT_OK(claim_list(f.r, f.a, priority, id, &one, 1, &n, &e));
		ck_assert_uint_eq(n, 1);
		ck_assert_int_eq(one.batch_id, order[i]);
		priority = one.priority;
		id = one.batch_id;
		n = 5;
	}
	EXPECT_OK(claim_list(f.r, f.a, priority, id, &one, 1, &n, &e));
	ck_assert_uint_eq(n, 0);
	ck_assert_int_eq(all[0].class, RECORD_CLASS_CRITICAL);
	ck_assert_int_eq(all[0].signal, SIGNAL_LOGS);
	ck_assert_int_eq(all[0].encoding, ENCODING_NONE);
	ck_assert_uint_eq(all[0].stored_bytes, 2);
	end(&f);
}
END_TEST

START_TEST(settled_deliveries_are_not_claimed_and_their_bodies_are_gone)
{
	struct fixture f;
	struct err e = { .text = "" };
	struct claim c[3];
	struct buf body;
	size_t n = 0;
	begin(&f);
	put(&f, RECORD_CLASS_INFO, "one");
	put(&f, RECORD_CLASS_INFO, "two");
	put(&f, RECORD_CLASS_INFO, "three");
	EXPECT_OK(claim_list(f.r, f.a, -1, 0, c, 3, &n, &e));
	buf_init(&body, 100, NULL);
	EXPECT_OK(claim_body(f.r, &c[1], &body, &e));
	ck_assert(bytes_equal(buf_view(&body), bytes_str("two")));
	EXPECT_OK(test_settle(f.w, f.a, c[0].batch_id, SETTLE_DELIVERED, 0, ""));
	EXPECT_OK(test_settle(f.w, f.a, c[1].batch_id, SETTLE_DEAD, 0, "no"));
	EXPECT_OK(test_settle(f.w, f.a, c[2].batch_id, SETTLE_RETRY, 0, "later"));
	EXPECT_STATUS(claim_body(f.r, &c[0], &body, &e), ST_NOT_FOUND);
	EXPECT_OK(claim_list(f.r, f.a, -1, 0, c, 3, &n, &e));
	ck_assert_uint_eq(n, 1);
	ck_assert_int_eq(c[0].batch_id, 3);
	ck_assert_int_eq(c[0].attempts, 1);
	/* The cap of the buffer holds. */
	buf_done(&body);
	buf_init(&body, 4, NULL);
	EXPECT_STATUS(claim_body(f.r, &c[0], &body, &e), ST_TOO_LARGE);
	buf_done(&body);
	end(&f);
}
END_TEST

START_TEST(what_just_came_is_young_from_whichever_end_a_new_reader_takes_it)
{
	struct fixture f;
	struct err e = { .text = "" };
	struct claim newest;
	struct claim oldest;
	size_t n = 0;
	begin(&f);
	int64_t before = now_boot_ns();
	put(&f, RECORD_CLASS_INFO, "fresh");
	EXPECT_OK(claim_list_newest(f.r, f.a, RECORD_CLASS_INFO, 0, INT64_MAX, &newest, 1, &n, &e));
	ck_assert_uint_eq(n, 1);
	ck_assert_int_ge(newest.received_boot_ns, before);
	EXPECT_OK(claim_list(f.r, f.a, -1, 0, &oldest, 1, &n, &e));
	ck_assert_uint_eq(n, 1);
	ck_assert_int_ge(oldest.received_boot_ns, before);
	end(&f);
}
END_TEST

START_TEST(what_is_settled_meanwhile_is_not_sent_though_others_need_it)
{
	struct fixture f;
	struct err e = { .text = "" };
	struct claim a;
	struct claim b;
	struct buf body;
	size_t n = 0;
	begin(&f);
	buf_init(&body, 100, NULL);
	EXPECT_OK(test_put_run(f.w, SIGNAL_LOGS, RECORD_CLASS_INFO, 1, 3, bytes_str("x")));
	EXPECT_OK(claim_list(f.r, f.a, -1, 0, &a, 1, &n, &e));
	EXPECT_OK(claim_list(f.r, f.b, -1, 0, &b, 1, &n, &e));
	ck_assert_int_eq(a.batch_id, b.batch_id);
	/* Evicted, expired or purged for alpha: its delivery is gone. */
	EXPECT_OK(test_settle(f.w, f.a, a.batch_id, SETTLE_EXPIRED, 0, ""));
	EXPECT_STATUS(claim_body(f.r, &a, &body, &e), ST_NOT_FOUND);
	EXPECT_OK(claim_body(f.r, &b, &body, &e));
	/* And a dead letter is nothing to send. */
	EXPECT_OK(test_settle(f.w, f.b, b.batch_id, SETTLE_DEAD, 0, "no"));
	EXPECT_STATUS(claim_body(f.r, &b, &body, &e), ST_NOT_FOUND);
	ck_assert_int_eq(queue_file_int(f.file.path,
					"SELECT expired FROM balance WHERE destination = "
					"'alpha'"),
			 1);
	ck_assert_int_eq(queue_file_int(f.file.path, "SELECT records FROM losses"), 1);
	buf_done(&body);
	end(&f);
}
END_TEST

START_TEST(the_time_of_day_does_not_follow_a_clock_that_jumps_forward)
{
	const int64_t ten_years = 3650 * INT64_C(86400) * NS_PER_S;
	struct fixture f;
	struct err e = { .text = "" };
	struct claim one;
	size_t n = 0;
	int64_t wall = now_wall_ns();
	begin(&f);
	ck_assert_int_eq(claim_wall_ns(f.r), 0);
	put(&f, RECORD_CLASS_INFO, "i1");
	EXPECT_OK(claim_list(f.r, f.a, -1, 0, &one, 1, &n, &e));
	ck_assert_int_ge(claim_wall_ns(f.r), wall - NS_PER_S);
	ck_assert_int_le(claim_wall_ns(f.r), now_wall_ns() + NS_PER_S);
	/* Late enough for the file to be asked again. */
	now_fake(now_wall_ns() + ten_years, now_boot_ns() + 3600 * NS_PER_S);
	EXPECT_OK(claim_list(f.r, f.a, -1, 0, &one, 1, &n, &e));
	ck_assert_int_le(claim_wall_ns(f.r), wall + 7200 * NS_PER_S);
	now_fake_off();
	end(&f);
}
END_TEST

START_TEST(a_payload_that_changed_is_not_sent)
{
	struct fixture f;
	struct err e = { .text = "" };
	struct claim c;
	struct buf body;
	size_t n = 0;
	begin(&f);
	put(&f, RECORD_CLASS_INFO, "good");
	writer_stop(f.w);
	f.w = NULL;
	queue_file_exec(f.file.path, "UPDATE payloads SET body = x'6576696c'");
	buf_init(&body, 100, NULL);
	EXPECT_OK(claim_list(f.r, f.a, -1, 0, &c, 1, &n, &e));
	ck_assert_uint_eq(n, 1);
	EXPECT_STATUS(claim_body(f.r, &c, &body, &e), ST_CORRUPT);
	ck_assert_uint_eq(body.n, 0);
	buf_done(&body);
	end(&f);
}
END_TEST

/* Also what the forwarders and the writer do when damage shows while they run. */
START_TEST(damage_in_use_sets_the_file_aside_and_readers_follow)
{
	struct fixture f;
	struct err e = { .text = "" };
	struct claim c;
	size_t n = 0;
	char junk[16384 * 6];
	begin(&f);
	put(&f, RECORD_CLASS_INFO, "old");
	claim_reader_close(f.r);
	writer_stop(f.w);
	struct writer_options o = { .path = f.file.path };
	int slot;
	EXPECT_OK(writer_open(&o, &f.w, &e));
	EXPECT_OK(writer_destination(f.w, "alpha", "file", &slot, &f.a, &e));
	EXPECT_OK(writer_start(f.w, &e));
	EXPECT_OK(claim_reader_open(f.file.path, &f.r, &e));
	/* The descriptor stays open: closing it would drop SQLite's locks. */
	int fd = open(f.file.path, O_RDWR);
	memset(junk, 0x77, sizeof(junk));
	ck_assert_int_eq(pwrite(fd, junk, sizeof(junk), 16384), (ssize_t)sizeof(junk));
	writer_suspect(f.w);
	AWAIT(test_put_run(f.w, SIGNAL_LOGS, RECORD_CLASS_INFO, 1, 1, bytes_str("new")) == ST_OK &&
	      writer_is_degraded(f.w));
	/* Who keeps claims or a state of the old file hears that it is another. */
	ck_assert_uint_gt(writer_changes(f.w, slot), 0);
	EXPECT_OK(claim_list(f.r, f.a, -1, 0, &c, 1, &n, &e));
	ck_assert_uint_eq(n, 1);
	/* A settlement of a batch of the old file meets nothing in the new one. */
	ck_assert_int_gt(c.batch_id, 1000);
	EXPECT_OK(test_settle(f.w, f.a, 1, SETTLE_DELIVERED, 0, ""));
	ck_assert_int_eq(queue_file_int(f.file.path, "SELECT count(*) FROM salvages"), 1);
	ck_assert_int_eq(queue_file_int(f.file.path, "SELECT sum(delivered) FROM balance"), 0);
	end(&f);
	(void)close(fd);
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		claims_come_by_urgency_then_age_and_go_on_behind_the_last,
		settled_deliveries_are_not_claimed_and_their_bodies_are_gone,
		what_just_came_is_young_from_whichever_end_a_new_reader_takes_it,
		what_is_settled_meanwhile_is_not_sent_though_others_need_it,
		the_time_of_day_does_not_follow_a_clock_that_jumps_forward,
		a_payload_that_changed_is_not_sent,
		damage_in_use_sets_the_file_aside_and_readers_follow,
	};
	return run_cases("claim", cases, sizeof(cases) / sizeof(cases[0]));
}
