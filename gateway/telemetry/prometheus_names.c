/* prometheus_names.c - OTLP's names as Prometheus writes them.
 *
 * A metric name with suffixes is built from tokens, the runs of legal characters of the OTLP name:
 * tokens, then the unit in words, then "ratio" or "total", joined by underscores. A unit that is
 * one of the tokens already is not repeated; "total" and "ratio" are moved to the end. Nothing is
 * kept per token: the name is walked twice, however long a client made it.
 *
 * Units: the words are otlptranslator's, down to its "tibibytes" and its KBy with a capital K. A
 * better word would be another series than the one that Prometheus' own OTLP receiver makes.
 *
 * Without escaping (UTF-8 names) the name stays, and suffixes are appended where they are not its
 * end already; they come off first in the reverse order, so that a name that has them all keeps
 * its form.
 *
 * Label names: runs of illegal characters and underscores become one underscore; what then begins
 * with a digit gets "key_", with one underscore "key". Names like __this__ are Prometheus' own and
 * keep their underscores. otlptranslator refuses names of underscores only; here the name is "_",
 * as a record is worth more than its worst attribute. */
#include "gateway/telemetry/prometheus_names.h"

struct word {
	const char *unit;
	const char *name;
};

static const struct word units[] = {
	{ "d", "days" },
	{ "h", "hours" },
	{ "min", "minutes" },
	{ "s", "seconds" },
	{ "ms", "milliseconds" },
	{ "us", "microseconds" },
	{ "ns", "nanoseconds" },
	{ "By", "bytes" },
	{ "KiBy", "kibibytes" },
	{ "MiBy", "mebibytes" },
	{ "GiBy", "gibibytes" },
	{ "TiBy", "tibibytes" },
	{ "KBy", "kilobytes" },
	{ "MBy", "megabytes" },
	{ "GBy", "gigabytes" },
	{ "TBy", "terabytes" },
	{ "m", "meters" },
	{ "V", "volts" },
	{ "A", "amperes" },
	{ "J", "joules" },
	{ "W", "watts" },
	{ "g", "grams" },
	{ "Cel", "celsius" },
	{ "Hz", "hertz" },
	{ "1", "" },
	{ "%", "percent" },
	{ NULL, NULL },
};
static const struct word per_units[] = {
	{ "s", "second" }, { "m", "minute" }, { "h", "hour" }, { "d", "day" },
	{ "w", "week" },   { "mo", "month" }, { "y", "year" }, { NULL, NULL },
};

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static bool is_alphanumeric(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c);
}

static bool is_token_char(uint8_t c)
{
	return is_alphanumeric(c) || c == ':';
}

