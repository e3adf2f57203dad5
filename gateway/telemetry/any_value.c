/* any_value.c - attribute values as text.
 *
 * Numbers print as short as they can while they still read back as themselves: 15 digits are tried,
 * then 16, then 17, which always do. A label's value is part of a series' identity, so 0.1 must not
 * be 0.10000000000000001 one day. Plain decimals are written between 1e-6 and 1e21, exponents
 * beyond, which is what Go and JSON writers do.
 *
 * Nested values recurse; the scan stops at SCAN_DEPTH_MAX, and so does this. */
#include "gateway/telemetry/any_value.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "gateway/telemetry/json_text.h"
#include "gateway/telemetry/scan.h"
#include "gateway/telemetry/wire.h"

enum {
	ANY_STRING = 1,
	ANY_BOOL = 2,
	ANY_INT = 3,
	ANY_DOUBLE = 4,
	ANY_ARRAY = 5,
	ANY_MAP = 6,
	ANY_BYTES = 7
};
#define PLAIN_MIN   1e-6
#define PLAIN_MAX   1e21
#define INTEGER_MAX 1e15 /* below it every whole number is exact, and prints fast */

/* In scientific notation, with as few digits as read back as v. */
static void shortest(double v, char *text, size_t size)
{
	for (int digits = 14; digits <= 16; digits++) {
		(void)snprintf(text, size, "%.*e", digits, v);
		if (strtod(text, NULL) == v)
			return;
	}
}

/* v = 0.DIGITS times ten to the power *ret_point; digits without trailing zeros. */
static size_t digits_of(double v, char digits[static 20], int *ret_point)
{
	char text[40];
	size_t n = 0;
	shortest(v, text, sizeof(text));
	char *p = text;
	for (; *p && *p != 'e'; p++)
		if (*p >= '0' && *p <= '9' && n < 19)
			digits[n++] = *p;
	*ret_point = (int)strtol(*p ? p + 1 : p, NULL, 10) + 1;
	while (n > 1 && digits[n - 1] == '0')
		n--;
	return n;
}

static size_t put_special(double v, char text[static NUMBER_TEXT_MAX])
{
	const char *s = isnan(v) ? "NaN" : v > 0 ? "+Inf" : "-Inf";
	size_t n = strlen(s);
	(void)snprintf(text, NUMBER_TEXT_MAX, "%s", s);
	return n;
}

size_t any_value_fixed(double v, char text[static NUMBER_TEXT_MAX])
{
	char digits[20] = { 0 };
	int point;
	size_t n = 0;
	if (!isfinite(v))
		return put_special(v, text);
	if (fabs(v) < INTEGER_MAX && v == trunc(v) && !(v == 0 && signbit(v)))
		return (size_t)snprintf(text, NUMBER_TEXT_MAX, "%" PRId64, (int64_t)v);
	if (signbit(v))
		text[n++] = '-';
	size_t count = digits_of(fabs(v), digits, &point);
	if (point <= 0) {
		text[n++] = '0';
		if (v != 0)
			text[n++] = '.';
		for (int i = point; i < 0; i++)
			text[n++] = '0';
		if (v == 0)
			return n;
	}
	for (size_t i = 0; i < count; i++) {
		if (point > 0 && i == (size_t)point)
			text[n++] = '.';
		text[n++] = digits[i];
	}
	for (int i = (int)count; i < point; i++)
		text[n++] = '0';
	return n;
}

static enum status put_double(struct buf *out, double v)
{
	char text[NUMBER_TEXT_MAX];
	double size = fabs(v);
	size_t n;
	if (isfinite(v) && size != 0 && (size < PLAIN_MIN || size >= PLAIN_MAX)) {
		char digits[20] = { 0 };
		int point;
		size_t count = digits_of(size, digits, &point);
		int exponent = point - 1;
		n = (size_t)snprintf(text, sizeof(text), "%s%c%s%.*se%c%02d", v < 0 ? "-" : "",
				     digits[0], count > 1 ? "." : "", (int)count - 1, digits + 1,
				     exponent < 0 ? '-' : '+', abs(exponent));
	} else {
		n = any_value_fixed(v, text);
	}
	return buf_append(out, bytes_of(text, n));
}

static enum status put_int(struct buf *out, int64_t v)
{
	char text[24];
	char *p = text + sizeof(text);
	uint64_t size = v < 0 ? -(uint64_t)v : (uint64_t)v;
	do {
		*--p = (char)('0' + size % 10);
		size /= 10;
	} while (size);
	if (v < 0)
		*--p = '-';
	return buf_append(out, bytes_of(p, (size_t)(text + sizeof(text) - p)));
}

