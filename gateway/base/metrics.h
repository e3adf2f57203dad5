/* metrics.h - counters, gauges and histograms of schema/metrics.def, as Prometheus text.
 * Owner: any thread. A series is found once (under a lock) and then updated with atomics.
 * Needs: buf, schema/metrics.def. */
#ifndef BASE_METRICS_H
#define BASE_METRICS_H

#include <stdint.h>

#include "gateway/base/buf.h"

enum metric {
#define METRIC(name, exposed, type, labels, help) M_##name,
#include "schema/metrics.def"
#undef METRIC
	METRIC_COUNT
};

struct series;

/* The series of a metric with these label values, made at the first call. Takes as many strings as
 * the metric has labels, copies them; the series lives as long as the process. At most
 * METRIC_SERIES_MAX series a metric: past that every new set of values shares one series whose
 * values are "other". */
enum { METRIC_SERIES_MAX = 512 };
struct series *metric_series(enum metric m, ...);

void series_add(struct series *s, double n);
void series_set(struct series *s, double v);
/* Histograms, in seconds. Buckets from 100 us to 30 s. */
void series_observe(struct series *s, double seconds);
/* Counters and gauges: the value. Histograms: the count. */
double series_value(struct series *s);

/* Everything in the Prometheus text format 0.0.4 (HELP, TYPE, samples, in metrics.def's order). */
MUST_USE enum status metrics_write(struct buf *out);

#endif
