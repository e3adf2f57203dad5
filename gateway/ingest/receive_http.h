/* ingest/receive_http.h - OTLP/HTTP on libmicrohttpd: protobuf and JSON, answered behind the
 * commit. Owner: main starts and stops it; connections belong to libmicrohttpd's threads. Needs:
 * ingest, telemetry, gateway/base. */
#ifndef INGEST_RECEIVE_HTTP_H
#define INGEST_RECEIVE_HTTP_H

#include "gateway/ingest/ingest.h"

struct receive_http;

struct receive_http_options {
	const char *endpoint; /* host:port, [v6]:port; port 0: any */
	size_t max_message_bytes;
	int max_connections;
	int64_t idle_timeout_ns; /* a connection on which nothing moves for so long is closed */
	int64_t read_timeout_ns; /* a whole request must have come within this time */
	/* NULL-terminated; a star in an origin stands for any part of it. NULL or empty: no CORS.
	 */
	const char *const *cors_allowed_origins;
	const char *const *cors_allowed_headers; /* NULL-terminated; besides Content-Type */
	int cors_max_age_s;
};

MUST_USE enum status receive_http_start(const struct receive_http_options *o, struct ingest *in,
					struct receive_http **ret, struct err *e);
/* The port that was bound. */
int receive_http_port(const struct receive_http *r);
/* Stop accepting, answer what is in flight until the deadline (now_mono_ns), join. The writer must
 * still run. Accepts NULL. */
void receive_http_stop(struct receive_http *r, int64_t deadline_ns);

#endif
