/* grpc_status.c - small codecs of grpc/doc/PROTOCOL-HTTP2.md, pure and bounded by their input. */
#include "gateway/base/grpc_status.h"

#include <stdio.h>

#include "gateway/base/now.h"

const char *grpc_status_text(int code)
{
	static const char *const names[] = { "OK",
					     "CANCELLED",
					     "UNKNOWN",
					     "INVALID_ARGUMENT",
					     "DEADLINE_EXCEEDED",
					     "NOT_FOUND",
					     "ALREADY_EXISTS",
					     "PERMISSION_DENIED",
					     "RESOURCE_EXHAUSTED",
					     "FAILED_PRECONDITION",
					     "ABORTED",
					     "OUT_OF_RANGE",
					     "UNIMPLEMENTED",
					     "INTERNAL",
					     "UNAVAILABLE",
					     "DATA_LOSS",
					     "UNAUTHENTICATED" };
	bool is_known = code >= 0 && code < (int)(sizeof(names) / sizeof(names[0]));
	return is_known ? names[code] : "UNKNOWN";
}

enum status grpc_message_encode(struct buf *out, const char *src)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t n = strlen(src);
	enum status st = buf_reserve(out, n * 3);
	if (st || n == 0)
		return st;
	uint8_t *p = out->p + out->n;
	for (size_t i = 0; i < n; i++) {
		uint8_t c = (uint8_t)src[i];
		if (c >= 0x20 && c <= 0x7E && c != '%') {
			*p++ = c;
			continue;
		}
		*p++ = '%';
		*p++ = (uint8_t)hex[c >> 4];
		*p++ = (uint8_t)hex[c & 15];
	}
	buf_advance(out, (size_t)(p - (out->p + out->n)));
	return ST_OK;
}

/* -1: no hex digit. */
static int hex_value(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

enum status grpc_message_decode(struct buf *out, struct bytes src)
{
	enum status st = ST_OK;
	for (size_t i = 0; i < src.n && !st; i++) {
		int high = src.p[i] == '%' && src.n - i > 2 ? hex_value(src.p[i + 1]) : -1;
		int low = high >= 0 ? hex_value(src.p[i + 2]) : -1;
		if (low < 0) {
			st = buf_append_byte(out, src.p[i]);
			continue;
		}
		st = buf_append_byte(out, (uint8_t)(high * 16 + low));
		i += 2;
	}
	return st;
}

enum status grpc_base64_encode(struct buf *out, struct bytes src)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	enum status st = ST_OK;
	for (size_t i = 0; i < src.n && !st; i += 3) {
		size_t n = src.n - i < 3 ? src.n - i : 3;
		uint32_t v = (uint32_t)src.p[i] << 16;
		v |= n > 1 ? (uint32_t)src.p[i + 1] << 8 : 0;
		v |= n > 2 ? src.p[i + 2] : 0;
		uint8_t quad[4];
		for (int k = 0; k < 4; k++)
			quad[k] = (uint8_t)digits[v >> (18 - 6 * k) & 63];
		st = buf_append(out, bytes_of(quad, n + 1));
	}
	return st;
}

/* -1: no base64 digit. */
static int base64_value(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

enum status grpc_base64_decode(struct buf *out, struct bytes src)
{
	while (src.n > 0 && src.p[src.n - 1] == '=')
		src.n--;
	if (src.n % 4 == 1)
		return ST_INVALID;
	uint32_t bits = 0;
	unsigned count = 0;
	enum status st = ST_OK;
	for (size_t i = 0; i < src.n && !st; i++) {
		int v = base64_value(src.p[i]);
		if (v < 0)
			return ST_INVALID;
		bits = bits << 6 | (uint32_t)v;
		count += 6;
		if (count < 8)
			continue;
		count -= 8;
		st = buf_append_byte(out, (uint8_t)(bits >> count));
	}
	return st;
}

/* 0: no unit of grpc-timeout. */
static int64_t unit_ns(uint8_t c)
{
	switch (c) {
	case 'H':
		return 3600 * NS_PER_S;
	case 'M':
		return 60 * NS_PER_S;
	case 'S':
		return NS_PER_S;
	case 'm':
		return NS_PER_MS;
	case 'u':
		return 1000;
	case 'n':
		return 1;
	default:
		return 0;
	}
}

enum status grpc_timeout_parse(struct bytes value, int64_t *ret_ns)
{
	if (value.n < 2 || value.n > 9)
		return ST_INVALID;
	int64_t unit = unit_ns(value.p[value.n - 1]);
	int64_t v = 0;
	for (size_t i = 0; i + 1 < value.n; i++) {
		if (value.p[i] < '0' || value.p[i] > '9')
			return ST_INVALID;
		v = v * 10 + (value.p[i] - '0');
	}
	if (unit == 0)
		return ST_INVALID;
	*ret_ns = v > INT64_MAX / unit ? INT64_MAX : v * unit;
	return ST_OK;
}

void grpc_timeout_write(int64_t ns, char out[GRPC_TIMEOUT_SIZE])
{
	static const struct {
		char unit;
		int64_t ns;
	} units[] = { { 'm', NS_PER_MS }, { 'S', NS_PER_S }, { 'H', 3600 * NS_PER_S } };
	enum { DIGITS_MAX = 99999999 };
	size_t i = 0;
	while (i < 2 && ns / units[i].ns > DIGITS_MAX)
		i++;
	int64_t value = ns / units[i].ns;
	(void)snprintf(out, GRPC_TIMEOUT_SIZE, "%d%c",
		       (int)(value < DIGITS_MAX ? value : DIGITS_MAX), units[i].unit);
}
