/* fault_vfs.h - an SQLite VFS around the real one that fails operations on demand, and records what
 * reaches the disk. Owner: tests; any thread, one lock inside. Needs: sqlite3, pthread. */
#ifndef TESTS_SUPPORT_FAULT_VFS_H
#define TESTS_SUPPORT_FAULT_VFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fault_op {
	FAULT_OPEN,
	FAULT_READ,
	FAULT_WRITE,
	FAULT_SYNC,
	FAULT_TRUNCATE,
	FAULT_DELETE,
	FAULT_OP_COUNT
};

enum fault_error {
	FAULT_EIO,
	FAULT_ENOSPC,
	FAULT_SHORT /* the first half of a write reaches the file, then the space is out */
};

/* One thing that happened to a file of the queue. */
enum vfs_event_kind {
	VFS_CREATE,
	VFS_WRITE,
	VFS_TRUNCATE,
	VFS_SYNC,
	VFS_SYNC_FAILED, /* what was written since the last sync may never reach the disk */
	VFS_DELETE,
	VFS_MARK
};

struct vfs_event {
	enum vfs_event_kind kind;
	int file; /* index of vfs_log_name */
	int64_t offset;
	size_t n;
	uint8_t *data;
	int mark; /* VFS_MARK: what the test says happened here, to whom */
	int64_t id;
};

/* What a disk does to a test, once or until fault_off. */
struct fault_row {
	const char *name;
	enum fault_op op;
	enum fault_error error;
	bool is_lasting;
};
/* The usual ones; a test takes the first so many. */
enum { FAULT_ROWS_WRITING = 4, FAULT_ROWS_RUNNING = 6, FAULT_ROWS = 7 };
extern const struct fault_row fault_rows[FAULT_ROWS];

/* For main: the VFS is installed, syncs are skipped, and nothing is logged, since thousands of
 * starts and failures would be. */
void fault_begin(void);
/* Make the shim the default VFS. Once is enough; before the first sqlite3_open. */
void fault_vfs_install(void);
/* Syncs reach the log, but not the disk: for checks that look at files through the page cache. */
void fault_vfs_skip_sync(bool is_skipped);

/* Fail the nth operation (1 is the next one) of the kind from here on; with is_lasting all that
 * follow too, until fault_off. */
void fault_plan(enum fault_op op, enum fault_error error, int nth, bool is_lasting);
/* Space returns. True: the fault had been met. */
bool fault_off(void);
bool fault_has_fired(void);

/* Start a new log of the files that are opened from here on. Forgets the one before. */
void vfs_log_start(void);
/* No more events. The log stays readable until the next start or vfs_log_clear. */
void vfs_log_stop(void);
void vfs_log_clear(void);
/* The test's own marker: "request id was acknowledged here". */
void vfs_log_mark(int mark, int64_t id);
/* Valid while nothing is recorded. */
size_t vfs_log_count(void);
const struct vfs_event *vfs_log_event(size_t i);
int vfs_log_file_count(void);
/* The file's name without its directory. */
const char *vfs_log_name(int file);

#endif
