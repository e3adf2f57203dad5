/* http_reply.c - from status, headers and body to a verdict with a reason.
 *
 * A 2xx is a success, with one exception: an HTML page is no OTLP answer. Captive portals and
 * misconfigured proxies answer everything with 200 and a page, and taking that for a delivery would
 * lose what edge sites exist to keep. Many honest backends answer with no body, or with text: those
 * count. */
#include "gateway/forward/http_reply.h"

#include <stdio.h>
#include <strings.h>

#include "gateway/base/now.h"
#include "gateway/forward/backoff.h"
#include "gateway/telemetry/reply.h"

enum { EXCERPT_MAX = 200 };

/* Does the media type match, whatever its parameters and case? */
static bool is_type(const char *content_type, const char *want)
{
	size_t n = strlen(want);
	return content_type && strncasecmp(content_type, want, n) == 0 &&
	       strchr("; \t", content_type[n]);
}

/* A text's first printable characters. */
static void excerpt(struct bytes body, char *dst, size_t size)
{
	size_t n = 0;
	for (size_t i = 0; i < body.n && i < EXCERPT_MAX && n + 1 < size; i++)
		dst[n++] = body.p[i] >= 0x20 && body.p[i] < 0x7f ? (char)body.p[i] : ' ';
	while (n > 0 && dst[n - 1] == ' ')
		n--;
	dst[n] = '\0';
}

/* A success that is none: true where the reply says so now. */
static bool is_page(const struct http_answer *a, struct export_reply *ret)
{
	if (!is_type(a->content_type, "text/html"))
		return false;
	ret->verdict = VERDICT_RETRY;
	(void)snprintf(ret->error, sizeof(ret->error),
		       "HTTP %d with an HTML page, which is no answer to an export: a captive "
		       "portal, or a wrong endpoint",
		       a->status);
	return true;
}

void http_reply_read_partial(enum signal signal, struct bytes body, bool is_json,
			     struct export_reply *ret)
{
	struct reply_partial partial = { 0 };
	/* It said success: what cannot be read beyond that changes nothing. */
	if (reply_read_partial(signal, body, is_json, &partial) != ST_OK)
		return;
	ret->rejected = partial.rejected > 0 ? partial.rejected : 0;
	if (ret->rejected)
		(void)snprintf(ret->error, sizeof(ret->error), "partial success, %lld rejected: %s",
			       (long long)ret->rejected, partial.message);
	else if (partial.message[0])
		(void)snprintf(ret->error, sizeof(ret->error), "warning: %s", partial.message);
}

static void read_failure(const struct http_answer *a, bool is_json, struct export_reply *ret)
{
	struct reply_status rpc = { 0 };
	char text[EXCERPT_MAX + 1] = "";
	const char *message = text;
	if (reply_read_status(a->body, is_json, &rpc) == ST_OK && rpc.message[0])
		message = rpc.message;
	else if (is_json || is_type(a->content_type, "text/plain"))
		excerpt(a->body, text, sizeof(text));
	if (!message[0] && a->status >= 300 && a->status < 400)
		message = "redirects are not followed: put the final URL into endpoint";
	(void)snprintf(ret->error, sizeof(ret->error), "HTTP %d%s%s", a->status,
		       message[0] ? ": " : "", message);
	ret->verdict = outcome_of_http_words(a->status, message);
	if (ret->verdict != VERDICT_RETRY)
		return;
	int64_t header_ns = backoff_retry_after_ns(a->retry_after, now_wall_ns());
	int64_t info_ns =
		rpc.retry_after_ms > 3600 * 1000 ? 3600 * NS_PER_S : rpc.retry_after_ms * NS_PER_MS;
	ret->retry_after_ns = header_ns > info_ns ? header_ns : info_ns;
}

void http_reply_read(enum signal signal, const struct http_answer *a, struct export_reply *ret)
{
	bool is_json = is_type(a->content_type, "application/json");
	*ret = (struct export_reply){ .status = a->status, .verdict = outcome_of_http(a->status) };
	if (ret->verdict != VERDICT_DELIVERED)
		read_failure(a, is_json, ret);
	else if (!is_page(a, ret))
		http_reply_read_partial(signal, a->body, is_json, ret);
}

void http_reply_read_plain(const struct http_answer *a, struct export_reply *ret)
{
	*ret = (struct export_reply){ .status = a->status, .verdict = outcome_of_http(a->status) };
	if (ret->verdict != VERDICT_DELIVERED)
		read_failure(a, is_type(a->content_type, "application/json"), ret);
	else
		(void)is_page(a, ret);
}
