/* storage/checkpoint.h - keeps the write-ahead log short, in steps that keep commits quick.
 * Owner: the writer thread. Needs: gateway/base, sqlite3. */
#ifndef STORAGE_CHECKPOINT_H
#define STORAGE_CHECKPOINT_H

#include <stdint.h>

#include <sqlite3.h>

#include "gateway/base/status.h"

enum { CHECKPOINT_BYTES = 8 << 20 };

struct checkpoint {
	sqlite3 *db;
	uint64_t step_bytes; /* checkpoint when so much of the WAL is not in the file yet */
	uint64_t frame_bytes;
	uint64_t page_bytes;
	uint64_t wal_frames;  /* in use, as of the last commit or checkpoint */
	uint64_t done_frames; /* of these, copied to the file */
	int64_t next_restart_ns;
	bool is_held;     /* a reader keeps the WAL from being started over */
	bool starts_over; /* the next commit does, whatever readers do */
};

/* Watches the connection's commits from here on. c must outlive db. */
MUST_USE enum status checkpoint_init(struct checkpoint *c, sqlite3 *db, uint64_t step_bytes,
				     struct err *e);
/* After each commit: a step where it is time. *ret_did says whether there was one. ST_OK where a
 * reader was in the way. */
MUST_USE enum status checkpoint_step(struct checkpoint *c, bool *ret_did, struct err *e);
/* Copy everything, and wait a moment until no reader uses the WAL: where that succeeds, the next
 * commit starts it over. Not more often than once a second where it does not. */
MUST_USE enum status checkpoint_restart(struct checkpoint *c, struct err *e);
/* Copy everything and cut the WAL to nothing: when idle, and at the stop. *ret_done is false where
 * a reader was in the way. */
MUST_USE enum status checkpoint_truncate(struct checkpoint *c, bool *ret_done, struct err *e);
/* Bytes of the WAL that are in use, also after the next commit. */
uint64_t checkpoint_wal_bytes(const struct checkpoint *c);
/* The WAL is so long, and held by a reader, that somebody should know. */
bool checkpoint_is_alarming(const struct checkpoint *c);

#endif
