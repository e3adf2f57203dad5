/* forward/prometheus_convert.h - an ExportMetricsServiceRequest as series with samples.
 * Owner: the caller. Needs: forward/{prometheus_series,prometheus_delta}.h, config. */
#ifndef FORWARD_PROMETHEUS_CONVERT_H
#define FORWARD_PROMETHEUS_CONVERT_H

#include "gateway/base/config.h"
#include "gateway/forward/prometheus_delta.h"
#include "gateway/forward/prometheus_series.h"

struct prometheus_settings {
	struct prometheus_naming naming;
	bool has_scope_labels;             /* otel_scope_name and its like on each series */
	bool has_resource_labels;          /* each resource attribute on each series */
	bool has_metadata;                 /* types, help and units are wanted */
	struct config_map external_labels; /* borrowed */
	uint64_t seeds[3];                 /* of hashes: secret, and the same for one state */
};

/* Why a data point is left out: Prometheus has no words for it. */
enum prometheus_left {
	PROMETHEUS_LEFT_NAME,
	PROMETHEUS_LEFT_VALUE,
	PROMETHEUS_LEFT_TEMPORALITY,
	PROMETHEUS_LEFT_SCALE,
	PROMETHEUS_LEFT_BUCKETS,
	PROMETHEUS_LEFT_ORDER,
	PROMETHEUS_LEFT_LABELS,
	PROMETHEUS_LEFT_DUPLICATE,
	PROMETHEUS_LEFT_COUNT
};
/* One word for a metric's label, and a sentence. Static storage. */
const char *prometheus_left_word(enum prometheus_left why);
const char *prometheus_left_text(enum prometheus_left why);

/* The bytes up to `end` came in a batch that was received at this time. */
struct prometheus_origin {
	size_t end;
	int64_t received_ns;
};

struct prometheus_input {
	struct bytes otlp; /* the scan accepted it; borrowed as long as the batch */
	const struct prometheus_origin
		*origins; /* in order; the last one counts for what follows */
	size_t origin_count;
};

struct prometheus_tally {
	uint64_t left_out[PROMETHEUS_LEFT_COUNT]; /* data points */
	uint64_t attributes; /* of resources and scopes, left out where there are too many */
};

/* Fills b, which is initialised, and changes. Delta points are added to what delta holds, in
 * changes; delta itself stays as it is. Points without a time get that of their batch. ST_INVALID:
 * not what the scan accepts. ST_TOO_LARGE, ST_BUSY: an arena is full. */
MUST_USE enum status prometheus_convert(const struct prometheus_settings *s,
					const struct prometheus_input *in,
					const struct prometheus_delta *delta,
					struct prometheus_changes *changes,
					struct prometheus_batch *b, struct prometheus_tally *ret);

#endif
