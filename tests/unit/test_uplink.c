/* The uplink's scheduler with a fake clock: rates, shares, windows, budgets, slow start, orders;
 * and with real threads. large file: one behaviour, many limits. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "gateway/base/now.h"
#include "gateway/forward/gate.h"
#include "gateway/forward/uplink.h"
#include "tests/support/expect.h"
#include "tests/support/patience.h"
#include "tests/support/queue_client.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define MINUTE       (60 * NS_PER_S)
#define HOUR         (60 * MINUTE)
/* Monday, 2026-11-23 12:00 UTC. */
#define NOON (INT64_C(1795435200) * NS_PER_S)

enum { SITES_MAX = 4 };

static uint64_t draw = UINT64_C(0x8000000080000000); /* no shift: half of each 32 bits */

static uint64_t draw_fixed(void *ctx)
{
	(void)ctx;
	return draw;
}

/* One flow of the simulation: a destination's class that always has something to send. */
struct source {
	int site;
	enum record_class class;
	int64_t size;       /* of its exports, on the wire */
	int64_t other_size; /* of every second one; 0: the same */
	bool is_off;
	int64_t next_ns;
	int64_t bytes; /* sent */
	int64_t first_ns;
	int asks;
	int grants;
	struct uplink_answer answer; /* the last */
};

struct world {
	struct config *config;
	struct uplink *uplink;
	struct chan chans[SITES_MAX];
	struct uplink_member *sites[SITES_MAX];
};

static struct world *world_new(const char *options)
{
	struct world *w = calloc(1, sizeof(*w));
	struct err e = { 0 };
	char yaml[600];
	(void)setenv("TZ", "UTC", 1);
	tzset();
	now_fake(NOON, 1000 * NS_PER_S);
	(void)snprintf(yaml, sizeof(yaml), "uplinks: {default: {%s}}\n", options);
	ck_assert_msg(config_parse("t", bytes_str(yaml), &w->config, &e) == ST_OK, "%s", e.text);
	w->uplink = uplink_new(&w->config->uplinks[0], NULL, draw_fixed);
	static const char *const names[SITES_MAX] = { "a", "b", "c", "d" };
	for (int i = 0; i < SITES_MAX; i++) {
		EXPECT_OK(chan_init(&w->chans[i], CHAN_WAKE_FD));
		w->sites[i] = uplink_join(w->uplink, names[i], &w->chans[i]);
	}
	return w;
}

static void world_free(struct world *w)
{
	uplink_stop(w->uplink, now_mono_ns());
	for (int i = 0; i < SITES_MAX; i++) {
		uplink_leave(w->sites[i]);
		chan_done(&w->chans[i]);
	}
	uplink_free(w->uplink);
	config_free(w->config);
	now_fake_off();
	free(w);
}

static void turn(struct world *w, struct source *s)
{
	s->asks++;
	s->answer = uplink_ask(w->sites[s->site], s->class);
	if (!s->answer.granted) {
		ck_assert_int_gt(s->answer.at_ns, now_mono_ns());
		s->next_ns = s->answer.at_ns;
		return;
	}
	if (!s->bytes)
		s->first_ns = now_mono_ns();
	int64_t size = s->other_size && s->grants++ % 2 ? s->other_size : s->size;
	uplink_sent(w->sites[s->site], s->class, s->answer.granted, (size_t)size * 4, size);
	s->bytes += size;
	s->next_ns = now_mono_ns();
}

/* Let them send for so long. */
static void run(struct world *w, struct source *sources, size_t count, int64_t for_ns)
{
	int64_t end = now_mono_ns() + for_ns;
	for (;;) {
		struct source *next = NULL;
		for (size_t i = 0; i < count; i++)
			if (!sources[i].is_off && (!next || sources[i].next_ns < next->next_ns))
				next = &sources[i];
		if (!next || next->next_ns >= end)
			break;
		if (next->next_ns > now_mono_ns())
			now_fake_advance(next->next_ns - now_mono_ns());
		turn(w, next);
	}
	now_fake_advance(end - now_mono_ns());
}

static void expect_near(int64_t got, double want, double part)
{
	ck_assert_msg((double)got >= want * (1 - part) && (double)got <= want * (1 + part),
		      "%lld, expected %.0f within %.0f %%", (long long)got, want, part * 100);
}

