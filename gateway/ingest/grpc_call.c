/* grpc_call.c - what a call goes through, whatever carries its bytes.
 *
 * Each check is made as early as its facts are there: the method, encoding and admission when the
 * headers are complete, the size when the five bytes of the message's prefix are, so that a request
 * that cannot be taken costs next to nothing. Memory follows the bytes that came (buf doubles), not
 * the length that a client claims: a claim of 64 MiB reserves FIRST_RESERVE.
 *
 * Life: a call lives as long as its stream or as the writer has it, whichever ends last. A client
 * that resets its stream, or whose deadline passes, while the writer has the call gets no further
 * answer; what it sent may still be stored, which at-least-once delivery allows.
 *
 * Only grpc_call_completed with ST_OK answers an Export with success. */
#include "gateway/ingest/grpc_call.h"

#include <stdio.h>

#include "gateway/base/compression.h"
#include "gateway/base/container.h"
#include "gateway/base/grpc_status.h"
#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"
#include "gateway/ingest/grpc_health.h"

enum {
	FIRST_RESERVE = 64 * 1024,
	STEP_MIN = 16 * 1024,
	STEPS_MAX = 64,
	HEADER_LIST_MAX = 16 * 1024,
	HEADER_OVERHEAD = 32
};

struct grpc_method {
	const char *path;
	bool is_health;
	enum signal signal; /* SIGNAL_COUNT: none */
};

static const struct grpc_method methods[] = {
#define SIGNAL(name, text, noun, path, method) { method, false, SIGNAL_##name },
#include "schema/vocabulary.def"
#undef SIGNAL
	{ "/grpc.health.v1.Health/Check", true, SIGNAL_COUNT },
};

/* --- counting and answering --- */

static void count(struct grpc_call *call, enum status st)
{
	enum signal signal = call->method ? call->method->signal : SIGNAL_COUNT;
	struct series **s = &call->server->requests[signal][st];
	/* Health checks are no telemetry; a call to nowhere is worth knowing. */
	if (call->method && call->method->is_health)
		return;
	if (!*s)
		*s = metric_series(M_RECEIVER_REQUESTS, "otlp", "grpc",
				   signal < SIGNAL_COUNT ? signal_text(signal) : "unknown",
				   status_name(st));
	series_add(*s, 1);
}

static void set_answered(struct grpc_call *call, enum status submitted)
{
	call->state = GRPC_CALL_ANSWERED;
	call->moved_ns = call->server->now_ns;
	call->is_broken = submitted != ST_OK;
	/* The memory is not needed for the answer, which may wait for a slow reader. */
	if (!call->is_with_writer)
		ingest_call_done(&call->ingest);
}

static void succeed(struct grpc_call *call, struct bytes message)
{
	count(call, ST_OK);
	set_answered(call,
		     grpc_answer_message(call->session, call->stream_id, &call->reply, message));
}

static void fail_with(struct grpc_call *call, enum status st, const struct grpc_failure *f)
{
	count(call, st);
	set_answered(call, grpc_answer_failure(call->session, call->stream_id, f));
}

/* Fails with what the status says. */
static void fail(struct grpc_call *call, enum status st, const char *message, int retry_after_s)
{
	/* A failure never reads as success, whatever the status. */
	int code = status_class(st) == CLASS_OK ? GRPC_INTERNAL : status_grpc(st);
	fail_with(call, st,
		  &(struct grpc_failure){ .http_status = 200,
					  .code = code,
					  .message = message,
					  .retry_after_s = retry_after_s });
}

/* The client's framing is wrong, which gRPC reports as INTERNAL (grpc/doc/compression.md). */
static void fail_framing(struct grpc_call *call, const char *message)
{
	fail_with(call, ST_INVALID,
		  &(struct grpc_failure){
			  .http_status = 200, .code = GRPC_INTERNAL, .message = message });
}

/* Fails with what the ingest call says. */
static void fail_ingest(struct grpc_call *call)
{
	const struct ingest_call *in = &call->ingest;
	fail(call, in->status, err_text(&in->err, in->status), in->retry_after_s);
}

/* --- headers --- */

