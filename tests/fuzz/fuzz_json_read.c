/* fuzz_json_read - any text as a request in JSON. What is taken must be JSON to jansson too (but
 * for numbers that it has no room for, and NUL in the name of a member), must be protobuf that the
 * scan accepts, and must come back the same from JSON written of it. The first byte chooses the
 * signal. */
#include <jansson.h>

#include "gateway/telemetry/json.h"
#include "gateway/telemetry/scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Valid by RFC 8259, 4 and 6, and yet refused there. */
static bool is_too_much_for_jansson(enum json_error_code code)
{
	return code == json_error_numeric_overflow || code == json_error_null_byte_in_key;
}

static void check_jansson(struct bytes text)
{
	json_error_t error;
	json_t *root = json_loadb((const char *)text.p, text.n, JSON_ALLOW_NUL, &error);
	CHECK(root || is_too_much_for_jansson(json_error_code(&error)));
	json_decref(root);
}

static void check_scan(enum signal signal, struct bytes body)
{
	struct arena arena;
	struct scan scan;
	struct err err = { "" };
	arena_init(&arena, 256 << 20, NULL);
	enum status st = scan_request(signal, body, NULL, &arena, &scan, &err);
	CHECK(st == ST_OK || strstr(err.text, "two values for its data"));
	arena_done(&arena);
}

/* JSON of the body, read and written again, is the same JSON. */
static void check_round_trip(enum signal signal, struct bytes body)
{
	struct buf first;
	struct buf back;
	struct buf second;
	buf_init(&first, 64 << 20, NULL);
	buf_init(&back, 64 << 20, NULL);
	buf_init(&second, 64 << 20, NULL);
	CHECK(otlp_to_json(signal, body, &first, NULL) == ST_OK);
	CHECK(json_to_otlp(signal, buf_view(&first), &back, NULL) == ST_OK);
	CHECK(otlp_to_json(signal, buf_view(&back), &second, NULL) == ST_OK);
	CHECK(bytes_equal(buf_view(&first), buf_view(&second)));
	buf_done(&first);
	buf_done(&back);
	buf_done(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	enum signal signal = (enum signal)(data[0] % SIGNAL_COUNT);
	struct bytes text = bytes_of(data + 1, size - 1);
	struct buf body;
	struct err err = { "" };
	buf_init(&body, 64 << 20, NULL);
	enum status st = json_to_otlp(signal, text, &body, &err);
	CHECK(st == ST_OK || (st == ST_INVALID && err.text[0] && body.n == 0));
	if (st == ST_OK) {
		check_jansson(text);
		check_scan(signal, buf_view(&body));
		check_round_trip(signal, buf_view(&body));
	}
	buf_done(&body);
	return 0;
}
