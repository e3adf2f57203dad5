/* What the wire layer promises: it reads what protobuf allows and nothing past the end, says what
 * is wrong and where, and writes every length in its shortest form. */
#include "gateway/telemetry/otlp_schema.h"
#include "gateway/telemetry/utf8.h"
#include "gateway/telemetry/wire.h"
#include "tests/support/expect.h"

static const uint64_t numbers[] = { 0,
				    1,
				    127,
				    128,
				    16383,
				    16384,
				    UINT32_MAX,
				    (UINT64_C(1) << 56) - 1,
				    UINT64_C(1) << 56,
				    (UINT64_C(1) << 63) - 1,
				    UINT64_C(1) << 63,
				    UINT64_MAX };

START_TEST(a_number_comes_back_and_its_size_is_known_before)
{
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		struct buf b;
		buf_init(&b, 10, NULL);
		EXPECT_OK(wire_put_varint(&b, numbers[i]));
		ck_assert_uint_eq(b.n, wire_varint_size(numbers[i]));
		uint64_t v = 0;
		ck_assert_ptr_eq(wire_varint(b.p, b.p + b.n, &v), b.p + b.n);
		ck_assert_uint_eq(v, numbers[i]);
		for (size_t n = 0; n < b.n; n++) {
			ck_assert_ptr_null(wire_varint(b.p, b.p + n, &v));
			ck_assert_int_eq(wire_varint_fault(b.p, b.p + n), WIRE_CUT_VARINT);
		}
		ck_assert_int_eq(wire_unzigzag(wire_zigzag((int64_t)numbers[i])),
				 (int64_t)numbers[i]);
		buf_done(&b);
	}
}
END_TEST

START_TEST(damage_is_named_at_its_byte)
{
	static const struct {
		const char *what;
		const char *bytes;
		size_t n;
		enum wire_fault fault;
		ptrdiff_t at;
	} cases[] = {
		{ "a tag without its value", "\x08", 1, WIRE_CUT_VARINT, 1 },
		{ "a varint that does not end", "\x08\x80", 2, WIRE_CUT_VARINT, 1 },
		{ "a varint of eleven bytes", "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
		  12, WIRE_LONG_VARINT, 1 },
		{ "a varint of 65 bits", "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11,
		  WIRE_LONG_VARINT, 1 },
		{ "field number 0", "\x00\x00", 2, WIRE_BAD_NUMBER, 0 },
		{ "field number 0 with a length", "\x02\x00", 2, WIRE_BAD_NUMBER, 0 },
		{ "a tag past 32 bits", "\x88\x80\x80\x80\x10\x00", 6, WIRE_BAD_NUMBER, 0 },
		{ "a tag of six bytes", "\x88\x80\x80\x80\x80\x00\x00", 7, WIRE_BAD_NUMBER, 0 },
		{ "a group's start", "\x0b\x0c", 2, WIRE_GROUP, 0 },
		{ "a group's end", "\x0c", 1, WIRE_GROUP, 0 },
		{ "wire type 6", "\x0e\x00", 2, WIRE_BAD_TYPE, 0 },
		{ "wire type 7", "\x0f", 1, WIRE_BAD_TYPE, 0 },
		{ "seven bytes of eight", "\x09\x01\x02\x03\x04\x05\x06\x07", 8, WIRE_CUT_FIXED,
		  1 },
		{ "three bytes of four", "\x0d\x01\x02\x03", 4, WIRE_CUT_FIXED, 1 },
		{ "a length one too long", "\x0a\x03\x61\x62", 4, WIRE_LYING_LENGTH, 1 },
		{ "a length near 2^64", "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11,
		  WIRE_LYING_LENGTH, 1 },
		{ "a length of six bytes", "\x0a\x81\x80\x80\x80\x80\x00x", 8, WIRE_LONG_LENGTH,
		  1 },
		{ "damage behind a good field", "\x08\x01\x0a\x01", 4, WIRE_LYING_LENGTH, 3 },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct wire_reader r = wire_reader_of(bytes_of(cases[i].bytes, cases[i].n));
		struct wire_field f;
		while (wire_next(&r, &f))
			;
		ck_assert_msg(r.fault == cases[i].fault, "%s: %s", cases[i].what,
			      wire_fault_text(r.fault));
		ck_assert_msg(r.fault_at - (const uint8_t *)cases[i].bytes == cases[i].at,
			      "%s: fault at another byte", cases[i].what);
		ck_assert_msg(!wire_next(&r, &f), "%s: reading went on", cases[i].what);
	}
}
END_TEST

