/* forward/prometheus_delta.h - the sums of delta series of one destination, from export to export.
 * Owner: the destination's thread. Needs: forward/prometheus_sum.h. */
#ifndef FORWARD_PROMETHEUS_DELTA_H
#define FORWARD_PROMETHEUS_DELTA_H

#include "gateway/forward/prometheus_sum.h"

struct prometheus_delta;   /* what was delivered */
struct prometheus_changes; /* what one export adds to it */

/* Who a series is: two hashes of its labels with secret seeds. */
struct prometheus_key {
	uint64_t a;
	uint64_t b;
};

struct prometheus_delta_counts {
	uint64_t begun;   /* series that had no sum: new ones, and those of before a restart */
	uint64_t evicted; /* sums that had to go for others */
};

/* Holds at most max_bytes; past it the sum that was not changed for longest goes. Never NULL. */
struct prometheus_delta *prometheus_delta_new(size_t max_bytes);
void prometheus_delta_free(struct prometheus_delta *d);
/* How many sums there are. */
size_t prometheus_delta_count(const struct prometheus_delta *d);

/* The memory of changes comes out of the budget (may be NULL), max_bytes at most. Never NULL. */
struct prometheus_changes *prometheus_changes_new(size_t max_bytes, struct budget *budget);
/* Forgets them. Accepts NULL. */
void prometheus_changes_free(struct prometheus_changes *c);
/* It changes sums of delta series, and not other notes only. */
bool prometheus_changes_has_sums(const struct prometheus_changes *c);
struct arena *prometheus_changes_arena(struct prometheus_changes *c);

/* The sum as this export leaves it, to be changed: a copy of what was delivered at first. One that
 * has not begun is all zero. is_counted: it is a delta series, and no other note under a key.
 * ST_TOO_LARGE, ST_BUSY: no room. */
MUST_USE enum status prometheus_changes_open(struct prometheus_changes *c,
					     const struct prometheus_delta *d,
					     struct prometheus_key key, bool is_counted,
					     struct prometheus_sum **ret);
/* The export was delivered: what it changed is the state now. Takes c. */
void prometheus_delta_commit(struct prometheus_delta *d, struct prometheus_changes *c,
			     struct prometheus_delta_counts *ret);

#endif
