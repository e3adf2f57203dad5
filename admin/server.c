/* server.c - the admin listener on libmicrohttpd.
 *
 * A thread per connection, and few connections: a health probe must never wait behind a page of the
 * API that is reading the queue, and whoever reads slowly holds only a thread of their own. One
 * address cannot take all connections: a probe that finds none gets the gateway restarted.
 * Requests share nothing that is written but the sampler, which lets one in at a time.
 *
 * Every request is checked in the same order: path, access, method, parameters; then its route
 * answers. A change is a POST of a JSON object, and of no other type: that keeps web pages out.
 * What a request may cost is bounded: its size by libmicrohttpd's memory pool, its time at the
 * queue by the route, and the payloads that all of them together hold by one budget.
 *
 * Failures that are the caller's are not logged: anyone could fill the log with them. */
#include "admin/admin.h"

#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <strings.h>
#include <unistd.h>

#include "admin/auth.h"
#include "admin/routes.h"
#include "gateway/base/log.h"
#include "gateway/base/net.h"
#include "gateway/base/now.h"
#include "gateway/base/url.h"
#include "gateway/base/xalloc.h"

enum {
	CONNECTIONS_MAX = 64,
	CONNECTIONS_PER_ADDRESS = 56,
	IDLE_TIMEOUT_S = 15,
	REQUEST_MEMORY = 32 << 10,
	THREAD_STACK = 1 << 20,
	PAYLOAD_BUDGET = 192 << 20,
	BODY_IGNORED_MAX = 1 << 20,
	BODY_MAX = 64 << 10,
	HEALTH_MAX = 64 << 10,
	STREAM_BLOCK = 64 << 10,
	RETRY_AFTER_S = 2
};

struct admin {
	struct MHD_Daemon *daemon;
	int port;
	char *token; /* empty: none */
	char *queue_path;
	uint64_t capacity_bytes;
	struct writer *writer;
	size_t (*in_flight)(void *ctx);
	void *in_flight_ctx;
	const struct control *control;
	int64_t started_ns;
	atomic_bool is_stopping;
	struct sampler sampler;
	struct budget budget;
};

static struct gateway_view look(const struct admin *a)
{
	return (struct gateway_view){
		.state = writer_state(a->writer),
		.is_degraded = writer_is_degraded(a->writer),
		.in_flight_bytes = a->in_flight ? a->in_flight(a->in_flight_ctx) : 0,
		.uptime_ns = now_mono_ns() - a->started_ns,
	};
}

static const char *header(struct MHD_Connection *con, const char *name)
{
	return MHD_lookup_connection_value(con, MHD_HEADER_KIND, name);
}

static enum status check_access(const struct admin *a, struct MHD_Connection *con, struct err *e)
{
	if (a->token[0])
		return auth_is_bearer(header(con, MHD_HTTP_HEADER_AUTHORIZATION), a->token) ?
			       ST_OK :
			       err_set(e, ST_DENIED, "this call wants the admin token");
	return auth_is_local_host(header(con, MHD_HTTP_HEADER_HOST)) ?
		       ST_OK :
		       err_set(e, ST_MISDIRECTED,
			       "without admin.token only requests to localhost or an address are "
			       "answered, and the Host header names another");
}

struct query {
	struct parameters *parameters;
	enum parameter_set set;
	enum status st;
	struct err *e;
};

static enum MHD_Result read_argument(void *ctx, enum MHD_ValueKind kind, const char *key,
				     size_t key_size, const char *value, size_t value_size)
{
	(void)kind;
	struct query *q = ctx;
	if (strlen(key) != key_size || (value && strlen(value) != value_size) ||
	    strstr(key, "%00") || (value && strstr(value, "%00")))
		q->st = err_set(q->e, ST_INVALID, "a parameter holds a NUL byte");
	else
		q->st = parameters_set(q->parameters, q->set, key, value, q->e);
	return q->st ? MHD_NO : MHD_YES;
}

static enum status read_query(struct call *c, enum parameter_set set, struct MHD_Connection *con,
			      struct err *e)
{
	struct query q = { .parameters = &c->parameters, .set = set, .e = e };
	(void)MHD_get_connection_values_n(con, MHD_GET_ARGUMENT_KIND, read_argument, &q);
	parameters_finish(&c->parameters);
	return q.st;
}

/* What libmicrohttpd keeps for a request between its calls. */
struct request {
	const struct route *route; /* NULL: none was found */
	struct err why;            /* then */
	enum status found;
	struct route_words words;
	struct buf body; /* of a change */
	enum status read;
	size_t skipped; /* bytes of a body that nobody wants */
};

static bool is_post(const char *method)
{
	return strcmp(method, MHD_HTTP_METHOD_POST) == 0;
}

