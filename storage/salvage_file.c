/* salvage_file.c - reads around the damage: every row by its own seek, every failure one row long.
 *
 * SQLite gives up on a query at the first page that makes no sense, so no query here spans more
 * than one batch. The batches are looked for by `id >= ? LIMIT 1`. Where that fails the next id is
 * tried: each try walks down the tree anew, so all of a table that does not lie below the damaged
 * page is found, whether before or behind it. Trying id by id is quick enough: a leaf of 8 KiB
 * holds about a hundred batches, an interior page stands for some 100,000, and a try costs
 * microseconds.
 *
 * The search begins at the smallest id that any of the tables shows from its front, and ends at the
 * largest one that any shows from behind. After GAP_MAX tries in a row without a hit it leaps: by
 * bisection to where the unreadable stretch ends.
 *
 * A batch counts as readable when its row makes sense (words of the vocabulary, sizes that can be).
 * Its body must match its checksum. Its deliveries are read from the table, where that fails from
 * the two partial indexes, and where these fail too the batch is owed to destination 0: better kept
 * by a catch-all than lost.
 *
 * (SQLite's own .recover needs the dbpage extension, which distributions leave out.) */
#include "storage/salvage_file.h"

#include <stdio.h>
#include <zlib.h>

#include "gateway/base/xalloc.h"
#include "storage/salvage_header.h"
#include "storage/stmt.h"

enum {
	GAP_MAX = 200000,
	ROW_MAX = 128 << 20,
	DESTINATION_IDS_MAX = 1024,
	BOOTS_MAX = 256,
	URI_MAX = 3 * SALVAGE_PATH_MAX
};

/* A row of its `boots`. */
struct known_boot {
	int64_t id;
	int64_t offset_ns;
	char name[SALVAGE_BOOT_MAX];
};

struct salvage_file {
	sqlite3 *db;
	struct salvage_header *header; /* NULL: its own can be read */
	sqlite3_stmt *batch;
	sqlite3_stmt *time; /* NULL: a file of version 1 */
	sqlite3_stmt *body;
	sqlite3_stmt *owed;
	sqlite3_stmt *owed_by_index[2]; /* ready, dead */
	sqlite3_stmt *destination;
	const atomic_bool *stop;
	int64_t first_id;
	int64_t last_id; /* INT64_MAX: not known */
	size_t boot_count;
	struct known_boot boots[BOOTS_MAX]; /* the newest */
};

static const char BATCH_SQL[] =
	"SELECT id, received_at, signal, class, encoding, requests, records, raw_bytes,"
	" stored_bytes, first_time, last_time, crc, tenant, service, preview"
	" FROM batches WHERE id >= ?1 ORDER BY id LIMIT 1";
static const char TIME_SQL[] = "SELECT boot, received_mono FROM batches WHERE id = ?1";
static const char BODY_SQL[] = "SELECT body FROM payloads WHERE batch_id = ?1";
static const char OWED_SQL[] =
	"SELECT destination_id, state, records, attempts, last_attempt_at, last_status, last_error,"
	" last_boot, last_mono FROM deliveries WHERE batch_id = ?1";
/* Of version 1. */
static const char OWED_1_SQL[] =
	"SELECT destination_id, state, records, attempts, last_attempt_at, last_status, last_error,"
	" NULL, NULL FROM deliveries WHERE batch_id = ?1";
/* Both are covered by their index: the table itself is not touched. */
static const char READY_SQL[] =
	"SELECT destination_id FROM deliveries INDEXED BY deliveries_ready"
	" WHERE state = 'ready' AND destination_id = ?1 AND priority = ?2 AND batch_id = ?3";
static const char DEAD_SQL[] = "SELECT destination_id FROM deliveries INDEXED BY deliveries_dead"
			       " WHERE state = 'dead' AND destination_id = ?1 AND batch_id = ?3";
static const char DESTINATION_SQL[] = "SELECT name, kind FROM destinations WHERE id = ?1";

/* ---- opening ---- */

/* The table exists as far as can be told, and the statement can be made; else it stays NULL. */
static void prepare(sqlite3 *db, const char *sql, sqlite3_stmt **ret)
{
	(void)sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, ret, NULL);
}

