/* loki_entry.c - what one entry says, and what it has to leave unsaid.
 *
 * Everything but the stream's labels and the body becomes structured metadata, named as Loki's OTLP
 * endpoint names it (trace_id, severity_text, scope_name, ...). Items come in a fixed order, the
 * most telling first:
 *
 *   1. the record's own fields: trace_id, span_id, severity_text, severity_number, event_name,
 *      observed_timestamp, flags, dropped_attributes_count
 *   2. the record's attributes
 *   3. scope_name, scope_version, the scope's attributes
 *   4. the resource's attributes
 *
 * and two rules make them fit, in that order, so that the same record always gives the same entry:
 *
 *   - A name that is taken: with the same value the later item is left out; with another one it
 *     becomes NAME_2, NAME_3 ... (service.name and service_name are one name to Loki).
 *   - A value of more than LOKI_METADATA_VALUE_MAX bytes is shortened to it; an item that does not
 *     fit into the room or the number that is left is left out, and a shorter one after it may
 *     still fit. How many items were shortened or left out stands in tidegate_metadata_cut.
 *
 * Empty values are not sent: to Loki they are as good as absent. */
#include "gateway/forward/loki_entry.h"

#include "gateway/telemetry/any_value.h"
#include "gateway/telemetry/json_text.h"
#include "gateway/telemetry/wire.h"

enum {
	NAMES_MAX = LOKI_ITEMS_MAX * (LOKI_NAME_MAX + 16),
	TEXTS_MAX = 2 * LOKI_METADATA_BYTES_MAX,
	ONE_MAX = 64 * 1024,
	RESERVE = 64, /* for saying what was cut */
	SAME_NAME_MAX = 16,
};

/* Of LogRecord, InstrumentationScope, Resource. */
enum {
	RECORD_SEVERITY_NUMBER = 2,
	RECORD_SEVERITY_TEXT = 3,
	RECORD_BODY = 5,
	RECORD_ATTRIBUTES = 6,
	RECORD_DROPPED = 7,
	RECORD_FLAGS = 8,
	RECORD_TRACE_ID = 9,
	RECORD_SPAN_ID = 10,
	RECORD_OBSERVED = 11,
	RECORD_EVENT_NAME = 12,
	SCOPE_NAME = 1,
	SCOPE_VERSION = 2,
	SCOPE_ATTRIBUTES = 3,
	RESOURCE_ATTRIBUTES = 1,
	RESOURCE_LOGS_RESOURCE = 1,
	SCOPE_LOGS_SCOPE = 1,
};

/* A record's fields by number, those of type WIRE_LEN and others. */
enum { FIELDS = 13 };
struct record_fields {
	struct bytes bytes[FIELDS];
	uint64_t value[FIELDS];
};

void loki_items_init(struct loki_items *s, struct budget *budget)
{
	*s = (struct loki_items){ 0 };
	buf_init(&s->names, NAMES_MAX, budget);
	buf_init(&s->texts, TEXTS_MAX, budget);
	buf_init(&s->one, ONE_MAX, budget);
}

void loki_items_clear(struct loki_items *s)
{
	s->count = 0;
	s->bytes = 0;
	s->seen = 0;
	s->cut = 0;
	buf_clear(&s->names);
	buf_clear(&s->texts);
}

void loki_items_done(struct loki_items *s)
{
	buf_done(&s->names);
	buf_done(&s->texts);
	buf_done(&s->one);
}

/* ---- one item ---- */

static uint32_t hash_of(struct bytes s)
{
	uint32_t h = 2166136261u;
	for (size_t i = 0; i < s.n; i++)
		h = (h ^ s.p[i]) * 16777619u;
	return h ^ h >> 15;
}

static uint64_t bit_of(uint32_t hash)
{
	return UINT64_C(1) << (hash & 63);
}

static const struct loki_item *find(const struct loki_items *s, struct bytes name, uint32_t hash)
{
	if (!(s->seen & bit_of(hash)))
		return NULL;
	for (unsigned i = 0; i < s->count; i++)
		if (s->items[i].hash == hash && bytes_equal(loki_item_name(s, &s->items[i]), name))
			return &s->items[i];
	return NULL;
}

static struct bytes name_of(const struct loki_items *s, const struct loki_item *i)
{
	return loki_item_name(s, i);
}

/* The name stands at the end of names. Gives it a number until no other item has it. False: the
 * item is not to be added. */
