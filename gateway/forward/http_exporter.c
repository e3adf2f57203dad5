/* http_exporter.c - exports as HTTP POSTs on one libcurl multi handle.
 *
 * Any number of exports may be under way on one thread. Connections are kept and shared by libcurl;
 * HTTP/2 is used where a TLS server offers it.
 *
 * Time-outs: `timeout` bounds the time in which nothing moves, not the whole request. A
 * whole-request bound of 30 s would never let a 2 MB body through a 256 kbit/s uplink: the same
 * bytes would be sent again and again for ever. What moves: bytes that libcurl sent or received,
 * and bytes that the kernel still holds unacknowledged (on a slow link a whole body fits into the
 * socket buffer at once). Connecting is bounded by CONNECT_TIMEOUT_MS, and the whole by
 * export_patience_ns, so that a peer that drips cannot hold a lane for ever.
 *
 * The probe is a bare TCP connection (CONNECT_ONLY, no TLS, closed at once). When it succeeds, for
 * the first time since the network was away, exports whose own connection is still being made are
 * started afresh: their SYN may be in a retransmission pause of several seconds, which is longer
 * than the promised two. Only for the first time: over a long round trip, TLS takes longer than the
 * time from one probe to the next, and would never come to its end.
 *
 * Headers are put together for each request: the credential may have been renewed since the last
 * one, and a dozen short strings are nothing beside a body.
 *
 * Answers are read up to ANSWER_MAX; what is longer is broken off: status and headers are known by
 * then. Secrets that a backend shows us back are wiped out of its answer before it is read. */
#include "gateway/forward/http_exporter.h"

#include <linux/sockios.h>
#include <stdio.h>
#include <strings.h>
#include <sys/ioctl.h>

#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"
#include "gateway/forward/credentials.h"
#include "gateway/forward/http_target.h"

enum {
	ANSWER_MAX = 64 * 1024,
	CONNECT_TIMEOUT_MS = 10000,
	PROBE_TIMEOUT_MS = 1000,
	CONNECTION_MAX_IDLE_S = 60,
	POLL_MAX_MS = 60000,
	KEPT_CONNECTIONS_MAX = 16
};

struct http_headers {
	struct curl_slist *lines;
};

struct transfer {
	struct transfer *next;
	struct export *export;
	CURL *easy; /* NULL: the reply is there already, without a request */
	struct http_headers headers;
	unsigned generation; /* of the credential */
	struct buf answer;
	/* As far as it had come at moved_ns. */
	curl_off_t sent;
	curl_off_t received;
	int unacked;
	int64_t moved_ns;
	char error[CURL_ERROR_SIZE];
};

struct http_sender {
	const struct http_kind *kind;
	const struct destination_config *config;
	struct exporter *x;
	struct http_target target;
	struct credentials *credentials;
	int wake_fd;
	CURLM *multi;
	struct transfer *transfers; /* oldest first */
	CURL *probe;
	enum signal probe_signal;
	bool was_away;   /* the network, since the last probe that got through */
	bool is_refused; /* the last answer about the credential was 401 or 403 */
	unsigned refused_generation;
};

static struct http_sender *sender_of(const struct exporter *x)
{
	return ((const struct http_exporter *)x)->sender;
}

const char *http_exporter_url(const struct exporter *x, enum signal signal)
{
	const char *url = sender_of(x)->target.urls[signal];
	return url ? url : "";
}

static void transfer_free(struct http_sender *h, struct transfer *t)
{
	if (t->easy) {
		(void)curl_multi_remove_handle(h->multi, t->easy);
		curl_easy_cleanup(t->easy);
	}
	curl_slist_free_all(t->headers.lines);
	buf_done(&t->answer);
	free(t);
}

void http_exporter_done(struct http_exporter *x)
{
	struct http_sender *h = x->sender;
	if (!h)
		return;
	while (h->transfers) {
		struct transfer *t = h->transfers;
		h->transfers = t->next;
		transfer_free(h, t);
	}
	if (h->probe) {
		(void)curl_multi_remove_handle(h->multi, h->probe);
		curl_easy_cleanup(h->probe);
	}
	if (h->multi)
		(void)curl_multi_cleanup(h->multi);
	http_target_done(&h->target);
	credentials_free(h->credentials);
	free(h);
	x->sender = NULL;
	curl_global_cleanup();
}

