/* channel.c - an intrusive list under a mutex.
 *
 * The receiver takes everything at once: one lock per group, not per item. That is also what makes
 * group commit natural: while the writer syncs, the next group gathers here.
 *
 * An item given happens-before the take that returns it (the mutex orders them), so items need no
 * atomics of their own. Unbounded on purpose: what may enter is bounded by the budget in admission.
 */
#include "gateway/base/channel.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "gateway/base/now.h"

enum status chan_init(struct chan *c, enum chan_wake wake)
{
	*c = (struct chan){ .event_fd = -1 };
	if (wake == CHAN_WAKE_FD) {
		c->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		if (c->event_fd < 0)
			return ST_IO;
	}
	pthread_condattr_t attr;
	CHECK(pthread_condattr_init(&attr) == 0);
	CHECK(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
	CHECK(pthread_cond_init(&c->cond, &attr) == 0);
	(void)pthread_condattr_destroy(&attr);
	CHECK(pthread_mutex_init(&c->mutex, NULL) == 0);
	return ST_OK;
}

void chan_done(struct chan *c)
{
	CHECK(!c->head);
	(void)pthread_mutex_destroy(&c->mutex);
	(void)pthread_cond_destroy(&c->cond);
	if (c->event_fd >= 0)
		(void)close(c->event_fd);
	c->event_fd = -1;
}

/* Called with the lock held. One write to the eventfd per take, however many items come. */
static void wake_receiver(struct chan *c)
{
	if (c->is_rung)
		return;
	c->is_rung = true;
	if (c->event_fd >= 0) {
		uint64_t one = 1;
		ssize_t n = write(c->event_fd, &one, sizeof(one));
		CHECK(n == (ssize_t)sizeof(one) || errno == EAGAIN);
	} else {
		CHECK(pthread_cond_signal(&c->cond) == 0);
	}
}

void chan_give_item(struct chan *c, struct chan_item *item)
{
	item->next = NULL;
	CHECK(pthread_mutex_lock(&c->mutex) == 0);
	if (c->tail)
		c->tail->next = item;
	else
		c->head = item;
	c->tail = item;
	c->count++;
	wake_receiver(c);
	CHECK(pthread_mutex_unlock(&c->mutex) == 0);
}

void chan_ring(struct chan *c)
{
	CHECK(pthread_mutex_lock(&c->mutex) == 0);
	wake_receiver(c);
	CHECK(pthread_mutex_unlock(&c->mutex) == 0);
}

/* Called with the lock held. */
static struct chan_item *take_locked(struct chan *c)
{
	if (c->is_rung && c->event_fd >= 0) {
		uint64_t count;
		ssize_t n = read(c->event_fd, &count, sizeof(count));
		CHECK(n == (ssize_t)sizeof(count) || errno == EAGAIN);
	}
	c->is_rung = false;
	struct chan_item *list = c->head;
	c->head = NULL;
	c->tail = NULL;
	c->count = 0;
	return list;
}

struct chan_item *chan_take_all(struct chan *c)
{
	CHECK(pthread_mutex_lock(&c->mutex) == 0);
	struct chan_item *list = take_locked(c);
	CHECK(pthread_mutex_unlock(&c->mutex) == 0);
	return list;
}

struct chan_item *chan_wait_all(struct chan *c, int64_t deadline_ns)
{
	struct timespec ts = { .tv_sec = (time_t)(deadline_ns / NS_PER_S),
			       .tv_nsec = deadline_ns % NS_PER_S };
	CHECK(pthread_mutex_lock(&c->mutex) == 0);
	while (!c->is_rung) {
		int rc = deadline_ns == INT64_MAX ?
				 pthread_cond_wait(&c->cond, &c->mutex) :
				 pthread_cond_timedwait(&c->cond, &c->mutex, &ts);
		if (rc == ETIMEDOUT)
			break;
		CHECK(rc == 0);
	}
	struct chan_item *list = take_locked(c);
	CHECK(pthread_mutex_unlock(&c->mutex) == 0);
	return list;
}

int chan_fd(const struct chan *c)
{
	return c->event_fd;
}

size_t chan_count(struct chan *c)
{
	CHECK(pthread_mutex_lock(&c->mutex) == 0);
	size_t n = c->count;
	CHECK(pthread_mutex_unlock(&c->mutex) == 0);
	return n;
}