static enum status make_unique(struct loki_items *s, struct loki_item *item, bool *ret_is_new)
{
	size_t base_n = item->name_n;
	struct bytes value = loki_item_value(s, item);
	*ret_is_new = true;
	for (int k = 2;; k++) {
		const struct loki_item *other = find(s, name_of(s, item), item->hash);
		if (!other)
			return ST_OK;
		bool is_same = bytes_equal(loki_item_value(s, other), value);
		if (is_same || k > SAME_NAME_MAX) {
			s->cut += !is_same;
			*ret_is_new = false;
			return ST_OK;
		}
		buf_truncate(&s->names, item->name_at + base_n);
		enum status st = buf_printf(&s->names, "_%d", k);
		if (st)
			return st;
		item->name_n = s->names.n - item->name_at;
		item->hash = hash_of(name_of(s, item));
	}
}

/* The last name of names, and this value, become an item, or are left out. */
static enum status add(struct loki_items *s, size_t name_at, struct bytes value, bool is_text)
{
	struct bytes cut = loki_cut(value, LOKI_METADATA_VALUE_MAX);
	struct loki_item item = { .value = is_text ? NULL : cut.p,
				  .value_at = is_text ? (size_t)(value.p - s->texts.p) : 0,
				  .value_n = cut.n,
				  .name_at = name_at,
				  .name_n = s->names.n - name_at };
	bool is_new = cut.n > 0;
	enum status st = ST_OK;
	item.hash = hash_of(name_of(s, &item));
	if (is_new && (s->seen & bit_of(item.hash)))
		st = make_unique(s, &item, &is_new);
	bool has_room = s->count < LOKI_ITEMS_MAX - 1 &&
			s->bytes + item.name_n + item.value_n <= LOKI_METADATA_BYTES_MAX - RESERVE;
	if (!st && is_new && has_room) {
		s->items[s->count++] = item;
		s->bytes += item.name_n + item.value_n;
		s->seen |= bit_of(item.hash);
		s->cut += cut.n < value.n;
		return ST_OK;
	}
	s->cut += is_new && !has_room;
	buf_truncate(&s->names, name_at);
	if (is_text)
		buf_truncate(&s->texts, item.value_at);
	return st;
}

/* An item of ours: its name is one already. */
static enum status add_named(struct loki_items *s, const char *name, struct bytes value,
			     bool is_text)
{
	size_t at = s->names.n;
	enum status st = buf_append_str(&s->names, name);
	return st ? st : add(s, at, value, is_text);
}

static enum status add_number(struct loki_items *s, const char *name, uint64_t v)
{
	size_t at = s->texts.n;
	enum status st = json_put_integer(&s->texts, v, false, false);
	if (st)
		return st == ST_TOO_LARGE ? ST_OK : st;
	return add_named(s, name, bytes_of(s->texts.p + at, s->texts.n - at), true);
}

/* Of zeros only, an id says nothing. */
static enum status add_id(struct loki_items *s, const char *name, struct bytes id)
{
	static const char digits[] = "0123456789abcdef";
	size_t at = s->texts.n;
	bool is_any = false;
	for (size_t i = 0; i < id.n; i++)
		is_any = is_any || id.p[i];
	if (!is_any)
		return ST_OK;
	id = loki_cut(id, LOKI_NAME_MAX);
	enum status st = buf_reserve(&s->texts, 2 * id.n);
	if (st)
		return st;
	for (size_t i = 0; i < id.n; i++) {
		s->texts.p[at + 2 * i] = (uint8_t)digits[id.p[i] >> 4];
		s->texts.p[at + 2 * i + 1] = (uint8_t)digits[id.p[i] & 15];
	}
	buf_advance(&s->texts, 2 * id.n);
	return add_named(s, name, bytes_of(s->texts.p + at, 2 * id.n), true);
}

static enum status add_attribute(struct loki_items *s, struct bytes key, struct bytes any)
{
	struct bytes value;
	size_t name_at = s->names.n;
	/* Nothing more can come in: only count. */
	if (s->count >= LOKI_ITEMS_MAX - 1) {
		s->cut++;
		return ST_OK;
	}
	enum status st = loki_name(key, &s->names);
	if (st)
		return st;
	if (loki_string_of(any, &value))
		return add(s, name_at, value, false);
	buf_clear(&s->one);
	st = any_value_text(any, &s->one);
	/* What did fit will be shortened anyway. */
	if (st && st != ST_TOO_LARGE)
		return st;
	struct bytes text = buf_view(&s->one);
	size_t at = s->texts.n;
	st = buf_append(&s->texts, text);
	if (st == ST_TOO_LARGE) {
		s->cut++;
		buf_truncate(&s->names, name_at);
		return ST_OK;
	}
	return st ? st : add(s, name_at, bytes_of(s->texts.p + at, text.n), true);
}

/* ---- record ---- */

void loki_record_init(struct loki_record *r, size_t max_line, struct budget *budget)
{
	*r = (struct loki_record){ 0 };
	loki_items_init(&r->items, budget);
	buf_init(&r->text, 2 * max_line, budget);
}

