/* expect.h - what unit tests share on top of check: statuses and bytes that print when they differ.
 * Owner: tests. Needs: check, gateway/base. */
#ifndef TESTS_SUPPORT_EXPECT_H
#define TESTS_SUPPORT_EXPECT_H

#include <check.h>

#include "gateway/base/buf.h"

#define EXPECT_STATUS(call, want)                                                                \
	do {                                                                                     \
		enum status got_ = (call);                                                       \
		ck_assert_msg(got_ == (want), "%s is %s, expected %s", #call, status_name(got_), \
			      status_name(want));                                                \
	} while (0)

#define EXPECT_OK(call) EXPECT_STATUS(call, ST_OK)

/* Runs the cases of one suite and ends the test program: `return run_cases("buf", cases, count);`
 */
int run_cases(const char *suite_name, const TTest *const *cases, size_t count);
/* One case, run with _i from 0 to count - 1. */
int run_loop(const char *suite_name, const TTest *test_case, int count);
/* Takes a case that was put together by hand, as with fixtures. */
int run_tcase(const char *suite_name, TCase *tc);

#endif
