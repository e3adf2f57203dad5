/* config_values.c - what a value of each type of config.def looks like.
 *
 * The types follow YAML's 1.2 core schema, not 1.1: true and false are the only booleans (yes, no
 * and on are texts, so Norway keeps its country code), numbers are 10, 0o17 and 0x1f, and a quoted
 * scalar is a text. Sizes and durations are texts with a unit, so that nobody has to guess one.
 *
 * Bounds stand in the table in the same notation and are read by the same functions. They are
 * inclusive and always applied: there is no value that means "none". */
#include "gateway/base/config_values.h"

#include <stdio.h>
#include <stdlib.h>

#include "gateway/base/config_units.h"
#include "gateway/base/net.h"
#include "gateway/base/xalloc.h"

#define OPTION(struct_type, field, key, type, def, min, max, doc) \
	{ key, CONFIG_TYPE_##type, offsetof(struct_type, field), def, min, max, doc },

static const struct config_option global_options[] = {
#define OPT_GLOBAL(...) OPTION(struct config, __VA_ARGS__)
#define OPT_DESTINATION(...)
#define OPT_UPLINK(...)
#define OPT(group, ...) OPT_##group(__VA_ARGS__)
#include "schema/config.def"
#undef OPT
#undef OPT_GLOBAL
#undef OPT_DESTINATION
#undef OPT_UPLINK
};

static const struct config_option destination_options[] = {
#define OPT_GLOBAL(...)
#define OPT_DESTINATION(...) OPTION(struct destination_config, __VA_ARGS__)
#define OPT_UPLINK(...)
#define OPT(group, ...) OPT_##group(__VA_ARGS__)
#include "schema/config.def"
#undef OPT
#undef OPT_GLOBAL
#undef OPT_DESTINATION
#undef OPT_UPLINK
};

static const struct config_option uplink_options[] = {
#define OPT_GLOBAL(...)
#define OPT_DESTINATION(...)
#define OPT_UPLINK(...) OPTION(struct uplink_config, __VA_ARGS__)
#define OPT(group, ...) OPT_##group(__VA_ARGS__)
#include "schema/config.def"
#undef OPT
#undef OPT_GLOBAL
#undef OPT_DESTINATION
#undef OPT_UPLINK
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
_Static_assert(COUNT(global_options) <= CONFIG_OPTIONS_MAX, "raise CONFIG_OPTIONS_MAX");
_Static_assert(COUNT(destination_options) <= CONFIG_OPTIONS_MAX, "raise CONFIG_OPTIONS_MAX");
_Static_assert(COUNT(uplink_options) <= CONFIG_OPTIONS_MAX, "raise CONFIG_OPTIONS_MAX");

const struct config_table config_global_table = { global_options, COUNT(global_options) };
const struct config_table config_destination_table = { destination_options,
						       COUNT(destination_options) };
const struct config_table config_uplink_table = { uplink_options, COUNT(uplink_options) };

/* 10, -3, 0o17, 0x1f: YAML 1.2 core. */
static bool parse_int(const char *text, int64_t *ret)
{
	int base = 10;
	const char *digits = text;
	if (strncmp(text, "0o", 2) == 0 || strncmp(text, "0x", 2) == 0) {
		base = text[1] == 'o' ? 8 : 16;
		digits += 2;
	} else {
		digits += *text == '-' || *text == '+';
	}
	size_t n = strlen(digits);
	const char *set = base == 8 ? "01234567" : "0123456789abcdefABCDEF";
	if (base == 10)
		set = "0123456789";
	if (n == 0 || n > 18 || strspn(digits, set) != n)
		return false;
	*ret = strtoll(base == 10 ? text : digits, NULL, base);
	return true;
}

static enum status is_no(const struct config_option *o, const char *text, const char *noun,
			 struct err *e)
{
	char allowed[CONFIG_ALLOWED_SIZE];
	config_allowed(o, allowed, sizeof(allowed));
	return err_set(e, ST_INVALID, "\"%.80s\" is no %s: write %s", text, noun, allowed);
}

static enum status out_of_range(const struct config_option *o, const char *text, struct err *e)
{
	return err_set(e, ST_INVALID, "%.80s is out of range: it must be from %s to %s", text,
		       o->min, o->max);
}

/* A SIZE or a RATE. */
static enum status parse_size_value(const struct config_option *o, const char *text,
				    config_SIZE *field, struct err *e)
{
	uint64_t v;
	uint64_t min = 0;
	uint64_t max = UINT64_MAX;
	bool is_rate = o->type == CONFIG_TYPE_RATE;
	if (!(is_rate ? config_units_rate : config_units_size)(text, &v))
		return is_no(o, text, is_rate ? "rate" : "size", e);
	CHECK(!*o->min || config_units_size(o->min, &min));
	CHECK(!*o->max || config_units_size(o->max, &max));
	if (v < min || v > max)
		return out_of_range(o, text, e);
	*field = v;
	return ST_OK;
}

static enum status parse_duration_value(const struct config_option *o, const char *text,
					config_DURATION *field, struct err *e)
{
	uint64_t v;
	uint64_t min = 0;
	uint64_t max = INT64_MAX;
	if (!config_units_duration(text, &v))
		return is_no(o, text, "duration", e);
	CHECK(!*o->min || config_units_duration(o->min, &min));
	CHECK(!*o->max || config_units_duration(o->max, &max));
	if (v < min || v > max)
		return out_of_range(o, text, e);
	*field = (config_DURATION)v;
	return ST_OK;
}

static enum status parse_int_value(const struct config_option *o, const char *text, bool is_plain,
				   config_INT *field, struct err *e)
{
	int64_t v;
	int64_t min = INT32_MIN;
	int64_t max = INT32_MAX;
	if (!is_plain && parse_int(text, &v))
		return err_set(e, ST_INVALID, "\"%.80s\" is a text: remove the quotes", text);
	if (!parse_int(text, &v))
		return is_no(o, text, "whole number", e);
	CHECK(!*o->min || parse_int(o->min, &min));
	CHECK(!*o->max || parse_int(o->max, &max));
	if (v < min || v > max)
		return out_of_range(o, text, e);
	*field = (config_INT)v;
	return ST_OK;
}

static enum status parse_bool_value(const char *text, bool is_plain, config_BOOL *field,
				    struct err *e)
{
	bool is_true = strcmp(text, "true") == 0;
	if (!is_true && strcmp(text, "false") != 0)
		return err_set(e, ST_INVALID, "\"%.80s\" is neither true nor false", text);
	if (!is_plain)
		return err_set(e, ST_INVALID, "\"%.80s\" is a text: remove the quotes", text);
	*field = is_true;
	return ST_OK;
}

enum { CHOICES_MAX = 16, WORD_SIZE = 40 };

/* The words of a CHOICE, in order. */
static size_t split_choices(const struct config_option *o, char words[CHOICES_MAX][WORD_SIZE])
{
	size_t count = 0;
	const char *p = o->min;
	while (*p) {
		size_t n = strcspn(p, "|");
		CHECK(count < CHOICES_MAX && n < WORD_SIZE);
		memcpy(words[count], p, n);
		words[count++][n] = '\0';
		p += n + (p[n] == '|');
	}
	return count;
}

void config_choice_word(const struct config_option *o, int choice, char *dst, size_t size)
{
	char words[CHOICES_MAX][WORD_SIZE];
	size_t count = split_choices(o, words);
	(void)snprintf(dst, size, "%s", choice >= 0 && (size_t)choice < count ? words[choice] : "");
}

const struct config_option *config_option_of(const struct config_table *table, const char *key)
{
	const struct config_option *o = table->options;
	while (strcmp(o->key, key) != 0) {
		o++;
		CHECK(o < table->options + table->count);
	}
	return o;
}

static void allowed_words(const struct config_option *o, char *dst, size_t size)
{
	size_t n = (size_t)snprintf(dst, size, "one of ");
	for (const char *p = o->min; *p && n + 3 < size; p++)
		n += (size_t)snprintf(dst + n, size - n, *p == '|' ? ", " : "%c", *p);
}

void config_allowed(const struct config_option *o, char *dst, size_t size)
{
	static const char *const texts[] = {
		[CONFIG_TYPE_STRING] = "a text",
		[CONFIG_TYPE_SECRET] = "a text",
		[CONFIG_TYPE_SIZE] = "a whole number and a unit,",
		[CONFIG_TYPE_RATE] = "a whole number and a unit, as in 256KiB/s or 2Mbit/s,",
		[CONFIG_TYPE_DURATION] = "whole numbers and units, as in 30s or 1h30m,",
		[CONFIG_TYPE_INT] = "a whole number",
		[CONFIG_TYPE_BOOL] = "true or false",
		[CONFIG_TYPE_ENDPOINT] = "host:port, as in 127.0.0.1:4317",
		[CONFIG_TYPE_LIST] = "a list of texts, as in [a, b], or one text",
		[CONFIG_TYPE_MAP] = "a mapping of names to texts, as in {a: b}",
		[CONFIG_TYPE_SECRET_MAP] = "a mapping of names to texts, as in {a: b}",
		[CONFIG_TYPE_CHOICE] = "",
	};
	if (o->type == CONFIG_TYPE_CHOICE)
		allowed_words(o, dst, size);
	else if (*o->max)
		(void)snprintf(dst, size, "%s from %s to %s", texts[o->type], o->min, o->max);
	else
		(void)snprintf(dst, size, "%s", texts[o->type]);
}

bool config_option_is_for(const struct config_option *o, int kind)
{
	char words[CHOICES_MAX][WORD_SIZE];
	size_t count = split_choices(config_option_of(&config_destination_table, "kind"), words);
	const char *p = o->doc;
	bool is_listed = false;
	for (;;) {
		size_t n = strcspn(p, ",:");
		size_t k = 0;
		while (k < count && !(strlen(words[k]) == n && strncmp(p, words[k], n) == 0))
			k++;
		if (k == count)
			return true; /* a sentence, not a list of kinds */
		is_listed = is_listed || (int)k == kind;
		if (p[n] != ',')
			return is_listed;
		p += n + strspn(p + n, ", ");
	}
}

static enum status parse_choice(const struct config_option *o, const char *text,
				config_CHOICE *field, struct err *e)
{
	char words[CHOICES_MAX][WORD_SIZE];
	const char *candidates[CHOICES_MAX];
	char all[CHOICES_MAX * WORD_SIZE] = "";
	size_t count = split_choices(o, words);
	size_t n = 0;
	for (size_t i = 0; i < count; i++) {
		if (strcmp(words[i], text) == 0) {
			*field = (config_CHOICE)i;
			return ST_OK;
		}
		candidates[i] = words[i];
		n += (size_t)snprintf(all + n, sizeof(all) - n, "%s%s", i ? ", " : "", words[i]);
	}
	const char *near = config_nearest(text, candidates, count);
	if (near)
		return err_set(e, ST_INVALID, "\"%.80s\" is none of %s; did you mean %s?", text,
			       all, near);
	return err_set(e, ST_INVALID, "\"%.80s\" is none of %s", text, all);
}

static enum status parse_endpoint(const char *text, char **field, struct err *e)
{
	char host[256];
	char port[16];
	enum status st = net_split(text, host, sizeof(host), port, sizeof(port), e);
	if (st)
		return st;
	free(*field);
	*field = xstrdup(text);
	return ST_OK;
}

enum status config_value_parse(const struct config_option *o, const char *text, bool is_plain,
			       void *field, struct err *e)
{
	switch (o->type) {
	case CONFIG_TYPE_STRING:
	case CONFIG_TYPE_SECRET:
		free(*(char **)field);
		*(char **)field = xstrdup(text);
		return ST_OK;
	case CONFIG_TYPE_SIZE:
	case CONFIG_TYPE_RATE:
		return parse_size_value(o, text, field, e);
	case CONFIG_TYPE_DURATION:
		return parse_duration_value(o, text, field, e);
	case CONFIG_TYPE_INT:
		return parse_int_value(o, text, is_plain, field, e);
	case CONFIG_TYPE_BOOL:
		return parse_bool_value(text, is_plain, field, e);
	case CONFIG_TYPE_ENDPOINT:
		return parse_endpoint(text, field, e);
	case CONFIG_TYPE_CHOICE:
		return parse_choice(o, text, field, e);
	case CONFIG_TYPE_LIST:
	case CONFIG_TYPE_MAP:
	case CONFIG_TYPE_SECRET_MAP:
		break;
	}
	CHECK(!*text);
	config_value_free(o, field);
	if (o->type == CONFIG_TYPE_LIST)
		*(config_LIST *)field = xcalloc(1, sizeof(char *));
	return ST_OK;
}

void config_list_add(config_LIST *list, const char *text)
{
	size_t n = 0;
	while ((*list)[n])
		n++;
	char **longer = xcalloc(n + 2, sizeof(char *));
	memcpy(longer, *list, n * sizeof(char *));
	longer[n] = xstrdup(text);
	free(*list);
	*list = longer;
}

void config_map_add(struct config_map *map, const char *key, const char *value)
{
	struct config_pair *longer = xcalloc(map->count + 1, sizeof(*longer));
	if (map->count)
		memcpy(longer, map->items, map->count * sizeof(*longer));
	longer[map->count++] = (struct config_pair){ .key = xstrdup(key), .value = xstrdup(value) };
	free(map->items);
	map->items = longer;
}

void config_value_free(const struct config_option *o, void *field)
{
	if (o->type == CONFIG_TYPE_STRING || o->type == CONFIG_TYPE_SECRET ||
	    o->type == CONFIG_TYPE_ENDPOINT) {
		free(*(char **)field);
		*(char **)field = NULL;
	} else if (o->type == CONFIG_TYPE_LIST) {
		config_LIST *list = field;
		for (char **p = *list; p && *p; p++)
			free(*p);
		free(*list);
		*list = NULL;
	} else if (o->type == CONFIG_TYPE_MAP || o->type == CONFIG_TYPE_SECRET_MAP) {
		struct config_map *map = field;
		for (size_t i = 0; i < map->count; i++) {
			free(map->items[i].key);
			free(map->items[i].value);
		}
		free(map->items);
		*map = (struct config_map){ 0 };
	}
}

/* The code point at *p, which moves behind it. The text is valid UTF-8 (libyaml and config_expand
 * see to it). */
static unsigned take_code_point(const char **p)
{
	unsigned c = (unsigned char)*(*p)++;
	int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;
	c &= more ? 0x3fu >> more : 0x7fu;
	for (; more && **p; more--)
		c = c << 6 | ((unsigned char)*(*p)++ & 0x3f);
	return c;
}

/* What YAML does not take as it is (libyaml's reader), or takes for a line break. */
static bool needs_escape(unsigned c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029 || c == 0xfeff ||
	       c == 0xfffe || c == 0xffff;
}

/* In quotes. dollar: how a dollar sign is written here. */
static enum status write_quoted(const char *text, const char *dollar, struct buf *out)
{
	enum status st = buf_append_byte(out, '"');
	for (const char *p = text; *p && !st;) {
		const char *start = p;
		unsigned c = take_code_point(&p);
		if (c == '"' || c == '\\')
			st = buf_printf(out, "\\%c", (int)c);
		else if (c == '$')
			st = buf_append_str(out, dollar);
		else if (needs_escape(c))
			st = buf_printf(out, "\\u%04x", c);
		else
			st = buf_append(out, bytes_of(start, (size_t)(p - start)));
	}
	return st ? st : buf_append_byte(out, '"');
}

enum status config_text_write(const char *text, struct buf *out)
{
	return write_quoted(text, "$$", out);
}

/* A URL may have a user and a password, and a query that often is a key: they are not shown. */
static enum status write_url(const char *text, struct buf *out)
{
	const char *rest = strstr(text, "://");
	rest = rest ? rest + strlen("://") : text;
	const char *at = memrchr(rest, '@', strcspn(rest, "/?#"));
	const char *host = at ? at : rest;
	int query = (int)strcspn(host, "?");
	size_t size = strlen(text) + sizeof("***?***");
	char *shown = xcalloc(size, 1);
	(void)snprintf(shown, size, "%.*s%s%.*s%s", (int)(rest - text), text, at ? "***" : "",
		       query, host, host[query] ? "?***" : "");
	enum status st = config_text_write(shown, out);
	free(shown);
	return st;
}

static enum status write_list(char *const *list, struct buf *out)
{
	enum status st = buf_append_byte(out, '[');
	for (size_t i = 0; list[i] && !st; i++) {
		st = buf_append_str(out, i ? ", " : "");
		if (!st)
			st = config_text_write(list[i], out);
	}
	return st ? st : buf_append_byte(out, ']');
}

static enum status write_map(const struct config_map *map, bool is_secret, struct buf *out)
{
	enum status st = buf_append_byte(out, '{');
	for (size_t i = 0; i < map->count && !st; i++) {
		st = buf_append_str(out, i ? ", " : "");
		if (!st)
			st = write_quoted(map->items[i].key, "$", out); /* refers to nothing */
		if (!st)
			st = buf_append_str(out, ": ");
		if (!st)
			st = config_text_write(is_secret ? "***" : map->items[i].value, out);
	}
	return st ? st : buf_append_byte(out, '}');
}

static enum status write_choice(const struct config_option *o, int choice, struct buf *out)
{
	char word[WORD_SIZE];
	config_choice_word(o, choice, word, sizeof(word));
	return buf_append_str(out, word);
}

enum status config_value_write(const struct config_option *o, const void *field, struct buf *out)
{
	switch (o->type) {
	case CONFIG_TYPE_STRING:
		/* Of the texts, endpoints are URLs; the others must come out as they went in. */
		return strstr(o->key, "endpoint") ? write_url(*(char *const *)field, out) :
						    config_text_write(*(char *const *)field, out);
	case CONFIG_TYPE_ENDPOINT:
		return config_text_write(*(char *const *)field, out);
	case CONFIG_TYPE_SECRET:
		return config_text_write(**(char *const *)field ? "***" : "", out);
	case CONFIG_TYPE_SIZE:
		return config_units_write_size(*(const config_SIZE *)field, out);
	case CONFIG_TYPE_RATE:
		return config_units_write_rate(*(const config_RATE *)field, out);
	case CONFIG_TYPE_DURATION:
		return config_units_write_duration(*(const config_DURATION *)field, out);
	case CONFIG_TYPE_INT:
		return buf_printf(out, "%d", *(const config_INT *)field);
	case CONFIG_TYPE_BOOL:
		return buf_append_str(out, *(const config_BOOL *)field ? "true" : "false");
	case CONFIG_TYPE_LIST:
		return write_list(*(const config_LIST *)field, out);
	case CONFIG_TYPE_MAP:
		return write_map(field, false, out);
	case CONFIG_TYPE_SECRET_MAP:
		return write_map(field, true, out);
	case CONFIG_TYPE_CHOICE:
		break;
	}
	return write_choice(o, *(const config_CHOICE *)field, out);
}

bool config_value_is_default(const struct config_option *o, const void *field)
{
	union {
		char *text;
		config_LIST list;
		struct config_map map;
		uint64_t number;
	} initial = { .number = 0 };
	struct err e = { 0 };
	struct buf a;
	struct buf b;
	if (o->type == CONFIG_TYPE_CHOICE && !*o->initial)
		return false; /* it has none */
	CHECK(!config_value_parse(o, o->initial, true, &initial, &e));
	buf_init(&a, SIZE_MAX, NULL);
	buf_init(&b, SIZE_MAX, NULL);
	CHECK(!config_value_write(o, field, &a) && !config_value_write(o, &initial, &b));
	bool is_same = bytes_equal(buf_view(&a), buf_view(&b));
	config_value_free(o, &initial);
	buf_done(&a);
	buf_done(&b);
	return is_same;
}
