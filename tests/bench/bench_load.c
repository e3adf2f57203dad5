/* bench_load.c - a load generator for OTLP/gRPC and OTLP/HTTP that costs little itself.
 *
 * Bodies are built once and sent over and over; HTTP/2 frames are made by hand, and what a
 * connection may send is sent with one call for many requests, so that the CPU of the machine goes
 * to the gateway and not to its client. (OTLP/HTTP has one request at a time on a connection, as
 * its clients have.) One thread, one epoll loop, many connections.
 *
 * Closed loop (--rate 0): each connection keeps --streams requests open. Open loop (--rate R
 * records/s): requests are due at fixed times whatever the answers do, and latency counts from the
 * due time, so a stall is charged to every request that it delayed.
 *
 * Prints one JSON object: what was acknowledged, refused, latency percentiles, own CPU. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"
#include "schema/vocabulary.h"
#include "tests/support/otlp_build.h"

enum {
	READ_SIZE = 65536,
	STREAMS_MAX = 256,
	LATENCIES_MAX = 4000000,
	FRAME_HEADER = 9,
	DATA_MAX = 16384,
	OUT_BYTES = 256 * 1024,
	RECEIVE_WINDOW = 65535
};
enum {
	FRAME_DATA = 0,
	FRAME_HEADERS = 1,
	FRAME_SETTINGS = 4,
	FRAME_PING = 6,
	FRAME_GOAWAY = 7,
	FRAME_WINDOW_UPDATE = 8,
	FLAG_ACK = 1,
	FLAG_END_STREAM = 1,
	FLAG_END_HEADERS = 4
};

struct options {
	bool is_grpc;
	const char *host;
	const char *port;
	enum signal signal;
	uint32_t records;
	int connections;
	int streams;
	double seconds;
	double rate;
	int variants;
};

struct pending {
	bool is_open;
	uint32_t stream_id;
	int64_t due_ns;
	int64_t window;
};

struct connection {
	int fd;
	uint32_t next_stream;
	int64_t window;
	int64_t initial_window;
	struct pending pending[STREAMS_MAX];
	int open;
	/* gRPC: the request whose body is being put into DATA frames. */
	struct pending *sending;
	struct bytes left; /* of its body */
	/* Whole frames or requests, to be written. */
	struct buf out;
	size_t out_sent;
	size_t received; /* bytes of DATA since the last WINDOW_UPDATE */
	/* What is being read. */
	uint8_t in[READ_SIZE * 2];
	size_t in_n;
	nghttp2_hd_inflater *inflater;
	bool wants_write;
};

static struct options opt = {
	.is_grpc = true,
	.host = "127.0.0.1",
	.port = "4317",
	.signal = SIGNAL_TRACES,
	.records = 100,
	.connections = 4,
	.streams = 16,
	.seconds = 5,
	.variants = 256,
};
static struct buf *bodies;
static int body_next;
static struct connection *connections;
static int epoll_fd;
static float *latencies_ms;
static size_t latency_count;
static uint64_t acked, refused, failed, sent_bytes;
static int64_t next_due_ns, end_ns;
static uint8_t grpc_headers[512];
static size_t grpc_headers_n;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void put_frame_header(uint8_t *p, size_t len, int type, int flags, uint32_t stream)
{
	p[0] = (uint8_t)(len >> 16);
	p[1] = (uint8_t)(len >> 8);
	p[2] = (uint8_t)len;
	p[3] = (uint8_t)type;
	p[4] = (uint8_t)flags;
	p[5] = (uint8_t)(stream >> 24 & 0x7f);
	p[6] = (uint8_t)(stream >> 16);
	p[7] = (uint8_t)(stream >> 8);
	p[8] = (uint8_t)stream;
}

static uint32_t get_u32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Literals without indexing: the same bytes are valid for every stream. */
static void make_grpc_headers(void)
{
	const char *pairs[][2] = { { ":method", "POST" },
				   { ":scheme", "http" },
				   { ":path", signal_grpc_path(opt.signal) },
				   { ":authority", opt.host },
				   { "content-type", "application/grpc" },
				   { "te", "trailers" } };
	uint8_t *p = grpc_headers;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		*p++ = 0;
		for (int k = 0; k < 2; k++) {
			size_t n = strlen(pairs[i][k]);
			*p++ = (uint8_t)n;
			memcpy(p, pairs[i][k], n);
			p += n;
		}
	}
	grpc_headers_n = (size_t)(p - grpc_headers);
}

