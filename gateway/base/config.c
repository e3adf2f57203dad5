/* config.c - from a file to struct config.
 *
 * config_yaml.c makes a tree with places; this file walks it beside the table that
 * schema/config.def became (config_values.c). A key is an option, or a section that begins the keys
 * of some, or an error: there is no branch per key. What is not in the file keeps its default.
 * The parts that repeat are in config_uplinks.c and config_destinations.c.
 *
 * What must hold among options comes last (config_sense.c): some of it is allowed and makes a
 * warning only. The first error ends the reading: its message says where (file:line:column), what,
 * and what would be right. Memory is the operator's own document, bounded by YAML_BYTES_MAX; the
 * tree is freed before config_parse returns, the config owns copies. */
#include "gateway/base/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "gateway/base/config_reader.h"
#include "gateway/base/xalloc.h"

enum { TREE_BYTES_MAX = 16 << 20, PATH_SIZE = 128, SEGMENTS_MAX = 64 };

static const char *const repeating_parts[] = { "uplinks", "destinations", "routes", NULL };

static const char default_text[] = "destinations:\n"
				   "  file: {kind: file, path: ./data/delivered.jsonl}\n";

/* What the file has may go to a terminal, in one line. */
static void make_printable(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
}

static enum status fail_with(const struct config_reader *r, int line, int column, const char *fmt,
			     va_list ap)
{
	struct err what;
	(void)vsnprintf(what.text, sizeof(what.text), fmt, ap);
	return err_set(r->e, ST_INVALID, "%s:%d:%d: %s", r->name, line, column, what.text);
}

enum status config_fail_at(const struct config_reader *r, const struct yaml_node *n,
			   const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	enum status st = fail_with(r, n->line, n->column, fmt, ap);
	va_end(ap);
	return st;
}

enum status config_fail_key(const struct config_reader *r, const struct yaml_node *n,
			    const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	enum status st = fail_with(r, n->key_line, n->key_column, fmt, ap);
	va_end(ap);
	return st;
}

static void warn(const struct config_reader *r, int line, int column, const char *fmt, va_list ap)
	PRINTF_LIKE(4, 0);

static void warn(const struct config_reader *r, int line, int column, const char *fmt, va_list ap)
{
	struct err what;
	struct err whole;
	(void)vsnprintf(what.text, sizeof(what.text), fmt, ap);
	(void)err_set(&whole, ST_INVALID, "%s:%d:%d: %s", r->name, line, column, what.text);
	make_printable(whole.text);
	config_list_add(&r->config->warnings, whole.text);
}

void config_warn_at(const struct config_reader *r, const struct yaml_node *n, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	warn(r, n->line, n->column, fmt, ap);
	va_end(ap);
}

void config_warn_key(const struct config_reader *r, const struct yaml_node *n, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	warn(r, n->key_line, n->key_column, fmt, ap);
	va_end(ap);
}

const struct yaml_node *config_node_of(const struct config_table *table,
				       const struct config_given *given, const char *key)
{
	return given->nodes[config_option_of(table, key) - table->options];
}

const char *config_hint(struct config_reader *r, const char *text, const char *const *candidates,
			size_t count)
{
	struct buf hint;
	const char *near[CONFIG_NEAREST_MAX];
	size_t near_count = config_nearest_all(text, candidates, count, near);
	enum status st = ST_OK;
	buf_init(&hint, 400, NULL);
	for (size_t i = 0; i < near_count && !st; i++)
		st = buf_printf(&hint, "%s%s%s", i ? " or " : "; did you mean ", near[i],
				i + 1 == near_count ? "?" : "");
	for (size_t i = 0; i < count && !near_count && !st; i++)
		st = buf_printf(&hint, "%s%s", i ? ", " : "; known here: ", candidates[i]);
	/* A list that is too long is cut: it is a hint. */
	const char *kept = arena_strdup(&r->arena, buf_view(&hint));
	buf_done(&hint);
	return kept ? kept : "";
}

