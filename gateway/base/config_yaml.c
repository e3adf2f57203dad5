/* config_yaml.c - libyaml's events, made into a tree.
 *
 * libyaml checks syntax and knows where things are; what a scalar means (YAML 1.2 core schema) is
 * up to the option that it is for, so the tree keeps texts and whether they were quoted. Aliases
 * are refused instead of counted: a configuration has no need of them, and the "billion laughs"
 * document is nothing else. Merge keys and tags go with them.
 *
 * Keys are compared one by one for duplicates. YAML_NODES_MAX bounds what that can cost. */
#include "gateway/base/config_yaml.h"

#include <stdio.h>
#include <yaml.h>

enum { PATH_SIZE = 200 };

struct yaml_reading {
	const char *name;
	struct bytes text;
	struct arena *arena;
	struct err *e;
	struct yaml_node *open[YAML_DEPTH_MAX]; /* maps and lists that have not ended */
	int depth;
	const char *key; /* read, its value not yet */
	yaml_mark_t key_mark;
	size_t nodes;
	struct yaml_node *root;
	int documents;
};

static enum status fail(const struct yaml_reading *r, yaml_mark_t at, const char *what)
{
	return err_set(r->e, ST_INVALID, "%s:%zu:%zu: %s", r->name, at.line + 1, at.column + 1,
		       what);
}

static bool awaits_key(const struct yaml_reading *r)
{
	return r->depth > 0 && r->open[r->depth - 1]->kind == YAML_MAP && !r->key;
}

/* The key with those of the maps that it is in. */
static void write_path(const struct yaml_reading *r, const char *key, char *dst, size_t size)
{
	size_t n = 0;
	for (int i = 1; i < r->depth && n < size; i++)
		if (r->open[i]->key)
			n += (size_t)snprintf(dst + n, size - n, "%.40s.", r->open[i]->key);
	if (n < size)
		(void)snprintf(dst + n, size - n, "%.80s", key);
}

static enum status check_key(const struct yaml_reading *r, const char *key, bool is_plain,
			     yaml_mark_t at)
{
	if (is_plain && strcmp(key, "<<") == 0)
		return fail(r, at, "merge keys (<<) are not supported: write the keys out");
	for (const struct yaml_node *n = r->open[r->depth - 1]->first; n; n = n->next) {
		if (strcmp(n->key, key) != 0)
			continue;
		char path[PATH_SIZE];
		write_path(r, key, path, sizeof(path));
		return err_set(r->e, ST_INVALID, "%s:%zu:%zu: %s stands here twice, first at %d:%d",
			       r->name, at.line + 1, at.column + 1, path, n->key_line,
			       n->key_column);
	}
	return ST_OK;
}

/* A new node, hung below the open map or list, or as the root. */
static enum status add_node(struct yaml_reading *r, enum yaml_node_kind kind, yaml_mark_t at,
			    struct yaml_node **ret)
{
	if (r->nodes++ >= YAML_NODES_MAX)
		return fail(r, at, "the file has too many values from here on");
	struct yaml_node *n = arena_calloc(r->arena, 1, sizeof(*n));
	if (!n)
		return fail(r, at, "the file is too large");
	n->kind = kind;
	n->line = (int)at.line + 1;
	n->column = (int)at.column + 1;
	n->key = r->key;
	n->key_line = (int)r->key_mark.line + 1;
	n->key_column = (int)r->key_mark.column + 1;
	r->key = NULL;
	*ret = n;
	if (r->depth == 0) {
		r->root = n;
		return ST_OK;
	}
	struct yaml_node *parent = r->open[r->depth - 1];
	if (parent->last)
		parent->last->next = n;
	else
		parent->first = n;
	parent->last = n;
	parent->count++;
	return ST_OK;
}

static enum status on_scalar(struct yaml_reading *r, const yaml_event_t *event)
{
	yaml_mark_t at = event->start_mark;
	struct bytes value = bytes_of(event->data.scalar.value, event->data.scalar.length);
	bool is_plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	if (event->data.scalar.tag)
		return fail(r, at,
			    "tags (!) are not supported: leave it out, or put the value in quotes");
	if (memchr(value.p, '\0', value.n))
		return fail(r, at, "a NUL character is not allowed: leave it out");
	const char *text = arena_strdup(r->arena, value);
	if (!text)
		return fail(r, at, "the file is too large");
	if (awaits_key(r)) {
		r->key_mark = at;
		enum status st = check_key(r, text, is_plain, at);
		r->key = text;
		return st;
	}
	struct yaml_node *n = NULL;
	enum status st = add_node(r, YAML_TEXT, at, &n);
	if (st)
		return st;
	n->is_plain = is_plain;
	n->text = text;
	return ST_OK;
}

static enum status on_start(struct yaml_reading *r, const yaml_event_t *event,
			    enum yaml_node_kind kind, const void *tag)
{
	if (tag)
		return fail(r, event->start_mark,
			    "tags (!) are not supported: leave it out, or put the value in quotes");
	if (awaits_key(r))
		return fail(r, event->start_mark, "a key is a word: neither a list nor a mapping");
	if (r->depth == YAML_DEPTH_MAX)
		return fail(r, event->start_mark,
			    "nested too deep: no option is more than a few keys deep");
	struct yaml_node *n = NULL;
	enum status st = add_node(r, kind, event->start_mark, &n);
	if (!st)
		r->open[r->depth++] = n;
	return st;
}

