/* counting_vfs.c - what the writing connection does to its files: counted, and gathered.
 *
 * How many bytes reach the disk for each byte that was stored decides how long flash memory lives,
 * and SQLite does not tell: a checkpoint writes a page once however often it stands in the log. So
 * writes are counted where they pass. Those to the write-ahead log are gathered on their way
 * (storage/gather.c says why, and why it is safe), so every call on the log that could see the
 * difference writes them first.
 *
 * A checkpoint's writes to the database file are gathered as well: it writes page after page in
 * rising order, and a page that the file grows by costs three times as much alone. Readers must not
 * be sent to the file before all of it is there. SQLite says where the pages end
 * (SQLITE_FCNTL_CKPT_DONE), which is before it lets readers look there; so that is where the last
 * of them are written. A failure there cannot be answered, and is told by the truncation and the
 * sync that follow. They follow where the whole log was copied. They do not where a reader was in
 * the way, but then the checkpoint was refused that reader's lock; nor where another process
 * committed meanwhile, but then we do not hold the writer's lock. Either way nothing is gathered.
 *
 * Everything else goes through unchanged, to the VFS that was the default when the connection was
 * opened: fault injection registers its own there. */
#include "storage/counting_vfs.h"

#include <stdatomic.h>
#include <stdbool.h>

#include "storage/gather.h"
#include "storage/shim_vfs.h"

struct counted {
	struct shim_file shim; /* first */
	enum counting_file kind;
	struct gather gather;
	/* Of a database file. */
	bool is_copying;  /* a checkpoint's pages are being gathered */
	bool is_writer;   /* holds the writer's lock: the log does not grow under a checkpoint */
	bool was_refused; /* a lock, since the checkpoint began: readers are in its way */
	int failed;       /* of the last pages of a checkpoint; to be told */
};

/* Of the locks in the shared memory: sqlite.org/walformat.html, 2.3.1. */
enum { LOCK_WRITE = 0, LOCK_CHECKPOINT = 1 };

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

static int gathered_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 offset)
{
	struct counted *c = counted_of(f);
	return count(c, gather_write(&c->gather, c->shim.real, p, n, offset), n);
}

static int page_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 offset)
{
	return counted_of(f)->is_copying ? gathered_write(f, p, n, offset) :
					   file_write(f, p, n, offset);
}

static int flush(sqlite3_file *f)
{
	return gather_flush(&counted_of(f)->gather, counted_of(f)->shim.real);
}

static int gathered_close(sqlite3_file *f)
{
	struct counted *c = counted_of(f);
	int flushed = flush(f);
	gather_done(&c->gather);
	int rc = c->shim.real->pMethods->xClose(c->shim.real);
	return rc == SQLITE_OK ? flushed : rc;
}

static int gathered_read(sqlite3_file *f, void *p, int n, sqlite3_int64 offset)
{
	sqlite3_file *real = counted_of(f)->shim.real;
	int rc = flush(f);
	return rc == SQLITE_OK ? real->pMethods->xRead(real, p, n, offset) : rc;
}

static int gathered_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	sqlite3_file *real = counted_of(f)->shim.real;
	int rc = flush(f);
	return rc == SQLITE_OK ? real->pMethods->xTruncate(real, size) : rc;
}

static int gathered_sync(sqlite3_file *f, int flags)
{
	sqlite3_file *real = counted_of(f)->shim.real;
	int rc = flush(f);
	return rc == SQLITE_OK ? real->pMethods->xSync(real, flags) : rc;
}

static int gathered_length(sqlite3_file *f, sqlite3_int64 *ret)
{
	sqlite3_file *real = counted_of(f)->shim.real;
	int rc = flush(f);
	return rc == SQLITE_OK ? real->pMethods->xFileSize(real, ret) : rc;
}

/* The last pages of a checkpoint failed: once, to the call that can say so. */
static int take_failure(struct counted *c)
{
	int rc = c->failed;
	c->failed = SQLITE_OK;
	return rc;
}

static int page_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	int rc = take_failure(counted_of(f));
	return rc == SQLITE_OK ? gathered_truncate(f, size) : rc;
}

static int page_sync(sqlite3_file *f, int flags)
{
	int rc = take_failure(counted_of(f));
	return rc == SQLITE_OK ? gathered_sync(f, flags) : rc;
}

static int page_control(sqlite3_file *f, int op, void *arg)
{
	struct counted *c = counted_of(f);
	sqlite3_file *real = c->shim.real;
	if (op == SQLITE_FCNTL_CKPT_START) {
		/* Of one that was given up: its pages are copied again now. */
		c->failed = SQLITE_OK;
		c->is_copying = c->is_writer && !c->was_refused;
	}
	if (op == SQLITE_FCNTL_CKPT_DONE && c->is_copying) {
		c->is_copying = false;
		c->failed = flush(f);
	}
	return real->pMethods->xFileControl(real, op, arg);
}

static int page_shm_lock(sqlite3_file *f, int offset, int n, int flags)
{
	struct counted *c = counted_of(f);
	sqlite3_file *real = c->shim.real;
	int rc = real->pMethods->xShmLock(real, offset, n, flags);
	if (!(flags & SQLITE_SHM_EXCLUSIVE))
		return rc;
	if (offset == LOCK_WRITE && rc == SQLITE_OK)
		c->is_writer = (flags & SQLITE_SHM_LOCK) != 0;
	if (flags & SQLITE_SHM_LOCK) {
		if (rc != SQLITE_OK)
			c->was_refused = true;
		else if (offset == LOCK_CHECKPOINT)
			c->was_refused = false;
	}
	return rc;
}

/* By kind of file. Made once, before the VFS is registered. */
static sqlite3_io_methods database_methods;
static sqlite3_io_methods other_methods;
static sqlite3_io_methods log_methods;

static void make_methods(void)
{
	database_methods = shim_methods(2);
	database_methods.xClose = gathered_close;
	database_methods.xRead = gathered_read;
	database_methods.xWrite = page_write;
	database_methods.xTruncate = page_truncate;
	database_methods.xSync = page_sync;
	database_methods.xFileSize = gathered_length;
	database_methods.xFileControl = page_control;
	database_methods.xShmLock = page_shm_lock;
	other_methods = shim_methods(1);
	other_methods.xWrite = file_write;
	log_methods = shim_methods(1);
	log_methods.xClose = gathered_close;
	log_methods.xRead = gathered_read;
	log_methods.xWrite = gathered_write;
	log_methods.xTruncate = gathered_truncate;
	log_methods.xSync = gathered_sync;
	log_methods.xFileSize = gathered_length;
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
