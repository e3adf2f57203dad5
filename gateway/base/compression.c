/* compression.c - the only file that knows zlib, libzstd and libsnappy.
 *
 * Decompression goes in steps of STEP bytes: before each, room for the step is reserved in the
 * output, whose cap and budget refuse what would be too much. A bomb so costs at most the cap, and
 * the budget is charged while it grows and not after the fact. */
#include "gateway/base/compression.h"

#define ZLIB_CONST
#include <snappy-c.h>
#include <zlib.h>
#include <zstd.h>

#include "gateway/base/xalloc.h"

enum { STEP = 64 * 1024 };

/* Room for at least one more byte of output, up to STEP. At the cap the last bytes are still
 * usable. */
static enum status reserve_step(struct buf *out, size_t *ret_room)
{
	size_t left = out->max - out->n;
	if (left == 0)
		return ST_TOO_LARGE;
	enum status st = buf_reserve(out, left < STEP ? left : STEP);
	if (!st)
		*ret_room = out->cap - out->n;
	return st;
}

/* z counts from the start of its member, and there may be several. */
static enum status gunzip_failed(struct err *e, const z_stream *z, size_t n, const char *what)
{
	return err_set(e, ST_INVALID, "gzip data is %s at byte %zu of the compressed body", what,
		       n - z->avail_in);
}

static enum status gunzip(struct bytes src, struct buf *out, struct err *e)
{
	z_stream z = { .next_in = src.p, .avail_in = (uInt)src.n };
	if (src.n > UINT32_MAX)
		return ST_TOO_LARGE;
	if (inflateInit2(&z, 15 + 32) != Z_OK)
		return ST_NO_MEMORY;
	enum status st = ST_OK;
	bool is_end = false;
	/* At the cap a stream may still have its trailer to read: one spare byte tells more output
	 * apart. */
	uint8_t spare;
	while (!is_end || z.avail_in > 0) {
		if (is_end && inflateReset(&z) != Z_OK)
			st = ST_INTERNAL;
		size_t room = 0;
		bool is_full = out->n == out->max;
		if (!st && !is_full)
			st = reserve_step(out, &room);
		if (st)
			break;
		z.next_out = is_full ? &spare : out->p + out->n;
		z.avail_out = is_full ? 1 : (uInt)(room > STEP ? STEP : room);
		uInt before = z.avail_out;
		int rc = inflate(&z, Z_NO_FLUSH);
		size_t made = before - z.avail_out;
		if (is_full && made)
			st = err_set(e, ST_TOO_LARGE,
				     "the body decompresses to more than %zu bytes", out->max);
		else
			buf_advance(out, made);
		if (st)
			break;
		is_end = rc == Z_STREAM_END;
		if (rc == Z_BUF_ERROR || (rc == Z_OK && made == 0 && z.avail_in == 0))
			st = gunzip_failed(e, &z, src.n, "cut off");
		else if (rc != Z_OK && !is_end)
			st = gunzip_failed(e, &z, src.n, "damaged");
		if (st)
			break;
	}
	(void)inflateEnd(&z);
	return st;
}

static enum status unzstd(struct bytes src, struct buf *out, struct err *e)
{
	ZSTD_DCtx *d = ZSTD_createDCtx();
	if (!d)
		return ST_NO_MEMORY;
	/* 2^23: what RFC 8878 asks every decoder to support. Larger windows are a memory attack
	 * here. */
	(void)ZSTD_DCtx_setParameter(d, ZSTD_d_windowLogMax, 23);
	ZSTD_inBuffer in = { .src = src.p, .size = src.n };
	enum status st = ST_OK;
	size_t rc = 1;
	uint8_t spare;
	while (!st && (in.pos < in.size || rc != 0)) {
		size_t room = 1;
		bool is_full = out->n == out->max;
		if (!is_full)
			st = reserve_step(out, &room);
		if (st)
			break;
		ZSTD_outBuffer o = { .dst = is_full ? &spare : out->p + out->n, .size = room };
		size_t before = in.pos;
		rc = ZSTD_decompressStream(d, &o, &in);
		if (ZSTD_isError(rc)) {
			st = err_set(e, ST_INVALID,
				     "zstd data is damaged at byte %zu of the compressed body: %s",
				     in.pos, ZSTD_getErrorName(rc));
		} else if (is_full && o.pos) {
			st = err_set(e, ST_TOO_LARGE,
				     "the body decompresses to more than %zu bytes", out->max);
		} else {
			buf_advance(out, o.pos);
			if (rc != 0 && o.pos == 0 && in.pos == before)
				st = err_set(
					e, ST_INVALID,
					"zstd data is cut off at byte %zu of the compressed body",
					in.pos);
		}
	}
	(void)ZSTD_freeDCtx(d);
	return st;
}

enum status decompress(enum encoding encoding, struct bytes src, struct buf *out, struct err *e)
{
	switch (encoding) {
	case ENCODING_GZIP:
		return gunzip(src, out, e);
	case ENCODING_ZSTD:
		return unzstd(src, out, e);
	case ENCODING_NONE:
	case ENCODING_COUNT:
		break;
	}
	return buf_append(out, src);
}

