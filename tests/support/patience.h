/* patience.h - how long tests wait, in one place. A machine may be slow, shared, or running a
 * sanitizer: a test waits for an event and gives up late, and what it says of speed it says of the
 * time that the machine gave it. Owner: any thread. Needs: check. */
#ifndef TESTS_SUPPORT_PATIENCE_H
#define TESTS_SUPPORT_PATIENCE_H

#include <check.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/* How long to wait for what must come: TIDEGATE_TEST_DEADLINE seconds, or 120. What passes never
 * waits for it. All times here are of the real monotonic clock, whatever now.h says. */
int64_t patience_ns(void);
int patience_s(void);
/* When a wait that begins now gives up; also by another clock. */
int64_t patience_end_ns(void);
struct timespec patience_until(clockid_t clock);
/* Sleeps a moment, between two questions whether it has come. False: the time is over. */
bool patience_pause(int64_t end_ns);

/* For what has no event of its own. */
#define AWAIT(condition)                                                                \
	do {                                                                            \
		int64_t end_ = patience_end_ns();                                       \
		bool is_so_ = condition;                                                \
		while (!is_so_ && patience_pause(end_))                                 \
			is_so_ = condition;                                             \
		ck_assert_msg(is_so_, "not within %d s: %s", patience_s(), #condition); \
	} while (0)

/* Measures what the machine gave us: the time that passed, less the time in which somebody waited
 * for a processor or a disk (the kernel's pressure, /proc/pressure, where there is one) and less
 * what a hypervisor took. */
struct stopwatch {
	int64_t began_ns;
	int64_t lost_ns;
};
struct stopwatch stopwatch_start(void);
int64_t stopwatch_ns(const struct stopwatch *w);

#endif
