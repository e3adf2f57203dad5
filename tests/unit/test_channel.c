/* What channels promise: each item is taken once, in order per sender, and the receiver wakes up.
 */
#include <poll.h>
#include <pthread.h>

#include "gateway/base/channel.h"
#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"
#include "tests/support/expect.h"
#include "tests/support/patience.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct note {
	struct chan_item item;
	int sender;
	int number;
};

static void give(struct chan *c, int sender, int number)
{
	struct note *n = xcalloc(1, sizeof(*n));
	n->sender = sender;
	n->number = number;
	chan_give(c, n);
	ck_assert_ptr_null(n); /* it belongs to the receiver */
}

static int free_all(struct chan_item *list)
{
	int count = 0;
	while (list) {
		struct chan_item *next = list->next;
		free(list);
		list = next;
		count++;
	}
	return count;
}

static bool is_readable(const struct chan *c)
{
	struct pollfd p = { .fd = chan_fd(c), .events = POLLIN };
	return poll(&p, 1, 0) == 1;
}

START_TEST(items_come_in_order_all_at_once)
{
	struct chan c;
	EXPECT_OK(chan_init(&c, CHAN_WAKE_WAIT));
	ck_assert_ptr_null(chan_take_all(&c));
	for (int i = 0; i < 5; i++)
		give(&c, 0, i);
	ck_assert_uint_eq(chan_count(&c), 5);
	struct chan_item *list = chan_take_all(&c);
	int want = 0;
	for (const struct chan_item *p = list; p; p = p->next)
		ck_assert_int_eq(((const struct note *)(const void *)p)->number, want++);
	ck_assert_int_eq(want, 5);
	ck_assert_int_eq(free_all(list), 5);
	ck_assert_uint_eq(chan_count(&c), 0);
	ck_assert_ptr_null(chan_take_all(&c));
	chan_done(&c);
}
END_TEST

START_TEST(the_fd_is_readable_while_something_waits)
{
	struct chan c;
	EXPECT_OK(chan_init(&c, CHAN_WAKE_FD));
	ck_assert(!is_readable(&c));
	give(&c, 0, 0);
	give(&c, 0, 1);
	ck_assert(is_readable(&c));
	ck_assert_int_eq(free_all(chan_take_all(&c)), 2);
	ck_assert(!is_readable(&c));
	chan_ring(&c);
	ck_assert(is_readable(&c));
	ck_assert_ptr_null(chan_take_all(&c));
	ck_assert(!is_readable(&c));
	give(&c, 0, 2);
	ck_assert(is_readable(&c));
	ck_assert_int_eq(free_all(chan_take_all(&c)), 1);
	chan_done(&c);
}
END_TEST

START_TEST(a_wait_ends_at_its_deadline_or_with_a_ring)
{
	struct chan c;
	EXPECT_OK(chan_init(&c, CHAN_WAKE_WAIT));
	int64_t before = now_mono_ns();
	ck_assert_ptr_null(chan_wait_all(&c, before + 20 * NS_PER_MS));
	ck_assert_int_ge(now_mono_ns() - before, 20 * NS_PER_MS);
	ck_assert_ptr_null(chan_wait_all(&c, 0));
	chan_ring(&c);
	ck_assert_ptr_null(chan_wait_all(&c, INT64_MAX));
	give(&c, 0, 0);
	ck_assert_int_eq(free_all(chan_wait_all(&c, INT64_MAX)), 1);
	chan_done(&c);
}
END_TEST

enum { SENDERS = 4, NOTES = 5000 };

struct sender {
	struct chan *chan;
	int number;
};

static void *send_notes(void *arg)
{
	const struct sender *s = arg;
	for (int i = 0; i < NOTES; i++)
		give(s->chan, s->number, i);
	return NULL;
}

/* Checks the order per sender and counts. */
static int take_in_order(struct chan_item *list, int next[SENDERS])
{
	int count = 0;
	for (const struct chan_item *p = list; p; p = p->next, count++) {
		const struct note *n = (const struct note *)(const void *)p;
		ck_assert_int_eq(n->number, next[n->sender]);
		next[n->sender]++;
	}
	(void)free_all(list);
	return count;
}

START_TEST(many_senders_lose_nothing_however_the_receiver_waits)
{
	for (int wake = CHAN_WAKE_WAIT; wake <= CHAN_WAKE_FD; wake++) {
		struct chan c;
		EXPECT_OK(chan_init(&c, (enum chan_wake)wake));
		pthread_t threads[SENDERS];
		struct sender senders[SENDERS];
		int next[SENDERS] = { 0 };
		for (int i = 0; i < SENDERS; i++) {
			senders[i] = (struct sender){ .chan = &c, .number = i };
			ck_assert_int_eq(pthread_create(&threads[i], NULL, send_notes, &senders[i]),
					 0);
		}
		int taken = 0;
		while (taken < SENDERS * NOTES) {
			struct chan_item *list;
			if (wake == CHAN_WAKE_FD) {
				struct pollfd p = { .fd = chan_fd(&c), .events = POLLIN };
				ck_assert_int_eq(poll(&p, 1, patience_s() * 1000), 1);
				list = chan_take_all(&c);
			} else {
				list = chan_wait_all(&c, now_mono_ns() + patience_ns());
				ck_assert_ptr_nonnull(list);
			}
			taken += take_in_order(list, next);
		}
		for (int i = 0; i < SENDERS; i++)
			(void)pthread_join(threads[i], NULL);
		ck_assert_int_eq(taken, SENDERS * NOTES);
		chan_done(&c);
	}
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		items_come_in_order_all_at_once,
		the_fd_is_readable_while_something_waits,
		a_wait_ends_at_its_deadline_or_with_a_ring,
		many_senders_lose_nothing_however_the_receiver_waits,
	};
	return run_cases("channel", cases, COUNT(cases));
}
