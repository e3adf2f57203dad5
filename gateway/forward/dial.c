/* dial.c - happy eyeballs (RFC 8305), light.
 *
 *   LOOKING UP -> CONNECTING [dial_step: addresses came] -> over [one stands, or none is left]
 *
 * Addresses are tried in the order of the resolver (RFC 6724), families taking turns. The next one
 * starts when the one before failed, or after STAGGER_NS without a result: an IPv6 address that
 * leads nowhere costs a quarter of a second and not the system's two minutes. The first that
 * connects wins, the rest are closed.
 *
 * A connected socket gets TCP_NODELAY (frames are written whole) and TCP keepalive: a connection
 * that is kept for hours may lose its way (NAT, a modem that was reset) without a packet that says
 * so. */
#include "gateway/forward/dial.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"
#include "gateway/forward/lookup.h"

#define STAGGER_NS (250 * NS_PER_MS)
enum { KEEPALIVE_IDLE_S = 30, KEEPALIVE_INTERVAL_S = 10, KEEPALIVE_COUNT = 3 };

struct dial {
	char name[272]; /* for messages */
	int64_t timeout_ns;
	int64_t deadline_ns;
	struct lookup *lookup; /* NULL: over */
	struct addrinfo *list;
	const struct addrinfo *order[DIAL_FDS_MAX];
	size_t count;
	size_t next;           /* of order: what was not tried yet */
	int64_t next_ns;       /* when to try it, if nothing happens before */
	int fds[DIAL_FDS_MAX]; /* -1: not tried, or failed */
	int error;             /* errno: why the others failed */
	struct err err;
};

struct dial *dial_new(const char *host, const char *port, int64_t timeout_ns)
{
	struct dial *d = xcalloc(1, sizeof(*d));
	(void)snprintf(d->name, sizeof(d->name), strchr(host, ':') ? "[%s]:%s" : "%s:%s", host,
		       port);
	d->timeout_ns = timeout_ns;
	d->deadline_ns = now_mono_ns() + timeout_ns;
	for (size_t i = 0; i < DIAL_FDS_MAX; i++)
		d->fds[i] = -1;
	if (lookup_new(host, port, &d->lookup, &d->err))
		d->lookup = NULL;
	return d;
}

void dial_free(struct dial *d)
{
	if (!d)
		return;
	for (size_t i = 0; i < DIAL_FDS_MAX; i++)
		if (d->fds[i] >= 0)
			(void)close(d->fds[i]);
	if (d->list)
		freeaddrinfo(d->list);
	lookup_free(d->lookup);
	free(d);
}

/* The first of the list that has this family, or any other where it has none left. */
static const struct addrinfo *pick(const struct addrinfo *list, uint64_t taken, int family)
{
	const struct addrinfo *any = NULL;
	int i = 0;
	for (const struct addrinfo *ai = list; ai && i < 64; ai = ai->ai_next, i++) {
		if (taken & UINT64_C(1) << i)
			continue;
		if (ai->ai_family == family)
			return ai;
		if (!any)
			any = ai;
	}
	return any;
}

static int index_of(const struct addrinfo *list, const struct addrinfo *want)
{
	int i = 0;
	for (; list != want; list = list->ai_next)
		i++;
	return i;
}

/* Families take turns, beginning with the resolver's favourite. */
static void put_in_order(struct dial *d)
{
	uint64_t taken = 0;
	int family = d->list->ai_family;
	const struct addrinfo *ai;
	while (d->count < DIAL_FDS_MAX && (ai = pick(d->list, taken, family)) != NULL) {
		taken |= UINT64_C(1) << index_of(d->list, ai);
		d->order[d->count++] = ai;
		family = ai->ai_family == AF_INET6 ? AF_INET : AF_INET6;
	}
}

/* The first failure counts: its address was preferred. But not that a family has no network here:
 * the other family's failure says more. */
