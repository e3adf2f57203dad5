/* file.c - a destination that is a file: one line of OTLP JSON per export.
 *
 * Invariants:
 *  (1) An export is answered "delivered" only after its line, the file's size and, for a new file,
 * the directory entry are synced. The settlement comes after that, so what the queue forgets is on
 * disk. (2) Every line is whole. A write that fails half way is cut off again at once; what a crash
 * left half written is cut off when the file is opened. Nothing is lost by that: a half line was
 * never answered, so its batches are still queued. (3) A file is never shortened below its last
 * whole line, and only rotation deletes.
 *
 * All work is done in send, which may block on the disk: the thread is this destination's own. An
 * error closes the file, and the next attempt opens and repairs it again: one path for crash and
 * for error. It is also what lets a person move or delete the file: it is found gone by its name,
 * and made anew.
 *
 * Exports are kept small (max_raw_bytes), as the JSON form takes several times the room. */
#include "gateway/forward/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"
#include "gateway/telemetry/json.h"

enum {
	REPAIR_CHUNK = 64 * 1024,
	EXPORT_RAW_MAX = 1024 * 1024,
	JSON_GROWTH_MAX = 32, /* times the protobuf form: no real telemetry comes near */
	DONE_MAX = SIGNAL_COUNT * RECORD_CLASS_COUNT
};

struct file {
	struct exporter base;
	const struct destination_config *config;
	int wake_fd;
	int fd; /* -1: not open */
	int64_t size;
	dev_t device; /* what is open, to notice that it was moved away */
	ino_t inode;
	struct export *done[DONE_MAX]; /* answered, not yet polled */
	size_t done_count;
};

static struct file *self_of(struct exporter *x)
{
	return (struct file *)x;
}

static enum status io_failed(struct err *e, const char *what, const char *path)
{
	int saved = errno;
	return err_set(e, saved == ENOSPC || saved == EDQUOT ? ST_NO_SPACE : ST_IO, "%s %s: %s",
		       what, path, strerror(saved));
}

/* The offset behind the last line feed before `end`. */
static enum status find_line_end(int fd, int64_t end, int64_t *ret, struct err *e)
{
	char *chunk = xcalloc(1, REPAIR_CHUNK);
	enum status st = ST_OK;
	*ret = 0;
	while (end > 0 && !st) {
		size_t n = end < REPAIR_CHUNK ? (size_t)end : REPAIR_CHUNK;
		ssize_t got = pread(fd, chunk, n, end - (int64_t)n);
		if (got != (ssize_t)n) {
			st = err_set(e, ST_IO, "read: %s",
				     got < 0 ? strerror(errno) : "the file shrinks");
			break;
		}
		const char *feed = memrchr(chunk, '\n', n);
		if (feed) {
			*ret = end - (int64_t)n + (feed - chunk) + 1;
			break;
		}
		end -= (int64_t)n;
	}
	free(chunk);
	return st;
}

enum status file_repair(int fd, int64_t *ret_size, int64_t *ret_cut, struct err *e)
{
	struct stat sb;
	int64_t whole = 0;
	if (fstat(fd, &sb))
		return err_set(e, ST_IO, "stat: %s", strerror(errno));
	enum status st = find_line_end(fd, sb.st_size, &whole, e);
	if (st)
		return st;
	if (whole < sb.st_size && (ftruncate(fd, whole) || fdatasync(fd)))
		return err_set(e, ST_IO, "cutting a half line: %s", strerror(errno));
	*ret_size = whole;
	*ret_cut = sb.st_size - whole;
	return ST_OK;
}

static enum status backup_name(char *dst, const char *path, int number, struct err *e)
{
	if (snprintf(dst, PATH_MAX, "%s.%d", path, number) >= PATH_MAX)
		return err_set(e, ST_INVALID, "the path is too long");
	return ST_OK;
}

enum status file_rotate(const char *path, int max_backups, struct err *e)
{
	char from[PATH_MAX];
	char to[PATH_MAX];
	int last = 1;
	enum status st = backup_name(to, path, last, e);
	/* The first free number, or the oldest backup, which the rename replaces. */
	while (!st && access(to, F_OK) == 0 && (max_backups == 0 || last < max_backups))
		st = backup_name(to, path, ++last, e);
	for (int i = last; i >= 1 && !st; i--) {
		st = backup_name(to, path, i, e);
		if (!st && i > 1)
			st = backup_name(from, path, i - 1, e);
		if (!st && rename(i > 1 ? from : path, to))
			st = io_failed(e, "rename", i > 1 ? from : path);
	}
	return st;
}

static void close_fd(struct file *f)
{
	if (f->fd >= 0)
		(void)close(f->fd);
	f->fd = -1;
}

/* Invariant (1): a new name is on disk only when its directory is. */
static enum status sync_directory(const char *path, struct err *e)
{
	char dir[PATH_MAX];
	(void)snprintf(dir, sizeof(dir), "%s", path);
	char *slash = strrchr(dir, '/');
	if (slash)
		slash[slash == dir ? 1 : 0] = '\0';
	int fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return io_failed(e, "open", dir);
	enum status st = fsync(fd) ? io_failed(e, "fsync", dir) : ST_OK;
	(void)close(fd);
	return st;
}

