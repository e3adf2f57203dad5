/* storage/quarantine.h - sets a damaged queue file aside, and never deletes one.
 * Owner: the writer thread (or main before writer_start). Needs: gateway/base. */
#ifndef STORAGE_QUARANTINE_H
#define STORAGE_QUARANTINE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "gateway/base/status.h"

/* Rename path and its -wal to PATH.damaged-YYYYMMDDTHHMMSSZ[-N] and -wal, remove its -shm, make
 * that durable. No connection of ours may be open for writing. *ret_name is the new name. */
MUST_USE enum status quarantine_file(const char *path, int64_t wall_ns, char ret_name[PATH_MAX],
				     struct err *e);
/* Call `found` with each file beside path that was set aside (its full path), in no order. Ends
 * early at a failure of `found`. */
MUST_USE enum status quarantine_each(const char *path,
				     enum status (*found)(void *ctx, const char *name), void *ctx,
				     struct err *e);

#endif
