/* Uplinks in the configuration: right ones give their values, wrong ones say where and what. */
#include <stdio.h>
#include <stdlib.h>

#include "gateway/base/config.h"
#include "gateway/base/now.h"
#include "schema/vocabulary.h"
#include "tests/support/expect.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct config *parse(const char *yaml)
{
	struct config *c = NULL;
	struct err e = { 0 };
	enum status st = config_parse("t.yaml", bytes_str(yaml), &c, &e);
	ck_assert_msg(st == ST_OK, "%s\nin:\n%s", err_text(&e, st), yaml);
	return c;
}

START_TEST(the_default_uplink_is_there_and_has_no_limits)
{
	static const char *const files[] = { "", "uplinks:\n", "uplinks: {}\n",
					     "uplinks: {default: }\n" };
	for (size_t i = 0; i < COUNT(files); i++) {
		struct config *c = parse(files[i]);
		ck_assert_uint_eq(c->uplink_count, 1);
		const struct uplink_config *u = &c->uplinks[0];
		ck_assert_str_eq(u->name, "default");
		ck_assert_uint_eq(u->rate, 0);
		ck_assert_uint_eq(u->daily_budget, 0);
		ck_assert_uint_eq(u->monthly_budget, 0);
		ck_assert_int_eq(u->slow_start, 30 * NS_PER_S);
		ck_assert_int_eq(u->budget_reserve, 10);
		ck_assert(week_is_empty(&u->week));
		ck_assert_uint_eq(u->windows_exempt_mask, 0);
		ck_assert_uint_eq(u->budget_exempt_mask, 0);
		config_free(c);
	}
}
END_TEST

START_TEST(an_uplink_takes_what_the_file_says)
{
	struct config *c =
		parse("uplinks:\n"
		      "  satellite:\n"
		      "    rate: 256kbit/s\n"
		      "    burst: 64KiB\n"
		      "    daily_budget: 50MB\n"
		      "    monthly_budget: 1GB\n"
		      "    budget_reserve: 25\n"
		      "    budget_exempt: critical\n"
		      "    windows: [\"01:00-05:00\", \"sat,sun\"]\n"
		      "    windows_exempt: [critical, warning]\n"
		      "    shares: {critical: 50, warning: 30, info: 20}\n"
		      "    slow_start: 2m\n"
		      "  modem: {rate: 32KiB/s, slow_start: 0}\n"
		      "destinations:\n"
		      "  a: {kind: otlp_http, endpoint: \"http://h\", uplink: satellite}\n"
		      "  b: {kind: otlp_http, endpoint: \"http://h\"}\n"
		      "  c: {kind: file, path: x}\n");
	ck_assert_uint_eq(c->uplink_count, 3);
	const struct uplink_config *u = &c->uplinks[0];
	ck_assert_str_eq(u->name, "satellite");
	ck_assert_int_eq(u->place.line, 2);
	ck_assert_uint_eq(u->rate, 32000);
	ck_assert_uint_eq(u->burst, 64 << 10);
	ck_assert_uint_eq(u->daily_budget, 50000000);
	ck_assert_uint_eq(u->monthly_budget, 1000000000);
	ck_assert_int_eq(u->budget_reserve, 25);
	ck_assert_uint_eq(u->budget_exempt_mask, 1u << RECORD_CLASS_CRITICAL);
	ck_assert_uint_eq(u->windows_exempt_mask,
			  1u << RECORD_CLASS_CRITICAL | 1u << RECORD_CLASS_WARNING);
	ck_assert(!week_is_empty(&u->week));
	ck_assert_int_eq(u->share_critical, 50);
	ck_assert_int_eq(u->share_warning, 30);
	ck_assert_int_eq(u->share_info, 20);
	ck_assert_int_eq(u->slow_start, 120 * NS_PER_S);
	ck_assert_uint_eq(c->uplinks[1].rate, 32 << 10);
	ck_assert_str_eq(c->uplinks[2].name, "default");
	ck_assert_str_eq(c->destinations[0].uplink, "satellite");
	ck_assert_str_eq(c->destinations[1].uplink, "default");
	config_free(c);
}
END_TEST

START_TEST(what_is_written_is_read_again)
{
	struct buf one;
	struct buf two;
	buf_init(&one, 1 << 20, NULL);
	buf_init(&two, 1 << 20, NULL);
	struct config *c = parse("uplinks: {s: {rate: 2Mbit/s, windows: [mon-fri 22:00-06:00], "
				 "budget_exempt: [critical]}, t: {rate: 1500}}\n"
				 "destinations: {a: {kind: otlp_http, endpoint: 'http://h', "
				 "uplink: s}}\n");
	EXPECT_OK(config_write(c, &one));
	config_free(c);
	EXPECT_OK(buf_append_byte(&one, 0));
	ck_assert_ptr_nonnull(strstr((const char *)one.p, "    rate: 250kB/s\n"));
	c = parse((const char *)one.p);
	EXPECT_OK(config_write(c, &two));
	EXPECT_OK(buf_append_byte(&two, 0));
	ck_assert_str_eq((const char *)one.p, (const char *)two.p);
	config_free(c);
	buf_done(&one);
	buf_done(&two);
}
END_TEST

