/* What receive_http promises of its connections and threads: no answer before done, every request
 * freed once whatever the order of done, disconnect and stop, time-outs and limits that hold. The
 * ingest behind it is a fake of this file that completes calls when the test says so; what comes
 * out of the real one is the integration tests' part. */
#include "gateway/ingest/receive_http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/base/log.h"
#include "gateway/base/now.h"
#include "gateway/telemetry/reply.h"
#include "tests/support/expect.h"
#include "tests/support/patience.h"

enum { HELD_MAX = 300 };

/* The fake: commits are held until release(), or done at once, or by a thread of their own. */
struct ingest {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	bool is_holding;
	struct ingest_call *held[HELD_MAX];
	size_t held_count;
	size_t committed_bytes;
	enum status admit;
	enum status outcome;
	struct budget budget;
};

static struct ingest fake;

void ingest_call_init(struct ingest *in, struct ingest_call *call, size_t max_message_bytes)
{
	*call = (struct ingest_call){ .in = in, .max_message_bytes = max_message_bytes };
	buf_init(&call->body, max_message_bytes, &in->budget);
}

void ingest_call_done(struct ingest_call *call)
{
	buf_done(&call->body);
}

enum status ingest_admit(struct ingest *in, struct ingest_call *call, size_t bytes)
{
	(void)bytes;
	call->status = in->admit;
	call->retry_after_s = in->admit ? 7 : 0;
	return in->admit;
}

enum status ingest_prepare(struct ingest_call *call)
{
	return bytes_equal(buf_view(&call->body), bytes_str("bad")) ? ST_INVALID : ST_OK;
}

/* "large" at the front makes it so. */
bool ingest_is_light(struct ingest_call *call, int64_t began_ns)
{
	ck_assert(began_ns > 0 && began_ns <= now_mono_ns());
	return call->body.n < 5 || memcmp(call->body.p, "large", 5) != 0;
}

void ingest_give(struct ingest_call *call)
{
	if (!bytes_equal(buf_view(&call->body), bytes_str("large and bad"))) {
		ingest_commit(call);
		return;
	}
	call->status = ST_INVALID;
	call->done(call);
}

static void complete(struct ingest_call *call)
{
	call->status = fake.outcome;
	call->done(call);
}

void ingest_commit(struct ingest_call *call)
{
	pthread_mutex_lock(&fake.mutex);
	fake.committed_bytes += call->body.n;
	bool is_held = fake.is_holding;
	if (is_held) {
		ck_assert_uint_lt(fake.held_count, HELD_MAX);
		fake.held[fake.held_count++] = call;
		pthread_cond_broadcast(&fake.changed);
	}
	pthread_mutex_unlock(&fake.mutex);
	if (!is_held)
		complete(call);
}

size_t ingest_max_message_bytes(const struct ingest *in)
{
	return in->budget.max;
}

enum status reply_write_status(struct buf *out, int grpc_code, const char *message,
			       int retry_after_s, bool is_json)
{
	return buf_printf(out, "%d|%s|%d|%d", grpc_code, message, retry_after_s, is_json);
}

static void wait_held(size_t count)
{
	pthread_mutex_lock(&fake.mutex);
	while (fake.held_count < count)
		pthread_cond_wait(&fake.changed, &fake.mutex);
	pthread_mutex_unlock(&fake.mutex);
}

/* From this thread, which so plays the writer. */
static void release(void)
{
	struct ingest_call *calls[HELD_MAX];
	pthread_mutex_lock(&fake.mutex);
	size_t n = fake.held_count;
	memcpy(calls, fake.held, sizeof(calls));
	fake.held_count = 0;
	pthread_mutex_unlock(&fake.mutex);
	for (size_t i = 0; i < n; i++)
		complete(calls[i]);
}

static struct receive_http *start(bool is_holding, int max_connections, int64_t idle_ns,
				  int64_t read_ns)
{
	pthread_mutex_init(&fake.mutex, NULL);
	pthread_cond_init(&fake.changed, NULL);
	fake.is_holding = is_holding;
	fake.held_count = 0;
	fake.committed_bytes = 0;
	fake.admit = ST_OK;
	fake.outcome = ST_OK;
	budget_init(&fake.budget, 64 << 20);
	struct receive_http_options o = {
		.endpoint = "127.0.0.1:0",
		.max_message_bytes = 1 << 20,
		.max_connections = max_connections,
		.idle_timeout_ns = idle_ns,
		.read_timeout_ns = read_ns,
	};
	struct receive_http *r = NULL;
	struct err e = { "" };
	ck_assert_msg(receive_http_start(&o, &fake, &r, &e) == ST_OK, "%s", e.text);
	return r;
}

