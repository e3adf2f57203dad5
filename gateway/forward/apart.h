/* forward/apart.h - carries out the splitting of a refused export: pieces to send, outcomes to
 * settle. Owner: the destination's thread. Needs: forward/dispatch.h. */
#ifndef FORWARD_APART_H
#define FORWARD_APART_H

#include "gateway/forward/dispatch.h"

/* The slot's export was refused: take it apart from here on. The slot may be gone afterwards. */
void apart_begin(struct dispatch *d, struct lane *l, struct slot *slot);
/* The slot's piece was taken, or refused. The slot may be gone afterwards. */
void apart_delivered(struct dispatch *d, struct lane *l, struct slot *slot);
void apart_refused(struct dispatch *d, struct lane *l, struct slot *slot);

enum apart_next {
	APART_PIECE, /* the slot's export is the next piece */
	APART_GONE,  /* everything is decided: the slot is gone */
	APART_WAIT   /* not now: the queue cannot be read, or there is no room */
};
enum apart_next apart_next(struct dispatch *d, struct lane *l, struct slot *slot);
/* The piece could not be made: its members are gone (export without members), or cannot be told
 * apart. The slot may be gone afterwards. */
void apart_failed(struct dispatch *d, struct lane *l, struct slot *slot, enum status st);

#endif
