/* forward/claim_window.h - which of a destination's deliveries are in memory, in order.
 * Owner: the destination's thread. Needs: storage/claim.h. */
#ifndef FORWARD_CLAIM_WINDOW_H
#define FORWARD_CLAIM_WINDOW_H

#include "storage/claim.h"

struct claim_window;

/* Whose end of the queue. */
enum claim_side {
	CLAIM_OLDEST, /* in the order of the queue */
	CLAIM_NEWEST, /* what came last goes first; only where the window has two sides */
	CLAIM_SIDE_COUNT
};

/* Holds, of each class and signal, at most max_bytes of batches (decompressed), but always one; and
 * at most CLAIM_WINDOW_MAX claims. Two sides share both. Never NULL. */
enum { CLAIM_WINDOW_MAX = 1024 };
struct claim_window *claim_window_new(int64_t destination_id, size_t max_bytes, bool has_two_sides);
void claim_window_free(struct claim_window *w);

/* Claim what is ready and not yet claimed, as far as there is room. Statuses of claim_list. */
MUST_USE enum status claim_window_fill(struct claim_window *w, struct claim_reader *r,
				       struct err *e);
/* There were more rows to look at than one fill does: another one is to follow soon. */
bool claim_window_is_behind(const struct claim_window *w);
/* Somebody replayed, purged or moved deliveries: forget what waits, and let the next fill read from
 * the front. What is taken stays. */
void claim_window_refresh(struct claim_window *w);
/* Something of this signal and class waits to be taken from this side. */
bool claim_window_has(const struct claim_window *w, enum claim_side side, enum signal signal,
		      enum record_class class);
/* Take the next claims of one signal and class from this side: up to max of them and max_bytes
 * (decompressed), but always one. They come in the order of the queue, whatever the side. Returns
 * how many. Taken is not gone: they stay claimed until claim_window_release. */
size_t claim_window_take(struct claim_window *w, enum claim_side side, enum signal signal,
			 enum record_class class, size_t max_bytes, struct claim *ret, size_t max);
/* Taken, but not sent: wait again, in their old place. */
void claim_window_put_back(struct claim_window *w, const struct claim *c);
/* The outcome of the delivery is committed (or its batch is gone): forget it. */
void claim_window_release(struct claim_window *w, enum record_class class, int64_t batch_id);
/* How many are claimed, taken or not. */
size_t claim_window_count(const struct claim_window *w);

#endif
