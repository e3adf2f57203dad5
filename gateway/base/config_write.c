/* config_write.c - the configuration back as text: the effective YAML, and docs/configuration.md.
 *
 * The YAML is complete (defaults too) and is itself a configuration that config_parse takes; a test
 * and a fuzz target hold it to that. Secrets are written as ***, so that it can be shown around.
 *
 * Both come from the table. Keys of one section stand together in config.def: a section's heading
 * is written where the next key leaves the sections of the one before. */
#include "gateway/base/config_values.h"
#include "schema/vocabulary.h"

static enum status indent(int depth, struct buf *out)
{
	enum status st = ST_OK;
	for (int i = 0; i < depth && !st; i++)
		st = buf_append_str(out, "  ");
	return st;
}

/* "a.b.c" and "a.b.d" share the bytes of "a.b.". */
static size_t shared_sections(const char *a, const char *b)
{
	size_t shared = 0;
	for (size_t i = 0; a[i] && a[i] == b[i]; i++)
		if (a[i] == '.')
			shared = i + 1;
	return shared;
}

static int count_dots(const char *p, size_t n)
{
	int dots = 0;
	for (size_t i = 0; i < n; i++)
		dots += p[i] == '.';
	return dots;
}

/* The headings of the sections that key is in and last was not, and then the key. */
static enum status write_key(const char *key, const char *last, int depth, struct buf *out)
{
	size_t shared = shared_sections(key, last);
	depth += count_dots(key, shared);
	key += shared;
	for (;;) {
		size_t n = strcspn(key, ".");
		enum status st = indent(depth++, out);
		if (!st)
			st = buf_printf(out, "%.*s:%s", (int)n, key, key[n] ? "\n" : " ");
		if (st || !key[n])
			return st;
		key += n + 1;
	}
}

/* kind -1: all keys. */
static enum status write_options(const struct config_table *table, const void *base, int kind,
				 int depth, struct buf *out)
{
	const char *last = "";
	enum status st = ST_OK;
	for (size_t i = 0; i < table->count && !st; i++) {
		const struct config_option *o = &table->options[i];
		if (kind >= 0 && !config_option_is_for(o, kind))
			continue;
		st = write_key(o->key, last, depth, out);
		if (!st)
			st = config_value_write(o, (const char *)base + o->offset, out);
		if (!st)
			st = buf_append_byte(out, '\n');
		last = o->key;
	}
	return st;
}

static enum status write_words(const char *key, unsigned mask, unsigned count,
			       const char *(*word)(unsigned), struct buf *out)
{
	enum status st = buf_printf(out, "%s: [", key);
	const char *comma = "";
	for (unsigned i = 0; i < count && !st; i++) {
		if (!(mask & 1u << i))
			continue;
		st = buf_printf(out, "%s%s", comma, word(i));
		comma = ", ";
	}
	return st ? st : buf_append_byte(out, ']');
}

static const char *signal_word(unsigned i)
{
	return signal_text((enum signal)i);
}

static const char *class_word(unsigned i)
{
	return record_class_text((enum record_class)i);
}

static enum status write_route(const struct route_config *route, struct buf *out)
{
	enum status st = buf_append_str(out, "  - {match: {");
	if (!st)
		st = write_words("signal", route->signal_mask, SIGNAL_COUNT, signal_word, out);
	if (!st)
		st = buf_append_str(out, ", ");
	if (!st)
		st = write_words("class", route->class_mask, RECORD_CLASS_COUNT, class_word, out);
	if (!st)
		st = buf_append_str(out, "}, to: [");
	for (size_t i = 0; route->to[i] && !st; i++)
		st = buf_printf(out, "%s%s", i ? ", " : "", route->to[i]);
	return st ? st : buf_append_str(out, "]}\n");
}

