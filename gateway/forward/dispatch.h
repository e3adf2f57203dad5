/* forward/dispatch.h - the lanes of a destination: what is sent next, and what its answer leads to.
 * Owner: the destination's thread. Needs: forward/{exporter,claim_window,breaker,settle}.h. */
#ifndef FORWARD_DISPATCH_H
#define FORWARD_DISPATCH_H

#include "gateway/forward/breaker.h"
#include "gateway/forward/exporter.h"
#include "gateway/forward/settle.h"

/* One signal of one class: what must stay in order. */
struct lane {
	enum signal signal;
	enum record_class class;
	struct export *export; /* under way, or waiting for its next attempt */
	bool is_in_flight;
	int64_t attempted_ns; /* mono, the last time */
	int failures;         /* in a row, with an answer: the backend lives, but not for this */
	int64_t due_ns;       /* mono: not before */
	int64_t alone_until;  /* batches up to this id go one by one: one of them was refused */
};

enum { LANES = SIGNAL_COUNT * RECORD_CLASS_COUNT };

struct dispatch {
	const struct destination_config *config;
	struct exporter *exporter;
	struct writer *writer;
	struct claim_reader *reader; /* NULL: not open */
	int64_t reader_due_ns;       /* mono: when to open it */
	struct claim_window *window;
	uint64_t changes; /* writer_changes, as last seen */
	struct breaker breaker;
	struct settler settler;
	struct encoder encoder;
	struct budget budget;
	size_t max_raw_bytes; /* of an export; learned where a backend said 413 */
	struct lane lanes[LANES];
	size_t in_flight;
	int64_t last_success_ns; /* wall */
	struct log_rate *rates;  /* of log lines, see dispatch.c */
	struct series *attempts[VERDICT_COUNT];
	struct series *sent_bytes;
	struct series *in_flight_gauge;
};

/* Takes the exporter. d lives where it is: its settlements come back through chan. */
void dispatch_init(struct dispatch *d, const struct destination_config *c, struct writer *w,
		   int64_t destination_id, struct exporter *exporter, struct chan *chan);
void dispatch_done(struct dispatch *d);

/* Claim what is ready, and start what may be started. now is the turn's time. */
void dispatch_start_due(struct dispatch *d, int64_t now);
/* Wait until the deadline or until something happens, and deal with the answers. */
void dispatch_wait(struct dispatch *d, int64_t deadline_ns);
/* When dispatch_start_due should be called again, if nothing happens before. */
int64_t dispatch_next_ns(const struct dispatch *d, int64_t now);

#endif
