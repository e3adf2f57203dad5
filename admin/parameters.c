/* parameters.c - one table of what can be asked, for the API and for the command line.
 *
 * Each row knows its name, which calls take it, how to read it, and what to say when it is wrong.
 * An unknown name is an error and not ignored: a mistyped filter that silently lists everything
 * misleads whoever is looking for something. */
#include "admin/parameters.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "gateway/base/config_values.h"
#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"

typedef bool (*read_fn)(const char *value, void *ret);

struct row {
	const char *name;
	unsigned sets;
	read_fn read;
	size_t offset; /* of the field in struct parameters */
	const char *allowed;
	const char *help;
};

static bool read_text(const char *value, void *ret)
{
	char **field = ret;
	if (!value[0])
		return false;
	free(*field);
	*field = xstrdup(value);
	return true;
}

static bool read_state(const char *value, void *ret)
{
	for (int i = 0; i < DELIVERY_STATE_COUNT; i++)
		if (i != DELIVERY_GONE &&
		    strcmp(value, delivery_state_text((enum delivery_state)i)) == 0)
			return read_text(value, ret);
	return false;
}

static bool read_signal(const char *value, void *ret)
{
	for (int i = 0; i < SIGNAL_COUNT; i++)
		if (strcmp(value, signal_text((enum signal)i)) == 0)
			return read_text(value, ret);
	return false;
}

static bool read_class(const char *value, void *ret)
{
	for (int i = 0; i < RECORD_CLASS_COUNT; i++)
		if (strcmp(value, record_class_text((enum record_class)i)) == 0)
			return read_text(value, ret);
	return false;
}

static bool read_number(const char *value, int64_t least, int64_t most, int64_t *ret)
{
	char *end = NULL;
	errno = 0;
	long long n = strtoll(value, &end, 10);
	if (value[0] < '0' || value[0] > '9' || errno || *end || n < least || n > most)
		return false;
	*ret = n;
	return true;
}

static bool read_limit(const char *value, void *ret)
{
	int64_t n = 0;
	bool is_right = read_number(value, 1, INSPECT_PAGE_MAX, &n);
	if (is_right)
		*(int *)ret = (int)n;
	return is_right;
}

static bool read_cursor(const char *value, void *ret)
{
	return read_number(value, 1, INT64_MAX, ret);
}

static bool read_status(const char *value, void *ret)
{
	return read_number(value, 0, 999, ret);
}

static bool read_flag(const char *value, void *ret)
{
	*(bool *)ret = strcmp(value, "true") == 0;
	return *(bool *)ret || strcmp(value, "false") == 0;
}

static bool read_age(const char *value, void *ret)
{
	static const struct {
		const char *unit;
		int64_t ns;
	} units[] = {
		{ "ms", NS_PER_MS },      { "s", NS_PER_S },         { "m", 60 * NS_PER_S },
		{ "h", 3600 * NS_PER_S }, { "d", 86400 * NS_PER_S },
	};
	size_t digits = strspn(value, "0123456789");
	if (digits == 0 || digits > 12)
		return false;
	int64_t n = strtoll(value, NULL, 10);
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (strcmp(value + digits, units[i].unit) == 0 && n <= INT64_MAX / units[i].ns) {
			*(int64_t *)ret = n * units[i].ns;
			return true;
		}
	return false;
}

static bool read_rate(const char *value, void *ret)
{
	uint64_t rate = 0;
	bool is_right = config_read_rate(value, &rate);
	if (is_right)
		*(int64_t *)ret = (int64_t)rate;
	return is_right;
}

/* A temporary rate has an end that somebody may wait for. */
static bool read_while(const char *value, void *ret)
{
	int64_t ns = 0;
	bool is_right = read_age(value, &ns) && ns >= NS_PER_S && ns <= 30 * 86400 * NS_PER_S;
	if (is_right)
		*(int64_t *)ret = ns;
	return is_right;
}

static bool read_format(const char *value, void *ret)
{
	*(bool *)ret = strcmp(value, "otlp") == 0;
	return *(bool *)ret || strcmp(value, "json") == 0;
}

#define FIELD(name) offsetof(struct parameters, name)
#define CHANGES \
	(PARAMETERS_REPLAY | PARAMETERS_PURGE_DEAD | PARAMETERS_PURGE_READY | PARAMETERS_MOVE)
#define OF_DEAD (PARAMETERS_DEAD | PARAMETERS_EXPORT | PARAMETERS_REPLAY | PARAMETERS_PURGE_DEAD)
#define SELECTS (OF_DEAD | PARAMETERS_PURGE_READY)
static const char age_allowed[] = "a number with ms, s, m, h or d, as in 10m";

