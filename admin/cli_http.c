/* cli_http.c - the command line's way to a running gateway: one GET.
 *
 * No proxy and no redirect: the gateway is on this machine or named on purpose. The answer is
 * bounded by the buffer, the time by libcurl. */
#include <curl/curl.h>

#include "admin/command.h"
#include "gateway/base/net.h"
#include "gateway/base/xalloc.h"

enum { CONNECT_TIMEOUT_S = 3, TIMEOUT_S = 30 };

struct sink {
	struct buf *body;
	enum status st;
};

static size_t take(char *data, size_t size, size_t count, void *ctx)
{
	struct sink *s = ctx;
	s->st = buf_append(s->body, bytes_of(data, size * count));
	return s->st ? 0 : size * count;
}

/* A listener on all addresses is asked on loopback. */
static enum status base_url(const char *endpoint, struct buf *url, struct err *e)
{
	char host[256];
	char port[16];
	if (strstr(endpoint, "://"))
		return buf_append_str(url, endpoint);
	enum status st = net_split(endpoint, host, sizeof(host), port, sizeof(port), e);
	if (st)
		return st;
	const char *name = host;
	if (!host[0] || strcmp(host, "0.0.0.0") == 0)
		name = "127.0.0.1";
	else if (strcmp(host, "::") == 0)
		name = "::1";
	return buf_printf(url, strchr(name, ':') ? "http://[%s]:%s" : "http://%s:%s", name, port);
}

static enum status build_url(CURL *curl, const char *endpoint, const char *path,
			     const struct cli_options *o, struct buf *url, struct err *e)
{
	enum status st = base_url(endpoint, url, e);
	if (!st)
		st = buf_append_str(url, path);
	for (size_t i = 0; i < o->pair_count && !st; i++) {
		char *value = curl_easy_escape(curl, o->pairs[i].value, 0);
		CHECK(value);
		st = buf_printf(url, "%c%s=%s", i ? '&' : '?', o->pairs[i].name, value);
		curl_free(value);
	}
	return st ? st : buf_append_byte(url, 0);
}

static struct curl_slist *set_options(CURL *curl, const char *url, const char *token,
				      struct sink *sink)
{
	struct curl_slist *headers = NULL;
	(void)curl_easy_setopt(curl, CURLOPT_URL, url);
	(void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	(void)curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
	(void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S);
	(void)curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)TIMEOUT_S);
	(void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
	(void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, sink);
	(void)curl_easy_setopt(curl, CURLOPT_USERAGENT, "tidegate/" TIDEGATE_VERSION);
	if (token && token[0]) {
		struct buf line;
		buf_init(&line, 4096, NULL);
		if (buf_printf(&line, "Authorization: Bearer %s", token) == ST_OK &&
		    buf_append_byte(&line, 0) == ST_OK)
			headers = curl_slist_append(NULL, (const char *)line.p);
		buf_done(&line);
		(void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	}
	return headers;
}

enum status cli_http_get(const char *endpoint, const char *token, const char *path,
			 const struct cli_options *o, struct buf *body, int *ret_code,
			 struct err *e)
{
	CURL *curl = curl_easy_init();
	CHECK(curl);
	struct buf url;
	buf_init(&url, 64 << 10, NULL);
	struct sink sink = { .body = body };
	struct curl_slist *headers = NULL;
	enum status st = build_url(curl, endpoint, path, o, &url, e);
	if (st)
		goto out;
	headers = set_options(curl, (const char *)url.p, token, &sink);
	CURLcode rc = curl_easy_perform(curl);
	long code = 0;
	(void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &code);
	if (rc == CURLE_COULDNT_CONNECT || rc == CURLE_COULDNT_RESOLVE_HOST)
		st = err_set(e, ST_UNAVAILABLE, "no gateway listens on %s", endpoint);
	else if (rc != CURLE_OK)
		st = err_set(e, sink.st ? sink.st : ST_IO, "%s: %s", endpoint,
			     curl_easy_strerror(rc));
	else
		*ret_code = (int)code;
out:
	curl_slist_free_all(headers);
	curl_easy_cleanup(curl);
	buf_done(&url);
	return st;
}
