/* What the size of exports promises: it falls at once with a 413, comes back when the limit is
 * gone, and a limit that stays is met a bounded number of times. */
#include "gateway/base/now.h"
#include "gateway/forward/export_size.h"
#include "tests/support/expect.h"

#define MINUTE (60 * NS_PER_S)
#define DAY    (24 * 60 * MINUTE)
enum { MOST = 4 << 20 };

/* A backend with a backlog that fills every export, one a minute, for so long. Returns how many it
 * refused. */
static int run(struct export_size *s, size_t limit, int64_t *now, int64_t length)
{
	int refused = 0;
	for (int64_t end = *now + length; *now < end; *now += MINUTE) {
		while (s->now > limit) {
			ck_assert(export_size_refused(s, s->now, *now));
			refused++;
		}
		(void)export_size_taken(s, s->now, *now);
		ck_assert_uint_ge(s->now, EXPORT_SIZE_MIN / 2);
		ck_assert_uint_le(s->now, MOST);
	}
	return refused;
}

START_TEST(a_limit_that_is_gone_is_forgotten_within_the_hour)
{
	struct export_size s;
	int64_t now = DAY;
	export_size_init(&s, MOST);
	ck_assert_int_gt(run(&s, 100000, &now, 2 * MINUTE), 4);
	ck_assert_uint_le(s.now, 100000);
	ck_assert_int_eq(run(&s, MOST, &now, 60 * MINUTE), 0);
	ck_assert_uint_eq(s.now, MOST);
}
END_TEST

START_TEST(a_limit_that_stays_costs_few_refusals_wherever_it_is)
{
	static const size_t limits[] = { 70000,   262144,  1000000, 1500000,
					 1990000, 2097152, 3000000, MOST - 1 };
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		struct export_size s;
		int64_t now = DAY;
		export_size_init(&s, MOST);
		(void)run(&s, limits[i], &now, MINUTE);
		ck_assert_int_le(run(&s, limits[i], &now, DAY), 24);
		(void)run(&s, limits[i], &now, 7 * DAY);
		ck_assert_int_le(run(&s, limits[i], &now, 10 * DAY), 30);
	}
}
END_TEST

START_TEST(after_a_long_limit_the_size_comes_back_within_two_days)
{
	struct export_size s;
	int64_t now = DAY;
	export_size_init(&s, MOST);
	(void)run(&s, 100000, &now, 30 * DAY);
	(void)run(&s, MOST, &now, 2 * DAY);
	ck_assert_uint_eq(s.now, MOST);
}
END_TEST

START_TEST(small_exports_teach_nothing)
{
	struct export_size s;
	export_size_init(&s, MOST);
	ck_assert(export_size_refused(&s, MOST, DAY));
	for (int i = 0; i < 100; i++)
		ck_assert(!export_size_taken(&s, 1000, 2 * DAY + i * DAY));
	ck_assert_uint_eq(s.now, MOST / 2);
	ck_assert(export_size_taken(&s, MOST / 2, 200 * DAY));
}
END_TEST

START_TEST(exports_that_were_begun_together_halve_it_once)
{
	struct export_size s;
	export_size_init(&s, MOST);
	ck_assert(export_size_refused(&s, MOST, DAY));
	ck_assert(!export_size_refused(&s, MOST, DAY));
	ck_assert_uint_eq(s.now, MOST / 2);
	ck_assert(export_size_refused(&s, MOST / 2, DAY));
	ck_assert(!export_size_refused(&s, MOST, DAY));
	ck_assert_uint_eq(s.now, MOST / 4);
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		a_limit_that_is_gone_is_forgotten_within_the_hour,
		a_limit_that_stays_costs_few_refusals_wherever_it_is,
		after_a_long_limit_the_size_comes_back_within_two_days,
		small_exports_teach_nothing,
		exports_that_were_begun_together_halve_it_once,
	};
	return run_cases("export_size", cases, sizeof(cases) / sizeof(cases[0]));
}
