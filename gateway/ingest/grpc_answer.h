/* ingest/grpc_answer.h - puts one gRPC answer on an HTTP/2 stream.
 * Owner: the receiver's thread. Needs: grpc_frame, grpc_status, telemetry/reply, nghttp2. */
#ifndef INGEST_GRPC_ANSWER_H
#define INGEST_GRPC_ANSWER_H

#include <nghttp2/nghttp2.h>

#include "gateway/base/buf.h"

/* The largest message that a reply may hold: a health status, or an empty Export response. */
enum { GRPC_REPLY_MAX = 8 };

/* What is left to send of a framed message. Lives as long as its stream. */
struct grpc_reply {
	uint8_t bytes[5 + GRPC_REPLY_MAX]; /* private */
	uint8_t n;
	uint8_t sent;
};

/* Why a call failed. */
struct grpc_failure {
	int http_status; /* 200 but where the request is not gRPC at all */
	int code;
	const char *message;
	int retry_after_s;       /* > 0: RetryInfo is added */
	bool is_encoding_listed; /* tell which grpc-encodings are understood */
};

/* Success: headers, the message (copied), trailers with grpc-status 0. reply must outlive the
 * stream. ST_INTERNAL: the stream or the session cannot take it. */
MUST_USE enum status grpc_answer_message(nghttp2_session *session, int32_t stream_id,
					 struct grpc_reply *reply, struct bytes message);
/* Failure: one header block that is also the trailers ("Trailers-Only"). */
MUST_USE enum status grpc_answer_failure(nghttp2_session *session, int32_t stream_id,
					 const struct grpc_failure *f);

#endif
