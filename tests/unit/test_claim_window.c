/* What is in memory, in order, once: the claim window against a real queue file. */
#include <stdio.h>
#include <stdlib.h>

#include "gateway/base/now.h"
#include "gateway/forward/claim_window.h"
#include "storage/writer.h"
#include "tests/support/expect.h"
#include "tests/support/queue_client.h"

struct fixture {
	char dir[512];
	char path[CLIENT_PATH_SIZE];
	struct writer *writer;
	int64_t destination_id;
	struct claim_reader *reader;
	struct claim_window *window;
};

static struct fixture *set_up_sides(size_t max_bytes, bool has_two_sides)
{
	struct fixture *fx = calloc(1, sizeof(*fx));
	struct err e = { 0 };
	int slot;
	ck_assert_ptr_nonnull(fx);
	client_make_dir(fx->dir, sizeof(fx->dir), "window");
	(void)snprintf(fx->path, sizeof(fx->path), "%s/queue.db", fx->dir);
	struct writer_options o = { .path = fx->path, .max_size_bytes = 1u << 30 };
	ck_assert_msg(writer_open(&o, &fx->writer, &e) == ST_OK, "%s", e.text);
	EXPECT_OK(writer_destination(fx->writer, "d", "file", &slot, &fx->destination_id, &e));
	EXPECT_OK(writer_start(fx->writer, &e));
	EXPECT_OK(claim_reader_open(fx->path, &fx->reader, &e));
	fx->window = claim_window_new(fx->destination_id, max_bytes, has_two_sides);
	return fx;
}

static struct fixture *set_up(size_t max_bytes)
{
	return set_up_sides(max_bytes, false);
}

static void tear_down(struct fixture *fx)
{
	claim_window_free(fx->window);
	claim_reader_close(fx->reader);
	writer_stop(fx->writer);
	now_fake_off();
	client_remove_dir(fx->dir);
	free(fx);
}

/* One batch each; the first gets row id 1, the next 2, and so on. */
static void put(struct fixture *fx, enum signal signal, enum record_class class, int count)
{
	static int64_t id;
	for (int i = 0; i < count; i++) {
		struct client_request r = { .id = ++id % 4000 + 1,
					    .signal = signal,
					    .class = class,
					    .records = 1,
					    .size = 1000,
					    .destinations = 1 };
		enum status st;
		client_put(fx->writer, &r, 1, &st, NULL);
		EXPECT_OK(st);
	}
}

static void fill(struct fixture *fx)
{
	struct err e = { 0 };
	ck_assert_msg(claim_window_fill(fx->window, fx->reader, &e) == ST_OK, "%s", e.text);
}

/* The ids that a take gives, as "1 2 3". */
static const char *take_side(struct fixture *fx, enum claim_side side, enum signal signal,
			     enum record_class class, size_t max_bytes, size_t max)
{
	static char text[512];
	struct claim claims[32];
	size_t n = claim_window_take(fx->window, side, signal, class, max_bytes, claims, max);
	size_t at = 0;
	text[0] = '\0';
	for (size_t i = 0; i < n; i++) {
		ck_assert(claims[i].signal == signal && claims[i].class == class);
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%lld", i ? " " : "",
				       (long long)claims[i].batch_id);
	}
	return text;
}

static const char *take(struct fixture *fx, enum signal signal, enum record_class class,
			size_t max_bytes, size_t max)
{
	return take_side(fx, CLAIM_OLDEST, signal, class, max_bytes, max);
}

static const char *take_traces(struct fixture *fx)
{
	return take(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, SIZE_MAX, 32);
}

static void settle(struct fixture *fx, int64_t batch_id)
{
	EXPECT_OK(client_settle(fx->writer, fx->destination_id, &batch_id, 1, SETTLE_DELIVERED, 0));
}

