/* otlp_grpc.c - exports as unary gRPC calls, many of them on one HTTP/2 connection.
 *
 * An export becomes an exchange, which goes through these lists:
 *
 *   waiting -> with a client [start_waiting: the connection is ready and has room]
 *   with a client -> done    [judge: answered, or given up]
 *   with a client -> waiting [judge: the server never looked at it]
 *   waiting -> done          [fail_waiting: there is no connection]
 *   done -> gone             [take: the export goes back with its reply]
 *
 * One connection takes new calls. It is made when there is something to send, and kept. A GOAWAY
 * (servers say it to move clients, and before they stop) puts it aside: calls that the server still
 * serves end there, those above its last id and all new ones go to a new connection, at once and
 * without a back-off. So do calls that are lost with a connection that had served us before: what
 * it was closed for is most often its age, which says nothing about the server. Each call is tried
 * TRIES_MAX times like that; then it is a failure like any other, and dispatch.c backs off.
 *
 * Compression: what is configured, until the server says that it cannot read it; then the next of
 * zstd, gzip, none, until the next start. zstd is no encoding that OTLP names, but Collectors and
 * tidegate read it, and batches are stored so: it costs nothing.
 *
 * A connection is made within CONNECT_TIMEOUT, TLS and the server's SETTINGS included. The probe is
 * a bare TCP connection; when the first one since the network was away succeeds while our own is
 * still being made, that is begun anew: its SYN may be in a pause of seconds (as in
 * http_exporter.c). */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "gateway/base/grpc_status.h"
#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"
#include "gateway/forward/dial.h"
#include "gateway/forward/exporter.h"
#include "gateway/forward/grpc_client.h"

enum { TRIES_MAX = 3, DRAINING_MAX = 4, POLL_MAX_MS = 60000 };
#define CONNECT_TIMEOUT_NS (10 * NS_PER_S)
#define PROBE_TIMEOUT_NS   (NS_PER_S)

TAILQ_HEAD(grpc_clients, grpc_client);

struct otlp_grpc {
	struct exporter base;
	const struct destination_config *config;
	struct grpc_target target;
	struct credentials *credentials;
	int wake_fd;
	struct grpc_exchanges waiting;
	struct grpc_exchanges done;
	struct dial *dial;            /* at most one of dial and client */
	struct grpc_client *client;   /* takes new calls */
	struct grpc_clients draining; /* take none, oldest first */
	size_t draining_count;
	int64_t connect_until_ns; /* for dial and client */
	struct dial *probe;
	enum encoding encoding;
	bool was_away;   /* the network, since the last probe that got through */
	bool is_refused; /* the last answer about the credential was a refusal */
	unsigned refused_generation;
};

static struct otlp_grpc *self_of(struct exporter *x)
{
	return (struct otlp_grpc *)x;
}

/* ---- life ---- */

static void free_exchange(struct grpc_exchange *x)
{
	grpc_response_done(&x->response);
	free(x);
}

static void free_exchanges(struct grpc_exchanges *list)
{
	struct grpc_exchange *x;
	while ((x = TAILQ_FIRST(list)) != NULL) {
		TAILQ_REMOVE(list, x, link);
		free_exchange(x);
	}
}

static void free_client(struct grpc_client *c)
{
	if (!c)
		return;
	free_exchanges(&c->open);
	free_exchanges(&c->ended);
	grpc_client_free(c);
}

static void close_grpc(struct exporter *x)
{
	if (!x)
		return;
	struct otlp_grpc *o = self_of(x);
	struct grpc_client *c;
	while ((c = TAILQ_FIRST(&o->draining)) != NULL) {
		TAILQ_REMOVE(&o->draining, c, link);
		free_client(c);
	}
	free_client(o->client);
	free_exchanges(&o->waiting);
	free_exchanges(&o->done);
	dial_free(o->dial);
	dial_free(o->probe);
	credentials_free(o->credentials);
	grpc_target_done(&o->target);
	free(o);
}

static enum status open_grpc(const struct destination_config *c, int wake_fd, struct exporter **ret,
			     struct err *e)
{
	struct otlp_grpc *o = xcalloc(1, sizeof(*o));
	o->base.ops = &otlp_grpc_ops;
	o->config = c;
	o->wake_fd = wake_fd;
	TAILQ_INIT(&o->waiting);
	TAILQ_INIT(&o->done);
	TAILQ_INIT(&o->draining);
	o->encoding = c->compression == CONFIG_COMPRESSION_ZSTD ? ENCODING_ZSTD :
		      c->compression == CONFIG_COMPRESSION_GZIP ? ENCODING_GZIP :
								  ENCODING_NONE;
	enum status st = grpc_target_init(&o->target, c, e);
	if (!st)
		st = credentials_open(c, &o->credentials, e);
	if (st) {
		close_grpc(&o->base);
		return st;
	}
	*ret = &o->base;
	return ST_OK;
}

