/* prometheus_write.c - series as a remote write request.
 *
 * 1.0 (prometheus.io/docs/specs/prw/remote_write_spec): each series carries its labels as text;
 * they stand encoded already, so that a series is copied together. 2.0 (remote_write_spec_2_0):
 * labels are numbers of a table of strings, each in it once, the empty one first; type, help and
 * unit go with each series, and each sample may say since when it counts.
 *
 * A series' size is computed before it is written, so that its length stands in front of it without
 * a second look. Messages are bounded by out's cap. */
#include "gateway/forward/prometheus_write.h"

#include "gateway/telemetry/wire.h"

/* Field numbers. */
enum {
	WRITE1_SERIES = 1,
	WRITE2_SYMBOLS = 4,
	WRITE2_SERIES = 5,
	SERIES1_SAMPLES = 2,
	SERIES1_EXEMPLARS = 3,
	SERIES1_HISTOGRAMS = 4,
	SERIES2_LABELS = 1,
	SERIES2_SAMPLES = 2,
	SERIES2_HISTOGRAMS = 3,
	SERIES2_EXEMPLARS = 4,
	SERIES2_METADATA = 5,
	SAMPLE_ROOM = 2 + 9 + 11 + 11, /* tag, length, value, time, start */
	EXEMPLAR_ROOM = 40,
	HISTOGRAM_ROOM = 160,
	VARINT_MAX = 10
};

/* Writes where there is room already. */
struct pen {
	uint8_t *p;
};

