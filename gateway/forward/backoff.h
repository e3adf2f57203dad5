/* forward/backoff.h - how long to wait after a failure.
 * Owner: whoever holds the struct. Needs: gateway/base. */
#ifndef FORWARD_BACKOFF_H
#define FORWARD_BACKOFF_H

#include <stdint.h>

typedef uint64_t (*backoff_random_fn)(void *ctx);

struct backoff {
	int64_t initial_ns;
	int64_t max_ns;
	backoff_random_fn random; /* uniform over all 64 bits */
	void *ctx;
};

/* The random number of the system (getrandom). ctx is not used. */
uint64_t backoff_system_random(void *ctx);

/* Exponential with full jitter: uniform in [0, min(max, initial * 2^(failures - 1))], where
 * failures counts from 1, but at least at_least_ns (a Retry-After; 0: none). */
int64_t backoff_wait_ns(const struct backoff *b, int failures, int64_t at_least_ns);

/* The wait that a Retry-After header asks for (RFC 9110, 10.2.3): seconds, or an HTTP date in any
 * of its three forms, measured against wall_ns. 0: none, in the past, or not understood. An hour at
 * most: nobody's typing error may park a destination for a year. */
int64_t backoff_retry_after_ns(const char *value, int64_t wall_ns);

#endif
