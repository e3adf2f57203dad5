/* forward/export_size.h - how large exports may be: what a 413 teaches, and how it is unlearned.
 * A value without clock. Owner: whoever holds the struct. Needs: nothing. */
#ifndef FORWARD_EXPORT_SIZE_H
#define FORWARD_EXPORT_SIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct export_size {
	size_t most;     /* as configured */
	size_t now;      /* raw bytes of one export, at most */
	int64_t wait_ns; /* from a refusal to the next try of a larger one */
	int64_t due_ns;  /* mono: not before */
	bool has_grown;  /* since the last refusal */
};

void export_size_init(struct export_size *s, size_t most);
/* An export of so many raw bytes, at least twice EXPORT_SIZE_MIN, is too large for the backend.
 * True: s->now is smaller from now on. False: it is already, for the export was begun before. */
bool export_size_refused(struct export_size *s, size_t raw_bytes, int64_t now);
/* One was taken. True: s->now is larger from now on. */
bool export_size_taken(struct export_size *s, size_t raw_bytes, int64_t now);
/* Nobody refuses less for its size. */
enum { EXPORT_SIZE_MIN = 64 * 1024 };

#endif
