/* forward/settle.h - outcomes on their way to the queue: kept until the writer has committed them.
 * Owner: the destination's thread. Needs: storage/writer.h, forward/{export,claim_window}.h. */
#ifndef FORWARD_SETTLE_H
#define FORWARD_SETTLE_H

#include "gateway/base/metrics.h"
#include "gateway/forward/claim_window.h"
#include "gateway/forward/export.h"

struct settling;

struct settler {
	struct writer *writer;
	struct chan *chan; /* settlements come back through it */
	struct claim_window *window;
	int64_t destination_id;
	size_t at_writer;  /* given, not yet back */
	size_t part_bytes; /* of dead parts that are not committed yet */
	size_t unsettled;  /* outcomes that are not committed yet, at the writer or waiting */
	struct settling *waiting; /* to be given again, oldest first */
	int64_t retry_ns;         /* mono, when */
	struct series *sent[SIGNAL_COUNT];
	struct series *failed[SIGNAL_COUNT];
};

/* Past this many uncommitted outcomes nothing new should be sent. */
enum { SETTLE_UNSETTLED_MAX = 32, SETTLE_WORDS_MAX = 256 };

void settle_init(struct settler *s, const char *destination);
/* Frees what waits in vain. Nothing may be at the writer. */
void settle_done(struct settler *s);

/* The members were delivered; a partial rejection is counted against the first of them. */
void settle_delivered(struct settler *s, const struct export *x);
/* The members become dead letters with the reply's status and reason. */
void settle_dead(struct settler *s, const struct export *x);
/* One batch becomes a dead letter, but for what was taken of it before; status 0: without an
 * answer. */
void settle_batch_dead(struct settler *s, const struct claim *c, struct export_taken taken,
		       int status, const char *reason);
/* Records of one batch that died while its others were taken. */
struct settle_dead_part {
	struct settle_part part; /* its texts and its body point to what follows */
	struct buf body;
	char error[SETTLE_ERROR_MAX];
	char service[SETTLE_WORDS_MAX];
	char preview[SETTLE_WORDS_MAX];
};
/* The batch was delivered but for its parts and so many rejected records, for this reason. Takes
 * the parts, which are from malloc. */
void settle_split(struct settler *s, const struct claim *c, int64_t rejected, const char *reason,
		  struct settle_dead_part *parts, size_t count);
/* False: so many dead parts are on their way already that the next have to wait. */
bool settle_has_room(const struct settler *s);
void settle_parts_free(struct settle_dead_part *parts, size_t count);
/* The batch is owed to another destination from now on. */
void settle_moved(struct settler *s, const struct claim *c, int64_t to_destination_id);
/* The batch's payload was not found: lost by damage, or gone with its delivery. */
void settle_unreadable(struct settler *s, const struct claim *c, struct export_taken taken);
/* These members of an export are past their queue.max_age: they are not sent. */
void settle_expired(struct settler *s, const struct claim *members, size_t count);
/* Count an attempt. The members stay claimed; should it not be committed, it is forgotten. */
void settle_attempt(struct settler *s, const struct export *x);

/* Was this job given here? If so take it back: committed outcomes leave the window, others are
 * kept. ST_OK or what the writer said. */
bool settle_is_ours(const struct write_job *job);
enum status settle_take_back(struct settler *s, struct write_job *job);
/* Give again what failed, when it is time. */
void settle_retry(struct settler *s, int64_t now);

#endif
