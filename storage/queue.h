/* storage/queue.h - the rows of the queue: insert, settle, reroute, count. Row operations only:
 * transactions belong to storage/writer.c.
 * Owner: the writer thread, within its transaction (or main before writer_start). Needs:
 * storage/writer.h, gateway/base, schema.
 * large file: every row operation of the queue, for its one caller. */
#ifndef STORAGE_QUEUE_H
#define STORAGE_QUEUE_H

#include "storage/boot.h"
#include "storage/gone.h"
#include "storage/stmt.h"
#include "storage/writer.h"

enum { QUEUE_STATEMENTS_MAX = 80, QUEUE_TOTALS_MAX = 256, QUEUE_LOSSES_MAX = 64 };

struct queue_total {
	int64_t destination_id;
	enum signal signal;
	enum outcome outcome;
	int64_t records;
};

/* Records of one kind that were let go in the open transaction (storage/depart.c). */
struct queue_departed {
	int64_t destination_id;
	enum signal signal;
	enum record_class class;
	enum outcome outcome;
	const char *why; /* borrowed until the commit */
	int64_t records;
	int64_t bytes;
	int64_t first_time_ns; /* 0: unknown */
	int64_t last_time_ns;
};

struct queue {
	sqlite3 *db;
	struct boot boot;   /* new batches are of it; id 0: not registered */
	struct err err;     /* the words of the last failure */
	bool has_losses;    /* rows for the ledger, in the open transaction */
	uint64_t ignored;   /* settlement items of deliveries that were not there, or not ready */
	int64_t last_id;    /* of the last batch that was inserted, committed or not */
	bool has_moved;     /* something is owed to another destination now: it should be rung */
	struct gone gone;   /* what left since the file was opened */
	size_t total_count; /* private below: what the open transaction adds to `totals` */
	struct queue_total totals[QUEUE_TOTALS_MAX];
	size_t departed_count;
	struct queue_departed departed[QUEUE_LOSSES_MAX];
	sqlite3_stmt *statements[QUEUE_STATEMENTS_MAX];
};

/* A batch as it is stored. Everything is borrowed. */
struct queue_batch {
	int64_t received_at_ns;
	int64_t received_mono_ns; /* now_boot_ns() of this boot; 0: unknown */
	enum signal signal;
	enum record_class class;
	struct bytes tenant;
	uint32_t requests;
	uint32_t records;
	size_t raw_bytes;
	enum encoding encoding;
	uint32_t crc; /* of body, zlib's crc32 */
	struct bytes service;
	int64_t first_time_ns; /* 0: unknown */
	int64_t last_time_ns;
	struct bytes preview;
	struct bytes body;
};

/* Borrows db until queue_done. Statements are prepared at their first use. */
void queue_init(struct queue *q, sqlite3 *db);
void queue_done(struct queue *q);

/* Only storage/writer.c calls these: its order of commit and completion is the promise. */
MUST_USE enum status queue_begin(struct queue *q);
MUST_USE enum status queue_commit(struct queue *q); /* writes the totals first */
void queue_rollback(struct queue *q);
bool queue_is_open(const struct queue *q);    /* a transaction is */
int64_t queue_changes(const struct queue *q); /* rows that were changed, since it was opened */

/* Store one batch, owed to the destinations, and count it as accepted for each. */
MUST_USE enum status queue_insert(struct queue *q, const struct queue_batch *b,
				  const int64_t *destination_ids, size_t count, int64_t *ret_id);
/* Record the outcomes of one export. Items whose delivery is not there or not ready are skipped
 * and counted in q->ignored: a settlement that came twice changes nothing. */
MUST_USE enum status queue_settle(struct queue *q, const struct settlement *s);
/* ST_NOT_FOUND: no such destination. */
MUST_USE enum status queue_update_destination(struct queue *q, const struct destination_update *u);
/* The same for reading. */
MUST_USE enum status queue_stored_destination(struct queue *q, int64_t id,
					      struct destination_stored *ret);

/* Find or make the destination by name; id 0 lets the queue choose. One that is not configured
 * takes nothing from a row that is. */
MUST_USE enum status queue_destination(struct queue *q, const char *name, const char *kind,
				       int64_t id, bool is_configured, int64_t *ret_id);
/* Every destination but these counts as not configured. */
MUST_USE enum status queue_set_configured(struct queue *q, const int64_t *ids, size_t count);

/* Move ready deliveries of from_id behind *cursor to destinations: ids[signal][class], a list ended
 * by 0; an empty list leaves the delivery. The accepted counts move along. At most `max` are looked
 * at; *ret_next is where to go on, *ret_count how many were looked at. */
struct queue_cursor {
	int priority;
	int64_t batch_id;
};
struct queue_routes {
	int64_t ids[SIGNAL_COUNT][RECORD_CLASS_COUNT][DESTINATIONS_MAX + 1];
};
enum { QUEUE_REROUTE_MAX = 256 };
MUST_USE enum status queue_reroute(struct queue *q, int64_t from_id, const struct queue_routes *r,
				   struct queue_cursor cursor, struct queue_cursor *ret_next,
				   size_t *ret_count);

/* Add to `totals` in this transaction. */
MUST_USE enum status queue_count(struct queue *q, int64_t destination_id, enum signal signal,
				 enum outcome outcome, int64_t records);
/* A row of the loss ledger, as of now, with an id above all that were given out or reported. The
 * caller counts the outcome in `totals` itself. */
struct queue_loss {
	int64_t destination_id;
	const char *signal;
	const char *class;
	const char *reason;
	int64_t records;
	int64_t bytes;
	int64_t first_time_ns;
	int64_t last_time_ns;
	struct bytes detail;
};
MUST_USE enum status queue_lose(struct queue *q, const struct queue_loss *l);

/* A row of `settings`: a value that outlives the process. */
MUST_USE enum status queue_save_setting(struct queue *q, const char *name, int64_t value);
/* A row of `salvages` for a file that was set aside at found_at. */
MUST_USE enum status queue_add_salvage(struct queue *q, const char *path, int64_t found_at_ns,
				       const char *reason);
/* Some salvage is not done. */
MUST_USE enum status queue_has_salvage(struct queue *q, bool *ret);
/* The next batch's id will be above this one. */
MUST_USE enum status queue_skip_ids(struct queue *q, int64_t id);
MUST_USE enum status queue_highest_id(struct queue *q, int64_t *ret); /* ever given out */
MUST_USE enum status queue_pages(struct queue *q, int64_t *ret_count, int64_t *ret_free);

/* By schema/delivery_states.def. */
bool queue_may_move(enum delivery_state from, enum delivery_state to);

#endif
