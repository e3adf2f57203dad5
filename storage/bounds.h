/* storage/bounds.h - what may be kept of one kind: dead letters, by size and age, and what waits
 * for one destination. Owner: the writer thread. Needs: storage/depart.h. */
#ifndef STORAGE_BOUNDS_H
#define STORAGE_BOUNDS_H

#include "storage/depart.h"

enum { BOUNDS_EXPIRED_MAX = 32 };

/* One sum over deliveries, made in slices, and what is over the bound. Private below. */
struct bounds_tally {
	enum delivery_state state;
	int64_t destination_id; /* 0: all */
	uint64_t max_bytes;     /* 0: none */
	int64_t next_ns;        /* begin again */
	bool is_walking;
	int64_t spent_ns; /* on the walk so far, without what came between its slices */
	size_t place;     /* where the walk is: the destination, */
	int class;        /* the class, */
	int64_t after_id; /* and the batch */
	uint64_t bytes;   /* up to there */
	uint64_t excess;  /* of the last whole walk, still to go */
	uint64_t gone;    /* of it, in the open transaction */
	uint64_t left;    /* gone_bytes, up to which bytes or excess is right */
};

struct bounds {
	const struct writer_limits *limits; /* borrowed */
	struct bounds_tally dead;
	size_t quota_count;
	struct bounds_tally quotas[DESTINATIONS_MAX];
	size_t expired_count; /* dead letters past their age, as the walk found them */
	struct depart_item expired[BOUNDS_EXPIRED_MAX];
};

void bounds_init(struct bounds *b, const struct writer_limits *limits);
void bounds_add_quota(struct bounds *b, int64_t destination_id, uint64_t max_bytes);
/* The file is another one, or was opened again: what was counted says nothing of it. */
void bounds_restart(struct bounds *b);
/* Go on with the sums, until the deadline. Reads only. *ret_due: something has to go. *ret_next_ns:
 * when to look again. */
MUST_USE enum status bounds_look(struct bounds *b, struct queue *q, int64_t deadline_ns,
				 bool *ret_due, int64_t *ret_next_ns);
/* In the transaction: let go what is over. */
MUST_USE enum status bounds_step(struct bounds *b, struct queue *q, int64_t deadline_ns);
/* That was committed. */
void bounds_committed(struct bounds *b, const struct queue *q);

#endif
