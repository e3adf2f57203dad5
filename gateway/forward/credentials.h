/* forward/credentials.h - what a destination is authenticated with: the Authorization header's
 * value, from the configuration or from files that are read again when they change.
 * Owner: made by main, then the destination's thread. Needs: gateway/base.
 *
 * A kind asks for the value at each request, since it may be another one by then; tells which
 * generation a 401 or 403 was the answer to, so that a renewed credential is tried at once
 * (exporter.h: is_renewed); and wipes the secrets out of what a backend answers before anybody
 * reads it. HTTP kinds have all of this from http_exporter.h. */
#ifndef FORWARD_CREDENTIALS_H
#define FORWARD_CREDENTIALS_H

#include "gateway/base/config.h"

struct credentials;

/* Borrows c (auth.*, headers, the user part of endpoints) as long as *ret lives. ST_INVALID: a file
 * cannot be read, or holds no credential; e names the key. */
MUST_USE enum status credentials_open(const struct destination_config *c, struct credentials **ret,
				      struct err *e);
/* Accepts NULL. */
void credentials_free(struct credentials *k);

/* "Basic dXNlcg==" or "Bearer token"; NULL where auth has neither. Looks at the file, where there
 * is one, and reads it again if it changed. A file that is gone or empty by now leaves the last
 * value in use, with one warning in the log. Borrowed until the next call. */
const char *credentials_authorization(struct credentials *k);
/* A number that changes with the value. Looks at the file too. */
unsigned credentials_generation(struct credentials *k);

/* Overwrite every secret of this destination that stands in n bytes at p, in whatever form
 * (secrets.h). Secrets are the value above and its predecessor, their passwords, what stands in
 * URLs, and the values of headers but X-Scope-OrgID and User-Agent. */
void credentials_redact(const struct credentials *k, void *p, size_t n);

#endif
