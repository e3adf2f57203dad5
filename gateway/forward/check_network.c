/* check_network.c - name, connection and TLS of each host, one after the other.
 *
 * Each step is made for itself, so that the one that fails can be named: to an exporter "no route
 * to host" and "unknown authority" are both just a failed request. URLs are not shown, as they may
 * hold a password; host and port are. */
#include "gateway/forward/check_network.h"

#include <curl/curl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#include "gateway/base/grpc_endpoint.h"
#include "gateway/base/now.h"
#include "gateway/forward/check_tls.h"
#include "gateway/forward/dial.h"
#include "gateway/forward/lookup.h"

struct target {
	char host[256];
	char port[8];
	bool is_tls;
};

enum { TARGETS_MAX = 4 };

struct targets {
	size_t count;
	struct target items[TARGETS_MAX];
};

static bool read_url(const char *text, struct target *ret)
{
	char *host = NULL;
	char *port = NULL;
	char *scheme = NULL;
	CURLU *u = curl_url();
	CHECK(u);
	bool is_url = curl_url_set(u, CURLUPART_URL, text, 0) == CURLUE_OK &&
		      curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
		      curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK &&
		      curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK;
	if (is_url) {
		/* Without the brackets of IPv6. */
		size_t n = strlen(host);
		bool has_brackets = n > 2 && host[0] == '[' && host[n - 1] == ']';
		(void)snprintf(ret->host, sizeof(ret->host), "%.*s",
			       (int)(has_brackets ? n - 2 : n), has_brackets ? host + 1 : host);
		(void)snprintf(ret->port, sizeof(ret->port), "%s", port);
		ret->is_tls = strcasecmp(scheme, "https") == 0;
	}
	curl_free(host);
	curl_free(port);
	curl_free(scheme);
	curl_url_cleanup(u);
	return is_url;
}

static void add_target(struct targets *t, const struct destination_config *c, const char *text)
{
	struct target one = { .is_tls = false };
	struct grpc_endpoint grpc;
	struct err ignored;
	if (!text[0] || t->count == TARGETS_MAX)
		return;
	if (c->kind == CONFIG_KIND_OTLP_GRPC) {
		if (grpc_endpoint_parse(text, c->tls_insecure, &grpc, &ignored))
			return;
		(void)snprintf(one.host, sizeof(one.host), "%s", grpc.host);
		(void)snprintf(one.port, sizeof(one.port), "%s", grpc.port);
		one.is_tls = grpc.is_tls;
	} else if (!read_url(text, &one)) {
		return;
	}
	for (size_t i = 0; i < t->count && i < TARGETS_MAX; i++)
		if (strcmp(t->items[i].host, one.host) == 0 &&
		    strcmp(t->items[i].port, one.port) == 0 && t->items[i].is_tls == one.is_tls)
			return;
	t->items[t->count++] = one;
}

static void tell(const struct check_request *r, const char *what, struct check_step *s)
{
	(void)snprintf(s->what, sizeof(s->what), "%s", what);
	r->tell(r->ctx, s);
}

static void list_addresses(const struct addrinfo *list, char *ret, size_t size)
{
	size_t n = 0;
	int shown = 0;
	for (const struct addrinfo *ai = list; ai && shown < 4; ai = ai->ai_next, shown++) {
		char address[64];
		if (getnameinfo(ai->ai_addr, ai->ai_addrlen, address, sizeof(address), NULL, 0,
				NI_NUMERICHOST))
			(void)snprintf(address, sizeof(address), "?");
		n += (size_t)snprintf(ret + n, size - n, "%s%s", shown ? ", " : "", address);
		if (n >= size)
			return;
	}
}

static bool check_name(const struct check_request *r, const struct target *t)
{
	struct check_step s = { .outcome = CHECK_FINE };
	struct lookup *l = NULL;
	struct addrinfo *list = NULL;
	struct err e = { 0 };
	enum status st = lookup_new(t->host, t->port, &l, &e);
	if (!st) {
		struct pollfd f = { .fd = lookup_fd(l), .events = POLLIN };
		(void)poll(&f, 1, (int)(r->timeout_ns / NS_PER_MS));
		st = lookup_result(l, &list, &e);
	}
	if (st == ST_BUSY)
		(void)err_set(&e, st, "no answer from the name server within %lld s",
			      (long long)(r->timeout_ns / NS_PER_S));
	if (st) {
		s.outcome = CHECK_FAILED;
		(void)snprintf(s.text, sizeof(s.text), "%s: %s", t->host, err_text(&e, st));
		(void)snprintf(s.hint, sizeof(s.hint),
			       "is the name right, and does this machine reach a name server "
			       "(/etc/resolv.conf)? Is the uplink up?");
	} else {
		char addresses[300] = "";
		list_addresses(list, addresses, sizeof(addresses));
		(void)snprintf(s.text, sizeof(s.text), "%s is %s", t->host, addresses);
	}
	if (list)
		freeaddrinfo(list);
	lookup_free(l);
	tell(r, "name", &s);
	return s.outcome != CHECK_FAILED;
}