static bool is_rung(struct world *w, int site)
{
	struct chan_item *item = chan_wait_all(&w->chans[site], now_mono_ns());
	ck_assert_ptr_null(item);
	return false;
}

START_TEST(without_limits_everything_goes_at_once)
{
	struct world *w = world_new("");
	struct source s = { .class = RECORD_CLASS_INFO, .size = 1 << 20 };
	for (int i = 0; i < 1000; i++) {
		turn(w, &s);
		ck_assert_int_gt(s.answer.granted, 0);
	}
	ck_assert_uint_eq(uplink_export_max(w->sites[0]), SIZE_MAX);
	struct uplink_view v;
	uplink_look(w->uplink, &v);
	ck_assert_int_eq(v.used[0], INT64_C(1000) << 20);
	ck_assert_int_eq(v.used[1], INT64_C(1000) << 20);
	ck_assert_str_eq(v.periods[0], "2026-11-23");
	ck_assert_str_eq(v.periods[1], "2026-11");
	ck_assert(v.is_open && !v.has_windows);
	world_free(w);
}
END_TEST

static const int64_t sizes[] = { 500, 10000, 64 << 10, 1 << 20 };

/* Also by exports that are larger than what the bucket ever holds. */
START_TEST(the_rate_holds_whatever_the_sizes)
{
	struct world *w = world_new("rate: 32KiB/s");
	struct source s = { .class = RECORD_CLASS_INFO, .size = sizes[_i] };
	run(w, &s, 1, 10 * MINUTE);
	double want = 600.0 * (32 << 10);
	ck_assert_int_le(s.bytes, (int64_t)want + (32 << 10) + s.size);
	ck_assert_int_ge(s.bytes, (int64_t)want - s.size);
	/* One ask for each grant and each wait: nobody polls. */
	ck_assert_int_le(s.asks, 2 * (int)(s.bytes / s.size) + 2);
	world_free(w);
}
END_TEST

START_TEST(classes_share_by_weight_and_destinations_alike)
{
	struct world *w = world_new("rate: 100kB/s, shares: {critical: 60, warning: 30, info: 10}");
	struct source s[] = {
		{ .site = 0, .class = RECORD_CLASS_CRITICAL, .size = 5000 },
		{ .site = 1, .class = RECORD_CLASS_WARNING, .size = 20000 },
		{ .site = 2, .class = RECORD_CLASS_INFO, .size = 40000 },
		{ .site = 3, .class = RECORD_CLASS_INFO, .size = 4000 },
		{ .site = 0, .class = RECORD_CLASS_INFO, .size = 10000 },
	};
	run(w, s, COUNT(s), 20 * MINUTE);
	double all = 1200.0 * 100000;
	expect_near(s[0].bytes, all * 0.6, 0.02);
	expect_near(s[1].bytes, all * 0.3, 0.02);
	for (int i = 2; i < 5; i++)
		expect_near(s[i].bytes, all * 0.1 / 3, 0.05);
	int asks = 0;
	int64_t grants = 0;
	for (size_t i = 0; i < COUNT(s); i++) {
		asks += s[i].asks;
		grants += s[i].bytes / s[i].size;
	}
	/* Each grant wakes those who wait for one, and no more. */
	ck_assert_int_lt(asks, (int)grants * (int)(COUNT(s) + 2));

	/* What the urgent leave goes to the others, in their proportion. */
	s[0].is_off = true;
	for (size_t i = 0; i < COUNT(s); i++)
		s[i].bytes = 0;
	run(w, s, COUNT(s), 20 * MINUTE);
	expect_near(s[1].bytes, all * 0.75, 0.02);
	expect_near(s[2].bytes + s[3].bytes + s[4].bytes, all * 0.25, 0.02);
	world_free(w);
}
END_TEST

START_TEST(who_sends_unevenly_gets_no_less)
{
	struct world *w = world_new("rate: 100kB/s");
	struct source s[] = {
		{ .site = 0, .class = RECORD_CLASS_INFO, .size = 10000 },
		{ .site = 1, .class = RECORD_CLASS_INFO, .size = 1000, .other_size = 39000 },
	};
	run(w, s, COUNT(s), 20 * MINUTE);
	expect_near(s[0].bytes, 1200.0 * 50000, 0.02);
	expect_near(s[1].bytes, 1200.0 * 50000, 0.02);
	world_free(w);
}
END_TEST

