/* otlp_http.c - exports as HTTP POSTs on one libcurl multi handle.
 *
 * Several exports (of different signals and classes) may be under way on one thread. Connections
 * are kept and shared by libcurl; HTTP/2 is used where a TLS server offers it.
 *
 * Time-outs: `timeout` bounds the time in which nothing moves, not the whole request. A
 * whole-request bound of 30 s would never let a 2 MB body through a 256 kbit/s uplink: the same
 * bytes would be sent again and again for ever. What moves: bytes that libcurl sent or received,
 * and bytes that the kernel still holds unacknowledged (on a slow link a whole body fits into the
 * socket buffer at once). Connecting is bounded by CONNECT_TIMEOUT_MS, and the whole by
 * TIMEOUT_HARD times `timeout`, so that a peer that drips cannot hold a lane for ever.
 *
 * The probe is a bare TCP connection (CONNECT_ONLY, no TLS, closed at once). When it succeeds,
 * exports whose own connection is still being made are started afresh: their SYN may be in a
 * retransmission pause of several seconds, which is longer than the promised two.
 *
 * Encoding: a 415 to zstd, or a 400 before this destination ever took zstd (some backends cannot
 * tell), ends zstd for this destination until the next start.
 *
 * Answers are read up to ANSWER_MAX; what is longer is broken off: status and headers are known by
 * then. */
#include "gateway/forward/otlp_http.h"

#include <linux/sockios.h>
#include <stdio.h>
#include <sys/ioctl.h>

#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"
#include "gateway/forward/http_reply.h"
#include "gateway/forward/http_target.h"

enum {
	ANSWER_MAX = 64 * 1024,
	CONNECT_TIMEOUT_MS = 10000,
	PROBE_TIMEOUT_MS = 1000,
	TIMEOUT_HARD = 20,
	CONNECTION_MAX_IDLE_S = 60,
	POLL_MAX_MS = 60000,
	TRANSFERS_MAX = EXPORTER_IN_FLIGHT_MAX
};

struct transfer {
	struct export *export; /* NULL: free */
	CURL *easy;            /* NULL: the reply is there already, without a request */
	struct buf answer;
	/* As far as it had come at moved_ns. */
	curl_off_t sent;
	curl_off_t received;
	int unacked;
	int64_t moved_ns;
	char error[CURL_ERROR_SIZE];
};

struct otlp_http {
	struct exporter base;
	const struct destination_config *config;
	struct http_target target;
	int wake_fd;
	CURLM *multi;
	struct transfer transfers[TRANSFERS_MAX];
	CURL *probe;
	enum signal probe_signal;
	enum encoding encoding;
	bool is_zstd_proven;
};

static struct otlp_http *self_of(struct exporter *x)
{
	return (struct otlp_http *)x;
}

const char *otlp_http_url(const struct exporter *x, enum signal signal)
{
	const char *url = ((const struct otlp_http *)x)->target.urls[signal];
	return url ? url : "";
}

static void close_http(struct exporter *x)
{
	if (!x)
		return;
	struct otlp_http *h = self_of(x);
	for (size_t i = 0; i < TRANSFERS_MAX; i++) {
		struct transfer *t = &h->transfers[i];
		if (!t->easy)
			continue;
		(void)curl_multi_remove_handle(h->multi, t->easy);
		curl_easy_cleanup(t->easy);
		buf_done(&t->answer);
	}
	if (h->probe) {
		(void)curl_multi_remove_handle(h->multi, h->probe);
		curl_easy_cleanup(h->probe);
	}
	if (h->multi)
		(void)curl_multi_cleanup(h->multi);
	http_target_done(&h->target);
	free(h);
	curl_global_cleanup();
}

static enum status open_http(const struct destination_config *c, int wake_fd, struct exporter **ret,
			     struct err *e)
{
	if (curl_global_init(CURL_GLOBAL_DEFAULT))
		return err_set(e, ST_NO_MEMORY, "libcurl does not start");
	struct otlp_http *h = xcalloc(1, sizeof(*h));
	h->base.ops = &otlp_http_ops;
	h->config = c;
	h->wake_fd = wake_fd;
	h->encoding = c->compression == CONFIG_COMPRESSION_ZSTD ? ENCODING_ZSTD :
		      c->compression == CONFIG_COMPRESSION_GZIP ? ENCODING_GZIP :
								  ENCODING_NONE;
	h->multi = curl_multi_init();
	CHECK(h->multi);
	(void)curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, (long)TRANSFERS_MAX);
	enum status st = http_target_init(&h->target, c, e);
	if (st) {
		close_http(&h->base);
		return st;
	}
	*ret = &h->base;
	return ST_OK;
}

