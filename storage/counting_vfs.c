/* counting_vfs.c - a thin SQLite VFS on top of the default one.
 *
 * How many bytes reach the disk for each byte that was stored decides how long flash memory lives,
 * and SQLite does not tell: a checkpoint writes a page once however often it stands in the log. So
 * writes are counted where they pass. Everything else goes through unchanged, to the VFS that was
 * the default when the connection was opened: fault injection registers its own there.
 *
 * Memory mapping is left out (version 2 of the file methods): the gateway does not use it. */
#include "storage/counting_vfs.h"

#include <stdatomic.h>
#include <stddef.h>

#include <sqlite3.h>

struct counted {
	sqlite3_file base; /* first: SQLite knows us by it */
	enum counting_file kind;
	sqlite3_file *real; /* behind this struct, in the memory that SQLite gave */
};

static _Atomic uint64_t written[COUNTING_FILE_COUNT];

static sqlite3_file *real_of(sqlite3_file *f)
{
	return ((struct counted *)f)->real;
}

static int file_close(sqlite3_file *f)
{
	return real_of(f)->pMethods->xClose(real_of(f));
}

static int file_read(sqlite3_file *f, void *p, int n, sqlite3_int64 offset)
{
	return real_of(f)->pMethods->xRead(real_of(f), p, n, offset);
}

static int file_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 offset)
{
	int rc = real_of(f)->pMethods->xWrite(real_of(f), p, n, offset);
	if (rc == SQLITE_OK && n > 0)
		atomic_fetch_add_explicit(&written[((struct counted *)f)->kind], (uint64_t)n,
					  memory_order_relaxed);
	return rc;
}

static int file_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	return real_of(f)->pMethods->xTruncate(real_of(f), size);
}

static int file_sync(sqlite3_file *f, int flags)
{
	return real_of(f)->pMethods->xSync(real_of(f), flags);
}

static int file_size_of(sqlite3_file *f, sqlite3_int64 *ret)
{
	return real_of(f)->pMethods->xFileSize(real_of(f), ret);
}

static int file_lock_to(sqlite3_file *f, int level)
{
	return real_of(f)->pMethods->xLock(real_of(f), level);
}

static int file_unlock_to(sqlite3_file *f, int level)
{
	return real_of(f)->pMethods->xUnlock(real_of(f), level);
}

static int file_check_lock(sqlite3_file *f, int *ret)
{
	return real_of(f)->pMethods->xCheckReservedLock(real_of(f), ret);
}

static int file_control(sqlite3_file *f, int op, void *arg)
{
	return real_of(f)->pMethods->xFileControl(real_of(f), op, arg);
}

static int file_sector_size(sqlite3_file *f)
{
	return real_of(f)->pMethods->xSectorSize(real_of(f));
}

static int file_characteristics(sqlite3_file *f)
{
	return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f));
}

static int file_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **ret)
{
	return real_of(f)->pMethods->xShmMap(real_of(f), page, size, extend, ret);
}

static int file_shm_lock(sqlite3_file *f, int offset, int n, int flags)
{
	return real_of(f)->pMethods->xShmLock(real_of(f), offset, n, flags);
}

static void file_shm_barrier(sqlite3_file *f)
{
	real_of(f)->pMethods->xShmBarrier(real_of(f));
}

static int file_shm_unmap(sqlite3_file *f, int is_delete)
{
	return real_of(f)->pMethods->xShmUnmap(real_of(f), is_delete);
}

/* Version 1 for files whose real methods have no shared memory, else 2. */
#define FILE_METHODS(version)                                                                    \
	{                                                                                        \
		.iVersion = (version), .xClose = file_close, .xRead = file_read,                 \
		.xWrite = file_write, .xTruncate = file_truncate, .xSync = file_sync,            \
		.xFileSize = file_size_of, .xLock = file_lock_to, .xUnlock = file_unlock_to,     \
		.xCheckReservedLock = file_check_lock, .xFileControl = file_control,             \
		.xSectorSize = file_sector_size, .xDeviceCharacteristics = file_characteristics, \
		.xShmMap = (version) < 2 ? NULL : file_shm_map,                                  \
		.xShmLock = (version) < 2 ? NULL : file_shm_lock,                                \
		.xShmBarrier = (version) < 2 ? NULL : file_shm_barrier,                          \
		.xShmUnmap = (version) < 2 ? NULL : file_shm_unmap,                              \
	}
