/* Every option of schema/config.def, and every way to write it wrong: one message each, with the
 * place, the option and what is right. The option table itself is the list of cases, so that a new
 * option is covered by being there. */
#include <stdio.h>
#include <stdlib.h>

#include "gateway/base/config.h"
#include "gateway/base/config_values.h"
#include "gateway/base/xalloc.h"
#include "tests/support/expect.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
enum { KINDS = 5, TEXT_SIZE = 8192, KEY_SIZE = 128 };

static const struct config_table *const tables[] = { &config_global_table,
						     &config_destination_table,
						     &config_uplink_table };

/* The least that a destination of each kind needs, as lines. */
static const struct {
	const char *kind;
	const char *lines[2]; /* each one key */
} kinds[KINDS] = {
	[CONFIG_KIND_OTLP_HTTP] = { "otlp_http", { "endpoint: https://h.example:1", NULL } },
	[CONFIG_KIND_OTLP_GRPC] = { "otlp_grpc", { "endpoint: https://h.example:1", NULL } },
	[CONFIG_KIND_PROMETHEUS] = { "prometheus", { "endpoint: https://h.example/w", NULL } },
	[CONFIG_KIND_LOKI] = { "loki", { "endpoint: https://h.example", NULL } },
	[CONFIG_KIND_FILE] = { "file", { "path: /tmp/x", NULL } },
};

/* A document with one option in its place, and where that ends up. */
struct document {
	char text[TEXT_SIZE];
	int key_line;
	int key_column;
	char value_place[32]; /* "t.yaml:LINE:COLUMN: ", of a value on the line of its key */
	char key_place[32];
};

static void add(struct document *d, const char *text)
{
	size_t n = strlen(d->text);
	ck_assert_uint_lt(n + strlen(text), sizeof(d->text));
	memcpy(d->text + n, text, strlen(text) + 1);
}

static void add_line(struct document *d, int depth, const char *text)
{
	for (int i = 0; i < depth; i++)
		add(d, "  ");
	add(d, text);
	add(d, "\n");
}

static int line_count(const char *text)
{
	int n = 1;
	for (; *text; text++)
		n += *text == '\n';
	return n;
}

/* Whatever the table is about, up to where its keys begin. Gives their depth. key is left out: it
 * would stand there twice. */
static int begin(struct document *d, const struct config_table *table, int kind, const char *key)
{
	*d = (struct document){ .text = "" };
	if (table == &config_global_table)
		return 0;
	add_line(d, 0, table == &config_uplink_table ? "uplinks:" : "destinations:");
	add_line(d, 1, "one:");
	for (size_t i = 0; table == &config_destination_table && i < 2; i++) {
		const char *line = i ? kinds[kind].lines[0] : NULL;
		char text[64];
		(void)snprintf(text, sizeof(text), "kind: %s", kinds[kind].kind);
		line = line ? line : text;
		if (strncmp(line, key, strlen(key)) != 0 || line[strlen(key)] != ':')
			add_line(d, 2, line);
	}
	return 2;
}

/* The sections of the key, each on a line, the key, and the value behind it. */
static void add_option(struct document *d, int depth, const char *key, const char *value)
{
	char text[KEY_SIZE];
	for (;;) {
		size_t n = strcspn(key, ".");
		d->key_line = line_count(d->text);
		d->key_column = 2 * depth + 1;
		(void)snprintf(text, sizeof(text), "%.*s:%s", (int)n, key, key[n] ? "" : " ");
		for (int i = 0; i < depth; i++)
			add(d, "  ");
		add(d, text);
		if (!key[n])
			break;
		add(d, "\n");
		key += n + 1;
		depth++;
	}
	(void)snprintf(d->key_place, sizeof(d->key_place), "t.yaml:%d:%d: ", d->key_line,
		       d->key_column);
	(void)snprintf(d->value_place, sizeof(d->value_place), "t.yaml:%d:%d: ", d->key_line,
		       d->key_column + (int)strlen(text));
	add(d, value);
	add(d, "\n");
}

static void make(struct document *d, const struct config_table *table, int kind, const char *key,
		 const char *value)
{
	int depth = begin(d, table, kind, key);
	add_option(d, depth, key, value);
}

