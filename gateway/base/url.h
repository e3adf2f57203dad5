/* url.h - the parts of a URL that name a server and who asks it (RFC 3986, 3.2).
 * Owner: stateless. Needs: buf. */
#ifndef BASE_URL_H
#define BASE_URL_H

#include "gateway/base/buf.h"

/* The part between :// and the path: "user:password@host:port". p is NULL where there is no ://.
 * Borrows, as the others do. */
struct bytes url_authority(const char *url);
/* "user:password" of it, as it stands there, percent-encoded. p is NULL where there is no @. */
struct bytes url_user(const char *url);
/* "host:port" or "host" of it. p is NULL where there is no ://. */
struct bytes url_host(const char *url);

/* The path of a request's target: itself, or what stands behind scheme and authority in the form
 * that is meant for proxies and that servers must take too (RFC 9112, 3.2.2). */
const char *url_target_path(const char *target);

#endif
