/* scan.c - one pass over the wire bytes of a request.
 *
 * This is the guard: what comes out of it with ST_OK is well-formed protobuf whose known fields
 * have their own wire types, whose strings are UTF-8, whose ids have their length and whose nesting
 * is bounded, so that neither we nor a backend behind us can be hurt by it or fail to parse it.
 * (What a backend makes of the values is its own affair: one may refuse a span without an id.) It
 * is the fast path as well, so it works on the jump tables of scan_table.c and unpacks nothing.
 *
 * A message is walked by one function that calls itself for sub-messages, at most SCAN_DEPTH_MAX
 * deep: the C stack is bounded. Memory is bounded too. Nothing is kept for a record, and 32 bytes
 * are kept for a resource that has records.
 *
 * Empty messages are legal, and a request of millions of them costs no more than a walk here; but
 * whoever unpacks it behind us pays a hundred bytes for each of its own. No telemetry looks like
 * that: past EMPTY_MANY of them, a request with one in each EMPTY_SPACING bytes is refused.
 *
 * Fields that we do not know are stepped over and stay in the body. A number or message that occurs
 * twice is legal (protobuf merges, the last number wins) and taken so. One thing protobuf allows is
 * refused: two values for the oneof of a Metric. Parsers disagree on what is left of the first one,
 * so nobody could say how many points were sent, and the books would not balance.
 *
 * Ids: OTLP lets a trace or span id be absent, and calls one of another length than 16 or 8 bytes
 * invalid. The Collector refuses the whole request for it, and so does Tempo. Taken here, such a
 * request would be merged with those of others and refused with them later, so its sender is told.
 *
 * Times: those past 2^63 are no times, and are passed over like 0.
 *
 * Faults are rare: the walk returns NULL, and only then the way back up notes the path. */
#include "gateway/telemetry/scan.h"

#include <inttypes.h>
#include <stdio.h>

#include "gateway/telemetry/record.h"
#include "gateway/telemetry/scan_resource.h"
#include "gateway/telemetry/scan_table.h"
#include "gateway/telemetry/utf8.h"
#include "gateway/telemetry/wire.h"

enum {
	RESOURCE_ATTRIBUTES = 1,
	KEY_VALUE_KEY = 1,
	KEY_VALUE_VALUE = 2,
	ANY_STRING = 1,
	ANY_LAST = 8
};
enum { PATH_MAX_SEGMENTS = SCAN_DEPTH_MAX + 2 };
enum { EMPTY_MANY = 65536, EMPTY_SPACING = 8 };

struct walk {
	struct scan *scan;
	const struct attributes *add; /* never NULL */
	struct bytes keys[ATTRIBUTES_MAX];
	struct arena *arena;
	/* The record being walked. */
	uint64_t time;
	uint64_t other_time;
	int32_t level;
	struct bytes name;
	struct bytes body; /* AnyValue of a log record */
	uint32_t data;     /* which member of a metric's oneof was met; 0: none */
	/* The resource being walked. */
	uint64_t present; /* bit i: attribute i of add is set */
	struct bytes service;
	unsigned classes; /* bit i: it has records of class i */
	struct scan_resource **tail;
	/* The request. */
	size_t empty; /* messages */
	/* What went wrong. */
	enum status status;
	const char *fault;
	const uint8_t *fault_at;
	const struct otlp_field *path[PATH_MAX_SEGMENTS]; /* by depth */
};

static const uint8_t *walk_message(struct walk *w, const struct scan_table *t, const uint8_t *p,
				   const uint8_t *end, unsigned depth);

static const uint8_t *fail(struct walk *w, const char *fault, const uint8_t *at)
{
	w->status = ST_INVALID;
	w->fault = fault;
	w->fault_at = at;
	return NULL;
}

/* Fail, and say in which field. */
static const uint8_t *fail_in(struct walk *w, const struct scan_table *t, uint32_t number,
			      unsigned depth, const uint8_t *at, const char *fault)
{
	w->path[depth] = otlp_field_of(t->message, number);
	return fail(w, fault, at);
}

/* --- records and resources -------------------------------------------------------------------- */

static void note_time(struct scan_summary *s, uint64_t t)
{
	if (t - 1 >= INT64_MAX)
		return;
	int64_t ns = (int64_t)t;
	if (s->first_time_ns == 0 || ns < s->first_time_ns)
		s->first_time_ns = ns;
	if (ns > s->last_time_ns)
		s->last_time_ns = ns;
}

