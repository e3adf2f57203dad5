/* The disk fails while outcomes are settled: what was answered is not sent again while the process
 * lives, whatever becomes of the commit, and is settled when the disk is back. */
#include <poll.h>

#include "tests/support/expect.h"
#include "tests/support/fault_vfs.h"
#include "tests/support/forwarding.h"
#include "tests/support/patience.h"

struct breaking {
	enum fault_op op;
	enum fault_error error;
};

/* The disk fails from the moment that the backend has the export. */
static bool break_disk(void *ctx, const struct sink_request *r, struct sink_answer *ret)
{
	const struct breaking *b = ctx;
	(void)r;
	(void)ret;
	fault_plan(b->op, b->error, 1, true);
	return false;
}

START_TEST(an_answered_export_is_settled_when_the_disk_is_back_and_sent_once)
{
	static const struct breaking cases[] = { { FAULT_WRITE, FAULT_EIO },
						 { FAULT_WRITE, FAULT_ENOSPC },
						 { FAULT_WRITE, FAULT_SHORT },
						 { FAULT_SYNC, FAULT_EIO } };
	fault_vfs_install();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct breaking b = cases[i];
		struct forwarding *fx = forwarding_new_one("timeout: 10m");
		struct side *s = &fx->sides[0];
		forwarding_put(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, 1, 3, 1000);
		http_sink_judge(s->sink, break_disk, &b);
		forwarding_start(fx);
		http_sink_wait(s->sink, 1);
		AWAIT(fault_has_fired());
		http_sink_judge(s->sink, NULL, NULL);
		/* Long enough for several attempts, were there any. */
		(void)poll(NULL, 0, 300);
		ck_assert_uint_eq(http_sink_count(s->sink), 1);
		ck_assert(fault_off());
		forwarding_wait_drained(fx);
		ck_assert_uint_eq(http_sink_count(s->sink), 1);
		ck_assert_int_eq(forwarding_total(fx, "delivered"), 30);
		forwarding_free(fx);
	}
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		an_answered_export_is_settled_when_the_disk_is_back_and_sent_once
	};
	return run_cases("fault_settlement", cases, sizeof(cases) / sizeof(cases[0]));
}