enum status config_write(const struct config *c, struct buf *out)
{
	enum status st = write_options(&config_global_table, c, -1, 0, out);
	st = st ? st : buf_append_str(out, "uplinks:\n");
	for (size_t i = 0; i < c->uplink_count && !st; i++) {
		st = buf_printf(out, "  %s:\n", c->uplinks[i].name);
		if (!st)
			st = write_options(&config_uplink_table, &c->uplinks[i], -1, 2, out);
	}
	if (!st && c->destination_count)
		st = buf_append_str(out, "destinations:\n");
	for (size_t i = 0; i < c->destination_count && !st; i++) {
		const struct destination_config *d = &c->destinations[i];
		st = buf_printf(out, "  %s:\n", d->name);
		if (!st)
			st = write_options(&config_destination_table, d, d->kind, 2, out);
	}
	if (!st && c->route_count)
		st = buf_append_str(out, "routes:\n");
	for (size_t i = 0; i < c->route_count && !st; i++)
		st = write_route(&c->routes[i], out);
	return st;
}

static const char docs_head[] =
	"<!-- Made from schema/config.def by config_docs (tests/lint/config_docs.c): change that "
	"file, "
	"and run\n     build/dev/tests/config_docs > docs/configuration.md. A test compares. -->\n"
	"# Configuration\n\n"
	"`tidegate run --config tidegate.yaml` reads one YAML file. `tidegate check-config "
	"--config "
	"tidegate.yaml` says whether it is right, and prints\nthe effective configuration with "
	"secrets "
	"masked. Without a file the embedded default is used: OTLP on 127.0.0.1:4317 and :4318, "
	"the "
	"queue in\n`./data`, everything delivered to `./data/delivered.jsonl`. An example to start "
	"from is `deploy/tidegate.yaml`.\n\n"
	"- An unknown key is an error, which names the nearest right one. So is a value out of its "
	"range: bounds are inclusive and always applied.\n"
	"- Errors say what is allowed, with file, line and column. `run` and `check-config` exit "
	"with 3 "
	"then, before the queue or a port is touched.\n"
	"- What is allowed and does nothing (an option without the one that it needs, a "
	"destination "
	"without a route, an uplink that nobody uses)\n  is a warning: `check-config` prints it on "
	"stderr, `run` logs it as `config.warning` and goes on.\n"
	"- `${NAME}`, `${env:NAME}` and `${NAME:-default}` in values come from the environment; "
	"`$$` is a dollar sign. A variable that is\n  not set, and has no default, is an error.\n"
	"- Values follow YAML 1.2: `true` and `false` are the only booleans, and what stands in "
	"quotes "
	"is a text.\n"
	"- Aliases, merge keys (`<<`), tags, duplicate keys and second documents are errors. A "
	"file "
	"has 1 MiB at most.\n\n"
	"| type | looks like |\n| --- | --- |\n"
	"| size | `512MiB`: a whole number with B, KiB, MiB, GiB, TiB (1024) or kB, MB, GB, TB "
	"(1000); without a unit, bytes |\n"
	"| rate | `256KiB/s` or `256KiB`: a size in a second; `2Mbit/s`, `256kbit/s`, as links are "
	"sold |\n"
	"| duration | `30s`, `1h30m`: whole numbers with ns, us, ms, s, m, h, d |\n"
	"| int, bool, text | `10`, `true`, `plant-7` |\n"
	"| secret | a text that is never shown |\n"
	"| endpoint | `host:port`, `[v6]:port`, or `:port` for all addresses |\n"
	"| list | `[a, b]`, or one text |\n"
	"| map | `{name: text}`; of secrets: values are never shown |\n";

static const char docs_destinations[] =
	"\n## Destinations\n\n"
	"`destinations` maps names to where data is delivered, each with its own queue, order, "
	"back-off and state. A name is 1 to 63 of the\ncharacters a-z 0-9 _ -, and belongs to the "
	"data that is queued for it: under another name it is another destination. There are at "
	"most 62.\nKeys are below `destinations.NAME`. Those whose description begins with a kind "
	"are for that kind only.\n\n";

