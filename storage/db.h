/* storage/db.h - opens a queue file: is it ours, every pragma read back, migrated.
 * Owner: the connection's thread. Needs: gateway/base, sqlite3. */
#ifndef STORAGE_DB_H
#define STORAGE_DB_H

#include <stdint.h>

#include <sqlite3.h>

#include "gateway/base/status.h"

enum {
	DB_APPLICATION_ID = 0x54696447, /* "TidG", in the header of every queue file */
	DB_PAGE_SIZE = 8192,
};

/* Open or make the file for writing: the one connection that writes and checkpoints. Through
 * SQLite's default VFS (under storage/counting_vfs.h). page_size is for new files; 0: DB_PAGE_SIZE.
 * wal_keep_bytes: a WAL that was started over is cut to this. ST_CORRUPT: damaged, nothing was
 * changed, set it aside. ST_UNSUPPORTED: of a newer version or another application. The caller
 * holds the lock (file_lock). */
MUST_USE enum status db_open(const char *path, int page_size, int64_t wal_keep_bytes, sqlite3 **ret,
			     struct err *e);
/* Open an existing file for reading. Many may, beside the one that writes. */
MUST_USE enum status db_open_reader(const char *path, sqlite3 **ret, struct err *e);
/* Closes without a checkpoint: what is in the WAL stays there. Accepts NULL. */
void db_close(sqlite3 *db);

/* Sizes through the VFS: never a descriptor of our own. 0 where it cannot be told. */
uint64_t db_wal_file_bytes(sqlite3 *db);
uint64_t db_file_bytes(sqlite3 *db);

#endif
