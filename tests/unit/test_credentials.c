/* What a destination authenticates with: from the configuration, from a file that changes, and
 * wiped out of whatever a backend says. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/base/xalloc.h"
#include "gateway/forward/credentials.h"
#include "tests/support/expect.h"
#include "tests/support/queue_client.h"

static char nothing[] = "";

static struct destination_config plain_config(void)
{
	return (struct destination_config){
		.name = "central",
		.endpoint = nothing,
		.traces_endpoint = nothing,
		.metrics_endpoint = nothing,
		.logs_endpoint = nothing,
		.auth_basic_username = nothing,
		.auth_basic_password = nothing,
		.auth_basic_password_file = nothing,
		.auth_bearer_token = nothing,
		.auth_bearer_token_file = nothing,
	};
}

static struct credentials *open_good(const struct destination_config *c)
{
	struct credentials *k = NULL;
	struct err e = { 0 };
	ck_assert_msg(credentials_open(c, &k, &e) == ST_OK, "%s", e.text);
	return k;
}

/* Replaced by rename, as an agent that rotates secrets does it. */
static void put_file(const char *path, const char *text, size_t n)
{
	char temporary[700];
	(void)snprintf(temporary, sizeof(temporary), "%s.new", path);
	FILE *f = fopen(temporary, "w");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(text, 1, n, f), n);
	ck_assert_int_eq(fclose(f), 0);
	ck_assert_int_eq(rename(temporary, path), 0);
}

static void put(const char *path, const char *text)
{
	put_file(path, text, strlen(text));
}

START_TEST(the_header_is_as_the_specifications_have_it)
{
	struct destination_config c = plain_config();
	struct credentials *k = open_good(&c);
	ck_assert_ptr_null(credentials_authorization(k));
	credentials_free(k);

	static const struct {
		const char *user;
		const char *password;
		const char *want;
	} cases[] = {
		/* RFC 7617, 2. */
		{ "Aladdin", "open sesame", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==" },
		{ "test", "123\xc2\xa3", "Basic dGVzdDoxMjPCow==" },
		{ "a", "", "Basic YTo=" },
		{ "ab", "c:d", "Basic YWI6Yzpk" },
		{ "\xff\xfe", "\xfd?", "Basic //46/T8=" },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		c = plain_config();
		c.auth_basic_username = (char *)(uintptr_t)cases[i].user;
		c.auth_basic_password = (char *)(uintptr_t)cases[i].password;
		k = open_good(&c);
		ck_assert_str_eq(credentials_authorization(k), cases[i].want);
		credentials_free(k);
	}
	c = plain_config();
	c.auth_bearer_token = (char[]){ "mF_9.B5f-4.1JqM" };
	k = open_good(&c);
	ck_assert_str_eq(credentials_authorization(k), "Bearer mF_9.B5f-4.1JqM");
	credentials_free(k);
	credentials_free(NULL);
}
END_TEST

START_TEST(a_file_is_read_again_when_it_changes)
{
	char dir[512];
	char path[600];
	client_make_dir(dir, sizeof(dir), "credentials");
	(void)snprintf(path, sizeof(path), "%s/token", dir);
	struct destination_config c = plain_config();
	c.auth_bearer_token_file = path;
	put(path, "first\r\n");
	struct credentials *k = open_good(&c);
	unsigned first = credentials_generation(k);
	ck_assert_str_eq(credentials_authorization(k), "Bearer first");
	ck_assert_uint_eq(credentials_generation(k), first);

	put(path, "other\n");
	unsigned second = credentials_generation(k);
	ck_assert_uint_ne(second, first);
	ck_assert_str_eq(credentials_authorization(k), "Bearer other");

	/* The same secret in another file is no other credential. */
	put(path, "other");
	ck_assert_uint_eq(credentials_generation(k), second);

	/* Written in place, longer. */
	int fd = open(path, O_WRONLY | O_APPEND);
	ck_assert_int_eq(write(fd, "-wise\n", 6), 6);
	ck_assert_int_eq(close(fd), 0);
	ck_assert_str_eq(credentials_authorization(k), "Bearer other-wise");
	credentials_free(k);
	client_remove_dir(dir);
}
END_TEST

START_TEST(a_file_at_fault_leaves_the_last_value_in_use)
{
	char dir[512];
	char path[600];
	client_make_dir(dir, sizeof(dir), "credentials");
	(void)snprintf(path, sizeof(path), "%s/password", dir);
	struct destination_config c = plain_config();
	c.auth_basic_username = (char[]){ "ab" };
	c.auth_basic_password_file = path;
	put(path, "c:d");
	struct credentials *k = open_good(&c);
	unsigned generation = credentials_generation(k);
	static const struct {
		const char *text;
		size_t n;
	} faults[] = { { "", 0 }, { "\n", 1 }, { "two\nlines", 9 }, { "a\0b", 3 }, { "\x7f", 1 } };
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		put_file(path, faults[i].text, faults[i].n);
		ck_assert_str_eq(credentials_authorization(k), "Basic YWI6Yzpk");
		ck_assert_uint_eq(credentials_generation(k), generation);
	}
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_str_eq(credentials_authorization(k), "Basic YWI6Yzpk");
	ck_assert_int_eq(mkdir(path, 0700), 0);
	ck_assert_str_eq(credentials_authorization(k), "Basic YWI6Yzpk");
	ck_assert_int_eq(rmdir(path), 0);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	ck_assert_str_eq(credentials_authorization(k), "Basic YWI6Yzpk");
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_uint_eq(credentials_generation(k), generation);
	put(path, "again");
	ck_assert_str_eq(credentials_authorization(k), "Basic YWI6YWdhaW4=");
	ck_assert_uint_ne(credentials_generation(k), generation);
	credentials_free(k);
	client_remove_dir(dir);
}
END_TEST

