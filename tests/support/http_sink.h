/* http_sink.h - an HTTP server in the test's own process that answers by a script and remembers
 * what it was asked. Owner: the test thread; requests come on threads of libmicrohttpd. Needs:
 * gateway/base. */
#ifndef TESTS_SUPPORT_HTTP_SINK_H
#define TESTS_SUPPORT_HTTP_SINK_H

#include "gateway/base/buf.h"

struct http_sink;

enum sink_act {
	SINK_ANSWER, /* with status, headers and body */
	SINK_HANG,   /* read the request, say nothing until http_sink_release or stop */
	SINK_CLOSE,  /* read the request, close the connection */
};

struct sink_answer {
	enum sink_act act;
	int status; /* 0: 200 */
	const char *retry_after;
	const char *content_type; /* NULL: application/x-protobuf */
	struct bytes body;        /* lives as long as the sink */
};

struct sink_request {
	char path[64];
	char content_type[64];
	char encoding[16];
	char user_agent[64];
	char authorization[64];
	struct bytes body; /* decompressed; lives until http_sink_free */
	int status;        /* what was answered; 0: nothing */
	int64_t at_ns;     /* now_mono_ns */
};

/* Port 0: any. Never NULL (aborts). */
struct http_sink *http_sink_new(int port);
int http_sink_port(const struct http_sink *s);
/* Refuse connections; start again on the same port, which nobody else gets meanwhile. Requests so
 * far are kept. */
void http_sink_stop(struct http_sink *s);
void http_sink_start(struct http_sink *s);
void http_sink_free(struct http_sink *s);

/* Appends to the script: the next `times` requests get this answer. Past its end it is 200. */
void http_sink_script(struct http_sink *s, struct sink_answer a, int times);
/* Called for each request before the script is asked; true: *ret is the answer. NULL: none. */
typedef bool (*http_sink_judge_fn)(void *ctx, const struct sink_request *r,
				   struct sink_answer *ret);
void http_sink_judge(struct http_sink *s, http_sink_judge_fn judge, void *ctx);
/* Let hanging requests go: their connections are closed. */
void http_sink_release(struct http_sink *s);

/* Waits until `count` requests have come. */
void http_sink_wait(struct http_sink *s, size_t count);
size_t http_sink_count(struct http_sink *s);
/* Borrowed until http_sink_free. */
const struct sink_request *http_sink_request(struct http_sink *s, size_t index);

#endif