START_TEST(what_is_urgent_waits_for_one_export_at_most)
{
	struct world *w = world_new("rate: 32KiB/s");
	struct source s[] = {
		{ .site = 0, .class = RECORD_CLASS_INFO, .size = 64 << 10 },
		{ .site = 1, .class = RECORD_CLASS_INFO, .size = 64 << 10 },
		{ .site = 2, .class = RECORD_CLASS_CRITICAL, .size = 2000, .is_off = true },
	};
	run(w, s, COUNT(s), 10 * MINUTE + 700 * NS_PER_MS);
	s[2].is_off = false;
	int64_t from = s[2].next_ns = now_mono_ns();
	run(w, s, COUNT(s), 10 * NS_PER_S);
	ck_assert_int_gt(s[2].bytes, 0);
	ck_assert_int_le(s[2].first_ns - from, 2 * NS_PER_S);
	/* Exports are made so large that this is so: 2 s of the rate, at a ratio of 4. */
	size_t max = uplink_export_max(w->sites[0]);
	ck_assert_msg(max > 200 << 10 && max < 270 << 10, "%zu", max);
	world_free(w);
}
END_TEST

START_TEST(a_grant_that_is_not_fetched_goes_to_another)
{
	struct world *w = world_new("rate: 10kB/s");
	struct source s[] = {
		{ .site = 0, .class = RECORD_CLASS_INFO, .size = 20000 },
		{ .site = 1, .class = RECORD_CLASS_CRITICAL, .size = 20000 },
	};
	run(w, s, COUNT(s), MINUTE);
	int64_t before = s[0].bytes;
	s[1].is_off = true; /* it died with its wishes on the list */
	run(w, s, COUNT(s), MINUTE);
	expect_near(s[0].bytes - before, 60.0 * 10000, 0.1);

	/* One that says so costs nothing. */
	s[1].is_off = false;
	s[1].next_ns = now_mono_ns();
	run(w, s, COUNT(s), MINUTE);
	s[1].is_off = true;
	uplink_withdraw(w->sites[1]);
	before = s[0].bytes;
	run(w, s, COUNT(s), MINUTE);
	expect_near(s[0].bytes - before, 60.0 * 10000, 0.05);
	world_free(w);
}
END_TEST

START_TEST(windows_are_kept_but_for_the_exempt)
{
	struct world *w = world_new("windows: [\"13:00-14:00\"], windows_exempt: [critical]");
	struct source s[] = {
		{ .site = 0, .class = RECORD_CLASS_INFO, .size = 1 << 20 },
		{ .site = 1, .class = RECORD_CLASS_CRITICAL, .size = 1 << 20 },
	};
	turn(w, &s[0]);
	ck_assert_int_eq(s[0].answer.wait, UPLINK_WINDOW);
	ck_assert_int_eq(s[0].answer.until_ns, NOON + HOUR);
	turn(w, &s[1]);
	ck_assert_int_gt(s[1].answer.granted, 0);
	int64_t until = 0;
	ck_assert_int_eq(uplink_blocked(w->sites[0], &until), UPLINK_WINDOW);
	ck_assert_int_eq(until, NOON + HOUR);
	ck_assert_int_eq(uplink_blocked(w->sites[1], &until), UPLINK_FREE);

	s[1].is_off = true;
	run(w, s, 1, HOUR - NS_PER_MS);
	ck_assert_int_eq(s[0].bytes, 0);
	ck_assert_int_le(s[0].asks, 62); /* once a minute, as clocks are set */
	now_fake_advance(2 * NS_PER_MS);
	turn(w, &s[0]);
	ck_assert_int_gt(s[0].answer.granted, 0);
	now_fake_advance(HOUR);
	turn(w, &s[0]);
	ck_assert_int_eq(s[0].answer.wait, UPLINK_WINDOW);
	ck_assert_int_eq(s[0].answer.until_ns, NOON + 25 * HOUR);

	/* An operator opens it for one destination. */
	uplink_set_flush(w->sites[0], true);
	turn(w, &s[0]);
	ck_assert_int_gt(s[0].answer.granted, 0);
	uplink_set_flush(w->sites[0], false);
	turn(w, &s[0]);
	ck_assert_int_eq(s[0].answer.wait, UPLINK_WINDOW);

	/* A clock that is set is believed, in both directions. */
	now_fake(NOON + 25 * HOUR + MINUTE, now_mono_ns());
	turn(w, &s[0]);
	ck_assert_int_gt(s[0].answer.granted, 0);
	now_fake(NOON, now_mono_ns());
	turn(w, &s[0]);
	ck_assert_int_eq(s[0].answer.wait, UPLINK_WINDOW);
	world_free(w);
}
END_TEST

