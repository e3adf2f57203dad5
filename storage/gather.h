/* storage/gather.h - small writes that follow each other become one.
 * Owner: the connection of the file. Needs: sqlite3. */
#ifndef STORAGE_GATHER_H
#define STORAGE_GATHER_H

#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

/* Bytes of one file that were taken and not yet written. Starts zeroed. */
struct gather {
	uint8_t *p; /* of GATHER_BYTES; made at the first write */
	size_t n;
	sqlite3_int64 offset; /* of the first of them in the file */
};

/* SQLite's unix VFS cuts the length of a write to its lower 17 bits: 128 KiB would be nothing. */
enum { GATHER_BYTES = 124 * 1024 };

/* Take a write, and write what must be written for it. An SQLite result code: of this write or of
 * those before it, in which case all of them are forgotten. Borrows p. */
int gather_write(struct gather *g, sqlite3_file *file, const void *p, int n, sqlite3_int64 offset);
/* Write what was taken. The same codes. */
int gather_flush(struct gather *g, sqlite3_file *file);
/* Forgets what was taken and not written. */
void gather_done(struct gather *g);

#endif
