/* forward/grpc_response.h - what a gRPC server answered: gathered from HTTP/2, then judged.
 * Owner: whoever holds the struct. Needs: base/grpc_frame.h, forward/export.h. */
#ifndef FORWARD_GRPC_RESPONSE_H
#define FORWARD_GRPC_RESPONSE_H

#include "gateway/base/grpc_frame.h"
#include "gateway/forward/credentials.h"
#include "gateway/forward/export.h"

/* Of the body; the rest is thrown away. */
enum { GRPC_BODY_MAX = 64 * 1024 };

struct grpc_response {
	int http_status; /* 0: none came */
	bool is_grpc;    /* its content type says so */
	int status;      /* grpc-status; -1: none came */
	/* As they came; NUL terminated, cut to fit. */
	char content_type[64];
	char retry_after[64];
	char accept_encoding[128];
	struct buf message;             /* grpc-message, percent-encoded */
	struct buf details;             /* grpc-status-details-bin, base64 */
	struct buf body;                /* of the message; without gRPC, of a page */
	struct grpc_frame_reader frame; /* private */
	bool is_message_unreadable;     /* compressed, or more than one: not looked at */
};

void grpc_response_init(struct grpc_response *r);
void grpc_response_done(struct grpc_response *r);

/* One header or trailer. Borrows both. */
void grpc_response_header(struct grpc_response *r, struct bytes name, struct bytes value);
/* A piece of DATA. Borrows. */
void grpc_response_data(struct grpc_response *r, struct bytes data);

/* The whole answer, to an export that was sent with this encoding. Secrets are wiped out; k may be
 * NULL. */
void grpc_response_read(struct grpc_response *r, enum signal signal, enum encoding encoding,
			const struct credentials *k, struct export_reply *ret);

#endif
