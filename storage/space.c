/* space.c - full is a state, entered before the cap is passed and left by itself.
 *
 * The cap is on what the disk holds: pages of the file, free ones too (they will be used before the
 * file grows), the WAL file, and the reserve. Parts of it are kept: wal_allowance for the WAL, so
 * that the file never takes the room in which deletes must be written; settle_bytes for
 * settlements, which may need a page for an error text. What is on its way to a commit is counted
 * before its first page is written (SQLite spills a large transaction into the WAL before its
 * commit), and once more before the commit.
 *
 * The floor of free disk binds growth only: pages that are free in the file, and frames that fit
 * into the WAL file as it is, take nothing from anybody.
 *
 * A measurement costs a tenth of a small commit (SQLite compiles a PRAGMA anew each time it runs),
 * so a commit is let through on an older one while cap and floor are FAR_BYTES away. The writer
 * measures every 100 ms: what others may do to the disk meanwhile is met as ENOSPC, as it would be
 * behind any measurement.
 *
 * On a disk that others filled to the brim, deletes need space too: for WAL frames, and for pages
 * that a checkpoint moves behind the end of the file. A preallocated file of a few MiB is given up
 * then, and made again when there is room. */
#include "storage/space.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "storage/db.h"
#include "storage/file_checks.h"

enum {
	MARGIN_BYTES = 256 << 10, /* full a little before a put is refused in its commit */
	LEAVE_BYTES = 4 << 20,    /* room for a group, before puts are taken again */
	RESERVE_BYTES = 8 << 20,
	SETTLE_BYTES = 4 << 20,
	WAL_BYTES_MAX = 128 << 20,
	PAGES_PER_ROW = 4, /* of B-trees that an insert may touch, beside its payload */
	PAGES_PER_COMMIT = 16,
};

#define BYTES_MAX (UINT64_C(1) << 60)
#define FAR_BYTES (INT64_C(256) << 20)

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

void space_init(struct space *s, const char *path, uint64_t max_bytes, uint64_t min_free_bytes,
		uint64_t *io_step_bytes)
{
	bool is_capped = max_bytes && max_bytes < BYTES_MAX;
	*s = (struct space){ .path = path,
			     .max_bytes = is_capped ? max_bytes : BYTES_MAX,
			     .min_free_bytes = min_u64(min_free_bytes, BYTES_MAX) };
	(void)snprintf(s->reserve_path, sizeof(s->reserve_path), "%s.reserve", path);
	*io_step_bytes = min_u64(*io_step_bytes, s->max_bytes / 16);
	/* Room for a large request in one commit, where the cap is large. */
	s->wal_allowance = max_u64(min_u64(4 * *io_step_bytes, s->max_bytes / 4),
				   min_u64(WAL_BYTES_MAX, s->max_bytes / 16));
	s->reserve_bytes = min_u64(RESERVE_BYTES, s->max_bytes / 16);
	s->settle_bytes = min_u64(SETTLE_BYTES, s->max_bytes / 32);
}

enum status space_measure(struct space *s, struct queue *q, const struct checkpoint *c)
{
	int64_t pages = 0;
	int64_t free_pages = 0;
	enum status st = queue_pages(q, &pages, &free_pages);
	if (st)
		return st;
	s->file_bytes = (uint64_t)pages * c->page_bytes;
	s->free_bytes = (uint64_t)free_pages * c->page_bytes;
	s->disk_bytes = db_file_bytes(q->db);
	s->wal_bytes = max_u64(db_wal_file_bytes(q->db), checkpoint_wal_bytes(c));
	s->disk_free_bytes = file_disk_free(s->path);
	s->is_measured = true;
	s->unmeasured_frames = 0;
	return ST_OK;
}

static uint64_t reserve_bytes(const struct space *s)
{
	return s->has_reserve ? s->reserve_bytes : 0;
}

int64_t space_pages_for(const struct checkpoint *c, uint64_t rows, uint64_t stored_bytes)
{
	return (int64_t)(stored_bytes / c->page_bytes + PAGES_PER_ROW * rows + PAGES_PER_COMMIT);
}

/* Rounded down, also below zero. */
static int64_t pages_of(int64_t bytes, const struct checkpoint *c)
{
	int64_t page = (int64_t)c->page_bytes;
	return bytes >= 0 ? bytes / page : -((-bytes + page - 1) / page);
}

static int64_t cap_room(const struct space *s, const struct checkpoint *c, int64_t frames)
{
	uint64_t wal = checkpoint_wal_bytes(c) + (uint64_t)frames * c->frame_bytes;
	uint64_t used = s->file_bytes + max_u64(max_u64(wal, s->wal_bytes), s->wal_allowance) +
			s->reserve_bytes + s->settle_bytes;
	return (int64_t)s->max_bytes - (int64_t)used;
}