enum status http_exporter_init(struct http_exporter *x, const struct http_kind *kind,
			       const struct destination_config *c, int wake_fd, struct err *e)
{
	if (curl_global_init(CURL_GLOBAL_DEFAULT))
		return err_set(e, ST_NO_MEMORY, "libcurl does not start");
	struct http_sender *h = xcalloc(1, sizeof(*h));
	x->sender = h;
	h->kind = kind;
	h->config = c;
	h->x = &x->base;
	h->wake_fd = wake_fd;
	h->multi = curl_multi_init();
	CHECK(h->multi);
	(void)curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, (long)KEPT_CONNECTIONS_MAX);
	enum status st = http_target_init(&h->target, kind, c, e);
	if (!st)
		st = credentials_open(c, &h->credentials, e);
	if (st)
		http_exporter_done(x);
	return st;
}

/* ---- requests ---- */

void http_headers_add(struct http_headers *h, const char *name, const char *value)
{
	size_t size = strlen(name) + strlen(value) + 3;
	char *line = xcalloc(1, size);
	/* libcurl: "Name;" is how an empty value is said. */
	(void)snprintf(line, size, value[0] ? "%s: %s" : "%s;", name, value);
	struct curl_slist *longer = curl_slist_append(h->lines, line);
	CHECK(longer);
	h->lines = longer;
	free(line);
}

