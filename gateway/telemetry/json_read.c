/* json_read.c - OTLP JSON to protobuf in one pass, without a document in between.
 *
 * The schema says what each key holds, so a value is converted where it is read: a message becomes
 * a field whose length is filled in behind it, strings are unescaped into place, hex and base64 are
 * decoded in place. The output buf is the only memory, and its cap the only limit besides depth.
 *
 * The rules are OTLP's: keys in lowerCamelCase only (others are unknown, and unknown keys are
 * ignored), ids in hex, enums as integers only. Where OTLP says nothing, protobuf's JSON mapping
 * decides. Numbers above 2^63 are taken where the field is unsigned, whole numbers in exponent form
 * (1.7e18) wherever they are exact. A key that comes twice means what the field twice on the wire
 * would, but two values for one oneof are refused, as protobuf's JSON mapping wants it. A null in
 * an array of messages is an empty message: there its place counts.
 *
 * A fault names the path and the line, for whoever wrote the document. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "gateway/telemetry/json.h"
#include "gateway/telemetry/json_text.h"
#include "gateway/telemetry/json_token.h"
#include "gateway/telemetry/otlp_schema.h"
#include "gateway/telemetry/scan.h"
#include "gateway/telemetry/wire.h"

struct step {
	const struct otlp_field *field;
	long index; /* in its array; -1: none */
};

struct reader {
	struct json_reader json;
	struct buf *out;
	struct step path[SCAN_DEPTH_MAX + 2]; /* by depth of the message */
	unsigned depth;
	bool is_again; /* the scalar that comes next had a value in this message before */
};

/* What a message has had so far, bit by bit. */
struct seen {
	unsigned oneofs;
	uint64_t fields; /* by number; OTLP's are below 64 */
};

static enum status read_message(struct reader *r, const struct otlp_message *m);

static enum status fail(struct reader *r, const char *fault)
{
	if (!r->json.fault)
		r->json.fault = fault;
	return ST_INVALID;
}

static bool is_null(struct reader *r)
{
	return json_peek(&r->json) == 'n' && json_take_word(&r->json, "null");
}

/* --- numbers ---------------------------------------------------------------------------------- */

/* A number, or a string that holds one. */
static enum status read_number(struct reader *r, struct json_number *ret)
{
	if (json_peek(&r->json) != '"')
		return json_number(&r->json, ret) ? ST_OK : ST_INVALID;
	struct bytes text;
	if (!json_plain_string(&r->json, &text) || !json_number_of(text, ret))
		return fail(r, "not a number");
	return ST_OK;
}

/* As a whole number. long double holds every 64-bit integer where it has 64 bits of mantissa; where
 * it has less, one that is not exact there is not whole either or was never exact in the text. */
static bool to_integer(const struct json_number *n, bool is_signed, uint64_t *ret)
{
	errno = 0;
	if (n->is_integer && (n->text[0] != '-' || is_signed)) {
		*ret = is_signed ? (uint64_t)strtoll(n->text, NULL, 10) :
				   strtoull(n->text, NULL, 10);
		return errno == 0;
	}
	long double v = strtold(n->text, NULL);
	if (v != truncl(v))
		return false;
	if (is_signed && (v < -0x1p63L || v >= 0x1p63L))
		return false;
	if (!is_signed && (v < 0 || v >= 0x1p64L))
		return false;
	*ret = is_signed ? (uint64_t)(int64_t)v : (uint64_t)v;
	return true;
}