/* The string of a walked AnyValue, if it is one. */
static struct bytes any_text(struct bytes body)
{
	struct bytes text = { 0 };
	struct wire_reader r = wire_reader_of(body);
	struct wire_field f;
	while (wire_next(&r, &f))
		if (f.number <= ANY_LAST)
			text = f.number == ANY_STRING ? f.bytes : (struct bytes){ 0 };
	return text;
}

static void record_seen(struct walk *w)
{
	enum signal signal = w->scan->signal;
	enum record_class class = record_class_of_level(signal, w->level);
	struct scan_summary *s = &w->scan->of_class[class];
	s->records++;
	w->classes |= 1u << class;
	if (signal == SIGNAL_LOGS) {
		note_time(s, w->time ? w->time : w->other_time);
	} else {
		note_time(s, w->time);
		if (signal == SIGNAL_TRACES)
			note_time(s, w->other_time);
	}
	if (s->preview.n == 0 && signal != SIGNAL_METRICS) {
		struct bytes text = signal == SIGNAL_LOGS ? any_text(w->body) : w->name;
		s->preview = utf8_cut(text, SCAN_PREVIEW_MAX);
		if (w->scan->all.preview.n == 0)
			w->scan->all.preview = s->preview;
	}
}

static const uint8_t *walk_record(struct walk *w, const struct scan_table *t, const uint8_t *p,
				  const uint8_t *end, unsigned depth)
{
	w->time = 0;
	w->other_time = 0;
	w->level = 0;
	w->name = (struct bytes){ 0 };
	w->body = (struct bytes){ 0 };
	if (!walk_message(w, t, p, end, depth))
		return NULL;
	record_seen(w);
	return end;
}

static const uint8_t *walk_point(struct walk *w, const struct scan_table *t, const uint8_t *p,
				 const uint8_t *end, unsigned depth)
{
	w->time = 0;
	if (!walk_message(w, t, p, end, depth))
		return NULL;
	record_seen(w);
	return end;
}

static const uint8_t *walk_metric(struct walk *w, const struct scan_table *t, const uint8_t *p,
				  const uint8_t *end, unsigned depth)
{
	struct scan_summary *s = &w->scan->of_class[RECORD_CLASS_INFO];
	uint32_t before = s->records;
	w->name = (struct bytes){ 0 };
	w->data = 0;
	if (!walk_message(w, t, p, end, depth))
		return NULL;
	if (s->preview.n == 0 && s->records > before) {
		s->preview = utf8_cut(w->name, SCAN_PREVIEW_MAX);
		w->scan->all.preview = s->preview;
	}
	return end;
}

/* A walked KeyValue: its key and, where the value is a string, that. Merged as protobuf does. */
static void read_attribute(struct bytes kv, struct bytes *ret_key, struct bytes *ret_text)
{
	*ret_key = (struct bytes){ 0 };
	*ret_text = (struct bytes){ 0 };
	struct wire_reader r = wire_reader_of(kv);
	struct wire_field f;
	while (wire_next(&r, &f)) {
		if (f.number == KEY_VALUE_KEY)
			*ret_key = f.bytes;
		else if (f.number == KEY_VALUE_VALUE)
			*ret_text = any_text(f.bytes);
	}
}

/* Which of the attributes to insert a walked Resource has, and its service name. */
static void resource_seen(struct walk *w, struct bytes resource)
{
	struct wire_reader r = wire_reader_of(resource);
	struct wire_field f;
	while (wire_next(&r, &f)) {
		if (f.number != RESOURCE_ATTRIBUTES)
			continue;
		struct bytes key;
		struct bytes text;
		read_attribute(f.bytes, &key, &text);
		if (w->service.n == 0 && bytes_equal(key, bytes_str("service.name")))
			w->service = text;
		for (size_t i = 0; i < w->add->count; i++)
			if (bytes_equal(key, w->keys[i]))
				w->present |= UINT64_C(1) << i;
	}
}

/* The name that a resource gets where it lacks one: it will be among what is inserted. */
static struct bytes service_of(const struct walk *w, uint64_t missing)
{
	if (w->service.n)
		return w->service;
	for (size_t i = 0; i < w->add->count; i++)
		if (missing >> i & 1 && bytes_equal(w->keys[i], bytes_str("service.name")))
			return bytes_str(w->add->items[i].value);
	/* Empty, but set: the first resource of a class decides, even where it has no name. */
	return bytes_of(w->scan->body.p, 0);
}

