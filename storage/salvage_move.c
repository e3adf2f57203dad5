/* salvage_move.c - what a salvage writes into the live queue.
 *
 * INVARIANTS
 * (1) Rows and progress are one transaction: `salvages.next_id` says which ids of the damaged file
 *     are dealt with, so a crash neither repeats nor skips a batch. A job whose row has moved on,
 * or is another file's (the live file was itself set aside meanwhile), writes nothing. (2) What
 * comes over is counted as accepted here, and what is lost as accepted and damaged: the books of
 * the new file balance at each commit, and say what it took over and what it could not. (3) A batch
 * keeps the time it was received (where that is not ahead of now), its records, its attempts and
 * whether it is dead. It gets a new id: ids order the queue of the new file.
 *
 * Lost payloads of one destination, signal and class and of one job share a row of `losses`. No row
 * grows afterwards: it may have been reported. What the damaged file's totals know beyond the rows
 * that could be read becomes rows of class 'unknown'. */
#include "storage/salvage_move.h"

#include <stdio.h>
#include <string.h>

#include "gateway/base/now.h"
#include "storage/depart.h"
#include "storage/queue_sql.h"

const struct salvage_place salvage_unrouted = { .name = "(unrouted)", .kind = "none" };
static const char UNKNOWN[] = "unknown";

static struct salvage_job *job_of(struct write_job *job)
{
	return (struct salvage_job *)(void *)job;
}

/* A statement that is used rarely enough to be made each time. */
static enum status one_off(struct queue *q, const char *sql, sqlite3_stmt **ret)
{
	return stmt_prepare(q->db, sql, ret, &q->err);
}

static enum status run_and_drop(struct queue *q, sqlite3_stmt *s)
{
	enum status st = stmt_run(s, &q->err);
	(void)sqlite3_finalize(s);
	return st;
}

enum status salvage_find(struct queue *q, struct write_job *job)
{
	static const char sql[] =
		"SELECT id, path, next_id, batches, records, next_loss_id"
		" FROM salvages WHERE state = 'running' ORDER BY path DESC LIMIT 1";
	struct salvage_row *row = &job_of(job)->row;
	sqlite3_stmt *s = NULL;
	enum status st = one_off(q, sql, &s);
	if (!st)
		st = stmt_step(s, &q->err);
	if (!st) {
		row->id = sqlite3_column_int64(s, 0);
		(void)snprintf(row->path, sizeof(row->path), "%s",
			       (const char *)sqlite3_column_text(s, 1));
		row->next_id = sqlite3_column_int64(s, 2);
		row->batches = sqlite3_column_int64(s, 3);
		row->records = sqlite3_column_int64(s, 4);
		row->next_loss_id = sqlite3_column_int64(s, 5);
	}
	(void)sqlite3_finalize(s);
	return st == ST_END ? ST_NOT_FOUND : st;
}

/* (1) */
enum status salvage_check_row(struct queue *q, const struct salvage_row *row)
{
	static const char sql[] = "SELECT 1 FROM salvages WHERE id = ?1 AND path = ?2"
				  " AND next_id = ?3 AND next_loss_id = ?4 AND state = 'running'";
	sqlite3_stmt *s = NULL;
	enum status st = one_off(q, sql, &s);
	if (!st) {
		stmt_bind_int(s, 1, row->id);
		stmt_bind_text(s, 2, bytes_str(row->path));
		stmt_bind_int(s, 3, row->next_id);
		stmt_bind_int(s, 4, row->next_loss_id);
		st = stmt_step(s, &q->err);
	}
	(void)sqlite3_finalize(s);
	return st == ST_END ? ST_CONFLICT : st;
}

/* The live queue's destination of the same name; made where it is missing. Looked for first,
 * because an upsert would use up an id and write a page for each delivery. */
static enum status find_place(struct queue *q, const struct salvage_place *p, int64_t *ret_id)
{
	sqlite3_stmt *s = NULL;
	enum status st = one_off(q, "SELECT id FROM destinations WHERE name = ?1", &s);
	if (!st) {
		stmt_bind_text(s, 1, bytes_str(p->name));
		st = stmt_step(s, &q->err);
	}
	if (!st)
		*ret_id = sqlite3_column_int64(s, 0);
	(void)sqlite3_finalize(s);
	if (st == ST_END)
		st = queue_destination(q, p->name, p->kind, 0, false, ret_id);
	return st;
}

