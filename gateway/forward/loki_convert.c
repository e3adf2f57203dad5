/* loki_convert.c - from OTLP to the body of a push, in two passes over the bytes.
 *
 * The first (loki_index.c) finds out which stream and which time each record has, and puts them in
 * order. The second, here, writes stream by stream: labels, then for each record time, line and
 * structured metadata (loki_entry.c). Nothing is unpacked; strings are copied once, from the
 * request into the push.
 *
 * OTLP says once what all records of a resource have in common; Loki wants it said with each entry.
 * That part is made once for each scope, as bytes, and copied behind the record's own where the two
 * have no name in common and fit together, which is the usual case. The repetition also means that
 * a push can be many times as large as the request, so LOKI_PUSH_MAX ends the conversion: the
 * export has to be sent in parts then.
 *
 *   PushRequest {1: streams}      StreamAdapter {1: labels, 2: entries}
 *   EntryAdapter {1: Timestamp {1: seconds, 2: nanos}, 2: line, 3: metadata {1: name, 2: value}}
 *
 *   {"streams": [{"stream": {...}, "values": [["nanoseconds", "line", {...}], ...]}]} */
#include "gateway/forward/loki_convert.h"

#include "gateway/base/now.h"
#include "gateway/forward/loki_entry.h"
#include "gateway/telemetry/json_text.h"
#include "gateway/telemetry/wire.h"

enum { ENTRY_OVERHEAD = 32, STREAM_GUESS = 128 * 1024, NUMBER_MAX = 24 };

struct conversion {
	const struct loki_form *form;
	struct loki_index index;
	struct loki_record record;
	struct loki_items shared; /* while a context is prepared */
	struct buf *out;
	size_t bytes; /* what Loki will count */
	struct loki_push push;
};

/* ---- protobuf ---- */

static size_t field_size(size_t n)
{
	return 1 + wire_varint_size(n) + n;
}

