/* crash_image.c - replays the log onto a disk in memory, and cuts the power at any event.
 *
 * Each file has its durable content and the events since its last sync. A sync makes those durable,
 * in order. An image is the durable content with a choice of the pending events on top; files do
 * not wait for one another, so that unsynced writes of two files can overtake each other.
 *
 * A deletion is pending like a write, until the directory is synced: with it, or with the first
 * sync of a new WAL or journal (os_unix.c does that), or until the file is made again. A failed
 * sync loses what was pending for good (that is what Linux does: the pages are marked clean), but
 * for the variant that keeps all: which of it had reached the disk nobody knows.
 *
 * Sectors are 512 bytes and atomic, as SQLite assumes with SQLITE_IOCAP_POWERSAFE_OVERWRITE: bytes
 * around a write are not touched by it. */
#include "tests/support/crash_image.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/base/xalloc.h"

enum { FILES_MAX = 16, SECTOR = 512, PATH_SIZE = 4096, SEEN_MAX = 1 << 17 };

struct image {
	bool exists;
	uint8_t *p;
	size_t n;
	size_t cap;
};

struct pending {
	const struct vfs_event *event;
	bool is_lost; /* its sync failed */
};

struct file_state {
	struct image durable;
	struct pending *pending;
	size_t count;
	size_t cap;
	bool is_new; /* not synced yet */
};

struct crash_disk {
	struct file_state files[FILES_MAX];
	struct image cut[FILES_MAX];
	uint64_t seen[SEEN_MAX]; /* of crash_cut_everywhere */
};

const char *crash_variant_text(enum crash_variant v)
{
	static const char *const text[] = { "kept", "dropped", "subset", "torn" };
	return text[v];
}

struct crash_disk *crash_disk_new(void)
{
	return xcalloc(1, sizeof(struct crash_disk));
}

void crash_disk_free(struct crash_disk *d)
{
	if (!d)
		return;
	for (int i = 0; i < FILES_MAX; i++) {
		free(d->files[i].durable.p);
		free(d->files[i].pending);
		free(d->cut[i].p);
	}
	free(d);
}

/* splitmix64: small, seeded, the same everywhere. */
static uint64_t next_random(uint64_t *state)
{
	uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* New bytes are zeros: a hole. */
static void image_resize(struct image *m, size_t n)
{
	if (n > m->cap) {
		m->cap = n * 2;
		m->p = realloc(m->p, m->cap);
		CHECK(m->p);
	}
	if (n > m->n)
		memset(m->p + m->n, 0, n - m->n);
	m->n = n;
}

static void image_write(struct image *m, size_t offset, const uint8_t *p, size_t n)
{
	if (!n)
		return;
	m->exists = true;
	if (offset + n > m->n)
		image_resize(m, offset + n);
	memcpy(m->p + offset, p, n);
}

static void image_apply(struct image *m, const struct vfs_event *event)
{
	switch (event->kind) {
	case VFS_WRITE:
		image_write(m, (size_t)event->offset, event->data, event->n);
		break;
	case VFS_TRUNCATE:
		image_resize(m, (size_t)event->offset);
		break;
	case VFS_DELETE:
		m->exists = false;
		m->n = 0;
		break;
	case VFS_CREATE:
		m->exists = true;
		m->n = 0;
		break;
	default:
		break;
	}
}

/* Some sectors of the write arrive: with only_front those up to a point, else any. */
static void image_apply_torn(struct image *m, const struct vfs_event *event, bool only_front,
			     uint64_t *random)
{
	size_t start = (size_t)event->offset;
	size_t end = start + event->n;
	size_t first = start / SECTOR;
	size_t sectors = (end + SECTOR - 1) / SECTOR - first;
	size_t cut = (size_t)(next_random(random) % sectors);
	for (size_t i = 0; i < sectors; i++) {
		bool is_there = only_front ? i < cut : (next_random(random) & 1) != 0;
		if (!is_there)
			continue;
		size_t from = (first + i) * SECTOR;
		size_t to = from + SECTOR;
		from = from < start ? start : from;
		to = to > end ? end : to;
		image_write(m, from, event->data + (from - start), to - from);
	}
}

static void make_durable(struct file_state *f)
{
	for (size_t i = 0; i < f->count; i++)
		if (!f->pending[i].is_lost)
			image_apply(&f->durable, f->pending[i].event);
	f->count = 0;
}

/* Deletions become durable, with what was written before them. */
static void sync_directory(struct crash_disk *d)
{
	for (int i = 0; i < FILES_MAX; i++) {
		struct file_state *f = &d->files[i];
		for (size_t k = 0; k < f->count; k++)
			if (f->pending[k].event->kind == VFS_DELETE) {
				image_apply(&f->durable, f->pending[k].event);
				f->count = 0;
			}
	}
}

static void add_pending(struct file_state *f, const struct vfs_event *event)
{
	if (f->count == f->cap) {
		f->cap = f->cap ? f->cap * 2 : 64;
		f->pending = realloc(f->pending, f->cap * sizeof(*f->pending));
		CHECK(f->pending);
	}
	f->pending[f->count++] = (struct pending){ .event = event };
}

void crash_disk_advance(struct crash_disk *d, const struct vfs_event *event)
{
	if (event->kind == VFS_MARK)
		return;
	struct file_state *f = &d->files[event->file];
	switch (event->kind) {
	case VFS_SYNC:
		make_durable(f);
		if (f->is_new)
			sync_directory(d);
		f->is_new = false;
		break;
	case VFS_SYNC_FAILED:
		for (size_t i = 0; i < f->count; i++)
			f->pending[i].is_lost = true;
		break;
	case VFS_CREATE:
		/* A file without content stands for none at all: a new name needs no sync here. */
		make_durable(f);
		image_apply(&f->durable, event);
		f->is_new = strchr(vfs_log_name(event->file), '-') != NULL;
		break;
	case VFS_DELETE:
		if (event->n) {
			f->count = 0;
			image_apply(&f->durable, event);
			break;
		}
		add_pending(f, event);
		break;
	default:
		add_pending(f, event);
		break;
	}
}

/* Deletions are left out where writes would be: the file is still there. */
static void apply_pending(struct image *m, const struct file_state *f, enum crash_variant v,
			  uint64_t *random)
{
	for (size_t i = 0; i < f->count; i++) {
		const struct vfs_event *event = f->pending[i].event;
		bool is_write = event->kind == VFS_WRITE;
		if (v == CRASH_KEPT) {
			image_apply(m, event);
		} else if (v == CRASH_DROPPED || f->pending[i].is_lost) {
			continue;
		} else if (v == CRASH_TORN) {
			if (i + 1 == f->count && is_write)
				image_apply_torn(m, event, true, random);
			else
				image_apply(m, event);
		} else {
			uint64_t choice = next_random(random) % 5;
			if (choice == 0 && is_write)
				image_apply_torn(m, event, false, random);
			else if (choice >= 3)
				image_apply(m, event);
		}
	}
}

static void remove_files(const char *dir)
{
	DIR *handle = opendir(dir);
	CHECK(handle);
	const struct dirent *entry;
	while ((entry = readdir(handle)) != NULL) {
		char path[PATH_SIZE];
		if (entry->d_name[0] == '.')
			continue;
		(void)snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
		CHECK(unlink(path) == 0);
	}
	(void)closedir(handle);
}

static void write_file(const char *dir, const char *name, const struct image *m)
{
	char path[PATH_SIZE];
	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	FILE *f = fopen(path, "wb");
	CHECK(f);
	CHECK(m->n == 0 || fwrite(m->p, 1, m->n, f) == m->n);
	CHECK(fclose(f) == 0);
}

/* FNV-1a over 8 bytes at a time: quick enough for gigabytes, good enough to tell images apart. */
static uint64_t hash_image(uint64_t hash, const struct image *m)
{
	size_t i = 0;
	for (; i + 8 <= m->n; i += 8) {
		uint64_t word;
		memcpy(&word, m->p + i, 8);
		hash = (hash ^ word) * UINT64_C(0x100000001b3);
		hash ^= hash >> 29;
	}
	for (; i < m->n; i++)
		hash = (hash ^ m->p[i]) * UINT64_C(0x100000001b3);
	return (hash ^ m->n) * UINT64_C(0x100000001b3);
}

uint64_t crash_disk_cut(struct crash_disk *d, enum crash_variant v, uint64_t seed)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	for (int i = 0; i < vfs_log_file_count(); i++) {
		const struct file_state *f = &d->files[i];
		struct image *m = &d->cut[i];
		uint64_t random = seed * 31 + (uint64_t)i;
		m->n = 0;
		m->exists = f->durable.exists;
		image_resize(m, f->durable.n);
		if (f->durable.n)
			memcpy(m->p, f->durable.p, f->durable.n);
		apply_pending(m, f, v, &random);
		hash = hash_image(hash ^ (uint64_t)m->exists, m);
	}
	return hash;
}

