/* prometheus_point.c - the labels of one data point, its series, its sum.
 *
 * The labels of a series are a merge of two sorted lists: the point's own attributes, and what it
 * shares with its resource, scope and metric (base), which is put together once for all points of
 * a metric. job, instance, __name__ and the scope's labels win over attributes of these names;
 * external labels and resource attributes do not (as in prometheus/otlptranslator).
 *
 * Attributes nearly always come in one order, so that sorting them by insertion moves nothing. */
#include "gateway/forward/prometheus_point.h"

#include "gateway/base/now.h"

#define ZERO_BEFORE_MS (5 * 60 * 1000) /* a zero is not set longer before its first value */

static enum status full(const struct conversion *c)
{
	return prometheus_labels_full(c->arena);
}

enum status words_add(struct conversion *c, struct words *w, uint64_t v)
{
	void *p = prometheus_labels_room(c->arena, w->p, w->count, &w->room, sizeof(*w->p));
	if (!p)
		return full(c);
	w->p = p;
	w->p[w->count++] = v;
	return ST_OK;
}

enum status words_add_fixed(struct conversion *c, struct words *w, const struct wire_field *f)
{
	if (f->type == WIRE_FIXED64)
		return words_add(c, w, f->value);
	enum status st = f->type == WIRE_LEN && f->bytes.n % 8 == 0 ? ST_OK : ST_INVALID;
	for (size_t i = 0; i + 8 <= f->bytes.n && !st; i += 8)
		st = words_add(c, w, wire_fixed64(f->bytes.p + i));
	return st;
}

int point_compare(const struct conversion *c, uint32_t a, uint32_t b)
{
	const struct prometheus_labels *l = &c->b->labels;
	if (l->labels[a].name == l->labels[b].name)
		return 0;
	return prometheus_labels_compare(prometheus_labels_name(l, a),
					 prometheus_labels_name(l, b));
}

/* ---- what points share ---- */

enum status base_insert(struct conversion *c, struct base *b, uint32_t label, bool is_weak)
{
	size_t at = b->count;
	if (!label)
		return ST_OK;
	while (at > 0 && point_compare(c, b->labels[at - 1].label, label) > 0)
		at--;
	if (at > 0 && point_compare(c, b->labels[at - 1].label, label) == 0) {
		if (!is_weak)
			b->labels[at - 1] = (struct base_label){ label, false };
		return ST_OK;
	}
	if (b->count == BASE_MAX)
		return ST_TOO_LARGE;
	memmove(&b->labels[at + 1], &b->labels[at], (b->count - at) * sizeof(b->labels[0]));
	b->labels[at] = (struct base_label){ label, is_weak };
	b->count++;
	return ST_OK;
}

enum status base_add(struct conversion *c, struct base *b, const char *name, struct bytes value,
		     bool is_weak)
{
	uint32_t label;
	enum status st = prometheus_labels_add(&c->b->labels, bytes_str(name), value, &label);
	return st ? st : base_insert(c, b, label, is_weak);
}

static enum status base_of(struct conversion *c, enum point_name name, const struct base **ret)
{
	static const char *const endings[POINT_NAMES] = {
		[POINT_PLAIN] = "",
		[POINT_SUM] = "_sum",
		[POINT_COUNT] = "_count",
		[POINT_BUCKET] = "_bucket",
	};
	struct metric *m = &c->metric;
	struct base *b = &m->bases[name];
	enum status st = ST_OK;
	if (!m->has_base[name]) {
		size_t n = m->name.n;
		b->count = c->scope.count;
		memcpy(b->labels, c->scope.labels, b->count * sizeof(b->labels[0]));
		st = buf_append_str(&m->name, endings[name]);
		if (!st)
			st = base_add(c, b, "__name__", buf_view(&m->name), false);
		buf_truncate(&m->name, n);
		m->has_base[name] = true;
	}
	*ret = b;
	return st;
}

/* ---- attributes ---- */

