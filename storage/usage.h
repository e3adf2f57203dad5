/* storage/usage.h - what an uplink carried, by day and month: the rows of uplink_usage.
 * Owner: the giver of the job; applied on the writer thread. Needs: storage/writer.h. */
#ifndef STORAGE_USAGE_H
#define STORAGE_USAGE_H

#include "storage/writer.h"

enum { USAGE_UPLINK_MAX = 64, USAGE_PERIOD_MAX = 16, USAGE_PERIODS = 2 };

struct usage_period {
	char name[USAGE_PERIOD_MAX]; /* "2026-11-23" or "2026-11" */
	int64_t stored;              /* after the job: the row's bytes */
};

/* Adds bytes (negative: takes back; a row never goes below 0) to the rows of its periods, and tells
 * what they hold then. 0 just asks. */
struct usage_job {
	struct write_job job; /* job.done is the giver's, job.apply is set by usage_give */
	char uplink[USAGE_UPLINK_MAX];
	int64_t bytes;
	struct usage_period periods[USAGE_PERIODS];
};

/* Takes the job; done gives it back. */
void usage_give(struct writer *w, struct usage_job *job);

#endif