enum status config_read_text(struct config_reader *r, const struct yaml_node *n,
			     struct config_wanted wanted, const char **ret, bool *ret_is_plain)
{
	if (n->kind != YAML_TEXT)
		return config_fail_at(r, n, "%s is a single value, not a %s: write %s", wanted.what,
				      n->kind == YAML_MAP ? "mapping" : "list", wanted.allowed);
	if (yaml_is_null(n))
		return config_fail_at(
			r, n, "%s has no value: write %s%s", wanted.what, wanted.allowed,
			strcmp(wanted.allowed, "a text") == 0 ? ", or \"\" for an empty one" : "");
	struct err why = { 0 };
	if (config_expand(n->text, &r->arena, ret, &why))
		return config_fail_at(r, n, "%s: %s", wanted.what, why.text);
	*ret_is_plain = n->is_plain || *ret != n->text;
	return ST_OK;
}

/* A list of texts, or one text. An empty one in it names nothing. */
static enum status read_list(struct config_reader *r, const struct yaml_node *n,
			     struct config_wanted wanted, config_LIST *list)
{
	if (n->kind == YAML_MAP || yaml_is_null(n))
		return config_fail_at(r, n, "%s is a list%s: write %s, or [] for none", wanted.what,
				      n->kind == YAML_MAP ? ", not a mapping" : " and has no value",
				      wanted.allowed);
	const struct yaml_node *item = n->kind == YAML_LIST ? n->first : n;
	for (; item; item = item->next) {
		const char *text = NULL;
		bool is_plain = false;
		const struct config_wanted one = { wanted.what, "a text" };
		enum status st = config_read_text(r, item, one, &text, &is_plain);
		if (st)
			return st;
		if (!*text)
			return config_fail_at(r, item,
					      "%s: a text in it is empty: write %s, or [] for none",
					      wanted.what, wanted.allowed);
		config_list_add(list, text);
		if (item == n)
			break;
	}
	return ST_OK;
}

static enum status read_map(struct config_reader *r, const struct yaml_node *n,
			    struct config_wanted wanted, struct config_map *map)
{
	if (n->kind != YAML_MAP)
		return config_fail_at(r, n, "%s is a mapping%s: write %s, or {} for none",
				      wanted.what,
				      n->kind == YAML_LIST ? ", not a list" :
				      yaml_is_null(n)      ? " and has no value" :
							     ", not a single value",
				      wanted.allowed);
	for (const struct yaml_node *item = n->first; item; item = item->next) {
		const char *text = NULL;
		bool is_plain = false;
		char path[PATH_SIZE];
		(void)snprintf(path, sizeof(path), "%s.%s", wanted.what, item->key);
		if (!*item->key)
			return config_fail_key(r, item, "%s: a name is empty: write %s",
					       wanted.what, wanted.allowed);
		const struct config_wanted one = { path, "a text" };
		enum status st = config_read_text(r, item, one, &text, &is_plain);
		if (st)
			return st;
		config_map_add(map, item->key, text);
	}
	return ST_OK;
}

static enum status read_option(struct config_reader *r, const struct yaml_node *n,
			       const struct config_option *o, void *base)
{
	void *field = config_field(o, base);
	char allowed[CONFIG_ALLOWED_SIZE];
	config_allowed(o, allowed, sizeof(allowed));
	const struct config_wanted wanted = { o->key, allowed };
	if (o->type == CONFIG_TYPE_LIST)
		return read_list(r, n, wanted, field);
	if (o->type == CONFIG_TYPE_MAP || o->type == CONFIG_TYPE_SECRET_MAP)
		return read_map(r, n, wanted, field);
	const char *text = NULL;
	bool is_plain = false;
	enum status st = config_read_text(r, n, wanted, &text, &is_plain);
	struct err why = { 0 };
	if (!st && config_value_parse(o, text, is_plain, field, &why))
		st = config_fail_at(r, n, "%s: %s", o->key, why.text);
	return st;
}

/* One walk over a table. */
struct section {
	const struct config_table *table;
	void *base;
	const char *const *skip;
	struct config_given *given;
};

