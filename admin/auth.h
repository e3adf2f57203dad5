/* admin/auth.h - who may ask.
 * Owner: stateless. Needs: gateway/base. */
#ifndef ADMIN_AUTH_H
#define ADMIN_AUTH_H

#include "gateway/base/status.h"

/* authorization: the header's value, or NULL. True for "Bearer <token>". Takes the same time
 * whatever the difference is. */
bool auth_is_bearer(const char *authorization, const char *token);
/* host: the Host header's value, or NULL. True where it names this machine by address or as
 * localhost. */
bool auth_is_local_host(const char *host);
/* May a listener on this endpoint start with this token? */
MUST_USE enum status auth_check_endpoint(const char *endpoint, const char *token, struct err *e);

#endif
