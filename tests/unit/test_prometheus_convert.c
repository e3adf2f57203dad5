/* Each kind of metric as series, in text: what is in them, what is left out and why, what deltas
 * add up to. Times are in milliseconds from the epoch, small ones, so that they can be read.
 *
 * large file: one builder of requests and one printer of series for all kinds of points. */
#include "gateway/forward/prometheus_convert.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "gateway/base/now.h"
#include "gateway/forward/prometheus_write.h"
#include "gateway/telemetry/any_value.h"
#include "gateway/telemetry/wire.h"
#include "tests/support/expect.h"

enum { DELTA = 1, CUMULATIVE = 2, DEPTH = 8 };

static struct buf in;
static struct wire_open open[DEPTH];
static int depth;
static struct buf text;
static struct arena arena;
static struct prometheus_batch batch;
static struct prometheus_tally tally;
static struct prometheus_settings settings;
static struct prometheus_delta *delta;
static struct prometheus_changes *changes;

static void begin(void)
{
	buf_init(&in, 1 << 20, NULL);
	buf_init(&text, 1 << 20, NULL);
	settings = (struct prometheus_settings){ .naming = { true, true }, .seeds = { 1, 2, 3 } };
	delta = prometheus_delta_new(1 << 20);
	depth = 0;
}

static void end(void)
{
	buf_done(&in);
	buf_done(&text);
	prometheus_changes_free(changes);
	changes = NULL;
	prometheus_delta_free(delta);
}

/* ---- a request, by hand ---- */

static void down(uint32_t number)
{
	EXPECT_OK(wire_begin(&in, number, 100, &open[depth++]));
}

static void up(int levels)
{
	while (levels--)
		EXPECT_OK(wire_end(&in, &open[--depth]));
}

static void put_text(uint32_t number, const char *s)
{
	EXPECT_OK(wire_put_bytes(&in, number, bytes_str(s)));
}

static void put_fixed(uint32_t number, uint64_t v)
{
	EXPECT_OK(wire_put_tag(&in, number, WIRE_FIXED64));
	EXPECT_OK(wire_put_fixed64(&in, v));
}

static void put_double(uint32_t number, double v)
{
	uint64_t bits;
	memcpy(&bits, &v, sizeof(bits));
	put_fixed(number, bits);
}

static void put_attribute(uint32_t number, const char *key, const char *value)
{
	down(number);
	put_text(1, key);
	down(2);
	put_text(1, value);
	up(2);
}

/* Down to the metric; four levels with request_end. */
static void request_begin(const char *metric, const char *unit)
{
	down(1);
	down(1);
	put_attribute(1, "service.name", "shop");
	up(1);
	down(2);
	down(2);
	put_text(1, metric);
	put_text(3, unit);
}

static void request_end(void)
{
	up(3);
}

static void data_begin(uint32_t kind, uint64_t temporality)
{
	down(kind);
	if (temporality)
		EXPECT_OK(wire_put_number(&in, 2, temporality));
}

static void put_times(uint64_t start_ms, uint64_t time_ms)
{
	put_fixed(2, start_ms * (uint64_t)NS_PER_MS);
	put_fixed(3, time_ms * (uint64_t)NS_PER_MS);
}

static void put_number(uint64_t start_ms, uint64_t time_ms, double value)
{
	down(1);
	put_times(start_ms, time_ms);
	put_double(4, value);
	up(1);
}

static void put_sum(const char *name, uint64_t temporality, bool is_monotonic, uint64_t start_ms,
		    uint64_t time_ms, double value)
{
	request_begin(name, "");
	data_begin(7, temporality);
	if (is_monotonic)
		EXPECT_OK(wire_put_number(&in, 3, 1));
	put_number(start_ms, time_ms, value);
	up(1);
	request_end();
}

/* ---- the result, as text ---- */

