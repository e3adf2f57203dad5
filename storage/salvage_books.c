/* salvage_books.c - what a damaged file knew of records that are gone: its totals and its ledger.
 *
 * Invariants are those of storage/salvage_move.c. The balance of the new file goes on where that of
 * the old one ended: what had been delivered or let go by then was accepted by then, so both are
 * counted, and the difference stays 0. What was still owed is counted as it is moved, or missed.
 *
 * Rows of the ledger name their ids in reports. Those that were reported keep theirs (the ids of
 * the new file begin above, storage/inherit.c), and are not reported again. The others get new ids,
 * behind settings.losses_reported, and are. */
#include "storage/queue_sql.h"
#include "storage/salvage_move.h"

static enum status save_progress(struct queue *q, const struct salvage_job *j, int64_t next_loss_id)
{
	sqlite3_stmt *s = NULL;
	enum status st = stmt_prepare(q->db, "UPDATE salvages SET next_loss_id = ?2 WHERE id = ?1",
				      &s, &q->err);
	if (!st) {
		stmt_bind_int(s, 1, j->row.id);
		stmt_bind_int(s, 2, next_loss_id);
		st = stmt_run(s, &q->err);
	}
	(void)sqlite3_finalize(s);
	return st;
}

static const struct salvage_job *job_of(const struct write_job *job)
{
	return (const struct salvage_job *)(const void *)job;
}

enum status salvage_take_totals(struct queue *q, struct write_job *job)
{
	const struct salvage_job *j = job_of(job);
	enum status st = salvage_check_row(q, &j->row);
	for (size_t i = 0; i < j->outcome_count && !st; i++) {
		const struct salvage_outcome *o = &j->outcomes[i];
		int64_t id = 0;
		st = salvage_find_place(q, j, o->destination_id, &id);
		if (!st)
			st = queue_count(q, id, o->signal, OUTCOME_ACCEPTED, o->records);
		if (!st)
			st = queue_count(q, id, o->signal, o->outcome, o->records);
	}
	return st ? st : save_progress(q, j, 1);
}

static enum status take_loss(struct queue *q, const struct salvage_job *j,
			     const struct salvage_loss *l, sqlite3_stmt *s)
{
	int64_t destination_id = 0;
	int64_t boot = 0;
	enum status st = salvage_find_place(q, j, l->destination_id, &destination_id);
	if (!st)
		st = salvage_find_boot(q, &l->at, &boot);
	if (st)
		return st;
	if (l->id <= j->reported)
		stmt_bind_int(s, 1, l->id);
	stmt_bind_int(s, 2, l->at.at_ns);
	if (boot) {
		stmt_bind_int(s, 3, boot);
		stmt_bind_int(s, 4, l->at.mono_ns);
	}
	stmt_bind_int(s, 5, destination_id);
	stmt_bind_text(s, 6, bytes_str(l->signal));
	stmt_bind_text(s, 7, bytes_str(l->class));
	stmt_bind_text(s, 8, bytes_str(l->reason));
	stmt_bind_int(s, 9, l->records);
	stmt_bind_int(s, 10, l->bytes);
	stmt_bind_nonzero(s, 11, l->first_time);
	stmt_bind_nonzero(s, 12, l->last_time);
	stmt_bind_words(s, 13, bytes_str(l->detail));
	return stmt_run(s, &q->err);
}

enum status salvage_take_losses(struct queue *q, struct write_job *job)
{
	/* An id that is taken all the same: better reported twice than not kept. */
	static const char sql[] =
		"INSERT INTO losses (id, at, boot, mono, destination_id, signal, class, reason,"
		" records, bytes, first_time, last_time, detail) SELECT coalesce((SELECT ?1 WHERE"
		" NOT EXISTS (SELECT 1 FROM losses WHERE id = ?1)), 1 + max(coalesce((SELECT "
		"max(id)"
		" FROM losses), 0), coalesce((SELECT value FROM settings WHERE name ="
		" 'losses_reported'), 0))), ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13";
	const struct salvage_job *j = job_of(job);
	sqlite3_stmt *s = NULL;
	enum status st = salvage_check_row(q, &j->row);
	if (!st)
		st = stmt_prepare(q->db, sql, &s, &q->err);
	for (size_t i = 0; i < j->loss_count && !st; i++)
		st = take_loss(q, j, &j->losses[i], s);
	(void)sqlite3_finalize(s);
	q->has_losses = q->has_losses || j->loss_count > 0;
	return st ? st : save_progress(q, j, j->next_loss_id);
}
