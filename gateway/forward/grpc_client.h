/* forward/grpc_client.h - one HTTP/2 connection to a gRPC server, and the calls under way on it.
 * Owner: the destination's thread. Needs: forward/{grpc_response,grpc_target}.h,
 * base/transport.h, nghttp2. */
#ifndef FORWARD_GRPC_CLIENT_H
#define FORWARD_GRPC_CLIENT_H

#include <nghttp2/nghttp2.h>
#include <sys/queue.h>

#include "gateway/base/transport.h"
#include "gateway/forward/grpc_response.h"
#include "gateway/forward/grpc_target.h"

enum grpc_end {
	GRPC_END_NONE,     /* under way */
	GRPC_END_ANSWERED, /* response is whole */
	GRPC_END_REFUSED,  /* the server has not looked at it: GOAWAY, REFUSED_STREAM */
	GRPC_END_RESET,    /* by the server, see error_code */
	GRPC_END_STALLED,  /* nothing moved for timeout */
	GRPC_END_LATE,     /* it moved, but not fast enough for all our patience */
	GRPC_END_LOST,     /* with the connection */
};

/* One export and its answer. */
struct grpc_exchange {
	TAILQ_ENTRY(grpc_exchange) link;
	struct export *export; /* borrowed */
	struct grpc_response response;
	enum grpc_end end;
	uint32_t error_code; /* HTTP/2's */
	unsigned generation; /* otlp_grpc.c: of the credential */
	int tries;           /* otlp_grpc.c: given to a connection */
	/* Private. */
	int32_t stream_id;
	size_t sent;     /* of prefix and body, into HTTP/2 */
	size_t received; /* of the answer's body */
	int64_t started_ns;
	int64_t moved_ns;
	bool is_written;  /* to the socket, whole: up to away_at */
	bool is_away;     /* with the peer, whole */
	uint64_t away_at; /* bytes of the connection */
};
TAILQ_HEAD(grpc_exchanges, grpc_exchange);

struct grpc_client {
	TAILQ_ENTRY(grpc_client) link; /* otlp_grpc.c: those that take no more calls */
	struct grpc_exchanges open;
	struct grpc_exchanges ended; /* to be taken by the caller */
	bool is_ready;               /* the server's SETTINGS came */
	bool is_draining;            /* GOAWAY: no new calls here */
	bool is_dead;                /* over: free it */
	bool is_used;                /* a call was started on it */
	bool is_proven;              /* and one was answered */
	bool is_silent;              /* it is dead because nothing moved */
	struct err why;              /* it is dead, or draining for a fault */
	/* Private. */
	const struct grpc_target *target;
	struct transport plain;
	struct transport *transport;
	nghttp2_session *session;
	size_t open_count;
	struct buf out; /* made by nghttp2, not yet written */
	size_t out_sent;
	uint64_t written; /* bytes, to the transport */
	uint64_t acked;   /* bytes of the TCP connection, at the last look */
	bool has_heard;   /* anything at all */
	int64_t acked_ns; /* when that changed */
	uint64_t fed;     /* calls begun and bytes of bodies, into HTTP/2 */
	uint64_t fed_seen;
	uint64_t fed_at;  /* bytes of the connection: the last of these are before it */
	int64_t heard_ns; /* when the server last sent anything */
	int64_t ping_ns;  /* when it was asked since then; 0: it was not */
	struct err io;    /* from the transport */
};

/* Takes fd, connected and non-blocking. Borrows target. A file of TLS that cannot be read makes a
 * client that is dead. */
struct grpc_client *grpc_client_new(const struct grpc_target *target, int fd);
/* What is open or ended and was not taken stays the caller's. Accepts NULL. */
void grpc_client_free(struct grpc_client *c);

/* May another call start now? */
bool grpc_client_has_room(const struct grpc_client *c);
/* authorization: the header's value, or NULL. Borrows both; x->export until it ended. */
void grpc_client_start(struct grpc_client *c, struct grpc_exchange *x, const char *authorization);

/* No more patience with what is open: it ends as lost. */
void grpc_client_abandon(struct grpc_client *c);

/* Read what came, look at the time, write what is to say. Ends of calls are in c->ended. */
void grpc_client_turn(struct grpc_client *c, int64_t now);
/* What to poll the connection's fd for, and until when (mono). */
short grpc_client_events(const struct grpc_client *c);
int64_t grpc_client_due_ns(const struct grpc_client *c, int64_t now);

#endif
