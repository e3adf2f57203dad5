/* config_destinations.c - the two parts of the configuration that repeat, and what must hold among
 * their keys.
 *
 * A destination's keys come from the table like all others. Then, in words of the table too: a key
 * belongs to the kind that its doc begins with. What remains are the few rules that tie keys to one
 * another (an endpoint is needed, a certificate needs its key, ...), one function each.
 *
 * A route names destinations, so that destinations are read first. Without `routes` everything goes
 * to every destination, which is what one destination alone is always meant for. */
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "gateway/base/config_reader.h"
#include "gateway/base/grpc_endpoint.h"
#include "gateway/base/xalloc.h"
#include "schema/vocabulary.h"

/* 62: writers keep destinations as bits of a word, and two are their own. */
enum { DESTINATIONS_MAX = 62, ROUTES_MAX = 256 };

const struct yaml_node *config_given_node(const struct destination_reading *dr, const char *key)
{
	return config_node_of(&config_destination_table, dr->given, key);
}

static enum status check_kind(const struct destination_reading *dr)
{
	const char *name = dr->d->name;
	if (dr->d->kind < 0)
		return config_fail_key(dr->r, dr->node, "destination %s: kind is missing", name);
	for (size_t i = 0; i < config_destination_table.count; i++) {
		const struct config_option *o = &config_destination_table.options[i];
		const struct yaml_node *n = dr->given->nodes[i];
		if (!n || config_option_is_for(o, dr->d->kind))
			continue;
		return config_fail_key(dr->r, n,
				       "destination %s: %s is no key of its kind, but of %.*s",
				       name, o->key, (int)strcspn(o->doc, ":"), o->doc);
	}
	return ST_OK;
}

/* Reads wrong URLs out here, with their place; what curl thinks of the rest comes later. */
static enum status check_url(const struct destination_reading *dr, const char *key, const char *url)
{
	if (!*url)
		return ST_OK;
	size_t scheme = strncmp(url, "https://", 8) == 0 ? 8 :
			strncmp(url, "http://", 7) == 0  ? 7 :
							   0;
	const struct yaml_node *n = config_given_node(dr, key);
	if (!scheme || !url[scheme] || url[scheme] == '/')
		return config_fail_at(
			dr->r, n,
			"destination %s: %s is no URL: write https://host:port or http://host:port",
			dr->d->name, key);
	for (const char *p = url; *p; p++)
		if ((unsigned char)*p <= 0x20 || *p == 0x7f)
			return config_fail_at(dr->r, n,
					      "destination %s: %s has a blank or control character",
					      dr->d->name, key);
	return ST_OK;
}

static enum status check_endpoints(const struct destination_reading *dr)
{
	const struct destination_config *d = dr->d;
	const struct config_endpoints urls = config_endpoints(d);
	size_t given = 0;
	enum status st = check_url(dr, urls.all.key, urls.all.url);
	for (size_t i = 0; i < SIGNAL_COUNT && !st; i++) {
		st = check_url(dr, urls.of[i].key, urls.of[i].url);
		given += *urls.of[i].url != '\0';
	}
	if (!st && !*d->endpoint && given < SIGNAL_COUNT)
		return config_fail_key(
			dr->r, dr->node,
			"destination %s: endpoint is missing (or all of traces_endpoint, "
			"metrics_endpoint and logs_endpoint)",
			d->name);
	return st;
}

/* RFC 9110: a header's name is a token, its value has no control characters. The value is not
 * shown. */
static enum status check_headers(const struct destination_reading *dr)
{
	for (size_t i = 0; i < dr->d->headers.count; i++) {
		const struct config_pair *h = &dr->d->headers.items[i];
		bool is_good = strspn(h->key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
					      "0123456789!#$%&'*+-.^_`|~") == strlen(h->key);
		for (const unsigned char *p = (const unsigned char *)h->value; *p; p++)
			is_good = is_good && (*p >= 0x20 || *p == '\t') && *p != 0x7f;
		if (!is_good)
			return config_fail_at(
				dr->r, config_given_node(dr, "headers"),
				"destination %s: header \"%.64s\" has a character that no "
				"header may have",
				dr->d->name, h->key);
		for (size_t k = 0; k < i; k++)
			if (strcasecmp(h->key, dr->d->headers.items[k].key) == 0)
				return config_fail_at(
					dr->r, config_given_node(dr, "headers"),
					"destination %s: header \"%.64s\" stands here twice",
					dr->d->name, h->key);
	}
	return ST_OK;
}

