/* forward/uplink.h - what several destinations share on their way out: rate, budgets, windows.
 * Owner: any thread. One lock, held for a few comparisons; nothing waits inside. Needs:
 * gateway/base, storage/writer.h.
 * large file: the one seam between destinations, with what status shows of it. */
#ifndef FORWARD_UPLINK_H
#define FORWARD_UPLINK_H

#include "gateway/base/channel.h"
#include "gateway/base/config.h"
#include "schema/vocabulary.h"

struct uplink;
struct uplink_member; /* a destination on it */
struct writer;

enum { UPLINK_MEMBERS_MAX = 62 };

/* Why nothing may go now; what takes longer is behind. */
enum uplink_wait {
	UPLINK_FREE,
	UPLINK_RATE,       /* the rate, or another's turn */
	UPLINK_SAVING,     /* what was used has to be stored first */
	UPLINK_SLOW_START, /* after an outage */
	UPLINK_WINDOW,
	UPLINK_DAY, /* the budget of the day is used up */
	UPLINK_MONTH,
	UPLINK_WAIT_COUNT
};
/* "window": a word for metrics and logs. */
const char *uplink_wait_text(enum uplink_wait wait);

/* c outlives it. writer NULL: usage is not stored (tests). random: 64 bits, for the slow start. */
struct uplink *uplink_new(const struct uplink_config *c, struct writer *writer,
			  uint64_t (*random)(void *ctx));
/* Store what was used; waits for the writer until the deadline (now_mono_ns). After the
 * destinations have stopped, before writer_stop. Accepts NULL. */
void uplink_stop(struct uplink *u, int64_t deadline_ns);
/* After writer_stop, when every member has left. Accepts NULL. */
void uplink_free(struct uplink *u);

/* A destination, which is rung through chan when what it was told has changed. Borrows name. */
struct uplink_member *uplink_join(struct uplink *u, const char *name, struct chan *chan);
/* Accepts NULL. */
void uplink_leave(struct uplink_member *m);

/* Borrowed from the configuration. */
const char *uplink_name(const struct uplink *u);

/* May an export of this class start now? granted > 0: yes, so many bytes were set aside for it;
 * tell with uplink_sent, now. Else it waits: ask again at at_ns (mono), or when rung, if there is
 * still something to send. until_ns (wall, 0: soon) is when that ends, for people. */
struct uplink_answer {
	int64_t granted;
	enum uplink_wait wait;
	int64_t at_ns;
	int64_t until_ns;
};
struct uplink_answer uplink_ask(struct uplink_member *m, enum record_class class);
/* What was granted goes as so many bytes on the wire, made from raw_bytes (0: nothing learned). */
void uplink_sent(struct uplink_member *m, enum record_class class, int64_t granted,
		 size_t raw_bytes, int64_t wire_bytes);
/* Bytes that went without being asked for, or (negative) that did not go after all. */
void uplink_correct(struct uplink_member *m, enum record_class class, int64_t bytes);
/* A window or a budget keeps this class. Asks for nothing. */
bool uplink_is_shut(struct uplink_member *m, enum record_class class);
/* To be called now and then, with or without something to send: stores what was used. wanted: bit i
 * is class i; others are not waited for any more. */
void uplink_tick(struct uplink_member *m, unsigned wanted);
/* It wants nothing any more, until it asks again. */
void uplink_withdraw(struct uplink_member *m);
/* The most that an export should hold, before compression, so that it does not keep what is more
 * urgent waiting. SIZE_MAX: no limit. */
size_t uplink_export_max(struct uplink_member *m);
/* What a request with so large a body is on the wire, with all that is around it. */
int64_t uplink_wire_bytes(size_t body_bytes);

/* The destination does not answer; it answers again: after an outage it starts slowly. */
void uplink_note_down(struct uplink_member *m);
void uplink_note_up(struct uplink_member *m);
/* For this destination windows and the slow start do not count, until set to false. */
void uplink_set_flush(struct uplink_member *m, bool is_flushing);

/* Another rate for so long (0: back to the configured one now). rate 0: no limit. */
void uplink_set_rate(struct uplink *u, uint64_t rate, int64_t for_ns);

/* For status: everything at this moment. */
struct uplink_view {
	const struct uplink_config *config;
	uint64_t rate;         /* in force; 0: none */
	int64_t rate_until_ns; /* wall: end of a temporary rate; 0: it is the configured one */
	int64_t used[2];       /* bytes: today, this month */
	char periods[2][16];   /* "2026-11-23", "2026-11" */
	int64_t ends_ns[2];    /* wall: of both */
	bool is_known;         /* what was used before the start is in used */
	bool has_windows;
	bool is_open;           /* within a window, or without any */
	int64_t next_change_ns; /* wall: when a window opens or closes; 0: never */
	int members;
	int waiting[UPLINK_WAIT_COUNT]; /* classes of destinations that have to wait, by reason */
};
void uplink_look(struct uplink *u, struct uplink_view *ret);
/* What keeps the member's classes that have something to send, for its status: the longest wait of
 * them. UPLINK_FREE: none waits. */
enum uplink_wait uplink_blocked(struct uplink_member *m, int64_t *ret_until_ns);

#endif
