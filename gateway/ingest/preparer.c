/* preparer.c - one thread, first come, first served.
 *
 * A receiver's thread serves many clients, and checks their requests in passing: a few microseconds
 * each. A message of 64 MiB that is made of nothing but tiny messages takes a second to check,
 * and a few KiB of gzip can unfold to as much. Such requests come here, where only their like wait
 * for them.
 *
 * One thread and not more: on two cores a second one would take the receivers' time after all. */
#include "gateway/ingest/preparer.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/xalloc.h"

struct preparer {
	struct chan chan;
	preparer_work_fn work;
	atomic_bool is_stopping;
	pthread_t thread;
};

static void work_off(struct preparer *p, struct chan_item *list)
{
	while (list) {
		struct chan_item *item = list;
		list = list->next;
		p->work(item, atomic_load(&p->is_stopping));
	}
}

static void *run(void *arg)
{
	struct preparer *p = arg;
	(void)pthread_setname_np(pthread_self(), "preparer");
	while (!atomic_load(&p->is_stopping))
		work_off(p, chan_wait_all(&p->chan, INT64_MAX));
	return NULL;
}

enum status preparer_start(preparer_work_fn work, struct preparer **ret, struct err *e)
{
	struct preparer *p = xcalloc(1, sizeof(*p));
	p->work = work;
	CHECK(chan_init(&p->chan, CHAN_WAKE_WAIT) == ST_OK);
	int rc = pthread_create(&p->thread, NULL, run, p);
	if (rc) {
		chan_done(&p->chan);
		free(p);
		return err_set(e, ST_NO_MEMORY, "no thread for large requests: %s", strerror(rc));
	}
	*ret = p;
	return ST_OK;
}

void preparer_give(struct preparer *p, struct chan_item *item)
{
	chan_give_item(&p->chan, item);
}

void preparer_stop(struct preparer *p)
{
	if (!p)
		return;
	atomic_store(&p->is_stopping, true);
	chan_ring(&p->chan);
	CHECK(pthread_join(p->thread, NULL) == 0);
	work_off(p, chan_take_all(&p->chan));
	chan_done(&p->chan);
	free(p);
}