static enum status check_tls(const struct destination_reading *dr)
{
	const struct destination_config *d = dr->d;
	if (!*d->tls_cert_file == !*d->tls_key_file)
		return ST_OK;
	return config_fail_at(
		dr->r, config_given_node(dr, *d->tls_cert_file ? "tls.cert_file" : "tls.key_file"),
		"destination %s: tls.cert_file and tls.key_file belong together", d->name);
}

/* What holds for every kind that speaks HTTP or gRPC. */
static enum status check_network(const struct destination_reading *dr)
{
	enum status st = check_headers(dr);
	if (!st)
		st = config_check_auth(dr);
	return st ? st : check_tls(dr);
}

static enum status check_otlp_http(const struct destination_reading *dr)
{
	enum status st = check_endpoints(dr);
	return st ? st : check_network(dr);
}

static enum status check_loki(const struct destination_reading *dr)
{
	const struct destination_config *d = dr->d;
	if (!*d->endpoint)
		return config_fail_key(dr->r, dr->node, "destination %s: endpoint is missing",
				       d->name);
	enum status st = check_url(dr, "endpoint", d->endpoint);
	if (!st)
		st = config_check_loki(dr);
	return st ? st : check_network(dr);
}

static enum status check_otlp_grpc(const struct destination_reading *dr)
{
	const struct destination_config *d = dr->d;
	struct grpc_endpoint endpoint;
	struct err e = { 0 };
	if (!*d->endpoint)
		return config_fail_key(dr->r, dr->node, "destination %s: endpoint is missing",
				       d->name);
	enum status st = grpc_endpoint_parse(d->endpoint, d->tls_insecure, &endpoint, &e);
	if (st)
		return config_fail_at(dr->r, config_given_node(dr, "endpoint"),
				      "destination %s: endpoint: %s", d->name, err_text(&e, st));
	for (size_t i = 0; i < d->headers.count && !st; i++)
		st = grpc_metadata_check(d->headers.items[i].key, d->headers.items[i].value, &e);
	if (st)
		return config_fail_at(dr->r, config_given_node(dr, "headers"), "destination %s: %s",
				      d->name, err_text(&e, st));
	return check_network(dr);
}

/* Names that go out as they stand here. */
static bool is_label_name(const char *s)
{
	return *s && !(*s >= '0' && *s <= '9') && strncmp(s, "__", 2) != 0 &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") ==
		       strlen(s);
}

/* url begins with a scheme: check_url says so. */
static bool has_path(const char *url)
{
	const char *path = strchr(strstr(url, "//") + 2, '/');
	return path && path[1];
}

static enum status check_prometheus(const struct destination_reading *dr)
{
	enum { LABELS_MAX = 32 };
	const struct destination_config *d = dr->d;
	const struct config_map *labels = &d->prometheus_external_labels;
	if (!*d->endpoint)
		return config_fail_key(dr->r, dr->node,
				       "destination %s: endpoint is missing: the URL of the "
				       "receiver, as in http://prometheus:9090/api/v1/write",
				       d->name);
	enum status st = check_url(dr, "endpoint", d->endpoint);
	if (!st && !has_path(d->endpoint))
		return config_fail_at(dr->r, config_given_node(dr, "endpoint"),
				      "destination %s: endpoint has no path: write the whole URL "
				      "of the receiver, as in http://prometheus:9090/api/v1/write",
				      d->name);
	if (!st)
		st = check_network(dr);
	for (size_t i = 0; i < labels->count && !st; i++)
		if (i >= LABELS_MAX || !is_label_name(labels->items[i].key))
			return config_fail_at(
				dr->r, config_given_node(dr, "prometheus.external_labels"),
				"destination %s: prometheus.external_labels: \"%.64s\" %s", d->name,
				labels->items[i].key,
				i >= LABELS_MAX ?
					"is one label too many: the most is 32" :
					"is no label name: letters, digits and _, no digit "
					"first, not __ first");
	return st;
}

static enum status check_file(const struct destination_reading *dr)
{
	const struct destination_config *d = dr->d;
	return *d->path ?
		       ST_OK :
		       config_fail_key(dr->r, dr->node, "destination %s: path is missing", d->name);
}

