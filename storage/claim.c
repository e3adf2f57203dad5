/* claim.c - reads what is owed, beside the writer and without standing in its way.
 *
 * Each call runs one statement to its end and resets it, so that no read transaction outlives the
 * call: an open one keeps the write-ahead log from being started over. The index deliveries_ready
 * has the rows in the order in which they are sent, and the row value comparison continues behind
 * the last claim without looking at what lies before, so a claim costs the same with a backlog of
 * gigabytes.
 *
 * Times are corrected here: received_at by what is known of the clock of the boot in which the
 * batch came, and its age as storage/boot.h has it, from the rows of `boots`. They change when a
 * wall clock is set, so they are read again now and then.
 *
 * When the writer sets a damaged file aside, this connection still has that file, under its new
 * name. So each call compares the inode behind the path with the one that was opened, by stat(2):
 * opening and closing it would drop the process's locks. */
#include "storage/claim.h"

#include <sys/stat.h>
#include <zlib.h>

#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"
#include "storage/db.h"
#include "storage/queue_sql.h"

struct claim_reader {
	char *path;
	sqlite3 *db; /* NULL: to be opened by the next call */
	sqlite3_stmt *list;
	sqlite3_stmt *newest;
	sqlite3_stmt *body;
	struct boot boot;
	int64_t boot_due_ns; /* read `boots` again */
	dev_t device;
	ino_t inode;
};

#define COLUMNS                                                                                 \
	"SELECT d.batch_id, d.priority, d.records, d.attempts, b.class, b.signal, b.encoding, " \
	"b.crc, coalesce(t.offset_ns + b.received_mono, b.received_at), b.raw_bytes, "          \
	"b.stored_bytes, b.first_time, b.last_time, b.boot, b.received_mono, b.received_at, "   \
	"b.records FROM deliveries d JOIN batches b ON b.id = d.batch_id "                      \
	"LEFT JOIN boots t ON t.id = b.boot "                                                   \
	"WHERE d.destination_id = ?1 AND d.state = 'ready' "
static const char list_sql[] = COLUMNS "AND (d.priority, d.batch_id) > (?2, ?3) "
				       "ORDER BY d.priority, d.batch_id LIMIT ?4";
static const char newest_sql[] =
	COLUMNS "AND d.priority = ?2 AND d.batch_id > ?3 AND d.batch_id < ?5 "
		"ORDER BY d.batch_id DESC LIMIT ?4";
/* What a rule has let go for this destination meanwhile is not sent, though others still need it.
 */
static const char body_sql[] =
	"SELECT p.body FROM deliveries d JOIN payloads p ON p.batch_id = d.batch_id "
	"WHERE d.batch_id = ?1 AND d.destination_id = ?2 AND d.state = 'ready'";
#define BOOT_NS (10 * NS_PER_S)

static void disconnect(struct claim_reader *r)
{
	(void)sqlite3_finalize(r->list);
	(void)sqlite3_finalize(r->newest);
	(void)sqlite3_finalize(r->body);
	r->list = NULL;
	r->newest = NULL;
	r->body = NULL;
	db_close(r->db);
	r->db = NULL;
}

static enum status connect_file(struct claim_reader *r, struct err *e)
{
	struct stat sb = { 0 };
	/* Before the opening: a file that changes in between is seen as changed by the next call.
	 */
	(void)stat(r->path, &sb);
	r->device = sb.st_dev;
	r->inode = sb.st_ino;
	r->boot_due_ns = 0;
	enum status st = db_open_reader(r->path, &r->db, e);
	if (!st)
		st = stmt_prepare(r->db, list_sql, &r->list, e);
	if (!st)
		st = stmt_prepare(r->db, newest_sql, &r->newest, e);
	if (!st)
		st = stmt_prepare(r->db, body_sql, &r->body, e);
	if (st)
		disconnect(r);
	return st;
}

/* The connection is to the file that is at the path. */
static enum status refresh(struct claim_reader *r, struct err *e)
{
	struct stat sb;
	bool is_moved = r->db && stat(r->path, &sb) == 0 &&
			(sb.st_ino != r->inode || sb.st_dev != r->device);
	if (is_moved)
		disconnect(r);
	return r->db ? ST_OK : connect_file(r, e);
}

static enum status refresh_boot(struct claim_reader *r, struct err *e)
{
	int64_t now = now_mono_ns();
	if (now < r->boot_due_ns)
		return ST_OK;
	enum status st = boot_load(&r->boot, r->db, e);
	if (!st)
		r->boot_due_ns = now + BOOT_NS;
	return st;
}

/* A connection that failed so is not used again. */
static enum status give_up(struct claim_reader *r, enum status st)
{
	if (st == ST_IO || st == ST_CORRUPT)
		disconnect(r);
	return st;
}

enum status claim_reader_open(const char *path, struct claim_reader **ret, struct err *e)
{
	struct claim_reader *r = xcalloc(1, sizeof(*r));
	r->path = xstrdup(path);
	enum status st = connect_file(r, e);
	if (st) {
		claim_reader_close(r);
		return st;
	}
	*ret = r;
	return ST_OK;
}

