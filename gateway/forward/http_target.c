/* http_target.c - checks the configuration of a destination that speaks HTTP and makes of it what
 * libcurl wants.
 *
 * endpoint is a base URL that gets the kind's path; <signal>_endpoint is used as it is. Everything
 * that can be wrong without a network is refused here, by the name of its key, and not found out at
 * three in the morning when the uplink returns. */
#include "gateway/forward/http_target.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "gateway/base/xalloc.h"
#include "gateway/forward/grpc_tls.h"

static enum status check_scheme(CURLU *u, const char *key, struct err *e)
{
	char *scheme = NULL;
	bool is_known = curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
			(strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);
	curl_free(scheme);
	if (!is_known)
		return err_set(e, ST_INVALID, "%s: only http:// and https:// URLs", key);
	return ST_OK;
}

/* Text is not shown in errors: it may hold a password. */
static enum status parse(CURLU *u, const char *text, const char *key, struct err *e)
{
	CURLUcode rc = curl_url_set(u, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME);
	if (rc)
		return err_set(e, ST_INVALID, "%s: not a URL like https://otlp.example.com (%s)",
			       key, curl_url_strerror(rc));
	return check_scheme(u, key, e);
}

static enum status append_path(CURLU *u, const char *suffix, bool is_once)
{
	char *path = NULL;
	if (curl_url_get(u, CURLUPART_PATH, &path, 0) != CURLUE_OK)
		return ST_NO_MEMORY;
	size_t n = strlen(path);
	while (n > 0 && path[n - 1] == '/')
		n--;
	size_t more = strlen(suffix);
	if (is_once && n >= more && memcmp(path + n - more, suffix, more) == 0)
		n -= more;
	size_t size = n + more + 1;
	char *joined = xcalloc(1, size);
	(void)snprintf(joined, size, "%.*s%s", (int)n, path, suffix);
	curl_free(path);
	CURLUcode rc = curl_url_set(u, CURLUPART_PATH, joined, 0);
	free(joined);
	return rc ? ST_NO_MEMORY : ST_OK;
}

/* libcurl's strings are its own to free: ours are plain. */
static char *url_dup(CURLU *u)
{
	char *text = NULL;
	CHECK(curl_url_get(u, CURLUPART_URL, &text, 0) == CURLUE_OK);
	char *copy = xstrdup(text);
	curl_free(text);
	return copy;
}

/* http://host:port/ of any URL. */
static char *probe_dup(CURLU *u)
{
	char *host = NULL;
	char *port = NULL;
	CHECK(curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK);
	CHECK(curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK);
	size_t size = strlen(host) + strlen(port) + 16;
	char *url = xcalloc(1, size);
	(void)snprintf(url, size, "http://%s:%s/", host, port);
	curl_free(host);
	curl_free(port);
	return url;
}

static enum status make_url(struct http_target *t, enum signal s, const char *text, const char *key,
			    const struct http_kind *base, struct err *e)
{
	CURLU *u = curl_url();
	CHECK(u);
	enum status st = parse(u, text, key, e);
	if (!st && base && base->paths[s][0])
		st = append_path(u, base->paths[s], base->is_whole_endpoint_fine);
	if (!st) {
		t->urls[s] = url_dup(u);
		t->probe_urls[s] = probe_dup(u);
	}
	curl_url_cleanup(u);
	return st;
}

static enum status make_urls(struct http_target *t, const struct http_kind *kind,
			     const struct destination_config *c, struct err *e)
{
	const struct config_endpoints urls = config_endpoints(c);
	bool is_any = false;
	enum status st = ST_OK;
	for (enum signal s = 0; s < SIGNAL_COUNT && !st; s++) {
		const struct config_endpoint *own = &urls.of[s];
		if (!kind->paths[s])
			continue;
		if (own->url[0])
			st = make_url(t, s, own->url, own->key, NULL, e);
		else if (urls.all.url[0])
			st = make_url(t, s, urls.all.url, urls.all.key, kind, e);
		is_any = is_any || t->urls[s];
	}
	if (!st && !is_any)
		return err_set(e, ST_INVALID,
			       "endpoint: missing; kind %s needs a URL like "
			       "https://telemetry.example.com",
			       kind->name);
	return st;
}

/* RFC 9110: a field name is a token, a value has no control characters. */
static enum status check_header(const struct http_kind *kind, const struct config_pair *h,
				struct err *e)
{
	static const char *const ours[] = { "content-type",   "content-encoding",
					    "content-length", "transfer-encoding",
					    "expect",         "connection" };
	static const char token[] = "!#$%&'*+-.^_`|~0123456789"
				    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
	if (!h->key[0] || strspn(h->key, token) != strlen(h->key))
		return err_set(e, ST_INVALID, "headers: \"%s\" is not a header name", h->key);
	bool is_ours = false;
	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		is_ours = is_ours || strcasecmp(h->key, ours[i]) == 0;
	for (const char *const *p = kind->own_headers; p && *p; p++)
		is_ours = is_ours || strcasecmp(h->key, *p) == 0;
	if (is_ours)
		return err_set(e, ST_INVALID, "headers.%s: is set by the gateway itself", h->key);
	for (const char *p = h->value; *p; p++)
		if (((unsigned char)*p < 0x20 && *p != '\t') || *p == 0x7f)
			return err_set(e, ST_INVALID,
				       "headers.%s: the value has a line break or another control "
				       "character",
				       h->key);
	return ST_OK;
}

/* libcurl is built with the same library, and reads the files when it connects: too late. */
static enum status check_tls(const struct destination_config *c, struct err *e)
{
	bool has_files = c->tls_ca_file[0] || c->tls_cert_file[0] || c->tls_key_file[0];
	return has_files ? grpc_tls_check(c, e) : ST_OK;
}

enum status http_target_init(struct http_target *t, const struct http_kind *kind,
			     const struct destination_config *c, struct err *e)
{
	enum status st = make_urls(t, kind, c, e);
	for (size_t i = 0; i < c->headers.count && !st; i++)
		st = check_header(kind, &c->headers.items[i], e);
	if (!st)
		st = check_tls(c, e);
	return st;
}

void http_target_done(struct http_target *t)
{
	for (int s = 0; s < SIGNAL_COUNT; s++) {
		free(t->urls[s]);
		free(t->probe_urls[s]);
	}
	*t = (struct http_target){ 0 };
}
