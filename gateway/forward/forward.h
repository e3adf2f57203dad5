/* forward/forward.h - a destination's thread: claim, merge, encode, send, settle, back off.
 * Owner: main starts and stops it; everything else belongs to its thread.
 * Needs: storage, telemetry, gateway/base. */
#ifndef FORWARD_FORWARD_H
#define FORWARD_FORWARD_H

#include "gateway/base/config.h"
#include "storage/writer.h"

struct forward;
struct uplink;

struct forward_options {
	const struct destination_config *config; /* outlives the forward */
	struct writer *writer;
	int slot; /* from writer_destination */
	int64_t destination_id;
	int64_t too_old_id; /* the destination of too_old.send_to; 0: none */
	const int *shares;  /* of the classes, borrowed until forward_new returns; NULL: the usual
			       ones */
	struct uplink *uplink; /* outlives the forward; NULL: on none */
};

/* Checks what can be checked without the network (URL, files, keys) and subscribes to the writer:
 * call before writer_start. e names the destination and the key. */
MUST_USE enum status forward_new(const struct forward_options *o, struct forward **ret,
				 struct err *e);
/* Starts the thread: call after writer_start. */
MUST_USE enum status forward_start(struct forward *f, struct err *e);
/* What an operator wants of it, from any thread; its thread takes it at its next turn. reason: of a
 * pause, for people. */
enum forward_order { FORWARD_PAUSE, FORWARD_RESUME, FORWARD_FLUSH };
void forward_order(struct forward *f, enum forward_order order, const char *reason);
/* Start no new export from here on; does not wait. For all, before the first forward_stop: what one
 * starts while another is waited for would be broken off at the deadline, and sent twice. Accepts
 * NULL. */
void forward_begin_stop(struct forward *f, int64_t deadline_ns);
/* Start no new export, wait for those under way until the deadline (now_mono_ns), settle, join.
 * What has no answer by then stays queued. The writer must still run. Accepts NULL. */
void forward_stop(struct forward *f, int64_t deadline_ns);
/* After forward_stop, and after writer_stop: the writer rings the channel until then. Accepts NULL.
 */
void forward_free(struct forward *f);

#endif
