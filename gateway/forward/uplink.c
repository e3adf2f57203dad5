/* uplink.c - one scheduler for all destinations on a link.
 *
 * Destinations ask before each export, by class. The answer is a grant, or a time to come again:
 * nobody waits in here, and nobody polls. In between one lock is held for some comparisons. Who
 * gets a grant is decided in uplink_schedule.c; what was used is kept by uplink_usage.c.
 *
 * Sizes: what an export will be on the wire is known only when it is made, so a grant sets aside
 * what the last ones of the flow were, and uplink_sent puts that right before the export goes.
 *
 * The lock is the one place besides channels, metrics and log where threads meet (decision 0012).
 * Inside it channels and metrics may be used; nothing that has this lock's callers below it. */
#include "gateway/forward/uplink_schedule.h"

#include <math.h>

#include "gateway/base/container.h"
#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"

#define EXPORT_NS (2 * NS_PER_S) /* an export should not take the link for longer */

enum {
	TYPICAL_FIRST = 16 << 10, /* bytes of an export, before one was seen */
	EXPORT_MIN = 16 << 10,    /* raw bytes: below it headers cost more than bodies */
	RAMP_FLOOR = 64 << 10,    /* bytes a second, where the uplink has no rate */
	RAMP_DOUBLINGS = 10,      /* to 64 MiB a second */
	RAMP_DOUBLINGS_LIMITED = 3,
	REQUEST_BYTES = 700, /* headers of a request and its answer, their packets and records */
	OVERHEAD_PERCENT = 5 /* of TCP/IP and TLS on what is sent, acknowledgements included */
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

static void make_series(struct uplink *u)
{
	const char *name = u->config->name;
	for (int c = 0; c < RECORD_CLASS_COUNT; c++)
		u->sent[c] = metric_series(M_UPLINK_BYTES, name,
					   record_class_text((enum record_class)c));
	u->rate_gauge = metric_series(M_UPLINK_RATE, name);
	for (int i = 0; i < USAGE_PERIODS; i++) {
		u->used_gauges[i] = metric_series(M_UPLINK_USED, name, period_words[i]);
		/* No budget: no series. A 0 would be what alerts wait for. */
		if (i == USAGE_DAY ? u->config->daily_budget : u->config->monthly_budget)
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
	bucket_init(&u->bucket, 0, 0, now_mono_ns());
	uplink_apply_rate(u, c->rate, now_mono_ns());
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
	/* Members leave when the writer is gone, perhaps on another day than this. */
	u->usage.writer = NULL;
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
	*m = (struct uplink_member){ .uplink = u, .name = name, .chan = chan, .ratio = 1 };
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
	uplink_pump(u, m, now);
	a.granted = f->granted;
	if (f->granted) {
		f->granted = 0;
		f->is_waiting = false;
		f->wait = UPLINK_FREE;
	} else {
		a.wait = uplink_gate_of(m, class, now, &a.until_ns);
		if (a.wait == UPLINK_FREE)
			a.wait = UPLINK_RATE;
		a.at_ns = uplink_come_again(m, a.wait, a.until_ns, now);
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
	uplink_take(u, more, now);
	if (more < 0)
		f->credit -= more;
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
	uplink_take(u, bytes, now);
	if (bytes > 0)
		series_add(u->sent[class], (double)bytes);
	show(u, now);
	unlock(u);
}

const char *uplink_name(const struct uplink *u)
{
	return u->config->name;
}

bool uplink_is_shut(struct uplink_member *m, enum record_class class)
{
	struct uplink *u = m->uplink;
	int64_t until = 0;
	lock(u);
	uplink_usage_turn(&u->usage);
	enum uplink_wait wait = uplink_gate_of(m, class, now_mono_ns(), &until);
	unlock(u);
	return wait >= UPLINK_WINDOW;
}

static void forget_waiting(struct uplink_member *m, unsigned wanted, int64_t now)
{
	for (int c = 0; c < RECORD_CLASS_COUNT; c++) {
		if (wanted >> c & 1)
			continue;
		uplink_take_back(m->uplink, &m->flows[c], now);
		m->flows[c].is_waiting = false;
	}
}

void uplink_tick(struct uplink_member *m, unsigned wanted)
{
	struct uplink *u = m->uplink;
	lock(u);
	int64_t now = now_mono_ns();
	forget_waiting(m, wanted, now);
	uplink_pump(u, m, now);
	show(u, now);
	unlock(u);
}

void uplink_withdraw(struct uplink_member *m)
{
	uplink_tick(m, 0);
}

void uplink_leave(struct uplink_member *m)
{
	if (!m)
		return;
	struct uplink *u = m->uplink;
	lock(u);
	int64_t now = now_mono_ns();
	forget_waiting(m, 0, now);
	u->members[m->index] = NULL;
	uplink_pump(u, NULL, now);
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
	uplink_apply_rate(u, for_ns ? rate : u->config->rate, now);
	ring_all(u);
	unlock(u);
}

void uplink_look(struct uplink *u, struct uplink_view *ret)
{
	*ret = (struct uplink_view){ .config = u->config };
	lock(u);
	int64_t now = now_mono_ns();
	uplink_pump(u, NULL, now);
	show(u, now);
	ret->rate = u->rate;
	ret->rate_until_ns = u->rate_until_ns ? u->rate_until_wall_ns : 0;
	ret->is_known = u->usage.is_known;
	ret->has_windows = !week_is_empty(&u->config->week);
	ret->is_open = uplink_is_window_open(u);
	ret->next_change_ns = ret->has_windows && u->next_ns != INT64_MAX ? u->next_ns : 0;
	for (int i = 0; i < USAGE_PERIODS; i++) {
		ret->used[i] = u->usage.bytes[i];
		ret->ends_ns[i] = uplink_usage_end_ns(&u->usage, i);
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