static const struct row rows[] = {
	{ "state", PARAMETERS_BATCHES, read_state, FIELD(filter.state), "ready or dead",
	  "batches with a delivery in this state: ready or dead" },
	{ "destination", PARAMETERS_BATCHES, read_text, FIELD(filter.destination),
	  "the name of a destination", "batches owed to this destination" },
	{ "signal", PARAMETERS_BATCHES, read_signal, FIELD(filter.signal),
	  "traces, metrics or logs", "traces, metrics or logs" },
	{ "class", PARAMETERS_BATCHES, read_class, FIELD(filter.class), "critical, warning or info",
	  "critical, warning or info" },
	{ "service", PARAMETERS_BATCHES, read_text, FIELD(filter.service), "a service.name",
	  "service.name of the batch's first resource" },
	{ "min_age", PARAMETERS_BATCHES, read_age, FIELD(min_age_ns), age_allowed,
	  "received at least so long ago, as in 10m" },
	{ "max_age", PARAMETERS_BATCHES, read_age, FIELD(max_age_ns), age_allowed,
	  "received at most so long ago, as in 2d" },
	{ "destination", SELECTS | PARAMETERS_GROUPS, read_text, FIELD(selector.destination),
	  "the name of a destination", "deliveries that are owed to this destination" },
	{ "from", PARAMETERS_MOVE, read_text, FIELD(selector.destination),
	  "the name of a destination", "the destination that is owed the data now" },
	{ "to", PARAMETERS_MOVE, read_text, FIELD(to), "the name of a destination",
	  "the destination that gets it" },
	{ "batch", SELECTS, read_cursor, FIELD(selector.batch_id), "the id of a batch",
	  "this batch only" },
	{ "reason", OF_DEAD, read_text, FIELD(selector.reason), "a text",
	  "dead letters of this reason (or error; numbers do not count)" },
	{ "status", OF_DEAD, read_status, FIELD(status), "a number from 0 to 999",
	  "dead letters with this last status; 0: without an answer" },
	{ "signal", SELECTS | PARAMETERS_MOVE, read_signal, FIELD(selector.signal),
	  "traces, metrics or logs", "of this signal only" },
	{ "class", SELECTS | PARAMETERS_MOVE, read_class, FIELD(selector.class),
	  "critical, warning or info", "of this class only" },
	{ "older_than", CHANGES, read_age, FIELD(min_age_ns), age_allowed,
	  "received at least so long ago, as in 2d" },
	{ "all", SELECTS &CHANGES, read_flag, FIELD(is_all), "true or false",
	  "all that the other parameters leave" },
	{ "dry_run", CHANGES, read_flag, FIELD(is_dry_run), "true or false",
	  "change nothing, say what would be" },
	{ "why", PARAMETERS_PURGE_DEAD | PARAMETERS_PURGE_READY, read_text, FIELD(why), "a text",
	  "a note for the loss ledger" },
	{ "limit", CHANGES & ~(PARAMETERS_PURGE_READY | PARAMETERS_MOVE), read_cursor,
	  FIELD(max_batches), "a number from 1", "change at most so many batches, oldest first" },
	{ "limit", PARAMETERS_PURGE_READY, read_cursor, FIELD(max_batches), "a number from 1",
	  "at most so many batches: least urgent class first, in it the oldest first" },
	{ "limit", PARAMETERS_MOVE, read_cursor, FIELD(max_batches), "a number from 1",
	  "at most so many batches: most urgent class first, in it the oldest first" },
	{ "limit", PARAMETERS_BATCHES | PARAMETERS_LOSSES | PARAMETERS_DEAD, read_limit,
	  FIELD(filter.limit), "a number from 1 to 500", "rows in a page, 1 to 500 (default 50)" },
	{ "cursor", PARAMETERS_BATCHES | PARAMETERS_LOSSES | PARAMETERS_DEAD | CHANGES, read_cursor,
	  FIELD(filter.after_id), "the next_cursor of a page before",
	  "next_cursor of the page before" },
	{ "rate", PARAMETERS_RATE, read_rate, FIELD(rate),
	  "0 (no limit), or a size in a second from 512B/s on, as in 256KiB/s or 2Mbit/s",
	  "the rate in force meanwhile, as in 64KiB/s; 0 is no limit" },
	{ "for", PARAMETERS_RATE, read_while, FIELD(for_ns),
	  "1s to 30d: a number with s, m, h or d, as in 2h",
	  "for how long, as in 2h; then it is the configured one again" },
	{ "format", PARAMETERS_BATCH, read_format, FIELD(is_otlp), "json or otlp",
	  "json (default), or otlp for the protobuf itself" },
};
enum { ROWS = sizeof(rows) / sizeof(rows[0]), NAME_SIZE = 40 };
_Static_assert(ROWS <= 64, "struct parameters: a bit of seen for each");

