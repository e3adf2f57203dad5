/* breaker.c - the state of one destination, as a value without threads or network.
 *
 *   up -> backing_off     [failed]     no answer, 5xx, 429 ...
 *   up, backing_off -> unauthorized  [failed]     401, 403, 407
 *   unauthorized -> backing_off      [failed]
 *   backing_off, unauthorized -> up  [answered]
 *
 * (`paused` is an operator's state, kept in dispatch.c, and never set here.) While it is not up,
 * one export at a time is tried, not before due_ns. Exports that were under way together fail
 * together: only the first counts as one more failure, or three lanes would square the wait.
 *
 * Back-off alone would leave a returned uplink unused for up to max_interval. So while there is no
 * answer, bare connections are tried every probe_interval. One that succeeds after the network was
 * found at fault means that it came back: send at once. One that succeeds when it never was at
 * fault (the backend accepts and then hangs or closes) means nothing, and the back-off stands. */
#include "gateway/forward/breaker.h"

#include <stdio.h>

#include "gateway/base/now.h"

/* A token is renewed by people: ask at most so often, as a multiple of
 * retry_on_failure.max_interval. */
enum { UNAUTHORIZED_SLOWER = 2 };

void breaker_init(struct breaker *b, const struct backoff *backoff, int64_t probe_interval_ns)
{
	*b = (struct breaker){ .backoff = *backoff,
			       .probe_interval_ns = probe_interval_ns,
			       .state = DESTINATION_UP,
			       .since_wall_ns = now_wall_ns(),
			       .since_mono_ns = now_mono_ns(),
			       .probe_due_ns = INT64_MAX };
}

static bool move_to(struct breaker *b, enum destination_state state)
{
	if (b->state == state)
		return false;
	b->state = state;
	b->since_wall_ns = now_wall_ns();
	b->since_mono_ns = now_mono_ns();
	return true;
}

static void wait_for(struct breaker *b, int64_t ns)
{
	b->due_ns = now_mono_ns() + ns;
	b->due_wall_ns = now_wall_ns() + ns;
}

bool breaker_failed(struct breaker *b, const struct export_reply *reply, int64_t started_ns)
{
	int64_t now = now_mono_ns();
	bool is_new = b->failures == 0 || started_ns >= b->failed_ns;
	if (is_new) {
		b->failures++;
		b->failed_ns = now;
		b->is_unreachable = false;
	}
	(void)snprintf(b->reason, sizeof(b->reason), "%s", reply->error);
	if (reply->verdict == VERDICT_UNAUTHORIZED) {
		b->probe_due_ns = INT64_MAX;
		if (is_new)
			wait_for(b, b->backoff.max_ns * UNAUTHORIZED_SLOWER);
		return move_to(b, DESTINATION_UNAUTHORIZED);
	}
	if (is_new)
		wait_for(b, backoff_wait_ns(&b->backoff, b->failures, reply->retry_after_ns));
	else if (b->due_ns < now + reply->retry_after_ns)
		wait_for(b, reply->retry_after_ns);
	b->is_unreachable = b->is_unreachable || reply->is_unreachable;
	b->probe_due_ns = INT64_MAX;
	if (reply->status == 0 && b->probe_interval_ns)
		b->probe_due_ns = now + b->probe_interval_ns;
	return move_to(b, DESTINATION_BACKING_OFF);
}

bool breaker_answered(struct breaker *b)
{
	b->failures = 0;
	b->due_ns = 0;
	b->due_wall_ns = 0;
	b->is_unreachable = false;
	b->probe_due_ns = INT64_MAX;
	b->reason[0] = '\0';
	return move_to(b, DESTINATION_UP);
}

void breaker_flush(struct breaker *b)
{
	b->failures = 0;
	if (b->state != DESTINATION_UP)
		wait_for(b, 0);
}

void breaker_probed(struct breaker *b, bool is_reachable)
{
	if (b->probe_due_ns == INT64_MAX)
		return; /* an export was answered in the meantime */
	b->probe_due_ns = now_mono_ns() + b->probe_interval_ns;
	if (is_reachable && b->is_unreachable)
		wait_for(b, 0);
	b->is_unreachable = !is_reachable;
}

void breaker_renewed(struct breaker *b)
{
	if (b->state != DESTINATION_UNAUTHORIZED)
		return;
	/* Not "now": the caller's now is older, and would never reach it. */
	b->due_ns = 0;
	b->due_wall_ns = 0;
}
