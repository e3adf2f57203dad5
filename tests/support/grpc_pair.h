/* grpc_pair.h - a connection of the gRPC receiver on one end of a socket pair, an nghttp2 client on
 * the other, a fake ingest behind it, and time that the test moves. All state is in `t`.
 * Owner: the one test program that includes it. Needs: fake_ingest, h2_client. */
#ifndef TESTS_SUPPORT_GRPC_PAIR_H
#define TESTS_SUPPORT_GRPC_PAIR_H

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"
#include "gateway/ingest/grpc_connection.h"
#include "tests/support/expect.h"
#include "tests/support/fake_ingest.h"
#include "tests/support/h2_client.h"

enum { MAX_MESSAGE = 1 << 20, BUDGET = 64 << 20, OVERHEAD = 4 << 20 };

static struct {
	struct ingest ingest;
	struct grpc_server server;
	struct grpc_connection *c;
	bool is_over; /* the server closed */
	struct h2_client client;
} t;

static inline void setup(void)
{
	memset(&t, 0, sizeof(t));
	int fds[2];
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
			 0);
	budget_init(&t.ingest.budget, BUDGET);
	EXPECT_OK(chan_init(&t.server.done, CHAN_WAKE_FD));
	t.server.ingest = &t.ingest;
	budget_init(&t.server.overhead, OVERHEAD);
	t.server.now_ns = 1000 * NS_PER_S;
	t.server.read_buffer = xcalloc(1, GRPC_READ_SIZE);
	t.server.options = (struct receive_grpc_options){ .max_message_bytes = MAX_MESSAGE,
							  .max_connections = 10,
							  .max_concurrent_streams = 100,
							  .idle_timeout_ns = 60 * NS_PER_S,
							  .read_timeout_ns = 5 * NS_PER_S };
	t.c = grpc_connection_new(&t.server, fds[0]);
	h2_client_init(&t.client, fds[1]);
}

static inline void take_completed(void)
{
	struct chan_item *item = chan_take_all(&t.server.done);
	while (item) {
		struct grpc_call *call = (struct grpc_call *)(void *)item;
		item = item->next;
		(void)grpc_connection_take_back(call);
	}
}

static inline void close_server(void)
{
	if (!t.is_over)
		grpc_connection_free(t.c);
	t.is_over = true;
}

static inline void teardown(void)
{
	close_server();
	while (t.ingest.given_count)
		fake_complete(&t.ingest, ST_OK);
	take_completed();
	ck_assert_uint_eq(t.server.with_writer, 0);
	ck_assert_uint_eq(t.server.open_calls, 0);
	ck_assert_uint_eq(budget_used(&t.ingest.budget), 0);
	ck_assert_uint_eq(budget_used(&t.server.overhead), 0);
	h2_client_done(&t.client);
	(void)close(t.client.fd);
	chan_done(&t.server.done);
	free(t.server.read_buffer);
}

static inline void server_turn(void)
{
	if (t.is_over)
		return;
	take_completed();
	if (grpc_connection_wants(t.c) & EPOLLIN)
		grpc_connection_read(t.c);
	if (!grpc_connection_flush(t.c))
		close_server();
}

/* Both ends talk until neither has anything to say. */
static inline void pump(void)
{
	for (int quiet = 0; quiet < 3;) {
		t.client.has_moved = false;
		h2_client_flush(&t.client);
		server_turn();
		bool has_read = h2_client_read(&t.client);
		quiet = has_read || t.client.has_moved ? 0 : quiet + 1;
	}
}

static inline void tick(int64_t ns)
{
	t.server.now_ns += ns;
	if (!t.is_over)
		grpc_connection_tick(t.c);
	pump();
}

#endif
