/* lookup.c - getaddrinfo on a thread of its own.
 *
 * getaddrinfo cannot be broken off, and without an uplink it takes as long as the resolver's
 * patience: 5 s times attempts times name servers. The destination's thread must not sit in it: it
 * has answers to settle and a stop to hear. So a detached thread asks, and whoever of the two lets
 * go last frees what they share:
 *
 *   ASKING -> DONE       [ask]          the owner takes the result
 *   ASKING -> ABANDONED  [lookup_free]  the thread frees it
 *
 * Each try asks anew instead of waiting for the one before: when the name server returns, a new
 * question is answered at once, while an old one may be in a pause of 5 s. That is bounded for the
 * whole process: past THREADS_MAX questions without an answer there is no new one. */
#include "gateway/forward/lookup.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "gateway/base/xalloc.h"

enum { THREADS_MAX = 64, STACK_BYTES = 256 * 1024 };

enum { ASKING, DONE, ABANDONED };

struct lookup {
	char host[256];
	char port[8];
	int fd;
	atomic_int state;
	/* Written before DONE. */
	int error; /* EAI_* */
	int system_error;
	struct addrinfo *list;
};

static atomic_int threads;

static int resolve(struct lookup *l, int flags)
{
	struct addrinfo hints = { .ai_family = AF_UNSPEC,
				  .ai_socktype = SOCK_STREAM,
				  .ai_flags = flags | AI_NUMERICSERV };
	l->error = getaddrinfo(l->host, l->port, &hints, &l->list);
	l->system_error = errno;
	return l->error;
}

static void destroy(struct lookup *l)
{
	if (l->list)
		freeaddrinfo(l->list);
	(void)close(l->fd);
	free(l);
}

static void ring(const struct lookup *l)
{
	uint64_t one = 1;
	ssize_t n = write(l->fd, &one, sizeof(one));
	CHECK(n == (ssize_t)sizeof(one));
}

static void *ask(void *arg)
{
	struct lookup *l = arg;
	int asking = ASKING;
	(void)resolve(l, 0);
	/* Before the state says so: afterwards it may be gone. */
	ring(l);
	if (!atomic_compare_exchange_strong(&l->state, &asking, DONE))
		destroy(l);
	atomic_fetch_sub(&threads, 1);
	return NULL;
}

static enum status start_thread(struct lookup *l, struct err *e)
{
	pthread_attr_t attr;
	pthread_t thread;
	if (atomic_fetch_add(&threads, 1) >= THREADS_MAX) {
		atomic_fetch_sub(&threads, 1);
		return err_set(e, ST_BUSY, "no name server answers: %d questions are open",
			       THREADS_MAX);
	}
	CHECK(pthread_attr_init(&attr) == 0);
	(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	(void)pthread_attr_setstacksize(&attr, STACK_BYTES);
	int rc = pthread_create(&thread, &attr, ask, l);
	(void)pthread_attr_destroy(&attr);
	if (!rc)
		return ST_OK;
	atomic_fetch_sub(&threads, 1);
	return err_set(e, ST_NO_MEMORY, "cannot start a thread: %s", strerror(rc));
}

enum status lookup_new(const char *host, const char *port, struct lookup **ret, struct err *e)
{
	struct lookup *l = xcalloc(1, sizeof(*l));
	enum status st = ST_OK;
	(void)snprintf(l->host, sizeof(l->host), "%s", host);
	(void)snprintf(l->port, sizeof(l->port), "%s", port);
	l->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	CHECK(l->fd >= 0);
	if (resolve(l, AI_NUMERICHOST) == 0) {
		atomic_store(&l->state, DONE);
		ring(l);
	} else {
		st = start_thread(l, e);
	}
	if (st) {
		destroy(l);
		return st;
	}
	*ret = l;
	return ST_OK;
}

int lookup_fd(const struct lookup *l)
{
	return l->fd;
}

enum status lookup_result(struct lookup *l, struct addrinfo **ret, struct err *e)
{
	if (atomic_load(&l->state) != DONE)
		return ST_BUSY;
	if (l->error)
		return err_set(e, ST_IO, "cannot resolve %s: %s", l->host,
			       l->error == EAI_SYSTEM ? strerror(l->system_error) :
							gai_strerror(l->error));
	*ret = l->list;
	l->list = NULL;
	return ST_OK;
}

void lookup_free(struct lookup *l)
{
	int asking = ASKING;
	if (l && !atomic_compare_exchange_strong(&l->state, &asking, ABANDONED))
		destroy(l);
}
