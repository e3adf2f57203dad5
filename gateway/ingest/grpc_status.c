/* grpc_status.c - small codecs of grpc/doc/PROTOCOL-HTTP2.md, pure and bounded by their input. */
#include "gateway/ingest/grpc_status.h"

#include "gateway/base/now.h"

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
