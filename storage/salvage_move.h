/* storage/salvage_move.h - the jobs of a salvage: each one is part of a commit of the writer, rows
 * and progress together. Owner: made by the salvage thread, applied on the writer thread. Needs:
 * storage/salvage_file.h, storage/writer.h. */
#ifndef STORAGE_SALVAGE_MOVE_H
#define STORAGE_SALVAGE_MOVE_H

#include "storage/salvage_file.h"
#include "storage/writer.h"

enum { SALVAGE_DETAIL_SIZE = SALVAGE_PATH_MAX + 256 };
enum { SALVAGE_GROUP_MAX = 32, SALVAGE_TOTALS_MAX = 1024, SALVAGE_PAST_MAX = 32 };

/* A row of `salvages`. */
struct salvage_row {
	int64_t id;
	char path[SALVAGE_PATH_MAX];
	int64_t next_id; /* of the damaged file: all below was looked at */
	int64_t batches;
	int64_t records;
};

/* A destination of the damaged file. Where its name is lost, it is the catch-all's. */
struct salvage_place {
	int64_t old_id;
	char name[SALVAGE_NAME_MAX];
	char kind[SALVAGE_NAME_MAX];
};

/* The catch-all. */
extern const struct salvage_place salvage_unrouted;

/* Records that are missing at the end, by the damaged file's own totals. */
struct salvage_missing {
	const struct salvage_place *place;
	enum signal signal;
	int64_t records;
};

struct salvage_job {
	struct write_job job;
	struct chan *chan; /* the job comes back here, with its status */
	enum status status;
	struct salvage_row row;
	/* salvage_adopt */
	struct salvage_past past[SALVAGE_PAST_MAX];
	size_t past_count;
	/* salvage_move: batches [0, count) and their bytes; next_id is stored with them. */
	size_t count;
	struct salvage_batch batches[SALVAGE_GROUP_MAX];
	struct buf bytes[SALVAGE_GROUP_MAX];
	struct salvage_place *places; /* every destination that the batches name */
	size_t place_count;
	int64_t next_id;
	char detail[SALVAGE_DETAIL_SIZE]; /* in the ledger, of payloads that cannot be read */
	/* salvage_finish */
	int64_t at_ns;
	struct salvage_missing missing[SALVAGE_TOTALS_MAX];
	size_t missing_count;
	bool is_unknown; /* the damaged file's totals cannot be read */
};

/* Of the rows that are running the one of the file that was set aside last, into row.
 * ST_NOT_FOUND: there is none. */
enum status salvage_find(struct queue *q, struct write_job *job);
/* What the damaged file knew of the salvage of those before it, which a new file does not know:
 * what was moved into it is moved with it, and must not be moved a second time. */
enum status salvage_adopt(struct queue *q, struct write_job *job);
/* Insert the batches as they were, owed to whom they were owed, and count what has no payload as
 * lost. ST_CONFLICT: the row is not where the job thinks it is. */
enum status salvage_move(struct queue *q, struct write_job *job);
/* Count what is missing as lost, and end the salvage. ST_CONFLICT as above. */
enum status salvage_finish(struct queue *q, struct write_job *job);

#endif
