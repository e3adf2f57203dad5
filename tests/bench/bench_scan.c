/* bench_scan - how many records a second one core scans and sorts.
 *
 * Prints, for each signal: bytes per record, and records per second of scan_request alone, and of
 * scan_request with sort_request where one attribute is inserted and 5 % of the records are
 * critical. One request of 100 records is scanned again and again, as a receiver does with warm
 * caches. Seconds are the thread's CPU time. */
#include <stdio.h>
#include <time.h>

#include "gateway/telemetry/sort.h"
#include "tests/support/otlp_build.h"

enum { RECORDS = 100, ROUNDS = 20000 };

/* This thread's, so that other work on the machine does not count. */
static double cpu_seconds(void)
{
	struct timespec t;
	CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) == 0);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double rate(enum signal signal, struct bytes body, const struct attributes *add)
{
	struct arena arena;
	arena_init(&arena, 1 << 20, NULL);
	struct buf out;
	buf_init(&out, 1 << 20, NULL);
	double start = cpu_seconds();
	for (int i = 0; i < ROUNDS; i++) {
		struct scan scan;
		struct sorted sorted;
		CHECK(scan_request(signal, body, add, &arena, &scan, NULL) == ST_OK);
		CHECK(scan.all.records == RECORDS);
		if (add)
			CHECK(sort_request(&scan, add, &out, &sorted) == ST_OK);
		arena_clear(&arena);
		buf_clear(&out);
	}
	double seconds = cpu_seconds() - start;
	arena_done(&arena);
	buf_done(&out);
	return RECORDS * (double)ROUNDS / seconds;
}

int main(void)
{
	static struct attributes add;
	CHECK(attributes_insert(&add, "site", "plant-7", NULL) == ST_OK);
	for (int i = 0; i < SIGNAL_COUNT; i++) {
		enum signal signal = (enum signal)i;
		struct otlp_build b = { .signal = signal, .records = RECORDS, .seed = 1 };
		struct buf plain;
		struct buf mixed;
		buf_init(&plain, 1 << 20, NULL);
		buf_init(&mixed, 1 << 20, NULL);
		otlp_build(&b, &plain);
		b.critical_percent = 5;
		otlp_build(&b, &mixed);
		double scanned = rate(signal, buf_view(&plain), NULL);
		printf("%-8s %4zu bytes/record  scan %5.2f M/s (%5.0f MB/s)  scan+sort %5.2f M/s\n",
		       signal_text(signal), plain.n / RECORDS, scanned / 1e6,
		       scanned * (double)plain.n / RECORDS / 1e6,
		       rate(signal, buf_view(&mixed), &add) / 1e6);
		buf_done(&plain);
		buf_done(&mixed);
	}
	attributes_done(&add);
	return 0;
}