static double double_of(uint64_t bits)
{
	double v;
	memcpy(&v, &bits, sizeof(v));
	return v;
}

static enum status put_base64(struct buf *out, struct bytes b)
{
	size_t start = out->n;
	enum status st = json_put_base64(out, b);
	if (st)
		return st;
	/* Without the quotes. */
	size_t n = out->n - start - 2;
	memmove(out->p + start, out->p + start + 1, n);
	buf_truncate(out, start + n);
	return ST_OK;
}

static enum status put_json(struct buf *out, struct bytes value, int depth);

static enum status put_pair(struct buf *out, struct bytes pair, int depth)
{
	struct wire_reader r = wire_reader_of(pair);
	struct wire_field f;
	struct bytes key = bytes_of(NULL, 0);
	struct bytes value = bytes_of(NULL, 0);
	while (wire_next(&r, &f)) {
		if (f.number == 1 && f.type == WIRE_LEN)
			key = f.bytes;
		if (f.number == 2 && f.type == WIRE_LEN)
			value = f.bytes;
	}
	enum status st = r.fault ? ST_INVALID : json_put_string(out, key);
	if (!st)
		st = buf_append_byte(out, ':');
	return st ? st : put_json(out, value, depth);
}

static enum status put_items(struct buf *out, struct bytes list, bool is_map, int depth)
{
	struct wire_reader r = wire_reader_of(list);
	struct wire_field f;
	bool is_first = true;
	enum status st = depth > SCAN_DEPTH_MAX ? ST_INVALID : ST_OK;
	if (!st)
		st = buf_append_byte(out, is_map ? '{' : '[');
	while (!st && wire_next(&r, &f)) {
		if (f.number != 1 || f.type != WIRE_LEN)
			continue;
		if (!is_first)
			st = buf_append_byte(out, ',');
		is_first = false;
		if (!st)
			st = is_map ? put_pair(out, f.bytes, depth + 1) :
				      put_json(out, f.bytes, depth + 1);
	}
	if (!st && r.fault)
		st = ST_INVALID;
	return st ? st : buf_append_byte(out, is_map ? '}' : ']');
}

static bool is_member(const struct wire_field *f)
{
	static const uint8_t types[] = {
		[ANY_STRING] = WIRE_LEN,     [ANY_BOOL] = WIRE_VARINT, [ANY_INT] = WIRE_VARINT,
		[ANY_DOUBLE] = WIRE_FIXED64, [ANY_ARRAY] = WIRE_LEN,   [ANY_MAP] = WIRE_LEN,
		[ANY_BYTES] = WIRE_LEN,
	};
	return f->number >= ANY_STRING && f->number <= ANY_BYTES && f->type == types[f->number];
}

/* The member of the oneof that came last counts; number 0: none is set. */
static enum status last_member(struct bytes value, struct wire_field *ret)
{
	struct wire_reader r = wire_reader_of(value);
	struct wire_field f;
	*ret = (struct wire_field){ 0 };
	while (wire_next(&r, &f))
		if (is_member(&f))
			*ret = f;
	return r.fault ? ST_INVALID : ST_OK;
}

static enum status put_member(struct buf *out, const struct wire_field *f, bool is_json, int depth)
{
	switch (f->number) {
	case ANY_STRING:
		return is_json ? json_put_string(out, f->bytes) : buf_append(out, f->bytes);
	case ANY_BOOL:
		return buf_append_str(out, f->value ? "true" : "false");
	case ANY_INT:
		return put_int(out, (int64_t)f->value);
	case ANY_DOUBLE:
		if (is_json && !isfinite(double_of(f->value)))
			return json_put_double(out, double_of(f->value));
		return put_double(out, double_of(f->value));
	case ANY_ARRAY:
	case ANY_MAP:
		return put_items(out, f->bytes, f->number == ANY_MAP, depth);
	case ANY_BYTES:
		return is_json ? json_put_base64(out, f->bytes) : put_base64(out, f->bytes);
	default:
		return is_json ? buf_append_str(out, "null") : ST_OK;
	}
}

static enum status put_json(struct buf *out, struct bytes value, int depth)
{
	struct wire_field f;
	enum status st = last_member(value, &f);
	return st ? st : put_member(out, &f, true, depth);
}

enum status any_value_text(struct bytes value, struct buf *out)
{
	struct wire_field f;
	enum status st = last_member(value, &f);
	return st ? st : put_member(out, &f, false, 0);
}