/* *ret_fd is connected. */
static enum status connect_to(const struct check_request *r, const struct target *t, int *ret_fd,
			      struct err *e)
{
	struct dial *d = dial_new(t->host, t->port, r->timeout_ns);
	enum status st = dial_step(d, ret_fd, e);
	while (st == ST_BUSY) {
		struct pollfd fds[DIAL_FDS_MAX];
		size_t n = dial_fds(d, fds);
		int64_t left = dial_due_ns(d) - now_mono_ns();
		(void)poll(fds, (nfds_t)n, left > 0 ? (int)(left / NS_PER_MS) + 1 : 0);
		st = dial_step(d, ret_fd, e);
	}
	dial_free(d);
	return st;
}

static bool check_connection(const struct check_request *r, const struct target *t, int *ret_fd)
{
	struct check_step s = { .outcome = CHECK_FINE };
	struct err e = { 0 };
	int64_t start = now_mono_ns();
	enum status st = connect_to(r, t, ret_fd, &e);
	if (st) {
		s.outcome = CHECK_FAILED;
		(void)snprintf(s.text, sizeof(s.text), "%s", err_text(&e, st));
		(void)snprintf(s.hint, sizeof(s.hint),
			       "does the backend run and listen on port %s? (OTLP: 4317 gRPC, 4318 "
			       "HTTP; Loki 3100; Prometheus 9090.) Is a firewall on the way?",
			       t->port);
	} else {
		(void)snprintf(s.text, sizeof(s.text), "port %s of %s, in %.0f ms", t->port,
			       t->host, (double)(now_mono_ns() - start) / NS_PER_MS);
	}
	tell(r, "connection", &s);
	return !st;
}

static bool check_target(const struct check_request *r, const struct target *t)
{
	int fd = -1;
	if (!check_name(r, t) || !check_connection(r, t, &fd))
		return false;
	if (!t->is_tls) {
		(void)close(fd);
		return true;
	}
	struct check_step s = { .outcome = CHECK_FINE };
	check_tls(r->destination, t->host, fd, r->timeout_ns, &s);
	tell(r, "tls", &s);
	return s.outcome != CHECK_FAILED;
}

/* The environment's proxy, as libcurl takes it; NULL: there is none. */
static const char *proxy_variable(bool is_tls)
{
	static const char *const names[][3] = { { "http_proxy", "all_proxy", "ALL_PROXY" },
						{ "https_proxy", "HTTPS_PROXY", "all_proxy" } };
	for (size_t i = 0; i < 3; i++) {
		const char *value = getenv(names[is_tls][i]);
		if (value && value[0])
			return names[is_tls][i];
	}
	return NULL;
}

/* Through a proxy this machine need neither know the name nor reach the host: the test record
 * tells. */
static bool is_behind_proxy(const struct check_request *r, const struct target *t)
{
	const char *variable =
		r->destination->kind == CONFIG_KIND_OTLP_GRPC ? NULL : proxy_variable(t->is_tls);
	struct check_step s = { .outcome = CHECK_LEFT_OUT };
	if (!variable)
		return false;
	(void)snprintf(s.text, sizeof(s.text),
		       "%s is set in this environment, so %s may be reached through a proxy",
		       variable, t->host);
	(void)snprintf(s.hint, sizeof(s.hint),
		       "does the gateway run with the same variable? no_proxy excepts hosts");
	tell(r, "connection", &s);
	return true;
}

bool check_network(const struct check_request *r)
{
	const struct destination_config *c = r->destination;
	struct targets t = { 0 };
	bool is_fine = true;
	const struct config_endpoints urls = config_endpoints(c);
	for (size_t i = 0; i < CONFIG_ENDPOINTS; i++)
		add_target(&t, c, urls.items[i].url);
	for (size_t i = 0; i < t.count; i++)
		if (!is_behind_proxy(r, &t.items[i]))
			is_fine = check_target(r, &t.items[i]) && is_fine;
	return is_fine;
}