static void make_bodies(void)
{
	bodies = xcalloc((size_t)opt.variants, sizeof(*bodies));
	for (int i = 0; i < opt.variants; i++) {
		struct buf message;
		buf_init(&message, SIZE_MAX, NULL);
		struct otlp_build what = { .signal = opt.signal,
					   .records = opt.records,
					   .seed = (uint64_t)i + 1 };
		otlp_build(&what, &message);
		buf_init(&bodies[i], SIZE_MAX, NULL);
		if (opt.is_grpc) {
			uint8_t prefix[5] = { 0, (uint8_t)(message.n >> 24),
					      (uint8_t)(message.n >> 16), (uint8_t)(message.n >> 8),
					      (uint8_t)message.n };
			CHECK(buf_append(&bodies[i], bytes_of(prefix, 5)) == ST_OK);
		}
		CHECK(buf_append(&bodies[i], buf_view(&message)) == ST_OK);
		buf_done(&message);
	}
}

static void put(struct connection *c, const void *p, size_t n)
{
	CHECK(buf_append(&c->out, bytes_of(p, n)) == ST_OK);
}

static void start_request(struct connection *c, int64_t due_ns)
{
	struct pending *p = c->pending;
	while (p->is_open)
		p++;
	*p = (struct pending){ .is_open = true, .due_ns = due_ns, .window = c->initial_window };
	c->open++;
	struct bytes body = buf_view(&bodies[body_next]);
	body_next = (body_next + 1) % opt.variants;
	if (!opt.is_grpc) {
		CHECK(buf_printf(&c->out,
				 "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: "
				 "application/x-protobuf\r\nContent-Length: %zu\r\n\r\n",
				 signal_http_path(opt.signal), opt.host, body.n) == ST_OK);
		put(c, body.p, body.n);
		return;
	}
	uint8_t head[FRAME_HEADER];
	p->stream_id = c->next_stream;
	c->next_stream += 2;
	put_frame_header(head, grpc_headers_n, FRAME_HEADERS, FLAG_END_HEADERS, p->stream_id);
	put(c, head, sizeof(head));
	put(c, grpc_headers, grpc_headers_n);
	c->sending = p;
	c->left = body;
}

/* Gives the connection its next request where one is due. */
static bool next_request(struct connection *c, int64_t now)
{
	int limit = opt.is_grpc ? opt.streams : 1;
	if (c->sending || c->open >= limit || now >= end_ns)
		return false;
	if (opt.rate <= 0) {
		start_request(c, now);
		return true;
	}
	if (now < next_due_ns)
		return false;
	start_request(c, next_due_ns);
	next_due_ns += (int64_t)((double)opt.records / opt.rate * 1e9);
	return true;
}

/* The next DATA frame. False: no window. */
static bool put_data(struct connection *c)
{
	int64_t window = c->window < c->sending->window ? c->window : c->sending->window;
	size_t n = c->left.n < DATA_MAX ? c->left.n : DATA_MAX;
	if (window <= 0)
		return false;
	if ((int64_t)n > window)
		n = (size_t)window;
	uint8_t head[FRAME_HEADER];
	put_frame_header(head, n, FRAME_DATA, n == c->left.n ? FLAG_END_STREAM : 0,
			 c->sending->stream_id);
	put(c, head, sizeof(head));
	put(c, c->left.p, n);
	c->window -= (int64_t)n;
	c->sending->window -= (int64_t)n;
	c->left = bytes_of(c->left.p + n, c->left.n - n);
	if (c->left.n == 0)
		c->sending = NULL;
	return true;
}

/* As much as the windows, the work and OUT_BYTES allow. */
static void fill(struct connection *c)
{
	int64_t now = now_mono_ns();
	while (c->out.n < OUT_BYTES && (c->sending ? put_data(c) : next_request(c, now)))
		;
}

static void wait_for_write(struct connection *c, bool on)
{
	if (c->wants_write == on)
		return;
	c->wants_write = on;
	struct epoll_event ev = { .events = EPOLLIN | (on ? EPOLLOUT : 0u), .data.ptr = c };
	if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &ev))
		die("epoll_ctl");
}

