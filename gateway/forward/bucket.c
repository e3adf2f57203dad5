/* bucket.c - a token bucket with a debt.
 *
 * A bucket that asks for as many tokens as an export is large can never let one pass that is larger
 * than the bucket. So this one lets anything pass while it is not overdrawn, takes the whole size,
 * and pays the debt off before the next: over time the rate holds whatever the sizes are, and at
 * any moment it is passed by one burst and one export at most. */
#include "gateway/forward/bucket.h"

#include "gateway/base/now.h"

static void refill(struct bucket *b, int64_t now)
{
	if (now > b->at_ns)
		b->level += b->rate * (double)(now - b->at_ns) / (double)NS_PER_S;
	if (b->level > b->burst)
		b->level = b->burst;
	b->at_ns = now;
}

void bucket_init(struct bucket *b, uint64_t rate, uint64_t burst, int64_t now)
{
	*b = (struct bucket){
		.rate = (double)rate, .burst = (double)burst, .level = (double)burst, .at_ns = now
	};
}

void bucket_set_rate(struct bucket *b, uint64_t rate, uint64_t burst, int64_t now)
{
	refill(b, now);
	bool had_limit = b->rate > 0;
	b->rate = (double)rate;
	b->burst = (double)burst;
	/* Without a limit nothing is saved up and nothing owed. */
	if (!had_limit || b->level > b->burst)
		b->level = had_limit ? b->burst : 0;
}

bool bucket_is_ready(struct bucket *b, int64_t now)
{
	refill(b, now);
	return b->rate <= 0 || b->level >= 0;
}

int64_t bucket_ready_ns(struct bucket *b, int64_t now)
{
	if (bucket_is_ready(b, now))
		return now;
	return now + (int64_t)(-b->level / b->rate * (double)NS_PER_S) + 1;
}

void bucket_take(struct bucket *b, int64_t bytes, int64_t now)
{
	refill(b, now);
	if (b->rate > 0)
		b->level -= (double)bytes;
}