static void print_series(const struct prometheus_series *s)
{
	const struct prometheus_labels *l = &batch.labels;
	char number[NUMBER_TEXT_MAX];
	for (uint32_t i = 0; i < s->label_count; i++) {
		struct bytes name = prometheus_labels_name(l, s->labels[i]);
		struct bytes value = prometheus_labels_text(l, l->labels[s->labels[i]].value);
		if (i)
			ck_assert_int_lt(prometheus_labels_compare(
						 prometheus_labels_name(l, s->labels[i - 1]), name),
					 0);
		if (!bytes_equal(name, bytes_str("job")))
			EXPECT_OK(buf_printf(&text, "%.*s=%.*s ", (int)name.n, name.p, (int)value.n,
					     value.p));
	}
	for (uint32_t k = s->first_exemplar; k; k = batch.exemplars[k].next) {
		number[any_value_fixed(batch.exemplars[k].value, number)] = '\0';
		EXPECT_OK(buf_printf(&text, "!%s ", number));
	}
	int64_t last = INT64_MIN;
	for (uint32_t k = s->first; k; k = batch.samples[k].next) {
		const struct prometheus_sample *x = &batch.samples[k];
		ck_assert_int_gt(x->time_ms, last);
		last = x->time_ms;
		double v = x->histogram ? (double)x->histogram->count : x->value;
		number[any_value_fixed(v, number)] = '\0';
		EXPECT_OK(buf_printf(&text, "%" PRId64 ":%s", x->time_ms, number));
		if (x->start_ms)
			EXPECT_OK(buf_printf(&text, "<%" PRId64, x->start_ms));
		EXPECT_OK(buf_append_str(&text, " "));
	}
	EXPECT_OK(buf_append_str(&text, "\n"));
}

static enum status convert(size_t room)
{
	const struct prometheus_origin origin = { SIZE_MAX, 77 * NS_PER_MS };
	const struct prometheus_input input = { buf_view(&in), &origin, 1 };
	arena_init(&arena, room, NULL);
	prometheus_changes_free(changes);
	changes = prometheus_changes_new(room, NULL);
	enum status st = prometheus_series_init(&batch, &settings.naming, 1, &arena);
	if (!st)
		st = prometheus_convert(&settings, &input, delta, changes, &batch, &tally);
	return st;
}

static void convert_done(void)
{
	prometheus_series_done(&batch);
	arena_done(&arena);
}

/* Converts what is in the request, and forgets it. */
static void check(const char *want)
{
	EXPECT_OK(convert(1 << 20));
	buf_clear(&text);
	for (uint32_t i = 1; i < batch.series_count; i++)
		print_series(&batch.series[i]);
	EXPECT_OK(buf_append_byte(&text, 0));
	ck_assert_str_eq((char *)text.p, want);
	convert_done();
	buf_clear(&in);
}

static void deliver(void)
{
	struct prometheus_delta_counts counts;
	prometheus_delta_commit(delta, changes, &counts);
	changes = NULL;
}

/* ---- numbers ---- */

START_TEST(a_gauge_is_one_sample)
{
	begin();
	request_begin("room.temperature", "Cel");
	data_begin(5, 0);
	down(1);
	put_attribute(7, "room", "a");
	put_attribute(7, "empty", "");
	put_attribute(7, "Floor", "1");
	put_attribute(7, "__name__", "other");
	put_times(5, 100);
	put_fixed(6, (uint64_t)-3);
	up(2);
	request_end();
	check("Floor=1 __name__=room_temperature_celsius room=a 100:-3 \n");
	end();
}
END_TEST

START_TEST(a_sum_is_a_counter_or_a_gauge)
{
	begin();
	put_sum("requests", CUMULATIVE, true, 50, 100, 7);
	put_sum("level", CUMULATIVE, false, 50, 100, 8);
	check("__name__=requests_total 100:7<50 \n__name__=level 100:8<50 \n");
	end();
}
END_TEST

START_TEST(labels_that_collide_are_joined_in_the_order_of_their_keys)
{
	begin();
	request_begin("g", "");
	data_begin(5, 0);
	down(1);
	put_attribute(7, "a_b", "3");
	put_attribute(7, "a.b", "2");
	put_attribute(7, "a-b", "1");
	put_attribute(7, "a/b", "");
	put_double(4, 1);
	up(2);
	request_end();
	/* No time: that of its arrival. */
	check("__name__=g a_b=1;2;3 77:1 \n");
	end();
}
END_TEST

