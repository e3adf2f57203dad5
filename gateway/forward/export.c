/* export.c - members and body of one export.
 *
 * A concatenation of Export*ServiceRequest messages is one valid message (protobuf merges repeated
 * fields), so merging batches is appending them. And a concatenation of zstd frames is one valid
 * stream (RFC 8878, 3), so where the queue stores zstd and the destination takes zstd, a body is
 * put together without touching the data: no CPU, and no memory but the body's own.
 *
 * For gzip and none, members are decompressed one after the other into one buffer and compressed as
 * one gzip member: several members would be as valid (RFC 1952, 2.2), but not every server reads on
 * after the first. At most one stored payload, the decompressed whole and the compressed whole
 * exist at a time.
 *
 * Kinds that speak something else convert the decompressed whole, and compress it as their protocol
 * has it.
 *
 * Bodies are built anew for each attempt: what waits for a retry is a list of ids. */
#include "gateway/forward/export.h"

#include "gateway/base/config.h"
#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"

/* Spans of 340 bytes, one core: level 1 gives 188 MB/s at a ratio of 5.3, 3 gives 167 at 5.7, 4
 * (another algorithm) 110 at 5.5, 6 gives 67 at 6.0. zstd frames made here are rare: the queue has
 * them. */
enum { GZIP_LEVEL = 3, ZSTD_LEVEL = 1 };

struct export *export_new(const struct claim *members, size_t count)
{
	CHECK(count > 0 && count <= EXPORT_MEMBERS_MAX);
	struct export *x = xcalloc(1, sizeof(*x));
	x->signal = members[0].signal;
	x->class = members[0].class;
	x->count = count;
	for (size_t i = 0; i < count; i++) {
		CHECK(members[i].signal == x->signal && members[i].class == x->class);
		x->members[i] = members[i];
		x->raw_bytes += members[i].raw_bytes;
	}
	return x;
}

void export_free(struct export *x)
{
	if (!x)
		return;
	buf_done(&x->body);
	free(x);
}

void export_drop(struct export *x, size_t index)
{
	CHECK(index < x->count);
	x->raw_bytes -= x->members[index].raw_bytes;
	x->count--;
	memmove(&x->members[index], &x->members[index + 1],
		(x->count - index) * sizeof(x->members[0]));
}

void export_unload(struct export *x)
{
	buf_done(&x->body);
}

void encoder_done(struct encoder *enc)
{
	for (int i = 0; i < ENCODING_COUNT; i++) {
		compressor_free(enc->compressors[i]);
		enc->compressors[i] = NULL;
	}
}

struct compressor *encoder_get(struct encoder *enc, enum encoding encoding)
{
	if (!enc->compressors[encoding])
		enc->compressors[encoding] = compressor_new(
			encoding, encoding == ENCODING_GZIP ? GZIP_LEVEL : ZSTD_LEVEL);
	return enc->compressors[encoding];
}

static bool is_stored_as(const struct export *x, enum encoding encoding)
{
	for (size_t i = 0; i < x->count; i++)
		if (x->members[i].encoding != encoding)
			return false;
	return true;
}

/* Its checksum may be right, yet it is not what was stored: somebody else wrote to the file. */
static enum status not_as_stored(struct err *e)
{
	return err_set(e, ST_CORRUPT, "the stored batch has another size than its row says");
}

/* As stored, one after the other. */
static enum status append_stored(struct export *x, struct claim_reader *r, struct buf *out,
				 size_t *ret_index, struct err *e)
{
	size_t total = 0;
	for (size_t i = 0; i < x->count; i++)
		total += x->members[i].stored_bytes;
	buf_init(out, total, out->budget);
	enum status st = buf_reserve(out, total);
	for (size_t i = 0; i < x->count && !st; i++) {
		st = claim_body(r, &x->members[i], out, e);
		*ret_index = i;
	}
	return st == ST_TOO_LARGE ? not_as_stored(e) : st;
}

