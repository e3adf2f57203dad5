/* admin/dead_export.h - dead letters with their records, as lines of JSON, one batch at a time.
 * Owner: one thread per struct dead_export. Needs: dead_letters.h, telemetry. */
#ifndef ADMIN_DEAD_EXPORT_H
#define ADMIN_DEAD_EXPORT_H

#include "admin/parameters.h"

struct dead_export;

/* Copies the selector. ST_INVALID, ST_NOT_FOUND: about its destination. */
MUST_USE enum status dead_export_open(const char *queue_path, const struct parameters *p,
				      struct dead_export **ret, struct err *e);
/* Appends the next line, with its line feed. ST_END: there is no more. Others: the queue cannot be
 * read, or from out. ctx is a struct dead_export. */
MUST_USE enum status dead_export_next(void *ctx, struct buf *out);
/* Accepts NULL. */
void dead_export_close(void *ctx);

#endif
