/* telemetry/prometheus_names.h - OTLP's names as Prometheus writes them.
 * Follows the OpenTelemetry specification, "Prometheus and OpenMetrics Compatibility", and
 * prometheus/otlptranslator, whose names existing dashboards use. Owner: stateless. Needs:
 * gateway/base. */
#ifndef TELEMETRY_PROMETHEUS_NAMES_H
#define TELEMETRY_PROMETHEUS_NAMES_H

#include "gateway/base/buf.h"

/* The four translation strategies are the four values of this. */
struct prometheus_naming {
	bool is_escaped;   /* what is no letter, digit or colon becomes an underscore */
	bool has_suffixes; /* unit and type are appended */
};

enum prometheus_kind {
	PROMETHEUS_GAUGE,
	PROMETHEUS_COUNTER, /* cumulative and monotonic */
	PROMETHEUS_SUM,     /* not monotonic: a gauge, but one that is never a ratio */
	PROMETHEUS_HISTOGRAM,
	PROMETHEUS_SUMMARY
};

/* All append to out. ST_TOO_LARGE, ST_BUSY, ST_NO_MEMORY: from out. */

/* ST_INVALID: nothing is left of the name but underscores. */
MUST_USE enum status prometheus_metric_name(const struct prometheus_naming *n, struct bytes name,
					    struct bytes unit, enum prometheus_kind kind,
					    struct buf *out);
/* In words: "s" is "seconds", "By/s" is "bytes_per_second"; nothing for "1" and for {notes}. */
MUST_USE enum status prometheus_unit_name(const struct prometheus_naming *n, struct bytes unit,
					  struct buf *out);
/* Never empty, and never refuses: a key without a letter or digit is "_". */
MUST_USE enum status prometheus_label_name(const struct prometheus_naming *n, struct bytes key,
					   struct buf *out);

#endif
