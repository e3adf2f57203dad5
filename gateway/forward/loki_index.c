/* loki_index.c - which stream and which time each log record has.
 *
 * One walk over the request's bytes. A scope makes a context, a record an entry that points to its
 * bytes and its context; nothing is copied. The labels of a stream come from the resource, where it
 * has them all: then one look-up serves every record of the scope, and that is the usual case. A
 * label that the resource lacks is looked for in each record.
 *
 * Then entries are sorted by stream and time. They mostly are already, so that a look comes before
 * the sort; what has equal time keeps the order of the queue. Loki takes entries of a stream out of
 * order within a window (an hour, as it ships), but in order is cheaper for it, and makes its check
 * for duplicates work when a push is sent twice.
 *
 * Streams are found by a hash with a seed: records may name their own labels, and a client that
 * could choose collisions could make one push cost minutes.
 *
 * Memory: an arena and a buffer with caps of their own, charged to the destination's budget. What
 * does not fit (hundreds of thousands of empty records) is sent in parts, like a push that is too
 * large. */
#include "gateway/forward/loki_index.h"

#include <stdlib.h>
#include <sys/random.h>

#include "gateway/forward/prometheus_labels.h"
#include "gateway/telemetry/any_value.h"
#include "gateway/telemetry/json_text.h"
#include "gateway/telemetry/wire.h"

enum {
	ARENA_MAX = 24 << 20,
	ENTRIES_BYTES_MAX = 16 << 20,
	STREAM_TEXT_MAX = LOKI_LABELS_MAX * (LOKI_NAME_MAX + 6 * LOKI_LABEL_VALUE_MAX + 8),
	SLOTS = 8192
};

/* ---- reading ---- */

bool loki_key_value(struct bytes pair, struct bytes *ret_key, struct bytes *ret_value)
{
	struct wire_reader r = wire_reader_of(pair);
	struct wire_field f;
	*ret_key = *ret_value = (struct bytes){ 0 };
	while (wire_next(&r, &f)) {
		if (f.type != WIRE_LEN)
			continue;
		if (f.number == 1)
			*ret_key = f.bytes;
		else if (f.number == 2)
			*ret_value = f.bytes;
	}
	return !r.fault;
}

bool loki_string_of(struct bytes any, struct bytes *ret)
{
	struct wire_reader r = wire_reader_of(any);
	struct wire_field f;
	/* One field and no other: anything else goes the long way. */
	if (!wire_next(&r, &f) || r.p != r.end || f.number != 1 || f.type != WIRE_LEN)
		return false;
	*ret = f.bytes;
	return true;
}

static enum status out_of(const struct loki_index *x)
{
	return x->arena.is_starved ? ST_BUSY : ST_TOO_LARGE;
}

/* A value's text, borrowed from the request or in the arena. Longer than a label may be it is cut
 * off somewhere behind that. */
static enum status value_text(struct loki_index *x, struct bytes any, struct bytes *ret)
{
	if (loki_string_of(any, ret))
		return ST_OK;
	struct buf text;
	buf_init(&text, 2 * LOKI_LABEL_VALUE_MAX, x->entries.budget);
	enum status st = any_value_text(any, &text);
	if (st == ST_TOO_LARGE)
		st = ST_OK;
	const char *copy = st ? NULL : arena_strdup(&x->arena, buf_view(&text));
	if (!st && !copy)
		st = out_of(x);
	else if (!st)
		*ret = bytes_of(copy, text.n);
	buf_done(&text);
	return st;
}

/* The first attribute (field `number` of the message) that has a value for a label that has none
 * yet. */
static enum status find_labels(struct loki_index *x, struct bytes message, uint32_t number,
			       struct bytes *values, const uint8_t **said)
{
	const struct loki_form *form = x->form;
	struct wire_reader r = wire_reader_of(message);
	struct bytes pair;
	enum status st = ST_OK;
	while (!st && wire_next_of(&r, number, &pair)) {
		struct bytes key;
		struct bytes any;
		if (!loki_key_value(pair, &key, &any))
			return ST_INVALID;
		for (size_t i = 0; i < form->label_count && !st; i++) {
			if (values[i].n || !bytes_equal(key, form->labels[i].attribute))
				continue;
			st = value_text(x, any, &values[i]);
			if (!st && values[i].n <= LOKI_LABEL_VALUE_MAX && said)
				said[i] = pair.p;
		}
	}
	return r.fault ? ST_INVALID : st;
}

/* ---- streams ---- */

