/* json_write.c - a stored request as one line of OTLP JSON, straight from the wire bytes.
 *
 * Nothing is unpacked: that would cost up to 124 bytes of memory for each byte of a hostile
 * message. Each message is walked twice. The first walk notes where each field stands, so that the
 * second can write a repeated field as one array although its parts may be scattered, as protobuf
 * allows. A message that stands several times where one is expected means their concatenation (that
 * is how protobuf defines merging), and only this rare case is copied.
 *
 * Members of a oneof and messages are written when they are present; other fields when they differ
 * from proto3's default, which is how other implementations of the mapping do it. Keys come in the
 * order of the field numbers.
 *
 * What is read here was checked before it was stored, but disks lie: depth, lengths and wire types
 * are checked again. */
#include "gateway/telemetry/json.h"

#include "gateway/telemetry/json_text.h"
#include "gateway/telemetry/otlp_schema.h"
#include "gateway/telemetry/scan.h"
#include "gateway/telemetry/wire.h"

struct writer {
	struct buf *out;
	const char *fault; /* of ST_INVALID */
};

/* Where a field stands in its message. */
struct place {
	size_t count;
	struct wire_field last;
	const uint8_t *first; /* its first tag; last.whole ends it */
};
struct places {
	struct place of[OTLP_NUMBER_MAX + 1];
};

static enum status write_message(struct writer *w, const struct otlp_message *m, struct bytes bytes,
				 unsigned depth);

static enum status damaged(struct writer *w, const char *fault)
{
	w->fault = fault;
	return ST_INVALID;
}

static bool is_packed(const struct otlp_field *f, const struct wire_field *field)
{
	return f->is_repeated && field->type == WIRE_LEN && f->wire_type != WIRE_LEN;
}

static enum status note_field(struct writer *w, const struct otlp_message *m,
			      const struct wire_field *field, struct places *places)
{
	const struct otlp_field *f = otlp_field_of(m, field->number);
	if (!f)
		return ST_OK;
	if (field->type != f->wire_type && !is_packed(f, field))
		return damaged(w, "a field has another wire type than OTLP says");
	/* Another member of the same oneof takes the place of this one. */
	for (uint32_t i = 1; f->oneof && i <= m->number_max; i++)
		if (i != f->number && m->fields[i].oneof == f->oneof)
			places->of[i].count = 0;
	struct place *place = &places->of[f->number];
	if (place->count++ == 0)
		place->first = field->whole.p;
	place->last = *field;
	return ST_OK;
}

static enum status find_fields(struct writer *w, const struct otlp_message *m, struct bytes bytes,
			       struct places *ret)
{
	struct wire_reader r = wire_reader_of(bytes);
	struct wire_field field;
	enum status st = ST_OK;
	while (!st && wire_next(&r, &field))
		st = note_field(w, m, &field, ret);
	return r.fault ? damaged(w, wire_fault_text(r.fault)) : st;
}

static bool is_default(const struct otlp_field *f, const struct wire_field *field)
{
	if (f->oneof || f->type == OTLP_MESSAGE)
		return false;
	return f->wire_type == WIRE_LEN ? field->bytes.n == 0 : field->value == 0;
}

static enum status write_signed(struct writer *w, int64_t v, bool is_quoted)
{
	return json_put_integer(w->out, v < 0 ? 0 - (uint64_t)v : (uint64_t)v, v < 0, is_quoted);
}

/* A value that is not a message; of a varint or fixed number, its bits. */
static enum status write_value(struct writer *w, const struct otlp_field *f, uint64_t bits,
			       struct bytes bytes)
{
	double d;
	switch (f->type) {
	case OTLP_STRING:
		return json_put_string(w->out, bytes);
	case OTLP_BYTES:
		return f->is_hex ? json_put_hex(w->out, bytes) : json_put_base64(w->out, bytes);
	case OTLP_BOOL:
		return buf_append_str(w->out, bits ? "true" : "false");
	case OTLP_ENUM:
	case OTLP_INT32:
		return write_signed(w, (int32_t)bits, false);
	case OTLP_SINT32:
		return write_signed(w, (int32_t)wire_unzigzag((uint32_t)bits), false);
	case OTLP_UINT32:
	case OTLP_FIXED32:
		return json_put_integer(w->out, (uint32_t)bits, false, false);
	case OTLP_INT64:
	case OTLP_SFIXED64:
		return write_signed(w, (int64_t)bits, true);
	case OTLP_UINT64:
	case OTLP_FIXED64:
		return json_put_integer(w->out, bits, false, true);
	case OTLP_DOUBLE:
		memcpy(&d, &bits, sizeof(d));
		return json_put_double(w->out, d);
	case OTLP_MESSAGE:
	case OTLP_NONE:
		break;
	}
	CHECK(false);
}

