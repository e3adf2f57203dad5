/* telemetry/utf8.h - is it UTF-8, and where not.
 * Owner: stateless. Needs: gateway/base. */
#ifndef TELEMETRY_UTF8_H
#define TELEMETRY_UTF8_H

#include "gateway/base/buf.h"

/* How many bytes from the start are well-formed UTF-8 (Unicode 15, table 3-7: no surrogates, no
 * overlong forms, at most U+10FFFF): s.n where all are. */
size_t utf8_valid_prefix(struct bytes s);

/* No byte of s has its top bit set. The last load overlaps the one before, so that there is no
 * loop over single bytes. */
static inline bool utf8_is_ascii(struct bytes s)
{
	uint64_t any = 0;
	uint64_t two[2];
	if (s.n >= sizeof(two)) {
		for (size_t i = 0; i + sizeof(two) <= s.n; i += sizeof(two)) {
			memcpy(two, s.p + i, sizeof(two));
			any |= two[0] | two[1];
		}
		memcpy(two, s.p + s.n - sizeof(two), sizeof(two));
		return !((any | two[0] | two[1]) & UINT64_C(0x8080808080808080));
	}
	if (s.n >= 8) {
		memcpy(&two[0], s.p, sizeof(two[0]));
		memcpy(&two[1], s.p + s.n - sizeof(two[1]), sizeof(two[1]));
		return !((two[0] | two[1]) & UINT64_C(0x8080808080808080));
	}
	if (s.n >= 4) {
		uint32_t head;
		uint32_t tail;
		memcpy(&head, s.p, sizeof(head));
		memcpy(&tail, s.p + s.n - sizeof(tail), sizeof(tail));
		return !((head | tail) & UINT32_C(0x80808080));
	}
	for (size_t i = 0; i < s.n; i++)
		any |= s.p[i];
	return any < 0x80;
}

static inline bool utf8_is_valid(struct bytes s)
{
	return utf8_valid_prefix(s) == s.n;
}

/* The longest prefix of at most max bytes that does not end within a character. s is valid. */
struct bytes utf8_cut(struct bytes s, size_t max);

/* Appends s; each byte that is not UTF-8 becomes U+FFFD. */
MUST_USE enum status utf8_append_clean(struct buf *out, struct bytes s);

/* Writes the character c (not a surrogate, at most 0x10ffff) to p: 1 to 4 bytes. */
size_t utf8_encode(uint32_t c, uint8_t p[static 4]);

#endif