static enum status check_uplink(const struct destination_reading *dr)
{
	const struct config *c = dr->r->config;
	const char *names[UPLINKS_MAX + 1];
	for (size_t i = 0; i < c->uplink_count; i++) {
		names[i] = c->uplinks[i].name;
		if (strcmp(names[i], dr->d->uplink) == 0)
			return ST_OK;
	}
	return config_fail_at(dr->r, config_given_node(dr, "uplink"),
			      "destination %s: there is no uplink \"%.64s\"%s", dr->d->name,
			      dr->d->uplink,
			      config_hint(dr->r, dr->d->uplink, names, c->uplink_count));
}

static enum status check_destination(const struct destination_reading *dr)
{
	const struct destination_config *d = dr->d;
	static enum status (*const checks[])(const struct destination_reading *) = {
		[CONFIG_KIND_OTLP_HTTP] = check_otlp_http,
		[CONFIG_KIND_OTLP_GRPC] = check_otlp_grpc,
		[CONFIG_KIND_PROMETHEUS] = check_prometheus,
		[CONFIG_KIND_LOKI] = check_loki,
		[CONFIG_KIND_FILE] = check_file,
	};
	enum status st = check_kind(dr);
	if (!st)
		st = checks[d->kind](dr);
	if (!st)
		st = check_uplink(dr);
	if (!st)
		st = config_check_order(dr);
	if (!st && d->retry_initial_interval > d->retry_max_interval) {
		const struct yaml_node *n =
			config_given_node(dr, "retry_on_failure.initial_interval");
		if (!n)
			n = config_given_node(dr, "retry_on_failure.max_interval");
		return config_fail_at(dr->r, n,
				      "destination %s: retry_on_failure.initial_interval is longer "
				      "than retry_on_failure.max_interval",
				      d->name);
	}
	return st;
}

static enum status read_destination(struct config_reader *r, const struct yaml_node *n)
{
	struct config *c = r->config;
	enum status st = config_check_name(r, n, "destination");
	if (st)
		return st;
	if (n->kind != YAML_MAP)
		return config_fail_at(r, n, "destination %s is a mapping, with its kind", n->key);
	struct destination_config *d = &c->destinations[c->destination_count++];
	d->name = xstrdup(n->key);
	d->place = (struct config_place){ n->key_line, n->key_column };
	config_set_defaults(&config_destination_table, d);
	struct config_given *given = &r->given_destinations[d - c->destinations];
	const struct destination_reading dr = { .r = r, .node = n, .d = d, .given = given };
	st = config_read_section(r, n, &config_destination_table, d, NULL, given);
	if (st)
		return st;
	return check_destination(&dr);
}

enum status config_read_destinations(struct config_reader *r, const struct yaml_node *map)
{
	if (yaml_is_null(map))
		return ST_OK;
	if (map->kind != YAML_MAP)
		return config_fail_at(r, map, "destinations is a mapping of names to destinations");
	if (map->count > DESTINATIONS_MAX)
		return config_fail_at(r, map, "%zu destinations are too many: the most is %d",
				      map->count, DESTINATIONS_MAX);
	r->config->destinations = xcalloc(map->count + 1, sizeof(struct destination_config));
	r->given_destinations =
		arena_calloc(&r->arena, map->count + 1, sizeof(*r->given_destinations));
	if (!r->given_destinations)
		return ST_NO_MEMORY;
	enum status st = ST_OK;
	for (const struct yaml_node *n = map->first; n && !st; n = n->next)
		st = read_destination(r, n);
	return st;
}

static const char *signal_word(unsigned i)
{
	return signal_text((enum signal)i);
}

static const char *class_word(unsigned i)
{
	return record_class_text((enum record_class)i);
}

/* A closed set of words that a match selects from. */
struct word_set {
	const char *key;
	unsigned count;
	const char *(*word)(unsigned i);
};
static const struct word_set match_sets[] = {
	{ "signal", SIGNAL_COUNT, signal_word },
	{ "class", RECORD_CLASS_COUNT, class_word },
};
enum { MATCH_SETS = sizeof(match_sets) / sizeof(match_sets[0]), WORDS_MAX = 8 };

