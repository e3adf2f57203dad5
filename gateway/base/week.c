/* week.c - hours of the week as one bit a minute.
 *
 * Windows overlap, pass midnight and pass the end of the week; as bits all of that is setting bits
 * modulo a week, and asking is one look.
 *
 * They are local time, as in cron: cheap hours, shifts and radio silence are the site's own, and
 * follow its daylight saving. What a minute is called is asked of the C library, so a local hour
 * that a clock change leaves out never comes, and one that it repeats is open twice.
 *
 * The next change is looked for minute by minute. The offset from UTC changes at quarters of an
 * hour only, so the library is asked once for each, at most 700 times; callers keep the answer. */
#include "gateway/base/week.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "gateway/base/now.h"

enum { DAY_MINUTES = 24 * 60, QUARTER = 15, SEARCH_MINUTES = WEEK_MINUTES + DAY_MINUTES };

static const char *const day_words[] = { "sun", "mon", "tue", "wed", "thu", "fri", "sat" };

static bool get_minute(const struct week *w, int i)
{
	return w->minutes[i / 8] >> (i % 8) & 1;
}

static void set_minutes(struct week *w, int from, int count)
{
	for (int i = from; i < from + count; i++) {
		int m = i % WEEK_MINUTES;
		w->minutes[m / 8] = (uint8_t)(w->minutes[m / 8] | 1u << (m % 8));
	}
}

/* A day at *p; -1: there is none. */
static int take_day(const char **p)
{
	for (int d = 0; d < 7; d++)
		if (strncmp(*p, day_words[d], 3) == 0) {
			*p += 3;
			return d;
		}
	return -1;
}

/* "mon-fri,sun" at *p. False: no list of days. */
static bool take_days(const char **p, unsigned *mask)
{
	for (;;) {
		int first = take_day(p);
		int last = first;
		if (**p == '-') {
			++*p;
			last = take_day(p);
		}
		if (first < 0 || last < 0)
			return false;
		for (int d = first;; d = (d + 1) % 7) {
			*mask |= 1u << d;
			if (d == last)
				break;
		}
		if (**p != ',')
			return true;
		*p += 1 + strspn(*p + 1, " ");
	}
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* "HH:MM" at *p as minutes of the day; -1: it is none. */
static int take_time(const char **p)
{
	const char *t = *p;
	if (!is_digit(t[0]) || !is_digit(t[1]) || t[2] != ':' || !is_digit(t[3]) || !is_digit(t[4]))
		return -1;
	int minute = ((t[0] - '0') * 10 + t[1] - '0') * 60 + (t[3] - '0') * 10 + t[4] - '0';
	*p += 5;
	return t[3] > '5' || minute > DAY_MINUTES ? -1 : minute;
}

/* "HH:MM-HH:MM" at *p. */
static bool take_hours(const char **p, int *ret_from, int *ret_count)
{
	int from = take_time(p);
	if (from < 0 || from == DAY_MINUTES || **p != '-')
		return false;
	++*p;
	int to = take_time(p);
	if (to < 0)
		return false;
	*ret_from = from;
	*ret_count = to > from ? to - from : to + DAY_MINUTES - from;
	return true;
}

enum status week_add(struct week *w, const char *text, struct err *e)
{
	const char *p = text;
	unsigned days = 0;
	int from = 0;
	int count = DAY_MINUTES;
	bool is_good = true;
	if (is_digit(*p)) {
		days = 0x7f;
	} else {
		is_good = take_days(&p, &days) && (!*p || *p == ' ');
		p += is_good ? strspn(p, " ") : 0;
	}
	if (is_good && *p)
		is_good = take_hours(&p, &from, &count) && !*p;
	if (!is_good)
		return err_set(e, ST_INVALID,
			       "\"%.64s\" is no window: write days (mon-fri, sat,sun), hours "
			       "(01:00-05:00, up to 24:00), or both, as in mon-fri 22:00-06:00",
			       text);
	for (int d = 0; d < 7; d++)
		if (days >> d & 1)
			set_minutes(w, d * DAY_MINUTES + from, count);
	return ST_OK;
}

bool week_is_empty(const struct week *w)
{
	static const struct week closed;
	return memcmp(w, &closed, sizeof(closed)) == 0;
}

/* Minutes since Sunday 00:00, local time. */
static int minute_of_week(int64_t wall_s)
{
	time_t t = (time_t)wall_s;
	struct tm tm = { 0 };
	(void)localtime_r(&t, &tm);
	return tm.tm_wday * DAY_MINUTES + tm.tm_hour * 60 + tm.tm_min;
}

bool week_is_open(const struct week *w, int64_t wall_ns)
{
	return get_minute(w, minute_of_week(wall_ns / NS_PER_S));
}

int64_t week_next_change(const struct week *w, int64_t wall_ns)
{
	int64_t minute = wall_ns / NS_PER_S / 60;
	int local = minute_of_week(minute * 60);
	bool was_open = get_minute(w, local);
	for (int i = 0; i < SEARCH_MINUTES; i++) {
		minute++;
		local = minute % QUARTER == 0 ? minute_of_week(minute * 60) :
						(local + 1) % WEEK_MINUTES;
		if (get_minute(w, local) != was_open)
			return minute * 60 * NS_PER_S;
	}
	return INT64_MAX;
}
