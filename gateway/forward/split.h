/* forward/split.h - takes a refused export apart until what is at fault stands alone: which part to
 * send next, and what the answers say. A value without network, queue or clock.
 * Owner: the destination's thread. Needs: forward/export.h, telemetry/select.h. */
#ifndef FORWARD_SPLIT_H
#define FORWARD_SPLIT_H

#include "gateway/forward/export.h"
#include "gateway/telemetry/select.h"

/* Refusals that the splitting of one batch may take (and as many that of an export into batches);
 * and how many before anything was taken. */
enum {
	SPLIT_REFUSALS_MAX = 64,
	SPLIT_BARREN_MAX = 20,
	SPLIT_RANGES_MAX = 66,
	SPLIT_REASONS_MAX = 4
};

struct split;

enum split_step {
	SPLIT_SEND,   /* this piece; then say split_delivered or split_refused */
	SPLIT_DEAD,   /* these members become dead letters as they are, for split_reason */
	SPLIT_PARTED, /* this member is settled in parts: split_fault says which of them died */
	SPLIT_OVER
};

/* Members [first, first + count) of the export; where records.count is not 0 it is one member, and
 * of that only these records. */
struct split_piece {
	size_t first;
	size_t count;
	struct select_range records;
};

/* Records of the member that is parted which died together, of the same reason. */
struct split_fault {
	const struct export_reply *reply;
	struct select_range ranges[SPLIT_RANGES_MAX];
	size_t range_count;
	uint32_t records;
};

/* x was refused (its reply). Copies its members. is_suspicious: the last ones were refused whole,
 * so that one batch alone decides about all. Never NULL. */
struct split *split_new(const struct export *x, bool is_suspicious);
void split_free(struct split *s);
/* The members of a piece that are still there. Copies; returns how many. */
size_t split_members(const struct split *s, const struct split_piece *piece, struct claim *ret);
/* What was taken of this member, if it is the one that is being taken apart. */
struct export_taken split_taken(const struct split *s, int64_t batch_id);
/* A member was settled by other means (it is damaged, it is gone). */
void split_drop(struct split *s, int64_t batch_id);

/* What is to be done. SPLIT_DEAD and SPLIT_PARTED are told until split_settled. */
enum split_step split_next(struct split *s, struct split_piece *ret);
/* The piece was taken, but for so many records of it. */
void split_delivered(struct split *s, int64_t rejected);
/* The piece was refused. */
void split_refused(struct split *s, const struct export_reply *reply);
/* None of the piece's members is there any more. */
void split_skipped(struct split *s);
/* The members of the piece (or of SPLIT_PARTED) cannot be taken apart: they die whole for this
 * reason, but for what split_taken says. */
void split_give_up(struct split *s, const char *why);
/* What SPLIT_DEAD or SPLIT_PARTED told is on its way. */
void split_settled(struct split *s);

/* Of SPLIT_DEAD. */
const struct export_reply *split_reason(const struct split *s);
/* Of SPLIT_PARTED: fault i with its ranges ascending, false past the last one; and how many records
 * were taken by no one though the request was. */
bool split_fault(const struct split *s, size_t i, struct split_fault *ret);
int64_t split_rejected(const struct split *s);
/* Why, in the words of the last answer that rejected some. */
void split_note_rejected(struct split *s, const char *why);
const char *split_rejected_reason(const struct split *s);
/* Nothing of the export was taken, in several requests. */
bool split_was_futile(const struct split *s);

#endif
