/* secrets.c - finds texts in all forms in which servers show what they were sent.
 *
 * What is looked for is made once, when a secret is learned: the text itself, its base64, and the
 * three pieces of base64 that it leaves in whatever longer text is encoded with it in the middle
 * (base64 turns three bytes into four characters, so there are three ways to begin; the characters
 * at both ends depend on the neighbours and are not part of a piece). Each is then looked for
 * twice: byte for byte, and with escaped characters taken for what they stand for. The second look
 * alone would miss a secret that holds "%41" or "&amp;" and is shown as it is.
 *
 * It is bounded: an answer has 64 KiB at most, a look goes over it once for each of some dozens of
 * texts, and compares at a byte only where the first character fits. */
#include "gateway/forward/secrets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "gateway/base/grpc_status.h"
#include "gateway/base/xalloc.h"
#include "gateway/telemetry/utf8.h"

enum {
	PIECE_MIN = 8,   /* characters of base64 that stand nowhere by chance */
	ENTITY_MAX = 10, /* "&#x0010ff;" */
	TEXT_MAX = 64 * 1024
};

struct secret {
	char *text;
	size_t n;
	bool is_base64;
};

static void keep(struct secrets *s, const char *text, size_t n, bool is_base64)
{
	if (s->count == s->room) {
		s->room = s->room ? 2 * s->room : 16;
		struct secret *items = xcalloc(s->room, sizeof(*items));
		if (s->count)
			memcpy(items, s->items, s->count * sizeof(*items));
		free(s->items);
		s->items = items;
	}
	char *copy = xcalloc(1, n + 1);
	memcpy(copy, text, n);
	s->items[s->count++] = (struct secret){ .text = copy, .n = n, .is_base64 = is_base64 };
}

/* The base64 of `shift` unknown bytes and the text; skip characters of it depend on these. */
static void keep_base64(struct secrets *s, const char *text, size_t shift)
{
	static const size_t skips[] = { 0, 2, 3 };
	struct buf plain;
	struct buf encoded;
	size_t n = strlen(text);
	buf_init(&plain, TEXT_MAX, NULL);
	buf_init(&encoded, 2 * TEXT_MAX, NULL);
	bool is_made = buf_append(&plain, bytes_of("\0\0", shift)) == ST_OK &&
		       buf_append(&plain, bytes_of(text, n)) == ST_OK &&
		       grpc_base64_encode(&encoded, buf_view(&plain)) == ST_OK;
	if (is_made) {
		const char *p = (const char *)encoded.p;
		size_t whole = (shift + n) * 8 / 6; /* characters that nothing behind it changes */
		if (shift == 0)
			keep(s, p, encoded.n, true);
		if (whole >= skips[shift] + PIECE_MIN)
			keep(s, p + skips[shift], whole - skips[shift], true);
	}
	if (plain.n)
		explicit_bzero(plain.p, plain.n);
	if (encoded.n)
		explicit_bzero(encoded.p, encoded.n);
	buf_done(&plain);
	buf_done(&encoded);
}

void secrets_add(struct secrets *s, const char *text)
{
	if (!text || strlen(text) < SECRETS_MIN)
		return;
	keep(s, text, strlen(text), false);
	for (size_t shift = 0; shift < 3; shift++)
		keep_base64(s, text, shift);
}

void secrets_done(struct secrets *s)
{
	for (size_t i = 0; i < s->count; i++) {
		explicit_bzero(s->items[i].text, s->items[i].n);
		free(s->items[i].text);
	}
	free(s->items);
	*s = (struct secrets){ 0 };
}

/* ---- escaped characters ---- */

/* A number in n digits of this base. False: it is none, or no character. */
static bool number_of(const uint8_t *p, size_t n, int base, uint32_t *ret)
{
	char text[ENTITY_MAX + 1] = { 0 };
	char *end = NULL;
	if (n == 0 || n > ENTITY_MAX ||
	    strspn((const char *)memcpy(text, p, n), "0123456789abcdefABCDEF") < n)
		return false;
	unsigned long v = strtoul(text, &end, base);
	*ret = (uint32_t)v;
	return *end == '\0' && v > 0 && v <= 0x10ffff;
}

