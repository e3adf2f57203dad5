/* forward/prometheus_write.h - series as a remote write request.
 * Owner: stateless. Needs: forward/prometheus_series.h. */
#ifndef FORWARD_PROMETHEUS_WRITE_H
#define FORWARD_PROMETHEUS_WRITE_H

#include "gateway/forward/prometheus_series.h"

enum prometheus_protocol {
	PROMETHEUS_WRITE_1, /* prometheus.WriteRequest */
	PROMETHEUS_WRITE_2  /* io.prometheus.write.v2.Request */
};

/* Prometheus 3 answers 400 to a request that is larger when decompressed. */
enum { PROMETHEUS_WRITE_MAX = 32 * 1024 * 1024 };

/* Appends the message, uncompressed. ST_TOO_LARGE: more than PROMETHEUS_WRITE_MAX, or from out, as
 * ST_BUSY and ST_NO_MEMORY. */
MUST_USE enum status prometheus_write(enum prometheus_protocol protocol,
				      const struct prometheus_batch *b, struct buf *out);

#endif