void claim_reader_close(struct claim_reader *r)
{
	if (!r)
		return;
	disconnect(r);
	free(r->path);
	free(r);
}

int64_t claim_wall_ns(const struct claim_reader *r)
{
	const struct boot_row *b = &r->boot.this;
	return b->id && b->is_set ? b->age_offset_ns + now_boot_ns() : 0;
}

static enum encoding read_encoding(sqlite3_stmt *s, int column)
{
	const char *text = (const char *)sqlite3_column_text(s, column);
	enum encoding i = 0;
	while (text && i + 1 < ENCODING_COUNT && strcmp(text, encoding_text(i)) != 0)
		i++;
	return i;
}

static void read_claim(const struct claim_reader *r, sqlite3_stmt *s, int64_t destination_id,
		       struct claim *c)
{
	int64_t age = boot_age_ns(&r->boot, sqlite3_column_int64(s, 13),
				  sqlite3_column_int64(s, 14), sqlite3_column_int64(s, 15));
	*c = (struct claim){
		.batch_id = sqlite3_column_int64(s, 0),
		.priority = sqlite3_column_int(s, 1),
		.records = (uint32_t)sqlite3_column_int64(s, 2),
		.attempts = sqlite3_column_int(s, 3),
		.class = queue_read_class(s, 4),
		.signal = queue_read_signal(s, 5),
		.encoding = read_encoding(s, 6),
		.crc = (uint32_t)sqlite3_column_int64(s, 7),
		.received_at_ns = sqlite3_column_int64(s, 8),
		.raw_bytes = (size_t)sqlite3_column_int64(s, 9),
		.stored_bytes = (size_t)sqlite3_column_int64(s, 10),
		.first_time_ns = sqlite3_column_int64(s, 11),
		.last_time_ns = sqlite3_column_int64(s, 12),
		.batch_records = (uint32_t)sqlite3_column_int64(s, 16),
		.destination_id = destination_id,
		.received_boot_ns = now_boot_ns() - age,
	};
}

/* The statement's other parameters are bound. */
static enum status list(struct claim_reader *r, sqlite3_stmt *s, int64_t destination_id,
			struct claim *ret, size_t max, size_t *ret_count, struct err *e)
{
	size_t n = 0;
	enum status st = ST_OK;
	stmt_bind_int(s, 1, destination_id);
	stmt_bind_int(s, 4, (int64_t)max);
	while (n < max && (st = stmt_step(s, e)) == ST_OK)
		read_claim(r, s, destination_id, &ret[n++]);
	stmt_reset(s);
	if (st && st != ST_END)
		return give_up(r, st);
	*ret_count = n;
	return ST_OK;
}

enum status claim_list(struct claim_reader *r, int64_t destination_id, int after_priority,
		       int64_t after_batch_id, struct claim *ret, size_t max, size_t *ret_count,
		       struct err *e)
{
	enum status st = refresh(r, e);
	if (!st)
		st = refresh_boot(r, e);
	if (st)
		return st;
	stmt_bind_int(r->list, 2, after_priority);
	stmt_bind_int(r->list, 3, after_batch_id);
	return list(r, r->list, destination_id, ret, max, ret_count, e);
}

enum status claim_list_newest(struct claim_reader *r, int64_t destination_id, int priority,
			      int64_t after_batch_id, int64_t before_batch_id, struct claim *ret,
			      size_t max, size_t *ret_count, struct err *e)
{
	enum status st = refresh(r, e);
	if (!st)
		st = refresh_boot(r, e);
	if (st)
		return st;
	stmt_bind_int(r->newest, 2, priority);
	stmt_bind_int(r->newest, 3, after_batch_id);
	stmt_bind_int(r->newest, 5, before_batch_id);
	return list(r, r->newest, destination_id, ret, max, ret_count, e);
}

static enum status append_body(sqlite3_stmt *s, const struct claim *c, struct buf *out,
			       struct err *e)
{
	const void *p = sqlite3_column_blob(s, 0);
	size_t n = (size_t)sqlite3_column_bytes(s, 0);
	if (!p && c->stored_bytes)
		return err_set(e,
			       sqlite3_errcode(sqlite3_db_handle(s)) == SQLITE_NOMEM ?
				       ST_NO_MEMORY :
				       ST_CORRUPT,
			       "batch %lld: its payload cannot be read", (long long)c->batch_id);
	if (n != c->stored_bytes || (uint32_t)crc32_z(0, p, n) != c->crc)
		return err_set(e, ST_CORRUPT, "batch %lld: the checksum of its payload differs",
			       (long long)c->batch_id);
	return buf_append(out, bytes_of(p, n));
}

enum status claim_body(struct claim_reader *r, const struct claim *c, struct buf *out,
		       struct err *e)
{
	enum status st = refresh(r, e);
	if (st)
		return st;
	stmt_bind_int(r->body, 1, c->batch_id);
	stmt_bind_int(r->body, 2, c->destination_id);
	st = stmt_step(r->body, e);
	if (st == ST_END)
		return err_set(e, ST_NOT_FOUND, "batch %lld is gone", (long long)c->batch_id);
	if (st)
		return give_up(r, st);
	st = append_body(r->body, c, out, e);
	stmt_reset(r->body);
	return st;
}
