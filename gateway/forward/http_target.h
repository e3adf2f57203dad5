/* forward/http_target.h - where a destination that speaks HTTP is asked: URLs, and a check of
 * headers and TLS files. Owner: made by main, then the destination's thread. Needs:
 * forward/http_exporter.h, libcurl. */
#ifndef FORWARD_HTTP_TARGET_H
#define FORWARD_HTTP_TARGET_H

#include <curl/curl.h>

#include "gateway/forward/http_exporter.h"

struct http_target {
	char *urls[SIGNAL_COUNT];       /* NULL: the configuration has none for this signal */
	char *probe_urls[SIGNAL_COUNT]; /* the same host and port, for a bare connection */
};

/* ST_INVALID: e names the key. t must be zeroed. */
MUST_USE enum status http_target_init(struct http_target *t, const struct http_kind *kind,
				      const struct destination_config *c, struct err *e);
/* Accepts a zeroed or half-built struct. */
void http_target_done(struct http_target *t);

#endif
