/* Where the authority of a URL, its user and its host begin and end. */
#include "gateway/base/url.h"

#include <stdio.h>

#include "tests/support/expect.h"

static const char *text(struct bytes b)
{
	static char copy[3][64];
	static int next;
	char *to = copy[next++ % 3];
	if (!b.p)
		return "(none)";
	(void)snprintf(to, sizeof(copy[0]), "%.*s", (int)b.n, (const char *)b.p);
	return to;
}

START_TEST(a_url_is_cut_where_its_authority_ends)
{
	static const struct {
		const char *url;
		const char *authority;
		const char *user;
		const char *host;
	} rows[] = {
		{ "http://host", "host", "(none)", "host" },
		{ "https://host:4318/v1/traces", "host:4318", "(none)", "host:4318" },
		{ "https://u:p@host:1/a@b", "u:p@host:1", "u:p", "host:1" },
		{ "https://u@[::1]:1?k=v@w", "u@[::1]:1", "u", "[::1]:1" },
		{ "https://a@b@host#x@y", "a@b@host", "a@b", "host" },
		{ "https://@host", "@host", "", "host" },
		{ "https:///path", "", "(none)", "" },
		{ "host:4317", "(none)", "(none)", "(none)" },
		{ "u:p@host:4317", "(none)", "(none)", "(none)" },
		{ "", "(none)", "(none)", "(none)" },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ck_assert_str_eq(text(url_authority(rows[i].url)), rows[i].authority);
		ck_assert_str_eq(text(url_user(rows[i].url)), rows[i].user);
		ck_assert_str_eq(text(url_host(rows[i].url)), rows[i].host);
	}
}
END_TEST

START_TEST(the_path_of_a_target_is_found_in_both_forms)
{
	static const char *const cases[][2] = {
		{ "/v1/logs", "/v1/logs" },
		{ "http://gateway:4318/v1/logs", "/v1/logs" },
		{ "HTTPS://gateway/v1/logs", "/v1/logs" },
		{ "http://[::1]:4318/v1/logs", "/v1/logs" },
		{ "http://gateway", "/" },
		{ "http://", "/" },
		{ "http:/v1/logs", "http:/v1/logs" },
		{ "ftp://gateway/v1/logs", "ftp://gateway/v1/logs" },
		{ "/http://gateway/v1/logs", "/http://gateway/v1/logs" },
		{ "*", "*" },
		{ "", "" },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ck_assert_str_eq(url_target_path(cases[i][0]), cases[i][1]);
}
END_TEST

int main(void)
{
	const TTest *const cases[] = { a_url_is_cut_where_its_authority_ends,
				       the_path_of_a_target_is_found_in_both_forms };
	return run_cases("url", cases, sizeof(cases) / sizeof(cases[0]));
}