/* Of each table, with each kind that an option is for; the other tables have none. */
static int first_kind(const struct config_table *table, const struct config_option *o)
{
	int kind = 0;
	while (table == &config_destination_table && !config_option_is_for(o, kind))
		kind++;
	ck_assert_int_lt(kind, KINDS);
	return kind;
}

static char *refusal(const struct document *d)
{
	static struct err e;
	struct config *c = NULL;
	e = (struct err){ 0 };
	enum status st = config_parse("t.yaml", bytes_str(d->text), &c, &e);
	ck_assert_msg(st == ST_INVALID, "%s:\n%s", status_name(st), d->text);
	ck_assert_ptr_null(c);
	ck_assert_msg(!strchr(e.text, '\n'), "more than one line: %s", e.text);
	return e.text;
}

/* The message of this document begins there, names the option, and has all words (NULL ends). */
static void expect_refusal(const struct document *d, const char *place, const char *const *words)
{
	const char *text = refusal(d);
	ck_assert_msg(strncmp(text, place, strlen(place)) == 0, "%s\nis not at %s\n%s", text, place,
		      d->text);
	for (; *words; words++)
		ck_assert_msg(strstr(text, *words) != NULL, "%s\ndoes not say %s\n%s", text, *words,
			      d->text);
}

typedef void (*option_fn)(const struct config_table *table, const struct config_option *o);

static void for_each_option(option_fn fn)
{
	for (size_t t = 0; t < COUNT(tables); t++)
		for (size_t i = 0; i < tables[t]->count; i++)
			fn(tables[t], &tables[t]->options[i]);
}

static bool is_map(const struct config_option *o)
{
	return o->type == CONFIG_TYPE_MAP || o->type == CONFIG_TYPE_SECRET_MAP;
}

static bool is_text(const struct config_option *o)
{
	return o->type == CONFIG_TYPE_STRING || o->type == CONFIG_TYPE_SECRET;
}

/* What every message about a value has to say besides the option. */
static void what_is_right(const struct config_option *o, const char *words[4], char *allowed)
{
	size_t n = 0;
	config_allowed(o, allowed, CONFIG_ALLOWED_SIZE);
	words[n++] = o->key;
	if (*o->max) {
		words[n++] = o->min;
		words[n++] = o->max;
	} else {
		words[n++] = strncmp(allowed, "one of ", 7) == 0 ? allowed + 7 : allowed;
	}
	words[n] = NULL;
}

static void another_shape_is_refused(const struct config_table *table,
				     const struct config_option *o)
{
	static const char *const shapes[] = { "{a: b}", "[a, b]", "[]", "{}", "plain", "5" };
	char allowed[CONFIG_ALLOWED_SIZE];
	const char *words[4];
	struct document d;
	what_is_right(o, words, allowed);
	for (size_t i = 0; i < COUNT(shapes); i++) {
		bool is_right = (*shapes[i] == '{' && is_map(o)) ||
				(*shapes[i] == '[' && o->type == CONFIG_TYPE_LIST) ||
				(!strchr("{[", *shapes[i]) && !is_map(o));
		if (is_right)
			continue;
		make(&d, table, first_kind(table, o), o->key, shapes[i]);
		expect_refusal(&d, d.value_place, words);
	}
}

START_TEST(each_wants_its_shape)
{
	for_each_option(another_shape_is_refused);
}
END_TEST

static void nothing_is_refused(const struct config_table *table, const struct config_option *o)
{
	static const char *const nothings[] = { "~", "null", "NULL" };
	char allowed[CONFIG_ALLOWED_SIZE];
	const char *words[4];
	struct document d;
	what_is_right(o, words, allowed);
	for (size_t i = 0; i < COUNT(nothings); i++) {
		make(&d, table, first_kind(table, o), o->key, nothings[i]);
		expect_refusal(&d, d.value_place, words);
	}
	/* And where nothing stands at all the place is the end of the key. */
	make(&d, table, first_kind(table, o), o->key, "");
	ck_assert_ptr_nonnull(strstr(refusal(&d), o->key));
}

START_TEST(each_wants_a_value)
{
	for_each_option(nothing_is_refused);
}
END_TEST

