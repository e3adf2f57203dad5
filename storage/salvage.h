/* storage/salvage.h - moves the readable rows of queue files that were set aside into the queue.
 * Owner: a thread of its own. Needs: storage/writer.h, gateway/base. */
#ifndef STORAGE_SALVAGE_H
#define STORAGE_SALVAGE_H

#include "storage/writer.h"

struct salvage;

/* Work in the background through the rows of `salvages` that are 'running' (storage/quarantine.c
 * makes them, at the start and while the gateway runs); the last one done ends
 * writer_is_degraded. Call after writer_start. */
MUST_USE enum status salvage_start(struct writer *w, struct salvage **ret, struct err *e);
/* Before writer_stop. What is not done goes on at the next start. Accepts NULL. */
void salvage_stop(struct salvage *s);

#endif
