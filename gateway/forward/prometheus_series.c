/* prometheus_series.c - the series of one conversion, with their samples in time order.
 *
 * Samples are linked in the order in which they come, which nearly always is the order of time:
 * only series where it is not are sorted, by merging, and stably, so that of two samples of one
 * millisecond the later one wins. What receivers would refuse a whole request for (Prometheus:
 * "duplicate sample for timestamp", "out of order") is gone after prometheus_series_finish.
 *
 * A sample that was replaced by another value is a record that is not delivered, and counted so;
 * one that was replaced by its twin (a client that sent again) was delivered. */
#include "gateway/forward/prometheus_series.h"

struct wanted_series {
	const struct prometheus_batch *b;
	const uint32_t *labels;
	uint32_t label_count;
	bool has_histograms;
};

static bool is_series(const void *ctx, uint32_t entry)
{
	const struct wanted_series *w = ctx;
	const struct prometheus_series *s = &w->b->series[entry];
	return s->label_count == w->label_count && s->has_histograms == w->has_histograms &&
	       memcmp(s->labels, w->labels, w->label_count * sizeof(uint32_t)) == 0;
}

static enum status full(const struct prometheus_batch *b)
{
	return prometheus_labels_full(b->labels.arena);
}

static const uint32_t *copy_labels(struct prometheus_batch *b, const uint32_t *labels, uint32_t n)
{
	uint32_t *p = arena_alloc(b->labels.arena, (n ? n : 1) * sizeof(*p));
	if (p && n)
		memcpy(p, labels, n * sizeof(*p));
	return p;
}

enum status prometheus_series_find(struct prometheus_batch *b, const uint32_t *labels,
				   uint32_t label_count, bool has_histograms,
				   const struct prometheus_metadata *m, uint32_t *ret)
{
	const struct wanted_series w = { b, labels, label_count, has_histograms };
	uint32_t *entry = NULL;
	void *p = prometheus_labels_room(b->labels.arena, b->series, b->series_count,
					 &b->series_room, sizeof(*b->series));
	if (!p)
		return full(b);
	b->series = p;
	uint64_t hash = prometheus_labels_hash(b->labels.seed + has_histograms,
					       bytes_of(labels, label_count * sizeof(*labels)));
	enum status st = hash_index_find(&b->index, b->labels.arena, hash, is_series, &w, &entry);
	if (st)
		return st;
	if (!*entry) {
		struct prometheus_series s = { .label_count = label_count,
					       .has_histograms = has_histograms,
					       .metadata = *m };
		s.labels = copy_labels(b, labels, label_count);
		if (!s.labels)
			return full(b);
		b->series[b->series_count] = s;
		*entry = b->series_count++;
	}
	*ret = *entry;
	return ST_OK;
}

enum status prometheus_series_sample(struct prometheus_batch *b, uint32_t series,
				     const struct prometheus_sample *sample)
{
	void *p = prometheus_labels_room(b->labels.arena, b->samples, b->sample_count,
					 &b->sample_room, sizeof(*b->samples));
	if (!p)
		return full(b);
	b->samples = p;
	uint32_t at = b->sample_count++;
	struct prometheus_series *s = &b->series[series];
	b->samples[at] = *sample;
	b->samples[at].next = 0;
	if (!s->last) {
		s->first = at;
	} else {
		s->is_unsorted = s->is_unsorted || b->samples[s->last].time_ms >= sample->time_ms;
		b->samples[s->last].next = at;
	}
	s->last = at;
	return ST_OK;
}

enum status prometheus_series_exemplar(struct prometheus_batch *b, uint32_t series,
				       const struct prometheus_exemplar *x)
{
	void *p = prometheus_labels_room(b->labels.arena, b->exemplars, b->exemplar_count,
					 &b->exemplar_room, sizeof(*b->exemplars));
	if (!p)
		return full(b);
	b->exemplars = p;
	const uint32_t *labels = copy_labels(b, x->labels, x->label_count);
	if (!labels)
		return full(b);
	uint32_t at = b->exemplar_count++;
	b->exemplars[at] = *x;
	b->exemplars[at].labels = labels;
	b->exemplars[at].next = b->series[series].first_exemplar;
	b->series[series].first_exemplar = at;
	return ST_OK;
}

/* Entries of a series while they are sorted. */
struct timed {
	int64_t time_ms;
	uint32_t entry;
};

/* Stable, and in n log n whatever the order was. tmp has room for n. Returns where the result is.
 */