struct grpc_call *grpc_call_new(struct grpc_server *server, nghttp2_session *session,
				int32_t stream_id)
{
	struct grpc_call *call = xcalloc(1, sizeof(*call));
	call->server = server;
	call->session = session;
	call->stream_id = stream_id;
	call->deadline_ns = INT64_MAX;
	call->moved_ns = server->now_ns;
	call->is_encoding_known = true;
	grpc_frame_reader_init(&call->reader);
	ingest_call_init(server->ingest, &call->ingest, server->options.max_message_bytes);
	return call;
}

static void take_method(struct grpc_call *call, struct bytes value)
{
	call->is_post = bytes_equal(value, bytes_str("POST"));
}

static void take_path(struct grpc_call *call, struct bytes value)
{
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (bytes_equal(value, bytes_str(methods[i].path)))
			call->method = &methods[i];
	if (!call->method)
		(void)snprintf(call->path, sizeof(call->path), "%.*s", (int)value.n,
			       (const char *)value.p);
}

/* application/grpc, application/grpc+proto, and either with parameters. */
static void take_content_type(struct grpc_call *call, struct bytes value)
{
	static const char *const types[] = { "application/grpc", "application/grpc+proto" };
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		size_t n = strlen(types[i]);
		if (value.n >= n && memcmp(value.p, types[i], n) == 0 &&
		    (value.n == n || value.p[n] == ';' || value.p[n] == ' '))
			call->is_grpc = true;
	}
}

static void take_encoding(struct grpc_call *call, struct bytes value)
{
	static const struct {
		const char *name;
		enum encoding encoding;
	} known[] = { { "identity", ENCODING_NONE },
		      { "gzip", ENCODING_GZIP },
		      { "zstd", ENCODING_ZSTD } };
	call->is_encoding_known = false;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (!bytes_equal(value, bytes_str(known[i].name)))
			continue;
		call->is_encoding_known = true;
		call->ingest.encoding = known[i].encoding;
	}
}

static void take_timeout(struct grpc_call *call, struct bytes value)
{
	int64_t ns;
	call->is_timeout_bad = grpc_timeout_parse(value, &ns) != ST_OK;
	if (!call->is_timeout_bad && ns < INT64_MAX - call->server->now_ns)
		call->deadline_ns = call->server->now_ns + ns;
}

void grpc_call_header(struct grpc_call *call, struct bytes name, struct bytes value)
{
	static const struct {
		const char *name;
		void (*take)(struct grpc_call *call, struct bytes value);
	} fields[] = {
		{ ":method", take_method },
		{ ":path", take_path },
		{ "content-type", take_content_type },
		{ "grpc-encoding", take_encoding },
		{ "grpc-timeout", take_timeout },
	};
	/* Trailers of a request say nothing to us. */
	if (call->state != GRPC_CALL_HEADERS)
		return;
	call->header_bytes += name.n + value.n + HEADER_OVERHEAD;
	if (call->header_bytes > HEADER_LIST_MAX)
		return;
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (bytes_equal(name, bytes_str(fields[i].name)))
			fields[i].take(call, value);
}

/* True: the request is one that can be answered as gRPC. As grpc-go judges, in its order. */
static bool check_http(struct grpc_call *call)
{
	struct grpc_failure f = { .http_status = 200, .code = GRPC_INTERNAL };
	enum status st = ST_OK;
	struct err e;
	if (call->header_bytes > HEADER_LIST_MAX) {
		st = err_set(&e, ST_TOO_LARGE, "the request headers are larger than %d bytes",
			     HEADER_LIST_MAX);
		f.code = status_grpc(st);
	} else if (!call->is_post) {
		st = err_set(&e, ST_METHOD, "gRPC requests are POST");
		f.http_status = status_http(st);
	} else if (!call->is_grpc) {
		st = err_set(&e, ST_UNSUPPORTED,
			     "this port takes content-type application/grpc only; OTLP/HTTP has a "
			     "port of "
			     "its own, usually 4318");
		f.http_status = status_http(st);
	}
	f.message = e.text;
	if (st)
		fail_with(call, st, &f);
	return !st;
}

