/* expect.c - runs a suite of check, each case in a process of its own and all with the same time,
 * which only what hangs will use up: check's own 4 s would be a bet on the machine. */
#include "tests/support/expect.h"

#include <stdlib.h>

#include "tests/support/patience.h"

/* A case waits for several things. */
enum { WAITS = 5 };

int run_tcase(const char *suite_name, TCase *tc)
{
	Suite *suite = suite_create(suite_name);
	SRunner *runner = srunner_create(suite);
	tcase_set_timeout(tc, WAITS * patience_s());
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

int run_cases(const char *suite_name, const TTest *const *cases, size_t count)
{
	TCase *tc = tcase_create(suite_name);
	for (size_t i = 0; i < count; i++)
		tcase_add_test(tc, cases[i]);
	return run_tcase(suite_name, tc);
}

int run_loop(const char *suite_name, const TTest *test_case, int count)
{
	TCase *tc = tcase_create(suite_name);
	tcase_add_loop_test(tc, test_case, 0, count);
	return run_tcase(suite_name, tc);
}
