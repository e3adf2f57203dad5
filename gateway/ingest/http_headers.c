/* http_headers.c - parses Content-Type, Content-Encoding and Content-Length.
 *
 * The grammars are RFC 9110's. A value is read to its end: what does not fit the grammar is refused
 * and never guessed at, because a proxy in front of us may guess otherwise. Values come from
 * libmicrohttpd as C strings without line ends; nothing is copied but into messages, which are cut.
 *
 * Several codings of one body ("gzip, zstd") are legal HTTP, but no OTLP exporter sends them, and
 * each layer would multiply what a bomb can do: they are refused. */
#include "gateway/ingest/http_headers.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "gateway/base/buf.h"

/* Bytes of a foreign value that a message repeats. */
enum { SHOWN = 80 };

static const char *const media_texts[] = {
	[HTTP_MEDIA_PROTOBUF] = "application/x-protobuf",
	[HTTP_MEDIA_JSON] = "application/json",
	[HTTP_MEDIA_OTHER] = "text/plain; charset=utf-8",
};

const char *http_media_text(enum http_media media)
{
	return media_texts[media];
}

/* RFC 9110, 5.6.2. */
static bool is_token_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("!#$%&'*+-.^_`|~", c));
}

static const char *skip_token(const char *p)
{
	while (is_token_char(*p))
		p++;
	return p;
}

static const char *skip_space(const char *p)
{
	while (*p == ' ' || *p == '\t')
		p++;
	return p;
}

/* Behind the closing quote, or NULL where there is none. */
static const char *skip_quoted(const char *p)
{
	for (p++; *p && *p != '"'; p++)
		if (*p == '\\' && p[1])
			p++;
	return *p ? p + 1 : NULL;
}

static bool equals(struct bytes a, const char *word)
{
	return a.p && a.n == strlen(word) && strncasecmp((const char *)a.p, word, a.n) == 0;
}

static struct bytes between(const char *start, const char *end)
{
	return bytes_of(start, (size_t)(end - start));
}

bool http_is_token(const char *value, const char *token)
{
	return equals(bytes_str(value), token);
}

bool http_is_name(const char *name)
{
	return *name && *skip_token(name) == '\0';
}

static struct bytes unquote(struct bytes value)
{
	bool is_quoted = value.n >= 2 && value.p[0] == '"';
	return is_quoted ? bytes_of(value.p + 1, value.n - 2) : value;
}

/* *( OWS ";" OWS [ token "=" ( token / quoted-string ) ] ) to the end. *ret_charset is the last. */
static bool parse_parameters(const char *p, struct bytes *ret_charset)
{
	while (*(p = skip_space(p)) == ';') {
		const char *name = skip_space(p + 1);
		const char *name_end = skip_token(name);
		p = name_end;
		if (name_end == name)
			continue;
		if (*p != '=')
			return false;
		const char *value = p + 1;
		p = *value == '"' ? skip_quoted(value) : skip_token(value);
		if (!p || p == value)
			return false;
		if (equals(between(name, name_end), "charset"))
			*ret_charset = unquote(between(value, p));
	}
	return *p == '\0';
}

enum status http_parse_media(const char *value, enum http_media *ret, struct err *e)
{
	static const char what[] = "send application/x-protobuf or application/json";
	if (!value)
		return err_set(e, ST_UNSUPPORTED, "there is no Content-Type: %s", what);
	const char *type = skip_space(value);
	const char *end = skip_token(type);
	if (*end == '/')
		end = skip_token(end + 1);
	struct bytes charset = bytes_str("utf-8");
	enum http_media media = HTTP_MEDIA_OTHER;
	if (equals(between(type, end), media_texts[HTTP_MEDIA_PROTOBUF]))
		media = HTTP_MEDIA_PROTOBUF;
	else if (equals(between(type, end), media_texts[HTTP_MEDIA_JSON]))
		media = HTTP_MEDIA_JSON;
	if (media == HTTP_MEDIA_OTHER || !parse_parameters(end, &charset))
		return err_set(e, ST_UNSUPPORTED, "Content-Type \"%.*s\" is not supported: %s",
			       SHOWN, value, what);
	if (media == HTTP_MEDIA_JSON && !equals(charset, "utf-8") && !equals(charset, "utf8"))
		return err_set(
			e, ST_UNSUPPORTED, "charset \"%.*s\" is not supported: JSON is UTF-8",
			(int)(charset.n < SHOWN ? charset.n : SHOWN), (const char *)charset.p);
	*ret = media;
	return ST_OK;
}

static bool coding_of(struct bytes word, enum encoding *ret)
{
	if (equals(word, "gzip") || equals(word, "x-gzip"))
		*ret = ENCODING_GZIP;
	else if (equals(word, "zstd"))
		*ret = ENCODING_ZSTD;
	else if (equals(word, "identity"))
		*ret = ENCODING_NONE;
	else
		return false;
	return true;
}

enum status http_parse_encoding(const char *value, enum encoding *ret, struct err *e)
{
	enum encoding found = ENCODING_NONE;
	const char *p = value ? value : "";
	int count = 0;
	for (;;) {
		const char *word = skip_space(p);
		const char *end = skip_token(word);
		p = skip_space(end);
		if ((*p && *p != ',') || (end > word && !coding_of(between(word, end), &found)) ||
		    (count += end > word) > 1)
			return err_set(e, ST_UNSUPPORTED,
				       "Content-Encoding \"%.*s\" is not supported: send one of "
				       "gzip, zstd, identity",
				       SHOWN, value);
		if (!*p)
			break;
		p++;
	}
	*ret = found;
	return ST_OK;
}

enum status http_parse_length(const char *value, uint64_t *ret)
{
	size_t digits = strspn(value, "0123456789");
	if (digits == 0 || value[digits] != '\0')
		return ST_INVALID;
	uint64_t n = 0;
	for (const char *p = value; *p; p++) {
		uint64_t digit = (uint64_t)(*p - '0');
		n = n > (UINT64_MAX - digit) / 10 ? UINT64_MAX : n * 10 + digit;
		if (n == UINT64_MAX)
			break;
	}
	*ret = n;
	return ST_OK;
}