START_TEST(a_budget_ends_in_waiting_and_the_last_of_it_is_for_what_is_urgent)
{
	struct world *w = world_new("daily_budget: 10MB");
	struct source s[] = {
		{ .site = 0, .class = RECORD_CLASS_INFO, .size = 100000 },
		{ .site = 1, .class = RECORD_CLASS_CRITICAL, .size = 100000, .is_off = true },
	};
	run(w, s, COUNT(s), HOUR);
	ck_assert_int_le(s[0].bytes, 9000000);
	ck_assert_int_ge(s[0].bytes, 8800000);
	ck_assert_int_eq(s[0].answer.wait, UPLINK_DAY);
	ck_assert_int_eq(s[0].answer.until_ns, NOON + 12 * HOUR);
	ck_assert_int_le(s[0].asks, 200);
	s[1].is_off = false;
	s[1].next_ns = now_mono_ns();
	run(w, s, COUNT(s), HOUR);
	ck_assert_int_le(s[0].bytes + s[1].bytes, 10000000);
	ck_assert_int_ge(s[0].bytes + s[1].bytes, 9800000);
	/* Exports become small enough for what is left. */
	ck_assert_uint_lt(uplink_export_max(w->sites[0]), 1 << 20);
	run(w, s, COUNT(s), 9 * HOUR + 59 * MINUTE);
	ck_assert_int_le(s[0].bytes + s[1].bytes, 10000000);
	run(w, s, COUNT(s), 2 * MINUTE);
	ck_assert_int_ge(s[0].bytes + s[1].bytes, 19800000);
	struct uplink_view v;
	uplink_look(w->uplink, &v);
	ck_assert_str_eq(v.periods[0], "2026-11-24");
	ck_assert_int_eq(v.used[0], s[0].bytes + s[1].bytes - (v.used[1] - v.used[0]));
	ck_assert_int_eq(v.used[1], s[0].bytes + s[1].bytes);
	world_free(w);
}
END_TEST

START_TEST(a_monthly_budget_lasts_until_the_first)
{
	struct world *w =
		world_new("monthly_budget: 4MB, budget_reserve: 0, budget_exempt: [critical]");
	struct source s[] = {
		{ .site = 0, .class = RECORD_CLASS_INFO, .size = 50000 },
		{ .site = 1, .class = RECORD_CLASS_CRITICAL, .size = 50000, .is_off = true },
	};
	run(w, s, COUNT(s), HOUR);
	ck_assert_int_eq(s[0].answer.wait, UPLINK_MONTH);
	ck_assert_int_eq(s[0].answer.until_ns, NOON + 7 * 24 * HOUR + 12 * HOUR);
	int64_t used = s[0].bytes;
	/* The exempt goes on, and is counted. */
	turn(w, &s[1]);
	ck_assert_int_gt(s[1].answer.granted, 0);
	struct uplink_view v;
	uplink_look(w->uplink, &v);
	ck_assert_int_eq(v.used[1], used + s[1].bytes);
	ck_assert_int_eq(v.waiting[UPLINK_MONTH], 1);
	run(w, s, 1, 7 * 24 * HOUR + 11 * HOUR - MINUTE);
	ck_assert_int_eq(s[0].bytes, used);
	run(w, s, 1, 2 * MINUTE);
	ck_assert_int_gt(s[0].bytes, used);
	uplink_look(w->uplink, &v);
	ck_assert_str_eq(v.periods[1], "2026-12");
	world_free(w);
}
END_TEST

START_TEST(an_export_that_is_larger_than_a_budget_passes_once)
{
	struct world *w = world_new("daily_budget: 1MiB");
	struct source s = { .class = RECORD_CLASS_INFO, .size = 3 << 20 };
	run(w, &s, 1, HOUR);
	ck_assert_int_eq(s.bytes, 3 << 20);
	run(w, &s, 1, 24 * HOUR);
	ck_assert_int_eq(s.bytes, 2 * 3 << 20);
	world_free(w);
}
END_TEST

