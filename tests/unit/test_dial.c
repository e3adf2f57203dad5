/* From a name to a connection: the address that answers is found among those that do not, and there
 * is always an end, with a reason. */
#include "gateway/forward/dial.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/base/net.h"
#include "gateway/base/now.h"
#include "tests/support/expect.h"
#include "tests/support/patience.h"

/* Until it is over. */
static enum status run(struct dial *d, int *ret_fd, struct err *e)
{
	for (;;) {
		struct pollfd fds[DIAL_FDS_MAX];
		enum status st = dial_step(d, ret_fd, e);
		if (st != ST_BUSY)
			return st;
		size_t n = dial_fds(d, fds);
		int64_t ns = dial_due_ns(d) - now_mono_ns();
		(void)poll(fds, (nfds_t)n, ns > 0 ? (int)(ns / NS_PER_MS) + 1 : 0);
	}
}

static int listen_somewhere(const char *endpoint, char *port, size_t size)
{
	int fd = -1;
	int number = 0;
	EXPECT_OK(net_listen(endpoint, &fd, &number, NULL));
	(void)snprintf(port, size, "%d", number);
	return fd;
}

/* localhost is looked up by the thread, and is ::1 before 127.0.0.1 where the system has both. */
START_TEST(a_host_that_listens_is_connected_to)
{
	static const char *const hosts[] = { "127.0.0.1", "localhost" };
	char port[8];
	int listener = listen_somewhere("127.0.0.1:0", port, sizeof(port));
	struct dial *d = dial_new(hosts[_i], port, patience_ns());
	struct err e = { 0 };
	int fd = -1;
	ck_assert_msg(run(d, &fd, &e) == ST_OK, "%s", e.text);
	dial_free(d);
	struct sockaddr_in peer;
	socklen_t size = sizeof(peer);
	ck_assert_int_eq(getpeername(fd, (struct sockaddr *)&peer, &size), 0);
	ck_assert_int_eq(ntohs(peer.sin_port), (int)strtol(port, NULL, 10));
	(void)close(fd);
	(void)close(listener);
}
END_TEST

START_TEST(a_port_without_a_listener_is_refused)
{
	static const char *const hosts[][2] = { { "127.0.0.1", "cannot connect to 127.0.0.1:" },
						{ "localhost", "cannot connect to localhost:" },
						{ "::1", "cannot connect to [::1]:" } };
	/* Nobody listens there: it is not in the range that the system gives out, and root's. */
	static const char port[] = "1";
	struct dial *d = dial_new(hosts[_i][0], port, patience_ns());
	struct err e = { 0 };
	int fd = -1;
	EXPECT_STATUS(run(d, &fd, &e), ST_IO);
	ck_assert_msg(strncmp(e.text, hosts[_i][1], strlen(hosts[_i][1])) == 0, "%s", e.text);
	dial_free(d);
}
END_TEST

START_TEST(a_name_that_does_not_exist_says_so)
{
	struct dial *d = dial_new("no..such", "4317", patience_ns());
	struct err e = { 0 };
	int fd = -1;
	EXPECT_STATUS(run(d, &fd, &e), ST_IO);
	ck_assert_msg(strncmp(e.text, "cannot resolve no..such: ", 25) == 0, "%s", e.text);
	dial_free(d);
}
END_TEST

/* A listener whose backlog is full drops what comes: as silent as a network that swallows. */
START_TEST(silence_ends_when_its_time_is_over)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(address);
	int fds[8];
	char port[8];
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, size), 0);
	ck_assert_int_eq(listen(listener, 0), 0);
	ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &size), 0);
	for (size_t i = 0; i < 8; i++) {
		fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		(void)connect(fds[i], (struct sockaddr *)&address, size);
	}
	(void)snprintf(port, sizeof(port), "%d", ntohs(address.sin_port));
	struct dial *d = dial_new("127.0.0.1", port, NS_PER_S / 5);
	struct err e = { 0 };
	int fd = -1;
	int64_t began = now_mono_ns();
	EXPECT_STATUS(run(d, &fd, &e), ST_TIMEOUT);
	ck_assert_int_ge(now_mono_ns() - began, NS_PER_S / 5);
	ck_assert_ptr_nonnull(strstr(e.text, "no answer after 200 ms"));
	dial_free(d);
	for (size_t i = 0; i < 8; i++)
		(void)close(fds[i]);
	(void)close(listener);
}
END_TEST

START_TEST(one_that_is_given_up_leaves_nothing_behind)
{
	for (int i = 0; i < 20; i++)
		dial_free(dial_new("localhost", "1", NS_PER_S));
	dial_free(NULL);
}
END_TEST

int main(void)
{
	const TTest *const cases[] = { a_name_that_does_not_exist_says_so,
				       silence_ends_when_its_time_is_over,
				       one_that_is_given_up_leaves_nothing_behind };
	int failed = run_cases("dial", cases, sizeof(cases) / sizeof(cases[0]));
	failed |= run_loop("dial connects", a_host_that_listens_is_connected_to, 2);
	return failed | run_loop("dial is refused", a_port_without_a_listener_is_refused, 3);
}