/* Each tree is asked at its ends only: one damaged page seldom hides the answer of all. */
static void find_range(struct salvage_file *f)
{
	static const char *const ends[][2] = {
		{ NULL, "SELECT seq FROM sqlite_sequence WHERE name = 'batches'" },
		{ "SELECT min(id) FROM batches", "SELECT max(id) FROM batches" },
		{ "SELECT min(batch_id) FROM payloads", "SELECT max(batch_id) FROM payloads" },
		{ "SELECT min(batch_id) FROM deliveries", "SELECT max(batch_id) FROM deliveries" },
	};
	f->first_id = INT64_MAX;
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		int64_t id = 0;
		const char *front = ends[i][0];
		if (front && stmt_get_int(f->db, front, &id, NULL) == ST_OK && id > 0 &&
		    id < f->first_id)
			f->first_id = id;
		if (stmt_get_int(f->db, ends[i][1], &id, NULL) == ST_OK && id > f->last_id)
			f->last_id = id;
	}
	if (f->first_id == INT64_MAX)
		f->first_id = 1;
	if (f->last_id == 0)
		f->last_id = INT64_MAX;
}

struct bytes salvage_file_column(sqlite3_stmt *s, int i)
{
	/* The pointer first: it may convert, which changes the length. */
	const void *p = sqlite3_column_blob(s, i);
	return bytes_of(p, p ? (size_t)sqlite3_column_bytes(s, i) : 0);
}

/* As many as can be read. */
static void read_boots(struct salvage_file *f)
{
	static const char sql[] = "SELECT id, offset_ns, boot_id FROM boots ORDER BY id DESC";
	sqlite3_stmt *s = NULL;
	prepare(f->db, sql, &s);
	while (s && f->boot_count < BOOTS_MAX && stmt_step(s, NULL) == ST_OK) {
		struct known_boot *b = &f->boots[f->boot_count];
		struct bytes name = salvage_file_column(s, 2);
		*b = (struct known_boot){ .id = sqlite3_column_int64(s, 0),
					  .offset_ns = sqlite3_column_int64(s, 1) };
		if (name.n == 0 || name.n >= sizeof(b->name))
			continue;
		memcpy(b->name, name.p, name.n);
		f->boot_count++;
	}
	(void)sqlite3_finalize(s);
}

/* writable_schema makes SQLite pass over entries of the schema that make no sense, instead of
 * refusing the file. Nothing is ever written. */
static enum status set_up(sqlite3 *db, struct err *e)
{
	(void)sqlite3_limit(db, SQLITE_LIMIT_LENGTH, ROW_MAX);
	(void)sqlite3_busy_timeout(db, 1000);
	return stmt_exec(db,
			 "PRAGMA writable_schema = ON; PRAGMA trusted_schema = OFF;"
			 "PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0;"
			 "PRAGMA query_only = ON; PRAGMA cache_size = -4096;",
			 e);
}

/* how: what to add to the URI, of which the path must not be a part. */
static void make_uri(char uri[URI_MAX + 64], const char *path, const char *how)
{
	size_t n = (size_t)snprintf(uri, URI_MAX, "file:%s", path[0] == '/' ? "//" : "");
	for (; *path && n + 4 < URI_MAX; path++)
		n += (size_t)snprintf(uri + n, URI_MAX - n, strchr("%?#&", *path) ? "%%%02X" : "%c",
				      *path);
	(void)snprintf(uri + n, URI_MAX + 64 - n, "?mode=ro%s", how);
}

/* Are the tables there that nothing goes without? */
static enum status check_tables(sqlite3 *db, const char *path, struct err *e)
{
	sqlite3_stmt *batch = NULL;
	sqlite3_stmt *body = NULL;
	prepare(db, BATCH_SQL, &batch);
	prepare(db, BODY_SQL, &body);
	enum status st = ST_OK;
	if (!batch || !body)
		st = err_set(e, ST_CORRUPT, "%s: the tables of batches cannot be read: %s", path,
			     sqlite3_errmsg(db));
	(void)sqlite3_finalize(batch);
	(void)sqlite3_finalize(body);
	return st;
}

