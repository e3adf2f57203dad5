/* now.c - the clocks, and their fake.
 *
 * The fake is process wide and atomic, so that a test can move time under running threads. Waiting
 * (condition variables, epoll) always uses real time: a test that fakes the clock wakes the waiter
 * by an event. */
#include "gateway/base/now.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

static atomic_bool is_fake;
static _Atomic int64_t fake_wall;
static _Atomic int64_t fake_mono;

static int64_t read_clock(clockid_t id)
{
	struct timespec ts;
	(void)clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

int64_t now_wall_ns(void)
{
	return atomic_load(&is_fake) ? atomic_load(&fake_wall) : read_clock(CLOCK_REALTIME);
}

int64_t now_mono_ns(void)
{
	return atomic_load(&is_fake) ? atomic_load(&fake_mono) : read_clock(CLOCK_MONOTONIC);
}

int64_t now_boot_ns(void)
{
	return atomic_load(&is_fake) ? atomic_load(&fake_mono) : read_clock(CLOCK_BOOTTIME);
}

void now_fake(int64_t wall_ns, int64_t mono_ns)
{
	atomic_store(&fake_wall, wall_ns);
	atomic_store(&fake_mono, mono_ns);
	atomic_store(&is_fake, true);
}

void now_fake_advance(int64_t ns)
{
	atomic_fetch_add(&fake_wall, ns);
	atomic_fetch_add(&fake_mono, ns);
}

void now_fake_off(void)
{
	atomic_store(&is_fake, false);
}
