/* bench_sqlite.c - the yardstick: the same request bodies into a bare SQLite table.
 *
 * One table, one blob a request, uncompressed, the pragmas of the queue (WAL, synchronous=FULL, 8
 * KiB pages), rows grouped into commits as given. No network, no checks, no deliveries: what SQLite
 * alone makes of the bytes that the gateway acknowledges. Checkpoints are SQLite's automatic ones.
 *
 * The group decides: one request in a commit is 30 times slower than 256. A gateway cannot choose
 * it, its clients do, by how much they have under way; so bench.py asks for the group that the
 * gateway had in the run beside it. Requests come from memory here, at no cost.
 *
 *   bench_sqlite PATH RECORDS SECONDS ROWS_PER_COMMIT [--logs]
 *
 * Prints one JSON object. */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#include "gateway/base/now.h"
#include "tests/support/otlp_build.h"

enum { VARIANTS = 256 };

static void run(sqlite3 *db, const char *sql)
{
	char *message = NULL;
	if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK) {
		(void)fprintf(stderr, "%s: %s\n", sql, message);
		exit(1);
	}
}

static sqlite3 *open_table(const char *path)
{
	sqlite3 *db;
	if (sqlite3_open(path, &db) != SQLITE_OK)
		exit(1);
	run(db, "PRAGMA page_size=8192");
	run(db, "PRAGMA journal_mode=WAL");
	run(db, "PRAGMA synchronous=FULL");
	run(db, "PRAGMA secure_delete=OFF");
	run(db, "CREATE TABLE requests (id INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT");
	return db;
}

int main(int argc, char **argv)
{
	if (argc < 5)
		return 2;
	uint32_t records = (uint32_t)strtoul(argv[2], NULL, 10);
	double seconds = strtod(argv[3], NULL);
	int group = (int)strtol(argv[4], NULL, 10);
	enum signal signal = argc > 5 ? SIGNAL_LOGS : SIGNAL_TRACES;
	static struct buf bodies[VARIANTS];
	for (int i = 0; i < VARIANTS; i++) {
		buf_init(&bodies[i], SIZE_MAX, NULL);
		struct otlp_build what = { .signal = signal,
					   .records = records,
					   .seed = (uint64_t)i + 1 };
		otlp_build(&what, &bodies[i]);
	}
	sqlite3 *db = open_table(argv[1]);
	sqlite3_stmt *insert;
	if (sqlite3_prepare_v2(db, "INSERT INTO requests (body) VALUES (?1)", -1, &insert, NULL) !=
	    SQLITE_OK)
		return 1;
	int64_t start = now_mono_ns();
	int64_t end = start + (int64_t)(seconds * 1e9);
	uint64_t stored = 0;
	for (int next = 0; now_mono_ns() < end;) {
		run(db, "BEGIN IMMEDIATE");
		for (int i = 0; i < group; i++, next = (next + 1) % VARIANTS) {
			(void)sqlite3_bind_blob(insert, 1, bodies[next].p, (int)bodies[next].n,
						SQLITE_STATIC);
			if (sqlite3_step(insert) != SQLITE_DONE ||
			    sqlite3_reset(insert) != SQLITE_OK)
				return 1;
		}
		run(db, "COMMIT");
		stored += (uint64_t)group * records;
	}
	double took = (double)(now_mono_ns() - start) / 1e9;
	(void)printf(
		"{\"stored\": %lu, \"seconds\": %.3f, \"per_s\": %.0f, \"request_bytes\": %zu}\n",
		stored, took, (double)stored / took, bodies[0].n);
	(void)sqlite3_finalize(insert);
	(void)sqlite3_close(db);
	return 0;
}
