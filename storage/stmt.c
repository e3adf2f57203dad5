/* stmt.c - thin words around sqlite3_stmt, and the translation of SQLite's result codes.
 *
 * Callers of the storage layer branch on the class of a status, the writer on four of them:
 *
 *   ST_NO_SPACE             the disk is full: the transaction is gone, the file is fine
 *   ST_NO_MEMORY, ST_BUSY   the transaction is gone, try again
 *   ST_IO                   a write, sync or read failed: what is on the disk is not known any more
 *   ST_CORRUPT              the file is damaged
 *
 * Everything else is a bug of ours (a constraint that fired, misuse) and becomes ST_INTERNAL.
 *
 * Bindings return nothing. They fail only for want of memory or by a wrong index; the parameter is
 * then NULL, and the schema's NOT NULL refuses the row. So no wrong row can come of it, and the
 * callers stay readable. */
#include "storage/stmt.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

enum status stmt_status(int rc)
{
	switch (rc) {
	case SQLITE_IOERR_NOMEM:
		return ST_NO_MEMORY;
	case SQLITE_IOERR_CORRUPTFS:
	case SQLITE_IOERR_DATA:
		return ST_CORRUPT;
	default:
		break;
	}
	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
		return ST_OK;
	case SQLITE_DONE:
		return ST_END;
	case SQLITE_FULL:
		return ST_NO_SPACE;
	case SQLITE_NOMEM:
		return ST_NO_MEMORY;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
	case SQLITE_PROTOCOL:
		return ST_BUSY;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return ST_CORRUPT;
	case SQLITE_IOERR:
	case SQLITE_CANTOPEN:
	case SQLITE_READONLY:
	case SQLITE_PERM:
	case SQLITE_AUTH:
		return ST_IO;
	case SQLITE_TOOBIG:
		return ST_TOO_LARGE;
	case SQLITE_INTERRUPT:
		return ST_CANCELLED;
	default:
		return ST_INTERNAL;
	}
}

enum status stmt_fail(sqlite3 *db, int rc, struct err *e, const char *what)
{
	int os = db ? sqlite3_system_errno(db) : 0;
	bool is_os = os && ((rc & 0xff) == SQLITE_IOERR || (rc & 0xff) == SQLITE_CANTOPEN);
	/* Growing the -shm file on a full disk: nothing was written yet, so it is a full disk. */
	bool is_shm = rc == SQLITE_IOERR_SHMSIZE || rc == SQLITE_IOERR_SHMOPEN;
	enum status st = is_shm && os == ENOSPC ? ST_NO_SPACE : stmt_status(rc);
	return err_set(e, st, "%s: %s (SQLite code %d%s%s)", what,
		       db ? sqlite3_errmsg(db) : sqlite3_errstr(rc), rc, is_os ? ", " : "",
		       is_os ? strerror(os) : "");
}

enum status stmt_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **ret, struct err *e)
{
	sqlite3_stmt *s = NULL;
	int rc = sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &s, NULL);
	if (rc != SQLITE_OK)
		return stmt_fail(db, rc, e, sql);
	*ret = s;
	return ST_OK;
}

enum status stmt_exec(sqlite3 *db, const char *sql, struct err *e)
{
	int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
	if (rc != SQLITE_OK) {
		char what[64];
		(void)snprintf(what, sizeof(what), "%.60s", sql);
		return stmt_fail(db, rc, e, what);
	}
	return ST_OK;
}

enum status stmt_get_int(sqlite3 *db, const char *sql, int64_t *ret, struct err *e)
{
	sqlite3_stmt *s = NULL;
	enum status st = stmt_prepare(db, sql, &s, e);
	if (!st)
		st = stmt_step(s, e);
	if (!st)
		*ret = sqlite3_column_int64(s, 0);
	(void)sqlite3_finalize(s);
	return st;
}

enum status stmt_get_text(sqlite3 *db, const char *sql, char *ret, size_t size, struct err *e)
{
	sqlite3_stmt *s = NULL;
	enum status st = stmt_prepare(db, sql, &s, e);
	if (!st)
		st = stmt_step(s, e);
	if (!st) {
		const unsigned char *text = sqlite3_column_text(s, 0);
		(void)snprintf(ret, size, "%s", text ? (const char *)text : "");
	}
	(void)sqlite3_finalize(s);
	return st;
}

enum status stmt_step(sqlite3_stmt *s, struct err *e)
{
	int rc = sqlite3_step(s);
	if (rc == SQLITE_ROW)
		return ST_OK;
	enum status st = ST_END;
	if (rc != SQLITE_DONE)
		st = stmt_fail(sqlite3_db_handle(s), rc, e, sqlite3_sql(s));
	stmt_reset(s);
	return st;
}

enum status stmt_run(sqlite3_stmt *s, struct err *e)
{
	enum status st = stmt_step(s, e);
	if (!st) {
		stmt_reset(s);
		return err_set(e, ST_INTERNAL, "rows from %s", sqlite3_sql(s));
	}
	return st == ST_END ? ST_OK : st;
}

void stmt_reset(sqlite3_stmt *s)
{
	(void)sqlite3_reset(s);
	(void)sqlite3_clear_bindings(s);
}

void stmt_bind_int(sqlite3_stmt *s, int i, int64_t v)
{
	(void)sqlite3_bind_int64(s, i, v);
}

void stmt_bind_nonzero(sqlite3_stmt *s, int i, int64_t v)
{
	if (v)
		(void)sqlite3_bind_int64(s, i, v);
}

void stmt_bind_words(sqlite3_stmt *s, int i, struct bytes v)
{
	if (v.n)
		stmt_bind_text(s, i, v);
}

void stmt_bind_text(sqlite3_stmt *s, int i, struct bytes v)
{
	(void)sqlite3_bind_text64(s, i, v.n ? (const char *)v.p : "", v.n, SQLITE_STATIC,
				  SQLITE_UTF8);
}

void stmt_bind_blob(sqlite3_stmt *s, int i, struct bytes v)
{
	(void)sqlite3_bind_blob64(s, i, v.n ? (const void *)v.p : "", v.n, SQLITE_STATIC);
}
