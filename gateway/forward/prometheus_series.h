/* forward/prometheus_series.h - the series of one conversion, with their samples in time order.
 * Owner: the conversion. Needs: forward/prometheus_labels.h. */
#ifndef FORWARD_PROMETHEUS_SERIES_H
#define FORWARD_PROMETHEUS_SERIES_H

#include "gateway/forward/prometheus_labels.h"

/* As remote write 2.0 numbers them (Metadata.MetricType). */
enum prometheus_type {
	PROMETHEUS_TYPE_UNKNOWN = 0,
	PROMETHEUS_TYPE_COUNTER = 1,
	PROMETHEUS_TYPE_GAUGE = 2,
	PROMETHEUS_TYPE_HISTOGRAM = 3,
	PROMETHEUS_TYPE_SUMMARY = 5
};

/* What 2.0 says of a metric beside its samples. */
struct prometheus_metadata {
	enum prometheus_type type;
	uint32_t help; /* symbols */
	uint32_t unit;
};

/* Neighbouring buckets of a native histogram. */
struct prometheus_span {
	int32_t offset; /* from the end of the span before; of the first: its first bucket */
	uint32_t length;
};

struct prometheus_buckets {
	const struct prometheus_span *spans;
	const int64_t *deltas; /* each count less the one before */
	uint32_t span_count;
	uint32_t delta_count;
};

struct prometheus_histogram {
	int32_t schema;
	uint64_t count;
	double sum;
	double zero_threshold;
	uint64_t zero_count;
	struct prometheus_buckets positive;
	struct prometheus_buckets negative;
};

struct prometheus_sample {
	int64_t time_ms;
	int64_t start_ms; /* of what it counts; 0: not known */
	double value;
	const struct prometheus_histogram *histogram; /* instead of value */
	uint32_t next;                                /* in the series; 0: the last */
	bool is_record; /* stands for its data point: each has one such sample */
};

struct prometheus_exemplar {
	int64_t time_ms;
	double value;
	const uint32_t *labels;
	uint32_t label_count;
	uint32_t next;
};

struct prometheus_series {
	const uint32_t *labels; /* sorted by name, without duplicates and empty values */
	uint32_t label_count;
	bool has_histograms; /* instead of values: a series never has both */
	bool is_unsorted;
	struct prometheus_metadata metadata;
	uint32_t first; /* samples */
	uint32_t last;
	uint32_t first_exemplar;
};

struct prometheus_batch {
	struct prometheus_labels labels;
	struct hash_index index;
	struct prometheus_series *series;
	struct prometheus_sample *samples;
	struct prometheus_exemplar *exemplars;
	uint32_t series_count; /* counts and rooms include entry 0, which is none */
	uint32_t sample_count;
	uint32_t exemplar_count;
	uint32_t series_room;
	uint32_t sample_room;
	uint32_t exemplar_room;
	/* After prometheus_series_finish: */
	uint64_t values;     /* samples to be sent */
	uint64_t histograms; /* native ones to be sent */
	int64_t oldest_ms;   /* of what is to be sent; INT64_MAX: nothing is */
	uint64_t duplicates; /* records whose sample another of the same time replaced */
};

/* All of these: ST_TOO_LARGE, ST_BUSY where the arena is full. */
MUST_USE enum status prometheus_series_init(struct prometheus_batch *b,
					    const struct prometheus_naming *naming, uint64_t seed,
					    struct arena *arena);
void prometheus_series_done(struct prometheus_batch *b);

/* The series of these labels, sorted by name; made where it is new. Copies labels. */
MUST_USE enum status prometheus_series_find(struct prometheus_batch *b, const uint32_t *labels,
					    uint32_t label_count, bool has_histograms,
					    const struct prometheus_metadata *m, uint32_t *ret);
/* Appends a sample; next is not read. Borrows its histogram. */
MUST_USE enum status prometheus_series_sample(struct prometheus_batch *b, uint32_t series,
					      const struct prometheus_sample *sample);
/* Copies the labels, which are sorted. */
MUST_USE enum status prometheus_series_exemplar(struct prometheus_batch *b, uint32_t series,
						const struct prometheus_exemplar *x);
/* Puts each series' samples and exemplars into time order. Of several with one time the last stays.
 */
MUST_USE enum status prometheus_series_finish(struct prometheus_batch *b);

#endif