START_TEST(samples_are_sorted_and_the_last_of_a_millisecond_stays)
{
	begin();
	request_begin("g", "");
	data_begin(5, 0);
	put_number(0, 300, 3);
	put_number(0, 100, 1);
	put_number(0, 300, 4);
	put_number(0, 200, 2);
	put_number(0, 200, 2);
	up(1);
	request_end();
	check("__name__=g 100:1 200:2 300:4 \n");
	/* The twin of 200 was delivered; 3 was not. */
	ck_assert_uint_eq(tally.left_out[PROMETHEUS_LEFT_DUPLICATE], 1);
	end();
}
END_TEST

START_TEST(no_recorded_value_is_a_stale_marker)
{
	begin();
	request_begin("g", "");
	data_begin(5, 0);
	down(1);
	put_times(0, 100);
	EXPECT_OK(wire_put_number(&in, 8, 1));
	up(2);
	request_end();
	EXPECT_OK(convert(1 << 20));
	uint64_t bits;
	memcpy(&bits, &batch.samples[1].value, sizeof(bits));
	ck_assert_uint_eq(bits, UINT64_C(0x7ff0000000000002));
	convert_done();
	end();
}
END_TEST

START_TEST(what_has_no_words_is_left_out)
{
	static const enum prometheus_left whys[] = { PROMETHEUS_LEFT_NAME,
						     PROMETHEUS_LEFT_TEMPORALITY,
						     PROMETHEUS_LEFT_VALUE };
	begin();
	put_sum("\xc3\xbc", CUMULATIVE, false, 50, 100, 7);
	put_sum("x", 0, true, 50, 100, 7);
	request_begin("y", "");
	data_begin(5, 0);
	down(1);
	put_times(0, 100);
	up(2);
	request_end();
	check("");
	for (size_t i = 0; i < sizeof(whys) / sizeof(whys[0]); i++) {
		ck_assert_uint_eq(tally.left_out[whys[i]], 1);
		ck_assert(prometheus_left_word(whys[i])[0] && prometheus_left_text(whys[i])[0]);
	}
	end();
}
END_TEST

/* ---- histograms and summaries ---- */

static void put_histogram(uint64_t temporality, uint64_t start_ms, uint64_t time_ms, uint64_t first,
			  double bound)
{
	request_begin("h", "s");
	data_begin(9, temporality);
	down(1);
	put_times(start_ms, time_ms);
	put_fixed(4, first + 3);
	put_double(5, 1.5);
	/* Packed and not, as both are legal. */
	down(6);
	EXPECT_OK(wire_put_fixed64(&in, first));
	EXPECT_OK(wire_put_fixed64(&in, 2));
	up(1);
	put_fixed(6, 1);
	put_double(7, bound);
	put_double(7, 10);
	put_attribute(9, "le", "mine");
	up(2);
	request_end();
}

static void put_exemplar(uint32_t number, double value)
{
	down(number);
	put_fixed(2, 60 * (uint64_t)NS_PER_MS);
	put_double(3, value);
	up(1);
}

/* Whatever came before it in the request. */
START_TEST(an_exemplar_is_on_the_series_of_its_own_point)
{
	begin();
	request_begin("h", "s");
	data_begin(9, CUMULATIVE);
	down(1);
	put_times(50, 100);
	put_fixed(4, 3);
	put_fixed(6, 1);
	put_fixed(6, 2);
	put_double(7, 5);
	put_exemplar(8, 4);
	up(2);
	request_end();
	request_begin("requests", "");
	data_begin(7, CUMULATIVE);
	EXPECT_OK(wire_put_number(&in, 3, 1));
	down(1);
	put_times(50, 100);
	put_double(4, 7);
	put_exemplar(5, 1);
	up(2);
	request_end();
	check("__name__=h_seconds_bucket le=5 !4 100:1<50 \n"
	      "__name__=h_seconds_bucket le=+Inf 100:3<50 \n"
	      "__name__=h_seconds_count 100:3<50 \n"
	      "__name__=requests_total !1 100:7<50 \n");
	end();
}
END_TEST

START_TEST(a_histogram_is_buckets_sum_and_count)
{
	begin();
	put_histogram(CUMULATIVE, 50, 100, 4, 0.25);
	check("__name__=h_seconds_bucket le=0.25 100:4<50 \n"
	      "__name__=h_seconds_bucket le=10 100:6<50 \n"
	      "__name__=h_seconds_bucket le=+Inf 100:7<50 \n"
	      "__name__=h_seconds_count 100:7<50 \n"
	      "__name__=h_seconds_sum 100:1.5<50 \n");
	end();
}
END_TEST

