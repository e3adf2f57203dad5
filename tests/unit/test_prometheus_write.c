/* The size of a remote write request: no more than receivers decompress. */
#include "gateway/forward/prometheus_write.h"

#include <stdio.h>

#include "tests/support/expect.h"

enum { SERIES = 3000, JOB = 12 * 1024 };

/* One sample each in many series that share a long label. */
static void fill(struct prometheus_batch *b, const struct prometheus_naming *naming,
		 struct arena *arena)
{
	static const struct prometheus_metadata metadata = { .type = PROMETHEUS_TYPE_GAUGE };
	static const struct prometheus_sample sample = { .time_ms = 100, .value = 1 };
	char job[JOB];
	char key[16];
	uint32_t labels[3];
	uint32_t series;
	memset(job, 'j', JOB);
	EXPECT_OK(prometheus_series_init(b, naming, 1, arena));
	EXPECT_OK(prometheus_labels_add(&b->labels, bytes_str("__name__"), bytes_str("g"),
					&labels[0]));
	EXPECT_OK(prometheus_labels_add(&b->labels, bytes_str("job"), bytes_of(job, JOB),
					&labels[1]));
	for (int i = 0; i < SERIES; i++) {
		(void)snprintf(key, sizeof(key), "%d", i);
		EXPECT_OK(prometheus_labels_add(&b->labels, bytes_str("k"), bytes_str(key),
						&labels[2]));
		EXPECT_OK(prometheus_series_find(b, labels, 3, false, &metadata, &series));
		EXPECT_OK(prometheus_series_sample(b, series, &sample));
	}
	EXPECT_OK(prometheus_series_finish(b));
}

/* 1.0 says the labels with each series, 2.0 once. */
START_TEST(more_than_a_receiver_decompresses_is_not_written)
{
	static const struct prometheus_naming naming = { true, true };
	struct prometheus_batch b;
	struct arena arena;
	struct buf out;
	arena_init(&arena, 64 << 20, NULL);
	buf_init(&out, SIZE_MAX, NULL);
	fill(&b, &naming, &arena);
	ck_assert_int_eq(b.oldest_ms, 100);
	EXPECT_STATUS(prometheus_write(PROMETHEUS_WRITE_1, &b, &out), ST_TOO_LARGE);
	buf_clear(&out);
	EXPECT_OK(prometheus_write(PROMETHEUS_WRITE_2, &b, &out));
	ck_assert_uint_lt(out.n, PROMETHEUS_WRITE_MAX);
	buf_done(&out);
	prometheus_series_done(&b);
	arena_done(&arena);
}
END_TEST

int main(void)
{
	const TTest *const cases[] = { more_than_a_receiver_decompresses_is_not_written };
	return run_cases("prometheus_write", cases, 1);
}
