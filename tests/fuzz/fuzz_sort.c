/* fuzz_sort - what the scan accepts, sorted with two attributes to insert. Each part must scan
 * again, hold one class only, lack no attribute, and unpack; and the parts' records must add up.
 * The first byte chooses the signal. */
#include "gateway/telemetry/sort.h"
#include "tests/support/otlp_oracle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct attributes add;

static uint32_t check_part(enum signal signal, const struct sorted_part *part, struct arena *arena)
{
	struct scan again;
	size_t records;
	CHECK(scan_request(signal, part->body, &add, arena, &again, NULL) == ST_OK);
	CHECK(again.all.records == part->summary->records);
	CHECK(again.of_class[part->class].records == again.all.records);
	CHECK(!again.needs_attributes);
	CHECK(bytes_equal(again.all.preview, part->summary->preview));
	if (oracle_count(signal, part->body, arena, &records))
		CHECK(records == again.all.records);
	else
		CHECK(oracle_must_merge(signal, part->body));
	return again.all.records;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	if (add.count == 0) {
		CHECK(attributes_insert(&add, "site", "plant-7", NULL) == ST_OK);
		CHECK(attributes_insert(&add, "s", "x", NULL) == ST_OK);
	}
	enum signal signal = (enum signal)(data[0] % SIGNAL_COUNT);
	struct arena arena;
	struct buf out;
	struct scan scan;
	struct sorted sorted;
	arena_init(&arena, 256 << 20, NULL);
	buf_init(&out, 64 << 20, NULL);
	struct bytes body = bytes_of(data + 1, size - 1);
	if (scan_request(signal, body, &add, &arena, &scan, NULL) == ST_OK) {
		uint32_t records = 0;
		CHECK(sort_request(&scan, &add, &out, &sorted) == ST_OK);
		for (size_t i = 0; i < sorted.count; i++)
			records += check_part(signal, &sorted.parts[i], &arena);
		CHECK(records == scan.all.records);
	}
	arena_done(&arena);
	buf_done(&out);
	return 0;
}
