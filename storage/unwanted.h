/* storage/unwanted.h - which stored batches nobody waits for: where the search for them is.
 * For storage/ only. Owner: the writer thread. Needs: schema. */
#ifndef STORAGE_UNWANTED_H
#define STORAGE_UNWANTED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/base/status.h"
#include "schema/vocabulary.h"

struct queue;

enum { UNWANTED_FREED_MAX = 32 };

/* Private to unwanted.c and evict.c. All zero: nothing was looked at. */
struct unwanted {
	bool is_open; /* the last search has found nothing yet, and is not through */
	int64_t after[RECORD_CLASS_COUNT]; /* (1) */
	size_t freed_count[RECORD_CLASS_COUNT];
	int64_t freed[RECORD_CLASS_COUNT][UNWANTED_FREED_MAX]; /* (2) */
};

/* Begin anew: after a rollback, and where destinations were configured. */
void unwanted_forget(struct unwanted *u);
/* In the transaction: a ready delivery of the batch has gone, or died, and others of it are left.
 */
MUST_USE enum status unwanted_left(struct queue *q, int64_t batch_id, enum record_class class);
/* The smallest of the batches that nobody waits for any more, and forget it. 0: there is none. */
int64_t unwanted_take(struct unwanted *u, enum record_class class);

#endif
