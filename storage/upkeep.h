/* storage/upkeep.h - the writer's work between two groups. For storage/writer.c only.
 * Owner: the writer thread. Needs: storage/writer_internal.h. */
#ifndef STORAGE_UPKEEP_H
#define STORAGE_UPKEEP_H

#include "storage/writer_internal.h"

void upkeep_register(struct writer_metrics *m);
/* How much room there is: sets the state and the gauges. */
void upkeep_measure(struct writer *w, int64_t now_ns);
/* The state went from was to now, somewhere else: show it. */
void upkeep_show_change(struct writer *w, enum status was, enum status now);
/* A file was set aside and its salvage is not done: writer_is_degraded. */
void upkeep_look_at_salvages(struct writer *w);
void upkeep_log_set_aside(const struct writer *w);
/* What the new file has taken from the damaged one, once. */
void upkeep_log_inherited(struct writer *w);

/* Memory and disk may disagree after these; after the others a transaction failed and no more. */
bool upkeep_is_grave(enum status st);
/* From here on nothing is taken, until upkeep_try_recovery succeeds. words: what happened. */
void upkeep_enter_recovery(struct writer *w, enum status cause, const char *words);
void upkeep_try_recovery(struct writer *w, int64_t now_ns);

/* A checkpoint step, where it is time. */
void upkeep_after_group(struct writer *w);
/* Cut the write-ahead log to nothing. */
void upkeep_when_idle(struct writer *w);

#endif
