/* forward/check_record.h - the record that check-destination sends.
 * Owner: stateless. Needs: telemetry. */
#ifndef FORWARD_CHECK_RECORD_H
#define FORWARD_CHECK_RECORD_H

#include "gateway/base/buf.h"
#include "schema/vocabulary.h"

/* Appends an Export*ServiceRequest with one record that says what it is and from which site: a span
 * or metric called tidegate.check-destination, or a log record of that event. */
MUST_USE enum status check_record_write(enum signal signal, const char *site, int64_t now_ns,
					struct buf *out);

#endif
