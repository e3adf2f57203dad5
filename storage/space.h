/* storage/space.h - may the queue grow: the cap on its size, the floor of free disk, the reserve.
 * Owner: the writer thread. Needs: storage/queue.h, storage/checkpoint.h. */
#ifndef STORAGE_SPACE_H
#define STORAGE_SPACE_H

#include <limits.h>

#include "storage/checkpoint.h"
#include "storage/queue.h"

struct space {
	const char *path; /* borrowed */
	char reserve_path[PATH_MAX];
	uint64_t max_bytes;
	uint64_t min_free_bytes;
	uint64_t wal_allowance; /* part of max_bytes that is kept for the WAL */
	uint64_t reserve_bytes; /* part of it that is kept for the reserve */
	uint64_t settle_bytes;  /* part of it that puts leave to settlements */
	bool has_reserve;
	uint64_t file_bytes; /* pages of the file, as of the last space_measure */
	uint64_t free_bytes; /* of these, for reuse */
	uint64_t disk_bytes; /* of the file that the disk holds already */
	uint64_t wal_bytes;  /* the WAL file */
	uint64_t disk_free_bytes;
	bool is_measured;
	/* Of commits since then that were let through on that measure. */
	int64_t unmeasured_frames;
};

/* What a transaction may still put into the file. */
struct space_room {
	int64_t free_pages;   /* of the file, for reuse */
	int64_t growth_pages; /* by which it may grow. Negative: nothing may be put at all */
	enum status why; /* of the bound: ST_FULL (max_bytes) or ST_NO_SPACE (min_free_bytes) */
};

/* Borrows path. *io_step_bytes (the checkpoint step) is lowered where max_bytes is small. */
void space_init(struct space *s, const char *path, uint64_t max_bytes, uint64_t min_free_bytes,
		uint64_t *io_step_bytes);
MUST_USE enum status space_measure(struct space *s, struct queue *q, const struct checkpoint *c);
/* The same, unless by the last measurement there is room for so much more than a commit of so many
 * frames that nothing depends on it. Whoever decides by it must measure at times. */
MUST_USE enum status space_measure_if_near(struct space *s, struct queue *q,
					   const struct checkpoint *c, int64_t frames);
/* The pages that rows with so many payload bytes may touch: also the frames of their commit. */
int64_t space_pages_for(const struct checkpoint *c, uint64_t rows, uint64_t stored_bytes);
/* By the last measurement, for a commit of so many frames. */
struct space_room space_room(const struct space *s, const struct checkpoint *c, int64_t frames);
/* By the last measurement: ST_OK, ST_FULL or ST_NO_SPACE. Coming out of a state (was) takes a
 * little more room than staying out of it. */
enum status space_state(const struct space *s, const struct checkpoint *c, enum status was);
/* So much the file must shrink before anything may be put in again: it was made under another cap.
 */
uint64_t space_excess(const struct space *s, const struct checkpoint *c);

/* In the transaction, before the commit: would it pass the cap or the floor? ST_FULL, ST_NO_SPACE:
 * roll it back. frames: what it writes, where it is_put: something that may be refused is in it. */
MUST_USE enum status space_check_commit(struct space *s, struct queue *q,
					const struct checkpoint *c, int64_t frames, bool is_put);
/* The reserve is a file that holds disk space, so that deliveries can be settled on a full disk.
 * Where its space cannot be had there is none. */
void space_hold_reserve(struct space *s);
/* True: there was one, and its space is free now. */
bool space_release_reserve(struct space *s);

#endif
