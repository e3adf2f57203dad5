/* store.c - opens the queue file, whatever state it is in.
 *
 *   open and verify -> fine
 *                   -> damaged: set aside, open a new one, which must work
 *                   -> anything else (rights, another application, I/O): the caller's to tell
 *
 * Every file that was set aside gets a row in `salvages`, found by its name in the directory, so
 * that none is forgotten over a crash. What the file that follows a damaged one takes from it at
 * once is in storage/inherit.c; among it that ids go on above all that were ever used: invariant
 * (4) of storage/queue.c. */
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

/* The files beside the queue that were set aside. */
struct adoption {
	struct store *store;
	size_t count;
	char newest[PATH_MAX]; /* names sort by time */
};

static enum status look_at_file(void *ctx, const char *name)
{
	struct adoption *a = ctx;
	a->count++;
	if (strcmp(name, a->newest) > 0)
		(void)snprintf(a->newest, sizeof(a->newest), "%s", name);
	return ST_OK;
}

static enum status adopt_file(void *ctx, const char *name)
{
	struct store *s = ((struct adoption *)ctx)->store;
	const char *reason =
		strcmp(name, s->set_aside) == 0 ? s->damage : "it was found beside the queue";
	return queue_add_salvage(&s->queue, name, now_wall_ns(), reason);
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

static enum status save_slots(struct store *s)
{
	int64_t ids[DESTINATIONS_MAX];
	enum status st = ST_OK;
	for (int i = 0; i < s->slot_count && !st; i++) {
		struct store_slot *slot = &s->slots[i];
		st = queue_destination(&s->queue, slot->name, slot->kind, slot->id, true,
				       &slot->id);
		ids[i] = slot->id;
	}
	return st ? st : queue_set_configured(&s->queue, ids, (size_t)s->slot_count);
}

enum status store_save_slots(struct store *s, struct err *e)
{
	enum status st = queue_begin(&s->queue);
	if (!st)
		st = save_slots(s);
	return commit_or_roll_back(s, st, e);
}

/* One transaction, for which nobody waits: a file that follows a damaged one has all of these rows,
 * or is still empty. */
static enum status write_seed(struct store *s, struct adoption *a)
{
	struct queue *q = &s->queue;
	int64_t highest = 0;
	enum status st = queue_highest_id(q, &highest);
	bool is_new = highest == 0 && a->count > 0;
	/* With the ids that they had, before others can take them. */
	if (!st && s->needs_seed && s->slot_count)
		st = save_slots(s);
	if (!st && is_new)
		st = inherit_take(q, a->newest, s->acked_id, &s->inherited);
	if (!st && a->count)
		st = quarantine_each(s->path, adopt_file, a, &q->err);
	/* New batches are of this boot of the machine. */
	return st ? st : boot_register(&q->boot, q->db, &q->err);
}

/* The rows that every file has, or else it is closed again. */
static enum status seed(struct store *s, struct err *e)
{
	struct adoption a = { .store = s };
	enum status st = quarantine_each(s->path, look_at_file, &a, e);
	if (!st) {
		st = queue_begin(&s->queue);
		if (!st)
			st = write_seed(s, &a);
		st = commit_or_roll_back(s, st, e);
	}
	if (st) {
		s->inherited.is_news = false;
		store_close(s);
		return st;
	}
	s->queue.boot.is_changed = false;
	s->needs_seed = false;
	return ST_OK;
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
