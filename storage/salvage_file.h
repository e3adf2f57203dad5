/* storage/salvage_file.h - reads what can be read of a damaged queue file. Writes nothing to it.
 * Owner: one thread. Needs: storage/stmt.h, gateway/base. */
#ifndef STORAGE_SALVAGE_FILE_H
#define STORAGE_SALVAGE_FILE_H

#include <stdatomic.h>

#include "gateway/base/buf.h"
#include "schema/vocabulary.h"

struct salvage_file;

enum { SALVAGE_OWED_MAX = 80, SALVAGE_NAME_MAX = 256, SALVAGE_PATH_MAX = 4096 };

/* A stretch of the buf that a batch was read into. */
struct salvage_text {
	size_t at;
	size_t n;
};

struct salvage_owed {
	int64_t destination_id; /* of the damaged file; 0: it cannot be told any more */
	bool is_dead;
	int64_t records;
	int64_t attempts;
	int64_t last_attempt_at; /* 0: NULL */
	int64_t last_status;     /* 0: NULL */
	struct salvage_text last_error;
};

struct salvage_batch {
	int64_t id; /* of the damaged file */
	int64_t received_at;
	enum signal signal;
	enum record_class class;
	enum encoding encoding;
	int64_t requests;
	int64_t records;
	int64_t raw_bytes;
	int64_t stored_bytes;
	int64_t first_time; /* 0: NULL */
	int64_t last_time;
	uint32_t crc;
	struct salvage_text tenant;
	struct salvage_text service;
	struct salvage_text preview;
	struct salvage_text body;
	bool has_body; /* it was read, and its checksum is right */
	size_t owed_count;
	struct salvage_owed owed[SALVAGE_OWED_MAX];
};

/* Open for reading. stop ends long searches when it becomes true. ST_CORRUPT: nothing of it can be
 * read. Others: the system is in the way (no memory, no descriptors), try again. */
MUST_USE enum status salvage_file_open(const char *path, const atomic_bool *stop,
				       struct salvage_file **ret, struct err *e);
void salvage_file_close(struct salvage_file *f);
/* The first readable batch with an id of from or above. out is cleared, then holds its texts, and
 * its body with_body. ST_END: no more. ST_STOPPING. ST_BUSY, ST_TOO_LARGE: from out. */
MUST_USE enum status salvage_file_next(struct salvage_file *f, int64_t from, bool with_body,
				       struct buf *out, struct salvage_batch *ret);
/* The destination's name and kind. ST_NOT_FOUND: cannot be read. */
MUST_USE enum status salvage_file_destination(struct salvage_file *f, int64_t id,
					      char name[SALVAGE_NAME_MAX],
					      char kind[SALVAGE_NAME_MAX]);

/* What was still owed to a destination by the file's own totals. */
struct salvage_total {
	int64_t destination_id;
	enum signal signal;
	int64_t records;
};

/* All of them. ST_CORRUPT: the totals cannot be read in full. */
MUST_USE enum status salvage_file_totals(struct salvage_file *f, struct salvage_total *ret,
					 size_t max, size_t *ret_count);

/* A row of its own table `salvages`: of a file that had been set aside before it. */
struct salvage_past {
	char path[SALVAGE_PATH_MAX];
	bool is_done;
	int64_t next_id;
	int64_t batches;
	int64_t records;
	int64_t finished_at; /* 0: NULL */
};

/* As many as can be read, up to max. */
void salvage_file_past(struct salvage_file *f, struct salvage_past *ret, size_t max,
		       size_t *ret_count);

#endif
