/* grpc_status.h - the texts of gRPC's headers and trailers: grpc-message, binary headers,
 * grpc-timeout. Owner: stateless. Needs: gateway/base. */
#ifndef BASE_GRPC_STATUS_H
#define BASE_GRPC_STATUS_H

#include "gateway/base/buf.h"

/* Codes that no row of schema/status.def stands for (grpc/doc/statuscodes.md). */
enum {
	GRPC_OK = 0,
	GRPC_CANCELLED = 1,
	GRPC_UNKNOWN = 2,
	GRPC_NOT_FOUND = 5,
	GRPC_RESOURCE_EXHAUSTED = 8,
	GRPC_UNIMPLEMENTED = 12,
	GRPC_INTERNAL = 13,
	GRPC_UNAVAILABLE = 14
};

/* "UNAVAILABLE" for 14; "status 99" is UNKNOWN to every client, and so is it here. */
const char *grpc_status_text(int code);

/* Appends src percent-encoded (PROTOCOL-HTTP2.md, "Percent-Encoded"): all but 0x20..0x7E, and the
 * percent sign, as %XX. */
MUST_USE enum status grpc_message_encode(struct buf *out, const char *src);
/* Appends what src was before it was percent-encoded; a percent sign without two hex digits stands
 * for itself, as PROTOCOL-HTTP2.md wants it. */
MUST_USE enum status grpc_message_decode(struct buf *out, struct bytes src);
/* Appends src in base64 (RFC 4648, 4) without padding, as the values of "-bin" headers are. */
MUST_USE enum status grpc_base64_encode(struct buf *out, struct bytes src);
/* Appends what src says in base64, with or without padding. ST_INVALID: it says nothing. */
MUST_USE enum status grpc_base64_decode(struct buf *out, struct bytes src);
/* A grpc-timeout: 1 to 8 digits and a unit H, M, S, m, u or n. Too long for ns becomes INT64_MAX.
 * ST_INVALID: it is something else. */
MUST_USE enum status grpc_timeout_parse(struct bytes value, int64_t *ret_ns);
/* A grpc-timeout of ns, NUL terminated: in the smallest of ms, s and h that has room for it. */
enum { GRPC_TIMEOUT_SIZE = 10 };
void grpc_timeout_write(int64_t ns, char out[GRPC_TIMEOUT_SIZE]);

#endif