static bool is_below(const char *key, const char *prefix)
{
	size_t n = strlen(prefix);
	return n == 0 || (strncmp(key, prefix, n) == 0 && key[n] == '.');
}

/* The key or section of this name in the table, with its path; NULL: there is none. */
static const char *find_in(struct config_reader *r, const struct config_table *table,
			   const char *name)
{
	size_t n = strlen(name);
	for (size_t i = 0; i < table->count && n; i++) {
		const char *key = table->options[i].key;
		for (const char *p = key; p; p = strchr(p, '.') ? strchr(p, '.') + 1 : NULL)
			if (strncmp(p, name, n) == 0 && (p[n] == '.' || !p[n]))
				return arena_strdup(&r->arena,
						    bytes_of(key, (size_t)(p - key) + n));
	}
	return NULL;
}

/* In another section of the same table, or in another table. *ret_part says where that one is. */
static const char *find_elsewhere(struct config_reader *r, const struct config_table *table,
				  const char *name, const char **ret_part)
{
	static const struct {
		const struct config_table *table;
		const char *part;
	} parts[] = { { &config_global_table, ", at the top of the file" },
		      { &config_destination_table, ", below destinations.NAME" },
		      { &config_uplink_table, ", below uplinks.NAME" } };
	*ret_part = "";
	const char *found = find_in(r, table, name);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]) && !found; i++) {
		found = parts[i].table != table ? find_in(r, parts[i].table, name) : NULL;
		*ret_part = parts[i].part;
	}
	return found;
}

/* The keys and sections right below the prefix, and at the top those that are no options. */
static size_t list_candidates(struct config_reader *r, const struct section *s, const char *prefix,
			      const char *candidates[SEGMENTS_MAX])
{
	size_t count = 0;
	size_t skip_bytes = *prefix ? strlen(prefix) + 1 : 0;
	const char *last = "";
	for (size_t i = 0; i < s->table->count && count < SEGMENTS_MAX; i++) {
		const char *key = s->table->options[i].key;
		if (!is_below(key, prefix))
			continue;
		const char *segment = key + skip_bytes;
		size_t length = strcspn(segment, ".");
		if (strlen(last) == length && strncmp(last, segment, length) == 0)
			continue;
		last = arena_strdup(&r->arena, bytes_of(segment, length));
		if (!last)
			break;
		candidates[count++] = last;
	}
	for (size_t i = 0; !*prefix && s->skip && s->skip[i] && count < SEGMENTS_MAX; i++)
		candidates[count++] = s->skip[i];
	return count;
}

/* "queue.max_sze is no key; did you mean max_size?" */
static enum status fail_unknown(struct config_reader *r, const struct yaml_node *n,
				const struct section *s, const char *prefix)
{
	const char *candidates[SEGMENTS_MAX];
	const char *part = "";
	const char *dot = *prefix ? "." : "";
	if (strchr(n->key, '.'))
		return config_fail_key(
			r, n, "%.64s is no key: sections are nested, not joined by dots", n->key);
	const char *elsewhere = find_elsewhere(r, s->table, n->key, &part);
	if (elsewhere)
		return config_fail_key(r, n, "%.64s%s%.64s is no key%s; did you mean %s%s?", prefix,
				       dot, n->key, *part ? " here" : "", elsewhere, part);
	size_t count = list_candidates(r, s, prefix, candidates);
	return config_fail_key(r, n, "%.64s%s%.64s is no key%s", prefix, dot, n->key,
			       config_hint(r, n->key, candidates, count));
}

