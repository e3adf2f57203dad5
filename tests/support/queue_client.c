/* queue_client.c - requests with names, and an independent look at the queue file.
 *
 * A body is "<id=00000042>" and random bytes. The writer treats bodies as opaque and merges them by
 * concatenation, so a request is found by scanning the decompressed payloads for its name, whatever
 * row it ended in. The look goes through plain SQL and not through the code under test. */
#include "tests/support/queue_client.h"

#include <dirent.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "gateway/base/compression.h"
#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"
#include "storage/evict.h"
#include "tests/support/patience.h"

enum { NAME_BYTES = CLIENT_BODY_MIN, PAYLOAD_MAX = 16 << 20 };

/* ---- giving and waiting ---- */

struct gate {
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	size_t waiting;
};

struct client_job {
	struct put_job put;
	struct gate *gate;
	client_done_fn on_done;
	int64_t id;
	enum status status;
	uint8_t *body;
};

static void gate_init(struct gate *g, size_t waiting)
{
	CHECK(pthread_mutex_init(&g->mutex, NULL) == 0);
	CHECK(pthread_cond_init(&g->cond, NULL) == 0);
	g->waiting = waiting;
}

static void gate_pass(struct gate *g)
{
	CHECK(pthread_mutex_lock(&g->mutex) == 0);
	if (--g->waiting == 0)
		CHECK(pthread_cond_signal(&g->cond) == 0);
	CHECK(pthread_mutex_unlock(&g->mutex) == 0);
}

static void gate_wait(struct gate *g)
{
	CHECK(pthread_mutex_lock(&g->mutex) == 0);
	while (g->waiting)
		CHECK(pthread_cond_wait(&g->cond, &g->mutex) == 0);
	CHECK(pthread_mutex_unlock(&g->mutex) == 0);
	(void)pthread_mutex_destroy(&g->mutex);
	(void)pthread_cond_destroy(&g->cond);
}

static void put_is_done(struct write_job *job, enum status st)
{
	struct client_job *c = (struct client_job *)(void *)job;
	c->status = st;
	if (c->on_done)
		c->on_done(c->id, st);
	gate_pass(c->gate);
}

void client_fill_body(uint8_t *p, size_t n, int64_t id)
{
	uint64_t random = (uint64_t)id * UINT64_C(0x9e3779b97f4a7c15) + 1;
	char name[NAME_BYTES + 1];
	(void)snprintf(name, sizeof(name), "<id=%08lld>", (long long)id);
	memcpy(p, name, NAME_BYTES);
	for (size_t i = NAME_BYTES; i < n; i++) {
		random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
		p[i] = (uint8_t)('a' + (random >> 60));
	}
}

static void prepare_put(struct client_job *c, const struct client_request *r)
{
	size_t size = r->size < NAME_BYTES ? NAME_BYTES : r->size;
	c->id = r->id;
	if (r->body.n) {
		size = r->body.n;
		c->body = xcalloc(1, size);
		memcpy(c->body, r->body.p, size);
	} else {
		c->body = xcalloc(1, size);
		client_fill_body(c->body, size, r->id);
	}
	c->put = (struct put_job){
		.job = { .done = put_is_done },
		.signal = r->signal,
		.part_count = 1,
		.parts = { { .class = r->class,
			     .records = r->records,
			     .first_time_ns = r->id * NS_PER_S,
			     .last_time_ns = r->id * NS_PER_S + 1,
			     .service = bytes_str("pump"),
			     .preview = bytes_str("speed"),
			     .body = bytes_of(c->body, size),
			     .destinations = r->destinations } },
	};
}

void client_put(struct writer *w, const struct client_request *requests, size_t count,
		enum status *ret, client_done_fn done)
{
	struct gate gate;
	struct client_job *jobs = xcalloc(count, sizeof(*jobs));
	CHECK(count > 0 && count <= CLIENT_PUTS_MAX);
	gate_init(&gate, count);
	for (size_t i = 0; i < count; i++) {
		jobs[i].gate = &gate;
		jobs[i].on_done = done;
		prepare_put(&jobs[i], &requests[i]);
	}
	for (size_t i = 0; i < count; i++)
		writer_put(w, &jobs[i].put);
	gate_wait(&gate);
	for (size_t i = 0; i < count; i++) {
		ret[i] = jobs[i].status;
		free(jobs[i].body);
	}
	free(jobs);
}

