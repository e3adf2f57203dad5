/* config_uplinks.c - the uplinks of the configuration, and what must hold among their keys.
 *
 * An uplink's keys come from the table like all others. What the table cannot say is checked here,
 * and kept in a form that the scheduler uses as it is: windows become a week of minutes, lists of
 * classes become masks.
 *
 * The uplink "default" always exists: a destination that names none is on it. It has no limits
 * unless the file gives it some, so that nobody who does not ask for limits meets one.
 *
 * A rate of a few bytes a second, or a budget of a few kilobytes, is a unit that was forgotten
 * (`rate: 256`), and would stop everything: that is an error with the place. */
#include <stdio.h>
#include <string.h>

#include "gateway/base/config_reader.h"
#include "gateway/base/xalloc.h"
#include "schema/vocabulary.h"

enum { NAME_MAX_BYTES = 63, BUDGET_MIN = 1 << 20 };

static const char default_name[] = "default";

enum status config_check_name(const struct config_reader *r, const struct yaml_node *n,
			      const char *what)
{
	size_t length = strlen(n->key);
	if (length == 0 || length > NAME_MAX_BYTES ||
	    strspn(n->key, "abcdefghijklmnopqrstuvwxyz0123456789_-") != length)
		return config_fail_key(
			r, n, "%s \"%.80s\": a name is 1 to 63 of the characters a-z 0-9 _ -", what,
			n->key);
	return ST_OK;
}

struct uplink_reading {
	struct config_reader *r;
	struct uplink_config *u;
	struct config_given *given;
};

static const struct yaml_node *given_node(const struct uplink_reading *ur, const char *key)
{
	return config_node_of(&config_uplink_table, ur->given, key);
}

/* The i-th item of a list, which may be one text alone. */
static const struct yaml_node *item_node(const struct yaml_node *list, size_t i)
{
	const struct yaml_node *n = list->kind == YAML_LIST ? list->first : list;
	while (i-- && n->next)
		n = n->next;
	return n;
}

static enum status read_windows(const struct uplink_reading *ur)
{
	struct uplink_config *u = ur->u;
	for (size_t i = 0; u->windows[i]; i++) {
		struct err why = { 0 };
		if (week_add(&u->week, u->windows[i], &why))
			return config_fail_at(ur->r, item_node(given_node(ur, "windows"), i),
					      "uplink %s: windows: %s", u->name, why.text);
	}
	return ST_OK;
}

static enum status read_classes(const struct uplink_reading *ur, const char *key, char **list,
				unsigned *mask)
{
	const char *words[RECORD_CLASS_COUNT];
	for (int c = 0; c < RECORD_CLASS_COUNT; c++)
		words[c] = record_class_text((enum record_class)c);
	for (size_t i = 0; list[i]; i++) {
		int c = 0;
		while (c < RECORD_CLASS_COUNT && strcmp(words[c], list[i]) != 0)
			c++;
		if (c == RECORD_CLASS_COUNT)
			return config_fail_at(
				ur->r, item_node(given_node(ur, key), i),
				"uplink %s: %s: \"%.64s\" is no class%s", ur->u->name, key, list[i],
				config_hint(ur->r, list[i], words, RECORD_CLASS_COUNT));
		*mask |= 1u << c;
	}
	return ST_OK;
}

static enum status check_least(const struct uplink_reading *ur, const char *key, uint64_t value,
			       uint64_t least, const char *words)
{
	if (value == 0 || value >= least)
		return ST_OK;
	return config_fail_at(
		ur->r, given_node(ur, key),
		"uplink %s: %s is %llu bytes: is a unit missing? The least is %s, and "
		"0 is no limit",
		ur->u->name, key, (unsigned long long)value, words);
}

static enum status check_uplink(const struct uplink_reading *ur)
{
	struct uplink_config *u = ur->u;
	enum status st = check_least(ur, "rate", u->rate, UPLINK_RATE_MIN, "512B/s");
	if (!st)
		st = check_least(ur, "daily_budget", u->daily_budget, BUDGET_MIN, "1MiB");
	if (!st)
		st = check_least(ur, "monthly_budget", u->monthly_budget, BUDGET_MIN, "1MiB");
	if (!st && u->monthly_budget && u->daily_budget > u->monthly_budget)
		st = config_fail_at(ur->r, given_node(ur, "daily_budget"),
				    "uplink %s: daily_budget is more than monthly_budget", u->name);
	if (!st)
		st = read_windows(ur);
	if (!st)
		st = read_classes(ur, "windows_exempt", u->windows_exempt, &u->windows_exempt_mask);
	return st ? st :
		    read_classes(ur, "budget_exempt", u->budget_exempt, &u->budget_exempt_mask);
}

static struct uplink_config *add_uplink(struct config *c, const char *name,
					struct config_place place)
{
	struct uplink_config *u = &c->uplinks[c->uplink_count++];
	u->name = xstrdup(name);
	u->place = place;
	config_set_defaults(&config_uplink_table, u);
	return u;
}

static enum status read_uplink(struct config_reader *r, const struct yaml_node *n)
{
	enum status st = config_check_name(r, n, "uplink");
	if (st)
		return st;
	if (n->kind != YAML_MAP && !yaml_is_null(n))
		return config_fail_at(r, n, "uplink %s is a mapping, with rate, windows and so on",
				      n->key);
	const struct config_place place = { n->key_line, n->key_column };
	struct uplink_reading ur = { .r = r, .u = add_uplink(r->config, n->key, place) };
	ur.given = &r->given_uplinks[ur.u - r->config->uplinks];
	ur.given->part = n;
	if (yaml_is_null(n))
		return ST_OK;
	st = config_read_section(r, n, &config_uplink_table, ur.u, NULL, ur.given);
	return st ? st : check_uplink(&ur);
}

enum status config_read_uplinks(struct config_reader *r, const struct yaml_node *map)
{
	struct config *c = r->config;
	size_t count = 0;
	if (map && !yaml_is_null(map)) {
		if (map->kind != YAML_MAP)
			return config_fail_at(r, map, "uplinks is a mapping of names to uplinks");
		count = map->count;
		if (count > UPLINKS_MAX)
			return config_fail_at(r, map, "%zu uplinks are too many: the most is %d",
					      count, UPLINKS_MAX);
	}
	c->uplinks = xcalloc(count + 1, sizeof(struct uplink_config));
	r->given_uplinks = arena_calloc(&r->arena, count + 1, sizeof(*r->given_uplinks));
	if (!r->given_uplinks)
		return ST_NO_MEMORY;
	enum status st = ST_OK;
	bool has_default = false;
	for (const struct yaml_node *n = count ? map->first : NULL; n && !st; n = n->next) {
		st = read_uplink(r, n);
		has_default = has_default || strcmp(n->key, default_name) == 0;
	}
	if (!st && !has_default)
		(void)add_uplink(c, default_name, (struct config_place){ 0 });
	return st;
}
