/* loki_names.c - what Loki's label names and values may be.
 *
 * A stream's labels travel as text in LogQL's syntax, {a="b", c="d"}, and the names of structured
 * metadata follow the same rules as label names. Names are mapped as Loki's OTLP endpoint maps
 * them, so that a query that works for logs that came there works for logs that came through us:
 * service.name is service_name, 0abc is key_0abc. Names that begin with two underscores are Loki's
 * own and hidden in queries; the prefix takes them out of its way. A run of underscores is one:
 * Loki (3.7, prometheus/otlptranslator) makes it one anyway, and of two names that it makes the
 * same it keeps one value.
 *
 * Two names can become one: whoever uses these functions has to resolve that. */
#include "gateway/forward/loki_names.h"

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static bool is_letter(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_continuation(uint8_t c)
{
	return (c & 0xc0) == 0x80;
}

enum status loki_name(struct bytes s, struct buf *out)
{
	const char *prefix = s.n == 0 || is_digit(s.p[0]) ? "key_" : is_letter(s.p[0]) ? "" : "key";
	size_t at = strlen(prefix);
	size_t most = s.n < LOKI_NAME_MAX ? s.n : LOKI_NAME_MAX;
	enum status st = buf_reserve(out, at + most);
	if (st)
		return st;
	uint8_t *to = out->p + out->n;
	for (size_t i = 0; i < at; i++)
		to[i] = (uint8_t)prefix[i];
	for (size_t i = 0; i < s.n && at < LOKI_NAME_MAX; i++) {
		uint8_t c = s.p[i];
		if (is_letter(c) || is_digit(c))
			to[at++] = c;
		else if (at == 0 || to[at - 1] != '_')
			to[at++] = '_';
	}
	buf_advance(out, at);
	return ST_OK;
}

struct bytes loki_cut(struct bytes s, size_t max)
{
	if (s.n <= max)
		return s;
	size_t n = max;
	while (n > 0 && is_continuation(s.p[n]))
		n--;
	return bytes_of(s.p, n);
}

/* As Go's strconv.Unquote reads it. */
static enum status put_quoted(struct bytes s, struct buf *out)
{
	enum status st = buf_append_byte(out, '"');
	for (size_t i = 0; i < s.n && !st; i++) {
		uint8_t c = s.p[i];
		if (c == '"' || c == '\\') {
			st = buf_append_byte(out, '\\');
			if (!st)
				st = buf_append_byte(out, c);
		} else if (c < 0x20 || c == 0x7f) {
			st = c == '\n' ? buf_append_str(out, "\\n") :
			     c == '\t' ? buf_append_str(out, "\\t") :
			     c == '\r' ? buf_append_str(out, "\\r") :
					 buf_printf(out, "\\x%02x", c);
		} else {
			st = buf_append_byte(out, c);
		}
	}
	return st ? st : buf_append_byte(out, '"');
}

enum status loki_label(struct bytes name, struct bytes value, struct buf *out)
{
	enum status st = buf_append(out, name);
	if (!st)
		st = buf_append_byte(out, '=');
	return st ? st : put_quoted(loki_cut(value, LOKI_LABEL_VALUE_MAX), out);
}