START_TEST(what_did_not_go_is_given_back)
{
	struct world *w = world_new("daily_budget: 1MiB, rate: 100kB/s");
	struct source s = { .class = RECORD_CLASS_INFO, .size = 100000 };
	for (int i = 0; i < 100; i++) {
		turn(w, &s);
		ck_assert_int_gt(s.answer.granted, 0);
		uplink_correct(w->sites[0], s.class, -s.size);
	}
	struct uplink_view v;
	uplink_look(w->uplink, &v);
	ck_assert_int_eq(v.used[0], 0);
	world_free(w);
}
END_TEST

static int64_t first_seconds(struct world *w, int site, int64_t for_ns)
{
	struct source s = {
		.site = site, .class = RECORD_CLASS_INFO, .size = 16 << 10, .next_ns = now_mono_ns()
	};
	turn(w, &s);
	ck_assert_int_gt(s.answer.granted, 0); /* the first goes at once */
	run(w, &s, 1, for_ns);
	return s.bytes;
}

START_TEST(what_a_kind_refuses_itself_teaches_nothing_and_costs_nothing)
{
	struct world *w = world_new("rate: 100KiB");
	struct gate g;
	struct export x = { .class = RECORD_CLASS_INFO, .raw_bytes = 1 << 20 };
	struct uplink_view view;
	gate_init(&g, w->uplink, "e", &w->chans[0]);
	size_t max = gate_export_max(&g);
	for (int i = 0; i < 8; i++) {
		while (!gate_pass(&g, x.class))
			now_fake_advance(NS_PER_S);
		x.body.n = 1;
		gate_sent(&g, &x);
		x.reply.is_own = true;
		gate_ended(&g, &x, 1);
	}
	ck_assert_uint_eq(gate_export_max(&g), max);
	uplink_look(w->uplink, &view);
	ck_assert_int_eq(view.used[0], 0);
	gate_done(&g);
	world_free(w);
}
END_TEST

START_TEST(after_an_outage_a_destination_starts_slowly)
{
	struct world *w = world_new("slow_start: 20s");
	for (int i = 0; i < 3; i++)
		uplink_note_down(w->sites[i]);
	now_fake_advance(HOUR);
	uplink_note_up(w->sites[0]);
	/* 64 KiB a second, doubled every 2 s. */
	int64_t two = first_seconds(w, 0, 2 * NS_PER_S);
	ck_assert_int_ge(two, 128 << 10);
	ck_assert_int_le(two, 160 << 10);
	ck_assert_uint_le(uplink_export_max(w->sites[0]), 2 << 20);
	int64_t more = first_seconds(w, 0, 8 * NS_PER_S);
	ck_assert_int_ge(more, 10 * two);
	now_fake_advance(20 * NS_PER_S);
	ck_assert_uint_eq(uplink_export_max(w->sites[0]), SIZE_MAX);

	/* Sites differ. */
	draw = UINT64_C(0xf0000000f0000000);
	uplink_note_up(w->sites[1]);
	int64_t other = first_seconds(w, 1, 2 * NS_PER_S);
	draw = UINT64_C(0x8000000080000000);
	ck_assert_int_gt(other, two + (32 << 10));

	/* Whoever was never down is not slowed, nor is a short outage. */
	struct source s = { .site = 3, .class = RECORD_CLASS_INFO, .size = 1 << 20 };
	for (int i = 0; i < 100; i++) {
		turn(w, &s);
		ck_assert_int_gt(s.answer.granted, 0);
	}
	uplink_note_down(w->sites[3]);
	now_fake_advance(19 * NS_PER_S);
	uplink_note_up(w->sites[3]);
	turn(w, &s);
	turn(w, &s);
	ck_assert_int_gt(s.answer.granted, 0);
	world_free(w);
}
END_TEST

