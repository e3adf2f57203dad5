/* telemetry/json_text.h - single JSON values as text.
 * Owner: stateless. Needs: gateway/base. */
#ifndef TELEMETRY_JSON_TEXT_H
#define TELEMETRY_JSON_TEXT_H

#include "gateway/base/buf.h"

/* All append to out. ST_TOO_LARGE, ST_BUSY, ST_NO_MEMORY: from out. */

/* In quotes, on one line. Bytes that are not UTF-8 become U+FFFD. */
MUST_USE enum status json_put_string(struct buf *out, struct bytes s);
/* A number of 15 digits, or up to 17 where it takes them to read back as v; "NaN", "Infinity",
 * "-Infinity" in quotes. */
MUST_USE enum status json_put_double(struct buf *out, double v);
/* v's magnitude is digits; with a minus sign, and in quotes, where asked. */
MUST_USE enum status json_put_integer(struct buf *out, uint64_t digits, bool is_negative,
				      bool is_quoted);
/* In quotes, lower case. */
MUST_USE enum status json_put_hex(struct buf *out, struct bytes b);
/* In quotes, the standard alphabet, padded. */
MUST_USE enum status json_put_base64(struct buf *out, struct bytes b);

/* Turn n characters at p into the bytes that they stand for, in place. Hex of either case; base64
 * of either alphabet, padded or not. False: not such a text; what is at p is then without meaning.
 */
bool json_decode_hex(uint8_t *p, size_t n, size_t *ret_n);
bool json_decode_base64(uint8_t *p, size_t n, size_t *ret_n);

#endif
