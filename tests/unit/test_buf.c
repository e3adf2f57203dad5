/* What buf and arena promise: caps hold, budgets are charged and given back. */
#include "gateway/base/arena.h"
#include "tests/support/expect.h"

START_TEST(a_buf_grows_to_its_cap_and_not_past_it)
{
	struct buf b;
	buf_init(&b, 1000, NULL);
	for (int i = 0; i < 1000; i++)
		EXPECT_OK(buf_append_byte(&b, (uint8_t)i));
	EXPECT_STATUS(buf_append_byte(&b, 1), ST_TOO_LARGE);
	ck_assert_uint_eq(b.n, 1000);
	for (int i = 0; i < 1000; i++)
		ck_assert_uint_eq(b.p[i], (uint8_t)i);
	buf_done(&b);
}
END_TEST

START_TEST(a_budget_is_shared_and_given_back)
{
	struct budget budget;
	budget_init(&budget, 10000);
	struct buf a;
	struct buf b;
	buf_init(&a, SIZE_MAX, &budget);
	buf_init(&b, SIZE_MAX, &budget);
	EXPECT_OK(buf_reserve(&a, 6000));
	EXPECT_STATUS(buf_reserve(&b, 6000), ST_BUSY);
	EXPECT_OK(buf_reserve(&b, 1000));
	buf_done(&a);
	EXPECT_OK(buf_reserve(&b, 6000));
	buf_done(&b);
	ck_assert_uint_eq(budget_used(&budget), 0);
}
END_TEST

START_TEST(an_arena_stops_at_its_cap_and_gives_all_back)
{
	struct budget budget;
	budget_init(&budget, 1 << 20);
	struct arena a;
	arena_init(&a, 100000, &budget);
	size_t got = 0;
	while (arena_alloc(&a, 1000))
		got += 1000;
	ck_assert_uint_ge(got, 40000);
	ck_assert_uint_le(got, 100000);
	ck_assert_ptr_null(arena_alloc(&a, SIZE_MAX));
	ck_assert_ptr_null(arena_calloc(&a, SIZE_MAX, 2));
	arena_done(&a);
	ck_assert_uint_eq(budget_used(&budget), 0);
}
END_TEST

START_TEST(an_arena_tells_its_cap_from_a_spent_budget)
{
	struct budget budget;
	budget_init(&budget, 50000);
	struct arena a;
	arena_init(&a, 10000, &budget);
	ck_assert_ptr_null(arena_alloc(&a, 20000));
	ck_assert(!a.is_starved);
	ck_assert(budget_reserve(&budget, 45000));
	ck_assert_ptr_null(arena_alloc(&a, 9000));
	ck_assert(a.is_starved);
	arena_done(&a);
}
END_TEST

START_TEST(a_length_that_is_known_is_all_that_is_charged)
{
	struct budget budget;
	budget_init(&budget, 10000);
	struct buf a;
	struct buf b;
	buf_init(&a, 8000, &budget);
	buf_init(&b, 8000, &budget);
	EXPECT_OK(buf_reserve(&a, 5000));
	EXPECT_OK(buf_reserve(&b, 5000));
	buf_done(&a);
	buf_done(&b);
}
END_TEST

START_TEST(a_moved_buf_leaves_an_empty_one)
{
	struct buf a;
	struct buf b = { 0 };
	buf_init(&a, 100, NULL);
	EXPECT_OK(buf_append_str(&a, "tide"));
	buf_move(&b, &a);
	ck_assert_uint_eq(a.n, 0);
	ck_assert(bytes_equal(buf_view(&b), bytes_str("tide")));
	EXPECT_OK(buf_printf(&b, "%s-%d", "gate", 7));
	ck_assert(bytes_equal(buf_view(&b), bytes_str("tidegate-7")));
	buf_done(&a);
	buf_done(&b);
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		a_buf_grows_to_its_cap_and_not_past_it,
		a_budget_is_shared_and_given_back,
		an_arena_stops_at_its_cap_and_gives_all_back,
		an_arena_tells_its_cap_from_a_spent_budget,
		a_length_that_is_known_is_all_that_is_charged,
		a_moved_buf_leaves_an_empty_one,
	};
	return run_cases("buf", cases, sizeof(cases) / sizeof(cases[0]));
}
