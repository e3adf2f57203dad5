/* prometheus_exemplar.c - a data point's exemplars: which trace stands behind a value.
 *
 * Labels are the ids, then what fits of the other attributes: OpenMetrics allows 128 characters,
 * and Prometheus drops an exemplar that has more. An exemplar of a histogram goes to the bucket
 * that its value is in. Bounds are searched by halving; where a client's are out of order that
 * finds some bucket, which is as good as any. */
#include "gateway/forward/prometheus_point.h"

enum { EXEMPLAR_RUNES_MAX = 128, EXEMPLAR_LABELS_MAX = 64, ID_MAX = 16 };

struct reading {
	struct prometheus_exemplar x;
	uint32_t labels[EXEMPLAR_LABELS_MAX + 2];
	size_t runes;
	bool has_value;
};

static size_t runes_of(struct bytes s)
{
	size_t n = 0;
	for (size_t i = 0; i < s.n; i++)
		n += (s.p[i] & 0xc0) != 0x80;
	return n;
}

/* By name; the first of a name stays. */
static void insert_label(struct conversion *c, struct reading *r, uint32_t label)
{
	struct prometheus_labels *l = &c->b->labels;
	size_t at = r->x.label_count;
	size_t runes = runes_of(prometheus_labels_name(l, label)) +
		       runes_of(prometheus_labels_text(l, l->labels[label].value));
	/* What does not fit is left away, and the rest is still an exemplar. */
	if (!label || r->runes + runes > EXEMPLAR_RUNES_MAX)
		return;
	while (at > 0 && point_compare(c, r->labels[at - 1], label) > 0)
		at--;
	if (at > 0 && point_compare(c, r->labels[at - 1], label) == 0)
		return;
	memmove(&r->labels[at + 1], &r->labels[at], (r->x.label_count - at) * sizeof(r->labels[0]));
	r->labels[at] = label;
	r->x.label_count++;
	r->runes += runes;
}

static enum status insert_id(struct conversion *c, struct reading *r, const char *name,
			     struct bytes id)
{
	static const char digits[] = "0123456789abcdef";
	char text[2 * ID_MAX];
	uint32_t label;
	if (id.n == 0 || id.n > ID_MAX)
		return ST_OK;
	for (size_t i = 0; i < id.n; i++) {
		text[2 * i] = digits[id.p[i] >> 4];
		text[2 * i + 1] = digits[id.p[i] & 15];
	}
	enum status st = prometheus_labels_add(&c->b->labels, bytes_str(name),
					       bytes_of(text, 2 * id.n), &label);
	if (!st)
		insert_label(c, r, label);
	return st;
}

/* The ids before the attributes: they are what exemplars are for. */
static enum status read_exemplar(struct conversion *c, struct bytes message, struct reading *r)
{
	struct wire_reader w = wire_reader_of(message);
	struct wire_field f;
	enum status st = ST_OK;
	while (!st && wire_next(&w, &f)) {
		if (f.number == 2 && f.type == WIRE_FIXED64) {
			r->x.time_ms = point_time_ms(f.value);
		} else if (f.number == 3 && f.type == WIRE_FIXED64) {
			r->x.value = point_double(f.value);
			r->has_value = true;
		} else if (f.number == 6 && f.type == WIRE_FIXED64) {
			r->x.value = (double)(int64_t)f.value;
			r->has_value = true;
		} else if (f.number == 4 && f.type == WIRE_LEN) {
			st = insert_id(c, r, "span_id", f.bytes);
		} else if (f.number == 5 && f.type == WIRE_LEN) {
			st = insert_id(c, r, "trace_id", f.bytes);
		}
	}
	if (!st && w.fault)
		st = ST_INVALID;
	w = wire_reader_of(message);
	struct bytes attribute;
	for (int i = 0; i < EXEMPLAR_LABELS_MAX && !st && wire_next_of(&w, 7, &attribute); i++) {
		uint32_t a;
		st = prometheus_labels_attribute(&c->b->labels, attribute, &a);
		if (!st)
			insert_label(c, r, c->b->labels.attributes[a].label);
	}
	return st;
}

/* The series of the bucket that a value falls into. */
static uint32_t bucket_of(const struct conversion *c, double value)
{
	uint32_t first = 0;
	uint32_t end = c->bucket_series.count - 1;
	while (first < end) {
		uint32_t middle = first + (end - first) / 2;
		if (value <= point_double(c->bounds.p[middle]))
			end = middle;
		else
			first = middle + 1;
	}
	return (uint32_t)c->bucket_series.p[first];
}

enum status point_exemplars(struct conversion *c, uint32_t number, uint32_t series)
{
	struct wire_reader w = wire_reader_of(c->point.message);
	struct bytes exemplar;
	enum status st = ST_OK;
	while (!st && wire_next_of(&w, number, &exemplar)) {
		struct reading r = { 0 };
		st = read_exemplar(c, exemplar, &r);
		if (st || !r.has_value)
			continue;
		r.x.labels = r.labels;
		if (!r.x.time_ms)
			r.x.time_ms = point_time_ms(c->point.time_ns);
		st = prometheus_series_exemplar(
			c->b, c->bucket_series.count ? bucket_of(c, r.x.value) : series, &r.x);
	}
	return st;
}