START_TEST(a_delta_histogram_adds_up_and_begins_anew_with_other_bounds)
{
	begin();
	put_histogram(DELTA, 50, 100, 4, 0.25);
	check("__name__=h_seconds_bucket le=0.25 51:0<50 100:4<50 \n"
	      "__name__=h_seconds_bucket le=10 51:0<50 100:6<50 \n"
	      "__name__=h_seconds_bucket le=+Inf 51:0<50 100:7<50 \n"
	      "__name__=h_seconds_count 51:0<50 100:7<50 \n"
	      "__name__=h_seconds_sum 51:0<50 100:1.5<50 \n");
	deliver();
	put_histogram(DELTA, 100, 200, 1, 0.25);
	check("__name__=h_seconds_bucket le=0.25 200:5<50 \n"
	      "__name__=h_seconds_bucket le=10 200:9<50 \n"
	      "__name__=h_seconds_bucket le=+Inf 200:11<50 \n"
	      "__name__=h_seconds_count 200:11<50 \n"
	      "__name__=h_seconds_sum 200:3<50 \n");
	deliver();
	put_histogram(DELTA, 200, 300, 1, 0.5);
	check("__name__=h_seconds_bucket le=0.5 300:1<200 \n"
	      "__name__=h_seconds_bucket le=10 300:3<200 \n"
	      "__name__=h_seconds_bucket le=+Inf 300:4<200 \n"
	      "__name__=h_seconds_count 300:4<200 \n"
	      "__name__=h_seconds_sum 300:1.5<200 \n");
	end();
}
END_TEST

START_TEST(a_summary_is_quantiles_sum_and_count)
{
	begin();
	request_begin("s", "ms");
	data_begin(11, 0);
	down(1);
	put_times(50, 100);
	put_fixed(4, 9);
	put_double(5, 4.5);
	down(6);
	put_double(1, 0.99);
	put_double(2, 7);
	up(3);
	request_end();
	check("__name__=s_milliseconds quantile=0.99 100:7<50 \n"
	      "__name__=s_milliseconds_sum 100:4.5<50 \n"
	      "__name__=s_milliseconds_count 100:9<50 \n");
	end();
}
END_TEST

static void put_exponential(uint64_t temporality, uint64_t time_ms, int32_t scale, int32_t offset,
			    const uint8_t *counts, size_t n, uint64_t count)
{
	request_begin("e", "");
	data_begin(10, temporality);
	down(1);
	put_times(50, time_ms);
	put_fixed(4, count);
	put_double(5, 2.5);
	EXPECT_OK(wire_put_number(&in, 6, wire_zigzag(scale)));
	down(8);
	EXPECT_OK(wire_put_number(&in, 1, (uint32_t)wire_zigzag(offset)));
	EXPECT_OK(wire_put_bytes(&in, 2, bytes_of(counts, n)));
	up(3);
	request_end();
}

/* Spans as offset+length, then deltas. */
static void check_native(int32_t schema, const char *want)
{
	const struct prometheus_histogram *h = NULL;
	EXPECT_OK(convert(1 << 20));
	for (uint32_t i = 1; i < batch.sample_count; i++)
		if (batch.samples[i].histogram)
			h = batch.samples[i].histogram;
	ck_assert(h);
	buf_clear(&text);
	for (uint32_t i = 0; i < h->positive.span_count; i++)
		EXPECT_OK(buf_printf(&text, "%d+%u ", h->positive.spans[i].offset,
				     h->positive.spans[i].length));
	for (uint32_t i = 0; i < h->positive.delta_count; i++)
		EXPECT_OK(buf_printf(&text, "%" PRId64 " ", h->positive.deltas[i]));
	EXPECT_OK(buf_append_byte(&text, 0));
	ck_assert_str_eq((char *)text.p, want);
	ck_assert_int_eq(h->schema, schema);
	convert_done();
	buf_clear(&in);
}

START_TEST(an_exponential_histogram_is_native)
{
	static const uint8_t counts[] = { 1, 0, 0, 2, 0, 0, 0, 3 };
	begin();
	put_exponential(CUMULATIVE, 100, 3, -1, counts, sizeof(counts), 6);
	/* A gap of two is filled, one of three begins a span. */
	check_native(3, "0+4 3+1 1 -1 0 2 1 ");
	end();
}
END_TEST

