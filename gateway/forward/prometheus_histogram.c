/* prometheus_histogram.c - histogram points of explicit bounds, as _bucket, _sum and _count series.
 *
 * OTLP counts per bucket, Prometheus up to a bound, so counts are added up; the last bucket is the
 * count. The labels of one bucket and the next differ in le only: they are put together once, and
 * le is exchanged. Its text is made once for all points of the same bounds.
 *
 * Deltas are added to what was delivered of this histogram (prometheus_sum.c). A histogram that
 * begins gets a zero before its first value, so that rate() sees that value come. */
#include "gateway/forward/prometheus_point.h"

#include <math.h>

#include "gateway/telemetry/any_value.h"

static enum status le_label(struct conversion *c, double bound, uint32_t *ret)
{
	char text[NUMBER_TEXT_MAX];
	size_t n = any_value_fixed(bound, text);
	return prometheus_labels_add(&c->b->labels, bytes_str("le"), bytes_of(text, n), ret);
}

/* c->le_labels for n bounds and +Inf. Points of one metric have the same ones. */
static enum status make_le_labels(struct conversion *c, const uint64_t *bounds, uint32_t n)
{
	uint32_t label;
	if (c->le_labels.count && c->le_bounds.count == n &&
	    (n == 0 || memcmp(c->le_bounds.p, bounds, n * sizeof(*bounds)) == 0))
		return ST_OK;
	c->le_labels.count = 0;
	c->le_bounds.count = 0;
	enum status st = ST_OK;
	for (uint32_t i = 0; i < n && !st; i++) {
		st = le_label(c, point_double(bounds[i]), &label);
		if (!st)
			st = words_add(c, &c->le_labels, label);
		if (!st)
			st = words_add(c, &c->le_bounds, bounds[i]);
	}
	if (!st)
		st = le_label(c, (double)INFINITY, &label);
	return st ? st : words_add(c, &c->le_labels, label);
}

/* The bucket series of the point, in order of their bounds, to c->bucket_series. */
static enum status find_buckets(struct conversion *c, uint32_t bounds)
{
	size_t n;
	size_t at;
	enum status st = point_labels(c, POINT_BUCKET, (uint32_t)c->le_labels.p[0], &n, &at);
	c->bucket_series.count = 0;
	for (uint32_t i = 0; i <= bounds && !st; i++) {
		uint32_t series;
		c->labels[at] = (uint32_t)c->le_labels.p[i];
		st = prometheus_series_find(c->b, c->labels, (uint32_t)n, false,
					    &c->metric.metadata, &series);
		if (!st)
			st = words_add(c, &c->bucket_series, series);
	}
	return st;
}

/* times: 1, or 0 for the zero before the first delta. */
static enum status add_explicit(struct conversion *c, const struct prometheus_sum *h,
				const struct prometheus_sample *s, uint64_t times)
{
	const struct prometheus_bounds *x = &h->explicit;
	uint32_t bounds = x->count < x->bucket_count ? x->count : x->bucket_count;
	double count = (double)(h->count * times);
	uint64_t total = 0;
	enum status st = make_le_labels(c, x->bounds, bounds);
	if (!st)
		st = find_buckets(c, bounds);
	for (uint32_t i = 0; i < bounds && !st; i++) {
		total += x->counts[i] * times;
		st = point_value_to(c, (uint32_t)c->bucket_series.p[i], s, (double)total, false);
	}
	if (!st)
		st = point_value_to(c, (uint32_t)c->bucket_series.p[bounds], s, count, false);
	if (!st)
		st = point_value(c, POINT_COUNT, s, count, times);
	if (!st && (h->has_value || point_is_stale(c)))
		st = point_value(c, POINT_SUM, s, times ? h->value : 0, false);
	return st;
}

static enum status read_explicit(struct conversion *c, struct bytes message,
				 struct prometheus_sum *h)
{
	struct wire_reader r = wire_reader_of(message);
	struct wire_field f;
	enum status st = ST_OK;
	point_begin(c, message);
	c->counts.count = 0;
	c->bounds.count = 0;
	while (!st && wire_next(&r, &f)) {
		point_field(c, &f);
		if (f.number == 4 && f.type == WIRE_FIXED64) {
			h->count = f.value;
		} else if (f.number == 5 && f.type == WIRE_FIXED64) {
			h->value = point_double(f.value);
			h->has_value = true;
		} else if (f.number == 6) {
			st = words_add_fixed(c, &c->counts, &f);
		} else if (f.number == 7) {
			st = words_add_fixed(c, &c->bounds, &f);
		} else if (f.number == 8) {
			c->point.has_exemplars = true;
		} else if (f.number == 9 && f.type == WIRE_LEN) {
			st = point_attribute(c, f.bytes);
		} else if (f.number == 10 && f.type == WIRE_VARINT) {
			c->point.flags = f.value;
		}
	}
	h->explicit = (struct prometheus_bounds){ .count = c->bounds.count,
						  .bucket_count = c->counts.count,
						  .bounds = c->bounds.p,
						  .counts = c->counts.p };
	return st ? st : r.fault ? ST_INVALID : point_end(c);
}

/* *h becomes the sum with this delta in it; *ret_zero_ms the time of the zero before it, or 0. */
static enum status add_delta(struct conversion *c, struct prometheus_sum *h, int64_t *ret_zero_ms)
{
	struct prometheus_sum *sum;
	bool is_reset;
	enum status st = point_sum(c, 'h', &sum);
	if (st)
		return st;
	bool is_new = !sum->last_ns;
	st = prometheus_sum_explicit(sum, h, prometheus_changes_arena(c->changes), &is_reset);
	if (st)
		return st;
	if (is_new)
		*ret_zero_ms = point_zero_ms(c);
	if (is_new || is_reset)
		sum->start_ns = c->point.start_ns;
	sum->last_ns = c->point.time_ns;
	*h = *sum;
	return ST_OK;
}

enum status histogram_point(struct conversion *c, struct bytes message)
{
	struct prometheus_sum h = { 0 };
	int64_t zero_ms = 0;
	enum status st = read_explicit(c, message, &h);
	if (st || !point_is_sayable(c))
		return st;
	h.start_ns = c->point.start_ns;
	if (c->metric.is_delta && !point_is_stale(c))
		st = add_delta(c, &h, &zero_ms);
	struct prometheus_sample s = { .time_ms = zero_ms, .start_ms = point_time_ms(h.start_ns) };
	if (!st && zero_ms)
		st = add_explicit(c, &h, &s, 0);
	s.time_ms = point_time_ms(c->point.time_ns);
	if (!st)
		st = add_explicit(c, &h, &s, 1);
	if (!st && c->point.has_exemplars)
		st = point_exemplars(c, 8, 0);
	return st == ST_END ? ST_OK : st;
}