static bool is_blank(uint8_t c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct bytes trim(struct bytes s)
{
	while (s.n && is_blank(s.p[0]))
		s = bytes_of(s.p + 1, s.n - 1);
	while (s.n && is_blank(s.p[s.n - 1]))
		s.n--;
	return s;
}

static struct bytes without_end(struct bytes s, uint8_t c)
{
	if (s.n && s.p[s.n - 1] == c)
		s.n--;
	return s;
}

static bool is_str(struct bytes s, const char *text)
{
	return bytes_equal(s, bytes_str(text));
}

static bool ends_with(struct bytes s, struct bytes end)
{
	/* NULL + 0 is not defined in C. */
	return end.n == 0 || (s.n >= end.n && bytes_equal(bytes_of(s.p + s.n - end.n, end.n), end));
}

/* The word for a unit; the unit itself where there is none; nothing for {notes}. */
static struct bytes word_of(const struct word *words, struct bytes unit)
{
	unit = trim(unit);
	for (size_t i = 0; i < unit.n; i++)
		if (unit.p[i] == '{' || unit.p[i] == '}')
			return bytes_of(NULL, 0);
	for (; words->unit; words++)
		if (is_str(unit, words->unit))
			return bytes_str(words->name);
	return unit;
}

/* In legal characters: each other one an underscore, runs of them one, none in front. */
static enum status append_clean(struct buf *out, struct bytes s)
{
	size_t start = out->n;
	enum status st = buf_reserve(out, s.n);
	for (size_t i = 0; i < s.n && !st; i++) {
		if (is_token_char(s.p[i]))
			st = buf_append_byte(out, s.p[i]);
		else if (out->n > start && out->p[out->n - 1] != '_')
			st = buf_append_byte(out, '_');
	}
	return st;
}

/* Of a unit like By/s: "bytes" and "per_second", in one piece of memory. */
struct unit_words {
	struct buf text;
	struct bytes main;
	struct bytes per;
};

static enum status read_unit(const struct prometheus_naming *n, struct bytes unit,
			     struct unit_words *ret)
{
	static const char per_[] = "per_";
	const uint8_t *slash = unit.n ? memchr(unit.p, '/', unit.n) : NULL;
	struct bytes main = slash ? bytes_of(unit.p, (size_t)(slash - unit.p)) : unit;
	struct bytes per = slash ? bytes_of(slash + 1, unit.n - main.n - 1) : bytes_of(NULL, 0);
	main = word_of(units, main);
	per = word_of(per_units, per);
	buf_init(&ret->text, unit.n + 64, NULL);
	enum status st =
		n->is_escaped ? append_clean(&ret->text, main) : buf_append(&ret->text, main);
	size_t main_n = ret->text.n;
	if (!st && per.n)
		st = buf_append_str(&ret->text, per_);
	if (!st && per.n)
		st = n->is_escaped ? append_clean(&ret->text, per) : buf_append(&ret->text, per);
	if (st)
		return st;
	ret->main = bytes_of(ret->text.p, main_n);
	ret->per = ret->text.n > main_n ? bytes_of(ret->text.p + main_n, ret->text.n - main_n) :
					  bytes_of(NULL, 0);
	return ST_OK;
}

/* The next run of legal characters; false: there is none. */
static bool next_token(struct bytes name, size_t *at, struct bytes *ret)
{
	size_t i = *at;
	while (i < name.n && !is_token_char(name.p[i]))
		i++;
	size_t start = i;
	while (i < name.n && is_token_char(name.p[i]))
		i++;
	*at = i;
	if (i == start)
		return false;
	*ret = bytes_of(name.p + start, i - start);
	return true;
}

static bool has_token(struct bytes name, struct bytes token)
{
	struct bytes t;
	for (size_t at = 0; next_token(name, &at, &t);)
		if (bytes_equal(t, token))
			return true;
	return false;
}

/* Joins with an underscore; leaves out what is empty, and what stands at the end anyway. */
static enum status append_token(struct buf *out, size_t start, struct bytes token,
				const char *suffix)
{
	if (token.n == 0 || (suffix && is_str(token, suffix)))
		return ST_OK;
	enum status st = out->n > start ? buf_append_byte(out, '_') : ST_OK;
	return st ? st : buf_append(out, token);
}

static enum status append_with_suffixes(struct bytes name, struct unit_words *u, const char *suffix,
					struct buf *out)
{
	size_t start = out->n;
	struct bytes token;
	struct bytes per = is_str(u->per, "per_") ? bytes_of(NULL, 0) : without_end(u->per, '_');
	struct bytes main = has_token(name, u->main) ? bytes_of(NULL, 0) : u->main;
	if (has_token(name, per))
		per.n = 0;
	if (per.n)
		main = without_end(main, '_');
	enum status st = ST_OK;
	for (size_t at = 0; !st && next_token(name, &at, &token);)
		st = append_token(out, start, token, suffix);
	if (!st)
		st = append_token(out, start, main, suffix);
	if (!st)
		st = append_token(out, start, per, suffix);
	return st || !suffix ? st : append_token(out, start, bytes_str(suffix), NULL);
}

/* Underscores stay as they are; runs of other characters become one, and none at the ends. */
static enum status append_escaped(struct bytes name, struct buf *out)
{
	size_t start = out->n;
	bool is_gap = false;
	enum status st = ST_OK;
	for (size_t i = 0; i < name.n && !st; i++) {
		if (!is_token_char(name.p[i]) && name.p[i] != '_') {
			is_gap = true;
			continue;
		}
		if (is_gap && out->n > start)
			st = buf_append_byte(out, '_');
		is_gap = false;
		if (!st)
			st = buf_append_byte(out, name.p[i]);
	}
	return st;
}

/* A name keeps the suffix that it has: it comes off here, with the character before it. */
static struct bytes cut_suffix(struct bytes name, struct bytes suffix)
{
	if (suffix.n && ends_with(name, suffix) && name.n > suffix.n + 1)
		name.n -= suffix.n + 1;
	return name;
}

static enum status append_utf8(struct bytes name, const struct unit_words *u, const char *suffix,
			       struct buf *out)
{
	name = cut_suffix(cut_suffix(name, bytes_str(suffix)), u->per);
	enum status st = buf_append(out, name);
	const struct bytes ends[] = { ends_with(name, u->main) ? bytes_of(NULL, 0) : u->main,
				      u->per, bytes_str(suffix) };
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]) && !st; i++) {
		if (!ends[i].n)
			continue;
		st = buf_append_byte(out, '_');
		if (!st)
			st = buf_append(out, ends[i]);
	}
	return st;
}

