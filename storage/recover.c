/* recover.c - after a failure that leaves memory and disk in doubt.
 *
 * A failed fsync is worse than it looks: Linux marks the pages that it could not write as clean, so
 * they may be readable and not on the disk, and the next fsync says nothing about them. The frames
 * of the failed commit are such pages. Were the file reopened at once, SQLite would find these
 * frames valid, append acknowledged commits behind them, and a power cut would take the frames in
 * the middle away and with them all that follow. Hence the order:
 *
 * (1) Probe: a small commit on the connection that failed. It knows where the last good commit
 *     ended and writes its frames there, over those in doubt. When its fsync succeeds, everything
 *     up to it is on the disk, and what is behind does not continue its chain of checksums.
 * (2) Only then close, reopen (the log is read anew) and verify, also that the last acknowledged
 *     batch is there.
 *
 * A probe that keeps failing gives way after PROBES_MAX: the connection itself may be what is
 * broken. Then the log is copied into the file and cut (TRUNCATE) right after the reopening, so
 * that no commit is ever appended to frames in doubt.
 *
 * A file that is reported damaged is verified first. Where the damage is found, or was reported
 * before, the file is set aside and a new one started (storage/store.c).
 *
 * Whoever calls repeats, with back-off, for ever. */
#include <stdio.h>

#include "storage/db.h"
#include "storage/store.h"
#include "storage/verify.h"

enum { PROBES_MAX = 4 };

/* (1) Setting user_version writes page 1, also where the value stays. */
static enum status probe(struct store *s, struct err *e)
{
	char sql[64];
	int64_t version = 0;
	queue_rollback(&s->queue);
	enum status st = stmt_exec(s->db, "BEGIN IMMEDIATE", e);
	if (!st)
		st = stmt_get_int(s->db, "PRAGMA user_version", &version, e);
	(void)snprintf(sql, sizeof(sql), "PRAGMA user_version=%lld", (long long)version);
	if (!st)
		st = stmt_exec(s->db, sql, e);
	if (!st)
		st = stmt_exec(s->db, "COMMIT", e);
	queue_rollback(&s->queue);
	return st ? err_wrap(e, st, "probe") : ST_OK;
}

/* Acknowledged batches may have been delivered since; the sequence has their ids all the same. */
static enum status check_acknowledged(struct store *s, struct err *e)
{
	int64_t highest = 0;
	enum status st = queue_highest_id(&s->queue, &highest);
	if (st)
		return err_set(e, st, "%s", err_text(&s->queue.err, st));
	s->lost_from = highest < s->acked_id ? highest : 0;
	/* It is told once; there is nothing more to be found here. */
	if (highest < s->acked_id)
		s->acked_id = highest;
	return ST_OK;
}

/* (2) */
static enum status reopen(struct store *s, struct err *e)
{
	bool is_whole = false;
	store_close(s);
	enum status st = store_open(s, e);
	if (!st)
		st = verify_file(s->db, true, e);
	if (st || !s->is_in_doubt)
		return st;
	st = checkpoint_truncate(&s->checkpoint, &is_whole, e);
	if (!st && !is_whole)
		st = err_set(e, ST_BUSY, "a reader keeps the write-ahead log from being cut");
	if (!st)
		s->is_in_doubt = false;
	return st;
}

static enum status set_aside(struct store *s, struct err *e)
{
	struct err why = *e;
	return store_set_aside(s, why.text[0] ? why.text : "damage showed in use", e);
}

enum status store_recover(struct store *s, enum status cause, struct err *e)
{
	s->set_aside[0] = '\0';
	e->text[0] = '\0';
	enum status st = ST_OK;
	if (s->db && !s->is_in_doubt && cause != ST_CORRUPT) {
		st = probe(s, e);
		if (st && st != ST_CORRUPT && ++s->probes < PROBES_MAX)
			return st;
	}
	/* Damage that was not found at its first report is believed at its second. */
	if (cause == ST_CORRUPT && s->verified > 0)
		return set_aside(s, e);
	s->is_in_doubt = s->is_in_doubt || st || !s->db;
	st = reopen(s, e);
	if (st == ST_CORRUPT)
		return set_aside(s, e);
	if (!st && !s->set_aside[0])
		st = check_acknowledged(s, e);
	if (!st) {
		s->probes = 0;
		s->verified += cause == ST_CORRUPT;
	}
	return st;
}
