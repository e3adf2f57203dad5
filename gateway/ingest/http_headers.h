/* ingest/http_headers.h - the request headers that OTLP/HTTP decides by, as pure functions.
 * Owner: stateless. Needs: gateway/base, schema. */
#ifndef INGEST_HTTP_HEADERS_H
#define INGEST_HTTP_HEADERS_H

#include <stdint.h>

#include "gateway/base/status.h"
#include "schema/vocabulary.h"

enum http_media { HTTP_MEDIA_PROTOBUF, HTTP_MEDIA_JSON, HTTP_MEDIA_OTHER };

/* What http_parse_encoding takes, as a header value. */
#define HTTP_ENCODINGS "gzip, zstd"

/* The media type of a Content-Type value (RFC 9110, 8.3.1): case-insensitive, parameters allowed.
 * NULL is no header. ST_UNSUPPORTED, and nothing written: not OTLP's, malformed, or JSON in a
 * charset that is not UTF-8. */
MUST_USE enum status http_parse_media(const char *value, enum http_media *ret, struct err *e);
/* "application/json" and so on; text/plain for HTTP_MEDIA_OTHER. Static storage. */
const char *http_media_text(enum http_media media);

/* The one coding of a Content-Encoding value (RFC 9110, 8.4): gzip, x-gzip, zstd, identity. NULL is
 * no header. ST_UNSUPPORTED: unknown, or more than one coding; e names it and what is accepted. */
MUST_USE enum status http_parse_encoding(const char *value, enum encoding *ret, struct err *e);

/* Decimal digits only (RFC 9110, 8.6). ST_INVALID: anything else; too large a number is UINT64_MAX.
 */
MUST_USE enum status http_parse_length(const char *value, uint64_t *ret);

/* The whole value is this token, in any case, with no blank around it. */
bool http_is_token(const char *value, const char *token);
/* Can this be a field's name (RFC 9110, 5.1)? */
bool http_is_name(const char *name);

#endif