static enum encoding encoding_now(const struct exporter *x)
{
	return ((const struct otlp_grpc *)x)->encoding;
}

static bool is_renewed(struct exporter *x)
{
	struct otlp_grpc *o = self_of(x);
	return o->is_refused && credentials_generation(o->credentials) != o->refused_generation;
}

static void send_grpc(struct exporter *base, struct export *export)
{
	struct otlp_grpc *o = self_of(base);
	struct grpc_exchange *x = xcalloc(1, sizeof(*x));
	x->export = export;
	grpc_response_init(&x->response);
	TAILQ_INSERT_TAIL(&o->waiting, x, link);
}

static void probe_grpc(struct exporter *x)
{
	struct otlp_grpc *o = self_of(x);
	if (!o->probe)
		o->probe = dial_new(o->target.endpoint.host, o->target.endpoint.port,
				    PROBE_TIMEOUT_NS);
}

/* ---- replies ---- */

/* The next weaker one, unless another export has seen to it already. */
static void weaken_encoding(struct otlp_grpc *o, enum encoding refused)
{
	if (o->encoding == refused)
		o->encoding = refused == ENCODING_ZSTD ? ENCODING_GZIP : ENCODING_NONE;
}

/* What it says is in r->error. Servers may show in a GOAWAY what they do not like. */
static void redact(struct otlp_grpc *o, struct export_reply *r)
{
	credentials_redact(o->credentials, r->error, strlen(r->error));
}

static void reply_answered(struct otlp_grpc *o, struct grpc_exchange *x)
{
	struct export *export = x->export;
	grpc_response_read(&x->response, export->signal, export->encoding, o->credentials,
			   &export->reply);
	if (export->reply.verdict == VERDICT_ENCODING)
		weaken_encoding(o, export->encoding);
	o->is_refused = export->reply.verdict == VERDICT_UNAUTHORIZED;
	o->refused_generation = x->generation;
	redact(o, &export->reply); /* once more: what it says is decoded by now */
}

/* As gRPC maps HTTP/2's error codes (PROTOCOL-HTTP2.md, "Errors"), but for a stream that may not be
 * secure enough: that is no matter of credentials. */
static int code_of_reset(uint32_t error_code)
{
	switch (error_code) {
	case NGHTTP2_REFUSED_STREAM:
		return GRPC_UNAVAILABLE;
	case NGHTTP2_CANCEL:
		return GRPC_CANCELLED;
	case NGHTTP2_ENHANCE_YOUR_CALM:
		return GRPC_RESOURCE_EXHAUSTED;
	default:
		return GRPC_INTERNAL;
	}
}

static void reply_reset(struct grpc_exchange *x)
{
	struct export_reply *r = &x->export->reply;
	r->status = code_of_reset(x->error_code);
	(void)snprintf(r->error, sizeof(r->error), "grpc %s: the server reset the stream (%s)",
		       grpc_status_text(r->status), nghttp2_http2_strerror(x->error_code));
}

static void fill_reply(struct otlp_grpc *o, struct grpc_exchange *x, const struct grpc_client *c)
{
	struct export_reply *r = &x->export->reply;
	long long timeout_ms = (long long)(o->config->timeout / NS_PER_MS);
	*r = (struct export_reply){ .verdict = VERDICT_RETRY };
	switch (x->end) {
	case GRPC_END_ANSWERED:
		reply_answered(o, x);
		break;
	case GRPC_END_REFUSED:
		x->error_code = NGHTTP2_REFUSED_STREAM;
		reply_reset(x);
		break;
	case GRPC_END_RESET:
		reply_reset(x);
		break;
	case GRPC_END_STALLED:
		(void)snprintf(r->error, sizeof(r->error),
			       "no answer, and nothing moved, for %lld ms%s", timeout_ms,
			       c->is_silent ? ": not even a ping was answered" : "");
		break;
	case GRPC_END_LATE:
		(void)snprintf(r->error, sizeof(r->error),
			       "not answered within the time that a request may take in all");
		break;
	case GRPC_END_LOST:
	case GRPC_END_NONE:
		(void)snprintf(r->error, sizeof(r->error), "%s", err_text(&c->why, ST_IO));
		redact(o, r);
		break;
	}
}

/* The server cannot have worked on it, or we may well believe so: the copy that it perhaps has is
 * one that a back-off would make too. */
static bool is_to_try_again(const struct grpc_exchange *x, const struct grpc_client *c)
{
	if (x->tries >= TRIES_MAX)
		return false;
	return x->end == GRPC_END_REFUSED ||
	       (x->end == GRPC_END_LOST && c->is_proven && x->response.http_status == 0);
}

