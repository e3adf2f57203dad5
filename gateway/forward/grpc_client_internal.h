/* forward/grpc_client_internal.h - what the files of grpc_client share with one another only.
 * Owner: the destination's thread. Needs: forward/grpc_client.h. */
#ifndef FORWARD_GRPC_CLIENT_INTERNAL_H
#define FORWARD_GRPC_CLIENT_INTERNAL_H

#include "gateway/base/grpc_frame.h"
#include "gateway/forward/grpc_client.h"

/* Bytes of a call's message on the wire. */
static inline size_t grpc_client_size_of(const struct grpc_exchange *x)
{
	return GRPC_FRAME_PREFIX_SIZE + x->export->body.n;
}

static inline int64_t grpc_client_timeout(const struct grpc_client *c)
{
	return c->target->config->timeout;
}

/* How long a call may take in all. */
static inline int64_t grpc_client_patience(const struct grpc_client *c,
					   const struct grpc_exchange *x)
{
	return export_patience_ns(x->export, grpc_client_timeout(c));
}

/* Takes the call off its stream, if it still has one: later callbacks will not find it. */
void grpc_client_end(struct grpc_client *c, struct grpc_exchange *x, enum grpc_end how);
/* Tell the server that nobody waits for this stream any more. */
void grpc_client_cancel(struct grpc_client *c, int32_t stream_id);
/* The connection is over, and with it what is open. The first reason is the reason; the transport
 * knows more than we. */
void grpc_client_die(struct grpc_client *c, const char *why);

/* Look at the time: end what stands still, ask who is silent. grpc_client_time.c */
void grpc_client_tick(struct grpc_client *c, int64_t now);

#endif
