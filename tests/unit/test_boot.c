/* What ages and times promise: never too old, whatever the wall clock does. */
#include "storage/boot.h"

#include <stdio.h>

#include "gateway/base/now.h"
#include "storage/db.h"
#include "storage/stmt.h"
#include "tests/support/expect.h"
#include "tests/support/queue_file.h"

#define HOUR (INT64_C(3600) * NS_PER_S)
#define DAY  (24 * HOUR)
/* 2026-06-01 */
#define TODAY INT64_C(1780272000000000000)

struct fixture {
	struct queue_file file;
	sqlite3 *db;
	struct boot boot;
};

static void begin(struct fixture *f)
{
	f->db = queue_file_open(&f->file);
}

static void end(struct fixture *f)
{
	db_close(f->db);
	queue_file_remove(&f->file);
	now_fake_off();
}

/* The machine boots, and this is what its clocks say. */
static void boot_up(struct fixture *f, int64_t wall_ns, int64_t mono_ns)
{
	struct err e = { .text = "" };
	now_fake(wall_ns, mono_ns);
	EXPECT_OK(stmt_exec(f->db, "UPDATE boots SET boot_id = 'former ' || id", &e));
	EXPECT_OK(boot_register(&f->boot, f->db, &e));
	ck_assert_int_gt(f->boot.this.id, 0);
}

static void save(struct fixture *f)
{
	struct err e = { .text = "" };
	boot_look(&f->boot);
	EXPECT_OK(boot_save(&f->boot, f->db, &e));
}

static int64_t age(const struct fixture *f, int64_t boot, int64_t mono)
{
	return boot_age_ns(&f->boot, boot, mono, 0);
}

START_TEST(within_a_boot_no_step_of_the_wall_clock_changes_an_age)
{
	static const int64_t walls[] = { TODAY, 0, TODAY + 3650 * DAY, TODAY - 40 * DAY, 1 };
	struct fixture f;
	begin(&f);
	boot_up(&f, TODAY, 5 * HOUR);
	int64_t id = f.boot.this.id;
	for (size_t i = 0; i < sizeof(walls) / sizeof(walls[0]); i++) {
		now_fake(walls[i], 9 * HOUR);
		save(&f);
		ck_assert_int_eq(age(&f, id, 6 * HOUR), 3 * HOUR);
		ck_assert_int_eq(age(&f, id, 10 * HOUR), 0);
	}
	end(&f);
}
END_TEST

START_TEST(a_clock_that_is_set_late_corrects_what_came_before)
{
	struct fixture f;
	begin(&f);
	boot_up(&f, 60 * NS_PER_S, 60 * NS_PER_S); /* 1970 */
	ck_assert(!f.boot.this.is_set);
	ck_assert_int_eq(f.boot.this.offset_ns, 0);
	now_fake(TODAY, 2 * HOUR);
	boot_look(&f.boot);
	ck_assert(f.boot.is_changed && f.boot.this.is_set);
	ck_assert_int_eq(f.boot.this.offset_ns + 60 * NS_PER_S, TODAY - 2 * HOUR + 60 * NS_PER_S);
	ck_assert_int_eq(boot_wall_ns(&f.boot), TODAY);
	/* Back to 1970: what was believed stays. */
	now_fake(0, 3 * HOUR);
	boot_look(&f.boot);
	ck_assert_int_eq(boot_wall_ns(&f.boot), TODAY + HOUR);
	end(&f);
}
END_TEST

START_TEST(ages_of_a_former_boot_go_by_both_wall_clocks)
{
	struct fixture f;
	begin(&f);
	boot_up(&f, TODAY, HOUR);
	int64_t former = f.boot.this.id;
	now_fake(TODAY + HOUR, 2 * HOUR);
	save(&f);
	boot_up(&f, TODAY + 10 * DAY, HOUR / 2);
	ck_assert_int_ne(f.boot.this.id, former);
	ck_assert_int_eq(age(&f, former, HOUR), 10 * DAY);
	/* Three years in a drawer, or a clock that came up wrong: nobody knows. */
	boot_up(&f, TODAY + 1100 * DAY, HOUR);
	ck_assert_int_eq(age(&f, former, HOUR), HOUR + HOUR + HOUR / 2);
	end(&f);
}
END_TEST

START_TEST(a_jump_forward_makes_nothing_of_a_former_boot_older)
{
	struct fixture f;
	begin(&f);
	boot_up(&f, TODAY, HOUR);
	int64_t former = f.boot.this.id;
	save(&f);
	boot_up(&f, TODAY + DAY, HOUR);
	now_fake(TODAY + 30 * DAY, HOUR);
	save(&f);
	ck_assert_int_eq(age(&f, former, HOUR), DAY);
	/* And after a restart of the process within that boot. */
	struct err e;
	EXPECT_OK(boot_register(&f.boot, f.db, &e));
	ck_assert_int_eq(age(&f, former, HOUR), DAY);
	end(&f);
}
END_TEST

