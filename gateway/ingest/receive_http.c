/* receive_http.c - the daemons, threads and connections of the OTLP/HTTP receiver.
 *
 * Each worker thread runs a libmicrohttpd daemon of its own in its own loop, instead of
 * libmicrohttpd's thread pool. That is for four things that the pool does not give:
 *
 * - Deadlines. libmicrohttpd's time-out starts anew with every byte, so it never ends a client that
 *   trickles. Each worker keeps a list of its connections, and cuts those that are past their
 *   deadline by shutting their socket down: libmicrohttpd then sees them end. A request has
 *   read_timeout from its request line to the end of its body. Between requests libmicrohttpd's
 *   time-out closes a silent connection after idle_timeout; bytes that trickle into an unfinished
 *   request line are cut read_timeout after that. Nothing but the stop cuts a connection whose
 *   request is at the writer.
 * - Balance. The workers share the listening socket, and the one with the fewest connections takes
 *   the next: in the pool, clients that come together all land on one thread.
 * - The limit. One connection too many is closed at once, where the pool leaves it in the backlog.
 * - Wake-ups. The writer's thread gives requests back through a channel, and the worker answers
 *   them: one wake-up for all that a commit completes. Resumed from the writer's
 *   thread, each would be a wake-up of its own, and a lock that the two fight for.
 *
 * The stop: the listening socket is shut down, and every worker rung. Each then refuses new
 * requests and answers what is in flight until the deadline. What the writer still has is
 * abandoned: stopping a daemon with suspended connections is not allowed. */
#include "gateway/ingest/receive_http.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/base/log.h"
#include "gateway/base/net.h"
#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"
#include "gateway/ingest/http_request.h"

enum {
	WORKERS = 2,
	/* Headers, and twice the largest piece of a body. libmicrohttpd zeroes all of it after each
	 * request, and that of all busy connections does not fit in a cache: 32 KiB cost more with
	 * small bodies, 16 KiB with bodies of hundreds of KiB (docs/performance.md). */
	CONNECTION_MEMORY_BYTES = 24 * 1024,
	CONNECTION_SLACK =
		16, /* of libmicrohttpd's limit over ours: it must never be the one that acts */
	ACCEPTS_PER_TURN = 16,
	TICK_MS = 200,
	TICKS_PER_TIMEOUT = 8, /* short time-outs are looked at more often */
	DRAIN_TICK_MS = 10,
	RUNS_PER_TURN = 3,
	WAITING_MS = 10,
	LOG_INTERVAL_S = 10
};

#define STOP_UPLOAD_NS (1 * NS_PER_S)

struct worker {
	struct http_worker http; /* first member: callbacks get either */
	struct receive_http *receiver;
	struct MHD_Daemon *daemon;
	int epoll_fd; /* the daemon's */
	pthread_t thread;
	bool has_wake;
	atomic_int connections;
	int64_t accept_after_ns; /* out of descriptors: not before */
	int64_t next_look_ns;
	bool has_thread;
};

struct receive_http {
	struct http_server server;
	struct worker workers[WORKERS];
	int listen_fd;
	int port;
	int max_connections;
	int tick_ms;
	int64_t stop_deadline_ns; /* set before is_stopping */
};

static void open_connection(struct worker *w, struct MHD_Connection *mhd, void **slot)
{
	const struct http_server *server = w->http.server;
	struct http_connection *c = xcalloc(1, sizeof(*c));
	c->worker = &w->http;
	c->mhd = mhd;
	c->fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
	socklen_t n = sizeof(c->peer);
	if (getpeername(c->fd, (struct sockaddr *)&c->peer, &n))
		c->peer.ss_family = AF_UNSPEC; /* gone already */
	c->deadline_ns = now_mono_ns() + server->idle_timeout_ns + server->read_timeout_ns;
	c->next = w->http.first;
	if (c->next)
		c->next->prev = c;
	w->http.first = c;
	atomic_fetch_add(&w->connections, 1);
	*slot = c;
}

static void close_connection(struct worker *w, void **slot)
{
	struct http_connection *c = *slot;
	if (c->prev)
		c->prev->next = c->next;
	else
		w->http.first = c->next;
	if (c->next)
		c->next->prev = c->prev;
	atomic_fetch_sub(&w->connections, 1);
	free(c);
	*slot = NULL;
}

static void on_connection(void *cls, struct MHD_Connection *mhd, void **slot,
			  enum MHD_ConnectionNotificationCode code)
{
	if (code == MHD_CONNECTION_NOTIFY_STARTED)
		open_connection(cls, mhd, slot);
	else
		close_connection(cls, slot);
}

