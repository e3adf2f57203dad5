/* queue_manage.c - the rows around the batches: destinations, routes that changed, salvages, ids.
 *
 * Invariants are numbered in storage/queue.c. A reroute is a move to `gone` and an insert in one
 * transaction; `accepted` moves along, so the books of both destinations balance at each commit
 * (3). It goes in slices, so that a backlog of any size neither holds the writer up nor needs
 * memory. */
#include <stdio.h>
#include <string.h>

#include "gateway/base/now.h"
#include "storage/queue_sql.h"

const char *destination_state_text(enum destination_state s)
{
	static const char *const words[] = {
		[DESTINATION_UP] = "up",
		[DESTINATION_BACKING_OFF] = "backing_off",
		[DESTINATION_PAUSED] = "paused",
		[DESTINATION_UNAUTHORIZED] = "unauthorized",
	};
	return words[s];
}

enum status queue_update_destination(struct queue *q, const struct destination_update *u)
{
	sqlite3_stmt *s = NULL;
	if (u->state >= DESTINATION_STATE_COUNT)
		return ST_INVALID;
	enum status st = queue_statement(q, Q_DESTINATION_UPDATE, &s);
	if (st)
		return st;
	stmt_bind_int(s, 1, u->destination_id);
	stmt_bind_text(s, 2, bytes_str(destination_state_text(u->state)));
	stmt_bind_int(s, 3, u->since_ns);
	stmt_bind_nonzero(s, 4, u->next_attempt_at_ns);
	stmt_bind_nonzero(s, 5, u->last_success_at_ns);
	stmt_bind_words(s, 6, bytes_str(u->reason));
	st = stmt_run(s, &q->err);
	return !st && sqlite3_changes(q->db) == 0 ? ST_NOT_FOUND : st;
}

enum status queue_stored_destination(struct queue *q, int64_t id, struct destination_stored *ret)
{
	sqlite3_stmt *s = NULL;
	enum status st = queue_statement(q, Q_DESTINATION_STORED, &s);
	if (st)
		return st;
	stmt_bind_int(s, 1, id);
	st = stmt_step(s, &q->err);
	if (st)
		return st == ST_END ? ST_NOT_FOUND : st;
	const char *state = (const char *)sqlite3_column_text(s, 0);
	const char *reason = (const char *)sqlite3_column_text(s, 2);
	*ret = (struct destination_stored){ .since_ns = sqlite3_column_int64(s, 1) };
	for (int i = 0; i < DESTINATION_STATE_COUNT; i++)
		if (state && strcmp(state, destination_state_text((enum destination_state)i)) == 0)
			ret->state = (enum destination_state)i;
	(void)snprintf(ret->reason, sizeof(ret->reason), "%s", reason ? reason : "");
	stmt_reset(s);
	return ST_OK;
}

/* ST_END: there is none of that name. */
static enum status find_destination(struct queue *q, const char *name, int64_t *ret_id)
{
	sqlite3_stmt *s = NULL;
	enum status st = queue_statement(q, Q_DESTINATION_FIND, &s);
	if (st)
		return st;
	stmt_bind_text(s, 1, bytes_str(name));
	st = stmt_step(s, &q->err);
	if (!st) {
		*ret_id = sqlite3_column_int64(s, 0);
		stmt_reset(s);
	}
	return st;
}

enum status queue_destination(struct queue *q, const char *name, const char *kind, int64_t id,
			      bool is_configured, int64_t *ret_id)
{
	sqlite3_stmt *s = NULL;
	int64_t known = 0;
	/* An upsert without an id takes a new one before it finds the row that is there. */
	enum status st = find_destination(q, name, &known);
	if (st && st != ST_END)
		return st;
	id = id ? id : known;
	st = queue_statement(q, Q_DESTINATION_UPSERT, &s);
	if (st)
		return st;
	stmt_bind_nonzero(s, 1, id);
	stmt_bind_text(s, 2, bytes_str(name));
	stmt_bind_text(s, 3, bytes_str(kind));
	stmt_bind_int(s, 4, is_configured);
	stmt_bind_int(s, 5, now_wall_ns());
	st = stmt_run(s, &q->err);
	if (!st)
		st = find_destination(q, name, ret_id);
	return st == ST_END ? ST_INTERNAL : st;
}

enum status queue_set_configured(struct queue *q, const int64_t *ids, size_t count)
{
	sqlite3_stmt *s = NULL;
	enum status st = queue_statement(q, Q_DESTINATION_CONFIGURE, &s);
	if (st)
		return st;
	unwanted_forget(&q->unwanted);
	stmt_bind_int(s, 2, 0); /* ?1 stays NULL: all of them */
	st = stmt_run(s, &q->err);
	for (size_t i = 0; i < count && !st; i++)
		st = queue_run(q, Q_DESTINATION_CONFIGURE, ids[i], 1);
	return st;
}

/* One row of a slice; read first, because moving rows under an open scan is undefined. */
struct moving {
	int64_t batch_id;
	int priority;
	int64_t records;
	enum signal signal;
	enum record_class class;
};

