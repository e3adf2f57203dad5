/* prometheus_delta.c - the sums of delta series of one destination, from export to export.
 *
 * Invariants:
 *  (1) The state is what was delivered. An export works on copies (changes); they become the state
 * when its reply says delivered, and are forgotten otherwise. So an export that is sent again gives
 * the same sums again, and one that is refused leaves no trace in those that follow.
 *  (2) At most max_bytes, whatever clients send: the sum that rested longest goes first. Its series
 * then begins anew, as after a restart (docs/decisions/0009-delta-sums.md).
 *
 * Series are known by a 128-bit hash of their labels, with seeds of this process: keeping the
 * labels would take several times the memory. Entries are allocated one by one, as they live and
 * die one by one; each is charged before it is allocated. */
#include "gateway/forward/prometheus_delta.h"

#include "gateway/base/xalloc.h"
#include "gateway/forward/prometheus_labels.h"

enum { ENTRY_GUESS = 256, CHAINS_MIN = 1024, CHAINS_MAX = 1 << 20 };

struct entry {
	struct entry *next;  /* in its chain */
	struct entry *newer; /* by the last change */
	struct entry *older;
	struct prometheus_key key;
	size_t bytes;
	bool is_counted;
	struct prometheus_sum sum;
	uint64_t words[];
};

struct prometheus_delta {
	struct entry **chains; /* NULL: nothing was ever stored */
	size_t mask;
	struct entry *newest;
	struct entry *oldest;
	struct budget budget;
	size_t count;
};

struct change {
	struct prometheus_key key;
	bool is_counted;
	bool is_begun; /* had no sum before */
	struct prometheus_sum sum;
};

struct prometheus_changes {
	struct arena arena;
	struct hash_index index;
	struct change **items; /* from 1 */
	uint32_t count;
	uint32_t room;
	bool has_sums;
};

struct prometheus_delta *prometheus_delta_new(size_t max_bytes)
{
	struct prometheus_delta *d = xcalloc(1, sizeof(*d));
	budget_init(&d->budget, max_bytes);
	return d;
}

static struct entry **chain_of(const struct prometheus_delta *d, struct prometheus_key key)
{
	return &d->chains[key.a & d->mask];
}

static void unlink_age(struct prometheus_delta *d, struct entry *e)
{
	if (e->newer)
		e->newer->older = e->older;
	else
		d->newest = e->older;
	if (e->older)
		e->older->newer = e->newer;
	else
		d->oldest = e->newer;
}

static void link_newest(struct prometheus_delta *d, struct entry *e)
{
	e->newer = NULL;
	e->older = d->newest;
	if (d->newest)
		d->newest->newer = e;
	else
		d->oldest = e;
	d->newest = e;
}

static void entry_drop(struct prometheus_delta *d, struct entry *e)
{
	struct entry **p = chain_of(d, e->key);
	while (*p != e)
		p = &(*p)->next;
	*p = e->next;
	unlink_age(d, e);
	budget_release(&d->budget, e->bytes);
	d->count -= e->is_counted;
	free(e);
}

void prometheus_delta_free(struct prometheus_delta *d)
{
	if (!d)
		return;
	while (d->oldest)
		entry_drop(d, d->oldest);
	free(d->chains);
	free(d);
}

size_t prometheus_delta_count(const struct prometheus_delta *d)
{
	return d->count;
}

static struct entry *entry_of(const struct prometheus_delta *d, struct prometheus_key key)
{
	struct entry *e = d->chains ? *chain_of(d, key) : NULL;
	while (e && (e->key.a != key.a || e->key.b != key.b))
		e = e->next;
	return e;
}

static void make_chains(struct prometheus_delta *d)
{
	size_t n = CHAINS_MIN;
	while (n < CHAINS_MAX && n < d->budget.max / ENTRY_GUESS)
		n *= 2;
	d->chains = xcalloc(n, sizeof(struct entry *));
	d->mask = n - 1;
}

struct prometheus_changes *prometheus_changes_new(size_t max_bytes, struct budget *budget)
{
	struct prometheus_changes *c = xcalloc(1, sizeof(*c));
	arena_init(&c->arena, max_bytes, budget);
	c->count = 1;
	return c;
}

