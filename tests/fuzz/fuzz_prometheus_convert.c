/* fuzz_prometheus_convert - what the scan accepts, converted and written as remote write 1.0 and
 * 2.0, twice, so that deltas meet a state. Series must be what receivers ask for: labels sorted,
 * without repeats and empty values; times ascending; no more records than came. The first byte
 * chooses the settings. */
#include "gateway/forward/prometheus_convert.h"
#include "gateway/forward/prometheus_write.h"
#include "gateway/telemetry/scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ROOM = 64 << 20 };

static void check_series(const struct prometheus_batch *b, const struct prometheus_series *s)
{
	const struct prometheus_labels *l = &b->labels;
	bool has_name = false;
	for (uint32_t i = 0; i < s->label_count; i++) {
		struct bytes name = prometheus_labels_name(l, s->labels[i]);
		CHECK(name.n > 0);
		CHECK(prometheus_labels_text(l, l->labels[s->labels[i]].value).n > 0);
		CHECK(i == 0 || prometheus_labels_compare(
					prometheus_labels_name(l, s->labels[i - 1]), name) < 0);
		has_name = has_name || bytes_equal(name, bytes_str("__name__"));
	}
	CHECK(has_name);
	CHECK(s->first);
	for (uint32_t k = s->first; b->samples[k].next; k = b->samples[k].next)
		CHECK(b->samples[k].time_ms < b->samples[b->samples[k].next].time_ms);
	for (uint32_t k = s->first; k; k = b->samples[k].next)
		CHECK(!b->samples[k].histogram == !s->has_histograms);
}

static void check_batch(const struct prometheus_batch *b, const struct prometheus_tally *tally,
			uint32_t records)
{
	uint64_t said = 0;
	uint64_t left_out = 0;
	for (uint32_t i = 1; i < b->series_count; i++) {
		check_series(b, &b->series[i]);
		for (uint32_t k = b->series[i].first; k; k = b->samples[k].next)
			said += b->samples[k].is_record;
	}
	for (int i = 0; i < PROMETHEUS_LEFT_COUNT; i++)
		left_out += tally->left_out[i];
	CHECK(said + left_out <= records);
	for (int i = 0; i < 2; i++) {
		struct buf out;
		buf_init(&out, ROOM, NULL);
		CHECK(prometheus_write((enum prometheus_protocol)i, b, &out) != ST_INTERNAL);
		buf_done(&out);
	}
}

static void convert(const struct prometheus_settings *s, struct bytes body, uint32_t records,
		    struct prometheus_delta *delta)
{
	const struct prometheus_origin origin = { body.n, 1 };
	const struct prometheus_input in = { body, &origin, 1 };
	struct prometheus_changes *changes = prometheus_changes_new(ROOM, NULL);
	struct prometheus_batch b;
	struct prometheus_tally tally;
	struct prometheus_delta_counts counts;
	struct arena arena;
	arena_init(&arena, ROOM, NULL);
	CHECK(prometheus_series_init(&b, &s->naming, s->seeds[0], &arena) == ST_OK);
	enum status st = prometheus_convert(s, &in, delta, changes, &b, &tally);
	/* The scan accepted it. */
	CHECK(st == ST_OK || st == ST_TOO_LARGE);
	if (!st) {
		check_batch(&b, &tally, records);
		prometheus_delta_commit(delta, changes, &counts);
	} else {
		prometheus_changes_free(changes);
	}
	prometheus_series_done(&b);
	arena_done(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	static struct config_pair external[] = { { (char *)"site", (char *)"plant-7" },
						 { (char *)"le", (char *)"no" } };
	const struct prometheus_settings s = {
		.naming = { data[0] & 1, data[0] & 2 },
		.has_scope_labels = data[0] & 4,
		.has_resource_labels = data[0] & 8,
		.has_metadata = data[0] & 16,
		.external_labels = { external, data[0] & 32 ? 2 : 0 },
		.seeds = { 1, 2, 3 },
	};
	struct bytes body = bytes_of(data + 1, size - 1);
	struct arena arena;
	struct scan scan;
	arena_init(&arena, ROOM, NULL);
	if (scan_request(SIGNAL_METRICS, body, NULL, &arena, &scan, NULL) == ST_OK) {
		struct prometheus_delta *delta = prometheus_delta_new(4096);
		convert(&s, body, scan.all.records, delta);
		convert(&s, body, scan.all.records, delta);
		prometheus_delta_free(delta);
	}
	arena_done(&arena);
	return 0;
}