/* The numbers of one packed field, each with a comma before it but for the array's first. */
static enum status write_packed(struct writer *w, const struct otlp_field *f, struct bytes packed,
				bool *is_first)
{
	const uint8_t *p = packed.p;
	const uint8_t *end = p + packed.n;
	enum status st = ST_OK;
	while (p < end && !st) {
		uint64_t bits;
		if (f->wire_type == WIRE_VARINT) {
			const uint8_t *next = wire_varint(p, end, &bits);
			if (!next)
				return damaged(w, wire_fault_text(wire_varint_fault(p, end)));
			p = next;
		} else {
			if (end - p < 8)
				return damaged(w, wire_fault_text(WIRE_CUT_FIXED));
			bits = wire_fixed64(p);
			p += 8;
		}
		if (!*is_first)
			st = buf_append_byte(w->out, ',');
		*is_first = false;
		if (!st)
			st = write_value(w, f, bits, (struct bytes){ 0 });
	}
	return st;
}

static enum status write_element(struct writer *w, const struct otlp_field *f,
				 const struct wire_field *field, unsigned depth, bool *is_first)
{
	if (is_packed(f, field))
		return write_packed(w, f, field->bytes, is_first);
	enum status st = *is_first ? ST_OK : buf_append_byte(w->out, ',');
	*is_first = false;
	if (st)
		return st;
	if (f->type == OTLP_MESSAGE)
		return write_message(w, f->message, field->bytes, depth + 1);
	return write_value(w, f, field->value, field->bytes);
}

static enum status write_array(struct writer *w, const struct otlp_field *f,
			       const struct place *place, unsigned depth)
{
	const uint8_t *end = place->last.whole.p + place->last.whole.n;
	struct wire_reader r = { .p = place->first, .end = end };
	struct wire_field field;
	bool is_first = true;
	enum status st = buf_append_byte(w->out, '[');
	while (!st && wire_next(&r, &field))
		if (field.number == f->number)
			st = write_element(w, f, &field, depth, &is_first);
	return st ? st : buf_append_byte(w->out, ']');
}

/* A message in several pieces. */
static enum status write_merged(struct writer *w, const struct otlp_field *f,
				const struct place *place, unsigned depth)
{
	const uint8_t *end = place->last.whole.p + place->last.whole.n;
	struct wire_reader r = { .p = place->first, .end = end };
	struct wire_field field;
	struct buf merged;
	buf_init(&merged, (size_t)(end - place->first), w->out->budget);
	enum status st = ST_OK;
	while (!st && wire_next(&r, &field))
		if (field.number == f->number)
			st = buf_append(&merged, field.bytes);
	if (!st)
		st = write_message(w, f->message, buf_view(&merged), depth + 1);
	buf_done(&merged);
	return st;
}

static enum status write_field(struct writer *w, const struct otlp_field *f,
			       const struct place *place, unsigned depth, bool *is_first)
{
	size_t comma = *is_first ? 1 : 0;
	enum status st =
		buf_append(w->out, bytes_of(f->json_key + comma, f->json_name_n + 4 - comma));
	if (st)
		return st;
	*is_first = false;
	if (f->is_repeated)
		return write_array(w, f, place, depth);
	if (f->type != OTLP_MESSAGE)
		return write_value(w, f, place->last.value, place->last.bytes);
	if (place->count > 1)
		return write_merged(w, f, place, depth);
	return write_message(w, f->message, place->last.bytes, depth + 1);
}

static enum status write_message(struct writer *w, const struct otlp_message *m, struct bytes bytes,
				 unsigned depth)
{
	if (depth > SCAN_DEPTH_MAX)
		return damaged(w, "nested deeper than 100 messages");
	struct places places;
	memset(places.of, 0, (m->number_max + 1) * sizeof(places.of[0]));
	enum status st = find_fields(w, m, bytes, &places);
	if (!st)
		st = buf_append_byte(w->out, '{');
	bool is_first = true;
	for (uint32_t number = 1; number <= m->number_max && !st; number++) {
		const struct otlp_field *f = &m->fields[number];
		const struct place *place = &places.of[number];
		if (place->count && (f->is_repeated || !is_default(f, &place->last)))
			st = write_field(w, f, place, depth, &is_first);
	}
	return st ? st : buf_append_byte(w->out, '}');
}

enum status otlp_to_json(enum signal signal, struct bytes body, struct buf *out, struct err *e)
{
	struct writer w = { .out = out };
	size_t before = out->n;
	enum status st = write_message(&w, otlp_request(signal), body, 0);
	if (!st)
		return ST_OK;
	buf_truncate(out, before);
	return st == ST_INVALID ? err_set(e, st, "stored %s: %s", signal_text(signal), w.fault) :
				  err_set(e, st, "as JSON: %s", status_text(st));
}
