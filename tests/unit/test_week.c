/* Windows of a week: what a text opens, over midnight, month ends and changes of the clock. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "gateway/base/now.h"
#include "gateway/base/week.h"
#include "tests/support/expect.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void use_zone(const char *tz)
{
	(void)setenv("TZ", tz, 1);
	tzset();
}

/* "2026-11-23 01:00" in the zone in use, as Unix ns. */
static int64_t at(const char *text)
{
	struct tm tm = { .tm_isdst = -1 };
	ck_assert_ptr_nonnull(strptime(text, "%Y-%m-%d %H:%M", &tm));
	return (int64_t)mktime(&tm) * NS_PER_S;
}

static struct week make(const char *const *texts, size_t count)
{
	struct week w = { 0 };
	struct err e = { 0 };
	for (size_t i = 0; i < count; i++)
		ck_assert_msg(week_add(&w, texts[i], &e) == ST_OK, "%s", e.text);
	return w;
}

static struct week make_one(const char *text)
{
	return make(&text, 1);
}

/* 2026-11-23 is a Monday. */
static const struct {
	const char *window;
	const char *time;
	bool is_open;
} looks[] = {
	{ "01:00-05:00", "2026-11-23 00:59", false },
	{ "01:00-05:00", "2026-11-23 01:00", true },
	{ "01:00-05:00", "2026-11-23 04:59", true },
	{ "01:00-05:00", "2026-11-23 05:00", false },
	{ "00:00-24:00", "2026-11-23 23:59", true },
	{ "mon-fri 22:00-06:00", "2026-11-23 21:59", false },
	{ "mon-fri 22:00-06:00", "2026-11-23 22:00", true },
	{ "mon-fri 22:00-06:00", "2026-11-23 05:00", false }, /* begun on Sunday: no */
	{ "mon-fri 22:00-06:00", "2026-11-28 05:59", true },  /* Saturday, begun on Friday */
	{ "mon-fri 22:00-06:00", "2026-11-28 22:00", false },
	{ "sat 22:00-06:00", "2026-11-29 03:00", true }, /* over the end of the week */
	{ "sat,sun", "2026-11-29 12:00", true },
	{ "sat, sun", "2026-11-29 12:00", true },
	{ "sat,sun", "2026-11-30 00:00", false },
	{ "fri-mon", "2026-11-23 12:00", true },
	{ "fri-mon", "2026-11-24 12:00", false },
	{ "mon 00:00-24:00", "2026-11-30 00:00", true },
	{ "mon 12:00-12:00", "2026-11-24 11:59", true }, /* a whole day */
	{ "mon 12:00-00:00", "2026-11-23 23:59", true },
	{ "mon 12:00-00:00", "2026-11-24 00:00", false },
	{ "sun", "2026-03-01 00:00", true }, /* the first of a month, after the 28th */
};

START_TEST(a_text_opens_its_minutes_and_no_others)
{
	use_zone("UTC");
	for (size_t i = 0; i < COUNT(looks); i++) {
		struct week w = make_one(looks[i].window);
		ck_assert_msg(week_is_open(&w, at(looks[i].time)) == looks[i].is_open, "%s at %s",
			      looks[i].window, looks[i].time);
	}
}
END_TEST

START_TEST(what_is_no_window_is_refused)
{
	static const char *const texts[] = {
		"",
		" ",
		"monday",
		"mon-",
		"mon,",
		"mon 1:00-2:00",
		"mon 01:00",
		"25:00-26:00",
		"01:60-02:00",
		"24:00-25:00",
		"24:00-01:00",
		"01:00-05:00x",
		"mon 01:00-05:00 ",
		"01:00 - 05:00",
		"mon01:00-05:00",
		"01:00-",
		"-05:00",
		"Mon",
		"01:00-05:00,06:00-07:00",
	};
	for (size_t i = 0; i < COUNT(texts); i++) {
		struct week w = { 0 };
		struct err e = { 0 };
		ck_assert_msg(week_add(&w, texts[i], &e) == ST_INVALID, "\"%s\" was taken",
			      texts[i]);
		ck_assert(week_is_empty(&w));
	}
}
END_TEST

