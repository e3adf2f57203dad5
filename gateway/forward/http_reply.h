/* forward/http_reply.h - what an HTTP answer to an OTLP export says.
 * Owner: stateless. Needs: telemetry/reply.h, forward/export.h. */
#ifndef FORWARD_HTTP_REPLY_H
#define FORWARD_HTTP_REPLY_H

#include "gateway/forward/export.h"

struct http_answer {
	int status;
	const char *content_type; /* header values; NULL: absent */
	const char *retry_after;
	struct bytes body; /* perhaps cut off */
};

/* The reply, with the reason in words: the google.rpc.Status's message, or an excerpt of a text. */
void http_reply_read(enum signal signal, const struct http_answer *a, struct export_reply *ret);

#endif
