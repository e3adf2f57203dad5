/* h2_client.h - an HTTP/2 client that says what it is told to, for tests of the gRPC receiver.
 * Owner: the test. Needs: nghttp2, check. */
#ifndef TESTS_SUPPORT_H2_CLIENT_H
#define TESTS_SUPPORT_H2_CLIENT_H

#include <nghttp2/nghttp2.h>
#include <stdbool.h>

enum { H2_STREAMS = 1000 };

/* What came back on one stream: headers and trailers together. */
struct h2_seen {
	char http_status[8];
	char grpc_status[8];
	char message[512];
	bool has_details;
	char accept_encoding[64];
	uint8_t body[64];
	size_t body_n;
	bool is_closed;
	uint32_t error_code;
};

/* Bytes that a request has yet to send. Borrowed. */
struct h2_upload {
	const uint8_t *p;
	size_t n;
	size_t chunk; /* at most so many in a frame; 0: no limit */
	bool is_open; /* no END_STREAM behind them */
};

struct h2_client {
	nghttp2_session *session;
	int fd;
	bool has_moved; /* something was sent since the test cleared it */
	struct h2_seen seen[H2_STREAMS];
	struct h2_upload uploads[H2_STREAMS];
	int goaways;
	int32_t goaway_last;
	uint32_t goaway_error;
};

/* On a connected, non-blocking socket, which stays the caller's. The preface waits for a flush. */
void h2_client_init(struct h2_client *c, int fd);
void h2_client_done(struct h2_client *c);
/* A POST; name and value are one more header, or one instead of the usual; NULL: none. Returns the
 * stream. */
int32_t h2_client_request(struct h2_client *c, const char *path, struct h2_upload up,
			  const char *name, const char *value);
struct h2_seen *h2_client_seen(struct h2_client *c, int32_t stream);
/* Sends what the socket takes. */
void h2_client_flush(struct h2_client *c);
/* Takes what is there. False: nothing was. */
bool h2_client_read(struct h2_client *c);

#endif