static enum status open_as(const char *path, const char *how, sqlite3 **ret, struct err *e)
{
	sqlite3 *db = NULL;
	char uri[URI_MAX + 64];
	make_uri(uri, path, how);
	int rc = sqlite3_open_v2(
		uri, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX, NULL);
	enum status st = rc == SQLITE_OK ? set_up(db, e) : stmt_fail(db, rc, e, path);
	if (!st)
		st = check_tables(db, path, e);
	if (st) {
		(void)sqlite3_close(db);
		return st;
	}
	*ret = db;
	return ST_OK;
}

/* With a first page that is not its own. */
static enum status open_overlaid(const char *path, const char *how, struct salvage_header **ret,
				 sqlite3 **ret_db, struct err *e)
{
	char uri[URI_MAX + 64];
	sqlite3 *db = NULL;
	make_uri(uri, path, how);
	enum status st = salvage_header_open(path, uri, ret, &db, e);
	if (st)
		return st;
	st = set_up(db, e);
	if (!st)
		st = check_tables(db, path, e);
	if (st) {
		(void)sqlite3_close(db);
		salvage_header_free(*ret);
		*ret = NULL;
		return st;
	}
	*ret_db = db;
	return ST_OK;
}

enum status salvage_file_open(const char *path, const atomic_bool *stop, struct salvage_file **ret,
			      struct err *e)
{
	/* immutable: without its WAL and shared memory, where these are what cannot be opened. */
	static const char *const ways[] = { "", "&immutable=1" };
	enum status st = ST_CORRUPT;
	struct salvage_file *f = xcalloc(1, sizeof(*f));
	for (size_t i = 0; i < 2 && st && st != ST_NO_MEMORY; i++)
		st = open_as(path, ways[i], &f->db, e);
	for (size_t i = 0; i < 2 && st && st != ST_NO_MEMORY; i++)
		st = open_overlaid(path, ways[i], &f->header, &f->db, e);
	if (st) {
		free(f);
		return st;
	}
	f->stop = stop;
	prepare(f->db, BATCH_SQL, &f->batch);
	prepare(f->db, TIME_SQL, &f->time);
	prepare(f->db, BODY_SQL, &f->body);
	prepare(f->db, OWED_SQL, &f->owed);
	if (!f->owed)
		prepare(f->db, OWED_1_SQL, &f->owed);
	prepare(f->db, READY_SQL, &f->owed_by_index[0]);
	prepare(f->db, DEAD_SQL, &f->owed_by_index[1]);
	prepare(f->db, DESTINATION_SQL, &f->destination);
	if (!f->batch || !f->body) {
		salvage_file_close(f);
		return err_set(e, ST_NO_MEMORY, "%s: no memory to read it", path);
	}
	find_range(f);
	read_boots(f);
	*ret = f;
	return ST_OK;
}

void salvage_file_close(struct salvage_file *f)
{
	if (!f)
		return;
	(void)sqlite3_finalize(f->batch);
	(void)sqlite3_finalize(f->time);
	(void)sqlite3_finalize(f->body);
	(void)sqlite3_finalize(f->owed);
	(void)sqlite3_finalize(f->owed_by_index[0]);
	(void)sqlite3_finalize(f->owed_by_index[1]);
	(void)sqlite3_finalize(f->destination);
	(void)sqlite3_close(f->db);
	salvage_header_free(f->header);
	free(f);
}

/* ---- one batch ---- */

void salvage_file_moment(const struct salvage_file *f, int64_t at_ns, int64_t boot, int64_t mono_ns,
			 struct salvage_moment *ret)
{
	int64_t corrected = 0;
	*ret = (struct salvage_moment){ .at_ns = at_ns, .mono_ns = mono_ns };
	for (size_t i = 0; i < f->boot_count && boot; i++) {
		const struct known_boot *b = &f->boots[i];
		if (b->id != boot)
			continue;
		memcpy(ret->boot, b->name, sizeof(ret->boot));
		if (!__builtin_add_overflow(b->offset_ns, mono_ns, &corrected) && corrected > 0)
			ret->at_ns = corrected;
	}
}

