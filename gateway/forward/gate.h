/* forward/gate.h - one destination's side of its uplink: asks before exports, tells what went, and
 * knows why it waits.
 * Owner: the destination's thread. Needs: forward/{uplink,export}.h. */
#ifndef FORWARD_GATE_H
#define FORWARD_GATE_H

#include "gateway/forward/export.h"
#include "gateway/forward/uplink.h"

struct gate {
	struct uplink_member *member; /* NULL: the kind is on no uplink, everything may go */
	const char *destination;
	const char *uplink;
	unsigned closed;                    /* bit i: class i has to wait, as of this turn */
	int64_t due_ns[RECORD_CLASS_COUNT]; /* mono: when to ask again */
	enum uplink_wait waits[RECORD_CLASS_COUNT]; /* as last logged */
	int64_t granted;                            /* for the export that is being made */
	enum record_class granted_class;
	int64_t flush_until_ns; /* mono; 0: no flush */
};

/* uplink NULL: none. Borrows destination. */
void gate_init(struct gate *g, struct uplink *uplink, const char *destination, struct chan *chan);
void gate_done(struct gate *g);

/* Each turn begins with asking anew. has_work: something of the class waits to be sent. */
void gate_turn(struct gate *g, const bool has_work[RECORD_CLASS_COUNT], int64_t now);
/* May an export of this class be made? True: tell with gate_sent, or gate_give_back. */
bool gate_pass(struct gate *g, enum record_class class);
/* It goes now. */
void gate_sent(struct gate *g, const struct export *x);
/* It does not, for a reason of our own. Does nothing where nothing was granted. */
void gate_give_back(struct gate *g);
/* The attempt ended; body_bytes had been told. An unreachable backend got none of them. */
void gate_ended(struct gate *g, const struct export *x, size_t body_bytes);
/* A bare connection. False: outside windows and budgets there are none. */
bool gate_probe(struct gate *g, const bool has_work[RECORD_CLASS_COUNT]);
/* Most raw bytes of the next export. */
size_t gate_export_max(const struct gate *g);

/* It stopped answering, it answers again. */
void gate_note_down(struct gate *g);
void gate_note_up(struct gate *g);
/* Windows and slow start do not count until everything is sent, for an hour at most. */
void gate_flush(struct gate *g, int64_t now);
/* Paused: others need not wait for it. */
void gate_withdraw(struct gate *g);

/* Where a window or a budget keeps it: why, in words, and until when (wall; 0: not known). False:
 * nothing does for long. */
bool gate_reason(const struct gate *g, char *ret, size_t size, int64_t *ret_until_ns);

#endif
