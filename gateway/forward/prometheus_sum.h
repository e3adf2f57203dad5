/* forward/prometheus_sum.h - what the deltas of one series add up to.
 * Owner: whoever holds the struct. Needs: gateway/base. */
#ifndef FORWARD_PROMETHEUS_SUM_H
#define FORWARD_PROMETHEUS_SUM_H

#include "gateway/base/arena.h"

/* Buckets of an exponential histogram: counts[i] is that of bucket offset + i. */
struct prometheus_side {
	int32_t offset;
	uint32_t count;
	uint64_t *counts;
};

/* Explicit bounds with their counts (one more than bounds, or none of both). */
struct prometheus_bounds {
	uint32_t count; /* of the bounds */
	uint32_t bucket_count;
	uint64_t *bounds; /* the bits of doubles */
	uint64_t *counts;
};

/* A number uses value only. All zero is a sum that has not begun. */
struct prometheus_sum {
	uint64_t start_ns;
	uint64_t last_ns; /* of the last delta in it; 0: not begun */
	double value;     /* of histograms: the sum of observations */
	bool has_value;
	uint64_t count;
	uint64_t zero_count;
	double zero_threshold;
	int32_t scale;
	struct prometheus_bounds explicit;
	struct prometheus_side positive;
	struct prometheus_side negative;
};

/* More buckets on a side are merged by halving the resolution. */
enum { PROMETHEUS_SIDE_MAX = 1024, PROMETHEUS_SCALE_MIN = -4, PROMETHEUS_SCALE_MAX = 8 };

/* to += from. Other bounds than those of `to` begin it anew: *ret_is_reset. Memory comes from the
 * arena; ST_TOO_LARGE, ST_BUSY where it is full. */
MUST_USE enum status prometheus_sum_explicit(struct prometheus_sum *to,
					     const struct prometheus_sum *from, struct arena *arena,
					     bool *ret_is_reset);
/* The same for exponential buckets. ST_INVALID, and nothing added: both together would need a scale
 * below PROMETHEUS_SCALE_MIN. */
MUST_USE enum status prometheus_sum_exponential(struct prometheus_sum *to,
						const struct prometheus_sum *from,
						struct arena *arena);

/* Bytes of its arrays. */
size_t prometheus_sum_extra(const struct prometheus_sum *s);
/* A copy whose arrays stand in `words`, of prometheus_sum_extra bytes. */
void prometheus_sum_copy(struct prometheus_sum *to, const struct prometheus_sum *from,
			 uint64_t *words);

#endif