static enum status list_moving(struct queue *q, int64_t from_id, struct queue_cursor cursor,
			       struct moving *rows, size_t *ret_count)
{
	sqlite3_stmt *s = NULL;
	size_t n = 0;
	enum status st = queue_statement(q, Q_REROUTE_LIST, &s);
	if (st)
		return st;
	stmt_bind_int(s, 1, from_id);
	stmt_bind_int(s, 2, cursor.priority);
	stmt_bind_int(s, 3, cursor.batch_id);
	stmt_bind_int(s, 4, QUEUE_REROUTE_MAX);
	while (n < QUEUE_REROUTE_MAX && (st = stmt_step(s, &q->err)) == ST_OK)
		rows[n++] = (struct moving){ .batch_id = sqlite3_column_int64(s, 0),
					     .priority = sqlite3_column_int(s, 1),
					     .records = sqlite3_column_int64(s, 2),
					     .signal = queue_read_signal(s, 3),
					     .class = queue_read_class(s, 4) };
	stmt_reset(s);
	*ret_count = n;
	return st == ST_END ? ST_OK : st;
}

static enum status move_delivery(struct queue *q, int64_t from_id, const struct moving *m,
				 const int64_t *to_ids)
{
	CHECK(queue_may_move(DELIVERY_READY, DELIVERY_GONE));
	enum status st = ST_OK;
	for (; *to_ids && !st; to_ids++)
		st = queue_insert_delivery(q, m->batch_id, *to_ids, m->priority, m->records,
					   m->signal);
	if (!st)
		st = queue_run(q, Q_DELIVERY_DELETE, m->batch_id, from_id);
	/* Those who have it already have perhaps refused it. */
	if (!st)
		st = unwanted_left(q, m->batch_id, m->class);
	return st ? st : queue_count(q, from_id, m->signal, OUTCOME_ACCEPTED, -m->records);
}

enum status queue_reroute(struct queue *q, int64_t from_id, const struct queue_routes *r,
			  struct queue_cursor cursor, struct queue_cursor *ret_next,
			  size_t *ret_count)
{
	struct moving rows[QUEUE_REROUTE_MAX];
	size_t count = 0;
	enum status st = list_moving(q, from_id, cursor, rows, &count);
	for (size_t i = 0; i < count && !st; i++) {
		const int64_t *to_ids = r->ids[rows[i].signal][rows[i].class];
		if (*to_ids)
			st = move_delivery(q, from_id, &rows[i], to_ids);
	}
	if (st)
		return st;
	*ret_next = count == 0 ? cursor :
				 (struct queue_cursor){ .priority = rows[count - 1].priority,
							.batch_id = rows[count - 1].batch_id };
	*ret_count = count;
	return ST_OK;
}

enum status queue_save_setting(struct queue *q, const char *name, int64_t value)
{
	sqlite3_stmt *s = NULL;
	enum status st = queue_statement(q, Q_SETTING_SAVE, &s);
	if (st)
		return st;
	stmt_bind_text(s, 1, bytes_str(name));
	stmt_bind_int(s, 2, value);
	return stmt_run(s, &q->err);
}

enum status queue_add_salvage(struct queue *q, const char *path, int64_t found_at_ns,
			      const char *reason)
{
	sqlite3_stmt *s = NULL;
	enum status st = queue_statement(q, Q_SALVAGE_INSERT, &s);
	if (st)
		return st;
	stmt_bind_text(s, 1, bytes_str(path));
	stmt_bind_int(s, 2, found_at_ns);
	stmt_bind_text(s, 3, bytes_str(reason));
	return stmt_run(s, &q->err);
}

enum status queue_has_salvage(struct queue *q, bool *ret)
{
	int64_t one;
	enum status st = queue_ask(q, Q_SALVAGE_ANY, 0, &one);
	if (st && st != ST_END)
		return st;
	*ret = st == ST_OK;
	return ST_OK;
}

enum status queue_highest_id(struct queue *q, int64_t *ret)
{
	int64_t id = 0;
	enum status st = queue_ask(q, Q_SEQUENCE_GET, 0, &id);
	if (st && st != ST_END)
		return st;
	*ret = st ? 0 : id;
	return ST_OK;
}

enum status queue_skip_ids(struct queue *q, int64_t id)
{
	int64_t highest = 0;
	enum status st = queue_highest_id(q, &highest);
	if (st || highest >= id)
		return st;
	st = queue_run(q, Q_SEQUENCE_DELETE, 0, 0);
	return st ? st : queue_run(q, Q_SEQUENCE_INSERT, id, 0);
}

enum status queue_pages(struct queue *q, int64_t *ret_count, int64_t *ret_free)
{
	int64_t count = 0;
	int64_t free_count = 0;
	enum status st = queue_ask(q, Q_PAGE_COUNT, 0, &count);
	if (!st)
		st = queue_ask(q, Q_PAGE_FREE, 0, &free_count);
	if (st)
		return st == ST_END ? ST_INTERNAL : st;
	*ret_count = count;
	*ret_free = free_count;
	return ST_OK;
}
