/* forward/uplink_schedule.h - the inside of an uplink: who waits for what, and whose turn it is.
 * For uplink*.c only. Owner: whoever holds the uplink's lock; every function here wants it held.
 * Needs: forward/uplink.h.
 */
#ifndef FORWARD_UPLINK_SCHEDULE_H
#define FORWARD_UPLINK_SCHEDULE_H

#include <pthread.h>

#include "gateway/base/metrics.h"
#include "gateway/forward/bucket.h"
#include "gateway/forward/ramp.h"
#include "gateway/forward/shares.h"
#include "gateway/forward/uplink.h"
#include "gateway/forward/uplink_usage.h"

struct flow {
	bool is_waiting;
	enum uplink_wait wait; /* what it was told last */
	int64_t until_ns;      /* wall, with it */
	int64_t told_ns;       /* mono: when it was told to come */
	int64_t granted;       /* kept for it */
	int64_t credit;        /* of its shares: it was charged for more than it sent */
	int64_t typical;       /* bytes on the wire of its exports, a moving average */
};

struct uplink_member {
	struct uplink *uplink;
	const char *name;
	struct chan *chan;
	int index;
	struct flow flows[RECORD_CLASS_COUNT];
	double ratio; /* bytes on the wire for a raw one, a moving average */
	bool is_down;
	bool is_flushing;
	int64_t down_ns; /* mono */
	struct ramp ramp;
};

struct uplink {
	pthread_mutex_t mutex;
	pthread_cond_t saved;
	const struct uplink_config *config;
	uint64_t (*random)(void *ctx);
	struct bucket bucket;
	uint64_t rate;         /* in force */
	int64_t rate_until_ns; /* mono: back to the configured one; 0: it is */
	int64_t rate_until_wall_ns;
	struct shares classes;
	struct shares members_of[RECORD_CLASS_COUNT];
	struct uplink_member *members[UPLINK_MEMBERS_MAX];
	struct uplink_usage usage;
	bool is_open; /* the windows, from changed_ns until next_ns (wall) */
	int64_t changed_ns;
	int64_t next_ns;
	struct series *sent[RECORD_CLASS_COUNT];
	struct series *rate_gauge;
	struct series *used_gauges[USAGE_PERIODS];
	struct series *left_gauges[USAGE_PERIODS];
	struct series *waiting_gauges[UPLINK_WAIT_COUNT];
};

/* Another rate from here on. */
void uplink_apply_rate(struct uplink *u, uint64_t rate, int64_t now);
bool uplink_is_window_open(struct uplink *u);
/* What keeps a flow, besides the rate. *ret_until_ns: wall, 0: not known. */
enum uplink_wait uplink_gate_of(struct uplink_member *m, enum record_class class, int64_t now,
				int64_t *ret_until_ns);
/* When a flow that this keeps should come again (mono). */
int64_t uplink_come_again(struct uplink_member *m, enum uplink_wait wait, int64_t until_ns,
			  int64_t now);
/* So many bytes went, or came back (negative). */
void uplink_take(struct uplink *u, int64_t bytes, int64_t now);
/* What was granted and not fetched. */
void uplink_take_back(struct uplink *u, struct flow *f, int64_t now);
/* Hand out what may go at this moment; others than the one that asks (or NULL) are rung. */
void uplink_pump(struct uplink *u, const struct uplink_member *asking, int64_t now);

#endif
