/* config_needs.c - options that do nothing by themselves, and that are set all the same.
 *
 * schema/config_needs.def says which option needs which; one walk over it serves every part of the
 * file. What counts is the value and not that the key is there: the effective configuration writes
 * every default out, and must be read without complaint.
 *
 * Why not in config.def: most options need nothing, and a column that is nearly always empty hides
 * the few that do. */
#include <stdio.h>
#include <string.h>

#include "gateway/base/config_reader.h"
#include "gateway/base/grpc_endpoint.h"

enum verdict { VERDICT_WARN, VERDICT_FAIL };

struct need {
	const struct config_table *table;
	const char *key;
	const char *needs;
	enum verdict verdict;
};

#define TABLE_GLOBAL      &config_global_table
#define TABLE_DESTINATION &config_destination_table
#define TABLE_UPLINK      &config_uplink_table
static const struct need needs[] = {
#define NEEDS(group, key, what, verdict) { TABLE_##group, key, what, VERDICT_##verdict },
#include "schema/config_needs.def"
#undef NEEDS
};
enum { NEEDS_COUNT = sizeof(needs) / sizeof(needs[0]), KEY_SIZE = 128, WORDS_SIZE = 200 };

/* One part of the file. */
struct part {
	struct config_reader *r;
	const struct config_table *table;
	const struct config_given *given;
	void *base;
	const char *title; /* "destination ", or "" */
	const char *name;
};

static bool is_https(const char *url)
{
	return strncmp(url, "https://", 8) == 0;
}

/* Every endpoint was checked before. */
static bool is_encrypted(const struct destination_config *d)
{
	struct grpc_endpoint endpoint;
	if (d->kind == CONFIG_KIND_OTLP_GRPC)
		return grpc_endpoint_parse(d->endpoint, d->tls_insecure, &endpoint, NULL) ==
			       ST_OK &&
		       endpoint.is_tls;
	const struct config_endpoints urls = config_endpoints(d);
	bool is_any = false;
	for (size_t i = 0; i < CONFIG_ENDPOINTS; i++)
		is_any = is_any || is_https(urls.items[i].url);
	return is_any;
}

/* One of the alternatives: "KEY", "KEY: WORD" or "https". */
static bool is_met_by(const struct part *p, const char *one, size_t length)
{
	char key[KEY_SIZE];
	char word[KEY_SIZE];
	CHECK(length < sizeof(key));
	memcpy(key, one, length);
	key[length] = '\0';
	if (strcmp(key, "https") == 0)
		return is_encrypted(p->base);
	char *colon = strchr(key, ':');
	if (colon)
		*colon = '\0';
	const struct config_option *o = config_option_of(p->table, key);
	const void *field = config_field(o, p->base);
	if (!colon)
		return !config_value_is_default(o, field);
	config_choice_word(o, *(const config_CHOICE *)field, word, sizeof(word));
	return strcmp(word, colon + 2) == 0;
}

static bool is_met(const struct part *p, const char *alternatives)
{
	for (const char *one = alternatives;; one++) {
		size_t n = strcspn(one, "|");
		if (is_met_by(p, one, n))
			return true;
		one += n;
		if (!*one)
			return false;
	}
}

/* The words of the table for people: "a|b" is "a or b". */
static void write_needs(const char *alternatives, char *dst, size_t size)
{
	size_t n = 0;
	dst[0] = '\0';
	if (strcmp(alternatives, "https") == 0)
		alternatives = "TLS (https:// in the endpoint)";
	for (const char *p = alternatives; *p && n + 5 < size; p++)
		n += (size_t)snprintf(dst + n, size - n, *p == '|' ? " or " : "%c", *p);
}

enum status config_needs_write(const struct config_table *table, const char *key, struct buf *out)
{
	char words[WORDS_SIZE];
	for (size_t i = 0; i < NEEDS_COUNT; i++)
		if (needs[i].table == table && strcmp(needs[i].key, key) == 0) {
			write_needs(needs[i].needs, words, sizeof(words));
			return buf_printf(out, " Does nothing without %s.", words);
		}
	return ST_OK;
}

static enum status check_part(const struct part *p)
{
	for (size_t i = 0; i < NEEDS_COUNT; i++) {
		char words[WORDS_SIZE];
		const struct need *need = &needs[i];
		if (need->table != p->table)
			continue;
		const struct yaml_node *n = config_node_of(p->table, p->given, need->key);
		const struct config_option *o = config_option_of(p->table, need->key);
		if (!n || config_value_is_default(o, config_field(o, p->base)) ||
		    is_met(p, need->needs))
			continue;
		write_needs(need->needs, words, sizeof(words));
		if (need->verdict == VERDICT_FAIL)
			return config_fail_at(p->r, n, "%s%s%s%s does nothing without %s", p->title,
					      p->name, *p->name ? ": " : "", need->key, words);
		config_warn_at(p->r, n, "%s%s%s%s does nothing without %s", p->title, p->name,
			       *p->name ? ": " : "", need->key, words);
	}
	return ST_OK;
}

enum status config_check_needs(struct config_reader *r)
{
	struct config *c = r->config;
	const struct part whole = { r, &config_global_table, &r->given, c, "", "" };
	enum status st = check_part(&whole);
	for (size_t i = 0; i < c->uplink_count && !st; i++) {
		const struct part p = {
			r,         &config_uplink_table, &r->given_uplinks[i], &c->uplinks[i],
			"uplink ", c->uplinks[i].name
		};
		st = check_part(&p);
	}
	for (size_t i = 0; i < c->destination_count && !st; i++) {
		const struct part p = { r,
					&config_destination_table,
					&r->given_destinations[i],
					&c->destinations[i],
					"destination ",
					c->destinations[i].name };
		st = check_part(&p);
	}
	return st;
}