void loki_record_done(struct loki_record *r)
{
	loki_items_done(&r->items);
	buf_done(&r->text);
}

static bool read_fields(struct bytes record, struct record_fields *ret)
{
	struct wire_reader r = wire_reader_of(record);
	struct wire_field f;
	*ret = (struct record_fields){ 0 };
	while (wire_next(&r, &f)) {
		if (f.number >= FIELDS)
			continue;
		if (f.type == WIRE_LEN)
			ret->bytes[f.number] = f.bytes;
		else
			ret->value[f.number] = f.value;
	}
	return !r.fault;
}

static enum status add_fields(struct loki_items *s, const struct record_fields *f)
{
	enum status st = add_id(s, "trace_id", f->bytes[RECORD_TRACE_ID]);
	if (!st)
		st = add_id(s, "span_id", f->bytes[RECORD_SPAN_ID]);
	if (!st)
		st = add_named(s, "severity_text", f->bytes[RECORD_SEVERITY_TEXT], false);
	if (!st && (uint32_t)f->value[RECORD_SEVERITY_NUMBER])
		st = add_number(s, "severity_number", (uint32_t)f->value[RECORD_SEVERITY_NUMBER]);
	if (!st)
		st = add_named(s, "event_name", f->bytes[RECORD_EVENT_NAME], false);
	if (!st && f->value[RECORD_OBSERVED])
		st = add_number(s, "observed_timestamp", f->value[RECORD_OBSERVED]);
	if (!st && f->value[RECORD_FLAGS])
		st = add_number(s, "flags", (uint32_t)f->value[RECORD_FLAGS]);
	if (!st && (uint32_t)f->value[RECORD_DROPPED])
		st = add_number(s, "dropped_attributes_count", (uint32_t)f->value[RECORD_DROPPED]);
	return st;
}

/* Is this attribute of a record one of the stream's labels? Then taken (a bit a label) says so from
 * now on. As find_labels of loki_index.c chooses them. */
static bool is_label(const struct loki_form *form, const struct loki_context *c, struct bytes key,
		     struct bytes any, uint32_t *taken)
{
	struct bytes value = { 0 };
	if (c->stream)
		return false;
	for (size_t i = 0; i < form->label_count; i++) {
		if (c->values[i].n || *taken >> i & 1 ||
		    !bytes_equal(key, form->labels[i].attribute))
			continue;
		if (!loki_string_of(any, &value))
			return false; /* said as text by both: the short way stays exact */
		*taken |= (uint32_t)(value.n > 0) << i;
		return value.n > 0 && value.n <= LOKI_LABEL_VALUE_MAX;
	}
	return false;
}

static enum status add_attributes(struct loki_items *s, const struct loki_form *form,
				  const struct loki_entry *entry)
{
	struct wire_reader r = wire_reader_of(entry->record);
	struct wire_field f;
	uint32_t taken = 0;
	enum status st = ST_OK;
	while (!st && wire_next(&r, &f)) {
		struct bytes key;
		struct bytes any;
		if (f.number != RECORD_ATTRIBUTES || f.type != WIRE_LEN)
			continue;
		if (!loki_key_value(f.bytes, &key, &any))
			return ST_INVALID;
		if (!is_label(form, entry->context, key, any, &taken))
			st = add_attribute(s, key, any);
	}
	return r.fault ? ST_INVALID : st;
}

/* The body as a line: a string as it is, anything else as JSON. */
static enum status read_line(struct loki_record *r, const struct loki_form *form, struct bytes body)
{
	enum status st = ST_OK;
	r->is_line_cut = false;
	r->line_out = 0;
	buf_clear(&r->text);
	if (!loki_string_of(body, &r->line)) {
		st = any_value_text(body, &r->text);
		if (st && st != ST_TOO_LARGE)
			return st;
		r->line = buf_view(&r->text);
	}
	if (r->line.n <= form->max_line && !st)
		return ST_OK;
	if (form->leaves_out) {
		r->line_out = r->line.n;
		return ST_OK;
	}
	struct bytes kept = loki_cut(r->line, form->max_line - strlen(LOKI_CUT_MARK));
	if (r->line.p == r->text.p) {
		buf_truncate(&r->text, kept.n);
		st = ST_OK;
	} else {
		st = buf_append(&r->text, kept);
	}
	if (!st)
		st = buf_append_str(&r->text, LOKI_CUT_MARK);
	r->line = buf_view(&r->text);
	r->is_line_cut = true;
	return st;
}