START_TEST(a_rate_can_be_set_for_a_while)
{
	struct world *w = world_new("rate: 10kB/s");
	struct source s = { .class = RECORD_CLASS_INFO, .size = 5000 };
	run(w, &s, 1, MINUTE);
	uplink_set_rate(w->uplink, 100000, 2 * MINUTE);
	struct uplink_view v;
	uplink_look(w->uplink, &v);
	ck_assert_uint_eq(v.rate, 100000);
	ck_assert_int_eq(v.rate_until_ns, now_wall_ns() + 2 * MINUTE);
	int64_t before = s.bytes;
	s.next_ns = now_mono_ns(); /* all are rung */
	ck_assert(!is_rung(w, 0));
	run(w, &s, 1, MINUTE);
	expect_near(s.bytes - before, 60 * 100000.0, 0.03);
	run(w, &s, 1, MINUTE);
	before = s.bytes;
	run(w, &s, 1, MINUTE);
	expect_near(s.bytes - before, 60 * 10000.0, 0.25);
	uplink_look(w->uplink, &v);
	ck_assert_uint_eq(v.rate, 10000);
	ck_assert_int_eq(v.rate_until_ns, 0);

	/* Almost nothing, and at its end everything again without being asked. */
	uplink_set_rate(w->uplink, 100, 10 * NS_PER_S);
	before = s.bytes;
	run(w, &s, 1, 10 * NS_PER_S);
	ck_assert_int_le(s.bytes - before, 2 * s.size + (16 << 10));
	before = s.bytes;
	run(w, &s, 1, MINUTE);
	expect_near(s.bytes - before, 60 * 10000.0, 0.1);

	uplink_set_rate(w->uplink, 0, MINUTE); /* no limit */
	for (int i = 0; i < 100; i++) {
		turn(w, &s);
		ck_assert_int_gt(s.answer.granted, 0);
	}
	uplink_set_rate(w->uplink, 0, 0); /* back, now */
	uplink_look(w->uplink, &v);
	ck_assert_uint_eq(v.rate, 10000);
	world_free(w);
}
END_TEST

/* ---- with a queue file ---- */

struct site {
	char dir[512];
	char path[CLIENT_PATH_SIZE];
	struct config *config;
	struct writer *writer;
	struct uplink *uplink;
	struct chan chan;
	struct uplink_member *member;
};

static void site_start(struct site *s)
{
	struct writer_options o = { .path = s->path, .max_size_bytes = 1u << 30 };
	struct err e = { 0 };
	ck_assert_msg(writer_open(&o, &s->writer, &e) == ST_OK, "%s", e.text);
	EXPECT_OK(writer_start(s->writer, &e));
	EXPECT_OK(chan_init(&s->chan, CHAN_WAKE_FD));
	s->uplink = uplink_new(&s->config->uplinks[0], s->writer, draw_fixed);
	s->member = uplink_join(s->uplink, "a", &s->chan);
}

/* is_kill: without the last save. */
static void site_stop(struct site *s, bool is_kill)
{
	if (!is_kill)
		uplink_stop(s->uplink, now_mono_ns() + patience_ns());
	uplink_leave(s->member);
	writer_stop(s->writer);
	uplink_free(s->uplink);
	ck_assert(!chan_take_all(&s->chan));
	chan_done(&s->chan);
}

/* Real time: the writer answers on its own thread. */
static struct uplink_answer ask_until_loaded(struct site *s, enum record_class class)
{
	int64_t end = patience_end_ns();
	struct uplink_answer a = uplink_ask(s->member, class);
	while (!a.granted && a.wait == UPLINK_SAVING && now_mono_ns() < end) {
		ck_assert(!chan_wait_all(&s->chan, now_mono_ns() + 20 * NS_PER_MS));
		a = uplink_ask(s->member, class);
	}
	return a;
}

static int64_t stored(const struct site *s)
{
	return facts_int(s->path, "SELECT max(bytes) FROM uplink_usage WHERE length(period) = 10");
}

