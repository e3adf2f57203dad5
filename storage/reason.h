/* storage/reason.h - what the errors of dead letters have in common: the words without the numbers.
 * Owner: stateless. Needs: gateway/base. */
#ifndef STORAGE_REASON_H
#define STORAGE_REASON_H

#include <stddef.h>

enum { REASON_MAX = 200 };

/* Writes the reason of this error (NULL: none) to ret, cut to whole characters:
 * - a word that holds a digit becomes "#". A word is letters and digits, with - _ . : + between;
 * - what stands in double quotes behind an equals sign (the value of a label) becomes "#";
 * - the status behind "HTTP " stays; control characters become blanks.
 * The reason of a reason is itself. */
void reason_of(const char *error, char *ret, size_t size);

#endif
