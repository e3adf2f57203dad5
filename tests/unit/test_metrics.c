/* What metrics promise: exact counts from any number of threads, and text that Prometheus reads. */
#include <pthread.h>
#include <stdio.h>

#include "gateway/base/metrics.h"
#include "tests/support/expect.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *write_all(struct buf *out)
{
	buf_init(out, 1 << 20, NULL);
	EXPECT_OK(metrics_write(out));
	EXPECT_OK(buf_append_byte(out, '\0'));
	return (const char *)out->p;
}

static void expect_line(const char *text, const char *line)
{
	const char *found = strstr(text, line);
	ck_assert_msg(found && (found == text || found[-1] == '\n') && found[strlen(line)] == '\n',
		      "no line %s in\n%s", line, text);
}

START_TEST(a_series_is_found_again_and_written_with_its_labels)
{
	struct series *s = metric_series(M_RECEIVER_ACCEPTED_SPANS, "otlp", "grpc");
	ck_assert_ptr_eq(s, metric_series(M_RECEIVER_ACCEPTED_SPANS, "otlp", "grpc"));
	ck_assert_ptr_ne(s, metric_series(M_RECEIVER_ACCEPTED_SPANS, "otlp", "http"));
	series_add(s, 3);
	series_add(s, 4);
	ck_assert(series_value(s) == 7);
	series_set(metric_series(M_WAL_BYTES), 4096);
	series_set(metric_series(M_DESTINATION_OLDEST_AGE, "a\"b\\c\nd"), 1.5);
	struct buf out;
	const char *text = write_all(&out);
	expect_line(text, "# TYPE otelcol_receiver_accepted_spans counter");
	expect_line(text,
		    "otelcol_receiver_accepted_spans{receiver=\"otlp\",transport=\"grpc\"} 7");
	expect_line(text,
		    "otelcol_receiver_accepted_spans{receiver=\"otlp\",transport=\"http\"} 0");
	expect_line(text, "# TYPE tidegate_queue_wal_bytes gauge");
	expect_line(text, "tidegate_queue_wal_bytes 4096");
	expect_line(text, "tidegate_destination_oldest_age_seconds{destination="
			  "\"a\\\"b\\\\c\\nd\"} 1.5");
	/* A metric that nobody asked for has no lines. */
	ck_assert_ptr_null(strstr(text, "tidegate_build_info"));
	buf_done(&out);
}
END_TEST

START_TEST(a_histogram_counts_into_cumulative_buckets)
{
	struct series *s = metric_series(M_COMMIT_SECONDS);
	series_observe(s, 0.0001); /* bounds are inclusive */
	series_observe(s, 0.003);
	series_observe(s, 100);
	ck_assert(series_value(s) == 3);
	struct buf out;
	const char *text = write_all(&out);
	expect_line(text, "# TYPE tidegate_commit_duration_seconds histogram");
	expect_line(text, "tidegate_commit_duration_seconds_bucket{le=\"0.0001\"} 1");
	expect_line(text, "tidegate_commit_duration_seconds_bucket{le=\"0.0025\"} 1");
	expect_line(text, "tidegate_commit_duration_seconds_bucket{le=\"0.005\"} 2");
	expect_line(text, "tidegate_commit_duration_seconds_bucket{le=\"30\"} 2");
	expect_line(text, "tidegate_commit_duration_seconds_bucket{le=\"+Inf\"} 3");
	expect_line(text, "tidegate_commit_duration_seconds_sum 100.0031");
	expect_line(text, "tidegate_commit_duration_seconds_count 3");
	buf_done(&out);
}
END_TEST

/* Unix times with a fraction, as of the gauges that end in _timestamp_seconds. */
START_TEST(a_time_keeps_its_milliseconds)
{
	struct buf out;
	series_set(metric_series(M_DESTINATION_STATE_SINCE, "a"), 1795487754.956);
	expect_line(write_all(&out), "tidegate_destination_state_since_timestamp_seconds{"
				     "destination=\"a\"} 1795487754.956");
	buf_done(&out);
}
END_TEST

START_TEST(series_without_end_share_one)
{
	struct series *last = NULL;
	for (int i = 0; i < METRIC_SERIES_MAX + 50; i++) {
		char name[32];
		(void)snprintf(name, sizeof(name), "d%d", i);
		last = metric_series(M_DESTINATION_SENT_BYTES, name);
	}
	ck_assert_ptr_eq(last, metric_series(M_DESTINATION_SENT_BYTES, "one more"));
	ck_assert_ptr_eq(last, metric_series(M_DESTINATION_SENT_BYTES, "other"));
	ck_assert_ptr_ne(last, metric_series(M_DESTINATION_SENT_BYTES, "d0"));
	struct buf out;
	const char *p = write_all(&out);
	int lines = 0;
	while ((p = strstr(p, "tidegate_destination_sent_bytes{"))) {
		lines++;
		p++;
	}
	ck_assert_int_eq(lines, METRIC_SERIES_MAX);
	buf_done(&out);
}
END_TEST

START_TEST(text_past_the_cap_is_an_error_and_not_half_a_page)
{
	struct buf out;
	(void)metric_series(M_WAL_BYTES);
	buf_init(&out, 64, NULL);
	EXPECT_STATUS(metrics_write(&out), ST_TOO_LARGE);
	buf_done(&out);
}
END_TEST

enum { THREADS = 4, ADDS = 20000 };

static void *add_many(void *arg)
{
	(void)arg;
	for (int i = 0; i < ADDS; i++) {
		series_add(metric_series(M_COMMITS, i % 2 ? "ok" : "failed"), 1);
		series_observe(metric_series(M_CHECKPOINT_SECONDS), 0.5);
	}
	return NULL;
}

START_TEST(no_count_is_lost_between_threads)
{
	pthread_t threads[THREADS];
	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, add_many, NULL), 0);
	struct buf out;
	for (int i = 0; i < 20; i++) {
		(void)write_all(&out);
		buf_done(&out);
	}
	for (int i = 0; i < THREADS; i++)
		(void)pthread_join(threads[i], NULL);
	ck_assert(series_value(metric_series(M_COMMITS, "ok")) == THREADS * ADDS / 2);
	ck_assert(series_value(metric_series(M_COMMITS, "failed")) == THREADS * ADDS / 2);
	ck_assert(series_value(metric_series(M_CHECKPOINT_SECONDS)) == THREADS * ADDS);
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		a_series_is_found_again_and_written_with_its_labels,
		a_histogram_counts_into_cumulative_buckets,
		a_time_keeps_its_milliseconds,
		series_without_end_share_one,
		text_past_the_cap_is_an_error_and_not_half_a_page,
		no_count_is_lost_between_threads,
	};
	return run_cases("metrics", cases, COUNT(cases));
}
