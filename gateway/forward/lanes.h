/* forward/lanes.h - what of a destination's data must stay in order, and whose turn it is.
 * Owner: the destination's thread. Needs: forward/{claim_window,export,shares,split}.h. */
#ifndef FORWARD_LANES_H
#define FORWARD_LANES_H

#include "gateway/forward/claim_window.h"
#include "gateway/forward/export.h"
#include "gateway/forward/shares.h"
#include "gateway/forward/split.h"

enum { LANE_SLOTS_MAX = 16, LANES = SIGNAL_COUNT * RECORD_CLASS_COUNT * CLAIM_SIDE_COUNT };

/* An export that was begun: under way, waiting for its next attempt, or being taken apart. */
struct slot {
	struct export *export; /* NULL: the next piece of split is to be made */
	struct split *split;   /* it was refused */
	bool is_in_flight;
};

/* One signal of one class, from one end of the queue. */
struct lane {
	enum signal signal;
	enum record_class class;
	enum claim_side side;
	struct slot slots[LANE_SLOTS_MAX]; /* in the order in which they were begun */
	size_t count;
	size_t max;           /* slots that may be under way together */
	size_t in_flight;     /* slots that are */
	int64_t attempted_ns; /* mono, the last time */
	int failures;         /* in a row, with an answer: the backend lives, but not for this */
	int64_t failed_ns;    /* mono, the last of them */
	int64_t due_ns;       /* mono: not before */
	int barren;           /* exports in a row of which nothing was taken, though split */
	int64_t earnest_ns;   /* mono: until then what is refused is not split in earnest */
	int64_t earnest_wait_ns;
};

struct lanes {
	struct lane lanes[LANES];
	struct claim_window *window;
	size_t in_flight;
	size_t max_in_flight; /* of all lanes */
	unsigned closed;      /* bit i: class i waits for the uplink */
	struct shares classes;
	struct shares sides[RECORD_CLASS_COUNT];
};

struct lanes_options {
	struct claim_window *window;
	const int *shares;    /* of the classes; RECORD_CLASS_COUNT */
	int backfill_percent; /* of the oldest side, where there are two */
	size_t max_in_flight;
	size_t max_of_signal[SIGNAL_COUNT];
};
void lanes_init(struct lanes *ls, const struct lanes_options *o);
/* Frees what the slots hold. */
void lanes_done(struct lanes *ls);

/* Something is begun, or waits in the queue. */
bool lane_has_work(const struct lanes *ls, const struct lane *l);
/* The lane that should start something now, or NULL. is_up: the destination is; while it is not,
 * there is one export at a time, and it is the turn of the lane that waited longest. */
struct lane *lanes_next(struct lanes *ls, bool is_up, int64_t now);
/* The slot to send next: the first that waits, or a new one, empty. */
struct slot *lane_slot(struct lane *l);
/* The slot of an export that is under way. */
struct slot *lane_find(struct lane *l, const struct export *x);
/* Its body is made. Its lane is charged for it where it was its turn by shares: is_up, as for
 * lanes_next. */
void lanes_started(struct lanes *ls, struct lane *l, struct slot *slot, bool is_up);
void lanes_ended(struct lanes *ls, struct lane *l, struct slot *slot);
/* The slot is settled: frees what it holds, closes the gap. Slots behind it move. */
void lane_remove(struct lane *l, struct slot *slot);

#endif
