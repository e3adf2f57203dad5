/* fuzz_json_write - any bytes as a stored request, shown as JSON. The JSON must be JSON to jansson
 * and to ourselves (but for ids of a wrong length), on one line, and whatever the scan accepts must
 * be shown, with every record.
 * The first byte chooses the signal. */
#include <jansson.h>

#include "gateway/telemetry/json.h"
#include "gateway/telemetry/scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool scan_records(enum signal signal, struct bytes body, uint32_t *ret)
{
	struct arena arena;
	struct scan scan;
	arena_init(&arena, 256 << 20, NULL);
	bool is_accepted = scan_request(signal, body, NULL, &arena, &scan, NULL) == ST_OK;
	*ret = is_accepted ? scan.all.records : 0;
	arena_done(&arena);
	return is_accepted;
}

static void check_text(enum signal signal, struct bytes text, bool is_accepted, uint32_t records)
{
	struct buf back;
	uint32_t records_back;
	CHECK(!memchr(text.p, '\n', text.n));
	json_t *root = json_loadb((const char *)text.p, text.n, JSON_ALLOW_NUL, NULL);
	CHECK(root);
	json_decref(root);
	buf_init(&back, 64 << 20, NULL);
	struct err err = { "" };
	if (json_to_otlp(signal, text, &back, &err) == ST_OK) {
		CHECK(scan_records(signal, buf_view(&back), &records_back));
		CHECK(!is_accepted || records_back == records);
	} else {
		CHECK(!is_accepted && strstr(err.text, "hex digits or none"));
	}
	buf_done(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	enum signal signal = (enum signal)(data[0] % SIGNAL_COUNT);
	struct bytes body = bytes_of(data + 1, size - 1);
	struct buf text;
	struct err err = { "" };
	uint32_t records;
	buf_init(&text, 64 << 20, NULL);
	bool is_accepted = scan_records(signal, body, &records);
	enum status st = otlp_to_json(signal, body, &text, &err);
	CHECK(st == ST_OK || (st == ST_INVALID && !is_accepted && err.text[0]));
	if (st == ST_OK)
		check_text(signal, buf_view(&text), is_accepted, records);
	buf_done(&text);
	return 0;
}
