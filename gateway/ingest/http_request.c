/* http_request.c - what happens between the headers of a request and its response.
 *
 * libmicrohttpd calls once with the headers, once for each piece of the body, and once at its end;
 * a response can be queued only at the first and at the last of these. A refusal that the headers
 * allow is decided at once, but mostly sent at the end: the body is read and thrown away. That
 * keeps the connection, and lets the client read why. Answered early, most clients send on, find
 * the connection reset and never see the 413, so that they send the same again for ever (Node's did
 * in five of six tries). What is thrown away is bounded by drain_left and by the read timeout. A
 * body that says it is longer, or whose sender asks first (Expect), is answered before it comes.
 *
 * At the end the body is prepared on this thread, or on another where it is large, and the call
 * given to the writer:
 *
 *   AT_WORKER -> AT_WRITER  [commit]       the request is out
 *   AT_WRITER -> AT_WORKER  [on_done]      given back; http_request_take_back notes it, and the
 *                                          worker answers and frees
 *   AT_WRITER -> ABANDONED  [leave]        stop, or the connection ended; on_done frees
 *
 * A connection whose request is out is not suspended at first. Suspending takes it out of
 * libmicrohttpd's epoll set, resuming puts it back and reads where there is nothing to read: three
 * system calls of some eight that a small request costs. libmicrohttpd asks for the response of a
 * whole request at each of its turns; until there is one, it is told nothing. That is cheap for a
 * few requests and a few milliseconds, so past WAITING_MAX, and after IN_PLACE_NS, connections
 * are suspended after all: then nothing is done for them, and no time-out of libmicrohttpd's runs.
 * Resuming starts that anew: a gateway that stood still for longer than it cuts nobody for that.
 * Only when it asks, not in the call that brings the end of the body: libmicrohttpd does not note
 * for a suspended connection that it has read enough, so it would read on when that is resumed,
 * and end the connection without an answer where the client has closed its half.
 *
 * libmicrohttpd completes a request only on the worker's thread, and never while it is suspended.
 * One that is not may end while the writer has its request, and the two part ways. Done may run
 * before ingest_commit returns, so what the worker knows of a request changes before that.
 */
#include "gateway/ingest/http_request.h"

#include <stdlib.h>
#include <strings.h>

#include "gateway/base/container.h"
#include "gateway/base/now.h"
#include "gateway/base/url.h"
#include "gateway/base/xalloc.h"

/* Refused bodies are read up to twice the limit, or up to this. */
enum { DRAIN_MIN_BYTES = 1 << 20, ROOM_AT_ONCE_BYTES = 64 << 10, RETRY_AFTER_S = 1 };
enum { WAITING_MAX = 128 };
#define IN_PLACE_NS (400 * NS_PER_MS)

/* The headers that matter, borrowed from libmicrohttpd. */
struct headers {
	const char *type;
	const char *encoding;
	const char *length;
	const char *transfer;
	const char *host;
	const char *origin;
	const char *expect;
	bool is_repeated; /* one of those that must stand once stands twice */
	bool is_misnamed; /* a name that is none: "Content-Length " */
};

static const struct {
	const char *name;
	size_t slot; /* in struct headers */
	bool must_be_single;
} wanted[] = {
	{ "Content-Type", offsetof(struct headers, type), true },
	{ "Content-Encoding", offsetof(struct headers, encoding), true },
	{ "Content-Length", offsetof(struct headers, length), true },
	{ "Transfer-Encoding", offsetof(struct headers, transfer), true },
	{ "Host", offsetof(struct headers, host), true },
	{ "Origin", offsetof(struct headers, origin), true },
	{ "Expect", offsetof(struct headers, expect), false },
};