/* As the bits of a varint or fixed number, range checked. */
static enum status integer_bits(struct reader *r, const struct otlp_field *f,
				const struct json_number *n, uint64_t *ret)
{
	bool is_unsigned = f->type == OTLP_UINT32 || f->type == OTLP_FIXED32 ||
			   f->type == OTLP_UINT64 || f->type == OTLP_FIXED64;
	if (!to_integer(n, !is_unsigned, ret))
		return fail(r, is_unsigned ? "not a whole number from 0 to 2^64 - 1" :
					     "not a whole number from -2^63 to 2^63 - 1");
	int64_t v = (int64_t)*ret;
	switch (f->type) {
	case OTLP_UINT32:
	case OTLP_FIXED32:
		return *ret <= UINT32_MAX ? ST_OK : fail(r, "larger than 2^32 - 1");
	case OTLP_INT32:
	case OTLP_ENUM:
		return v == (int32_t)v ? ST_OK : fail(r, "does not fit 32 bits");
	case OTLP_SINT32:
		*ret = (uint32_t)wire_zigzag(v);
		return v == (int32_t)v ? ST_OK : fail(r, "does not fit 32 bits");
	default:
		return ST_OK;
	}
}

static enum status double_bits(struct reader *r, uint64_t *ret)
{
	static const struct {
		const char *text;
		double value;
	} words[] = { { "NaN", (double)NAN },
		      { "Infinity", (double)INFINITY },
		      { "-Infinity", -(double)INFINITY } };
	double v = 0;
	struct json_number n;
	struct bytes text;
	bool is_word = false;
	struct json_reader ahead = r->json;
	if (json_peek(&ahead) == '"' && json_plain_string(&ahead, &text)) {
		for (size_t i = 0; i < sizeof(words) / sizeof(words[0]) && !is_word; i++) {
			is_word = bytes_equal(text, bytes_str(words[i].text));
			v = words[i].value;
		}
	}
	if (is_word) {
		r->json = ahead;
	} else {
		enum status st = read_number(r, &n);
		if (st)
			return st;
		v = strtod(n.text, NULL);
		if (isinf(v))
			return fail(r, "larger than a double can be");
	}
	memcpy(ret, &v, sizeof(v));
	return ST_OK;
}

/* The value of a field that is a varint or a fixed number. */
static enum status read_bits(struct reader *r, const struct otlp_field *f, uint64_t *ret)
{
	struct json_number n;
	if (f->type == OTLP_DOUBLE)
		return double_bits(r, ret);
	if (f->type == OTLP_BOOL) {
		*ret = json_take_word(&r->json, "true");
		if (*ret || json_take_word(&r->json, "false"))
			return ST_OK;
		return fail(r, "expected true or false");
	}
	if (f->type == OTLP_ENUM && json_peek(&r->json) == '"')
		return fail(r, "OTLP wants a number here, and no string");
	enum status st = read_number(r, &n);
	return st ? st : integer_bits(r, f, &n, ret);
}

static enum status put_bits(struct reader *r, const struct otlp_field *f, uint64_t bits)
{
	if (f->wire_type == WIRE_VARINT)
		return wire_put_varint(r->out, bits);
	if (f->wire_type == WIRE_FIXED64)
		return wire_put_fixed64(r->out, bits);
	return wire_put_fixed32(r->out, (uint32_t)bits);
}

/* --- strings ---------------------------------------------------------------------------------- */

/* What the next string will be long at most, without its escapes. */
static size_t guess_length(const struct reader *r)
{
	const uint8_t *p = r->json.p;
	size_t left = (size_t)(r->json.end - p);
	const uint8_t *quote = left > 1 ? memchr(p + 1, '"', left - 1) : NULL;
	return quote ? (size_t)(quote - p - 1) : left;
}

/* Turns the text at the end of out into the bytes that it stands for. */
static enum status decode_bytes(struct reader *r, const struct otlp_field *f, size_t start)
{
	size_t n;
	uint8_t *text = r->out->p + start;
	size_t length = r->out->n - start;
	if (length == 0)
		return ST_OK;
	if (f->is_hex && (!json_decode_hex(text, length, &n) || n != f->id_size))
		return fail(r, f->id_size == 16 ? "a trace id has 32 hex digits or none" :
						  "a span id has 16 hex digits or none");
	if (!f->is_hex && !json_decode_base64(text, length, &n))
		return fail(r, "not base64");
	buf_truncate(r->out, start + n);
	return ST_OK;
}