static enum status read_word(struct config_reader *r, const struct yaml_node *n,
			     const struct word_set *set, unsigned *mask)
{
	const char *text = NULL;
	bool is_plain = false;
	const char *words[WORDS_MAX];
	const struct config_wanted wanted = { set->key, "a word or a list of words" };
	enum status st = config_read_text(r, n, wanted, &text, &is_plain);
	if (st)
		return st;
	for (unsigned i = 0; i < set->count; i++) {
		words[i] = set->word(i);
		if (strcmp(words[i], text) == 0) {
			*mask |= 1u << i;
			return ST_OK;
		}
	}
	return config_fail_at(r, n, "\"%.64s\" is no %s%s", text, set->key,
			      config_hint(r, text, words, set->count));
}

/* One word or a list of words. An empty list would match nothing: that is no route. */
static enum status read_words(struct config_reader *r, const struct yaml_node *n,
			      const struct word_set *set, unsigned *mask)
{
	if (n->kind == YAML_MAP || (n->kind == YAML_LIST && n->count == 0))
		return config_fail_at(r, n, "%s is a word or a list of words", set->key);
	if (n->kind == YAML_TEXT)
		return read_word(r, n, set, mask);
	enum status st = ST_OK;
	for (const struct yaml_node *item = n->first; item && !st; item = item->next)
		st = read_word(r, item, set, mask);
	return st;
}

static enum status read_match(struct config_reader *r, const struct yaml_node *n,
			      unsigned masks[MATCH_SETS])
{
	static const char *const keys[] = { "signal", "class" };
	if (yaml_is_null(n))
		return ST_OK;
	if (n->kind != YAML_MAP)
		return config_fail_at(r, n, "match is a mapping, with signal or class");
	enum status st = ST_OK;
	for (const struct yaml_node *item = n->first; item && !st; item = item->next) {
		int i = strcmp(item->key, keys[0]) == 0 ? 0 :
			strcmp(item->key, keys[1]) == 0 ? 1 :
							  -1;
		if (i < 0)
			return config_fail_key(r, item, "%.64s is no key of match%s", item->key,
					       config_hint(r, item->key, keys, MATCH_SETS));
		st = read_words(r, item, &match_sets[i], &masks[i]);
	}
	return st;
}

static enum status read_target(struct config_reader *r, const struct yaml_node *n,
			       struct route_config *route)
{
	const struct config *c = r->config;
	const char *names[DESTINATIONS_MAX];
	const char *text = NULL;
	bool is_plain = false;
	const struct config_wanted wanted = { "to", "the name of a destination" };
	enum status st = config_read_text(r, n, wanted, &text, &is_plain);
	if (st)
		return st;
	for (char **p = route->to; *p; p++)
		if (strcmp(*p, text) == 0)
			return config_fail_at(r, n, "destination %s stands here twice", text);
	for (size_t i = 0; i < c->destination_count; i++) {
		names[i] = c->destinations[i].name;
		if (strcmp(names[i], text) != 0)
			continue;
		config_list_add(&route->to, text);
		return ST_OK;
	}
	return config_fail_at(r, n, "there is no destination \"%.64s\"%s", text,
			      config_hint(r, text, names, c->destination_count));
}

static enum status read_targets(struct config_reader *r, const struct yaml_node *n,
				struct route_config *route)
{
	if (n->kind == YAML_MAP || (n->kind == YAML_LIST && n->count == 0))
		return config_fail_at(r, n, "to is the name of a destination, or a list of names");
	if (n->kind == YAML_TEXT)
		return read_target(r, n, route);
	enum status st = ST_OK;
	for (const struct yaml_node *item = n->first; item && !st; item = item->next)
		st = read_target(r, item, route);
	return st;
}

enum { ALL_SIGNALS = (1u << SIGNAL_COUNT) - 1 };

static const struct {
	const char *word;
	unsigned signals;
} kinds[] = {
	[CONFIG_KIND_OTLP_HTTP] = { "otlp_http", ALL_SIGNALS },
	[CONFIG_KIND_OTLP_GRPC] = { "otlp_grpc", ALL_SIGNALS },
	[CONFIG_KIND_PROMETHEUS] = { "prometheus", 1u << SIGNAL_METRICS },
	[CONFIG_KIND_LOKI] = { "loki", 1u << SIGNAL_LOGS },
	[CONFIG_KIND_FILE] = { "file", ALL_SIGNALS },
};

const char *config_kind_text(int kind)
{
	return kinds[kind].word;
}

unsigned config_signals_of(const struct destination_config *d)
{
	return kinds[d->kind].signals;
}

