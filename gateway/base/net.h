/* net.h - endpoints and listening sockets.
 * Owner: the caller. Needs: status. */
#ifndef BASE_NET_H
#define BASE_NET_H

#include <stddef.h>

#include "gateway/base/status.h"

/* Split "host:port", "[v6]:port" or ":port" (all addresses). ST_INVALID: e says why. */
MUST_USE enum status net_split(const char *endpoint, char *ret_host, size_t host_size,
			       char *ret_port, size_t port_size, struct err *e);
/* A listening, non-blocking, close-on-exec TCP socket. Port 0 binds any; *ret_port is the one it
 * got. ST_IO: e says which address and why, and what to do where the port is taken. Gives *ret_fd.
 */
MUST_USE enum status net_listen(const char *endpoint, int *ret_fd, int *ret_port, struct err *e);
/* The endpoint's host is localhost or a numeric loopback address. Never asks a name server: any
 * other name counts as not loopback. */
bool net_is_loopback(const char *endpoint);

#endif
