/* verify.c - looks for damage before the file is trusted.
 *
 * `PRAGMA quick_check` reads every page, so it is bounded by the size of the file: up to
 * THOROUGH_BYTES it takes a second or two even on an SD card. Beyond that, and after a clean stop,
 * a sample is read: the small tables whole, and both ends of the large ones with their payloads,
 * which is where the gateway works next. Damage in between shows when its rows are read, and the
 * file is set aside then (storage/recover.c). */
#include "storage/verify.h"

#include <stdio.h>
#include <string.h>

#include "storage/stmt.h"

enum { THOROUGH_BYTES = 64 << 20 };

/* The first row says "ok", or what is wrong, below a headline. The check calls it damage too when a
 * read fails: so it is asked twice, and what it does not find again was of the moment. */
static enum status check(sqlite3 *db, const char *sql, struct err *e)
{
	char text[400] = "";
	for (int i = 0; i < 2; i++) {
		enum status st = stmt_get_text(db, sql, text, sizeof(text), e);
		if (st)
			return st == ST_END ? err_set(e, ST_CORRUPT, "no answer from %s", sql) : st;
		if (strcmp(text, "ok") == 0)
			return ST_OK;
	}
	const char *line = strchr(text, '\n');
	return err_set(e, ST_CORRUPT, "%s", line ? line + 1 : text);
}

/* Reads all columns of all rows. */
static enum status read_rows(sqlite3 *db, const char *sql, struct err *e)
{
	sqlite3_stmt *s = NULL;
	enum status st = stmt_prepare(db, sql, &s, e);
	while (!st && (st = stmt_step(s, e)) == ST_OK)
		for (int i = 0; i < sqlite3_column_count(s); i++)
			(void)sqlite3_column_blob(s, i);
	(void)sqlite3_finalize(s);
	return st == ST_END ? ST_OK : st;
}

static enum status sample(sqlite3 *db, struct err *e)
{
	static const char *const small[] = {
		"PRAGMA quick_check('destinations')",
		"PRAGMA quick_check('totals')",
		"PRAGMA quick_check('salvages')",
	};
	static const char *const ends[] = {
		"SELECT * FROM batches JOIN payloads ON batch_id = id ORDER BY id LIMIT 16",
		"SELECT * FROM batches JOIN payloads ON batch_id = id ORDER BY id DESC LIMIT 16",
		"SELECT * FROM deliveries ORDER BY batch_id LIMIT 64",
		"SELECT * FROM deliveries ORDER BY batch_id DESC LIMIT 64",
		"SELECT * FROM deliveries WHERE state = 'dead' ORDER BY destination_id LIMIT 16",
		"SELECT * FROM losses ORDER BY id DESC LIMIT 16",
		"SELECT 1 FROM deliveries WHERE state = 'ready' ORDER BY destination_id LIMIT 64",
	};
	enum status st = ST_OK;
	for (size_t i = 0; i < sizeof(small) / sizeof(small[0]) && !st; i++)
		st = check(db, small[i], e);
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]) && !st; i++)
		st = read_rows(db, ends[i], e);
	return st;
}

enum status verify_file(sqlite3 *db, bool is_thorough, struct err *e)
{
	int64_t bytes = 0;
	enum status st = stmt_get_int(
		db, "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
		&bytes, e);
	if (st)
		return st == ST_END ? ST_INTERNAL : st;
	if (is_thorough && bytes <= THOROUGH_BYTES)
		st = check(db, "PRAGMA quick_check(1)", e);
	else
		st = sample(db, e);
	return st ? err_wrap(e, st, "check of the queue file") : ST_OK;
}
