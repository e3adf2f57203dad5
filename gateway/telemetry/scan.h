/* telemetry/scan.h - one pass over the wire bytes of an Export*ServiceRequest.
 * The guard in front of everything: nesting, lengths, wire types and UTF-8 are checked, records
 * counted and classified, and their places noted so that sort.h can copy instead of unpack. Owner:
 * the caller. Needs: gateway/base, attributes. */
#ifndef TELEMETRY_SCAN_H
#define TELEMETRY_SCAN_H

#include "gateway/base/arena.h"
#include "gateway/telemetry/attributes.h"
#include "schema/vocabulary.h"

/* Deeper messages are refused. OTLP without AnyValue nests 8 deep; Google's C++ and Java parsers
 * stop at 100. */
enum { SCAN_DEPTH_MAX = 100, SCAN_PREVIEW_MAX = 120 };

/* What a request holds, per class and over all. */
struct scan_summary {
	uint32_t records;
	int64_t first_time_ns; /* smallest and largest event time; 0: none is set */
	int64_t last_time_ns;
	struct bytes service; /* service.name of the first resource that holds such a record;
				 borrowed from body */
	struct bytes preview; /* first span name, metric name or log body text, cut to whole
				 characters */
};

struct scan_resource; /* private to scan.c and sort.c: places in the body */

struct scan {
	enum signal signal;
	struct bytes body; /* borrowed */
	struct scan_summary all;
	struct scan_summary of_class[RECORD_CLASS_COUNT];
	bool needs_attributes;           /* some resource lacks some attribute of those to insert */
	struct scan_resource *resources; /* in the arena */
	size_t resource_count;
};

/* Borrows body and add (the attributes that sort would insert; may be NULL or empty) as long as
 * *ret lives. Places live in the arena. ST_INVALID: e says which field (opentelemetry names, as in
 * "resource_spans.scope_spans.spans.name"), at which byte, and what is wrong. ST_TOO_LARGE: arena
 * full.
 *
 * Class (built-in rules): log severity_number >= 17 (ERROR) and spans with status code ERROR (2)
 * are critical, severity 13..16 (WARN) is warning, everything else info. */
MUST_USE enum status scan_request(enum signal signal, struct bytes body,
				  const struct attributes *add, struct arena *arena,
				  struct scan *ret, struct err *e);

#endif
