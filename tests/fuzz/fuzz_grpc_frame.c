/* fuzz_grpc_frame.c - the framing decoder and the small header codecs under arbitrary bytes.
 *
 * The first byte says how the rest is cut. Two readers, one cut and one not, must agree: the cuts
 * of DATA frames mean nothing. */
#include <stdlib.h>

#include "gateway/base/grpc_frame.h"
#include "gateway/base/grpc_status.h"
#include "gateway/ingest/grpc_health.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Events and bytes of src, read in pieces of `step`, as one text. */
static void trace(struct bytes src, size_t step, struct buf *out)
{
	struct grpc_frame_reader r;
	grpc_frame_reader_init(&r);
	for (size_t at = 0; at < src.n; at += step) {
		struct bytes in = bytes_of(src.p + at, src.n - at < step ? src.n - at : step);
		struct bytes piece;
		enum grpc_frame_event ev;
		while ((ev = grpc_frame_next(&r, &in, &piece)) != GRPC_FRAME_MORE) {
			if (ev == GRPC_FRAME_BYTES) {
				CHECK(piece.n > 0 && piece.n <= src.n);
				CHECK(buf_append(out, piece) == ST_OK);
				continue;
			}
			CHECK(buf_printf(out, "|%d %d %u|", (int)ev, r.is_compressed, r.length) ==
			      ST_OK);
			if (ev == GRPC_FRAME_BAD)
				return;
		}
		CHECK(in.n == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	if (n < 1)
		return 0;
	struct bytes src = bytes_of(data + 1, n - 1);
	struct buf whole;
	struct buf cut;
	buf_init(&whole, SIZE_MAX / 2, NULL);
	buf_init(&cut, SIZE_MAX / 2, NULL);
	trace(src, SIZE_MAX / 4, &whole);
	trace(src, (size_t)data[0] + 1, &cut);
	CHECK(bytes_equal(buf_view(&whole), buf_view(&cut)));

	buf_clear(&cut);
	CHECK(grpc_base64_encode(&cut, src) == ST_OK);
	CHECK(cut.n == (src.n * 4 + 2) / 3);
	struct buf back;
	buf_init(&back, SIZE_MAX / 2, NULL);
	CHECK(grpc_base64_decode(&back, buf_view(&cut)) == ST_OK);
	CHECK(bytes_equal(buf_view(&back), src));
	buf_clear(&back);
	CHECK(grpc_base64_decode(&back, src) != ST_OK || back.n <= src.n);
	buf_clear(&back);
	CHECK(grpc_message_decode(&back, src) == ST_OK && back.n <= src.n);
	int64_t ns = 0;
	CHECK(grpc_timeout_parse(src, &ns) != ST_OK || ns >= 0);
	struct bytes service;
	struct err e;
	if (grpc_health_read(src, &service, &e) == ST_OK)
		(void)grpc_health_is_known(service);
	buf_clear(&cut);
	char *text = calloc(1, src.n + 1);
	CHECK(text);
	if (src.n)
		memcpy(text, src.p, src.n);
	CHECK(grpc_message_encode(&cut, text) == ST_OK);
	for (size_t i = 0; i < cut.n; i++)
		CHECK(cut.p[i] >= 0x20 && cut.p[i] <= 0x7E);
	buf_clear(&back);
	CHECK(grpc_message_decode(&back, buf_view(&cut)) == ST_OK);
	CHECK(bytes_equal(buf_view(&back), bytes_str(text)));
	free(text);
	buf_done(&back);
	buf_done(&whole);
	buf_done(&cut);
	return 0;
}
