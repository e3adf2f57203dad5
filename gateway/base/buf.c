/* buf.c - growing memory with a cap.
 *
 * Growth doubles up to the cap, so that appending stays linear, and reserves the difference in the
 * budget before it asks the allocator: memory is bounded before it is allocated. */
#include "gateway/base/buf.h"

#include <stdio.h>
#include <stdlib.h>

enum { BUF_MIN_CAP = 256 };

void buf_init(struct buf *b, size_t max_bytes, struct budget *budget)
{
	*b = (struct buf){ .max = max_bytes, .budget = budget };
}

void buf_done(struct buf *b)
{
	if (b->budget)
		budget_release(b->budget, b->cap);
	free(b->p);
	b->p = NULL;
	b->n = 0;
	b->cap = 0;
}

enum status buf_reserve(struct buf *b, size_t extra)
{
	if (extra <= b->cap - b->n)
		return ST_OK;
	if (extra > b->max || b->n > b->max - extra)
		return ST_TOO_LARGE;
	size_t need = b->n + extra;
	/* The first is exact: who knows the length asks for it at once, and shall not pay for more.
	 */
	size_t cap = b->cap ? b->cap : need > BUF_MIN_CAP ? need : BUF_MIN_CAP;
	while (cap < need)
		cap = cap > b->max / 2 ? b->max : cap * 2;
	if (cap > b->max)
		cap = b->max;
	/* A budget that has no room for doubling may still have room for what is needed. */
	if (b->budget && !budget_reserve(b->budget, cap - b->cap)) {
		cap = need;
		if (!budget_reserve(b->budget, cap - b->cap))
			return ST_BUSY;
	}
	uint8_t *p = realloc(b->p, cap);
	if (!p) {
		if (b->budget)
			budget_release(b->budget, cap - b->cap);
		return ST_NO_MEMORY;
	}
	b->p = p;
	b->cap = cap;
	return ST_OK;
}

enum status buf_append(struct buf *b, struct bytes src)
{
	enum status st = buf_reserve(b, src.n);
	if (st)
		return st;
	if (src.n)
		memcpy(b->p + b->n, src.p, src.n);
	b->n += src.n;
	return ST_OK;
}

enum status buf_append_byte(struct buf *b, uint8_t c)
{
	return buf_append(b, bytes_of(&c, 1));
}

enum status buf_append_str(struct buf *b, const char *s)
{
	return buf_append(b, bytes_str(s));
}

enum status buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int len = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	CHECK(len >= 0);
	/* One more for the NUL, which vsnprintf writes and n does not count. */
	enum status st = buf_reserve(b, (size_t)len + 1);
	if (st)
		return st;
	va_start(ap, fmt);
	(void)vsnprintf((char *)b->p + b->n, (size_t)len + 1, fmt, ap);
	va_end(ap);
	b->n += (size_t)len;
	return ST_OK;
}

void buf_advance(struct buf *b, size_t n)
{
	CHECK(n <= b->cap - b->n);
	b->n += n;
}

void buf_clear(struct buf *b)
{
	b->n = 0;
}

void buf_truncate(struct buf *b, size_t n)
{
	CHECK(n <= b->n);
	b->n = n;
}

void buf_move(struct buf *dst, struct buf *src)
{
	*dst = *src;
	src->p = NULL;
	src->n = 0;
	src->cap = 0;
}