/* In the order in which they were given. */
static void judge(struct otlp_grpc *o, struct grpc_client *c)
{
	struct grpc_exchange *x;
	struct grpc_exchange *after = NULL;
	while ((x = TAILQ_FIRST(&c->ended)) != NULL) {
		TAILQ_REMOVE(&c->ended, x, link);
		if (!is_to_try_again(x, c)) {
			fill_reply(o, x, c);
			TAILQ_INSERT_TAIL(&o->done, x, link);
		} else if (after) {
			TAILQ_INSERT_AFTER(&o->waiting, after, x, link);
			after = x;
		} else {
			TAILQ_INSERT_HEAD(&o->waiting, x, link);
			after = x;
		}
	}
}

static void fail_waiting(struct otlp_grpc *o, bool is_unreachable, const char *error)
{
	struct grpc_exchange *x;
	o->was_away = o->was_away || is_unreachable;
	while ((x = TAILQ_FIRST(&o->waiting)) != NULL) {
		struct export_reply *r = &x->export->reply;
		*r = (struct export_reply){ .verdict = VERDICT_RETRY,
					    .is_unreachable = is_unreachable };
		(void)snprintf(r->error, sizeof(r->error), "%s", error);
		redact(o, r);
		TAILQ_REMOVE(&o->waiting, x, link);
		TAILQ_INSERT_TAIL(&o->done, x, link);
	}
}

/* ---- connections ---- */

static void begin_dial(struct otlp_grpc *o, int64_t now)
{
	int64_t timeout =
		o->config->timeout < CONNECT_TIMEOUT_NS ? o->config->timeout : CONNECT_TIMEOUT_NS;
	o->connect_until_ns = now + timeout;
	o->dial = dial_new(o->target.endpoint.host, o->target.endpoint.port, timeout);
}

static void step_dial(struct otlp_grpc *o, int64_t now)
{
	struct err e = { 0 };
	int fd = -1;
	if (!o->dial && !o->client && !TAILQ_EMPTY(&o->waiting))
		begin_dial(o, now);
	if (!o->dial)
		return;
	enum status st = dial_step(o->dial, &fd, &e);
	if (st == ST_BUSY)
		return;
	dial_free(o->dial);
	o->dial = NULL;
	if (st)
		fail_waiting(o, true, err_text(&e, st));
	else
		o->client = grpc_client_new(&o->target, fd);
}

/* True: something to write now. */
static bool start_waiting(struct otlp_grpc *o, struct grpc_client *c)
{
	bool is_any = false;
	struct grpc_exchange *x;
	while (grpc_client_has_room(c) && (x = TAILQ_FIRST(&o->waiting)) != NULL) {
		TAILQ_REMOVE(&o->waiting, x, link);
		x->tries++;
		const char *authorization = credentials_authorization(o->credentials);
		x->generation = credentials_generation(o->credentials);
		grpc_client_start(c, x, authorization);
		is_any = true;
	}
	return is_any;
}

static void put_aside(struct otlp_grpc *o, struct grpc_client *c)
{
	TAILQ_INSERT_TAIL(&o->draining, c, link);
	o->draining_count++;
	o->client = NULL;
}

static void drop_client(struct otlp_grpc *o, const char *error)
{
	fail_waiting(o, false, error);
	free_client(o->client);
	o->client = NULL;
}

/* It has not come to the point where a call can start, or allows none at all. */
static bool is_useless(const struct grpc_client *c)
{
	return !c->is_ready || (c->open_count == 0 && !grpc_client_has_room(c));
}

static void step_client(struct otlp_grpc *o, int64_t now)
{
	struct grpc_client *c = o->client;
	if (!c)
		return;
	grpc_client_turn(c, now);
	if (start_waiting(o, c))
		grpc_client_turn(c, now);
	judge(o, c);
	if ((c->is_dead || c->is_draining) && !c->is_used) {
		/* Not at once again: a server that ends every connection would have us run in
		 * circles. */
		drop_client(o, c->why.text[0] ? c->why.text :
						"the server ended the connection before it took a "
						"call");
	} else if (c->is_dead || c->is_draining) {
		put_aside(o, c);
	} else if (now >= o->connect_until_ns && is_useless(c) && !TAILQ_EMPTY(&o->waiting)) {
		drop_client(o, c->is_ready ?
				       "the server allows no streams (SETTINGS_MAX_CONCURRENT_"
				       "STREAMS is 0)" :
			       c->transport->is_opening ?
				       "connected, but TLS did not come to an end in time" :
				       "connected, but the server said nothing of HTTP/2 in time");
	}
}

