/* storage/stmt.h - statements, and the one place where SQLite's result codes become statuses.
 * Owner: the connection's thread. Needs: gateway/base, sqlite3. */
#ifndef STORAGE_STMT_H
#define STORAGE_STMT_H

#include <sqlite3.h>

#include "gateway/base/buf.h"

/* An (extended) result code as a status. ST_IO and ST_CORRUPT mean that memory and disk may
 * disagree; ST_NO_SPACE, ST_NO_MEMORY and ST_BUSY that the transaction failed and no more. */
enum status stmt_status(int rc);
/* The same for the connection's last failure, with its words in e. `what` says what was tried. */
enum status stmt_fail(sqlite3 *db, int rc, struct err *e, const char *what);

MUST_USE enum status stmt_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **ret, struct err *e);
/* Run statements that give no rows, or whose rows do not matter. */
MUST_USE enum status stmt_exec(sqlite3 *db, const char *sql, struct err *e);
/* The first column of the first row. ST_END: no row. */
MUST_USE enum status stmt_get_int(sqlite3 *db, const char *sql, int64_t *ret, struct err *e);
/* The same as text, cut to fit. NULL gives "". */
MUST_USE enum status stmt_get_text(sqlite3 *db, const char *sql, char *ret, size_t size,
				   struct err *e);

/* One step of a prepared statement: ST_OK is a row, ST_END the end. After anything but a row it is
 * reset and its bindings are gone. */
MUST_USE enum status stmt_step(sqlite3_stmt *s, struct err *e);
/* Run a prepared statement that gives no rows, then reset it. */
MUST_USE enum status stmt_run(sqlite3_stmt *s, struct err *e);
/* End a statement before its last row: closes its read transaction. */
void stmt_reset(sqlite3_stmt *s);

/* Bindings borrow: texts and blobs must live until the statement was run. A failed bind (out of
 * memory, index out of range) shows in the step: NOT NULL columns and the CHECKs refuse NULL. */
void stmt_bind_int(sqlite3_stmt *s, int i, int64_t v);
/* 0 becomes NULL. */
void stmt_bind_nonzero(sqlite3_stmt *s, int i, int64_t v);
/* Empty becomes NULL. */
void stmt_bind_words(sqlite3_stmt *s, int i, struct bytes v);
void stmt_bind_text(sqlite3_stmt *s, int i, struct bytes v);
void stmt_bind_blob(sqlite3_stmt *s, int i, struct bytes v);

#endif