static void note_failure(struct dial *d, int error)
{
	if (d->error && d->error != ENETUNREACH && d->error != EAFNOSUPPORT &&
	    d->error != EADDRNOTAVAIL)
		return;
	d->error = error;
	err_format(&d->err, "cannot connect to %s: %s", d->name, strerror(error));
}

static void set_options(int fd)
{
	const struct {
		int level;
		int name;
		int value;
	} options[] = { { IPPROTO_TCP, TCP_NODELAY, 1 },
			{ SOL_SOCKET, SO_KEEPALIVE, 1 },
			{ IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S },
			{ IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S },
			{ IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT } };
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		(void)setsockopt(fd, options[i].level, options[i].name, &options[i].value,
				 sizeof(options[i].value));
}

static void try_next(struct dial *d, int64_t now)
{
	size_t i = d->next++;
	const struct addrinfo *ai = d->order[i];
	d->next_ns = now + STAGGER_NS;
	int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		note_failure(d, errno);
		return;
	}
	set_options(fd);
	if (connect(fd, ai->ai_addr, ai->ai_addrlen) == 0 || errno == EINPROGRESS) {
		d->fds[i] = fd;
		return;
	}
	note_failure(d, errno);
	(void)close(fd);
}

/* ST_OK: it stands. ST_BUSY: not yet. ST_IO: it will not; closed. */
static enum status look_at(struct dial *d, size_t i)
{
	struct pollfd p = { .fd = d->fds[i], .events = POLLOUT };
	int error = 0;
	socklen_t size = sizeof(error);
	if (poll(&p, 1, 0) <= 0)
		return ST_BUSY;
	if (getsockopt(d->fds[i], SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0)
		return ST_OK;
	note_failure(d, error);
	(void)close(d->fds[i]);
	d->fds[i] = -1;
	return ST_IO;
}

/* ST_BUSY: some are under way, or can be. */
static enum status connect_step(struct dial *d, int64_t now, int *ret_fd)
{
	for (;;) {
		size_t under_way = 0;
		for (size_t i = 0; i < d->next; i++) {
			enum status st = d->fds[i] >= 0 ? look_at(d, i) : ST_IO;
			if (st == ST_OK) {
				*ret_fd = d->fds[i];
				d->fds[i] = -1;
				return ST_OK;
			}
			under_way += st == ST_BUSY;
		}
		if (d->next == d->count)
			return under_way ? ST_BUSY : ST_IO;
		if (under_way && now < d->next_ns)
			return ST_BUSY;
		try_next(d, now);
	}
}

enum status dial_step(struct dial *d, int *ret_fd, struct err *e)
{
	int64_t now = now_mono_ns();
	enum status st = ST_IO;
	if (d->lookup && !d->list) {
		st = lookup_result(d->lookup, &d->list, &d->err);
		if (!st)
			put_in_order(d);
	}
	if (d->list)
		st = connect_step(d, now, ret_fd);
	if (st == ST_BUSY && now >= d->deadline_ns)
		return err_set(e, ST_TIMEOUT, "cannot connect to %s: %s after %lld ms", d->name,
			       d->list ? "no answer" : "its name was not resolved",
			       (long long)(d->timeout_ns / NS_PER_MS));
	if (st && st != ST_BUSY)
		return err_set(e, ST_IO, "%s", d->err.text);
	return st;
}

size_t dial_fds(const struct dial *d, struct pollfd fds[DIAL_FDS_MAX])
{
	size_t n = 0;
	if (d->lookup && !d->list) {
		fds[n++] = (struct pollfd){ .fd = lookup_fd(d->lookup), .events = POLLIN };
		return n;
	}
	for (size_t i = 0; i < d->next; i++)
		if (d->fds[i] >= 0)
			fds[n++] = (struct pollfd){ .fd = d->fds[i], .events = POLLOUT };
	return n;
}

int64_t dial_due_ns(const struct dial *d)
{
	bool has_next = d->list && d->next < d->count;
	return has_next && d->next_ns < d->deadline_ns ? d->next_ns : d->deadline_ns;
}