/* &lt; &#60; &#x3c; */
static size_t read_entity(const uint8_t *p, size_t n, uint32_t *ret)
{
	static const struct {
		const char *name;
		char c;
	} names[] = { { "&amp;", '&' },
		      { "&lt;", '<' },
		      { "&gt;", '>' },
		      { "&quot;", '"' },
		      { "&apos;", '\'' } };
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		size_t length = strlen(names[i].name);
		if (n >= length && memcmp(p, names[i].name, length) == 0) {
			*ret = (uint8_t)names[i].c;
			return length;
		}
	}
	const uint8_t *end = memchr(p, ';', n < ENTITY_MAX ? n : ENTITY_MAX);
	if (!end || end - p < 4 || p[1] != '#')
		return 0;
	bool is_hex = p[2] == 'x' || p[2] == 'X';
	const uint8_t *digits = p + (is_hex ? 3 : 2);
	if (!number_of(digits, (size_t)(end - digits), is_hex ? 16 : 10, ret))
		return 0;
	return (size_t)(end - p) + 1;
}

/* The escaped character at p, as the bytes that it stands for. 0: there is none. */
static size_t read_escaped(const uint8_t *p, size_t n, uint8_t out[static 4], size_t *ret_n)
{
	uint32_t c = 0;
	size_t length = 0;
	*ret_n = 1;
	if (p[0] == '%' && n >= 3 && number_of(p + 1, 2, 16, &c)) {
		out[0] = (uint8_t)c; /* a byte, and no character */
		return 3;
	}
	if (p[0] == '\\' && n >= 2 && strchr("\"\\/", p[1]) && p[1]) {
		out[0] = p[1];
		return 2;
	}
	if (p[0] == '\\' && n >= 6 && p[1] == 'u' && number_of(p + 2, 4, 16, &c))
		length = 6;
	else if (p[0] == '&')
		length = read_entity(p, n, &c);
	if (length && c >= 0xd800 && c < 0xe000)
		return 0; /* half a character */
	if (length)
		*ret_n = utf8_encode(c, out);
	return length;
}

static bool is_alike(const struct secret *x, uint8_t a, char b)
{
	return a == (uint8_t)b ||
	       (x->is_base64 && ((a == '-' && b == '+') || (a == '_' && b == '/')));
}

/* How much of n bytes at p is the secret, escaped or not; 0: it is not there. */
static size_t match(const struct secret *x, const uint8_t *p, size_t n)
{
	size_t at = 0;
	for (size_t i = 0; i < x->n;) {
		uint8_t c[4];
		size_t count = 0;
		size_t length = at < n ? read_escaped(p + at, n - at, c, &count) : 0;
		if (length && count <= x->n - i && memcmp(c, x->text + i, count) == 0) {
			at += length;
			i += count;
		} else if (at < n && is_alike(x, p[at], x->text[i])) {
			at++;
			i++;
		} else {
			return 0;
		}
	}
	return at;
}

/* What fills up base64 says how long it was. */
static size_t padding(const uint8_t *p, size_t n)
{
	const struct secret one = { .text = (char[]){ "=" }, .n = 1 };
	size_t first = match(&one, p, n);
	return first ? first + match(&one, p + first, n - first) : 0;
}

static void wipe_literal(const struct secret *x, uint8_t *p, size_t n)
{
	uint8_t *at = p;
	while ((at = memmem(at, n - (size_t)(at - p), x->text, x->n)) != NULL) {
		memset(at, '*', x->n);
		at += x->n;
	}
}

static void wipe_escaped(const struct secret *x, uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!is_alike(x, p[i], x->text[0]) && p[i] != '\\' && p[i] != '%' && p[i] != '&')
			continue;
		size_t length = match(x, p + i, n - i);
		if (!length)
			continue;
		if (x->is_base64)
			length += padding(p + i + length, n - i - length);
		memset(p + i, '*', length);
		i += length - 1;
	}
}

void secrets_wipe(const struct secrets *s, void *p, size_t n)
{
	for (size_t i = 0; i < s->count && n > 0; i++) {
		if (!s->items[i].is_base64)
			wipe_literal(&s->items[i], p, n);
		wipe_escaped(&s->items[i], p, n);
	}
}