/* Attribute numbers of one name, in the order of their keys: one label with all their values. */
static enum status join(struct conversion *c, uint32_t *attributes, size_t n, uint32_t *ret)
{
	struct prometheus_labels *l = &c->b->labels;
	struct buf value;
	buf_init(&value, SIZE_MAX, c->arena->budget);
	enum status st = ST_OK;
	for (size_t i = 1; i < n; i++)
		for (size_t k = i; k > 0; k--) {
			const struct prometheus_attribute *a = &l->attributes[attributes[k - 1]];
			const struct prometheus_attribute *b = &l->attributes[attributes[k]];
			if (prometheus_labels_compare(a->key, b->key) <= 0)
				break;
			uint32_t other = attributes[k];
			attributes[k] = attributes[k - 1];
			attributes[k - 1] = other;
		}
	const struct prometheus_label *first = &l->labels[l->attributes[attributes[0]].label];
	struct bytes name = prometheus_labels_text(l, first->name);
	for (size_t i = 0; i < n && !st; i++) {
		const struct prometheus_label *x = &l->labels[l->attributes[attributes[i]].label];
		if (i)
			st = buf_append_byte(&value, ';');
		if (!st)
			st = buf_append(&value, prometheus_labels_text(l, x->value));
	}
	if (!st)
		st = prometheus_labels_add(l, name, buf_view(&value), ret);
	buf_done(&value);
	return st;
}

/* By name, and stable; without those that have no label. */
static size_t sort_attributes(const struct conversion *c, uint32_t *attributes, size_t n)
{
	const struct prometheus_labels *l = &c->b->labels;
	size_t count = 0;
	for (size_t i = 0; i < n; i++) {
		uint32_t a = attributes[i];
		uint32_t label = l->attributes[a].label;
		if (!label)
			continue;
		size_t at = count++;
		while (at > 0 &&
		       point_compare(c, l->attributes[attributes[at - 1]].label, label) > 0) {
			attributes[at] = attributes[at - 1];
			at--;
		}
		attributes[at] = a;
	}
	return count;
}

enum status point_join(struct conversion *c, uint32_t *attributes, size_t n, size_t *ret_count)
{
	struct prometheus_labels *l = &c->b->labels;
	size_t count = 0;
	enum status st = ST_OK;
	n = sort_attributes(c, attributes, n);
	for (size_t i = 0; i < n && !st;) {
		size_t end = i + 1;
		uint32_t label = l->attributes[attributes[i]].label;
		while (end < n && l->labels[l->attributes[attributes[end]].label].name ==
					  l->labels[label].name)
			end++;
		if (end > i + 1)
			st = join(c, attributes + i, end - i, &label);
		attributes[count++] = label;
		i = end;
	}
	*ret_count = count;
	return st;
}

void point_begin(struct conversion *c, struct bytes message)
{
	struct point *p = &c->point;
	p->message = message;
	p->start_ns = 0;
	p->time_ns = 0;
	p->flags = 0;
	p->label_count = 0;
	p->attribute_count = 0;
	p->has_exemplars = false;
	p->is_overfull = false;
	/* Exemplars go to the buckets of this point, not to those of one before it. */
	c->bucket_series.count = 0;
}

enum status point_attribute(struct conversion *c, struct bytes key_value)
{
	struct point *p = &c->point;
	uint32_t a;
	if (p->attribute_count == POINT_ATTRIBUTES_MAX) {
		p->is_overfull = true;
		return ST_OK;
	}
	enum status st = prometheus_labels_attribute(&c->b->labels, key_value, &a);
	if (st)
		return st;
	uint32_t name = c->b->labels.labels[c->b->labels.attributes[a].label].name;
	/* Set by ourselves, or empty. */
	if (name == 0 || name == c->name_symbol || name == c->metric.reserved)
		return ST_OK;
	p->attributes[p->attribute_count++] = a;
	return ST_OK;
}

enum status point_end(struct conversion *c)
{
	struct point *p = &c->point;
	if (!p->time_ns)
		p->time_ns = c->received_ns;
	if (!c->first_ns || p->time_ns < c->first_ns)
		c->first_ns = p->time_ns;
	if (p->time_ns > c->last_ns)
		c->last_ns = p->time_ns;
	memcpy(p->labels, p->attributes, p->attribute_count * sizeof(p->labels[0]));
	return point_join(c, p->labels, p->attribute_count, &p->label_count);
}

/* ---- series ---- */

struct merged {
	struct conversion *c;
	size_t count;
	uint32_t extra;
	size_t at;
	bool has_extra;
};

static void put_label(struct merged *m, uint32_t label)
{
	uint32_t *out = m->c->labels;
	if (m->extra && !m->has_extra) {
		int order = point_compare(m->c, m->extra, label);
		if (order <= 0) {
			m->at = m->count;
			m->has_extra = true;
			out[m->count++] = m->extra;
		}
		if (order == 0)
			return;
	}
	out[m->count++] = label;
}

