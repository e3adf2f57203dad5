/* telemetry/json_token.h - JSON read token by token, where the reader knows what it expects.
 * Owner: the caller's stack. Needs: gateway/base. */
#ifndef TELEMETRY_JSON_TOKEN_H
#define TELEMETRY_JSON_TOKEN_H

#include "gateway/base/buf.h"

/* How deep arrays and objects may be nested: two for each of 100 messages, and some. */
enum { JSON_DEPTH_MAX = 220 };
/* Characters of a number: a double written out to its last digit has some 1,080. */
enum { JSON_NUMBER_MAX = 1100 };

struct json_reader {
	const uint8_t *start;
	const uint8_t *p;
	const uint8_t *end;
	const char *fault; /* what is wrong, static; NULL: nothing yet */
};

/* A number, in quotes or not, as text. */
struct json_number {
	char text[JSON_NUMBER_MAX + 1];
	bool is_integer; /* digits and a sign only */
};

/* All of these skip white space first, and return false (bool) or ST_INVALID with fault set where
 * the text is not JSON. */

/* The first character of the next token, 0 at the end. Consumes white space only. */
uint8_t json_peek(struct json_reader *r);
/* Consumes this character if it is the next token, otherwise leaves it. */
bool json_take(struct json_reader *r, uint8_t c);
/* The same for null, true, false. */
bool json_take_word(struct json_reader *r, const char *word);
/* After an element: true where another follows, false after the closing character. Sets fault for
 * anything else. */
bool json_more(struct json_reader *r, uint8_t closing);
/* A string: appends what it stands for to out, or only checks it where out is NULL. */
MUST_USE enum status json_take_string(struct json_reader *r, struct buf *out);
/* A string of ASCII without escapes: its content, in place. False with no fault: it is not so
 * plain; nothing is consumed. */
bool json_plain_string(struct json_reader *r, struct bytes *ret);
/* A number that stands without quotes. */
bool json_number(struct json_reader *r, struct json_number *ret);
/* The content of a string as a number. */
bool json_number_of(struct bytes text, struct json_number *ret);
/* Any value, checked and dropped. depth: how many arrays and objects are open. */
bool json_skip(struct json_reader *r, unsigned depth);
/* The line of r->p, from 1. */
size_t json_line(const struct json_reader *r);

#endif
