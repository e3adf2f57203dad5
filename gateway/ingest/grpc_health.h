/* ingest/grpc_health.h - the messages of grpc.health.v1.Health/Check.
 * Owner: stateless. Needs: gateway/base, schema. */
#ifndef INGEST_GRPC_HEALTH_H
#define INGEST_GRPC_HEALTH_H

#include "gateway/base/buf.h"

/* A longer HealthCheckRequest is refused: it only holds a service name. */
enum { GRPC_HEALTH_REQUEST_MAX = 4096 };

/* The service that a HealthCheckRequest asks for, borrowed from body; empty: the whole server.
 * ST_INVALID: not such a message. */
MUST_USE enum status grpc_health_read(struct bytes body, struct bytes *ret_service, struct err *e);
/* The whole server, or one of the OTLP services. */
bool grpc_health_is_known(struct bytes service);
/* A HealthCheckResponse, static storage. */
struct bytes grpc_health_reply(bool is_serving);

#endif