START_TEST(usage_outlives_restarts_and_kills)
{
	struct site s = { 0 };
	struct err e = { 0 };
	client_make_dir(s.dir, sizeof(s.dir), "uplink");
	(void)snprintf(s.path, sizeof(s.path), "%s/queue.db", s.dir);
	EXPECT_OK(config_parse("t",
			       bytes_str("uplinks: {default: {daily_budget: 64MB, "
					 "budget_reserve: 0}}"),
			       &s.config, &e));
	site_start(&s);
	int64_t sent = 0;
	for (int i = 0; i < 20; i++) {
		struct uplink_answer a = ask_until_loaded(&s, RECORD_CLASS_INFO);
		ck_assert_int_gt(a.granted, 0);
		uplink_sent(s.member, RECORD_CLASS_INFO, a.granted, 100000, 100000);
		sent += 100000;
	}
	site_stop(&s, false);
	ck_assert_int_eq(stored(&s), sent);

	/* A kill forgets a 64th and one export at most, and nothing of what was there before. */
	site_start(&s);
	struct uplink_view v;
	for (int i = 0; i < 300; i++) {
		struct uplink_answer a = ask_until_loaded(&s, RECORD_CLASS_INFO);
		ck_assert_int_gt(a.granted, 0);
		uplink_sent(s.member, RECORD_CLASS_INFO, a.granted, 100000, 100000);
		sent += 100000;
		ck_assert_int_ge(stored(&s), sent - (64 << 20) / 64 - 200000);
	}
	uplink_look(s.uplink, &v);
	ck_assert_int_eq(v.used[0], sent);
	site_stop(&s, true);

	/* The budget goes on where it was. */
	site_start(&s);
	int64_t found = stored(&s);
	int64_t more = 0;
	for (;;) {
		struct uplink_answer a = ask_until_loaded(&s, RECORD_CLASS_INFO);
		if (!a.granted) {
			ck_assert_int_eq(a.wait, UPLINK_DAY);
			break;
		}
		uplink_sent(s.member, RECORD_CLASS_INFO, a.granted, 500000, 500000);
		more += 500000;
	}
	ck_assert_int_le(found + more, 64000000 + 500000);
	ck_assert_int_ge(found + more, 64000000 - 1000000);
	site_stop(&s, false);
	config_free(s.config);
	client_remove_dir(s.dir);
}
END_TEST

START_TEST(a_clock_that_is_not_set_yet_neither_blocks_nor_books)
{
	struct site s = { 0 };
	struct err e = { 0 };
	client_make_dir(s.dir, sizeof(s.dir), "uplink");
	(void)snprintf(s.path, sizeof(s.path), "%s/queue.db", s.dir);
	EXPECT_OK(config_parse("t", bytes_str("uplinks: {default: {daily_budget: 64MB}}"),
			       &s.config, &e));
	int64_t mono = now_mono_ns();
	now_fake(100 * NS_PER_S, mono); /* 1970 */
	site_start(&s);
	for (int i = 0; i < 100; i++) { /* more than a 64th, and nothing is stored */
		struct uplink_answer a = uplink_ask(s.member, RECORD_CLASS_INFO);
		ck_assert_int_gt(a.granted, 0);
		uplink_sent(s.member, RECORD_CLASS_INFO, a.granted, 100000, 100000);
	}
	ck_assert_int_eq(facts_int(s.path, "SELECT count(*) FROM uplink_usage"), 0);
	now_fake(NOON, mono);
	uplink_tick(s.member, 0);
	uplink_stop(s.uplink, mono + patience_ns());
	ck_assert_int_eq(facts_int(s.path, "SELECT bytes FROM uplink_usage WHERE period = "
					   "'2026-11-23'"),
			 10000000);
	ck_assert_int_eq(facts_int(s.path, "SELECT count(*) FROM uplink_usage"), 2);
	now_fake_off();
	site_stop(&s, false);
	config_free(s.config);
	client_remove_dir(s.dir);
}
END_TEST

START_TEST(what_is_not_wanted_any_more_is_not_shown_as_waiting)
{
	struct world *w = world_new("windows: [\"13:00-14:00\"]");
	struct source s = { .class = RECORD_CLASS_INFO, .size = 1000 };
	int64_t until = 0;
	turn(w, &s);
	ck_assert_int_eq(uplink_blocked(w->sites[0], &until), UPLINK_WINDOW);
	uplink_tick(w->sites[0], 1u << RECORD_CLASS_INFO);
	ck_assert_int_eq(uplink_blocked(w->sites[0], &until), UPLINK_WINDOW);
	uplink_tick(w->sites[0], 1u << RECORD_CLASS_CRITICAL);
	ck_assert_int_eq(uplink_blocked(w->sites[0], &until), UPLINK_FREE);
	world_free(w);
}
END_TEST

/* ---- with threads ---- */

struct sender {
	struct uplink *uplink;
	struct uplink_member *member;
	struct chan chan;
	pthread_t thread;
	atomic_bool *is_over;
	enum record_class class;
	_Atomic int64_t bytes;
};