START_TEST(nothing_is_claimed_twice_until_it_is_released)
{
	struct fixture *fx = set_up(SIZE_MAX);
	put(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, 3);
	fill(fx);
	ck_assert_str_eq(take_traces(fx), "1 2 3");
	fill(fx);
	ck_assert_str_eq(take_traces(fx), "");
	ck_assert_uint_eq(claim_window_count(fx->window), 3);
	/* The settlement is committed, but not yet heard of here: still not claimed again. */
	settle(fx, 1);
	fill(fx);
	ck_assert_str_eq(take_traces(fx), "");
	for (int64_t id = 1; id <= 3; id++)
		claim_window_release(fx->window, RECORD_CLASS_INFO, id);
	fill(fx);
	/* 2 and 3 were never settled: released, they are claimed anew. */
	ck_assert_str_eq(take_traces(fx), "2 3");
	tear_down(fx);
}
END_TEST

START_TEST(what_is_put_back_keeps_its_place)
{
	struct fixture *fx = set_up(SIZE_MAX);
	struct claim c[2];
	put(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, 4);
	fill(fx);
	ck_assert_uint_eq(claim_window_take(fx->window, CLAIM_OLDEST, SIGNAL_TRACES,
					    RECORD_CLASS_INFO, SIZE_MAX, c, 2),
			  2);
	claim_window_put_back(fx->window, &c[1]);
	claim_window_put_back(fx->window, &c[0]);
	ck_assert_str_eq(take_traces(fx), "1 2 3 4");
	tear_down(fx);
}
END_TEST

START_TEST(signals_and_classes_do_not_mix)
{
	struct fixture *fx = set_up(SIZE_MAX);
	put(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, 1);
	put(fx, SIGNAL_LOGS, RECORD_CLASS_INFO, 1);
	put(fx, SIGNAL_TRACES, RECORD_CLASS_CRITICAL, 1);
	put(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, 1);
	fill(fx);
	ck_assert(!claim_window_has(fx->window, CLAIM_OLDEST, SIGNAL_METRICS, RECORD_CLASS_INFO));
	ck_assert(!claim_window_has(fx->window, CLAIM_OLDEST, SIGNAL_LOGS, RECORD_CLASS_WARNING));
	ck_assert(claim_window_has(fx->window, CLAIM_OLDEST, SIGNAL_LOGS, RECORD_CLASS_INFO));
	ck_assert_str_eq(take(fx, SIGNAL_TRACES, RECORD_CLASS_CRITICAL, SIZE_MAX, 32), "3");
	ck_assert_str_eq(take_traces(fx), "1 4");
	ck_assert_str_eq(take(fx, SIGNAL_LOGS, RECORD_CLASS_INFO, SIZE_MAX, 32), "2");
	tear_down(fx);
}
END_TEST

START_TEST(a_signal_that_is_held_up_keeps_no_other_from_being_claimed)
{
	struct fixture *fx = set_up(4000);
	put(fx, SIGNAL_LOGS, RECORD_CLASS_INFO, 300);
	put(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, 3);
	put(fx, SIGNAL_LOGS, RECORD_CLASS_INFO, 1);
	put(fx, SIGNAL_METRICS, RECORD_CLASS_INFO, 1);
	fill(fx);
	ck_assert_str_eq(take_traces(fx), "301 302 303");
	ck_assert_str_eq(take(fx, SIGNAL_METRICS, RECORD_CLASS_INFO, SIZE_MAX, 32), "305");
	ck_assert(!claim_window_is_behind(fx->window));
	/* What comes meanwhile is found too, and the held one goes on where it stopped, in its
	 * order. */
	put(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, 1);
	fill(fx);
	ck_assert_str_eq(take_traces(fx), "306");
	int64_t next = 1;
	while (next <= 304) {
		struct claim claims[32];
		size_t n = claim_window_take(fx->window, CLAIM_OLDEST, SIGNAL_LOGS,
					     RECORD_CLASS_INFO, SIZE_MAX, claims, 32);
		ck_assert_uint_gt(n, 0);
		for (size_t i = 0; i < n; i++) {
			next += next == 301 ? 3 : 0; /* the traces */
			ck_assert_int_eq(claims[i].batch_id, next++);
			settle(fx, claims[i].batch_id);
			claim_window_release(fx->window, RECORD_CLASS_INFO, claims[i].batch_id);
		}
		fill(fx);
	}
	tear_down(fx);
}
END_TEST

