/* storage/packer.h - the thread in front of the writer: puts in, packed rows out.
 * Owner: main makes and stops it through the writer; everything else belongs to its thread.
 * Needs: storage/pack.h, storage/writer.h. */
#ifndef STORAGE_PACKER_H
#define STORAGE_PACKER_H

#include "storage/pack.h"

struct packer;

/* Takes the pack. Borrows the writer, to which packed rows are given. */
MUST_USE enum status packer_new(struct writer *w, struct pack *pack, int64_t commit_interval_ns,
				struct packer **ret);
MUST_USE enum status packer_start(struct packer *p);
/* Takes the put: it comes back through its done, from the packer's or the writer's thread. */
void packer_put(struct packer *p, struct put_job *put);
/* Let the thread end. What it holds is failed with ST_STOPPING. Accepts NULL and one not started.
 */
void packer_join(struct packer *p);
/* Fail what came since. The writer's thread must have ended, its jobs must be done. Accepts NULL.
 */
void packer_free(struct packer *p);

/* The job inserts packed rows. */
bool packer_is_put(const struct write_job *job);
const struct packed *packer_packed(const struct write_job *job);

#endif
