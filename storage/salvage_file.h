/* storage/salvage_file.h - reads what can be read of a damaged queue file. Writes nothing to it.
 * Owner: one thread. Needs: storage/stmt.h, gateway/base. */
#ifndef STORAGE_SALVAGE_FILE_H
#define STORAGE_SALVAGE_FILE_H

#include <stdatomic.h>

#include "schema/vocabulary.h"
#include "storage/stmt.h"

struct salvage_file;

enum {
	SALVAGE_OWED_MAX = 80,
	SALVAGE_NAME_MAX = 256,
	SALVAGE_PATH_MAX = 4096,
	SALVAGE_BOOT_MAX = 64
};

/* No queue has ids or counts of records and bytes as large as these: one that is was read from
 * damage, and is not taken over. Whatever is added to one that was taken stays within its type: a
 * sum that does not would fail each commit that it is part of. */
#define SALVAGE_ID_LIMIT    (INT64_C(1) << 55) /* storage/inspect_dead.c counts on it */
#define SALVAGE_COUNT_LIMIT (INT64_C(1) << 50)

/* When something happened. The numbers of boots are the damaged file's own, so they go by name. */
struct salvage_moment {
	int64_t at_ns; /* wall clock, as that file had corrected it; 0: NULL */
	int64_t mono_ns;
	char boot[SALVAGE_BOOT_MAX]; /* "": not known */
};

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
	struct salvage_moment last_attempt;
	int64_t last_status; /* 0: NULL */
	struct salvage_text last_error;
};

struct salvage_batch {
	int64_t id; /* of the damaged file */
	struct salvage_moment received;
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

/* For storage/salvage_tables.c and storage/inherit.c. */
sqlite3 *salvage_file_db(struct salvage_file *f);
/* A file of version 1 has neither boots nor settings. */
bool salvage_file_is_first_version(const struct salvage_file *f);
/* The largest batch id that shows anywhere; 0: none does. */
int64_t salvage_file_last_id(const struct salvage_file *f);
/* at_ns, by the row of boots where it can be read. boot 0: none. */
void salvage_file_moment(const struct salvage_file *f, int64_t at_ns, int64_t boot, int64_t mono_ns,
			 struct salvage_moment *ret);
/* A word of a closed set: its index, or -1. */
int salvage_file_signal(struct bytes word);
struct bytes salvage_file_column(sqlite3_stmt *s, int i);

#endif
