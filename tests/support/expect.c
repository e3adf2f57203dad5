/* expect.c - runs a suite of check in one process, so that sanitizers and debuggers see it whole.
 */
#include "tests/support/expect.h"

#include <stdlib.h>

int run_cases(const char *suite_name, const TTest *const *cases, size_t count)
{
	return run_cases_within(suite_name, cases, count, 60);
}

static int run_suite(Suite *suite, TCase *tc)
{
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

int run_cases_within(const char *suite_name, const TTest *const *cases, size_t count,
		     double timeout_s)
{
	TCase *tc = tcase_create(suite_name);
	tcase_set_timeout(tc, timeout_s);
	for (size_t i = 0; i < count; i++)
		tcase_add_test(tc, cases[i]);
	return run_suite(suite_create(suite_name), tc);
}

int run_loop(const char *suite_name, const TTest *test_case, int count, double timeout_s)
{
	TCase *tc = tcase_create(suite_name);
	tcase_set_timeout(tc, timeout_s);
	tcase_add_loop_test(tc, test_case, 0, count);
	return run_suite(suite_create(suite_name), tc);
}
