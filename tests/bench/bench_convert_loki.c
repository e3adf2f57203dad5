/* bench_convert_loki - how many log records a second one core turns into a Loki push, compressed.
 *
 * Prints, for each format: records per second, bytes per record of the request, of the push before
 * compression and on the wire. The same request of 2,000 records of two resources is converted
 * again and again, as a destination does with its batches. Seconds are the thread's CPU time. */
#include <stdio.h>
#include <time.h>

#include "gateway/base/compression.h"
#include "gateway/forward/loki_convert.h"
#include "tests/support/otlp_build.h"

enum { RECORDS = 2000, ROUNDS = 200, GZIP_LEVEL = 3 };

static double cpu_seconds(void)
{
	struct timespec t;
	CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) == 0);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void run(struct bytes otlp, bool is_json)
{
	struct loki_form form = { .labels = { { .attribute = bytes_str("service.name"),
						.name = bytes_str("service_name") } },
				  .label_count = 1,
				  .max_line = 256 * 1024,
				  .is_json = is_json };
	struct loki_member member = { .raw_bytes = otlp.n, .received_at_ns = 1 };
	struct loki_source source = {
		.otlp = otlp, .class = RECORD_CLASS_INFO, .members = &member, .member_count = 1
	};
	struct compressor *gzip = compressor_new(ENCODING_GZIP, GZIP_LEVEL);
	size_t text_bytes = 0;
	size_t wire_bytes = 0;
	double start = cpu_seconds();
	for (int i = 0; i < ROUNDS; i++) {
		struct loki_push push;
		struct buf text;
		struct buf wire;
		buf_init(&text, 1 << 26, NULL);
		buf_init(&wire, 1 << 26, NULL);
		CHECK(loki_convert(&form, &source, &text, &push, NULL) == ST_OK);
		CHECK(push.entries == RECORDS && !push.is_too_large);
		CHECK((is_json ? compress_append(gzip, buf_view(&text), &wire) :
				 snappy_append(buf_view(&text), &wire)) == ST_OK);
		text_bytes = text.n;
		wire_bytes = wire.n;
		buf_done(&text);
		buf_done(&wire);
	}
	double seconds = cpu_seconds() - start;
	printf("loki %-8s %4.0f thousand records/s  bytes/record: OTLP %zu, push %zu, wire %zu\n",
	       is_json ? "json" : "protobuf", RECORDS * (double)ROUNDS / seconds / 1e3,
	       otlp.n / RECORDS, text_bytes / RECORDS, wire_bytes / RECORDS);
	compressor_free(gzip);
}

int main(void)
{
	struct otlp_build b = {
		.signal = SIGNAL_LOGS, .records = RECORDS, .resources = 2, .seed = 1
	};
	struct buf otlp;
	buf_init(&otlp, 1 << 24, NULL);
	otlp_build(&b, &otlp);
	run(buf_view(&otlp), false);
	run(buf_view(&otlp), true);
	buf_done(&otlp);
	return 0;
}