enum status salvage_find_place(struct queue *q, const struct salvage_job *j, int64_t old_id,
			       int64_t *ret_id)
{
	for (size_t i = 0; i < j->place_count; i++)
		if (j->places[i].old_id == old_id)
			return find_place(q, &j->places[i], ret_id);
	return find_place(q, &salvage_unrouted, ret_id);
}

enum status salvage_adopt(struct queue *q, struct write_job *job)
{
	static const char sql[] =
		"UPDATE salvages SET state = ?2, next_id = ?3, batches = ?4, records = ?5,"
		" finished_at = ?6, next_loss_id = ?8 WHERE path = ?1 AND state = 'running'"
		" AND next_id = 0 AND next_loss_id = 0 AND id <> ?7";
	const struct salvage_job *j = job_of(job);
	enum status st = salvage_check_row(q, &j->row);
	for (size_t i = 0; i < j->past_count && !st; i++) {
		const struct salvage_past *past = &j->past[i];
		sqlite3_stmt *s = NULL;
		st = one_off(q, sql, &s);
		if (st)
			break;
		stmt_bind_text(s, 1, bytes_str(past->path));
		stmt_bind_text(s, 2, bytes_str(past->is_done ? "done" : "running"));
		stmt_bind_int(s, 3, past->next_id);
		stmt_bind_int(s, 4, past->batches);
		stmt_bind_int(s, 5, past->records);
		stmt_bind_nonzero(s, 6, past->finished_at);
		stmt_bind_int(s, 7, j->row.id);
		stmt_bind_int(s, 8, past->next_loss_id);
		st = run_and_drop(q, s);
	}
	return st;
}

/* ---- losses ---- */

/* (2) */
static enum status lose(struct queue *q, const struct queue_departed *d)
{
	enum status st = queue_count(q, d->destination_id, d->signal, OUTCOME_ACCEPTED, d->records);
	return st ? st : depart_note(q, d);
}

/* ---- moving ---- */

static struct bytes text_of(const struct buf *bytes, struct salvage_text t)
{
	return bytes_of(bytes->p ? bytes->p + t.at : NULL, t.n);
}

enum status salvage_find_boot(struct queue *q, const struct salvage_moment *m, int64_t *ret_boot)
{
	static const char sql[] =
		"SELECT id FROM boots WHERE boot_id = ?1 AND (NOT is_set OR id = ?2)";
	sqlite3_stmt *s = NULL;
	*ret_boot = 0;
	if (!m->boot[0])
		return ST_OK;
	enum status st = one_off(q, sql, &s);
	if (!st) {
		stmt_bind_text(s, 1, bytes_str(m->boot));
		stmt_bind_int(s, 2, q->boot.this.id);
		st = stmt_step(s, &q->err);
	}
	if (!st)
		*ret_boot = sqlite3_column_int64(s, 0);
	(void)sqlite3_finalize(s);
	return st == ST_END ? ST_OK : st;
}

struct moment {
	int64_t at_ns;
	int64_t boot; /* of this file; 0: unknown */
	int64_t mono_ns;
};

/* One that is still ahead was told by a clock that was wrong, or read from damage, and would never
 * get old: it was now at the latest. */
static enum status find_moment(struct queue *q, const struct salvage_moment *m, struct moment *ret)
{
	const struct boot_row *this = &q->boot.this;
	struct moment now = { boot_wall_ns(&q->boot), this->id, now_boot_ns() };
	*ret = (struct moment){ .at_ns = m->at_ns };
	enum status st = salvage_find_boot(q, m, &ret->boot);
	if (ret->boot)
		ret->mono_ns = m->mono_ns;
	bool is_ahead = ret->boot ? ret->boot == this->id && ret->mono_ns > now.mono_ns :
				    this->is_set && ret->at_ns > now.at_ns;
	if (!st && is_ahead)
		*ret = now;
	return st;
}

