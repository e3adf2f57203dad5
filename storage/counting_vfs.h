/* storage/counting_vfs.h - counts the bytes that the writing connection writes, per file, and
 * writes those to the log together. Owner: any thread, atomics. Needs: gateway/base, sqlite3. */
#ifndef STORAGE_COUNTING_VFS_H
#define STORAGE_COUNTING_VFS_H

#include <stdint.h>

enum counting_file { COUNTING_DATABASE, COUNTING_WAL, COUNTING_FILE_COUNT };

/* The name of a VFS that passes everything to SQLite's default VFS as it is at this moment,
 * counts, and gathers. NULL: it cannot be had, use the default. */
const char *counting_vfs_name(void);
/* Bytes written through it since the process started. A rollback journal counts as WAL. */
uint64_t counting_vfs_written(enum counting_file file);

#endif
