/* config_auth.c - what must hold among a destination's auth.* keys and the rest of it.
 *
 * A request has one Authorization header. It may come from auth.basic, from auth.bearer, from
 * headers or from the user in an endpoint's URL: two of them at once are a mistake that would show
 * as a 401 at the far end, so they are refused here, with their place. So is everything that cannot
 * stand in a header: a line break in a password would end it. Files are looked at when the
 * destination is opened (credentials.c). Secrets are never shown. */
#include <string.h>
#include <strings.h>

#include "gateway/base/config_reader.h"
#include "gateway/base/url.h"

/* Into a header, as it is. The value is not shown. */
static enum status check_printable(const struct destination_reading *dr, const char *key,
				   const char *text, const char *forbidden)
{
	for (const unsigned char *p = (const unsigned char *)text; *p; p++)
		if (*p < 0x20 || *p == 0x7f || strchr(forbidden, *p))
			return config_fail_at(
				dr->r, config_given_node(dr, key),
				"destination %s: %s has a character that it may not have (%s)",
				dr->d->name, key,
				*p == ' ' ? "a blank" :
				*p == ':' ? "a colon" :
					    "a line break or another control character");
	return ST_OK;
}

/* An empty text is as good as none: it is how the effective configuration is written. */
static enum status check_basic(const struct destination_reading *dr)
{
	const struct destination_config *d = dr->d;
	const char *secret = *d->auth_basic_password_file ? "auth.basic.password_file" :
			     *d->auth_basic_password      ? "auth.basic.password" :
							    NULL;
	if (!*d->auth_basic_username && secret)
		return config_fail_at(dr->r, config_given_node(dr, secret),
				      "destination %s: auth.basic.username is missing", d->name);
	if (*d->auth_basic_username && !secret && !config_given_node(dr, "auth.basic.password"))
		return config_fail_at(dr->r, config_given_node(dr, "auth.basic.username"),
				      "destination %s: auth.basic needs password or password_file",
				      d->name);
	if (*d->auth_basic_password && *d->auth_basic_password_file)
		return config_fail_at(
			dr->r, config_given_node(dr, secret),
			"destination %s: auth.basic has password and password_file: give one",
			d->name);
	enum status st = check_printable(dr, "auth.basic.username", d->auth_basic_username, ":");
	return st ? st : check_printable(dr, "auth.basic.password", d->auth_basic_password, "");
}

static enum status check_bearer(const struct destination_reading *dr)
{
	const struct destination_config *d = dr->d;
	if (*d->auth_bearer_token && *d->auth_bearer_token_file)
		return config_fail_at(
			dr->r, config_given_node(dr, "auth.bearer.token_file"),
			"destination %s: auth.bearer has token and token_file: give one", d->name);
	return check_printable(dr, "auth.bearer.token", d->auth_bearer_token, " ");
}

/* One Authorization header, from one place: each row is a place that may set it. */
enum status config_check_auth(const struct destination_reading *dr)
{
	const struct destination_config *d = dr->d;
	bool has_header = false;
	for (size_t i = 0; i < d->headers.count; i++)
		has_header =
			has_header || strcasecmp(d->headers.items[i].key, "authorization") == 0;
	const struct {
		bool is_set;
		const char *key;
		const char *words;
	} places[] = {
		{ *d->auth_basic_username, "auth.basic.username", "auth.basic" },
		{ *d->auth_bearer_token, "auth.bearer.token", "auth.bearer" },
		{ *d->auth_bearer_token_file, "auth.bearer.token_file", "auth.bearer" },
		{ has_header, "headers", "headers.authorization" },
		{ url_user(d->endpoint).p, "endpoint", "the user in endpoint" },
		{ url_user(d->traces_endpoint).p, "traces_endpoint",
		  "the user in traces_endpoint" },
		{ url_user(d->metrics_endpoint).p, "metrics_endpoint",
		  "the user in metrics_endpoint" },
		{ url_user(d->logs_endpoint).p, "logs_endpoint", "the user in logs_endpoint" },
	};
	enum { URLS = 4 }; /* a user in each URL is as good as one in all */
	const size_t count = sizeof(places) / sizeof(places[0]);
	enum status st = check_basic(dr);
	if (!st)
		st = check_bearer(dr);
	for (size_t i = 0; i < count && !st; i++)
		for (size_t k = i < count - URLS ? i + 1 : count; k < count && !st; k++)
			if (places[i].is_set && places[k].is_set)
				st = config_fail_at(dr->r, config_given_node(dr, places[k].key),
						    "destination %s: %s and %s both set the "
						    "Authorization header: give one",
						    d->name, places[i].words, places[k].words);
	return st;
}