static enum status check_method(const struct route *route, const char *method, struct err *e)
{
	bool is_get = strcmp(method, MHD_HTTP_METHOD_GET) == 0 ||
		      strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
	bool is_right = route && route->is_change ? is_post(method) : is_get;
	return is_right ? ST_OK : err_set(e, ST_METHOD, "%.20s is not answered here", method);
}

/* A form or a plain text can be sent here by any web page that is open on this machine; for JSON a
 * browser asks first, and gets no answer that allows it. */
static enum status check_type(struct MHD_Connection *con, struct err *e)
{
	static const char json[] = "application/json";
	const char *type = header(con, MHD_HTTP_HEADER_CONTENT_TYPE);
	size_t n = sizeof(json) - 1;
	bool is_json = type && strncasecmp(type, json, n) == 0 && strchr("; \t", type[n]);
	return is_json ? ST_OK : err_set(e, ST_UNSUPPORTED, "the body must be application/json");
}

static enum status read_change(struct call *c, struct request *r, struct MHD_Connection *con,
			       struct err *e)
{
	enum status st = read_query(c, PARAMETERS_NONE, con, e);
	if (!st)
		st = check_type(con, e);
	if (!st && r->read)
		st = err_set(e, r->read, "a body has at most %d KiB here", BODY_MAX >> 10);
	return st ? st : parameters_read_json(&c->parameters, r->route->set, buf_view(&r->body), e);
}

static enum status answer(struct admin *a, struct MHD_Connection *con, struct request *r,
			  const char *method, struct call *c, struct err *e)
{
	const struct route *route = r->route;
	/* Without access one path is like another. */
	enum status st = route && route->is_open ? ST_OK : check_access(a, con, e);
	if (!st && (route || !is_post(method)))
		st = check_method(route, method, e);
	if (st)
		return st;
	if (!route)
		return err_set(e, r->found, "%s", r->why.text);
	c->id = r->words.id;
	c->name = r->words.name;
	st = route->is_change ? read_change(c, r, con, e) : read_query(c, route->set, con, e);
	if (!st)
		st = parameters_check(&c->parameters, route->set, e);
	return st ? st : route->answer(c, e);
}

static void add_headers(struct MHD_Response *r, enum status st, const char *content_type,
			const struct route *route)
{
	(void)MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
	(void)MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
	(void)MHD_add_response_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	char seconds[16];
	(void)snprintf(seconds, sizeof(seconds), "%d", RETRY_AFTER_S);
	if (st == ST_DENIED)
		(void)MHD_add_response_header(r, MHD_HTTP_HEADER_WWW_AUTHENTICATE,
					      "Bearer realm=\"tidegate\"");
	if (st == ST_METHOD)
		(void)MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW,
					      route && route->is_change ? "POST" : "GET, HEAD");
	if (status_http(st) == MHD_HTTP_SERVICE_UNAVAILABLE)
		(void)MHD_add_response_header(r, MHD_HTTP_HEADER_RETRY_AFTER, seconds);
}

static void release_body(void *ctx)
{
	struct buf *body = ctx;
	buf_done(body);
	free(body);
}

/* Takes body's memory: it is sent from where it stands, and charged to the budget until it is. */
/* After curl the shell's prompt belongs on a line of its own. A document that fills its buffer does
 * without. */
static void end_line(struct buf *json)
{
	if (json->n > 0) {
		enum status ignored = buf_append(json, bytes_of("\n", 1));
		(void)ignored;
	}
}

static enum MHD_Result reply(struct MHD_Connection *con, enum status st, const char *content_type,
			     const struct route *route, struct buf *body)
{
	struct buf *kept = xcalloc(1, sizeof(*kept));
	if (strcmp(content_type, "application/json") == 0)
		end_line(body);
	buf_move(kept, body);
	struct MHD_Response *r = MHD_create_response_from_buffer_with_free_callback_cls(
		kept->n, kept->p, release_body, kept);
	if (!r) {
		release_body(kept);
		return MHD_NO;
	}
	add_headers(r, st, content_type, route);
	enum MHD_Result queued = MHD_queue_response(con, (unsigned)status_http(st), r);
	MHD_destroy_response(r);
	return queued;
}

/* A stream that is being sent: the piece that its reader is at. */
struct sending {
	struct call_stream stream;
	struct buf piece;
	size_t offset;
};

static ssize_t send_piece(void *ctx, uint64_t position, char *to, size_t max)
{
	(void)position;
	struct sending *s = ctx;
	if (s->offset == s->piece.n) {
		buf_clear(&s->piece);
		s->offset = 0;
		enum status st = s->stream.next(s->stream.ctx, &s->piece);
		if (st)
			return st == ST_END ? MHD_CONTENT_READER_END_OF_STREAM :
					      MHD_CONTENT_READER_END_WITH_ERROR;
	}
	size_t n = s->piece.n - s->offset < max ? s->piece.n - s->offset : max;
	memcpy(to, s->piece.p + s->offset, n);
	s->offset += n;
	return (ssize_t)n;
}