START_TEST(a_take_is_bounded_by_bytes_and_count_but_never_empty)
{
	struct fixture *fx = set_up(SIZE_MAX);
	put(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, 8);
	fill(fx);
	ck_assert_str_eq(take(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, 10, 32), "1");
	ck_assert_str_eq(take(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, 2000, 32), "2 3");
	ck_assert_str_eq(take(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, SIZE_MAX, 1), "4");
	ck_assert_str_eq(take(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, 2999, 32), "5 6");
	ck_assert_str_eq(take_traces(fx), "7 8");
	tear_down(fx);
}
END_TEST

START_TEST(a_backlog_is_claimed_piece_by_piece_and_urgent_batches_pass_it)
{
	struct fixture *fx = set_up(10 * 1000);
	put(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, 150);
	fill(fx);
	ck_assert_uint_eq(claim_window_count(fx->window), 10);
	put(fx, SIGNAL_TRACES, RECORD_CLASS_CRITICAL, 1);
	fill(fx);
	ck_assert_str_eq(take(fx, SIGNAL_TRACES, RECORD_CLASS_CRITICAL, SIZE_MAX, 32), "151");
	for (int64_t next = 1; next <= 150;) {
		struct claim c[32];
		size_t n = claim_window_take(fx->window, CLAIM_OLDEST, SIGNAL_TRACES,
					     RECORD_CLASS_INFO, SIZE_MAX, c, 32);
		ck_assert_uint_gt(n, 0);
		ck_assert_uint_le(n, 10);
		for (size_t i = 0; i < n; i++) {
			ck_assert_int_eq(c[i].batch_id, next++);
			settle(fx, c[i].batch_id);
			claim_window_release(fx->window, RECORD_CLASS_INFO, c[i].batch_id);
		}
		fill(fx);
	}
	ck_assert_uint_eq(claim_window_count(fx->window), 1);
	tear_down(fx);
}
END_TEST

START_TEST(a_replayed_batch_is_found_behind_newer_ones)
{
	struct fixture *fx = set_up(SIZE_MAX);
	int64_t dead = 1;
	now_fake(1, NS_PER_S);
	put(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, 1);
	EXPECT_OK(client_settle(fx->writer, fx->destination_id, &dead, 1, SETTLE_DEAD, 0));
	put(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, 2);
	fill(fx);
	ck_assert_str_eq(take(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, SIZE_MAX, 1), "2");
	client_execute(fx->path, "UPDATE deliveries SET state = 'ready'");
	fill(fx);
	ck_assert_str_eq(take(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, SIZE_MAX, 1), "3");
	/* The window is not empty: it looks from the front again after a while. */
	put(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, 1);
	now_fake_advance(60 * NS_PER_S);
	fill(fx);
	ck_assert_str_eq(take_traces(fx), "1 4");
	tear_down(fx);
}
END_TEST

static const char *take_newest(struct fixture *fx, size_t max_bytes, size_t max)
{
	return take_side(fx, CLAIM_NEWEST, SIGNAL_TRACES, RECORD_CLASS_INFO, max_bytes, max);
}

