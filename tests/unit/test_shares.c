/* What shares promise: proportion while several want, nothing held back for who does not, and no
 * credit for having been idle. */
#include "gateway/forward/shares.h"
#include "tests/support/expect.h"

enum { CRITICAL, WARNING, INFO, PARTIES };
static const int weights[PARTIES] = { 70, 20, 10 };

/* Gives out `total` in pieces of the party's size, and adds up who got what. */
static void serve(struct shares *s, unsigned wants, const uint64_t *sizes, uint64_t total,
		  uint64_t *got)
{
	for (uint64_t n = 0; n < total;) {
		int i = shares_pick(s, wants);
		ck_assert_int_ge(i, 0);
		ck_assert(wants >> i & 1);
		shares_charge(s, i, sizes[i]);
		got[i] += sizes[i];
		n += sizes[i];
	}
}

START_TEST(who_wants_all_the_time_gets_his_proportion_whatever_the_sizes)
{
	static const uint64_t sizes[][PARTIES] = { { 1000, 1000, 1000 },
						   { 10, 1000, 100000 },
						   { 100000, 1000, 10 } };
	for (size_t i = 0; i < 3; i++) {
		struct shares s;
		uint64_t got[PARTIES] = { 0 };
		shares_init(&s, weights, PARTIES);
		serve(&s, 7, sizes[i], 10000000, got);
		for (int p = 0; p < PARTIES; p++) {
			ck_assert_uint_ge(got[p], (uint64_t)weights[p] * 98000 - sizes[i][p]);
			ck_assert_uint_le(got[p], (uint64_t)weights[p] * 102000 + sizes[i][p]);
		}
	}
}
END_TEST

START_TEST(the_share_of_who_does_not_want_goes_to_the_others)
{
	static const uint64_t sizes[PARTIES] = { 1000, 1000, 1000 };
	struct shares s;
	uint64_t got[PARTIES] = { 0 };
	shares_init(&s, weights, PARTIES);
	serve(&s, 1u << INFO, sizes, 1000000, got);
	ck_assert_uint_eq(got[INFO], 1000000);
	serve(&s, 1u << INFO | 1u << WARNING, sizes, 3000000, got);
	ck_assert_uint_ge(got[WARNING], 1990000);
	ck_assert_uint_le(got[WARNING], 2010000);
}
END_TEST

START_TEST(idling_gives_neither_credit_nor_debt)
{
	static const uint64_t sizes[PARTIES] = { 1000, 1000, 1000 };
	struct shares s;
	uint64_t got[PARTIES] = { 0 };
	shares_init(&s, weights, PARTIES);
	serve(&s, 1u << INFO, sizes, 100000000, got);
	/* Long silent: its share from now on, no more. */
	memset(got, 0, sizeof(got));
	serve(&s, 1u << INFO | 1u << CRITICAL, sizes, 800000, got);
	ck_assert_uint_ge(got[INFO], 99000);
	ck_assert_uint_le(got[INFO], 101000);
	/* And who had the link for itself is not made to pay for it. */
	memset(got, 0, sizeof(got));
	serve(&s, 1u << INFO | 1u << WARNING, sizes, 300000, got);
	ck_assert_uint_ge(got[INFO], 99000);
}
END_TEST

START_TEST(the_most_urgent_is_first_when_all_begin)
{
	struct shares s;
	shares_init(&s, weights, PARTIES);
	ck_assert_int_eq(shares_pick(&s, 7), CRITICAL);
	ck_assert_int_eq(shares_pick(&s, 7), CRITICAL); /* asking changes nothing */
	ck_assert_int_eq(shares_pick(&s, 6), WARNING);
	ck_assert_int_eq(shares_pick(&s, 0), -1);
}
END_TEST

START_TEST(nobody_starves_however_small_his_weight)
{
	static const int odd[2] = { 1000, 0 };
	struct shares s;
	shares_init(&s, odd, 2);
	int waited = 0;
	for (int turn = 0; turn < 5000; turn++) {
		int i = shares_pick(&s, 3);
		shares_charge(&s, i, 100);
		waited = i == 1 ? 0 : waited + 1;
		ck_assert_int_le(waited, 1001);
	}
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		who_wants_all_the_time_gets_his_proportion_whatever_the_sizes,
		the_share_of_who_does_not_want_goes_to_the_others,
		idling_gives_neither_credit_nor_debt,
		the_most_urgent_is_first_when_all_begin,
		nobody_starves_however_small_his_weight,
	};
	return run_cases("shares", cases, sizeof(cases) / sizeof(cases[0]));
}
