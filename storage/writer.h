/* storage/writer.h - the one thread that writes: group commit, checkpoints, recovery.
 * Owner: the writer thread owns the connection; every function here may be called from any thread,
 * but writer_open, writer_destination, writer_subscribe and writer_start, which main calls in that
 * order. Needs: gateway/base, schema.
 * large file: the seam between ingest and forward, in one place. */
#ifndef STORAGE_WRITER_H
#define STORAGE_WRITER_H

#include "gateway/base/buf.h"
#include "gateway/base/channel.h"
#include "schema/vocabulary.h"

struct queue;
struct writer;

enum { DESTINATIONS_MAX = 64, TENANT_MAX = 64 };

/* The rules by which stored data may leave. All zero: nothing ever does but by delivery. */
struct writer_limits {
	int64_t max_age_ns[RECORD_CLASS_COUNT]; /* not sent and not kept past it; 0: for ever */
	bool may_evict[RECORD_CLASS_COUNT]; /* when the queue is full the oldest of the class goes
					       for new data of this or a more urgent class */
	uint64_t dead_max_bytes;            /* of dead letters; 0: no bound */
	int64_t dead_max_age_ns;            /* 0: for ever */
	int64_t vacuum_after_ns; /* give disk back that was not needed for so long; 0: the default,
				    only tests set it */
};

struct writer_options {
	const char *path;        /* the queue file; its directory is made where it is missing */
	uint64_t max_size_bytes; /* database + WAL: past it puts get ST_FULL */
	uint64_t min_free_disk_bytes; /* the same for the file system's free space */
	int64_t commit_interval_ns; /* wait this long for company before a commit; 0: natural group
				       commit */
	struct writer_limits limits;
	/* Measured choices, see docs/performance.md; 0 means the default. Only tests set them. */
	int page_size;
	size_t merge_bytes;      /* merge small requests into rows of up to this many raw bytes */
	size_t checkpoint_bytes; /* checkpoint when the WAL is this long */
	enum encoding encoding;  /* of payloads; the default is zstd */
	int level;
	bool has_encoding; /* encoding and level are set */
};

/* One class's share of a request. Everything is borrowed until the job's done. */
struct put_part {
	enum record_class class;
	uint32_t records;
	int64_t first_time_ns; /* of the data; 0: unknown */
	int64_t last_time_ns;
	struct bytes service; /* service.name of the first resource; may be empty */
	struct bytes preview;
	struct bytes
		body; /* Export*ServiceRequest, protobuf: concatenations of these are valid too */
	uint64_t destinations; /* bit i: owed to the destination of slot i (writer_destination) */
};

/* Work for the writer thread. The giver embeds it; it comes back through done, exactly once. */
struct write_job {
	struct chan_item item;
	/* Within the transaction, on the writer thread. May run again after a rollback, so it must
	 * not keep state. A CLASS_REJECT status fails this job alone and must leave nothing
	 * written; any other failure fails the whole group. */
	enum status (*apply)(struct queue *q, struct write_job *job);
	/* On the writer thread, after the fsync (ST_OK) or after a rollback. Must not block. Takes
	 * the job. */
	void (*done)(struct write_job *job, enum status st);
	int64_t given_ns; /* set by writer_give */
};

struct put_job {
	struct write_job job;
	enum signal signal;
	struct bytes tenant;
	size_t part_count;
	struct put_part parts[RECORD_CLASS_COUNT];
};

/* What became of the batches of one export (storage/queue.c has the moves). */
enum settle_outcome {
	SETTLE_DELIVERED,
	SETTLE_RETRY,
	SETTLE_DEAD,
	SETTLE_SPLIT,      /* delivered but for its parts, which are dead letters of their own */
	SETTLE_MOVED,      /* owed to another destination from now on */
	SETTLE_UNREADABLE, /* its payload is not there: lost by damage, where that is true */
	SETTLE_EXPIRED     /* past its queue.max_age: not sent */
};

enum { SETTLE_ERROR_MAX = 512, SETTLE_PARTS_MAX = 8 };

/* Records of a batch that died while the others were delivered: a batch of their own, which takes
 * everything that is not said here from the one that they were in. Borrowed until done. */
struct settle_part {
	uint32_t records;
	size_t raw_bytes;
	enum encoding encoding; /* of body */
	struct bytes body;
	int64_t first_time_ns; /* 0: as the batch's */
	int64_t last_time_ns;
	struct bytes service; /* empty: as the batch's */
	struct bytes preview;
	int status; /* as settlement's */
	const char *error;
};

struct settle_item {
	int64_t batch_id;
	enum settle_outcome outcome;
	/* SETTLE_DELIVERED, SETTLE_SPLIT: of these, refused by OTLP partial success. Others: of
	 * taken_records. */
	uint32_t rejected_records;
	/* SETTLE_DEAD, SETTLE_UNREADABLE of a payload that is missing: so many of its records were
	 * taken before, in parts. They are counted so, and the outcome is that of the rest. */
	uint32_t taken_records;
	const struct settle_part *parts; /* SETTLE_SPLIT: SETTLE_PARTS_MAX at most */
	size_t part_count;
	int64_t to_destination_id; /* SETTLE_MOVED */
};

