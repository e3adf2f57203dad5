/* backoff.c - exponential back-off with full jitter, and Retry-After.
 *
 * Full jitter (a uniform draw from zero to the bound) and not a jittered bound: when an uplink
 * returns to a hundred sites at once, their first attempts spread over the whole interval.
 * Randomness is injected, so that tests are not. */
#include "gateway/forward/backoff.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "gateway/base/now.h"
#include "gateway/base/status.h"

static const int64_t retry_after_max_ns = 3600 * NS_PER_S;

uint64_t backoff_system_random(void *ctx)
{
	(void)ctx;
	uint64_t n;
	CHECK(getrandom(&n, sizeof(n), 0) == (ssize_t)sizeof(n));
	return n;
}

int64_t backoff_wait_ns(const struct backoff *b, int failures, int64_t at_least_ns)
{
	int64_t bound = b->initial_ns;
	for (int i = 1; i < failures && bound < b->max_ns; i++)
		bound *= 2;
	if (bound > b->max_ns)
		bound = b->max_ns;
	int64_t wait = (int64_t)(b->random(b->ctx) % ((uint64_t)bound + 1));
	return wait > at_least_ns ? wait : at_least_ns;
}

/* RFC 9110, 5.6.7: IMF-fixdate, and two obsolete forms that a recipient must accept. The C locale
 * is in force: nothing in this program calls setlocale. */
static bool parse_http_date(const char *value, int64_t *ret_ns)
{
	static const char *const forms[] = { "%a, %d %b %Y %H:%M:%S GMT",
					     "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y" };
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		struct tm tm = { 0 };
		const char *end = strptime(value, forms[i], &tm);
		if (end && *end == '\0') {
			/* Year 9999 is how some say "never", and year 1 how others do: as ns these
			 * are no numbers. */
			time_t at = timegm(&tm);
			*ret_ns = at < 0                    ? 0 :
				  at < INT64_MAX / NS_PER_S ? (int64_t)at * NS_PER_S :
							      INT64_MAX;
			return true;
		}
	}
	return false;
}

int64_t backoff_retry_after_ns(const char *value, int64_t wall_ns)
{
	int64_t wait = 0;
	int64_t at;
	if (!value || !*value)
		return 0;
	size_t digits = strspn(value, "0123456789");
	if (value[digits] == '\0')
		wait = digits > 6 ? retry_after_max_ns : strtoll(value, NULL, 10) * NS_PER_S;
	else if (parse_http_date(value, &at))
		wait = at - (wall_ns > 0 ? wall_ns : 0);
	if (wait < 0)
		return 0;
	return wait < retry_after_max_ns ? wait : retry_after_max_ns;
}