/* Sends until the socket, the window or the work is exhausted. */
static void pump(struct connection *c)
{
	for (fill(c); c->out.n > 0; fill(c)) {
		ssize_t n = write(c->fd, c->out.p + c->out_sent, c->out.n - c->out_sent);
		if (n < 0 && errno == EAGAIN) {
			wait_for_write(c, true);
			return;
		}
		if (n < 0)
			die("write");
		sent_bytes += (size_t)n;
		c->out_sent += (size_t)n;
		if (c->out_sent < c->out.n)
			continue;
		c->out_sent = 0;
		buf_clear(&c->out);
	}
	wait_for_write(c, false);
}

static void finish(struct connection *c, struct pending *p, bool is_ok)
{
	if (is_ok) {
		acked += opt.records;
		if (latency_count < LATENCIES_MAX)
			latencies_ms[latency_count++] =
				(float)((double)(now_mono_ns() - p->due_ns) / 1e6);
	} else {
		refused += opt.records;
	}
	p->is_open = false;
	c->open--;
}

static struct pending *pending_of(struct connection *c, uint32_t stream)
{
	for (int i = 0; i < opt.streams; i++)
		if (c->pending[i].is_open && c->pending[i].stream_id == stream)
			return &c->pending[i];
	return NULL;
}

static bool grpc_status_is_ok(struct connection *c, const uint8_t *p, size_t n)
{
	bool is_ok = false;
	while (n > 0) {
		nghttp2_nv nv;
		int flags = 0;
		ssize_t used = nghttp2_hd_inflate_hd2(c->inflater, &nv, &flags, p, n, 1);
		if (used < 0)
			die("hpack");
		p += used;
		n -= (size_t)used;
		if (flags & NGHTTP2_HD_INFLATE_EMIT && nv.namelen == 11 &&
		    memcmp(nv.name, "grpc-status", 11) == 0)
			is_ok = nv.valuelen == 1 && nv.value[0] == '0';
		if (flags & NGHTTP2_HD_INFLATE_FINAL)
			break;
	}
	(void)nghttp2_hd_inflate_end_headers(c->inflater);
	return is_ok;
}

static void on_settings(struct connection *c, const uint8_t *p, size_t n, int flags)
{
	if (flags & FLAG_ACK)
		return;
	for (; n >= 6; p += 6, n -= 6) {
		if ((p[0] << 8 | p[1]) != 4)
			continue;
		int64_t v = get_u32(p + 2);
		for (int i = 0; i < opt.streams; i++)
			c->pending[i].window += v - c->initial_window;
		c->initial_window = v;
	}
	uint8_t ack[FRAME_HEADER];
	put_frame_header(ack, 0, FRAME_SETTINGS, FLAG_ACK, 0);
	put(c, ack, sizeof(ack));
}

/* Replies carry five bytes of DATA each: their window must be given back too. */
static void on_data(struct connection *c, size_t n)
{
	c->received += n;
	if (c->received < RECEIVE_WINDOW / 2)
		return;
	uint8_t update[FRAME_HEADER + 4];
	put_frame_header(update, 4, FRAME_WINDOW_UPDATE, 0, 0);
	for (int i = 0; i < 4; i++)
		update[FRAME_HEADER + i] = (uint8_t)(c->received >> (24 - 8 * i));
	put(c, update, sizeof(update));
	c->received = 0;
}

static void on_frame(struct connection *c, int type, int flags, uint32_t stream, const uint8_t *p,
		     size_t n)
{
	struct pending *s = stream ? pending_of(c, stream) : NULL;
	if (type == FRAME_SETTINGS) {
		on_settings(c, p, n, flags);
	} else if (type == FRAME_WINDOW_UPDATE) {
		int64_t v = get_u32(p);
		if (stream == 0)
			c->window += v;
		else if (s)
			s->window += v;
	} else if (type == FRAME_DATA) {
		on_data(c, n);
	} else if (type == FRAME_HEADERS) {
		bool is_ok = grpc_status_is_ok(c, p, n);
		if (flags & FLAG_END_STREAM && s)
			finish(c, s, is_ok);
	} else if (type == FRAME_PING && !(flags & FLAG_ACK)) {
		uint8_t pong[FRAME_HEADER + 8];
		put_frame_header(pong, 8, FRAME_PING, FLAG_ACK, 0);
		memcpy(pong + FRAME_HEADER, p, 8);
		put(c, pong, sizeof(pong));
	} else if (type == FRAME_GOAWAY || type == 3) {
		failed++;
		if (s)
			finish(c, s, false);
	}
}

