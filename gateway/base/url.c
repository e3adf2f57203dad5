/* url.c - where the authority of a URL begins and ends. What is in it is for whoever connects. */
#include "gateway/base/url.h"

#include <string.h>

struct bytes url_authority(const char *url)
{
	const char *start = strstr(url, "://");
	if (!start)
		return (struct bytes){ 0 };
	start += strlen("://");
	return bytes_of(start, strcspn(start, "/?#"));
}

struct bytes url_user(const char *url)
{
	struct bytes all = url_authority(url);
	const uint8_t *at = all.n ? memrchr(all.p, '@', all.n) : NULL;
	return at ? bytes_of(all.p, (size_t)(at - all.p)) : (struct bytes){ 0 };
}

struct bytes url_host(const char *url)
{
	struct bytes all = url_authority(url);
	struct bytes user = url_user(url);
	return user.p ? bytes_of(user.p + user.n + 1, all.n - user.n - 1) : all;
}

const char *url_target_path(const char *target)
{
	const char *authority = strstr(target, "://");
	bool is_http = strncasecmp(target, "http://", strlen("http://")) == 0 ||
		       strncasecmp(target, "https://", strlen("https://")) == 0;
	if (!authority || !is_http)
		return target;
	const char *path = strchr(authority + 3, '/');
	return path ? path : "/";
}