int salvage_file_signal(struct bytes word)
{
	for (int i = 0; i < SIGNAL_COUNT; i++)
		if (bytes_equal(word, bytes_str(signal_text((enum signal)i))))
			return i;
	return -1;
}

static int find_class(struct bytes word)
{
	for (int i = 0; i < RECORD_CLASS_COUNT; i++)
		if (bytes_equal(word, bytes_str(record_class_text((enum record_class)i))))
			return i;
	return -1;
}

static int find_encoding(struct bytes word)
{
	for (int i = 0; i < ENCODING_COUNT; i++)
		if (bytes_equal(word, bytes_str(encoding_text((enum encoding)i))))
			return i;
	return -1;
}

static enum status take_text(sqlite3_stmt *s, int i, struct buf *out, struct salvage_text *ret)
{
	struct bytes text = salvage_file_column(s, i);
	*ret = (struct salvage_text){ .at = out->n, .n = text.n };
	return buf_append(out, text);
}

/* ST_CORRUPT: the row makes no sense. */
static enum status take_batch(sqlite3_stmt *s, struct buf *out, struct salvage_batch *b)
{
	int signal = salvage_file_signal(salvage_file_column(s, 2));
	int class = find_class(salvage_file_column(s, 3));
	int encoding = find_encoding(salvage_file_column(s, 4));
	*b = (struct salvage_batch){ .id = sqlite3_column_int64(s, 0),
				     .received.at_ns = sqlite3_column_int64(s, 1),
				     .requests = sqlite3_column_int64(s, 5),
				     .records = sqlite3_column_int64(s, 6),
				     .raw_bytes = sqlite3_column_int64(s, 7),
				     .stored_bytes = sqlite3_column_int64(s, 8),
				     .first_time = sqlite3_column_int64(s, 9),
				     .last_time = sqlite3_column_int64(s, 10),
				     .crc = (uint32_t)sqlite3_column_int64(s, 11) };
	if (signal < 0 || class < 0 || encoding < 0 || b->records < 0 || b->records > UINT32_MAX ||
	    b->raw_bytes < 0 || b->raw_bytes > UINT32_MAX || b->stored_bytes < 0 ||
	    b->stored_bytes > ROW_MAX || b->received.at_ns < 0)
		return ST_CORRUPT;
	b->signal = (enum signal)signal;
	b->class = (enum record_class) class;
	b->encoding = (enum encoding)encoding;
	enum status st = take_text(s, 12, out, &b->tenant);
	if (!st)
		st = take_text(s, 13, out, &b->service);
	if (!st)
		st = take_text(s, 14, out, &b->preview);
	return st;
}

/* Where it cannot be told, what the wall clock said stands. */
static void correct_time(struct salvage_file *f, struct salvage_batch *b)
{
	if (!f->time)
		return;
	stmt_bind_int(f->time, 1, b->id);
	if (stmt_step(f->time, NULL) != ST_OK)
		return;
	salvage_file_moment(f, b->received.at_ns, sqlite3_column_int64(f->time, 0),
			    sqlite3_column_int64(f->time, 1), &b->received);
	stmt_reset(f->time);
}

/* Fills has_body. Fails only for want of room. */
static enum status take_body(struct salvage_file *f, struct buf *out, struct salvage_batch *b)
{
	enum status st = ST_OK;
	stmt_bind_int(f->body, 1, b->id);
	if (stmt_step(f->body, NULL) != ST_OK)
		return ST_OK;
	struct bytes body = salvage_file_column(f->body, 0);
	if (body.n == (size_t)b->stored_bytes && crc32_z(0, body.p, body.n) == b->crc) {
		st = take_text(f->body, 0, out, &b->body);
		b->has_body = !st;
	}
	stmt_reset(f->body);
	return st;
}

static bool is_owed(const struct salvage_batch *b, int64_t destination_id)
{
	for (size_t i = 0; i < b->owed_count; i++)
		if (b->owed[i].destination_id == destination_id)
			return true;
	return false;
}

