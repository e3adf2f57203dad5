/* telemetry/wire.h - protobuf's wire format by hand: reading with bounds, writing into a buf.
 * Owner: stateless. Needs: gateway/base.
 * large file: readers and writers small enough to be inline, in one place. */
#ifndef TELEMETRY_WIRE_H
#define TELEMETRY_WIRE_H

#include "gateway/base/buf.h"

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_LEN = 2, WIRE_FIXED32 = 5 };

/* What can be wrong with the next field of a message. */
enum wire_fault {
	WIRE_FINE,
	WIRE_CUT_VARINT,   /* the message ends within a varint */
	WIRE_LONG_VARINT,  /* does not fit 64 bits */
	WIRE_BAD_NUMBER,   /* field number 0, or past 2^29 - 1 */
	WIRE_GROUP,        /* wire types 3 and 4: OTLP has no groups */
	WIRE_BAD_TYPE,     /* wire types 6 and 7 do not exist */
	WIRE_CUT_FIXED,    /* the message ends within a fixed number */
	WIRE_LYING_LENGTH, /* longer than what is left of the message */
	WIRE_LONG_LENGTH,  /* written in more than the five bytes that C++ and protobuf-c read */
};
/* For people: lower case, no full stop. Static storage. */
const char *wire_fault_text(enum wire_fault f);

/* One message's bytes, read field by field. */
struct wire_reader {
	const uint8_t *p;
	const uint8_t *end;
	enum wire_fault fault;
	const uint8_t *fault_at;
};

struct wire_field {
	uint32_t number;
	uint32_t type;  /* WIRE_* */
	uint64_t value; /* of WIRE_VARINT, WIRE_FIXED64, WIRE_FIXED32; of others without meaning */
	struct bytes bytes; /* of WIRE_LEN, otherwise without meaning; borrowed */
	struct bytes whole; /* with the tag, as it stands in the message; borrowed */
};

static inline struct wire_reader wire_reader_of(struct bytes message)
{
	/* NULL + 0 is not defined in C. */
	return (struct wire_reader){ .p = message.p,
				     .end = message.n ? message.p + message.n : message.p };
}

/* wire_next without its short cut. */
bool wire_next_any(struct wire_reader *r, struct wire_field *ret);

/* The next field. False at the end of the message, and where it is damaged (r->fault). Most fields
 * have a tag and a length, or a tag and a number, of one byte each. */
static inline bool wire_next(struct wire_reader *r, struct wire_field *ret)
{
	const uint8_t *p = r->p;
	if (r->end - p < 2 || p[0] < 8 || p[0] >= 0x80 || p[1] >= 0x80 || r->fault)
		return wire_next_any(r, ret);
	size_t n = 2;
	if ((p[0] & 7) == WIRE_LEN && p[1] <= r->end - p - 2)
		n += p[1];
	else if ((p[0] & 7) != WIRE_VARINT)
		return wire_next_any(r, ret);
	ret->number = p[0] >> 3;
	ret->type = p[0] & 7;
	ret->value = p[1];
	ret->bytes.p = p + 2;
	ret->bytes.n = n - 2;
	ret->whole.p = p;
	ret->whole.n = n;
	r->p = p + n;
	return true;
}

/* The next message, string or bytes field of this number, past all others. False as wire_next. */
static inline bool wire_next_of(struct wire_reader *r, uint32_t number, struct bytes *ret)
{
	struct wire_field f;
	while (wire_next(r, &f))
		if (f.number == number && f.type == WIRE_LEN) {
			*ret = f.bytes;
			return true;
		}
	return false;
}

/* What a number occupies as a varint: 1 to 10. */
static inline size_t wire_varint_size(uint64_t v)
{
	return ((size_t)(63 - __builtin_clzll(v | 1)) * 9 + 73) / 64;
}

/* Behind the varint at p, or NULL (why: wire_varint_fault). Ten bytes at most, whose last may only
 * be 0 or 1: what Go's parser refuses must not get into the queue. */
static inline const uint8_t *wire_varint(const uint8_t *p, const uint8_t *end, uint64_t *ret)
{
	uint64_t v = 0;
	for (unsigned shift = 0; p < end && shift < 64; shift += 7) {
		uint8_t b = *p++;
		v |= (uint64_t)(b & 0x7f) << shift;
		if (b < 0x80) {
			if (shift == 63 && b > 1)
				return NULL;
			*ret = v;
			return p;
		}
	}
	return NULL;
}
/* Why wire_varint gave NULL here. */
enum wire_fault wire_varint_fault(const uint8_t *p, const uint8_t *end);

/* Behind the length at p, so that *ret bytes follow before end; or NULL, and why. */
const uint8_t *wire_length(const uint8_t *p, const uint8_t *end, size_t *ret,
			   enum wire_fault *fault);

static inline uint64_t wire_fixed64(const uint8_t *p)
{
	uint64_t v;
	memcpy(&v, p, sizeof(v));
	return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? v : __builtin_bswap64(v);
}

static inline uint32_t wire_fixed32(const uint8_t *p)
{
	uint32_t v;
	memcpy(&v, p, sizeof(v));
	return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? v : __builtin_bswap32(v);
}

static inline int64_t wire_unzigzag(uint64_t v)
{
	return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

static inline uint64_t wire_zigzag(int64_t v)
{
	return (uint64_t)v << 1 ^ (v < 0 ? UINT64_MAX : 0);
}

/* Append to out. ST_TOO_LARGE, ST_BUSY, ST_NO_MEMORY: from out. */
MUST_USE enum status wire_put_varint(struct buf *out, uint64_t v);
MUST_USE enum status wire_put_fixed64(struct buf *out, uint64_t v);
MUST_USE enum status wire_put_fixed32(struct buf *out, uint32_t v);
MUST_USE enum status wire_put_tag(struct buf *out, uint32_t number, uint32_t type);
/* A whole field of type WIRE_VARINT, WIRE_LEN. */
MUST_USE enum status wire_put_number(struct buf *out, uint32_t number, uint64_t v);
MUST_USE enum status wire_put_bytes(struct buf *out, uint32_t number, struct bytes b);

/* A length-delimited field whose length is known only when its content is written: begin, append,
 * end. expect is a guess of the length; the content is moved where its varint has another size. */
struct wire_open {
	size_t start; /* of the content, in out */
	size_t room;  /* kept for the length */
};
MUST_USE enum status wire_begin(struct buf *out, uint32_t number, size_t expect,
				struct wire_open *ret);
MUST_USE enum status wire_end(struct buf *out, const struct wire_open *open);

#endif
