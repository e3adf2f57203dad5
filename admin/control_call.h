/* admin/control_call.h - pause, resume, flush and rates as calls, and how uplinks are shown.
 * Owner: stateless. Needs: control, jansson. */
#ifndef ADMIN_CONTROL_CALL_H
#define ADMIN_CONTROL_CALL_H

#include <jansson.h>

#include "admin/control.h"
#include "gateway/base/buf.h"

struct control_call {
	const struct control *control; /* NULL: nothing can be told */
	const char *caller;            /* address of whoever asks */
	const char *name;              /* of the destination or uplink */
};

/* Each appends what was done as JSON, and leaves a line in the log: who, what. ST_NOT_FOUND. */
MUST_USE enum status control_call_destination(const struct control_call *c,
					      enum control_order order, struct buf *out,
					      struct err *e);
MUST_USE enum status control_call_uplink(const struct control_call *c, enum control_order order,
					 struct buf *out, struct err *e);
/* rate: bytes a second, -1: not given. for_ns 0: not given, back to the configured rate. */
MUST_USE enum status control_call_rate(const struct control_call *c, int64_t rate, int64_t for_ns,
				       struct buf *out, struct err *e);
/* The list of uplinks; null where control is. */
json_t *control_uplinks(const struct control *control);
MUST_USE enum status control_call_uplinks(const struct control_call *c, struct buf *out);

#endif
