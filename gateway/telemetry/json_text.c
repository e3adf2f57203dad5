/* json_text.c - single JSON values as text.
 *
 * What goes out must be JSON whatever came in: strings are cleaned of bytes that are not UTF-8,
 * control characters are escaped (so that a document stays on its line), and the three doubles that
 * JSON has no number for are written as protobuf's JSON mapping spells them. */
#include "gateway/telemetry/json_text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "gateway/telemetry/utf8.h"

/* One character that may not stand in a string as it is. */
static enum status put_escape(struct buf *out, uint8_t c)
{
	switch (c) {
	case '"':
		return buf_append_str(out, "\\\"");
	case '\\':
		return buf_append_str(out, "\\\\");
	case '\n':
		return buf_append_str(out, "\\n");
	case '\r':
		return buf_append_str(out, "\\r");
	case '\t':
		return buf_append_str(out, "\\t");
	default:
		return buf_printf(out, "\\u%04x", c);
	}
}

/* The inside of a string; s is UTF-8. */
static enum status put_text(struct buf *out, struct bytes s)
{
	size_t from = 0;
	enum status st = ST_OK;
	for (size_t i = 0; i < s.n && !st; i++) {
		uint8_t c = s.p[i];
		if (c >= 0x20 && c != '"' && c != '\\')
			continue;
		st = buf_append(out, bytes_of(s.p + from, i - from));
		if (!st)
			st = put_escape(out, c);
		from = i + 1;
	}
	return st ? st : buf_append(out, bytes_of(s.p + from, s.n - from));
}

/* Most strings: ASCII without anything to escape. */
static bool is_plain(struct bytes s)
{
	bool is_special = false;
	for (size_t i = 0; i < s.n; i++)
		is_special |= s.p[i] < 0x20 || s.p[i] >= 0x80 || s.p[i] == '"' || s.p[i] == '\\';
	return !is_special;
}

static enum status put_plain(struct buf *out, struct bytes s)
{
	enum status st = buf_reserve(out, s.n + 2);
	if (st)
		return st;
	uint8_t *p = out->p + out->n;
	*p = '"';
	if (s.n)
		memcpy(p + 1, s.p, s.n);
	p[s.n + 1] = '"';
	buf_advance(out, s.n + 2);
	return ST_OK;
}

enum status json_put_string(struct buf *out, struct bytes s)
{
	if (is_plain(s))
		return put_plain(out, s);
	enum status st = buf_append_byte(out, '"');
	while (s.n && !st) {
		size_t good = utf8_valid_prefix(s);
		st = put_text(out, bytes_of(s.p, good));
		if (good == s.n)
			break;
		if (!st)
			st = buf_append_str(out, "\xef\xbf\xbd");
		s = bytes_of(s.p + good + 1, s.n - good - 1);
	}
	return st ? st : buf_append_byte(out, '"');
}

enum status json_put_integer(struct buf *out, uint64_t digits, bool is_negative, bool is_quoted)
{
	char text[24];
	char *end = text + sizeof(text);
	char *p = end;
	if (is_quoted)
		*--p = '"';
	do {
		*--p = (char)('0' + digits % 10);
		digits /= 10;
	} while (digits);
	if (is_negative)
		*--p = '-';
	if (is_quoted)
		*--p = '"';
	return buf_append(out, bytes_of(p, (size_t)(end - p)));
}

enum status json_put_double(struct buf *out, double v)
{
	if (isnan(v))
		return buf_append_str(out, "\"NaN\"");
	if (isinf(v))
		return buf_append_str(out, v > 0 ? "\"Infinity\"" : "\"-Infinity\"");
	/* As an integer, the sign of a zero would be lost by readers that tell the two apart. */
	if (v == 0 && signbit(v))
		return buf_append_str(out, "-0.0");
	if (fabs(v) < 1e15 && v == trunc(v))
		return json_put_integer(out, (uint64_t)fabs(v), v < 0, false);
	char text[40];
	for (int digits = 15; digits <= 17; digits++) {
		(void)snprintf(text, sizeof(text), "%.*g", digits, v);
		if (strtod(text, NULL) == v)
			break;
	}
	return buf_append_str(out, text);
}

enum status json_put_hex(struct buf *out, struct bytes b)
{
	static const char digits[] = "0123456789abcdef";
	enum status st = buf_reserve(out, 2 * b.n + 2);
	if (st)
		return st;
	uint8_t *p = out->p + out->n;
	*p++ = '"';
	for (size_t i = 0; i < b.n; i++) {
		*p++ = (uint8_t)digits[b.p[i] >> 4];
		*p++ = (uint8_t)digits[b.p[i] & 15];
	}
	*p = '"';
	buf_advance(out, 2 * b.n + 2);
	return ST_OK;
}

enum status json_put_base64(struct buf *out, struct bytes b)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t n = (b.n + 2) / 3 * 4 + 2;
	enum status st = buf_reserve(out, n);
	if (st)
		return st;
	uint8_t *p = out->p + out->n;
	*p++ = '"';
	for (size_t i = 0; i < b.n; i += 3) {
		size_t left = b.n - i;
		uint32_t v = (uint32_t)b.p[i] << 16;
		v |= left > 1 ? (uint32_t)b.p[i + 1] << 8 : 0;
		v |= left > 2 ? b.p[i + 2] : 0;
		*p++ = (uint8_t)digits[v >> 18];
		*p++ = (uint8_t)digits[v >> 12 & 63];
		*p++ = (uint8_t)(left > 1 ? digits[v >> 6 & 63] : '=');
		*p++ = (uint8_t)(left > 2 ? digits[v & 63] : '=');
	}
	*p = '"';
	buf_advance(out, n);
	return ST_OK;
}

static int hex_value(uint8_t c)
{
	return c >= '0' && c <= '9' ? c - '0' :
	       c >= 'a' && c <= 'f' ? c - 'a' + 10 :
	       c >= 'A' && c <= 'F' ? c - 'A' + 10 :
				      -1;
}

bool json_decode_hex(uint8_t *p, size_t n, size_t *ret_n)
{
	if (n % 2)
		return false;
	for (size_t i = 0; i < n; i += 2) {
		int high = hex_value(p[i]);
		int low = hex_value(p[i + 1]);
		if (high < 0 || low < 0)
			return false;
		p[i / 2] = (uint8_t)(high << 4 | low);
	}
	*ret_n = n / 2;
	return true;
}

static int base64_value(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? c - 'A' :
	       c >= 'a' && c <= 'z' ? c - 'a' + 26 :
	       c >= '0' && c <= '9' ? c - '0' + 52 :
	       c == '+' || c == '-' ? 62 :
	       c == '/' || c == '_' ? 63 :
				      -1;
}

bool json_decode_base64(uint8_t *p, size_t n, size_t *ret_n)
{
	/* Padding fills up to four characters, or is not there at all. */
	size_t padding = 0;
	while (padding < 2 && padding < n && p[n - 1 - padding] == '=')
		padding++;
	if (padding && n % 4)
		return false;
	n -= padding;
	if (n % 4 == 1)
		return false;
	uint32_t bits = 0;
	unsigned count = 0;
	size_t written = 0;
	for (size_t i = 0; i < n; i++) {
		int v = base64_value(p[i]);
		if (v < 0)
			return false;
		bits = bits << 6 | (uint32_t)v;
		count += 6;
		if (count >= 8) {
			count -= 8;
			p[written++] = (uint8_t)(bits >> count);
		}
	}
	*ret_n = written;
	return true;
}
