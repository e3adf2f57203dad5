/* otlp_http.c - OTLP as it is stored, over HTTP (http_exporter.c).
 *
 * endpoint is a base URL that gets /v1/<signal>; <signal>_endpoint is used as it is (OTLP
 * specification, "Endpoint URLs for OTLP/HTTP").
 *
 * Encoding: a 415 to zstd, or a 400 before this destination ever took zstd (some backends cannot
 * tell), ends zstd for this destination until the next start. */
#include "gateway/base/xalloc.h"
#include "gateway/forward/http_exporter.h"

struct otlp_http {
	struct http_exporter http;
	enum encoding encoding;
	bool is_zstd_proven;
};

static void add_headers(struct exporter *x, const struct export *export, struct http_headers *h)
{
	(void)x;
	http_headers_add(h, "Content-Type", "application/x-protobuf");
	if (export->encoding != ENCODING_NONE)
		http_headers_add(h, "Content-Encoding", encoding_text(export->encoding));
}

/* 415, or a 400 that may mean the same: would another encoding help? */
static void judge_encoding(struct otlp_http *o, struct export *x)
{
	struct export_reply *r = &x->reply;
	if (x->encoding != ENCODING_ZSTD)
		return;
	if (r->verdict == VERDICT_DELIVERED)
		o->is_zstd_proven = true;
	if (r->status != 415 && !(r->status == 400 && !o->is_zstd_proven))
		return;
	o->encoding = ENCODING_GZIP;
	r->verdict = VERDICT_ENCODING;
}

static void read_answer(struct exporter *x, const struct http_answer *a, struct export *export)
{
	http_reply_read(export->signal, a, &export->reply);
	judge_encoding((struct otlp_http *)x, export);
}

static const struct http_kind kind = {
	.name = "otlp_http",
	.paths = { [SIGNAL_TRACES] = "/v1/traces",
		   [SIGNAL_METRICS] = "/v1/metrics",
		   [SIGNAL_LOGS] = "/v1/logs" },
	.headers = add_headers,
	.read = read_answer,
};

static void close_otlp_http(struct exporter *x)
{
	if (!x)
		return;
	http_exporter_done((struct http_exporter *)x);
	free(x);
}

static enum status open_otlp_http(const struct destination_config *c, int wake_fd,
				  struct exporter **ret, struct err *e)
{
	struct otlp_http *o = xcalloc(1, sizeof(*o));
	o->http.base.ops = &otlp_http_ops;
	o->encoding = c->compression == CONFIG_COMPRESSION_ZSTD ? ENCODING_ZSTD :
		      c->compression == CONFIG_COMPRESSION_GZIP ? ENCODING_GZIP :
								  ENCODING_NONE;
	enum status st = http_exporter_init(&o->http, &kind, c, wake_fd, e);
	if (st) {
		close_otlp_http(&o->http.base);
		return st;
	}
	*ret = &o->http.base;
	return ST_OK;
}

static enum encoding encoding_now(const struct exporter *x)
{
	return ((const struct otlp_http *)x)->encoding;
}

const struct exporter_ops otlp_http_ops = {
	.takes_any_order = true,
	.open = open_otlp_http,
	.encoding = encoding_now,
	.send = http_exporter_send,
	.probe = http_exporter_probe,
	.poll = http_exporter_poll,
	.is_renewed = http_exporter_is_renewed,
	.close = close_otlp_http,
};
