/* What cors promises: only the listed origins may send, and a star stretches over no other host. */
#include "gateway/ingest/cors.h"
#include "tests/support/expect.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

START_TEST(without_origins_nobody_is_allowed)
{
	static const char *const none[] = { NULL };
	const char *const *const lists[] = { NULL, none };
	for (size_t i = 0; i < COUNT(lists); i++) {
		struct cors c;
		EXPECT_OK(cors_init(&c, lists[i], NULL, 60));
		ck_assert(!cors_is_on(&c));
		ck_assert_int_eq(cors_check(&c, "https://a.example"), CORS_REFUSED);
		cors_done(&c);
	}
}
END_TEST

START_TEST(an_origin_matches_its_pattern_and_no_other)
{
	static const struct {
		const char *pattern;
		const char *origin;
		enum cors_match want;
	} rows[] = {
		{ "https://a.example", "https://a.example", CORS_LISTED },
		{ "https://a.example", "HTTPS://A.Example", CORS_LISTED },
		{ "https://a.example", "https://a.example:8443", CORS_REFUSED },
		{ "https://a.example", "http://a.example", CORS_REFUSED },
		{ "https://a.example", "https://a.example.evil", CORS_REFUSED },
		{ "https://a.example", "", CORS_REFUSED },
		{ "https://a.example", NULL, CORS_REFUSED },
		{ "https://*.a.example", "https://x.a.example", CORS_LISTED },
		{ "https://*.a.example", "https://x.y.a.example", CORS_LISTED },
		{ "https://*.a.example", "https://.a.example", CORS_LISTED },
		{ "https://*.a.example", "https://a.example", CORS_REFUSED },
		{ "https://*.a.example", "https://evil.example/.a.example", CORS_REFUSED },
		{ "https://*.a.example", "https://x.a.examplee", CORS_REFUSED },
		{ "https://*.a.example", "https://x.a.example.a.example", CORS_LISTED },
		{ "http://localhost:*", "http://localhost:3000", CORS_LISTED },
		{ "http://localhost:*", "http://localhost", CORS_REFUSED },
		{ "*://a.example", "https://a.example", CORS_LISTED },
		{ "https://*a*b*", "https://xxaxxbxx", CORS_LISTED },
		{ "https://*a*b*", "https://xxbxxaxx", CORS_REFUSED },
		{ "*", "https://a.example", CORS_ANY },
		{ "*", "null", CORS_ANY },
		{ "null", "null", CORS_LISTED },
		{ "https://a.example", "null", CORS_REFUSED },
	};
	for (size_t i = 0; i < COUNT(rows); i++) {
		const char *const origins[] = { rows[i].pattern, NULL };
		struct cors c;
		EXPECT_OK(cors_init(&c, origins, NULL, 60));
		enum cors_match got = cors_check(&c, rows[i].origin);
		ck_assert_msg(got == rows[i].want, "%s against %s is %d", rows[i].origin,
			      rows[i].pattern, (int)got);
		cors_done(&c);
	}
}
END_TEST

START_TEST(a_listed_origin_wins_over_the_bare_star)
{
	static const char *const origins[] = { "*", "https://a.example", NULL };
	struct cors c;
	EXPECT_OK(cors_init(&c, origins, NULL, 60));
	ck_assert_int_eq(cors_check(&c, "https://a.example"), CORS_LISTED);
	ck_assert_int_eq(cors_check(&c, "https://b.example"), CORS_ANY);
	cors_done(&c);
}
END_TEST

START_TEST(many_stars_cost_no_time)
{
	static const char *const origins[] = { "https://*a*a*a*a*a*a*a*a*a*a*a*a*b", NULL };
	char origin[8000] = "https://";
	memset(origin + 8, 'a', sizeof(origin) - 9);
	struct cors c;
	EXPECT_OK(cors_init(&c, origins, NULL, 60));
	ck_assert_int_eq(cors_check(&c, origin), CORS_REFUSED);
	cors_done(&c);
}
END_TEST

START_TEST(the_answer_to_a_preflight_lists_all_headers)
{
	static const char *const origins[] = { "*", NULL };
	static const char *const headers[] = { "X-Tenant", "Authorization", NULL };
	struct cors c;
	EXPECT_OK(cors_init(&c, origins, headers, 7200));
	ck_assert_str_eq((char *)c.allow_headers.p,
			 "Content-Type, Content-Encoding, X-Tenant, Authorization");
	ck_assert_str_eq(c.max_age, "7200");
	cors_done(&c);
	cors_done(&c);
}
END_TEST

START_TEST(a_list_of_headers_that_fits_no_line_is_refused)
{
	static char name[5000];
	memset(name, 'x', sizeof(name) - 1);
	const char *const headers[] = { name, NULL };
	struct cors c;
	EXPECT_STATUS(cors_init(&c, NULL, headers, 60), ST_TOO_LARGE);
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		without_origins_nobody_is_allowed,
		an_origin_matches_its_pattern_and_no_other,
		a_listed_origin_wins_over_the_bare_star,
		many_stars_cost_no_time,
		the_answer_to_a_preflight_lists_all_headers,
		a_list_of_headers_that_fits_no_line_is_refused,
	};
	return run_cases("cors", cases, COUNT(cases));
}
