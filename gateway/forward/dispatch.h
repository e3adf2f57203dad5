/* forward/dispatch.h - what a destination sends next, and what its answers lead to.
 * Owner: the destination's thread. Needs: forward/{exporter,lanes,breaker,settle}.h. */
#ifndef FORWARD_DISPATCH_H
#define FORWARD_DISPATCH_H

#include "gateway/base/log.h"
#include "gateway/forward/breaker.h"
#include "gateway/forward/export_size.h"
#include "gateway/forward/exporter.h"
#include "gateway/forward/gate.h"
#include "gateway/forward/lanes.h"
#include "gateway/forward/settle.h"

enum dispatch_rate { RATE_READER, RATE_DEAD, RATE_REJECTED, RATE_FUTILE, RATE_TOO_OLD, RATE_COUNT };

struct dispatch {
	const struct destination_config *config;
	struct exporter *exporter;
	struct writer *writer;
	struct claim_reader *reader; /* NULL: not open */
	int64_t reader_due_ns;       /* mono: when to open it */
	struct claim_window *window;
	int slot;         /* of the writer */
	uint64_t changes; /* writer_changes of it, as last seen */
	struct breaker breaker;
	struct gate gate; /* to the uplink */
	struct settler settler;
	struct encoder encoder;
	struct budget budget;
	struct export_size size; /* of exports */
	struct lanes lanes;
	int64_t too_old_id; /* the destination that gets what is too old; 0: none */
	/* Paused by an operator: nothing new is sent, whatever the breaker says. */
	bool is_paused;
	int64_t paused_wall_ns;
	char paused_reason[SETTLE_ERROR_MAX];
	int64_t last_success_ns;           /* wall */
	bool has_taken[SIGNAL_COUNT];      /* since the start, something at this signal's address */
	struct log_rate rates[RATE_COUNT]; /* of log lines */
	struct series *attempts[VERDICT_COUNT];
	struct series *sent_bytes;
	struct series *in_flight_gauge;
};

struct dispatch_options {
	const struct destination_config *config;
	struct writer *writer;
	int slot; /* of the writer */
	int64_t destination_id;
	int64_t too_old_id;
	struct exporter *exporter;
	struct chan *chan;
	struct uplink *uplink; /* NULL: on none */
	const int *shares;     /* of the classes; NULL: the usual ones */
};

/* Takes the exporter. d lives where it is: its settlements come back through chan. */
void dispatch_init(struct dispatch *d, const struct dispatch_options *o);
void dispatch_done(struct dispatch *d);

/* Claim what is ready, and start what may be started. now is the turn's time. */
void dispatch_start_due(struct dispatch *d, int64_t now);
/* Wait until the deadline or until something happens, and deal with the answers. */
void dispatch_wait(struct dispatch *d, int64_t deadline_ns);
/* When dispatch_start_due should be called again, if nothing happens before. */
int64_t dispatch_next_ns(const struct dispatch *d, int64_t now);

/* Start nothing from here on; what is under way ends. since: wall clock. */
void dispatch_pause(struct dispatch *d, int64_t since_wall_ns, const char *reason);
/* Go on, and at once: what the breaker knew before the pause is old. */
void dispatch_resume(struct dispatch *d);
/* Forget every back-off, and windows and slow start until all is sent: what waits is tried at the
 * next turn. Does not end a pause. */
void dispatch_flush(struct dispatch *d);
/* For people and for the queue file. */
enum destination_state dispatch_state(const struct dispatch *d);
int64_t dispatch_since_wall_ns(const struct dispatch *d);
/* Why it is not up, or up and waits for a window or a budget; copies to dst. Gives *ret_due_ns
 * (wall; 0: none), the next attempt. */
void dispatch_reason(const struct dispatch *d, char *dst, size_t size, int64_t *ret_due_ns);

#endif
