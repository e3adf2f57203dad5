/* arena.c - a bump allocator in chunks.
 *
 * Chunks double from 4 KiB to 1 MiB; a larger request gets a chunk of its own size. Nothing is
 * freed before the arena: that is what makes unpacking cheap and leaks impossible. */
#include "gateway/base/arena.h"

#include <stdalign.h>
#include <stdlib.h>

enum { CHUNK_MIN = 4096, CHUNK_MAX = 1 << 20 };

struct arena_chunk {
	struct arena_chunk *next;
	size_t used;
	size_t size;
	alignas(max_align_t) uint8_t data[];
};

void arena_init(struct arena *a, size_t max_bytes, struct budget *budget)
{
	*a = (struct arena){ .max = max_bytes, .budget = budget };
}

static void chunk_free(struct arena *a, struct arena_chunk *c)
{
	size_t n = sizeof(*c) + c->size;
	a->total -= n;
	if (a->budget)
		budget_release(a->budget, n);
	free(c);
}

void arena_done(struct arena *a)
{
	while (a->chunks) {
		struct arena_chunk *c = a->chunks;
		a->chunks = c->next;
		chunk_free(a, c);
	}
}

void arena_clear(struct arena *a)
{
	struct arena_chunk *keep = a->chunks;
	if (!keep)
		return;
	a->chunks = keep->next;
	arena_done(a);
	keep->next = NULL;
	keep->used = 0;
	a->chunks = keep;
}

static struct arena_chunk *chunk_new(struct arena *a, size_t need)
{
	size_t size = a->chunks ? a->chunks->size * 2 : CHUNK_MIN;
	if (size > CHUNK_MAX)
		size = CHUNK_MAX;
	if (size < need)
		size = need;
	size_t n = sizeof(struct arena_chunk) + size;
	if (n > a->max || a->total > a->max - n)
		return NULL;
	if (a->budget && !budget_reserve(a->budget, n)) {
		a->is_starved = true;
		return NULL;
	}
	struct arena_chunk *c = malloc(n);
	if (!c) {
		a->is_starved = true;
		if (a->budget)
			budget_release(a->budget, n);
		return NULL;
	}
	a->total += n;
	c->used = 0;
	c->size = size;
	c->next = a->chunks;
	a->chunks = c;
	return c;
}

void *arena_alloc(struct arena *a, size_t n)
{
	const size_t align = alignof(max_align_t);
	if (n > a->max)
		return NULL;
	n = (n + align - 1) & ~(align - 1);
	struct arena_chunk *c = a->chunks;
	if (!c || c->size - c->used < n)
		c = chunk_new(a, n);
	if (!c)
		return NULL;
	void *p = c->data + c->used;
	c->used += n;
	return p;
}

void *arena_calloc(struct arena *a, size_t count, size_t size)
{
	size_t n;
	if (__builtin_mul_overflow(count, size, &n))
		return NULL;
	void *p = arena_alloc(a, n);
	if (p)
		memset(p, 0, n);
	return p;
}

char *arena_strdup(struct arena *a, struct bytes src)
{
	char *s = arena_alloc(a, src.n + 1);
	if (!s)
		return NULL;
	if (src.n)
		memcpy(s, src.p, src.n);
	s[src.n] = '\0';
	return s;
}