enum status point_labels(struct conversion *c, enum point_name name, uint32_t extra,
			 size_t *ret_count, size_t *ret_at)
{
	const struct base *b;
	enum status st = base_of(c, name, &b);
	struct merged m = { .c = c, .extra = extra };
	size_t i = 0;
	size_t j = 0;
	const struct point *p = &c->point;
	while (!st && (i < p->label_count || j < b->count)) {
		int order = j == b->count ? -1 :
			    i == p->label_count ?
					    1 :
					    point_compare(c, p->labels[i], b->labels[j].label);
		bool is_own = order < 0 || (order == 0 && b->labels[j].is_weak);
		put_label(&m, is_own ? p->labels[i] : b->labels[j].label);
		i += order <= 0;
		j += order >= 0;
	}
	if (extra && !m.has_extra) {
		m.at = m.count;
		c->labels[m.count++] = extra;
	}
	*ret_count = m.count;
	*ret_at = m.at;
	return st;
}

enum status point_series(struct conversion *c, enum point_name name, bool has_histograms,
			 uint32_t *ret)
{
	size_t n;
	size_t at;
	enum status st = point_labels(c, name, 0, &n, &at);
	return st ? st :
		    prometheus_series_find(c->b, c->labels, (uint32_t)n, has_histograms,
					   &c->metric.metadata, ret);
}

/* ---- sums of deltas ---- */

enum status point_sum(struct conversion *c, char tag, struct prometheus_sum **ret)
{
	size_t n;
	size_t at;
	struct prometheus_key key = { .a = (uint64_t)tag, .b = 0 };
	enum status st = point_labels(c, POINT_PLAIN, 0, &n, &at);
	if (st)
		return st;
	for (size_t i = 0; i < n; i++) {
		struct bytes label = c->b->labels.labels[c->labels[i]].encoded;
		key.a = prometheus_labels_hash(c->settings->seeds[1] ^ key.a, label);
		key.b = prometheus_labels_hash(c->settings->seeds[2] ^ key.b, label);
	}
	st = prometheus_changes_open(c->changes, c->delta, key, true, ret);
	if (!st && (*ret)->last_ns >= c->point.time_ns) {
		point_left_out(c, PROMETHEUS_LEFT_ORDER);
		return ST_END;
	}
	return st;
}

int64_t point_time_ms(uint64_t ns)
{
	return (int64_t)(ns / NS_PER_MS);
}

int64_t point_zero_ms(const struct conversion *c)
{
	int64_t end = point_time_ms(c->point.time_ns);
	/* Where this destination had the series before a restart, its last sample may stand at the
	 * very start. */
	int64_t zero = point_time_ms(c->point.start_ns) + 1;
	if (!c->point.start_ns || zero >= end)
		return 0;
	return zero < end - ZERO_BEFORE_MS ? end - ZERO_BEFORE_MS : zero;
}

bool point_is_stale(const struct conversion *c)
{
	return c->point.flags & FLAG_NO_RECORDED_VALUE;
}

void point_left_out(struct conversion *c, enum prometheus_left why)
{
	c->tally.left_out[why]++;
}

/* ---- what all kinds have ---- */

bool point_is_sayable(struct conversion *c)
{
	enum prometheus_left why = PROMETHEUS_LEFT_COUNT;
	if (!c->metric.is_named)
		why = PROMETHEUS_LEFT_NAME;
	else if (c->point.is_overfull || c->is_nameless)
		why = PROMETHEUS_LEFT_LABELS;
	else if (c->metric.is_unspecified)
		why = PROMETHEUS_LEFT_TEMPORALITY;
	if (why != PROMETHEUS_LEFT_COUNT)
		point_left_out(c, why);
	return why == PROMETHEUS_LEFT_COUNT;
}

void point_field(struct conversion *c, const struct wire_field *f)
{
	if (f->type != WIRE_FIXED64)
		return;
	if (f->number == 2)
		c->point.start_ns = f->value;
	if (f->number == 3)
		c->point.time_ns = f->value;
}

enum status point_value(struct conversion *c, enum point_name name,
			const struct prometheus_sample *s, double value, bool is_record)
{
	uint32_t series;
	enum status st = point_series(c, name, false, &series);
	return st ? st : point_value_to(c, series, s, value, is_record);
}

enum status point_value_to(struct conversion *c, uint32_t series, const struct prometheus_sample *s,
			   double value, bool is_record)
{
	struct prometheus_sample copy = *s;
	copy.value = point_is_stale(c) ? point_double(POINT_STALE) : value;
	copy.is_record = is_record;
	return prometheus_series_sample(c->b, series, &copy);
}
