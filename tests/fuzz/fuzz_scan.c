/* fuzz_scan - any bytes as a request of each signal. What the scan accepts, protobuf-c must unpack,
 * with as many records; what it refuses needs words. The first byte chooses the signal. */
#include "gateway/telemetry/scan.h"
#include "tests/support/otlp_oracle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_summary(const struct scan *scan)
{
	uint32_t records = 0;
	for (int c = 0; c < RECORD_CLASS_COUNT; c++)
		records += scan->of_class[c].records;
	CHECK(records == scan->all.records);
	CHECK((scan->resource_count > 0) == (records > 0));
	CHECK(scan->all.preview.n <= SCAN_PREVIEW_MAX);
	CHECK(scan->all.first_time_ns <= scan->all.last_time_ns);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	enum signal signal = (enum signal)(data[0] % SIGNAL_COUNT);
	struct bytes body = bytes_of(data + 1, size - 1);
	struct arena arena;
	arena_init(&arena, 256 << 20, NULL);
	struct scan scan;
	struct err err = { "" };
	enum status st = scan_request(signal, body, NULL, &arena, &scan, &err);
	CHECK(st == ST_OK || (st == ST_INVALID && err.text[0]));
	if (st == ST_OK) {
		size_t records;
		check_summary(&scan);
		if (oracle_count(signal, body, &arena, &records))
			CHECK(records == scan.all.records);
		else
			CHECK(oracle_must_merge(signal, body));
	}
	arena_done(&arena);
	return 0;
}
