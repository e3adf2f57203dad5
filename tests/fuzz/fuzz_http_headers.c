/* fuzz_http_headers.c - header values as a client may write them, and origins against patterns.
 * The first byte chooses the parser; the rest is the value. What is taken must be what the grammar
 * allows: no control characters, one coding, a number of digits. */
#include <stdlib.h>
#include <strings.h>

#include "gateway/base/url.h"
#include "gateway/ingest/cors.h"
#include "gateway/ingest/http_headers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_media(const char *value)
{
	enum http_media media = HTTP_MEDIA_OTHER;
	struct err e = { "" };
	enum status st = http_parse_media(value, &media, &e);
	CHECK(st == ST_OK ? media != HTTP_MEDIA_OTHER : e.text[0] != '\0');
	CHECK(st != ST_OK || strcasestr(value, http_media_text(media)));
}

static void check_encoding(const char *value)
{
	static const char *const names[] = { "", "gzip", "zstd" };
	enum encoding coding = ENCODING_COUNT;
	struct err e = { "" };
	enum status st = http_parse_encoding(value, &coding, &e);
	CHECK(st == ST_OK ? coding < ENCODING_COUNT : e.text[0] != '\0');
	CHECK(st != ST_OK || strcasestr(value, names[coding]));
}

static void check_length(const char *value)
{
	uint64_t n = 0;
	if (http_parse_length(value, &n) == ST_OK) {
		CHECK(value[0] >= '0' && value[0] <= '9');
		CHECK(n == UINT64_MAX || n == strtoull(value, NULL, 10));
	}
}

static void check_target(const char *value)
{
	const char *path = url_target_path(value);
	CHECK(path == value || path[0] == '/');
	CHECK(value[0] != '/' || path == value);
}

static void check_origin(const char *value)
{
	static const char *const origins[] = { "https://*.a.example", "http://localhost:*",
					       "*://*.b*c.example", NULL };
	struct cors c;
	CHECK(cors_init(&c, origins, NULL, 60) == ST_OK);
	if (cors_check(&c, value) == CORS_LISTED) {
		const char *host = strstr(value, "://");
		CHECK(host && !strchr(host + 3, '/'));
	}
	cors_done(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const checks[])(const char *) = { check_media, check_encoding, check_length,
							check_origin, check_target };
	if (size == 0)
		return 0;
	char *value = calloc(1, size);
	CHECK(value);
	memcpy(value, data + 1, size - 1);
	checks[data[0] % (sizeof(checks) / sizeof(checks[0]))](value);
	free(value);
	return 0;
}
