/* buf.h - struct bytes borrows, struct buf owns. A buf knows its cap from birth, and charges a
 * budget. Owner: whoever holds the struct. Needs: budget, status. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "gateway/base/budget.h"
#include "gateway/base/status.h"

/* A borrowed look at memory. p may be NULL where n is 0. Not NUL terminated. */
struct bytes {
	const uint8_t *p;
	size_t n;
};

/* Owned, growing memory. Members are for reading; only buf_* writes them. */
struct buf {
	uint8_t *p;
	size_t n;              /* bytes in use */
	size_t cap;            /* bytes allocated, and reserved in the budget */
	size_t max;            /* never grows past this */
	struct budget *budget; /* may be NULL: not counted */
};

static inline struct bytes bytes_of(const void *p, size_t n)
{
	return (struct bytes){ .p = p, .n = n };
}

/* A C string's bytes, without the NUL. NULL gives no bytes. */
static inline struct bytes bytes_str(const char *s)
{
	return s ? bytes_of(s, strlen(s)) : bytes_of(NULL, 0);
}

static inline bool bytes_equal(struct bytes a, struct bytes b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* Nothing is allocated yet. budget may be NULL. */
void buf_init(struct buf *b, size_t max_bytes, struct budget *budget);
/* Frees and gives back to the budget. Accepts a zeroed struct, and twice. */
void buf_done(struct buf *b);
/* Room for extra bytes behind n. ST_TOO_LARGE past max, ST_BUSY past the budget, ST_NO_MEMORY. */
MUST_USE enum status buf_reserve(struct buf *b, size_t extra);
/* Borrows src until return. The same statuses. */
MUST_USE enum status buf_append(struct buf *b, struct bytes src);
MUST_USE enum status buf_append_byte(struct buf *b, uint8_t c);
MUST_USE enum status buf_append_str(struct buf *b, const char *s);
MUST_USE enum status buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Count n bytes that were written behind n within the reserved room. */
void buf_advance(struct buf *b, size_t n);
/* Forget the content, keep the memory. */
void buf_clear(struct buf *b);
/* Forget what stands behind the first n bytes; n is at most what is in use. */
void buf_truncate(struct buf *b, size_t n);
/* Move: dst becomes src, src becomes empty with the same max and budget. dst must be done or
 * zeroed. */
void buf_move(struct buf *dst, struct buf *src);

static inline struct bytes buf_view(const struct buf *b)
{
	return bytes_of(b->p, b->n);
}

#endif
