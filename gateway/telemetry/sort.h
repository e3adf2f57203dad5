/* telemetry/sort.h - enrich and split a scanned request: resource attributes in, one body per class
 * out. Copies byte ranges that the scan noted; never unpacks, so unknown fields survive. Owner: the
 * caller. Needs: gateway/base, scan. */
#ifndef TELEMETRY_SORT_H
#define TELEMETRY_SORT_H

#include "gateway/telemetry/scan.h"

struct sorted_part {
	enum record_class class;
	const struct scan_summary *summary; /* borrowed from the scan */
	struct bytes body; /* borrowed from the scan's body (nothing to change) or from out */
};

struct sorted {
	size_t count; /* 0 for a request without records */
	struct sorted_part parts[RECORD_CLASS_COUNT];
};

/* An attribute is inserted into a Resource only where its key is not set there (insert, not
 * upsert); a missing Resource is made. Resource and scope envelopes are repeated in each part that
 * has records of theirs. New bytes are appended to *out, which must outlive *ret and not grow
 * afterwards. ST_TOO_LARGE, ST_BUSY: from out. */
MUST_USE enum status sort_request(const struct scan *scan, const struct attributes *add,
				  struct buf *out, struct sorted *ret);

#endif
