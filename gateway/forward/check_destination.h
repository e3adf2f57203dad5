/* forward/check_destination.h - is a destination reachable, does it take our credentials, and a
 * record? For the command line: needs no queue, and disturbs no gateway that runs.
 * Owner: the caller's thread. Needs: base/check_step.h. */
#ifndef FORWARD_CHECK_DESTINATION_H
#define FORWARD_CHECK_DESTINATION_H

#include "gateway/base/check_step.h"

/* Blocks for up to r->timeout_ns a step. Each step is told as it ends. */
enum check_result check_destination(const struct check_request *r);

#endif
