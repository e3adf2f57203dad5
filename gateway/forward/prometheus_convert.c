/* prometheus_convert.c - an ExportMetricsServiceRequest as series with samples.
 *
 * Straight from the wire bytes: resource, scope, metric, point, each read once for its scalars and
 * once for what is below it, as protobuf allows any order of fields. Nothing is unpacked.
 *
 *   resource  job, instance, external labels, target_info: prometheus_resource.c
 *   scope     otel_scope_*, where they are wanted
 *   metric    name, type, unit
 *   point     attributes, values: numbers and summaries here, the others in prometheus_histogram.c
 *             and prometheus_native.c
 *
 * A data point that Prometheus has no words for is left out and counted, with the reason; the rest
 * of the request goes on. */
#include "gateway/forward/prometheus_convert.h"

#include <math.h>

#include "gateway/base/xalloc.h"
#include "gateway/forward/prometheus_point.h"
#include "gateway/telemetry/any_value.h"
#include "gateway/telemetry/utf8.h"

enum { NAME_MAX_BYTES = 1 << 20, DELTA = 1, CUMULATIVE = 2 };

const char *prometheus_left_word(enum prometheus_left why)
{
	static const char *const words[PROMETHEUS_LEFT_COUNT] = {
		[PROMETHEUS_LEFT_NAME] = "name",
		[PROMETHEUS_LEFT_VALUE] = "value",
		[PROMETHEUS_LEFT_TEMPORALITY] = "temporality",
		[PROMETHEUS_LEFT_SCALE] = "scale",
		[PROMETHEUS_LEFT_BUCKETS] = "buckets",
		[PROMETHEUS_LEFT_ORDER] = "order",
		[PROMETHEUS_LEFT_LABELS] = "labels",
		[PROMETHEUS_LEFT_DUPLICATE] = "duplicate",
	};
	return words[why];
}

const char *prometheus_left_text(enum prometheus_left why)
{
	static const char *const texts[PROMETHEUS_LEFT_COUNT] = {
		[PROMETHEUS_LEFT_NAME] = "the metric's name has no letter or digit, or is too long",
		[PROMETHEUS_LEFT_VALUE] =
			"the data point has no value, or is a delta of no finite one",
		[PROMETHEUS_LEFT_TEMPORALITY] = "the metric is neither cumulative nor delta",
		[PROMETHEUS_LEFT_SCALE] = "an exponential histogram of a scale below -4",
		[PROMETHEUS_LEFT_BUCKETS] = "an exponential histogram whose buckets do not add up "
					    "to its count",
		[PROMETHEUS_LEFT_ORDER] = "a delta that is not newer than the one before it",
		[PROMETHEUS_LEFT_LABELS] = "the data point has more than 256 attributes, or the "
					   "name of its service is longer than 64 KiB",
		[PROMETHEUS_LEFT_DUPLICATE] = "another value of the same series and millisecond "
					      "replaced it",
	};
	return texts[why];
}

/* ---- data points ---- */

struct number {
	double value;
	bool has_value;
};

static enum status read_number(struct conversion *c, struct bytes message, struct number *n)
{
	struct wire_reader r = wire_reader_of(message);
	struct wire_field f;
	enum status st = ST_OK;
	point_begin(c, message);
	while (!st && wire_next(&r, &f)) {
		point_field(c, &f);
		if (f.number == 7 && f.type == WIRE_LEN) {
			st = point_attribute(c, f.bytes);
		} else if (f.number == 4 && f.type == WIRE_FIXED64) {
			n->value = point_double(f.value);
			n->has_value = true;
		} else if (f.number == 6 && f.type == WIRE_FIXED64) {
			n->value = (double)(int64_t)f.value;
			n->has_value = true;
		} else if (f.number == 5) {
			c->point.has_exemplars = true;
		} else if (f.number == 8 && f.type == WIRE_VARINT) {
			c->point.flags = f.value;
		}
	}
	return st ? st : r.fault ? ST_INVALID : point_end(c);
}

