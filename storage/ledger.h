/* storage/ledger.h - keeps the loss ledger small: old rows are folded into sums.
 * Owner: the writer thread, within its transaction. Needs: storage/queue.h. */
#ifndef STORAGE_LEDGER_H
#define STORAGE_LEDGER_H

#include "storage/queue.h"

/* One slice behind *cursor. *ret_next: where to go on; 0: the end was reached. */
MUST_USE enum status ledger_fold(struct queue *q, int64_t cursor, int64_t *ret_next);

#endif
