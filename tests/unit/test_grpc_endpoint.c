/* What people write as the endpoint of a gRPC server, and what is wrong with what they should not.
 */
#include "gateway/base/grpc_endpoint.h"
#include "tests/support/expect.h"

START_TEST(endpoints_are_understood)
{
	static const struct {
		const char *text;
		bool is_insecure;
		bool is_tls;
		const char *host;
		const char *port;
		const char *authority;
	} rows[] = {
		{ "https://tempo.example.com:4317", false, true, "tempo.example.com", "4317",
		  "tempo.example.com:4317" },
		{ "http://localhost:4317", false, false, "localhost", "4317", "localhost:4317" },
		{ "http://localhost:4317/", false, false, "localhost", "4317", "localhost:4317" },
		{ "http://localhost", true, false, "localhost", "4317", "localhost:4317" },
		{ "tempo:4317", false, true, "tempo", "4317", "tempo:4317" },
		{ "tempo:4317", true, false, "tempo", "4317", "tempo:4317" },
		{ "tempo", false, true, "tempo", "4317", "tempo:4317" },
		{ "https://[::1]:443", false, true, "::1", "443", "[::1]:443" },
		{ "http://[fe80::1]", false, false, "fe80::1", "4317", "[fe80::1]:4317" },
		{ "10.0.0.7:55680", false, true, "10.0.0.7", "55680", "10.0.0.7:55680" },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct grpc_endpoint p;
		struct err e = { 0 };
		ck_assert_msg(grpc_endpoint_parse(rows[i].text, rows[i].is_insecure, &p, &e) ==
				      ST_OK,
			      "%s: %s", rows[i].text, e.text);
		ck_assert_int_eq(p.is_tls, rows[i].is_tls);
		ck_assert_str_eq(p.host, rows[i].host);
		ck_assert_str_eq(p.port, rows[i].port);
		ck_assert_str_eq(p.authority, rows[i].authority);
	}
}
END_TEST

START_TEST(others_are_told_what_is_wrong)
{
	static const struct {
		const char *text;
		bool is_insecure;
		const char *word;
	} rows[] = {
		{ "https://host:4317/v1/traces", false, "path" },
		{ "host:4317/otlp", false, "path" },
		{ "http://host:4317?x", false, "path" },
		{ "https://host:4317", true, "contradict" },
		{ "grpc://host:4317", false, "scheme" },
		{ "unix:///run/x.sock", false, "scheme" },
		{ "https://user:password@host:4317", false, "auth.basic" },
		{ "http://", false, "no host" },
		{ "", false, "no host" },
		{ ":4317", false, "no host" },
		{ "http://host:0", false, "port 0" },
		{ "http://host:http", false, "no host and port" },
		{ "http://host:70000", false, "no host and port" },
		{ "http://::1:4317", false, "no host and port" },
		{ "http://ho st:1", false, "blank" },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct grpc_endpoint p;
		struct err e = { 0 };
		EXPECT_STATUS(grpc_endpoint_parse(rows[i].text, rows[i].is_insecure, &p, &e),
			      ST_INVALID);
		ck_assert_msg(strstr(e.text, rows[i].word), "%s: %s", rows[i].text, e.text);
		ck_assert_msg(!strstr(e.text, "password@"), "%s", e.text);
	}
	char long_host[600];
	memset(long_host, 'a', sizeof(long_host));
	long_host[sizeof(long_host) - 1] = '\0';
	struct grpc_endpoint p;
	EXPECT_STATUS(grpc_endpoint_parse(long_host, false, &p, NULL), ST_INVALID);
}
END_TEST

int main(void)
{
	const TTest *const cases[] = { endpoints_are_understood, others_are_told_what_is_wrong };
	return run_cases("grpc_endpoint", cases, sizeof(cases) / sizeof(cases[0]));
}
