/* forward/check_tls.h - a TLS handshake for its own sake: is the server's certificate good, and if
 * not, why?
 * Owner: the caller. Needs: base/check_step.h, GnuTLS. */
#ifndef FORWARD_CHECK_TLS_H
#define FORWARD_CHECK_TLS_H

#include "gateway/base/check_step.h"

/* On fd, a connected non-blocking socket, which it closes. Fills s->outcome, text and hint. */
void check_tls(const struct destination_config *c, const char *host, int fd, int64_t timeout_ns,
	       struct check_step *s);

#endif
