/* ingest/grpc_call.h - one gRPC call: from its headers to its answer.
 * Owner: the receiver's thread; member `ingest` is the writer's while is_with_writer.
 * Needs: ingest, grpc_frame, grpc_answer. */
#ifndef INGEST_GRPC_CALL_H
#define INGEST_GRPC_CALL_H

#include <sys/queue.h>

#include "gateway/base/grpc_frame.h"
#include "gateway/base/metrics.h"
#include "gateway/ingest/grpc_answer.h"
#include "gateway/ingest/receive_grpc.h"

struct grpc_method;

/* What all calls and connections of a receiver share. Made by receive_grpc.c. */
struct grpc_server {
	struct receive_grpc_options options;
	struct ingest *ingest;
	struct budget overhead; /* memory of streams and of output that is not taken */
	struct chan done;       /* calls come back from the writer */
	int64_t now_ns;         /* monotonic; of this turn of the loop */
	size_t open_calls;      /* streams without an end */
	size_t with_writer;     /* calls that have to come back before the receiver may go */
	bool is_stopping;
	uint8_t *read_buffer; /* of GRPC_READ_SIZE; used within one call only */
	struct series *requests[SIGNAL_COUNT + 1][STATUS_COUNT]; /* made when first counted */
};

enum { GRPC_READ_SIZE = 256 * 1024 };

/* HEADERS -> BODY      [grpc_call_start]
 * HEADERS -> ANSWERED  [grpc_call_start: refused]
 * BODY -> COMMIT       [grpc_call_end: given to the writer]
 * BODY -> ANSWERED     [grpc_call_data, grpc_call_end, grpc_call_expire: refused; health]
 * COMMIT -> ANSWERED   [grpc_call_completed; grpc_call_expire: deadline] */
enum grpc_call_state { GRPC_CALL_HEADERS, GRPC_CALL_BODY, GRPC_CALL_COMMIT, GRPC_CALL_ANSWERED };

struct grpc_call {
	struct chan_item item; /* the way back from the writer */
	LIST_ENTRY(grpc_call) link;
	struct grpc_server *server;
	void *connection; /* for grpc_connection.c; NULL once the stream is gone */
	nghttp2_session *session;
	int32_t stream_id;
	enum grpc_call_state state;
	bool is_with_writer;
	bool is_broken;      /* no answer could be submitted: end the connection */
	size_t held_bytes;   /* a complete message that is not answered yet */
	int64_t deadline_ns; /* grpc-timeout; INT64_MAX: none */
	int64_t moved_ns;    /* when the call last got a step further */
	/* Private. */
	size_t unpaid_bytes;              /* of the message, since moved_ns: too few for a step */
	const struct grpc_method *method; /* NULL: unknown */
	bool is_post;
	bool is_grpc;
	bool is_encoding_known;
	bool is_timeout_bad;
	bool has_message;
	size_t header_bytes;
	char path[96]; /* of no method that we know: for messages, cut to fit */
	struct grpc_frame_reader reader;
	struct grpc_reply reply;
	struct ingest_call ingest;
};

struct grpc_call *grpc_call_new(struct grpc_server *server, nghttp2_session *session,
				int32_t stream_id);
/* One header field of the request. Borrows both. */
void grpc_call_header(struct grpc_call *call, struct bytes name, struct bytes value);
/* All headers came. */
void grpc_call_start(struct grpc_call *call);
/* Request bytes. Borrows data. */
void grpc_call_data(struct grpc_call *call, struct bytes data);
/* The client has sent everything. */
void grpc_call_end(struct grpc_call *call);
/* The writer gave the call back, and the stream is still there. */
void grpc_call_completed(struct grpc_call *call);
/* Answer if the deadline passed or the bytes stopped coming. True: the call is stuck beyond an
 * answer, end its stream. */
bool grpc_call_expire(struct grpc_call *call);
/* The stream is gone. Takes the call, unless it is with the writer: then grpc_call_free follows. */
void grpc_call_abandon(struct grpc_call *call);
void grpc_call_free(struct grpc_call *call);

#endif