/* *value becomes the sum with this delta in it. */
static enum status add_delta(struct conversion *c, double *value, uint64_t *ret_start_ns,
			     int64_t *ret_zero_ms)
{
	struct prometheus_sum *sum;
	enum status st = point_sum(c, 'n', &sum);
	if (st)
		return st;
	if (!isfinite(sum->value + *value)) {
		point_left_out(c, PROMETHEUS_LEFT_VALUE);
		return ST_END;
	}
	if (!sum->last_ns) {
		sum->start_ns = c->point.start_ns;
		/* What goes up and down has no rate that a zero would help. */
		*ret_zero_ms = c->metric.kind == PROMETHEUS_COUNTER ? point_zero_ms(c) : 0;
	}
	sum->value += *value;
	sum->last_ns = c->point.time_ns;
	*value = sum->value;
	*ret_start_ns = sum->start_ns;
	return ST_OK;
}

static enum status number_point(struct conversion *c, struct bytes message)
{
	struct number n = { 0 };
	int64_t zero_ms = 0;
	uint32_t series;
	enum status st = read_number(c, message, &n);
	if (st || !point_is_sayable(c))
		return st;
	uint64_t start_ns = c->metric.kind == PROMETHEUS_GAUGE ? 0 : c->point.start_ns;
	/* Added to a sum, it would be the sum of all that come after it. */
	bool is_spoiling = c->metric.is_delta && !isfinite(n.value);
	if ((!n.has_value || is_spoiling) && !point_is_stale(c)) {
		point_left_out(c, PROMETHEUS_LEFT_VALUE);
		return ST_OK;
	}
	if (c->metric.is_delta && !point_is_stale(c))
		st = add_delta(c, &n.value, &start_ns, &zero_ms);
	if (st)
		return st == ST_END ? ST_OK : st;
	struct prometheus_sample s = { .time_ms = zero_ms, .start_ms = point_time_ms(start_ns) };
	st = point_series(c, POINT_PLAIN, false, &series);
	if (!st && zero_ms)
		st = point_value_to(c, series, &s, 0, false);
	s.time_ms = point_time_ms(c->point.time_ns);
	if (!st)
		st = point_value_to(c, series, &s, n.value, true);
	if (!st && c->point.has_exemplars && c->metric.kind == PROMETHEUS_COUNTER)
		st = point_exemplars(c, 5, series);
	return st;
}

static enum status add_quantile(struct conversion *c, struct bytes message,
				const struct prometheus_sample *s)
{
	struct wire_reader r = wire_reader_of(message);
	struct wire_field f;
	double quantile = 0;
	double value = 0;
	while (wire_next(&r, &f)) {
		if (f.number == 1 && f.type == WIRE_FIXED64)
			quantile = point_double(f.value);
		if (f.number == 2 && f.type == WIRE_FIXED64)
			value = point_double(f.value);
	}
	char text[NUMBER_TEXT_MAX];
	uint32_t label;
	uint32_t series;
	size_t n = any_value_fixed(quantile, text);
	size_t count;
	size_t at;
	enum status st = r.fault ? ST_INVALID :
				   prometheus_labels_add(&c->b->labels, bytes_str("quantile"),
							 bytes_of(text, n), &label);
	if (!st)
		st = point_labels(c, POINT_PLAIN, label, &count, &at);
	if (!st)
		st = prometheus_series_find(c->b, c->labels, (uint32_t)count, false,
					    &c->metric.metadata, &series);
	return st ? st : point_value_to(c, series, s, value, false);
}

struct summary {
	uint64_t count;
	double sum;
};

