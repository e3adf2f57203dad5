/* grpc_frame.c - an incremental decoder that owns no memory.
 *
 *   PREFIX -> BODY   [grpc_frame_next: the fifth prefix byte came]
 *   BODY -> PREFIX   [grpc_frame_next: the last byte came]
 *   PREFIX -> BAD    [grpc_frame_next: the flag is not 0 or 1]
 *
 * It hands out pieces of the input instead of gathering them: the caller decides, when it sees the
 * length and before a byte is stored, whether it wants the message at all. An empty message gives
 * PREFIX and then END. */
#include "gateway/base/grpc_frame.h"

enum { STATE_PREFIX, STATE_BODY, STATE_BAD };

void grpc_frame_reader_init(struct grpc_frame_reader *r)
{
	*r = (struct grpc_frame_reader){ .state = STATE_PREFIX };
}

static struct bytes take(struct bytes *in, size_t n)
{
	struct bytes piece = bytes_of(in->p, n);
	if (n) {
		in->p += n;
		in->n -= n;
	}
	return piece;
}

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

static enum grpc_frame_event read_prefix(struct grpc_frame_reader *r, struct bytes *in)
{
	struct bytes piece = take(in, smaller(in->n, GRPC_FRAME_PREFIX_SIZE - (size_t)r->prefix_n));
	if (piece.n)
		memcpy(r->prefix + r->prefix_n, piece.p, piece.n);
	r->prefix_n = (uint8_t)(r->prefix_n + piece.n);
	/* The flag is judged as soon as it is there: a client that speaks something else is told
	 * before it sends more. */
	if (r->prefix_n > 0 && r->prefix[0] > 1) {
		r->state = STATE_BAD;
		return GRPC_FRAME_BAD;
	}
	if (r->prefix_n < GRPC_FRAME_PREFIX_SIZE)
		return GRPC_FRAME_MORE;
	r->is_compressed = r->prefix[0] == 1;
	r->length = (uint32_t)r->prefix[1] << 24 | (uint32_t)r->prefix[2] << 16 |
		    (uint32_t)r->prefix[3] << 8 | (uint32_t)r->prefix[4];
	r->left = r->length;
	r->prefix_n = 0;
	r->state = STATE_BODY;
	return GRPC_FRAME_PREFIX;
}

enum grpc_frame_event grpc_frame_next(struct grpc_frame_reader *r, struct bytes *in,
				      struct bytes *ret_piece)
{
	if (r->state == STATE_BAD)
		return GRPC_FRAME_BAD;
	if (r->state == STATE_PREFIX)
		return read_prefix(r, in);
	if (r->left == 0) {
		r->state = STATE_PREFIX;
		return GRPC_FRAME_END;
	}
	if (in->n == 0)
		return GRPC_FRAME_MORE;
	*ret_piece = take(in, smaller(in->n, r->left));
	r->left -= (uint32_t)ret_piece->n;
	return GRPC_FRAME_BYTES;
}

bool grpc_frame_is_between(const struct grpc_frame_reader *r)
{
	return r->state == STATE_PREFIX && r->prefix_n == 0;
}

void grpc_frame_write_prefix(uint8_t out[GRPC_FRAME_PREFIX_SIZE], bool is_compressed,
			     uint32_t length)
{
	out[0] = is_compressed ? 1 : 0;
	out[1] = (uint8_t)(length >> 24);
	out[2] = (uint8_t)(length >> 16);
	out[3] = (uint8_t)(length >> 8);
	out[4] = (uint8_t)length;
}