START_TEST(a_fine_scale_is_halved)
{
	static const uint8_t counts[] = { 1, 2, 3, 4, 5 };
	begin();
	/* Buckets -3, -2, -1, 0, 1 of scale 9 are -2, -1, -1, 0, 0 of scale 8. */
	put_exponential(CUMULATIVE, 100, 9, -3, counts, sizeof(counts), 15);
	check_native(8, "-1+3 1 4 4 ");
	/* However fine: all below 1 is one bucket, all above another. */
	put_exponential(CUMULATIVE, 100, INT32_MAX, -3, counts, sizeof(counts), 15);
	check_native(8, "0+2 6 3 ");
	end();
}
END_TEST

START_TEST(native_histograms_that_prometheus_refuses_are_left_out)
{
	static const uint8_t counts[] = { 1, 2 };
	begin();
	put_exponential(CUMULATIVE, 100, -5, 0, counts, sizeof(counts), 3);
	put_exponential(CUMULATIVE, 100, 0, 0, counts, sizeof(counts), 4);
	put_exponential(CUMULATIVE, 100, 0, INT32_MAX - 1, counts, sizeof(counts), 3);
	check("");
	ck_assert_uint_eq(tally.left_out[PROMETHEUS_LEFT_SCALE], 1);
	ck_assert_uint_eq(tally.left_out[PROMETHEUS_LEFT_BUCKETS], 2);
	end();
}
END_TEST

/* Or nothing of the series would ever be right again. */
START_TEST(a_delta_that_is_no_number_spoils_no_sum)
{
	static const uint8_t counts[] = { 4 };
	begin();
	put_sum("requests", DELTA, true, 0, 100, (double)NAN);
	put_sum("requests", DELTA, true, 0, 200, (double)INFINITY);
	put_sum("requests", DELTA, true, 0, 300, 1e308);
	put_sum("requests", DELTA, true, 0, 400, 1e308);
	put_sum("requests", DELTA, true, 0, 500, -1e308);
	put_sum("requests", DELTA, true, 0, 600, 7);
	EXPECT_OK(convert(1 << 20));
	ck_assert_double_eq(batch.samples[batch.sample_count - 1].value, 7);
	ck_assert_uint_eq(tally.left_out[PROMETHEUS_LEFT_VALUE], 3);
	convert_done();
	buf_clear(&in);
	put_exponential(DELTA, 100, 0, 0, counts, 1, 4);
	/* The sum is the one double of 2.5. */
	const double sum = 2.5;
	uint8_t *at = memmem(in.p, in.n, &sum, sizeof(sum));
	const double nan = (double)NAN;
	memcpy(at, &nan, sizeof(nan));
	put_exponential(DELTA, 200, 0, 0, counts, 1, 4);
	EXPECT_OK(convert(1 << 20));
	ck_assert_double_eq(batch.samples[batch.sample_count - 1].histogram->sum, 2.5);
	ck_assert_uint_eq(batch.samples[batch.sample_count - 1].histogram->count, 8);
	convert_done();
	buf_clear(&in);
	end();
}
END_TEST

/* A count that wraps would have Prometheus refuse the request, and all that follow it. */
START_TEST(native_counts_that_overflow_are_left_out)
{
	/* 2^63, 2^63 - 1, and two that come to 0 with it. */
	static const uint8_t huge[] = { 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1 };
	static const uint8_t most[] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f };
	static const uint8_t wraps[] = { 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1,
					 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1 };
	begin();
	put_exponential(CUMULATIVE, 100, 0, 0, huge, sizeof(huge), UINT64_C(1) << 63);
	put_exponential(CUMULATIVE, 100, 0, 0, wraps, sizeof(wraps), 0);
	check("");
	ck_assert_uint_eq(tally.left_out[PROMETHEUS_LEFT_BUCKETS], 2);
	put_exponential(DELTA, 100, 0, 0, most, sizeof(most), INT64_MAX);
	check_native(0, "1+1 9223372036854775807 ");
	deliver();
	put_exponential(DELTA, 200, 0, 0, most, sizeof(most), INT64_MAX);
	check("");
	ck_assert_uint_eq(tally.left_out[PROMETHEUS_LEFT_BUCKETS], 1);
	end();
}
END_TEST

