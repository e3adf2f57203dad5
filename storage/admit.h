/* storage/admit.h - does what arrives fit, and what has to go for it. For storage/group.c and the
 * background (storage/chore.c).
 * Owner: the writer thread. Needs: storage/writer_internal.h. */
#ifndef STORAGE_ADMIT_H
#define STORAGE_ADMIT_H

#include "storage/writer_internal.h"

enum { ADMIT_ALL_CLASSES = (1 << RECORD_CLASS_COUNT) - 1 };

/* The job puts something into the file; and how much. */
struct admit_need {
	int64_t pages[RECORD_CLASS_COUNT]; /* by class */
};
bool admit_is_put(const struct write_job *job);
struct admit_need admit_need_of(const struct writer *w, const struct write_job *job);

/* Before the transaction: start the log over where the group would make it too long. */
MUST_USE enum status admit_prepare(struct writer *w, const struct group *g);
/* In the transaction, before its first row: make room for the group's puts by evicting, in a
 * bounded time, and set g->admits of those for which there is none. ST_OK also then. */
MUST_USE enum status admit_group(struct writer *w, struct group *g);
/* The classes for which no room can be made, as bits. Reads only. */
unsigned admit_blocked(struct writer *w);
/* Between the groups room is kept for the next ones. */
bool admit_wants_room(const struct writer *w);
/* In the transaction: evict, until there is enough or the time is up. *ret_done: no more to do. */
MUST_USE enum status admit_make_room(struct writer *w, int64_t deadline_ns, bool *ret_done);

#endif
