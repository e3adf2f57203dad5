/* auth.c - the rules of access to the admin API.
 *
 * (1) With a token, everything but health and readiness wants it, as a bearer token (RFC 6750).
 * (2) Without one the listener must be on loopback: auth_check_endpoint refuses to start otherwise.
 * (3) Without one a request must also call us by an address or as localhost. A web page that a
 *     browser on this machine shows could otherwise point a name of its own at 127.0.0.1 and read
 *     telemetry through the browser (DNS rebinding); no browser lets it forge the Host header. */
#include "admin/auth.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "gateway/base/net.h"

bool auth_is_bearer(const char *authorization, const char *token)
{
	static const char scheme[] = "Bearer ";
	if (!authorization || strncasecmp(authorization, scheme, sizeof(scheme) - 1) != 0)
		return false;
	const char *given = authorization + sizeof(scheme) - 1;
	size_t n = strlen(given);
	size_t want = strlen(token);
	/* Every byte that was given is compared, with no branch on the outcome. */
	volatile unsigned char difference = n != want;
	for (size_t i = 0; i < n; i++)
		difference |= (unsigned char)(given[i] ^ token[want ? i % want : 0]);
	return difference == 0;
}

bool auth_is_local_host(const char *host)
{
	if (!host || host[0] == '[')
		return true; /* HTTP/1.0, or an IPv6 address: neither comes from a name */
	size_t n = strcspn(host, ":");
	if (n == strlen("localhost") && strncasecmp(host, "localhost", n) == 0)
		return true;
	return n > 0 && strspn(host, "0123456789.") == n;
}

enum status auth_check_endpoint(const char *endpoint, const char *token, struct err *e)
{
	if ((token && token[0]) || net_is_loopback(endpoint))
		return ST_OK;
	return err_set(e, ST_INVALID,
		       "admin.endpoint %s can be reached from other machines: set admin.token, or "
		       "listen on 127.0.0.1",
		       endpoint);
}