static const sqlite3_io_methods plain_methods = FILE_METHODS(1);
static const sqlite3_io_methods shared_methods = FILE_METHODS(2);

static sqlite3_vfs *base_of(sqlite3_vfs *v)
{
	return v->pAppData;
}

static int vfs_open(sqlite3_vfs *v, sqlite3_filename name, sqlite3_file *f, int flags, int *ret)
{
	struct counted *c = (struct counted *)f;
	c->base.pMethods = NULL;
	c->real = (sqlite3_file *)(void *)(c + 1);
	c->real->pMethods = NULL;
	c->kind = flags & SQLITE_OPEN_MAIN_DB ? COUNTING_DATABASE : COUNTING_WAL;
	int rc = base_of(v)->xOpen(base_of(v), name, c->real, flags, ret);
	/* A file that has methods is closed by SQLite, even where the opening failed. */
	if (c->real->pMethods)
		c->base.pMethods =
			c->real->pMethods->iVersion < 2 ? &plain_methods : &shared_methods;
	return rc;
}

static int vfs_delete(sqlite3_vfs *v, const char *name, int is_synced)
{
	return base_of(v)->xDelete(base_of(v), name, is_synced);
}

static int vfs_access(sqlite3_vfs *v, const char *name, int flags, int *ret)
{
	return base_of(v)->xAccess(base_of(v), name, flags, ret);
}

static int vfs_full_path(sqlite3_vfs *v, const char *name, int size, char *ret)
{
	return base_of(v)->xFullPathname(base_of(v), name, size, ret);
}

static int vfs_randomness(sqlite3_vfs *v, int n, char *ret)
{
	return base_of(v)->xRandomness(base_of(v), n, ret);
}

static int vfs_sleep(sqlite3_vfs *v, int us)
{
	return base_of(v)->xSleep(base_of(v), us);
}

static int vfs_time(sqlite3_vfs *v, double *ret)
{
	return base_of(v)->xCurrentTime(base_of(v), ret);
}

static int vfs_time_ms(sqlite3_vfs *v, sqlite3_int64 *ret)
{
	return base_of(v)->xCurrentTimeInt64(base_of(v), ret);
}

static int vfs_last_error(sqlite3_vfs *v, int n, char *ret)
{
	return base_of(v)->xGetLastError ? base_of(v)->xGetLastError(base_of(v), n, ret) : 0;
}

const char *counting_vfs_name(void)
{
	static sqlite3_vfs vfs = {
		.iVersion = 2,
		.zName = "tidegate",
		.xOpen = vfs_open,
		.xDelete = vfs_delete,
		.xAccess = vfs_access,
		.xFullPathname = vfs_full_path,
		.xRandomness = vfs_randomness,
		.xSleep = vfs_sleep,
		.xCurrentTime = vfs_time,
		.xGetLastError = vfs_last_error,
		.xCurrentTimeInt64 = vfs_time_ms,
	};
	sqlite3_vfs *base = sqlite3_vfs_find(NULL);
	if (!base || base->iVersion < 2 || base == &vfs)
		return NULL;
	if (vfs.pAppData != base) {
		vfs.pAppData = base;
		vfs.mxPathname = base->mxPathname;
		vfs.szOsFile = base->szOsFile + (int)sizeof(struct counted);
		if (sqlite3_vfs_register(&vfs, 0) != SQLITE_OK)
			return NULL;
	}
	return vfs.zName;
}

uint64_t counting_vfs_written(enum counting_file file)
{
	return atomic_load_explicit(&written[file], memory_order_relaxed);
}