START_TEST(lengths_are_mended_whatever_was_expected)
{
	static const size_t sizes[] = { 0, 1, 127, 128, 300, 16383, 16384, 70000 };
	enum { COUNT = sizeof(sizes) / sizeof(sizes[0]) };
	for (size_t expect = 0; expect < COUNT; expect++) {
		for (size_t actual = 0; actual < COUNT; actual++) {
			struct buf b;
			struct wire_open open;
			buf_init(&b, 1 << 20, NULL);
			EXPECT_OK(buf_append_str(&b, "before"));
			EXPECT_OK(wire_begin(&b, 3, sizes[expect], &open));
			for (size_t i = 0; i < sizes[actual]; i++)
				EXPECT_OK(buf_append_byte(&b, (uint8_t)i));
			EXPECT_OK(wire_end(&b, &open));
			EXPECT_OK(buf_append_byte(&b, 0x7e));
			struct wire_reader r = wire_reader_of(bytes_of(b.p + 6, b.n - 7));
			struct wire_field f;
			ck_assert(wire_next(&r, &f));
			ck_assert_uint_eq(f.number, 3);
			ck_assert_uint_eq(f.bytes.n, sizes[actual]);
			for (size_t i = 0; i < f.bytes.n; i++)
				ck_assert_uint_eq(f.bytes.p[i], (uint8_t)i);
			ck_assert_uint_eq(f.whole.n,
					  1 + wire_varint_size(sizes[actual]) + sizes[actual]);
			ck_assert(!wire_next(&r, &f) && !r.fault);
			ck_assert_uint_eq(b.p[b.n - 1], 0x7e);
			buf_done(&b);
		}
	}
}
END_TEST