static enum status read_string(struct reader *r, const struct otlp_field *f)
{
	struct wire_open open;
	size_t before = r->out->n;
	if (json_peek(&r->json) != '"')
		return fail(r, "expected a string");
	enum status st = wire_begin(r->out, f->number, guess_length(r), &open);
	if (!st)
		st = json_take_string(&r->json, r->out);
	if (!st && f->type == OTLP_BYTES)
		st = decode_bytes(r, f, open.start);
	if (st)
		return st;
	if (r->out->n == open.start && !f->oneof && !f->is_repeated && !r->is_again) {
		buf_truncate(r->out, before); /* proto3's default is not written */
		return ST_OK;
	}
	return wire_end(r->out, &open);
}

/* --- fields ----------------------------------------------------------------------------------- */

static enum status read_sub_message(struct reader *r, const struct otlp_field *f)
{
	struct wire_open open;
	if (r->depth + 1 > SCAN_DEPTH_MAX)
		return fail(r, "nested deeper than 100 messages");
	enum status st = wire_begin(r->out, f->number, 100, &open);
	if (st)
		return st;
	r->depth++;
	st = read_message(r, f->message);
	if (st)
		return st;
	r->depth--;
	return wire_end(r->out, &open);
}

static enum status read_single(struct reader *r, const struct otlp_field *f)
{
	uint64_t bits = 0;
	if (f->type == OTLP_MESSAGE)
		return read_sub_message(r, f);
	if (f->wire_type == WIRE_LEN)
		return read_string(r, f);
	enum status st = read_bits(r, f, &bits);
	if (st || (bits == 0 && !f->oneof && !r->is_again))
		return st;
	st = wire_put_tag(r->out, f->number, f->wire_type);
	return st ? st : put_bits(r, f, bits);
}

static enum status read_element(struct reader *r, const struct otlp_field *f)
{
	uint64_t bits = 0;
	if (f->type == OTLP_MESSAGE && is_null(r))
		return wire_put_bytes(r->out, f->number, (struct bytes){ 0 });
	if (f->wire_type == WIRE_LEN)
		return read_single(r, f);
	enum status st = read_bits(r, f, &bits);
	return st ? st : put_bits(r, f, bits);
}

/* Numbers are packed; messages and strings are a field each. */
static enum status read_array(struct reader *r, const struct otlp_field *f)
{
	struct step *step = &r->path[r->depth];
	struct wire_open open;
	bool is_packed = f->wire_type != WIRE_LEN;
	if (!json_take(&r->json, '['))
		return fail(r, "expected an array");
	if (json_take(&r->json, ']'))
		return ST_OK;
	enum status st = is_packed ? wire_begin(r->out, f->number, 100, &open) : ST_OK;
	step->index = 0;
	while (!st) {
		st = read_element(r, f);
		if (st || !json_more(&r->json, ']'))
			break;
		step->index++;
	}
	if (!st && r->json.fault)
		st = ST_INVALID;
	if (st)
		return st; /* the path keeps the index */
	step->index = -1;
	return is_packed ? wire_end(r->out, &open) : ST_OK;
}

/* --- messages --------------------------------------------------------------------------------- */

static const struct otlp_field *field_of(const struct otlp_message *m, struct bytes key)
{
	for (uint32_t i = 1; i <= m->number_max; i++) {
		const struct otlp_field *f = &m->fields[i];
		if (f->type != OTLP_NONE && f->json_name_n == key.n &&
		    memcmp(f->json_name, key.p, key.n) == 0)
			return f;
	}
	return NULL;
}

