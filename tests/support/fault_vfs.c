/* fault_vfs.c - the shim: each call counts, perhaps fails, goes to the real VFS, and is logged.
 *
 * The product runs unchanged: the shim is the process's default VFS, so every sqlite3_open goes
 * through it. Faults are {operation, error, countdown, lasting}, set by the test while the product
 * runs. Only the database, its WAL and its rollback journal count; -shm is passed through and never
 * logged, because a power cut takes it away.
 *
 * Writes are logged after they succeeded (a short write with the part that got through), a large
 * one as the pages that reach the disk, so the log is the order in which the operating system got
 * them. What of it a power cut would leave is the business of crash_image.c. A failed sync is
 * logged as such: Linux marks the pages clean and forgets them, so a later good sync does not make
 * up for it. */
#include "tests/support/fault_vfs.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/log.h"
#include "gateway/base/xalloc.h"
#include "storage/shim_vfs.h"

enum { FILES_MAX = 16, NAME_SIZE = 128, PIECE_BYTES = 4096 };

struct fault_file {
	struct shim_file pass; /* first */
	int file;              /* of the log; -1: not one of ours */
	bool is_counted;
};

static struct {
	pthread_mutex_t mutex;
	struct shim_vfs vfs; /* real is NULL until it is installed */
	sqlite3_io_methods methods;
	bool is_sync_skipped;
	/* the plan */
	bool is_armed;
	bool is_lasting;
	bool has_fired;
	enum fault_op op;
	enum fault_error error;
	int countdown;
	/* the log */
	bool is_recording;
	struct vfs_event *events;
	size_t count;
	size_t cap;
	char names[FILES_MAX][NAME_SIZE];
	int name_count;
} shim = { .mutex = PTHREAD_MUTEX_INITIALIZER };

static void lock(void)
{
	CHECK(pthread_mutex_lock(&shim.mutex) == 0);
}

static void unlock(void)
{
	CHECK(pthread_mutex_unlock(&shim.mutex) == 0);
}

/* ---- the plan ---- */

void fault_plan(enum fault_op op, enum fault_error error, int nth, bool is_lasting)
{
	lock();
	shim.is_armed = true;
	shim.is_lasting = is_lasting;
	shim.has_fired = false;
	shim.op = op;
	shim.error = error;
	shim.countdown = nth;
	unlock();
}

bool fault_off(void)
{
	lock();
	bool has_fired = shim.has_fired;
	shim.is_armed = false;
	unlock();
	return has_fired;
}

bool fault_has_fired(void)
{
	lock();
	bool has_fired = shim.has_fired;
	unlock();
	return has_fired;
}

/* Does this operation fail? */
static bool is_hit(const struct fault_file *f, enum fault_op op, enum fault_error *ret_error)
{
	if (!f->is_counted)
		return false;
	lock();
	bool hit = false;
	if (shim.is_armed && shim.op == op) {
		if (shim.countdown > 0)
			shim.countdown--;
		hit = shim.countdown == 0 && (shim.is_lasting || !shim.has_fired);
		shim.has_fired = shim.has_fired || hit;
	}
	*ret_error = shim.error;
	unlock();
	return hit;
}

/* ---- the log ---- */

static void forget_events(void)
{
	for (size_t i = 0; i < shim.count; i++)
		free(shim.events[i].data);
	free(shim.events);
	shim.events = NULL;
	shim.count = 0;
	shim.cap = 0;
	shim.name_count = 0;
}

void vfs_log_start(void)
{
	lock();
	forget_events();
	shim.is_recording = true;
	unlock();
}

void vfs_log_stop(void)
{
	lock();
	shim.is_recording = false;
	unlock();
}

void vfs_log_clear(void)
{
	lock();
	shim.is_recording = false;
	forget_events();
	unlock();
}