static enum MHD_Result collect(void *cls, enum MHD_ValueKind kind, const char *key,
			       const char *value)
{
	(void)kind;
	struct headers *h = cls;
	h->is_misnamed = h->is_misnamed || !http_is_name(key);
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		if (strcasecmp(key, wanted[i].name) != 0)
			continue;
		const char **slot = (const char **)(void *)((char *)h + wanted[i].slot);
		if (*slot)
			h->is_repeated = h->is_repeated || wanted[i].must_be_single;
		else
			*slot = value ? value : "";
		break;
	}
	return MHD_YES;
}

static void refuse(struct http_request *r, enum status st)
{
	r->call.status = st;
	if (status_class(st) == CLASS_RETRY && r->call.retry_after_s == 0)
		r->call.retry_after_s = RETRY_AFTER_S;
}

static int signal_of(const char *path)
{
	int s = 0;
	while (s < SIGNAL_COUNT && strcmp(path, signal_http_path((enum signal)s)) != 0)
		s++;
	return s;
}

/* How the body's end is found. Two lengths, a coding that we do not undo, or a name that a proxy
 * may read as another are how requests are smuggled: refused, and the connection closed (RFC 9112,
 * 5.1 and 6.3). libmicrohttpd takes "chunked" for a coding only without a blank behind it, and a
 * name with one for another header. */
static enum status check_framing(struct http_request *r, const struct headers *h,
				 uint64_t *ret_length)
{
	struct err *e = &r->call.err;
	uint64_t length = 0;
	enum status st = ST_OK;
	if (h->is_misnamed)
		st = err_set(e, ST_INVALID,
			     "a header's name has a character that no name may have");
	else if (h->is_repeated)
		st = err_set(e, ST_INVALID, "a header that must stand once is repeated");
	else if (h->transfer && h->length)
		st = err_set(e, ST_INVALID,
			     "Content-Length and Transfer-Encoding exclude each other");
	else if (h->transfer && !http_is_token(h->transfer, "chunked"))
		st = err_set(e, ST_INVALID, "the only Transfer-Encoding supported is chunked");
	else if (h->length && http_parse_length(h->length, &length))
		st = err_set(e, ST_INVALID, "Content-Length is not a number");
	r->must_close = st != ST_OK;
	if (!st)
		*ret_length = length;
	return st;
}

/* Everything that the headers can decide, cheapest first. */
static enum status check(struct http_request *r, const struct headers *h, const char *path,
			 const char *method, uint64_t length)
{
	struct http_server *server = r->worker->server;
	struct ingest_call *call = &r->call;
	struct err *e = &call->err;
	if (r->signal == SIGNAL_COUNT)
		return err_set(e, ST_NOT_FOUND,
			       "there is nothing at %.80s: send to /v1/traces, /v1/metrics or "
			       "/v1/logs",
			       path);
	if (r->is_preflight)
		return ST_OK;
	if (strcmp(method, "POST") != 0)
		return err_set(e, ST_METHOD, "send with POST, not with %.20s", method);
	if (atomic_load(&server->is_stopping))
		return err_set(e, ST_STOPPING, "the gateway is shutting down: send it again");
	if (r->media == HTTP_MEDIA_OTHER)
		return http_parse_media(h->type, &r->media, e);
	enum status st = http_parse_encoding(h->encoding, &call->encoding, e);
	if (st)
		return st;
	if (length > call->max_message_bytes)
		return err_set(e, ST_TOO_LARGE,
			       "the body is %llu bytes, more than the limit of %zu: send smaller "
			       "batches",
			       (unsigned long long)length, call->max_message_bytes);
	return ingest_admit(server->in, call, (size_t)length);
}

static void on_done(struct ingest_call *call);