static enum status put_label(struct loki_index *x, struct bytes name, struct bytes value,
			     bool *is_first)
{
	struct buf *out = &x->text;
	if (value.n == 0)
		return ST_OK;
	enum status st = *is_first ? ST_OK : buf_append_str(out, x->form->is_json ? "," : ", ");
	*is_first = false;
	if (st || !x->form->is_json)
		return st ? st : loki_label(name, value, out);
	st = json_put_string(out, name);
	if (!st)
		st = buf_append_byte(out, ':');
	return st ? st : json_put_string(out, loki_cut(value, LOKI_LABEL_VALUE_MAX));
}

/* The labels as text, ordered by name, with class at its place. */
static enum status put_labels(struct loki_index *x, const struct bytes *values)
{
	const struct loki_form *form = x->form;
	struct bytes class_name = bytes_str(LOKI_CLASS_LABEL);
	struct bytes class_value = bytes_str(record_class_text(x->source->class));
	bool is_first = true;
	bool has_class = false;
	buf_clear(&x->text);
	enum status st = buf_append_byte(&x->text, '{');
	for (size_t i = 0; i < form->label_count && !st; i++) {
		struct bytes name = form->labels[i].name;
		if (!has_class && strncmp(LOKI_CLASS_LABEL, (const char *)name.p, name.n) < 0) {
			st = put_label(x, class_name, class_value, &is_first);
			has_class = true;
		}
		if (!st)
			st = put_label(x, name, values[i], &is_first);
	}
	if (!st && !has_class)
		st = put_label(x, class_name, class_value, &is_first);
	return st ? st : buf_append_byte(&x->text, '}');
}

static enum status find_stream(struct loki_index *x, const struct bytes *values,
			       struct loki_stream **ret)
{
	enum status st = put_labels(x, values);
	if (st)
		return st;
	struct bytes text = buf_view(&x->text);
	uint32_t hash = (uint32_t)prometheus_labels_hash(x->seed, text);
	struct loki_stream **slot = &x->slots[hash % SLOTS];
	for (struct loki_stream *s = *slot; s; s = s->next)
		if (s->hash == hash && bytes_equal(s->labels, text)) {
			*ret = s;
			return ST_OK;
		}
	struct loki_stream *s = arena_calloc(&x->arena, 1, sizeof(*s));
	char *copy = s ? arena_strdup(&x->arena, text) : NULL;
	if (!copy)
		return out_of(x);
	*s = (struct loki_stream){ .next = *slot,
				   .labels = bytes_of(copy, text.n),
				   .hash = hash,
				   .number = x->streams++ };
	*slot = s;
	*ret = s;
	return ST_OK;
}

/* ---- the walk ---- */

static int64_t clamp_time(uint64_t t)
{
	return t > INT64_MAX ? INT64_MAX : (int64_t)t;
}

/* When its member was received. Records come in the order of members. */
static int64_t received_at(struct loki_index *x, struct bytes record)
{
	const struct loki_source *s = x->source;
	size_t at = (size_t)(record.p - s->otlp.p);
	while (x->member + 1 < s->member_count && at >= x->member_end)
		x->member_end += s->members[++x->member].raw_bytes;
	return s->members[x->member].received_at_ns;
}

static bool read_time(struct loki_index *x, struct bytes record, int64_t *ret)
{
	enum { TIME = 1, OBSERVED = 11 };
	struct wire_reader r = wire_reader_of(record);
	struct wire_field f;
	uint64_t time = 0;
	uint64_t observed = 0;
	while (wire_next(&r, &f)) {
		if (f.type != WIRE_FIXED64)
			continue;
		if (f.number == TIME)
			time = f.value;
		else if (f.number == OBSERVED)
			observed = f.value;
	}
	*ret = time ? clamp_time(time) : observed ? clamp_time(observed) : received_at(x, record);
	return !r.fault;
}

static enum status add_entry(struct loki_index *x, struct loki_context *c, struct bytes record)
{
	enum { ATTRIBUTES = 6 };
	CHECK(c);
	struct loki_entry entry = { .record = record, .context = c, .stream = c->stream };
	enum status st = read_time(x, record, &entry.time_ns) ? ST_OK : ST_INVALID;
	if (!st && !c->stream) {
		struct bytes values[LOKI_LABELS_MAX];
		memcpy(values, c->values, sizeof(values));
		st = find_labels(x, record, ATTRIBUTES, values, NULL);
		if (!st)
			st = find_stream(x, values, &entry.stream);
	}
	if (!st)
		st = buf_append(&x->entries, bytes_of(&entry, sizeof(entry)));
	x->count += !st;
	return st;
}

