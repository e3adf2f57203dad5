/* salvage_tables.c - what belongs to no batch.
 *
 * These tables are small, so they are read with one query each, and what a damaged page hides of
 * them is gone. The ledger is the exception: it has years in it. It is read as the batches are
 * (storage/salvage_file.c), row by row, around what cannot be read.
 *
 * Totals are taken in full or not at all: a part of them would be books that balance and are wrong.
 *
 * Tables and columns that came with version 2 of the file are missing in one of version 1. */
#include "storage/salvage_tables.h"

#include <stdio.h>

enum { LOSS_GAP_MAX = 20000 };

static bool is_count(int64_t n)
{
	return n >= 0 && n < SALVAGE_COUNT_LIMIT;
}

static int find_outcome(struct bytes word)
{
	for (int i = 0; i < OUTCOME_COUNT; i++)
		if (bytes_equal(word, bytes_str(outcome_text((enum outcome)i))))
			return i;
	return -1;
}

enum status salvage_tables_owed(struct salvage_file *f, struct salvage_total *ret, size_t max,
				size_t *ret_count)
{
	static const char sql[] =
		"SELECT destination_id, signal,"
		" sum(CASE outcome WHEN 'accepted' THEN records ELSE -records END)"
		" FROM totals GROUP BY 1, 2";
	sqlite3_stmt *s = NULL;
	size_t count = 0;
	enum status st = stmt_prepare(salvage_file_db(f), sql, &s, NULL);
	while (!st && (st = stmt_step(s, NULL)) == ST_OK) {
		int signal = salvage_file_signal(salvage_file_column(s, 1));
		int64_t id = sqlite3_column_int64(s, 0);
		int64_t records = sqlite3_column_int64(s, 2);
		if (signal < 0 || id <= 0 || records >= SALVAGE_COUNT_LIMIT ||
		    records <= -SALVAGE_COUNT_LIMIT || count == max) {
			st = ST_CORRUPT;
			break;
		}
		ret[count++] = (struct salvage_total){ .destination_id = id,
						       .signal = (enum signal)signal,
						       .records = records };
	}
	(void)sqlite3_finalize(s);
	if (st != ST_END)
		return ST_CORRUPT;
	*ret_count = count;
	return ST_OK;
}

enum status salvage_tables_outcomes(struct salvage_file *f, struct salvage_outcome *ret, size_t max,
				    size_t *ret_count)
{
	static const char sql[] = "SELECT destination_id, signal, outcome, records FROM totals"
				  " WHERE outcome <> 'accepted'";
	sqlite3_stmt *s = NULL;
	size_t count = 0;
	enum status st = stmt_prepare(salvage_file_db(f), sql, &s, NULL);
	while (!st && (st = stmt_step(s, NULL)) == ST_OK) {
		int signal = salvage_file_signal(salvage_file_column(s, 1));
		int outcome = find_outcome(salvage_file_column(s, 2));
		struct salvage_outcome o = { .destination_id = sqlite3_column_int64(s, 0),
					     .records = sqlite3_column_int64(s, 3) };
		if (signal < 0 || outcome < 0 || o.destination_id <= 0 || !is_count(o.records) ||
		    count == max) {
			st = ST_CORRUPT;
			break;
		}
		o.signal = (enum signal)signal;
		o.outcome = (enum outcome)outcome;
		ret[count++] = o;
	}
	(void)sqlite3_finalize(s);
	if (st != ST_END)
		return ST_CORRUPT;
	*ret_count = count;
	return ST_OK;
}

void salvage_tables_past(struct salvage_file *f, struct salvage_past *ret, size_t max,
			 size_t *ret_count)
{
	static const char sql[] = "SELECT path, state = 'done', next_id, batches, records,"
				  " finished_at, next_loss_id FROM salvages ORDER BY id DESC";
	static const char of_version_1[] = "SELECT path, state = 'done', next_id, batches, records,"
					   " finished_at, 0 FROM salvages ORDER BY id DESC";
	sqlite3_stmt *s = NULL;
	size_t count = 0;
	enum status st =
		stmt_prepare(salvage_file_db(f),
			     salvage_file_is_first_version(f) ? of_version_1 : sql, &s, NULL);
	while (!st && count < max && stmt_step(s, NULL) == ST_OK) {
		struct bytes path = salvage_file_column(s, 0);
		if (path.n == 0 || path.n >= SALVAGE_PATH_MAX ||
		    !is_count(sqlite3_column_int64(s, 3)) || !is_count(sqlite3_column_int64(s, 4)))
			continue;
		ret[count] = (struct salvage_past){ .is_done = sqlite3_column_int(s, 1) != 0,
						    .next_id = sqlite3_column_int64(s, 2),
						    .next_loss_id = sqlite3_column_int64(s, 6),
						    .batches = sqlite3_column_int64(s, 3),
						    .records = sqlite3_column_int64(s, 4),
						    .finished_at = sqlite3_column_int64(s, 5) };
		memcpy(ret[count].path, path.p, path.n);
		count++;
	}
	(void)sqlite3_finalize(s);
	*ret_count = count;
}