/* Some receivers give counts of things the unit 1: only gauges are taken for ratios. */
static const char *suffix_of(enum prometheus_kind kind, struct bytes unit)
{
	if (kind == PROMETHEUS_COUNTER)
		return "total";
	return kind == PROMETHEUS_GAUGE && is_str(unit, "1") ? "ratio" : NULL;
}

/* A legal name has a character that is no underscore, or is what the client wrote. */
static enum status check_name(struct bytes name, struct buf *out, size_t start)
{
	if (out->n == start)
		return ST_INVALID;
	if (bytes_equal(bytes_of(out->p + start, out->n - start), name))
		return ST_OK;
	for (size_t i = start; i < out->n; i++)
		if (out->p[i] != '_')
			return ST_OK;
	buf_truncate(out, start);
	return ST_INVALID;
}

static enum status prefix_digit(struct buf *out, size_t start, const char *prefix)
{
	if (out->n == start || !is_digit(out->p[start]))
		return ST_OK;
	size_t n = strlen(prefix);
	enum status st = buf_reserve(out, n);
	if (st)
		return st;
	memmove(out->p + start + n, out->p + start, out->n - start);
	memcpy(out->p + start, prefix, n);
	buf_advance(out, n);
	return ST_OK;
}

enum status prometheus_metric_name(const struct prometheus_naming *n, struct bytes name,
				   struct bytes unit, enum prometheus_kind kind, struct buf *out)
{
	size_t start = out->n;
	const char *suffix = suffix_of(kind, unit);
	struct unit_words u = { 0 };
	enum status st = n->has_suffixes ? read_unit(n, unit, &u) : ST_OK;
	if (st)
		goto out;
	if (!n->has_suffixes)
		st = n->is_escaped ? append_escaped(name, out) : buf_append(out, name);
	else if (n->is_escaped)
		st = append_with_suffixes(name, &u, suffix, out);
	else
		st = append_utf8(name, &u, suffix, out);
	if (!st && n->is_escaped)
		st = prefix_digit(out, start, "_");
	if (!st)
		st = check_name(name, out, start);
out:
	buf_done(&u.text);
	return st;
}

enum status prometheus_unit_name(const struct prometheus_naming *n, struct bytes unit,
				 struct buf *out)
{
	struct unit_words u = { 0 };
	enum status st = read_unit(n, unit, &u);
	struct bytes main = u.main;
	struct bytes per = without_end(u.per, '_');
	if (per.n)
		main = without_end(main, '_');
	size_t start = out->n;
	if (!st)
		st = append_token(out, start, main, NULL);
	if (!st)
		st = append_token(out, start, per, NULL);
	if (!st && out->n > start && out->p[out->n - 1] == '_')
		buf_truncate(out, out->n - 1);
	buf_done(&u.text);
	return st;
}

static bool is_reserved(struct bytes key)
{
	return key.n > 4 && memcmp(key.p, "__", 2) == 0 && memcmp(key.p + key.n - 2, "__", 2) == 0;
}

/* Runs of anything but letters and digits become one underscore. */
static enum status append_collapsed(struct buf *out, struct bytes key)
{
	bool is_gap = false;
	enum status st = ST_OK;
	for (size_t i = 0; i < key.n && !st; i++) {
		bool is_legal = is_alphanumeric(key.p[i]);
		if (is_legal || !is_gap)
			st = buf_append_byte(out, is_legal ? key.p[i] : '_');
		is_gap = !is_legal;
	}
	return st;
}

enum status prometheus_label_name(const struct prometheus_naming *n, struct bytes key,
				  struct buf *out)
{
	size_t start = out->n;
	if (key.n == 0)
		return buf_append_byte(out, '_');
	if (!n->is_escaped)
		return buf_append(out, key);
	enum status st = ST_OK;
	if (is_reserved(key)) {
		st = buf_append_str(out, "__");
		if (!st)
			st = append_collapsed(out, bytes_of(key.p + 2, key.n - 4));
		return st ? st : buf_append_str(out, "__");
	}
	if (is_alphanumeric(key.p[0])) {
		st = append_collapsed(out, key);
		return st ? st : prefix_digit(out, start, "key_");
	}
	st = append_collapsed(out, key);
	if (st || (out->n == start + 1 && out->p[start] == '_'))
		return st;
	st = buf_reserve(out, 3);
	if (st)
		return st;
	memmove(out->p + start + 3, out->p + start, out->n - start);
	memcpy(out->p + start, "key", 3);
	buf_advance(out, 3);
	return ST_OK;
}
