/* telemetry/scan_resource.h - what the scan notes of a resource for the sorter.
 * Owner: the scan's arena. Needs: gateway/base. Private to scan.c and sort.c. */
#ifndef TELEMETRY_SCAN_RESOURCE_H
#define TELEMETRY_SCAN_RESOURCE_H

#include <stdint.h>

/* A ResourceSpans, ResourceMetrics or ResourceLogs with at least one record. Kept small: a hostile
 * request can hold one in six bytes. */
struct scan_resource {
	struct scan_resource *next;
	uint64_t missing; /* bit i: attribute i of those to insert is not set */
	uint32_t start;   /* of its tag in the body */
	uint32_t end;
	uint8_t classes; /* bit i: it holds records of class i */
};

#endif
