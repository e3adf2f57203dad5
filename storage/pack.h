/* storage/pack.h - merges the puts that wait together into rows, compressed and ready to insert.
 * Owner: struct pack belongs to the packer thread; a struct packed to whoever holds it (packer.h).
 * Needs: storage/queue.h, gateway/base. */
#ifndef STORAGE_PACK_H
#define STORAGE_PACK_H

#include "storage/queue.h"

enum { PACK_MERGE_BYTES = 512 * 1024, PACK_WORDS_MAX = 256, PACKED_ROWS_MAX = 512 };

/* How payloads are compressed. */
struct pack_compression {
	enum encoding encoding;
	int level;
	int busy_level; /* where more waits than can be packed at leisure */
};

/* Figures in docs/performance.md: zstd 1 stores least for its time; -5 takes 60 % of the time and
 * stores a fifth more, which is right for as long as more comes than can be compressed. */
enum { PACK_LEVEL = 1, PACK_BUSY_LEVEL = -5 };

struct pack;

struct packed_row {
	struct queue_batch batch; /* its body is made by packed_insert: out may move until then */
	uint64_t destinations;
	size_t offset; /* of the body in out */
	size_t length;
};

/* Rows made of whole puts. As a write_job it inserts them; one transaction may run it again. */
struct packed {
	struct write_job job; /* first member */
	void *owner;
	const struct pack *pack;
	struct chan_item *puts; /* in order; borrowed by the rows until the job is done */
	size_t put_count;
	size_t raw_bytes;
	size_t stored_bytes;
	uint64_t slots; /* bit i: something for slot i */
	struct buf out;
	size_t row_count;
	struct packed_row rows[PACKED_ROWS_MAX];
};

/* merge_bytes: close a row at so many raw bytes. A larger body is a row of its own. */
struct pack *pack_new(size_t merge_bytes, const struct pack_compression *compression);
void pack_free(struct pack *p);
/* Slot i is the destination with this id. Before any put names it. */
void pack_set_slot(struct pack *p, int slot, int64_t destination_id);

struct packed *packed_new(const struct pack *p);
void packed_free(struct packed *packed);
/* Forget the rows, and give back more memory than most need. */
void packed_empty(struct packed *packed);

/* Forget what is open and what *out holds, and go on in *out, at the busy level or the other. */
void pack_begin(struct pack *p, struct packed *out, bool is_busy);
/* Another put may be added. */
bool pack_has_room(const struct pack *p);
/* Take the parts of one put, borrowed until the packed's job is done. A CLASS_REJECT status: the
 * put is at fault, nothing of it was taken. Any other: the packed is of no use. */
MUST_USE enum status pack_add(struct pack *p, const struct put_job *put);
/* Finish the open rows. Any failure: the packed is of no use. */
MUST_USE enum status pack_flush(struct pack *p);

/* Insert the rows, within a transaction. Any failure: roll back. */
MUST_USE enum status packed_insert(const struct packed *packed, struct queue *q);

#endif
