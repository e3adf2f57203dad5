/* When a destination may be sent to: back-off, probes, parking, recovery. Time is fake. */
#include <stdio.h>

#include "gateway/base/now.h"
#include "gateway/forward/breaker.h"
#include "tests/support/expect.h"

enum { START_S = 1000 };

static uint64_t draw;

static uint64_t draw_fixed(void *ctx)
{
	(void)ctx;
	return draw;
}

static struct breaker make(void)
{
	struct backoff backoff = { .initial_ns = NS_PER_S,
				   .max_ns = 8 * NS_PER_S,
				   .random = draw_fixed };
	struct breaker b;
	now_fake(INT64_C(1700000000) * NS_PER_S, START_S * NS_PER_S);
	draw = (uint64_t)NS_PER_S;
	breaker_init(&b, &backoff, NS_PER_S);
	return b;
}

static struct export_reply failure(int status, bool is_unreachable)
{
	struct export_reply r = { .verdict = outcome_of_http(status),
				  .status = status,
				  .is_unreachable = is_unreachable };
	(void)snprintf(r.error, sizeof(r.error), "HTTP %d", status);
	return r;
}

START_TEST(a_failure_takes_it_down_and_an_answer_brings_it_back)
{
	struct breaker b = make();
	struct export_reply r = failure(503, false);
	int64_t since = b.since_wall_ns;
	ck_assert(breaker_is_up(&b));
	now_fake_advance(NS_PER_S);
	ck_assert(breaker_failed(&b, &r, now_mono_ns()));
	ck_assert_int_eq(b.state, DESTINATION_BACKING_OFF);
	ck_assert_int_eq(b.since_wall_ns, since + NS_PER_S);
	ck_assert_int_eq(b.due_ns, now_mono_ns() + NS_PER_S);
	ck_assert_str_eq(b.reason, "HTTP 503");
	ck_assert(!breaker_failed(&b, &r, now_mono_ns()));
	ck_assert(breaker_answered(&b));
	ck_assert(!breaker_answered(&b));
	ck_assert(breaker_is_up(&b));
	ck_assert_int_eq(b.due_ns, 0);
	ck_assert_str_eq(b.reason, "");
}
END_TEST

START_TEST(a_renewed_credential_ends_the_wait_for_one_and_no_other)
{
	struct breaker b = make();
	struct export_reply unauthorized = failure(401, false);
	struct export_reply busy = failure(503, false);
	int64_t now = now_mono_ns();
	(void)breaker_failed(&b, &unauthorized, now);
	ck_assert_int_eq(b.due_ns, now + 16 * NS_PER_S);
	breaker_renewed(&b);
	ck_assert_int_le(b.due_ns, now);
	ck_assert_int_eq(b.state, DESTINATION_UNAUTHORIZED);
	now_fake_advance(NS_PER_S);
	(void)breaker_failed(&b, &busy, now_mono_ns());
	int64_t due = b.due_ns;
	breaker_renewed(&b);
	ck_assert_int_eq(b.due_ns, due);
}
END_TEST

START_TEST(exports_that_fail_together_are_one_failure)
{
	struct breaker b = make();
	struct export_reply r = failure(0, false);
	int64_t started = now_mono_ns();
	now_fake_advance(NS_PER_S);
	for (int i = 0; i < 5; i++) {
		(void)breaker_failed(&b, &r, started);
		ck_assert_int_eq(b.failures, 1);
	}
	now_fake_advance(NS_PER_S);
	(void)breaker_failed(&b, &r, now_mono_ns());
	ck_assert_int_eq(b.failures, 2);
}
END_TEST

START_TEST(the_longest_retry_after_of_them_counts)
{
	struct breaker b = make();
	struct export_reply r = failure(429, false);
	int64_t started = now_mono_ns();
	r.retry_after_ns = 5 * NS_PER_S;
	(void)breaker_failed(&b, &r, started - 1);
	ck_assert_int_eq(b.due_ns, started + 5 * NS_PER_S);
	r.retry_after_ns = 20 * NS_PER_S;
	(void)breaker_failed(&b, &r, started - 1);
	ck_assert_int_eq(b.due_ns, started + 20 * NS_PER_S);
	r.retry_after_ns = 0;
	(void)breaker_failed(&b, &r, started - 1);
	ck_assert_int_eq(b.due_ns, started + 20 * NS_PER_S);
}
END_TEST