static const uint8_t *envelope_seen(struct walk *w, const uint8_t *start, const uint8_t *end)
{
	struct scan *scan = w->scan;
	struct scan_resource *r = arena_alloc(w->arena, sizeof(*r));
	if (!r) {
		w->status = ST_TOO_LARGE;
		w->fault = "too many resources";
		w->fault_at = start;
		return NULL;
	}
	size_t add = w->add->count;
	uint64_t wanted = add == 64 ? UINT64_MAX : (UINT64_C(1) << add) - 1;
	*r = (struct scan_resource){ .missing = wanted & ~w->present,
				     .start = (uint32_t)(start - scan->body.p),
				     .end = (uint32_t)(end - scan->body.p),
				     .classes = (uint8_t)w->classes };
	*w->tail = r;
	w->tail = &r->next;
	scan->resource_count++;
	scan->needs_attributes |= r->missing != 0;
	struct bytes service = service_of(w, r->missing);
	if (!scan->all.service.p)
		scan->all.service = service;
	for (unsigned c = 0; c < RECORD_CLASS_COUNT; c++)
		if (w->classes >> c & 1 && !scan->of_class[c].service.p)
			scan->of_class[c].service = service;
	return end;
}

static const uint8_t *walk_envelope(struct walk *w, const struct scan_table *t,
				    const uint8_t *start, const uint8_t *p, const uint8_t *end)
{
	w->present = 0;
	w->service = (struct bytes){ 0 };
	w->classes = 0;
	if (!walk_message(w, t, p, end, 1))
		return NULL;
	return w->classes ? envelope_seen(w, start, end) : end;
}

/* --- fields ----------------------------------------------------------------------------------- */

static const uint8_t *check_string(struct walk *w, struct bytes s)
{
	size_t good = utf8_valid_prefix(s);
	return good == s.n ? s.p + s.n : fail(w, "not valid UTF-8", s.p + good);
}

static const uint8_t *check_packed(struct walk *w, enum scan_op op, const uint8_t *p,
				   const uint8_t *end)
{
	if (op == SCAN_PACKED_FIXED64 && (end - p) % 8 != 0)
		return fail(w, "a packed field of 8-byte numbers whose length is no multiple of 8",
			    p);
	while (op == SCAN_PACKED_VARINT && p < end) {
		uint64_t v;
		const uint8_t *next = wire_varint(p, end, &v);
		if (!next)
			return fail(w, wire_fault_text(wire_varint_fault(p, end)), p);
		p = next;
	}
	return end;
}

/* A field that the jump table has no answer for. Known fields come back with *ret_op and
 * *ret_number set and the place behind the tag; unknown ones are stepped over, *ret_op is SCAN_ODD.
 */
static const uint8_t *walk_odd(struct walk *w, const struct scan_table *t, const uint8_t *p,
			       const uint8_t *end, unsigned depth, uint8_t *ret_op,
			       uint32_t *ret_number)
{
	uint64_t tag = 0;
	const uint8_t *value = wire_varint(p, end, &tag);
	uint32_t number = value && tag <= UINT32_MAX ? (uint32_t)(tag >> 3) : 0;
	const struct otlp_field *known = otlp_field_of(t->message, number);
	if (known && value - p <= 5) {
		*ret_number = number;
		*ret_op = t->op_of[tag & 7][number];
		if (*ret_op != SCAN_ODD)
			return value;
		return fail_in(w, t, number, depth, p, "the wire type is not that of this field");
	}
	struct wire_reader r = { .p = p, .end = end };
	struct wire_field f;
	*ret_op = SCAN_ODD;
	if (!wire_next(&r, &f))
		return fail_in(w, t, number, depth, r.fault_at, wire_fault_text(r.fault));
	return r.p;
}

/* Most of the bytes of telemetry are attributes of one shape: a short key, then a short string or
 * an integer, all ASCII, every length one byte. True where n bytes at p are exactly that. Anything
 * else is not wrong, but is walked as any message. */