static enum status read_summary(struct conversion *c, struct bytes message, struct summary *x)
{
	struct wire_reader r = wire_reader_of(message);
	struct wire_field f;
	enum status st = ST_OK;
	point_begin(c, message);
	while (!st && wire_next(&r, &f)) {
		point_field(c, &f);
		if (f.number == 7 && f.type == WIRE_LEN)
			st = point_attribute(c, f.bytes);
		else if (f.number == 4 && f.type == WIRE_FIXED64)
			x->count = f.value;
		else if (f.number == 5 && f.type == WIRE_FIXED64)
			x->sum = point_double(f.value);
		else if (f.number == 8 && f.type == WIRE_VARINT)
			c->point.flags = f.value;
	}
	return st ? st : r.fault ? ST_INVALID : point_end(c);
}

static enum status summary_point(struct conversion *c, struct bytes message)
{
	struct summary x = { 0 };
	enum status st = read_summary(c, message, &x);
	if (st || !point_is_sayable(c))
		return st;
	const struct prometheus_sample s = { .time_ms = point_time_ms(c->point.time_ns),
					     .start_ms = point_time_ms(c->point.start_ns) };
	struct wire_reader r = wire_reader_of(message);
	struct bytes quantile;
	while (!st && wire_next_of(&r, 6, &quantile))
		st = add_quantile(c, quantile, &s);
	if (!st)
		st = point_value(c, POINT_SUM, &s, x.sum, false);
	return st ? st : point_value(c, POINT_COUNT, &s, (double)x.count, true);
}

/* ---- metrics ---- */

struct metric_kind {
	uint32_t number; /* in Metric.data */
	enum prometheus_kind kind;
	enum prometheus_type type;
	enum status (*point)(struct conversion *c, struct bytes message);
};

static const struct metric_kind metric_kinds[] = {
	{ 5, PROMETHEUS_GAUGE, PROMETHEUS_TYPE_GAUGE, number_point },
	{ 7, PROMETHEUS_SUM, PROMETHEUS_TYPE_GAUGE, number_point },
	{ 9, PROMETHEUS_HISTOGRAM, PROMETHEUS_TYPE_HISTOGRAM, histogram_point },
	{ 10, PROMETHEUS_HISTOGRAM, PROMETHEUS_TYPE_HISTOGRAM, exponential_point },
	{ 11, PROMETHEUS_SUMMARY, PROMETHEUS_TYPE_SUMMARY, summary_point },
};

struct metric_text {
	struct bytes name;
	struct bytes help;
	struct bytes unit;
};

/* Of a Sum, Histogram or ExponentialHistogram, what is beside its points. */
static enum status read_data(struct conversion *c, const struct metric_kind *k, struct bytes data)
{
	struct metric *m = &c->metric;
	struct wire_reader r = wire_reader_of(data);
	struct wire_field f;
	uint64_t temporality = 0;
	bool is_monotonic = false;
	while (wire_next(&r, &f)) {
		if (f.number == 2 && f.type == WIRE_VARINT)
			temporality = f.value;
		if (f.number == 3 && f.type == WIRE_VARINT)
			is_monotonic = f.value;
	}
	bool has_temporality = k->number == 7 || k->number == 9 || k->number == 10;
	m->kind = k->kind;
	m->metadata.type = k->type;
	m->is_delta = has_temporality && temporality == DELTA;
	m->is_unspecified = has_temporality && temporality != DELTA && temporality != CUMULATIVE;
	if (k->number == 7 && is_monotonic) {
		m->kind = PROMETHEUS_COUNTER;
		m->metadata.type = PROMETHEUS_TYPE_COUNTER;
	}
	m->reserved = k->number == 9 ? c->le_symbol : k->number == 11 ? c->quantile_symbol : 0;
	return r.fault ? ST_INVALID : ST_OK;
}

