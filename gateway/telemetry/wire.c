/* wire.c - protobuf's wire format by hand.
 *
 * The scan, the sorter, JSON and the replies all read through wire_next or its inlined parts, so
 * that one place decides what is well formed. It is as strict as the strictest receiver that we
 * know (Go's protowire): a varint fits 64 bits, a tag fits 32, field numbers are 1 to 2^29 - 1, and
 * groups, which OTLP never used, are refused. Encodings that are longer than need be (0x81 0x00 for
 * 1) are legal protobuf and stay so.
 *
 * Lengths are compared with what is left of the message, never added to a pointer first: a length
 * near 2^64 cannot wrap around. */
#include "gateway/telemetry/wire.h"

const char *wire_fault_text(enum wire_fault f)
{
	static const char *const text[] = {
		[WIRE_FINE] = "nothing is wrong",
		[WIRE_CUT_VARINT] = "the message ends within a varint",
		[WIRE_LONG_VARINT] = "a varint does not fit 64 bits",
		[WIRE_BAD_NUMBER] = "not a legal field number",
		[WIRE_GROUP] = "a group, which OTLP does not have",
		[WIRE_BAD_TYPE] = "a wire type that does not exist",
		[WIRE_CUT_FIXED] = "the message ends within a fixed-size number",
		[WIRE_LYING_LENGTH] = "a length runs past the end of its message",
		[WIRE_LONG_LENGTH] = "a length of more than five bytes",
	};
	return text[f];
}

enum wire_fault wire_varint_fault(const uint8_t *p, const uint8_t *end)
{
	for (int i = 0; i < 10; i++)
		if (p + i == end)
			return WIRE_CUT_VARINT;
	return WIRE_LONG_VARINT;
}

static bool fail(struct wire_reader *r, enum wire_fault fault, const uint8_t *at)
{
	r->fault = fault;
	r->fault_at = at;
	return false;
}

static bool read_tag(struct wire_reader *r, struct wire_field *f)
{
	uint64_t tag;
	const uint8_t *p = wire_varint(r->p, r->end, &tag);
	if (!p)
		return fail(r, wire_varint_fault(r->p, r->end), r->p);
	/* Five bytes hold every legal tag; protobuf-c and C++ read no more. */
	if (tag > UINT32_MAX || tag >> 3 == 0 || p - r->p > 5)
		return fail(r, WIRE_BAD_NUMBER, r->p);
	f->number = (uint32_t)(tag >> 3);
	f->type = (uint32_t)(tag & 7);
	r->p = p;
	return true;
}

static bool read_fixed(struct wire_reader *r, struct wire_field *f, size_t size)
{
	if ((size_t)(r->end - r->p) < size)
		return fail(r, WIRE_CUT_FIXED, r->p);
	f->value = size == 8 ? wire_fixed64(r->p) : wire_fixed32(r->p);
	r->p += size;
	return true;
}

static bool read_varint(struct wire_reader *r, uint64_t *ret)
{
	const uint8_t *p = wire_varint(r->p, r->end, ret);
	if (!p)
		return fail(r, wire_varint_fault(r->p, r->end), r->p);
	r->p = p;
	return true;
}

const uint8_t *wire_length(const uint8_t *p, const uint8_t *end, size_t *ret,
			   enum wire_fault *fault)
{
	uint64_t n = 0;
	const uint8_t *content = wire_varint(p, end, &n);
	*fault = WIRE_FINE;
	if (!content)
		*fault = wire_varint_fault(p, end);
	else if (n > (uint64_t)(end - content))
		*fault = WIRE_LYING_LENGTH;
	else if (content - p > 5)
		*fault = WIRE_LONG_LENGTH;
	*ret = (size_t)n;
	return *fault ? NULL : content;
}

static bool read_len(struct wire_reader *r, struct wire_field *f)
{
	size_t n;
	enum wire_fault fault;
	const uint8_t *content = wire_length(r->p, r->end, &n, &fault);
	if (!content)
		return fail(r, fault, r->p);
	f->bytes = bytes_of(content, n);
	r->p = content + n;
	return true;
}

static bool read_value(struct wire_reader *r, struct wire_field *f, const uint8_t *start)
{
	switch (f->type) {
	case WIRE_VARINT:
		return read_varint(r, &f->value);
	case WIRE_FIXED64:
		return read_fixed(r, f, 8);
	case WIRE_FIXED32:
		return read_fixed(r, f, 4);
	case WIRE_LEN:
		return read_len(r, f);
	case 3:
	case 4:
		return fail(r, WIRE_GROUP, start);
	default:
		return fail(r, WIRE_BAD_TYPE, start);
	}
}

bool wire_next_any(struct wire_reader *r, struct wire_field *ret)
{
	if (r->fault || r->p == r->end)
		return false;
	const uint8_t *start = r->p;
	struct wire_field f = { 0 };
	if (!read_tag(r, &f) || !read_value(r, &f, start))
		return false;
	f.whole = bytes_of(start, (size_t)(r->p - start));
	*ret = f;
	return true;
}

static size_t encode_varint(uint8_t *p, uint64_t v)
{
	size_t n = 0;
	while (v >= 0x80) {
		p[n++] = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	p[n++] = (uint8_t)v;
	return n;
}

enum status wire_put_varint(struct buf *out, uint64_t v)
{
	enum status st = buf_reserve(out, 10);
	if (st) {
		/* At the cap every byte counts: ask for what is needed only. */
		st = buf_reserve(out, wire_varint_size(v));
		if (st)
			return st;
	}
	buf_advance(out, encode_varint(out->p + out->n, v));
	return ST_OK;
}

enum status wire_put_fixed64(struct buf *out, uint64_t v)
{
	v = wire_fixed64((const uint8_t *)&v);
	return buf_append(out, bytes_of(&v, sizeof(v)));
}

enum status wire_put_fixed32(struct buf *out, uint32_t v)
{
	v = wire_fixed32((const uint8_t *)&v);
	return buf_append(out, bytes_of(&v, sizeof(v)));
}

enum status wire_put_tag(struct buf *out, uint32_t number, uint32_t type)
{
	return wire_put_varint(out, (uint64_t)number << 3 | type);
}

enum status wire_put_number(struct buf *out, uint32_t number, uint64_t v)
{
	enum status st = wire_put_tag(out, number, WIRE_VARINT);
	return st ? st : wire_put_varint(out, v);
}

enum status wire_put_bytes(struct buf *out, uint32_t number, struct bytes b)
{
	enum status st = wire_put_tag(out, number, WIRE_LEN);
	if (!st)
		st = wire_put_varint(out, b.n);
	return st ? st : buf_append(out, b);
}

enum status wire_begin(struct buf *out, uint32_t number, size_t expect, struct wire_open *ret)
{
	enum status st = wire_put_tag(out, number, WIRE_LEN);
	size_t room = wire_varint_size(expect);
	if (!st)
		st = buf_reserve(out, room);
	if (st)
		return st;
	buf_advance(out, room);
	*ret = (struct wire_open){ .start = out->n, .room = room };
	return ST_OK;
}

enum status wire_end(struct buf *out, const struct wire_open *open)
{
	size_t n = out->n - open->start;
	size_t need = wire_varint_size(n);
	size_t at = open->start - open->room;
	if (need > open->room) {
		enum status st = buf_reserve(out, need - open->room);
		if (st)
			return st;
	}
	if (need != open->room)
		memmove(out->p + at + need, out->p + open->start, n);
	(void)encode_varint(out->p + at, n);
	if (need > open->room)
		buf_advance(out, need - open->room);
	else
		buf_truncate(out, at + need + n);
	return ST_OK;
}