/* ---- the ledger ---- */

static void take_word(sqlite3_stmt *s, int i, char *ret, size_t size)
{
	struct bytes word = salvage_file_column(s, i);
	size_t n = word.n < size ? word.n : size - 1;
	if (n)
		memcpy(ret, word.p, n);
	ret[n] = '\0';
}

/* False: the row makes no sense. */
static bool take_loss(const struct salvage_file *f, sqlite3_stmt *s, struct salvage_loss *l)
{
	*l = (struct salvage_loss){ .id = sqlite3_column_int64(s, 0),
				    .destination_id = sqlite3_column_int64(s, 2),
				    .records = sqlite3_column_int64(s, 6),
				    .bytes = sqlite3_column_int64(s, 7),
				    .first_time = sqlite3_column_int64(s, 8),
				    .last_time = sqlite3_column_int64(s, 9) };
	salvage_file_moment(f, sqlite3_column_int64(s, 1), sqlite3_column_int64(s, 11),
			    sqlite3_column_int64(s, 12), &l->at);
	take_word(s, 3, l->signal, sizeof(l->signal));
	take_word(s, 4, l->class, sizeof(l->class));
	take_word(s, 5, l->reason, sizeof(l->reason));
	take_word(s, 10, l->detail, sizeof(l->detail));
	return l->id > 0 && l->id < SALVAGE_ID_LIMIT && is_count(l->records) &&
	       is_count(l->bytes) && l->signal[0] && l->class[0] &&
	       find_outcome(bytes_str(l->reason)) >= 0;
}

static enum status prepare_losses(struct salvage_file *f, sqlite3_stmt **ret)
{
#define LOSS_COLUMNS                                                            \
	"SELECT id, at, destination_id, signal, class, reason, records, bytes," \
	" first_time, last_time, detail, "
#define LOSS_END " FROM losses WHERE id >= ?1 ORDER BY id LIMIT 1"
	return stmt_prepare(salvage_file_db(f),
			    salvage_file_is_first_version(f) ? LOSS_COLUMNS "NULL, NULL" LOSS_END :
							       LOSS_COLUMNS "boot, mono" LOSS_END,
			    ret, NULL);
}

void salvage_tables_losses(struct salvage_file *f, int64_t from, struct salvage_loss *ret,
			   size_t max, size_t *ret_count, int64_t *ret_next, bool *ret_whole)
{
	sqlite3_stmt *s = NULL;
	int gap = 0;
	*ret_count = 0;
	*ret_next = 0;
	*ret_whole = true;
	enum status st = prepare_losses(f, &s);
	*ret_whole = !st;
	while (!st && *ret_count < max && gap < LOSS_GAP_MAX) {
		stmt_bind_int(s, 1, from);
		st = stmt_step(s, NULL);
		if (st == ST_END)
			break;
		int64_t found = st ? -1 : sqlite3_column_int64(s, 0);
		bool is_row = found >= from && take_loss(f, s, &ret[*ret_count]);
		stmt_reset(s);
		st = ST_OK;
		*ret_whole = *ret_whole && is_row;
		*ret_count += is_row;
		gap = is_row ? 0 : gap + 1;
		from = found >= from ? found : from;
		from += from < INT64_MAX;
	}
	(void)sqlite3_finalize(s);
	if (!st && gap < LOSS_GAP_MAX)
		*ret_next = from;
}

static enum status ask(struct salvage_file *f, const char *sql, int64_t *ret)
{
	enum status st = stmt_get_int(salvage_file_db(f), sql, ret, NULL);
	return st && st != ST_END ? ST_CORRUPT : st;
}

enum status salvage_tables_last_loss(struct salvage_file *f, int64_t *ret)
{
	int64_t id = 0;
	if (ask(f, "SELECT coalesce(max(id), 0) FROM losses", &id) != ST_OK || id < 0)
		return ST_CORRUPT;
	*ret = id;
	return ST_OK;
}

enum status salvage_tables_reported(struct salvage_file *f, int64_t *ret)
{
	int64_t id = 0;
	if (!salvage_file_is_first_version(f)) {
		enum status st =
			ask(f, "SELECT value FROM settings WHERE name = 'losses_reported'", &id);
		if (st == ST_CORRUPT || id < 0)
			return ST_CORRUPT;
	}
	*ret = id;
	return ST_OK;
}
