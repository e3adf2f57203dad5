/* wrap.h - protobuf messages from the inside out, for tests of wire code.
 * Owner: tests. Needs: telemetry/wire. */
#ifndef TESTS_SUPPORT_WRAP_H
#define TESTS_SUPPORT_WRAP_H

#include "gateway/telemetry/wire.h"

/* Puts what stands in b from `start` on into a field of type WIRE_LEN. */
static inline void wrap_from(struct buf *b, size_t start, uint32_t number)
{
	struct buf content;
	buf_init(&content, SIZE_MAX, NULL);
	CHECK(buf_append(&content, bytes_of(b->p + start, b->n - start)) == ST_OK);
	b->n = start;
	CHECK(wire_put_bytes(b, number, buf_view(&content)) == ST_OK);
	buf_done(&content);
}

/* WRAP(&b, 2, 2, 1) turns the content of b into {1: {2: {2: content}}}. */
#define WRAP(b, ...)                                                                   \
	do {                                                                           \
		const uint32_t numbers_[] = { __VA_ARGS__ };                           \
		for (size_t i_ = 0; i_ < sizeof(numbers_) / sizeof(numbers_[0]); i_++) \
			wrap_from((b), 0, numbers_[i_]);                               \
	} while (0)

#endif