void parameters_init(struct parameters *p)
{
	*p = (struct parameters){ .filter = { .limit = PARAMETERS_LIMIT_DEFAULT },
				  .min_age_ns = -1,
				  .max_age_ns = -1,
				  .status = -1,
				  .rate = -1 };
}

void parameters_done(struct parameters *p)
{
	/* The texts are const for those who read the filter; here they are ours. */
	for (int i = 0; i < ROWS; i++)
		if (rows[i].read == read_text || rows[i].read == read_state ||
		    rows[i].read == read_signal || rows[i].read == read_class) {
			char **field = (void *)((char *)p + rows[i].offset);
			free(*field);
			*field = NULL; /* other rows may stand for it too */
		}
	parameters_init(p);
}

static enum status unknown(enum parameter_set set, const char *name, struct err *e)
{
	char known[300] = "";
	size_t n = 0;
	const char *names[ROWS];
	const char *help = NULL;
	int count = 0;
	for (; parameters_describe(set, count, &names[count], &help); count++)
		n += (size_t)snprintf(known + n, sizeof(known) - n, "%s%s", count ? ", " : "",
				      names[count]);
	const char *near = config_nearest(name, names, (size_t)count);
	if (!count)
		return err_set(e, ST_INVALID, "unknown parameter \"%.60s\"; this call takes none",
			       name);
	return err_set(e, ST_INVALID, "unknown parameter \"%.60s\"; this call takes %s%s%s%s", name,
		       known, near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
}

enum status parameters_set(struct parameters *p, enum parameter_set set, const char *name,
			   const char *value, struct err *e)
{
	for (int i = 0; i < ROWS; i++) {
		if (!(rows[i].sets & set) || strcmp(rows[i].name, name) != 0)
			continue;
		char spelt[NAME_SIZE];
		/* Of two, one would be dropped without a word. In a shell the last one wins, as
		 * those know who append to a line. */
		if (!p->is_command_line && (p->seen & UINT64_C(1) << i))
			return err_set(e, ST_INVALID, "%s is given twice", name);
		p->seen |= UINT64_C(1) << i;
		if (value && rows[i].read(value, (char *)p + rows[i].offset))
			return ST_OK;
		parameters_spell(p, name, spelt, sizeof(spelt));
		return err_set(e, ST_INVALID, "%s: \"%.60s\" is wrong; allowed is %s", spelt,
			       value ? value : "", rows[i].allowed);
	}
	return unknown(set, name, e);
}

void parameters_spell(const struct parameters *p, const char *name, char *dst, size_t size)
{
	(void)snprintf(dst, size, "%s%s", p->is_command_line ? "--" : "", name);
	for (char *c = dst; *c && p->is_command_line; c++)
		if (*c == '_')
			*c = '-';
}

/* A text that gives each %s the name of a parameter; names ends with NULL. */
static enum status fail_naming(const struct parameters *p, struct err *e, const char *text,
			       const char *const *names)
{
	char out[sizeof(e->text)];
	size_t n = 0;
	for (const char *c = text; *c && n + NAME_SIZE < sizeof(out); c++) {
		if (*c != '$') {
			out[n++] = *c;
			continue;
		}
		parameters_spell(p, *names++, out + n, NAME_SIZE);
		n += strlen(out + n);
	}
	return err_set(e, ST_INVALID, "%.*s", (int)n, out);
}

/* On the command line a replay means all where nothing narrows it, and --all something else. */
static enum status check_dead(const struct parameters *p, struct err *e)
{
	static const char *const names[] = { "batch", "reason", "all" };
	const struct inspect_selector *s = &p->selector;
	int count = (s->batch_id != 0) + (s->reason != NULL) + p->is_all;
	return count == 1 ?
		       ST_OK :
		       fail_naming(p, e, "say which dead letters: one of $, $ and $, and only one",
				   names);
}

static enum status check_ready(const struct parameters *p, struct err *e)
{
	static const char *const names[] = { "batch", "signal", "class", "older_than", "all" };
	const struct inspect_selector *s = &p->selector;
	bool is_narrow = s->batch_id || s->signal || s->class || p->min_age_ns >= 0;
	return is_narrow != p->is_all ?
		       ST_OK :
		       fail_naming(p, e, "say what is to go: any of $, $, $ and $, or $ alone",
				   names);
}

static enum status check_move(const struct parameters *p, struct err *e)
{
	static const char *const names[] = { "from", "to" };
	return strcmp(p->to, p->selector.destination) != 0 ?
		       ST_OK :
		       fail_naming(p, e, "$ and $ are the same destination", names);
}

/* Neither of them ends a rate that was set for a while, in the API. */
static enum status check_rate(const struct parameters *p, struct err *e)
{
	static const char *const names[] = { "rate", "for" };
	return (p->rate >= 0) == (p->for_ns > 0) ?
		       ST_OK :
		       fail_naming(p, e, "$ and $ belong together: a rate has an end", names);
}

enum status parameters_check(const struct parameters *p, enum parameter_set set, struct err *e)
{
	static const struct {
		enum parameter_set set;
		enum status (*check)(const struct parameters *p, struct err *e);
	} checks[] = { { PARAMETERS_REPLAY, check_dead },
		       { PARAMETERS_PURGE_DEAD, check_dead },
		       { PARAMETERS_PURGE_READY, check_ready },
		       { PARAMETERS_MOVE, check_move },
		       { PARAMETERS_RATE, check_rate } };
	const struct {
		const char *name;
		unsigned sets; /* that need it */
		const char *value;
	} needed[] = { { "destination", SELECTS, p->selector.destination },
		       { "from", PARAMETERS_MOVE, p->selector.destination },
		       { "to", PARAMETERS_MOVE, p->to } };
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		char spelt[NAME_SIZE];
		if (!(needed[i].sets & set) || needed[i].value)
			continue;
		parameters_spell(p, needed[i].name, spelt, sizeof(spelt));
		return err_set(e, ST_INVALID, "%s is missing: the name of a destination", spelt);
	}
	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++)
		if (checks[i].set == set && !(set == PARAMETERS_REPLAY && p->is_command_line))
			return checks[i].check(p, e);
	return ST_OK;
}