static uint8_t *put_varint(uint8_t *p, uint64_t v)
{
	while (v >= 0x80) {
		*p++ = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	*p++ = (uint8_t)v;
	return p;
}

/* A field of a number below 16, of type WIRE_LEN. */
static uint8_t *put_head(uint8_t *p, unsigned number, size_t n)
{
	*p++ = (uint8_t)(number << 3 | WIRE_LEN);
	return put_varint(p, n);
}

static uint8_t *put_bytes(uint8_t *p, unsigned number, struct bytes b)
{
	p = put_head(p, number, b.n);
	if (b.n)
		memcpy(p, b.p, b.n);
	return p + b.n;
}

static size_t pair_size(const struct loki_item *i)
{
	return field_size(i->name_n) + field_size(i->value_n);
}

static uint8_t *put_pair(uint8_t *p, const struct loki_items *s, const struct loki_item *i)
{
	p = put_head(p, 3, pair_size(i));
	p = put_bytes(p, 1, loki_item_name(s, i));
	return put_bytes(p, 2, loki_item_value(s, i));
}

static size_t pairs_size(const struct loki_items *s)
{
	size_t n = 0;
	for (unsigned i = 0; i < s->count; i++)
		n += field_size(pair_size(&s->items[i]));
	return n;
}

static enum status put_pairs(struct buf *out, const struct loki_items *s)
{
	size_t n = pairs_size(s);
	enum status st = buf_reserve(out, n);
	if (st || n == 0)
		return st;
	uint8_t *p = out->p + out->n;
	for (unsigned i = 0; i < s->count; i++)
		p = put_pair(p, s, &s->items[i]);
	buf_advance(out, n);
	return ST_OK;
}

static enum status put_entry(struct conversion *c, int64_t time_ns, struct bytes shared)
{
	uint64_t seconds = (uint64_t)time_ns / (uint64_t)NS_PER_S;
	uint64_t nanos = (uint64_t)time_ns % (uint64_t)NS_PER_S;
	size_t time_n = 2 + wire_varint_size(seconds) + wire_varint_size(nanos);
	size_t n = field_size(time_n) + field_size(c->record.line.n) +
		   pairs_size(&c->record.items) + shared.n;
	enum status st = buf_reserve(c->out, field_size(n));
	if (st)
		return st;
	uint8_t *p = put_head(c->out->p + c->out->n, 2, n);
	p = put_head(p, 1, time_n);
	*p++ = 1 << 3 | WIRE_VARINT;
	p = put_varint(p, seconds);
	*p++ = 2 << 3 | WIRE_VARINT;
	p = put_varint(p, nanos);
	p = put_bytes(p, 2, c->record.line);
	for (unsigned i = 0; i < c->record.items.count; i++)
		p = put_pair(p, &c->record.items, &c->record.items.items[i]);
	if (shared.n)
		memcpy(p, shared.p, shared.n);
	buf_advance(c->out, field_size(n));
	return ST_OK;
}

/* ---- JSON ---- */

/* "a":"b","c":"d" */
static enum status put_json_pairs(struct buf *out, const struct loki_items *s)
{
	enum status st = ST_OK;
	for (unsigned i = 0; i < s->count && !st; i++) {
		if (i)
			st = buf_append_byte(out, ',');
		if (!st)
			st = json_put_string(out, loki_item_name(s, &s->items[i]));
		if (!st)
			st = buf_append_byte(out, ':');
		if (!st)
			st = json_put_string(out, loki_item_value(s, &s->items[i]));
	}
	return st;
}

static enum status put_json_entry(struct conversion *c, int64_t time_ns, struct bytes shared)
{
	const struct loki_items *items = &c->record.items;
	enum status st = buf_append_str(c->out, "[");
	if (!st)
		st = json_put_integer(c->out, (uint64_t)time_ns, false, true);
	if (!st)
		st = buf_append_byte(c->out, ',');
	if (!st)
		st = json_put_string(c->out, c->record.line);
	if (!st && items->count + shared.n) {
		st = buf_append_str(c->out, ",{");
		if (!st)
			st = put_json_pairs(c->out, items);
		if (!st && items->count && shared.n)
			st = buf_append_byte(c->out, ',');
		if (!st)
			st = buf_append(c->out, shared);
		if (!st)
			st = buf_append_byte(c->out, '}');
	}
	return st ? st : buf_append_byte(c->out, ']');
}

/* ---- both ---- */

static void *keep(struct conversion *c, const void *p, size_t n)
{
	void *copy = arena_alloc(&c->index.arena, n ? n : 1);
	if (copy && n)
		memcpy(copy, p, n);
	return copy;
}

/* What the records of a context have in common, once. */
static enum status prepare(struct conversion *c, struct loki_context *context)
{
	struct loki_items *s = &c->shared;
	struct buf encoded;
	buf_init(&encoded, SIZE_MAX, c->out->budget);
	enum status st = loki_context_read(s, c->form, context);
	if (!st)
		st = c->form->is_json ? put_json_pairs(&encoded, s) : put_pairs(&encoded, s);
	struct loki_shared shared = {
		.count = s->count, .bytes = s->bytes, .seen = s->seen, .cut = s->cut
	};
	if (!st) {
		shared.encoded = bytes_of(keep(c, encoded.p, encoded.n), encoded.n);
		shared.items = keep(c, s->items, s->count * sizeof(s->items[0]));
		shared.names = bytes_of(keep(c, s->names.p, s->names.n), s->names.n);
		shared.texts = bytes_of(keep(c, s->texts.p, s->texts.n), s->texts.n);
		context->shared = keep(c, &shared, sizeof(shared));
		if (!shared.encoded.p || !shared.items || !shared.names.p || !shared.texts.p ||
		    !context->shared)
			st = c->index.arena.is_starved ? ST_BUSY : ST_TOO_LARGE;
	}
	buf_done(&encoded);
	return st;
}

static enum status write_entry(struct conversion *c, const struct loki_entry *entry, bool *is_first)
{
	struct loki_record *r = &c->record;
	struct bytes behind = { 0 };
	enum status st = loki_record_read(r, c->form, entry);
	if (st)
		return st;
	if (r->line_out) {
		c->push.left_out++;
		if (r->line_out > c->push.longest_out)
			c->push.longest_out = r->line_out;
		return ST_OK;
	}
	if (!entry->context->shared)
		st = prepare(c, entry->context);
	if (st)
		return st;
	const struct loki_shared *shared = entry->context->shared;
	if (loki_items_are_apart(&r->items, shared))
		behind = shared->encoded;
	else
		st = loki_items_add_shared(&r->items, shared);
	if (!st && c->form->is_json && !*is_first)
		st = buf_append_byte(c->out, ',');
	*is_first = false;
	if (!st)
		st = c->form->is_json ? put_json_entry(c, entry->time_ns, behind) :
					put_entry(c, entry->time_ns, behind);
	c->bytes += r->line.n + r->items.bytes + (behind.n ? shared->bytes : 0) + ENTRY_OVERHEAD;
	c->push.entries++;
	return st;
}

/* Entries from *at on that are of the same stream. */
static enum status write_entries(struct conversion *c, size_t *at)
{
	const struct loki_entry *entries = loki_index_entries(&c->index);
	const struct loki_stream *stream = entries[*at].stream;
	bool is_first = true;
	enum status st = ST_OK;
	while (*at < c->index.count && entries[*at].stream == stream && !st &&
	       c->bytes <= LOKI_PUSH_MAX)
		st = write_entry(c, &entries[(*at)++], &is_first);
	return st;
}

static enum status write_stream(struct conversion *c, size_t *at)
{
	struct wire_open open;
	struct bytes labels = loki_index_entries(&c->index)[*at].stream->labels;
	enum status st = wire_begin(c->out, 1, STREAM_GUESS, &open);
	if (!st)
		st = wire_put_bytes(c->out, 1, labels);
	if (!st)
		st = write_entries(c, at);
	return st ? st : wire_end(c->out, &open);
}

static enum status write_json_stream(struct conversion *c, size_t *at)
{
	struct bytes labels = loki_index_entries(&c->index)[*at].stream->labels;
	enum status st = buf_append_str(c->out, "{\"stream\":");
	if (!st)
		st = buf_append(c->out, labels);
	if (!st)
		st = buf_append_str(c->out, ",\"values\":[");
	if (!st)
		st = write_entries(c, at);
	return st ? st : buf_append_str(c->out, "]}");
}

static enum status write_push(struct conversion *c)
{
	size_t at = 0;
	bool is_first = true;
	enum status st = c->form->is_json ? buf_append_str(c->out, "{\"streams\":[") : ST_OK;
	while (at < c->index.count && !st && c->bytes <= LOKI_PUSH_MAX) {
		size_t before = c->out->n;
		uint32_t entries = c->push.entries;
		if (c->form->is_json && !is_first)
			st = buf_append_byte(c->out, ',');
		if (!st)
			st = c->form->is_json ? write_json_stream(c, &at) : write_stream(c, &at);
		if (!st && c->push.entries == entries)
			buf_truncate(c->out, before); /* all of it was left out */
		else
			is_first = false;
	}
	/* One alone goes as it is: the operator allows lines of that length. */
	c->push.is_too_large = c->bytes > LOKI_PUSH_MAX && c->index.count > 1;
	return !st && c->form->is_json ? buf_append_str(c->out, "]}") : st;
}

enum status loki_convert(const struct loki_form *form, const struct loki_source *source,
			 struct buf *out, struct loki_push *ret, struct err *e)
{
	struct conversion c = { .form = form, .out = out };
	size_t before = out->n;
	loki_record_init(&c.record, form->max_line, out->budget);
	loki_items_init(&c.shared, out->budget);
	enum status st = loki_index_make(&c.index, form, source, out->budget);
	if (!st)
		st = write_push(&c);
	/* More than one conversion holds: in parts it will fit. */
	if (st == ST_TOO_LARGE) {
		c.push.is_too_large = true;
		st = ST_OK;
	}
	if (st || c.push.entries == 0)
		buf_truncate(out, before);
	loki_index_done(&c.index);
	loki_record_done(&c.record);
	loki_items_done(&c.shared);
	if (!st)
		*ret = c.push;
	return st == ST_INVALID ? err_set(e, st, "stored logs are damaged") : st;
}