void prometheus_changes_free(struct prometheus_changes *c)
{
	if (!c)
		return;
	arena_done(&c->arena);
	free(c);
}

bool prometheus_changes_has_sums(const struct prometheus_changes *c)
{
	return c->has_sums;
}

struct arena *prometheus_changes_arena(struct prometheus_changes *c)
{
	return &c->arena;
}

struct wanted_change {
	const struct prometheus_changes *c;
	struct prometheus_key key;
};

static bool is_change(const void *ctx, uint32_t entry)
{
	const struct wanted_change *w = ctx;
	const struct change *x = w->c->items[entry];
	return x->key.a == w->key.a && x->key.b == w->key.b;
}

static enum status change_new(struct prometheus_changes *c, const struct prometheus_delta *d,
			      struct prometheus_key key, bool is_counted, struct change **ret)
{
	const struct entry *e = entry_of(d, key);
	struct change *x = arena_calloc(&c->arena, 1, sizeof(*x));
	if (!x)
		return prometheus_labels_full(&c->arena);
	*x = (struct change){ .key = key, .is_counted = is_counted, .is_begun = !e };
	if (e) {
		uint64_t *words = arena_alloc(&c->arena, prometheus_sum_extra(&e->sum) + 1);
		if (!words)
			return prometheus_labels_full(&c->arena);
		prometheus_sum_copy(&x->sum, &e->sum, words);
	}
	*ret = x;
	return ST_OK;
}

enum status prometheus_changes_open(struct prometheus_changes *c, const struct prometheus_delta *d,
				    struct prometheus_key key, bool is_counted,
				    struct prometheus_sum **ret)
{
	const struct wanted_change w = { c, key };
	uint32_t *entry = NULL;
	void *p = prometheus_labels_room(&c->arena, c->items, c->count, &c->room,
					 sizeof(struct change *));
	if (!p)
		return prometheus_labels_full(&c->arena);
	c->items = p;
	enum status st =
		hash_index_find(&c->index, &c->arena, key.a ^ key.b, is_change, &w, &entry);
	if (!st && !*entry) {
		struct change *x = NULL;
		st = change_new(c, d, key, is_counted, &x);
		if (st)
			return st;
		c->items[c->count] = x;
		*entry = c->count++;
		c->has_sums = c->has_sums || is_counted;
	}
	if (!st)
		*ret = &c->items[*entry]->sum;
	return st;
}

static void store(struct prometheus_delta *d, const struct change *x,
		  struct prometheus_delta_counts *counts)
{
	struct entry *old = entry_of(d, x->key);
	if (old)
		entry_drop(d, old);
	size_t bytes = sizeof(struct entry) + prometheus_sum_extra(&x->sum);
	/* One that never fits takes no room from those that do. */
	if (bytes > d->budget.max) {
		counts->evicted += x->is_counted;
		return;
	}
	while (!budget_reserve(&d->budget, bytes)) {
		counts->evicted += d->oldest->is_counted;
		entry_drop(d, d->oldest);
	}
	struct entry *e = xcalloc(1, bytes);
	e->key = x->key;
	e->bytes = bytes;
	e->is_counted = x->is_counted;
	prometheus_sum_copy(&e->sum, &x->sum, e->words);
	e->next = *chain_of(d, e->key);
	*chain_of(d, e->key) = e;
	link_newest(d, e);
	d->count += e->is_counted;
}

void prometheus_delta_commit(struct prometheus_delta *d, struct prometheus_changes *c,
			     struct prometheus_delta_counts *ret)
{
	*ret = (struct prometheus_delta_counts){ 0 };
	if (!d->chains)
		make_chains(d);
	for (uint32_t i = 1; i < c->count; i++) {
		const struct change *x = c->items[i];
		/* Opened, but nothing could be added. */
		if (!x->sum.last_ns)
			continue;
		ret->begun += x->is_counted && x->is_begun;
		store(d, x, ret);
	}
	prometheus_changes_free(c);
}
