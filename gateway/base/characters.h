/* characters.h - cutting texts between characters.
 * Owner: stateless. Needs: nothing. */
#ifndef BASE_CHARACTERS_H
#define BASE_CHARACTERS_H

#include <stddef.h>

/* The length of the first n bytes without a UTF-8 character at their end that is cut. What is no
 * UTF-8 stays as it is. */
static inline size_t characters_whole(const char *p, size_t n)
{
	size_t lead = n;
	/* Continuation bytes are 10xxxxxx, and a character has three of them at most. */
	while (lead > 0 && n - lead < 3 && ((unsigned char)p[lead - 1] & 0xc0) == 0x80)
		lead--;
	if (lead == 0 || (unsigned char)p[lead - 1] < 0xc0)
		return n;
	unsigned char c = (unsigned char)p[lead - 1];
	size_t length = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
	return n - (lead - 1) < length ? lead - 1 : n;
}

#endif
