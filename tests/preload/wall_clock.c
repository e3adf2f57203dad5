/* wall_clock.c - a wall clock that is wrong, and can be set, for LD_PRELOAD: the file that
 * TIDEGATE_CLOCK names says how many seconds are added to the true time. The other clocks stay, as
 * on a device without a battery. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t id, struct timespec *ts);

int clock_gettime(clockid_t id, struct timespec *ts)
{
	long rc = syscall(SYS_clock_gettime, id, ts);
	const char *path = getenv("TIDEGATE_CLOCK");
	FILE *f = rc == 0 && id == CLOCK_REALTIME && path ? fopen(path, "re") : NULL;
	long long seconds = 0;
	if (f) {
		if (fscanf(f, "%lld", &seconds) == 1)
			ts->tv_sec += (time_t)seconds;
		(void)fclose(f);
	}
	return (int)rc;
}
