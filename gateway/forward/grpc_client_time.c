/* grpc_client_time.c - how long a call is waited for, and whether anybody is there.
 *
 * Time counts from the last byte that moved, not from the start (docs/decisions/0006). As long as a
 * call's body is not wholly with the peer, what TCP has acknowledged of the connection is movement:
 * on a thin link a whole body fits into the socket buffer, and is silent for a minute while it goes
 * out. After that only the call's own answer counts. Half of `timeout` after the server was last
 * heard, a PING asks whether it is there at all. When a call then stands still for `timeout`, the
 * PING tells what to do: answered, the server is alive and slow, and only this call is given up;
 * unanswered, the connection leads nowhere, and all of it is. (A PING per silence, because servers
 * end clients that ping often.) */
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "gateway/base/now.h"
#include "gateway/forward/grpc_client_internal.h"

enum { LOOKS = 8 }; /* within `timeout`, at what TCP has acknowledged */

/* Bytes of the connection that the peer's TCP has, and that ours ever had. */
static void tcp_position(const struct grpc_client *c, uint64_t *acked, uint64_t *written)
{
	struct tcp_info info = { 0 };
	socklen_t size = sizeof(info);
	int queued = 0;
	*acked = *written = c->written;
	if (getsockopt(c->transport->fd, IPPROTO_TCP, TCP_INFO, &info, &size) ||
	    size < offsetof(struct tcp_info, tcpi_bytes_received) ||
	    ioctl(c->transport->fd, SIOCOUTQ, &queued) || queued < 0)
		return;
	*acked = info.tcpi_bytes_acked;
	*written = *acked + (uint64_t)queued;
}

static bool is_any_not_away(const struct grpc_client *c)
{
	const struct grpc_exchange *x;
	TAILQ_FOREACH(x, &c->open, link)
	if (!x->is_away)
		return true;
	return false;
}

/* How far have the bodies come? */
static void look(struct grpc_client *c, int64_t now)
{
	uint64_t acked;
	uint64_t written;
	struct grpc_exchange *x;
	if (!is_any_not_away(c))
		return;
	tcp_position(c, &acked, &written);
	if (c->fed != c->fed_seen) {
		c->fed_seen = c->fed;
		c->fed_at = written + (c->out.n - c->out_sent);
	}
	/* A PING that was taken is no movement: a server that opens no window takes those. */
	bool has_moved = acked != c->acked && c->acked < c->fed_at;
	c->acked = acked;
	if (has_moved)
		c->acked_ns = now;
	TAILQ_FOREACH(x, &c->open, link)
	{
		if (x->is_away)
			continue;
		if (has_moved)
			x->moved_ns = now;
		if (!x->is_written && x->sent == grpc_client_size_of(x) && c->out.n == 0) {
			x->is_written = true;
			x->away_at = written;
		}
		x->is_away = x->is_written && acked >= x->away_at;
	}
}

/* A ping has had its time, and was not stuck behind a body that is still moving. */
static bool is_ping_lost(const struct grpc_client *c, int64_t now)
{
	int64_t since = c->ping_ns > c->acked_ns ? c->ping_ns : c->acked_ns;
	return c->ping_ns && now - since >= grpc_client_timeout(c) / 4;
}

static void expire(struct grpc_client *c, int64_t now)
{
	struct grpc_exchange *next;
	int64_t timeout = grpc_client_timeout(c);
	for (struct grpc_exchange *x = TAILQ_FIRST(&c->open); x; x = next) {
		next = TAILQ_NEXT(x, link);
		bool is_stalled = now - x->moved_ns >= timeout;
		if (!is_stalled && now - x->started_ns < grpc_client_patience(c, x))
			continue;
		c->is_silent = c->is_silent || (is_stalled && is_ping_lost(c, now));
		grpc_client_end(c, x, is_stalled ? GRPC_END_STALLED : GRPC_END_LATE);
		grpc_client_cancel(c, x->stream_id);
		if (c->is_dead)
			return;
	}
	if (c->is_silent)
		grpc_client_die(c, "not even a ping was answered");
}

static void ping(struct grpc_client *c, int64_t now)
{
	if (TAILQ_EMPTY(&c->open) || c->ping_ns || now - c->heard_ns < grpc_client_timeout(c) / 2)
		return;
	c->ping_ns = now;
	if (nghttp2_submit_ping(c->session, NGHTTP2_FLAG_NONE, NULL) != 0)
		grpc_client_die(c, "out of memory");
}

void grpc_client_tick(struct grpc_client *c, int64_t now)
{
	look(c, now);
	expire(c, now);
	if (!c->is_dead)
		ping(c, now);
}

int64_t grpc_client_due_ns(const struct grpc_client *c, int64_t now)
{
	const struct grpc_exchange *x;
	int64_t timeout = grpc_client_timeout(c);
	int64_t due = INT64_MAX;
	TAILQ_FOREACH(x, &c->open, link)
	{
		int64_t stall = x->moved_ns + timeout;
		int64_t late = x->started_ns + grpc_client_patience(c, x);
		int64_t first = stall < late ? stall : late;
		if (!x->is_away && first > now + timeout / LOOKS)
			first = now + timeout / LOOKS;
		due = first < due ? first : due;
	}
	if (due < INT64_MAX && !c->ping_ns && c->heard_ns + timeout / 2 < due)
		due = c->heard_ns + timeout / 2;
	return due;
}
