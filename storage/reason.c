/* reason.c - from an error to the reason that it shares with others.
 *
 * Backends put what is at fault into their words: "entry with timestamp 2026-11-23 09:00:00 ignored
 * for stream {app="till-17"}". Grouped by the text as it is, ten thousand dead letters are ten
 * thousand groups. Ids, numbers, times and addresses all have digits in them, and words of a
 * message seldom do, so that one rule without patterns of particular backends does it; the values
 * of labels are the only texts without digits that vary, and they stand behind an equals sign.
 *
 * The rule is applied when somebody looks and not stored, so a better one needs no migration. It
 * gives itself when it is applied to its own result: what a list shows can be given back as a
 * filter. */
#include "storage/reason.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#include "gateway/base/characters.h"

struct out {
	char *p;
	size_t n;
	size_t room; /* without the NUL */
	bool is_cut;
};

static void put(struct out *o, const char *text, size_t n)
{
	o->is_cut |= n > o->room - o->n;
	if (o->is_cut)
		n = o->room - o->n;
	memcpy(o->p + o->n, text, n);
	o->n += n;
}

static bool is_letter(char c)
{
	return isalnum((unsigned char)c) || (unsigned char)c >= 0x80;
}

/* Letters and digits, with joiners between them. *ret_digit: one of them is a digit. */
static size_t word_length(const char *p, bool *ret_digit)
{
	size_t n = 0;
	while (is_letter(p[n]) || (n > 0 && p[n] && strchr("-_.:+", p[n]) && is_letter(p[n + 1]))) {
		*ret_digit |= isdigit((unsigned char)p[n]) != 0;
		n++;
	}
	return n;
}

/* With both quotes; 0: it has no end. */
static size_t quoted_length(const char *p)
{
	size_t n = 1;
	while (p[n] && p[n] != '"')
		n += p[n] == '\\' && p[n + 1] ? 2 : 1;
	return p[n] ? n + 1 : 0;
}

/* By what was written: a reason is to be its own reason. */
static bool is_status(const struct out *o, size_t n)
{
	return n == 3 && o->room - o->n >= n && o->n >= 5 &&
	       memcmp(o->p + o->n - 5, "HTTP ", 5) == 0;
}

void reason_of(const char *error, char *ret, size_t size)
{
	struct out o = { .p = ret, .room = size - 1 };
	for (const char *p = error ? error : ""; *p && !o.is_cut;) {
		bool has_digit = false;
		size_t n = 0;
		if (*p == '"' && p > error && p[-1] == '=')
			n = quoted_length(p);
		bool is_value = n > 0;
		if (!n)
			n = word_length(p, &has_digit);
		bool is_kept = n > 0 && !is_value && (!has_digit || is_status(&o, n));
		if (!n) {
			n = 1;
			put(&o, (unsigned char)*p < 0x20 || *p == 0x7f ? " " : p, 1);
		} else if (is_kept) {
			put(&o, p, n);
		} else {
			put(&o, "#", 1);
		}
		p += n;
	}
	if (o.is_cut)
		o.n = characters_whole(ret, o.n);
	ret[o.n] = '\0';
}
