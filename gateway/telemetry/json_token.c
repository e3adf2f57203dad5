/* json_token.c - JSON (RFC 8259) token by token.
 *
 * The conversion to protobuf knows at each place what it expects, so no document is built. Building
 * one is what jansson would do: measured on OTLP, that takes 10 to 13 times the memory of the text,
 * 79 times of a hostile one, and five times as long (docs/decisions/0005-streaming-json.md).
 * Integers above 2^63 and line numbers come with it. Strictness is jansson's, which a fuzz target
 * compares it with: UTF-8 is checked, control characters in strings and lonely surrogates are
 * refused, numbers follow the grammar. */
#include "gateway/telemetry/json_token.h"

#include "gateway/telemetry/utf8.h"

static bool fail(struct json_reader *r, const char *fault)
{
	if (!r->fault)
		r->fault = fault;
	return false;
}

uint8_t json_peek(struct json_reader *r)
{
	while (r->p < r->end && (*r->p == ' ' || *r->p == '\n' || *r->p == '\r' || *r->p == '\t'))
		r->p++;
	return r->p < r->end ? *r->p : 0;
}

bool json_take(struct json_reader *r, uint8_t c)
{
	if (json_peek(r) != c || r->p == r->end)
		return false;
	r->p++;
	return true;
}

bool json_take_word(struct json_reader *r, const char *word)
{
	size_t n = strlen(word);
	(void)json_peek(r);
	if ((size_t)(r->end - r->p) < n || memcmp(r->p, word, n) != 0)
		return false;
	r->p += n;
	return true;
}

bool json_more(struct json_reader *r, uint8_t closing)
{
	if (json_take(r, ','))
		return true;
	if (json_take(r, closing))
		return false;
	return fail(r, closing == '}' ? "expected , or }" : "expected , or ]");
}

/* Four hex digits. */
static bool read_unit(struct json_reader *r, uint32_t *ret)
{
	uint32_t unit = 0;
	if (r->end - r->p < 4)
		return fail(r, "a string that does not end");
	for (int i = 0; i < 4; i++) {
		uint8_t c = *r->p++;
		uint8_t lower = c | 0x20;
		if (c >= '0' && c <= '9')
			unit = unit << 4 | (uint32_t)(c - '0');
		else if (lower >= 'a' && lower <= 'f')
			unit = unit << 4 | (uint32_t)(lower - 'a' + 10);
		else
			return fail(r, "\\u wants four hex digits");
	}
	*ret = unit;
	return true;
}

/* Behind "\u": a character, of two units where it is a surrogate pair. */
static bool read_unicode(struct json_reader *r, uint32_t *ret)
{
	uint32_t high = 0;
	uint32_t low = 0;
	if (!read_unit(r, &high))
		return false;
	if (high < 0xd800 || high > 0xdfff) {
		*ret = high;
		return true;
	}
	if (high > 0xdbff || r->end - r->p < 2 || r->p[0] != '\\' || r->p[1] != 'u')
		return fail(r, "half of a surrogate pair");
	r->p += 2;
	if (!read_unit(r, &low))
		return false;
	if (low < 0xdc00 || low > 0xdfff)
		return fail(r, "half of a surrogate pair");
	*ret = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
	return true;
}

/* Behind a backslash. */
static enum status read_escape(struct json_reader *r, struct buf *out)
{
	static const char from[] = "\"\\/bfnrt";
	static const char to[] = "\"\\/\b\f\n\r\t";
	uint8_t text[4];
	size_t n = 1;
	uint8_t c = r->p < r->end ? *r->p++ : 0;
	const char *known = c ? strchr(from, c) : NULL;
	if (known) {
		text[0] = (uint8_t)to[known - from];
	} else if (c == 'u') {
		uint32_t character = 0;
		if (!read_unicode(r, &character))
			return ST_INVALID;
		n = utf8_encode(character, text);
	} else {
		fail(r, "an escape that JSON does not have");
		return ST_INVALID;
	}
	return out ? buf_append(out, bytes_of(text, n)) : ST_OK;
}

/* The end of the run of characters at p that stand for themselves. */
static const uint8_t *end_of_run(const uint8_t *p, const uint8_t *end)
{
	while (p < end && *p >= 0x20 && *p != '"' && *p != '\\')
		p++;
	return p;
}