START_TEST(delta_histograms_meet_at_the_coarser_scale)
{
	static const uint8_t counts[] = { 4 };
	begin();
	put_exponential(DELTA, 100, 2, 5, counts, 1, 4);
	check_native(2, "6+1 4 ");
	deliver();
	put_exponential(DELTA, 200, 1, 1, counts, 1, 4);
	check_native(1, "2+2 4 0 ");
	deliver();
	/* Too far apart for one array at any scale but a coarse one. */
	put_exponential(DELTA, 300, 1, 100000, counts, 1, 4);
	check("");
	ck_assert_uint_eq(tally.left_out[PROMETHEUS_LEFT_SCALE], 1);
	put_exponential(DELTA, 300, 1, 2000, counts, 1, 4);
	check_native(0, "1+2 998+1 4 0 0 ");
	end();
}
END_TEST

/* ---- deltas ---- */

START_TEST(deltas_advance_when_they_are_delivered)
{
	begin();
	put_sum("d", DELTA, true, 50, 100, 5);
	check("__name__=d_total 51:0<50 100:5<50 \n");
	/* Not delivered: the same again. */
	put_sum("d", DELTA, true, 50, 100, 5);
	check("__name__=d_total 51:0<50 100:5<50 \n");
	deliver();
	put_sum("d", DELTA, true, 100, 200, 2);
	put_sum("d", DELTA, true, 200, 300, 1);
	check("__name__=d_total 200:7<50 300:8<50 \n");
	deliver();
	/* Sent again by the client, and late. */
	put_sum("d", DELTA, true, 200, 300, 1);
	put_sum("d", DELTA, true, 100, 150, 1);
	check("");
	ck_assert_uint_eq(tally.left_out[PROMETHEUS_LEFT_ORDER], 2);
	deliver();
	put_sum("d", DELTA, true, 300, 400, 1);
	check("__name__=d_total 400:9<50 \n");
	end();
}
END_TEST

START_TEST(a_zero_is_not_set_where_it_would_harm)
{
	begin();
	put_sum("gauge", DELTA, false, 50, 100, 5);
	put_sum("nostart", DELTA, true, 0, 100, 5);
	put_sum("late", DELTA, true, 100, 100, 5);
	put_sum("long", DELTA, true, 50, 1000000, 5);
	check("__name__=gauge 100:5<50 \n"
	      "__name__=nostart_total 100:5 \n"
	      "__name__=late_total 100:5<100 \n"
	      "__name__=long_total 700000:0<50 1000000:5<50 \n");
	end();
}
END_TEST

START_TEST(the_state_is_bounded_and_the_longest_unused_goes)
{
	struct prometheus_delta_counts counts;
	char name[16];
	size_t begun = 0;
	size_t evicted = 0;
	begin();
	prometheus_delta_free(delta);
	delta = prometheus_delta_new(4096);
	for (int i = 0; i < 100; i++) {
		(void)snprintf(name, sizeof(name), "n%d", i);
		put_sum(name, DELTA, true, 50, 100, 5);
		put_sum("used", DELTA, true, 50, 100 + (uint64_t)i, 1);
		EXPECT_OK(convert(1 << 20));
		convert_done();
		buf_clear(&in);
		prometheus_delta_commit(delta, changes, &counts);
		changes = NULL;
		begun += counts.begun;
		evicted += counts.evicted;
	}
	ck_assert_uint_eq(begun, 101);
	ck_assert_uint_eq(begun - evicted, prometheus_delta_count(delta));
	ck_assert_uint_lt(prometheus_delta_count(delta), 4096 / 100);
	put_sum("used", DELTA, true, 50, 300, 1);
	check("__name__=used_total 300:101<50 \n");
	end();
}
END_TEST

START_TEST(what_never_fits_takes_no_room_from_others)
{
	struct prometheus_delta_counts counts;
	begin();
	prometheus_delta_free(delta);
	delta = prometheus_delta_new(4096);
	put_sum("small", DELTA, true, 50, 100, 5);
	request_begin("big", "");
	data_begin(9, DELTA);
	down(1);
	put_times(50, 100);
	for (int i = 0; i < 600; i++) {
		put_fixed(6, 1);
		put_double(7, i);
	}
	up(2);
	request_end();
	EXPECT_OK(convert(1 << 20));
	convert_done();
	prometheus_delta_commit(delta, changes, &counts);
	changes = NULL;
	ck_assert_uint_eq(counts.evicted, 1);
	ck_assert_uint_eq(prometheus_delta_count(delta), 1);
	end();
}
END_TEST