static bool check_grpc(struct grpc_call *call)
{
	struct err e;
	if (!call->method) {
		fail(call, err_set(&e, ST_NOT_FOUND, "unknown method %s", call->path), e.text, 0);
	} else if (!call->is_encoding_known) {
		fail_with(call, ST_UNSUPPORTED,
			  &(struct grpc_failure){ .http_status = 200,
						  .code = GRPC_UNIMPLEMENTED,
						  .message = "unknown grpc-encoding: use identity, "
							     "gzip or zstd",
						  .is_encoding_listed = true });
	} else if (call->is_timeout_bad) {
		fail_framing(call, "malformed grpc-timeout");
	}
	return call->state != GRPC_CALL_ANSWERED;
}

/* Runs on the writer's thread. */
static void give_back(struct ingest_call *ingest)
{
	struct grpc_call *call = container_of(ingest, struct grpc_call, ingest);
	chan_give(&call->server->done, call);
}

void grpc_call_start(struct grpc_call *call)
{
	if (!check_http(call) || !check_grpc(call))
		return;
	struct ingest_call *in = &call->ingest;
	in->transport = "grpc";
	in->done = give_back;
	call->state = GRPC_CALL_BODY;
	if (call->method->is_health) {
		/* Asked most when the gateway is under load: does not wait for the budget. */
		buf_init(&in->body, GRPC_HEALTH_REQUEST_MAX, NULL);
		return;
	}
	in->signal = call->method->signal;
	if (ingest_admit(call->server->ingest, in, 0) != ST_OK)
		fail_ingest(call);
}

/* --- the message --- */

/* The message's length is known, and nothing of it stored. */
static void begin_message(struct grpc_call *call)
{
	struct ingest_call *in = &call->ingest;
	size_t length = call->reader.length;
	if (call->has_message) {
		fail_framing(call, "more than one message in a unary request");
		return;
	}
	call->has_message = true;
	if (call->reader.is_compressed && in->encoding == ENCODING_NONE) {
		fail_framing(call, "a compressed message without grpc-encoding");
		return;
	}
	/* grpc-encoding says what may be used; the flag says whether it was. */
	if (!call->reader.is_compressed)
		in->encoding = ENCODING_NONE;
	if (length > in->body.max) {
		struct err e;
		enum status st = err_set(&e, ST_TOO_LARGE,
					 "the message has %zu bytes and the limit is %zu: send "
					 "smaller batches",
					 length, in->body.max);
		fail(call, st, e.text, 0);
		return;
	}
	enum status st = ST_OK;
	if (!call->method->is_health)
		st = ingest_admit(call->server->ingest, in, length);
	if (!st) {
		st = buf_reserve(&in->body, length < FIRST_RESERVE ? length : FIRST_RESERVE);
		if (st)
			(void)ingest_refuse(in, st);
	}
	if (st)
		fail_ingest(call);
}

static void store(struct grpc_call *call, struct bytes piece)
{
	enum status st = buf_append(&call->ingest.body, piece);
	if (st) {
		(void)ingest_refuse(&call->ingest, st);
		fail_ingest(call);
	}
}

static void step(struct grpc_call *call)
{
	call->moved_ns = call->server->now_ns;
	call->unpaid_bytes = 0;
}

static void pay(struct grpc_call *call, size_t n)
{
	size_t part = call->reader.length / STEPS_MAX;
	call->unpaid_bytes += n;
	if (call->unpaid_bytes >= (part > STEP_MIN ? part : STEP_MIN))
		step(call);
}

void grpc_call_data(struct grpc_call *call, struct bytes data)
{
	while (call->state == GRPC_CALL_BODY) {
		struct bytes piece;
		switch (grpc_frame_next(&call->reader, &data, &piece)) {
		case GRPC_FRAME_MORE:
			return;
		case GRPC_FRAME_PREFIX:
			step(call);
			begin_message(call);
			break;
		case GRPC_FRAME_BYTES:
			pay(call, piece.n);
			store(call, piece);
			break;
		case GRPC_FRAME_END:
			step(call);
			break;
		case GRPC_FRAME_BAD:
			fail_framing(call, "the compressed flag of the message is neither 0 nor 1");
			break;
		}
	}
}

