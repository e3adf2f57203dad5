/* loki_entry.c - what one entry says: its line, and its metadata in order of importance.
 *
 * Everything but the stream's labels and the body becomes structured metadata, named as Loki's OTLP
 * endpoint names it (trace_id, severity_text, scope_name, ...). Items come in a fixed order, the
 * most telling first, since what comes last is cut first (loki_items.c):
 *
 *   1. the record's own fields: trace_id, span_id, severity_text, severity_number, event_name,
 *      observed_timestamp, flags, dropped_attributes_count
 *   2. the record's attributes
 *   3. scope_name, scope_version, the scope's attributes
 *   4. the resource's attributes
 *
 * 3 and 4 are the same for all records of a scope and are prepared once for them
 * (loki_convert.c); only where they would collide with a record's own, or not fit beside them, are
 * they added to it item by item. */
#include "gateway/forward/loki_entry.h"

#include "gateway/telemetry/any_value.h"
#include "gateway/telemetry/json_text.h"
#include "gateway/telemetry/wire.h"

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
	enum status st = loki_items_add_id(s, "trace_id", f->bytes[RECORD_TRACE_ID]);
	if (!st)
		st = loki_items_add_id(s, "span_id", f->bytes[RECORD_SPAN_ID]);
	if (!st)
		st = loki_items_add_named(s, "severity_text", f->bytes[RECORD_SEVERITY_TEXT]);
	if (!st && (uint32_t)f->value[RECORD_SEVERITY_NUMBER])
		st = loki_items_add_number(s, "severity_number",
					   (uint32_t)f->value[RECORD_SEVERITY_NUMBER]);
	if (!st)
		st = loki_items_add_named(s, "event_name", f->bytes[RECORD_EVENT_NAME]);
	if (!st && f->value[RECORD_OBSERVED])
		st = loki_items_add_number(s, "observed_timestamp", f->value[RECORD_OBSERVED]);
	if (!st && f->value[RECORD_FLAGS])
		st = loki_items_add_number(s, "flags", (uint32_t)f->value[RECORD_FLAGS]);
	if (!st && (uint32_t)f->value[RECORD_DROPPED])
		st = loki_items_add_number(s, "dropped_attributes_count",
					   (uint32_t)f->value[RECORD_DROPPED]);
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
	struct bytes pair;
	uint32_t taken = 0;
	enum status st = ST_OK;
	while (!st && wire_next_of(&r, RECORD_ATTRIBUTES, &pair)) {
		struct bytes key;
		struct bytes any;
		if (!loki_key_value(pair, &key, &any))
			return ST_INVALID;
		if (!is_label(form, entry->context, key, any, &taken))
			st = loki_items_add_attribute(s, key, any);
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
		st = loki_items_add_named(&r->items, "tidegate_line_cut", bytes_str("true"));
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
	st = loki_items_add_named(s, "scope_name", name);
	return st ? st : loki_items_add_named(s, "scope_version", version);
}

/* The attributes of a resource or scope, but those that labels say. */
static enum status add_all(struct loki_items *s, const struct loki_form *form,
			   const struct loki_context *c, struct bytes message, uint32_t number)
{
	struct wire_reader r = wire_reader_of(message);
	struct bytes pair;
	enum status st = ST_OK;
	while (!st && wire_next_of(&r, number, &pair)) {
		struct bytes key;
		struct bytes any;
		bool is_said = false;
		for (size_t i = 0; i < form->label_count; i++)
			is_said = is_said || c->said[i] == pair.p;
		if (is_said)
			continue;
		if (!loki_key_value(pair, &key, &any))
			return ST_INVALID;
		st = loki_items_add_attribute(s, key, any);
	}
	return r.fault ? ST_INVALID : st;
}

enum status loki_context_read(struct loki_items *items, const struct loki_form *form,
			      const struct loki_context *c)
{
	struct wire_reader scopes = wire_reader_of(c->scope_logs);
	struct wire_reader resources = wire_reader_of(c->resource_logs);
	struct bytes message;
	enum status st = ST_OK;
	loki_items_clear(items);
	while (!st && wire_next_of(&scopes, SCOPE_LOGS_SCOPE, &message)) {
		st = add_scope(items, message);
		if (!st)
			st = add_all(items, form, c, message, SCOPE_ATTRIBUTES);
	}
	while (!st && wire_next_of(&resources, RESOURCE_LOGS_RESOURCE, &message))
		st = add_all(items, form, c, message, RESOURCE_ATTRIBUTES);
	return st;
}
