/* prometheus_native.c - exponential histogram points, as native histograms.
 *
 * OTLP's bucket i covers (base^i, base^(i+1)], Prometheus' covers (base^(i-1), base^i], hence the
 * 1. A scale above 8 is halved down to 8; below -4 Prometheus has no schema. Empty buckets are left
 * away where three or more follow one another, as client libraries do.
 *
 * A histogram whose count is not the sum of its buckets is left out: Prometheus refuses the whole
 * request for it. That is checked before a delta is added, or one such point would spoil all that
 * come after it. */
#include "gateway/forward/prometheus_point.h"

#include <math.h>

#define ZERO_THRESHOLD 1e-128 /* where the point has none */
/* Buckets travel as differences of signed 64 bits: above it Prometheus reads a negative count. */
#define COUNT_MAX ((uint64_t)INT64_MAX)
enum { GAP_MAX = 2, SHIFT_MAX = 31 };

struct layout {
	struct prometheus_span *spans;
	int64_t *deltas;
	uint32_t span_count;
	uint32_t delta_count;
	int64_t next; /* the bucket behind what was written */
	uint64_t before;
};

static void put_bucket(struct layout *l, int64_t bucket, uint64_t count)
{
	int64_t gap = bucket - l->next;
	if (l->span_count == 0 || gap > GAP_MAX) {
		l->spans[l->span_count++] = (struct prometheus_span){ .offset = (int32_t)gap };
		gap = 0;
	}
	for (; gap >= 0; gap--) {
		uint64_t n = gap ? 0 : count;
		l->deltas[l->delta_count++] = (int64_t)(n - l->before);
		l->before = n;
		l->spans[l->span_count - 1].length++;
	}
	l->next = bucket + 1;
}

/* How many buckets are not empty: three times as many deltas at most. */
static size_t filled(const struct prometheus_side *s)
{
	size_t n = 0;
	for (uint32_t i = 0; i < s->count; i++)
		n += s->counts[i] != 0;
	return n;
}

static enum status lay_out(struct conversion *c, const struct prometheus_side *s,
			   struct prometheus_buckets *ret)
{
	size_t n = filled(s);
	struct layout l = { 0 };
	if (n == 0)
		return ST_OK;
	l.spans = arena_alloc(c->arena, n * sizeof(*l.spans));
	l.deltas = arena_alloc(c->arena, n * (GAP_MAX + 1) * sizeof(*l.deltas));
	if (!l.spans || !l.deltas)
		return prometheus_labels_full(c->arena);
	for (uint32_t i = 0; i < s->count; i++)
		if (s->counts[i])
			put_bucket(&l, (int64_t)s->offset + i + 1, s->counts[i]);
	*ret = (struct prometheus_buckets){ .spans = l.spans,
					    .deltas = l.deltas,
					    .span_count = l.span_count,
					    .delta_count = l.delta_count };
	return ST_OK;
}

static enum status native_of(struct conversion *c, const struct prometheus_sum *h,
			     struct prometheus_histogram *ret)
{
	*ret = (struct prometheus_histogram){
		.schema = h->scale,
		.zero_threshold = h->zero_threshold > 0 ? h->zero_threshold : ZERO_THRESHOLD,
		.sum = point_double(POINT_STALE),
	};
	if (point_is_stale(c))
		return ST_OK;
	ret->count = h->count;
	ret->zero_count = h->zero_count;
	ret->sum = h->value;
	enum status st = lay_out(c, &h->positive, &ret->positive);
	return st ? st : lay_out(c, &h->negative, &ret->negative);
}

static enum status add_native(struct conversion *c, uint32_t series,
			      const struct prometheus_histogram *h,
			      const struct prometheus_sample *s, bool is_record)
{
	struct prometheus_sample copy = *s;
	struct prometheus_histogram *kept = arena_alloc(c->arena, sizeof(*kept));
	if (!kept)
		return prometheus_labels_full(c->arena);
	*kept = *h;
	copy.histogram = kept;
	copy.is_record = is_record;
	return prometheus_series_sample(c->b, series, &copy);
}

