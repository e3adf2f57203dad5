/* What grpc_status and grpc_health promise: header texts as gRPC's documents have them, and a
 * health request that is damaged is said to be so. */
#include "gateway/base/grpc_status.h"
#include "gateway/base/now.h"
#include "gateway/ingest/grpc_health.h"
#include "tests/support/expect.h"

static void expect_text(struct buf *b, const char *want)
{
	ck_assert_msg(bytes_equal(buf_view(b), bytes_str(want)), "got \"%.*s\", want \"%s\"",
		      (int)b->n, (const char *)b->p, want);
	buf_done(b);
}

START_TEST(a_message_is_percent_encoded)
{
	static const char *const rows[][2] = {
		{ "", "" },
		{ "plain text, as it is: ~!", "plain text, as it is: ~!" },
		{ "100%", "100%25" },
		{ "a\nb\tc\x7f", "a%0Ab%09c%7F" },
		{ "gr\xc3\xbc\xc3\x9f", "gr%C3%BC%C3%9F" },
		{ "\xff\x01", "%FF%01" },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf out;
		buf_init(&out, 100, NULL);
		EXPECT_OK(grpc_message_encode(&out, rows[i][0]));
		expect_text(&out, rows[i][1]);
	}
	struct buf small;
	buf_init(&small, 10, NULL);
	EXPECT_STATUS(grpc_message_encode(&small, "eleven chars"), ST_TOO_LARGE);
	buf_done(&small);
}
END_TEST

START_TEST(binary_headers_are_base64_without_padding)
{
	/* RFC 4648, 10, less the padding; and the two digits that are not letters or numbers. */
	static const char *const rows[][2] = {
		{ "", "" },
		{ "f", "Zg" },
		{ "fo", "Zm8" },
		{ "foo", "Zm9v" },
		{ "foob", "Zm9vYg" },
		{ "fooba", "Zm9vYmE" },
		{ "foobar", "Zm9vYmFy" },
		{ "\xfb\xff\xfe", "+//+" },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf out;
		buf_init(&out, 100, NULL);
		EXPECT_OK(grpc_base64_encode(&out, bytes_str(rows[i][0])));
		expect_text(&out, rows[i][1]);
	}
}
END_TEST

START_TEST(what_was_percent_encoded_comes_back)
{
	static const char *const rows[][2] = {
		{ "", "" },
		{ "100%25 later", "100% later" },
		{ "gr%C3%BC%c3%9f", "gr\xc3\xbc\xc3\x9f" },
		{ "50%", "50%" },
		{ "%4", "%4" },
		{ "%zz%4g%41", "%zz%4gA" },
		{ "%%41", "%A" },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf out;
		buf_init(&out, 100, NULL);
		EXPECT_OK(grpc_message_decode(&out, bytes_str(rows[i][0])));
		expect_text(&out, rows[i][1]);
	}
	struct buf small;
	buf_init(&small, 3, NULL);
	EXPECT_STATUS(grpc_message_decode(&small, bytes_str("%41%41%41%41")), ST_TOO_LARGE);
	buf_done(&small);
}
END_TEST

START_TEST(base64_is_read_with_and_without_padding)
{
	static const char *const good[][2] = {
		{ "", "" },        { "Zg", "f" },
		{ "Zg==", "f" },   { "Zm8=", "fo" },
		{ "Zm9v", "foo" }, { "Zm9vYmFy", "foobar" },
		{ "Zm8", "fo" },   { "+//+", "\xfb\xff\xfe" },
	};
	static const char *const bad[] = { "Z", "Zm9vY", "Zm 9", "Zg=g", "Zg-_" };
	struct buf out;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		buf_init(&out, 100, NULL);
		EXPECT_OK(grpc_base64_decode(&out, bytes_str(good[i][0])));
		expect_text(&out, good[i][1]);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		buf_init(&out, 100, NULL);
		EXPECT_STATUS(grpc_base64_decode(&out, bytes_str(bad[i])), ST_INVALID);
		buf_done(&out);
	}
}
END_TEST

START_TEST(a_timeout_is_written_so_that_it_can_be_read)
{
	static const struct {
		int64_t ns;
		const char *want;
	} rows[] = {
		{ 100 * NS_PER_MS, "100m" },         { 600 * NS_PER_S, "600000m" },
		{ 99999 * NS_PER_S, "99999000m" },   { 20 * 3600 * NS_PER_S, "72000000m" },
		{ 48 * 3600 * NS_PER_S, "172800S" }, { INT64_MAX, "2562047H" },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[GRPC_TIMEOUT_SIZE];
		int64_t back = 0;
		grpc_timeout_write(rows[i].ns, text);
		ck_assert_str_eq(text, rows[i].want);
		EXPECT_OK(grpc_timeout_parse(bytes_str(text), &back));
		ck_assert_int_le(back, rows[i].ns);
	}
}
END_TEST

