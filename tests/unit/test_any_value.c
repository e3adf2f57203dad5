/* Attribute values as text, and the shortest decimals. */
#include "gateway/telemetry/any_value.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "gateway/telemetry/wire.h"
#include "tests/support/expect.h"

static struct buf in;
static struct buf out;

static void begin(void)
{
	buf_init(&in, 1 << 20, NULL);
	buf_init(&out, 1 << 20, NULL);
}

static void end(void)
{
	buf_done(&in);
	buf_done(&out);
}

static void check_text(const char *want)
{
	EXPECT_OK(any_value_text(buf_view(&in), &out));
	EXPECT_OK(buf_append_byte(&out, 0));
	ck_assert_str_eq((char *)out.p, want);
	buf_clear(&in);
	buf_clear(&out);
}

static void put_double(double v)
{
	uint64_t bits;
	memcpy(&bits, &v, sizeof(bits));
	EXPECT_OK(wire_put_tag(&in, 4, WIRE_FIXED64));
	EXPECT_OK(wire_put_fixed64(&in, bits));
}

START_TEST(a_value_is_written)
{
	begin();
	check_text("");
	EXPECT_OK(wire_put_bytes(&in, 1, bytes_str("a \"b\"")));
	check_text("a \"b\"");
	EXPECT_OK(wire_put_number(&in, 2, 1));
	check_text("true");
	EXPECT_OK(wire_put_number(&in, 3, (uint64_t)INT64_MIN));
	check_text("-9223372036854775808");
	EXPECT_OK(wire_put_number(&in, 3, 0));
	check_text("0");
	EXPECT_OK(wire_put_bytes(&in, 7, bytes_str("\x01\x02\xff")));
	check_text("AQL/");
	/* The last member of a oneof counts; other wire types are unknown fields. */
	EXPECT_OK(wire_put_number(&in, 3, 5));
	EXPECT_OK(wire_put_bytes(&in, 1, bytes_str("x")));
	EXPECT_OK(wire_put_number(&in, 1, 7));
	check_text("x");
	end();
}
END_TEST

START_TEST(a_double_is_written)
{
	static const struct {
		double v;
		const char *want;
	} cases[] = {
		{ 0.5, "0.5" },
		{ 0.1, "0.1" },
		{ 100, "100" },
		{ -1.25, "-1.25" },
		{ 1e20, "100000000000000000000" },
		{ 1e21, "1e+21" },
		{ 1e-6, "0.000001" },
		{ 1.5e-7, "1.5e-07" },
		{ -2.5e100, "-2.5e+100" },
		{ INFINITY, "+Inf" },
		{ -INFINITY, "-Inf" },
		{ NAN, "NaN" },
		{ 0.30000000000000004, "0.30000000000000004" },
	};
	begin();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		put_double(cases[i].v);
		check_text(cases[i].want);
	}
	end();
}
END_TEST

static void put_item(const char *key, uint32_t member, struct bytes value)
{
	struct wire_open item;
	struct wire_open any;
	EXPECT_OK(wire_begin(&in, 1, 8, &item));
	if (key) {
		EXPECT_OK(wire_put_bytes(&in, 1, bytes_str(key)));
		EXPECT_OK(wire_begin(&in, 2, 8, &any));
	}
	if (value.p)
		EXPECT_OK(wire_put_bytes(&in, member, value));
	if (key)
		EXPECT_OK(wire_end(&in, &any));
	EXPECT_OK(wire_end(&in, &item));
}

START_TEST(lists_and_maps_are_json)
{
	struct wire_open list;
	begin();
	EXPECT_OK(wire_begin(&in, 5, 8, &list));
	put_item(NULL, 1, bytes_str("a\n"));
	put_item(NULL, 1, bytes_of(NULL, 0));
	put_item(NULL, 7, bytes_str("\x01"));
	put_item(NULL, 5, bytes_of("", 0));
	EXPECT_OK(wire_end(&in, &list));
	check_text("[\"a\\n\",null,\"AQ==\",[]]");
	EXPECT_OK(wire_begin(&in, 6, 8, &list));
	put_item("k", 1, bytes_str("v"));
	put_item("m", 6, bytes_of("", 0));
	EXPECT_OK(wire_end(&in, &list));
	check_text("{\"k\":\"v\",\"m\":{}}");
	end();
}
END_TEST

START_TEST(damage_and_depth_are_refused)
{
	begin();
	EXPECT_OK(buf_append(&in, bytes_of("\x0a\x05x", 3)));
	EXPECT_STATUS(any_value_text(buf_view(&in), &out), ST_INVALID);
	/* [[[...]]]: each level a list of one value. */
	buf_clear(&in);
	struct buf outer;
	buf_init(&outer, 1 << 20, NULL);
	for (int i = 0; i < 200; i++) {
		buf_clear(&outer);
		EXPECT_OK(wire_put_bytes(&outer, 1, buf_view(&in)));
		buf_clear(&in);
		EXPECT_OK(wire_put_bytes(&in, 5, buf_view(&outer)));
	}
	buf_clear(&out);
	EXPECT_STATUS(any_value_text(buf_view(&in), &out), ST_INVALID);
	buf_done(&outer);
	end();
}
END_TEST

START_TEST(a_fixed_number_has_no_exponent)
{
	static const struct {
		double v;
		const char *want;
	} cases[] = {
		{ 5, "5" },
		{ 0.005, "0.005" },
		{ 2.5, "2.5" },
		{ 1e15, "1000000000000000" },
		{ 1e22, "10000000000000000000000" },
		{ 1e-9, "0.000000001" },
		{ 0, "0" },
		{ -0.0, "-0" },
		{ -0.75, "-0.75" },
		{ INFINITY, "+Inf" },
		{ 123456.789, "123456.789" },
		{ 9007199254740993.0, "9007199254740992" },
	};
	char text[NUMBER_TEXT_MAX];
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		text[any_value_fixed(cases[i].v, text)] = '\0';
		ck_assert_str_eq(text, cases[i].want);
	}
	/* The longest there are, and they read back. */
	const double edges[] = { DBL_MAX, -DBL_MAX, DBL_MIN, -5e-324 };
	for (size_t i = 0; i < sizeof(edges) / sizeof(edges[0]); i++) {
		size_t n = any_value_fixed(edges[i], text);
		ck_assert_uint_lt(n, NUMBER_TEXT_MAX);
		text[n] = '\0';
		ck_assert(strtod(text, NULL) == edges[i]);
	}
}
END_TEST

int main(void)
{
	const TTest *const cases[] = { a_value_is_written, a_double_is_written,
				       lists_and_maps_are_json, damage_and_depth_are_refused,
				       a_fixed_number_has_no_exponent };
	return run_cases("any_value", cases, sizeof(cases) / sizeof(cases[0]));
}
