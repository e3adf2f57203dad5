/* grpc_frame.h - gRPC's length-prefixed messages, apart from HTTP/2 and from any server.
 * Owner: whoever holds the struct. Needs: gateway/base.
 *
 * A message is one byte "compressed" (0 or 1), four bytes length (big endian), and the bytes
 * (grpc/doc/PROTOCOL-HTTP2.md, "Length-Prefixed-Message"). DATA frames cut this anywhere. */
#ifndef BASE_GRPC_FRAME_H
#define BASE_GRPC_FRAME_H

#include "gateway/base/buf.h"

enum { GRPC_FRAME_PREFIX_SIZE = 5 };

/* What grpc_frame_next found. */
enum grpc_frame_event {
	GRPC_FRAME_MORE,   /* the input is used up; give more */
	GRPC_FRAME_PREFIX, /* a message begins: is_compressed and length are known */
	GRPC_FRAME_BYTES,  /* the next piece of the message is in *ret_piece, borrowed */
	GRPC_FRAME_END,    /* the message is complete */
	GRPC_FRAME_BAD, /* the compressed flag is neither 0 nor 1; every later call says so too */
};

struct grpc_frame_reader {
	/* For reading: of the message that began last. */
	bool is_compressed;
	uint32_t length;
	/* Private. */
	uint8_t prefix[GRPC_FRAME_PREFIX_SIZE];
	uint8_t prefix_n;
	uint8_t state;
	uint32_t left;
};

void grpc_frame_reader_init(struct grpc_frame_reader *r);
/* Takes bytes from the front of *in and says what came next. Call it until GRPC_FRAME_MORE. */
MUST_USE enum grpc_frame_event grpc_frame_next(struct grpc_frame_reader *r, struct bytes *in,
					       struct bytes *ret_piece);
/* No message is half read. */
bool grpc_frame_is_between(const struct grpc_frame_reader *r);

/* The prefix of a message of this length. */
void grpc_frame_write_prefix(uint8_t out[GRPC_FRAME_PREFIX_SIZE], bool is_compressed,
			     uint32_t length);

#endif
