/* Whose turn it is: order within a lane, shares among classes, and nobody who waits for what
 * another does wrong. The queue is real, exports are begun and ended by hand. */
#include "gateway/forward/lanes.h"

#include <stdio.h>
#include <stdlib.h>

#include "storage/writer.h"
#include "tests/support/expect.h"
#include "tests/support/queue_client.h"

struct fixture {
	char dir[512];
	struct writer *writer;
	struct claim_reader *reader;
	struct claim_window *window;
	struct lanes lanes;
	int64_t now;
};

static struct fixture *set_up(size_t max_in_flight, size_t max_of_lane)
{
	static const int shares[RECORD_CLASS_COUNT] = { 70, 20, 10 };
	struct fixture *fx = calloc(1, sizeof(*fx));
	char path[CLIENT_PATH_SIZE];
	struct err e = { 0 };
	int64_t id;
	int slot;
	ck_assert_ptr_nonnull(fx);
	client_make_dir(fx->dir, sizeof(fx->dir), "lanes");
	(void)snprintf(path, sizeof(path), "%s/queue.db", fx->dir);
	struct writer_options o = { .path = path, .max_size_bytes = 1u << 30 };
	ck_assert_msg(writer_open(&o, &fx->writer, &e) == ST_OK, "%s", e.text);
	EXPECT_OK(writer_destination(fx->writer, "d", "file", &slot, &id, &e));
	EXPECT_OK(writer_start(fx->writer, &e));
	EXPECT_OK(claim_reader_open(path, &fx->reader, &e));
	fx->window = claim_window_new(id, SIZE_MAX, false);
	struct lanes_options lo = { .window = fx->window,
				    .shares = shares,
				    .backfill_percent = 50,
				    .max_in_flight = max_in_flight,
				    .max_of_signal = { max_of_lane, max_of_lane, max_of_lane } };
	lanes_init(&fx->lanes, &lo);
	fx->now = 1000;
	return fx;
}

static void tear_down(struct fixture *fx)
{
	lanes_done(&fx->lanes);
	claim_window_free(fx->window);
	claim_reader_close(fx->reader);
	writer_stop(fx->writer);
	client_remove_dir(fx->dir);
	free(fx);
}

static void put(struct fixture *fx, enum signal signal, enum record_class class, int count)
{
	static int64_t id;
	struct err e = { 0 };
	for (int i = 0; i < count; i++) {
		struct client_request r = { .id = ++id % 4000 + 1,
					    .signal = signal,
					    .class = class,
					    .records = 1,
					    .size = 100,
					    .destinations = 1 };
		enum status st;
		client_put(fx->writer, &r, 1, &st, NULL);
		EXPECT_OK(st);
	}
	ck_assert_msg(claim_window_fill(fx->window, fx->reader, &e) == ST_OK, "%s", e.text);
}

/* Begin what is next, one batch of so many bytes; NULL where nothing may begin. */
static struct export *begin(struct fixture *fx, bool is_up)
{
	struct claim c;
	struct lane *l = lanes_next(&fx->lanes, is_up, fx->now);
	if (!l)
		return NULL;
	struct slot *slot = lane_slot(l);
	if (!slot->export) {
		ck_assert_uint_eq(
			claim_window_take(fx->window, l->side, l->signal, l->class, 1, &c, 1), 1);
		slot->export = export_new(&c, 1);
		slot->export->lane = (int)(l - fx->lanes.lanes);
	}
	buf_init(&slot->export->body, 1000, NULL);
	EXPECT_OK(buf_reserve(&slot->export->body, 1000));
	memset(slot->export->body.p, 0, 1000);
	buf_advance(&slot->export->body, 1000);
	slot->export->started_ns = ++fx->now;
	lanes_started(&fx->lanes, l, slot, is_up);
	return slot->export;
}

static void end(struct fixture *fx, struct export *x, bool is_delivered)
{
	struct lane *l = &fx->lanes.lanes[x->lane];
	struct slot *slot = lane_find(l, x);
	export_unload(x);
	lanes_ended(&fx->lanes, l, slot);
	if (is_delivered)
		lane_remove(l, slot);
}

START_TEST(one_at_a_time_keeps_the_order_of_a_lane)
{
	struct fixture *fx = set_up(1, 1);
	put(fx, SIGNAL_LOGS, RECORD_CLASS_INFO, 3);
	for (int64_t id = 1; id <= 3; id++) {
		struct export *x = begin(fx, true);
		ck_assert_int_eq(x->members[0].batch_id, id);
		ck_assert_ptr_null(begin(fx, true));
		end(fx, x, false);
		/* It failed: again the same. */
		ck_assert_ptr_eq(begin(fx, true), x);
		end(fx, x, true);
	}
	ck_assert_ptr_null(begin(fx, true));
	tear_down(fx);
}
END_TEST

