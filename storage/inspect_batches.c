/* inspect_batches.c - finding batches, and looking at one.
 *
 * A list walks the ids in windows, each a read transaction of its own, so that a filter that
 * matches nothing in millions of rows holds no snapshot for long. Between windows the queue may
 * change: ids only grow and are never used again, so a batch is seen once, or not at all where it
 * left.
 *
 * - A window begins at the next id that exists (delivered batches leave wide gaps), and, where dead
 *   letters are asked for, at the next dead one: those are few among many.
 * - The walk ends when the page is full, the queue ends, or the time is up. The cursor then is the
 *   last id that was looked at, so the next call goes on there and always gets further. */
#include <stdio.h>
#include <zlib.h>

#include "gateway/base/now.h"
#include "storage/inspect_read.h"

enum { WINDOW_IDS = 20000 };

/* By the corrected clock of its boot; the few rows of `boots` are at hand. */
#define RECEIVED_AT                                                                    \
	"coalesce((SELECT offset_ns FROM boots WHERE id = b.boot) + b.received_mono, " \
	"b.received_at)"
/* What SELECT lists, in this order; visit_batch reads it. */
#define BATCH_COLUMNS                                                                            \
	"b.id, " RECEIVED_AT ", b.signal, b.tenant, b.class, b.encoding, b.service, b.preview, " \
	"b.requests, b.records, b.raw_bytes, b.stored_bytes, b.first_time, b.last_time"

static void visit_batch(const struct inspect_visitor *v, sqlite3_stmt *stmt)
{
	struct inspect_batch b = {
		.id = sqlite3_column_int64(stmt, 0),
		.received_at_ns = sqlite3_column_int64(stmt, 1),
		.signal = inspect_text(stmt, 2),
		.tenant = inspect_text(stmt, 3),
		.class = inspect_text(stmt, 4),
		.encoding = inspect_text(stmt, 5),
		.service = inspect_text(stmt, 6),
		.preview = inspect_text(stmt, 7),
		.requests = sqlite3_column_int64(stmt, 8),
		.records = sqlite3_column_int64(stmt, 9),
		.raw_bytes = sqlite3_column_int64(stmt, 10),
		.stored_bytes = sqlite3_column_int64(stmt, 11),
		.first_time_ns = sqlite3_column_int64(stmt, 12),
		.last_time_ns = sqlite3_column_int64(stmt, 13),
	};
	v->batch(v->ctx, &b);
}

static void visit_delivery(void *ctx, sqlite3_stmt *stmt)
{
	const struct inspect_visitor *v = ctx;
	struct inspect_delivery d = {
		.destination = inspect_text(stmt, 0),
		.state = inspect_text(stmt, 1),
		.records = sqlite3_column_int64(stmt, 2),
		.attempts = sqlite3_column_int64(stmt, 3),
		.last_attempt_at_ns = sqlite3_column_int64(stmt, 4),
		.last_status = sqlite3_column_int(stmt, 5),
		.last_error = inspect_text(stmt, 6),
	};
	v->delivery(v->ctx, &d);
}

static enum status visit_deliveries(struct inspect *in, int64_t id, const struct inspect_visitor *v,
				    struct err *e)
{
	struct inspect_visitor copy = *v;
	return inspect_each(in,
			    "SELECT d.name, q.state, q.records, q.attempts, "
			    "coalesce(t.offset_ns + q.last_mono, q.last_attempt_at), "
			    "q.last_status, q.last_error FROM deliveries q "
			    "LEFT JOIN destinations d ON d.id = q.destination_id "
			    "LEFT JOIN boots t ON t.id = q.last_boot "
			    "WHERE q.batch_id = ?1 ORDER BY q.destination_id",
			    id, visit_delivery, &copy, e);
}

static void read_id(void *ctx, sqlite3_stmt *stmt)
{
	*(int64_t *)ctx = sqlite3_column_int64(stmt, 0);
}

struct walk {
	struct inspect *in;
	const struct inspect_filter *f;
	const struct inspect_visitor *v;
	int64_t destination_id; /* 0: any */
	int64_t cursor;         /* looked at up to here */
	int found;
};

static enum status find_destination(struct walk *w, struct err *e)
{
	sqlite3_stmt *stmt = NULL;
	enum status st =
		inspect_prepare(w->in, "SELECT id FROM destinations WHERE name = ?1", &stmt, e);
	if (!st && sqlite3_bind_text(stmt, 1, w->f->destination, -1, SQLITE_STATIC))
		st = inspect_fail(w->in, SQLITE_ERROR, e);
	if (!st)
		st = inspect_step(w->in, stmt, e);
	if (!st)
		w->destination_id = sqlite3_column_int64(stmt, 0);
	(void)sqlite3_finalize(stmt);
	return st == ST_END ? err_set(e, ST_NOT_FOUND, "the queue has no destination \"%s\"",
				      w->f->destination) :
			      st;
}

