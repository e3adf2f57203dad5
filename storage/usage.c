/* usage.c - what an uplink carried, kept so that a budget survives restarts.
 *
 * A job says how much came on top, and not what the sum is: so the rows are right whatever the
 * process knew when it started, also where the clock made it begin in another month than the one in
 * which it went on, or where a damaged file was set aside meanwhile.
 *
 * Rows stay: a year of days and months is some 400 small rows an uplink, and the record of what a
 * link cost is worth them. */
#include "storage/usage.h"

#include "storage/queue_sql.h"

static enum status add(struct queue *q, const struct usage_job *u, struct usage_period *p)
{
	sqlite3_stmt *s = NULL;
	enum status st = queue_statement(q, Q_USAGE_ADD, &s);
	if (st)
		return st;
	stmt_bind_text(s, 1, bytes_str(u->uplink));
	stmt_bind_text(s, 2, bytes_str(p->name));
	stmt_bind_int(s, 3, u->bytes);
	st = stmt_step(s, &q->err);
	if (!st) {
		p->stored = sqlite3_column_int64(s, 0);
		/* To the end: a statement that is reset before it would not be done. */
		st = stmt_step(s, &q->err);
	}
	return st == ST_END ? ST_OK : st ? st : ST_INTERNAL;
}

static enum status apply(struct queue *q, struct write_job *job)
{
	struct usage_job *u = (struct usage_job *)job;
	enum status st = ST_OK;
	for (int i = 0; i < USAGE_PERIODS && !st; i++)
		st = add(q, u, &u->periods[i]);
	return st;
}

void usage_give(struct writer *w, struct usage_job *job)
{
	job->job.apply = apply;
	writer_give(w, &job->job);
}