static struct receive_http *start_plain(bool is_holding)
{
	return start(is_holding, 100, 60 * NS_PER_S, 60 * NS_PER_S);
}

static void stop(struct receive_http *r)
{
	receive_http_stop(r, now_mono_ns() + patience_ns());
	ck_assert_uint_eq(budget_used(&fake.budget), 0);
}

static int connect_to(const struct receive_http *r)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)receive_http_port(r)),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

static void send_text(int fd, const char *text)
{
	size_t n = strlen(text);
	ck_assert_int_eq(send(fd, text, n, MSG_NOSIGNAL), (ssize_t)n);
}

#define HEAD  "POST /v1/logs HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"
#define HELLO HEAD "Content-Length: 5\r\n\r\nhello"

/* What comes until the end of the stream, or of a response with Content-Length: 0 or a body of
 * text.
 */
static const char *receive(int fd, char *text, size_t size)
{
	size_t n = 0;
	text[0] = '\0';
	while (n + 1 < size) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ck_assert_msg(poll(&p, 1, patience_s() * 1000) == 1, "nothing came after: %s",
			      text);
		ssize_t got = recv(fd, text + n, size - 1 - n, 0);
		if (got <= 0)
			break;
		n += (size_t)got;
		text[n] = '\0';
		const char *end = strstr(text, "\r\n\r\n");
		const char *length = strcasestr(text, "Content-Length: ");
		if (end && length && length < end &&
		    strlen(end + 4) >= strtoul(length + 16, NULL, 10))
			break;
	}
	return text;
}

static void expect_code(int fd, const char *code)
{
	char text[4096];
	receive(fd, text, sizeof(text));
	ck_assert_msg(strncmp(text, "HTTP/1.1 ", 9) == 0 && strncmp(text + 9, code, 3) == 0,
		      "expected %s, got: %s", code, text);
}

static void expect_end(int fd)
{
	char text[256];
	receive(fd, text, sizeof(text));
	ck_assert_msg(text[0] == '\0', "expected the end, got: %s", text);
}

START_TEST(nothing_is_answered_before_done)
{
	struct receive_http *r = start_plain(true);
	int fd = connect_to(r);
	send_text(fd, HELLO);
	wait_held(1);
	char c;
	ck_assert_int_eq(recv(fd, &c, 1, MSG_DONTWAIT), -1);
	ck_assert_int_eq(errno, EAGAIN);
	release();
	expect_code(fd, "200");
	ck_assert_uint_eq(fake.committed_bytes, 5);
	/* And again on the same connection. */
	fake.outcome = ST_FULL;
	send_text(fd, HELLO);
	wait_held(1);
	release();
	expect_code(fd, "503");
	close(fd);
	stop(r);
}
END_TEST

START_TEST(a_call_that_is_done_at_once_is_answered)
{
	struct receive_http *r = start_plain(false);
	int fd = connect_to(r);
	for (int i = 0; i < 100; i++) {
		send_text(fd, HELLO);
		expect_code(fd, "200");
	}
	ck_assert_uint_eq(fake.committed_bytes, 500);
	close(fd);
	stop(r);
}
END_TEST

START_TEST(done_wakes_the_worker)
{
	struct receive_http *r = start_plain(true);
	int fd = connect_to(r);
	int64_t fastest = INT64_MAX;
	for (int i = 0; i < 200; i++) {
		send_text(fd, HELLO);
		wait_held(1);
		int64_t start_ns = now_mono_ns();
		release();
		expect_code(fd, "200");
		int64_t took = now_mono_ns() - start_ns;
		fastest = took < fastest ? took : fastest;
	}
	/* Workers look up every 200 ms anyway: unwoken, none would take less. */
	ck_assert_int_lt(fastest, 100 * NS_PER_MS);
	close(fd);
	stop(r);
}
END_TEST

