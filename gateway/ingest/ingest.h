/* ingest/ingest.h - from a received body to a committed batch: admit, decode, scan, enrich, sort,
 * enqueue. Shared by every receiver. Owner: struct ingest is immutable after ingest_new; a struct
 * ingest_call belongs to its receiver, but for the time between ingest_commit and its done. Needs:
 * storage, telemetry, gateway/base. */
#ifndef INGEST_INGEST_H
#define INGEST_INGEST_H

#include <stdatomic.h>

#include "gateway/base/arena.h"
#include "gateway/ingest/route.h"
#include "gateway/telemetry/sort.h"
#include "storage/writer.h"

struct ingest;

struct ingest_options {
	struct writer *writer;
	const struct attributes *resource; /* to insert; outlives the ingest */
	const struct route_table *routes;  /* outlives the ingest */
	size_t max_in_flight_bytes;        /* over all receivers */
	int retry_after_s;                 /* what a refused client is told */
};

struct ingest *ingest_new(const struct ingest_options *o);
/* The thread for large requests. Before the receivers start, and once they have stopped: then
 * before the writer's stop. ingest_stop accepts NULL, and one that was not started. */
MUST_USE enum status ingest_start(struct ingest *in, struct err *e);
void ingest_stop(struct ingest *in);
void ingest_free(struct ingest *in);
/* Bytes of requests that were received and not yet answered. */
size_t ingest_in_flight(struct ingest *in);
/* A message larger than this can never be taken, whatever the receiver's own limit. */
size_t ingest_max_message_bytes(const struct ingest *in);

/* One request. Embedded in the receiver's own struct. */
struct ingest_call {
	/* Set by the receiver before ingest_prepare. */
	enum signal signal;
	bool is_json;
	enum encoding encoding;                 /* of body */
	const char *transport;                  /* "grpc" or "http", for metrics; static */
	size_t max_message_bytes;               /* after decompression */
	struct buf body;                        /* as received; made by ingest_call_init */
	void (*done)(struct ingest_call *call); /* on the writer thread; must not block */
	/* Set by the receiver while the call is out: nobody waits for the answer any more. What was
	 * given and is not prepared yet is dropped then, as ST_CANCELLED. */
	atomic_bool is_unwanted;
	/* The outcome, from ingest_prepare's return or when done is called. */
	enum status status;
	struct err err;
	int retry_after_s; /* > 0 where the client shall come back */
	/* Private. */
	struct chan_item item; /* in the preparer's channel */
	struct ingest *in;
	struct buf decoded; /* decompressed, and from JSON */
	struct buf sorted;
	struct arena arena;
	struct scan scan;
	struct put_job put;
};

/* Zeroes the call and makes body a buf with max_message_bytes as its cap that charges the in-flight
 * budget. */
void ingest_call_init(struct ingest *in, struct ingest_call *call, size_t max_message_bytes);
/* Frees everything the call holds and gives its bytes back. Accepts a zeroed call, and twice. */
void ingest_call_done(struct ingest_call *call);

/* May a request of this many bytes come in now? ST_OK, or what to answer (the queue is full,
 * recovering, stopping; too much in flight). Receivers ask as early as they can: when headers came.
 * Sets call->err. */
enum status ingest_admit(struct ingest *in, struct ingest_call *call, size_t bytes);

/* The receiver itself refuses the call (the body met its cap or the budget): fills status, err and
 * retry_after_s as a refusal by any step does. Returns st. */
enum status ingest_refuse(struct ingest_call *call, enum status st);

/* Is ingest_prepare done in a moment? Then the receiver goes on with it and ingest_commit. Else
 * with ingest_give. May decompress. began_ns: since when (now_mono_ns) the receiver's thread has
 * not looked at its other connections. */
bool ingest_is_light(struct ingest_call *call, int64_t began_ns);
/* Prepare and commit, on a thread for such requests. As ingest_commit, but that call->status can
 * also be what ingest_prepare finds wrong. */
void ingest_give(struct ingest_call *call);

/* Decompress, convert, scan, enrich, sort. On the receiver's thread; bounded by the body's size.
 * ST_OK: go on with ingest_commit. Else call->status, err and retry_after_s say what to answer. */
enum status ingest_prepare(struct ingest_call *call);
/* Hand over to the writer. call->done is called exactly once, with call->status set: ST_OK only
 * after the fsync. The receiver must not touch the call before. A request without records is done
 * at once. */
void ingest_commit(struct ingest_call *call);

#endif
