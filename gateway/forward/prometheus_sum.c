/* prometheus_sum.c - what the deltas of one series add up to.
 *
 * Explicit histograms add bucket by bucket. Bounds that changed make another histogram of it: the
 * sum begins anew with the delta, as a restarted process would.
 *
 * Exponential ones may come with another scale each time. Both go to the coarser one: bucket i of a
 * scale is bucket i >> k of the scale k steps below. Where the buckets together would span more
 * than PROMETHEUS_SIDE_MAX, the scale goes down until they do not; so the state of a series is
 * bounded however far apart its observations are. Empty buckets at the ends are left away first:
 * an SDK's array may be longer than what is in it. */
#include "gateway/forward/prometheus_sum.h"

#include <math.h>

#include "gateway/forward/prometheus_labels.h"

static uint64_t *words_new(struct arena *arena, size_t n)
{
	return arena_calloc(arena, n ? n : 1, sizeof(uint64_t));
}

static bool has_bounds_of(const struct prometheus_bounds *a, const struct prometheus_bounds *b)
{
	return a->count == b->count && a->bucket_count == b->bucket_count &&
	       (a->count == 0 || memcmp(a->bounds, b->bounds, a->count * sizeof(uint64_t)) == 0);
}

static void add_totals(struct prometheus_sum *to, const struct prometheus_sum *from)
{
	/* The buckets are right all the same, and those that come after it. */
	if (isfinite(from->value))
		to->value += from->value;
	to->has_value = from->has_value;
	to->count += from->count;
	to->zero_count += from->zero_count;
	if (from->zero_threshold > to->zero_threshold)
		to->zero_threshold = from->zero_threshold;
}

static enum status take_bounds(struct prometheus_sum *to, const struct prometheus_sum *from,
			       struct arena *arena)
{
	struct prometheus_bounds x = from->explicit;
	x.bounds = words_new(arena, x.count);
	x.counts = words_new(arena, x.bucket_count);
	if (!x.bounds || !x.counts)
		return prometheus_labels_full(arena);
	if (x.count)
		memcpy(x.bounds, from->explicit.bounds, x.count * sizeof(uint64_t));
	*to = (struct prometheus_sum){ .explicit = x };
	return ST_OK;
}

enum status prometheus_sum_explicit(struct prometheus_sum *to, const struct prometheus_sum *from,
				    struct arena *arena, bool *ret_is_reset)
{
	bool is_reset = !has_bounds_of(&to->explicit, &from->explicit);
	enum status st = is_reset ? take_bounds(to, from, arena) : ST_OK;
	if (st)
		return st;
	for (uint32_t i = 0; i < from->explicit.bucket_count; i++)
		to->explicit.counts[i] += from->explicit.counts[i];
	add_totals(to, from);
	*ret_is_reset = is_reset;
	return ST_OK;
}

/* Buckets first to last are not empty at their ends; last < first: there are none. */
struct range {
	int64_t first;
	int64_t last;
};

static struct range range_of(const struct prometheus_side *s)
{
	struct range r = { 0, -1 };
	uint32_t first = 0;
	uint32_t end = s->count;
	while (first < end && !s->counts[first])
		first++;
	while (end > first && !s->counts[end - 1])
		end--;
	if (end > first) {
		r.first = (int64_t)s->offset + first;
		r.last = (int64_t)s->offset + end - 1;
	}
	return r;
}

static struct range range_at(struct range r, int down)
{
	if (r.last >= r.first) {
		r.first >>= down;
		r.last >>= down;
	}
	return r;
}

static struct range range_union(struct range a, struct range b)
{
	if (a.last < a.first)
		return b;
	if (b.last < b.first)
		return a;
	return (struct range){ a.first < b.first ? a.first : b.first,
			       a.last > b.last ? a.last : b.last };
}

/* Of both sides' buckets together, at a scale. */
static struct range range_of_both(const struct prometheus_side *a, int a_down,
				  const struct prometheus_side *b, int b_down)
{
	return range_union(range_at(range_of(a), a_down), range_at(range_of(b), b_down));
}

static void add_side(struct prometheus_side *to, const struct prometheus_side *from, int down)
{
	for (uint32_t i = 0; i < from->count; i++)
		if (from->counts[i])
			to->counts[(((int64_t)from->offset + i) >> down) - to->offset] +=
				from->counts[i];
}

static enum status side_union(struct prometheus_side *ret, const struct prometheus_side *a,
			      int a_down, const struct prometheus_side *b, int b_down,
			      struct arena *arena)
{
	struct range r = range_of_both(a, a_down, b, b_down);
	*ret = (struct prometheus_side){ 0 };
	if (r.last < r.first)
		return ST_OK;
	ret->offset = (int32_t)r.first;
	ret->count = (uint32_t)(r.last - r.first + 1);
	ret->counts = words_new(arena, ret->count);
	if (!ret->counts)
		return prometheus_labels_full(arena);
	add_side(ret, a, a_down);
	add_side(ret, b, b_down);
	return ST_OK;
}

static bool is_wide(struct range r)
{
	return r.last - r.first >= PROMETHEUS_SIDE_MAX;
}

enum status prometheus_sum_exponential(struct prometheus_sum *to, const struct prometheus_sum *from,
				       struct arena *arena)
{
	int32_t to_scale = to->count ? to->scale : from->scale;
	int32_t scale = to_scale < from->scale ? to_scale : from->scale;
	while (scale >= PROMETHEUS_SCALE_MIN &&
	       (is_wide(range_of_both(&to->positive, to_scale - scale, &from->positive,
				      from->scale - scale)) ||
		is_wide(range_of_both(&to->negative, to_scale - scale, &from->negative,
				      from->scale - scale))))
		scale--;
	if (scale < PROMETHEUS_SCALE_MIN)
		return ST_INVALID;
	struct prometheus_side positive;
	struct prometheus_side negative;
	enum status st = side_union(&positive, &to->positive, to_scale - scale, &from->positive,
				    from->scale - scale, arena);
	if (!st)
		st = side_union(&negative, &to->negative, to_scale - scale, &from->negative,
				from->scale - scale, arena);
	if (st)
		return st;
	add_totals(to, from);
	to->scale = scale;
	to->positive = positive;
	to->negative = negative;
	return ST_OK;
}

size_t prometheus_sum_extra(const struct prometheus_sum *s)
{
	return ((size_t)s->explicit.count + s->explicit.bucket_count + s->positive.count +
		s->negative.count) *
	       sizeof(uint64_t);
}

static uint64_t *copy_words(uint64_t **to, const uint64_t *from, uint32_t n, uint64_t *words)
{
	*to = words;
	if (n)
		memcpy(words, from, n * sizeof(*words));
	return words + n;
}

void prometheus_sum_copy(struct prometheus_sum *to, const struct prometheus_sum *from,
			 uint64_t *words)
{
	*to = *from;
	words = copy_words(&to->explicit.bounds, from->explicit.bounds, from->explicit.count,
			   words);
	words = copy_words(&to->explicit.counts, from->explicit.counts, from->explicit.bucket_count,
			   words);
	words = copy_words(&to->positive.counts, from->positive.counts, from->positive.count,
			   words);
	(void)copy_words(&to->negative.counts, from->negative.counts, from->negative.count, words);
}
