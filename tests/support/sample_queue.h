/* sample_queue.h - queue files with known content, made with SQLite alone, for what only reads
 * them. Owner: tests. Needs: storage/migrations, sqlite3. */
#ifndef TESTS_SUPPORT_SAMPLE_QUEUE_H
#define TESTS_SUPPORT_SAMPLE_QUEUE_H

#include <sqlite3.h>

#include "gateway/base/buf.h"

/* A directory of its own below $TMPDIR, and the path of queue.db in it. */
struct sample_queue {
	char dir[256];
	char path[300];
	sqlite3 *db; /* open read-write, in WAL mode, until sample_queue_close */
};

/* Makes the file with the schema of this build and the destinations central (1, up), logs (2,
 * backing off) and (unrouted) (3). */
void sample_queue_make(struct sample_queue *q);
/* Runs SQL, with a printf format of sqlite3_mprintf. */
void sample_queue_run(struct sample_queue *q, const char *fmt, ...);
/* One batch with this payload (stored as it is), owed to `destination` in `state`, and counted as
 * accepted. Returns its id. */
int64_t sample_queue_add(struct sample_queue *q, const char *signal, const char *class,
			 int destination, const char *state, struct bytes body, int records,
			 int64_t received_at_ns);
/* The last close of the file: checkpoints it. */
void sample_queue_close(struct sample_queue *q);
/* Closes, and removes the file and its directory. */
void sample_queue_remove(struct sample_queue *q);

#endif
