/* cors.c - matches origins and prepares the fixed values of a preflight's answer.
 *
 * CORS protects the user of a browser and not the gateway: a request of a refused origin is served
 * as any other, only without the headers that would let the page read the answer, and its preflight
 * names no origin, so that the browser never sends it. All of an origin is compared without case,
 * because scheme and host have none.
 *
 * A star never matches a slash. So a pattern for the hosts of one domain cannot be stretched over
 * another authority. Matching is linear in pattern times origin: one backtracking point, no
 * recursion. */
#include "gateway/ingest/cors.h"

#include <stdio.h>

enum { ALLOW_HEADERS_MAX = 4096 };

enum status cors_init(struct cors *c, const char *const *origins, const char *const *headers,
		      int max_age_s)
{
	*c = (struct cors){ .origins = origins };
	buf_init(&c->allow_headers, ALLOW_HEADERS_MAX, NULL);
	(void)snprintf(c->max_age, sizeof(c->max_age), "%d", max_age_s);
	enum status st = buf_append_str(&c->allow_headers, "Content-Type, Content-Encoding");
	for (; !st && headers && *headers; headers++)
		st = buf_printf(&c->allow_headers, ", %s", *headers);
	if (!st)
		st = buf_append_byte(&c->allow_headers, '\0');
	if (st)
		cors_done(c);
	return st;
}

void cors_done(struct cors *c)
{
	buf_done(&c->allow_headers);
	c->origins = NULL;
}

bool cors_is_on(const struct cors *c)
{
	return c->origins && c->origins[0];
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool matches(const char *pattern, const char *text)
{
	const char *star = NULL;   /* behind the last star seen */
	const char *resume = NULL; /* what that star has not eaten yet */
	while (*text) {
		if (*pattern == '*') {
			star = ++pattern;
			resume = text;
		} else if (lower(*pattern) == lower(*text)) {
			pattern++;
			text++;
		} else if (star && *resume != '/') {
			pattern = star;
			text = ++resume;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return *pattern == '\0';
}

enum cors_match cors_check(const struct cors *c, const char *origin)
{
	enum cors_match best = CORS_REFUSED;
	if (!origin || !cors_is_on(c))
		return best;
	for (const char *const *p = c->origins; *p; p++) {
		if (strcmp(*p, "*") == 0)
			best = CORS_ANY;
		else if (matches(*p, origin))
			return CORS_LISTED;
	}
	return best;
}