START_TEST(utf8_is_judged_as_strictly_as_go_does)
{
	static const struct {
		const char *what;
		const char *text;
		size_t n;
		size_t good;
	} cases[] = {
		{ "nothing", "", 0, 0 },
		{ "ASCII", "a plain sentence", 16, 16 },
		{ "a NUL", "a\0b", 3, 3 },
		{ "two, three and four bytes", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x8c\x8a", 9, 9 },
		{ "the last character", "\xf4\x8f\xbf\xbf", 4, 4 },
		{ "past the last character", "\xf4\x90\x80\x80", 4, 0 },
		{ "a surrogate", "ab\xed\xa0\x80", 5, 2 },
		{ "NUL in two bytes", "\xc0\x80", 2, 0 },
		{ "a slash in two bytes", "\xc1\xaf", 2, 0 },
		{ "an overlong form of three", "\xe0\x9f\xbf", 3, 0 },
		{ "an overlong form of four", "\xf0\x8f\xbf\xbf", 4, 0 },
		{ "a lonely continuation", "abcdefgh\x80", 9, 8 },
		{ "a cut character", "abcdefghi\xe2\x82", 11, 9 },
		{ "Latin-1", "caf\xe9 au lait", 12, 3 },
		{ "0xff", "\xff", 1, 0 },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct bytes s = bytes_of(cases[i].text, cases[i].n);
		ck_assert_msg(utf8_valid_prefix(s) == cases[i].good, "%s", cases[i].what);
		bool is_ascii = true;
		for (size_t k = 0; k < s.n; k++)
			is_ascii &= s.p[k] < 0x80;
		ck_assert_msg(utf8_is_ascii(s) == is_ascii, "%s", cases[i].what);
	}
}
END_TEST

START_TEST(one_high_byte_is_seen_wherever_it_stands)
{
	for (size_t n = 1; n < 40; n++) {
		for (size_t at = 0; at < n; at++) {
			uint8_t text[40];
			memset(text, 'x', n);
			text[at] = 0x80;
			ck_assert(!utf8_is_ascii(bytes_of(text, n)));
			ck_assert_uint_eq(utf8_valid_prefix(bytes_of(text, n)), at);
		}
	}
}
END_TEST

START_TEST(a_cut_ends_between_characters_and_cleaning_leaves_only_utf8)
{
	struct bytes s = bytes_str("ab\xe2\x82\xac");
	ck_assert_uint_eq(utf8_cut(s, 5).n, 5);
	ck_assert_uint_eq(utf8_cut(s, 4).n, 2);
	ck_assert_uint_eq(utf8_cut(s, 3).n, 2);
	ck_assert_uint_eq(utf8_cut(s, 2).n, 2);
	ck_assert_uint_eq(utf8_cut(s, 0).n, 0);
	struct buf b;
	buf_init(&b, 100, NULL);
	EXPECT_OK(utf8_append_clean(&b, bytes_str("a\xff\xe2\x82z")));
	ck_assert(bytes_equal(buf_view(&b), bytes_str("a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz")));
	buf_done(&b);
}
END_TEST

START_TEST(every_character_encodes_to_valid_utf8)
{
	uint32_t bad = 0; /* a check for each would take seconds */
	for (uint32_t c = 0; c <= 0x10ffff; c++) {
		if (c >= 0xd800 && c <= 0xdfff)
			continue;
		uint8_t p[4];
		size_t n = utf8_encode(c, p);
		bad += !utf8_is_valid(bytes_of(p, n));
	}
	ck_assert_uint_eq(bad, 0);
}
END_TEST

START_TEST(the_schema_knows_names_types_and_oneofs)
{
	const struct otlp_message *request = otlp_request(SIGNAL_METRICS);
	const struct otlp_field *f = otlp_field_of(request, 1);
	ck_assert_str_eq(f->json_name, "resourceMetrics");
	f = otlp_field_of(otlp_field_of(otlp_field_of(f->message, 2)->message, 2)->message, 10);
	ck_assert_str_eq(f->name, "exponential_histogram");
	ck_assert_uint_ne(f->oneof, 0);
	const struct otlp_message *point = otlp_field_of(f->message, 1)->message;
	ck_assert_str_eq(otlp_field_of(point, 6)->name, "scale");
	ck_assert_int_eq(otlp_field_of(point, 6)->type, OTLP_SINT32);
	ck_assert_uint_ne(otlp_field_of(point, 5)->oneof, otlp_field_of(point, 12)->oneof);
	ck_assert_ptr_null(otlp_field_of(point, 15));
	ck_assert_ptr_null(otlp_field_of(point, 0));
	ck_assert_ptr_null(otlp_field_of(point, UINT32_MAX));
	const struct otlp_message *exemplar = otlp_field_of(point, 11)->message;
	ck_assert(otlp_field_of(exemplar, 5)->is_hex);
	ck_assert_uint_eq(otlp_field_of(exemplar, 3)->oneof, otlp_field_of(exemplar, 6)->oneof);
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		a_number_comes_back_and_its_size_is_known_before,
		damage_is_named_at_its_byte,
		lengths_are_mended_whatever_was_expected,
		utf8_is_judged_as_strictly_as_go_does,
		one_high_byte_is_seen_wherever_it_stands,
		a_cut_ends_between_characters_and_cleaning_leaves_only_utf8,
		every_character_encodes_to_valid_utf8,
		the_schema_knows_names_types_and_oneofs,
	};
	return run_cases("wire", cases, sizeof(cases) / sizeof(cases[0]));
}
