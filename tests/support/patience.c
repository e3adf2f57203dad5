/* patience.c - see the header.
 *
 * A number of seconds in a test is a bet on a machine. There is one here, so large that losing it
 * means that what was waited for does not come; TIDEGATE_TEST_DEADLINE changes it.
 *
 * Where speed itself is promised, a limit stands in the test, and a stopwatch takes off what others
 * had of the machine: "some" of /proc/pressure/{cpu,io} counts the time in which any runnable task
 * waited for its turn, of which ours is a part. So on a quiet machine the limit is meant as it
 * stands, and on a crowded one it gives way. */
#include "tests/support/patience.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gateway/base/now.h"

enum { PATIENCE_S = 120, MOMENT_MS = 2 };

static int64_t clock_ns(void)
{
	struct timespec ts;
	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

int patience_s(void)
{
	const char *text = getenv("TIDEGATE_TEST_DEADLINE");
	int s = text ? atoi(text) : 0;
	return s > 0 ? s : PATIENCE_S;
}

int64_t patience_ns(void)
{
	return patience_s() * NS_PER_S;
}

int64_t patience_end_ns(void)
{
	return clock_ns() + patience_ns();
}

struct timespec patience_until(clockid_t clock)
{
	struct timespec until;
	(void)clock_gettime(clock, &until);
	until.tv_sec += patience_s();
	return until;
}

bool patience_pause(int64_t end_ns)
{
	const struct timespec moment = { .tv_nsec = MOMENT_MS * NS_PER_MS };
	if (clock_ns() >= end_ns)
		return false;
	(void)nanosleep(&moment, NULL);
	return true;
}

/* The number behind a word in the first line of a file; 0 where either is missing. */
static int64_t read_number(const char *path, const char *word)
{
	char line[256] = "";
	FILE *file = fopen(path, "re");
	if (!file)
		return 0;
	const char *found = fgets(line, sizeof(line), file) ? strstr(line, word) : NULL;
	(void)fclose(file);
	return found ? strtoll(found + strlen(word), NULL, 10) : 0;
}

/* Of all processors together, which is generous. */
static int64_t stolen_ns(void)
{
	long long ticks = 0;
	FILE *file = fopen("/proc/stat", "re");
	if (!file)
		return 0;
	if (fscanf(file, "cpu %*d %*d %*d %*d %*d %*d %*d %lld", &ticks) != 1)
		ticks = 0;
	(void)fclose(file);
	return ticks * NS_PER_S / sysconf(_SC_CLK_TCK);
}

static int64_t lost_ns(void)
{
	return stolen_ns() + 1000 * (read_number("/proc/pressure/cpu", "total=") +
				     read_number("/proc/pressure/io", "total="));
}

struct stopwatch stopwatch_start(void)
{
	return (struct stopwatch){ .began_ns = clock_ns(), .lost_ns = lost_ns() };
}

int64_t stopwatch_ns(const struct stopwatch *w)
{
	int64_t passed = clock_ns() - w->began_ns;
	int64_t lost = lost_ns() - w->lost_ns;
	return passed > lost ? passed - lost : 0;
}