/* Returns how many bytes of the buffer were used. */
static size_t parse_h2(struct connection *c)
{
	size_t at = 0;
	while (c->in_n - at >= FRAME_HEADER) {
		const uint8_t *p = c->in + at;
		size_t n = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];
		if (c->in_n - at < FRAME_HEADER + n)
			break;
		on_frame(c, p[3], p[4], get_u32(p + 5) & 0x7fffffff, p + FRAME_HEADER, n);
		at += FRAME_HEADER + n;
	}
	return at;
}

static size_t parse_http1(struct connection *c)
{
	size_t at = 0;
	while (c->in_n > at) {
		char *p = (char *)c->in + at;
		char *end = memmem(p, c->in_n - at, "\r\n\r\n", 4);
		if (!end)
			break;
		size_t head = (size_t)(end - p) + 4;
		char *len = memmem(p, head, "Content-Length: ", 16);
		size_t body = len ? (size_t)strtoul(len + 16, NULL, 10) : 0;
		if (c->in_n - at < head + body)
			break;
		finish(c, &c->pending[0], memcmp(p + 9, "200", 3) == 0);
		at += head + body;
	}
	return at;
}

static void on_readable(struct connection *c)
{
	ssize_t n = read(c->fd, c->in + c->in_n, sizeof(c->in) - c->in_n);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0)
		die("connection closed by the gateway");
	c->in_n += (size_t)n;
	size_t used = opt.is_grpc ? parse_h2(c) : parse_http1(c);
	memmove(c->in, c->in + used, c->in_n - used);
	c->in_n -= used;
}

static int dial(void)
{
	struct addrinfo *ai;
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	if (getaddrinfo(opt.host, opt.port, &hints, &ai))
		die("getaddrinfo");
	int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int one = 1;
	if (fd < 0 || connect(fd, ai->ai_addr, ai->ai_addrlen))
		die("connect");
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	freeaddrinfo(ai);
	return fd;
}

static void open_connection(struct connection *c)
{
	c->fd = dial();
	buf_init(&c->out, SIZE_MAX, NULL);
	c->next_stream = 1;
	c->window = 65535;
	c->initial_window = 65535;
	if (opt.is_grpc) {
		if (nghttp2_hd_inflate_new(&c->inflater))
			die("inflater");
		uint8_t settings[FRAME_HEADER];
		put_frame_header(settings, 0, FRAME_SETTINGS, 0, 0);
		put(c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
		put(c, settings, sizeof(settings));
	}
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &ev))
		die("epoll_ctl");
	(void)fcntl(c->fd, F_SETFL, O_NONBLOCK);
}

static int open_requests(void)
{
	int n = 0;
	for (int i = 0; i < opt.connections; i++)
		n += connections[i].open;
	return n;
}

/* Wakes the loop at that moment and not before: a loop that polls takes CPU from the gateway, and
 * is then made to wait itself, which would count as the gateway's latency. */
static void wake_at(int timer_fd, int64_t due_ns)
{
	struct itimerspec at = { .it_value = { .tv_sec = due_ns / NS_PER_S,
					       .tv_nsec = due_ns % NS_PER_S } };
	if (timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &at, NULL))
		die("timerfd_settime");
}

static void send_due(void)
{
	for (int i = 0; i < opt.connections && now_mono_ns() >= next_due_ns; i++)
		pump(&connections[i]);
}

static int make_timer(void)
{
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = NULL };
	if (fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &ev))
		die("timer");
	return fd;
}