static enum status name_metric(struct conversion *c, const struct metric_text *t)
{
	struct metric *m = &c->metric;
	const struct prometheus_naming *naming = &c->settings->naming;
	memset(m->has_base, 0, sizeof(m->has_base));
	buf_clear(&m->name);
	enum status st = prometheus_metric_name(naming, t->name, t->unit, m->kind, &m->name);
	m->is_named = st == ST_OK;
	if (st == ST_INVALID || st == ST_TOO_LARGE)
		st = ST_OK;
	if (st || !m->is_named || !c->settings->has_metadata)
		return st;
	struct buf unit;
	buf_init(&unit, NAME_MAX_BYTES, NULL);
	st = prometheus_unit_name(naming, utf8_cut(t->unit, HELP_MAX), &unit);
	if (!st)
		st = prometheus_labels_symbol(&c->b->labels, buf_view(&unit), &m->metadata.unit);
	if (!st)
		st = prometheus_labels_symbol(&c->b->labels, utf8_cut(t->help, HELP_MAX),
					      &m->metadata.help);
	buf_done(&unit);
	return st;
}

static enum status convert_data(struct conversion *c, const struct metric_text *t,
				const struct metric_kind *k, struct bytes data)
{
	struct wire_reader r = wire_reader_of(data);
	struct bytes point;
	enum status st = read_data(c, k, data);
	if (!st)
		st = name_metric(c, t);
	while (!st && wire_next_of(&r, 1, &point))
		st = k->point(c, point);
	return st ? st : r.fault ? ST_INVALID : ST_OK;
}

static enum status convert_metric(struct conversion *c, struct bytes message)
{
	struct metric_text t = { 0 };
	struct wire_reader r = wire_reader_of(message);
	struct wire_field f;
	while (wire_next(&r, &f)) {
		if (f.type != WIRE_LEN)
			continue;
		if (f.number == 1)
			t.name = f.bytes;
		if (f.number == 2)
			t.help = f.bytes;
		if (f.number == 3)
			t.unit = f.bytes;
	}
	enum status st = r.fault ? ST_INVALID : ST_OK;
	r = wire_reader_of(message);
	while (!st && wire_next(&r, &f))
		for (size_t i = 0; i < sizeof(metric_kinds) / sizeof(metric_kinds[0]); i++)
			if (!st && f.number == metric_kinds[i].number && f.type == WIRE_LEN)
				st = convert_data(c, &t, &metric_kinds[i], f.bytes);
	return st;
}

/* ---- scopes ---- */

/* For one more attribute, the name and its like among them. */
static bool scope_has_room(struct conversion *c, struct bytes b)
{
	if (b.n > ATTRIBUTE_BYTES_MAX - c->scope_bytes ||
	    c->scope.count >= POINT_ATTRIBUTES_MAX + c->resource.count) {
		c->tally.attributes++;
		return false;
	}
	c->scope_bytes += b.n;
	return true;
}

static enum status scope_attribute(struct conversion *c, struct bytes key_value)
{
	static const char prefix[] = "otel_scope_";
	struct prometheus_labels *l = &c->b->labels;
	struct buf name;
	uint32_t a;
	uint32_t label;
	if (!scope_has_room(c, key_value))
		return ST_OK;
	enum status st = prometheus_labels_attribute(l, key_value, &a);
	if (st || !l->attributes[a].label)
		return st;
	const struct prometheus_label *x = &l->labels[l->attributes[a].label];
	buf_init(&name, SIZE_MAX, c->arena->budget);
	st = buf_append_str(&name, prefix);
	if (!st)
		st = buf_append(&name, prometheus_labels_text(l, x->name));
	if (!st)
		st = prometheus_labels_add(l, buf_view(&name), prometheus_labels_text(l, x->value),
					   &label);
	buf_done(&name);
	/* The scope's name, version and schema come later, and win. */
	return st ? st : base_insert(c, &c->scope, label, true);
}

static enum status scope_labels(struct conversion *c, struct bytes scope)
{
	struct wire_reader r = wire_reader_of(scope);
	struct wire_field f;
	enum status st = ST_OK;
	while (!st && wire_next(&r, &f)) {
		if (f.type != WIRE_LEN)
			continue;
		if (f.number == 1 && scope_has_room(c, f.bytes))
			st = base_add(c, &c->scope, "otel_scope_name", f.bytes, false);
		else if (f.number == 2 && scope_has_room(c, f.bytes))
			st = base_add(c, &c->scope, "otel_scope_version", f.bytes, false);
		else if (f.number == 3)
			st = scope_attribute(c, f.bytes);
	}
	return st ? st : r.fault ? ST_INVALID : ST_OK;
}

