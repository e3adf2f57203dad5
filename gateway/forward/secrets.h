/* forward/secrets.h - texts that must not be shown, and their removal from what a backend says.
 * Owner: whoever holds the struct. Needs: gateway/base, telemetry/utf8.h. */
#ifndef FORWARD_SECRETS_H
#define FORWARD_SECRETS_H

#include <stdbool.h>
#include <stddef.h>

struct secret;

struct secrets {
	struct secret *items;
	size_t count;
	size_t room;
};

/* Shorter ones are words that stand everywhere. */
enum { SECRETS_MIN = 4 };
/* A copy, as it is and in base64; texts that are shorter than SECRETS_MIN, or NULL, are not kept.
 * Of several that overlap the longer ones first. */
void secrets_add(struct secrets *s, const char *text);
/* Frees and overwrites. Accepts a zeroed struct, and twice. */
void secrets_done(struct secrets *s);

/* Overwrites each of them that stands in n bytes at p with asterisks, in place: as it is, in base64
 * (of either alphabet, alone or within something longer), and where JSON, a URL or HTML have
 * escaped characters of it. */
void secrets_wipe(const struct secrets *s, void *p, size_t n);

#endif
