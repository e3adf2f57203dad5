/* storage/pack.h - merges the puts of one transaction into rows, compresses and inserts them.
 * Owner: the writer thread. Needs: storage/queue.h, gateway/base. */
#ifndef STORAGE_PACK_H
#define STORAGE_PACK_H

#include "storage/queue.h"

enum { PACK_MERGE_BYTES = 256 * 1024, PACK_WORDS_MAX = 256 };

/* How payloads are compressed. */
struct pack_compression {
	enum encoding encoding;
	int level;
	int busy_level; /* where a transaction has PACK_BUSY_BYTES or more to store */
};

/* Figures in docs/performance.md: zstd 1 stores least for its time; -5 takes 60 % of the time and
 * stores a fifth more, which is right for as long as more comes than can be compressed. */
enum { PACK_LEVEL = 1, PACK_BUSY_LEVEL = -5, PACK_BUSY_BYTES = 1 << 20 };

struct pack;

/* What the open transaction stored so far. */
struct pack_stats {
	uint64_t rows;
	uint64_t raw_bytes;
	uint64_t stored_bytes;
	uint64_t slots; /* bit i: something for slot i */
};

/* merge_bytes: close a row at so many raw bytes. A larger body is a row of its own. */
struct pack *pack_new(size_t merge_bytes, const struct pack_compression *compression);
void pack_free(struct pack *p);
/* Slot i is the destination with this id. Before any put names it. */
void pack_set_slot(struct pack *p, int slot, int64_t destination_id);
/* Forget what is open, at the start of a transaction and after a rollback. bytes: what the puts of
 * the transaction hold. */
void pack_begin(struct pack *p, size_t bytes);
/* Take the parts of one put into the open rows; inserts rows that are full. Borrows the put until
 * pack_flush or pack_begin. A CLASS_REJECT status: the put is at fault, nothing of it was taken.
 * Any other: the transaction must be rolled back. */
MUST_USE enum status pack_add(struct pack *p, struct queue *q, const struct put_job *put);
/* Insert what is open. Any failure: roll back. */
MUST_USE enum status pack_flush(struct pack *p, struct queue *q);
const struct pack_stats *pack_stats(const struct pack *p);

#endif