/* mkdir -p of what stands before the last slash. */
static enum status make_directory(const char *path, struct err *e)
{
	char dir[PATH_MAX];
	(void)snprintf(dir, sizeof(dir), "%s", path);
	for (char *p = strchr(dir + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = '\0';
		bool is_new = mkdir(dir, 0755) == 0;
		if (!is_new && errno != EEXIST)
			return io_failed(e, "mkdir", dir);
		enum status st = is_new ? sync_directory(dir, e) : ST_OK;
		if (st)
			return st;
		*p = '/';
	}
	return ST_OK;
}

static enum status open_file(struct file *f, struct err *e)
{
	const char *path = f->config->path;
	int64_t cut = 0;
	struct stat sb;
	enum status st = make_directory(path, e);
	if (st)
		return st;
	f->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	if (f->fd < 0)
		return io_failed(e, "open", path);
	if (fstat(f->fd, &sb))
		st = io_failed(e, "stat", path);
	else if (!S_ISREG(sb.st_mode))
		st = err_set(e, ST_IO, "%s is not a regular file", path);
	if (!st)
		st = file_repair(f->fd, &f->size, &cut, e);
	if (!st)
		st = sync_directory(path, e);
	if (st) {
		close_fd(f);
		return st;
	}
	f->device = sb.st_dev;
	f->inode = sb.st_ino;
	return ST_OK;
}

static bool is_moved_away(const struct file *f)
{
	struct stat sb;
	return stat(f->config->path, &sb) || sb.st_dev != f->device || sb.st_ino != f->inode;
}

/* Open where it is not, and begin a new file where this one is full. */
static enum status make_ready(struct file *f, struct err *e)
{
	if (f->fd >= 0 && is_moved_away(f))
		close_fd(f);
	enum status st = f->fd >= 0 ? ST_OK : open_file(f, e);
	if (st || (uint64_t)f->size < f->config->rotation_max_size)
		return st;
	close_fd(f);
	st = file_rotate(f->config->path, f->config->rotation_max_backups, e);
	return st ? st : open_file(f, e);
}

static enum status write_line(struct file *f, struct bytes line, struct err *e)
{
	size_t done = 0;
	while (done < line.n) {
		ssize_t n = pwrite(f->fd, line.p + done, line.n - done, f->size + (int64_t)done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return io_failed(e, "write", f->config->path);
		done += (size_t)n;
	}
	if (fdatasync(f->fd))
		return io_failed(e, "fdatasync", f->config->path);
	f->size += (int64_t)line.n;
	return ST_OK;
}

static enum status append(struct file *f, struct bytes line, struct err *e)
{
	enum status st = make_ready(f, e);
	if (!st)
		st = write_line(f, line, e);
	if (st && f->fd >= 0) {
		/* (2). Should this fail as well, the next opening repairs. After a failed fdatasync
		 * the kernel's pages are in doubt: the line is cut off and written anew. */
		int ignored = ftruncate(f->fd, f->size);
		(void)ignored;
		close_fd(f);
	}
	return st;
}

static void send_file(struct exporter *x, struct export *export)
{
	struct file *f = self_of(x);
	struct err e = { 0 };
	struct buf line;
	buf_init(&line, export->body.n * JSON_GROWTH_MAX + REPAIR_CHUNK, NULL);
	export->reply = (struct export_reply){ .verdict = VERDICT_DELIVERED };
	enum status st = otlp_to_json(export->signal, buf_view(&export->body), &line, &e);
	if (st == ST_INVALID)
		export->reply.verdict = VERDICT_REFUSED;
	if (st == ST_TOO_LARGE)
		export->reply.verdict = VERDICT_TOO_LARGE;
	if (!st)
		st = buf_append_byte(&line, '\n');
	if (!st)
		st = append(f, buf_view(&line), &e);
	if (st && export->reply.verdict == VERDICT_DELIVERED)
		export->reply.verdict = VERDICT_RETRY;
	if (st)
		(void)snprintf(export->reply.error, sizeof(export->reply.error), "%s",
			       err_text(&e, st));
	buf_done(&line);
	CHECK(f->done_count < DONE_MAX);
	f->done[f->done_count++] = export;
}

static enum exporter_event poll_file(struct exporter *x, int64_t deadline_ns, struct export **ret)
{
	struct file *f = self_of(x);
	if (f->done_count) {
		*ret = f->done[--f->done_count];
		return EXPORTER_DONE;
	}
	int64_t wait = deadline_ns - now_mono_ns();
	if (wait > 0) {
		struct pollfd p = { .fd = f->wake_fd, .events = POLLIN };
		int64_t ms = wait / NS_PER_MS + 1;
		(void)poll(&p, 1, (int)(ms < INT_MAX ? ms : INT_MAX));
	}
	return EXPORTER_NOTHING;
}

static enum encoding encoding_file(const struct exporter *x)
{
	(void)x;
	return ENCODING_NONE;
}

static void close_file(struct exporter *x)
{
	if (!x)
		return;
	close_fd(self_of(x));
	free(x);
}

static enum status open_exporter(const struct destination_config *c, int wake_fd,
				 struct exporter **ret, struct err *e)
{
	if (!c->path[0])
		return err_set(e, ST_INVALID, "path: missing; kind file needs one");
	if (strlen(c->path) > PATH_MAX - 16)
		return err_set(e, ST_INVALID, "path: longer than %d bytes", PATH_MAX - 16);
	if (c->path[strlen(c->path) - 1] == '/')
		return err_set(e, ST_INVALID, "path: names a directory, not a file");
	struct file *f = xcalloc(1, sizeof(*f));
	f->base.ops = &file_ops;
	f->config = c;
	f->wake_fd = wake_fd;
	f->fd = -1;
	*ret = &f->base;
	return ST_OK;
}

const struct exporter_ops file_ops = {
	.max_raw_bytes = EXPORT_RAW_MAX,
	.open = open_exporter,
	.encoding = encoding_file,
	.send = send_file,
	.poll = poll_file,
	.close = close_file,
};