/* Stands in front of its settlement in one allocation: done gets the settlement only. */
struct settle_wait {
	_Alignas(16) struct gate gate;
	enum status status;
};

static struct settlement *settlement_of(struct settle_wait *wait)
{
	return (struct settlement *)(void *)(wait + 1);
}

static void settle_is_done(struct write_job *job, enum status st)
{
	struct settle_wait *wait = (struct settle_wait *)(void *)job - 1;
	wait->status = st;
	gate_pass(&wait->gate);
}

enum status client_settle_items(struct writer *w, int64_t destination_id, int status,
				const char *error, const struct settle_item *items, size_t count)
{
	struct settle_wait *wait = xcalloc(1, sizeof(*wait) + sizeof(struct settlement) +
						      count * sizeof(struct settle_item));
	struct settlement *s = settlement_of(wait);
	gate_init(&wait->gate, 1);
	s->job.done = settle_is_done;
	s->destination_id = destination_id;
	s->at_ns = now_wall_ns();
	s->status = status;
	(void)snprintf(s->error, sizeof(s->error), "%s", error);
	s->count = count;
	memcpy(s->items, items, count * sizeof(*items));
	writer_settle(w, s);
	gate_wait(&wait->gate);
	enum status st = wait->status;
	free(wait);
	return st;
}

enum status client_settle(struct writer *w, int64_t destination_id, const int64_t *batch_ids,
			  size_t count, enum settle_outcome outcome, uint32_t rejected_records)
{
	static const int answers[SETTLE_EXPIRED + 1] = { [SETTLE_DELIVERED] = 200,
							 [SETTLE_RETRY] = 503,
							 [SETTLE_DEAD] = 400,
							 [SETTLE_SPLIT] = 400,
							 [SETTLE_UNREADABLE] = 0 };
	static const struct settle_part part = { .records = 1,
						 .raw_bytes = 4,
						 .encoding = ENCODING_NONE,
						 .body = { (const uint8_t *)"part", 4 },
						 .status = 400,
						 .error = "the test says so" };
	struct settle_item items[CLIENT_SETTLE_MAX];
	bool is_clean = outcome == SETTLE_DELIVERED && !rejected_records;
	CHECK(count <= CLIENT_SETTLE_MAX);
	for (size_t i = 0; i < count; i++)
		items[i] = (struct settle_item){ .batch_id = batch_ids[i],
						 .outcome = outcome,
						 .rejected_records = rejected_records,
						 .parts = &part,
						 .part_count = 1 };
	return client_settle_items(w, destination_id, answers[outcome],
				   is_clean ? "" : "the test says so", items, count);
}

/* ---- any job ---- */

struct client_work {
	struct write_job job;
	struct gate gate;
	enum status (*work)(struct queue *q, void *ctx);
	void *ctx;
	enum status status;
};

static enum status apply_work(struct queue *q, struct write_job *job)
{
	struct client_work *c = (struct client_work *)(void *)job;
	return c->work(q, c->ctx);
}

static void work_is_done(struct write_job *job, enum status st)
{
	struct client_work *c = (struct client_work *)(void *)job;
	c->status = st;
	gate_pass(&c->gate);
}

enum status client_run(struct writer *w, enum status (*work)(struct queue *q, void *ctx), void *ctx)
{
	struct client_work c = { .job = { .apply = apply_work, .done = work_is_done },
				 .work = work,
				 .ctx = ctx };
	gate_init(&c.gate, 1);
	writer_give(w, &c.job);
	gate_wait(&c.gate);
	return c.status;
}

static enum status evict(struct queue *q, void *ctx)
{
	struct client_eviction *e = ctx;
	enum status st = evict_can(q, e->may_evict, e->arriving, &e->can);
	if (!st)
		st = evict_some(q, e->may_evict, e->arriving, &e->count);
	e->is_searching = evict_is_searching(q);
	return st;
}

