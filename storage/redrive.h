/* storage/redrive.h - deliveries moved by a person: replayed, purged, or given to another
 * destination.
 * Owner: the giver of a struct redrive, any thread. Needs: storage/writer.h. */
#ifndef STORAGE_REDRIVE_H
#define STORAGE_REDRIVE_H

#include "storage/writer.h"

enum redrive_action {
	REDRIVE_REPLAY, /* dead -> ready */
	REDRIVE_PURGE,  /* ready or dead -> gone, counted as purged and in the loss ledger */
	REDRIVE_MOVE    /* owed to another destination, in the same state */
};

/* One slice: few enough that a commit which carries it is not held up. */
enum { REDRIVE_MAX = 256 };

struct redrive {
	struct write_job job; /* set by redrive_run */
	enum redrive_action action;
	enum delivery_state state; /* only deliveries in it; others are left alone */
	int64_t destination_id;
	int64_t to_id;                 /* REDRIVE_MOVE */
	char detail[SETTLE_ERROR_MAX]; /* REDRIVE_PURGE: who and why, for the ledger */
	size_t count;
	int64_t batch_ids[REDRIVE_MAX];
	/* What was done, when it is back. */
	size_t batches;
	int64_t records;
	int64_t bytes; /* stored */
	struct writer *writer;
	struct chan chan; /* private from here */
	enum status status;
};

/* Do it in one transaction, and wait for its commit: the calling thread blocks. Deliveries that are
 * gone, or in another state by now, are skipped. ST_OK: it is on the disk, and the destination
 * looks at its queue afresh (writer_changes). Others: nothing was changed. Borrows r. */
MUST_USE enum status redrive_run(struct writer *w, struct redrive *r);

#endif
