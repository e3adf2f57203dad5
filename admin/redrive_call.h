/* admin/redrive_call.h - replay, purge and move as a call: choose, give to the writer, say what was
 * done.
 * Owner: stateless. Needs: storage/redrive.h, parameters. */
#ifndef ADMIN_REDRIVE_CALL_H
#define ADMIN_REDRIVE_CALL_H

#include <stdatomic.h>

#include "admin/parameters.h"
#include "storage/redrive.h"

struct redrive_call {
	struct writer *writer;
	struct inspect *in;
	const struct parameters *parameters;
	enum redrive_action action;
	enum delivery_state state; /* of what it is about; a move is about both */
	const char *caller;        /* address, for the ledger */
	atomic_bool *is_stopping;  /* end early, as if the time were up */
};

/* Appends what was done (where is_dry_run: what would be) as JSON. Blocks until it is committed,
 * but no longer than REDRIVE_CALL_S: then is_complete is false, and next_cursor says where to go
 * on. ST_INVALID: it is not said what is meant. ST_NOT_FOUND: no such destination or batch.
 * ST_CONFLICT: the destination would not send it. */
enum { REDRIVE_CALL_S = 10, REDRIVE_IDS_SHOWN = 100 };
MUST_USE enum status redrive_call(const struct redrive_call *c, struct buf *out, struct err *e);

#endif