static void wrong_words_are_refused(const struct config_table *table, const struct config_option *o)
{
	static const char *const wrong[] = { "\"\"", "nonsense",   "-1",
					     "1.5",  "1e3",        "1,000",
					     "0x",   "12 parsecs", "99999999999999999999999",
					     "yes",  "True",       "''",
					     "é",    "\"5\\n\"" };
	char allowed[CONFIG_ALLOWED_SIZE];
	const char *words[4];
	struct document d;
	if (is_text(o) || is_map(o) || o->type == CONFIG_TYPE_LIST)
		return;
	what_is_right(o, words, allowed);
	if (o->type == CONFIG_TYPE_BOOL)
		words[1] = "neither true nor false";
	if (o->type == CONFIG_TYPE_ENDPOINT)
		words[1] = "host:port";
	for (size_t i = 0; i < COUNT(wrong); i++) {
		make(&d, table, first_kind(table, o), o->key, wrong[i]);
		expect_refusal(&d, d.value_place, words);
	}
}

START_TEST(what_is_no_number_size_duration_or_choice_is_refused)
{
	for_each_option(wrong_words_are_refused);
}
END_TEST

static void quotes_are_refused(const struct config_table *table, const struct config_option *o)
{
	struct document d;
	char value[64];
	if (o->type != CONFIG_TYPE_INT && o->type != CONFIG_TYPE_BOOL)
		return;
	(void)snprintf(value, sizeof(value), "\"%s\"", o->initial);
	make(&d, table, first_kind(table, o), o->key, value);
	const char *const words[] = { o->key, "remove the quotes", NULL };
	expect_refusal(&d, d.value_place, words);
}

START_TEST(a_number_in_quotes_is_a_text)
{
	for_each_option(quotes_are_refused);
}
END_TEST

/* The number of a bound, in its smallest unit, moved by one. False: it cannot be moved. */
static bool beside(const struct config_option *o, const char *bound, int step, char *dst)
{
	struct config_option open = *o;
	uint64_t number = 0;
	int integer = 0;
	struct err e = { 0 };
	const char *unit = o->type == CONFIG_TYPE_DURATION ? "ns" :
			   o->type == CONFIG_TYPE_INT      ? "" :
							     "B";
	open.min = "";
	open.max = "";
	void *field = o->type == CONFIG_TYPE_INT ? (void *)&integer : (void *)&number;
	EXPECT_OK(config_value_parse(&open, bound, true, field, &e));
	if (o->type == CONFIG_TYPE_INT)
		number = (uint64_t)integer;
	if (number == 0 && step < 0)
		return false; /* below 0 there is nothing: -1 is refused with the words */
	(void)snprintf(dst, 64, "%llu%s", (unsigned long long)(number + (uint64_t)(int64_t)step),
		       unit);
	return true;
}

static void bounds_hold(const struct config_table *table, const struct config_option *o)
{
	char allowed[CONFIG_ALLOWED_SIZE];
	const char *words[5];
	struct document d;
	char value[64];
	struct config *c = NULL;
	struct err e = { 0 };
	if (!*o->max || o->type == CONFIG_TYPE_CHOICE)
		return;
	what_is_right(o, words, allowed);
	words[3] = "out of range";
	words[4] = NULL;
	for (int side = 0; side < 2; side++) {
		const char *bound = side ? o->max : o->min;
		if (beside(o, bound, side ? 1 : -1, value)) {
			make(&d, table, first_kind(table, o), o->key, value);
			expect_refusal(&d, d.value_place, words);
		}
		/* The bound itself is in range; another rule may still have something against it.
		 */
		make(&d, table, first_kind(table, o), o->key, bound);
		enum status st = config_parse("t.yaml", bytes_str(d.text), &c, &e);
		ck_assert_msg(!st || !strstr(e.text, "out of range"), "%s", e.text);
		if (!st)
			config_free(c);
	}
}

START_TEST(bounds_are_inclusive_and_hold_on_both_sides)
{
	for_each_option(bounds_hold);
}
END_TEST

static void no_unit_without_bounds(const struct config_table *table, const struct config_option *o)
{
	(void)table;
	bool is_number = o->type == CONFIG_TYPE_SIZE || o->type == CONFIG_TYPE_RATE ||
			 o->type == CONFIG_TYPE_DURATION || o->type == CONFIG_TYPE_INT;
	ck_assert_msg(!is_number || (*o->min && *o->max), "%s has no bounds", o->key);
	ck_assert_msg(strlen(o->doc) > 10, "%s has no doc", o->key);
}

