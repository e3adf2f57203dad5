/* storage/retention.h - data past its age leaves, in slices, in the background.
 * Owner: the writer thread. Needs: storage/depart.h. */
#ifndef STORAGE_RETENTION_H
#define STORAGE_RETENTION_H

#include "storage/depart.h"

/* Some delivery at the front of its class is too old. Reads only. */
MUST_USE enum status retention_look(struct queue *q, const int64_t max_age_ns[RECORD_CLASS_COUNT],
				    bool *ret_due);
/* In the transaction: let them go until the deadline. *ret_done: no front is too old any more. */
MUST_USE enum status retention_step(struct queue *q, const int64_t max_age_ns[RECORD_CLASS_COUNT],
				    int64_t deadline_ns, bool *ret_done);

#endif
