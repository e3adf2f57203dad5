/* budget.h - a cap on bytes that several owners share (what is in flight; a destination's window).
 * Owner: any thread, lock-free. Needs: nothing. */
#ifndef BASE_BUDGET_H
#define BASE_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct budget {
	atomic_size_t used;
	size_t max;
};

static inline void budget_init(struct budget *b, size_t max_bytes)
{
	atomic_init(&b->used, 0);
	b->max = max_bytes;
}

/* Reserve n bytes. False, and nothing reserved, where that would pass the cap. */
static inline bool budget_reserve(struct budget *b, size_t n)
{
	size_t used = atomic_load_explicit(&b->used, memory_order_relaxed);
	do {
		if (n > b->max || used > b->max - n)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(
		&b->used, &used, used + n, memory_order_relaxed, memory_order_relaxed));
	return true;
}

static inline void budget_release(struct budget *b, size_t n)
{
	atomic_fetch_sub_explicit(&b->used, n, memory_order_relaxed);
}

static inline size_t budget_used(struct budget *b)
{
	return atomic_load_explicit(&b->used, memory_order_relaxed);
}

#endif
