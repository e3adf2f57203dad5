/* counting_vfs.c - what the writing connection does to its files: counted, and the log gathered.
 *
 * How many bytes reach the disk for each byte that was stored decides how long flash memory lives,
 * and SQLite does not tell: a checkpoint writes a page once however often it stands in the log. So
 * writes are counted where they pass. Those to the write-ahead log are gathered on their way
 * (storage/gather.c says why, and why it is safe), so every call on the log that could see the
 * difference writes them first. Everything else goes through unchanged, to the VFS that was the
 * default when the connection was opened: fault injection registers its own there. */
#include "storage/counting_vfs.h"

#include <stdatomic.h>
#include <stdbool.h>

#include "storage/gather.h"
#include "storage/shim_vfs.h"

struct counted {
	struct shim_file shim; /* first */
	enum counting_file kind;
	struct gather gather; /* of a log */
};

static _Atomic uint64_t written[COUNTING_FILE_COUNT];

static struct counted *counted_of(sqlite3_file *f)
{
	return (struct counted *)(void *)f;
}

static int count(struct counted *c, int rc, int n)
{
	if (rc == SQLITE_OK && n > 0)
		atomic_fetch_add_explicit(&written[c->kind], (uint64_t)n, memory_order_relaxed);
	return rc;
}

static int file_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 offset)
{
	struct counted *c = counted_of(f);
	sqlite3_file *real = c->shim.real;
	return count(c, real->pMethods->xWrite(real, p, n, offset), n);
}

static int log_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 offset)
{
	struct counted *c = counted_of(f);
	return count(c, gather_write(&c->gather, c->shim.real, p, n, offset), n);
}

static int flush(sqlite3_file *f)
{
	return gather_flush(&counted_of(f)->gather, counted_of(f)->shim.real);
}

static int log_close(sqlite3_file *f)
{
	struct counted *c = counted_of(f);
	int flushed = flush(f);
	gather_done(&c->gather);
	int rc = c->shim.real->pMethods->xClose(c->shim.real);
	return rc == SQLITE_OK ? flushed : rc;
}

static int log_read(sqlite3_file *f, void *p, int n, sqlite3_int64 offset)
{
	sqlite3_file *real = counted_of(f)->shim.real;
	int rc = flush(f);
	return rc == SQLITE_OK ? real->pMethods->xRead(real, p, n, offset) : rc;
}

static int log_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	sqlite3_file *real = counted_of(f)->shim.real;
	int rc = flush(f);
	return rc == SQLITE_OK ? real->pMethods->xTruncate(real, size) : rc;
}

static int log_sync(sqlite3_file *f, int flags)
{
	sqlite3_file *real = counted_of(f)->shim.real;
	int rc = flush(f);
	return rc == SQLITE_OK ? real->pMethods->xSync(real, flags) : rc;
}

static int log_length(sqlite3_file *f, sqlite3_int64 *ret)
{
	sqlite3_file *real = counted_of(f)->shim.real;
	int rc = flush(f);
	return rc == SQLITE_OK ? real->pMethods->xFileSize(real, ret) : rc;
}

/* By kind of file. Made once, before the VFS is registered. */
static sqlite3_io_methods database_methods;
static sqlite3_io_methods other_methods;
static sqlite3_io_methods log_methods;

static void make_methods(void)
{
	database_methods = shim_methods(2);
	database_methods.xWrite = file_write;
	other_methods = shim_methods(1);
	other_methods.xWrite = file_write;
	log_methods = shim_methods(1);
	log_methods.xClose = log_close;
	log_methods.xRead = log_read;
	log_methods.xWrite = log_write;
	log_methods.xTruncate = log_truncate;
	log_methods.xSync = log_sync;
	log_methods.xFileSize = log_length;
}

static int vfs_open(sqlite3_vfs *v, sqlite3_filename name, sqlite3_file *f, int flags, int *ret)
{
	struct counted *c = counted_of(f);
	int rc = shim_open(v, name, f, sizeof(*c), flags, ret);
	c->kind = flags & SQLITE_OPEN_MAIN_DB ? COUNTING_DATABASE : COUNTING_WAL;
	if (!c->shim.real->pMethods)
		return rc;
	bool has_memory = c->shim.real->pMethods->iVersion >= 2;
	if (flags & SQLITE_OPEN_WAL)
		c->shim.base.pMethods = &log_methods;
	else
		c->shim.base.pMethods = has_memory ? &database_methods : &other_methods;
	return rc;
}

const char *counting_vfs_name(void)
{
	static struct shim_vfs shim;
	sqlite3_vfs *real = sqlite3_vfs_find(NULL);
	if (!real || real->iVersion < 2 || real == &shim.vfs)
		return NULL;
	if (shim.real != real) {
		make_methods();
		shim_vfs_init(&shim, real, "tidegate", sizeof(struct counted));
		shim.vfs.xOpen = vfs_open;
		if (sqlite3_vfs_register(&shim.vfs, 0) != SQLITE_OK)
			return NULL;
	}
	return shim.vfs.zName;
}

uint64_t counting_vfs_written(enum counting_file file)
{
	return atomic_load_explicit(&written[file], memory_order_relaxed);
}
