/* forward/export.h - one call to a destination, made of one or more batches.
 * Owner: the destination's thread. Needs: storage/claim.h, telemetry/select.h, gateway/base. */
#ifndef FORWARD_EXPORT_H
#define FORWARD_EXPORT_H

#include "gateway/base/compression.h"
#include "gateway/forward/outcome.h"
#include "gateway/telemetry/select.h"
#include "storage/claim.h"
#include "storage/writer.h"

/* What became of one attempt. */
struct export_reply {
	enum verdict verdict;
	int status;             /* HTTP, or a gRPC code (1 to 16); 0: no answer, or gRPC's OK */
	bool is_unreachable;    /* no connection could be made */
	bool is_own;            /* made here: nothing went over the wire, and nobody answered */
	int64_t retry_after_ns; /* 0: not said */
	int64_t rejected;       /* records, of a partial success */
	char error[SETTLE_ERROR_MAX]; /* for people; empty where all is well */
};

/* Of a batch whose end is another, so many records were taken before, in parts; of these, rejected
 * by partial success. */
struct export_taken {
	uint32_t records;
	uint32_t rejected;
};

/* The others; of a replayed batch fewer may be owed than its payload holds. */
static inline uint32_t export_left(const struct claim *c, struct export_taken t)
{
	return c->records > t.records ? c->records - t.records : 0;
}

/* Membership is fixed at birth and kept across attempts; the body lives for one attempt. */
enum { EXPORT_MEMBERS_MAX = 256, SETTLE_REASON_MAX = 256 };
struct export
{
	enum signal signal;
	enum record_class class;
	int lane;                                 /* of the dispatch */
	struct claim members[EXPORT_MEMBERS_MAX]; /* in the order of the queue */
	size_t count;
	struct select_range part; /* of the one member only these records; count 0: all */
	size_t raw_bytes;         /* of all members, decompressed */
	struct buf body;          /* as on the wire */
	enum encoding encoding;   /* of body */
	uint32_t left_out;        /* records that this body leaves out: the kind cannot say them */
	char left_out_reason[SETTLE_REASON_MAX]; /* of the first of them */
	int attempts;
	int64_t started_ns;        /* mono, of the last attempt */
	struct export_reply reply; /* to it; written by the exporter */
};

/* Copies the claims: at least one, of one signal and class. Never NULL. */
struct export *export_new(const struct claim *members, size_t count);
void export_free(struct export *x);
/* Take one member out. */
void export_drop(struct export *x, size_t index);

/* Reusable compressors. */
struct encoder {
	struct compressor *compressors[ENCODING_COUNT];
};
void encoder_done(struct encoder *enc);
/* The encoder's own. */
struct compressor *encoder_get(struct encoder *enc, enum encoding encoding);

/* For kinds that do not take OTLP: append to out what goes on the wire (compressed as the protocol
 * has it), made of the members' OTLP, one Export*ServiceRequest that the scan accepted once.
 * Records that the protocol cannot say are counted in x->left_out, with the reason in
 * x->left_out_reason. Nothing
 * appended: there is nothing to send. Runs again at each attempt; state that it carries over (sums
 * of deltas) is kept with the export until its reply is known. ST_TOO_LARGE, ST_BUSY: from out. */
typedef enum status (*export_convert_fn)(void *exporter, struct export *x, struct bytes otlp,
					 struct buf *out, struct err *e);

/* How bodies are made for one destination. */
struct export_form {
	enum encoding encoding;    /* where convert is NULL */
	export_convert_fn convert; /* NULL: OTLP as it is */
	void *exporter;            /* for convert */
};

/* Append a batch as it was before it was compressed. ST_CORRUPT: it is damaged. */
MUST_USE enum status export_read_batch(const struct claim *c, struct claim_reader *r,
				       struct buf *out, struct err *e);

/* Read the members' payloads and build the body in this form; memory comes out of the budget.
 * ST_CORRUPT, ST_NOT_FOUND: member *ret_index is damaged or gone. ST_BUSY: no room in the budget
 * now. ST_INVALID: its records cannot be told apart (x->part). Others: the queue cannot be read
 * now. The body is empty after any failure. */
MUST_USE enum status export_load(struct export *x, struct encoder *enc, struct claim_reader *r,
				 const struct export_form *form, struct budget *budget,
				 size_t *ret_index, struct err *e);
/* Free the body, and give back to the budget. */
void export_unload(struct export *x);
/* How long this body may take in all, however well it moves: so many times `timeout`, or what its
 * bytes take at the least rate that an uplink can have, whichever is more. */
int64_t export_patience_ns(const struct export *x, int64_t timeout_ns);

#endif
