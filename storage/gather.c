/* gather.c - the write-ahead log, and what a checkpoint copies, in few large writes.
 *
 * SQLite appends a transaction to its log with two calls for each page: 24 bytes of frame header,
 * then the page. A commit of eight pages is sixteen system calls, each of which takes the inode's
 * lock, and looks up and marks the same pages of the cache again. Gathered they are one.
 *
 * Why this keeps the promise. Nothing that was taken here counts before it is synced: with
 * synchronous=FULL (storage/db.c reads it back) SQLite syncs the log at each commit, and publishes
 * the commit to other connections only after that sync returned. The file's sync flushes first
 * (storage/counting_vfs.c), and so does every other call that could tell the difference: reads,
 * truncations, the size, the close. A write that fails is told at the sync, which fails the commit
 * as it would have failed the write.
 *
 * After a failure what was taken is forgotten, and not tried again later: by then SQLite has rolled
 * back, and may have begun to write something else to the same place.
 *
 * Pages of a checkpoint become visible without a sync, and follow a rule of their own: see
 * storage/counting_vfs.c. */
#include "storage/gather.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/base/xalloc.h"

int gather_flush(struct gather *g, sqlite3_file *file)
{
	size_t n = g->n;
	if (n == 0)
		return SQLITE_OK;
	g->n = 0;
	return file->pMethods->xWrite(file, g->p, (int)n, g->offset);
}

int gather_write(struct gather *g, sqlite3_file *file, const void *p, int n, sqlite3_int64 offset)
{
	size_t size = n > 0 ? (size_t)n : 0;
	bool is_next = g->n > 0 && offset == g->offset + (sqlite3_int64)g->n;
	if (!is_next || size > GATHER_BYTES - g->n) {
		int rc = gather_flush(g, file);
		if (rc != SQLITE_OK)
			return rc;
		g->offset = offset;
	}
	if (size >= GATHER_BYTES)
		return file->pMethods->xWrite(file, p, n, offset);
	if (!g->p)
		g->p = xcalloc(1, GATHER_BYTES);
	memcpy(g->p + g->n, p, size);
	g->n += size;
	return SQLITE_OK;
}

void gather_done(struct gather *g)
{
	free(g->p);
	*g = (struct gather){ 0 };
}
