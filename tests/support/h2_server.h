/* h2_server.h - an HTTP/2 server that answers as it is told, for tests of the gRPC client.
 * Owner: the test. Needs: nghttp2, check. */
#ifndef TESTS_SUPPORT_H2_SERVER_H
#define TESTS_SUPPORT_H2_SERVER_H

#include <nghttp2/nghttp2.h>
#include <stdbool.h>

#include "gateway/base/buf.h"

enum { H2_SERVER_STREAMS = 200 };

/* What came on one stream. */
struct h2_taken {
	char path[128];
	char authority[64];
	char encoding[16];
	char timeout[16];
	char authorization[64];
	struct buf body;
	bool is_whole;  /* END_STREAM came */
	bool is_closed; /* in any way */
	uint32_t error_code;
};

struct h2_server {
	nghttp2_session *session;
	int fd;
	bool has_moved; /* since the test cleared it */
	bool is_deaf;   /* reads nothing */
	size_t streams;
	int pings; /* that came */
	struct h2_taken taken[H2_SERVER_STREAMS];
	struct bytes reply; /* message with its prefix, of the answer that is under way */
};

/* On a connected, non-blocking socket, which stays the caller's. */
void h2_server_init(struct h2_server *s, int fd, uint32_t max_streams, uint32_t window);
void h2_server_done(struct h2_server *s);
/* The n-th request, from 0. */
struct h2_taken *h2_server_taken(struct h2_server *s, size_t n);
/* Headers with :status 200 and the content type, the message, and trailers "name: value", ...,
 * NULL. */
void h2_server_answer(struct h2_server *s, size_t n, struct bytes message, ...);
/* The same without trailers: the message may be large. */
void h2_server_begin_answer(struct h2_server *s, size_t n, struct bytes message);
/* Trailers only, of the same form. */
void h2_server_refuse(struct h2_server *s, size_t n, ...);
void h2_server_reset(struct h2_server *s, size_t n, uint32_t error_code);
void h2_server_goaway(struct h2_server *s, int32_t last_stream_id, uint32_t error_code,
		      const char *text);
/* Sends and takes what there is. */
void h2_server_turn(struct h2_server *s);

#endif
