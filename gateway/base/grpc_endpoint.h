/* grpc_endpoint.h - where a gRPC server is and what it is told, as people write it.
 * Owner: stateless. Needs: net, status. */
#ifndef BASE_GRPC_ENDPOINT_H
#define BASE_GRPC_ENDPOINT_H

#include "gateway/base/status.h"

struct grpc_endpoint {
	bool is_tls;
	char host[256];      /* without brackets */
	char port[8];        /* decimal; 4317 where none was written */
	char authority[272]; /* host:port, with brackets around an IPv6 address */
};

/* https://host:port, http://host:port, or host:port, which is TLS unless is_insecure. The text is
 * not in the error: it may hold a password. ST_INVALID: e says what is wrong. */
MUST_USE enum status grpc_endpoint_parse(const char *text, bool is_insecure,
					 struct grpc_endpoint *ret, struct err *e);
/* May a configured header be sent as metadata? The value is not shown. ST_INVALID: e says why not.
 */
MUST_USE enum status grpc_metadata_check(const char *name, const char *value, struct err *e);

#endif