struct settlement {
	struct write_job job; /* job.apply is set by writer_settle */
	void *owner;          /* the giver's own: the writer leaves it alone */
	int64_t destination_id;
	int64_t at_ns;                /* wall clock */
	int status;                   /* HTTP or gRPC status; 0: no answer */
	char error[SETTLE_ERROR_MAX]; /* empty for deliveries without a partial rejection */
	size_t count;
	struct settle_item items[];
};

/* The persisted state of a destination, for status and for the next start. */
enum destination_state {
	DESTINATION_UP,
	DESTINATION_BACKING_OFF,
	DESTINATION_PAUSED,
	DESTINATION_UNAUTHORIZED,
	DESTINATION_STATE_COUNT
};
const char *destination_state_text(enum destination_state s); /* as in the table's CHECK */

struct destination_update {
	struct write_job job; /* job.apply is set by writer_update_destination */
	int64_t destination_id;
	enum destination_state state;
	int64_t since_ns;           /* wall clock */
	int64_t next_attempt_at_ns; /* 0: none */
	int64_t last_success_at_ns; /* 0: keep what is stored */
	char reason[SETTLE_ERROR_MAX];
};

/* The same as the last process left it. */
struct destination_stored {
	enum destination_state state;
	int64_t since_ns;
	char reason[SETTLE_ERROR_MAX];
};

/* A value of the table settings: it outlives the process. name is static. */
struct setting_update {
	struct write_job job; /* job.apply is set by writer_save_setting */
	const char *name;
	int64_t value;
};

/* Open or make the queue file (storage/db.h has the checks), take the lock, migrate, verify, set a
 * damaged file aside and start a new one. Logs nothing: e tells. ST_CONFLICT: another gateway has
 * it. ST_UNSUPPORTED: a newer version, another application, a network file system. */
MUST_USE enum status writer_open(const struct writer_options *o, struct writer **ret,
				 struct err *e);
/* Give the named destination a slot (0, 1, ... in order of calls) and its stable row id. */
MUST_USE enum status writer_destination(struct writer *w, const char *name, const char *kind,
					int *ret_slot, int64_t *ret_id, struct err *e);
/* What waits for the slot's destination may take at most so many stored bytes; past it the oldest
 * of its least urgent class is evicted for it alone. 0: no bound of its own. Before writer_start.
 */
void writer_set_quota(struct writer *w, int slot, uint64_t max_bytes);
/* Before writer_start. ST_NOT_FOUND: no such destination. */
MUST_USE enum status writer_destination_stored(struct writer *w, int64_t id,
					       struct destination_stored *ret);
/* Ring `chan` after each commit that stored something for the slot. chan must outlive the writer.
 */
void writer_subscribe(struct writer *w, int slot, struct chan *chan);
/* Ring `chan` after each commit that wrote rows of the loss ledger. As writer_subscribe. */
void writer_watch_losses(struct writer *w, struct chan *chan);
/* How often somebody replayed, purged or moved deliveries of the slot since the start
 * (storage/redrive.h), or the file was replaced by a new one. Who has claimed some reads them again
 * where it differs; each time the slot's subscriber is rung. */
uint64_t writer_changes(struct writer *w, int slot);
MUST_USE enum status writer_start(struct writer *w, struct err *e);
/* Fail what waits with ST_STOPPING, checkpoint, close, join. Give nothing after this. Accepts NULL.
 */
void writer_stop(struct writer *w);

/* These five take the job; done gives it back. Never block, never fail: failures come through done.
 */
void writer_put(struct writer *w, struct put_job *put);
void writer_settle(struct writer *w, struct settlement *s);
void writer_update_destination(struct writer *w, struct destination_update *u);
void writer_save_setting(struct writer *w, struct setting_update *u);
void writer_give(struct writer *w, struct write_job *job);

/* What the queue would say to a put at this moment: ST_OK, ST_FULL, ST_NO_SPACE, ST_UNAVAILABLE,
 * ST_STOPPING. Admission asks it before it spends work on a request. */
enum status writer_state(struct writer *w);
/* A file was found damaged and its salvage is not done. */
bool writer_is_degraded(struct writer *w);
/* writer_limits.max_age_ns of the class. */
int64_t writer_max_age_ns(const struct writer *w, enum record_class class);
const char *writer_path(const struct writer *w);
/* A reader found the file damaged (claim_list gave ST_CORRUPT; for claim_body it is one batch
 * only). The writer verifies it, and sets it aside where that is true. */
void writer_suspect(struct writer *w);
/* Deliveries of the unrouted slot whose (signal, class) has destinations now are moved to them,
 * in the background and in slices. slots[s][c]: bit i is slot i. Call before or after writer_start,
 * when all slots are given. */
void writer_reroute(struct writer *w, int unrouted_slot,
		    const uint64_t slots[SIGNAL_COUNT][RECORD_CLASS_COUNT]);

#endif
