/* forward/lookup.h - a host name's addresses, without waiting for the name server.
 * Owner: the destination's thread. Needs: gateway/base. */
#ifndef FORWARD_LOOKUP_H
#define FORWARD_LOOKUP_H

#include <netdb.h>

#include "gateway/base/status.h"

struct lookup;

/* Numeric addresses are known at once; for anything else a thread asks. Borrows both until return.
 * ST_BUSY: too many threads hang already. */
MUST_USE enum status lookup_new(const char *host, const char *port, struct lookup **ret,
				struct err *e);
/* Readable when the result is there. */
int lookup_fd(const struct lookup *l);
/* Gives the addresses: freeaddrinfo. ST_BUSY: not yet. ST_IO: e says why not. */
MUST_USE enum status lookup_result(struct lookup *l, struct addrinfo **ret, struct err *e);
/* Leaves a thread that still asks to itself: it ends when the resolver gives up. Accepts NULL. */
void lookup_free(struct lookup *l);

#endif
