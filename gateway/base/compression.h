/* compression.h - gzip and zstd, whole buffers in and out, both bounded.
 * Owner: a struct compressor belongs to one thread; decompress is stateless. Needs: buf,
 * vocabulary. */
#ifndef BASE_COMPRESSION_H
#define BASE_COMPRESSION_H

#include "gateway/base/buf.h"
#include "schema/vocabulary.h"

/* Appends the decompressed bytes of src to out; out's max and budget are the guard against bombs.
 * gzip takes several members (RFC 1952, 2.2) and zlib streams; zstd several frames (RFC 8878, 3).
 * ST_INVALID: damaged or cut off (e says at which byte). ST_TOO_LARGE, ST_BUSY: from out. Borrows
 * src. */
MUST_USE enum status decompress(enum encoding encoding, struct bytes src, struct buf *out,
				struct err *e);

/* Reusable state, so that no call allocates. */
struct compressor;

/* level: gzip 1..9, zstd -7..19; ENCODING_NONE takes any. Never NULL (aborts where memory is out).
 */
struct compressor *compressor_new(enum encoding encoding, int level);
void compressor_free(struct compressor *c);
/* From the next call on. The same bounds as for compressor_new. */
void compressor_set_level(struct compressor *c, int level);
/* Appends one gzip member or one zstd frame that holds src to out. Outputs of several calls, one
 * after the other, are again one valid stream. ENCODING_NONE copies. Borrows src. */
MUST_USE enum status compress_append(struct compressor *c, struct bytes src, struct buf *out);
/* The same with the parts, in order, as one frame. */
MUST_USE enum status compress_parts(struct compressor *c, const struct bytes *parts, size_t count,
				    struct buf *out);

/* Appends src as one block of raw snappy (no frames: what remote write and Loki take), which is not
 * a stream: outputs of two calls are not one. ST_TOO_LARGE, ST_BUSY: from out. Borrows src. */
MUST_USE enum status snappy_append(struct bytes src, struct buf *out);

#endif
