/* forward/check_hint.h - what to do about an answer that is no delivery.
 * Owner: stateless. Needs: forward/export.h, base/config.h. */
#ifndef FORWARD_CHECK_HINT_H
#define FORWARD_CHECK_HINT_H

#include "gateway/base/config.h"
#include "gateway/forward/export.h"

/* Static storage; "" where there is nothing better to say than the error itself. */
const char *check_hint(const struct destination_config *c, const struct export_reply *r);

#endif
