/* ramp.c - slow start after an outage.
 *
 * A thousand sites that lost the same backend come back within the same second, each with hours of
 * backlog. What each sends in the first seconds is what the backend must stand, so it begins with
 * little and doubles: a backend that is too slow has answered 429 or 503 before it is buried, and
 * one that is fast gets everything within the length of the ramp.
 *
 * It is pacing and not a bucket: each export keeps the next one waiting for as long as it takes at
 * the rate of the moment. So the first goes at once, whatever its size, and no wait reaches past
 * the end of the ramp. */
#include "gateway/forward/ramp.h"

#include "gateway/base/now.h"

/* In [0.5, 1.5). */
static double shift_of(uint32_t random)
{
	return 0.5 + (double)random / 4294967296.0;
}

void ramp_begin(struct ramp *r, int64_t length_ns, double floor, int doublings, uint64_t random,
		int64_t now)
{
	*r = (struct ramp){
		.start_ns = now,
		.length_ns = (int64_t)((double)length_ns * shift_of((uint32_t)random)),
		.floor = floor * shift_of((uint32_t)(random >> 32)),
		.doublings = doublings,
		.due_ns = now,
	};
}

bool ramp_is_on(const struct ramp *r, int64_t now)
{
	return now < r->start_ns + r->length_ns;
}

double ramp_rate(const struct ramp *r, int64_t now)
{
	int64_t steps = (now - r->start_ns) * r->doublings / r->length_ns;
	return r->floor * (double)(INT64_C(1) << (steps < 0 ? 0 : steps));
}

int64_t ramp_due_ns(const struct ramp *r, int64_t now)
{
	return ramp_is_on(r, now) && r->due_ns > now ? r->due_ns : now;
}

void ramp_take(struct ramp *r, int64_t bytes, int64_t now)
{
	if (!ramp_is_on(r, now) || bytes <= 0)
		return;
	int64_t end = r->start_ns + r->length_ns;
	double wait_ns = (double)bytes / ramp_rate(r, now) * (double)NS_PER_S;
	int64_t from = ramp_due_ns(r, now);
	r->due_ns = wait_ns >= (double)(end - from) ? end : from + (int64_t)wait_ns;
}