/* (3) State and history of one delivery that queue_insert has just made. */
static enum status restore_delivery(struct queue *q, int64_t batch_id, int64_t destination_id,
				    const struct salvage_owed *owed, struct bytes last_error)
{
	static const char sql[] =
		"UPDATE deliveries SET state = ?3, records = ?4, attempts = ?5, last_status = ?6,"
		" last_error = ?7, last_attempt_at = ?8, last_boot = ?9, last_mono = ?10"
		" WHERE batch_id = ?1 AND destination_id = ?2";
	sqlite3_stmt *s = NULL;
	struct moment last;
	enum status st = find_moment(q, &owed->last_attempt, &last);
	if (!st)
		st = one_off(q, sql, &s);
	if (st)
		return st;
	stmt_bind_int(s, 1, batch_id);
	stmt_bind_int(s, 2, destination_id);
	stmt_bind_text(
		s, 3,
		bytes_str(delivery_state_text(owed->is_dead ? DELIVERY_DEAD : DELIVERY_READY)));
	stmt_bind_int(s, 4, owed->records);
	stmt_bind_int(s, 5, owed->attempts);
	stmt_bind_nonzero(s, 6, owed->last_status);
	stmt_bind_words(s, 7, last_error);
	stmt_bind_nonzero(s, 8, last.at_ns);
	if (last.boot) {
		stmt_bind_int(s, 9, last.boot);
		stmt_bind_int(s, 10, last.mono_ns);
	}
	return run_and_drop(q, s);
}

/* Live ids of all that the batch is owed to. Two that became one are owed once: *ret_of[i] is then
 * -1. */
static enum status find_all_owed(struct queue *q, const struct salvage_job *j,
				 const struct salvage_batch *b, int64_t *ret_of)
{
	for (size_t i = 0; i < b->owed_count; i++) {
		enum status st = salvage_find_place(q, j, b->owed[i].destination_id, &ret_of[i]);
		if (st)
			return st;
		for (size_t k = 0; k < i; k++)
			if (ret_of[k] == ret_of[i])
				ret_of[i] = -1;
	}
	return ST_OK;
}

static enum status move_batch(struct queue *q, const struct salvage_batch *b,
			      const struct buf *bytes, const int64_t *of)
{
	struct moment received;
	enum status st = find_moment(q, &b->received, &received);
	if (st)
		return st;
	const struct queue_batch row = {
		.received_at_ns = received.at_ns,
		.received_mono_ns = received.mono_ns,
		.boot = received.boot,
		.signal = b->signal,
		.class = b->class,
		.tenant = text_of(bytes, b->tenant),
		.requests = (uint32_t)b->requests,
		.records = (uint32_t)b->records,
		.raw_bytes = (size_t)b->raw_bytes,
		.encoding = b->encoding,
		.crc = b->crc,
		.service = text_of(bytes, b->service),
		.first_time_ns = b->first_time,
		.last_time_ns = b->last_time,
		.preview = text_of(bytes, b->preview),
		.body = text_of(bytes, b->body),
	};
	int64_t ids[SALVAGE_OWED_MAX];
	size_t count = 0;
	int64_t id;
	for (size_t i = 0; i < b->owed_count; i++)
		if (of[i] > 0)
			ids[count++] = of[i];
	st = queue_insert(q, &row, ids, count, &id);
	for (size_t i = 0; i < b->owed_count && !st; i++) {
		const struct salvage_owed *owed = &b->owed[i];
		if (of[i] <= 0)
			continue;
		st = restore_delivery(q, id, of[i], owed, text_of(bytes, owed->last_error));
		/* queue_insert counted all of the batch; part of it was settled before. */
		if (!st && owed->records != b->records)
			st = queue_count(q, of[i], b->signal, OUTCOME_ACCEPTED,
					 owed->records - b->records);
	}
	return st;
}

static enum status lose_batch(struct queue *q, const struct salvage_job *j,
			      const struct salvage_batch *b, const int64_t *of)
{
	enum status st = ST_OK;
	for (size_t i = 0; i < b->owed_count && !st; i++) {
		const struct queue_departed gone = { .destination_id = of[i],
						     .signal = b->signal,
						     .class = b->class,
						     .outcome = OUTCOME_DAMAGED,
						     .why = j->detail,
						     .records = b->owed[i].records,
						     .bytes = b->stored_bytes,
						     .first_time_ns = b->first_time,
						     .last_time_ns = b->last_time };
		if (of[i] > 0)
			st = lose(q, &gone);
	}
	return st;
}

