/* sample_queue.c - makes queue files row by row. It writes what storage/writer.c would, without a
 * thread and with chosen ids and times, so that tests of readers do not depend on the writer. */
#include "tests/support/sample_queue.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

#include "storage/migrations.h"

void sample_queue_run(struct sample_queue *q, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	char *sql = sqlite3_vmprintf(fmt, ap);
	va_end(ap);
	char *error = NULL;
	int rc = sqlite3_exec(q->db, sql, NULL, NULL, &error);
	ck_assert_msg(rc == SQLITE_OK, "%s: %s", sql, error);
	sqlite3_free(sql);
}

void sample_queue_make(struct sample_queue *q)
{
	const char *tmp = getenv("TMPDIR");
	(void)snprintf(q->dir, sizeof(q->dir), "%s/tidegate-XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(q->dir));
	(void)snprintf(q->path, sizeof(q->path), "%s/queue.db", q->dir);
	ck_assert_int_eq(sqlite3_open(q->path, &q->db), SQLITE_OK);
	sample_queue_run(q, "PRAGMA page_size = 16384; PRAGMA journal_mode = WAL; "
			    "PRAGMA wal_autocheckpoint = 0; PRAGMA synchronous = OFF");
	for (int i = 0; i < migration_count; i++)
		sample_queue_run(q, "%s", migrations[i].sql);
	sample_queue_run(q, "PRAGMA user_version = %d", migration_count);
	sample_queue_run(
		q, "INSERT INTO destinations (id, name, kind, state, state_since, reason, "
		   "next_attempt_at, last_success_at) VALUES "
		   "(1, 'central', 'otlp_http', 'up', 1000000000, NULL, NULL, 1700000000000000000),"
		   "(2, 'logs', 'otlp_http', 'backing_off', 1700000000000000000, "
		   "'connection refused', 1700000005000000000, NULL),"
		   "(3, '(unrouted)', 'none', 'up', 1000000000, NULL, NULL, NULL)");
}

static int priority_of(const char *class)
{
	return class[0] == 'c' ? 0 : class[0] == 'w' ? 1 : 2;
}

int64_t sample_queue_add(struct sample_queue *q, const char *signal, const char *class,
			 int destination, const char *state, struct bytes body, int records,
			 int64_t received_at_ns)
{
	sample_queue_run(
		q,
		"INSERT INTO batches (received_at, signal, class, priority, requests, "
		"records, raw_bytes, stored_bytes, encoding, crc, service, preview) VALUES "
		"(%lld, %Q, %Q, %d, 1, %d, %d, %d, 'none', %lld, 'checkout', 'GET /cart')",
		(long long)received_at_ns, signal, class, priority_of(class), records, (int)body.n,
		(int)body.n, (long long)crc32_z(crc32_z(0, NULL, 0), body.p, body.n));
	int64_t id = sqlite3_last_insert_rowid(q->db);
	sqlite3_stmt *stmt = NULL;
	ck_assert_int_eq(
		sqlite3_prepare_v2(q->db, "INSERT INTO payloads VALUES (?1, ?2)", -1, &stmt, NULL),
		SQLITE_OK);
	(void)sqlite3_bind_int64(stmt, 1, id);
	(void)sqlite3_bind_blob(stmt, 2, body.n ? (const void *)body.p : "", (int)body.n,
				SQLITE_STATIC);
	ck_assert_int_eq(sqlite3_step(stmt), SQLITE_DONE);
	(void)sqlite3_finalize(stmt);
	sample_queue_run(q,
			 "INSERT INTO deliveries (batch_id, destination_id, priority, state, "
			 "records, attempts, last_attempt_at, last_status, last_error) VALUES "
			 "(%lld, %d, %d, %Q, %d, %d, NULL, %s, %Q)",
			 (long long)id, destination, priority_of(class), state, records,
			 state[0] == 'd', state[0] == 'd' ? "400" : "NULL",
			 state[0] == 'd' ? "bad label" : NULL);
	sample_queue_run(q,
			 "INSERT INTO totals VALUES (%d, %Q, 'accepted', %d) ON CONFLICT DO UPDATE "
			 "SET records = records + excluded.records",
			 destination, signal, records);
	return id;
}

void sample_queue_close(struct sample_queue *q)
{
	ck_assert_int_eq(sqlite3_close(q->db), SQLITE_OK);
	q->db = NULL;
}

void sample_queue_remove(struct sample_queue *q)
{
	if (q->db)
		sample_queue_close(q);
	char path[320];
	static const char *const suffixes[] = { "", "-wal", "-shm" };
	for (int i = 0; i < 3; i++) {
		(void)snprintf(path, sizeof(path), "%s%s", q->path, suffixes[i]);
		(void)unlink(path);
	}
	ck_assert_int_eq(rmdir(q->dir), 0);
}