static struct http_request *begin(struct http_connection *c, const char *path, const char *method,
				  struct headers *ret_headers)
{
	struct http_server *server = c->worker->server;
	struct http_request *r = xcalloc(1, sizeof(*r));
	(void)MHD_get_connection_values(c->mhd, MHD_HEADER_KIND, collect, ret_headers);
	ingest_call_init(server->in, &r->call, server->max_message_bytes);
	r->worker = c->worker;
	r->connection = c;
	r->mhd = c->mhd;
	r->signal = signal_of(path);
	r->call.signal = (enum signal)(r->signal % SIGNAL_COUNT);
	r->call.transport = "http";
	r->call.done = on_done;
	r->origin = ret_headers->origin;
	r->drain_left = 2 * r->call.max_message_bytes;
	if (r->drain_left < DRAIN_MIN_BYTES)
		r->drain_left = DRAIN_MIN_BYTES;
	/* Errors speak the request's encoding, so it is looked at first. */
	if (http_parse_media(ret_headers->type, &r->media, NULL))
		r->media = HTTP_MEDIA_OTHER;
	r->call.is_json = r->media == HTTP_MEDIA_JSON;
	r->is_preflight = strcmp(method, "OPTIONS") == 0 && r->signal != SIGNAL_COUNT &&
			  cors_is_on(&server->cors);
	c->request = r;
	c->worker->active++;
	return r;
}

/* A body that is not large gets its room at once, instead of growing and being copied. But only
 * when its first bytes came: a promise to send costs a client nothing. */
static enum status append(struct http_request *r, struct bytes piece)
{
	struct buf *body = &r->call.body;
	if (body->n == 0 && piece.n < r->length && r->length <= ROOM_AT_ONCE_BYTES) {
		enum status st = buf_reserve(body, (size_t)r->length);
		if (st)
			return st;
	}
	return buf_append(body, piece);
}

static enum MHD_Result on_body(struct http_request *r, struct bytes piece)
{
	if (!r->call.status && !r->is_preflight) {
		enum status st = append(r, piece);
		if (!st)
			return MHD_YES;
		if (st == ST_TOO_LARGE)
			(void)err_set(&r->call.err, st,
				      "the body is larger than the limit of %zu bytes: send "
				      "smaller batches",
				      r->call.max_message_bytes);
		buf_done(&r->call.body);
		refuse(r, st);
	}
	if (piece.n > r->drain_left)
		return MHD_NO;
	r->drain_left -= piece.n;
	return MHD_YES;
}

static void free_request(struct http_request *r)
{
	ingest_call_done(&r->call);
	free(r);
}

/* On the writer's thread. The connection may be gone. */
static void on_done(struct ingest_call *call)
{
	struct http_request *r = container_of(call, struct http_request, call);
	enum http_request_state expected = HTTP_AT_WRITER;
	if (atomic_compare_exchange_strong(&r->state, &expected, HTTP_AT_WORKER))
		chan_give(&r->worker->wake, r);
	else
		free_request(r);
}

static void suspend(struct http_request *r)
{
	r->worker->waiting--;
	r->is_suspended = true;
	MHD_suspend_connection(r->mhd);
}

static bool waits_long(const struct http_request *r)
{
	return now_mono_ns() - r->out_ns >= IN_PLACE_NS;
}

static void take_back(struct http_request *r)
{
	struct http_worker *w = r->worker;
	w->out--;
	r->is_out = false;
	if (!r->connection) {
		free_request(r);
		return;
	}
	if (!r->is_suspended && waits_long(r))
		suspend(r);
	if (r->is_suspended)
		MHD_resume_connection(r->mhd);
	else
		w->waiting--;
}

void http_request_take_back(struct http_worker *w)
{
	struct chan_item *item = chan_take_all(&w->wake);
	while (item) {
		struct http_request *r = (struct http_request *)(void *)item;
		item = item->next;
		take_back(r);
	}
}

/* The request is out, and its connection ends. */
static void leave(struct http_request *r)
{
	struct http_worker *w = r->worker;
	enum http_request_state expected = HTTP_AT_WRITER;
	if (!r->is_suspended)
		w->waiting--;
	r->connection = NULL;
	atomic_store(&r->call.is_unwanted, true);
	/* Behind the exchange r belongs to the writer's thread; or it is in wake, or nearly so. */
	if (atomic_compare_exchange_strong(&r->state, &expected, HTTP_ABANDONED))
		w->out--;
}

