/* check_hint.c - the mistakes that people make with endpoints, and what each looks like.
 *
 * A table of what is seen (kind of transport, status, a piece of the error, the port in the
 * endpoint) and what it mostly means. The first row that fits speaks, so rows go from the special
 * to the general. */
#include "gateway/forward/check_hint.h"

#include <string.h>

enum transport { ANY, HTTP, GRPC };

struct row {
	enum transport transport;
	int first; /* status; 0 to 0: there was no answer */
	int last;
	const char *error;    /* contains this; NULL: anything */
	const char *endpoint; /* the same */
	const char *hint;
};

#define WRONG_PATH                                                                                 \
	"nothing takes it at that path. otlp_http adds /v1/traces, /v1/metrics or /v1/logs to "    \
	"endpoint: Grafana Cloud and Loki want /otlp before it, Prometheus /api/v1/otlp; remote "  \
	"write is at /api/v1/write (Prometheus, VictoriaMetrics) or /api/v1/push (Mimir), Loki's " \
	"push API at /loki/api/v1/push. A backend that does not take this signal says so too: "    \
	"then do not route it there"

static const struct row rows[] = {
	/* Loki and Mimir say 401; Tempo, over gRPC, UNAVAILABLE, and over HTTP 503. */
	{ ANY, 1, 599, "no org id", NULL,
	  "the backend has tenants: set headers: {X-Scope-OrgID: NAME}" },
	{ ANY, 1, 599, "tenant ID", NULL,
	  "the backend does not like the name of the tenant (headers: X-Scope-OrgID): letters, "
	  "digits and a few other characters, 150 at most" },
	{ HTTP, 400, 400, "HTTP request to an HTTPS", NULL,
	  "this is a TLS port: write https:// instead of http://" },
	{ HTTP, 400, 400, "plain HTTP request was sent to HTTPS", NULL,
	  "this is a TLS port: write https:// instead of http://" },
	{ ANY, 0, 0, "fatal alert", NULL,
	  "the server ended the TLS connection: it may insist on a client certificate "
	  "(tls.cert_file and tls.key_file), or not accept the one that it got" },
	{ HTTP, 0, 0, "HTTP/0.9", NULL,
	  "what answers there is no HTTP/1 server. 4317 is mostly OTLP over gRPC: kind otlp_grpc" },
	{ HTTP, 0, 0, NULL, ":4317",
	  "4317 is mostly OTLP over gRPC: use kind otlp_grpc, or port 4318 for OTLP over HTTP" },
	{ GRPC, 0, 16, NULL, ":4318",
	  "4318 is mostly OTLP over HTTP: use kind otlp_http, or port 4317 for OTLP over gRPC" },
	{ HTTP, 404, 405, NULL, "grafana.net",
	  "nothing takes it at that path. Grafana Cloud: OTLP goes to https://otlp-gateway-REGION."
	  "grafana.net/otlp, remote write to .../api/prom/push, Loki to .../loki/api/v1/push" },
	{ HTTP, 404, 405, NULL, NULL, WRONG_PATH },
	/* VictoriaMetrics */
	{ HTTP, 400, 400, "unsupported path", NULL, WRONG_PATH },
	{ HTTP, 401, 401, NULL, NULL,
	  "no credentials, or wrong ones: auth.basic, auth.bearer or headers. Grafana Cloud: the "
	  "user name is a number, another one for each of logs, metrics and traces" },
	{ HTTP, 403, 403, NULL, NULL,
	  "the credentials are known but may not write: look at the token's scopes (as in "
	  "metrics:write, logs:write, traces:write), or at a list of allowed addresses" },
	{ HTTP, 407, 407, NULL, NULL, "a proxy on the way wants credentials (https_proxy)" },
	{ HTTP, 413, 413, NULL, NULL,
	  "not even one record is small enough: a proxy on the way has a very low limit" },
	{ HTTP, 415, 415, NULL, NULL,
	  "it does not take this encoding or content: try compression: gzip or none; or it is "
	  "another protocol's endpoint" },
	{ HTTP, 200, 299, "HTML", NULL,
	  "a web page answers: a captive portal, or a path that belongs to the backend's user "
	  "interface" },
	{ HTTP, 300, 399, NULL, NULL,
	  "redirects are not followed: put the final URL into endpoint (https, a slash at the "
	  "end, another host)" },
	{ HTTP, 400, 400, NULL, NULL,
	  "it answers, but does not understand: is this path for another protocol (OTLP, remote "
	  "write, Loki's push API)?" },
	{ HTTP, 429, 429, NULL, NULL,
	  "it is over a limit at this moment: data would wait and be sent again" },
	{ HTTP, 500, 599, NULL, NULL,
	  "the backend, or a proxy before it, has trouble: data would wait and be sent again" },
	{ GRPC, 12, 12, NULL, NULL,
	  "the server speaks gRPC, but has no OTLP service for this signal: is it the right port "
	  "(4317), and is that pipeline configured?" },
	{ GRPC, 16, 16, NULL, NULL,
	  "no credentials, or wrong ones: auth.basic, auth.bearer or headers" },
	{ GRPC, 7, 7, NULL, NULL, "the credentials are known but may not write" },
	{ GRPC, 1, 16, NULL, NULL, "the status is the backend's: its log may say more" },
	{ GRPC, 0, 0, "ALPN h2", NULL,
	  "gRPC needs HTTP/2: use kind otlp_http, or the port for gRPC (mostly 4317); a proxy on "
	  "the "
	  "way must let HTTP/2 through" },
	{ GRPC, 0, 0, "TLS", NULL,
	  "for a server without TLS write http:// before host:port (or tls.insecure: true); for a "
	  "private authority set tls.ca_file" },
	{ ANY, 0, 0, "certificate", NULL,
	  "for a private authority set tls.ca_file to its PEM certificate" },
	{ ANY, 0, 0, NULL, NULL,
	  "it can be connected to but does not answer as it should: another program's port, or "
	  "one for gRPC (4317) in place of HTTP (4318), or a proxy that swallows data" },
};

static bool is_in(const char *text, const char *part)
{
	return !part || strstr(text, part);
}

static bool fits_endpoint(const struct destination_config *c, const char *part)
{
	const struct config_endpoints urls = config_endpoints(c);
	bool is_any = false;
	for (size_t i = 0; i < CONFIG_ENDPOINTS; i++)
		is_any = is_any || is_in(urls.items[i].url, part);
	return is_any;
}

const char *check_hint(const struct destination_config *c, const struct export_reply *r)
{
	enum transport transport = c->kind == CONFIG_KIND_OTLP_GRPC ? GRPC : HTTP;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *row = &rows[i];
		if ((row->transport == ANY || row->transport == transport) &&
		    r->status >= row->first && r->status <= row->last &&
		    is_in(r->error, row->error) && fits_endpoint(c, row->endpoint))
			return row->hint;
	}
	return "";
}
