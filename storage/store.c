/* store.c - opens the queue file, whatever state it is in.
 *
 *   open and verify -> fine
 *                   -> damaged: set aside, open a new one, which must work
 *                   -> anything else (rights, another application, I/O): the caller's to tell
 *
 * Every file that was set aside gets a row in `salvages`, found by its name in the directory, so
 * that none is forgotten over a crash. A file that follows a damaged one starts its batch ids above
 * all that were ever used (microseconds since 1970 are above any count of batches): invariant (4)
 * of storage/queue.c. */
#include "storage/store.h"

#include <stdio.h>
#include <stdlib.h>

#include "gateway/base/now.h"
#include "storage/db.h"
#include "storage/file_checks.h"
#include "storage/quarantine.h"
#include "storage/verify.h"

static enum status attach(struct store *s, struct err *e)
{
	queue_init(&s->queue, s->db);
	return checkpoint_init(&s->checkpoint, s->db, s->step_bytes, e);
}

/* Open the file as it is. ST_CORRUPT: nothing is open, set it aside. */
static enum status open_verified(struct store *s, struct err *e)
{
	char wal[PATH_MAX];
	(void)snprintf(wal, sizeof(wal), "%s-wal", s->path);
	bool is_unclean = file_size(wal) > 0;
	enum status st = db_open(s->path, s->page_size, (int64_t)s->wal_keep_bytes, &s->db, e);
	if (st)
		return st;
	st = verify_file(s->db, is_unclean, e);
	if (!st)
		st = attach(s, e);
	if (st)
		store_close(s);
	return st;
}

struct adoption {
	struct queue *queue;
	const char *set_aside;
	const char *damage;
	size_t count;
};

static enum status count_file(void *ctx, const char *name)
{
	struct adoption *a = ctx;
	(void)name;
	a->count++;
	return ST_OK;
}

static enum status adopt_file(void *ctx, const char *name)
{
	struct adoption *a = ctx;
	const char *reason =
		strcmp(name, a->set_aside) == 0 ? a->damage : "it was found beside the queue";
	return queue_add_salvage(a->queue, name, now_wall_ns(), reason);
}

static enum status commit_or_roll_back(struct store *s, enum status st, struct err *e)
{
	if (!st)
		st = queue_commit(&s->queue);
	if (st) {
		queue_rollback(&s->queue);
		return err_set(e, st, "%s", err_text(&s->queue.err, st));
	}
	return ST_OK;
}

/* Nobody waits for these transactions: they acknowledge nothing. */
static enum status adopt_files(struct store *s, struct err *e)
{
	int64_t highest = 0;
	struct adoption a = { .queue = &s->queue, .set_aside = s->set_aside, .damage = s->damage };
	enum status st = quarantine_each(s->path, count_file, &a, e);
	if (st || a.count == 0)
		return st;
	st = queue_begin(&s->queue);
	if (!st)
		st = queue_highest_id(&s->queue, &highest);
	if (!st && highest == 0) {
		int64_t above = now_wall_ns() / 1000;
		st = queue_skip_ids(&s->queue, above > s->acked_id ? above : s->acked_id);
	}
	if (!st)
		st = quarantine_each(s->path, adopt_file, &a, e);
	return commit_or_roll_back(s, st, e);
}

enum status store_save_slots(struct store *s, struct err *e)
{
	int64_t ids[DESTINATIONS_MAX];
	enum status st = queue_begin(&s->queue);
	for (int i = 0; i < s->slot_count && !st; i++) {
		struct store_slot *slot = &s->slots[i];
		st = queue_destination(&s->queue, slot->name, slot->kind, slot->id, true,
				       &slot->id);
		ids[i] = slot->id;
	}
	if (!st)
		st = queue_set_configured(&s->queue, ids, (size_t)s->slot_count);
	return commit_or_roll_back(s, st, e);
}

/* New batches are of this boot of the machine. */
static enum status register_boot(struct store *s, struct err *e)
{
	struct queue *q = &s->queue;
	enum status st = queue_begin(q);
	if (!st)
		st = boot_register(&q->boot, q->db, &q->err);
	st = commit_or_roll_back(s, st, e);
	if (!st)
		q->boot.is_changed = false;
	return st;
}

/* The rows that every file has, or else it is closed again. */
static enum status seed(struct store *s, struct err *e)
{
	enum status st = adopt_files(s, e);
	if (!st)
		st = register_boot(s, e);
	if (!st && s->needs_seed && s->slot_count)
		st = store_save_slots(s, e);
	if (st)
		store_close(s);
	else
		s->needs_seed = false;
	return st;
}

enum status store_set_aside(struct store *s, const char *damage, struct err *e)
{
	char name[PATH_MAX];
	store_close(s);
	enum status st = quarantine_file(s->path, now_wall_ns(), name, e);
	if (st)
		return st;
	(void)snprintf(s->set_aside, sizeof(s->set_aside), "%s", name);
	(void)snprintf(s->damage, sizeof(s->damage), "%s", damage);
	s->needs_seed = true;
	s->is_in_doubt = false; /* that was about the old file's log */
	s->verified = 0;
	st = open_verified(s, e);
	return st ? st : seed(s, e);
}

enum status store_open(struct store *s, struct err *e)
{
	struct err why = { .text = "" };
	enum status st = open_verified(s, &why);
	if (st == ST_CORRUPT)
		return store_set_aside(s, err_text(&why, st), e);
	if (st)
		return err_set(e, st, "%s", err_text(&why, st));
	return seed(s, e);
}

void store_close(struct store *s)
{
	queue_done(&s->queue);
	db_close(s->db);
	s->db = NULL;
}

void store_free(struct store *s)
{
	store_close(s);
	for (int i = 0; i < s->slot_count; i++) {
		free(s->slots[i].name);
		free(s->slots[i].kind);
	}
	s->slot_count = 0;
	free(s->path);
	s->path = NULL;
}
