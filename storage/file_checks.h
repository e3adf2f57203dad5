/* storage/file_checks.h - may a queue file live here: the directory, the file system, the lock.
 * Owner: the caller. Needs: gateway/base. */
#ifndef STORAGE_FILE_CHECKS_H
#define STORAGE_FILE_CHECKS_H

#include <stddef.h>
#include <stdint.h>

#include "gateway/base/status.h"

/* Make the directory of path where it is missing (mode 0700), and make that durable. ST_IO. */
MUST_USE enum status file_make_directory(const char *path, struct err *e);
/* ST_UNSUPPORTED: path is on a network file system (e says which, and what to do). On ST_OK
 * *ret_note is NULL, or what an operator should know about the file system. Static storage. */
MUST_USE enum status file_check_system(const char *path, const char **ret_note, struct err *e);
/* The pure part of it, by statfs(2)'s f_type. NULL: no objection, no note. */
const char *file_system_refusal(uint64_t f_type);
const char *file_system_note(uint64_t f_type);
/* The file itself where path is a symbolic link to it: lock, log and reserve belong beside the
 * file. ST_UNSUPPORTED: the link leads nowhere, what is there is no file (a directory), or the file
 * has a second name (a hard link). Gives *ret, also where there is no file yet. */
MUST_USE enum status file_resolve(const char *path, char **ret, struct err *e);
/* Hold PATH.lock for the life of *ret_fd. ST_CONFLICT: another gateway holds it. */
MUST_USE enum status file_lock(const char *path, int *ret_fd, struct err *e);
void file_unlock(int fd);
/* Make renames and new names in path's directory durable. */
MUST_USE enum status file_sync_directory(const char *path, struct err *e);
/* Bytes of the file, or 0 where it is missing. Never opens it: closing a descriptor of a database
 * drops every POSIX lock of the process on it. */
uint64_t file_size(const char *path);
/* Free bytes for us on path's file system. UINT64_MAX where it cannot be told. */
uint64_t file_disk_free(const char *path);
/* path's directory, as "." where it has none. Cut to size. */
void file_directory(const char *path, char *ret, size_t size);

#endif
