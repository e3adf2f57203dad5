/* quarantine.c - a damaged file is renamed, together with its write-ahead log.
 *
 * The WAL belongs to the file by its name, and holds what was acknowledged last: PATH.damaged-X-wal
 * stands beside PATH.damaged-X, so that SQLite finds it there. The -shm is only an index of the WAL
 * and is made anew; it must go, or the next file would be opened with the index of this one.
 *
 * A crash between the renames leaves the WAL at its old name without its file. The next start finds
 * it (storage/db.c) and comes here again: the WAL then joins the file that was set aside last and
 * lacks one. Rows of `salvages` are made from the names in the directory and not from a memory of
 * what was renamed, so a crash before the row was written loses nothing either. */
#include "storage/quarantine.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "gateway/base/now.h"
#include "storage/file_checks.h"

#define DAMAGED ".damaged-"
enum { STAMP = 16 /* 20261123T090000Z */, TRIES = 1000 };

static bool exists(const char *name)
{
	struct stat sb;
	return lstat(name, &sb) == 0;
}

static void join(char ret[PATH_MAX], const char *a, const char *b)
{
	/* file_make_directory has checked that there is room. */
	(void)snprintf(ret, PATH_MAX, "%s", a);
	size_t n = strlen(ret);
	(void)snprintf(ret + n, PATH_MAX - n, "%s", b);
}

/* A name that nothing has yet, neither a file nor a WAL, and that sorts behind `newest`: the order
 * in which files were set aside is read from their names, whatever the wall clock says. */
static void choose_name(const char *path, int64_t wall_ns, const char *newest, char ret[PATH_MAX])
{
	time_t s = (time_t)(wall_ns / NS_PER_S);
	struct tm tm;
	char stamp[32];
	char suffix[64];
	char wal[PATH_MAX];
	char mark[PATH_MAX];
	(void)gmtime_r(&s, &tm);
	(void)strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &tm);
	join(mark, path, DAMAGED);
	size_t head = strlen(mark);
	/* A clock that was behind: the stamp is the newest one's. */
	if (strlen(newest) >= head + STAMP && strncmp(newest + head, stamp, STAMP) > 0)
		(void)snprintf(stamp, sizeof(stamp), "%.*s", STAMP, newest + head);
	for (int i = 1;; i++) {
		if (i == 1)
			(void)snprintf(suffix, sizeof(suffix), DAMAGED "%s", stamp);
		else
			(void)snprintf(suffix, sizeof(suffix), DAMAGED "%s-%d", stamp, i);
		join(ret, path, suffix);
		join(wal, ret, "-wal");
		if ((i > TRIES || strcmp(ret, newest) > 0) && !exists(ret) && !exists(wal))
			return;
	}
}

static enum status rename_file(const char *from, const char *to, struct err *e)
{
	if (!exists(from) || rename(from, to) == 0)
		return ST_OK;
	return err_set(e, ST_IO, "rename %s to %s: %s", from, to, strerror(errno));
}

struct newest {
	char name[PATH_MAX];
};

/* Names sort by time. */
static enum status keep_newest(void *ctx, const char *name)
{
	struct newest *n = ctx;
	if (strcmp(name, n->name) > 0)
		(void)snprintf(n->name, sizeof(n->name), "%s", name);
	return ST_OK;
}

enum status quarantine_file(const char *path, int64_t wall_ns, char ret_name[PATH_MAX],
			    struct err *e)
{
	char from_wal[PATH_MAX];
	char to_wal[PATH_MAX];
	char shm[PATH_MAX];
	struct newest newest = { .name = "" };
	join(from_wal, path, "-wal");
	join(shm, path, "-shm");
	bool is_orphan = !exists(path) && exists(from_wal);
	enum status st = quarantine_each(path, keep_newest, &newest, e);
	if (st)
		return st;
	join(to_wal, newest.name, "-wal");
	if (is_orphan && newest.name[0] && !exists(to_wal)) {
		(void)snprintf(ret_name, PATH_MAX, "%s", newest.name);
	} else {
		choose_name(path, wall_ns, newest.name, ret_name);
		join(to_wal, ret_name, "-wal");
	}
	st = rename_file(path, ret_name, e);
	if (!st)
		st = rename_file(from_wal, to_wal, e);
	if (!st && unlink(shm) != 0 && errno != ENOENT)
		st = err_set(e, ST_IO, "remove %s: %s", shm, strerror(errno));
	return st ? st : file_sync_directory(path, e);
}

/* "queue.db.damaged-20261123T090000Z" and "-2", but no -wal, -shm or -journal. */
static bool is_set_aside(const char *entry, const char *base)
{
	size_t n = strlen(base);
	size_t mark = strlen(DAMAGED);
	if (strncmp(entry, base, n) != 0 || strncmp(entry + n, DAMAGED, mark) != 0)
		return false;
	const char *stamp = entry + n + mark;
	return strspn(stamp, "0123456789TZ-") == strlen(stamp) && *stamp;
}

enum status quarantine_each(const char *path, enum status (*found)(void *ctx, const char *name),
			    void *ctx, struct err *e)
{
	char dir[PATH_MAX];
	file_directory(path, dir, sizeof(dir));
	const char *slash = strrchr(path, '/');
	const char *base = slash ? slash + 1 : path;
	DIR *d = opendir(dir);
	if (!d)
		return err_set(e, ST_IO, "read the directory %s: %s", dir, strerror(errno));
	enum status st = ST_OK;
	struct dirent *entry;
	while (!st && (entry = readdir(d))) {
		char name[PATH_MAX];
		size_t head = (size_t)(base - path);
		if (!is_set_aside(entry->d_name, base) || head + strlen(entry->d_name) >= PATH_MAX)
			continue;
		(void)snprintf(name, sizeof(name), "%.*s", (int)head, path);
		(void)snprintf(name + head, sizeof(name) - head, "%s", entry->d_name);
		st = found(ctx, name);
	}
	(void)closedir(d);
	return st;
}
