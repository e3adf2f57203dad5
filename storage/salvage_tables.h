/* storage/salvage_tables.h - the small tables of a damaged queue file: its books, its ledger, and
 * what it knew of files that were set aside before it. Writes nothing to it. Owner: one thread.
 * Needs: storage/salvage_file.h. */
#ifndef STORAGE_SALVAGE_TABLES_H
#define STORAGE_SALVAGE_TABLES_H

#include "storage/salvage_file.h"

enum { SALVAGE_WORD_MAX = 16, SALVAGE_WORDS_MAX = 1024 };

/* What was still owed to a destination by the file's own totals. */
struct salvage_total {
	int64_t destination_id;
	enum signal signal;
	int64_t records;
};
/* All of them. ST_CORRUPT: the totals cannot be read in full. */
MUST_USE enum status salvage_tables_owed(struct salvage_file *f, struct salvage_total *ret,
					 size_t max, size_t *ret_count);

/* What became of records by then. */
struct salvage_outcome {
	int64_t destination_id;
	enum signal signal;
	enum outcome outcome; /* any but OUTCOME_ACCEPTED */
	int64_t records;
};
/* As above. */
MUST_USE enum status salvage_tables_outcomes(struct salvage_file *f, struct salvage_outcome *ret,
					     size_t max, size_t *ret_count);

/* A row of its own table `salvages`: of a file that had been set aside before it. */
struct salvage_past {
	char path[SALVAGE_PATH_MAX];
	bool is_done;
	int64_t next_id;
	int64_t next_loss_id;
	int64_t batches;
	int64_t records;
	int64_t finished_at; /* 0: NULL */
};
/* As many as can be read, up to max. */
void salvage_tables_past(struct salvage_file *f, struct salvage_past *ret, size_t max,
			 size_t *ret_count);

/* A row of its ledger. */
struct salvage_loss {
	int64_t id;
	struct salvage_moment at;
	int64_t destination_id;
	int64_t records;
	int64_t bytes;
	int64_t first_time; /* 0: NULL */
	int64_t last_time;
	char signal[SALVAGE_WORD_MAX];
	char class[SALVAGE_WORD_MAX];
	char reason[SALVAGE_WORD_MAX];
	char detail[SALVAGE_WORDS_MAX]; /* cut to fit */
};
/* Up to max rows with an id of from or above, in order. *ret_next: go on there; 0: that was the
 * end. Stretches that cannot be read are passed over, and *ret_whole is false. */
void salvage_tables_losses(struct salvage_file *f, int64_t from, struct salvage_loss *ret,
			   size_t max, size_t *ret_count, int64_t *ret_next, bool *ret_whole);

/* The ledger's ids: the largest, and up to which it was reported as telemetry (0: not at all).
 * ST_CORRUPT: cannot be read. */
MUST_USE enum status salvage_tables_last_loss(struct salvage_file *f, int64_t *ret);
MUST_USE enum status salvage_tables_reported(struct salvage_file *f, int64_t *ret);

#endif
