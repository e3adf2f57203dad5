/* shim_vfs.c - the calls that pass on, once for all who need them.
 *
 * A call on a file goes to the real file's methods, a call on the VFS to the real VFS. Files get
 * version 2 of the methods at most, as SQLite maps memory past us with version 3.
 *
 * The VFS is made from the real one's struct, so that what is not replaced here (loading of
 * extensions, system calls) is the real one's own, as far as its functions do not look at the
 * struct that they are called with. SQLite's unix VFS does not. */
#include "storage/shim_vfs.h"

#include <string.h>

enum { ALIGNMENT = 16 };

static sqlite3_file *real_of(sqlite3_file *f)
{
	return ((struct shim_file *)(void *)f)->real;
}

static int file_close(sqlite3_file *f)
{
	sqlite3_file *real = real_of(f);
	return real->pMethods ? real->pMethods->xClose(real) : SQLITE_OK;
}

static int file_read(sqlite3_file *f, void *p, int n, sqlite3_int64 offset)
{
	return real_of(f)->pMethods->xRead(real_of(f), p, n, offset);
}

static int file_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 offset)
{
	return real_of(f)->pMethods->xWrite(real_of(f), p, n, offset);
}

static int file_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	return real_of(f)->pMethods->xTruncate(real_of(f), size);
}

static int file_sync(sqlite3_file *f, int flags)
{
	return real_of(f)->pMethods->xSync(real_of(f), flags);
}

static int file_length(sqlite3_file *f, sqlite3_int64 *ret)
{
	return real_of(f)->pMethods->xFileSize(real_of(f), ret);
}

static int file_take_lock(sqlite3_file *f, int level)
{
	return real_of(f)->pMethods->xLock(real_of(f), level);
}

static int file_drop_lock(sqlite3_file *f, int level)
{
	return real_of(f)->pMethods->xUnlock(real_of(f), level);
}

static int file_check_reserved(sqlite3_file *f, int *ret)
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

sqlite3_io_methods shim_methods(int version)
{
	sqlite3_io_methods m = {
		.iVersion = version,
		.xClose = file_close,
		.xRead = file_read,
		.xWrite = file_write,
		.xTruncate = file_truncate,
		.xSync = file_sync,
		.xFileSize = file_length,
		.xLock = file_take_lock,
		.xUnlock = file_drop_lock,
		.xCheckReservedLock = file_check_reserved,
		.xFileControl = file_control,
		.xSectorSize = file_sector_size,
		.xDeviceCharacteristics = file_characteristics,
	};
	if (version >= 2) {
		m.xShmMap = file_shm_map;
		m.xShmLock = file_shm_lock;
		m.xShmBarrier = file_shm_barrier;
		m.xShmUnmap = file_shm_unmap;
	}
	return m;
}

static sqlite3_vfs *real_vfs(sqlite3_vfs *v)
{
	return ((struct shim_vfs *)(void *)v)->real;
}

static int vfs_delete(sqlite3_vfs *v, const char *name, int is_synced)
{
	return real_vfs(v)->xDelete(real_vfs(v), name, is_synced);
}

static int vfs_access(sqlite3_vfs *v, const char *name, int flags, int *ret)
{
	return real_vfs(v)->xAccess(real_vfs(v), name, flags, ret);
}

static int vfs_full_path(sqlite3_vfs *v, const char *name, int size, char *ret)
{
	return real_vfs(v)->xFullPathname(real_vfs(v), name, size, ret);
}

static int vfs_randomness(sqlite3_vfs *v, int n, char *ret)
{
	return real_vfs(v)->xRandomness(real_vfs(v), n, ret);
}

static int vfs_sleep(sqlite3_vfs *v, int us)
{
	return real_vfs(v)->xSleep(real_vfs(v), us);
}

static int vfs_time(sqlite3_vfs *v, double *ret)
{
	return real_vfs(v)->xCurrentTime(real_vfs(v), ret);
}

static int vfs_time_ms(sqlite3_vfs *v, sqlite3_int64 *ret)
{
	return real_vfs(v)->xCurrentTimeInt64(real_vfs(v), ret);
}

static int vfs_last_error(sqlite3_vfs *v, int n, char *ret)
{
	return real_vfs(v)->xGetLastError ? real_vfs(v)->xGetLastError(real_vfs(v), n, ret) : 0;
}

/* Where the real file lies behind a struct of that size. */
static size_t real_offset(size_t own_size)
{
	return (own_size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

void shim_vfs_init(struct shim_vfs *s, sqlite3_vfs *real, const char *name, size_t own_size)
{
	s->real = real;
	s->vfs = *real;
	s->vfs.pNext = NULL;
	s->vfs.zName = name;
	s->vfs.szOsFile = (int)real_offset(own_size) + real->szOsFile;
	s->vfs.xOpen = shim_open_plain;
	s->vfs.xDelete = vfs_delete;
	s->vfs.xAccess = vfs_access;
	s->vfs.xFullPathname = vfs_full_path;
	s->vfs.xRandomness = vfs_randomness;
	s->vfs.xSleep = vfs_sleep;
	s->vfs.xCurrentTime = vfs_time;
	s->vfs.xGetLastError = vfs_last_error;
	s->vfs.xCurrentTimeInt64 = real->iVersion >= 2 ? vfs_time_ms : NULL;
}

int shim_open(sqlite3_vfs *v, sqlite3_filename name, sqlite3_file *f, size_t own_size, int flags,
	      int *ret_flags)
{
	struct shim_file *s = (struct shim_file *)(void *)f;
	memset(s, 0, own_size);
	s->real = (sqlite3_file *)(void *)((char *)f + real_offset(own_size));
	s->real->pMethods = NULL;
	return real_vfs(v)->xOpen(real_vfs(v), name, s->real, flags, ret_flags);
}

int shim_open_plain(sqlite3_vfs *v, sqlite3_filename name, sqlite3_file *f, int flags,
		    int *ret_flags)
{
	return real_vfs(v)->xOpen(real_vfs(v), name, f, flags, ret_flags);
}