enum status client_evict(struct writer *w, struct client_eviction *e)
{
	return client_run(w, evict, e);
}

/* ---- directories ---- */

void client_make_dir(char *ret, size_t size, const char *what)
{
	const char *base = getenv("TMPDIR");
	if (!base)
		base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
	CHECK((size_t)snprintf(ret, size, "%s/tidegate-%s-XXXXXX", base, what) < size);
	CHECK(mkdtemp(ret));
}

void client_remove_dir(const char *dir)
{
	DIR *handle = opendir(dir);
	CHECK(handle);
	const struct dirent *entry;
	while ((entry = readdir(handle)) != NULL) {
		char path[CLIENT_PATH_SIZE + 256];
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		(void)snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
		(void)unlink(path);
	}
	(void)closedir(handle);
	(void)rmdir(dir);
}

void client_copy_file(const char *from, const char *to)
{
	uint8_t bytes[65536];
	FILE *in = fopen(from, "rb");
	if (!in)
		return;
	FILE *out = fopen(to, "wb");
	CHECK(out);
	size_t n;
	while ((n = fread(bytes, 1, sizeof(bytes), in)) > 0)
		CHECK(fwrite(bytes, 1, n, out) == n);
	CHECK(fclose(out) == 0);
	(void)fclose(in);
}

int client_count_files(const char *dir, const char *part)
{
	DIR *handle = opendir(dir);
	CHECK(handle);
	int count = 0;
	const struct dirent *entry;
	while ((entry = readdir(handle)) != NULL)
		count += strstr(entry->d_name, part) != NULL;
	(void)closedir(handle);
	return count;
}

/* ---- facts ---- */

static sqlite3 *open_for_look(const char *path)
{
	sqlite3 *db = NULL;
	if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK) {
		(void)sqlite3_close(db);
		return NULL;
	}
	(void)sqlite3_busy_timeout(db, patience_s() * 1000);
	return db;
}

/* Prepared and stepped to its first row, or NULL. */
static sqlite3_stmt *first_row(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *stmt = NULL;
	if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
		return NULL;
	if (sqlite3_step(stmt) == SQLITE_ROW)
		return stmt;
	(void)sqlite3_finalize(stmt);
	return NULL;
}

static int64_t one_int(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *stmt = first_row(db, sql);
	int64_t value = stmt ? sqlite3_column_int64(stmt, 0) : -1;
	(void)sqlite3_finalize(stmt);
	return value;
}

int64_t facts_int(const char *path, const char *sql)
{
	sqlite3 *db = open_for_look(path);
	int64_t value = db ? one_int(db, sql) : -1;
	(void)sqlite3_close(db);
	return value;
}

void facts_await(const char *path, const char *sql, int64_t want)
{
	int64_t end = patience_end_ns();
	int64_t got = facts_int(path, sql);
	while (got != want && patience_pause(end))
		got = facts_int(path, sql);
	ck_assert_msg(got == want, "%s is %lld, expected %lld", sql, (long long)got,
		      (long long)want);
}

bool facts_text(const char *path, const char *sql, char *ret, size_t size)
{
	sqlite3 *db = open_for_look(path);
	sqlite3_stmt *stmt = db ? first_row(db, sql) : NULL;
	if (stmt)
		(void)snprintf(ret, size, "%s", (const char *)sqlite3_column_text(stmt, 0));
	bool is_there = stmt != NULL;
	(void)sqlite3_finalize(stmt);
	(void)sqlite3_close(db);
	return is_there;
}

/* Count each request that the payload names, and note its batch. */
static void scan_names(struct bytes body, int64_t batch_id, uint8_t *counts, int64_t *batch_of)
{
	const uint8_t *end = body.p + body.n;
	const uint8_t *p = body.p;
	while (p && p < end && (p = memmem(p, (size_t)(end - p), "<id=", 4)) != NULL) {
		char digits[9] = { 0 };
		if ((size_t)(end - p) < NAME_BYTES)
			return;
		memcpy(digits, p + 4, 8);
		long id = strtol(digits, NULL, 10);
		if (id > 0 && id < CLIENT_IDS_MAX) {
			counts[id]++;
			batch_of[id] = batch_id;
		}
		p += NAME_BYTES;
	}
}

