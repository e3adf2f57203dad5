/* bench_sink.c - the cheapest OTLP/HTTP backend: reads bodies, throws them away, answers 200.
 *
 * One thread, one epoll loop, HTTP/1.1 with Content-Length. Prints its port on the first line;
 * after SIGTERM a JSON object with requests and body bytes, and when the first request came
 * (monotonic ns). */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/base/net.h"
#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"

enum { IN_SIZE = 1 << 20, HEAD_MAX = 16384 };

struct peer {
	int fd;
	char head[HEAD_MAX];
	size_t head_n;
	size_t body_left;
};

/* Counts nothing: to senders of remote write 2.0 it says that more was written than any request
 * holds. */
static const char answer[] =
	"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n"
	"X-Prometheus-Remote-Write-Samples-Written: 1000000000\r\n\r\n";
static char in[IN_SIZE];
static unsigned long requests, body_bytes;
static int64_t first_ns;

static void reply(struct peer *p)
{
	requests++;
	if (!first_ns)
		first_ns = now_mono_ns();
	if (write(p->fd, answer, sizeof(answer) - 1) != (ssize_t)sizeof(answer) - 1)
		perror("write");
}

/* Takes n bytes of the stream. False: not HTTP that we know. */
static bool feed(struct peer *p, const char *data, size_t n)
{
	while (n > 0) {
		if (p->body_left) {
			size_t take = n < p->body_left ? n : p->body_left;
			p->body_left -= take;
			body_bytes += take;
			data += take;
			n -= take;
			if (p->body_left == 0)
				reply(p);
			continue;
		}
		if (p->head_n == HEAD_MAX - 1)
			return false;
		p->head[p->head_n++] = *data++;
		n--;
		p->head[p->head_n] = '\0';
		if (p->head_n < 4 || memcmp(p->head + p->head_n - 4, "\r\n\r\n", 4) != 0)
			continue;
		const char *len = strcasestr(p->head, "\ncontent-length:");
		if (!len)
			return false;
		p->body_left = strtoul(len + 16, NULL, 10);
		p->head_n = 0;
		if (p->body_left == 0)
			reply(p);
	}
	return true;
}

static void on_readable(struct peer *p)
{
	ssize_t n = recv(p->fd, in, sizeof(in), MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0 || !feed(p, in, (size_t)n)) {
		(void)close(p->fd);
		free(p);
	}
}

static void add(int epoll_fd, int fd, void *ptr)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = ptr };
	CHECK(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &ev) == 0);
}

int main(int argc, char **argv)
{
	struct err e = { 0 };
	int listener;
	int port;
	if (net_listen(argc > 1 ? argv[1] : "127.0.0.1:0", &listener, &port, &e)) {
		(void)fprintf(stderr, "%s\n", e.text);
		return 1;
	}
	sigset_t set;
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	int signals = signalfd(-1, &set, 0);
	int epoll_fd = epoll_create1(0);
	add(epoll_fd, listener, &listener);
	add(epoll_fd, signals, &signals);
	(void)printf("%d\n", port);
	(void)fflush(stdout);
	for (;;) {
		struct epoll_event ev[32];
		int n = epoll_wait(epoll_fd, ev, 32, -1);
		for (int i = 0; i < n; i++) {
			if (ev[i].data.ptr == &signals) {
				(void)printf("{\"requests\": %lu, \"body_bytes\": %lu, "
					     "\"first_ns\": %ld}\n",
					     requests, body_bytes, (long)first_ns);
				return 0;
			}
			if (ev[i].data.ptr == &listener) {
				struct peer *p = xcalloc(1, sizeof(*p));
				p->fd = accept(listener, NULL, NULL);
				if (p->fd < 0)
					free(p);
				else
					add(epoll_fd, p->fd, p);
			} else {
				on_readable(ev[i].data.ptr);
			}
		}
	}
}
