/* forward/ramp.h - slow start: little at first, and soon everything.
 * A value without threads or clock. Owner: whoever holds the struct. Needs: nothing. */
#ifndef FORWARD_RAMP_H
#define FORWARD_RAMP_H

#include <stdbool.h>
#include <stdint.h>

struct ramp {
	int64_t start_ns;  /* mono */
	int64_t length_ns; /* 0: off */
	double floor;      /* bytes a second, at the start */
	int doublings;     /* of it, until the end */
	int64_t due_ns;    /* mono: nothing goes before */
};

/* From floor on the rate doubles so many times within about length_ns; then there is no limit any
 * more. random (64 bits) shifts both by up to a half, so that no two sites are alike. */
void ramp_begin(struct ramp *r, int64_t length_ns, double floor, int doublings, uint64_t random,
		int64_t now);
bool ramp_is_on(const struct ramp *r, int64_t now);
/* Bytes a second. It must be on. */
double ramp_rate(const struct ramp *r, int64_t now);
/* When the next may go; now where it may, or where it is off. The first may at once. */
int64_t ramp_due_ns(const struct ramp *r, int64_t now);
void ramp_take(struct ramp *r, int64_t bytes, int64_t now);

#endif
