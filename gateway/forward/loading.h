/* forward/loading.h - from rows of the queue to the body of an export.
 * Owner: the destination's thread. Needs: forward/dispatch.h. */
#ifndef FORWARD_LOADING_H
#define FORWARD_LOADING_H

#include "gateway/forward/dispatch.h"

/* Claim what is ready, opening the queue where that is due. False: it cannot be read now. */
bool loading_claim(struct dispatch *d, int64_t now);
/* The next export of a lane that has work waiting: its members, not yet its body. */
struct export *loading_next(struct dispatch *d, const struct lane *l);
/* The export of a slot was not sent, or is to be sent otherwise: its batches wait in the queue's
 * order again, and the slot is gone. */
void loading_put_back(struct dispatch *d, struct lane *l, struct slot *slot);
/* Make the slot's export ready to be sent. Members that are damaged, gone or too old are settled
 * and left out: with none left it has count 0. ST_INVALID: its part of a batch cannot be told
 * apart. Others: not now. */
MUST_USE enum status loading_body(struct dispatch *d, struct slot *slot);
/* Read one batch as it was before it was compressed. ST_BUSY and others: not now; ST_CORRUPT,
 * ST_NOT_FOUND: never. */
MUST_USE enum status loading_batch(struct dispatch *d, const struct claim *c, struct buf *out,
				   struct err *e);
/* What all exports' bodies may take together, while nothing forces more. */
size_t loading_budget(const struct destination_config *c);
void loading_log_dead(struct dispatch *d, const struct claim *c, uint32_t records, int status,
		      const char *reason);

#endif