START_TEST(every_code_has_its_name)
{
	ck_assert_str_eq(grpc_status_text(0), "OK");
	ck_assert_str_eq(grpc_status_text(14), "UNAVAILABLE");
	ck_assert_str_eq(grpc_status_text(16), "UNAUTHENTICATED");
	ck_assert_str_eq(grpc_status_text(17), "UNKNOWN");
	ck_assert_str_eq(grpc_status_text(-1), "UNKNOWN");
}
END_TEST

START_TEST(a_timeout_has_digits_and_a_unit)
{
	static const struct {
		const char *text;
		int64_t ns; /* -1: invalid */
	} rows[] = {
		{ "1H", 3600 * NS_PER_S },
		{ "2M", 120 * NS_PER_S },
		{ "10S", 10 * NS_PER_S },
		{ "250m", 250 * NS_PER_MS },
		{ "99999999u", INT64_C(99999999000) },
		{ "0n", 0 },
		{ "00000001n", 1 },
		{ "99999999H", INT64_MAX },
		{ "", -1 },
		{ "S", -1 },
		{ "5", -1 },
		{ "5s", -1 },
		{ "-1S", -1 },
		{ "1 S", -1 },
		{ "1.5S", -1 },
		{ "123456789n", -1 },
		{ "12SS", -1 },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int64_t ns = -1;
		enum status st = grpc_timeout_parse(bytes_str(rows[i].text), &ns);
		ck_assert_msg(st == (rows[i].ns < 0 ? ST_INVALID : ST_OK) && ns == rows[i].ns,
			      "\"%s\" gives %s, %lld", rows[i].text, status_name(st),
			      (long long)ns);
	}
}
END_TEST

START_TEST(a_health_request_names_a_service)
{
	static const struct {
		const char *promise;
		uint8_t in[16];
		size_t n;
		const char *service; /* NULL: invalid */
	} rows[] = {
		{ "nothing means the whole server", { 0 }, 0, "" },
		{ "the name is field 1", { 0x0a, 2, 'a', 'b' }, 4, "ab" },
		{ "the last name wins", { 0x0a, 1, 'a', 0x0a, 1, 'b' }, 6, "b" },
		{ "unknown fields are passed over",
		  { 0x10, 0x80, 1, 0x1d, 1, 2, 3, 4, 0x0a, 1, 'c' },
		  11,
		  "c" },
		{ "a length beyond the end is damage", { 0x0a, 3, 'a', 'b' }, 4, NULL },
		{ "a cut key is damage", { 0x8a }, 1, NULL },
		{ "a cut varint is damage", { 0x10, 0x80 }, 2, NULL },
		{ "a cut fixed value is damage", { 0x11, 1, 2 }, 3, NULL },
		{ "groups are damage", { 0x0b, 0x0c }, 2, NULL },
		{ "a varint without end is damage",
		  { 0x10, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1 },
		  12,
		  NULL },
		{ "a length of 2^64-1 is damage",
		  { 0x0a, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 'a' },
		  12,
		  NULL },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct bytes service = bytes_str("unset");
		struct err e = { 0 };
		enum status st = grpc_health_read(bytes_of(rows[i].in, rows[i].n), &service, &e);
		ck_assert_msg(
			st == (rows[i].service ? ST_OK : ST_INVALID) &&
				bytes_equal(service,
					    bytes_str(rows[i].service ? rows[i].service : "unset")),
			"%s: %s %.*s (%s)", rows[i].promise, status_name(st), (int)service.n,
			(const char *)service.p, e.text);
	}
}
END_TEST

START_TEST(the_otlp_services_are_known)
{
	static const char *const known[] = {
		"",
		"opentelemetry.proto.collector.trace.v1.TraceService",
		"opentelemetry.proto.collector.metrics.v1.MetricsService",
		"opentelemetry.proto.collector.logs.v1.LogsService",
	};
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		ck_assert(grpc_health_is_known(bytes_str(known[i])));
	ck_assert(!grpc_health_is_known(bytes_str("opentelemetry")));
	ck_assert(!grpc_health_is_known(bytes_str("/")));
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		a_message_is_percent_encoded,
		binary_headers_are_base64_without_padding,
		what_was_percent_encoded_comes_back,
		base64_is_read_with_and_without_padding,
		a_timeout_is_written_so_that_it_can_be_read,
		every_code_has_its_name,
		a_timeout_has_digits_and_a_unit,
		a_health_request_names_a_service,
		the_otlp_services_are_known,
	};
	return run_cases("grpc_status", cases, sizeof(cases) / sizeof(cases[0]));
}