/* *ret: the next id behind the cursor that can match; 0: none. */
static enum status next_candidate(const struct walk *w, int64_t *ret, struct err *e)
{
	const char *sql = "SELECT coalesce(min(id), 0) FROM batches WHERE id > ?1";
	if (w->f->state && strcmp(w->f->state, delivery_state_text(DELIVERY_DEAD)) == 0)
		sql = "SELECT coalesce(min((SELECT min(batch_id) FROM deliveries WHERE state = "
		      "'dead' "
		      "AND destination_id = d.id AND batch_id > ?1)), 0) FROM destinations d";
	return inspect_each(w->in, sql, w->cursor, read_id, ret, e);
}

/* The filter as SQL with numbered parameters; only what is asked for, so that the planner sees it.
 */
static void window_sql(const struct walk *w, char *sql, size_t size)
{
	const struct inspect_filter *f = w->f;
	bool has_delivery = f->state || w->destination_id;
	(void)snprintf(
		sql, size,
		"SELECT " BATCH_COLUMNS
		" FROM batches b WHERE b.id BETWEEN ?1 AND ?2%s%s%s%s%s%s%s%s%s"
		" ORDER BY b.id LIMIT ?3",
		f->signal ? " AND b.signal = ?4" : "", f->class ? " AND b.class = ?5" : "",
		f->service ? " AND b.service = ?6" : "",
		f->received_from_ns ? " AND " RECEIVED_AT " >= ?7" : "",
		f->received_to_ns ? " AND " RECEIVED_AT " <= ?8" : "",
		has_delivery ? " AND EXISTS (SELECT 1 FROM deliveries q WHERE q.batch_id = b.id" :
			       "",
		f->state ? " AND q.state = ?9" : "",
		w->destination_id ? " AND q.destination_id = ?10" : "", has_delivery ? ")" : "");
}

static int bind_text(sqlite3_stmt *stmt, int at, const char *text)
{
	return text ? sqlite3_bind_text(stmt, at, text, -1, SQLITE_STATIC) : SQLITE_OK;
}

static int bind_time(sqlite3_stmt *stmt, int at, int64_t ns)
{
	return ns ? sqlite3_bind_int64(stmt, at, ns) : SQLITE_OK;
}

/* Parameters that the text does not name are out of range, so each is bound only where it is. */
static enum status bind_window(const struct walk *w, sqlite3_stmt *stmt, int64_t from, int64_t to,
			       struct err *e)
{
	const struct inspect_filter *f = w->f;
	int rc = sqlite3_bind_int64(stmt, 1, from);
	rc |= sqlite3_bind_int64(stmt, 2, to);
	rc |= sqlite3_bind_int(stmt, 3, f->limit - w->found);
	rc |= bind_text(stmt, 4, f->signal);
	rc |= bind_text(stmt, 5, f->class);
	rc |= bind_text(stmt, 6, f->service);
	rc |= bind_time(stmt, 7, f->received_from_ns);
	rc |= bind_time(stmt, 8, f->received_to_ns);
	rc |= bind_text(stmt, 9, f->state);
	rc |= bind_time(stmt, 10, w->destination_id);
	return rc == SQLITE_OK ? ST_OK : inspect_fail(w->in, SQLITE_ERROR, e);
}

/* Looks at the ids from..to. The cursor moves to `to`, or to the last hit where the page is full.
 */
static enum status walk_window(struct walk *w, int64_t from, int64_t to, struct err *e)
{
	char sql[1200];
	sqlite3_stmt *stmt = NULL;
	window_sql(w, sql, sizeof(sql));
	enum status st = inspect_prepare(w->in, sql, &stmt, e);
	if (!st)
		st = bind_window(w, stmt, from, to, e);
	while (!st) {
		st = inspect_step(w->in, stmt, e);
		if (st)
			break;
		int64_t id = sqlite3_column_int64(stmt, 0);
		visit_batch(w->v, stmt);
		w->found++;
		w->cursor = id;
		st = visit_deliveries(w->in, id, w->v, e);
	}
	(void)sqlite3_finalize(stmt);
	if (st == ST_END && w->found < w->f->limit)
		w->cursor = to;
	return st == ST_END ? ST_OK : st;
}

