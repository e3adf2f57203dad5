/* space.c - full is a state, entered before the cap is passed and left by itself.
 *
 * The cap is on what the disk holds: pages of the file, free ones too (they will be used before the
 * file grows), the WAL file, and the reserve. Part of it, wal_allowance, is kept for the WAL, so
 * that the file never takes the room in which deletes must be written. A commit is checked when its
 * pages are known, before it is made; deletes are never refused.
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
	PAGES_PER_ROW = 4, /* of B-trees that an insert may touch, beside its payload */
	PAGES_PER_COMMIT = 16,
};

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
	*s = (struct space){ .path = path,
			     .max_bytes = max_bytes ? max_bytes : UINT64_MAX,
			     .min_free_bytes = min_free_bytes };
	(void)snprintf(s->reserve_path, sizeof(s->reserve_path), "%s.reserve", path);
	*io_step_bytes = min_u64(*io_step_bytes, s->max_bytes / 16);
	s->wal_allowance = min_u64(2 * *io_step_bytes, s->max_bytes / 4);
	s->reserve_bytes = min_u64(RESERVE_BYTES, s->max_bytes / 16);
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
	s->wal_bytes = max_u64(db_wal_file_bytes(q->db), checkpoint_wal_bytes(c));
	s->disk_free_bytes = file_disk_free(s->path);
	return ST_OK;
}

static uint64_t reserve_bytes(const struct space *s)
{
	return s->has_reserve ? s->reserve_bytes : 0;
}

enum status space_state(const struct space *s, const struct checkpoint *c, enum status was)
{
	(void)c;
	uint64_t leave = min_u64(LEAVE_BYTES, s->max_bytes / 16);
	uint64_t used = s->file_bytes - s->free_bytes + max_u64(s->wal_bytes, s->wal_allowance) +
			reserve_bytes(s);
	uint64_t room = used < s->max_bytes ? s->max_bytes - used : 0;
	uint64_t floor = s->min_free_bytes;
	if (room < (was == ST_FULL ? leave : MARGIN_BYTES))
		return ST_FULL;
	/* On the way out there must be room for a group, and for the reserve. */
	if (was == ST_NO_SPACE)
		floor += LEAVE_BYTES + (s->has_reserve ? 0 : s->reserve_bytes);
	return s->disk_free_bytes < floor ? ST_NO_SPACE : ST_OK;
}

enum status space_check_commit(struct space *s, struct queue *q, const struct checkpoint *c,
			       uint64_t rows, uint64_t stored_bytes)
{
	uint64_t before = s->file_bytes;
	enum status st = space_measure(s, q, c);
	if (st)
		return st;
	uint64_t frames = stored_bytes / c->page_bytes + PAGES_PER_ROW * rows + PAGES_PER_COMMIT;
	uint64_t wal = max_u64(s->wal_bytes, checkpoint_wal_bytes(c) + frames * c->frame_bytes);
	uint64_t used = s->file_bytes + max_u64(wal, s->wal_allowance) + reserve_bytes(s);
	if (used > s->max_bytes)
		return ST_FULL;
	uint64_t growth = wal - s->wal_bytes;
	if (s->file_bytes > before)
		growth += s->file_bytes - before;
	bool has_room =
		s->disk_free_bytes >= growth && s->disk_free_bytes - growth >= s->min_free_bytes;
	return has_room ? ST_OK : ST_NO_SPACE;
}

void space_hold_reserve(struct space *s)
{
	if (s->has_reserve || s->disk_free_bytes < s->min_free_bytes + 2 * s->reserve_bytes)
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