START_TEST(every_number_is_bounded)
{
	for_each_option(no_unit_without_bounds);
}
END_TEST

/* One segment of the key, spelt wrong. The right one is named. */
static void expect_nearest(const struct config_table *table, const struct config_option *o,
			   size_t from, size_t length, const char *wrong)
{
	char key[KEY_SIZE];
	char right[KEY_SIZE];
	struct document d;
	(void)snprintf(right, sizeof(right), "%.*s", (int)length, o->key + from);
	(void)snprintf(key, sizeof(key), "%.*s%s", (int)from, o->key, wrong);
	/* The rest of the key would be looked at only after this segment. */
	make(&d, table, first_kind(table, o), key, "x");
	const char *text = refusal(&d);
	const char *hint = strstr(text, "; did you mean ");
	ck_assert_msg(strncmp(text, d.key_place, strlen(d.key_place)) == 0, "%s not at %s", text,
		      d.key_place);
	ck_assert_msg(strstr(text, wrong) && hint && strstr(hint, right), "%s\ndoes not say %s",
		      text, right);
}

static void misspelt_keys_are_recognised(const struct config_table *table,
					 const struct config_option *o)
{
	char wrong[KEY_SIZE];
	for (size_t from = 0; from < strlen(o->key);) {
		const char *segment = o->key + from;
		size_t n = strcspn(segment, ".");
		for (size_t i = 0; i < n; i++) {
			/* a letter too many, one too few, another one */
			(void)snprintf(wrong, sizeof(wrong), "%.*s%c%.*s", (int)(i + 1), segment,
				       segment[i], (int)(n - i - 1), segment + i + 1);
			expect_nearest(table, o, from, n, wrong);
			if (n < 4)
				continue; /* "tl" and "ts" are as near to other words */
			(void)snprintf(wrong, sizeof(wrong), "%.*s%.*s", (int)i, segment,
				       (int)(n - i - 1), segment + i + 1);
			expect_nearest(table, o, from, n, wrong);
			(void)snprintf(wrong, sizeof(wrong), "%.*sQ%.*s", (int)i, segment,
				       (int)(n - i - 1), segment + i + 1);
			expect_nearest(table, o, from, n, wrong);
		}
		from += n + (segment[n] == '.');
	}
}

START_TEST(a_misspelt_key_gets_the_nearest_right_one)
{
	for_each_option(misspelt_keys_are_recognised);
}
END_TEST

static void twice_is_refused(const struct config_table *table, const struct config_option *o)
{
	struct document d;
	const char *last = strrchr(o->key, '.');
	last = last ? last + 1 : o->key;
	make(&d, table, first_kind(table, o), o->key, "x");
	char place[32];
	(void)snprintf(place, sizeof(place), "t.yaml:%d:%d: ", d.key_line + 1, d.key_column);
	for (int i = 1; i < d.key_column; i++)
		add(&d, " ");
	add(&d, last);
	add(&d, ": y\n");
	const char *const words[] = { o->key, "stands here twice, first at", NULL };
	expect_refusal(&d, place, words);
}

START_TEST(a_key_that_stands_there_twice_is_refused)
{
	for_each_option(twice_is_refused);
}
END_TEST

static const char *some_value(const struct config_option *o)
{
	return is_map(o)                       ? "{a: b}" :
	       o->type == CONFIG_TYPE_LIST     ? "[a]" :
	       is_text(o)                      ? "https://h.example/x" :
	       o->type == CONFIG_TYPE_ENDPOINT ? "h:1" :
						 o->initial;
}

START_TEST(a_key_of_another_kind_is_refused)
{
	const struct config_table *table = &config_destination_table;
	size_t refused = 0;
	for (size_t i = 0; i < table->count; i++)
		for (int kind = 0; kind < KINDS; kind++) {
			const struct config_option *o = &table->options[i];
			struct document d;
			if (config_option_is_for(o, kind))
				continue;
			make(&d, table, kind, o->key, some_value(o));
			const char *const words[] = { "destination one: ", o->key,
						      "is no key of its kind, but of ", NULL };
			expect_refusal(&d, d.key_place, words);
			refused++;
		}
	ck_assert_uint_gt(refused, 50);
}
END_TEST