/* A row of OWED_SQL. Rows that make no sense are left to the indexes. */
static enum status take_owed(const struct salvage_file *f, struct buf *out, struct salvage_batch *b)
{
	sqlite3_stmt *s = f->owed;
	struct bytes state = salvage_file_column(s, 1);
	bool is_dead = bytes_equal(state, bytes_str(delivery_state_text(DELIVERY_DEAD)));
	bool is_ready = bytes_equal(state, bytes_str(delivery_state_text(DELIVERY_READY)));
	struct salvage_owed owed = { .destination_id = sqlite3_column_int64(s, 0),
				     .is_dead = is_dead,
				     .records = sqlite3_column_int64(s, 2),
				     .attempts = sqlite3_column_int64(s, 3),
				     .last_status = sqlite3_column_int64(s, 5) };
	if ((!is_dead && !is_ready) || owed.records < 0 || owed.records > b->records ||
	    owed.attempts < 0 || owed.attempts > INT32_MAX || owed.destination_id <= 0 ||
	    b->owed_count == SALVAGE_OWED_MAX)
		return ST_CORRUPT;
	if (is_owed(b, owed.destination_id))
		return ST_OK;
	salvage_file_moment(f, sqlite3_column_int64(s, 4), sqlite3_column_int64(s, 7),
			    sqlite3_column_int64(s, 8), &owed.last_attempt);
	enum status st = take_text(s, 6, out, &owed.last_error);
	if (!st)
		b->owed[b->owed_count++] = owed;
	return st;
}

/* What the indexes know of it: to whom and in which state, no more. */
static void take_owed_by_index(struct salvage_file *f, struct salvage_batch *b)
{
	for (int64_t id = 1; id <= DESTINATION_IDS_MAX && b->owed_count < SALVAGE_OWED_MAX; id++) {
		for (int dead = 0; dead < 2; dead++) {
			sqlite3_stmt *s = f->owed_by_index[dead];
			if (!s || is_owed(b, id))
				continue;
			stmt_bind_int(s, 1, id);
			stmt_bind_int(s, 2, b->class);
			stmt_bind_int(s, 3, b->id);
			if (stmt_step(s, NULL) != ST_OK)
				continue;
			stmt_reset(s);
			b->owed[b->owed_count++] = (struct salvage_owed){
				.destination_id = id,
				.is_dead = dead == 1,
				.records = b->records,
			};
		}
	}
}

static enum status take_all_owed(struct salvage_file *f, struct buf *out, struct salvage_batch *b)
{
	bool is_whole = false;
	enum status st = ST_OK;
	if (f->owed) {
		stmt_bind_int(f->owed, 1, b->id);
		is_whole = true;
		while ((st = stmt_step(f->owed, NULL)) == ST_OK) {
			st = take_owed(f, out, b);
			if (st == ST_CORRUPT)
				is_whole = false;
			else if (st)
				break;
		}
		is_whole = is_whole && st == ST_END;
		stmt_reset(f->owed);
		if (st == ST_BUSY || st == ST_TOO_LARGE || st == ST_NO_MEMORY)
			return st;
	}
	if (!is_whole || b->owed_count == 0)
		take_owed_by_index(f, b);
	if (b->owed_count == 0)
		b->owed[b->owed_count++] = (struct salvage_owed){ .records = b->records };
	return ST_OK;
}

static enum status take_parts(struct salvage_file *f, bool with_body, struct buf *out,
			      struct salvage_batch *b)
{
	enum status st = take_all_owed(f, out, b);
	if (!st && with_body)
		st = take_body(f, out, b);
	return st;
}

/* The first batch at or behind id. Anything but ST_OK, ST_END and a want of room: unreadable. */
static enum status read_at(struct salvage_file *f, int64_t id, bool with_body, struct buf *out,
			   struct salvage_batch *ret)
{
	buf_clear(out);
	stmt_bind_int(f->batch, 1, id);
	enum status st = stmt_step(f->batch, NULL);
	if (st)
		return st;
	/* A row that lies elsewhere than the tree says is damage too. */
	int64_t found = sqlite3_column_int64(f->batch, 0);
	st = found >= id && found <= f->last_id ? take_batch(f->batch, out, ret) : ST_CORRUPT;
	if (!st)
		correct_time(f, ret);
	stmt_reset(f->batch);
	return st ? st : take_parts(f, with_body, out, ret);
}

