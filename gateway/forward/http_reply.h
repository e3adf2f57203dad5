/* forward/http_reply.h - what an HTTP answer to an export says.
 * Owner: stateless. Needs: telemetry/reply.h, forward/export.h. */
#ifndef FORWARD_HTTP_REPLY_H
#define FORWARD_HTTP_REPLY_H

#include "gateway/forward/export.h"

struct http_answer {
	int status;
	const char *content_type; /* header values; NULL: absent */
	const char *retry_after;
	struct bytes body; /* perhaps cut off */
	/* Any other header: use http_answer_header. */
	const char *(*header)(void *ctx, const char *name);
	void *header_ctx;
};

/* The value of a header, borrowed until the next call; NULL: absent. */
static inline const char *http_answer_header(const struct http_answer *a, const char *name)
{
	return a->header ? a->header(a->header_ctx, name) : NULL;
}

/* OTLP: the reply, with the reason in words: the google.rpc.Status's message, or an excerpt of a
 * text. */
void http_reply_read(enum signal signal, const struct http_answer *a, struct export_reply *ret);
/* The same for protocols whose success has nothing to say in its body (remote write, Loki): any 2xx
 * but an HTML page is a delivery, a reason is a text. Look at status afterwards for those that mean
 * something else. */
void http_reply_read_plain(const struct http_answer *a, struct export_reply *ret);
/* OTLP, over HTTP or gRPC: what an Export*ServiceResponse says beyond success, into rejected and
 * error. */
void http_reply_read_partial(enum signal signal, struct bytes body, bool is_json,
			     struct export_reply *ret);

#endif
