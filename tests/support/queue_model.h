/* queue_model.h - what the queue should hold, told by a model that fits a few pages: rows, totals
 * and losses after puts, outcomes, splits, moves, purges, ages, bounds and evictions.
 * Owner: one test thread. Needs: storage/writer.h, storage/redrive.h for their words.
 * large file: every step that the queue knows, in one place. */
#ifndef TESTS_SUPPORT_QUEUE_MODEL_H
#define TESTS_SUPPORT_QUEUE_MODEL_H

#include "storage/redrive.h"

enum { MODEL_PLACES = 4, MODEL_BATCHES_MAX = 4096 };
enum model_state { MODEL_NONE, MODEL_READY, MODEL_DEAD };

/* One batch at one destination. */
struct model_delivery {
	enum model_state state;
	int64_t records;
	int64_t attempts;
	int64_t attempt_ns; /* wall clock; -1: none yet */
	int status;
	const char *error; /* "": none. Static. */
};

struct model_batch {
	int64_t id;
	enum signal signal;
	enum record_class class;
	int64_t received_ns; /* boot clock */
	int64_t records;
	int64_t bytes; /* stored */
	int64_t first_ns;
	int64_t last_ns;
	bool has_payload;
	struct model_delivery to[MODEL_PLACES];
};

struct model_place {
	int64_t id; /* of the destination */
	const char *name;
	bool is_configured;
	enum destination_state state;
	const char *reason;
};

struct model_loss {
	int64_t records;
	int64_t bytes;
	int64_t first_ns; /* 0: unknown */
	int64_t last_ns;
};

struct model {
	struct model_place places[MODEL_PLACES];
	struct writer_limits rules;
	uint64_t quotas[MODEL_PLACES]; /* 0: none */
	int64_t last_id;               /* that was given out */
	int count;
	struct model_batch batches[MODEL_BATCHES_MAX]; /* by id; those that are gone too */
	int64_t totals[MODEL_PLACES][SIGNAL_COUNT][OUTCOME_COUNT];
	struct model_loss losses[MODEL_PLACES][SIGNAL_COUNT][RECORD_CLASS_COUNT][OUTCOME_COUNT];
};

/* The batch, or NULL. */
struct model_batch *model_find(struct model *m, int64_t id);
/* Some delivery of it is left. */
bool model_is_stored(const struct model_batch *b);
int model_stored(const struct model *m); /* how many batches */
/* A batch that was put: of model.last_id + 1, to the places of the mask. */
struct model_batch *model_put(struct model *m, const struct model_batch *b, unsigned places);

/* One settlement. to_destination_id of an item is a place's id. */
struct model_answer {
	int place;
	int64_t at_ns;
	int status;
	const char *error;
};
void model_settle(struct model *m, const struct model_answer *a, const struct settle_item *items,
		  size_t count);
/* What redrive_run does with r; the results are in r. */
void model_redrive(struct model *m, struct redrive *r);
/* Ready deliveries of the place go to the others: bit i of to[signal][class] is place i. */
void model_reroute(struct model *m, int place, const unsigned to[SIGNAL_COUNT][RECORD_CLASS_COUNT]);
/* The batch that evict_some lets go first. NULL: none may go. */
struct model_batch *model_to_evict(struct model *m, const bool may_evict[RECORD_CLASS_COUNT],
				   enum record_class arriving);
void model_evict(struct model *m, struct model_batch *b); /* there is one */
/* What the rules let go by now, when everything that they have to do is done. */
void model_obey(struct model *m);

/* Compares every row of the file with the model: batches, payloads, deliveries, totals, the ledger
 * and the destinations. Fails the test with `what` and the first difference. */
void model_compare(const struct model *m, const char *path, const char *what);

#endif
