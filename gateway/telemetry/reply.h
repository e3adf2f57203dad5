/* telemetry/reply.h - the small messages of OTLP replies: Export*ServiceResponse and
 * google.rpc.Status. Owner: stateless. Needs: gateway/base, proto. */
#ifndef TELEMETRY_REPLY_H
#define TELEMETRY_REPLY_H

#include "gateway/base/buf.h"
#include "schema/vocabulary.h"

/* Appends a google.rpc.Status with code and message, and a google.rpc.RetryInfo detail where
 * retry_after_s > 0. Protobuf, or its JSON form where is_json. */
MUST_USE enum status reply_write_status(struct buf *out, int grpc_code, const char *message,
					int retry_after_s, bool is_json);

/* What a backend answered. message is NUL terminated and cut to fit; control characters become
 * spaces. */
struct reply_status {
	int code;               /* gRPC code; 0 where the body has none */
	int64_t retry_after_ms; /* from RetryInfo; 0: none */
	char message[400];
};
/* Reads a google.rpc.Status, protobuf or JSON. ST_INVALID: it is something else (HTML, text). */
MUST_USE enum status reply_read_status(struct bytes body, bool is_json, struct reply_status *ret);

struct reply_partial {
	int64_t rejected; /* 0 with a message is a warning */
	char message[400];
};
/* Reads an Export*ServiceResponse's partial_success; rejected 0 and an empty message where there is
 * none. */
MUST_USE enum status reply_read_partial(enum signal signal, struct bytes body, bool is_json,
					struct reply_partial *ret);

#endif