START_TEST(a_client_that_goes_while_the_writer_works_is_cleaned_up)
{
	struct receive_http *r = start_plain(true);
	for (int i = 0; i < 20; i++) {
		int fd = connect_to(r);
		send_text(fd, HELLO);
		wait_held(1);
		/* Some with a reset, some with a plain end. */
		struct linger at_once = { .l_onoff = i % 2, .l_linger = 0 };
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
		close(fd);
		release();
	}
	int fd = connect_to(r);
	send_text(fd, HELLO);
	wait_held(1);
	release();
	expect_code(fd, "200");
	close(fd);
	stop(r);
}
END_TEST

START_TEST(what_a_client_left_behind_is_known_to_be_unwanted)
{
	struct receive_http *r = start_plain(true);
	int gone = connect_to(r);
	int other = connect_to(r);
	send_text(gone, HELLO);
	wait_held(1);
	send_text(other, HELLO);
	wait_held(2);
	struct linger at_once = { .l_onoff = 1, .l_linger = 0 };
	setsockopt(gone, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	close(gone);
	AWAIT(atomic_load(&fake.held[0]->is_unwanted));
	ck_assert(!atomic_load(&fake.held[1]->is_unwanted));
	release();
	expect_code(other, "200");
	close(other);
	stop(r);
}
END_TEST

START_TEST(a_client_that_goes_in_its_body_frees_its_bytes_soon)
{
	struct receive_http *r = start_plain(false);
	char text[20000] = HEAD "Content-Length: 1000000\r\n\r\n";
	memset(text + strlen(text), 'x', sizeof(text) - 1 - strlen(text));
	for (int i = 0; i < 30; i++) {
		int fd = connect_to(r);
		/* The end right behind the bytes, so that both are seen at a time. */
		send_text(fd, text);
		close(fd);
	}
	AWAIT(budget_used(&fake.budget) == 0);
	stop(r);
}
END_TEST

START_TEST(a_client_that_closes_its_half_is_still_answered)
{
	struct receive_http *r = start(true, 10, 60 * NS_PER_S, 100 * NS_PER_MS);
	int fd = connect_to(r);
	int other = connect_to(r);
	send_text(fd, HELLO);
	shutdown(fd, SHUT_WR);
	wait_held(1);
	/* Let several ticks go by: a trickling client is cut in the meantime. */
	send_text(other, "POST /v1/logs HTTP/1.1\r\nX-");
	expect_end(other);
	close(other);
	release();
	expect_code(fd, "200");
	close(fd);
	stop(r);
}
END_TEST

START_TEST(a_stop_leaves_to_the_writer_what_it_does_not_return_in_time)
{
	struct receive_http *r = start_plain(true);
	int fds[5];
	for (size_t i = 0; i < 5; i++) {
		fds[i] = connect_to(r);
		send_text(fds[i], HELLO);
	}
	wait_held(5);
	receive_http_stop(r, now_mono_ns());
	for (size_t i = 0; i < 5; i++) {
		expect_end(fds[i]);
		close(fds[i]);
	}
	ck_assert_uint_gt(budget_used(&fake.budget), 0);
	release();
	ck_assert_uint_eq(budget_used(&fake.budget), 0);
}
END_TEST

static void *stop_in_thread(void *r)
{
	stop(r);
	return NULL;
}

START_TEST(a_stop_waits_for_the_writer_and_refuses_what_comes_new)
{
	struct receive_http *r = start_plain(true);
	/* One more than there are workers, so that each of them has one to wait for. */
	int busy[16];
	int idle[16];
	for (size_t i = 0; i < 16; i++) {
		busy[i] = connect_to(r);
		send_text(busy[i], HELLO);
		idle[i] = connect_to(r);
		send_text(idle[i], HELLO);
	}
	wait_held(32);
	release();
	for (size_t i = 0; i < 16; i++) {
		expect_code(busy[i], "200");
		expect_code(idle[i], "200");
		send_text(busy[i], HELLO);
	}
	wait_held(16);
	pthread_t thread;
	pthread_create(&thread, NULL, stop_in_thread, r);
	/* The listening socket goes first: from then on new requests are refused. */
	int fd = -1;
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)receive_http_port(r)),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	do {
		if (fd >= 0)
			close(fd);
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	} while (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0);
	close(fd);
	/* A worker without a busy connection may have closed the idle one already. */
	size_t refused = 0;
	for (size_t i = 0; i < 16; i++) {
		char text[4096];
		if (send(idle[i], HELLO, strlen(HELLO), MSG_NOSIGNAL) < 0)
			continue;
		receive(idle[i], text, sizeof(text));
		bool is_refused = strncmp(text, "HTTP/1.1 503", 12) == 0;
		ck_assert_msg(is_refused || text[0] == '\0', "got: %s", text);
		if (is_refused) {
			ck_assert_ptr_nonnull(strstr(text, "Retry-After: 1"));
			ck_assert_ptr_nonnull(strcasestr(text, "Connection: close"));
			refused++;
		}
	}
	ck_assert_uint_gt(refused, 0);
	release();
	for (size_t i = 0; i < 16; i++) {
		expect_code(busy[i], "200");
		close(busy[i]);
		close(idle[i]);
	}
	pthread_join(thread, NULL);
}
END_TEST

