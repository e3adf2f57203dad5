/* forward/http_exporter.h - sends exports as HTTP POSTs: what all kinds that speak HTTP share.
 * Owner: the destination's thread. Needs: forward/{exporter,http_reply}.h, libcurl.
 *
 * A kind embeds struct http_exporter as its first member, describes itself with one struct
 * http_kind, and takes send, probe, poll and is_renewed into its exporter_ops as they are. From the
 * configuration come, for every kind: endpoint and <signal>_endpoint, headers, auth, timeout, TLS,
 * User-Agent. The sender knows nothing of bodies: they go out as export->body is. */
#ifndef FORWARD_HTTP_EXPORTER_H
#define FORWARD_HTTP_EXPORTER_H

#include "gateway/forward/exporter.h"
#include "gateway/forward/http_reply.h"

/* Headers of one request. */
struct http_headers;
/* Copies both. An empty value sends the name alone. */
void http_headers_add(struct http_headers *h, const char *name, const char *value);

/* What makes a kind; static. x is the kind's own struct. */
struct http_kind {
	const char *name; /* as in the configuration, for messages */
	/* What is put behind `endpoint` for each signal: "" uses it as it is, NULL: the kind does
	 * not take this signal. */
	const char *paths[SIGNAL_COUNT];
	/* An endpoint that ends in its path already gets it no second time: people copy whole URLs
	 * from the backend's documentation. */
	bool is_whole_endpoint_fine;
	/* Lower-case names of headers that the configuration may not set, besides those of HTTP
	 * itself (content-type, content-encoding, ...); NULL-terminated, may be NULL. */
	const char *const *own_headers;
	/* Content-Type, Content-Encoding and what the protocol asks for; runs for each request. */
	void (*headers)(struct exporter *x, const struct export *export, struct http_headers *h);
	/* From the answer to export->reply, all of it. Secrets are wiped out of a->body already. */
	void (*read)(struct exporter *x, const struct http_answer *a, struct export *export);
};

struct http_sender;

struct http_exporter {
	struct exporter base;
	struct http_sender *sender; /* private to http_exporter.c */
};

/* Fills h but for base.ops. Borrows kind and c as long as h lives. ST_INVALID: e names the key. */
MUST_USE enum status http_exporter_init(struct http_exporter *h, const struct http_kind *kind,
					const struct destination_config *c, int wake_fd,
					struct err *e);
/* Accepts a zeroed or half-built struct. */
void http_exporter_done(struct http_exporter *h);

/* Members of exporter_ops. */
void http_exporter_send(struct exporter *x, struct export *export);
/* Instead of send: no request is made, the export comes back from poll with the reply that it has
 * already. */
void http_exporter_answer(struct exporter *x, struct export *export);
void http_exporter_probe(struct exporter *x);
enum exporter_event http_exporter_poll(struct exporter *x, int64_t deadline_ns,
				       struct export **ret);
bool http_exporter_is_renewed(struct exporter *x);

/* For tests: the URL to which exports of this signal go; empty where there is none. */
const char *http_exporter_url(const struct exporter *x, enum signal signal);

#endif