static void make_headers(struct http_sender *h, struct transfer *t)
{
	const struct config_map *own = &h->config->headers;
	bool has_agent = false;
	/* In this order: renewed in between, it is rather tried twice than taken for refused. */
	t->generation = credentials_generation(h->credentials);
	const char *authorization = credentials_authorization(h->credentials);
	h->kind->headers(h->x, t->export, &t->headers);
	for (size_t i = 0; i < own->count; i++) {
		has_agent = has_agent || strcasecmp(own->items[i].key, "user-agent") == 0;
		http_headers_add(&t->headers, own->items[i].key, own->items[i].value);
	}
	if (authorization)
		http_headers_add(&t->headers, "Authorization", authorization);
	if (!has_agent)
		http_headers_add(&t->headers, "User-Agent", "tidegate/" TIDEGATE_VERSION);
	/* No waiting for 100 Continue: a round trip per export, for nothing. */
	struct curl_slist *longer = curl_slist_append(t->headers.lines, "Expect:");
	CHECK(longer);
	t->headers.lines = longer;
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

static CURL *make_request(struct http_sender *h, struct transfer *t)
{
	const struct export *x = t->export;
	long timeout_ms = (long)(h->config->timeout / NS_PER_MS);
	CURL *easy = curl_easy_init();
	CHECK(easy);
	set_common(easy, h->target.urls[x->signal],
		   timeout_ms < CONNECT_TIMEOUT_MS ? timeout_ms : CONNECT_TIMEOUT_MS);
	set_tls(easy, h->config);
	(void)curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS,
			       (long)(export_patience_ns(x, h->config->timeout) / NS_PER_MS));
	(void)curl_easy_setopt(easy, CURLOPT_HTTPHEADER, t->headers.lines);
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

static void start(struct http_sender *h, struct transfer *t)
{
	t->sent = 0;
	t->received = 0;
	t->unacked = 0;
	t->moved_ns = now_mono_ns();
	CHECK(curl_multi_add_handle(h->multi, t->easy) == CURLM_OK);
}

static void append(struct http_sender *h, struct transfer *t)
{
	struct transfer **end = &h->transfers;
	while (*end)
		end = &(*end)->next;
	*end = t;
}

static void forget(struct http_sender *h, struct transfer *t)
{
	struct transfer **at = &h->transfers;
	while (*at && *at != t)
		at = &(*at)->next;
	CHECK(*at);
	*at = t->next;
	transfer_free(h, t);
}

void http_exporter_answer(struct exporter *x, struct export *export)
{
	struct transfer *t = xcalloc(1, sizeof(*t));
	t->export = export;
	append(sender_of(x), t);
}

static void refuse(struct http_sender *h, struct export *export)
{
	const char *signal = signal_text(export->signal);
	export->reply = (struct export_reply){ .verdict = VERDICT_REFUSED, .is_own = true };
	(void)snprintf(export->reply.error, sizeof(export->reply.error),
		       h->kind->paths[export->signal] ?
			       "this destination has no URL for %s: set endpoint or %s_endpoint" :
			       "destinations of this kind do not take %s: change the routes",
		       signal, signal);
	http_exporter_answer(h->x, export);
}

void http_exporter_send(struct exporter *x, struct export *export)
{
	struct http_sender *h = sender_of(x);
	if (!h->target.urls[export->signal]) {
		refuse(h, export);
		return;
	}
	struct transfer *t = xcalloc(1, sizeof(*t));
	t->export = export;
	append(h, t);
	buf_init(&t->answer, ANSWER_MAX, NULL);
	make_headers(h, t);
	t->easy = make_request(h, t);
	h->probe_signal = export->signal;
	start(h, t);
}

void http_exporter_probe(struct exporter *x)
{
	struct http_sender *h = sender_of(x);
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

static const char *header_of(void *easy, const char *name)
{
	struct curl_header *h = NULL;
	return curl_easy_header(easy, name, 0, CURLH_HEADER, -1, &h) == CURLHE_OK ? h->value : NULL;
}

/* Was it this credential that was refused? */
static void note_credential(struct http_sender *h, const struct transfer *t)
{
	h->is_refused = t->export->reply.verdict == VERDICT_UNAUTHORIZED;
	h->refused_generation = t->generation;
}

bool http_exporter_is_renewed(struct exporter *x)
{
	struct http_sender *h = sender_of(x);
	return h->is_refused && credentials_generation(h->credentials) != h->refused_generation;
}

static void fill_reply(struct http_sender *h, struct transfer *t, CURLcode rc)
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
					 .body = buf_view(&t->answer),
					 .header = header_of,
					 .header_ctx = t->easy };
		credentials_redact(h->credentials, t->answer.p, t->answer.n);
		h->kind->read(h->x, &a, x);
		/* Once more: a reason is decoded (JSON in HTML, and the like). */
		credentials_redact(h->credentials, x->reply.error, strlen(x->reply.error));
		note_credential(h, t);
		return;
	}
	x->reply = (struct export_reply){ .verdict = VERDICT_RETRY };
	x->reply.is_unreachable = rc == CURLE_COULDNT_CONNECT || rc == CURLE_COULDNT_RESOLVE_HOST ||
				  rc == CURLE_COULDNT_RESOLVE_PROXY ||
				  (rc == CURLE_OPERATION_TIMEDOUT && !is_connected(t->easy));
	h->was_away = h->was_away || x->reply.is_unreachable;
	/* libcurl may quote what a peer said that is no HTTP. */
	credentials_redact(h->credentials, t->error, strlen(t->error));
	(void)snprintf(x->reply.error, sizeof(x->reply.error), "%s",
		       t->error[0] ? t->error : curl_easy_strerror(rc));
}

/* Ends a transfer: the export goes back with its reply. */
static struct export *finish(struct http_sender *h, struct transfer *t, CURLcode rc)
{
	struct export *x = t->export;
	fill_reply(h, t, rc);
	forget(h, t);
	return x;
}

/* The network is back: do not wait for the next SYN of connections that were begun without it. */
static void restart_unconnected(struct http_sender *h)
{
	for (struct transfer *t = h->transfers; t; t = t->next) {
		if (!t->easy || is_connected(t->easy))
			continue;
		(void)curl_multi_remove_handle(h->multi, t->easy);
		start(h, t);
	}
}

static enum exporter_event take_finished(struct http_sender *h, struct export **ret)
{
	for (struct transfer *t = h->transfers; t; t = t->next) {
		if (t->easy)
			continue;
		*ret = t->export;
		forget(h, t);
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
			if (rc == CURLE_OK && h->was_away)
				restart_unconnected(h);
			h->was_away = rc != CURLE_OK;
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
static struct transfer *find_stalled(struct http_sender *h, int64_t now, int64_t *deadline_ns)
{
	for (struct transfer *t = h->transfers; t; t = t->next) {
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

enum exporter_event http_exporter_poll(struct exporter *x, int64_t deadline_ns, struct export **ret)
{
	struct http_sender *h = sender_of(x);
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