START_TEST(a_stop_does_not_wait_long_for_uploads)
{
	struct receive_http *r = start_plain(false);
	int fd = connect_to(r);
	send_text(fd, HELLO);
	expect_code(fd, "200");
	/* The second request is known to be read when the answer to the first has come. */
	send_text(fd, HELLO HEAD "Content-Length: 1000\r\n\r\nabc");
	expect_code(fd, "200");
	int64_t deadline = now_mono_ns() + patience_ns();
	receive_http_stop(r, deadline);
	ck_assert_int_lt(now_mono_ns(), deadline);
	expect_end(fd);
	close(fd);
	ck_assert_uint_eq(budget_used(&fake.budget), 0);
}
END_TEST

START_TEST(one_connection_too_many_is_closed_at_once)
{
	struct receive_http *r = start(false, 2, 60 * NS_PER_S, 60 * NS_PER_S);
	int a = connect_to(r);
	int b = connect_to(r);
	send_text(a, HELLO);
	expect_code(a, "200");
	send_text(b, HELLO);
	expect_code(b, "200");
	for (int i = 0; i < 10; i++) {
		int c = connect_to(r);
		expect_end(c);
		close(c);
	}
	send_text(a, HELLO);
	expect_code(a, "200");
	close(a);
	/* Its place is free as soon as the worker saw it go. */
	char text[4096];
	do {
		int c = connect_to(r);
		if (send(c, HELLO, strlen(HELLO), MSG_NOSIGNAL) < 0)
			text[0] = '\0';
		else
			receive(c, text, sizeof(text));
		close(c);
	} while (text[0] == '\0');
	close(b);
	stop(r);
}
END_TEST

START_TEST(a_request_that_trickles_is_cut_at_the_read_timeout)
{
	static const char *const parts[] = {
		"POST /v1/logs HTTP/1.1\r\nHost: x\r\nX-",
		HEAD "Content-Length: 100000\r\n\r\n",
		HEAD "Transfer-Encoding: chunked\r\n\r\nffff\r\n",
	};
	struct receive_http *r = start(false, 10, 60 * NS_PER_S, 200 * NS_PER_MS);
	for (size_t i = 0; i < 3; i++) {
		int fd = connect_to(r);
		int64_t start_ns = now_mono_ns();
		int64_t end_ns = patience_end_ns();
		send_text(fd, parts[i]);
		/* A byte whenever 20 ms brought no end. */
		struct pollfd p = { .fd = fd, .events = POLLIN };
		while (poll(&p, 1, 20) == 0 && send(fd, "a", 1, MSG_NOSIGNAL) == 1)
			ck_assert_int_lt(now_mono_ns(), end_ns);
		ck_assert_int_ge(now_mono_ns() - start_ns, 190 * NS_PER_MS);
		close(fd);
	}
	stop(r);
}
END_TEST

START_TEST(a_silent_client_is_cut_at_the_idle_timeout)
{
	struct receive_http *r = start(false, 10, 1 * NS_PER_S, 60 * NS_PER_S);
	int a = connect_to(r);
	int b = connect_to(r);
	int c = connect_to(r);
	send_text(b, HELLO);
	expect_code(b, "200");
	send_text(c, HEAD "Content-Length: 10\r\n\r\nabc");
	expect_end(a);
	expect_end(b);
	expect_end(c);
	close(a);
	close(b);
	close(c);
	stop(r);
}
END_TEST