static struct timed *merge_sort(struct timed *a, struct timed *tmp, size_t n)
{
	for (size_t width = 1; width < n; width *= 2) {
		for (size_t start = 0; start < n; start += 2 * width) {
			size_t mid = start + width < n ? start + width : n;
			size_t end = start + 2 * width < n ? start + 2 * width : n;
			size_t i = start;
			size_t j = mid;
			for (size_t k = start; k < end; k++)
				tmp[k] = i < mid && (j >= end || a[i].time_ms <= a[j].time_ms) ?
						 a[i++] :
						 a[j++];
		}
		struct timed *other = a;
		a = tmp;
		tmp = other;
	}
	return a;
}

/* Bit by bit: a NaN of staleness is the twin of another, and 0 none of -0. */
static bool is_same(double a, double b)
{
	uint64_t left;
	uint64_t right;
	memcpy(&left, &a, sizeof(left));
	memcpy(&right, &b, sizeof(right));
	return left == right;
}

static bool is_twin(const struct prometheus_sample *a, const struct prometheus_sample *b)
{
	if (a->histogram || b->histogram)
		return a->histogram && b->histogram && a->histogram->count == b->histogram->count &&
		       is_same(a->histogram->sum, b->histogram->sum);
	return is_same(a->value, b->value);
}

static enum status sort_samples(struct prometheus_batch *b, struct prometheus_series *s)
{
	size_t n = 0;
	for (uint32_t i = s->first; i; i = b->samples[i].next)
		n++;
	struct timed *a = arena_calloc(b->labels.arena, n, 2 * sizeof(*a));
	if (!a)
		return full(b);
	size_t k = 0;
	for (uint32_t i = s->first; i; i = b->samples[i].next)
		a[k++] = (struct timed){ b->samples[i].time_ms, i };
	a = merge_sort(a, a + n, n);
	s->first = 0;
	s->last = 0;
	for (k = 0; k < n; k++) {
		struct prometheus_sample *x = &b->samples[a[k].entry];
		if (k + 1 < n && a[k + 1].time_ms == a[k].time_ms) {
			b->duplicates += x->is_record && !is_twin(x, &b->samples[a[k + 1].entry]);
			continue;
		}
		x->next = 0;
		if (s->last)
			b->samples[s->last].next = a[k].entry;
		else
			s->first = a[k].entry;
		s->last = a[k].entry;
	}
	return ST_OK;
}

static enum status sort_exemplars(struct prometheus_batch *b, struct prometheus_series *s)
{
	size_t n = 0;
	for (uint32_t i = s->first_exemplar; i; i = b->exemplars[i].next)
		n++;
	if (n < 2)
		return ST_OK;
	struct timed *a = arena_calloc(b->labels.arena, n, 2 * sizeof(*a));
	if (!a)
		return full(b);
	/* The list has the last one first. */
	size_t k = n;
	for (uint32_t i = s->first_exemplar; i; i = b->exemplars[i].next)
		a[--k] = (struct timed){ b->exemplars[i].time_ms, i };
	a = merge_sort(a, a + n, n);
	uint32_t next = 0;
	for (k = n; k-- > 0;) {
		if (k + 1 < n && a[k + 1].time_ms == a[k].time_ms)
			continue;
		b->exemplars[a[k].entry].next = next;
		next = a[k].entry;
	}
	s->first_exemplar = next;
	return ST_OK;
}

enum status prometheus_series_finish(struct prometheus_batch *b)
{
	enum status st = ST_OK;
	b->oldest_ms = INT64_MAX;
	for (uint32_t i = 1; i < b->series_count && !st; i++) {
		struct prometheus_series *s = &b->series[i];
		if (s->is_unsorted)
			st = sort_samples(b, s);
		if (!st)
			st = sort_exemplars(b, s);
		if (!st && s->first && b->samples[s->first].time_ms < b->oldest_ms)
			b->oldest_ms = b->samples[s->first].time_ms;
		for (uint32_t k = s->first; k; k = b->samples[k].next) {
			if (s->has_histograms)
				b->histograms++;
			else
				b->values++;
		}
	}
	return st;
}

enum status prometheus_series_init(struct prometheus_batch *b,
				   const struct prometheus_naming *naming, uint64_t seed,
				   struct arena *arena)
{
	*b = (struct prometheus_batch){ .series_count = 1, .sample_count = 1, .exemplar_count = 1 };
	return prometheus_labels_init(&b->labels, naming, seed, arena);
}

void prometheus_series_done(struct prometheus_batch *b)
{
	prometheus_labels_done(&b->labels);
}
