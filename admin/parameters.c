/* parameters.c - one table of what can be asked, for the API and for the command line.
 *
 * Each row knows its name, which calls take it, how to read it, and what to say when it is wrong.
 * An unknown name is an error and not ignored: a mistyped filter that silently lists everything
 * misleads whoever is looking for something. */
#include "admin/parameters.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

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

static bool read_format(const char *value, void *ret)
{
	*(bool *)ret = strcmp(value, "otlp") == 0;
	return *(bool *)ret || strcmp(value, "json") == 0;
}

#define FIELD(name) offsetof(struct parameters, name)
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
	{ "limit", PARAMETERS_BATCHES | PARAMETERS_LOSSES, read_limit, FIELD(filter.limit),
	  "a number from 1 to 500", "rows in a page, 1 to 500 (default 50)" },
	{ "cursor", PARAMETERS_BATCHES | PARAMETERS_LOSSES, read_cursor, FIELD(filter.after_id),
	  "the next_cursor of a page before", "next_cursor of the page before" },
	{ "format", PARAMETERS_BATCH, read_format, FIELD(is_otlp), "json or otlp",
	  "json (default), or otlp for the protobuf itself" },
};
enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

void parameters_init(struct parameters *p)
{
	*p = (struct parameters){ .filter = { .limit = PARAMETERS_LIMIT_DEFAULT },
				  .min_age_ns = -1,
				  .max_age_ns = -1 };
}

void parameters_done(struct parameters *p)
{
	/* The texts are const for those who read the filter; here they are ours. */
	for (int i = 0; i < ROWS; i++)
		if (rows[i].read == read_text || rows[i].read == read_state ||
		    rows[i].read == read_signal || rows[i].read == read_class)
			free(*(char **)(void *)((char *)p + rows[i].offset));
	parameters_init(p);
}

static enum status unknown(enum parameter_set set, const char *name, struct err *e)
{
	char known[200] = "";
	size_t n = 0;
	const char *text = NULL;
	const char *help = NULL;
	for (int i = 0; parameters_describe(set, i, &text, &help); i++)
		n += (size_t)snprintf(known + n, sizeof(known) - n, "%s%s", i ? ", " : "", text);
	return known[0] ? err_set(e, ST_INVALID, "unknown parameter \"%.60s\"; this call takes %s",
				  name, known) :
			  err_set(e, ST_INVALID,
				  "unknown parameter \"%.60s\"; this call takes none", name);
}

enum status parameters_set(struct parameters *p, enum parameter_set set, const char *name,
			   const char *value, struct err *e)
{
	for (int i = 0; i < ROWS; i++) {
		if (!(rows[i].sets & set) || strcmp(rows[i].name, name) != 0)
			continue;
		if (value && rows[i].read(value, (char *)p + rows[i].offset))
			return ST_OK;
		return err_set(e, ST_INVALID, "%s: \"%.60s\" is wrong; allowed is %s", name,
			       value ? value : "", rows[i].allowed);
	}
	return unknown(set, name, e);
}

void parameters_finish(struct parameters *p)
{
	int64_t now = now_wall_ns();
	/* At least 1: 0 stands for no bound. */
	if (p->max_age_ns >= 0)
		p->filter.received_from_ns = p->max_age_ns < now ? now - p->max_age_ns : 1;
	if (p->min_age_ns >= 0)
		p->filter.received_to_ns = p->min_age_ns < now ? now - p->min_age_ns : 1;
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