static enum encoding encoding_now(const struct exporter *x)
{
	return ((const struct otlp_http *)x)->encoding;
}

static size_t on_body(char *data, size_t size, size_t count, void *ctx)
{
	struct transfer *t = ctx;
	(void)size; /* always 1 */
	size_t room = ANSWER_MAX - t->answer.n;
	enum status st = buf_append(&t->answer, bytes_of(data, count < room ? count : room));
	return st || count > room ? 0 : count;
}

/* Options that a bare connection needs too. */
static void set_common(CURL *easy, const char *url, long connect_timeout_ms)
{
	CHECK(curl_easy_setopt(easy, CURLOPT_URL, url) == CURLE_OK);
	(void)curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	(void)curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, connect_timeout_ms);
	/* Names are resolved by a thread in getaddrinfo. Without an uplink that takes many seconds,
	 * for which giving up would wait; with this it lets the thread end by itself. */
	(void)curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
}

static void set_tls(CURL *easy, const struct destination_config *c)
{
	if (c->tls_ca_file[0])
		(void)curl_easy_setopt(easy, CURLOPT_CAINFO, c->tls_ca_file);
	if (c->tls_cert_file[0]) {
		(void)curl_easy_setopt(easy, CURLOPT_SSLCERT, c->tls_cert_file);
		(void)curl_easy_setopt(easy, CURLOPT_SSLKEY, c->tls_key_file);
	}
	if (c->tls_insecure_skip_verify) {
		(void)curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
		(void)curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
	}
}

static CURL *make_request(struct otlp_http *h, struct transfer *t)
{
	const struct export *x = t->export;
	long timeout_ms = (long)(h->config->timeout / NS_PER_MS);
	CURL *easy = curl_easy_init();
	CHECK(easy);
	set_common(easy, h->target.urls[x->signal],
		   timeout_ms < CONNECT_TIMEOUT_MS ? timeout_ms : CONNECT_TIMEOUT_MS);
	set_tls(easy, h->config);
	(void)curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, timeout_ms * TIMEOUT_HARD);
	(void)curl_easy_setopt(easy, CURLOPT_HTTPHEADER, h->target.headers[x->encoding]);
	(void)curl_easy_setopt(easy, CURLOPT_POST, 1L);
	/* libcurl takes NULL for "no body set": an empty body is a valid export. */
	(void)curl_easy_setopt(easy, CURLOPT_POSTFIELDS, x->body.n ? (const char *)x->body.p : "");
	(void)curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)x->body.n);
	(void)curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	(void)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	(void)curl_easy_setopt(easy, CURLOPT_WRITEDATA, t);
	(void)curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, t->error);
	(void)curl_easy_setopt(easy, CURLOPT_PRIVATE, t);
	(void)curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
	(void)curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, 30L);
	(void)curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, 10L);
	(void)curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, (long)CONNECTION_MAX_IDLE_S);
	return easy;
}

static void start(struct otlp_http *h, struct transfer *t)
{
	t->sent = 0;
	t->received = 0;
	t->unacked = 0;
	t->moved_ns = now_mono_ns();
	CHECK(curl_multi_add_handle(h->multi, t->easy) == CURLM_OK);
}

static void send_http(struct exporter *x, struct export *export)
{
	struct otlp_http *h = self_of(x);
	size_t i = 0;
	while (i < TRANSFERS_MAX && h->transfers[i].export)
		i++;
	CHECK(i < TRANSFERS_MAX);
	struct transfer *t = &h->transfers[i];
	*t = (struct transfer){ .export = export };
	if (!h->target.urls[export->signal]) {
		export->reply = (struct export_reply){ .verdict = VERDICT_REFUSED };
		(void)snprintf(export->reply.error, sizeof(export->reply.error),
			       "this destination has no URL for %s: set endpoint or %s_endpoint",
			       signal_text(export->signal), signal_text(export->signal));
		return;
	}
	buf_init(&t->answer, ANSWER_MAX, NULL);
	t->easy = make_request(h, t);
	h->probe_signal = export->signal;
	start(h, t);
}

