/* storage/salvage_header.h - reads a queue file whose first page is damaged, with one that fits.
 * Owner: one thread. Needs: storage/stmt.h, storage/migrations.h. */
#ifndef STORAGE_SALVAGE_HEADER_H
#define STORAGE_SALVAGE_HEADER_H

#include <sqlite3.h>

#include "gateway/base/status.h"

struct salvage_header;

/* Open path for reading as if its first page were that of a new queue file. uri is the URI to open,
 * path the same as a name. Nothing is written. ST_CORRUPT: the rest of the file does not fit any
 * version of the schema. */
MUST_USE enum status salvage_header_open(const char *path, const char *uri,
					 struct salvage_header **ret, sqlite3 **ret_db,
					 struct err *e);
/* After the connection is closed. Accepts NULL. */
void salvage_header_free(struct salvage_header *h);

#endif