/* The recursion ends with the dots of the table's keys: a section that begins none is unknown. */
/* NOLINTNEXTLINE(misc-no-recursion) */
static enum status read_keys(struct config_reader *r, const struct yaml_node *map,
			     const struct section *s, const char *prefix)
{
	enum status st = ST_OK;
	for (const struct yaml_node *n = map->first; n && !st; n = n->next) {
		char path[PATH_SIZE];
		int length =
			snprintf(path, sizeof(path), "%s%s%s", prefix, *prefix ? "." : "", n->key);
		bool is_option = false;
		bool is_section = false;
		bool is_fit = length < PATH_SIZE && *n->key && !strchr(n->key, '.');
		for (size_t i = 0; is_fit && i < s->table->count && !is_option && !st; i++) {
			is_section = is_section || is_below(s->table->options[i].key, path);
			is_option = strcmp(s->table->options[i].key, path) == 0;
			if (!is_option)
				continue;
			st = read_option(r, n, &s->table->options[i], s->base);
			s->given->nodes[i] = n;
		}
		if (is_option)
			continue;
		bool is_skipped = false;
		for (size_t i = 0; !*prefix && s->skip && s->skip[i]; i++)
			is_skipped = is_skipped || strcmp(s->skip[i], n->key) == 0;
		if (is_skipped || (is_section && yaml_is_null(n)))
			continue;
		if (!is_section)
			return fail_unknown(r, n, s, prefix);
		if (n->kind != YAML_MAP)
			return config_fail_at(r, n, "%s is a mapping", path);
		st = read_keys(r, n, s, path);
	}
	return st;
}

enum status config_read_section(struct config_reader *r, const struct yaml_node *map,
				const struct config_table *table, void *base,
				const char *const *skip, struct config_given *ret_given)
{
	struct section s = { .table = table, .base = base, .skip = skip, .given = ret_given };
	ret_given->part = map;
	return read_keys(r, map, &s, "");
}

void config_set_defaults(const struct config_table *table, void *base)
{
	for (size_t i = 0; i < table->count; i++) {
		const struct config_option *o = &table->options[i];
		struct err e = { 0 };
		bool is_required = o->type == CONFIG_TYPE_CHOICE && !*o->initial;
		if (is_required) {
			*(config_CHOICE *)config_field(o, base) = -1;
			continue;
		}
		enum status st = config_value_parse(o, o->initial, true, config_field(o, base), &e);
		CHECK(!st); /* a wrong default in config.def: every test sees it */
	}
}

static const struct yaml_node *find_entry(const struct yaml_node *map, const char *key)
{
	for (const struct yaml_node *n = map->first; n; n = n->next)
		if (strcmp(n->key, key) == 0)
			return n;
	return NULL;
}

static enum status read_root(struct config_reader *r, const struct yaml_node *root)
{
	if (root->kind != YAML_MAP)
		return config_fail_at(r, root, "the file is a mapping of keys to values");
	enum status st = config_read_section(r, root, &config_global_table, r->config,
					     repeating_parts, &r->given);
	const struct yaml_node *destinations = find_entry(root, "destinations");
	if (!st)
		st = config_read_uplinks(r, find_entry(root, "uplinks"));
	if (!st && destinations)
		st = config_read_destinations(r, destinations);
	if (!st)
		st = config_read_routes(r, find_entry(root, "routes"));
	if (!st)
		st = config_check_diversions(r);
	return st ? st : config_check_sense(r);
}

/* Where each option stands, for what is found out later. The nodes go with the arena. */
static struct config_place *copy_places(const struct config_table *table,
					const struct config_given *given)
{
	struct config_place *places = xcalloc(table->count, sizeof(*places));
	for (size_t i = 0; i < table->count; i++)
		if (given->nodes[i])
			places[i] = (struct config_place){ given->nodes[i]->line,
							   given->nodes[i]->column };
	return places;
}

static void keep_places(const struct config_reader *r)
{
	struct config *c = r->config;
	c->places = copy_places(&config_global_table, &r->given);
	for (size_t i = 0; i < c->destination_count; i++)
		c->destinations[i].places =
			copy_places(&config_destination_table, &r->given_destinations[i]);
}

