/* fuzz_grpc_connection.c - a whole server connection under arbitrary bytes behind the preface.
 *
 * The first byte says how the rest is cut into reads; between reads the fake writer completes calls
 * and time goes on. Whatever comes: no crash, no leak, every byte of the budget given back. */
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"
#include "gateway/ingest/grpc_connection.h"
#include "tests/support/fake_ingest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct ingest ingest;
static struct grpc_server server;

static void take_completed(void)
{
	struct chan_item *item = chan_take_all(&server.done);
	while (item) {
		struct grpc_call *call = (struct grpc_call *)(void *)item;
		item = item->next;
		(void)grpc_connection_take_back(call);
	}
}

/* Writes go nowhere: always room. */
static enum status sink(struct transport *t, struct bytes src, size_t *ret_n)
{
	(void)t;
	*ret_n = src.n;
	return ST_OK;
}

static enum status nothing(struct transport *t, void *dst, size_t size, size_t *ret_n)
{
	(void)t, (void)dst, (void)size, (void)ret_n;
	return ST_BUSY;
}

static void no_end(struct transport *t)
{
	(void)t;
}

static void set_up(void)
{
	budget_init(&ingest.budget, 8 << 20);
	CHECK(chan_init(&server.done, CHAN_WAKE_FD) == ST_OK);
	server.ingest = &ingest;
	budget_init(&server.overhead, 1 << 20);
	server.now_ns = NS_PER_S;
	server.options = (struct receive_grpc_options){ .max_message_bytes = 1 << 20,
							.max_concurrent_streams = 10,
							.idle_timeout_ns = NS_PER_S,
							.read_timeout_ns = NS_PER_S / 2 };
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
	static const struct transport_ops ops = { nothing, sink, no_end };
	if (n < 2)
		return 0;
	if (!server.ingest)
		set_up();
	size_t step = (size_t)data[0] * 16 + 1;
	ingest.admit = data[1] & 1 ? ST_OK : data[1] & 2 ? ST_FULL : ST_OK;
	ingest.prepare = data[1] & 4 ? ST_INVALID : ST_OK;
	struct grpc_connection *c = grpc_connection_new(&server, -1);
	c->transport.ops = &ops;
	grpc_connection_feed(c, bytes_of(preface, sizeof(preface) - 1));
	bool is_alive = grpc_connection_flush(c);
	for (size_t at = 2; at < n && is_alive; at += step) {
		grpc_connection_feed(c, bytes_of(data + at, n - at < step ? n - at : step));
		if (ingest.given_count && data[1] & 8)
			fake_complete(&ingest, data[1] & 16 ? ST_IO : ST_OK);
		take_completed();
		server.now_ns += NS_PER_MS * 20;
		grpc_connection_tick(c);
		is_alive = grpc_connection_flush(c);
	}
	grpc_connection_free(c);
	while (ingest.given_count)
		fake_complete(&ingest, ST_OK);
	take_completed();
	CHECK(server.open_calls == 0 && server.with_writer == 0);
	CHECK(budget_used(&server.overhead) == 0);
	CHECK(budget_used(&ingest.budget) == 0);
	return 0;
}
