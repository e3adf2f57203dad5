/* server.c - the admin listener on libmicrohttpd.
 *
 * A thread per connection, and few connections: a health probe must never wait behind a page of the
 * API that is reading the queue, and whoever reads slowly holds only a thread of their own. One
 * address cannot take all connections: a probe that finds none gets the gateway restarted.
 * Requests share nothing that is written but the sampler, which lets one in at a time.
 *
 * Every request is checked in the same order: method, path, access, parameters; then its route
 * answers. What a request may cost is bounded: its size by libmicrohttpd's memory pool, its time at
 * the queue by the route, and the payloads that all of them together hold by one budget.
 *
 * Failures that are the caller's are not logged: anyone could fill the log with them. */
#include "admin/admin.h"

#include <microhttpd.h>
#include <stdio.h>
#include <unistd.h>

#include "admin/auth.h"
#include "admin/routes.h"
#include "gateway/base/log.h"
#include "gateway/base/net.h"
#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"

enum {
	CONNECTIONS_MAX = 64,
	CONNECTIONS_PER_ADDRESS = 56,
	IDLE_TIMEOUT_S = 15,
	REQUEST_MEMORY = 32 << 10,
	THREAD_STACK = 1 << 20,
	PAYLOAD_BUDGET = 192 << 20,
	BODY_IGNORED_MAX = 1 << 20,
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
	int64_t started_ns;
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
		       err_set(e, ST_DENIED,
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
	if (strlen(key) != key_size || (value && strlen(value) != value_size))
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

static enum status answer(struct admin *a, struct MHD_Connection *con, const char *path,
			  const char *method, struct call *c, const struct route **ret_route,
			  struct err *e)
{
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
		return err_set(e, ST_METHOD, "%.20s is not answered here", method);
	const struct route *route = NULL;
	struct err why = { 0 };
	enum status found = route_find(path, &route, &c->id, &why);
	/* Without access one path is like another. */
	enum status st = route && route->is_open ? ST_OK : check_access(a, con, e);
	if (st)
		return st;
	if (!route)
		return err_set(e, found, "%s", why.text);
	*ret_route = route;
	st = read_query(c, route->set, con, e);
	return st ? st : route->answer(c, e);
}

static void add_headers(struct MHD_Response *r, enum status st, const char *content_type)
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
		(void)MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
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
static enum MHD_Result reply(struct MHD_Connection *con, enum status st, const char *content_type,
			     struct buf *body)
{
	struct buf *kept = xcalloc(1, sizeof(*kept));
	buf_move(kept, body);
	struct MHD_Response *r = MHD_create_response_from_buffer_with_free_callback_cls(
		kept->n, kept->p, release_body, kept);
	if (!r) {
		release_body(kept);
		return MHD_NO;
	}
	add_headers(r, st, content_type);
	enum MHD_Result queued = MHD_queue_response(con, (unsigned)status_http(st), r);
	MHD_destroy_response(r);
	return queued;
}

/* Nothing here takes a body. A small one is read past, so that its sender gets to see the answer.
 */
static bool has_large_body(struct MHD_Connection *con)
{
	const char *length = header(con, MHD_HTTP_HEADER_CONTENT_LENGTH);
	return header(con, MHD_HTTP_HEADER_TRANSFER_ENCODING) ||
	       (length && strtoull(length, NULL, 10) > BODY_IGNORED_MAX);
}

static enum MHD_Result refuse_body(struct admin *a, struct MHD_Connection *con)
{
	struct buf out;
	buf_init(&out, 4096, &a->budget);
	if (document_error("this listener takes no request body", NULL, &out))
		buf_clear(&out);
	return reply(con, ST_TOO_LARGE, "application/json", &out);
}

static enum MHD_Result handle(void *ctx, struct MHD_Connection *con, const char *path,
			      const char *method, const char *version, const char *upload,
			      size_t *upload_size, void **state)
{
	(void)version;
	(void)upload;
	static char has_headers;
	struct admin *a = ctx;
	/* The first call comes with the headers alone. */
	if (!*state) {
		*state = &has_headers;
		return has_large_body(con) ? refuse_body(a, con) : MHD_YES;
	}
	if (*upload_size) {
		*upload_size = 0;
		return MHD_YES;
	}
	struct call c = { .queue_path = a->queue_path,
			  .capacity_bytes = a->capacity_bytes,
			  .gateway = look(a),
			  .sampler = &a->sampler };
	struct err e = { 0 };
	const struct route *route = NULL;
	parameters_init(&c.parameters);
	buf_init(&c.out, DOCUMENT_MAX, &a->budget);
	enum status st = answer(a, con, path, method, &c, &route, &e);
	const char *type = route ? route->content_type : "application/json";
	if (c.parameters.is_otlp)
		type = "application/x-protobuf";
	/* A route that failed with a document of its own (readiness) has said it all. */
	bool has_document = !st || (route && route->is_open && c.out.n > 0);
	if (!has_document) {
		type = "application/json";
		buf_clear(&c.out);
		if (document_error(err_text(&e, st), route_hint(route, st), &c.out))
			buf_clear(&c.out);
	}
	enum MHD_Result queued = reply(con, st, type, &c.out);
	parameters_done(&c.parameters);
	return queued;
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
	a->daemon =
		MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION |
					 MHD_USE_POLL | MHD_USE_ERROR_LOG | MHD_USE_ITC,
				 0, NULL, NULL, handle, a, MHD_OPTION_EXTERNAL_LOGGER, say, NULL,
				 MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
				 (unsigned)CONNECTIONS_MAX, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
				 (unsigned)CONNECTIONS_PER_ADDRESS, MHD_OPTION_CONNECTION_TIMEOUT,
				 (unsigned)IDLE_TIMEOUT_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
				 (size_t)REQUEST_MEMORY, MHD_OPTION_THREAD_STACK_SIZE,
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
	MHD_stop_daemon(a->daemon);
	admin_free(a);
}
