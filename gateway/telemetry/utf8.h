/* telemetry/utf8.h - is it UTF-8, and where not.
 * Owner: stateless. Needs: gateway/base. */
#ifndef TELEMETRY_UTF8_H
#define TELEMETRY_UTF8_H

#include "gateway/base/buf.h"

/* How many bytes from the start are well-formed UTF-8 (Unicode 15, table 3-7: no surrogates, no
 * overlong forms, at most U+10FFFF): s.n where all are. */
size_t utf8_valid_prefix(struct bytes s);

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
