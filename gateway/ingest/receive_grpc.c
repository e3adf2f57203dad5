/* receive_grpc.c - the thread of the OTLP/gRPC receiver: one epoll loop.
 *
 * A turn of the loop: wait; read what came; take back the calls that the writer is done with;
 * every TICK look after timeouts; then write, once for each connection that has something to say.
 * A commit that completes many calls so costs one write a connection, not one a call.
 *
 * Connections are ended in flush_listed only, after the events of a turn are worked off, so that no
 * event points to a connection that is gone.
 *
 * Stopping: the listener closes, every connection gets its first GOAWAY, calls go on. At the
 * deadline connections are closed as they are. The thread ends when no connection is left and the
 * writer has given every call back: calls are memory of ours in the writer's hands. */
#include "gateway/ingest/receive_grpc.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/base/log.h"
#include "gateway/base/net.h"
#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"
#include "gateway/ingest/grpc_connection.h"

enum { EVENTS = 64, ACCEPTS_PER_TURN = 64 };
/* With calls open, time-outs are at most TICK late; idle connections need less attention. */
static const int64_t tick_ns = 100 * NS_PER_MS;
static const int64_t idle_tick_ns = NS_PER_S;
static const int64_t accept_pause_ns = 200 * NS_PER_MS;

struct receive_grpc {
	struct grpc_server server;
	LIST_HEAD(, grpc_connection) connections;
	int connection_count;
	SLIST_HEAD(, grpc_connection) listed; /* to flush in this turn */
	int epoll_fd;
	int listen_fd;
	int port;
	pthread_t thread;
	int64_t next_tick_ns;
	int64_t accept_again_ns; /* 0: accepting */
	_Atomic int64_t stop_ns; /* INT64_MAX: run on; else the deadline of the stop */
};

static void list(struct receive_grpc *r, struct grpc_connection *c)
{
	if (c->is_listed)
		return;
	c->is_listed = true;
	SLIST_INSERT_HEAD(&r->listed, c, next);
}

static void poll_for(struct receive_grpc *r, int op, int fd, void *ptr, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = ptr };
	CHECK(epoll_ctl(r->epoll_fd, op, fd, &ev) == 0);
}

/* --- accepting --- */

/* Why the connection is refused, or NULL. */
static const char *reason_to_refuse(const struct receive_grpc *r,
				    const struct sockaddr_storage *peer)
{
	int max = r->server.options.max_connections;
	int share = net_share(max);
	if (r->connection_count >= max)
		return "max_connections";
	if (r->connection_count < share)
		return NULL;
	int same = 0;
	struct grpc_connection *c;
	LIST_FOREACH(c, &r->connections, link)
	{
		same += net_is_same_host(&c->peer, peer);
	}
	return same >= share ? "too many from one address" : NULL;
}

static void open_connection(struct receive_grpc *r, int fd, const struct sockaddr_storage *peer)
{
	static struct log_rate rate;
	const char *reason = reason_to_refuse(r, peer);
	if (reason) {
		if (log_every(&rate, 10, NULL))
			log_warn("receiver.connection_refused",
				 "transport=grpc connections=%d reason=%s", r->connection_count,
				 LOG_QUOTE(reason));
		(void)close(fd);
		return;
	}
	/* Neither is vital. */
	int one = 1;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	struct grpc_connection *c = grpc_connection_new(&r->server, fd);
	LIST_INSERT_HEAD(&r->connections, c, link);
	r->connection_count++;
	c->peer = *peer;
	c->polled = EPOLLIN;
	poll_for(r, EPOLL_CTL_ADD, fd, c, c->polled);
	list(r, c);
}

static void pause_accepting(struct receive_grpc *r, int error)
{
	static struct log_rate rate;
	if (log_every(&rate, 10, NULL))
		log_warn("receiver.accept_failed", "transport=grpc connections=%d error=%s",
			 r->connection_count, LOG_QUOTE(strerror(error)));
	poll_for(r, EPOLL_CTL_MOD, r->listen_fd, r, 0);
	r->accept_again_ns = r->server.now_ns + accept_pause_ns;
}