/* One transaction. *ret_more is false at the end of the queue. */
static enum status walk_step(struct walk *w, int64_t deadline, bool *ret_more, struct err *e)
{
	int64_t from = 0;
	enum status st = inspect_begin(w->in, deadline, e);
	if (!st && w->f->destination && !w->destination_id)
		st = find_destination(w, e);
	if (!st)
		st = next_candidate(w, &from, e);
	*ret_more = !st && from > 0;
	if (*ret_more && w->found < w->f->limit)
		st = walk_window(w, from, from + WINDOW_IDS - 1, e);
	inspect_end(w->in);
	return st;
}

enum status inspect_batches(struct inspect *in, const struct inspect_filter *f,
			    const struct inspect_visitor *v, int64_t *ret_next, struct err *e)
{
	CHECK(f->limit >= 1 && f->limit <= INSPECT_PAGE_MAX);
	struct walk w = { .in = in, .f = f, .v = v, .cursor = f->after_id };
	int64_t now = now_mono_ns();
	bool has_more = true;
	bool is_full = false;
	enum status st = ST_OK;
	while (!st && has_more && !is_full && now_mono_ns() - now < in->limit_ns / 2) {
		is_full = w.found == f->limit; /* one more step: is there anything behind it? */
		st = walk_step(&w, now + in->limit_ns, &has_more, e);
	}
	/* A page that took too long ends where it got; only one that got nowhere has failed. */
	if (st == ST_TIMEOUT && w.cursor > f->after_id)
		st = ST_OK;
	if (!st)
		*ret_next = has_more ? w.cursor : 0;
	return st;
}

static enum status read_payload(struct inspect *in, int64_t id, int64_t crc, struct buf *body,
				struct err *e)
{
	sqlite3_stmt *stmt = NULL;
	enum status st =
		inspect_prepare(in, "SELECT body FROM payloads WHERE batch_id = ?1", &stmt, e);
	if (!st && sqlite3_bind_int64(stmt, 1, id))
		st = inspect_fail(in, SQLITE_ERROR, e);
	if (!st)
		st = inspect_step(in, stmt, e);
	if (st == ST_END)
		st = err_set(e, ST_CORRUPT, "batch %lld has no payload", (long long)id);
	if (!st) {
		const void *p = sqlite3_column_blob(stmt, 0);
		size_t n = (size_t)sqlite3_column_bytes(stmt, 0);
		if ((int64_t)crc32_z(crc32_z(0, NULL, 0), p, n) != crc)
			st = err_set(e, ST_CORRUPT,
				     "the payload of batch %lld does not match its checksum",
				     (long long)id);
		else
			st = buf_append(body, bytes_of(p, n));
	}
	(void)sqlite3_finalize(stmt);
	return st;
}

static enum encoding encoding_of(const char *text)
{
	int i = 0;
	while (i < ENCODING_COUNT - 1 && strcmp(encoding_text((enum encoding)i), text) != 0)
		i++;
	return (enum encoding)i;
}

static enum signal signal_of(const char *text)
{
	int i = 0;
	while (i < SIGNAL_COUNT - 1 && strcmp(signal_text((enum signal)i), text) != 0)
		i++;
	return (enum signal)i;
}

enum status inspect_batch(struct inspect *in, int64_t id, const struct inspect_visitor *v,
			  struct buf *body, enum encoding *ret_encoding, enum signal *ret_signal,
			  struct err *e)
{
	sqlite3_stmt *stmt = NULL;
	enum status st = inspect_begin(in, 0, e);
	if (!st)
		st = inspect_prepare(
			in, "SELECT " BATCH_COLUMNS ", b.crc FROM batches b WHERE b.id = ?1", &stmt,
			e);
	if (!st && sqlite3_bind_int64(stmt, 1, id))
		st = inspect_fail(in, SQLITE_ERROR, e);
	if (!st)
		st = inspect_step(in, stmt, e);
	if (st == ST_END)
		st = err_set(e, ST_NOT_FOUND, "the queue has no batch %lld", (long long)id);
	if (!st) {
		visit_batch(v, stmt);
		st = visit_deliveries(in, id, v, e);
	}
	if (!st && body) {
		*ret_signal = signal_of(inspect_text(stmt, 2));
		*ret_encoding = encoding_of(inspect_text(stmt, 5));
		st = read_payload(in, id, sqlite3_column_int64(stmt, 14), body, e);
	}
	(void)sqlite3_finalize(stmt);
	inspect_end(in);
	return st;
}
