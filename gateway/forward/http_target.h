/* forward/http_target.h - where and how an otlp_http destination is asked: URLs, headers, TLS
 * files. Owner: made by main, then the destination's thread. Needs: gateway/base/config.h, libcurl.
 */
#ifndef FORWARD_HTTP_TARGET_H
#define FORWARD_HTTP_TARGET_H

#include <curl/curl.h>

#include "gateway/base/config.h"
#include "schema/vocabulary.h"

struct http_target {
	char *urls[SIGNAL_COUNT];       /* NULL: the configuration has none for this signal */
	char *probe_urls[SIGNAL_COUNT]; /* the same host and port, for a bare connection */
	struct curl_slist *headers[ENCODING_COUNT];
};

/* ST_INVALID: e names the key. t must be zeroed. */
MUST_USE enum status http_target_init(struct http_target *t, const struct destination_config *c,
				      struct err *e);
/* Accepts a zeroed or half-built struct. */
void http_target_done(struct http_target *t);

#endif