static bool is_plain_attribute(const uint8_t *p, size_t n)
{
	enum { KEY_TAG = 0x0a, VALUE_TAG = 0x12, STRING_TAG = 0x0a, INT_TAG = 0x18 };
	if (n < 6 || p[0] != KEY_TAG || p[1] > n - 6 || p[1] > 0x7f)
		return false;
	struct bytes key = bytes_of(p + 2, p[1]);
	const uint8_t *value = key.p + key.n; /* at least four bytes from here */
	size_t left = n - 2 - key.n;
	if (value[0] != VALUE_TAG || value[1] != left - 2 || value[1] > 0x7f)
		return false;
	/* The tags and lengths between the two strings are ASCII too. */
	if (value[2] == STRING_TAG)
		return value[3] == left - 4 && utf8_is_ascii(bytes_of(p, n));
	uint64_t number;
	return value[2] == INT_TAG && utf8_is_ascii(key) &&
	       wire_varint(value + 3, p + n, &number) == p + n;
}

/* Behind the plain attributes at p, which come in runs: none, p. Their tag is the byte at p. */
static const uint8_t *skip_plain_attributes(const uint8_t *p, const uint8_t *end)
{
	const uint8_t tag = *p;
	while (end - p >= 2 && p[0] == tag && p[1] < 0x80 && p[1] <= end - p - 2 &&
	       is_plain_attribute(p + 2, p[1]))
		p += 2 + p[1];
	return p;
}

static const uint8_t *check_id(struct walk *w, struct bytes id, size_t size)
{
	if (id.n == size || id.n == 0)
		return id.p + id.n;
	return fail(
		w, size == 16 ? "a trace id has 16 bytes or none" : "a span id has 8 bytes or none",
		id.p);
}

/* A field with a length, whose content is p to end; start is its tag. */
static const uint8_t *walk_content(struct walk *w, const struct scan_table *t, uint8_t op,
				   uint32_t number, const uint8_t *start, const uint8_t *p,
				   const uint8_t *end, unsigned depth)
{
	const struct scan_table *sub = t->sub[number];
	const struct bytes content = bytes_of(p, (size_t)(end - p));
	/* Most fields are one of these, and a jump through a table is often guessed wrong. */
	if (op <= SCAN_SPAN_ID)
		return check_id(w, content, op == SCAN_TRACE_ID ? 16 : 8);
	if (op <= SCAN_NAME) {
		if (op == SCAN_NAME)
			w->name = content;
		return utf8_is_ascii(content) ? end : check_string(w, content);
	}
	switch ((enum scan_op)op) {
	case SCAN_PACKED_VARINT:
	case SCAN_PACKED_FIXED64:
		return check_packed(w, op, p, end);
	case SCAN_BODY:
		w->body = content;
		return walk_message(w, sub, p, end, depth + 1);
	case SCAN_ENVELOPE:
		return walk_envelope(w, sub, start, p, end);
	case SCAN_RESOURCE:
		if (!walk_message(w, sub, p, end, depth + 1))
			return NULL;
		resource_seen(w, content);
		return end;
	case SCAN_RECORD:
		return walk_record(w, sub, p, end, depth + 1);
	case SCAN_METRIC:
		return walk_metric(w, sub, p, end, depth + 1);
	case SCAN_DATA:
		if (w->data)
			return fail(w, "a metric with two values for its data", start);
		w->data = number;
		return walk_message(w, sub, p, end, depth + 1);
	case SCAN_POINT:
		return walk_point(w, sub, p, end, depth + 1);
	case SCAN_ATTRIBUTE:
	case SCAN_MESSAGE:
		return walk_message(w, sub, p, end, depth + 1);
	default:
		return end;
	}
}

static const uint8_t *walk_length(struct walk *w, const uint8_t *p, const uint8_t *end, size_t *ret)
{
	enum wire_fault fault;
	const uint8_t *content = wire_length(p, end, ret, &fault);
	return content ? content : fail(w, wire_fault_text(fault), p);
}

static const uint8_t *walk_number(struct walk *w, uint8_t op, const uint8_t *p, const uint8_t *end)
{
	uint64_t v;
	if (op == SCAN_VARINT || op == SCAN_LEVEL) {
		const uint8_t *next = wire_varint(p, end, &v);
		if (!next)
			return fail(w, wire_fault_text(wire_varint_fault(p, end)), p);
		if (op == SCAN_LEVEL)
			w->level = (int32_t)v;
		return next;
	}
	ptrdiff_t size = op == SCAN_FIXED32 ? 4 : 8;
	if (end - p < size)
		return fail(w, wire_fault_text(WIRE_CUT_FIXED), p);
	if (op == SCAN_TIME)
		w->time = wire_fixed64(p);
	else if (op == SCAN_OTHER_TIME)
		w->other_time = wire_fixed64(p);
	return p + size;
}