/* ---- hostile requests ---- */

START_TEST(too_many_attributes_leave_the_point_out)
{
	char key[16];
	begin();
	request_begin("g", "");
	data_begin(5, 0);
	down(1);
	put_double(4, 1);
	for (int i = 0; i < 257; i++) {
		(void)snprintf(key, sizeof(key), "k%d", i);
		put_attribute(7, key, "v");
	}
	up(2);
	request_end();
	check("");
	ck_assert_uint_eq(tally.left_out[PROMETHEUS_LEFT_LABELS], 1);
	end();
}
END_TEST

/* A gauge under a resource of so many short attributes, one of so many bytes, and its name. */
static void put_under(int count, size_t size, const char *name)
{
	char key[16];
	char *long_text = calloc(1, size + 1);
	ck_assert_ptr_nonnull(long_text);
	memset(long_text, 'x', size);
	down(1);
	down(1);
	for (int i = 0; i < count; i++) {
		(void)snprintf(key, sizeof(key), "k%03d", i);
		put_attribute(1, key, "v");
	}
	if (size)
		put_attribute(1, "long", long_text);
	put_attribute(1, "service.instance.id", "one");
	put_attribute(1, "service.name", name ? name : long_text);
	up(1);
	down(2);
	down(2);
	put_text(1, "g");
	data_begin(5, 0);
	put_number(0, 100, 1);
	up(1);
	request_end();
	free(long_text);
}

START_TEST(what_is_too_much_of_a_resource_is_left_out_and_counted)
{
	begin();
	put_under(300, 0, "shop");
	EXPECT_OK(convert(1 << 20));
	ck_assert_uint_eq(tally.attributes, 300 - 256);
	ck_assert_uint_eq(tally.left_out[PROMETHEUS_LEFT_LABELS], 0);
	ck_assert_uint_eq(batch.series_count, 3); /* none, the gauge, target_info */
	ck_assert_uint_eq(batch.series[2].label_count, 256 + 3);
	convert_done();
	buf_clear(&in);
	put_under(2, 400000, "shop");
	check("__name__=g instance=one 100:1 \n"
	      "__name__=target_info instance=one k000=v k001=v 100:1 \n");
	ck_assert_uint_eq(tally.attributes, 1);
	end();
}
END_TEST

START_TEST(points_of_a_service_whose_name_is_too_long_are_left_out)
{
	begin();
	put_under(0, 100000, NULL);
	check("");
	ck_assert_uint_eq(tally.left_out[PROMETHEUS_LEFT_LABELS], 1);
	put_under(0, 0, "shop");
	check("__name__=g instance=one 100:1 \n");
	end();
}
END_TEST

START_TEST(too_many_attributes_of_a_scope_are_left_out_and_counted)
{
	char key[16];
	begin();
	settings.has_scope_labels = true;
	down(1);
	down(2);
	down(1);
	put_text(1, "lib");
	for (int i = 0; i < 300; i++) {
		(void)snprintf(key, sizeof(key), "k%03d", i);
		put_attribute(3, key, "v");
	}
	up(1);
	down(2);
	put_text(1, "g");
	data_begin(5, 0);
	put_number(0, 100, 1);
	up(1);
	request_end();
	EXPECT_OK(convert(1 << 20));
	ck_assert_uint_eq(tally.attributes, 300 + 1 - 256);
	ck_assert_uint_eq(batch.series_count, 2);
	ck_assert_uint_eq(batch.series[1].label_count, 256 + 1);
	convert_done();
	end();
}
END_TEST

START_TEST(a_metric_whose_name_is_too_long_is_left_out)
{
	char *name = calloc(1, (1 << 20) + 2);
	ck_assert_ptr_nonnull(name);
	memset(name, 'x', (1 << 20) + 1);
	begin();
	buf_done(&in);
	buf_init(&in, 8 << 20, NULL);
	put_sum(name, CUMULATIVE, false, 50, 100, 7);
	put_sum("g", CUMULATIVE, false, 50, 100, 7);
	EXPECT_OK(convert(16 << 20));
	ck_assert_uint_eq(tally.left_out[PROMETHEUS_LEFT_NAME], 1);
	ck_assert_uint_eq(batch.series_count, 2);
	convert_done();
	end();
	free(name);
}
END_TEST

