/* cli_http.c - the command line's way to a running gateway: one GET, or one POST of JSON.
 *
 * No proxy and no redirect: the gateway is on this machine or named on purpose. The answer is
 * bounded by the buffer, the time by libcurl. */
#include <curl/curl.h>

#include "admin/command.h"
#include "gateway/base/net.h"
#include "gateway/base/xalloc.h"

enum { CONNECT_TIMEOUT_S = 3, TIMEOUT_S = 30 };

struct sink {
	CURL *curl;
	const struct cli_request *request;
	enum status st;
};

static size_t take(char *data, size_t size, size_t count, void *ctx)
{
	struct sink *s = ctx;
	long code = 0;
	(void)curl_easy_getinfo(s->curl, CURLINFO_RESPONSE_CODE, &code);
	if (code == 200 && s->request->stream)
		s->st = fwrite(data, size, count, s->request->stream) == count ? ST_OK : ST_IO;
	else
		s->st = buf_append(s->request->body, bytes_of(data, size * count));
	return s->st ? 0 : size * count;
}

/* A listener on all addresses is asked on loopback. */
static enum status base_url(const char *endpoint, struct buf *url, struct err *e)
{
	char host[256];
	char port[16];
	size_t n = strlen(endpoint);
	while (n > 0 && endpoint[n - 1] == '/')
		n--; /* paths begin with one */
	if (strstr(endpoint, "://"))
		return buf_append(url, bytes_of(endpoint, n));
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

static enum status build_url(CURL *curl, const struct cli_request *r, struct buf *url,
			     struct err *e)
{
	enum status st = base_url(r->endpoint, url, e);
	if (!st)
		st = buf_append_str(url, r->path);
	for (size_t i = 0; r->query && i < r->query->pair_count && !st; i++) {
		char *value = curl_easy_escape(curl, r->query->pairs[i].value, 0);
		CHECK(value);
		st = buf_printf(url, "%c%s=%s", i ? '&' : '?', r->query->pairs[i].name, value);
		curl_free(value);
	}
	return st ? st : buf_append_byte(url, 0);
}

static struct curl_slist *make_headers(const struct cli_request *r)
{
	struct curl_slist *headers = NULL;
	struct buf line;
	buf_init(&line, 4096, NULL);
	if (r->json)
		headers = curl_slist_append(headers, "Content-Type: application/json");
	if (r->token && r->token[0] &&
	    buf_printf(&line, "Authorization: Bearer %s", r->token) == ST_OK &&
	    buf_append_byte(&line, 0) == ST_OK)
		headers = curl_slist_append(headers, (const char *)line.p);
	buf_done(&line);
	return headers;
}

static void set_options(CURL *curl, const char *url, const struct cli_request *r, struct sink *sink)
{
	(void)curl_easy_setopt(curl, CURLOPT_URL, url);
	(void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	(void)curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
	(void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S);
	/* A stream may take as long as it is long, but must not stand still. */
	if (r->stream) {
		(void)curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
		(void)curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)TIMEOUT_S);
	} else {
		(void)curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)TIMEOUT_S);
	}
	(void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
	(void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, sink);
	(void)curl_easy_setopt(curl, CURLOPT_USERAGENT, "tidegate/" TIDEGATE_VERSION);
	if (!r->json)
		return;
	(void)curl_easy_setopt(curl, CURLOPT_POST, 1L);
	(void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, (const char *)r->json->p);
	(void)curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->json->n);
}

enum status cli_http(const struct cli_request *r, int *ret_code, struct err *e)
{
	CURL *curl = curl_easy_init();
	CHECK(curl);
	struct buf url;
	buf_init(&url, 64 << 10, NULL);
	struct sink sink = { .curl = curl, .request = r };
	struct curl_slist *headers = make_headers(r);
	enum status st = build_url(curl, r, &url, e);
	if (st)
		goto out;
	set_options(curl, (const char *)url.p, r, &sink);
	(void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	CURLcode rc = curl_easy_perform(curl);
	long code = 0;
	(void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &code);
	if (rc == CURLE_COULDNT_CONNECT || rc == CURLE_COULDNT_RESOLVE_HOST)
		st = err_set(e, ST_UNAVAILABLE, "no gateway listens on %s", r->endpoint);
	else if (rc != CURLE_OK)
		st = err_set(e, sink.st ? sink.st : ST_IO, "%s: %s", r->endpoint,
			     curl_easy_strerror(rc));
	else
		*ret_code = (int)code;
out:
	curl_slist_free_all(headers);
	curl_easy_cleanup(curl);
	buf_done(&url);
	return st;
}
