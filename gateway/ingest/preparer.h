/* ingest/preparer.h - the thread that prepares requests which are too large to do in passing.
 * Owner: made and stopped by ingest.c; a call is the preparer's from the giving to its end.
 * Needs: gateway/base. */
#ifndef INGEST_PREPARER_H
#define INGEST_PREPARER_H

#include "gateway/base/channel.h"

struct preparer;

/* work is called on the thread for each item, with is_stopping for those that were not begun. */
typedef void (*preparer_work_fn)(struct chan_item *item, bool is_stopping);

MUST_USE enum status preparer_start(preparer_work_fn work, struct preparer **ret, struct err *e);
/* Takes the item. */
void preparer_give(struct preparer *p, struct chan_item *item);
/* Ends what is begun, and what waits by work with is_stopping. Accepts NULL. */
void preparer_stop(struct preparer *p);

#endif
