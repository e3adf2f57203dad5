/* What parameters promise: each right value is taken, each wrong one named with what is allowed. */
#include "admin/auth.h"
#include "admin/parameters.h"
#include "admin/table.h"
#include "gateway/base/now.h"
#include <stdio.h>
#include <stdlib.h>

#include "tests/support/expect.h"

START_TEST(right_values_reach_the_filter)
{
	struct parameters p;
	static const struct {
		const char *name;
		const char *value;
	} given[] = { { "state", "dead" },     { "destination", "central" }, { "signal", "logs" },
		      { "class", "critical" }, { "service", "a b&c" },       { "min_age", "10m" },
		      { "max_age", "2d" },     { "limit", "500" },           { "cursor", "77" } };
	parameters_init(&p);
	ck_assert_int_eq(p.filter.limit, PARAMETERS_LIMIT_DEFAULT);
	now_fake(1000000 * NS_PER_S, 0);
	for (size_t i = 0; i < sizeof(given) / sizeof(given[0]); i++)
		EXPECT_OK(parameters_set(&p, PARAMETERS_BATCHES, given[i].name, given[i].value,
					 NULL));
	parameters_finish(&p);
	now_fake_off();
	ck_assert_str_eq(p.filter.state, "dead");
	ck_assert_str_eq(p.filter.destination, "central");
	ck_assert_str_eq(p.filter.signal, "logs");
	ck_assert_str_eq(p.filter.class, "critical");
	ck_assert_str_eq(p.filter.service, "a b&c");
	ck_assert_int_eq(p.filter.limit, 500);
	ck_assert_int_eq(p.filter.after_id, 77);
	ck_assert_int_eq(p.filter.received_to_ns, (1000000 - 600) * NS_PER_S);
	ck_assert_int_eq(p.filter.received_from_ns, (1000000 - 172800) * NS_PER_S);
	parameters_done(&p);
	parameters_done(&p);
}
END_TEST

START_TEST(a_parameter_stands_once_and_an_option_may_be_overridden)
{
	struct parameters p;
	struct err e = { 0 };
	parameters_init(&p);
	EXPECT_OK(parameters_set(&p, PARAMETERS_BATCHES, "service", "a", &e));
	EXPECT_STATUS(parameters_set(&p, PARAMETERS_BATCHES, "service", "b", &e), ST_INVALID);
	ck_assert_str_eq(e.text, "service is given twice");
	p.is_command_line = true;
	EXPECT_OK(parameters_set(&p, PARAMETERS_BATCHES, "service", "b", &e));
	ck_assert_str_eq(p.filter.service, "b");
	parameters_done(&p);
}
END_TEST

START_TEST(an_age_beyond_the_epoch_is_no_bound_in_the_future)
{
	struct parameters p;
	parameters_init(&p);
	now_fake(10 * NS_PER_S, 0);
	EXPECT_OK(parameters_set(&p, PARAMETERS_BATCHES, "max_age", "100000d", NULL));
	parameters_finish(&p);
	now_fake_off();
	ck_assert_int_eq(p.filter.received_from_ns, 1);
	parameters_done(&p);
}
END_TEST

START_TEST(wrong_values_are_named_with_what_is_allowed)
{
	static const struct {
		enum parameter_set set;
		const char *name;
		const char *value;
		const char *says;
	} cases[] = {
		{ PARAMETERS_BATCHES, "state", "gone",
		  "state: \"gone\" is wrong; allowed is ready "
		  "or dead" },
		{ PARAMETERS_BATCHES, "state", NULL, "state: \"\" is wrong" },
		{ PARAMETERS_BATCHES, "signal", "spans", "traces, metrics or logs" },
		{ PARAMETERS_BATCHES, "class", "CRITICAL", "critical, warning or info" },
		{ PARAMETERS_BATCHES, "service", "", "allowed is a service.name" },
		{ PARAMETERS_BATCHES, "limit", "0", "from 1 to 500" },
		{ PARAMETERS_BATCHES, "limit", "501", "from 1 to 500" },
		{ PARAMETERS_BATCHES, "limit", "5x", "from 1 to 500" },
		{ PARAMETERS_BATCHES, "limit", " 5", "from 1 to 500" },
		{ PARAMETERS_BATCHES, "cursor", "-1", "next_cursor" },
		{ PARAMETERS_BATCHES, "cursor", "99999999999999999999", "next_cursor" },
		{ PARAMETERS_BATCHES, "min_age", "10", "ms, s, m, h or d" },
		{ PARAMETERS_BATCHES, "min_age", "m", "ms, s, m, h or d" },
		{ PARAMETERS_BATCHES, "min_age", "999999999999d", "ms, s, m, h or d" },
		{ PARAMETERS_BATCHES, "sate", "dead",
		  "unknown parameter \"sate\"; this call takes state, destination" },
		{ PARAMETERS_BATCHES, "format", "otlp", "unknown parameter \"format\"" },
		{ PARAMETERS_BATCH, "format", "xml", "json or otlp" },
		{ PARAMETERS_LOSSES, "state", "dead", "this call takes limit, cursor" },
		{ PARAMETERS_NONE, "x", "y", "this call takes none" },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct parameters p;
		struct err e = { 0 };
		parameters_init(&p);
		EXPECT_STATUS(parameters_set(&p, cases[i].set, cases[i].name, cases[i].value, &e),
			      ST_INVALID);
		ck_assert_msg(strstr(e.text, cases[i].says) != NULL, "%s", e.text);
		parameters_done(&p);
	}
}
END_TEST