static bool is_reachable(struct salvage_file *f, int64_t id)
{
	stmt_bind_int(f->batch, 1, id);
	enum status st = stmt_step(f->batch, NULL);
	stmt_reset(f->batch);
	return st == ST_OK || st == ST_END;
}

/* From an unreadable id to one behind it that can be reached. -1: there is none. */
static int64_t leap(struct salvage_file *f, int64_t bad)
{
	int64_t good = -1;
	for (int64_t back = 1; good < 0 && back > 0 && back < f->last_id - bad; back *= 2)
		if (is_reachable(f, f->last_id - back + 1))
			good = f->last_id - back + 1;
	if (good < 0)
		return -1;
	while (good - bad > 1) {
		int64_t middle = bad + (good - bad) / 2;
		if (is_reachable(f, middle))
			good = middle;
		else
			bad = middle;
	}
	return good;
}

enum status salvage_file_next(struct salvage_file *f, int64_t from, bool with_body, struct buf *out,
			      struct salvage_batch *ret)
{
	int tries = 0;
	int64_t id = from > f->first_id ? from : f->first_id;
	while (id > 0 && id <= f->last_id) {
		if (atomic_load(f->stop))
			return ST_STOPPING;
		enum status st = read_at(f, id, with_body, out, ret);
		if (st == ST_OK || st == ST_END || st == ST_BUSY || st == ST_TOO_LARGE ||
		    st == ST_NO_MEMORY)
			return st;
		id++;
		if (++tries == GAP_MAX) {
			id = leap(f, id - 1);
			tries = 0;
		}
	}
	return ST_END;
}

/* ---- what belongs to no batch ---- */

/* A row that starts with a name, then a kind. False: it does not fit. */
static bool take_names(sqlite3_stmt *s, char name[SALVAGE_NAME_MAX], char kind[SALVAGE_NAME_MAX])
{
	struct bytes n = salvage_file_column(s, 0);
	struct bytes k = salvage_file_column(s, 1);
	if (n.n == 0 || n.n >= SALVAGE_NAME_MAX || k.n == 0 || k.n >= SALVAGE_NAME_MAX)
		return false;
	(void)snprintf(name, SALVAGE_NAME_MAX, "%.*s", (int)n.n, (const char *)n.p);
	(void)snprintf(kind, SALVAGE_NAME_MAX, "%.*s", (int)k.n, (const char *)k.p);
	return true;
}

enum status salvage_file_destination(struct salvage_file *f, int64_t id,
				     char name[SALVAGE_NAME_MAX], char kind[SALVAGE_NAME_MAX])
{
	/* Ordered so that the index on the name answers, without the table. */
	static const char by_name[] = "SELECT name, 'unknown', id FROM destinations ORDER BY name";
	sqlite3_stmt *s = NULL;
	bool is_found = false;
	if (id <= 0)
		return ST_NOT_FOUND;
	if (f->destination) {
		stmt_bind_int(f->destination, 1, id);
		if (stmt_step(f->destination, NULL) == ST_OK)
			is_found = take_names(f->destination, name, kind);
		stmt_reset(f->destination);
	}
	if (!is_found)
		prepare(f->db, by_name, &s);
	while (s && !is_found && stmt_step(s, NULL) == ST_OK)
		is_found = sqlite3_column_int64(s, 2) == id && take_names(s, name, kind);
	(void)sqlite3_finalize(s);
	return is_found ? ST_OK : ST_NOT_FOUND;
}

sqlite3 *salvage_file_db(struct salvage_file *f)
{
	return f->db;
}

bool salvage_file_is_first_version(const struct salvage_file *f)
{
	return !f->time;
}

int64_t salvage_file_last_id(const struct salvage_file *f)
{
	return f->last_id == INT64_MAX ? 0 : f->last_id;
}
