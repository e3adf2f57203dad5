/* admin/sampler.h - brings the gauges up to date that are read from the queue and the process.
 * Owner: any thread; one refresh at a time, others go on with what is there. Needs:
 * storage/inspect, gateway/base. */
#ifndef ADMIN_SAMPLER_H
#define ADMIN_SAMPLER_H

#include <stdatomic.h>

#include "storage/inspect.h"

struct sampler {
	const char *queue_path; /* outlives the sampler */
	uint64_t capacity_bytes;
	int64_t started_ns;  /* now_mono_ns at the start */
	atomic_flag is_busy; /* private below */
	int64_t next_ns;
	int64_t last_loss_id;
};

void sampler_init(struct sampler *s, const char *queue_path, uint64_t capacity_bytes);
/* Refreshes the gauges, unless that was done a moment ago or is being done. What the queue does not
 * tell at this moment keeps its value; the status says why. */
MUST_USE enum status sampler_refresh(struct sampler *s, size_t in_flight_bytes, struct err *e);

#endif
