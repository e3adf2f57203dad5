/* storage/vacuum.h - gives disk back that the queue has not needed for a while, in small steps.
 * Owner: the writer thread. Needs: storage/queue.h, storage/space.h. */
#ifndef STORAGE_VACUUM_H
#define STORAGE_VACUUM_H

#include "storage/space.h"

struct vacuum { /* private below */
	int64_t after_ns;
	int64_t window_ends_ns;
	uint64_t least_now;    /* free bytes in the current window */
	uint64_t least_before; /* and in the one before */
	uint64_t freed;        /* by the step in the open transaction */
};

/* after_ns: how long pages must have been free; 0: the default. */
void vacuum_init(struct vacuum *v, int64_t after_ns);
/* At each measurement. True: there are pages to give back. */
bool vacuum_look(struct vacuum *v, const struct space *s, const struct checkpoint *c);
/* In the transaction: give back a little, until the deadline. */
MUST_USE enum status vacuum_step(struct vacuum *v, struct queue *q, const struct space *s,
				 const struct checkpoint *c, int64_t deadline_ns);
/* That was committed. Returns how many bytes. */
uint64_t vacuum_committed(struct vacuum *v);

#endif