static struct http_connection *connection_of(struct MHD_Connection *mhd)
{
	return MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

/* The request line is whole: the request's time runs. What is returned becomes the request slot. */
static void *on_request_line(void *cls, const char *uri, struct MHD_Connection *mhd)
{
	(void)uri;
	const struct worker *w = cls;
	struct http_connection *c = connection_of(mhd);
	c->deadline_ns = now_mono_ns() + w->http.server->read_timeout_ns;
	c->worker->has_stepped = true;
	return NULL;
}

/* An encoded NUL stays as it is: decoded, it would be the end of the path. */
static size_t unescape(void *cls, struct MHD_Connection *mhd, char *text)
{
	(void)cls;
	(void)mhd;
	return strstr(text, "%00") ? strlen(text) : MHD_http_unescape(text);
}

static enum MHD_Result on_step(void *cls, struct MHD_Connection *mhd, const char *url,
			       const char *method, const char *version, const char *upload,
			       size_t *upload_size, void **slot)
{
	(void)cls;
	(void)version;
	struct http_request *r = *slot;
	enum MHD_Result result =
		http_request_step(connection_of(mhd), url, method, upload_size, upload, &r);
	*slot = r;
	return result;
}

static void on_completed(void *cls, struct MHD_Connection *mhd, void **slot,
			 enum MHD_RequestTerminationCode code)
{
	(void)cls;
	(void)code;
	/* Not *slot: an abandoned request is no longer ours. */
	struct http_connection *c = connection_of(mhd);
	c->worker->has_stepped = true;
	if (c->request)
		http_request_completed(c->request);
	*slot = NULL;
}

/* The client closed, or closed its half, and is not waiting for an answer. */
static bool has_left(const struct http_connection *c)
{
	char byte;
	bool is_answered = c->request && c->request->is_answered;
	return !is_answered && recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* Once in a tick: cut who is past the deadline, and who has left. libmicrohttpd would keep the
 * latter until a time-out: its epoll is edge triggered, and it takes a read that filled less than
 * its buffer for the last that it needs, although the end may have come with those bytes. */
static void look_at_connections(struct worker *w)
{
	int64_t now = now_mono_ns();
	if (now < w->next_look_ns)
		return;
	w->next_look_ns = now + w->receiver->tick_ms * NS_PER_MS;
	for (struct http_connection *c = w->http.first; c; c = c->next) {
		/* At the writer, or cut already. */
		if (c->deadline_ns == INT64_MAX)
			continue;
		c->is_late = now >= c->deadline_ns;
		if (!c->is_late && !has_left(c))
			continue;
		c->deadline_ns = INT64_MAX;
		(void)shutdown(c->fd, SHUT_RDWR);
	}
}

static int count_connections(struct receive_http *r)
{
	int n = 0;
	for (int i = 0; i < WORKERS; i++)
		n += atomic_load(&r->workers[i].connections);
	return n;
}

/* The worker with the fewest connections accepts. */
static bool may_accept(struct worker *w)
{
	int own = atomic_load(&w->connections);
	for (int i = 0; i < WORKERS; i++)
		if (atomic_load(&w->receiver->workers[i].connections) < own)
			return false;
	return !atomic_load(&w->http.server->is_stopping) && now_mono_ns() >= w->accept_after_ns;
}

/* Why the connection is refused, or NULL. Two workers at a time may let in one too many, and each
 * takes its own connections for its part of them all: nobody is hurt by that. */
static const char *reason_to_refuse(struct worker *w, const struct sockaddr_storage *peer)
{
	struct receive_http *r = w->receiver;
	int share = net_share(r->max_connections);
	int count = count_connections(r);
	if (count >= r->max_connections)
		return "max_connections";
	if (count < share)
		return NULL;
	int same = 0;
	for (const struct http_connection *c = w->http.first; c; c = c->next)
		same += net_is_same_host(&c->peer, peer);
	return same * WORKERS >= share ? "too many from one address" : NULL;
}

/* True where another may wait. */
static bool accept_one(struct worker *w)
{
	static struct log_rate rate;
	struct receive_http *r = w->receiver;
	struct sockaddr_storage from;
	socklen_t n = sizeof(from);
	int fd = accept4(r->listen_fd, (struct sockaddr *)&from, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0) {
		int error = errno;
		bool is_exhausted =
			error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
		if (is_exhausted)
			w->accept_after_ns = now_mono_ns() + r->tick_ms * NS_PER_MS;
		if (is_exhausted && log_every(&rate, LOG_INTERVAL_S, NULL))
			log_warn("receiver.accept", "transport=http error=%s",
				 LOG_QUOTE(strerrordesc_np(error)));
		return error == ECONNABORTED || error == EINTR;
	}
	const char *reason = reason_to_refuse(w, &from);
	if (reason) {
		(void)close(fd);
		if (log_every(&rate, LOG_INTERVAL_S, NULL))
			log_warn("receiver.connections",
				 "transport=http limit=%d action=close reason=%s",
				 r->max_connections, LOG_QUOTE(reason));
		return true;
	}
	/* Closes fd where it fails. From 1.0 on libmicrohttpd only notes the connection, and tells
	 * of it in its next turn: it must be counted before another one is judged. */
	(void)MHD_add_connection(w->daemon, fd, (struct sockaddr *)&from, n);
	(void)MHD_run_wait(w->daemon, 0);
	return true;
}

static void accept_some(struct worker *w)
{
	int left = ACCEPTS_PER_TURN;
	while (left > 0 && may_accept(w) && accept_one(w))
		left--;
	if (may_accept(w))
		return;
	/* The rest is for the others, who may have gone to sleep without the listening socket. */
	for (int i = 0; i < WORKERS; i++)
		if (&w->receiver->workers[i] != w)
			chan_ring(&w->receiver->workers[i].http.wake);
}

/* How long nothing needs to be done, at most so long. While requests wait in place, libmicrohttpd
 * wants another turn at once, for them. What else it may want one for has called back in the last
 * turn; but for rare cases, like a piece of a header that filled its buffer, which may wait for
 * WAITING_MS. */
static int wait_of(struct worker *w, int most_ms)
{
	MHD_UNSIGNED_LONG_LONG timeout_ms = 0;
	if (MHD_get_timeout(w->daemon, &timeout_ms) != MHD_YES)
		return most_ms;
	if (timeout_ms == 0 && w->http.waiting > 0 && !w->http.has_stepped)
		timeout_ms = WAITING_MS;
	return timeout_ms < (MHD_UNSIGNED_LONG_LONG)most_ms ? (int)timeout_ms : most_ms;
}

/* Sleep until something happens, at most so long, and let libmicrohttpd work on it. */
static void turn(struct worker *w, int most_ms)
{
	struct pollfd fds[] = {
		{ .fd = w->epoll_fd, .events = POLLIN },
		{ .fd = chan_fd(&w->http.wake), .events = POLLIN },
		{ .fd = may_accept(w) ? w->receiver->listen_fd : -1, .events = POLLIN },
	};
	(void)poll(fds, sizeof(fds) / sizeof(fds[0]), wait_of(w, most_ms));
	w->http.turn_ns = now_mono_ns();
	if (fds[1].revents)
		http_request_take_back(&w->http);
	if (fds[2].revents)
		accept_some(w);
	/* An answer is sent in the turn behind the one that asked for it. */
	int left = RUNS_PER_TURN;
	do {
		w->http.has_stepped = false;
		(void)MHD_run_wait(w->daemon, 0);
	} while (w->http.has_stepped && --left > 0);
	look_at_connections(w);
}

/* Who is still sending may finish within a moment, and will else send it all again elsewhere. */
static void hurry_uploads(struct worker *w)
{
	int64_t limit = now_mono_ns() + STOP_UPLOAD_NS;
	for (struct http_connection *c = w->http.first; c; c = c->next)
		if (c->request && c->deadline_ns != INT64_MAX && c->deadline_ns > limit)
			c->deadline_ns = limit;
}

static void drain(struct worker *w)
{
	int64_t deadline = w->receiver->stop_deadline_ns;
	hurry_uploads(w);
	while (w->http.active > 0 && now_mono_ns() < deadline)
		turn(w, DRAIN_TICK_MS);
	for (struct http_connection *c = w->http.first; c; c = c->next)
		if (c->request)
			http_request_abandon(c->request);
	/* A done that was faster than the abandoning is between two lines of its own. */
	while (w->http.out > 0) {
		http_request_take_back(&w->http);
		(void)sched_yield();
	}
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	while (!atomic_load(&w->http.server->is_stopping))
		turn(w, w->receiver->tick_ms);
	drain(w);
	MHD_stop_daemon(w->daemon);
	w->daemon = NULL;
	return NULL;
}

static unsigned seconds_up(int64_t ns)
{
	return (unsigned)((ns + NS_PER_S - 1) / NS_PER_S);
}

static enum status init_worker(struct receive_http *r, struct worker *w, struct err *e)
{
	w->http.server = &r->server;
	w->receiver = r;
	if (chan_init(&w->http.wake, CHAN_WAKE_FD))
		return err_set(e, ST_IO, "cannot make an eventfd: %s", strerrordesc_np(errno));
	w->has_wake = true;
	errno = 0;
	w->daemon = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_NO_LISTEN_SOCKET, 0, NULL, NULL,
		on_step, w, MHD_OPTION_CONNECTION_LIMIT,
		(unsigned)r->max_connections + CONNECTION_SLACK, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		(size_t)CONNECTION_MEMORY_BYTES, MHD_OPTION_CONNECTION_TIMEOUT,
		seconds_up(r->server.idle_timeout_ns), MHD_OPTION_NOTIFY_CONNECTION, on_connection,
		w, MHD_OPTION_NOTIFY_COMPLETED, on_completed, w, MHD_OPTION_URI_LOG_CALLBACK,
		on_request_line, w, MHD_OPTION_UNESCAPE_CALLBACK, unescape, NULL, MHD_OPTION_END);
	if (!w->daemon)
		return err_set(e, ST_IO, "cannot start the HTTP daemon: %s",
			       errno ? strerrordesc_np(errno) : "libmicrohttpd gives no reason");
	w->epoll_fd = MHD_get_daemon_info(w->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
	return http_reply_prepare(&w->http, e);
}

static enum status start_worker(struct worker *w, int index, struct err *e)
{
	int rc = pthread_create(&w->thread, NULL, worker_main, w);
	if (rc)
		return err_set(e, ST_IO, "cannot start an HTTP thread: %s", strerrordesc_np(rc));
	w->has_thread = true;
	char name[] = "http-0";
	name[sizeof(name) - 2] = (char)('0' + index);
	(void)pthread_setname_np(w->thread, name);
	return ST_OK;
}

static int tick_of(int64_t timeout_ns)
{
	int64_t ms = timeout_ns / TICKS_PER_TIMEOUT / NS_PER_MS;
	return ms < 1 ? 1 : ms < TICK_MS ? (int)ms : TICK_MS;
}

enum status receive_http_start(const struct receive_http_options *o, struct ingest *in,
			       struct receive_http **ret, struct err *e)
{
	struct receive_http *r = xcalloc(1, sizeof(*r));
	r->server.in = in;
	r->server.max_message_bytes = o->max_message_bytes;
	r->server.idle_timeout_ns = o->idle_timeout_ns;
	r->server.read_timeout_ns = o->read_timeout_ns;
	r->max_connections = o->max_connections;
	r->tick_ms = tick_of(o->read_timeout_ns);
	r->listen_fd = -1;
	enum status st = cors_init(&r->server.cors, o->cors_allowed_origins,
				   o->cors_allowed_headers, o->cors_max_age_s);
	if (st) {
		(void)err_set(e, st, "the allowed CORS headers are longer than a header line");
		goto out;
	}
	st = net_listen(o->endpoint, &r->listen_fd, &r->port, e);
	/* All are whole before the first runs: workers ring each other. */
	for (int i = 0; !st && i < WORKERS; i++)
		st = init_worker(r, &r->workers[i], e);
	for (int i = 0; !st && i < WORKERS; i++)
		st = start_worker(&r->workers[i], i, e);
	if (st)
		goto out;
	log_info("receiver.listen", "transport=http endpoint=%s port=%d", LOG_QUOTE(o->endpoint),
		 r->port);
	*ret = r;
	r = NULL;
out:
	receive_http_stop(r, 0);
	return st;
}

int receive_http_port(const struct receive_http *r)
{
	return r->port;
}

void receive_http_stop(struct receive_http *r, int64_t deadline_ns)
{
	if (!r)
		return;
	r->stop_deadline_ns = deadline_ns;
	atomic_store(&r->server.is_stopping, true);
	/* From here on no connection is taken any more. */
	if (r->listen_fd >= 0)
		(void)shutdown(r->listen_fd, SHUT_RDWR);
	for (int i = 0; i < WORKERS; i++)
		if (r->workers[i].has_thread)
			chan_ring(&r->workers[i].http.wake);
	for (int i = 0; i < WORKERS; i++)
		if (r->workers[i].has_thread)
			CHECK(pthread_join(r->workers[i].thread, NULL) == 0);
	for (int i = 0; i < WORKERS; i++) {
		struct worker *w = &r->workers[i];
		if (w->daemon)
			MHD_stop_daemon(w->daemon);
		http_reply_done(&w->http);
		if (w->has_wake)
			chan_done(&w->http.wake);
	}
	if (r->listen_fd >= 0)
		(void)close(r->listen_fd);
	cors_done(&r->server.cors);
	free(r);
}
