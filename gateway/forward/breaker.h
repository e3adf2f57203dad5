/* forward/breaker.h - whether a destination may be sent to now, and what it is to be told apart by:
 * up, backing off, unauthorized. Owner: the destination's thread. Needs: storage/writer.h,
 * forward/export.h. */
#ifndef FORWARD_BREAKER_H
#define FORWARD_BREAKER_H

#include "gateway/forward/backoff.h"
#include "gateway/forward/export.h"
#include "storage/writer.h"

struct breaker {
	struct backoff backoff;
	int64_t probe_interval_ns; /* of bare connections; 0: the kind has none */
	enum destination_state state;
	int64_t since_wall_ns;
	int64_t since_mono_ns;
	int failures;        /* in a row, exports that overlapped counted once */
	int64_t failed_ns;   /* mono, the last of them */
	int64_t due_ns;      /* mono: no export starts before; 0 while up */
	int64_t due_wall_ns; /* the same for people */
	bool is_unreachable; /* the network is at fault: a connection that succeeds ends the wait */
	int64_t probe_due_ns; /* mono: when to try a bare connection; INT64_MAX: not at all */
	char reason[SETTLE_ERROR_MAX];
};

void breaker_init(struct breaker *b, const struct backoff *backoff, int64_t probe_interval_ns);
static inline bool breaker_is_up(const struct breaker *b)
{
	return b->state == DESTINATION_UP;
}
/* An export that was started at started_ns got an answer that is no success. True: the state
 * changed. */
bool breaker_failed(struct breaker *b, const struct export_reply *reply, int64_t started_ns);
/* It answered, whatever it said of the data. True: it was down. */
bool breaker_answered(struct breaker *b);
/* Forget how long to wait: what is next may be tried at once. The state stays until an answer. */
void breaker_flush(struct breaker *b);
/* What a bare connection found. A connection ends the wait where the network was at fault. */
void breaker_probed(struct breaker *b, bool is_reachable);
/* There is another credential: the wait of an unauthorized destination is over. */
void breaker_renewed(struct breaker *b);

#endif