static void append(struct vfs_event event, const void *data)
{
	lock();
	if (shim.is_recording && (event.kind == VFS_MARK || event.file >= 0)) {
		if (shim.count == shim.cap) {
			shim.cap = shim.cap ? shim.cap * 2 : 256;
			shim.events = realloc(shim.events, shim.cap * sizeof(*shim.events));
			CHECK(shim.events);
		}
		if (data) {
			event.data = xcalloc(1, event.n);
			memcpy(event.data, data, event.n);
		}
		shim.events[shim.count++] = event;
	}
	unlock();
}

void vfs_log_mark(int mark, int64_t id)
{
	append((struct vfs_event){ .kind = VFS_MARK, .mark = mark, .id = id }, NULL);
}

size_t vfs_log_count(void)
{
	return shim.count;
}

const struct vfs_event *vfs_log_event(size_t i)
{
	return &shim.events[i];
}

int vfs_log_file_count(void)
{
	return shim.name_count;
}

const char *vfs_log_name(int file)
{
	return shim.names[file];
}

/* The file's index by its name, -1 while nothing is recorded. */
static int file_index(const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	lock();
	int found = -1;
	if (shim.is_recording) {
		for (int i = 0; i < shim.name_count; i++)
			if (strcmp(shim.names[i], name) == 0)
				found = i;
		if (found < 0) {
			CHECK(shim.name_count < FILES_MAX && strlen(name) < NAME_SIZE);
			found = shim.name_count++;
			memcpy(shim.names[found], name, strlen(name) + 1);
		}
	}
	unlock();
	return found;
}

/* ---- files ---- */

static struct fault_file *shim_of(sqlite3_file *f)
{
	return (struct fault_file *)(void *)f;
}

static int file_read(sqlite3_file *f, void *p, int n, sqlite3_int64 offset)
{
	enum fault_error error;
	if (is_hit(shim_of(f), FAULT_READ, &error))
		return SQLITE_IOERR_READ;
	sqlite3_file *real = shim_of(f)->pass.real;
	return real->pMethods->xRead(real, p, n, offset);
}

/* A large write is one call, but reaches the disk page by page. */
static void append_write(int file, const uint8_t *p, size_t n, sqlite3_int64 offset)
{
	while (n > 0) {
		size_t left = PIECE_BYTES - (size_t)offset % PIECE_BYTES;
		size_t piece = n < left ? n : left;
		append(
			(struct vfs_event){
				.kind = VFS_WRITE, .file = file, .offset = offset, .n = piece },
			p);
		p += piece;
		n -= piece;
		offset += (sqlite3_int64)piece;
	}
}

static int file_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 offset)
{
	struct fault_file *s = shim_of(f);
	enum fault_error error;
	bool hit = is_hit(s, FAULT_WRITE, &error);
	if (hit && error == FAULT_EIO)
		return SQLITE_IOERR_WRITE;
	if (hit && error == FAULT_ENOSPC)
		return SQLITE_FULL;
	int part = hit ? n / 2 : n;
	int rc = part ? s->pass.real->pMethods->xWrite(s->pass.real, p, part, offset) : SQLITE_OK;
	if (rc == SQLITE_OK && part)
		append_write(s->file, p, (size_t)part, offset);
	return hit ? SQLITE_FULL : rc;
}

static int file_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	struct fault_file *s = shim_of(f);
	enum fault_error error;
	if (is_hit(s, FAULT_TRUNCATE, &error))
		return SQLITE_IOERR_TRUNCATE;
	int rc = s->pass.real->pMethods->xTruncate(s->pass.real, size);
	if (rc == SQLITE_OK)
		append((struct vfs_event){ .kind = VFS_TRUNCATE, .file = s->file, .offset = size },
		       NULL);
	return rc;
}

