/* net.c - the one place that makes listening sockets, so that every listener has the same flags and
 * the same words when a port is taken. */
#include "gateway/base/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BACKLOG = 1024, HOST_SIZE = 256, PORT_SIZE = 16 };

enum status net_split(const char *endpoint, char *ret_host, size_t host_size, char *ret_port,
		      size_t port_size, struct err *e)
{
	const char *host = endpoint;
	const char *colon = strrchr(endpoint, ':');
	size_t n = colon ? (size_t)(colon - endpoint) : 0;
	if (!colon || strspn(colon + 1, "0123456789") != strlen(colon + 1) || colon[1] == '\0')
		return err_set(e, ST_INVALID, "\"%s\" is not host:port", endpoint);
	if (host[0] == '[' && n >= 2 && host[n - 1] == ']') {
		host++;
		n -= 2;
	} else if (memchr(host, ':', n)) {
		return err_set(e, ST_INVALID,
			       "\"%s\": write an IPv6 address in brackets, as in [::1]:4317",
			       endpoint);
	}
	if (n >= host_size || strlen(colon + 1) >= port_size || strtol(colon + 1, NULL, 10) > 65535)
		return err_set(e, ST_INVALID,
			       "\"%s\": the port is above 65535 or the host too long", endpoint);
	memcpy(ret_host, host, n);
	ret_host[n] = '\0';
	memcpy(ret_port, colon + 1, strlen(colon + 1) + 1);
	return ST_OK;
}

static enum status resolve(const char *endpoint, int flags, struct addrinfo **ret, struct err *e)
{
	char host[HOST_SIZE];
	char port[PORT_SIZE];
	enum status st = net_split(endpoint, host, sizeof(host), port, sizeof(port), e);
	if (st)
		return st;
	struct addrinfo hints = { .ai_family = AF_UNSPEC,
				  .ai_socktype = SOCK_STREAM,
				  .ai_flags = flags | AI_PASSIVE };
	int rc = getaddrinfo(host[0] ? host : NULL, port, &hints, ret);
	if (rc)
		return err_set(e, ST_IO, "cannot resolve %s: %s", endpoint, gai_strerror(rc));
	return ST_OK;
}

static int listen_on(const struct addrinfo *ai)
{
	int fd = socket(ai->ai_family, ai->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC,
			ai->ai_protocol);
	if (fd < 0)
		return -1;
	int one = 1;
	int zero = 0;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (ai->ai_family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	int saved = errno;
	(void)close(fd);
	errno = saved;
	return -1;
}

enum status net_listen(const char *endpoint, int *ret_fd, int *ret_port, struct err *e)
{
	struct addrinfo *list = NULL;
	enum status st = resolve(endpoint, 0, &list, e);
	if (st)
		return st;
	int fd = -1;
	for (const struct addrinfo *ai = list; ai && fd < 0; ai = ai->ai_next)
		fd = listen_on(ai);
	int saved = errno;
	freeaddrinfo(list);
	if (fd < 0) {
		const char *hint =
			saved == EADDRINUSE ?
				"; another program has the port: choose another endpoint" :
			saved == EACCES ? "; ports below 1024 need CAP_NET_BIND_SERVICE" :
					  "";
		return err_set(e, ST_IO, "cannot listen on %s: %s%s", endpoint, strerror(saved),
			       hint);
	}
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} name = { .any = { .sa_family = AF_UNSPEC } };
	socklen_t len = sizeof(name);
	if (getsockname(fd, &name.any, &len)) {
		(void)close(fd);
		return err_set(e, ST_IO, "getsockname: %s", strerror(errno));
	}
	*ret_port = ntohs(name.any.sa_family == AF_INET6 ? name.v6.sin6_port : name.v4.sin_port);
	*ret_fd = fd;
	return ST_OK;
}

static bool is_loopback(const struct sockaddr *sa)
{
	if (sa->sa_family == AF_INET)
		return ntohl(((const struct sockaddr_in *)(const void *)sa)->sin_addr.s_addr) >>
			       24 ==
		       127;
	const struct in6_addr *a = &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr;
	return IN6_IS_ADDR_LOOPBACK(a) || (IN6_IS_ADDR_V4MAPPED(a) && a->s6_addr[12] == 127);
}

bool net_is_loopback(const char *endpoint)
{
	struct addrinfo *list = NULL;
	if (strncmp(endpoint, "localhost:", strlen("localhost:")) == 0)
		return true;
	if (resolve(endpoint, AI_NUMERICHOST, &list, NULL))
		return false;
	bool all = list != NULL;
	for (const struct addrinfo *ai = list; ai; ai = ai->ai_next)
		all = all && is_loopback(ai->ai_addr);
	freeaddrinfo(list);
	return all;
}

int net_share(int max_connections)
{
	enum { FEW = 8 };
	return max_connections < FEW ? max_connections : max_connections - max_connections / 4;
}

bool net_is_same_host(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
	const void *x = a;
	const void *y = b;
	if (a->ss_family != b->ss_family)
		return false;
	if (a->ss_family == AF_INET)
		return ((const struct sockaddr_in *)x)->sin_addr.s_addr ==
		       ((const struct sockaddr_in *)y)->sin_addr.s_addr;
	return memcmp(&((const struct sockaddr_in6 *)x)->sin6_addr,
		      &((const struct sockaddr_in6 *)y)->sin6_addr, sizeof(struct in6_addr)) == 0;
}
