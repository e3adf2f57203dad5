/* forward/grpc_target.h - where and how a gRPC destination is asked: host, metadata, TLS files.
 * Owner: made by main, then the destination's thread. Needs: base/{config,grpc_endpoint}.h. */
#ifndef FORWARD_GRPC_TARGET_H
#define FORWARD_GRPC_TARGET_H

#include "gateway/base/config.h"
#include "gateway/base/grpc_endpoint.h"

struct grpc_target {
	const struct destination_config *config; /* borrowed */
	struct grpc_endpoint endpoint;
	struct config_map metadata; /* names in lower case; user-agent always among them */
};

/* Borrows c as long as t lives. ST_INVALID: e names the key. t must be zeroed. */
MUST_USE enum status grpc_target_init(struct grpc_target *t, const struct destination_config *c,
				      struct err *e);
/* Accepts a zeroed or half-built struct. */
void grpc_target_done(struct grpc_target *t);

#endif