static void *send_all(void *arg)
{
	struct sender *s = arg;
	while (!atomic_load(s->is_over)) {
		struct uplink_answer a = uplink_ask(s->member, s->class);
		if (a.granted) {
			uplink_sent(s->member, s->class, a.granted, 40000, 10000);
			s->bytes += 10000;
			continue;
		}
		int64_t at = now_mono_ns() + 50 * NS_PER_MS;
		CHECK(!chan_wait_all(&s->chan, a.at_ns < at ? a.at_ns : at));
	}
	uplink_withdraw(s->member);
	return NULL;
}

static bool has_each_sent(struct sender *senders, int count)
{
	bool has = true;
	for (int i = 0; i < count; i++)
		has = has && atomic_load(&senders[i].bytes) > 0;
	return has;
}

START_TEST(threads_share_it_while_orders_come)
{
	struct config *c = NULL;
	struct err e = { 0 };
	struct sender senders[4] = { 0 };
	atomic_bool is_over = false;
	EXPECT_OK(config_parse("t", bytes_str("uplinks: {default: {rate: 1MB/s, burst: 20kB}}"), &c,
			       &e));
	struct uplink *u = uplink_new(&c->uplinks[0], NULL, draw_fixed);
	int64_t start = now_mono_ns();
	for (int i = 0; i < 4; i++) {
		struct sender *s = &senders[i];
		EXPECT_OK(chan_init(&s->chan, CHAN_WAKE_WAIT));
		s->uplink = u;
		s->is_over = &is_over;
		s->class = (enum record_class)(i % RECORD_CLASS_COUNT);
		s->member = uplink_join(u, "x", &s->chan);
		ck_assert_int_eq(pthread_create(&s->thread, NULL, send_all, s), 0);
	}
	struct uplink_view v;
	int64_t end = patience_end_ns();
	while (now_mono_ns() < start + 600 * NS_PER_MS ||
	       (!has_each_sent(senders, 4) && now_mono_ns() < end)) {
		uplink_look(u, &v);
		uplink_set_rate(u, 2000000, 20 * NS_PER_MS);
		uplink_note_down(senders[1].member);
		uplink_note_up(senders[1].member);
		ck_assert_int_le(v.members, 4);
	}
	atomic_store(&is_over, true);
	int64_t sum = 0;
	for (int i = 0; i < 4; i++) {
		struct sender *s = &senders[i];
		ck_assert_int_eq(pthread_join(s->thread, NULL), 0);
		sum += s->bytes;
		ck_assert_int_gt(s->bytes, 0);
	}
	uplink_look(u, &v);
	ck_assert_int_eq(v.used[0], sum);
	double seconds = (double)(now_mono_ns() - start) / NS_PER_S;
	ck_assert_msg((double)sum <= seconds * 2000000 + 2000000 + 40000, "%lld in %.2f s",
		      (long long)sum, seconds);
	for (int i = 0; i < 4; i++) {
		uplink_leave(senders[i].member);
		chan_done(&senders[i].chan);
	}
	uplink_free(u);
	config_free(c);
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		without_limits_everything_goes_at_once,
		classes_share_by_weight_and_destinations_alike,
		who_sends_unevenly_gets_no_less,
		what_is_urgent_waits_for_one_export_at_most,
		a_grant_that_is_not_fetched_goes_to_another,
		windows_are_kept_but_for_the_exempt,
		a_budget_ends_in_waiting_and_the_last_of_it_is_for_what_is_urgent,
		a_monthly_budget_lasts_until_the_first,
		an_export_that_is_larger_than_a_budget_passes_once,
		what_did_not_go_is_given_back,
		what_a_kind_refuses_itself_teaches_nothing_and_costs_nothing,
		after_an_outage_a_destination_starts_slowly,
		a_rate_can_be_set_for_a_while,
		usage_outlives_restarts_and_kills,
		a_clock_that_is_not_set_yet_neither_blocks_nor_books,
		what_is_not_wanted_any_more_is_not_shown_as_waiting,
		threads_share_it_while_orders_come,
	};
	int failed = run_cases("uplink", cases, COUNT(cases));
	return failed + run_loop("uplink_rate", the_rate_holds_whatever_the_sizes, COUNT(sizes));
}
