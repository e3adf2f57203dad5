/* arena.h - many small allocations that die together, under one cap.
 * Owner: whoever holds the struct. Needs: buf, budget, status. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "gateway/base/buf.h"

struct arena_chunk;

struct arena {
	struct arena_chunk *chunks; /* newest first */
	size_t total;               /* bytes taken from the allocator */
	size_t max;
	struct budget *budget; /* may be NULL */
	bool is_starved; /* the budget, or the allocator, and not the cap refused an allocation */
};

void arena_init(struct arena *a, size_t max_bytes, struct budget *budget);
/* Frees everything. Accepts a zeroed struct, and twice. */
void arena_done(struct arena *a);
/* Frees everything but the newest chunk, for reuse. */
void arena_clear(struct arena *a);
/* n bytes, aligned for any type, not zeroed. NULL where the cap, the budget or memory is reached:
 * callers turn that into ST_TOO_LARGE. */
MUST_USE void *arena_alloc(struct arena *a, size_t n);
MUST_USE void *arena_calloc(struct arena *a, size_t count, size_t size);
/* A NUL-terminated copy. NULL as above. Borrows src until return. */
MUST_USE char *arena_strdup(struct arena *a, struct bytes src);

#endif