static void put_varint(struct pen *w, uint64_t v)
{
	while (v >= 0x80) {
		*w->p++ = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	*w->p++ = (uint8_t)v;
}

/* Numbers of fields here are below 16 but for two. */
static void put_tag(struct pen *w, uint32_t number, uint32_t type)
{
	put_varint(w, (uint64_t)number << 3 | type);
}

static void put_number(struct pen *w, uint32_t number, uint64_t v)
{
	put_tag(w, number, WIRE_VARINT);
	put_varint(w, v);
}

static void put_double(struct pen *w, uint32_t number, double v)
{
	uint64_t bits;
	memcpy(&bits, &v, sizeof(bits));
	bits = wire_fixed64((const uint8_t *)&bits);
	put_tag(w, number, WIRE_FIXED64);
	memcpy(w->p, &bits, sizeof(bits));
	w->p += sizeof(bits);
}

static void put_bytes(struct pen *w, struct bytes b)
{
	if (b.n)
		memcpy(w->p, b.p, b.n);
	w->p += b.n;
}

/* A message of less than 128 bytes: begin, write, end. */
static uint8_t *begin_short(struct pen *w, uint32_t number)
{
	put_tag(w, number, WIRE_LEN);
	return w->p++;
}

static void end_short(struct pen *w, uint8_t *length)
{
	*length = (uint8_t)(w->p - length - 1);
}

/* ---- one series ---- */

struct writing {
	const struct prometheus_batch *b;
	bool is_2;
	uint32_t *refs; /* 2.0: the place of each symbol in the table; 0: not in it yet */
};

static void put_sample(struct pen *w, const struct prometheus_sample *s, bool is_2)
{
	uint8_t *length = begin_short(w, is_2 ? SERIES2_SAMPLES : SERIES1_SAMPLES);
	put_double(w, 1, s->value);
	put_number(w, 2, (uint64_t)s->time_ms);
	if (is_2 && s->start_ms > 0 && s->start_ms < s->time_ms)
		put_number(w, 3, (uint64_t)s->start_ms);
	end_short(w, length);
}

static size_t buckets_room(const struct prometheus_buckets *x)
{
	/* A span: tag, length, and two numbers of five bytes with their tags. */
	return (size_t)x->span_count * 14 + (size_t)x->delta_count * VARINT_MAX + 2 * VARINT_MAX;
}

static size_t histogram_room(const struct prometheus_histogram *h)
{
	return HISTOGRAM_ROOM + buckets_room(&h->positive) + buckets_room(&h->negative);
}

static void put_buckets(struct pen *w, uint32_t span_number, uint32_t delta_number,
			const struct prometheus_buckets *x)
{
	for (uint32_t i = 0; i < x->span_count; i++) {
		uint8_t *length = begin_short(w, span_number);
		put_number(w, 1, (uint32_t)wire_zigzag(x->spans[i].offset));
		put_number(w, 2, x->spans[i].length);
		end_short(w, length);
	}
	if (!x->delta_count)
		return;
	size_t n = 0;
	for (uint32_t i = 0; i < x->delta_count; i++)
		n += wire_varint_size(wire_zigzag(x->deltas[i]));
	put_tag(w, delta_number, WIRE_LEN);
	put_varint(w, n);
	for (uint32_t i = 0; i < x->delta_count; i++)
		put_varint(w, wire_zigzag(x->deltas[i]));
}

/* The message itself; both protocols have the same. */
static void put_histogram(struct pen *w, const struct prometheus_sample *s, bool is_2)
{
	const struct prometheus_histogram *h = s->histogram;
	put_number(w, 1, h->count);
	put_double(w, 3, h->sum);
	put_number(w, 4, wire_zigzag(h->schema));
	put_double(w, 5, h->zero_threshold);
	put_number(w, 6, h->zero_count);
	put_buckets(w, 8, 9, &h->negative);
	put_buckets(w, 11, 12, &h->positive);
	put_number(w, 15, (uint64_t)s->time_ms);
	if (is_2 && s->start_ms > 0 && s->start_ms < s->time_ms)
		put_number(w, 17, (uint64_t)s->start_ms);
}

static enum status append_histogram(const struct prometheus_sample *s, bool is_2, struct buf *out)
{
	size_t room = histogram_room(s->histogram);
	struct wire_open open;
	enum status st =
		wire_begin(out, is_2 ? SERIES2_HISTOGRAMS : SERIES1_HISTOGRAMS, room, &open);
	if (!st)
		st = buf_reserve(out, room);
	if (st)
		return st;
	struct pen w = { out->p + out->n };
	put_histogram(&w, s, is_2);
	buf_advance(out, (size_t)(w.p - (out->p + out->n)));
	return wire_end(out, &open);
}

/* The numbers of labels in the table of strings, packed. */
static size_t refs_size(const struct writing *x, const uint32_t *labels, uint32_t n)
{
	size_t size = 0;
	for (uint32_t i = 0; i < n; i++) {
		const struct prometheus_label *l = &x->b->labels.labels[labels[i]];
		size += wire_varint_size(x->refs[l->name]) + wire_varint_size(x->refs[l->value]);
	}
	return size;
}

static void put_refs(struct pen *w, const struct writing *x, const uint32_t *labels, uint32_t n)
{
	put_tag(w, SERIES2_LABELS, WIRE_LEN);
	put_varint(w, refs_size(x, labels, n));
	for (uint32_t i = 0; i < n; i++) {
		const struct prometheus_label *l = &x->b->labels.labels[labels[i]];
		put_varint(w, x->refs[l->name]);
		put_varint(w, x->refs[l->value]);
	}
}

static void put_labels(struct pen *w, const struct writing *x, const uint32_t *labels, uint32_t n)
{
	if (x->is_2) {
		put_refs(w, x, labels, n);
		return;
	}
	for (uint32_t i = 0; i < n; i++)
		put_bytes(w, x->b->labels.labels[labels[i]].encoded);
}

/* At most so many bytes. */
static size_t labels_room(const struct writing *x, const uint32_t *labels, uint32_t n)
{
	size_t size = VARINT_MAX;
	if (x->is_2)
		return size + (size_t)n * 10;
	for (uint32_t i = 0; i < n; i++)
		size += x->b->labels.labels[labels[i]].encoded.n;
	return size;
}

static enum status append_exemplar(const struct writing *x, const struct prometheus_exemplar *e,
				   struct buf *out)
{
	size_t room = labels_room(x, e->labels, e->label_count) + EXEMPLAR_ROOM;
	struct wire_open open;
	enum status st =
		wire_begin(out, x->is_2 ? SERIES2_EXEMPLARS : SERIES1_EXEMPLARS, 100, &open);
	if (!st)
		st = buf_reserve(out, room);
	if (st)
		return st;
	struct pen w = { out->p + out->n };
	put_labels(&w, x, e->labels, e->label_count);
	put_double(&w, 2, e->value);
	put_number(&w, 3, (uint64_t)e->time_ms);
	buf_advance(out, (size_t)(w.p - (out->p + out->n)));
	return wire_end(out, &open);
}

static void put_metadata(struct pen *w, const struct writing *x,
			 const struct prometheus_metadata *m)
{
	uint8_t *length = begin_short(w, SERIES2_METADATA);
	if (m->type)
		put_number(w, 1, m->type);
	if (m->help)
		put_number(w, 3, x->refs[m->help]);
	if (m->unit)
		put_number(w, 4, x->refs[m->unit]);
	end_short(w, length);
}

static size_t series_room(const struct writing *x, const struct prometheus_series *s)
{
	size_t room = labels_room(x, s->labels, s->label_count) + EXEMPLAR_ROOM;
	for (uint32_t i = s->first; i && !s->has_histograms; i = x->b->samples[i].next)
		room += SAMPLE_ROOM;
	return room;
}

static enum status append_series(const struct writing *x, const struct prometheus_series *s,
				 struct buf *out)
{
	size_t room = series_room(x, s);
	struct wire_open open;
	enum status st = wire_begin(out, x->is_2 ? WRITE2_SERIES : WRITE1_SERIES, room, &open);
	if (!st)
		st = buf_reserve(out, room);
	if (st)
		return st;
	struct pen w = { out->p + out->n };
	put_labels(&w, x, s->labels, s->label_count);
	for (uint32_t i = s->first; i && !s->has_histograms; i = x->b->samples[i].next)
		put_sample(&w, &x->b->samples[i], x->is_2);
	if (x->is_2)
		put_metadata(&w, x, &s->metadata);
	buf_advance(out, (size_t)(w.p - (out->p + out->n)));
	for (uint32_t i = s->first; i && s->has_histograms && !st; i = x->b->samples[i].next)
		st = append_histogram(&x->b->samples[i], x->is_2, out);
	for (uint32_t i = s->first_exemplar; i && !st; i = x->b->exemplars[i].next)
		st = append_exemplar(x, &x->b->exemplars[i], out);
	return st ? st : wire_end(out, &open);
}

/* ---- the table of strings ---- */

static enum status add_ref(const struct writing *x, uint32_t symbol, uint32_t *count,
			   struct buf *out)
{
	if (x->refs[symbol] || symbol == 0)
		return ST_OK;
	x->refs[symbol] = (*count)++;
	return wire_put_bytes(out, WRITE2_SYMBOLS, x->b->labels.symbols[symbol].text);
}

static enum status add_refs(const struct writing *x, const uint32_t *labels, uint32_t n,
			    uint32_t *count, struct buf *out)
{
	enum status st = ST_OK;
	for (uint32_t i = 0; i < n && !st; i++) {
		const struct prometheus_label *l = &x->b->labels.labels[labels[i]];
		st = add_ref(x, l->name, count, out);
		if (!st)
			st = add_ref(x, l->value, count, out);
	}
	return st;
}

/* Only strings that series use: what was left out leaves nothing. */
static enum status append_symbols(struct writing *x, struct buf *out)
{
	uint32_t count = 1;
	x->refs = arena_calloc(x->b->labels.arena, x->b->labels.symbol_count, sizeof(*x->refs));
	if (!x->refs)
		return prometheus_labels_full(x->b->labels.arena);
	enum status st = wire_put_bytes(out, WRITE2_SYMBOLS, bytes_of("", 0));
	for (uint32_t i = 1; i < x->b->series_count && !st; i++) {
		const struct prometheus_series *s = &x->b->series[i];
		st = add_refs(x, s->labels, s->label_count, &count, out);
		if (!st)
			st = add_ref(x, s->metadata.help, &count, out);
		if (!st)
			st = add_ref(x, s->metadata.unit, &count, out);
		for (uint32_t k = s->first_exemplar; k && !st; k = x->b->exemplars[k].next)
			st = add_refs(x, x->b->exemplars[k].labels, x->b->exemplars[k].label_count,
				      &count, out);
	}
	return st;
}

enum status prometheus_write(enum prometheus_protocol protocol, const struct prometheus_batch *b,
			     struct buf *out)
{
	struct writing x = { .b = b, .is_2 = protocol == PROMETHEUS_WRITE_2 };
	size_t start = out->n;
	enum status st = x.is_2 ? append_symbols(&x, out) : ST_OK;
	for (uint32_t i = 1; i < b->series_count && !st; i++) {
		if (b->series[i].first)
			st = append_series(&x, &b->series[i], out);
		if (!st && out->n - start > PROMETHEUS_WRITE_MAX)
			st = ST_TOO_LARGE;
	}
	return st;
}