static void end_sending(void *ctx)
{
	struct sending *s = ctx;
	s->stream.end(s->stream.ctx);
	buf_done(&s->piece);
	free(s);
}

/* Takes the stream. */
static enum MHD_Result reply_stream(struct admin *a, struct MHD_Connection *con,
				    const struct route *route, const struct call_stream *stream)
{
	struct sending *s = xcalloc(1, sizeof(*s));
	s->stream = *stream;
	buf_init(&s->piece, DOCUMENT_MAX, &a->budget);
	struct MHD_Response *r = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK,
								   send_piece, s, end_sending);
	if (!r) {
		end_sending(s);
		return MHD_NO;
	}
	add_headers(r, ST_OK, route->content_type, route);
	enum MHD_Result queued = MHD_queue_response(con, MHD_HTTP_OK, r);
	MHD_destroy_response(r);
	return queued;
}

/* Only changes take a body. A small one is read past elsewhere, so that its sender gets to see the
 * answer. */
static bool has_large_body(struct MHD_Connection *con, bool is_change)
{
	const char *length = header(con, MHD_HTTP_HEADER_CONTENT_LENGTH);
	if (length)
		return strtoull(length, NULL, 10) > (is_change ? BODY_MAX : BODY_IGNORED_MAX);
	return header(con, MHD_HTTP_HEADER_TRANSFER_ENCODING) && !is_change;
}

static enum MHD_Result refuse_body(struct admin *a, struct MHD_Connection *con,
				   const struct route *route, bool is_change)
{
	struct buf out;
	buf_init(&out, 4096, &a->budget);
	if (document_error(is_change ? "a body has at most 64 KiB here" :
				       "this call takes no request body",
			   is_change ? route_hint(route, ST_TOO_LARGE) :
				       "send it as a query, as in ?limit=10",
			   &out))
		buf_clear(&out);
	return reply(con, ST_TOO_LARGE, "application/json", NULL, &out);
}

/* The first call comes with the headers alone. */
static enum MHD_Result begin(struct admin *a, struct MHD_Connection *con, const char *path,
			     const char *method, void **state)
{
	struct request *r = xcalloc(1, sizeof(*r));
	*state = r;
	r->found = route_find(path, &r->route, &r->words, &r->why);
	buf_init(&r->body, BODY_MAX, &a->budget);
	bool is_change = r->route && r->route->is_change && is_post(method);
	return has_large_body(con, is_change) ? refuse_body(a, con, r->route, is_change) : MHD_YES;
}

static enum MHD_Result read_body(struct request *r, const char *upload, size_t *size)
{
	if (r->route && r->route->is_change && !r->read)
		r->read = buf_append(&r->body, bytes_of(upload, *size));
	else
		r->skipped += *size;
	*size = 0;
	return r->skipped > BODY_IGNORED_MAX ? MHD_NO : MHD_YES;
}

/* Of the peer, as a number. */
static void write_caller(struct MHD_Connection *con, char *ret, size_t size)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(con, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	const struct sockaddr *sa = info ? info->client_addr : NULL;
	socklen_t n = sa && sa->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) :
							sizeof(struct sockaddr_in);
	if (!sa || getnameinfo(sa, n, ret, (socklen_t)size, NULL, 0, NI_NUMERICHOST))
		(void)snprintf(ret, size, "an unknown address");
}

/* A route that failed with a document of its own (readiness) has said it all. */
static void say_error(const struct route *route, enum status st, const struct err *e,
		      struct buf *out)
{
	buf_clear(out);
	if (document_error(err_text(e, st), route_hint(route, st), out))
		buf_clear(out);
}

static enum MHD_Result respond(struct admin *a, struct MHD_Connection *con, struct request *r,
			       const char *method)
{
	char caller[64];
	const struct route *route = r->route;
	bool is_open = route && route->is_open;
	struct call c = { .queue_path = a->queue_path,
			  .capacity_bytes = a->capacity_bytes,
			  .gateway = look(a),
			  .sampler = &a->sampler,
			  .writer = a->writer,
			  .control = a->control,
			  .caller = caller,
			  .is_stopping = &a->is_stopping };
	struct err e = { 0 };
	write_caller(con, caller, sizeof(caller));
	parameters_init(&c.parameters);
	/* A probe that finds no room gets the gateway restarted: health takes nothing from what
	 * large answers share. */
	buf_init(&c.out, is_open ? HEALTH_MAX : DOCUMENT_MAX, is_open ? NULL : &a->budget);
	enum status st = answer(a, con, r, method, &c, &e);
	const char *type = route ? route->content_type : "application/json";
	if (c.parameters.is_otlp)
		type = "application/x-protobuf";
	enum MHD_Result queued = MHD_NO;
	bool is_stream = !st && route && c.stream.next;
	if (is_stream && strcmp(method, MHD_HTTP_METHOD_HEAD) == 0) {
		/* libmicrohttpd 0.9.75 would send the last chunk behind the head. */
		c.stream.end(c.stream.ctx);
		queued = reply(con, st, type, route, &c.out);
	} else if (is_stream) {
		queued = reply_stream(a, con, route, &c.stream);
	} else {
		if (st && !(is_open && c.out.n > 0)) {
			type = "application/json";
			say_error(route, st, &e, &c.out);
		}
		queued = reply(con, st, type, route, &c.out);
	}
	buf_done(&c.out);
	parameters_done(&c.parameters);
	return queued;
}

