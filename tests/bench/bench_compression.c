/* bench_compression.c - what a stored span costs in CPU and bytes, by encoding and level.
 *
 * Requests of 100 spans or log records are compressed as the packer does it: in rows of 512 KiB,
 * and each request alone (what a lone request on a quiet gateway gets). One thread, its own CPU
 * time. */
#include <stdio.h>
#include <time.h>

#include "gateway/base/compression.h"
#include "tests/support/otlp_build.h"

enum { REQUESTS = 128, RECORDS = 100, ROUNDS = 3 };

static struct buf bodies[REQUESTS];

static double cpu_s(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void measure(enum encoding encoding, int level, size_t merge)
{
	struct compressor *c = compressor_new(encoding, level);
	struct buf out;
	size_t raw = 0;
	size_t stored = 0;
	buf_init(&out, SIZE_MAX, NULL);
	double start = cpu_s();
	for (int round = 0; round < ROUNDS; round++) {
		for (size_t i = 0; i < REQUESTS; i += merge) {
			struct bytes parts[REQUESTS];
			for (size_t k = 0; k < merge; k++) {
				parts[k] = buf_view(&bodies[i + k]);
				raw += parts[k].n;
			}
			buf_clear(&out);
			CHECK(compress_parts(c, parts, merge, &out) == ST_OK);
			stored += out.n;
		}
	}
	double took = cpu_s() - start;
	double records = (double)ROUNDS * REQUESTS * RECORDS;
	(void)printf("| %s %d | %zu | %.2f | %.0f | %.3f |\n", encoding_text(encoding), level,
		     merge * RECORDS, took * 1e6 / records, (double)stored / records,
		     (double)stored / (double)raw);
	buf_done(&out);
	compressor_free(c);
}

int main(void)
{
	static const struct {
		enum encoding encoding;
		int level;
	} ways[] = {
		{ ENCODING_NONE, 0 },  { ENCODING_GZIP, 1 },  { ENCODING_GZIP, 6 },
		{ ENCODING_ZSTD, -7 }, { ENCODING_ZSTD, -5 }, { ENCODING_ZSTD, -3 },
		{ ENCODING_ZSTD, 1 },  { ENCODING_ZSTD, 3 },  { ENCODING_ZSTD, 6 },
	};
	for (enum signal signal = 0; signal < SIGNAL_COUNT; signal++) {
		for (size_t i = 0; i < REQUESTS; i++) {
			struct otlp_build what = { .signal = signal,
						   .records = RECORDS,
						   .seed = i + 1 };
			buf_done(&bodies[i]);
			buf_init(&bodies[i], SIZE_MAX, NULL);
			otlp_build(&what, &bodies[i]);
		}
		(void)printf("\n%s, %.0f bytes a record\n\n| encoding | records together | CPU us "
			     "| stored bytes | ratio |\n"
			     "| --- | --- | --- | --- | --- |\n",
			     signal_noun(signal), (double)bodies[0].n / RECORDS);
		for (size_t w = 0; w < sizeof(ways) / sizeof(ways[0]); w++) {
			measure(ways[w].encoding, ways[w].level, 1);
			measure(ways[w].encoding, ways[w].level, 16);
		}
	}
	return 0;
}
