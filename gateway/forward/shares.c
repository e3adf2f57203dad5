/* shares.c - start-time fair queueing (Goyal, Vin and Cheng, 1996), for up to 64 parties.
 *
 * Each party has a tag: the sum of what it was given, divided by its weight. Who has the lowest tag
 * among those who want is next. So as long as several want, what they are given is in proportion to
 * their weights, whatever the sizes are that it comes in, and each waits at most for one piece of
 * each other party, times the proportion.
 *
 * Work-conserving: who does not want is not asked, and its share goes to those who do. Who was idle
 * gets no credit for it: when it wants again, its tag is raised to that of the one picked last, or
 * a class that was silent for a day would own the link for the next one. Parties that wanted all
 * along have no lower tag than that, so raising all of them changes nothing for them.
 *
 * Ties go to the lower number, which is the more urgent: it is first to be served when all begin.
 *
 * Tags only grow, by SCALE for each byte at a weight of 1: 2^64 are 16 PiB, which no uplink of an
 * edge site carries while one process lives. */
#include "gateway/forward/shares.h"

#include "gateway/base/status.h"

enum { SCALE = 1024 };

void shares_init(struct shares *s, const int *weights, size_t count)
{
	CHECK(count > 0 && count <= SHARES_MAX);
	*s = (struct shares){ .count = count };
	for (size_t i = 0; i < count; i++)
		s->weight[i] = weights[i] < 1 ? 1 : (uint32_t)weights[i];
}

int shares_pick(struct shares *s, uint64_t wants)
{
	int best = -1;
	for (size_t i = 0; i < s->count; i++) {
		if (!(wants >> i & 1))
			continue;
		if (s->tag[i] < s->now)
			s->tag[i] = s->now;
		if (best < 0 || s->tag[i] < s->tag[best])
			best = (int)i;
	}
	if (best >= 0)
		s->now = s->tag[best];
	return best;
}

void shares_charge(struct shares *s, int party, uint64_t amount)
{
	CHECK(party >= 0 && (size_t)party < s->count);
	/* At least one unit, or a party of tiny pieces and a great weight would never be done. */
	s->tag[party] += amount * SCALE / s->weight[party] + 1;
}
