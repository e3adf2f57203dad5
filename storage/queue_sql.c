/* queue_sql.c - every statement of the queue is prepared once, at its first use, and kept.
 *
 * Preparing costs tens of allocations (Debian's SQLite has no lookaside), running a prepared one
 * nearly none. The table in queue_sql.h has the text of each, so that all SQL of the queue can be
 * read in one place. */
#include "storage/queue_sql.h"

#include <string.h>

#include "gateway/base/now.h"

static const char *const texts[] = {
#define X(name, sql) sql,
	STATEMENTS(X)
#undef X
};

void queue_init(struct queue *q, sqlite3 *db)
{
	memset(q, 0, sizeof(*q));
	q->db = db;
}

void queue_done(struct queue *q)
{
	for (size_t i = 0; i < Q_COUNT; i++)
		(void)sqlite3_finalize(q->statements[i]);
	memset(q, 0, sizeof(*q));
}

enum status queue_statement(struct queue *q, enum statement i, sqlite3_stmt **ret)
{
	enum status st = ST_OK;
	if (!q->statements[i])
		st = stmt_prepare(q->db, texts[i], &q->statements[i], &q->err);
	if (!st)
		*ret = q->statements[i];
	return st;
}

enum status queue_run(struct queue *q, enum statement i, int64_t a, int64_t b)
{
	sqlite3_stmt *s = NULL;
	enum status st = queue_statement(q, i, &s);
	if (st)
		return st;
	int count = sqlite3_bind_parameter_count(s);
	if (count > 0)
		stmt_bind_int(s, 1, a);
	if (count > 1)
		stmt_bind_int(s, 2, b);
	return stmt_run(s, &q->err);
}

enum status queue_ask(struct queue *q, enum statement i, int64_t a, int64_t *ret)
{
	sqlite3_stmt *s = NULL;
	enum status st = queue_statement(q, i, &s);
	if (st)
		return st;
	if (sqlite3_bind_parameter_count(s) > 0)
		stmt_bind_int(s, 1, a);
	st = stmt_step(s, &q->err);
	if (!st) {
		*ret = sqlite3_column_int64(s, 0);
		stmt_reset(s);
	}
	return st;
}

void queue_bind_moment(const struct queue *q, sqlite3_stmt *s, int i)
{
	if (!q->boot.this.id)
		return;
	stmt_bind_int(s, i, q->boot.this.id);
	stmt_bind_int(s, i + 1, now_boot_ns());
}

enum signal queue_read_signal(sqlite3_stmt *s, int column)
{
	const char *text = (const char *)sqlite3_column_text(s, column);
	enum signal i = 0;
	while (text && i + 1 < SIGNAL_COUNT && strcmp(text, signal_text(i)) != 0)
		i++;
	return i;
}

enum record_class queue_read_class(sqlite3_stmt *s, int column)
{
	const char *text = (const char *)sqlite3_column_text(s, column);
	enum record_class i = 0;
	while (text && i + 1 < RECORD_CLASS_COUNT && strcmp(text, record_class_text(i)) != 0)
		i++;
	return i;
}