static enum MHD_Result commit(struct http_request *r, bool is_prepared)
{
	struct http_worker *w = r->worker;
	r->connection->deadline_ns = INT64_MAX;
	r->is_out = true;
	r->out_ns = now_mono_ns();
	w->out++;
	w->waiting++;
	atomic_store(&r->state, HTTP_AT_WRITER);
	if (is_prepared)
		ingest_commit(&r->call);
	else
		ingest_give(&r->call);
	return MHD_YES;
}

/* libmicrohttpd asks for the response, and there is none yet. */
static enum MHD_Result wait_on(struct http_request *r)
{
	if (r->worker->waiting > WAITING_MAX || waits_long(r))
		suspend(r);
	return MHD_YES;
}

static enum MHD_Result answer(struct http_request *r)
{
	const struct http_server *server = r->worker->server;
	r->connection->deadline_ns = now_mono_ns() + server->idle_timeout_ns;
	/* The budget shall have its bytes back before a slow reader has its answer. */
	ingest_call_done(&r->call);
	return http_reply_send(r);
}

/* The body is whole, or the writer is done. */
static enum MHD_Result on_end(struct http_request *r)
{
	bool is_decided = r->call.status || r->is_preflight || r->was_committed;
	if (is_decided)
		return answer(r);
	bool is_light = ingest_is_light(&r->call, r->worker->turn_ns);
	enum status st = is_light ? ingest_prepare(&r->call) : ST_OK;
	if (st) {
		refuse(r, st);
		return answer(r);
	}
	r->was_committed = true;
	return commit(r, is_light);
}

/* Messages of this file repeat what the client wrote; a google.rpc.Status must be UTF-8. */
static void clean(struct err *e)
{
	for (char *p = e->text; *p; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
}

static enum MHD_Result on_headers(struct http_connection *c, const char *url, const char *method,
				  struct http_request **slot)
{
	struct headers h = { 0 };
	const char *path = url_target_path(url);
	struct http_request *r = *slot = begin(c, path, method, &h);
	enum status st = check_framing(r, &h, &r->length);
	if (!st)
		st = check(r, &h, path, method, r->length);
	if (!st)
		return MHD_YES;
	r->is_preflight = false; /* this one has an answer of its own */
	refuse(r, st);
	clean(&r->call.err);
	if (r->must_close || r->length > r->drain_left || h.expect)
		return answer(r);
	return MHD_YES;
}

enum MHD_Result http_request_step(struct http_connection *c, const char *url, const char *method,
				  size_t *upload_size, const char *upload,
				  struct http_request **slot)
{
	if (*slot && (*slot)->is_out)
		return wait_on(*slot);
	c->worker->has_stepped = true;
	if (!*slot)
		return on_headers(c, url, method, slot);
	if (*upload_size == 0)
		return on_end(*slot);
	struct bytes piece = bytes_of(upload, *upload_size);
	*upload_size = 0;
	return on_body(*slot, piece);
}

static void end(struct http_request *r)
{
	r->connection->request = NULL;
	r->worker->active--;
	if (r->is_out)
		leave(r);
	else
		free_request(r);
}

void http_request_completed(struct http_request *r)
{
	struct http_connection *c = r->connection;
	const struct http_server *server = r->worker->server;
	if (!r->is_answered)
		http_reply_count(r, c->is_late ? ST_TIMEOUT : ST_CANCELLED);
	c->deadline_ns = now_mono_ns() + server->idle_timeout_ns + server->read_timeout_ns;
	end(r);
}

void http_request_abandon(struct http_request *r)
{
	if (!r->is_out)
		return;
	/* It is an error to stop libmicrohttpd while it has suspended ones. */
	if (r->is_suspended)
		MHD_resume_connection(r->mhd);
	end(r);
}