static int64_t disk_room(const struct space *s, const struct checkpoint *c, int64_t frames)
{
	/* A log that was copied whole starts over, if no reader stays. */
	bool starts_over = c->done_frames == c->wal_frames && !c->is_held;
	uint64_t wal =
		(starts_over ? 0 : checkpoint_wal_bytes(c)) + (uint64_t)frames * c->frame_bytes;
	uint64_t growth = wal > s->wal_bytes ? wal - s->wal_bytes : 0;
	growth += s->file_bytes > s->disk_bytes ? s->file_bytes - s->disk_bytes : 0;
	int64_t room = (int64_t)s->disk_free_bytes - (int64_t)s->min_free_bytes - (int64_t)growth;
	return room < 0 && growth == 0 ? 0 : room;
}

/* Each frame may be one of the log and a page by which the file grows. */
static bool is_far(const struct space *s, const struct checkpoint *c, int64_t frames)
{
	int64_t unmeasured = s->unmeasured_frames + frames;
	int64_t cap = cap_room(s, c, unmeasured);
	int64_t disk = disk_room(s, c, unmeasured);
	int64_t room = cap < disk ? cap : disk;
	return s->is_measured && room - unmeasured * (int64_t)c->page_bytes > FAR_BYTES;
}

enum status space_measure_if_near(struct space *s, struct queue *q, const struct checkpoint *c,
				  int64_t frames)
{
	return is_far(s, c, frames) ? ST_OK : space_measure(s, q, c);
}

struct space_room space_room(const struct space *s, const struct checkpoint *c, int64_t frames)
{
	int64_t cap = cap_room(s, c, frames);
	int64_t disk = disk_room(s, c, frames);
	return (struct space_room){ .free_pages = (int64_t)(s->free_bytes / c->page_bytes),
				    .growth_pages = pages_of(cap < disk ? cap : disk, c),
				    .why = cap < disk ? ST_FULL : ST_NO_SPACE };
}

static uint64_t leave_bytes(const struct space *s)
{
	return min_u64(LEAVE_BYTES, s->max_bytes / 32);
}

enum status space_state(const struct space *s, const struct checkpoint *c, enum status was)
{
	uint64_t need = was == ST_OK ? min_u64(MARGIN_BYTES, s->max_bytes / 64) : leave_bytes(s);
	struct space_room room = space_room(s, c, 0);
	if (room.growth_pages < 0 ||
	    (uint64_t)(room.free_pages + room.growth_pages) * c->page_bytes < need)
		return room.why;
	/* On the way out of a full disk there must be room for the reserve. */
	bool is_short = s->disk_free_bytes < s->min_free_bytes + leave_bytes(s) + s->reserve_bytes;
	return was == ST_NO_SPACE && !s->has_reserve && is_short ? ST_NO_SPACE : ST_OK;
}

uint64_t space_excess(const struct space *s, const struct checkpoint *c)
{
	int64_t room = cap_room(s, c, 0);
	/* The log's own excess goes with the next checkpoints. */
	if (s->wal_bytes > s->wal_allowance)
		room += (int64_t)(s->wal_bytes - s->wal_allowance);
	return room < 0 ? (uint64_t)-room : 0;
}

enum status space_check_commit(struct space *s, struct queue *q, const struct checkpoint *c,
			       int64_t frames, bool is_put)
{
	uint64_t before = s->file_bytes;
	if (is_far(s, c, frames)) {
		s->unmeasured_frames += frames;
		return ST_OK;
	}
	enum status st = space_measure(s, q, c);
	if (st)
		return st;
	struct space_room room = space_room(s, c, frames);
	if (room.growth_pages >= 0)
		return ST_OK;
	if (is_put)
		return room.why;
	/* What settles and deletes is let through as long as it can be: it makes the file no
	 * larger, or by the part that is kept for it, and a log that no reader holds starts over.
	 * How many frames it writes cannot be told before, and it must never be refused for a
	 * guess. */
	bool grows = s->file_bytes > before && cap_room(s, c, 0) + (int64_t)s->settle_bytes < 0;
	bool is_held = s->wal_bytes > s->wal_allowance &&
		       s->file_bytes + s->wal_bytes + reserve_bytes(s) > s->max_bytes;
	return grows || is_held ? ST_FULL : ST_OK;
}

void space_hold_reserve(struct space *s)
{
	uint64_t used = s->file_bytes + s->wal_bytes + s->reserve_bytes;
	if (s->has_reserve || used > s->max_bytes ||
	    s->disk_free_bytes < s->min_free_bytes + 2 * s->reserve_bytes)
		return;
	/* Not a file of SQLite's: a descriptor of it drops no lock. */
	int fd = open(s->reserve_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return;
	int rc = posix_fallocate(fd, 0, (off_t)s->reserve_bytes);
	(void)close(fd);
	if (rc == 0)
		s->has_reserve = true;
	else
		(void)unlink(s->reserve_path);
}

bool space_release_reserve(struct space *s)
{
	bool had = s->has_reserve;
	s->has_reserve = false;
	return unlink(s->reserve_path) == 0 || had;
}