static enum status add_exponential(struct conversion *c, const struct prometheus_sum *h,
				   int64_t zero_ms, uint32_t *ret_series)
{
	struct prometheus_histogram native;
	struct prometheus_sample s = { .time_ms = zero_ms, .start_ms = point_time_ms(h->start_ns) };
	enum status st = native_of(c, h, &native);
	if (!st)
		st = point_series(c, POINT_PLAIN, true, ret_series);
	if (!st && zero_ms) {
		const struct prometheus_histogram zero = { .schema = native.schema,
							   .zero_threshold =
								   native.zero_threshold };
		st = add_native(c, *ret_series, &zero, &s, false);
	}
	s.time_ms = point_time_ms(c->point.time_ns);
	return st ? st : add_native(c, *ret_series, &native, &s, true);
}

static enum status read_side(struct conversion *c, struct bytes message, struct words *w,
			     struct prometheus_side *ret)
{
	struct wire_reader r = wire_reader_of(message);
	struct wire_field f;
	enum status st = ST_OK;
	w->count = 0;
	while (!st && wire_next(&r, &f)) {
		if (f.number == 1 && f.type == WIRE_VARINT)
			ret->offset = (int32_t)wire_unzigzag(f.value);
		if (f.number != 2)
			continue;
		if (f.type == WIRE_VARINT)
			st = words_add(c, w, f.value);
		const uint8_t *p = f.bytes.p;
		const uint8_t *end = f.type == WIRE_LEN && p ? p + f.bytes.n : p;
		while (!st && f.type == WIRE_LEN && p < end) {
			uint64_t v;
			p = wire_varint(p, end, &v);
			st = p ? words_add(c, w, v) : ST_INVALID;
		}
	}
	ret->count = w->count;
	ret->counts = w->p;
	return st ? st : r.fault ? ST_INVALID : ST_OK;
}

static enum status read_exponential(struct conversion *c, struct bytes message,
				    struct prometheus_sum *h)
{
	struct wire_reader r = wire_reader_of(message);
	struct wire_field f;
	enum status st = ST_OK;
	point_begin(c, message);
	while (!st && wire_next(&r, &f)) {
		point_field(c, &f);
		if (f.number == 1 && f.type == WIRE_LEN)
			st = point_attribute(c, f.bytes);
		else if (f.number == 4 && f.type == WIRE_FIXED64)
			h->count = f.value;
		else if (f.number == 5 && f.type == WIRE_FIXED64)
			h->value = point_double(f.value);
		else if (f.number == 6 && f.type == WIRE_VARINT)
			h->scale = (int32_t)wire_unzigzag(f.value);
		else if (f.number == 7 && f.type == WIRE_FIXED64)
			h->zero_count = f.value;
		else if (f.number == 8 && f.type == WIRE_LEN)
			st = read_side(c, f.bytes, &c->positive, &h->positive);
		else if (f.number == 9 && f.type == WIRE_LEN)
			st = read_side(c, f.bytes, &c->negative, &h->negative);
		else if (f.number == 10 && f.type == WIRE_VARINT)
			c->point.flags = f.value;
		else if (f.number == 11)
			c->point.has_exemplars = true;
		else if (f.number == 14 && f.type == WIRE_FIXED64)
			h->zero_threshold = point_double(f.value);
	}
	return st ? st : r.fault ? ST_INVALID : point_end(c);
}

/* Merges 2^down buckets into one, in place. */
static void halve(struct prometheus_side *s, int down)
{
	int64_t offset = (int64_t)s->offset >> down;
	uint32_t n = 0;
	for (uint32_t i = 0; i < s->count; i++) {
		uint32_t to = (uint32_t)((((int64_t)s->offset + i) >> down) - offset);
		uint64_t count = s->counts[i];
		if (to >= n) {
			n = to + 1;
			s->counts[to] = 0;
		}
		s->counts[to] += count;
	}
	s->offset = (int32_t)offset;
	s->count = n;
}