static const char docs_uplinks[] =
	"\n## Uplinks\n\n"
	"`uplinks` maps names to what destinations share on their way out: a modem, a satellite "
	"terminal, a line. A destination is on the uplink that its\n`uplink` names, without one on "
	"the uplink `default`, which needs not be written and has no limits then. Destinations of "
	"kind file are on none.\nKeys are below `uplinks.NAME`; there are at most 16. "
	"docs/uplink.md explains them, with examples.\n\n";

static const char docs_routes[] =
	"\n## Routes\n\n"
	"`routes` is a list. Each route has `to`, the name or names of destinations, and may have "
	"`match`, with `signal` (traces, metrics, logs)\nand `class` (critical, warning, info), a "
	"word "
	"or a list each; what `match` does not name, it does not ask for. A batch goes to the\n"
	"destinations of every route that it matches, once to each. Without `routes` everything "
	"goes "
	"to every destination. What no route matches\nstays in the queue under `(unrouted)`. "
	"docs/delivery.md says which record is of which class.\n\n"
	"```yaml\n"
	"routes:\n"
	"  - {match: {signal: [traces, logs]}, to: central}\n"
	"  - {match: {class: critical}, to: [central, archive]}\n"
	"```\n";

static const char *type_text(const struct config_option *o)
{
	static const char *const texts[] = {
		[CONFIG_TYPE_STRING] = "text",       [CONFIG_TYPE_SECRET] = "secret",
		[CONFIG_TYPE_SIZE] = "size",         [CONFIG_TYPE_DURATION] = "duration",
		[CONFIG_TYPE_INT] = "int",           [CONFIG_TYPE_BOOL] = "bool",
		[CONFIG_TYPE_ENDPOINT] = "endpoint", [CONFIG_TYPE_LIST] = "list",
		[CONFIG_TYPE_MAP] = "map",           [CONFIG_TYPE_SECRET_MAP] = "map of secrets",
		[CONFIG_TYPE_CHOICE] = "one of",     [CONFIG_TYPE_RATE] = "rate",
	};
	return texts[o->type];
}

/* A CHOICE has its words where others have their range; in a table | is written &#124;. */
static enum status write_range(const struct config_option *o, struct buf *out)
{
	enum status st = ST_OK;
	if (o->type != CONFIG_TYPE_CHOICE)
		return *o->min ? buf_printf(out, " | %s to %s", o->min, o->max) :
				 buf_append_str(out, " | ");
	st = buf_append_str(out, " | ");
	for (const char *p = o->min; *p && !st; p++)
		st = *p == '|' ? buf_append_str(out, ", ") : buf_append_byte(out, (uint8_t)*p);
	return st;
}

static enum status write_table(const struct config_table *table, struct buf *out)
{
	enum status st = buf_append_str(out, "| key | type | default | range | |\n"
					     "| --- | --- | --- | --- | --- |\n");
	for (size_t i = 0; i < table->count && !st; i++) {
		const struct config_option *o = &table->options[i];
		st = buf_printf(out, "| `%s` | %s | ", o->key, type_text(o));
		if (!st && *o->initial)
			st = buf_printf(out, "`%s`", o->initial);
		if (!st)
			st = write_range(o, out);
		if (!st)
			st = buf_printf(out, " | %s", o->doc);
		if (!st)
			st = config_needs_write(table, o->key, out);
		if (!st)
			st = buf_append_str(out, " |\n");
	}
	return st;
}

enum status config_write_docs(struct buf *out)
{
	enum status st = buf_append_str(out, docs_head);
	if (!st)
		st = buf_append_str(out, "\n## The gateway\n\n");
	if (!st)
		st = write_table(&config_global_table, out);
	if (!st)
		st = buf_append_str(out, docs_destinations);
	if (!st)
		st = write_table(&config_destination_table, out);
	if (!st)
		st = buf_append_str(out, docs_uplinks);
	if (!st)
		st = write_table(&config_uplink_table, out);
	return st ? st : buf_append_str(out, docs_routes);
}