START_TEST(only_the_right_bearer_token_opens)
{
	static const struct {
		const char *header;
		bool opens;
	} cases[] = {
		{ "Bearer secret", true },
		{ "bearer secret", true },
		{ NULL, false },
		{ "", false },
		{ "secret", false },
		{ "Bearer ", false },
		{ "Bearer secre", false },
		{ "Bearer secrets", false },
		{ "Bearer Secret", false },
		{ "Bearer secretsecret", false },
		{ "Basic secret", false },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ck_assert_msg(auth_is_bearer(cases[i].header, "secret") == cases[i].opens, "%s",
			      cases[i].header);
}
END_TEST

START_TEST(a_name_from_elsewhere_is_not_local)
{
	static const struct {
		const char *host;
		bool is_local;
	} cases[] = {
		{ NULL, true },
		{ "localhost", true },
		{ "LOCALHOST:13133", true },
		{ "127.0.0.1:13133", true },
		{ "10.0.0.7", true },
		{ "[::1]:13133", true },
		{ "evil.example.com", false },
		{ "evil.example:13133", false },
		{ "localhost.evil.example", false },
		{ "127.0.0.1.evil.example", false },
		{ "", false },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ck_assert_msg(auth_is_local_host(cases[i].host) == cases[i].is_local, "%s",
			      cases[i].host);
}
END_TEST

START_TEST(an_open_endpoint_wants_a_token)
{
	struct err e = { 0 };
	EXPECT_OK(auth_check_endpoint("127.0.0.1:0", NULL, &e));
	EXPECT_OK(auth_check_endpoint("[::1]:0", "", &e));
	EXPECT_OK(auth_check_endpoint("0.0.0.0:0", "secret", &e));
	EXPECT_STATUS(auth_check_endpoint("0.0.0.0:0", "", &e), ST_INVALID);
	ck_assert_ptr_nonnull(strstr(e.text, "set admin.token, or listen on 127.0.0.1"));
	EXPECT_STATUS(auth_check_endpoint(":0", NULL, &e), ST_INVALID);
}
END_TEST

START_TEST(what_goes_to_a_terminal_cannot_steer_it)
{
	char text[64];
	static const struct {
		const char *given;
		size_t size;
		const char *shown;
	} cases[] = {
		{ "plain", 64, "plain" },
		{ "a\x1b[31mred\x07\r\n\tz\x7f", 64, "a [31mred    z " },
		{ "c1: \xc2\x9b"
		  "31m",
		  64, "c1:  31m" },
		{ "h\xc3\xa9t\xc3\xa9", 64, "h\xc3\xa9t\xc3\xa9" },
		{ "\xe6\xbd\xae\xe6\xb1\x90", 6, "\xe6\xbd\xae" },
		{ "abcdef", 4, "abc" },
		{ "", 4, "" },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ck_assert_str_eq(table_clean(text, cases[i].size, cases[i].given), cases[i].shown);
}
END_TEST

START_TEST(a_table_stays_within_its_width)
{
	char *text = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&text, &n);
	struct table *t = table_new("NAME|>N|TEXT", 2);
	table_add(t, "h\xc3\xa9t\xc3\xa9");
	table_add(t, "7");
	table_add(t,
		  "012345678901234567890123456789012345678901234567890123456789012345678901234567"
		  "89012345678901234567890123456789");
	table_add(t, "b");
	table_addf(t, "%d", 1234);
	table_add(t, NULL);
	table_print(t, out);
	table_free(t);
	(void)fclose(out);
	ck_assert_str_eq(text, "NAME     N  TEXT\n"
			       "h\xc3\xa9t\xc3\xa9     7  "
			       "012345678901234567890123456789012345678901234567890123456789"
			       "012345678901234567890123456~\n"
			       "b     1234  -\n");
	free(text);
}
END_TEST

START_TEST(numbers_are_for_people)
{
	char text[32];
	ck_assert_str_eq(table_bytes(text, sizeof(text), 0), "0 B");
	ck_assert_str_eq(table_bytes(text, sizeof(text), 1023), "1023 B");
	ck_assert_str_eq(table_bytes(text, sizeof(text), 1536), "1.5 KiB");
	ck_assert_str_eq(table_bytes(text, sizeof(text), INT64_C(8) << 30), "8.0 GiB");
	ck_assert_str_eq(table_age(text, sizeof(text), 59), "59s");
	ck_assert_str_eq(table_age(text, sizeof(text), 61), "1m01s");
	ck_assert_str_eq(table_age(text, sizeof(text), 3600 * 3 + 720), "3h12m");
	ck_assert_str_eq(table_age(text, sizeof(text), 86400 * 9), "9d00h");
	ck_assert_str_eq(table_age(text, sizeof(text), -5), "0s");
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		right_values_reach_the_filter,
		a_parameter_stands_once_and_an_option_may_be_overridden,
		an_age_beyond_the_epoch_is_no_bound_in_the_future,
		wrong_values_are_named_with_what_is_allowed,
		only_the_right_bearer_token_opens,
		a_name_from_elsewhere_is_not_local,
		an_open_endpoint_wants_a_token,
		what_goes_to_a_terminal_cannot_steer_it,
		a_table_stays_within_its_width,
		numbers_are_for_people,
	};
	return run_cases("admin_parameters", cases, sizeof(cases) / sizeof(cases[0]));
}
