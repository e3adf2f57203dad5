/* grpc_endpoint.c - the endpoint of a gRPC destination (https://host:port, http://host:port or
 * host:port), and its headers.
 *
 * The OTLP specification lets the scheme decide, and says of host:port alone only that a client may
 * take it. The Collector takes it for TLS unless tls.insecure says otherwise; so do we: a guess in
 * the other direction would send telemetry and credentials in the clear. Where scheme and
 * tls.insecure say opposite things, neither wins. A path is refused: gRPC has its own, and a URL
 * that has one was copied from OTLP/HTTP.
 *
 * Headers are sent as metadata: values of printable ASCII (PROTOCOL-HTTP2.md, "ASCII-Value").
 * Binary metadata (names that end in -bin) is refused: nobody authenticates with it, and in which
 * base64 such a value would be is a guess. */
#include "gateway/base/grpc_endpoint.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "gateway/base/net.h"

#define DEFAULT_PORT "4317"
#define LIKE         "write https://host:4317, or http://host:4317 for cleartext"

/* The text behind the scheme, and whether it is TLS. */
static enum status take_scheme(const char **text, bool is_insecure, bool *is_tls, struct err *e)
{
	*is_tls = !is_insecure;
	const char *end = strstr(*text, "://");
	if (!end)
		return ST_OK;
	size_t n = (size_t)(end - *text);
	if (n == 5 && memcmp(*text, "https", n) == 0) {
		if (is_insecure)
			return err_set(e, ST_INVALID,
				       "https:// and tls.insecure: true contradict each other");
		*is_tls = true;
	} else if (n == 4 && memcmp(*text, "http", n) == 0) {
		*is_tls = false;
	} else {
		return err_set(e, ST_INVALID, "its scheme is unknown: " LIKE);
	}
	*text = end + 3;
	return ST_OK;
}

static enum status check_rest(const char *rest, struct err *e)
{
	size_t n = strcspn(rest, "/?#");
	if (rest[n] && strcmp(rest + n, "/") != 0)
		return err_set(e, ST_INVALID,
			       "gRPC takes no path: " LIKE
			       "; a URL with a path is one for kind otlp_http");
	if (memchr(rest, '@', n))
		return err_set(
			e, ST_INVALID,
			"user and password do not belong into a gRPC endpoint: use auth.basic");
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)rest[i] <= 0x20 || (unsigned char)rest[i] >= 0x7f)
			return err_set(e, ST_INVALID,
				       "it has a blank or a character that no host name may have");
	return ST_OK;
}

/* Does a port follow the host? Not within an IPv6 address. */
static bool has_port(const char *host, size_t n)
{
	const char *colon = memrchr(host, ':', n);
	const char *bracket = memrchr(host, ']', n);
	return colon && (!bracket || bracket < colon);
}

enum status grpc_endpoint_parse(const char *text, bool is_insecure, struct grpc_endpoint *ret,
				struct err *e)
{
	struct grpc_endpoint p = { 0 };
	char joined[300];
	enum status st = take_scheme(&text, is_insecure, &p.is_tls, e);
	if (!st)
		st = check_rest(text, e);
	if (st)
		return st;
	size_t n = strcspn(text, "/?#");
	if (n == 0 || n > 260)
		return err_set(e, ST_INVALID, "it has no host: " LIKE);
	int len = snprintf(joined, sizeof(joined), "%.*s%s", (int)n, text,
			   has_port(text, n) ? "" : ":" DEFAULT_PORT);
	if (len < 0 || (size_t)len >= sizeof(joined) ||
	    net_split(joined, p.host, sizeof(p.host), p.port, sizeof(p.port), NULL))
		return err_set(e, ST_INVALID,
			       "it is no host and port: " LIKE
			       ", and an IPv6 address as in http://[::1]:4317");
	if (!p.host[0] || strcmp(p.port, "0") == 0)
		return err_set(e, ST_INVALID, "it has no host, or port 0: " LIKE);
	(void)snprintf(p.authority, sizeof(p.authority), strchr(p.host, ':') ? "[%s]:%s" : "%s:%s",
		       p.host, p.port);
	*ret = p;
	return ST_OK;
}

static bool is_ours(const char *name)
{
	static const char *const ours[] = { "te",         "content-type",      "content-length",
					    "connection", "transfer-encoding", "host",
					    "keep-alive", "proxy-connection",  "upgrade" };
	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		if (strcasecmp(name, ours[i]) == 0)
			return true;
	return strncasecmp(name, "grpc-", 5) == 0;
}

enum status grpc_metadata_check(const char *name, const char *value, struct err *e)
{
	size_t n = strlen(name);
	if (n == 0 || strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				   "0123456789_-.") != n)
		return err_set(
			e, ST_INVALID,
			"headers: \"%.64s\" is no name of gRPC metadata: letters, digits and "
			"_ - . only",
			name);
	if (is_ours(name))
		return err_set(e, ST_INVALID, "headers: \"%.64s\" is set by the gateway itself",
			       name);
	if (n >= 4 && strcasecmp(name + n - 4, "-bin") == 0)
		return err_set(e, ST_INVALID,
			       "headers: \"%.64s\": binary metadata cannot be configured", name);
	for (const char *c = value; *c; c++)
		if (*c < 0x20 || *c > 0x7e)
			return err_set(
				e, ST_INVALID,
				"headers: the value of \"%.64s\" has a character that is not "
				"printable ASCII",
				name);
	return ST_OK;
}