static enum status on_event(struct yaml_reading *r, const yaml_event_t *event)
{
	switch (event->type) {
	case YAML_SCALAR_EVENT:
		return on_scalar(r, event);
	case YAML_MAPPING_START_EVENT:
		return on_start(r, event, YAML_MAP, event->data.mapping_start.tag);
	case YAML_SEQUENCE_START_EVENT:
		return on_start(r, event, YAML_LIST, event->data.sequence_start.tag);
	case YAML_MAPPING_END_EVENT:
	case YAML_SEQUENCE_END_EVENT:
		r->depth--;
		return ST_OK;
	case YAML_ALIAS_EVENT:
		return fail(r, event->start_mark,
			    "aliases (*) are not supported: write the value out");
	case YAML_DOCUMENT_START_EVENT:
		return r->documents++ ?
			       fail(r, event->start_mark,
				    "a second document begins here: write one, without ---") :
			       ST_OK;
	case YAML_NO_EVENT:
	case YAML_STREAM_START_EVENT:
	case YAML_STREAM_END_EVENT:
	case YAML_DOCUMENT_END_EVENT:
		break;
	}
	return ST_OK;
}

/* What libyaml says of a syntax error is true, and of use to who knows its grammar. What is wrong
 * nearly always when it says so: */
static const struct {
	const char *problem;
	const char *advice;
} advices[] = {
	{ "found a tab character", "indent with blanks, not with tabs" },
	{ "found character that cannot start any token",
	  "put the value in quotes; indent with blanks, not with tabs" },
	{ "mapping values are not allowed", "put a value that has a colon and a blank in quotes, "
					    "and give each key a line of its own" },
	{ "could not find expected ':'", "a key needs a colon and a blank behind it" },
	{ "did not find expected key",
	  "give the keys of one section the same indentation, and close every quote" },
	{ "did not find expected '-' indicator",
	  "give the items of one list the same indentation" },
	{ "did not find expected ',' or", "close the bracket, or put a comma between its items" },
	{ "did not find expected node content", "close the bracket" },
	{ "found unexpected end of stream", "close the quote" },
	{ "found unknown escape character", "write \\\\ for a backslash, or use single quotes" },
	{ "found undefined tag handle", "put the value in quotes" },
	{ "did not find expected alphabetic or numeric character",
	  "put a value that begins with * or & in quotes" },
	{ "found duplicate", "write one document, without directives" },
	{ "did not find expected <document start>",
	  "end the bracket or the quote where it ends, and write one document" },
	{ "block sequence entries are not allowed", "begin a list on a line of its own" },
	{ "control characters are not allowed",
	  "this is no text file, or a text with a control character in it" },
	{ "invalid", "save the file as UTF-8" },
	{ "incomplete UTF-", "save the file as UTF-8" },
	{ "unexpected low surrogate", "save the file as UTF-8" },
	{ "did not find expected", "put the value in quotes" },
};

static const char *advice_for(const char *problem)
{
	for (size_t i = 0; i < sizeof(advices) / sizeof(advices[0]); i++)
		if (strncmp(problem, advices[i].problem, strlen(advices[i].problem)) == 0)
			return advices[i].advice;
	return "put the value in quotes";
}

/* A byte as line and column: the column counts characters, as the parser's do. */
static yaml_mark_t mark_of(struct bytes text, size_t offset)
{
	yaml_mark_t at = { .index = offset };
	for (size_t i = 0; i < offset && i < text.n; i++) {
		bool is_line_end = text.p[i] == '\n';
		at.line += is_line_end;
		at.column = is_line_end ? 0 : at.column + ((text.p[i] & 0xc0) != 0x80);
	}
	return at;
}

static enum status syntax_error(const struct yaml_reading *r, const yaml_parser_t *p)
{
	const char *what = p->problem ? p->problem : "this is no YAML";
	yaml_mark_t at = p->error == YAML_READER_ERROR ? mark_of(r->text, p->problem_offset) :
							 p->problem_mark;
	return err_set(r->e, ST_INVALID, "%s:%zu:%zu: %s%s%s: %s", r->name, at.line + 1,
		       at.column + 1, what, p->context ? " " : "", p->context ? p->context : "",
		       advice_for(what));
}

enum status yaml_read(const char *name, struct bytes text, struct arena *arena,
		      const struct yaml_node **ret, struct err *e)
{
	struct yaml_reading r = { .name = name, .text = text, .arena = arena, .e = e };
	if (text.n > YAML_BYTES_MAX)
		return fail(
			&r, mark_of(text, YAML_BYTES_MAX),
			"here the file has 1 MiB, and the rest is not read: no configuration is "
			"so large");
	yaml_parser_t parser;
	if (!yaml_parser_initialize(&parser))
		return ST_NO_MEMORY;
	yaml_parser_set_input_string(&parser, text.n ? text.p : (const uint8_t *)"", text.n);
	enum status st = ST_OK;
	bool is_end = false;
	while (!st && !is_end) {
		yaml_event_t event;
		if (!yaml_parser_parse(&parser, &event)) {
			st = syntax_error(&r, &parser);
			break;
		}
		st = on_event(&r, &event);
		is_end = event.type == YAML_STREAM_END_EVENT;
		yaml_event_delete(&event);
	}
	yaml_parser_delete(&parser);
	if (!st)
		*ret = r.root && yaml_is_null(r.root) ? NULL : r.root;
	return st;
}

bool yaml_is_null(const struct yaml_node *n)
{
	static const char *const words[] = { "", "~", "null", "Null", "NULL" };
	if (n->kind != YAML_TEXT || !n->is_plain)
		return false;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(n->text, words[i]) == 0)
			return true;
	return false;
}