static int file_sync(sqlite3_file *f, int flags)
{
	struct fault_file *s = shim_of(f);
	enum fault_error error;
	if (is_hit(s, FAULT_SYNC, &error)) {
		append((struct vfs_event){ .kind = VFS_SYNC_FAILED, .file = s->file }, NULL);
		return error == FAULT_ENOSPC ? SQLITE_FULL : SQLITE_IOERR_FSYNC;
	}
	int rc = shim.is_sync_skipped ? SQLITE_OK :
					s->pass.real->pMethods->xSync(s->pass.real, flags);
	if (rc == SQLITE_OK)
		append((struct vfs_event){ .kind = VFS_SYNC, .file = s->file }, NULL);
	return rc;
}

/* ---- the VFS ---- */

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *out_flags)
{
	enum { COUNTED = SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL };
	struct fault_file *s = shim_of(f);
	const struct fault_file asked = { .is_counted = name && (flags & COUNTED) };
	enum fault_error error;
	f->pMethods = NULL;
	if (is_hit(&asked, FAULT_OPEN, &error))
		return SQLITE_CANTOPEN;
	bool is_writer = asked.is_counted && (flags & SQLITE_OPEN_READWRITE);
	int exists = 1;
	if (is_writer)
		(void)shim.vfs.real->xAccess(shim.vfs.real, name, SQLITE_ACCESS_EXISTS, &exists);
	int rc = shim_open(vfs, name, f, sizeof(*s), flags, out_flags);
	s->is_counted = asked.is_counted;
	s->file = -1;
	if (s->pass.real->pMethods)
		s->pass.base.pMethods = &shim.methods;
	if (rc == SQLITE_OK && is_writer) {
		s->file = file_index(name);
		if (!exists)
			append((struct vfs_event){ .kind = VFS_CREATE, .file = s->file }, NULL);
	}
	return rc;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync_dir)
{
	(void)vfs;
	const struct fault_file counted = { .is_counted = true };
	enum fault_error error;
	if (is_hit(&counted, FAULT_DELETE, &error))
		return SQLITE_IOERR_DELETE;
	int rc = shim.vfs.real->xDelete(shim.vfs.real, name, sync_dir);
	if (rc == SQLITE_OK)
		append((struct vfs_event){ .kind = VFS_DELETE,
					   .file = file_index(name),
					   .n = (size_t)sync_dir },
		       NULL);
	return rc;
}

void fault_vfs_install(void)
{
	if (shim.vfs.real)
		return;
	CHECK(sqlite3_initialize() == SQLITE_OK);
	shim_vfs_init(&shim.vfs, sqlite3_vfs_find(NULL), "fault", sizeof(struct fault_file));
	shim.vfs.vfs.xOpen = vfs_open;
	shim.vfs.vfs.xDelete = vfs_delete;
	shim.methods = shim_methods(2);
	shim.methods.xRead = file_read;
	shim.methods.xWrite = file_write;
	shim.methods.xTruncate = file_truncate;
	shim.methods.xSync = file_sync;
	CHECK(sqlite3_vfs_register(&shim.vfs.vfs, 1) == SQLITE_OK);
}

void fault_vfs_skip_sync(bool is_skipped)
{
	shim.is_sync_skipped = is_skipped;
}

const struct fault_row fault_rows[FAULT_ROWS] = {
	{ "a write fails once with EIO", FAULT_WRITE, FAULT_EIO, false },
	{ "the disk is full until later", FAULT_WRITE, FAULT_ENOSPC, true },
	{ "a write is cut short once", FAULT_WRITE, FAULT_SHORT, false },
	{ "a sync fails once", FAULT_SYNC, FAULT_EIO, false },
	{ "a truncation fails once", FAULT_TRUNCATE, FAULT_EIO, false },
	{ "a read fails once", FAULT_READ, FAULT_EIO, false },
	{ "an open fails once", FAULT_OPEN, FAULT_EIO, false },
};

void fault_begin(void)
{
	log_init(LOG_FATAL_LEVEL, LOG_FORMAT_LOGFMT);
	fault_vfs_install();
	fault_vfs_skip_sync(true);
}