/* An encoded NUL stays as it is: decoded, it would be the end of the path. */
static size_t unescape(void *ctx, struct MHD_Connection *con, char *text)
{
	(void)ctx;
	(void)con;
	return strstr(text, "%00") ? strlen(text) : MHD_http_unescape(text);
}

static enum MHD_Result handle(void *ctx, struct MHD_Connection *con, const char *path,
			      const char *method, const char *version, const char *upload,
			      size_t *upload_size, void **state)
{
	(void)version;
	struct admin *a = ctx;
	if (!*state)
		return begin(a, con, url_target_path(path), method, state);
	if (*upload_size)
		return read_body(*state, upload, upload_size);
	return respond(a, con, *state, method);
}

static void forget(void *ctx, struct MHD_Connection *con, void **state,
		   enum MHD_RequestTerminationCode why)
{
	(void)ctx;
	(void)con;
	(void)why;
	struct request *r = *state;
	if (!r)
		return;
	buf_done(&r->body);
	free(r);
	*state = NULL;
}

static void say(void *ctx, const char *fmt, va_list ap) PRINTF_LIKE(2, 0);

/* libmicrohttpd's own complaints: resets and the like, of interest to whoever debugs. */
static void say(void *ctx, const char *fmt, va_list ap)
{
	(void)ctx;
	char text[300];
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	log_debug("admin.http", "message=%s", LOG_QUOTE(text));
}

static enum status start_daemon(struct admin *a, const char *endpoint, struct err *e)
{
	int fd = -1;
	enum status st = net_listen(endpoint, &fd, &a->port, e);
	if (st)
		return err_wrap(e, st, "admin.endpoint");
	a->daemon = MHD_start_daemon(
		MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL |
			MHD_USE_ERROR_LOG | MHD_USE_ITC,
		0, NULL, NULL, handle, a, MHD_OPTION_EXTERNAL_LOGGER, say, NULL,
		MHD_OPTION_NOTIFY_COMPLETED, forget, NULL, MHD_OPTION_LISTEN_SOCKET, fd,
		MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
		MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned)CONNECTIONS_PER_ADDRESS,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_TIMEOUT_S,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)REQUEST_MEMORY,
		MHD_OPTION_UNESCAPE_CALLBACK, unescape, NULL, MHD_OPTION_THREAD_STACK_SIZE,
		(size_t)THREAD_STACK, MHD_OPTION_END);
	if (a->daemon)
		return ST_OK;
	(void)close(fd);
	return err_set(e, ST_IO, "admin.endpoint %s: the HTTP listener did not start", endpoint);
}

static void admin_free(struct admin *a)
{
	free(a->token);
	free(a->queue_path);
	free(a);
}

enum status admin_start(const struct admin_options *o, struct admin **ret, struct err *e)
{
	enum status st = auth_check_endpoint(o->endpoint, o->token, e);
	if (st)
		return st;
	struct admin *a = xcalloc(1, sizeof(*a));
	a->token = xstrdup(o->token ? o->token : "");
	a->queue_path = xstrdup(o->queue_path);
	a->capacity_bytes = o->capacity_bytes;
	a->writer = o->writer;
	a->control = o->control;
	a->in_flight = o->in_flight;
	a->in_flight_ctx = o->in_flight_ctx;
	a->started_ns = now_mono_ns();
	budget_init(&a->budget, PAYLOAD_BUDGET);
	sampler_init(&a->sampler, a->queue_path, a->capacity_bytes);
	st = start_daemon(a, o->endpoint, e);
	if (st) {
		admin_free(a);
		return st;
	}
	log_info("admin.listen", "endpoint=%s port=%d token=%s", LOG_QUOTE(o->endpoint), a->port,
		 a->token[0] ? "required" : "none");
	*ret = a;
	return ST_OK;
}

int admin_port(const struct admin *a)
{
	return a->port;
}

void admin_stop(struct admin *a)
{
	if (!a)
		return;
	atomic_store(&a->is_stopping, true);
	MHD_stop_daemon(a->daemon);
	admin_free(a);
}