START_TEST(a_request_at_the_writer_is_not_cut)
{
	struct receive_http *r = start(true, 10, 1 * NS_PER_S, 100 * NS_PER_MS);
	int slow = connect_to(r);
	int silent = connect_to(r);
	send_text(slow, HELLO);
	wait_held(1);
	/* One that is as old is cut: both time-outs are over. */
	expect_end(silent);
	release();
	expect_code(slow, "200");
	close(slow);
	close(silent);
	stop(r);
}
END_TEST

/* More than wait in place: some wait suspended, some go while they wait, and at last the others
 * close their half. */
START_TEST(many_requests_at_the_writer_are_each_answered)
{
	struct receive_http *r = start(true, 4 * HELD_MAX, 60 * NS_PER_S, 60 * NS_PER_S);
	int fds[HELD_MAX];
	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < HELD_MAX; i++) {
			if (round == 0)
				fds[i] = connect_to(r);
			send_text(fds[i], HELLO);
		}
		wait_held(HELD_MAX);
		for (size_t i = 0; i < HELD_MAX; i += 32) {
			struct linger at_once = { .l_onoff = 1, .l_linger = 0 };
			setsockopt(fds[i], SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
			close(fds[i]);
		}
		for (size_t i = 0; i < HELD_MAX && round == 1; i++)
			if (i % 32)
				shutdown(fds[i], SHUT_WR);
		release();
		for (size_t i = 0; i < HELD_MAX; i++) {
			if (i % 32 == 0)
				fds[i] = connect_to(r);
			else
				expect_code(fds[i], "200");
		}
	}
	for (size_t i = 0; i < HELD_MAX; i++)
		close(fds[i]);
	stop(r);
}
END_TEST