static enum status convert_scope(struct conversion *c, struct bytes message)
{
	struct wire_reader r = wire_reader_of(message);
	struct wire_field f;
	struct bytes metric;
	enum status st = ST_OK;
	c->scope.count = c->resource.count;
	c->scope_bytes = 0;
	memcpy(c->scope.labels, c->resource.labels, c->resource.count * sizeof(c->scope.labels[0]));
	while (!st && c->settings->has_scope_labels && wire_next(&r, &f)) {
		if (f.number == 1 && f.type == WIRE_LEN)
			st = scope_labels(c, f.bytes);
		if (f.number == 3 && f.type == WIRE_LEN && scope_has_room(c, f.bytes))
			st = base_add(c, &c->scope, "otel_scope_schema_url", f.bytes, false);
	}
	r = wire_reader_of(message);
	while (!st && wire_next_of(&r, 2, &metric))
		st = convert_metric(c, metric);
	return st ? st : r.fault ? ST_INVALID : ST_OK;
}

/* ---- resources ---- */

static enum status convert_resource(struct conversion *c, struct bytes message, struct resource *x)
{
	struct wire_reader r = wire_reader_of(message);
	struct bytes scope;
	memset(x, 0, sizeof(*x));
	c->first_ns = 0;
	c->last_ns = 0;
	enum status st = resource_begin(c, message, x);
	while (!st && wire_next_of(&r, 2, &scope))
		st = convert_scope(c, scope);
	if (!st && r.fault)
		st = ST_INVALID;
	return st ? st : resource_info(c, x);
}

/* ---- the request ---- */

static enum status begin(struct conversion *c)
{
	struct prometheus_labels *l = &c->b->labels;
	enum status st = prometheus_labels_symbol(l, bytes_str("__name__"), &c->name_symbol);
	if (!st)
		st = prometheus_labels_symbol(l, bytes_str("le"), &c->le_symbol);
	return st ? st : prometheus_labels_symbol(l, bytes_str("quantile"), &c->quantile_symbol);
}

static enum status convert_all(struct conversion *c, const struct prometheus_input *in,
			       struct resource *x)
{
	struct wire_reader r = wire_reader_of(in->otlp);
	struct bytes resource;
	size_t origin = 0;
	enum status st = begin(c);
	while (!st && wire_next_of(&r, 1, &resource)) {
		size_t end = (size_t)(r.p - in->otlp.p);
		while (origin + 1 < in->origin_count && in->origins[origin].end < end)
			origin++;
		c->received_ns = in->origin_count ? (uint64_t)in->origins[origin].received_ns : 0;
		st = convert_resource(c, resource, x);
	}
	return st ? st : r.fault ? ST_INVALID : ST_OK;
}

enum status prometheus_convert(const struct prometheus_settings *s,
			       const struct prometheus_input *in,
			       const struct prometheus_delta *delta,
			       struct prometheus_changes *changes, struct prometheus_batch *b,
			       struct prometheus_tally *ret)
{
	struct conversion *c = xcalloc(1, sizeof(*c));
	struct resource *x = xcalloc(1, sizeof(*x));
	c->settings = s;
	c->delta = delta;
	c->changes = changes;
	c->b = b;
	c->arena = b->labels.arena;
	buf_init(&c->metric.name, NAME_MAX_BYTES, NULL);
	enum status st = convert_all(c, in, x);
	if (!st)
		st = prometheus_series_finish(b);
	if (!st) {
		c->tally.left_out[PROMETHEUS_LEFT_DUPLICATE] += b->duplicates;
		*ret = c->tally;
	}
	buf_done(&c->metric.name);
	free(x);
	free(c);
	return st;
}
