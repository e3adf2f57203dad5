/* channel.h - gives items to one taking thread: many senders, one receiver, FIFO.
 * Owner: chan_give from any thread; take and wait from the receiver. Needs: now, status. */
#ifndef BASE_CHANNEL_H
#define BASE_CHANNEL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/base/status.h"

/* Embed as the first member of what is sent. */
struct chan_item {
	struct chan_item *next;
};

/* How the receiver waits: in chan_wait, or in its own poll loop on chan_fd. */
enum chan_wake { CHAN_WAKE_WAIT, CHAN_WAKE_FD };

struct chan {
	pthread_mutex_t mutex; /* private below */
	pthread_cond_t cond;
	struct chan_item *head;
	struct chan_item *tail;
	size_t count;
	int event_fd; /* -1 with CHAN_WAKE_WAIT */
	bool is_rung;
};

/* ST_IO where no eventfd is to be had. */
MUST_USE enum status chan_init(struct chan *c, enum chan_wake wake);
/* The channel must be empty. */
void chan_done(struct chan *c);
/* Takes the item: it belongs to the receiver from here on. Use chan_give. */
void chan_give_item(struct chan *c, struct chan_item *item);
/* chan_give(&c, ptr): ptr's first member is a struct chan_item. The sender's pointer becomes NULL.
 */
#define chan_give(c, ptr) (chan_give_item((c), &(ptr)->item), (ptr) = NULL)
/* Wake the receiver without an item (to make it look at a flag). */
void chan_ring(struct chan *c);
/* All items that wait, as a list in FIFO order, or NULL. Never blocks. Gives the items. */
MUST_USE struct chan_item *chan_take_all(struct chan *c);
/* As chan_take_all, but waits for an item, a ring or the deadline (now_mono_ns; INT64_MAX: none).
 */
MUST_USE struct chan_item *chan_wait_all(struct chan *c, int64_t deadline_ns);
/* Readable when something waits. chan_take_all makes it unreadable again. */
int chan_fd(const struct chan *c);
/* How many items wait. */
size_t chan_count(struct chan *c);

#endif