static void step_draining(struct otlp_grpc *o, int64_t now)
{
	struct grpc_client *next;
	for (struct grpc_client *c = TAILQ_FIRST(&o->draining); c; c = next) {
		next = TAILQ_NEXT(c, link);
		if (!c->is_dead)
			grpc_client_turn(c, now);
		if (o->draining_count > DRAINING_MAX)
			grpc_client_abandon(c);
		judge(o, c);
		if (!c->is_dead && c->open_count > 0)
			continue;
		TAILQ_REMOVE(&o->draining, c, link);
		o->draining_count--;
		free_client(c);
	}
}

/* The network is back: what was begun without it is begun anew. */
static void restart_unconnected(struct otlp_grpc *o, int64_t now)
{
	if (!o->dial && (!o->client || o->client->is_ready))
		return;
	dial_free(o->dial);
	free_client(o->client);
	o->client = NULL;
	begin_dial(o, now);
}

/* ---- events ---- */

static enum exporter_event step_probe(struct otlp_grpc *o, int64_t now)
{
	int fd = -1;
	enum status st = o->probe ? dial_step(o->probe, &fd, NULL) : ST_BUSY;
	if (st == ST_BUSY)
		return EXPORTER_NOTHING;
	dial_free(o->probe);
	o->probe = NULL;
	bool was_away = o->was_away;
	o->was_away = st != ST_OK;
	if (st)
		return EXPORTER_UNREACHABLE;
	(void)close(fd);
	if (was_away)
		restart_unconnected(o, now);
	return EXPORTER_REACHABLE;
}

static enum exporter_event step(struct otlp_grpc *o, int64_t now, struct export **ret)
{
	step_dial(o, now);
	step_client(o, now);
	step_draining(o, now);
	struct grpc_exchange *x = TAILQ_FIRST(&o->done);
	if (!x)
		return step_probe(o, now);
	*ret = x->export;
	TAILQ_REMOVE(&o->done, x, link);
	free_exchange(x);
	return EXPORTER_DONE;
}

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* What a step may have left to be done at once: a call that is tried again. */
static bool has_more(const struct otlp_grpc *o)
{
	return !TAILQ_EMPTY(&o->waiting) && !o->dial &&
	       (!o->client || grpc_client_has_room(o->client));
}

static int64_t due_ns(const struct otlp_grpc *o, int64_t now, int64_t deadline_ns)
{
	int64_t due = deadline_ns;
	const struct grpc_client *c = o->client;
	if (has_more(o))
		return now;
	if (o->dial)
		due = earlier(due, dial_due_ns(o->dial));
	if (o->probe)
		due = earlier(due, dial_due_ns(o->probe));
	if (c)
		due = earlier(due, grpc_client_due_ns(c, now));
	if (c && is_useless(c) && !TAILQ_EMPTY(&o->waiting))
		due = earlier(due, o->connect_until_ns);
	TAILQ_FOREACH(c, &o->draining, link)
	due = earlier(due, grpc_client_due_ns(c, now));
	return due;
}

/* True: the wake fd is readable. */
static bool wait_until(struct otlp_grpc *o, int64_t due, int64_t now)
{
	struct pollfd fds[1 + 2 * DIAL_FDS_MAX + 1 + DRAINING_MAX + 1];
	const struct grpc_client *c = o->client;
	size_t n = 0;
	fds[n++] = (struct pollfd){ .fd = o->wake_fd, .events = POLLIN };
	if (o->dial)
		n += dial_fds(o->dial, fds + n);
	if (o->probe)
		n += dial_fds(o->probe, fds + n);
	if (c)
		fds[n++] =
			(struct pollfd){ .fd = c->transport->fd, .events = grpc_client_events(c) };
	TAILQ_FOREACH(c, &o->draining, link)
	fds[n++] = (struct pollfd){ .fd = c->transport->fd, .events = grpc_client_events(c) };
	int64_t ms = due > now ? (due - now) / NS_PER_MS + 1 : 0;
	(void)poll(fds, (nfds_t)n, (int)(ms < POLL_MAX_MS ? ms : POLL_MAX_MS));
	return fds[0].revents != 0;
}

static enum exporter_event poll_grpc(struct exporter *x, int64_t deadline_ns, struct export **ret)
{
	struct otlp_grpc *o = self_of(x);
	for (;;) {
		int64_t now = now_mono_ns();
		enum exporter_event event = step(o, now, ret);
		if (event != EXPORTER_NOTHING || now >= deadline_ns)
			return event;
		if (wait_until(o, due_ns(o, now, deadline_ns), now))
			return EXPORTER_NOTHING;
	}
}

const struct exporter_ops otlp_grpc_ops = {
	.takes_any_order = true,
	.open = open_grpc,
	.encoding = encoding_now,
	.send = send_grpc,
	.probe = probe_grpc,
	.poll = poll_grpc,
	.is_renewed = is_renewed,
	.close = close_grpc,
};
