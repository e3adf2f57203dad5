/* forward/dial.h - from a host name to a connected socket, without blocking.
 * Owner: the destination's thread. Needs: forward/lookup.h. */
#ifndef FORWARD_DIAL_H
#define FORWARD_DIAL_H

#include <poll.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/base/status.h"

struct dial;

/* All addresses of the host are tried. Borrows both until return. Never NULL. */
struct dial *dial_new(const char *host, const char *port, int64_t timeout_ns);
/* Accepts NULL. */
void dial_free(struct dial *d);

/* Call after each poll. ST_BUSY: not yet. ST_OK: gives *ret_fd, connected and non-blocking; and any
 * other: e says why there is none. It is over then: free it. */
MUST_USE enum status dial_step(struct dial *d, int *ret_fd, struct err *e);
/* What to poll for, and until when (mono). */
enum { DIAL_FDS_MAX = 8 };
size_t dial_fds(const struct dial *d, struct pollfd fds[DIAL_FDS_MAX]);
int64_t dial_due_ns(const struct dial *d);

#endif