static void accept_waiting(struct receive_grpc *r)
{
	for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
		struct sockaddr_storage peer;
		socklen_t n = sizeof(peer);
		int fd = accept4(r->listen_fd, (struct sockaddr *)&peer, &n,
				 SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			open_connection(r, fd, &peer);
		} else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
			   errno == ENOMEM) {
			/* The listener stays readable: without a pause this would spin. */
			pause_accepting(r, errno);
			return;
		} else if (errno == EAGAIN || errno == EWOULDBLOCK) {
			return;
		}
		/* Anything else is the fate of that one connection (accept(2)). */
	}
}

/* --- one turn --- */

static void take_completed(struct receive_grpc *r)
{
	struct chan_item *item = chan_take_all(&r->server.done);
	while (item) {
		struct grpc_call *call = (struct grpc_call *)(void *)item;
		item = item->next;
		struct grpc_connection *c = grpc_connection_take_back(call);
		if (c)
			list(r, c);
	}
}

static void dispatch(struct receive_grpc *r, const struct epoll_event *ev)
{
	if (ev->data.ptr == NULL) {
		take_completed(r);
		return;
	}
	if (ev->data.ptr == r) {
		if (r->listen_fd >= 0)
			accept_waiting(r);
		return;
	}
	struct grpc_connection *c = ev->data.ptr;
	list(r, c);
	if (ev->events & EPOLLIN)
		grpc_connection_read(c);
	else if (ev->events & (EPOLLERR | EPOLLHUP))
		c->is_dead = true;
}

static void close_connection(struct receive_grpc *r, struct grpc_connection *c)
{
	LIST_REMOVE(c, link);
	r->connection_count--;
	/* Closing the descriptor takes it out of epoll: nothing duplicates it. */
	grpc_connection_free(c);
}

static void flush_listed(struct receive_grpc *r)
{
	while (!SLIST_EMPTY(&r->listed)) {
		struct grpc_connection *c = SLIST_FIRST(&r->listed);
		SLIST_REMOVE_HEAD(&r->listed, next);
		c->is_listed = false;
		if (!grpc_connection_flush(c)) {
			close_connection(r, c);
			continue;
		}
		uint32_t wants = grpc_connection_wants(c);
		if (wants != c->polled)
			poll_for(r, EPOLL_CTL_MOD, c->transport.fd, c, wants);
		c->polled = wants;
	}
}

static void tick(struct receive_grpc *r)
{
	int64_t now = r->server.now_ns;
	bool is_over = now >= atomic_load(&r->stop_ns);
	struct grpc_connection *c;
	LIST_FOREACH(c, &r->connections, link)
	{
		grpc_connection_tick(c);
		c->is_dead = c->is_dead || (r->server.is_stopping && is_over);
		list(r, c);
	}
	if (r->accept_again_ns && now >= r->accept_again_ns && r->listen_fd >= 0) {
		r->accept_again_ns = 0;
		poll_for(r, EPOLL_CTL_MOD, r->listen_fd, r, EPOLLIN);
	}
	bool is_busy = r->server.open_calls || r->server.is_stopping || r->accept_again_ns;
	r->next_tick_ns = now + (is_busy ? tick_ns : idle_tick_ns);
}

static void begin_stop(struct receive_grpc *r)
{
	r->server.is_stopping = true;
	(void)close(r->listen_fd);
	r->listen_fd = -1;
	struct grpc_connection *c;
	LIST_FOREACH(c, &r->connections, link)
	{
		grpc_connection_shutdown(c);
		list(r, c);
	}
	r->next_tick_ns = r->server.now_ns + tick_ns;
}

