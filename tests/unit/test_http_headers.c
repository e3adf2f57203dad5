/* What http_headers promises: the few header values that OTLP clients send are taken in all their
 * spellings, and everything else is refused in words. */
#include "gateway/ingest/http_headers.h"
#include "tests/support/expect.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

START_TEST(media_types_are_taken_in_every_spelling)
{
	static const struct {
		const char *value;
		enum http_media want;
	} rows[] = {
		{ "application/x-protobuf", HTTP_MEDIA_PROTOBUF },
		{ "Application/X-Protobuf", HTTP_MEDIA_PROTOBUF },
		{ "application/json", HTTP_MEDIA_JSON },
		{ " application/json ", HTTP_MEDIA_JSON },
		{ "application/json;charset=utf-8", HTTP_MEDIA_JSON },
		{ "application/json ; Charset=\"UTF-8\"", HTTP_MEDIA_JSON },
		{ "application/json;charset=utf8;", HTTP_MEDIA_JSON },
		{ "application/json; ; a=b; c=\"d\\\"e;f\"", HTTP_MEDIA_JSON },
		{ "application/x-protobuf; charset=latin1", HTTP_MEDIA_PROTOBUF },
		{ "application/x-protobuf;proto=a.b.C", HTTP_MEDIA_PROTOBUF },
	};
	for (size_t i = 0; i < COUNT(rows); i++) {
		enum http_media got = HTTP_MEDIA_OTHER;
		EXPECT_OK(http_parse_media(rows[i].value, &got, NULL));
		ck_assert_msg(got == rows[i].want, "\"%s\" is %d", rows[i].value, (int)got);
	}
}
END_TEST

START_TEST(other_media_types_are_refused_in_words)
{
	static const char *const rows[] = {
		NULL,
		"",
		" ",
		"/",
		"text/plain",
		"application/jsonp",
		"application/json/x",
		"application/json, application/json",
		"application/json charset=utf-8",
		"application/json; charset",
		"application/json; charset=",
		"application/json; =utf-8",
		"application/json; charset=\"utf-8",
		"application/json; charset=\"utf-8\\",
		"application/json; charset=latin1",
		"application/json; charset=utf-8 x",
		"application/x-protobuf; a=\"b\"c",
		"application/ x-protobuf",
		"application/grpc",
	};
	for (size_t i = 0; i < COUNT(rows); i++) {
		enum http_media got = HTTP_MEDIA_OTHER;
		struct err e = { "" };
		enum status st = http_parse_media(rows[i], &got, &e);
		ck_assert_msg(st == ST_UNSUPPORTED, "\"%s\" gives %s", rows[i], status_name(st));
		ck_assert_int_eq(got, HTTP_MEDIA_OTHER);
		ck_assert_ptr_nonnull(strstr(e.text, rows[i] && strstr(rows[i], "=latin1") ?
							     "UTF-8" :
							     "send application/x-protobuf"));
	}
}
END_TEST

START_TEST(one_content_coding_is_taken)
{
	static const struct {
		const char *value;
		enum encoding want;
	} rows[] = {
		{ NULL, ENCODING_NONE },       { "", ENCODING_NONE },
		{ "identity", ENCODING_NONE }, { "gzip", ENCODING_GZIP },
		{ "GZip", ENCODING_GZIP },     { "x-gzip", ENCODING_GZIP },
		{ "zstd", ENCODING_ZSTD },     { " zstd\t", ENCODING_ZSTD },
		{ ", gzip ,", ENCODING_GZIP },
	};
	for (size_t i = 0; i < COUNT(rows); i++) {
		enum encoding got = ENCODING_COUNT;
		EXPECT_OK(http_parse_encoding(rows[i].value, &got, NULL));
		ck_assert_msg(got == rows[i].want, "\"%s\" is %d", rows[i].value, (int)got);
	}
}
END_TEST

START_TEST(other_and_several_codings_are_refused_with_the_list)
{
	static const char *const rows[] = { "deflate",   "br",       "gzip, gzip",    "gzip,zstd",
					    "gzip zstd", "gzip;q=1", "gzip, deflate", "gzi",
					    "gzipp",     "\"gzip\"", "identity, gzip" };
	for (size_t i = 0; i < COUNT(rows); i++) {
		enum encoding got = ENCODING_COUNT;
		struct err e = { "" };
		enum status st = http_parse_encoding(rows[i], &got, &e);
		ck_assert_msg(st == ST_UNSUPPORTED, "\"%s\" gives %s", rows[i], status_name(st));
		ck_assert_int_eq(got, ENCODING_COUNT);
		ck_assert_ptr_nonnull(strstr(e.text, rows[i]));
		ck_assert_ptr_nonnull(strstr(e.text, "gzip, zstd, identity"));
	}
}
END_TEST

START_TEST(a_message_repeats_only_the_start_of_a_long_value)
{
	char value[2000];
	memset(value, 'x', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	enum encoding coding = ENCODING_NONE;
	enum http_media media = HTTP_MEDIA_OTHER;
	struct err e = { "" };
	EXPECT_STATUS(http_parse_encoding(value, &coding, &e), ST_UNSUPPORTED);
	ck_assert_uint_lt(strlen(e.text), 200);
	EXPECT_STATUS(http_parse_media(value, &media, &e), ST_UNSUPPORTED);
	ck_assert_uint_lt(strlen(e.text), 200);
}
END_TEST

START_TEST(lengths_are_decimal_and_never_wrap)
{
	uint64_t n = 0;
	EXPECT_OK(http_parse_length("0", &n));
	ck_assert_uint_eq(n, 0);
	EXPECT_OK(http_parse_length("67108864", &n));
	ck_assert_uint_eq(n, 67108864);
	EXPECT_OK(http_parse_length("18446744073709551614", &n));
	ck_assert(n == UINT64_MAX - 1);
	EXPECT_OK(http_parse_length("18446744073709551616", &n));
	ck_assert(n == UINT64_MAX);
	EXPECT_OK(http_parse_length("99999999999999999999999999", &n));
	ck_assert(n == UINT64_MAX);
	n = 7;
	static const char *const bad[] = { "", " 1", "1 ", "-1", "+1", "0x10", "1,1", "1.0" };
	for (size_t i = 0; i < COUNT(bad); i++)
		EXPECT_STATUS(http_parse_length(bad[i], &n), ST_INVALID);
	ck_assert_uint_eq(n, 7);
}
END_TEST

START_TEST(a_token_is_the_whole_value)
{
	ck_assert(http_is_token("chunked", "chunked"));
	ck_assert(http_is_token("Chunked", "chunked"));
	ck_assert(!http_is_token("chunked ", "chunked"));
	ck_assert(!http_is_token("\tchunked", "chunked"));
	ck_assert(!http_is_token("gzip, chunked", "chunked"));
	ck_assert(!http_is_token("chunked, chunked", "chunked"));
	ck_assert(!http_is_token("chunke", "chunked"));
	ck_assert(!http_is_token("", "chunked"));
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		media_types_are_taken_in_every_spelling,
		other_media_types_are_refused_in_words,
		one_content_coding_is_taken,
		other_and_several_codings_are_refused_with_the_list,
		a_message_repeats_only_the_start_of_a_long_value,
		lengths_are_decimal_and_never_wrap,
		a_token_is_the_whole_value,
	};
	return run_cases("http_headers", cases, COUNT(cases));
}
