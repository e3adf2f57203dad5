/* salvage_header.c - a VFS that shows another first page than the file has.
 *
 * Page 1 holds the file's header and the root of its schema. It is rewritten by nearly every
 * checkpoint, so it is hit more often than any other, and without it SQLite reads nothing at all.
 * But what stands in it is the same in every queue file of a version: tables are made by the
 * migrations, in order, in an empty file, and auto_vacuum keeps their roots where they are, at the
 * front. So a first page is made by running the migrations in memory, and laid over the damaged one
 * while reading.
 *
 * The version and the page size are in the damaged page, so they are tried, the likely ones first.
 * A guess fits when both big tables answer at one of their ends. (What is then read is checked
 * batch by batch anyway.) The size of the file and the WAL mode are patched in; the list of free
 * pages is left out, which readers do not need. */
#include "storage/salvage_header.h"

#include <stdio.h>
#include <string.h>

#include "gateway/base/xalloc.h"
#include "storage/file_checks.h"
#include "storage/migrations.h"
#include "storage/shim_vfs.h"
#include "storage/stmt.h"

/* Offsets in the header: sqlite.org/fileformat2.html, 1.3. */
enum { AT_WRITE_VERSION = 18, AT_READ_VERSION = 19, AT_PAGES = 28, AT_FREE = 32, WAL_VERSION = 2 };

struct salvage_header {
	struct shim_vfs shim; /* first */
	char name[48];
	uint8_t *page;
	size_t page_size;
	sqlite3_io_methods methods; /* of the overlaid file */
};

struct overlaid_file {
	struct shim_file shim; /* first */
	const struct salvage_header *header;
};

/* ---- the file ---- */

static int file_read(sqlite3_file *f, void *p, int n, sqlite3_int64 offset)
{
	struct overlaid_file *o = (struct overlaid_file *)(void *)f;
	const struct salvage_header *h = o->header;
	int rc = o->shim.real->pMethods->xRead(o->shim.real, p, n, offset);
	if (offset < 0 || (size_t)offset >= h->page_size)
		return rc;
	size_t there = h->page_size - (size_t)offset;
	memcpy(p, h->page + offset, there < (size_t)n ? there : (size_t)n);
	/* The sector of the first page may be what cannot be read. */
	return there >= (size_t)n ? SQLITE_OK : rc;
}

static int file_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 offset)
{
	(void)f, (void)p, (void)n, (void)offset;
	return SQLITE_READONLY;
}

static int file_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	(void)f, (void)size;
	return SQLITE_READONLY;
}

static int file_sync(sqlite3_file *f, int flags)
{
	(void)f, (void)flags;
	return SQLITE_OK;
}

static int vfs_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *ret_flags)
{
	const struct salvage_header *h = (const struct salvage_header *)(void *)v;
	struct overlaid_file *o = (struct overlaid_file *)(void *)f;
	/* The WAL has no header page of ours. */
	if (!(flags & SQLITE_OPEN_MAIN_DB))
		return shim_open_plain(v, name, f, flags, ret_flags);
	int rc = shim_open(v, name, f, sizeof(*o), flags, ret_flags);
	o->header = h;
	if (o->shim.real->pMethods)
		o->shim.base.pMethods = &h->methods;
	return rc;
}

static int vfs_delete(sqlite3_vfs *v, const char *name, int is_synced)
{
	(void)v, (void)name, (void)is_synced;
	return SQLITE_READONLY;
}

/* ---- the page ---- */

/* The first page of a new file of that version, as SQLite makes it. */
static enum status make_page(int version, int page_size, uint8_t **ret, struct err *e)
{
	char sql[64];
	sqlite3 *db = NULL;
	int rc = sqlite3_open_v2(":memory:", &db,
				 SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
				 NULL);
	enum status st = rc == SQLITE_OK ? ST_OK : stmt_fail(db, rc, e, "open in memory");
	(void)snprintf(sql, sizeof(sql), "PRAGMA page_size=%d; PRAGMA auto_vacuum=2", page_size);
	if (!st)
		st = stmt_exec(db, sql, e);
	for (int i = 0; i < version && !st; i++)
		st = stmt_exec(db, migrations[i].sql, e);
	sqlite3_int64 n = 0;
	unsigned char *image = st ? NULL : sqlite3_serialize(db, "main", &n, 0);
	if (!st && (!image || n < page_size))
		st = err_set(e, ST_NO_MEMORY, "no memory for a header page");
	if (!st) {
		*ret = xcalloc(1, (size_t)page_size);
		memcpy(*ret, image, (size_t)page_size);
	}
	sqlite3_free(image);
	(void)sqlite3_close(db);
	return st;
}