enum status export_read_batch(const struct claim *c, struct claim_reader *r, struct buf *out,
			      struct err *e)
{
	struct buf stored;
	size_t before = out->n;
	buf_init(&stored, c->stored_bytes, out->budget);
	enum status st = claim_body(r, c, &stored, e);
	if (!st)
		st = decompress(c->encoding, buf_view(&stored), out, e);
	if (st == ST_INVALID || st == ST_TOO_LARGE || (!st && out->n - before != c->raw_bytes))
		st = not_as_stored(e);
	buf_done(&stored);
	return st;
}

static enum status append_all_decompressed(struct export *x, struct claim_reader *r,
					   struct buf *out, size_t *ret_index, struct err *e)
{
	enum status st = buf_reserve(out, x->raw_bytes);
	for (size_t i = 0; i < x->count && !st; i++) {
		st = export_read_batch(&x->members[i], r, out, e);
		*ret_index = i;
	}
	return st;
}

/* Keep only the part that is asked for. */
static enum status cut_part(const struct export *x, struct buf *raw, struct err *e)
{
	struct buf part;
	uint32_t n = 0;
	if (x->part.count == 0)
		return ST_OK;
	CHECK(x->count == 1);
	/* Envelopes are repeated, and their lengths may take a byte more for a moment. */
	buf_init(&part, raw->n + 64, raw->budget);
	enum status st = select_records(x->signal, buf_view(raw), &x->part, 1, &part, &n, NULL);
	if (!st && n != x->part.count)
		st = ST_INVALID;
	if (st == ST_INVALID || st == ST_TOO_LARGE) {
		buf_done(&part);
		return err_set(e, ST_INVALID, "the records of the batch cannot be told apart");
	}
	if (!st) {
		buf_done(raw);
		buf_move(raw, &part);
	}
	buf_done(&part);
	return st;
}

enum status export_load(struct export *x, struct encoder *enc, struct claim_reader *r,
			const struct export_form *form, struct budget *budget, size_t *ret_index,
			struct err *e)
{
	struct buf raw;
	struct buf wire;
	enum status st;
	enum encoding encoding = form->convert ? ENCODING_NONE : form->encoding;
	buf_init(&raw, x->raw_bytes, budget);
	buf_init(&wire, SIZE_MAX, budget);
	buf_init(&x->body, SIZE_MAX, budget);
	x->encoding = encoding;
	x->left_out = 0;
	x->left_out_reason[0] = '\0';

	if (!form->convert && x->part.count == 0 && is_stored_as(x, encoding)) {
		st = append_stored(x, r, &x->body, ret_index, e);
		goto out;
	}
	st = append_all_decompressed(x, r, &raw, ret_index, e);
	if (!st)
		st = cut_part(x, &raw, e);
	if (st)
		goto out;
	if (!form->convert && encoding == ENCODING_NONE) {
		buf_move(&x->body, &raw);
		goto out;
	}
	if (form->convert)
		st = form->convert(form->exporter, x, buf_view(&raw), &wire, e);
	else
		st = compress_append(encoder_get(enc, encoding), buf_view(&raw), &wire);
	/* An exact copy: what is in flight for long should not hold the room of a worst case. */
	buf_done(&raw);
	buf_init(&x->body, wire.n, budget);
	if (!st)
		st = buf_append(&x->body, buf_view(&wire));
out:
	buf_done(&raw);
	buf_done(&wire);
	if (st)
		export_unload(x);
	return st;
}

/* The bytes count for what shares a thin link: six exports of a megabyte on 64 kbit/s take a
 * quarter of an hour each, all of them moving, and would be sent again and again for ever. */
int64_t export_patience_ns(const struct export *x, int64_t timeout_ns)
{
	enum { TIMES = 20 };
	int64_t whole_ns = (int64_t)(x->body.n / UPLINK_RATE_MIN) * NS_PER_S;
	return whole_ns > TIMES * timeout_ns ? whole_ns : TIMES * timeout_ns;
}
