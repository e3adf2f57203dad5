/* forward/prometheus_write.h - series as a remote write request.
 * Owner: stateless. Needs: forward/prometheus_series.h. */
#ifndef FORWARD_PROMETHEUS_WRITE_H
#define FORWARD_PROMETHEUS_WRITE_H

#include "gateway/forward/prometheus_series.h"

enum prometheus_protocol {
	PROMETHEUS_WRITE_1, /* prometheus.WriteRequest */
	PROMETHEUS_WRITE_2  /* io.prometheus.write.v2.Request */
};

/* Appends the message, uncompressed. ST_TOO_LARGE, ST_BUSY, ST_NO_MEMORY: from out. */
MUST_USE enum status prometheus_write(enum prometheus_protocol protocol,
				      const struct prometheus_batch *b, struct buf *out);

#endif