static int64_t cpu_ns(void)
{
	struct rusage u;
	getrusage(RUSAGE_SELF, &u);
	return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * NS_PER_S +
	       (u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1000;
}

/* libmicrohttpd asks for another turn at once as long as a request waits in place, which is for a
 * quarter of the time here. */
START_TEST(a_request_at_the_writer_costs_nothing_while_it_waits)
{
	struct receive_http *r = start(true, 10, 60 * NS_PER_S, 1 * NS_PER_S);
	int fd = connect_to(r);
	int other = connect_to(r);
	send_text(fd, HELLO);
	wait_held(1);
	int64_t wall = now_mono_ns();
	int64_t cpu = cpu_ns();
	/* The time is that of a trickling client, until it is cut. */
	send_text(other, "POST /v1/logs HTTP/1.1\r\nX-");
	expect_end(other);
	ck_assert_int_lt(cpu_ns() - cpu, (now_mono_ns() - wall) / 10);
	release();
	expect_code(fd, "200");
	close(fd);
	close(other);
	stop(r);
}
END_TEST

START_TEST(a_refused_body_is_read_and_the_connection_kept)
{
	struct receive_http *r = start_plain(false);
	char text[4096];
	int fd = connect_to(r);
	fake.admit = ST_BUSY;
	for (int i = 0; i < 3; i++) {
		send_text(fd, HELLO);
		receive(fd, text, sizeof(text));
		ck_assert_ptr_nonnull(strstr(text, "HTTP/1.1 503"));
		ck_assert_ptr_nonnull(strstr(text, "Retry-After: 7\r\n"));
		ck_assert_ptr_nonnull(strstr(text, "14|too much in flight|7|0"));
	}
	fake.admit = ST_OK;
	send_text(fd, HEAD "Content-Length: 3\r\n\r\nbad");
	expect_code(fd, "400");
	send_text(fd, HELLO);
	expect_code(fd, "200");
	ck_assert_uint_eq(fake.committed_bytes, 5);
	close(fd);
	stop(r);
}
END_TEST

START_TEST(a_large_request_is_prepared_elsewhere)
{
	struct receive_http *r = start_plain(false);
	int fd = connect_to(r);
	send_text(fd, HEAD "Content-Length: 13\r\n\r\nlarge and bad");
	expect_code(fd, "400");
	send_text(fd, HEAD "Content-Length: 14\r\n\r\nlarge and good");
	expect_code(fd, "200");
	ck_assert_uint_eq(fake.committed_bytes, 14);
	close(fd);
	stop(r);
}
END_TEST

START_TEST(an_endpoint_that_is_taken_is_an_error_in_words)
{
	struct receive_http *r = start_plain(false);
	char endpoint[32];
	(void)snprintf(endpoint, sizeof(endpoint), "127.0.0.1:%d", receive_http_port(r));
	struct receive_http_options o = { .endpoint = endpoint,
					  .max_message_bytes = 1000,
					  .max_connections = 1,
					  .idle_timeout_ns = NS_PER_S,
					  .read_timeout_ns = NS_PER_S };
	struct receive_http *second = NULL;
	struct err e = { "" };
	EXPECT_STATUS(receive_http_start(&o, &fake, &second, &e), ST_IO);
	ck_assert_ptr_null(second);
	ck_assert_ptr_nonnull(strstr(e.text, "another program has the port"));
	stop(r);
}
END_TEST

/* Clients that come, send, wait or go, while a thread plays the writer. */
static struct receive_http *storm;
static atomic_bool storm_is_over;

static void *storm_client(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;
	for (int i = 0; i < 60; i++) {
		int fd = connect_to(storm);
		for (int k = rand_r(&seed) % 5; k >= 0; k--) {
			send_text(fd, HELLO);
			if (rand_r(&seed) % 3 == 0)
				break;
			expect_code(fd, "200");
		}
		close(fd);
	}
	return NULL;
}

static void *storm_writer(void *arg)
{
	(void)arg;
	while (!atomic_load(&storm_is_over)) {
		release();
		sched_yield();
	}
	return NULL;
}

START_TEST(clients_that_come_and_go_at_random_leave_nothing_behind)
{
	storm = start_plain(true);
	atomic_store(&storm_is_over, false);
	pthread_t clients[4];
	pthread_t writer;
	pthread_create(&writer, NULL, storm_writer, NULL);
	for (uintptr_t i = 0; i < 4; i++)
		pthread_create(&clients[i], NULL, storm_client, (void *)(i + 1));
	for (size_t i = 0; i < 4; i++)
		pthread_join(clients[i], NULL);
	stop(storm);
	atomic_store(&storm_is_over, true);
	pthread_join(writer, NULL);
	ck_assert_uint_eq(fake.held_count, 0);
}
END_TEST

START_TEST(a_stop_in_the_middle_of_everything_frees_each_request_once)
{
	for (int round = 0; round < 20; round++) {
		struct receive_http *r = start_plain(true);
		int fds[8];
		for (size_t i = 0; i < 8; i++) {
			fds[i] = connect_to(r);
			send_text(fds[i], i % 4 == 3 ? HEAD "Content-Length: 9\r\n\r\nx" : HELLO);
		}
		wait_held(6);
		atomic_store(&storm_is_over, false);
		pthread_t writer;
		pthread_create(&writer, NULL, storm_writer, NULL);
		/* Done races with the abandoning. */
		receive_http_stop(r, now_mono_ns());
		atomic_store(&storm_is_over, true);
		pthread_join(writer, NULL);
		release();
		ck_assert_uint_eq(budget_used(&fake.budget), 0);
		for (size_t i = 0; i < 8; i++)
			close(fds[i]);
	}
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		nothing_is_answered_before_done,
		a_call_that_is_done_at_once_is_answered,
		done_wakes_the_worker,
		a_client_that_goes_while_the_writer_works_is_cleaned_up,
		what_a_client_left_behind_is_known_to_be_unwanted,
		a_client_that_goes_in_its_body_frees_its_bytes_soon,
		a_client_that_closes_its_half_is_still_answered,
		a_stop_leaves_to_the_writer_what_it_does_not_return_in_time,
		a_stop_waits_for_the_writer_and_refuses_what_comes_new,
		a_stop_does_not_wait_long_for_uploads,
		one_connection_too_many_is_closed_at_once,
		a_request_that_trickles_is_cut_at_the_read_timeout,
		a_silent_client_is_cut_at_the_idle_timeout,
		a_request_at_the_writer_is_not_cut,
		many_requests_at_the_writer_are_each_answered,
		a_request_at_the_writer_costs_nothing_while_it_waits,
		a_refused_body_is_read_and_the_connection_kept,
		a_large_request_is_prepared_elsewhere,
		an_endpoint_that_is_taken_is_an_error_in_words,
		clients_that_come_and_go_at_random_leave_nothing_behind,
		a_stop_in_the_middle_of_everything_frees_each_request_once,
	};
	log_init(LOG_ERROR_LEVEL, LOG_FORMAT_LOGFMT);
	return run_cases("receive_http", cases, sizeof(cases) / sizeof(cases[0]));
}
