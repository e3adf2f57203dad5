/* ingest/cors.h - which web pages may send (the Fetch standard's CORS protocol), as pure decisions.
 * Owner: made at start, then immutable. Needs: gateway/base. */
#ifndef INGEST_CORS_H
#define INGEST_CORS_H

#include "gateway/base/buf.h"

struct cors {
	const char *const *origins; /* NULL-terminated patterns; borrowed */
	struct buf allow_headers;   /* value of Access-Control-Allow-Headers, NUL terminated */
	char max_age[24];           /* value of Access-Control-Max-Age */
};

enum cors_match { CORS_REFUSED, CORS_ANY, CORS_LISTED };

/* Borrows origins as long as the struct lives; headers until return. Both are NULL-terminated lists
 * or NULL. ST_TOO_LARGE: the headers do not fit into one header line. */
MUST_USE enum status cors_init(struct cors *c, const char *const *origins,
			       const char *const *headers, int max_age_s);
/* Accepts a zeroed struct. */
void cors_done(struct cors *c);
/* Some origin is allowed. */
bool cors_is_on(const struct cors *c);
/* May a page of this origin send? A star in a pattern stands for any text without a slash, the bare
 * star for every origin. CORS_ANY: only the bare star allows it, so no credentials. origin may be
 * NULL. */
enum cors_match cors_check(const struct cors *c, const char *origin);

#endif