static void answer_health(struct grpc_call *call)
{
	struct ingest_call *in = &call->ingest;
	struct buf plain;
	struct bytes service = { 0 };
	struct err e = { 0 };
	buf_init(&plain, GRPC_HEALTH_REQUEST_MAX, NULL);
	enum status st = decompress(in->encoding, buf_view(&in->body), &plain, &e);
	if (!st)
		st = grpc_health_read(buf_view(&plain), &service, &e);
	if (st) {
		fail(call, st, err_text(&e, st), 0);
	} else if (!grpc_health_is_known(service)) {
		fail_with(call, ST_NOT_FOUND,
			  &(struct grpc_failure){ .http_status = 200,
						  .code = GRPC_NOT_FOUND,
						  .message = "unknown service" });
	} else {
		bool is_serving = !call->server->is_stopping &&
				  ingest_admit(call->server->ingest, in, 0) == ST_OK;
		succeed(call, grpc_health_reply(is_serving));
	}
	buf_done(&plain);
}

void grpc_call_end(struct grpc_call *call)
{
	if (call->state != GRPC_CALL_BODY)
		return;
	if (!grpc_frame_is_between(&call->reader)) {
		fail_framing(call, "the request ends within a message");
		return;
	}
	if (!call->has_message) {
		fail_framing(call, "the request has no message");
		return;
	}
	if (call->method->is_health) {
		answer_health(call);
		return;
	}
	size_t length = call->ingest.body.n;
	bool is_light = ingest_is_light(&call->ingest, call->server->now_ns);
	if (is_light && ingest_prepare(&call->ingest) != ST_OK) {
		fail_ingest(call);
		return;
	}
	/* All of this before the commit: from there on another thread has the call, and it may come
	 * back before ingest_commit returns. */
	call->state = GRPC_CALL_COMMIT;
	call->held_bytes = length;
	call->moved_ns = call->server->now_ns;
	call->is_with_writer = true;
	call->server->with_writer++;
	if (is_light)
		ingest_commit(&call->ingest);
	else
		ingest_give(&call->ingest);
}

void grpc_call_completed(struct grpc_call *call)
{
	if (call->state != GRPC_CALL_COMMIT) /* its deadline had passed */
		ingest_call_done(&call->ingest);
	else if (call->ingest.status == ST_OK)
		succeed(call, bytes_of(NULL, 0));
	else
		fail_ingest(call);
}

/* --- the ends that are not the client's or the writer's --- */

bool grpc_call_expire(struct grpc_call *call)
{
	int64_t now = call->server->now_ns;
	int64_t timeout = call->server->options.read_timeout_ns;
	bool is_stuck = now - call->moved_ns > timeout;
	struct err e;
	switch (call->state) {
	case GRPC_CALL_HEADERS:
	case GRPC_CALL_ANSWERED:
		return is_stuck;
	case GRPC_CALL_BODY:
		if (now >= call->deadline_ns)
			fail(call, ST_TIMEOUT, "the deadline passed while the request came in", 0);
		else if (is_stuck)
			fail(call,
			     err_set(&e, ST_TIMEOUT, "too little of the request came within %.1f s",
				     (double)timeout / (double)NS_PER_S),
			     e.text, 0);
		return false;
	case GRPC_CALL_COMMIT:
		if (now < call->deadline_ns)
			return false;
		atomic_store(&call->ingest.is_unwanted, true);
		fail(call, ST_TIMEOUT, "the deadline passed before the data was known to be stored",
		     0);
		return false;
	}
	return false;
}

void grpc_call_free(struct grpc_call *call)
{
	CHECK(!call->is_with_writer);
	ingest_call_done(&call->ingest);
	free(call);
}

void grpc_call_abandon(struct grpc_call *call)
{
	if (call->state != GRPC_CALL_ANSWERED)
		count(call, ST_CANCELLED);
	call->state = GRPC_CALL_ANSWERED;
	atomic_store(&call->ingest.is_unwanted, true);
	call->connection = NULL;
	call->session = NULL;
	if (!call->is_with_writer)
		grpc_call_free(call);
}
