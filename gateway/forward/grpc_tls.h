/* forward/grpc_tls.h - TLS under a gRPC connection, as its client.
 * Owner: the thread of the connection. Needs: base/transport.h, GnuTLS. */
#ifndef FORWARD_GRPC_TLS_H
#define FORWARD_GRPC_TLS_H

#include "gateway/base/config.h"
#include "gateway/base/transport.h"

/* Do the files of tls.* hold what they should? ST_INVALID: e names the key. */
MUST_USE enum status grpc_tls_check(const struct destination_config *c, struct err *e);
/* A transport over fd, a connected non-blocking socket, which it takes, also when it fails. The
 * server has to prove that it is host, unless tls.insecure_skip_verify. done frees it. Borrows err,
 * where why a read or write failed is written. ST_INVALID: the files, as above. */
MUST_USE enum status grpc_tls_open(const struct destination_config *c, const char *host, int fd,
				   struct err *err, struct transport **ret);

#endif
