/* uplink.c - one scheduler for all destinations on a link.
 *
 * Destinations ask before each export, by class. The answer is a grant, or a time to come again:
 * nobody waits in here, and nobody polls. In between one lock is held for some comparisons.
 *
 * A flow (a destination's class) that was told to wait stays on the list. Whenever the bucket is
 * not overdrawn, pump() hands out grants: the class by its share, within it the destination that
 * had least (forward/shares.c), among the flows whose gates are open. A grant that goes to another
 * flow than the one that asks is kept for it, and its thread is rung. All who wait for the rate are
 * told the same time, so each grant wakes some threads that go back to sleep: at the rates where
 * that happens there are few grants a second.
 *
 *   idle -> waiting          [uplink_ask]
 *   waiting -> granted       [pump]
 *   granted -> idle          [uplink_ask: taken], [uplink_withdraw, expire: given back]
 *   waiting -> idle          [uplink_withdraw], [expire: it did not come when it was told to]
 *
 * Gates, for a flow: windows, budgets, the slow start of its destination. The rate is the bucket's.
 *
 * Sizes: what an export will be on the wire is known only when it is made, so a grant sets aside
 * what the last ones of the flow were, and uplink_sent puts that right before the export goes.
 *
 * Wall-clock times (windows, midnights) become waits of RECHECK_NS at most: a clock that is set
 * while somebody waits is noticed within that.
 *
 * The lock is the one place besides channels, metrics and log where threads meet (decision 0012).
 * Inside it channels and metrics may be used; nothing that has this lock's callers below it. */
#include "gateway/forward/uplink.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>

#include "gateway/base/container.h"
#include "gateway/base/metrics.h"
#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"
#include "gateway/forward/bucket.h"
#include "gateway/forward/ramp.h"
#include "gateway/forward/shares.h"
#include "gateway/forward/uplink_usage.h"

#define RECHECK_NS (60 * NS_PER_S)
#define GRACE_NS   (NS_PER_S)     /* who was told to come and does not is not waited for longer */
#define EXPORT_NS  (2 * NS_PER_S) /* an export should not take the link for longer */

enum {
	BURST_MIN = 16 << 10,
	TYPICAL_FIRST = 16 << 10, /* bytes of an export, before one was seen */
	EXPORT_MIN = 16 << 10,    /* raw bytes: below it headers cost more than bodies */
	RAMP_FLOOR = 64 << 10,    /* bytes a second, where the uplink has no rate */
	RAMP_DOUBLINGS = 10,      /* to 64 MiB a second */
	RAMP_DOUBLINGS_LIMITED = 3,
	REQUEST_BYTES = 700, /* headers of a request and its answer, their packets and records */
	OVERHEAD_PERCENT = 5 /* of TCP/IP and TLS on what is sent, acknowledgements included */
};

