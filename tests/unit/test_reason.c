/* Errors that differ in numbers alone have one reason; a reason is its own reason. */
#include "storage/reason.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/expect.h"

static const struct {
	const char *error;
	const char *reason;
} cases[] = {
	{ NULL, "" },
	{ "", "" },
	{ "bad label", "bad label" },
	{ "HTTP 400: bad label", "HTTP 400: bad label" },
	{ "HTTP 4001: bad label", "HTTP #: bad label" },
	{ "400 bad label", "# bad label" },
	{ "entry 17 of 42 at 2026-11-23T09:00:00.123Z is too old", "entry # of # at # is too old" },
	{ "at 2026-11-23 09:00:00 +0000 UTC", "at # # +# UTC" },
	{ "trace 550e8400-e29b-41d4-a716-446655440000 is unknown", "trace # is unknown" },
	{ "for stream {app=\"till\", pod=\"a b\"}, 1 of 1", "for stream {app=#, pod=#}, # of #" },
	{ "escaped {a=\"x\\\"y\"}", "escaped {a=#}" },
	{ "open {a=\"x", "open {a=\"x" },
	{ "{\"error\":\"out of bounds\"}", "{\"error\":\"out of bounds\"}" },
	{ "duration 1.5s, 10ms.", "duration #, #." },
	{ "two\nlines\x7f", "two lines " },
	{ "batch-job_a.b:c failed", "batch-job_a.b:c failed" },
	{ "größe 3", "größe #" },
	{ "-5 + 6", "-# + #" },
};

START_TEST(numbers_do_not_make_another_reason)
{
	char reason[REASON_MAX];
	char again[REASON_MAX];
	reason_of(cases[_i].error, reason, sizeof(reason));
	ck_assert_str_eq(reason, cases[_i].reason);
	reason_of(reason, again, sizeof(again));
	ck_assert_str_eq(again, reason);
}
END_TEST

START_TEST(long_errors_are_cut_at_a_character)
{
	char error[700];
	char reason[REASON_MAX];
	for (int lead = 0; lead < 4; lead++) {
		memset(error, 'x', sizeof(error));
		for (size_t i = (size_t)lead; i + 3 < sizeof(error); i += 3)
			memcpy(error + i, "\xe2\x82\xac", 3);
		error[690] = '\0';
		reason_of(error, reason, sizeof(reason));
		size_t n = strlen(reason);
		ck_assert_uint_gt(n, REASON_MAX - 5);
		ck_assert_uint_eq((n - (size_t)lead) % 3, 0);
	}
}
END_TEST

START_TEST(any_bytes_fit)
{
	char error[300];
	srand(7);
	for (int round = 0; round < 20000; round++) {
		char small[16];
		size_t n = (size_t)(rand() % 299);
		for (size_t i = 0; i < n; i++)
			error[i] = "\"\\={} a1.-\x80\xff\n"[rand() % 14];
		error[n] = '\0';
		reason_of(error, small, sizeof(small));
		ck_assert_uint_lt(strlen(small), sizeof(small));
	}
}
END_TEST

int main(void)
{
	TCase *t = tcase_create("reason");
	tcase_add_loop_test(t, numbers_do_not_make_another_reason, 0,
			    sizeof(cases) / sizeof(cases[0]));
	tcase_add_test(t, long_errors_are_cut_at_a_character);
	tcase_add_test(t, any_bytes_fit);
	return run_tcase("reason", t);
}
