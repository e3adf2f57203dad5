/* value.c - small things between jansson and us.
 *
 * jansson refuses a string that is not UTF-8. Names, previews and errors come from clients and
 * backends, and a document about a strange batch must not fail because it is strange. */
#include "admin/value.h"

#include <stdio.h>
#include <time.h>

#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"

json_t *value_string(const char *text)
{
	if (!text)
		return json_null();
	json_t *s = json_string(text);
	if (s)
		return s;
	char *copy = xstrdup(text);
	for (char *p = copy; *p; p++)
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	s = json_string(copy);
	free(copy);
	return s;
}

json_t *value_time(int64_t ns)
{
	if (ns == 0)
		return json_null();
	int64_t sub = ns % NS_PER_S;
	time_t seconds = (time_t)((ns - sub) / NS_PER_S);
	if (sub < 0) {
		sub += NS_PER_S;
		seconds--;
	}
	struct tm tm;
	if (!gmtime_r(&seconds, &tm))
		return json_null();
	char day[40];
	char text[64];
	(void)strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(text, sizeof(text), "%s.%03dZ", day, (int)(sub / NS_PER_MS));
	return json_string(text);
}

json_t *value_age(int64_t ns)
{
	if (ns == 0)
		return json_null();
	int64_t age = now_wall_ns() - ns;
	return json_integer(age > 0 ? age / NS_PER_S : 0);
}

struct sink {
	struct buf *out;
	enum status st;
};

static int append(const char *text, size_t n, void *ctx)
{
	struct sink *c = ctx;
	c->st = buf_append(c->out, bytes_of(text, n));
	return c->st ? -1 : 0;
}

enum status value_write(json_t *root, struct buf *out)
{
	struct sink c = { .out = out, .st = ST_OK };
	if (!root)
		return ST_NO_MEMORY;
	int rc = json_dump_callback(root, append, &c, JSON_COMPACT);
	json_decref(root);
	if (rc == 0)
		return ST_OK;
	return c.st ? c.st : ST_NO_MEMORY;
}