enum status loki_record_read(struct loki_record *r, const struct loki_form *form,
			     const struct loki_entry *entry)
{
	struct record_fields f;
	loki_items_clear(&r->items);
	if (!read_fields(entry->record, &f))
		return ST_INVALID;
	enum status st = read_line(r, form, f.bytes[RECORD_BODY]);
	if (!st && r->is_line_cut)
		st = add_named(&r->items, "tidegate_line_cut", bytes_str("true"), false);
	if (!st)
		st = add_fields(&r->items, &f);
	return st ? st : add_attributes(&r->items, form, entry);
}

/* ---- what records share ---- */

static enum status add_scope(struct loki_items *s, struct bytes scope)
{
	struct wire_reader r = wire_reader_of(scope);
	struct wire_field f;
	struct bytes name = { 0 };
	struct bytes version = { 0 };
	enum status st = ST_OK;
	while (wire_next(&r, &f)) {
		if (f.type != WIRE_LEN)
			continue;
		if (f.number == SCOPE_NAME)
			name = f.bytes;
		else if (f.number == SCOPE_VERSION)
			version = f.bytes;
	}
	if (r.fault)
		return ST_INVALID;
	st = add_named(s, "scope_name", name, false);
	return st ? st : add_named(s, "scope_version", version, false);
}

/* The attributes of a resource or scope, but those that labels say. */
static enum status add_all(struct loki_items *s, const struct loki_form *form,
			   const struct loki_context *c, struct bytes message, uint32_t number)
{
	struct wire_reader r = wire_reader_of(message);
	struct wire_field f;
	enum status st = ST_OK;
	while (!st && wire_next(&r, &f)) {
		struct bytes key;
		struct bytes any;
		bool is_said = false;
		if (f.number != number || f.type != WIRE_LEN)
			continue;
		for (size_t i = 0; i < form->label_count; i++)
			is_said = is_said || c->said[i] == f.bytes.p;
		if (is_said)
			continue;
		if (!loki_key_value(f.bytes, &key, &any))
			return ST_INVALID;
		st = add_attribute(s, key, any);
	}
	return r.fault ? ST_INVALID : st;
}

enum status loki_context_read(struct loki_items *items, const struct loki_form *form,
			      const struct loki_context *c)
{
	struct wire_reader scopes = wire_reader_of(c->scope_logs);
	struct wire_reader resources = wire_reader_of(c->resource_logs);
	struct wire_field f;
	enum status st = ST_OK;
	loki_items_clear(items);
	while (!st && wire_next(&scopes, &f)) {
		if (f.number != SCOPE_LOGS_SCOPE || f.type != WIRE_LEN)
			continue;
		st = add_scope(items, f.bytes);
		if (!st)
			st = add_all(items, form, c, f.bytes, SCOPE_ATTRIBUTES);
	}
	while (!st && wire_next(&resources, &f))
		if (f.number == RESOURCE_LOGS_RESOURCE && f.type == WIRE_LEN)
			st = add_all(items, form, c, f.bytes, RESOURCE_ATTRIBUTES);
	return st;
}

bool loki_record_is_apart(const struct loki_record *r, const struct loki_shared *s)
{
	const struct loki_items *own = &r->items;
	if (own->cut || s->cut || own->count + s->count > LOKI_ITEMS_MAX - 1 ||
	    own->bytes + s->bytes > LOKI_METADATA_BYTES_MAX - RESERVE)
		return false;
	if (!(own->seen & s->seen))
		return true;
	for (unsigned i = 0; i < own->count; i++) {
		if (!(s->seen & bit_of(own->items[i].hash)))
			continue;
		for (unsigned k = 0; k < s->count; k++)
			if (s->items[k].hash == own->items[i].hash)
				return false;
	}
	return true;
}

enum status loki_record_add_shared(struct loki_record *r, const struct loki_shared *s)
{
	struct loki_items *own = &r->items;
	enum status st = ST_OK;
	for (unsigned i = 0; i < s->count && !st; i++) {
		const struct loki_item *item = &s->items[i];
		size_t at = own->names.n;
		const uint8_t *value = item->value ? item->value : s->texts.p + item->value_at;
		st = buf_append(&own->names, bytes_of(s->names.p + item->name_at, item->name_n));
		if (!st)
			st = add(own, at, bytes_of(value, item->value_n), false);
	}
	own->cut += s->cut;
	if (st || !own->cut)
		return st;
	/* In the place that was kept for it. */
	struct loki_item item = { .name_at = own->names.n, .value_at = own->texts.n };
	st = buf_append_str(&own->names, "tidegate_metadata_cut");
	if (!st)
		st = json_put_integer(&own->texts, own->cut, false, false);
	if (st)
		return st;
	item.name_n = own->names.n - item.name_at;
	item.value_n = own->texts.n - item.value_at;
	own->bytes += item.name_n + item.value_n;
	own->items[own->count++] = item;
	return ST_OK;
}