START_TEST(where_a_clock_was_never_set_the_age_is_the_time_that_is_known_to_have_passed)
{
	struct fixture f;
	begin(&f);
	boot_up(&f, NS_PER_S, HOUR);
	int64_t first = f.boot.this.id;
	ck_assert_int_eq(age(&f, first + 1, 0), 0); /* it cannot be of a boot before the first */
	ck_assert_int_eq(boot_age_ns(&(struct boot){ 0 }, first, 0, 0), 0);
	now_fake(NS_PER_S + 5 * HOUR, 6 * HOUR);
	save(&f);
	boot_up(&f, NS_PER_S, HOUR);
	int64_t second = f.boot.this.id;
	now_fake(NS_PER_S, 4 * HOUR);
	save(&f);
	boot_up(&f, NS_PER_S, 2 * HOUR);
	ck_assert_int_eq(age(&f, first, 2 * HOUR), 4 * HOUR + 4 * HOUR + 2 * HOUR);
	ck_assert_int_eq(age(&f, second, 4 * HOUR), 2 * HOUR);
	/* Of no boot that is known; and of version 1 of the file, by its wall clock. */
	ck_assert_int_eq(age(&f, 999, 0), 0);
	ck_assert_int_eq(boot_age_ns(&f.boot, 0, 0, NS_PER_S), 0);
	now_fake(TODAY, 2 * HOUR);
	boot_look(&f.boot);
	ck_assert_int_eq(boot_age_ns(&f.boot, 0, 0, TODAY - 3 * DAY), 3 * DAY);
	ck_assert_int_eq(boot_age_ns(&f.boot, 0, 0, NS_PER_S), 0);
	ck_assert_int_eq(age(&f, first, 2 * HOUR), 4 * HOUR + 4 * HOUR + 2 * HOUR);
	end(&f);
}
END_TEST

START_TEST(a_clock_behind_what_a_former_boot_believed_is_not_believed)
{
	struct fixture f;
	begin(&f);
	boot_up(&f, TODAY, HOUR);
	save(&f);
	boot_up(&f, TODAY - 30 * DAY, HOUR);
	ck_assert(!f.boot.this.is_set);
	boot_up(&f, TODAY + DAY, HOUR);
	ck_assert(f.boot.this.is_set);
	end(&f);
}
END_TEST

START_TEST(rows_that_make_no_sense_overflow_nothing)
{
	struct fixture f;
	struct err e = { .text = "" };
	static const int64_t values[] = { INT64_MIN, -1, 0, 1, INT64_MAX };
	begin(&f);
	EXPECT_OK(stmt_exec(f.db,
			    "INSERT INTO boots (boot_id, offset_ns, age_offset_ns, is_set, "
			    "last_mono) VALUES "
			    "('a', 9223372036854775807, 9223372036854775807, 1, "
			    "9223372036854775807), "
			    "('b', -9223372036854775808, -9223372036854775808, 1, "
			    "-9223372036854775808), "
			    "('c', 9223372036854775807, 0, 0, 9223372036854775807)",
			    &e));
	now_fake(TODAY, HOUR);
	EXPECT_OK(boot_register(&f.boot, f.db, &e));
	for (int64_t boot = 0; boot < 6; boot++)
		for (size_t i = 0; i < 5; i++)
			for (size_t k = 0; k < 5; k++)
				ck_assert_int_ge(boot_age_ns(&f.boot, boot, values[i], values[k]),
						 0);
	end(&f);
}
END_TEST

START_TEST(old_rows_go_and_those_that_batches_name_stay)
{
	struct fixture f;
	struct err e = { .text = "" };
	int64_t count = 0;
	begin(&f);
	boot_up(&f, TODAY, HOUR);
	int64_t first = f.boot.this.id;
	EXPECT_OK(stmt_exec(
		f.db,
		"INSERT INTO batches (received_at, signal, class, priority, requests, records, "
		"raw_bytes, stored_bytes, encoding, crc, boot, received_mono) "
		"VALUES (1, 'logs', 'info', 2, 1, 1, 1, 1, 'none', 1, 1, 1)",
		&e));
	for (int i = 0; i < 40; i++)
		boot_up(&f, TODAY + i * DAY, HOUR);
	EXPECT_OK(stmt_get_int(f.db, "SELECT count(*) FROM boots", &count, &e));
	ck_assert_int_eq(count, 41);
	ck_assert_int_eq(age(&f, first, HOUR), 39 * DAY);
	EXPECT_OK(stmt_exec(f.db, "DELETE FROM batches", &e));
	boot_up(&f, TODAY + 41 * DAY, HOUR);
	EXPECT_OK(stmt_get_int(f.db, "SELECT count(*) FROM boots", &count, &e));
	ck_assert_int_le(count, 17);
	end(&f);
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		within_a_boot_no_step_of_the_wall_clock_changes_an_age,
		a_clock_that_is_set_late_corrects_what_came_before,
		ages_of_a_former_boot_go_by_both_wall_clocks,
		a_jump_forward_makes_nothing_of_a_former_boot_older,
		where_a_clock_was_never_set_the_age_is_the_time_that_is_known_to_have_passed,
		a_clock_behind_what_a_former_boot_believed_is_not_believed,
		rows_that_make_no_sense_overflow_nothing,
		old_rows_go_and_those_that_batches_name_stay,
	};
	return run_cases("boot", cases, sizeof(cases) / sizeof(cases[0]));
}