struct compressor {
	enum encoding encoding;
	int level;
	z_stream z;
	ZSTD_CCtx *zstd;
};

struct compressor *compressor_new(enum encoding encoding, int level)
{
	struct compressor *c = xcalloc(1, sizeof(*c));
	c->encoding = encoding;
	c->level = level;
	if (encoding == ENCODING_GZIP) {
		CHECK(deflateInit2(&c->z, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) ==
		      Z_OK);
	} else if (encoding == ENCODING_ZSTD) {
		c->zstd = ZSTD_createCCtx();
		CHECK(c->zstd);
		CHECK(!ZSTD_isError(
			ZSTD_CCtx_setParameter(c->zstd, ZSTD_c_compressionLevel, level)));
	}
	return c;
}

void compressor_free(struct compressor *c)
{
	if (!c)
		return;
	if (c->encoding == ENCODING_GZIP)
		(void)deflateEnd(&c->z);
	(void)ZSTD_freeCCtx(c->zstd);
	free(c);
}

void compressor_set_level(struct compressor *c, int level)
{
	if (c->level == level)
		return;
	c->level = level;
	if (c->encoding == ENCODING_GZIP)
		CHECK(deflateReset(&c->z) == Z_OK &&
		      deflateParams(&c->z, level, Z_DEFAULT_STRATEGY) == Z_OK);
	else if (c->encoding == ENCODING_ZSTD)
		CHECK(!ZSTD_isError(
			ZSTD_CCtx_setParameter(c->zstd, ZSTD_c_compressionLevel, level)));
}

static enum status gzip_parts(struct compressor *c, const struct bytes *parts, size_t count,
			      struct buf *out)
{
	if (deflateReset(&c->z) != Z_OK)
		return ST_INTERNAL;
	enum status st = ST_OK;
	for (size_t i = 0; i <= count && !st; i++) {
		bool is_last = i == count;
		c->z.next_in = is_last ? NULL : parts[i].p;
		c->z.avail_in = is_last ? 0 : (uInt)parts[i].n;
		int rc = Z_OK;
		do {
			size_t room;
			st = reserve_step(out, &room);
			if (st)
				break;
			c->z.next_out = out->p + out->n;
			c->z.avail_out = (uInt)room;
			rc = deflate(&c->z, is_last ? Z_FINISH : Z_NO_FLUSH);
			buf_advance(out, room - c->z.avail_out);
		} while (is_last ? rc != Z_STREAM_END : c->z.avail_in > 0);
	}
	return st;
}

static enum status zstd_parts(struct compressor *c, const struct bytes *parts, size_t count,
			      struct buf *out)
{
	size_t total = 0;
	for (size_t i = 0; i < count; i++)
		total += parts[i].n;
	(void)ZSTD_CCtx_reset(c->zstd, ZSTD_reset_session_only);
	(void)ZSTD_CCtx_setPledgedSrcSize(c->zstd, total);
	enum status st = buf_reserve(out, ZSTD_compressBound(total));
	if (st)
		return st;
	ZSTD_outBuffer o = { .dst = out->p + out->n, .size = out->cap - out->n };
	if (count == 0) {
		ZSTD_inBuffer in = { 0 };
		if (ZSTD_compressStream2(c->zstd, &o, &in, ZSTD_e_end) != 0)
			return ST_INTERNAL;
	}
	for (size_t i = 0; i < count; i++) {
		ZSTD_inBuffer in = { .src = parts[i].p, .size = parts[i].n };
		size_t rc = ZSTD_compressStream2(c->zstd, &o, &in,
						 i + 1 == count ? ZSTD_e_end : ZSTD_e_continue);
		if (ZSTD_isError(rc) || in.pos != in.size || (i + 1 == count && rc != 0))
			return ST_INTERNAL;
	}
	buf_advance(out, o.pos);
	return ST_OK;
}

enum status compress_parts(struct compressor *c, const struct bytes *parts, size_t count,
			   struct buf *out)
{
	if (c->encoding == ENCODING_GZIP)
		return gzip_parts(c, parts, count, out);
	if (c->encoding == ENCODING_ZSTD)
		return zstd_parts(c, parts, count, out);
	enum status st = ST_OK;
	for (size_t i = 0; i < count && !st; i++)
		st = buf_append(out, parts[i]);
	return st;
}

enum status compress_append(struct compressor *c, struct bytes src, struct buf *out)
{
	return compress_parts(c, &src, 1, out);
}

enum status snappy_append(struct bytes src, struct buf *out)
{
	/* The format's own limit. */
	if (src.n > UINT32_MAX)
		return ST_TOO_LARGE;
	size_t n = snappy_max_compressed_length(src.n);
	enum status st = buf_reserve(out, n);
	if (st)
		return st;
	CHECK(snappy_compress((const char *)src.p, src.n, (char *)out->p + out->n, &n) ==
	      SNAPPY_OK);
	buf_advance(out, n);
	return ST_OK;
}
