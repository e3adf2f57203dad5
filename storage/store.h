/* storage/store.h - the open queue file with all that belongs to it, and its recovery.
 * For storage/ only. Owner: the writer thread (main before writer_start). Needs: storage/queue.h,
 * storage/checkpoint.h. */
#ifndef STORAGE_STORE_H
#define STORAGE_STORE_H

#include <limits.h>

#include "storage/checkpoint.h"
#include "storage/inherit.h"

struct store_slot {
	char *name;
	char *kind;
	int64_t id;
};

struct store {
	char *path;
	int page_size; /* of a new file */
	uint64_t step_bytes;
	uint64_t wal_keep_bytes;
	sqlite3 *db; /* NULL while recovery has it closed */
	struct queue queue;
	struct checkpoint checkpoint;
	int64_t acked_id; /* the last batch that was acknowledged */
	int slot_count;
	struct store_slot slots[DESTINATIONS_MAX];
	bool needs_seed;   /* it follows a file that was set aside, and has not got its rows yet */
	bool is_in_doubt;  /* the WAL may hold frames that are not on the disk */
	unsigned probes;   /* failed, in this recovery */
	unsigned verified; /* times that reported damage was not found again */
	char set_aside[PATH_MAX];   /* the name of the last file that was set aside, or "" */
	char damage[512];           /* what was wrong with it */
	struct inherited inherited; /* from it, or from one that was set aside before a crash */
	int64_t lost_from; /* acknowledged batches behind this id were not found again; 0: none */
};

/* path, page_size, step_bytes and wal_keep_bytes are set; path is checked and locked. Opens,
 * verifies, sets a damaged file aside and starts a new one. */
MUST_USE enum status store_open(struct store *s, struct err *e);
/* Close the file, set it aside because of the damage, and start a new one. */
MUST_USE enum status store_set_aside(struct store *s, const char *damage, struct err *e);
/* Closes the connection, checkpoints nothing. Keeps path and slots. */
void store_close(struct store *s);
void store_free(struct store *s);
/* Destination rows of all slots; after a set-aside with the ids that they had. */
MUST_USE enum status store_save_slots(struct store *s, struct err *e);

/* After a failure whose status was `cause`: bring memory and disk together again (recover.c).
 * ST_OK: the file is open and verified. Any other: try again later. */
MUST_USE enum status store_recover(struct store *s, enum status cause, struct err *e);

#endif
