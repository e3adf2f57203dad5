/* utf8.c - UTF-8 by the table of well-formed byte sequences.
 *
 * Telemetry is mostly ASCII: eight bytes are tested at a time, and only where one of them has its
 * top bit set does the table decide, character by character, until ASCII comes again. Receivers
 * written in Go refuse a whole batch for one bad byte, so this check is as strict as theirs. */
#include "gateway/telemetry/utf8.h"

/* The length of the well-formed character at p (of n bytes, n > 0), or 0. */
static size_t character(const uint8_t *p, size_t n)
{
	uint8_t a = p[0];
	if (a < 0x80)
		return 1;
	if (a < 0xc2 || a > 0xf4 || n < 2)
		return 0;
	if (a < 0xe0)
		return (p[1] & 0xc0) == 0x80 ? 2 : 0;
	/* Only the second byte has a narrower range after some first bytes. */
	uint8_t low = a == 0xe0 ? 0xa0 : a == 0xf0 ? 0x90 : 0x80;
	uint8_t high = a == 0xed ? 0x9f : a == 0xf4 ? 0x8f : 0xbf;
	if (p[1] < low || p[1] > high || n < 3 || (p[2] & 0xc0) != 0x80)
		return 0;
	if (a < 0xf0)
		return 3;
	return n >= 4 && (p[3] & 0xc0) == 0x80 ? 4 : 0;
}

size_t utf8_valid_prefix(struct bytes s)
{
	size_t i = 0;
	while (i < s.n) {
		uint64_t eight;
		if (s.n - i >= sizeof(eight)) {
			memcpy(&eight, s.p + i, sizeof(eight));
			if (!(eight & UINT64_C(0x8080808080808080))) {
				i += sizeof(eight);
				continue;
			}
		}
		size_t len = character(s.p + i, s.n - i);
		if (len == 0)
			return i;
		i += len;
	}
	return i;
}

struct bytes utf8_cut(struct bytes s, size_t max)
{
	if (s.n <= max)
		return s;
	while (max > 0 && (s.p[max] & 0xc0) == 0x80)
		max--;
	return bytes_of(s.p, max);
}

enum status utf8_append_clean(struct buf *out, struct bytes s)
{
	for (;;) {
		size_t good = utf8_valid_prefix(s);
		enum status st = buf_append(out, bytes_of(s.p, good));
		if (st || good == s.n)
			return st;
		st = buf_append_str(out, "\xef\xbf\xbd");
		if (st)
			return st;
		s = bytes_of(s.p + good + 1, s.n - good - 1);
	}
}

size_t utf8_encode(uint32_t c, uint8_t p[static 4])
{
	if (c < 0x80) {
		p[0] = (uint8_t)c;
		return 1;
	}
	if (c < 0x800) {
		p[0] = (uint8_t)(0xc0 | c >> 6);
		p[1] = (uint8_t)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		p[0] = (uint8_t)(0xe0 | c >> 12);
		p[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
		p[2] = (uint8_t)(0x80 | (c & 0x3f));
		return 3;
	}
	p[0] = (uint8_t)(0xf0 | c >> 18);
	p[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
	p[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
	p[3] = (uint8_t)(0x80 | (c & 0x3f));
	return 4;
}