void parameters_finish(struct parameters *p)
{
	int64_t now = now_wall_ns();
	/* At least 1: 0 stands for no bound. */
	if (p->max_age_ns >= 0)
		p->filter.received_from_ns = p->max_age_ns < now ? now - p->max_age_ns : 1;
	if (p->min_age_ns >= 0)
		p->filter.received_to_ns = p->min_age_ns < now ? now - p->min_age_ns : 1;
	p->selector.received_to_ns = p->filter.received_to_ns;
	p->selector.has_status = p->status >= 0;
	p->selector.status = p->selector.has_status ? (int)p->status : 0;
}

bool parameters_describe(enum parameter_set set, int i, const char **ret_name,
			 const char **ret_help)
{
	for (int k = 0; k < ROWS; k++) {
		if (!(rows[k].sets & set) || i-- > 0)
			continue;
		*ret_name = rows[k].name;
		*ret_help = rows[k].help;
		return true;
	}
	return false;
}

bool parameters_type(enum parameter_set set, const char *name, enum parameter_type *ret)
{
	for (int k = 0; k < ROWS; k++) {
		const struct row *r = &rows[k];
		if (!(r->sets & set) || strcmp(r->name, name) != 0)
			continue;
		bool is_number =
			r->read == read_limit || r->read == read_cursor || r->read == read_status;
		*ret = r->read == read_flag ? PARAMETER_FLAG :
		       is_number            ? PARAMETER_NUMBER :
					      PARAMETER_TEXT;
		return true;
	}
	return false;
}

/* The text that the table reads, or NULL where the type is another. number: room for one. */
static const char *text_of_json(enum parameter_type type, const json_t *value, char *number,
				size_t size)
{
	switch (type) {
	case PARAMETER_TEXT:
		return json_string_value(value);
	case PARAMETER_NUMBER:
		(void)snprintf(number, size, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
		return json_is_integer(value) ? number : NULL;
	case PARAMETER_FLAG:
		return json_is_true(value) ? "true" : json_is_false(value) ? "false" : NULL;
	}
	return NULL;
}

static enum status read_member(struct parameters *p, enum parameter_set set, const char *name,
			       const json_t *value, struct err *e)
{
	static const char *const types[] = { "a text", "a whole number", "true or false" };
	char number[32];
	enum parameter_type type = PARAMETER_TEXT;
	const char *text = "";
	if (parameters_type(set, name, &type))
		text = text_of_json(type, value, number, sizeof(number));
	return text ? parameters_set(p, set, name, text, e) :
		      err_set(e, ST_INVALID, "%s: this must be %s", name, types[type]);
}

enum status parameters_read_json(struct parameters *p, enum parameter_set set, struct bytes text,
				 struct err *e)
{
	json_error_t why;
	const char *name;
	json_t *value;
	enum status st = ST_OK;
	json_t *root = json_loadb(text.n ? (const char *)text.p : "", text.n,
				  JSON_REJECT_DUPLICATES, &why);
	if (!root)
		return err_set(e, ST_INVALID, "the body is no JSON: %s (line %d, column %d)",
			       why.text, why.line, why.column);
	if (!json_is_object(root))
		st = err_set(e, ST_INVALID,
			     "the body must be a JSON object, as in {\"all\": true}");
	json_object_foreach(root, name, value)
	{
		if (!st)
			st = read_member(p, set, name, value, e);
	}
	json_decref(root);
	parameters_finish(p);
	return st;
}
