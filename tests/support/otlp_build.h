/* otlp_build.h - realistic Export*ServiceRequests for tests and benches, the same for the same
 * seed. Owner: tests. Needs: telemetry. */
#ifndef TESTS_SUPPORT_OTLP_BUILD_H
#define TESTS_SUPPORT_OTLP_BUILD_H

#include "gateway/base/buf.h"
#include "schema/vocabulary.h"

struct otlp_build {
	enum signal signal;
	size_t records;            /* spans, log records or data points, over all resources */
	size_t resources;          /* 0 is 1 */
	size_t scopes;             /* of each resource; 0 is 1 */
	uint64_t seed;             /* ids and contents follow from it */
	unsigned critical_percent; /* of the records: spans with an error status, logs at ERROR */
	unsigned warning_percent;  /* logs at WARN */
	int64_t time_ns; /* of the first record; 0 is 2026-01-01. One ms between records */
};

/* Appends the request. Every record has an attribute "test.id" whose string is "<seed>-<index>",
 * index from 0. A span takes about 400 bytes. Each resource has service.name "service-<index>",
 * host and pod. Aborts where out is too small. */
void otlp_build(const struct otlp_build *b, struct buf *out);

#endif