unsigned config_signals_of_kind(const char *kind)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(kinds[i].word, kind) == 0)
			return kinds[i].signals;
	return 0;
}

static struct route_config *add_route(struct config *c)
{
	struct route_config *route = &c->routes[c->route_count++];
	route->signal_mask = ALL_SIGNALS;
	route->class_mask = (1u << RECORD_CLASS_COUNT) - 1;
	route->to = xcalloc(1, sizeof(char *));
	return route;
}

/* What a destination cannot take would only become dead letters there. */
static enum status check_signals(const struct config_reader *r, const struct yaml_node *n,
				 const struct route_config *route)
{
	const struct config *c = r->config;
	for (char **to = route->to; *to; to++)
		for (size_t i = 0; i < c->destination_count; i++) {
			const struct destination_config *d = &c->destinations[i];
			unsigned wrong = route->signal_mask & ~config_signals_of(d);
			if (!wrong || strcmp(d->name, *to) != 0)
				continue;
			return config_fail_at(
				r, n, "this route sends %s to %s, which takes %s only: match them",
				signal_text((enum signal)__builtin_ctz(wrong)), d->name,
				signal_text((enum signal)__builtin_ctz(config_signals_of(d))));
		}
	return ST_OK;
}

static enum status read_route(struct config_reader *r, const struct yaml_node *n)
{
	static const char *const keys[] = { "match", "to" };
	if (n->kind != YAML_MAP)
		return config_fail_at(r, n, "a route is a mapping, with match and to");
	struct route_config *route = add_route(r->config);
	route->place = (struct config_place){ n->line, n->column };
	unsigned masks[MATCH_SETS] = { 0 };
	enum status st = ST_OK;
	for (const struct yaml_node *item = n->first; item && !st; item = item->next) {
		if (strcmp(item->key, "match") == 0)
			st = read_match(r, item, masks);
		else if (strcmp(item->key, "to") == 0)
			st = read_targets(r, item, route);
		else
			st = config_fail_key(r, item, "%.64s is no key of a route%s", item->key,
					     config_hint(r, item->key, keys, 2));
	}
	if (!st && !route->to[0])
		return config_fail_at(r, n, "a route needs to: the destinations that it goes to");
	if (masks[0])
		route->signal_mask = masks[0];
	if (masks[1])
		route->class_mask = masks[1];
	return st ? st : check_signals(r, n, route);
}

/* Everything to every destination that takes it: one route where all take all. */
static void add_default_routes(struct config *c)
{
	unsigned common = ALL_SIGNALS;
	for (size_t i = 0; i < c->destination_count; i++)
		common &= config_signals_of(&c->destinations[i]);
	c->routes = xcalloc(SIGNAL_COUNT, sizeof(struct route_config));
	for (unsigned s = 0; s < SIGNAL_COUNT; s++) {
		unsigned mask = common == ALL_SIGNALS ? ALL_SIGNALS : 1u << s;
		struct route_config *route = add_route(c);
		route->signal_mask = mask;
		for (size_t i = 0; i < c->destination_count; i++)
			if (config_signals_of(&c->destinations[i]) & mask)
				config_list_add(&route->to, c->destinations[i].name);
		if (mask == ALL_SIGNALS)
			return;
		if (!route->to[0]) {
			free(route->to);
			c->route_count--;
		}
	}
}

enum status config_read_routes(struct config_reader *r, const struct yaml_node *list)
{
	struct config *c = r->config;
	if (!list || yaml_is_null(list)) {
		if (c->destination_count == 0)
			return ST_OK;
		add_default_routes(c);
		return ST_OK;
	}
	if (list->kind != YAML_LIST)
		return config_fail_at(r, list, "routes is a list of {match, to}");
	if (list->count > ROUTES_MAX)
		return config_fail_at(r, list, "%zu routes are too many: the most is %d",
				      list->count, ROUTES_MAX);
	c->routes = xcalloc(list->count + 1, sizeof(struct route_config));
	r->given_routes = arena_calloc(&r->arena, list->count + 1, sizeof(struct yaml_node *));
	if (!r->given_routes)
		return ST_NO_MEMORY;
	enum status st = ST_OK;
	for (const struct yaml_node *n = list->first; n && !st; n = n->next) {
		r->given_routes[c->route_count] = n;
		st = read_route(r, n);
	}
	return st;
}
