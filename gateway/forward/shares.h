/* forward/shares.h - whose turn it is: a weighted fair pick that leaves nobody waiting for ever.
 * A value without threads, clock or memory. Owner: whoever holds the struct. Needs: nothing. */
#ifndef FORWARD_SHARES_H
#define FORWARD_SHARES_H

#include <stddef.h>
#include <stdint.h>

enum { SHARES_MAX = 64 };

struct shares {
	size_t count; /* private below */
	uint32_t weight[SHARES_MAX];
	uint64_t tag[SHARES_MAX]; /* what each was given, divided by its weight */
	uint64_t now;             /* the tag of who was picked last */
};

/* weights: one per party, the most urgent first; what counts is their proportion. A weight below 1
 * counts as 1. */
void shares_init(struct shares *s, const int *weights, size_t count);
/* Whose turn it is among those who want one now (bit i: party i): the one that had least of its
 * share; the first of several that had the same. -1: nobody wants. Changes nothing that the next
 * call would not find again. */
int shares_pick(struct shares *s, uint64_t wants);
/* The party was given so many bytes (or whatever is shared). */
void shares_charge(struct shares *s, int party, uint64_t amount);

#endif