START_TEST(a_full_arena_is_said_wherever_it_happens)
{
	begin();
	put_histogram(DELTA, 50, 100, 4, 0.25);
	put_sum("d", DELTA, true, 50, 100, 5);
	static const uint8_t counts[] = { 1, 0, 0, 2, 0, 0, 0, 3 };
	put_exponential(DELTA, 100, 3, -1, counts, sizeof(counts), 6);
	enum status st = ST_TOO_LARGE;
	for (size_t room = 1; st != ST_OK; room += 512) {
		ck_assert_uint_lt(room, 1 << 20);
		st = convert(room);
		ck_assert(st == ST_OK || st == ST_TOO_LARGE);
		convert_done();
	}
	end();
}
END_TEST

/* 1.0 says the labels with each series, 2.0 once. */
START_TEST(more_than_a_receiver_decompresses_is_not_written)
{
	enum { SERIES = 3000, JOB = 12 * 1024 };
	char job[JOB + 1];
	char key[16];
	struct buf out;
	memset(job, 'j', JOB);
	job[JOB] = '\0';
	begin();
	down(1);
	down(1);
	put_attribute(1, "service.name", job);
	up(1);
	down(2);
	down(2);
	put_text(1, "g");
	data_begin(5, 0);
	for (int i = 0; i < SERIES; i++) {
		(void)snprintf(key, sizeof(key), "%d", i);
		down(1);
		put_double(4, 1);
		put_attribute(7, "k", key);
		up(1);
	}
	up(1);
	request_end();
	EXPECT_OK(convert(64 << 20));
	buf_init(&out, SIZE_MAX, NULL);
	EXPECT_STATUS(prometheus_write(PROMETHEUS_WRITE_1, &batch, &out), ST_TOO_LARGE);
	buf_clear(&out);
	EXPECT_OK(prometheus_write(PROMETHEUS_WRITE_2, &batch, &out));
	buf_done(&out);
	convert_done();
	end();
}
END_TEST

START_TEST(what_is_no_message_is_refused)
{
	begin();
	EXPECT_OK(buf_append(&in, bytes_of("\x0a\x7f", 2)));
	EXPECT_STATUS(convert(1 << 20), ST_INVALID);
	convert_done();
	end();
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		a_gauge_is_one_sample,
		a_sum_is_a_counter_or_a_gauge,
		labels_that_collide_are_joined_in_the_order_of_their_keys,
		samples_are_sorted_and_the_last_of_a_millisecond_stays,
		no_recorded_value_is_a_stale_marker,
		what_has_no_words_is_left_out,
		an_exemplar_is_on_the_series_of_its_own_point,
		a_histogram_is_buckets_sum_and_count,
		a_delta_histogram_adds_up_and_begins_anew_with_other_bounds,
		a_summary_is_quantiles_sum_and_count,
		an_exponential_histogram_is_native,
		a_fine_scale_is_halved,
		native_histograms_that_prometheus_refuses_are_left_out,
		native_counts_that_overflow_are_left_out,
		a_delta_that_is_no_number_spoils_no_sum,
		delta_histograms_meet_at_the_coarser_scale,
		deltas_advance_when_they_are_delivered,
		a_zero_is_not_set_where_it_would_harm,
		the_state_is_bounded_and_the_longest_unused_goes,
		what_never_fits_takes_no_room_from_others,
		too_many_attributes_leave_the_point_out,
		what_is_too_much_of_a_resource_is_left_out_and_counted,
		points_of_a_service_whose_name_is_too_long_are_left_out,
		too_many_attributes_of_a_scope_are_left_out_and_counted,
		a_metric_whose_name_is_too_long_is_left_out,
		a_full_arena_is_said_wherever_it_happens,
		more_than_a_receiver_decompresses_is_not_written,
		what_is_no_message_is_refused,
	};
	return run_cases("prometheus_convert", cases, sizeof(cases) / sizeof(cases[0]));
}
