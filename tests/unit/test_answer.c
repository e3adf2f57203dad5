/* What an answer leads to where something else is wrong at the same time: the queue that cannot be
 * read, the destination that is down. Exports are begun and answered by hand. */
#include "gateway/forward/answer.h"

#include "gateway/base/now.h"
#include "gateway/forward/apart.h"
#include "gateway/forward/loading.h"
#include "tests/support/expect.h"

struct fixture {
	struct exporter exporter;
	struct destination_config config;
	struct dispatch dispatch;
	struct lane *lane;
};

static void close_nothing(struct exporter *x)
{
	(void)x;
}

static const struct exporter_ops ops = { .close = close_nothing };

/* One batch of two records is under way. */
static void begin(struct fixture *f)
{
	static char name[] = "d";
	static char none[] = "";
	const struct claim c = { .batch_id = 1,
				 .class = RECORD_CLASS_INFO,
				 .signal = SIGNAL_LOGS,
				 .records = 2,
				 .batch_records = 2,
				 .raw_bytes = 100 };
	*f = (struct fixture){ .exporter = { .ops = &ops } };
	f->config = (struct destination_config){ .name = name,
						 .traces_endpoint = none,
						 .metrics_endpoint = none,
						 .logs_endpoint = none,
						 .max_export_size = 1 << 20,
						 .retry_initial_interval = NS_PER_S,
						 .retry_max_interval = 60 * NS_PER_S };
	const struct dispatch_options o = { .config = &f->config, .exporter = &f->exporter };
	dispatch_init(&f->dispatch, &o);
	for (int i = 0; i < LANES; i++) {
		struct lane *l = &f->dispatch.lanes.lanes[i];
		if (l->signal == c.signal && l->class == c.class && l->side == CLAIM_OLDEST)
			f->lane = l;
	}
	struct slot *slot = lane_slot(f->lane);
	slot->export = export_new(&c, 1);
	slot->export->lane = (int)(f->lane - f->dispatch.lanes.lanes);
}

static void end(struct fixture *f)
{
	dispatch_done(&f->dispatch);
}

static void answer(struct fixture *f, const struct export_reply *reply)
{
	struct slot *slot = lane_slot(f->lane);
	if (!slot->export)
		ck_assert_int_eq(apart_next(&f->dispatch, f->lane, slot), APART_PIECE);
	slot->export->started_ns = now_mono_ns();
	lanes_started(&f->dispatch.lanes, f->lane, slot, true);
	slot->export->reply = *reply;
	answer_take(&f->dispatch, slot->export);
}

START_TEST(what_is_decided_waits_where_the_queue_cannot_be_read)
{
	const struct export_reply refused = { .verdict = VERDICT_REFUSED, .status = 400 };
	const struct export_reply taken = { .verdict = VERDICT_DELIVERED, .status = 200 };
	struct fixture f;
	begin(&f);
	ck_assert_ptr_null(f.dispatch.reader);
	answer(&f, &refused);
	answer(&f, &taken);   /* the first record */
	answer(&f, &refused); /* the second: the batch would be settled in parts */
	ck_assert_uint_eq(f.lane->count, 1);
	ck_assert_uint_eq(f.dispatch.settler.unsettled, 0);
	ck_assert_int_eq(apart_next(&f.dispatch, f.lane, lane_slot(f.lane)), APART_WAIT);
	end(&f);
}
END_TEST

START_TEST(what_is_refused_here_says_nothing_of_the_destination)
{
	const struct export_reply gone = { .verdict = VERDICT_RETRY, .is_unreachable = true };
	struct export_reply reply = { .verdict = VERDICT_TOO_LARGE, .is_own = true };
	struct fixture f;
	begin(&f);
	ck_assert(breaker_failed(&f.dispatch.breaker, &gone, now_mono_ns()));
	answer(&f, &reply);
	ck_assert_int_eq(dispatch_state(&f.dispatch), DESTINATION_BACKING_OFF);
	ck_assert_int_eq(f.dispatch.breaker.failures, 1);
	reply.is_own = false;
	answer(&f, &reply);
	ck_assert_int_eq(dispatch_state(&f.dispatch), DESTINATION_UP);
	end(&f);
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		what_is_decided_waits_where_the_queue_cannot_be_read,
		what_is_refused_here_says_nothing_of_the_destination,
	};
	return run_cases("answer", cases, sizeof(cases) / sizeof(cases[0]));
}
