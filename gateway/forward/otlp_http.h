/* forward/otlp_http.h - OTLP over HTTP POST, the exporter of kind otlp_http (otlp_http_ops).
 * Owner: the destination's thread. Needs: forward/exporter.h, libcurl. */
#ifndef FORWARD_OTLP_HTTP_H
#define FORWARD_OTLP_HTTP_H

#include "gateway/forward/exporter.h"

/* For tests: the URL to which exports of this signal go; empty where the configuration has none. */
const char *otlp_http_url(const struct exporter *x, enum signal signal);

#endif
