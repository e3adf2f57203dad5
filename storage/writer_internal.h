/* storage/writer_internal.h - the writer's struct, for storage/writer.c and storage/group.c.
 * Owner: the writer thread, but for the atomics and the channel. Needs: storage/. */
#ifndef STORAGE_WRITER_INTERNAL_H
#define STORAGE_WRITER_INTERNAL_H

#include <stdatomic.h>

#include "gateway/base/metrics.h"
#include "storage/chore.h"
#include "storage/counting_vfs.h"
#include "storage/packer.h"
#include "storage/space.h"
#include "storage/store.h"

enum {
	GROUP_JOBS_MAX = 2048,
	GROUP_BYTES_MAX = 4 << 20, /* past it the next group begins: keeps the latency short */
};

/* The jobs of one transaction, in order, and what became of each. */
struct group {
	size_t count;
	struct write_job *jobs[GROUP_JOBS_MAX];
	enum status admits[GROUP_JOBS_MAX]; /* of a put: why there is no room for it */
	enum status results[GROUP_JOBS_MAX];
};

enum queue_state_metric { STATE_OK, STATE_FULL, STATE_RECOVERING, STATE_DEGRADED, STATE_COUNT };

struct writer_metrics {
	struct series *commit_seconds;
	struct series *commits_ok;
	struct series *commits_failed;
	struct series *checkpoint_seconds;
	struct series *wal_bytes;
	struct series *db_bytes;
	struct series *free_bytes;
	struct series *disk_free_bytes;
	struct series *written[COUNTING_FILE_COUNT];
	struct series *stored_bytes;
	struct series *received_bytes;
	struct series *ignored;
	struct series *vacuumed_bytes;
	struct series *states[STATE_COUNT];
};

struct writer {
	struct chan chan;
	_Atomic int state;        /* enum status, for writer_state */
	_Atomic unsigned blocked; /* bit c: no room can be made for puts of class c */
	atomic_bool is_degraded;
	atomic_bool is_suspect;
	atomic_bool is_stopping;
	_Atomic uint64_t changes[DESTINATIONS_MAX]; /* writer_changes */
	bool is_started;
	pthread_t thread;
	int lock_fd;
	const char *note; /* about the file system; may be NULL */
	int64_t commit_interval_ns;
	struct writer_limits limits;
	struct chan *subscribers[DESTINATIONS_MAX];
	struct chan *losses; /* writer_watch_losses; may be NULL */
	struct writer_metrics metrics;

	/* the writer thread's own */
	struct store store;
	struct space space;
	struct chore chore;
	struct pack *pack; /* the packer's, once it is started */
	struct packer *packer;
	struct group group;
	struct chan_item *pending; /* taken from the channel, in order */
	struct chan_item **pending_end;
	struct chan_item *delayed; /* reroutes that wait for better times */
	enum status refused; /* what the last group's commit found: ST_FULL, ST_NO_SPACE or ST_OK */
	bool is_recovering;
	enum status cause; /* of the recovery */
	int64_t recover_at_ns;
	int64_t backoff_ns;
	int64_t measured_at_ns;
	int64_t last_group_ns;
	bool is_truncated; /* since the last group */
};

/* Run the group in one transaction, and complete every job of it. Returns what went wrong with the
 * transaction, in w->store.queue.err's words: ST_IO and ST_CORRUPT call for recovery. */
enum status group_run(struct writer *w, struct group *g);
/* Complete every job with st, without a transaction. */
void group_fail(struct group *g, enum status st);
/* On the writer's thread: deliveries of the destination were changed by hand, and it is committed.
 */
void writer_changed(struct writer *w, int64_t destination_id);
/* As writer_give, for a job that has waited since given_ns already. */
void writer_give_as_of(struct writer *w, struct write_job *job, int64_t given_ns);

#endif
