/* ingest/grpc_connection.h - one HTTP/2 connection and its calls.
 * Owner: the receiver's thread. Needs: grpc_call, transport, nghttp2. */
#ifndef INGEST_GRPC_CONNECTION_H
#define INGEST_GRPC_CONNECTION_H

#include "gateway/base/transport.h"
#include <sys/socket.h>

#include "gateway/ingest/grpc_call.h"

struct grpc_connection {
	LIST_ENTRY(grpc_connection) link;  /* receive_grpc.c: all connections */
	SLIST_ENTRY(grpc_connection) next; /* receive_grpc.c: those to flush in this turn */
	bool is_listed;
	uint32_t polled;              /* receive_grpc.c: what epoll waits for */
	struct sockaddr_storage peer; /* receive_grpc.c: whose it is */
	struct transport transport;
	/* Private. */
	struct grpc_server *server;
	nghttp2_session *session;
	LIST_HEAD(, grpc_call) calls;
	struct buf out; /* made by nghttp2, not yet written */
	size_t out_sent;
	size_t charged_bytes;  /* for out, while the peer does not take it */
	size_t held_bytes;     /* complete messages that are not answered yet */
	size_t owed_bytes;     /* received, but not given back to the connection's window */
	unsigned control_cost; /* frames that carry no request, since the last request */
	size_t unheard_bytes;  /* received since the last whole frame or piece of data */
	int64_t opened_ns;
	int64_t idle_since_ns; /* when the last call ended */
	int64_t written_ns;    /* when output last moved */
	int64_t shutdown_ns;   /* first GOAWAY; 0: none */
	int64_t farewell_ns;   /* when it was told that it has the wrong port; 0: it has not */
	uint64_t heard_bytes;  /* that the client sent */
	uint8_t first_byte;    /* of them */
	bool is_greeted;       /* the client's preface and SETTINGS came */
	bool is_last_goaway;   /* the second GOAWAY is on its way */
	bool is_dead;
};

/* What a connection may have read but not answered before its window closes. */
enum { GRPC_HELD_MAX = 16 * 1024 * 1024 };

/* Takes fd, a connected non-blocking socket. Its SETTINGS wait for the first flush. */
struct grpc_connection *grpc_connection_new(struct grpc_server *server, int fd);
/* Closes. Calls that are with the writer live on without it. */
void grpc_connection_free(struct grpc_connection *c);

/* Each of these may leave output or an end behind: flush follows in the same turn. */
void grpc_connection_read(struct grpc_connection *c);
/* Takes a call that the writer gave back, and answers it. Returns its connection, NULL where that
 * is gone. */
struct grpc_connection *grpc_connection_take_back(struct grpc_call *call);
/* First GOAWAY; the second follows when the client has seen it. */
void grpc_connection_shutdown(struct grpc_connection *c);
/* Timeouts. */
void grpc_connection_tick(struct grpc_connection *c);
/* Write what nghttp2 has to say. False: the connection is over, free it. */
bool grpc_connection_flush(struct grpc_connection *c);
/* Feed bytes as if they had been read. Public for the fuzz target. */
void grpc_connection_feed(struct grpc_connection *c, struct bytes src);
/* EPOLLIN and EPOLLOUT, as the connection's state wants them. */
uint32_t grpc_connection_wants(const struct grpc_connection *c);

#endif