static void probe_http(struct exporter *x)
{
	struct otlp_http *h = self_of(x);
	if (h->probe)
		return;
	h->probe = curl_easy_init();
	CHECK(h->probe);
	set_common(h->probe, h->target.probe_urls[h->probe_signal], PROBE_TIMEOUT_MS);
	(void)curl_easy_setopt(h->probe, CURLOPT_CONNECT_ONLY, 1L);
	CHECK(curl_multi_add_handle(h->multi, h->probe) == CURLM_OK);
}

/* Did the request get as far as being sent? Not before the connection and its TLS stand. */
static bool is_connected(CURL *easy)
{
	curl_off_t us = 0;
	return curl_easy_getinfo(easy, CURLINFO_PRETRANSFER_TIME_T, &us) == CURLE_OK && us > 0;
}

static const char *header_of(CURL *easy, const char *name)
{
	struct curl_header *h = NULL;
	return curl_easy_header(easy, name, 0, CURLH_HEADER, -1, &h) == CURLHE_OK ? h->value : NULL;
}

/* 415, or a 400 that may mean the same: would another encoding help? */
static void judge_encoding(struct otlp_http *h, struct export *x)
{
	struct export_reply *r = &x->reply;
	if (x->encoding != ENCODING_ZSTD)
		return;
	if (r->verdict == VERDICT_DELIVERED)
		h->is_zstd_proven = true;
	if (r->status != 415 && !(r->status == 400 && !h->is_zstd_proven))
		return;
	h->encoding = ENCODING_GZIP;
	r->verdict = VERDICT_ENCODING;
}

static void fill_reply(struct otlp_http *h, struct transfer *t, CURLcode rc)
{
	struct export *x = t->export;
	long status = 0;
	(void)curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
	/* A refusal is one however its body ended: servers that answer 413 or 401 early close while
	 * we still send. A success must come whole (but for what on_body broke off): what is
	 * missing may have been the partial rejection. */
	bool is_answer = status > 0 && (rc == CURLE_OK || rc == CURLE_WRITE_ERROR || status >= 400);
	if (is_answer) {
		struct http_answer a = { .status = (int)status,
					 .content_type = header_of(t->easy, "Content-Type"),
					 .retry_after = header_of(t->easy, "Retry-After"),
					 .body = buf_view(&t->answer) };
		http_reply_read(x->signal, &a, &x->reply);
		judge_encoding(h, x);
		return;
	}
	x->reply = (struct export_reply){ .verdict = VERDICT_RETRY };
	x->reply.is_unreachable = rc == CURLE_COULDNT_CONNECT || rc == CURLE_COULDNT_RESOLVE_HOST ||
				  rc == CURLE_COULDNT_RESOLVE_PROXY ||
				  (rc == CURLE_OPERATION_TIMEDOUT && !is_connected(t->easy));
	(void)snprintf(x->reply.error, sizeof(x->reply.error), "%s",
		       t->error[0] ? t->error : curl_easy_strerror(rc));
}

/* Ends a transfer: the export goes back with its reply. */
static struct export *finish(struct otlp_http *h, struct transfer *t, CURLcode rc)
{
	struct export *x = t->export;
	fill_reply(h, t, rc);
	(void)curl_multi_remove_handle(h->multi, t->easy);
	curl_easy_cleanup(t->easy);
	buf_done(&t->answer);
	*t = (struct transfer){ 0 };
	return x;
}

/* The network is back: do not wait for the next SYN of connections that were begun without it. */
static void restart_unconnected(struct otlp_http *h)
{
	for (size_t i = 0; i < TRANSFERS_MAX; i++) {
		struct transfer *t = &h->transfers[i];
		if (!t->easy || is_connected(t->easy))
			continue;
		(void)curl_multi_remove_handle(h->multi, t->easy);
		start(h, t);
	}
}

