/* forward/answer.h - what the answer to an export leads to.
 * Owner: the destination's thread. Needs: forward/dispatch.h. */
#ifndef FORWARD_ANSWER_H
#define FORWARD_ANSWER_H

#include "gateway/forward/dispatch.h"

/* The exporter gave it back, with its reply. */
void answer_take(struct dispatch *d, struct export *x);
/* The kind has no words for any record of the slot's export: there was nothing to send. The slot
 * may be gone afterwards. */
void answer_nothing_to_send(struct dispatch *d, struct lane *l, struct slot *slot);
void answer_show_in_flight(struct dispatch *d);

#endif