START_TEST(several_begin_in_order_and_after_a_failure_one_at_a_time)
{
	struct fixture *fx = set_up(4, 3);
	struct export *x[3];
	put(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, 6);
	for (int64_t i = 0; i < 3; i++) {
		x[i] = begin(fx, true);
		ck_assert_int_eq(x[i]->members[0].batch_id, i + 1);
	}
	ck_assert_ptr_null(begin(fx, true)); /* the lane's own limit */
	end(fx, x[1], false);
	ck_assert_ptr_null(begin(fx, true)); /* nothing new while one failed */
	end(fx, x[0], false);
	end(fx, x[2], true);
	ck_assert_ptr_eq(begin(fx, true), x[0]);
	ck_assert_ptr_null(begin(fx, true));
	end(fx, x[0], true);
	ck_assert_ptr_eq(begin(fx, true), x[1]);
	end(fx, x[1], true);
	ck_assert_int_eq(begin(fx, true)->members[0].batch_id, 4);
	tear_down(fx);
}
END_TEST

START_TEST(classes_have_their_shares_and_the_most_urgent_does_not_wait)
{
	struct fixture *fx = set_up(1, 1);
	int got[RECORD_CLASS_COUNT] = { 0 };
	put(fx, SIGNAL_LOGS, RECORD_CLASS_INFO, 60);
	struct export *slow = begin(fx, true);
	ck_assert_int_eq(slow->class, RECORD_CLASS_INFO);
	put(fx, SIGNAL_LOGS, RECORD_CLASS_WARNING, 60);
	put(fx, SIGNAL_LOGS, RECORD_CLASS_CRITICAL, 90);
	struct export *urgent = begin(fx, true);
	ck_assert_int_eq(urgent->class, RECORD_CLASS_CRITICAL);
	ck_assert_ptr_null(begin(fx, true)); /* the others wait for their turn */
	end(fx, slow, true);
	end(fx, urgent, true);
	for (int i = 0; i < 100; i++) {
		struct export *x = begin(fx, true);
		got[x->class]++;
		end(fx, x, true);
	}
	ck_assert_int_ge(got[RECORD_CLASS_CRITICAL], 68);
	ck_assert_int_le(got[RECORD_CLASS_CRITICAL], 72);
	ck_assert_int_ge(got[RECORD_CLASS_WARNING], 18);
	ck_assert_int_ge(got[RECORD_CLASS_INFO], 8);
	tear_down(fx);
}
END_TEST

START_TEST(while_it_is_down_every_lane_has_its_turn_and_owes_nothing_for_it)
{
	struct fixture *fx = set_up(4, 4);
	int got[RECORD_CLASS_COUNT] = { 0 };
	put(fx, SIGNAL_LOGS, RECORD_CLASS_INFO, 40);
	put(fx, SIGNAL_LOGS, RECORD_CLASS_CRITICAL, 40);
	for (int i = 0; i < 1000; i++) {
		struct export *x = begin(fx, false);
		ck_assert_ptr_null(begin(fx, false)); /* one attempt at a time */
		got[x->class]++;
		end(fx, x, false);
	}
	ck_assert_int_eq(got[RECORD_CLASS_INFO], 500);
	int waited = 0;
	for (struct export *x = begin(fx, true); x->class != RECORD_CLASS_INFO; waited++) {
		end(fx, x, true);
		x = begin(fx, true);
	}
	ck_assert_int_le(waited, 8);
	tear_down(fx);
}
END_TEST

START_TEST(a_lane_that_backs_off_does_not_hold_up_the_others)
{
	struct fixture *fx = set_up(1, 1);
	put(fx, SIGNAL_LOGS, RECORD_CLASS_CRITICAL, 1);
	put(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, 2);
	struct export *x = begin(fx, true);
	end(fx, x, false);
	fx->lanes.lanes[x->lane].due_ns = fx->now + 100;
	struct export *y = begin(fx, true);
	ck_assert_int_eq(y->signal, SIGNAL_TRACES);
	end(fx, y, true);
	fx->now += 200;
	ck_assert_ptr_eq(begin(fx, true), x);
	tear_down(fx);
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		one_at_a_time_keeps_the_order_of_a_lane,
		several_begin_in_order_and_after_a_failure_one_at_a_time,
		classes_have_their_shares_and_the_most_urgent_does_not_wait,
		while_it_is_down_every_lane_has_its_turn_and_owes_nothing_for_it,
		a_lane_that_backs_off_does_not_hold_up_the_others,
	};
	return run_cases("lanes", cases, sizeof(cases) / sizeof(cases[0]));
}
