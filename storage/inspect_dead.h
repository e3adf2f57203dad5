/* storage/inspect_dead.h - the deliveries of a destination by state and reason: what replay, purge,
 * move and export choose from, and the groups of dead letters.
 * Owner: one thread per struct inspect. Needs: storage/inspect.h, storage/reason.h. */
#ifndef STORAGE_INSPECT_DEAD_H
#define STORAGE_INSPECT_DEAD_H

#include "storage/inspect.h"
#include "storage/reason.h"

/* Which deliveries. NULL and 0: any. */
struct inspect_selector {
	const char *destination; /* must be given, but for inspect_dead_groups */
	enum delivery_state state;
	int64_t batch_id;
	const char *reason; /* an error or its reason */
	bool has_status;
	int status; /* 0: those that got no answer */
	const char *signal;
	const char *class;
	int64_t received_to_ns;     /* inclusive */
	bool is_least_urgent_first; /* the order of ready ones; else the most urgent class */
};

/* Texts are borrowed until the callback returns; NULL where the column is. */
struct inspect_owed {
	int64_t batch_id;
	const char *destination;
	const char *signal;
	const char *class;
	const char *service;
	const char *preview;
	const char *error;
	char reason[REASON_MAX];
	int status; /* 0: none */
	int64_t records;
	int64_t bytes; /* stored, of the whole batch */
	int64_t attempts;
	int64_t last_attempt_at_ns; /* of a dead letter: when it died */
	int64_t received_at_ns;
};

/* *ret_id of the destination of that name, and whether the configuration has it. ST_NOT_FOUND. */
MUST_USE enum status inspect_destination(struct inspect *in, const char *name, int64_t *ret_id,
					 bool *ret_is_configured, struct err *e);

/* The destination's kind, cut to fit, and the signals of which it is owed anything, as bits. It is
 * told from the totals: nothing is walked. */
MUST_USE enum status inspect_held(struct inspect *in, int64_t destination_id, char *kind,
				  size_t kind_size, unsigned *ret_signals, struct err *e);

/* Visits up to max deliveries behind *cursor (0: from the front; otherwise opaque), each once, in
 * the order of their ids, ready ones class by class. *cursor moves to the last that was looked
 * at, and is 0 at the end; it may be set with fewer than max visited, where the time was up. Short
 * read transactions: a walk never starves a checkpoint. */
MUST_USE enum status inspect_owed(struct inspect *in, const struct inspect_selector *s,
				  int64_t *cursor, size_t max,
				  void (*row)(void *ctx, const struct inspect_owed *o), void *ctx,
				  struct err *e);

struct inspect_dead_group {
	char *destination;
	char reason[REASON_MAX];
	int status;
	enum signal signal;
	int64_t batches;
	int64_t records;
	int64_t bytes;
	int64_t first_died_ns;
	int64_t last_died_ns;
	int64_t example_batch_id;
};
enum { INSPECT_GROUPS_MAX = 500 };
struct inspect_dead_groups {
	struct inspect_dead_group *items;
	size_t count;
	struct inspect_count sum; /* of all dead letters that were looked at */
	bool is_complete;         /* false: too many groups, or too long a list for the time */
};
/* By destination (as s says, or all), reason, status and signal; most records first. s->state is
 * DELIVERY_DEAD. Release with inspect_dead_groups_done. */
MUST_USE enum status inspect_dead_groups(struct inspect *in, const struct inspect_selector *s,
					 struct inspect_dead_groups *ret, struct err *e);
void inspect_dead_groups_done(struct inspect_dead_groups *g);

#endif