static enum status new_context(struct loki_index *x, struct bytes resource_logs,
			       struct bytes scope_logs, struct loki_context **ret)
{
	enum { RESOURCE = 1, ATTRIBUTES = 1 };
	struct loki_context *c = arena_calloc(&x->arena, 1, sizeof(*c));
	if (!c)
		return out_of(x);
	c->resource_logs = resource_logs;
	c->scope_logs = scope_logs;
	struct wire_reader r = wire_reader_of(resource_logs);
	struct bytes resource;
	enum status st = ST_OK;
	while (!st && wire_next_of(&r, RESOURCE, &resource))
		st = find_labels(x, resource, ATTRIBUTES, c->values, c->said);
	bool is_whole = !st;
	for (size_t i = 0; i < x->form->label_count; i++)
		is_whole = is_whole && c->values[i].n;
	if (is_whole)
		st = find_stream(x, c->values, &c->stream);
	*ret = c;
	return r.fault ? ST_INVALID : st;
}

static enum status walk_scope(struct loki_index *x, struct bytes resource_logs,
			      struct bytes scope_logs)
{
	enum { LOG_RECORDS = 2 };
	struct wire_reader r = wire_reader_of(scope_logs);
	struct bytes record;
	struct loki_context *c = NULL;
	enum status st = ST_OK;
	while (!st && wire_next_of(&r, LOG_RECORDS, &record)) {
		if (!c)
			st = new_context(x, resource_logs, scope_logs, &c);
		if (!st)
			st = add_entry(x, c, record);
	}
	return r.fault ? ST_INVALID : st;
}

static enum status walk_resource(struct loki_index *x, struct bytes resource_logs)
{
	enum { SCOPE_LOGS = 2 };
	struct wire_reader r = wire_reader_of(resource_logs);
	struct bytes scope_logs;
	enum status st = ST_OK;
	while (!st && wire_next_of(&r, SCOPE_LOGS, &scope_logs))
		st = walk_scope(x, resource_logs, scope_logs);
	return r.fault ? ST_INVALID : st;
}

static enum status walk(struct loki_index *x)
{
	enum { RESOURCE_LOGS = 1 };
	struct wire_reader r = wire_reader_of(x->source->otlp);
	struct bytes resource_logs;
	enum status st = ST_OK;
	while (!st && wire_next_of(&r, RESOURCE_LOGS, &resource_logs))
		st = walk_resource(x, resource_logs);
	return r.fault ? ST_INVALID : st;
}

/* ---- order ---- */

static int compare(const void *left, const void *right)
{
	const struct loki_entry *a = left;
	const struct loki_entry *b = right;
	if (a->stream->number != b->stream->number)
		return a->stream->number < b->stream->number ? -1 : 1;
	if (a->time_ns != b->time_ns)
		return a->time_ns < b->time_ns ? -1 : 1;
	return a->record.p < b->record.p ? -1 : a->record.p > b->record.p;
}

static void sort(struct loki_index *x)
{
	struct loki_entry *entries = (struct loki_entry *)(void *)x->entries.p;
	size_t i = 1;
	while (i < x->count && compare(&entries[i - 1], &entries[i]) <= 0)
		i++;
	if (i < x->count)
		qsort(entries, x->count, sizeof(*entries), compare);
}

enum status loki_index_make(struct loki_index *x, const struct loki_form *form,
			    const struct loki_source *source, struct budget *budget)
{
	*x = (struct loki_index){ .form = form, .source = source };
	arena_init(&x->arena, ARENA_MAX, budget);
	buf_init(&x->entries, ENTRIES_BYTES_MAX, budget);
	buf_init(&x->text, STREAM_TEXT_MAX, budget);
	CHECK(source->member_count > 0);
	CHECK(getrandom(&x->seed, sizeof(x->seed), 0) == (ssize_t)sizeof(x->seed));
	x->member_end = source->members[0].raw_bytes;
	x->slots = arena_calloc(&x->arena, SLOTS, sizeof(struct loki_stream *));
	if (!x->slots)
		return out_of(x);
	enum status st = walk(x);
	if (!st)
		sort(x);
	return st;
}

void loki_index_done(struct loki_index *x)
{
	arena_done(&x->arena);
	buf_done(&x->entries);
	buf_done(&x->text);
}