static enum status save_progress(struct queue *q, const struct salvage_job *j, int64_t batches,
				 int64_t records)
{
	static const char sql[] = "UPDATE salvages SET next_id = ?2, batches = batches + ?3,"
				  " records = records + ?4 WHERE id = ?1";
	sqlite3_stmt *s = NULL;
	enum status st = one_off(q, sql, &s);
	if (st)
		return st;
	stmt_bind_int(s, 1, j->row.id);
	stmt_bind_int(s, 2, j->next_id);
	stmt_bind_int(s, 3, batches);
	stmt_bind_int(s, 4, records);
	return run_and_drop(q, s);
}

enum status salvage_move(struct queue *q, struct write_job *job)
{
	const struct salvage_job *j = job_of(job);
	int64_t batches = 0;
	int64_t records = 0;
	enum status st = salvage_check_row(q, &j->row);
	for (size_t i = 0; i < j->count && !st; i++) {
		const struct salvage_batch *b = &j->batches[i];
		int64_t of[SALVAGE_OWED_MAX] = { 0 };
		st = find_all_owed(q, j, b, of);
		if (!st && b->has_body) {
			st = move_batch(q, b, &j->bytes[i], of);
			batches++;
			records += b->records;
		} else if (!st) {
			st = lose_batch(q, j, b, of);
		}
	}
	return st ? st : save_progress(q, j, batches, records);
}

/* ---- the end ---- */

static enum status lose_missing(struct queue *q, const struct salvage_job *j,
				const struct salvage_missing *m)
{
	char detail[SALVAGE_DETAIL_SIZE];
	int64_t id = 0;
	enum status st = find_place(q, m->place, &id);
	if (st)
		return st;
	(void)snprintf(detail, sizeof(detail),
		       "missing by the damaged file's own totals; it is kept as %s", j->row.path);
	const struct queue_loss loss = { .destination_id = id,
					 .signal = signal_text(m->signal),
					 .class = UNKNOWN,
					 .reason = outcome_text(OUTCOME_DAMAGED),
					 .records = m->records,
					 .detail = bytes_str(detail) };
	st = queue_count(q, id, m->signal, OUTCOME_ACCEPTED, m->records);
	if (!st)
		st = queue_count(q, id, m->signal, OUTCOME_DAMAGED, m->records);
	return st ? st : queue_lose(q, &loss);
}

/* A row of 0 records, so that the ledger tells that there is something it cannot tell. */
static enum status note_unknown(struct queue *q, const struct salvage_job *j)
{
	char detail[SALVAGE_DETAIL_SIZE];
	int64_t id = 0;
	enum status st = find_place(q, &salvage_unrouted, &id);
	if (st)
		return st;
	(void)snprintf(
		detail, sizeof(detail),
		"how many records are lost is not known: the totals cannot be read; the damaged"
		" file is kept as %s",
		j->row.path);
	const struct queue_loss loss = { .destination_id = id,
					 .signal = UNKNOWN,
					 .class = UNKNOWN,
					 .reason = outcome_text(OUTCOME_DAMAGED),
					 .detail = bytes_str(detail) };
	return queue_lose(q, &loss);
}

enum status salvage_finish(struct queue *q, struct write_job *job)
{
	static const char sql[] =
		"UPDATE salvages SET state = 'done', finished_at = ?2 WHERE id = ?1";
	const struct salvage_job *j = job_of(job);
	sqlite3_stmt *s = NULL;
	enum status st = salvage_check_row(q, &j->row);
	for (size_t i = 0; i < j->missing_count && !st; i++)
		st = lose_missing(q, j, &j->missing[i]);
	if (!st && j->is_unknown)
		st = note_unknown(q, j);
	if (!st)
		st = one_off(q, sql, &s);
	if (st)
		return st;
	stmt_bind_int(s, 1, j->row.id);
	stmt_bind_int(s, 2, j->at_ns);
	return run_and_drop(q, s);
}
