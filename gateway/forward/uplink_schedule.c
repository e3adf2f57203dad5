/* uplink_schedule.c - gates, and whose turn it is.
 *
 * A flow (a destination's class) that was told to wait stays on the list. Whenever the bucket is
 * not overdrawn, uplink_pump hands out grants: the class by its share, within it the destination
 * that had least (forward/shares.c), among the flows whose gates are open. A grant that goes to
 * another flow than the one that asks is kept for it, and its thread is rung. All who wait for the
 * rate are told the same time, so each grant wakes some threads that go back to sleep: at the rates
 * where that happens there are few grants a second.
 *
 *   idle -> waiting          [uplink_ask]
 *   waiting -> granted       [grant_next]
 *   granted -> idle          [uplink_ask: taken], [uplink_withdraw, expire: given back]
 *   waiting -> idle          [uplink_withdraw], [expire: it did not come when it was told to]
 *
 * Gates, for a flow: windows, budgets, the slow start of its destination. The rate is the bucket's.
 *
 * Wall-clock times (windows, midnights) become waits of RECHECK_NS at most: a clock that is set
 * while somebody waits is noticed within that. */
#include "gateway/forward/uplink_schedule.h"

#include "gateway/base/now.h"

#define RECHECK_NS (60 * NS_PER_S)
#define GRACE_NS   (NS_PER_S) /* who was told to come and does not is not waited for longer */

enum { BURST_MIN = 16 << 10 };

static uint64_t burst_of(const struct uplink *u, uint64_t rate)
{
	if (rate == u->config->rate && u->config->burst)
		return u->config->burst;
	return rate < BURST_MIN ? BURST_MIN : rate;
}

void uplink_apply_rate(struct uplink *u, uint64_t rate, int64_t now)
{
	u->rate = rate;
	bucket_set_rate(&u->bucket, rate, burst_of(u, rate), now);
	series_set(u->rate_gauge, (double)rate);
}

/* ---- gates ---- */

bool uplink_is_window_open(struct uplink *u)
{
	int64_t wall = now_wall_ns();
	if (week_is_empty(&u->config->week))
		return true;
	if (wall >= u->changed_ns && wall < u->next_ns)
		return u->is_open;
	u->is_open = week_is_open(&u->config->week, wall);
	u->changed_ns = wall;
	u->next_ns = week_next_change(&u->config->week, wall);
	return u->is_open;
}

/* What keeps a flow, besides the rate. */
enum uplink_wait uplink_gate_of(struct uplink_member *m, enum record_class class, int64_t now,
				int64_t *ret_until_ns)
{
	struct uplink *u = m->uplink;
	bool is_free = m->is_flushing || u->config->windows_exempt_mask >> class & 1;
	*ret_until_ns = 0;
	if (!is_free && !uplink_is_window_open(u)) {
		*ret_until_ns = u->next_ns == INT64_MAX ? 0 : u->next_ns;
		return UPLINK_WINDOW;
	}
	if (uplink_usage_must_wait(&u->usage))
		return UPLINK_SAVING;
	int period = uplink_usage_blocks(&u->usage, class, m->flows[class].typical, ret_until_ns);
	if (period >= 0)
		return period == USAGE_DAY ? UPLINK_DAY : UPLINK_MONTH;
	return !m->is_flushing && ramp_due_ns(&m->ramp, now) > now ? UPLINK_SLOW_START :
								     UPLINK_FREE;
}

/* When a flow that this keeps should come again. */
int64_t uplink_come_again(struct uplink_member *m, enum uplink_wait wait, int64_t until_ns,
			  int64_t now)
{
	struct uplink *u = m->uplink;
	int64_t at = now + RECHECK_NS;
	if (until_ns) {
		int64_t ahead = until_ns - now_wall_ns();
		if (ahead < RECHECK_NS)
			at = now + (ahead > 0 ? ahead : 0) + NS_PER_MS;
	} else if (wait == UPLINK_RATE) {
		at = bucket_ready_ns(&u->bucket, now);
	} else if (wait == UPLINK_SLOW_START) {
		at = ramp_due_ns(&m->ramp, now);
	} else if (wait == UPLINK_SAVING) {
		at = now + NS_PER_S; /* rung when it is done */
	}
	if (u->rate_until_ns && u->rate_until_ns < at)
		at = u->rate_until_ns;
	/* Never at once: what kept it keeps it for this moment. */
	return at > now ? at : now + NS_PER_MS;
}

/* ---- handing out ---- */

void uplink_take(struct uplink *u, int64_t bytes, int64_t now)
{
	bucket_take(&u->bucket, bytes, now);
	uplink_usage_add(&u->usage, bytes);
}

void uplink_take_back(struct uplink *u, struct flow *f, int64_t now)
{
	uplink_take(u, -f->granted, now);
	f->credit += f->granted;
	f->granted = 0;
}

/* Who did not come when it was told to: its destination is down, or has nothing any more. */
static void expire(struct uplink *u, int64_t now)
{
	for (int i = 0; i < UPLINK_MEMBERS_MAX; i++)
		for (int c = 0; u->members[i] && c < RECORD_CLASS_COUNT; c++) {
			struct flow *f = &u->members[i]->flows[c];
			if (!f->is_waiting || now <= f->told_ns + GRACE_NS)
				continue;
			uplink_take_back(u, f, now);
			f->is_waiting = false;
		}
}

/* Members that wait for a grant of this class, and have no other reason to wait. */
static uint64_t wanting(struct uplink *u, enum record_class class, int64_t now)
{
	uint64_t mask = 0;
	int64_t until;
	for (int i = 0; i < UPLINK_MEMBERS_MAX; i++) {
		struct uplink_member *m = u->members[i];
		if (!m || !m->flows[class].is_waiting || m->flows[class].granted)
			continue;
		if (uplink_gate_of(m, class, now, &until) == UPLINK_FREE)
			mask |= UINT64_C(1) << i;
	}
	return mask;
}

/* One grant to whose turn it is. False: nobody wants one. */
static bool grant_next(struct uplink *u, const struct uplink_member *asking, int64_t now)
{
	uint64_t masks[RECORD_CLASS_COUNT];
	uint64_t classes = 0;
	for (int c = 0; c < RECORD_CLASS_COUNT; c++) {
		masks[c] = wanting(u, (enum record_class)c, now);
		classes |= (uint64_t)(masks[c] != 0) << c;
	}
	int class = shares_pick(&u->classes, classes);
	if (class < 0)
		return false;
	int index = shares_pick(&u->members_of[class], masks[class]);
	struct uplink_member *m = u->members[index];
	struct flow *f = &m->flows[class];
	f->granted = f->typical;
	f->told_ns = now;
	uplink_take(u, f->granted, now);
	int64_t credit = f->credit < f->granted ? f->credit : f->granted;
	f->credit -= credit;
	shares_charge(&u->classes, class, (uint64_t)(f->granted - credit));
	shares_charge(&u->members_of[class], index, (uint64_t)(f->granted - credit));
	if (m != asking)
		chan_ring(m->chan);
	return true;
}

void uplink_pump(struct uplink *u, const struct uplink_member *asking, int64_t now)
{
	if (u->rate_until_ns && now >= u->rate_until_ns) {
		u->rate_until_ns = 0;
		uplink_apply_rate(u, u->config->rate, now);
	}
	uplink_usage_turn(&u->usage);
	expire(u, now);
	while (bucket_is_ready(&u->bucket, now) && grant_next(u, asking, now))
		;
}
