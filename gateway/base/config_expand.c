/* config_expand.c - puts the environment into values.
 *
 * Values only, after YAML has parsed the document: what a variable holds can become no key, no list
 * and no second value. Nothing is expanded twice. A dollar sign that begins no reference stands for
 * itself, so that most passwords need no care; $$ is there for the rest. */
#include "gateway/base/config_reader.h"

#include <stdlib.h>

enum { EXPANDED_MAX = 64 * 1024, NAME_MAX_BYTES = 128 };

/* Letters, digits, _; no digit first. */
static bool is_name(struct bytes name)
{
	if (name.n == 0 || name.n >= NAME_MAX_BYTES)
		return false;
	for (size_t i = 0; i < name.n; i++) {
		uint8_t c = name.p[i];
		bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
		if (!is_letter && (i == 0 || c < '0' || c > '9'))
			return false;
	}
	return true;
}

/* The length of the valid UTF-8 sequence at p, 0 where there is none (RFC 3629). */
static size_t utf8_length(const uint8_t *p)
{
	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		return (p[1] & 0xc0) == 0x80 ? 2 : 0;
	if (p[0] >= 0xe0 && p[0] <= 0xef) {
		bool is_low = p[0] == 0xe0 && p[1] < 0xa0;
		bool is_surrogate = p[0] == 0xed && p[1] > 0x9f;
		return (p[1] & 0xc0) == 0x80 && (p[2] & 0xc0) == 0x80 && !is_low && !is_surrogate ?
			       3 :
			       0;
	}
	if (p[0] >= 0xf0 && p[0] <= 0xf4) {
		bool is_low = p[0] == 0xf0 && p[1] < 0x90;
		bool is_high = p[0] == 0xf4 && p[1] > 0x8f;
		return (p[1] & 0xc0) == 0x80 && (p[2] & 0xc0) == 0x80 && (p[3] & 0xc0) == 0x80 &&
				       !is_low && !is_high ?
			       4 :
			       0;
	}
	return 0;
}

static bool is_utf8(const char *text)
{
	const uint8_t *p = (const uint8_t *)text;
	while (*p) {
		size_t n = utf8_length(p);
		if (n == 0)
			return false;
		p += n;
	}
	return true;
}

/* What stands between ${ and }. */
static enum status expand_reference(struct bytes reference, struct buf *out, struct err *e)
{
	struct bytes name = reference;
	struct bytes fallback = { 0 };
	const uint8_t *mark = memmem(reference.p, reference.n, ":-", 2);
	if (mark) {
		name.n = (size_t)(mark - reference.p);
		fallback = bytes_of(mark + 2, reference.n - name.n - 2);
	}
	if (name.n > 4 && memcmp(name.p, "env:", 4) == 0)
		name = bytes_of(name.p + 4, name.n - 4);
	if (!is_name(name))
		return err_set(
			e, ST_INVALID,
			"\"${%.*s}\" names no environment variable; write $$ for a dollar sign",
			(int)(reference.n > 64 ? 64 : reference.n), reference.p);
	char text[NAME_MAX_BYTES];
	memcpy(text, name.p, name.n);
	text[name.n] = '\0';
	/* Threads have not started when the configuration is read. */
	const char *value = getenv(text); /* NOLINT(concurrency-mt-unsafe) */
	if (value && !is_utf8(value))
		return err_set(e, ST_INVALID, "the environment variable %s holds no valid UTF-8",
			       text);
	if (mark && (!value || !*value))
		return buf_append(out, fallback);
	if (!value)
		return err_set(
			e, ST_INVALID,
			"the environment variable %s is not set; set it, or write ${%s:-default}",
			text, text);
	return buf_append_str(out, value);
}

static enum status expand_into(const char *text, struct buf *out, struct err *e)
{
	enum status st = ST_OK;
	while (*text && !st) {
		size_t plain = strcspn(text, "$");
		st = buf_append(out, bytes_of(text, plain));
		text += plain;
		if (st || !*text)
			break;
		if (text[1] != '{') {
			st = buf_append_byte(out, '$');
			text += text[1] == '$' ? 2 : 1;
			continue;
		}
		const char *end = strchr(text, '}');
		if (!end)
			return err_set(e, ST_INVALID, "${ without its }");
		st = expand_reference(bytes_of(text + 2, (size_t)(end - text - 2)), out, e);
		text = end + 1;
	}
	return st;
}

enum status config_expand(const char *text, struct arena *arena, const char **ret, struct err *e)
{
	*ret = text;
	if (!strchr(text, '$'))
		return ST_OK;
	struct buf out;
	buf_init(&out, EXPANDED_MAX, NULL);
	enum status st = expand_into(text, &out, e);
	if (!st)
		*ret = arena_strdup(arena, buf_view(&out));
	if (st == ST_TOO_LARGE || !*ret)
		st = err_set(e, ST_INVALID, "with the environment put in, it is too long");
	buf_done(&out);
	return st;
}
