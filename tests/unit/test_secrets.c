/* What is promised of secrets: whatever form a server shows one in, it is overwritten; and nothing
 * else is. */
#include "gateway/forward/secrets.h"

#include <stdlib.h>
#include <string.h>

#include "gateway/base/xalloc.h"
#include "tests/support/expect.h"

static const char secret[] = "tok<en>&\"7'/+?x";

static void expect(const struct secrets *s, const char *what, const char *text, const char *want)
{
	char *copy = xstrdup(text);
	secrets_wipe(s, copy, strlen(copy));
	ck_assert_msg(strcmp(copy, want) == 0, "%s: %s, expected %s", what, copy, want);
	free(copy);
}

START_TEST(a_secret_is_overwritten_in_every_form)
{
	static const struct {
		const char *what;
		const char *text;
		const char *want;
	} rows[] = {
		{ "as it is", "got tok<en>&\"7'/+?x here", "got *************** here" },
		{ "base64", "x=dG9rPGVuPiYiNycvKz94.", "x=********************." },
		{ "base64 of the URL alphabet without padding", "x=dG9rPGVuPiYiNycvKz94.",
		  "x=********************." },
		{ "HTML", "<p>tok&lt;en&gt;&amp;&quot;7&#x27;/+?x</p>",
		  "<p>***********************************</p>" },
		{ "HTML in numbers", "<p>tok&#60;en&#62;&#38;&#34;7&#39;&#47;&#43;&#63;x</p>",
		  "<p>***********************************************</p>" },
		{ "HTML in hexadecimal",
		  "<p>tok&#x3C;en&#x3E;&#x26;&#x22;7&#x27;&#x2F;&#x2B;&#x3F;x</p>",
		  "<p>*******************************************************</p>" },
		{ "a URL", "?a=tok%3Cen%3E%26%227%27%2F%2B%3Fx&b",
		  "?a=*******************************&b" },
		{ "a URL in lower case", "?a=tok%3cen%3e%26%227%27%2f%2b%3fx&b",
		  "?a=*******************************&b" },
		{ "JSON", "{\"a\":\"tok<en>&\\\"7'/+?x\"}", "{\"a\":\"****************\"}" },
		{ "JSON as Go writes it", "{\"a\":\"tok\\u003cen\\u003e\\u0026\\\"7'/+?x\"}",
		  "{\"a\":\"*******************************\"}" },
		{ "base64 in JSON", "{\"a\":\"dG9rPGVuPiYiNycvKz94\"}",
		  "{\"a\":\"********************\"}" },
		{ "base64 in a URL", "?a=dG9rPGVuPiYiNycvKz94&b", "?a=********************&b" },
	};
	struct secrets s = { 0 };
	secrets_add(&s, secret);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		expect(&s, rows[i].what, rows[i].text, rows[i].want);
	secrets_done(&s);
}
END_TEST

/* The characters at its ends belong to the neighbours too. */
START_TEST(in_the_middle_of_base64_no_more_than_the_ends_are_left)
{
	static const char *const texts[] = {
		"dG9rPGVuPiYiNycvKz94ISE=",         /* "" before it */
		"dTp0b2s8ZW4+JiI3Jy8rP3ghIQ==",     /* "u:" before it */
		"dXM6dG9rPGVuPiYiNycvKz94ISE=",     /* "us:" before it */
		"dXNlcjp0b2s8ZW4+JiI3Jy8rP3ghIQ==", /* "user:" before it */
	};
	struct secrets s = { 0 };
	secrets_add(&s, secret);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		char *copy = xstrdup(texts[i]);
		secrets_wipe(&s, copy, strlen(copy));
		const char *first = strchr(copy, '*');
		ck_assert_msg(first && strspn(first, "*") >= strlen(secret) * 8 / 6 - 2, "%s",
			      copy);
		free(copy);
	}
	secrets_done(&s);
}
END_TEST

START_TEST(what_looks_like_an_escape_in_a_secret_is_found_as_it_is_and_escaped)
{
	struct secrets s = { 0 };
	secrets_add(&s, "a&amp;b%41c\\d");
	expect(&s, "as it is", "<a&amp;b%41c\\d>", "<*************>");
	expect(&s, "URL", "<a%26amp%3Bb%2541c%5Cd>", "<*********************>");
	secrets_done(&s);
}
END_TEST

START_TEST(what_is_no_secret_stays)
{
	static const char *const texts[] = {
		"",
		"\\",
		"&",
		"&#",
		"&#;",
		"&#x;",
		"%",
		"%4",
		"\\u",
		"\\u00",
		"&#99999999;",
		"&#xd800;",
		"token and tok<en>",
		"dG9rPGVu",
		"abc",
	};
	struct secrets s = { 0 };
	secrets_add(&s, secret);
	secrets_add(&s, "abc"); /* too short to be one */
	secrets_add(&s, NULL);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		expect(&s, texts[i], texts[i], texts[i]);
	secrets_done(&s);
	secrets_done(&s);
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		a_secret_is_overwritten_in_every_form,
		in_the_middle_of_base64_no_more_than_the_ends_are_left,
		what_looks_like_an_escape_in_a_secret_is_found_as_it_is_and_escaped,
		what_is_no_secret_stays,
	};
	return run_cases("secrets", cases, sizeof(cases) / sizeof(cases[0]));
}
