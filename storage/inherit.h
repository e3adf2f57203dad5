/* storage/inherit.h - what a new queue file takes over at once from the damaged one that it
 * follows. For storage/ only. Owner: the writer thread (main before writer_start), in its
 * transaction. Needs: storage/queue.h. */
#ifndef STORAGE_INHERIT_H
#define STORAGE_INHERIT_H

#include <limits.h>

#include "storage/queue.h"

/* For the log. */
struct inherited {
	bool is_news;
	char path[PATH_MAX];
	size_t paused;
	size_t usage_rows;
	size_t boots;
	char missing[80]; /* what could not be read in full, in words; "": nothing */
};

/* Into the empty file of q: boots, what operators paused, the uplinks' usage, and ids that go on
 * above those of the file at path. Not readable: ret->missing says what. Fails only where q cannot
 * be written. acked_id: the last batch that was acknowledged, 0: not known. */
MUST_USE enum status inherit_take(struct queue *q, const char *path, int64_t acked_id,
				  struct inherited *ret);

#endif
