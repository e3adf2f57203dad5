/* sort.c - from a scanned request to one body per class, with the resource attributes inserted.
 *
 * The scan has checked the bytes and noted its resources, so this file only copies ranges and
 * writes new lengths in front of them:
 *
 *   one class, nothing to insert     the body itself, without a copy
 *   resource of one class, complete  its range as it stands
 *   resource of one class            its range, with the missing attributes at the end of Resource
 *   resource of several classes      its fields one by one: scopes once for each class, holding
 *                                    the records of that class; everything else in each part
 *
 * Unknown fields therefore survive at every level, in each part that has their envelope. Those of
 * the request itself go to the first part. Envelopes without records are left out of a rewritten
 * part. A Resource that occurs twice is what protobuf calls merged: what is missing was counted
 * over both, and goes to the end of the last one.
 *
 * Lengths are guessed from the original and corrected by wire_end, so every length in a part is in
 * its shortest form and no size pass is needed. */
#include "gateway/telemetry/sort.h"

#include "gateway/telemetry/record.h"
#include "gateway/telemetry/scan_resource.h"
#include "gateway/telemetry/wire.h"

/* The same numbers in all three signals. */
enum { REQUEST_ENVELOPE = 1, ENVELOPE_RESOURCE = 1, ENVELOPE_SCOPE = 2, SCOPE_RECORD = 2 };

struct sorter {
	const struct scan *scan;
	const struct attributes *add;
	struct buf *out;
	enum record_class class; /* of the part being written */
};

static enum status put_missing(const struct sorter *s, uint64_t missing)
{
	enum status st = ST_OK;
	for (size_t i = 0; missing >> i && !st; i++)
		if (missing >> i & 1)
			st = buf_append(s->out, s->add->items[i].encoded);
	return st;
}

/* A Resource with its old content and what is missing behind it. */
static enum status put_resource(const struct sorter *s, struct bytes old, uint64_t missing)
{
	struct wire_open open;
	enum status st = wire_begin(s->out, ENVELOPE_RESOURCE, old.n + 32, &open);
	if (!st)
		st = buf_append(s->out, old);
	if (!st)
		st = put_missing(s, missing);
	return st ? st : wire_end(s->out, &open);
}

/* The scope with its records of our class; nothing where there are none. */
static enum status put_scope(const struct sorter *s, struct bytes scope)
{
	size_t before = s->out->n;
	size_t records = 0;
	struct wire_open open;
	enum status st = wire_begin(s->out, ENVELOPE_SCOPE, scope.n, &open);
	struct wire_reader r = wire_reader_of(scope);
	struct wire_field f;
	while (!st && wire_next(&r, &f)) {
		if (f.number == SCOPE_RECORD) {
			enum signal signal = s->scan->signal;
			int32_t level = record_level(signal, f.bytes);
			if (record_class_of_level(signal, level) != s->class)
				continue;
			records++;
		}
		st = buf_append(s->out, f.whole);
	}
	if (st)
		return st;
	if (records == 0) {
		buf_truncate(s->out, before);
		return ST_OK;
	}
	return wire_end(s->out, &open);
}

/* Where the last Resource of an envelope starts, or NULL. */
static const uint8_t *last_resource(struct bytes envelope)
{
	const uint8_t *last = NULL;
	struct wire_reader r = wire_reader_of(envelope);
	struct wire_field f;
	while (wire_next(&r, &f))
		if (f.number == ENVELOPE_RESOURCE)
			last = f.whole.p;
	return last;
}

static enum status put_fields(const struct sorter *s, const struct scan_resource *resource,
			      struct bytes envelope)
{
	bool is_mixed = (resource->classes & (resource->classes - 1)) != 0;
	const uint8_t *last = resource->missing ? last_resource(envelope) : NULL;
	enum status st = ST_OK;
	if (resource->missing && !last)
		st = put_resource(s, (struct bytes){ 0 }, resource->missing);
	struct wire_reader r = wire_reader_of(envelope);
	struct wire_field f;
	while (!st && wire_next(&r, &f)) {
		if (f.whole.p == last)
			st = put_resource(s, f.bytes, resource->missing);
		else if (f.number == ENVELOPE_SCOPE && is_mixed)
			st = put_scope(s, f.bytes);
		else
			st = buf_append(s->out, f.whole);
	}
	return st;
}

static enum status put_envelope(const struct sorter *s, const struct scan_resource *resource)
{
	struct bytes whole =
		bytes_of(s->scan->body.p + resource->start, resource->end - resource->start);
	if (resource->classes == 1u << s->class && !resource->missing)
		return buf_append(s->out, whole);
	struct wire_reader r = wire_reader_of(whole);
	struct wire_field f;
	CHECK(wire_next(&r, &f));
	struct wire_open open;
	enum status st = wire_begin(s->out, REQUEST_ENVELOPE, f.bytes.n + 64, &open);
	if (!st)
		st = put_fields(s, resource, f.bytes);
	return st ? st : wire_end(s->out, &open);
}

/* Fields of the request that we do not know. */
static enum status put_unknown(const struct sorter *s)
{
	enum status st = ST_OK;
	struct wire_reader r = wire_reader_of(s->scan->body);
	struct wire_field f;
	while (!st && wire_next(&r, &f))
		if (f.number != REQUEST_ENVELOPE)
			st = buf_append(s->out, f.whole);
	return st;
}

static enum status put_part(const struct sorter *s)
{
	enum status st = ST_OK;
	const struct scan_resource *resource = s->scan->resources;
	for (; resource && !st; resource = resource->next)
		if (resource->classes >> s->class & 1)
			st = put_envelope(s, resource);
	return st;
}

enum status sort_request(const struct scan *scan, const struct attributes *add, struct buf *out,
			 struct sorted *ret)
{
	struct sorter s = { .scan = scan, .add = add, .out = out };
	struct sorted sorted = { 0 };
	for (unsigned c = 0; c < RECORD_CLASS_COUNT; c++) {
		if (scan->of_class[c].records == 0)
			continue;
		struct sorted_part *part = &sorted.parts[sorted.count++];
		part->class = (enum record_class)c;
		part->summary = &scan->of_class[c];
	}
	if (sorted.count == 1 && !scan->needs_attributes) {
		sorted.parts[0].body = scan->body;
		*ret = sorted;
		return ST_OK;
	}
	size_t start = out->n;
	for (size_t i = 0; i < sorted.count; i++) {
		s.class = sorted.parts[i].class;
		size_t before = out->n;
		enum status st = i == 0 ? put_unknown(&s) : ST_OK;
		if (!st)
			st = put_part(&s);
		if (st)
			return st;
		sorted.parts[i].body.n = out->n - before;
	}
	/* out may have moved while it grew: places are known only now. */
	for (size_t i = 0; i < sorted.count; i++) {
		sorted.parts[i].body.p = out->p + start;
		start += sorted.parts[i].body.n;
	}
	*ret = sorted;
	return ST_OK;
}
