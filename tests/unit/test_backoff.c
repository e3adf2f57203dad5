/* What backoff promises: waits within their bounds, and Retry-After in all its forms. */
#include "gateway/base/now.h"
#include "gateway/forward/backoff.h"
#include "tests/support/expect.h"

static uint64_t fixed(void *ctx)
{
	return *(uint64_t *)ctx;
}

START_TEST(the_bound_doubles_from_failure_to_failure_up_to_its_maximum)
{
	/* The largest draw of each bound: bound - 1 is below every power of two times 1000 ms. */
	static const struct {
		int failures;
		int64_t bound_ms;
	} cases[] = { { 1, 1000 },  { 2, 2000 },  { 3, 4000 },       { 5, 16000 },
		      { 6, 30000 }, { 7, 30000 }, { 1000000, 30000 } };
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t draw = (uint64_t)(cases[i].bound_ms * NS_PER_MS);
		struct backoff b = { .initial_ns = NS_PER_S,
				     .max_ns = 30 * NS_PER_S,
				     .random = fixed,
				     .ctx = &draw };
		ck_assert_int_eq(backoff_wait_ns(&b, cases[i].failures, 0),
				 cases[i].bound_ms * NS_PER_MS);
		draw++; /* one more wraps around to no wait at all: full jitter */
		ck_assert_int_eq(backoff_wait_ns(&b, cases[i].failures, 0), 0);
	}
}
END_TEST

START_TEST(draws_of_the_system_spread_over_the_whole_interval)
{
	struct backoff b = { .initial_ns = NS_PER_S,
			     .max_ns = NS_PER_S,
			     .random = backoff_system_random };
	int low = 0;
	for (int i = 0; i < 1000; i++) {
		int64_t wait = backoff_wait_ns(&b, 1, 0);
		ck_assert_int_ge(wait, 0);
		ck_assert_int_le(wait, NS_PER_S);
		low += wait < NS_PER_S / 2;
	}
	ck_assert_int_gt(low, 300);
	ck_assert_int_lt(low, 700);
}
END_TEST

START_TEST(a_wait_is_never_shorter_than_what_the_backend_asked_for)
{
	uint64_t draw = 5;
	struct backoff b = {
		.initial_ns = NS_PER_S, .max_ns = NS_PER_S, .random = fixed, .ctx = &draw
	};
	ck_assert_int_eq(backoff_wait_ns(&b, 1, 7 * NS_PER_S), 7 * NS_PER_S);
	ck_assert_int_eq(backoff_wait_ns(&b, 1, 1), 5);
}
END_TEST

START_TEST(retry_after_is_seconds_or_a_date_in_three_forms)
{
	/* 1994-11-06 08:49:37, the date of RFC 9110, 5.6.7. */
	const int64_t at = INT64_C(784111777) * NS_PER_S;
	static const struct {
		const char *value;
		int64_t before_s; /* now is so long before the date */
		int64_t want_s;
	} cases[] = {
		{ "0", 0, 0 },
		{ "120", 0, 120 },
		{ "7200", 0, 3600 },
		{ "99999999999999999999999", 0, 3600 },
		{ "Sun, 06 Nov 1994 08:49:37 GMT", 30, 30 },
		{ "Sunday, 06-Nov-94 08:49:37 GMT", 31, 31 },
		{ "Sun Nov  6 08:49:37 1994", 32, 32 },
		{ "Sun, 06 Nov 1994 08:49:37 GMT", -5, 0 },
		{ "Sun, 06 Nov 1994 08:49:37 GMT", 100000, 3600 },
		{ "Fri, 31 Dec 9999 23:59:59 GMT", 0, 3600 },
		{ "Fri, 31 Dec 9999 23:59:59 GMT", 784111778, 3600 }, /* a clock before 1970 */
		{ "Mon, 01 Jan 0001 00:00:00 GMT", 0, 0 },
		{ "Sun, 06 Nov 1994 08:49:37 PST", 30, 0 },
		{ "-5", 0, 0 },
		{ "1.5", 0, 0 },
		{ "soon", 0, 0 },
		{ "", 0, 0 },
		{ NULL, 0, 0 },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ck_assert_msg(
			backoff_retry_after_ns(cases[i].value, at - cases[i].before_s * NS_PER_S) ==
				cases[i].want_s * NS_PER_S,
			"case %zu: %s", i, cases[i].value);
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		the_bound_doubles_from_failure_to_failure_up_to_its_maximum,
		draws_of_the_system_spread_over_the_whole_interval,
		a_wait_is_never_shorter_than_what_the_backend_asked_for,
		retry_after_is_seconds_or_a_date_in_three_forms,
	};
	return run_cases("backoff", cases, sizeof(cases) / sizeof(cases[0]));
}
