/* file_checks.c - what must hold for the place of a queue file before SQLite touches it.
 *
 * - The directory exists, and its entry is durable: a new directory whose parent was not synced can
 *   be gone after a power cut, with every acknowledged record in it.
 * - The file system is local. WAL needs memory shared by all users of the file, and locks that
 *   work; NFS, SMB and 9p promise neither, and the failure is corruption later, not an error now.
 * - No other gateway has the queue. The lock is on PATH.lock and not on the file: closing any
 *   descriptor of a database drops all of the process's POSIX locks on it (sqlite.org,
 *   howtocorrupt), so nothing here ever opens the database file, its -wal or its -shm. */
#include "storage/file_checks.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "gateway/base/xalloc.h"

void file_directory(const char *path, char *ret, size_t size)
{
	const char *slash = strrchr(path, '/');
	if (!slash)
		(void)snprintf(ret, size, ".");
	else if (slash == path)
		(void)snprintf(ret, size, "/");
	else
		(void)snprintf(ret, size, "%.*s", (int)(slash - path), path);
}

static enum status sync_named_directory(const char *dir, struct err *e)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_set(e, ST_IO, "open the directory %s: %s", dir, strerror(errno));
	enum status st = ST_OK;
	/* EINVAL: a file system that has no notion of it, and needs none. */
	if (fsync(fd) != 0 && errno != EINVAL)
		st = err_set(e, ST_IO, "sync the directory %s: %s", dir, strerror(errno));
	(void)close(fd);
	return st;
}

enum status file_sync_directory(const char *path, struct err *e)
{
	char dir[PATH_MAX];
	file_directory(path, dir, sizeof(dir));
	return sync_named_directory(dir, e);
}

/* mkdir -p, each new level made durable by a sync of its parent. */
static enum status make_directories(const char *dir, struct err *e)
{
	struct stat sb;
	if (stat(dir, &sb) == 0) {
		if (S_ISDIR(sb.st_mode))
			return ST_OK;
		return err_set(e, ST_IO, "%s is not a directory", dir);
	}
	char parent[PATH_MAX];
	file_directory(dir, parent, sizeof(parent));
	enum status st = make_directories(parent, e);
	if (st)
		return st;
	if (mkdir(dir, 0700) != 0 && errno != EEXIST)
		return err_set(e, ST_IO,
			       "make the directory %s: %s; make it writable for the gateway's user",
			       dir, strerror(errno));
	return sync_named_directory(parent, e);
}

enum status file_make_directory(const char *path, struct err *e)
{
	/* Room for the longest name beside it: PATH.damaged-YYYYMMDDTHHMMSSZ-N-wal. */
	if (strlen(path) + 64 >= PATH_MAX || path[0] == '\0' || path[strlen(path) - 1] == '/')
		return err_set(e, ST_INVALID, "\"%s\" is not a path for a queue file", path);
	char dir[PATH_MAX];
	file_directory(path, dir, sizeof(dir));
	return make_directories(dir, e);
}

const char *file_system_refusal(uint64_t f_type)
{
	/* linux/magic.h, and fs/smb/client/cifsglob.h for the two that are not there. */
	switch (f_type) {
	case 0x6969:
		return "NFS";
	case 0xFF534D42:
		return "CIFS";
	case 0xFE534D42:
		return "SMB2";
	case 0x517B:
		return "SMB";
	case 0x01021997:
		return "9p";
	default:
		return NULL;
	}
}

const char *file_system_note(uint64_t f_type)
{
	switch (f_type) {
	case 0x01021994:
	case 0x858458F6: /* ramfs */
		return "the queue is on a file system in memory (tmpfs): it does not survive a "
		       "reboot";
	case 0x794C7630:
		return "the queue is in a container's writable layer (overlayfs): it is gone with "
		       "the "
		       "container; mount a volume for its directory";
	case 0x65735546:
		return "the queue is on a FUSE file system: make sure that it honours fsync and "
		       "locks";
	default:
		return NULL;
	}
}

enum status file_check_system(const char *path, const char **ret_note, struct err *e)
{
	char dir[PATH_MAX];
	struct statfs fs;
	file_directory(path, dir, sizeof(dir));
	if (statfs(dir, &fs) != 0)
		return err_set(e, ST_IO, "look at the file system of %s: %s", dir, strerror(errno));
	uint64_t type = (uint32_t)fs.f_type;
	const char *name = file_system_refusal(type);
	if (name)
		return err_set(
			e, ST_UNSUPPORTED,
			"%s is on %s, a network file system, where SQLite's locks and shared "
			"memory do not work; set queue.path to a directory on a local disk",
			dir, name);
	*ret_note = file_system_note(type);
	return ST_OK;
}

enum status file_resolve(const char *path, char **ret, struct err *e)
{
	struct stat sb;
	bool is_there = stat(path, &sb) == 0;
	bool is_link = !is_there && lstat(path, &sb) == 0;
	char *real = is_there ? realpath(path, NULL) : NULL;
	if (is_link || (is_there && !real)) {
		return err_set(e, ST_UNSUPPORTED,
			       "%s is a symbolic link, and what it leads to cannot be reached: %s; "
			       "make it, or set queue.path to a file",
			       path, strerror(errno));
	}
	if (is_there && !S_ISREG(sb.st_mode)) {
		free(real);
		return err_set(e, ST_UNSUPPORTED, "%s is %s; set queue.path to a file%s", path,
			       S_ISDIR(sb.st_mode) ? "a directory" : "a pipe, a socket or a device",
			       S_ISDIR(sb.st_mode) ? " in it" : " on a disk");
	}
	if (is_there && sb.st_nlink > 1) {
		free(real);
		return err_set(e, ST_UNSUPPORTED,
			       "%s has %lu names (hard links): SQLite's log would be found under "
			       "one of them only; remove the others",
			       path, (unsigned long)sb.st_nlink);
	}
	*ret = real ? xstrdup(real) : xstrdup(path);
	free(real);
	return ST_OK;
}

enum status file_lock(const char *path, int *ret_fd, struct err *e)
{
	char name[PATH_MAX];
	(void)snprintf(name, sizeof(name), "%s.lock", path);
	int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set(e, ST_IO,
			       "open %s: %s; make its directory writable for the "
			       "gateway's user",
			       name, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		int error = errno;
		(void)close(fd);
		if (error == EWOULDBLOCK)
			return err_set(e, ST_CONFLICT,
				       "another gateway has the queue %s; stop it, or set another "
				       "queue.path",
				       path);
		return err_set(e, ST_IO, "lock %s: %s", name, strerror(error));
	}
	*ret_fd = fd;
	return ST_OK;
}

void file_unlock(int fd)
{
	/* The name stays: removing it would let two gateways lock two files of one name. */
	if (fd >= 0)
		(void)close(fd);
}

uint64_t file_size(const char *path)
{
	struct stat sb;
	return stat(path, &sb) == 0 && sb.st_size > 0 ? (uint64_t)sb.st_size : 0;
}

uint64_t file_disk_free(const char *path)
{
	char dir[PATH_MAX];
	struct statvfs vfs;
	file_directory(path, dir, sizeof(dir));
	if (statvfs(dir, &vfs) != 0)
		return UINT64_MAX;
	return (uint64_t)vfs.f_bavail * vfs.f_frsize;
}