START_TEST(missing_credentials_park_it_and_are_asked_for_slowly)
{
	struct breaker b = make();
	struct export_reply r = failure(401, false);
	ck_assert(breaker_failed(&b, &r, now_mono_ns()));
	ck_assert_int_eq(b.state, DESTINATION_UNAUTHORIZED);
	ck_assert_int_ge(b.due_ns, now_mono_ns() + b.backoff.max_ns);
	ck_assert_int_eq(b.probe_due_ns, INT64_MAX);
	r = failure(0, true);
	now_fake_advance(60 * NS_PER_S);
	ck_assert(breaker_failed(&b, &r, now_mono_ns()));
	ck_assert_int_eq(b.state, DESTINATION_BACKING_OFF);
	ck_assert(breaker_answered(&b));
}
END_TEST

START_TEST(a_renewed_credential_is_due_once_and_stays_due)
{
	struct breaker b = make();
	struct export_reply r = failure(16, false);
	r.verdict = VERDICT_UNAUTHORIZED;
	ck_assert(breaker_failed(&b, &r, now_mono_ns()));
	breaker_renewed(&b);
	int64_t due = b.due_ns;
	ck_assert_int_le(due, now_mono_ns());
	/* Asked at every turn until the next answer: were it moved on, its time would never come.
	 */
	now_fake_advance(NS_PER_MS);
	breaker_renewed(&b);
	ck_assert_int_eq(b.due_ns, due);
}
END_TEST

START_TEST(a_connection_after_an_unreachable_network_ends_the_wait)
{
	struct breaker b = make();
	struct export_reply r = failure(0, true);
	(void)breaker_failed(&b, &r, now_mono_ns());
	ck_assert_int_eq(b.probe_due_ns, now_mono_ns() + NS_PER_S);
	now_fake_advance(NS_PER_S / 2);
	breaker_probed(&b, false);
	ck_assert_int_gt(b.due_ns, now_mono_ns());
	breaker_probed(&b, true);
	ck_assert_int_le(b.due_ns, now_mono_ns());
}
END_TEST

START_TEST(a_backend_that_accepts_and_hangs_is_not_called_at_once)
{
	struct breaker b = make();
	struct export_reply r = failure(0, false); /* timed out with a connection */
	draw = (uint64_t)(NS_PER_S / 4 * 3);
	(void)breaker_failed(&b, &r, now_mono_ns());
	int64_t due = b.due_ns;
	breaker_probed(&b, true);
	ck_assert_int_eq(b.due_ns, due);
	/* But should the network be gone next, its return counts. */
	breaker_probed(&b, false);
	breaker_probed(&b, true);
	ck_assert_int_le(b.due_ns, now_mono_ns());
}
END_TEST

START_TEST(an_answered_failure_needs_no_probe)
{
	struct breaker b = make();
	struct export_reply r = failure(503, false);
	(void)breaker_failed(&b, &r, now_mono_ns());
	ck_assert_int_eq(b.probe_due_ns, INT64_MAX);
	int64_t due = b.due_ns;
	breaker_probed(&b, false); /* a straggler */
	breaker_probed(&b, true);
	ck_assert_int_eq(b.due_ns, due);
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		a_failure_takes_it_down_and_an_answer_brings_it_back,
		exports_that_fail_together_are_one_failure,
		the_longest_retry_after_of_them_counts,
		missing_credentials_park_it_and_are_asked_for_slowly,
		a_renewed_credential_is_due_once_and_stays_due,
		a_connection_after_an_unreachable_network_ends_the_wait,
		a_backend_that_accepts_and_hangs_is_not_called_at_once,
		an_answered_failure_needs_no_probe,
		a_renewed_credential_ends_the_wait_for_one_and_no_other,
	};
	return run_cases("breaker", cases, sizeof(cases) / sizeof(cases[0]));
}