static const struct {
	const char *yaml;
	const char *message;
} refused[] = {
	{ "uplinks: [a]", "t.yaml:1:10: uplinks is a mapping of names to uplinks" },
	{ "uplinks: {A: {}}", "t.yaml:1:11: uplink \"A\": a name is 1 to 63 of the characters a-z "
			      "0-9 _ -" },
	{ "uplinks: {a: 5}", "t.yaml:1:14: uplink a is a mapping, with rate, windows and so on" },
	{ "uplinks:\n  a:\n    rat: 1KiB", "t.yaml:3:5: rat is no key; did you mean rate?" },
	{ "uplinks: {a: {shares: {critcal: 1}}}",
	  "t.yaml:1:24: shares.critcal is no key; did you mean critical?" },
	{ "uplinks: {a: {rate: fast}}", "t.yaml:1:21: rate: \"fast\" is no rate: write a whole "
					"number and a unit, as in 256KiB/s or 2Mbit/s" },
	{ "uplinks: {a: {rate: 2Mbit}}", "t.yaml:1:21: rate: \"2Mbit\" is no rate: write a whole "
					 "number and a unit, as in 256KiB/s or 2Mbit/s" },
	{ "uplinks: {a: {rate: 256}}", "t.yaml:1:21: uplink a: rate is 256 bytes: is a unit "
				       "missing? The least is 512B/s, and 0 is no limit" },
	{ "uplinks: {a: {daily_budget: 50}}",
	  "t.yaml:1:29: uplink a: daily_budget is 50 bytes: is a unit missing? The least is 1MiB, "
	  "and 0 is no limit" },
	{ "uplinks: {a: {monthly_budget: 1GiB, daily_budget: 2GiB}}",
	  "t.yaml:1:51: uplink a: daily_budget is more than monthly_budget" },
	{ "uplinks: {a: {windows: [\"01:00-05:00\", \"mo 1-5\"]}}",
	  "t.yaml:1:40: uplink a: windows: \"mo 1-5\" is no window: write days (mon-fri, "
	  "sat,sun), hours (01:00-05:00, up to 24:00), or both, as in mon-fri 22:00-06:00" },
	{ "uplinks: {a: {windows_exempt: [critical, urgent]}}",
	  "t.yaml:1:42: uplink a: windows_exempt: \"urgent\" is no class; known here: critical, "
	  "warning, info" },
	{ "uplinks: {a: {budget_exempt: critcal}}",
	  "t.yaml:1:30: uplink a: budget_exempt: \"critcal\" is no class; did you mean critical?" },
	{ "uplinks: {a: {budget_reserve: 91}}",
	  "t.yaml:1:31: budget_reserve: 91 is out of range: it must be from 0 to 90" },
	{ "uplinks: {a: {shares: {info: 0}}}",
	  "t.yaml:1:30: shares.info: 0 is out of range: it must be from 1 to 1000" },
	{ "uplinks: {sat: {}}\ndestinations: {a: {kind: otlp_http, endpoint: 'http://h', "
	  "uplink: sta}}",
	  "t.yaml:2:67: destination a: there is no uplink \"sta\"; did you mean sat?" },
	{ "destinations: {a: {kind: file, path: x, uplink: default}}",
	  "t.yaml:1:41: destination a: uplink is no key of its kind, but of otlp_http" },
};

START_TEST(what_is_wrong_is_said_with_its_place)
{
	for (size_t i = 0; i < COUNT(refused); i++) {
		struct config *c = NULL;
		struct err e = { 0 };
		EXPECT_STATUS(config_parse("t.yaml", bytes_str(refused[i].yaml), &c, &e),
			      ST_INVALID);
		/* The last one's list of kinds grows. */
		ck_assert_msg(strncmp(e.text, refused[i].message, strlen(refused[i].message)) == 0,
			      "%s\nsays: %s\nnot:  %s", refused[i].yaml, e.text,
			      refused[i].message);
	}
}
END_TEST

START_TEST(there_are_not_too_many)
{
	struct config *c = NULL;
	struct err e = { 0 };
	struct buf text;
	buf_init(&text, 4096, NULL);
	for (int i = 0; i < 17; i++)
		EXPECT_OK(buf_printf(&text, "%s u%d: {}\n", i ? "" : "uplinks:\n", i));
	EXPECT_STATUS(config_parse("t.yaml", buf_view(&text), &c, &e), ST_INVALID);
	ck_assert_str_eq(e.text, "t.yaml:2:2: 17 uplinks are too many: the most is 16");
	buf_done(&text);
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		the_default_uplink_is_there_and_has_no_limits,
		an_uplink_takes_what_the_file_says,
		what_is_written_is_read_again,
		what_is_wrong_is_said_with_its_place,
		there_are_not_too_many,
	};
	return run_cases("config_uplinks", cases, COUNT(cases));
}