static enum exporter_event take_finished(struct otlp_http *h, struct export **ret)
{
	for (size_t i = 0; i < TRANSFERS_MAX; i++) {
		struct transfer *t = &h->transfers[i];
		if (!t->export || t->easy)
			continue;
		*ret = t->export;
		*t = (struct transfer){ 0 };
		return EXPORTER_DONE;
	}
	int left;
	CURLMsg *m;
	while ((m = curl_multi_info_read(h->multi, &left)) != NULL) {
		if (m->msg != CURLMSG_DONE)
			continue;
		CURLcode rc = m->data.result;
		if (m->easy_handle == h->probe) {
			(void)curl_multi_remove_handle(h->multi, h->probe);
			curl_easy_cleanup(h->probe);
			h->probe = NULL;
			if (rc == CURLE_OK)
				restart_unconnected(h);
			return rc == CURLE_OK ? EXPORTER_REACHABLE : EXPORTER_UNREACHABLE;
		}
		struct transfer *t = NULL;
		CHECK(curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &t) == CURLE_OK && t);
		*ret = finish(h, t, rc);
		return EXPORTER_DONE;
	}
	return EXPORTER_NOTHING;
}

/* Has anything moved since the last look? */
static void look(struct transfer *t, int64_t now)
{
	curl_off_t sent = 0;
	curl_off_t received = 0;
	curl_socket_t fd = CURL_SOCKET_BAD;
	int unacked = 0;
	(void)curl_easy_getinfo(t->easy, CURLINFO_SIZE_UPLOAD_T, &sent);
	(void)curl_easy_getinfo(t->easy, CURLINFO_SIZE_DOWNLOAD_T, &received);
	(void)curl_easy_getinfo(t->easy, CURLINFO_ACTIVESOCKET, &fd);
	if (fd != CURL_SOCKET_BAD && ioctl(fd, SIOCOUTQ, &unacked))
		unacked = 0;
	if (sent == t->sent && received == t->received && unacked == t->unacked)
		return;
	t->sent = sent;
	t->received = received;
	t->unacked = unacked;
	t->moved_ns = now;
}

/* The transfer that stood still for too long, or NULL and when to look again. */
static struct transfer *find_stalled(struct otlp_http *h, int64_t now, int64_t *deadline_ns)
{
	for (size_t i = 0; i < TRANSFERS_MAX; i++) {
		struct transfer *t = &h->transfers[i];
		if (!t->easy)
			continue;
		look(t, now);
		int64_t end = t->moved_ns + h->config->timeout;
		if (now >= end)
			return t;
		if (end < *deadline_ns)
			*deadline_ns = end;
	}
	return NULL;
}

static enum exporter_event poll_http(struct exporter *x, int64_t deadline_ns, struct export **ret)
{
	struct otlp_http *h = self_of(x);
	for (;;) {
		int running;
		(void)curl_multi_perform(h->multi, &running);
		enum exporter_event event = take_finished(h, ret);
		if (event != EXPORTER_NOTHING)
			return event;

		int64_t now = now_mono_ns();
		int64_t until = deadline_ns;
		struct transfer *stalled = find_stalled(h, now, &until);
		if (stalled) {
			(void)snprintf(stalled->error, sizeof(stalled->error),
				       "no answer, and nothing moved, for %lld ms",
				       (long long)(h->config->timeout / NS_PER_MS));
			*ret = finish(h, stalled, CURLE_OPERATION_TIMEDOUT);
			return EXPORTER_DONE;
		}
		if (now >= deadline_ns)
			return EXPORTER_NOTHING;

		int64_t ms = (until - now) / NS_PER_MS + 1;
		struct curl_waitfd wake = { .fd = h->wake_fd, .events = CURL_WAIT_POLLIN };
		(void)curl_multi_poll(h->multi, &wake, 1,
				      (int)(ms < POLL_MAX_MS ? ms : POLL_MAX_MS), NULL);
		if (wake.revents)
			return EXPORTER_NOTHING;
	}
}

const struct exporter_ops otlp_http_ops = {
	.takes_any_order = true,
	.open = open_http,
	.encoding = encoding_now,
	.send = send_http,
	.probe = probe_http,
	.poll = poll_http,
	.close = close_http,
};