/* How many of the tables have a key or section of this name somewhere. */
static int tables_with(const char *name)
{
	int with = 0;
	for (size_t t = 0; t < COUNT(tables); t++) {
		bool has = false;
		for (size_t i = 0; i < tables[t]->count; i++)
			has = has || strstr(tables[t]->options[i].key, name);
		with += has;
	}
	return with;
}

static void another_table_is_named(const struct config_table *table, const struct config_option *o)
{
	struct document d;
	char hint[KEY_SIZE + 64];
	if (strchr(o->key, '.') || tables_with(o->key) > 1)
		return;
	for (size_t t = 0; t < COUNT(tables); t++) {
		if (tables[t] == table)
			continue;
		make(&d, tables[t], 0, o->key, "x");
		(void)snprintf(hint, sizeof(hint), "did you mean %s, %s?", o->key,
			       table == &config_global_table ? "at the top of the file" :
			       table == &config_uplink_table ? "below uplinks.NAME" :
							       "below destinations.NAME");
		const char *const words[] = { hint, NULL };
		expect_refusal(&d, d.key_place, words);
	}
}

START_TEST(a_key_of_another_part_is_sent_there)
{
	for_each_option(another_table_is_named);
}
END_TEST

/* What the configuration comes to, as text. */
static char *effective(const struct document *d)
{
	struct config *c = NULL;
	struct err e = { 0 };
	struct buf out;
	enum status st = config_parse("t.yaml", bytes_str(d->text), &c, &e);
	ck_assert_msg(!st, "%s\n%s", err_text(&e, st), d->text);
	ck_assert_msg(!c->warnings[0] || strstr(c->warnings[0], "uplink one does nothing"),
		      "%s\n%s", c->warnings[0], d->text);
	buf_init(&out, 1 << 20, NULL);
	EXPECT_OK(config_write(c, &out));
	EXPECT_OK(buf_append_byte(&out, '\0'));
	char *text = xstrdup((const char *)out.p);
	buf_done(&out);
	config_free(c);
	return text;
}

static void default_may_be_written(const struct config_table *table, const struct config_option *o)
{
	for (int kind = 0; kind < (table == &config_destination_table ? KINDS : 1); kind++) {
		struct document with;
		struct document without;
		char value[256];
		bool is_required = (o->type == CONFIG_TYPE_CHOICE && !*o->initial) ||
				   strncmp(kinds[kind].lines[0], o->key, strlen(o->key)) == 0;
		if (table == &config_destination_table &&
		    (is_required || !config_option_is_for(o, kind)))
			continue;
		bool is_quoted = is_text(o) || o->type == CONFIG_TYPE_ENDPOINT;
		(void)snprintf(value, sizeof(value), is_quoted ? "\"%s\"" : "%s",
			       is_map(o)                   ? "{}" :
			       o->type == CONFIG_TYPE_LIST ? "[]" :
							     o->initial);
		make(&with, table, kind, o->key, value);
		(void)begin(&without, table, kind, "none");
		char *a = effective(&with);
		char *b = effective(&without);
		ck_assert_msg(strcmp(a, b) == 0, "%s: %s is not as without it", o->key, value);
		free(a);
		free(b);
	}
}

START_TEST(a_default_that_is_written_out_changes_nothing)
{
	for_each_option(default_may_be_written);
}
END_TEST

START_TEST(what_is_effective_is_read_without_a_word)
{
	for (int kind = 0; kind < KINDS; kind++) {
		struct document d;
		(void)begin(&d, &config_destination_table, kind, "none");
		char *first = effective(&d);
		(void)snprintf(d.text, sizeof(d.text), "%s", first);
		char *second = effective(&d);
		ck_assert_str_eq(first, second);
		free(first);
		free(second);
	}
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		each_wants_its_shape,
		each_wants_a_value,
		what_is_no_number_size_duration_or_choice_is_refused,
		a_number_in_quotes_is_a_text,
		bounds_are_inclusive_and_hold_on_both_sides,
		every_number_is_bounded,
		a_misspelt_key_gets_the_nearest_right_one,
		a_key_that_stands_there_twice_is_refused,
		a_key_of_another_kind_is_refused,
		a_key_of_another_part_is_sent_there,
		a_default_that_is_written_out_changes_nothing,
		what_is_effective_is_read_without_a_word,
	};
	return run_cases("config_options", cases, COUNT(cases));
}