enum status json_take_string(struct json_reader *r, struct buf *out)
{
	if (!json_take(r, '"')) {
		fail(r, "expected a string");
		return ST_INVALID;
	}
	for (;;) {
		const uint8_t *stop = end_of_run(r->p, r->end);
		struct bytes run = bytes_of(r->p, (size_t)(stop - r->p));
		size_t good = utf8_valid_prefix(run);
		r->p += good;
		if (good != run.n) {
			fail(r, "not valid UTF-8");
			return ST_INVALID;
		}
		enum status st = out ? buf_append(out, run) : ST_OK;
		if (st)
			return st;
		if (stop == r->end || *stop < 0x20) {
			fail(r, stop == r->end ? "a string that does not end" :
						 "a control character in a string");
			return ST_INVALID;
		}
		r->p++;
		if (*stop == '"')
			return ST_OK;
		st = read_escape(r, out);
		if (st)
			return st;
	}
}

bool json_plain_string(struct json_reader *r, struct bytes *ret)
{
	if (json_peek(r) != '"')
		return fail(r, "expected a string");
	const uint8_t *from = r->p + 1;
	const uint8_t *stop = end_of_run(from, r->end);
	if (stop == r->end || *stop != '"')
		return false;
	*ret = bytes_of(from, (size_t)(stop - from));
	if (!utf8_is_ascii(*ret))
		return false;
	r->p = stop + 1;
	return true;
}

static const uint8_t *digits(const uint8_t *p, const uint8_t *end)
{
	while (p < end && *p >= '0' && *p <= '9')
		p++;
	return p;
}

/* The end of the number at p, or NULL. */
static const uint8_t *end_of_number(const uint8_t *p, const uint8_t *end, bool *ret_is_integer)
{
	*ret_is_integer = true;
	if (p < end && *p == '-')
		p++;
	const uint8_t *from = p;
	p = digits(p, end);
	if (p == from || (*from == '0' && p - from > 1))
		return NULL;
	if (p < end && *p == '.') {
		*ret_is_integer = false;
		from = ++p;
		p = digits(p, end);
		if (p == from)
			return NULL;
	}
	if (p < end && (*p == 'e' || *p == 'E')) {
		*ret_is_integer = false;
		p++;
		if (p < end && (*p == '+' || *p == '-'))
			p++;
		from = p;
		p = digits(p, end);
		if (p == from)
			return NULL;
	}
	return p;
}

static bool copy_number(struct bytes text, struct json_number *ret)
{
	if (text.n >= sizeof(ret->text))
		return false;
	memcpy(ret->text, text.p, text.n);
	ret->text[text.n] = '\0';
	return true;
}

bool json_number(struct json_reader *r, struct json_number *ret)
{
	(void)json_peek(r);
	const uint8_t *stop = end_of_number(r->p, r->end, &ret->is_integer);
	if (!stop)
		return fail(r, "expected a number");
	if (!copy_number(bytes_of(r->p, (size_t)(stop - r->p)), ret))
		return fail(r, "a number of more than 1100 characters");
	r->p = stop;
	return true;
}

bool json_number_of(struct bytes text, struct json_number *ret)
{
	if (text.n == 0)
		return false;
	const uint8_t *stop = end_of_number(text.p, text.p + text.n, &ret->is_integer);
	return stop == text.p + text.n && copy_number(text, ret);
}

static bool skip_number(struct json_reader *r)
{
	bool is_integer;
	const uint8_t *stop = end_of_number(r->p, r->end, &is_integer);
	if (!stop)
		return fail(r, "expected a value");
	r->p = stop;
	return true;
}

static bool skip_elements(struct json_reader *r, uint8_t closing, unsigned depth)
{
	if (depth >= JSON_DEPTH_MAX)
		return fail(r, "arrays and objects nested too deep");
	r->p++;
	if (json_take(r, closing))
		return true;
	do {
		if (closing == '}') {
			if (json_take_string(r, NULL))
				return false;
			if (!json_take(r, ':'))
				return fail(r, "expected :");
		}
		if (!json_skip(r, depth + 1))
			return false;
	} while (json_more(r, closing));
	return r->fault == NULL;
}

bool json_skip(struct json_reader *r, unsigned depth)
{
	switch (json_peek(r)) {
	case '{':
		return skip_elements(r, '}', depth);
	case '[':
		return skip_elements(r, ']', depth);
	case '"':
		return json_take_string(r, NULL) == ST_OK;
	case 't':
		return json_take_word(r, "true") || fail(r, "expected a value");
	case 'f':
		return json_take_word(r, "false") || fail(r, "expected a value");
	case 'n':
		return json_take_word(r, "null") || fail(r, "expected a value");
	default:
		return skip_number(r);
	}
}

size_t json_line(const struct json_reader *r)
{
	size_t line = 1;
	for (const uint8_t *p = r->start; p < r->p; p++)
		line += *p == '\n';
	return line;
}
