/* ingest/grpc_status.h - the texts of gRPC's headers and trailers: grpc-message, binary headers,
 * grpc-timeout. Owner: stateless. Needs: gateway/base. */
#ifndef INGEST_GRPC_STATUS_H
#define INGEST_GRPC_STATUS_H

#include "gateway/base/buf.h"

/* Codes that no row of schema/status.def stands for (grpc/doc/statuscodes.md). */
enum { GRPC_OK = 0, GRPC_NOT_FOUND = 5, GRPC_UNIMPLEMENTED = 12, GRPC_INTERNAL = 13 };

/* Appends src percent-encoded (PROTOCOL-HTTP2.md, "Percent-Encoded"): all but 0x20..0x7E, and the
 * percent sign, as %XX. */
MUST_USE enum status grpc_message_encode(struct buf *out, const char *src);
/* Appends src in base64 (RFC 4648, 4) without padding, as the values of "-bin" headers are. */
MUST_USE enum status grpc_base64_encode(struct buf *out, struct bytes src);
/* A grpc-timeout: 1 to 8 digits and a unit H, M, S, m, u or n. Too long for ns becomes INT64_MAX.
 * ST_INVALID: it is something else. */
MUST_USE enum status grpc_timeout_parse(struct bytes value, int64_t *ret_ns);

#endif