START_TEST(the_newest_side_gives_what_came_last_and_the_oldest_what_came_first)
{
	struct fixture *fx = set_up_sides(6 * 1000, true);
	put(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, 20);
	fill(fx);
	ck_assert_uint_eq(claim_window_count(fx->window), 6);
	ck_assert_str_eq(take_newest(fx, SIZE_MAX, 2), "19 20");
	ck_assert_str_eq(take(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, SIZE_MAX, 2), "1 2");
	/* What comes now passes what waits. */
	put(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, 2);
	fill(fx);
	ck_assert_str_eq(take_newest(fx, 1000, 32), "22");
	/* There is room for three that wait: 18 and 21 are forgotten for these, and found again. */
	put(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, 3);
	fill(fx);
	ck_assert_str_eq(take_newest(fx, SIZE_MAX, 32), "23 24 25");
	for (int64_t id = 22; id <= 25; id++)
		claim_window_release(fx->window, RECORD_CLASS_INFO, id);
	EXPECT_OK(client_settle(fx->writer, fx->destination_id, (int64_t[]){ 22, 23, 24, 25 }, 4,
				SETTLE_DELIVERED, 0));
	claim_window_release(fx->window, RECORD_CLASS_INFO, 19);
	fill(fx);
	ck_assert_str_eq(take_newest(fx, SIZE_MAX, 32), "19 21");
	tear_down(fx);
}
END_TEST

/* Random takes from both ends, with arrivals, put-backs and replays in between. */
START_TEST(two_sides_meet_with_nothing_twice_and_nothing_left)
{
	enum { BATCHES = 400 };
	static uint8_t seen[BATCHES + 1];
	struct fixture *fx = set_up_sides(40 * 1000, true);
	uint64_t random = 7;
	int stored = 0;
	int settled = 0;
	now_fake(1, NS_PER_S);
	memset(seen, 0, sizeof(seen));
	while (settled < BATCHES) {
		struct claim c[32];
		random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
		int more = (int)(random >> 60) * 3;
		more = stored + more > BATCHES ? BATCHES - stored : more;
		put(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, more);
		stored += more;
		fill(fx);
		enum claim_side side = random >> 40 & 1 ? CLAIM_NEWEST : CLAIM_OLDEST;
		size_t n = claim_window_take(fx->window, side, SIGNAL_TRACES, RECORD_CLASS_INFO,
					     SIZE_MAX, c, 1 + (random >> 33) % 32);
		for (size_t i = 0; i < n; i++) {
			if (i % 5 == 4) {
				claim_window_put_back(fx->window, &c[i]);
				continue;
			}
			ck_assert_uint_eq(seen[c[i].batch_id]++, 0);
			settle(fx, c[i].batch_id);
			claim_window_release(fx->window, RECORD_CLASS_INFO, c[i].batch_id);
			settled++;
		}
		/* What one side has forgotten may lie behind the other's cursor for a while. */
		if (n == 0)
			now_fake_advance(10 * NS_PER_S);
	}
	fill(fx);
	ck_assert_uint_eq(claim_window_count(fx->window), 0);
	tear_down(fx);
}
END_TEST

START_TEST(after_a_change_by_hand_what_waits_is_read_again)
{
	struct fixture *fx = set_up(SIZE_MAX);
	put(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, 4);
	fill(fx);
	ck_assert_str_eq(take(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, SIZE_MAX, 1), "1");
	client_execute(fx->path, "DELETE FROM deliveries WHERE batch_id IN (1, 3)");
	claim_window_refresh(fx->window);
	ck_assert_uint_eq(claim_window_count(fx->window), 1); /* what is taken stays */
	fill(fx);
	ck_assert_str_eq(take_traces(fx), "2 4");
	tear_down(fx);
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		nothing_is_claimed_twice_until_it_is_released,
		what_is_put_back_keeps_its_place,
		signals_and_classes_do_not_mix,
		a_signal_that_is_held_up_keeps_no_other_from_being_claimed,
		a_take_is_bounded_by_bytes_and_count_but_never_empty,
		a_backlog_is_claimed_piece_by_piece_and_urgent_batches_pass_it,
		a_replayed_batch_is_found_behind_newer_ones,
		the_newest_side_gives_what_came_last_and_the_oldest_what_came_first,
		two_sides_meet_with_nothing_twice_and_nothing_left,
		after_a_change_by_hand_what_waits_is_read_again,
	};
	return run_cases("claim_window", cases, sizeof(cases) / sizeof(cases[0]));
}
