/* storage/claim.h - what a destination is owed, in the order to send it, on a read-only connection.
 * Owner: one thread per struct claim_reader. Needs: gateway/base, schema. */
#ifndef STORAGE_CLAIM_H
#define STORAGE_CLAIM_H

#include "gateway/base/buf.h"
#include "schema/vocabulary.h"

struct claim_reader;

/* One ready delivery. */
struct claim {
	int64_t batch_id;
	int priority;
	enum record_class class;
	enum signal signal;
	enum encoding encoding;
	uint32_t records;       /* owed */
	uint32_t batch_records; /* of the payload: more, where some were delivered before */
	uint32_t crc;
	int attempts;
	int64_t destination_id;
	int64_t received_at_ns;   /* by the corrected wall clock */
	int64_t received_boot_ns; /* at the latest, by now_boot_ns: may be before this boot */
	int64_t first_time_ns;    /* of the data; 0: unknown */
	int64_t last_time_ns;
	size_t raw_bytes;
	size_t stored_bytes;
};

MUST_USE enum status claim_reader_open(const char *path, struct claim_reader **ret, struct err *e);
void claim_reader_close(struct claim_reader *r);

/* The time of day that it is at least, as storage/boot.h believes: a wall clock that jumped forward
 * does not move it. 0: not known, for the clock was never set, or nothing was listed yet. */
int64_t claim_wall_ns(const struct claim_reader *r);

/* Up to max ready deliveries of the destination behind (after_priority, after_batch_id), ordered by
 * (priority, batch id); (-1, 0) starts at the front. Sees everything committed before the call.
 * Short read transaction: never starves a checkpoint. *ret_count 0: nothing more. */
MUST_USE enum status claim_list(struct claim_reader *r, int64_t destination_id, int after_priority,
				int64_t after_batch_id, struct claim *ret, size_t max,
				size_t *ret_count, struct err *e);
/* The same from the other end: up to max ready deliveries of one priority with a batch id above
 * after_batch_id and below before_batch_id, the newest first. */
MUST_USE enum status claim_list_newest(struct claim_reader *r, int64_t destination_id, int priority,
				       int64_t after_batch_id, int64_t before_batch_id,
				       struct claim *ret, size_t max, size_t *ret_count,
				       struct err *e);
/* Appends the payload as stored (claim.encoding). ST_CORRUPT: its checksum differs or it cannot be
 * read. ST_NOT_FOUND: the delivery is gone, or not ready any more. */
MUST_USE enum status claim_body(struct claim_reader *r, const struct claim *c, struct buf *out,
				struct err *e);

#endif
