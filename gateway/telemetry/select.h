/* telemetry/select.h - some records of a request, as a request of their own.
 * Owner: stateless. Needs: gateway/base, schema. */
#ifndef TELEMETRY_SELECT_H
#define TELEMETRY_SELECT_H

#include "gateway/base/buf.h"
#include "schema/vocabulary.h"

/* Records by number: the first of a request is 0, in the order of its bytes. */
struct select_range {
	uint32_t first;
	uint32_t count;
};

/* Append to out an Export*ServiceRequest with those records of `request` that lie in one of the
 * ranges (ascending, apart from one another), in their order. Everything around a record (resource,
 * scope, metric) is repeated, and what is around none of them is left out. Borrows both. *ret is
 * how many records that are, *ret_total (may be NULL) how many the request has. ST_INVALID: not the
 * bytes that a scan accepted. ST_TOO_LARGE, ST_BUSY: from out. */
MUST_USE enum status select_records(enum signal signal, struct bytes request,
				    const struct select_range *ranges, size_t count,
				    struct buf *out, uint32_t *ret, uint32_t *ret_total);

#endif