static const struct {
	const char *window;
	const char *from;
	const char *change;
} changes[] = {
	{ "01:00-05:00", "2026-11-23 00:59", "2026-11-23 01:00" },
	{ "01:00-05:00", "2026-11-23 01:00", "2026-11-23 05:00" },
	{ "01:00-05:00", "2026-11-30 23:00", "2026-12-01 01:00" },
	{ "01:00-05:00", "2026-12-31 23:00", "2027-01-01 01:00" },
	{ "mon-fri 22:00-06:00", "2026-11-28 06:00", "2026-11-30 22:00" },
	{ "mon 00:00-00:01", "2026-11-23 00:01", "2026-11-30 00:00" },
	{ "sat,sun", "2026-02-28 00:00", "2026-03-02 00:00" },
};

START_TEST(the_next_change_is_found)
{
	use_zone("UTC");
	for (size_t i = 0; i < COUNT(changes); i++) {
		struct week w = make_one(changes[i].window);
		ck_assert_msg(week_next_change(&w, at(changes[i].from)) == at(changes[i].change),
			      "%s from %s", changes[i].window, changes[i].from);
	}
	struct week always = make_one("00:00-24:00");
	struct week never = { 0 };
	ck_assert_int_eq(week_next_change(&always, at("2026-11-23 00:00")), INT64_MAX);
	ck_assert_int_eq(week_next_change(&never, at("2026-11-23 00:00")), INT64_MAX);
}
END_TEST

START_TEST(windows_follow_the_clock_of_the_site)
{
	struct week w = make_one("01:00-05:00");
	use_zone("<-0330>3:30"); /* Newfoundland: not a whole hour from UTC */
	int64_t local = at("2026-11-23 01:00");
	use_zone("UTC");
	ck_assert_int_eq(local, at("2026-11-23 04:30"));
	use_zone("<-0330>3:30");
	ck_assert(week_is_open(&w, local));
	ck_assert(!week_is_open(&w, local - NS_PER_S));
	ck_assert_int_eq(week_next_change(&w, local - NS_PER_S), local);
}
END_TEST

/* Central Europe: 2026-03-29 has no 02:00-03:00, 2026-10-25 has it twice. */
START_TEST(a_change_of_the_clock_loses_or_repeats_what_it_should)
{
	use_zone("CET-1CEST,M3.5.0,M10.5.0/3");
	struct week gone = make_one("sun 02:00-03:00");
	ck_assert_int_eq(week_next_change(&gone, at("2026-03-28 12:00")), at("2026-04-05 02:00"));
	struct week across = make_one("01:00-05:00");
	int64_t open = at("2026-03-29 01:00");
	ck_assert_int_eq(week_next_change(&across, open), open + 3 * 3600 * NS_PER_S);
	open = at("2026-10-25 01:00");
	ck_assert_int_eq(week_next_change(&across, open), open + 5 * 3600 * NS_PER_S);
	/* 02:00 CEST, then 02:00 CET an hour later: open for two hours less a gap of none. */
	open = at("2026-10-25 01:00") + 3600 * NS_PER_S;
	ck_assert_int_eq(week_next_change(&gone, open - 60 * NS_PER_S), open);
	ck_assert_int_eq(week_next_change(&gone, open), open + 2 * 3600 * NS_PER_S);
	ck_assert(week_is_open(&gone, open + 90 * 60 * NS_PER_S));
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		a_text_opens_its_minutes_and_no_others,
		what_is_no_window_is_refused,
		the_next_change_is_found,
		windows_follow_the_clock_of_the_site,
		a_change_of_the_clock_loses_or_repeats_what_it_should,
	};
	return run_cases("week", cases, COUNT(cases));
}
