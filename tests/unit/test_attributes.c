/* What attributes promise: the first to set a key wins, bad ones are refused with their text, and
 * the environment's list is taken whole or not at all. */
#include "gateway/telemetry/attributes.h"

#include <stdio.h>

#include "proto/opentelemetry/resource.pb-c.h"
#include "tests/support/expect.h"

static struct attributes a;
static struct err err;

START_TEST(the_first_to_set_a_key_wins)
{
	EXPECT_OK(attributes_insert(&a, "site", "plant-7", &err));
	EXPECT_OK(attributes_insert(&a, "site", "plant-8", &err));
	EXPECT_OK(attributes_insert(&a, "empty", "", &err));
	ck_assert_uint_eq(a.count, 2);
	ck_assert_str_eq(a.items[0].value, "plant-7");
	attributes_done(&a);
	ck_assert_uint_eq(a.count, 0);
}
END_TEST

START_TEST(they_are_encoded_as_fields_of_a_resource)
{
	char text[300];
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	const char *const values[] = { "", "plant-7", "Werk Süd", text };
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		EXPECT_OK(attributes_insert(&a, "key", values[i], &err));
		Opentelemetry__Proto__Resource__V1__Resource *r =
			opentelemetry__proto__resource__v1__resource__unpack(
				NULL, a.items[0].encoded.n, a.items[0].encoded.p);
		ck_assert_ptr_nonnull(r);
		ck_assert_uint_eq(r->n_attributes, 1);
		ck_assert_str_eq(r->attributes[0]->key, "key");
		ck_assert_int_eq(r->attributes[0]->value->value_case,
				 OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_STRING_VALUE);
		ck_assert_str_eq(r->attributes[0]->value->string_value, values[i]);
		opentelemetry__proto__resource__v1__resource__free_unpacked(r, NULL);
		attributes_done(&a);
	}
}
END_TEST

START_TEST(bad_ones_are_refused)
{
	EXPECT_STATUS(attributes_insert(&a, "", "v", &err), ST_INVALID);
	EXPECT_STATUS(attributes_insert(&a, "k", "\xff", &err), ST_INVALID);
	EXPECT_STATUS(attributes_insert(&a, "k\xc3", "v", &err), ST_INVALID);
	ck_assert_uint_eq(a.count, 0);
	char key[20];
	for (int i = 0; i < ATTRIBUTES_MAX; i++) {
		(void)snprintf(key, sizeof(key), "key.%d", i);
		EXPECT_OK(attributes_insert(&a, key, "v", &err));
	}
	EXPECT_STATUS(attributes_insert(&a, "one more", "v", &err), ST_TOO_LARGE);
	EXPECT_OK(attributes_insert(&a, "key.1", "is there already", &err));
	EXPECT_OK(attributes_insert_list(&a, "key.0=x,key.63=y", &err));
	EXPECT_STATUS(attributes_insert_list(&a, "key.0=x,other=y", &err), ST_TOO_LARGE);
	ck_assert_uint_eq(a.count, ATTRIBUTES_MAX);
	attributes_done(&a);
}
END_TEST

START_TEST(a_list_is_read_as_the_specification_says)
{
	static const struct {
		const char *list;
		size_t count;
		const char *key; /* of the last one */
		const char *value;
	} cases[] = {
		{ NULL, 0, NULL, NULL },
		{ "", 0, NULL, NULL },
		{ "  ", 0, NULL, NULL },
		{ "k=v", 1, "k", "v" },
		{ "a=1,b=2", 2, "b", "2" },
		{ " a = 1 ,\tb\t=\t2 ", 2, "b", "2" },
		{ "k=", 1, "k", "" },
		{ "k=a=b", 1, "k", "a=b" },
		{ "k=a%2Cb%3dc", 1, "k", "a,b=c" },
		{ "k=%20spaces%20", 1, "k", " spaces " },
		{ "k%3D=v", 1, "k=", "v" },
		{ "k=Werk%20S%C3%BCd", 1, "k", "Werk Süd" },
		{ "k=first,k=second", 1, "k", "first" },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		EXPECT_OK(attributes_insert_list(&a, cases[i].list, &err));
		ck_assert_uint_eq(a.count, cases[i].count);
		if (a.count) {
			ck_assert_str_eq(a.items[a.count - 1].key, cases[i].key);
			ck_assert_str_eq(a.items[a.count - 1].value, cases[i].value);
		}
		attributes_done(&a);
	}
}
END_TEST

START_TEST(a_bad_list_is_refused_whole)
{
	static const char *const lists[] = { "good=1,bad",   "good=1,=v",    "good=1,",
					     "good=1,k=%",   "good=1,k=%4",  "good=1,k=%zz",
					     "good=1,k=%00", "good=1,k=%ff", ",good=1" };
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		EXPECT_STATUS(attributes_insert_list(&a, lists[i], &err), ST_INVALID);
		ck_assert_uint_eq(a.count, 0);
	}
	EXPECT_STATUS(attributes_insert_list(&a, "good=1,bad", &err), ST_INVALID);
	ck_assert_str_eq(err.text, "\"bad\" is not key=value");
	attributes_done(&a);
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		the_first_to_set_a_key_wins, they_are_encoded_as_fields_of_a_resource,
		bad_ones_are_refused,        a_list_is_read_as_the_specification_says,
		a_bad_list_is_refused_whole,
	};
	return run_cases("attributes", cases, sizeof(cases) / sizeof(cases[0]));
}
