/* storage/inspect.h - looking into a queue file: beside a live gateway, or when none runs.
 * Owner: one thread per struct inspect. Needs: gateway/base, schema.
 * Reads only, in short transactions that a time limit ends: a look never starves a checkpoint.
 * large file: the rows that the API, the command line and the metrics show, one struct each. */
#ifndef STORAGE_INSPECT_H
#define STORAGE_INSPECT_H

#include "gateway/base/buf.h"
#include "schema/vocabulary.h"

struct inspect;

/* limit_ns: how long one call may read; past it the call ends with ST_TIMEOUT. ST_NOT_FOUND: no
 * such file. ST_UNSUPPORTED: not a queue of this version. ST_CORRUPT: damaged. e says what to do.
 */
MUST_USE enum status inspect_open(const char *path, int64_t limit_ns, struct inspect **ret,
				  struct err *e);
void inspect_close(struct inspect *in); /* accepts NULL */

/* The version of SQLite that is linked. Static storage. */
const char *inspect_engine_version(void);

struct inspect_file {
	int64_t page_bytes;
	int64_t pages;
	int64_t free_pages;
	int64_t wal_bytes;
	int version; /* of the schema */
};
MUST_USE enum status inspect_file(struct inspect *in, struct inspect_file *ret, struct err *e);

struct inspect_count {
	int64_t batches;
	int64_t records;
	int64_t bytes; /* as stored */
};

struct inspect_destination {
	int64_t id;
	char *name;
	char *kind;
	char *state;
	char *reason; /* NULL: none */
	bool is_configured;
	int64_t state_since_ns;
	int64_t next_attempt_at_ns; /* 0: none; the same below */
	int64_t last_success_at_ns;
	int64_t oldest_at_ns; /* when the oldest ready batch was received */
	struct inspect_count ready[SIGNAL_COUNT];
	struct inspect_count dead[SIGNAL_COUNT];
	int64_t totals[SIGNAL_COUNT][OUTCOME_COUNT];
};

/* Every destination, from one snapshot. Where the queue is too long to be counted within the limit,
 * is_estimate is set: ready[].records then follows from the totals, ready[].bytes from a sample,
 * and ready[].batches is -1. Release with inspect_shape_done. */
struct inspect_shape {
	struct inspect_destination *items;
	size_t count;
	bool is_estimate;
};
MUST_USE enum status inspect_shape(struct inspect *in, struct inspect_shape *ret, struct err *e);
void inspect_shape_done(struct inspect_shape *s);
/* accepted - (delivered + ready + dead + ...): 0, or records went missing. Means nothing where the
 * shape is an estimate. */
int64_t inspect_difference(const struct inspect_destination *d, enum signal s);

/* Strings handed to callbacks are borrowed until the callback returns; NULL where the column is. */
struct inspect_batch {
	int64_t id;
	int64_t received_at_ns;
	const char *signal;
	const char *tenant;
	const char *class;
	const char *encoding;
	const char *service;
	const char *preview;
	int64_t requests;
	int64_t records;
	int64_t raw_bytes;
	int64_t stored_bytes;
	int64_t first_time_ns; /* 0: unknown */
	int64_t last_time_ns;
};
struct inspect_delivery {
	const char *destination;
	const char *state;
	int64_t records; /* still owed */
	int64_t attempts;
	int64_t last_attempt_at_ns; /* 0: none */
	int last_status;            /* 0: none */
	const char *last_error;
};
struct inspect_visitor {
	void (*batch)(void *ctx, const struct inspect_batch *b);
	void (*delivery)(void *ctx, const struct inspect_delivery *d); /* of the last batch */
	void *ctx;
};

/* What a list holds: a batch with at least one delivery of that state and destination. */
struct inspect_filter {
	int64_t after_id; /* the cursor: batches behind it, in order of their ids */
	int limit;        /* 1 .. INSPECT_PAGE_MAX */
	const char *state;
	const char *destination;
	const char *signal; /* NULL: any; the same above and below */
	const char *class;
	const char *service;
	int64_t received_from_ns; /* inclusive; 0: no bound */
	int64_t received_to_ns;
};
enum { INSPECT_PAGE_MAX = 500 };

/* *ret_next: the cursor for the next page, 0: this was the last. A page may be short, even empty,
 * while *ret_next is set: the limit ended the search there. ST_NOT_FOUND: no such destination. */
MUST_USE enum status inspect_batches(struct inspect *in, const struct inspect_filter *f,
				     const struct inspect_visitor *v, int64_t *ret_next,
				     struct err *e);
/* One batch; where body is given its payload as stored is appended. ST_CORRUPT: the payload's
 * checksum differs, or it is missing; the batch was visited. ST_TOO_LARGE, ST_BUSY: from body.
 * ret_encoding (NULL where body is) says how it is compressed. */
MUST_USE enum status inspect_batch(struct inspect *in, int64_t id, const struct inspect_visitor *v,
				   struct buf *body, enum encoding *ret_encoding,
				   enum signal *ret_signal, struct err *e);

struct inspect_balance {
	const char *destination;
	const char *signal;
	int64_t totals[OUTCOME_COUNT];
	int64_t queued;
	int64_t dead;
	int64_t difference;
};
/* The rows of the balance view: the books as the file itself computes them. */
MUST_USE enum status inspect_balance(struct inspect *in,
				     void (*row)(void *ctx, const struct inspect_balance *b),
				     void *ctx, struct err *e);

struct inspect_loss {
	int64_t id;
	int64_t at_ns;    /* as the clock of its boot was corrected to */
	bool is_at_known; /* that clock was believable, or has become so */
	const char *destination;
	const char *signal;
	const char *class;
	const char *reason;
	const char *detail;
	int64_t records;
	int64_t bytes;
	int64_t first_time_ns; /* 0: unknown */
	int64_t last_time_ns;
};
/* The ledger, newest first: up to limit losses older than before_id (0: from the newest). */
MUST_USE enum status inspect_losses(struct inspect *in, int64_t before_id, int limit,
				    void (*row)(void *ctx, const struct inspect_loss *l), void *ctx,
				    int64_t *ret_next, struct err *e);
/* Up to limit losses behind after_id, oldest first: the other way round. */
MUST_USE enum status inspect_losses_behind(struct inspect *in, int64_t after_id, int limit,
					   void (*row)(void *ctx, const struct inspect_loss *l),
					   void *ctx, struct err *e);
/* The time of day as storage/boot.h believes it; 0: the clock was never set. */
MUST_USE enum status inspect_wall(struct inspect *in, int64_t *ret_ns, struct err *e);
/* A value of the table settings; 0 where it is not there. */
MUST_USE enum status inspect_setting(struct inspect *in, const char *name, int64_t *ret,
				     struct err *e);
/* Records lost in ledger rows behind *after_id, summed by destination, signal and reason (the other
 * fields are not set); *after_id moves to the newest row. */
MUST_USE enum status inspect_loss_sums(struct inspect *in, int64_t *after_id,
				       void (*row)(void *ctx, const struct inspect_loss *l),
				       void *ctx, struct err *e);

struct inspect_salvage {
	const char *path;
	const char *reason;
	const char *state;
	int64_t found_at_ns;
	int64_t batches;
	int64_t records;
	int64_t finished_at_ns; /* 0: not yet */
};
/* Damaged files that were set aside, newest first, the last hundred. */
MUST_USE enum status inspect_salvages(struct inspect *in,
				      void (*row)(void *ctx, const struct inspect_salvage *s),
				      void *ctx, struct err *e);

#endif
