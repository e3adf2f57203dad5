/* net.h - endpoints and listening sockets.
 * Owner: the caller. Needs: status. */
#ifndef BASE_NET_H
#define BASE_NET_H

#include <stddef.h>
#include <sys/socket.h>

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

/* Of so many connections, how many one address may have: all where they are few, else three
 * quarters, so that a client that opens more and more leaves some to the others. */
int net_share(int max_connections);
/* The same address, whatever the port. */
bool net_is_same_host(const struct sockaddr_storage *a, const struct sockaddr_storage *b);

#endif
