/* expect.c - runs a suite of check in one process, so that sanitizers and debuggers see it whole.
 */
#include "tests/support/expect.h"

#include <stdlib.h>

int run_cases(const char *suite_name, const TTest *const *cases, size_t count)
{
	Suite *suite = suite_create(suite_name);
	TCase *tc = tcase_create(suite_name);
	tcase_set_timeout(tc, 60);
	for (size_t i = 0; i < count; i++)
		tcase_add_test(tc, cases[i]);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
