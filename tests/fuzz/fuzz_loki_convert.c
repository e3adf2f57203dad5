/* Anything taken for stored log records: whatever is accepted becomes one well-formed push within
 * Loki's limits, in both formats, and the same one again from the same bytes. */
#include <jansson.h>

#include "gateway/forward/loki_convert.h"
#include "gateway/telemetry/wire.h"

enum { OUT_MAX = 64 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_entry(struct bytes entry, const struct loki_form *form)
{
	struct wire_reader r = wire_reader_of(entry);
	struct wire_field f;
	size_t items = 0;
	size_t item_bytes = 0;
	while (wire_next(&r, &f)) {
		CHECK(f.type == WIRE_LEN && f.number >= 1 && f.number <= 3);
		CHECK(f.number != 2 || f.bytes.n <= form->max_line);
		if (f.number != 3)
			continue;
		struct wire_reader pair = wire_reader_of(f.bytes);
		struct wire_field part;
		items++;
		while (wire_next(&pair, &part)) {
			CHECK(part.bytes.n > 0);
			item_bytes += part.bytes.n;
		}
		CHECK(!pair.fault);
	}
	CHECK(!r.fault && items <= LOKI_METADATA_MAX && item_bytes <= LOKI_METADATA_BYTES_MAX);
}

static uint32_t check_push(struct bytes push, const struct loki_form *form)
{
	struct wire_reader r = wire_reader_of(push);
	struct wire_field stream;
	uint32_t entries = 0;
	while (wire_next(&r, &stream)) {
		struct wire_reader s = wire_reader_of(stream.bytes);
		struct wire_field f;
		CHECK(stream.number == 1 && stream.type == WIRE_LEN);
		while (wire_next(&s, &f)) {
			CHECK(f.type == WIRE_LEN && (f.number == 1 || f.number == 2));
			if (f.number == 2)
				check_entry(f.bytes, form);
			entries += f.number == 2;
		}
		CHECK(!s.fault);
	}
	CHECK(!r.fault);
	return entries;
}

/* Text is valid only as far as the scan saw to it: replaced by now, so that it always parses. */
static void check_json(struct bytes push)
{
	json_error_t why;
	json_t *root = json_loadb((const char *)push.p, push.n, JSON_ALLOW_NUL, &why);
	if (root)
		CHECK(json_is_array(json_object_get(root, "streams")));
	else
		CHECK(json_error_code(&why) == json_error_null_byte_in_key);
	json_decref(root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	struct loki_form form = { .labels = { { bytes_str("a"), bytes_str("a") },
					      { bytes_str("service.name"),
						bytes_str("service_name") } },
				  .label_count = 2,
				  .max_line = data[0] & 2 ? 16 : 1024,
				  .leaves_out = data[0] & 4,
				  .is_json = data[0] & 1 };
	/* Exactly the input: reading past its end shows. */
	struct bytes otlp = bytes_of(data + 1, size - 1);
	struct loki_member members[2] = { { .raw_bytes = otlp.n / 2, .received_at_ns = 2 },
					  { .raw_bytes = otlp.n - otlp.n / 2,
					    .received_at_ns = 1 } };
	struct loki_source source = {
		.otlp = otlp, .class = RECORD_CLASS_INFO, .members = members, .member_count = 2
	};
	struct budget budget;
	budget_init(&budget, 2 * (size_t)OUT_MAX);
	struct buf out[2];
	struct loki_push push[2] = { { 0 }, { 0 } };
	enum status st[2];
	for (int i = 0; i < 2; i++) {
		buf_init(&out[i], OUT_MAX, &budget);
		st[i] = loki_convert(&form, &source, &out[i], &push[i], NULL);
	}
	CHECK(st[0] == st[1] && bytes_equal(buf_view(&out[0]), buf_view(&out[1])));
	CHECK(!st[0] || out[0].n == 0);
	if (!st[0] && out[0].n && !push[0].is_too_large) {
		if (form.is_json)
			check_json(buf_view(&out[0]));
		else
			CHECK(check_push(buf_view(&out[0]), &form) == push[0].entries);
	}
	buf_done(&out[0]);
	buf_done(&out[1]);
	CHECK(budget_used(&budget) == 0);
	return 0;
}
