/* uplink_usage.c - budgets by day and month.
 *
 * Days and months are UTC's: that is how plans are billed, and a day of them has 24 hours.
 *
 * What is counted goes to the queue file as an increment, at the latest SAVE_NS after it was sent,
 * and sooner where it is a notable part of a budget. What a SIGKILL or a power cut can forget is
 * bounded: with a budget, nothing more is sent while more than a 64th of it is not stored (plus the
 * exports that are under way then). Without a budget it is the traffic of some seconds of a figure
 * that is there to be looked at.
 *
 * The stored sums come back with each job. At the start, and when a new day begins, a job of 0 asks
 * for them: until it is answered a budget lets nothing pass, which takes a commit. So a clock that
 * is set late (1970, then today) finds today's sum as it was left.
 *
 * What was counted and not given when midnight comes is booked to the new day.
 *
 * A device without a battery starts in 1970. Until its clock is set no period is known: usage
 * counts against the budgets, but is kept in memory, and booked to the right day when that is
 * known. A budget that the boots of a year had used up in 1970 would keep it silent for ever. */
#include "gateway/forward/uplink_usage.h"

#include <stdio.h>
#include <time.h>

#include "gateway/base/now.h"

#define SAVE_NS  (5 * NS_PER_S)
#define AGAIN_NS (NS_PER_S)
/* 2026-01-01: a clock before it was never set. */
enum { BELIEVABLE_DAY = 20454 };
enum { DAY_S = 86400, UNSAVED_SHARE = 64, SAVE_SHARE = 256 };

static uint64_t limit_of(const struct uplink_usage *u, int period)
{
	return period == USAGE_DAY ? u->config->daily_budget : u->config->monthly_budget;
}

static uint64_t least_limit(const struct uplink_usage *u)
{
	uint64_t day = limit_of(u, USAGE_DAY);
	return day ? day : limit_of(u, USAGE_MONTH);
}

void uplink_usage_init(struct uplink_usage *u, const struct uplink_config *c, struct writer *w,
		       void (*done)(struct write_job *job, enum status st))
{
	*u = (struct uplink_usage){ .config = c, .writer = w, .day = INT64_MIN };
	u->job.job.done = done;
	(void)snprintf(u->job.uplink, sizeof(u->job.uplink), "%s", c->name);
}

static int64_t today(void)
{
	int64_t s = now_wall_ns() / NS_PER_S;
	return s / DAY_S - (s % DAY_S < 0);
}

void uplink_usage_turn(struct uplink_usage *u)
{
	int64_t day = today();
	if (day == u->day)
		return;
	u->day = day;
	time_t t = (time_t)(day * DAY_S);
	struct tm tm = { 0 };
	(void)gmtime_r(&t, &tm);
	u->is_clock_unset = day < BELIEVABLE_DAY;
	u->is_known = !u->writer || u->is_clock_unset;
	(void)strftime(u->periods[USAGE_DAY].name, USAGE_PERIOD_MAX, "%Y-%m-%d", &tm);
	u->bytes[USAGE_DAY] = u->unsaved;
	char month[USAGE_PERIOD_MAX];
	(void)strftime(month, sizeof(month), "%Y-%m", &tm);
	if (strcmp(month, u->periods[USAGE_MONTH].name) != 0) {
		memcpy(u->periods[USAGE_MONTH].name, month, sizeof(month));
		u->bytes[USAGE_MONTH] = u->unsaved;
	}
	u->save_due_ns = 0;
}

void uplink_usage_add(struct uplink_usage *u, int64_t bytes)
{
	for (int i = 0; i < USAGE_PERIODS; i++) {
		u->bytes[i] += bytes;
		if (u->bytes[i] < 0)
			u->bytes[i] = 0;
	}
	if (u->writer)
		u->unsaved += bytes;
}

int64_t uplink_usage_left(const struct uplink_usage *u, int period, enum record_class class)
{
	uint64_t limit = limit_of(u, period);
	if (!limit || u->config->budget_exempt_mask >> class & 1)
		return INT64_MAX;
	if (class != RECORD_CLASS_CRITICAL)
		limit -= limit / 100 * (uint64_t)u->config->budget_reserve;
	return (int64_t)limit - u->bytes[period];
}

int64_t uplink_usage_end_ns(const struct uplink_usage *u, int period)
{
	time_t t = (time_t)(u->day * DAY_S);
	struct tm tm = { 0 };
	(void)gmtime_r(&t, &tm);
	if (period == USAGE_DAY) {
		tm.tm_mday++;
	} else {
		tm.tm_mday = 1;
		tm.tm_mon++;
	}
	return (int64_t)timegm(&tm) * NS_PER_S;
}

int uplink_usage_blocks(const struct uplink_usage *u, enum record_class class, int64_t bytes,
			int64_t *ret_until_ns)
{
	/* The month first: it is the longer wait. */
	for (int i = USAGE_PERIODS - 1; i >= 0; i--) {
		int64_t limit = (int64_t)limit_of(u, i);
		/* An export that is larger than a small budget must pass some day. */
		int64_t need = bytes < limit / 4 ? bytes : limit / 4;
		if (uplink_usage_left(u, i, class) >= need)
			continue;
		*ret_until_ns = uplink_usage_end_ns(u, i);
		return i;
	}
	return -1;
}

static int64_t not_stored(const struct uplink_usage *u)
{
	return u->unsaved + (u->is_at_writer ? u->job.bytes : 0);
}

bool uplink_usage_must_wait(const struct uplink_usage *u)
{
	int64_t limit = (int64_t)least_limit(u);
	return limit && u->writer && !u->is_clock_unset &&
	       (!u->is_known || not_stored(u) > limit / UNSAVED_SHARE);
}

void uplink_usage_save(struct uplink_usage *u, bool is_forced, int64_t now)
{
	int64_t limit = (int64_t)least_limit(u);
	if (!u->writer || u->is_at_writer || u->is_clock_unset)
		return;
	if (u->is_known && !u->unsaved)
		return;
	bool is_much = limit && u->unsaved > limit / SAVE_SHARE;
	if (!is_forced && (now < u->again_ns || (!is_much && now < u->save_due_ns)))
		return;
	memcpy(u->job.periods, u->periods, sizeof(u->periods));
	u->job.bytes = u->unsaved;
	u->unsaved = 0;
	u->is_at_writer = true;
	u->save_due_ns = now + SAVE_NS;
	usage_give(u->writer, &u->job);
}

void uplink_usage_saved(struct uplink_usage *u, enum status st)
{
	u->is_at_writer = false;
	if (st) {
		/* Not committed: it is given again, when the writer had time to recover. */
		u->unsaved += u->job.bytes;
		u->again_ns = now_mono_ns() + AGAIN_NS;
		return;
	}
	bool is_all = true;
	for (int i = 0; i < USAGE_PERIODS; i++) {
		if (strcmp(u->periods[i].name, u->job.periods[i].name) == 0)
			u->bytes[i] = u->job.periods[i].stored + u->unsaved;
		else
			is_all = false; /* it turned meanwhile: ask for the new ones */
	}
	u->is_known = is_all;
	if (!is_all)
		u->save_due_ns = 0;
}
