/* checkpoint.c - when to copy the WAL into the file, and how much at a time.
 *
 * SQLite copies all that is not copied yet, up to what the oldest reader still needs, and syncs the
 * file. The writer thread does it between two groups, so its length is the tail of the commit
 * latency. It is kept short by doing it often: every step_bytes (a bench chose the default, see
 * docs/performance.md).
 *
 * After a step that copied everything, the next commit starts the WAL over from its beginning, if
 * at that moment no reader uses it. Readers of this process hold a read transaction for
 * microseconds, so one of the next tries meets no reader: past 2 steps a checkpoint that waits for
 * nobody follows each commit (it has one commit's pages to copy), and past 4 one that waits a
 * moment for readers (RESTART), at most once a second. What remains is a reader that stays: another
 * process with a long SELECT. The WAL then grows until it leaves; checkpoint_is_alarming tells.
 *
 * Only this connection ever checkpoints (see the WAL-reset bug in storage/db.c). */
#include "storage/checkpoint.h"

#include "gateway/base/now.h"
#include "storage/stmt.h"

enum {
	WAL_HEADER = 32,
	FRAME_HEADER = 24, /* sqlite.org/fileformat2.html, 4.1 */
	EAGER_STEPS = 2,
	RESTART_STEPS = 4,
	ALARM_STEPS = 8,
	READER_WAIT_MS = 20,
	BUSY_TIMEOUT_MS = 2000,
};

/* SQLite calls it after each commit: frames is the number of frames in the WAL. */
static int note_commit(void *ctx, sqlite3 *db, const char *name, int frames)
{
	struct checkpoint *c = ctx;
	uint64_t n = frames > 0 ? (uint64_t)frames : 0;
	(void)db;
	(void)name;
	if (n < c->wal_frames) { /* it was started over */
		c->wal_frames = 0;
		c->done_frames = 0;
		c->is_held = false;
	}
	c->wal_frames = n;
	c->starts_over = false;
	return SQLITE_OK;
}

enum status checkpoint_init(struct checkpoint *c, sqlite3 *db, uint64_t step_bytes, struct err *e)
{
	int64_t page = 0;
	enum status st = stmt_get_int(db, "PRAGMA page_size", &page, e);
	if (st)
		return st == ST_END ? ST_INTERNAL : st;
	*c = (struct checkpoint){ .db = db,
				  .step_bytes = step_bytes,
				  .page_bytes = (uint64_t)page,
				  .frame_bytes = (uint64_t)page + FRAME_HEADER };
	(void)sqlite3_wal_hook(db, note_commit, c);
	return ST_OK;
}

static enum status run(struct checkpoint *c, int mode, bool *ret_is_whole, struct err *e)
{
	int frames = -1;
	int done = -1;
	int rc = sqlite3_wal_checkpoint_v2(c->db, NULL, mode, &frames, &done);
	if (frames >= 0 && done >= 0) {
		c->wal_frames = (uint64_t)frames;
		c->done_frames = (uint64_t)done;
	}
	*ret_is_whole = rc == SQLITE_OK && frames == done;
	/* New readers read the file alone: they are not in the way. */
	c->starts_over = *ret_is_whole && mode >= SQLITE_CHECKPOINT_RESTART;
	/* Busy: a reader was in the way. What could be copied was copied. */
	if (rc == SQLITE_OK || (rc & 0xff) == SQLITE_BUSY)
		return ST_OK;
	return stmt_fail(c->db, rc, e, "checkpoint");
}

/* As a passive one, which waits for nobody, but with the writer's lock: no other process can add to
 * the log meanwhile, and only so are the pages gathered (storage/counting_vfs.c). */
static enum status copy(struct checkpoint *c, struct err *e)
{
	bool is_whole = false;
	(void)sqlite3_busy_timeout(c->db, 0);
	enum status st = run(c, SQLITE_CHECKPOINT_FULL, &is_whole, e);
	(void)sqlite3_busy_timeout(c->db, BUSY_TIMEOUT_MS);
	c->is_held = !is_whole;
	return st;
}

static enum status restart(struct checkpoint *c, int64_t now, struct err *e)
{
	bool is_whole = false;
	c->next_restart_ns = now + NS_PER_S;
	(void)sqlite3_busy_timeout(c->db, READER_WAIT_MS);
	enum status st = run(c, SQLITE_CHECKPOINT_RESTART, &is_whole, e);
	(void)sqlite3_busy_timeout(c->db, BUSY_TIMEOUT_MS);
	c->is_held = !is_whole;
	return st;
}

enum status checkpoint_step(struct checkpoint *c, bool *ret_did, struct err *e)
{
	uint64_t waiting = (c->wal_frames - c->done_frames) * c->frame_bytes;
	uint64_t all = checkpoint_wal_bytes(c);
	bool is_eager = all >= EAGER_STEPS * c->step_bytes;
	*ret_did = false;
	if (waiting == 0 || (waiting < c->step_bytes && !is_eager))
		return ST_OK;
	*ret_did = true;
	int64_t now = now_mono_ns();
	bool is_early = all < RESTART_STEPS * c->step_bytes || now < c->next_restart_ns;
	return is_early ? copy(c, e) : restart(c, now, e);
}

enum status checkpoint_restart(struct checkpoint *c, struct err *e)
{
	int64_t now = now_mono_ns();
	bool is_too_soon = c->is_held && now < c->next_restart_ns;
	return c->starts_over || is_too_soon ? ST_OK : restart(c, now, e);
}

enum status checkpoint_truncate(struct checkpoint *c, bool *ret_done, struct err *e)
{
	(void)sqlite3_busy_timeout(c->db, READER_WAIT_MS);
	enum status st = run(c, SQLITE_CHECKPOINT_TRUNCATE, ret_done, e);
	(void)sqlite3_busy_timeout(c->db, BUSY_TIMEOUT_MS);
	return st;
}

uint64_t checkpoint_wal_bytes(const struct checkpoint *c)
{
	return c->wal_frames && !c->starts_over ? WAL_HEADER + c->wal_frames * c->frame_bytes : 0;
}

bool checkpoint_is_alarming(const struct checkpoint *c)
{
	return checkpoint_wal_bytes(c) >= ALARM_STEPS * c->step_bytes;
}
