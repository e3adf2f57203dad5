/* ingest/receive_grpc.h - OTLP/gRPC on nghttp2: one thread, one epoll loop, many connections.
 * Owner: main starts and stops it; everything else belongs to its thread.
 * Needs: ingest, telemetry, gateway/base. */
#ifndef INGEST_RECEIVE_GRPC_H
#define INGEST_RECEIVE_GRPC_H

#include "gateway/ingest/ingest.h"

struct receive_grpc;

struct receive_grpc_options {
	const char *endpoint; /* host:port, [v6]:port; port 0: any */
	size_t max_message_bytes;
	int max_connections;
	int max_concurrent_streams;
	int64_t idle_timeout_ns; /* a connection without a request for so long is closed */
	int64_t read_timeout_ns; /* a request that does not make progress for so long is ended */
};

MUST_USE enum status receive_grpc_start(const struct receive_grpc_options *o, struct ingest *in,
					struct receive_grpc **ret, struct err *e);
/* The port that was bound. */
int receive_grpc_port(const struct receive_grpc *r);
/* Stop accepting, GOAWAY in two phases, answer what is in flight until the deadline (now_mono_ns),
 * join. The writer must still run: in-flight calls come back through it. Accepts NULL. */
void receive_grpc_stop(struct receive_grpc *r, int64_t deadline_ns);

#endif
