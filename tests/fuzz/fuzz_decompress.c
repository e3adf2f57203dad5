/* fuzz_decompress.c - any bytes as a compressed body: the cap holds, the budget comes back, and
 * what was decompressed survives a round trip. The first byte chooses the encoding. */
#include "gateway/base/compression.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CAP = 1 << 20 };

static void check_round_trip(enum encoding encoding, struct bytes plain)
{
	struct compressor *c = compressor_new(encoding, 1);
	struct buf small;
	struct buf back;
	buf_init(&small, 4 * CAP, NULL);
	buf_init(&back, plain.n, NULL);
	CHECK(!compress_append(c, plain, &small));
	CHECK(!decompress(encoding, buf_view(&small), &back, NULL));
	CHECK(bytes_equal(plain, buf_view(&back)));
	buf_done(&small);
	buf_done(&back);
	compressor_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	enum encoding encoding = data[0] & 1 ? ENCODING_ZSTD : ENCODING_GZIP;
	struct budget budget;
	struct buf out;
	budget_init(&budget, 2 * CAP);
	buf_init(&out, CAP, &budget);
	enum status st = decompress(encoding, bytes_of(data + 1, size - 1), &out, NULL);
	CHECK(st == ST_OK || st == ST_INVALID || st == ST_TOO_LARGE);
	CHECK(out.n <= CAP);
	if (!st)
		check_round_trip(encoding, buf_view(&out));
	buf_done(&out);
	CHECK(budget_used(&budget) == 0);
	return 0;
}