/* All of an int32's bits: what is shifted further stays 0 or -1. */
static void scale_down(struct prometheus_sum *h)
{
	if (h->scale <= PROMETHEUS_SCALE_MAX)
		return;
	int down = h->scale - PROMETHEUS_SCALE_MAX < SHIFT_MAX ? h->scale - PROMETHEUS_SCALE_MAX :
								 SHIFT_MAX;
	halve(&h->positive, down);
	halve(&h->negative, down);
	h->scale = PROMETHEUS_SCALE_MAX;
}

/* *n and the buckets together. False: that is more than COUNT_MAX. */
static bool add_counts(const struct prometheus_side *s, uint64_t *n)
{
	for (uint32_t i = 0; i < s->count; i++) {
		if (s->counts[i] > COUNT_MAX - *n)
			return false;
		*n += s->counts[i];
	}
	return true;
}

/* Each bucket has a number in Prometheus, and the counts agree as Prometheus checks it: where the
 * sum is no number, some observations may be in no bucket. */
static bool is_sound(const struct prometheus_sum *h)
{
	uint64_t total = h->zero_count;
	if (h->count > COUNT_MAX || total > COUNT_MAX || !add_counts(&h->positive, &total) ||
	    !add_counts(&h->negative, &total))
		return false;
	bool has_numbers = (int64_t)h->positive.offset + h->positive.count < INT32_MAX &&
			   (int64_t)h->negative.offset + h->negative.count < INT32_MAX;
	return has_numbers && (isnan(h->value) ? total <= h->count : total == h->count);
}

/* *h becomes the sum with this delta in it; *ret_zero_ms the time of the zero before it, or 0. */
static enum status add_delta(struct conversion *c, struct prometheus_sum *h, int64_t *ret_zero_ms)
{
	struct prometheus_sum *sum;
	enum status st = point_sum(c, 'e', &sum);
	if (st)
		return st;
	bool is_new = !sum->last_ns;
	if (h->count > COUNT_MAX - sum->count) {
		point_left_out(c, PROMETHEUS_LEFT_BUCKETS);
		return ST_END;
	}
	st = prometheus_sum_exponential(sum, h, prometheus_changes_arena(c->changes));
	if (st == ST_INVALID) {
		point_left_out(c, PROMETHEUS_LEFT_SCALE);
		return ST_END;
	}
	if (st)
		return st;
	if (is_new) {
		sum->start_ns = c->point.start_ns;
		*ret_zero_ms = point_zero_ms(c);
	}
	sum->last_ns = c->point.time_ns;
	*h = *sum;
	return ST_OK;
}

enum status exponential_point(struct conversion *c, struct bytes message)
{
	struct prometheus_sum h = { 0 };
	int64_t zero_ms = 0;
	uint32_t series = 0;
	enum status st = read_exponential(c, message, &h);
	if (st || !point_is_sayable(c))
		return st;
	if (h.scale < PROMETHEUS_SCALE_MIN) {
		point_left_out(c, PROMETHEUS_LEFT_SCALE);
		return ST_OK;
	}
	scale_down(&h);
	if (!point_is_stale(c) && !is_sound(&h)) {
		point_left_out(c, PROMETHEUS_LEFT_BUCKETS);
		return ST_OK;
	}
	h.start_ns = c->point.start_ns;
	if (c->metric.is_delta && !point_is_stale(c))
		st = add_delta(c, &h, &zero_ms);
	if (!st)
		st = add_exponential(c, &h, zero_ms, &series);
	if (!st && c->point.has_exemplars)
		st = point_exemplars(c, 11, series);
	return st == ST_END ? ST_OK : st;
}