static const uint8_t *empty_seen(struct walk *w, const uint8_t *at)
{
	if (++w->empty > EMPTY_MANY && (size_t)(at - w->scan->body.p) / EMPTY_SPACING < w->empty)
		return fail(w, "more than 65536 empty messages, and little else", at);
	return at;
}

/* The whole message p to end. Returns end, or NULL where something is wrong. */
static const uint8_t *walk_message(struct walk *w, const struct scan_table *t, const uint8_t *p,
				   const uint8_t *end, unsigned depth)
{
	if (depth > SCAN_DEPTH_MAX)
		return fail(w, "nested deeper than 100 messages", p);
	if (p == end)
		return empty_seen(w, end);
	while (p < end) {
		const uint8_t *start = p;
		uint8_t op = t->op[*p];
		uint32_t number = *p >> 3;
		if (op == SCAN_ATTRIBUTE && depth + 2 <= SCAN_DEPTH_MAX) {
			p = skip_plain_attributes(p, end);
			if (p > start)
				continue;
		}
		p++;
		if (op == SCAN_ODD) {
			p = walk_odd(w, t, start, end, depth, &op, &number);
			if (!p)
				return NULL;
			if (op == SCAN_ODD)
				continue;
		}
		if (op < SCAN_BYTES) {
			p = walk_number(w, op, p, end);
		} else {
			size_t n;
			if (p < end && *p < 0x80 && *p < end - p)
				n = *p++;
			else
				p = walk_length(w, p, end, &n);
			if (p && op != SCAN_BYTES)
				p = walk_content(w, t, op, number, start, p, p + n, depth);
			else if (p)
				p += n;
		}
		if (!p) {
			w->path[depth] = otlp_field_of(t->message, number);
			return NULL;
		}
	}
	return end;
}

/* --- the outcome ------------------------------------------------------------------------------ */

/* "resource_spans.scope_spans.spans.name"; the middle of a long path is left out. */
static void write_path(const struct walk *w, char *text, size_t size)
{
	enum { HEAD = 7, TAIL = 3 };
	size_t count = 0;
	while (count < PATH_MAX_SEGMENTS && w->path[count])
		count++;
	size_t at = 0;
	text[0] = '\0';
	for (size_t i = 0; i < count && at < size; i++) {
		const char *name = w->path[i]->name;
		if (count > HEAD + TAIL && i == HEAD) {
			name = "...";
			i = count - TAIL - 1;
		}
		int n = snprintf(text + at, size - at, "%s%s", at ? "." : "", name);
		at += (size_t)n;
	}
}

static enum status report(const struct walk *w, struct err *e)
{
	char path[400];
	write_path(w, path, sizeof(path));
	return err_set(e, w->status, "%s%s%s at byte %td", path, path[0] ? ": " : "", w->fault,
		       w->fault_at - w->scan->body.p);
}

/* What all classes hold together. Service and preview were set on the way. */
static void add_up(struct scan *scan)
{
	for (unsigned c = 0; c < RECORD_CLASS_COUNT; c++) {
		const struct scan_summary *s = &scan->of_class[c];
		scan->all.records += s->records;
		note_time(&scan->all, (uint64_t)s->first_time_ns);
		note_time(&scan->all, (uint64_t)s->last_time_ns);
	}
}

enum status scan_request(enum signal signal, struct bytes body, const struct attributes *add,
			 struct arena *arena, struct scan *ret, struct err *e)
{
	static const struct attributes nothing;
	struct scan scan = { .signal = signal, .body = body };
	struct walk w = { .scan = &scan, .add = add ? add : &nothing, .arena = arena };
	w.tail = &scan.resources;
	for (size_t i = 0; i < w.add->count; i++)
		w.keys[i] = bytes_str(w.add->items[i].key);
	if (body.n > UINT32_MAX)
		return err_set(e, ST_TOO_LARGE, "a request of %zu bytes", body.n);
	if (body.n && !walk_message(&w, scan_table_of(signal), body.p, body.p + body.n, 0))
		return report(&w, e);
	add_up(&scan);
	*ret = scan;
	return ST_OK;
}
