/* storage/inspect_read.h - what the inspect_*.c files share: the connection, a read, a row.
 * Owner: inspect_*.c alone. Needs: inspect, sqlite3. */
#ifndef STORAGE_INSPECT_READ_H
#define STORAGE_INSPECT_READ_H

#include <sqlite3.h>

#include "storage/inspect.h"

struct inspect {
	sqlite3 *db;
	char *path;
	int64_t limit_ns;
	int64_t deadline_ns; /* of the read under way (now_mono_ns); 0: none */
};

/* A read transaction: everything between begin and end sees one snapshot, and ends at the limit. */
MUST_USE enum status inspect_begin(struct inspect *in, int64_t deadline_ns, struct err *e);
void inspect_end(struct inspect *in);
/* Gives *ret, finalize it. */
MUST_USE enum status inspect_prepare(struct inspect *in, const char *sql, sqlite3_stmt **ret,
				     struct err *e);
/* ST_OK: a row. ST_END: no more. */
MUST_USE enum status inspect_step(struct inspect *in, sqlite3_stmt *stmt, struct err *e);
/* Translate a result code of SQLite into a status, with words. */
enum status inspect_fail(const struct inspect *in, int rc, struct err *e);

static inline const char *inspect_text(sqlite3_stmt *stmt, int column)
{
	return (const char *)sqlite3_column_text(stmt, column);
}

/* Runs sql (one statement, at most one parameter) and hands each row to `row`. */
MUST_USE enum status inspect_each(struct inspect *in, const char *sql, int64_t parameter,
				  void (*row)(void *ctx, sqlite3_stmt *stmt), void *ctx,
				  struct err *e);

#endif