static int wait_ms(const struct receive_grpc *r)
{
	if (r->connection_count == 0 && !r->accept_again_ns && !r->server.is_stopping)
		return -1;
	int64_t next = r->next_tick_ns;
	/* A call that came since the last tick may have a short deadline. */
	if (r->server.open_calls && next > r->server.now_ns + tick_ns)
		next = r->server.now_ns + tick_ns;
	int64_t left = next - now_mono_ns();
	return left <= 0 ? 0 : (int)(left / NS_PER_MS) + 1;
}

static void turn(struct receive_grpc *r)
{
	struct epoll_event events[EVENTS];
	int n = epoll_wait(r->epoll_fd, events, EVENTS, wait_ms(r));
	CHECK(n >= 0 || errno == EINTR);
	r->server.now_ns = now_mono_ns();
	if (!r->server.is_stopping && atomic_load(&r->stop_ns) != INT64_MAX)
		begin_stop(r);
	for (int i = 0; i < n; i++)
		dispatch(r, &events[i]);
	int64_t latest = r->server.now_ns + (r->server.open_calls ? tick_ns : idle_tick_ns);
	if (r->next_tick_ns > latest)
		r->next_tick_ns = latest;
	if (r->server.now_ns >= r->next_tick_ns)
		tick(r);
	flush_listed(r);
}

static void *run(void *arg)
{
	struct receive_grpc *r = arg;
	while (!(r->server.is_stopping && r->connection_count == 0 && r->server.with_writer == 0))
		turn(r);
	return NULL;
}

/* --- start and stop --- */

static void destroy(struct receive_grpc *r)
{
	if (r->epoll_fd >= 0)
		(void)close(r->epoll_fd);
	if (r->listen_fd >= 0)
		(void)close(r->listen_fd);
	chan_done(&r->server.done);
	free(r->server.read_buffer);
	free(r);
}

enum status receive_grpc_start(const struct receive_grpc_options *o, struct ingest *in,
			       struct receive_grpc **ret, struct err *e)
{
	struct receive_grpc *r = xcalloc(1, sizeof(*r));
	r->server.options = *o;
	r->server.options.endpoint = NULL; /* borrowed until return only */
	r->server.ingest = in;
	budget_init(&r->server.overhead, ingest_max_message_bytes(in));
	r->server.read_buffer = xcalloc(1, GRPC_READ_SIZE);
	r->server.now_ns = now_mono_ns();
	r->listen_fd = -1;
	atomic_init(&r->stop_ns, INT64_MAX);
	LIST_INIT(&r->connections);
	SLIST_INIT(&r->listed);
	r->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	enum status st = chan_init(&r->server.done, CHAN_WAKE_FD);
	if (st || r->epoll_fd < 0)
		st = err_set(e, ST_IO, "no descriptor for the gRPC receiver: %s", strerror(errno));
	if (!st)
		st = net_listen(o->endpoint, &r->listen_fd, &r->port, e);
	if (st)
		goto out;
	poll_for(r, EPOLL_CTL_ADD, r->listen_fd, r, EPOLLIN);
	poll_for(r, EPOLL_CTL_ADD, chan_fd(&r->server.done), NULL, EPOLLIN);
	int rc = pthread_create(&r->thread, NULL, run, r);
	if (rc != 0) {
		st = err_set(e, ST_NO_MEMORY, "no thread for the gRPC receiver: %s", strerror(rc));
		goto out;
	}
	log_info("receiver.listen", "transport=grpc endpoint=%s port=%d", LOG_QUOTE(o->endpoint),
		 r->port);
	*ret = r;
	r = NULL;
out:
	if (r)
		destroy(r);
	return st;
}

int receive_grpc_port(const struct receive_grpc *r)
{
	return r->port;
}

void receive_grpc_stop(struct receive_grpc *r, int64_t deadline_ns)
{
	if (!r)
		return;
	atomic_store(&r->stop_ns, deadline_ns == INT64_MAX ? INT64_MAX - 1 : deadline_ns);
	chan_ring(&r->server.done);
	CHECK(pthread_join(r->thread, NULL) == 0);
	log_info("receiver.stop", "transport=grpc");
	destroy(r);
}