enum status config_parse(const char *name, struct bytes yaml, struct config **ret, struct err *e)
{
	struct config_reader r = { .name = name, .e = e };
	arena_init(&r.arena, TREE_BYTES_MAX, NULL);
	struct config *c = xcalloc(1, sizeof(*c));
	r.config = c;
	config_set_defaults(&config_global_table, c);
	c->warnings = xcalloc(1, sizeof(char *));
	const struct yaml_node *root = NULL;
	enum status st = yaml_read(name, yaml, &r.arena, &root, e);
	if (!st)
		st = root ? read_root(&r, root) : config_read_uplinks(&r, NULL);
	if (st)
		goto out;
	c->file = xstrdup(name);
	keep_places(&r);
	*ret = c;
	c = NULL;
out:
	if (st && e)
		make_printable(e->text);
	config_free(c);
	arena_done(&r.arena);
	return st;
}

/* The whole file; one byte more than allowed is enough to see that it is too large. */
static enum status read_file(const char *path, struct buf *out, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_set(e, ST_IO, "cannot open %s: %s", path, strerrordesc_np(errno));
	enum status st = buf_reserve(out, YAML_BYTES_MAX + 1);
	while (!st && out->n <= YAML_BYTES_MAX) {
		ssize_t n = read(fd, out->p + out->n, YAML_BYTES_MAX + 1 - out->n);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			st = err_set(e, ST_IO, "cannot read %s: %s", path, strerrordesc_np(errno));
		if (n <= 0)
			break;
		buf_advance(out, (size_t)n);
	}
	(void)close(fd);
	return st;
}

enum status config_load(const char *path, struct config **ret, struct err *e)
{
	struct buf text;
	buf_init(&text, 2 * YAML_BYTES_MAX, NULL);
	enum status st = read_file(path, &text, e);
	if (!st)
		st = config_parse(path, buf_view(&text), ret, e);
	buf_done(&text);
	return st;
}

enum status config_default(struct config **ret, struct err *e)
{
	enum status st = config_parse("the embedded default", bytes_str(default_text), ret, e);
	if (st)
		return st;
	free((*ret)->file);
	(*ret)->file = NULL;
	return ST_OK;
}

/* text begins with the key, and goes on with something that is no part of one. */
static bool is_about(const char *text, const char *key)
{
	size_t n = strlen(key);
	return strncmp(text, key, n) == 0 &&
	       (!text[n] || strchr(":,; ", text[n]) || (text[n] == '.' && strchr(text + n, ':')));
}

bool config_where(const struct config *c, const struct destination_config *d, const char *text,
		  char *ret, size_t size)
{
	const struct config_table *table = d ? &config_destination_table : &config_global_table;
	const struct config_place *places = d ? d->places : c->places;
	struct config_place at = d ? d->place : (struct config_place){ 0 };
	for (size_t i = 0; i < table->count; i++)
		if (places[i].line && is_about(text, table->options[i].key))
			at = places[i];
	const char *file = c->file ? c->file : "default";
	if (at.line)
		(void)snprintf(ret, size, "%s:%d:%d", file, at.line, at.column);
	else
		(void)snprintf(ret, size, "%s", file);
	return at.line != 0;
}

static void free_fields(const struct config_table *table, void *base)
{
	for (size_t i = 0; i < table->count; i++)
		config_value_free(&table->options[i], config_field(&table->options[i], base));
}

void config_free(struct config *c)
{
	if (!c)
		return;
	free_fields(&config_global_table, c);
	for (size_t i = 0; i < c->uplink_count; i++) {
		free_fields(&config_uplink_table, &c->uplinks[i]);
		free(c->uplinks[i].name);
	}
	free(c->uplinks);
	for (size_t i = 0; i < c->destination_count; i++) {
		free_fields(&config_destination_table, &c->destinations[i]);
		free(c->destinations[i].name);
		free(c->destinations[i].places);
	}
	for (size_t i = 0; i < c->route_count; i++) {
		for (char **p = c->routes[i].to; p && *p; p++)
			free(*p);
		free(c->routes[i].to);
	}
	free(c->destinations);
	free(c->routes);
	free(c->places);
	for (char **p = c->warnings; p && *p; p++)
		free(*p);
	free(c->warnings);
	free(c->file);
	free(c);
}