START_TEST(without_a_credential_it_does_not_start)
{
	char dir[512];
	char path[600];
	struct credentials *k = NULL;
	struct err e = { 0 };
	client_make_dir(dir, sizeof(dir), "credentials");
	(void)snprintf(path, sizeof(path), "%s/token", dir);
	struct destination_config c = plain_config();
	c.auth_bearer_token_file = path;
	EXPECT_STATUS(credentials_open(&c, &k, &e), ST_INVALID);
	ck_assert_ptr_nonnull(strstr(e.text, "auth.bearer.token_file: cannot read"));
	ck_assert_ptr_nonnull(strstr(e.text, "No such file"));
	put(path, "\n");
	EXPECT_STATUS(credentials_open(&c, &k, &e), ST_INVALID);
	ck_assert_ptr_nonnull(strstr(e.text, "is empty"));
	char *large = xcalloc(1, 16 * 1024 + 1);
	memset(large, 'x', 16 * 1024 + 1);
	put_file(path, large, 16 * 1024 + 1);
	EXPECT_STATUS(credentials_open(&c, &k, &e), ST_INVALID);
	ck_assert_ptr_nonnull(strstr(e.text, "longer than a credential"));
	put_file(path, large, 16 * 1024);
	EXPECT_OK(credentials_open(&c, &k, &e));
	credentials_free(k);
	put(path, "hush-hush\nmore");
	EXPECT_STATUS(credentials_open(&c, &k, &e), ST_INVALID);
	ck_assert_ptr_null(strstr(e.text, "hush"));
	free(large);
	client_remove_dir(dir);
}
END_TEST

static void expect_redacted(const struct credentials *k, const char *text, const char *want)
{
	char *copy = xstrdup(text);
	credentials_redact(k, copy, strlen(copy));
	ck_assert_str_eq(copy, want);
	free(copy);
}

START_TEST(secrets_are_wiped_out_of_answers)
{
	struct config_pair pairs[] = { { "X-Key", "Token key/7" },
				       { "X-Scope-OrgID", "plant-7" },
				       { "X-Short", "abc" } };
	struct destination_config c = plain_config();
	c.auth_basic_username = (char[]){ "ab" };
	c.auth_basic_password = (char[]){ "open\\sesame" };
	c.endpoint = (char[]){ "https://me:pass%3Aword@host/p@th" };
	c.headers = (struct config_map){ .items = pairs, .count = 3 };
	struct credentials *k = open_good(&c);
	ck_assert_str_eq(credentials_authorization(k), "Basic YWI6b3BlblxzZXNhbWU=");
	expect_redacted(k, "got Basic YWI6b3BlblxzZXNhbWU= here",
			"got ************************** here");
	expect_redacted(k, "YWI6b3BlblxzZXNhbWU=", "********************");
	/* As JSON encoders write it. */
	expect_redacted(k, "{\"a\":\"YWI6b3BlblxzZXNhbWU\\u003d\"}",
			"{\"a\":\"*************************\"}");
	expect_redacted(k, "{\"a\":\"YWI6b3BlblxzZXNhbWU\\u003D\"}",
			"{\"a\":\"*************************\"}");
	expect_redacted(k, "open\\sesame open\\\\sesame", "*********** ************");
	expect_redacted(k, "Token key/7, key\\/7", "***********, ******");
	/* Of the endpoint: decoded, and as libcurl sends it. */
	expect_redacted(k, "pass:word Basic bWU6cGFzczp3b3Jk", "********* **********************");
	/* Too short to be one, and what only looks alike. */
	expect_redacted(k, "plant-7: abc, ab, open\\sesam, key/",
			"plant-7: abc, ab, open\\sesam, key/");
	/* As a URL has it. */
	expect_redacted(k, "?k=YWI6b3BlblxzZXNhbWU%3d&p=open%5Csesame%25",
			"?k=**********************&p=*************%25");
	expect_redacted(k, "", "");
	expect_redacted(k, "\\", "\\");
	credentials_free(k);
}
END_TEST

START_TEST(what_is_secret_in_a_url_is_wiped)
{
	struct destination_config c = plain_config();
	c.endpoint = (char[]){ "https://glc_s3cret@host/?on=true&key=k3y%2Bof+mine&x" };
	struct credentials *k = open_good(&c);
	expect_redacted(k,
			"glc_s3cret, Basic Z2xjX3MzY3JldDo=", "**********, **********************");
	expect_redacted(k, "true: no key k3y+of+mine, k3y%2Bof%2bmine here",
			"true: no key ***********, *************** here");
	credentials_free(k);
}
END_TEST

START_TEST(a_renewed_secret_is_wiped_beside_the_one_before)
{
	char dir[512];
	char path[600];
	client_make_dir(dir, sizeof(dir), "credentials");
	(void)snprintf(path, sizeof(path), "%s/token", dir);
	struct destination_config c = plain_config();
	c.auth_bearer_token_file = path;
	put(path, "yesterday");
	struct credentials *k = open_good(&c);
	put(path, "today");
	ck_assert_str_eq(credentials_authorization(k), "Bearer today");
	expect_redacted(k, "yesterday, today, tomorrow", "*********, *****, tomorrow");
	credentials_free(k);
	client_remove_dir(dir);
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		the_header_is_as_the_specifications_have_it,
		a_file_is_read_again_when_it_changes,
		a_file_at_fault_leaves_the_last_value_in_use,
		without_a_credential_it_does_not_start,
		secrets_are_wiped_out_of_answers,
		what_is_secret_in_a_url_is_wiped,
		a_renewed_secret_is_wiped_beside_the_one_before,
	};
	return run_cases("credentials", cases, sizeof(cases) / sizeof(cases[0]));
}