static void patch_page(uint8_t *page, uint64_t file_pages)
{
	page[AT_WRITE_VERSION] = WAL_VERSION;
	page[AT_READ_VERSION] = WAL_VERSION;
	for (int i = 0; i < 4; i++)
		page[AT_PAGES + i] = (uint8_t)(file_pages >> (24 - 8 * i));
	memset(page + AT_FREE, 0, 8);
}

static void register_vfs(struct salvage_header *h)
{
	(void)snprintf(h->name, sizeof(h->name), "salvage-%p", (void *)h);
	shim_vfs_init(&h->shim, sqlite3_vfs_find(NULL), h->name, sizeof(struct overlaid_file));
	h->shim.vfs.xOpen = vfs_open;
	h->shim.vfs.xDelete = vfs_delete;
	h->methods = shim_methods(2);
	h->methods.xRead = file_read;
	h->methods.xWrite = file_write;
	h->methods.xTruncate = file_truncate;
	h->methods.xSync = file_sync;
	(void)sqlite3_vfs_register(&h->shim.vfs, 0);
}

void salvage_header_free(struct salvage_header *h)
{
	if (!h)
		return;
	(void)sqlite3_vfs_unregister(&h->shim.vfs);
	free(h->page);
	free(h);
}

/* ---- the guesses ---- */

static bool answers(sqlite3 *db, const char *sql)
{
	int64_t id;
	return stmt_get_int(db, sql, &id, NULL) == ST_OK;
}

static bool fits(sqlite3 *db)
{
	return (answers(db, "SELECT min(id) FROM batches") ||
		answers(db, "SELECT max(id) FROM batches")) &&
	       (answers(db, "SELECT min(batch_id) FROM payloads") ||
		answers(db, "SELECT max(batch_id) FROM payloads"));
}

static enum status try_guess(const char *uri, int version, int page_size, uint64_t bytes,
			     struct salvage_header **ret, sqlite3 **ret_db, struct err *e)
{
	sqlite3 *db = NULL;
	uint8_t *page = NULL;
	enum status st = make_page(version, page_size, &page, e);
	if (st)
		return st;
	patch_page(page, bytes / (uint64_t)page_size);
	struct salvage_header *h = xcalloc(1, sizeof(*h));
	h->page = page;
	h->page_size = (size_t)page_size;
	register_vfs(h);
	int rc = sqlite3_open_v2(
		uri, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX, h->name);
	if (rc != SQLITE_OK)
		st = stmt_fail(db, rc, e, uri);
	else if (!fits(db))
		st = err_set(e, ST_CORRUPT, "no known schema fits the pages of the file");
	if (st) {
		(void)sqlite3_close(db);
		salvage_header_free(h);
		return st;
	}
	*ret = h;
	*ret_db = db;
	return ST_OK;
}

enum status salvage_header_open(const char *path, const char *uri, struct salvage_header **ret,
				sqlite3 **ret_db, struct err *e)
{
	static const int page_sizes[] = { 8192, 16384, 4096, 32768, 65536 };
	uint64_t bytes = file_size(path);
	enum status st = err_set(e, ST_CORRUPT, "the file is empty");
	for (int version = migration_count; version > 0; version--) {
		for (size_t i = 0; i < sizeof(page_sizes) / sizeof(page_sizes[0]); i++) {
			if (bytes < 2 * (uint64_t)page_sizes[i])
				continue;
			st = try_guess(uri, version, page_sizes[i], bytes, ret, ret_db, e);
			if (st == ST_OK || st == ST_NO_MEMORY)
				return st;
		}
	}
	return st;
}