void crash_disk_write(const struct crash_disk *d, const char *dir)
{
	remove_files(dir);
	for (int i = 0; i < vfs_log_file_count(); i++)
		if (d->cut[i].exists)
			write_file(dir, vfs_log_name(i), &d->cut[i]);
}

/* True the first time. */
static bool is_new(struct crash_disk *d, uint64_t hash)
{
	hash = hash ? hash : 1;
	size_t i = hash % SEEN_MAX;
	while (d->seen[i] && d->seen[i] != hash)
		i = (i + 1) % SEEN_MAX;
	bool is_first = !d->seen[i];
	d->seen[i] = hash;
	return is_first;
}

static bool is_chosen(const struct crash_cuts *c, size_t event, int variant)
{
	uint64_t random = event * CRASH_VARIANT_COUNT + (uint64_t)variant;
	uint64_t all = (vfs_log_count() - c->first) * (uint64_t)__builtin_popcount(c->variants);
	const char *is_full = getenv("TIDEGATE_FAULT_ALL");
	return !c->images_max || (is_full && *is_full) ||
	       next_random(&random) % all < (uint64_t)c->images_max;
}

static bool cut(const struct crash_cuts *c, struct crash_disk *d, size_t event, int variant,
		uint64_t version)
{
	char what[64];
	uint64_t hash = crash_disk_cut(d, (enum crash_variant)variant, event);
	if (!is_new(d, hash ^ version * UINT64_C(0x9e3779b97f4a7c15)))
		return false;
	(void)snprintf(what, sizeof(what), "event %zu of %zu, %s", event, vfs_log_count(),
		       crash_variant_text((enum crash_variant)variant));
	crash_disk_write(d, c->dir);
	c->check(what);
	return true;
}

int crash_cut_everywhere(const struct crash_cuts *c)
{
	struct crash_disk *d = crash_disk_new();
	uint64_t version = 0;
	int images = 0;
	for (size_t i = 0; i < vfs_log_count(); i++) {
		const struct vfs_event *event = vfs_log_event(i);
		crash_disk_advance(d, event);
		if (event->kind == VFS_MARK && c->learn)
			version += c->learn(event);
		for (int v = 0; v < CRASH_VARIANT_COUNT && i >= c->first; v++)
			if (c->variants >> v & 1 && is_chosen(c, i, v))
				images += cut(c, d, i, v, version);
	}
	crash_disk_free(d);
	return images;
}