struct flow {
	bool is_waiting;
	enum uplink_wait wait; /* what it was told last */
	int64_t until_ns;      /* wall, with it */
	int64_t told_ns;       /* mono: when it was told to come */
	int64_t granted;       /* kept for it */
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

static const char *const period_words[] = { "day", "month" };

const char *uplink_wait_text(enum uplink_wait wait)
{
	static const char *const words[] = {
		[UPLINK_FREE] = "none",
		[UPLINK_RATE] = "rate",
		[UPLINK_SLOW_START] = "slow_start",
		[UPLINK_WINDOW] = "window",
		[UPLINK_DAY] = "daily_budget",
		[UPLINK_MONTH] = "monthly_budget",
		[UPLINK_SAVING] = "saving",
	};
	return words[wait];
}

int64_t uplink_wire_bytes(size_t body_bytes)
{
	int64_t n = (int64_t)body_bytes;
	return n + n * OVERHEAD_PERCENT / 100 + REQUEST_BYTES;
}

static void lock(struct uplink *u)
{
	CHECK(pthread_mutex_lock(&u->mutex) == 0);
}

static void unlock(struct uplink *u)
{
	CHECK(pthread_mutex_unlock(&u->mutex) == 0);
}

static void ring_all(struct uplink *u)
{
	for (int i = 0; i < UPLINK_MEMBERS_MAX; i++)
		if (u->members[i])
			chan_ring(u->members[i]->chan);
}

/* On the writer's thread. */
static void on_saved(struct write_job *job, enum status st)
{
	struct usage_job *usage = container_of(job, struct usage_job, job);
	struct uplink *u = container_of(usage, struct uplink, usage.job);
	lock(u);
	bool was_waiting = uplink_usage_must_wait(&u->usage);
	uplink_usage_saved(&u->usage, st);
	if (was_waiting && !uplink_usage_must_wait(&u->usage))
		ring_all(u);
	CHECK(pthread_cond_broadcast(&u->saved) == 0);
	unlock(u);
}

static uint64_t burst_of(const struct uplink *u, uint64_t rate)
{
	if (rate == u->config->rate && u->config->burst)
		return u->config->burst;
	return rate < BURST_MIN ? BURST_MIN : rate;
}

static void apply_rate(struct uplink *u, uint64_t rate, int64_t now)
{
	u->rate = rate;
	bucket_set_rate(&u->bucket, rate, burst_of(u, rate), now);
	series_set(u->rate_gauge, (double)rate);
}

static void make_series(struct uplink *u)
{
	const char *name = u->config->name;
	for (int c = 0; c < RECORD_CLASS_COUNT; c++)
		u->sent[c] = metric_series(M_UPLINK_BYTES, name,
					   record_class_text((enum record_class)c));
	u->rate_gauge = metric_series(M_UPLINK_RATE, name);
	for (int i = 0; i < USAGE_PERIODS; i++) {
		u->used_gauges[i] = metric_series(M_UPLINK_USED, name, period_words[i]);
		u->left_gauges[i] = metric_series(M_UPLINK_LEFT, name, period_words[i]);
	}
	for (int w = UPLINK_RATE; w < UPLINK_WAIT_COUNT; w++)
		u->waiting_gauges[w] = metric_series(M_UPLINK_WAITING, name,
						     uplink_wait_text((enum uplink_wait)w));
}

struct uplink *uplink_new(const struct uplink_config *c, struct writer *writer,
			  uint64_t (*random)(void *ctx))
{
	struct uplink *u = xcalloc(1, sizeof(*u));
	pthread_condattr_t attributes;
	CHECK(pthread_mutex_init(&u->mutex, NULL) == 0);
	CHECK(pthread_condattr_init(&attributes) == 0);
	CHECK(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
	CHECK(pthread_cond_init(&u->saved, &attributes) == 0);
	(void)pthread_condattr_destroy(&attributes);
	u->config = c;
	u->random = random;
	u->rate = c->rate;
	u->changed_ns = INT64_MAX; /* the windows were not looked at */
	make_series(u);
	bucket_init(&u->bucket, c->rate, burst_of(u, c->rate), now_mono_ns());
	series_set(u->rate_gauge, (double)c->rate);
	const int weights[RECORD_CLASS_COUNT] = { [RECORD_CLASS_CRITICAL] = c->share_critical,
						  [RECORD_CLASS_WARNING] = c->share_warning,
						  [RECORD_CLASS_INFO] = c->share_info };
	shares_init(&u->classes, weights, RECORD_CLASS_COUNT);
	static const int equal[UPLINK_MEMBERS_MAX];
	for (int i = 0; i < RECORD_CLASS_COUNT; i++)
		shares_init(&u->members_of[i], equal, UPLINK_MEMBERS_MAX);
	uplink_usage_init(&u->usage, c, writer, on_saved);
	uplink_usage_turn(&u->usage);
	return u;
}

void uplink_stop(struct uplink *u, int64_t deadline_ns)
{
	if (!u)
		return;
	struct timespec end = { .tv_sec = deadline_ns / NS_PER_S,
				.tv_nsec = (long)(deadline_ns % NS_PER_S) };
	lock(u);
	for (bool is_late = false; !is_late;) {
		uplink_usage_save(&u->usage, true, now_mono_ns());
		if (!u->usage.is_at_writer)
			break;
		is_late = pthread_cond_timedwait(&u->saved, &u->mutex, &end) != 0;
		/* What is not taken now will not be: the disk is full, or the writer recovers. */
		if (!u->usage.is_at_writer && u->usage.again_ns > now_mono_ns())
			break;
	}
	unlock(u);
}

void uplink_free(struct uplink *u)
{
	if (!u)
		return;
	for (int i = 0; i < UPLINK_MEMBERS_MAX; i++)
		CHECK(!u->members[i]);
	CHECK(!u->usage.is_at_writer);
	(void)pthread_cond_destroy(&u->saved);
	(void)pthread_mutex_destroy(&u->mutex);
	free(u);
}

struct uplink_member *uplink_join(struct uplink *u, const char *name, struct chan *chan)
{
	struct uplink_member *m = xcalloc(1, sizeof(*m));
	*m = (struct uplink_member){ .uplink = u, .name = name, .chan = chan, .ratio = 0.25 };
	for (int c = 0; c < RECORD_CLASS_COUNT; c++)
		m->flows[c].typical = TYPICAL_FIRST;
	lock(u);
	while (m->index < UPLINK_MEMBERS_MAX && u->members[m->index])
		m->index++;
	CHECK(m->index < UPLINK_MEMBERS_MAX);
	u->members[m->index] = m;
	unlock(u);
	return m;
}

/* ---- gates ---- */

static bool is_window_open(struct uplink *u)
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
static enum uplink_wait gate_of(struct uplink_member *m, enum record_class class, int64_t now,
				int64_t *ret_until_ns)
{
	struct uplink *u = m->uplink;
	bool is_free = m->is_flushing || u->config->windows_exempt_mask >> class & 1;
	*ret_until_ns = 0;
	if (!is_free && !is_window_open(u)) {
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
static int64_t come_again(struct uplink_member *m, enum uplink_wait wait, int64_t until_ns,
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

static void take(struct uplink *u, int64_t bytes, int64_t now)
{
	bucket_take(&u->bucket, bytes, now);
	uplink_usage_add(&u->usage, bytes);
}

static void give_back(struct uplink *u, struct flow *f, int64_t now)
{
	take(u, -f->granted, now);
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
			give_back(u, f, now);
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
		if (gate_of(m, class, now, &until) == UPLINK_FREE)
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
	take(u, f->granted, now);
	shares_charge(&u->classes, class, (uint64_t)f->granted);
	shares_charge(&u->members_of[class], index, (uint64_t)f->granted);
	if (m != asking)
		chan_ring(m->chan);
	return true;
}

static void pump(struct uplink *u, const struct uplink_member *asking, int64_t now)
{
	if (u->rate_until_ns && now >= u->rate_until_ns) {
		u->rate_until_ns = 0;
		apply_rate(u, u->config->rate, now);
	}
	uplink_usage_turn(&u->usage);
	expire(u, now);
	while (bucket_is_ready(&u->bucket, now) && grant_next(u, asking, now))
		;
}

/* Everything that others see of it. */
static void show(struct uplink *u, int64_t now)
{
	int waiting[UPLINK_WAIT_COUNT] = { 0 };
	for (int i = 0; i < UPLINK_MEMBERS_MAX; i++)
		for (int c = 0; u->members[i] && c < RECORD_CLASS_COUNT; c++)
			if (u->members[i]->flows[c].is_waiting)
				waiting[u->members[i]->flows[c].wait]++;
	for (int w = UPLINK_RATE; w < UPLINK_WAIT_COUNT; w++)
		series_set(u->waiting_gauges[w], waiting[w]);
	for (int i = 0; i < USAGE_PERIODS; i++) {
		uint64_t limit =
			i == USAGE_DAY ? u->config->daily_budget : u->config->monthly_budget;
		series_set(u->used_gauges[i], (double)u->usage.bytes[i]);
		if (limit)
			series_set(u->left_gauges[i], (double)((int64_t)limit - u->usage.bytes[i]));
	}
	uplink_usage_save(&u->usage, false, now);
}

struct uplink_answer uplink_ask(struct uplink_member *m, enum record_class class)
{
	struct uplink *u = m->uplink;
	struct flow *f = &m->flows[class];
	struct uplink_answer a = { 0 };
	lock(u);
	int64_t now = now_mono_ns();
	f->is_waiting = true;
	f->told_ns = now;
	pump(u, m, now);
	a.granted = f->granted;
	if (f->granted) {
		f->granted = 0;
		f->is_waiting = false;
		f->wait = UPLINK_FREE;
	} else {
		a.wait = gate_of(m, class, now, &a.until_ns);
		if (a.wait == UPLINK_FREE)
			a.wait = UPLINK_RATE;
		a.at_ns = come_again(m, a.wait, a.until_ns, now);
		f->told_ns = a.at_ns;
		f->wait = a.wait;
		f->until_ns = a.until_ns;
	}
	show(u, now);
	unlock(u);
	return a;
}

/* A quarter of the new in the average: it follows, and one odd export does not shake it. */
static double average(double old, double new)
{
	return old + (new - old) / 4;
}

void uplink_sent(struct uplink_member *m, enum record_class class, int64_t granted,
		 size_t raw_bytes, int64_t wire_bytes)
{
	struct uplink *u = m->uplink;
	struct flow *f = &m->flows[class];
	int64_t more = wire_bytes - granted;
	lock(u);
	int64_t now = now_mono_ns();
	take(u, more, now);
	if (more > 0) {
		shares_charge(&u->classes, (int)class, (uint64_t)more);
		shares_charge(&u->members_of[class], m->index, (uint64_t)more);
	}
	ramp_take(&m->ramp, wire_bytes, now);
	if (wire_bytes > 0)
		series_add(u->sent[class], (double)wire_bytes);
	if (raw_bytes) {
		f->typical = 1 + (int64_t)average((double)f->typical, (double)wire_bytes);
		double body = (double)(wire_bytes - REQUEST_BYTES);
		m->ratio = average(m->ratio, body > 1 ? body / (double)raw_bytes : m->ratio);
	}
	show(u, now);
	unlock(u);
}

void uplink_correct(struct uplink_member *m, enum record_class class, int64_t bytes)
{
	struct uplink *u = m->uplink;
	lock(u);
	int64_t now = now_mono_ns();
	uplink_usage_turn(&u->usage);
	take(u, bytes, now);
	if (bytes > 0)
		series_add(u->sent[class], (double)bytes);
	show(u, now);
	unlock(u);
}

static void forget_waiting(struct uplink_member *m, int64_t now)
{
	for (int c = 0; c < RECORD_CLASS_COUNT; c++) {
		give_back(m->uplink, &m->flows[c], now);
		m->flows[c].is_waiting = false;
	}
}

void uplink_withdraw(struct uplink_member *m)
{
	struct uplink *u = m->uplink;
	lock(u);
	int64_t now = now_mono_ns();
	forget_waiting(m, now);
	pump(u, m, now);
	show(u, now);
	unlock(u);
}

void uplink_leave(struct uplink_member *m)
{
	if (!m)
		return;
	struct uplink *u = m->uplink;
	lock(u);
	int64_t now = now_mono_ns();
	forget_waiting(m, now);
	u->members[m->index] = NULL;
	pump(u, NULL, now);
	show(u, now);
	unlock(u);
	free(m);
}

size_t uplink_export_max(struct uplink_member *m)
{
	struct uplink *u = m->uplink;
	lock(u);
	int64_t now = now_mono_ns();
	double wire = INFINITY;
	if (u->rate)
		wire = (double)u->rate * EXPORT_NS / NS_PER_S;
	if (ramp_is_on(&m->ramp, now) && !m->is_flushing) {
		double most = ramp_rate(&m->ramp, now) * EXPORT_NS / NS_PER_S;
		wire = most < wire ? most : wire;
	}
	for (int i = 0; i < USAGE_PERIODS; i++) {
		int64_t left = uplink_usage_left(&u->usage, i, RECORD_CLASS_CRITICAL);
		if (left != INT64_MAX && (double)left < wire)
			wire = (double)left;
	}
	double raw = wire / m->ratio;
	unlock(u);
	if (raw >= (double)(SIZE_MAX / 2))
		return SIZE_MAX;
	return raw < EXPORT_MIN ? EXPORT_MIN : (size_t)raw;
}

/* ---- outages, orders, looks ---- */

void uplink_note_down(struct uplink_member *m)
{
	struct uplink *u = m->uplink;
	lock(u);
	if (!m->is_down)
		m->down_ns = now_mono_ns();
	m->is_down = true;
	unlock(u);
}

/* An outage that is shorter than the ramp leaves less than the ramp would spread. */
void uplink_note_up(struct uplink_member *m)
{
	struct uplink *u = m->uplink;
	lock(u);
	int64_t now = now_mono_ns();
	int64_t length = u->config->slow_start;
	if (m->is_down && length && now - m->down_ns >= length) {
		bool is_limited = u->rate > 0;
		double floor =
			is_limited ? (double)u->rate / (1 << RAMP_DOUBLINGS_LIMITED) : RAMP_FLOOR;
		ramp_begin(&m->ramp, length, floor,
			   is_limited ? RAMP_DOUBLINGS_LIMITED : RAMP_DOUBLINGS, u->random(NULL),
			   now);
	}
	m->is_down = false;
	unlock(u);
}

void uplink_set_flush(struct uplink_member *m, bool is_flushing)
{
	struct uplink *u = m->uplink;
	lock(u);
	m->is_flushing = is_flushing;
	unlock(u);
}

void uplink_set_rate(struct uplink *u, uint64_t rate, int64_t for_ns)
{
	lock(u);
	int64_t now = now_mono_ns();
	u->rate_until_ns = for_ns ? now + for_ns : 0;
	u->rate_until_wall_ns = for_ns ? now_wall_ns() + for_ns : 0;
	apply_rate(u, for_ns ? rate : u->config->rate, now);
	ring_all(u);
	unlock(u);
}

void uplink_look(struct uplink *u, struct uplink_view *ret)
{
	*ret = (struct uplink_view){ .config = u->config };
	lock(u);
	int64_t now = now_mono_ns();
	pump(u, NULL, now);
	show(u, now);
	ret->rate = u->rate;
	ret->rate_until_ns = u->rate_until_ns ? u->rate_until_wall_ns : 0;
	ret->is_known = u->usage.is_known;
	ret->has_windows = !week_is_empty(&u->config->week);
	ret->is_open = is_window_open(u);
	ret->next_change_ns = ret->has_windows && u->next_ns != INT64_MAX ? u->next_ns : 0;
	for (int i = 0; i < USAGE_PERIODS; i++) {
		ret->used[i] = u->usage.bytes[i];
		memcpy(ret->periods[i], u->usage.periods[i].name, sizeof(ret->periods[i]));
	}
	for (int i = 0; i < UPLINK_MEMBERS_MAX; i++) {
		const struct uplink_member *m = u->members[i];
		ret->members += m != NULL;
		for (int c = 0; m && c < RECORD_CLASS_COUNT; c++)
			ret->waiting[m->flows[c].wait] += m->flows[c].is_waiting;
	}
	unlock(u);
}

enum uplink_wait uplink_blocked(struct uplink_member *m, int64_t *ret_until_ns)
{
	struct uplink *u = m->uplink;
	enum uplink_wait wait = UPLINK_FREE;
	lock(u);
	for (int c = 0; c < RECORD_CLASS_COUNT; c++) {
		const struct flow *f = &m->flows[c];
		if (!f->is_waiting || f->wait <= wait)
			continue;
		wait = f->wait;
		*ret_until_ns = f->until_ns;
	}
	unlock(u);
	return wait;
}