static void run(void)
{
	struct epoll_event events[64];
	int timer_fd = opt.rate > 0 ? make_timer() : -1;
	int64_t give_up = end_ns + 30 * NS_PER_S;
	int64_t armed_ns = 0;
	while (now_mono_ns() < give_up) {
		int64_t now = now_mono_ns();
		if (now >= end_ns && open_requests() == 0)
			break;
		/* Overdue requests wait for a connection that is free: an answer wakes the loop. */
		if (opt.rate > 0 && next_due_ns != armed_ns)
			wake_at(timer_fd, armed_ns = next_due_ns);
		int n = epoll_wait(epoll_fd, events, 64, 20);
		for (int i = 0; i < n; i++) {
			struct connection *c = events[i].data.ptr;
			uint64_t expirations;
			if (!c) {
				(void)!read(timer_fd, &expirations, sizeof(expirations));
				continue;
			}
			if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
				on_readable(c);
			pump(c);
		}
		if (opt.rate > 0)
			send_due();
	}
}

static int by_value(const void *a, const void *b)
{
	float x = *(const float *)a;
	float y = *(const float *)b;
	return (x > y) - (x < y);
}

static double percentile(double p)
{
	if (latency_count == 0)
		return 0;
	return (double)latencies_ms[(size_t)(p / 100 * (double)(latency_count - 1))];
}

static void report(double seconds)
{
	struct rusage ru;
	(void)getrusage(RUSAGE_SELF, &ru);
	double cpu = (double)ru.ru_utime.tv_sec + (double)ru.ru_utime.tv_usec / 1e6 +
		     (double)ru.ru_stime.tv_sec + (double)ru.ru_stime.tv_usec / 1e6;
	qsort(latencies_ms, latency_count, sizeof(float), by_value);
	(void)printf(
		"{\"acked\": %lu, \"refused\": %lu, \"failed\": %lu, \"seconds\": %.3f, \"per_s\": "
		"%.0f, "
		"\"request_bytes\": %zu, \"sent_bytes\": %lu, \"p50_ms\": %.3f, \"p95_ms\": %.3f, "
		"\"p99_ms\": %.3f, \"max_ms\": %.3f, \"client_cpu_s\": %.2f}\n",
		acked, refused, failed, seconds, (double)acked / seconds, bodies[0].n, sent_bytes,
		percentile(50), percentile(95), percentile(99), percentile(100), cpu);
}

static void parse_options(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "http", no_argument, NULL, 'h' },
		{ "port", required_argument, NULL, 'p' },
		{ "logs", no_argument, NULL, 'l' },
		{ "records", required_argument, NULL, 'r' },
		{ "metrics", no_argument, NULL, 'm' },
		{ "connections", required_argument, NULL, 'c' },
		{ "streams", required_argument, NULL, 's' },
		{ "seconds", required_argument, NULL, 't' },
		{ "rate", required_argument, NULL, 'R' },
		{ "variants", required_argument, NULL, 'v' },
		{ NULL, 0, NULL, 0 },
	};
	int o;
	while ((o = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (o) {
		case 'h':
			opt.is_grpc = false;
			break;
		case 'p':
			opt.port = optarg;
			break;
		case 'l':
			opt.signal = SIGNAL_LOGS;
			break;
		case 'm':
			opt.signal = SIGNAL_METRICS;
			break;
		case 'r':
			opt.records = (uint32_t)atoi(optarg);
			break;
		case 'c':
			opt.connections = atoi(optarg);
			break;
		case 's':
			opt.streams = atoi(optarg);
			break;
		case 't':
			opt.seconds = atof(optarg);
			break;
		case 'R':
			opt.rate = atof(optarg);
			break;
		case 'v':
			opt.variants = atoi(optarg);
			break;
		default:
			exit(2);
		}
	}
	if (opt.streams > STREAMS_MAX || opt.streams < 1)
		exit(2);
}

int main(int argc, char **argv)
{
	parse_options(argc, argv);
	make_bodies();
	make_grpc_headers();
	latencies_ms = xcalloc(LATENCIES_MAX, sizeof(float));
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	connections = xcalloc((size_t)opt.connections, sizeof(*connections));
	for (int i = 0; i < opt.connections; i++)
		open_connection(&connections[i]);
	int64_t start = now_mono_ns();
	next_due_ns = start;
	end_ns = start + (int64_t)(opt.seconds * 1e9);
	for (int i = 0; i < opt.connections; i++)
		pump(&connections[i]);
	run();
	report((double)(now_mono_ns() - start) / 1e9);
	return failed ? 1 : 0;
}