/* A key and its colon; *ret is NULL for an unknown one. */
static enum status read_key(struct reader *r, const struct otlp_message *m,
			    const struct otlp_field **ret)
{
	struct bytes key;
	*ret = NULL;
	if (json_plain_string(&r->json, &key)) {
		*ret = field_of(m, key);
	} else if (!r->json.fault) {
		/* With escapes: it is spelled out at the end of out for a moment. */
		size_t before = r->out->n;
		enum status st = json_take_string(&r->json, r->out);
		if (st)
			return st;
		*ret = field_of(m, bytes_of(r->out->p + before, r->out->n - before));
		buf_truncate(r->out, before);
	}
	if (r->json.fault || !json_take(&r->json, ':'))
		return fail(r, "expected :");
	return ST_OK;
}

static enum status read_field(struct reader *r, const struct otlp_message *m, struct seen *seen)
{
	const struct otlp_field *f;
	enum status st = read_key(r, m, &f);
	if (st)
		return st;
	if (!f)
		return json_skip(&r->json, 2 * r->depth) ? ST_OK : ST_INVALID;
	r->path[r->depth] = (struct step){ .field = f, .index = -1 };
	if (is_null(r))
		return ST_OK;
	if (f->oneof && seen->oneofs & 1u << f->oneof)
		return fail(r, "a second value where OTLP has room for one");
	seen->oneofs |= f->oneof ? 1u << f->oneof : 0;
	/* Of a key that stands twice the last one counts, also where that is the default. */
	r->is_again = seen->fields >> f->number & 1;
	seen->fields |= UINT64_C(1) << f->number;
	st = f->is_repeated ? read_array(r, f) : read_single(r, f);
	if (!st)
		r->path[r->depth].field = NULL;
	return st;
}

static enum status read_message(struct reader *r, const struct otlp_message *m)
{
	struct seen seen = { 0 };
	r->path[r->depth].field = NULL;
	if (!json_take(&r->json, '{'))
		return fail(r, "expected an object");
	if (json_take(&r->json, '}'))
		return ST_OK;
	enum status st;
	do {
		st = read_field(r, m, &seen);
	} while (!st && json_more(&r->json, '}'));
	return !st && r->json.fault ? ST_INVALID : st;
}

/* "resourceSpans[0].scopeSpans[1].spans[3].traceId"; the middle of a long path is left out. */
static void write_path(const struct reader *r, char *text, size_t size)
{
	enum { HEAD = 7, TAIL = 3 };
	unsigned count = r->path[r->depth].field ? r->depth + 1 : r->depth;
	size_t at = 0;
	text[0] = '\0';
	for (unsigned i = 0; i < count && at < size; i++) {
		const struct step *step = &r->path[i];
		const char *dot = i ? "." : "";
		int n;
		if (count > HEAD + TAIL && i == HEAD) {
			n = snprintf(text + at, size - at, ".(...)");
			i = count - TAIL - 1;
		} else if (step->index >= 0) {
			n = snprintf(text + at, size - at, "%s%s[%ld]", dot, step->field->json_name,
				     step->index);
		} else {
			n = snprintf(text + at, size - at, "%s%s", dot, step->field->json_name);
		}
		at += (size_t)n;
	}
}

static enum status report(const struct reader *r, enum status st, struct err *e)
{
	char path[400];
	if (st != ST_INVALID)
		return err_set(e, st, "JSON of %td bytes: %s", r->json.end - r->json.start,
			       status_text(st));
	write_path(r, path, sizeof(path));
	return err_set(e, st, "%s%s%s on line %zu, byte %td", path, path[0] ? ": " : "",
		       r->json.fault, json_line(&r->json), r->json.p - r->json.start);
}

enum status json_to_otlp(enum signal signal, struct bytes text, struct buf *out, struct err *e)
{
	struct reader r = { .out = out };
	const uint8_t *start = text.n ? text.p : (const uint8_t *)"";
	r.json = (struct json_reader){ .start = start, .p = start, .end = start + text.n };
	size_t before = out->n;
	enum status st = read_message(&r, otlp_request(signal));
	if (!st && (json_peek(&r.json) || r.json.p != r.json.end))
		st = fail(&r, "something behind the end of the document");
	if (!st)
		return ST_OK;
	st = report(&r, st, e);
	buf_truncate(out, before);
	return st;
}
