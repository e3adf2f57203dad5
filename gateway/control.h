/* gateway/control.h - the uplinks of a gateway, and what operators may tell it: the piece of the
 * composition root between admin and forward, which do not know one another.
 * Owner: main makes and frees it; its control may be used from any thread in between.
 * Needs: admin/control.h, gateway/forward. */
#ifndef GATEWAY_CONTROL_H
#define GATEWAY_CONTROL_H

#include "admin/control.h"
#include "gateway/forward/forward.h"
#include "gateway/forward/uplink.h"

struct switchboard {
	struct control control; /* for the admin */
	const struct config *config;
	struct forward **forwards; /* one for each of config->destinations; borrowed */
	struct uplink *uplinks[UPLINKS_MAX + 1];
};

/* Makes the uplinks. Borrows all. After writer_open, before the destinations are made; forwards
 * is filled before the control is used. */
void switchboard_init(struct switchboard *s, const struct config *c, struct writer *w,
		      struct forward **forwards);
/* The uplink of a destination; NULL: its kind is on none. */
struct uplink *switchboard_uplink(const struct switchboard *s, const struct destination_config *d);
/* After the destinations have stopped, before writer_stop: what was used is stored. */
void switchboard_stop(struct switchboard *s, int64_t deadline_ns);
/* After writer_stop and the last forward_free. Accepts a zeroed struct. */
void switchboard_done(struct switchboard *s);

#endif
