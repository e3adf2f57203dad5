/* storage/chore.h - what the queue does on its own, in small steps beside the groups: expire,
 * evict, give disk back, fold the ledger, watch the clocks. For storage/writer.c only. Owner: the
 * writer thread. Needs: storage/{bounds,vacuum}.h. */
#ifndef STORAGE_CHORE_H
#define STORAGE_CHORE_H

#include "storage/bounds.h"
#include "storage/vacuum.h"

struct writer;

enum {
	CHORE_ROOM,
	CHORE_EXPIRE,
	CHORE_BOUNDS,
	CHORE_VACUUM,
	CHORE_LEDGER,
	CHORE_BOOT,
	CHORE_COUNT
};

/* Private. Index: one of the above. */
struct chore {
	struct write_job job; /* first */
	struct writer *w;
	bool is_given;
	bool is_due[CHORE_COUNT];
	bool is_done[CHORE_COUNT]; /* as of the last run: nothing is left for now */
	int64_t next_ns[CHORE_COUNT];
	int64_t look_ns;
	int64_t fold_cursor;
	int64_t fold_next;
	struct bounds bounds;
	struct vacuum vacuum;
};

void chore_init(struct chore *c, struct writer *w);
/* Is something due? Then the job is given. Between two groups. */
void chore_look(struct writer *w, int64_t now_ns);
/* When to call chore_look again. */
int64_t chore_next_ns(const struct writer *w, int64_t now_ns);

#endif
