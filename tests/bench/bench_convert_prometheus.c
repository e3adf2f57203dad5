/* bench_convert_prometheus - how many samples a second one core turns into remote write,
 * compressed.
 *
 * Two requests: `counters` is what a host agent sends, 40 cumulative sums of 100 points with four
 * attributes each (deltas: the same as delta sums); `mixed` is 2,000 metrics of one point each,
 * gauges, sums and histograms in turn, every point with an attribute of its own. Each is converted
 * again and again, as a destination does with its batches. Prints samples and data points per
 * second, and bytes per sample before compression and on the wire. Seconds are the thread's CPU
 * time. */
#include <stdio.h>
#include <time.h>

#include "gateway/base/compression.h"
#include "gateway/forward/prometheus_convert.h"
#include "gateway/forward/prometheus_write.h"
#include "gateway/telemetry/wire.h"
#include "tests/support/otlp_build.h"

enum { METRICS = 40, POINTS = 100, MIXED = 2000, ROUNDS = 200, ROOM = 1 << 26 };

static struct buf out;

static double cpu_seconds(void)
{
	struct timespec t;
	CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) == 0);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct wire_open open_field(uint32_t number)
{
	struct wire_open open;
	CHECK(wire_begin(&out, number, 200, &open) == ST_OK);
	return open;
}

static void close_field(struct wire_open open)
{
	CHECK(wire_end(&out, &open) == ST_OK);
}

static void put_attribute(const char *key, int value)
{
	char text[32];
	(void)snprintf(text, sizeof(text), "%s-%02d", key, value);
	struct wire_open pair = open_field(7);
	CHECK(wire_put_bytes(&out, 1, bytes_str(key)) == ST_OK);
	struct wire_open any = open_field(2);
	CHECK(wire_put_bytes(&out, 1, bytes_str(text)) == ST_OK);
	close_field(any);
	close_field(pair);
}

static void put_point(int i, uint64_t time_ns)
{
	struct wire_open point = open_field(1);
	CHECK(wire_put_tag(&out, 2, WIRE_FIXED64) == ST_OK && wire_put_fixed64(&out, 1) == ST_OK);
	CHECK(wire_put_tag(&out, 3, WIRE_FIXED64) == ST_OK &&
	      wire_put_fixed64(&out, time_ns) == ST_OK);
	CHECK(wire_put_tag(&out, 6, WIRE_FIXED64) == ST_OK &&
	      wire_put_fixed64(&out, (uint64_t)i * 7919) == ST_OK);
	put_attribute("cpu.number", i % 10);
	put_attribute("device.name", i / 10);
	put_attribute("host.name", 7);
	put_attribute("state", i % 3);
	close_field(point);
}

/* The metrics of one resource. */
static void build_counters(uint64_t temporality, uint64_t time_ns)
{
	buf_clear(&out);
	struct wire_open resource = open_field(1);
	struct wire_open scope = open_field(2);
	for (int m = 0; m < METRICS; m++) {
		char name[40];
		(void)snprintf(name, sizeof(name), "system.something.time.%d", m);
		struct wire_open metric = open_field(2);
		CHECK(wire_put_bytes(&out, 1, bytes_str(name)) == ST_OK);
		CHECK(wire_put_bytes(&out, 3, bytes_str("s")) == ST_OK);
		struct wire_open sum = open_field(7);
		CHECK(wire_put_number(&out, 2, temporality) == ST_OK);
		CHECK(wire_put_number(&out, 3, 1) == ST_OK);
		for (int i = 0; i < POINTS; i++)
			put_point(i, time_ns);
		close_field(sum);
		close_field(metric);
	}
	close_field(scope);
	close_field(resource);
}

struct total {
	double seconds;
	double samples;
	double raw_bytes;
	double wire_bytes;
};

static void convert(enum prometheus_protocol protocol, struct prometheus_delta *delta,
		    struct total *t)
{
	const struct prometheus_settings s = { .naming = { true, true },
					       .has_metadata = protocol == PROMETHEUS_WRITE_2,
					       .seeds = { 1, 2, 3 } };
	const struct prometheus_input in = { .otlp = buf_view(&out) };
	struct prometheus_changes *changes = prometheus_changes_new(ROOM, NULL);
	struct prometheus_delta_counts counts;
	struct prometheus_tally tally;
	struct prometheus_batch b;
	struct arena arena;
	struct buf raw;
	struct buf wire;
	double start = cpu_seconds();
	arena_init(&arena, ROOM, NULL);
	buf_init(&raw, ROOM, NULL);
	buf_init(&wire, ROOM, NULL);
	CHECK(prometheus_series_init(&b, &s.naming, s.seeds[0], &arena) == ST_OK);
	CHECK(prometheus_convert(&s, &in, delta, changes, &b, &tally) == ST_OK);
	CHECK(prometheus_write(protocol, &b, &raw) == ST_OK);
	CHECK(snappy_append(buf_view(&raw), &wire) == ST_OK);
	prometheus_delta_commit(delta, changes, &counts);
	t->samples += (double)(b.values + b.histograms);
	t->raw_bytes += (double)raw.n;
	t->wire_bytes += (double)wire.n;
	prometheus_series_done(&b);
	arena_done(&arena);
	buf_done(&raw);
	buf_done(&wire);
	t->seconds += cpu_seconds() - start;
}

static void print(const char *name, enum prometheus_protocol protocol, double points,
		  const struct total *t)
{
	printf("remote write %s %-8s %5.0f thousand samples/s, %5.0f thousand points/s  "
	       "bytes/sample: %3.0f, wire %4.1f\n",
	       protocol == PROMETHEUS_WRITE_2 ? "2.0" : "1.0", name, t->samples / t->seconds / 1e3,
	       points * ROUNDS / t->seconds / 1e3, t->raw_bytes / t->samples,
	       t->wire_bytes / t->samples);
}

static void run_counters(const char *name, enum prometheus_protocol protocol, uint64_t temporality)
{
	struct prometheus_delta *delta = prometheus_delta_new(ROOM);
	struct total t = { 0 };
	for (uint64_t i = 0; i < ROUNDS; i++) {
		build_counters(temporality, UINT64_C(1790000000000000000) + i * 1000000000);
		convert(protocol, delta, &t);
	}
	print(name, protocol, METRICS * POINTS, &t);
	prometheus_delta_free(delta);
}

static void run_mixed(enum prometheus_protocol protocol)
{
	const struct otlp_build mixed = { .signal = SIGNAL_METRICS, .records = MIXED, .seed = 1 };
	struct prometheus_delta *delta = prometheus_delta_new(ROOM);
	struct total t = { 0 };
	buf_clear(&out);
	otlp_build(&mixed, &out);
	for (int i = 0; i < ROUNDS; i++)
		convert(protocol, delta, &t);
	print("mixed", protocol, MIXED, &t);
	prometheus_delta_free(delta);
}

int main(void)
{
	buf_init(&out, ROOM, NULL);
	for (int i = 0; i < 2; i++) {
		enum prometheus_protocol protocol = (enum prometheus_protocol)i;
		run_counters("counters", protocol, 2);
		run_counters("deltas", protocol, 1);
		run_mixed(protocol);
	}
	buf_done(&out);
	return 0;
}
