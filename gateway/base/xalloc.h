/* xalloc.h - small fixed allocations that abort where memory is out: a restart is our recovery.
 * Never for sizes that a client chooses (those come from buf and arena). Owner: none. Needs:
 * status. */
#ifndef BASE_XALLOC_H
#define BASE_XALLOC_H

#include <stdlib.h>
#include <string.h>

#include "gateway/base/status.h"

/* Zeroed. The caller owns it, free() releases it. */
static inline void *xcalloc(size_t count, size_t size)
{
	void *p = calloc(count, size);
	CHECK(p);
	return p;
}

static inline char *xstrdup(const char *s)
{
	char *p = strdup(s);
	CHECK(p);
	return p;
}

#endif
