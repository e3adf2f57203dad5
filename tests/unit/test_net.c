/* What net promises: endpoints are read right, listeners have the flags that every receiver counts
 * on, and a taken port is explained. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/base/net.h"

#include "tests/support/expect.h"
#include <arpa/inet.h>
#include <netinet/in.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct {
	const char *endpoint;
	const char *host; /* NULL: refused, with the message in port */
	const char *port;
} endpoints[] = {
	{ "127.0.0.1:4317", "127.0.0.1", "4317" },
	{ "localhost:0", "localhost", "0" },
	{ ":4318", "", "4318" },
	{ "[::1]:65535", "::1", "65535" },
	{ "[]:1", "", "1" },
	{ "", NULL, "\"\" is not host:port" },
	{ "localhost", NULL, "\"localhost\" is not host:port" },
	{ "localhost:", NULL, "\"localhost:\" is not host:port" },
	{ "localhost:http", NULL, "\"localhost:http\" is not host:port" },
	{ "localhost:-1", NULL, "\"localhost:-1\" is not host:port" },
	{ "localhost:65536", NULL,
	  "\"localhost:65536\": the port is above 65535 or the host too long" },
	{ "localhost:99999999999999999999", NULL,
	  "\"localhost:99999999999999999999\": the port is above 65535 or the host too long" },
	{ "::1:4317", NULL, "\"::1:4317\": write an IPv6 address in brackets, as in [::1]:4317" },
};

START_TEST(an_endpoint_is_a_host_and_a_port)
{
	for (size_t i = 0; i < COUNT(endpoints); i++) {
		char host[64];
		char port[16];
		struct err e = { 0 };
		enum status st = net_split(endpoints[i].endpoint, host, sizeof(host), port,
					   sizeof(port), &e);
		if (!endpoints[i].host) {
			ck_assert_int_eq(st, ST_INVALID);
			ck_assert_str_eq(e.text, endpoints[i].port);
			continue;
		}
		ck_assert_msg(st == ST_OK, "%s: %s", endpoints[i].endpoint, e.text);
		ck_assert_str_eq(host, endpoints[i].host);
		ck_assert_str_eq(port, endpoints[i].port);
	}
}
END_TEST

START_TEST(a_host_that_does_not_fit_is_refused_and_not_cut)
{
	char host[4];
	char port[16];
	EXPECT_OK(net_split("abc:1", host, sizeof(host), port, sizeof(port), NULL));
	EXPECT_STATUS(net_split("abcd:1", host, sizeof(host), port, sizeof(port), NULL),
		      ST_INVALID);
}
END_TEST

START_TEST(a_listener_is_non_blocking_and_closed_on_exec)
{
	int fd = -1;
	int port = 0;
	struct err e = { 0 };
	EXPECT_OK(net_listen("127.0.0.1:0", &fd, &port, &e));
	ck_assert_int_gt(port, 0);
	ck_assert(fcntl(fd, F_GETFL) & O_NONBLOCK);
	ck_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	ck_assert_int_lt(accept(fd, NULL, NULL), 0);
	(void)close(fd);
}
END_TEST

START_TEST(a_taken_port_says_what_to_do)
{
	int fd = -1;
	int second = -1;
	int port = 0;
	char endpoint[64];
	char want[200];
	struct err e = { 0 };
	EXPECT_OK(net_listen("127.0.0.1:0", &fd, &port, &e));
	(void)snprintf(endpoint, sizeof(endpoint), "127.0.0.1:%d", port);
	EXPECT_STATUS(net_listen(endpoint, &second, &port, &e), ST_IO);
	(void)snprintf(want, sizeof(want),
		       "cannot listen on %s: Address already in use; another program has the port: "
		       "choose another endpoint",
		       endpoint);
	ck_assert_str_eq(e.text, want);
	ck_assert_int_eq(second, -1);
	(void)close(fd);
}
END_TEST

START_TEST(loopback_is_told_from_the_rest)
{
	ck_assert(net_is_loopback("127.0.0.1:1"));
	ck_assert(net_is_loopback("127.8.9.1:1"));
	ck_assert(net_is_loopback("[::1]:1"));
	ck_assert(net_is_loopback("[::ffff:127.0.0.1]:1"));
	ck_assert(net_is_loopback("localhost:1"));
	ck_assert(!net_is_loopback("localhost.example.com:1"));
	ck_assert(!net_is_loopback("0.0.0.0:1"));
	ck_assert(!net_is_loopback("[::]:1"));
	ck_assert(!net_is_loopback(":1"));
	ck_assert(!net_is_loopback("192.0.2.1:1"));
	ck_assert(!net_is_loopback("[::ffff:192.0.2.1]:1"));
	ck_assert(!net_is_loopback("no endpoint"));
}
END_TEST

static struct sockaddr_storage peer_of(const char *address, uint16_t port)
{
	struct sockaddr_storage peer = { .ss_family = strchr(address, ':') ? AF_INET6 : AF_INET };
	struct sockaddr_in *v4 = (void *)&peer;
	struct sockaddr_in6 *v6 = (void *)&peer;
	if (peer.ss_family == AF_INET)
		v4->sin_port = port;
	else
		v6->sin6_port = port;
	ck_assert_int_eq(inet_pton(peer.ss_family, address,
				   peer.ss_family == AF_INET ? (void *)&v4->sin_addr :
							       (void *)&v6->sin6_addr),
			 1);
	return peer;
}

START_TEST(hosts_are_told_apart_by_address_and_not_by_port)
{
	static const struct {
		const char *a;
		const char *b;
		bool is_same;
	} rows[] = {
		{ "192.0.2.1", "192.0.2.1", true },         { "192.0.2.1", "192.0.2.2", false },
		{ "2001:db8::1", "2001:db8::1", true },     { "2001:db8::1", "2001:db8::2", false },
		{ "192.0.2.1", "::ffff:192.0.2.1", false },
	};
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct sockaddr_storage a = peer_of(rows[i].a, 1);
		struct sockaddr_storage b = peer_of(rows[i].b, 2);
		ck_assert_int_eq(net_is_same_host(&a, &b), rows[i].is_same);
	}
	ck_assert_int_eq(net_share(1), 1);
	ck_assert_int_eq(net_share(7), 7);
	ck_assert_int_eq(net_share(8), 6);
	ck_assert_int_eq(net_share(1000), 750);
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		an_endpoint_is_a_host_and_a_port,
		a_host_that_does_not_fit_is_refused_and_not_cut,
		a_listener_is_non_blocking_and_closed_on_exec,
		a_taken_port_says_what_to_do,
		loopback_is_told_from_the_rest,
		hosts_are_told_apart_by_address_and_not_by_port,
	};
	return run_cases("net", cases, COUNT(cases));
}