static enum encoding encoding_of(const char *text)
{
	for (int i = 0; i < ENCODING_COUNT; i++)
		if (strcmp(text, encoding_text((enum encoding)i)) == 0)
			return (enum encoding)i;
	return ENCODING_COUNT;
}

/* Columns: destination, batch, is dead, encoding, crc, body. */
static void look_at_row(sqlite3_stmt *stmt, struct facts *f)
{
	int64_t destination = sqlite3_column_int64(stmt, 0);
	bool is_dead = sqlite3_column_int(stmt, 2) != 0;
	enum encoding encoding = encoding_of((const char *)sqlite3_column_text(stmt, 3));
	struct bytes body =
		bytes_of(sqlite3_column_blob(stmt, 5), (size_t)sqlite3_column_bytes(stmt, 5));
	struct buf out;
	if (destination <= 0 || destination >= CLIENT_DESTINATIONS_MAX) {
		f->crc_errors++;
		return;
	}
	buf_init(&out, PAYLOAD_MAX, NULL);
	if (crc32(0, body.p, (uInt)body.n) == (uLong)sqlite3_column_int64(stmt, 4) &&
	    encoding < ENCODING_COUNT && decompress(encoding, body, &out, NULL) == ST_OK)
		scan_names(buf_view(&out), sqlite3_column_int64(stmt, 1),
			   is_dead ? f->dead[destination] : f->ready[destination], f->batch_of);
	else
		f->crc_errors++;
	buf_done(&out);
}

static void look_at_rows(sqlite3 *db, struct facts *f)
{
	static const char sql[] =
		"SELECT q.destination_id, q.batch_id, q.state = 'dead', ifnull(b.encoding, ''), "
		"b.crc,"
		" p.body FROM deliveries q LEFT JOIN batches b ON b.id = q.batch_id"
		" LEFT JOIN payloads p ON p.batch_id = q.batch_id";
	sqlite3_stmt *stmt = NULL;
	if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
		return;
	while (sqlite3_step(stmt) == SQLITE_ROW) {
		if (sqlite3_column_type(stmt, 5) == SQLITE_NULL)
			f->crc_errors++;
		else
			look_at_row(stmt, f);
	}
	(void)sqlite3_finalize(stmt);
}

bool facts_read(const char *path, struct facts *ret)
{
	memset(ret, 0, sizeof(*ret));
	sqlite3 *db = open_for_look(path);
	if (!db)
		return false;
	sqlite3_stmt *stmt = first_row(db, "PRAGMA integrity_check(1)");
	const char *verdict =
		stmt ? (const char *)sqlite3_column_text(stmt, 0) : sqlite3_errmsg(db);
	ret->is_sound = strcmp(verdict, "ok") == 0;
	if (!ret->is_sound)
		(void)snprintf(ret->problem, sizeof(ret->problem), "%s", verdict);
	(void)sqlite3_finalize(stmt);
	ret->imbalance = one_int(db, "SELECT ifnull(sum(abs(difference)), 0) FROM balance");
	ret->accepted = one_int(
		db, "SELECT ifnull(sum(records), 0) FROM totals WHERE outcome = 'accepted'");
	ret->delivered = one_int(
		db, "SELECT ifnull(sum(records), 0) FROM totals WHERE outcome = 'delivered'");
	ret->batches = one_int(db, "SELECT count(*) FROM batches");
	look_at_rows(db, ret);
	(void)sqlite3_close(db);
	return true;
}

void client_execute(const char *path, const char *sql)
{
	sqlite3 *db = NULL;
	CHECK(sqlite3_open(path, &db) == SQLITE_OK);
	(void)sqlite3_busy_timeout(db, patience_s() * 1000);
	CHECK(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK);
	CHECK(sqlite3_close(db) == SQLITE_OK);
}
