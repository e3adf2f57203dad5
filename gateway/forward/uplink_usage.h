/* forward/uplink_usage.h - what an uplink carried today and this month, and what that leaves.
 * Owner: its uplink, under the uplink's lock. Needs: storage/usage.h, gateway/base/config.h. */
#ifndef FORWARD_UPLINK_USAGE_H
#define FORWARD_UPLINK_USAGE_H

#include "gateway/base/config.h"
#include "storage/usage.h"

enum { USAGE_DAY, USAGE_MONTH };

struct uplink_usage {
	const struct uplink_config *config;
	struct writer *writer; /* NULL: nothing is stored */
	struct usage_job job;
	bool is_at_writer;
	bool is_known;       /* what is stored of these periods is in bytes */
	bool is_clock_unset; /* the wall clock was never set: no period is the right one */
	int64_t day;         /* since 1970 (UTC), of the periods */
	struct usage_period periods[USAGE_PERIODS];
	int64_t bytes[USAGE_PERIODS]; /* of each period, with what is not stored yet */
	int64_t unsaved;              /* not given to the writer yet */
	int64_t save_due_ns;          /* mono: what is not stored is given by then */
	int64_t again_ns;             /* mono: not before, after a failure */
};

/* done: of the job, on the writer's thread; it calls uplink_usage_saved under the lock. */
void uplink_usage_init(struct uplink_usage *u, const struct uplink_config *c, struct writer *w,
		       void (*done)(struct write_job *job, enum status st));
/* The time has come to another day: begin its periods. Call before all others. */
void uplink_usage_turn(struct uplink_usage *u);
/* So many bytes went, or came back (negative). */
void uplink_usage_add(struct uplink_usage *u, int64_t bytes);
/* What a budget leaves to a class; INT64_MAX: there is none. */
int64_t uplink_usage_left(const struct uplink_usage *u, int period, enum record_class class);
/* The period whose budget has no room for so many bytes, or -1. *ret_until_ns (wall): when it ends.
 */
int uplink_usage_blocks(const struct uplink_usage *u, enum record_class class, int64_t bytes,
			int64_t *ret_until_ns);
/* When a period ends, wall. */
int64_t uplink_usage_end_ns(const struct uplink_usage *u, int period);
/* More must not go before what went is stored: a kill would forget too much. */
bool uplink_usage_must_wait(const struct uplink_usage *u);
/* Give the writer what is not stored, where it is time (is_forced: at once). */
void uplink_usage_save(struct uplink_usage *u, bool is_forced, int64_t now);
/* The job is back. */
void uplink_usage_saved(struct uplink_usage *u, enum status st);

#endif
