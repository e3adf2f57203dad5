/* attributes.c - the resource attributes that this gateway adds, encoded once at start.
 *
 * The first to set a key wins, so they are inserted in the order of precedence: configuration,
 * OTEL_RESOURCE_ATTRIBUTES, the site. Each attribute is kept as the bytes of a field of Resource,
 * ready to be copied behind the attributes that a client sent.
 *
 * OTEL_RESOURCE_ATTRIBUTES is a list like W3C baggage without properties. Space around keys and
 * values is dropped, %XX stands for a byte. The specification asks to discard the whole value on
 * any error, so the list is parsed to the end before anything is inserted. */
#include "gateway/telemetry/attributes.h"

#include <stdlib.h>

#include "gateway/base/xalloc.h"
#include "gateway/telemetry/utf8.h"
#include "gateway/telemetry/wire.h"

enum { ENCODED_MAX = 1 << 20 };

static const struct attribute *find(const struct attributes *a, const char *key)
{
	for (size_t i = 0; i < a->count; i++)
		if (strcmp(a->items[i].key, key) == 0)
			return &a->items[i];
	return NULL;
}

/* KeyValue{key, AnyValue{string_value}} as field 1 of Resource. */
static enum status encode(const char *key, const char *value, struct buf *out)
{
	struct wire_open kv;
	struct wire_open any;
	size_t n = strlen(key) + strlen(value);
	enum status st = wire_begin(out, 1, n + 6, &kv);
	if (!st)
		st = wire_put_bytes(out, 1, bytes_str(key));
	if (!st)
		st = wire_begin(out, 2, strlen(value) + 2, &any);
	if (!st)
		st = wire_put_bytes(out, 1, bytes_str(value));
	if (!st)
		st = wire_end(out, &any);
	return st ? st : wire_end(out, &kv);
}

enum status attributes_insert(struct attributes *a, const char *key, const char *value,
			      struct err *e)
{
	if (key[0] == '\0')
		return err_set(e, ST_INVALID, "a resource attribute with an empty key");
	if (!utf8_is_valid(bytes_str(key)) || !utf8_is_valid(bytes_str(value)))
		return err_set(e, ST_INVALID, "resource attribute %.100s: not valid UTF-8", key);
	if (find(a, key))
		return ST_OK;
	if (a->count == ATTRIBUTES_MAX)
		return err_set(e, ST_TOO_LARGE, "more than %d resource attributes", ATTRIBUTES_MAX);
	struct buf out;
	buf_init(&out, ENCODED_MAX, NULL);
	enum status st = encode(key, value, &out);
	if (st) {
		buf_done(&out);
		return err_set(e, st, "resource attribute %.100s: %s", key, status_text(st));
	}
	struct attribute *item = &a->items[a->count++];
	item->key = xstrdup(key);
	item->value = xstrdup(value);
	item->encoded = buf_view(&out); /* the buf's memory is the attribute's from here on */
	return ST_OK;
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' :
	       c >= 'a' && c <= 'f' ? c - 'a' + 10 :
	       c >= 'A' && c <= 'F' ? c - 'A' + 10 :
				      -1;
}

/* A trimmed and percent-decoded copy of from to to (the caller frees it), or NULL. */
static char *decode(const char *from, const char *to)
{
	while (from < to && (*from == ' ' || *from == '\t'))
		from++;
	while (from < to && (to[-1] == ' ' || to[-1] == '\t'))
		to--;
	char *text = xcalloc((size_t)(to - from) + 1, 1);
	size_t n = 0;
	while (from < to) {
		if (*from != '%') {
			text[n++] = *from++;
			continue;
		}
		int high = to - from > 2 ? hex_digit(from[1]) : -1;
		int low = high >= 0 ? hex_digit(from[2]) : -1;
		if (low < 0 || high * 16 + low == 0) {
			free(text);
			return NULL;
		}
		text[n++] = (char)(high * 16 + low);
		from += 3;
	}
	return text;
}

/* One k=v, from p to end. */
static enum status insert_pair(struct attributes *a, const char *p, const char *end, struct err *e)
{
	const char *equals = memchr(p, '=', (size_t)(end - p));
	if (!equals)
		return err_set(e, ST_INVALID, "\"%.*s\" is not key=value", (int)(end - p), p);
	char *key = decode(p, equals);
	char *value = decode(equals + 1, end);
	enum status st = key && value ? attributes_insert(a, key, value, e) :
					err_set(e, ST_INVALID,
						"\"%.*s\" has a bad %%-escape (two hex digits, "
						"and not 00)",
						(int)(end - p), p);
	free(key);
	free(value);
	return st;
}

enum status attributes_insert_list(struct attributes *a, const char *list, struct err *e)
{
	if (!list || list[strspn(list, " \t")] == '\0')
		return ST_OK;
	struct attributes parsed = { 0 };
	enum status st = ST_OK;
	for (const char *p = list; p && !st;) {
		const char *comma = strchrnul(p, ',');
		st = insert_pair(&parsed, p, comma, e);
		p = *comma ? comma + 1 : NULL;
	}
	size_t added = 0;
	for (size_t i = 0; i < parsed.count; i++)
		added += find(a, parsed.items[i].key) == NULL;
	if (!st && a->count + added > ATTRIBUTES_MAX)
		st = err_set(e, ST_TOO_LARGE, "more than %d resource attributes", ATTRIBUTES_MAX);
	for (size_t i = 0; i < parsed.count && !st; i++)
		st = attributes_insert(a, parsed.items[i].key, parsed.items[i].value, e);
	attributes_done(&parsed);
	return st;
}

enum status attributes_from_config(struct attributes *a, const struct config *c, const char *list,
				   struct err *e)
{
	enum status st = ST_OK;
	for (size_t i = 0; i < c->resource_attributes.count && !st; i++) {
		const struct config_pair *p = &c->resource_attributes.items[i];
		st = attributes_insert(a, p->key, p->value, e);
	}
	if (st)
		return err_wrap(e, st, "resource.attributes");
	st = attributes_insert_list(a, list, e);
	if (st)
		return err_wrap(e, st, "environment variable OTEL_RESOURCE_ATTRIBUTES");
	st = c->site[0] ? attributes_insert(a, "tidegate.site", c->site, e) : ST_OK;
	return st ? err_wrap(e, st, "site") : ST_OK;
}

void attributes_done(struct attributes *a)
{
	for (size_t i = 0; i < a->count; i++) {
		free(a->items[i].key);
		free(a->items[i].value);
		free((void *)(uintptr_t)a->items[i].encoded.p);
	}
	*a = (struct attributes){ 0 };
}
