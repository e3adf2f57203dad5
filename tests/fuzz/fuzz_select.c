/* fuzz_select - what the scan accepts, taken apart at two places. Each part scans again, and all of
 * them, one after the other, have the records of the whole, each once and in order: what the whole
 * says of them, canonically, is what the parts say. Bytes that no scan accepted do no harm. The
 * first byte chooses the signal, the next two the places. */
#include "gateway/telemetry/scan.h"
#include "gateway/telemetry/select.h"
#include "tests/support/otlp_oracle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PARTS = 3 };

static void check_part(enum signal signal, struct bytes part, uint32_t records, struct arena *arena)
{
	struct scan again;
	size_t count;
	CHECK(scan_request(signal, part, NULL, arena, &again, NULL) == ST_OK);
	CHECK(again.all.records == records);
	CHECK(oracle_count(signal, part, arena, &count));
	CHECK(count == records);
}

/* A record alone is the same bytes whether taken out of the whole or out of the joined parts.
 * Fields of the request itself are in each part, so there it is only as long at least. */
static void check_order(enum signal signal, struct bytes whole, struct bytes joined,
			uint32_t records)
{
	struct buf a;
	struct buf b;
	uint32_t n = 0;
	buf_init(&a, 64 << 20, NULL);
	buf_init(&b, 64 << 20, NULL);
	CHECK(select_records(signal, whole, NULL, 0, &a, &n, NULL) == ST_OK && n == 0);
	bool is_plain = a.n == 0;
	for (uint32_t i = 0; i < records && i < 64; i++) {
		const struct select_range one = { .first = i, .count = 1 };
		buf_clear(&a);
		buf_clear(&b);
		CHECK(select_records(signal, whole, &one, 1, &a, &n, NULL) == ST_OK && n == 1);
		CHECK(select_records(signal, joined, &one, 1, &b, &n, NULL) == ST_OK && n == 1);
		CHECK(is_plain ? bytes_equal(buf_view(&a), buf_view(&b)) : b.n >= a.n);
	}
	buf_done(&a);
	buf_done(&b);
}

static void take_apart(enum signal signal, struct bytes body, uint32_t records, const uint8_t *at,
		       struct arena *arena)
{
	uint32_t first = records * at[0] / 255;
	uint32_t second = first + (records - first) * at[1] / 255;
	const struct select_range ranges[PARTS] = { { 0, first },
						    { first, second - first },
						    { second, records - second } };
	struct buf joined;
	buf_init(&joined, 64 << 20, NULL);
	for (size_t i = 0; i < PARTS; i++) {
		size_t before = joined.n;
		uint32_t n = 0;
		uint32_t total = 0;
		CHECK(select_records(signal, body, &ranges[i], 1, &joined, &n, &total) == ST_OK);
		CHECK(n == ranges[i].count && total == records);
		check_part(signal,
			   bytes_of(n ? joined.p + before : NULL, n ? joined.n - before : 0), n,
			   arena);
	}
	check_part(signal, buf_view(&joined), records, arena);
	check_order(signal, body, buf_view(&joined), records);
	buf_clear(&joined);
	/* Two ranges with a gap. */
	uint32_t n = 0;
	const struct select_range ends[2] = { ranges[0], ranges[2] };
	CHECK(select_records(signal, body, ends, 2, &joined, &n, NULL) == ST_OK);
	check_part(signal, buf_view(&joined), records - ranges[1].count, arena);
	buf_done(&joined);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 3)
		return 0;
	enum signal signal = (enum signal)(data[0] % SIGNAL_COUNT);
	struct bytes body = bytes_of(data + 3, size - 3);
	const struct select_range all = { .first = 0, .count = UINT32_MAX };
	struct arena arena;
	struct scan scan;
	struct buf out;
	uint32_t n = 0;
	arena_init(&arena, 256 << 20, NULL);
	buf_init(&out, 64 << 20, NULL);
	enum status st = select_records(signal, body, &all, 1, &out, &n, NULL);
	CHECK(st == ST_OK || st == ST_INVALID);
	if (scan_request(signal, body, NULL, &arena, &scan, NULL) == ST_OK) {
		CHECK(st == ST_OK && n == scan.all.records);
		take_apart(signal, body, scan.all.records, data + 1, &arena);
	}
	buf_done(&out);
	arena_done(&arena);
	return 0;
}
