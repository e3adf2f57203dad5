/* grpc_health.c - two messages of one field each (grpc/doc/health-checking.md), by hand: there is
 * nothing to generate code for, and the reader is bounded by its input.
 *
 *   HealthCheckRequest  { string service = 1; }
 *   HealthCheckResponse { ServingStatus status = 1; }  SERVING 1, NOT_SERVING 2 */
#include "gateway/ingest/grpc_health.h"

#include "schema/vocabulary.h"

enum { WIRE_VARINT = 0, WIRE_I64 = 1, WIRE_LEN = 2, WIRE_I32 = 5, FIELD_SERVICE = 1 };

static bool read_varint(struct bytes *in, uint64_t *ret)
{
	uint64_t v = 0;
	for (unsigned shift = 0; shift < 64 && in->n; shift += 7) {
		uint8_t c = *in->p;
		in->p++;
		in->n--;
		v |= (uint64_t)(c & 0x7f) << shift;
		if (c < 0x80) {
			*ret = v;
			return true;
		}
	}
	return false;
}

/* The length of a field's value, which begins at in. False: cut off, or no such wire type. */
static bool value_length(struct bytes *in, unsigned wire_type, uint64_t *ret_n)
{
	struct bytes rest = *in;
	uint64_t ignored;
	switch (wire_type) {
	case WIRE_VARINT:
		if (!read_varint(&rest, &ignored))
			return false;
		*ret_n = in->n - rest.n;
		return true;
	case WIRE_I64:
	case WIRE_I32:
		*ret_n = wire_type == WIRE_I64 ? 8 : 4;
		return *ret_n <= in->n;
	case WIRE_LEN:
		return read_varint(in, ret_n) && *ret_n <= in->n;
	default:
		return false;
	}
}

enum status grpc_health_read(struct bytes body, struct bytes *ret_service, struct err *e)
{
	struct bytes service = bytes_of(NULL, 0);
	struct bytes in = body;
	while (in.n) {
		size_t at = body.n - in.n;
		uint64_t key;
		uint64_t n = 0;
		if (!read_varint(&in, &key) || !value_length(&in, (unsigned)(key & 7), &n))
			return err_set(e, ST_INVALID,
				       "health check request: the field at byte %zu is damaged",
				       at);
		if (key == (FIELD_SERVICE << 3 | WIRE_LEN))
			service = bytes_of(in.p, (size_t)n);
		in.p += n;
		in.n -= n;
	}
	*ret_service = service;
	return ST_OK;
}

bool grpc_health_is_known(struct bytes service)
{
	static const char *const methods[] = {
#define SIGNAL(name, text, noun, path, method) method,
#include "schema/vocabulary.def"
#undef SIGNAL
	};
	if (service.n == 0)
		return true;
	/* "/package.Service/Export" */
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		const char *name = methods[i] + 1;
		if (bytes_equal(service, bytes_of(name, strcspn(name, "/"))))
			return true;
	}
	return false;
}

struct bytes grpc_health_reply(bool is_serving)
{
	static const uint8_t serving[] = { 0x08, 1 };
	static const uint8_t not_serving[] = { 0x08, 2 };
	return bytes_of(is_serving ? serving : not_serving, 2);
}
