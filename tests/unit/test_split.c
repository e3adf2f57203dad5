/* What splitting promises: what is at fault dies alone, everything else is sent and taken, in
 * order, within a bounded number of requests; and a backend that refuses everything is found out
 * soon. */
#include "gateway/forward/split.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/support/expect.h"

enum { BATCHES_MAX = 256, RECORDS_MAX = 4096 };

/* A backend that refuses what holds a poisoned record, and what became of each record. */
static struct {
	uint32_t records[BATCHES_MAX];
	bool is_poisoned[BATCHES_MAX][RECORDS_MAX];
	int delivered[BATCHES_MAX][RECORDS_MAX];
	int dead[BATCHES_MAX][RECORDS_MAX];
	bool refuses_everything;
	uint32_t max_records; /* 413 above it; 0: none */
	int64_t partial;      /* of each request that it takes, so many are rejected */
	int64_t rejected;     /* as settled */
	int requests;
	int64_t last_sent; /* to see the order */
} sim;

static void begin(size_t batches, uint32_t records)
{
	memset(&sim, 0, sizeof(sim));
	for (size_t i = 0; i < batches; i++)
		sim.records[i] = records;
	sim.last_sent = -1;
}

static struct export *refused_export(size_t batches, enum verdict verdict)
{
	struct claim claims[BATCHES_MAX] = { 0 };
	for (size_t i = 0; i < batches; i++) {
		claims[i].batch_id = (int64_t)i;
		claims[i].records = sim.records[i];
		claims[i].batch_records = sim.records[i];
	}
	struct export *x = export_new(claims, batches);
	x->reply = (struct export_reply){ .verdict = verdict, .status = 400 };
	(void)snprintf(x->reply.error, sizeof(x->reply.error), "HTTP 400: no");
	return x;
}

static struct export_reply judge(const struct split_piece *p)
{
	struct export_reply reply = { .verdict = VERDICT_DELIVERED, .rejected = sim.partial };
	uint32_t records = 0;
	bool is_poisoned = sim.refuses_everything;
	for (size_t b = p->first; b < p->first + p->count; b++) {
		uint32_t first = p->records.first;
		uint32_t count = p->records.count ? p->records.count : sim.records[b];
		records += count;
		for (uint32_t r = first; r < first + count; r++)
			is_poisoned = is_poisoned || sim.is_poisoned[b][r];
	}
	if (is_poisoned || (sim.max_records && records > sim.max_records)) {
		reply = (struct export_reply){ .status = 400 };
		reply.verdict = is_poisoned ? VERDICT_REFUSED : VERDICT_TOO_LARGE;
		(void)snprintf(reply.error, sizeof(reply.error), "HTTP 400: no");
	}
	return reply;
}

static void mark(int (*of)[RECORDS_MAX], const struct split_piece *p)
{
	for (size_t b = p->first; b < p->first + p->count; b++) {
		uint32_t count = p->records.count ? p->records.count : sim.records[b];
		for (uint32_t r = p->records.first; r < p->records.first + count; r++)
			of[b][r]++;
	}
}

static void settle_parted(struct split *s, const struct split_piece *p)
{
	struct split_fault fault;
	ck_assert_uint_eq(p->count, 1);
	sim.rejected += split_rejected(s);
	for (size_t i = 0; split_fault(s, i, &fault); i++) {
		uint32_t records = 0;
		for (size_t k = 0; k < fault.range_count; k++) {
			const struct split_piece dead = { .first = p->first,
							  .count = 1,
							  .records = fault.ranges[k] };
			ck_assert(k == 0 || fault.ranges[k].first > fault.ranges[k - 1].first);
			mark(sim.dead, &dead);
			records += fault.ranges[k].count;
		}
		ck_assert_uint_eq(records, fault.records);
	}
}

static void answer(struct split *s, const struct split_piece *p)
{
	struct export_reply reply = judge(p);
	sim.requests++;
	int64_t at = (int64_t)p->first * RECORDS_MAX + p->records.first;
	if (reply.verdict != VERDICT_DELIVERED) {
		split_refused(s, &reply);
		return;
	}
	ck_assert_int_gt(at, sim.last_sent);
	sim.last_sent = at;
	mark(sim.delivered, p);
	split_delivered(s, reply.rejected);
}

/* Until it is over. True: it was futile. */
static bool run(size_t batches, enum verdict verdict, bool is_suspicious)
{
	struct export *x = refused_export(batches, verdict);
	struct split *s = split_new(x, is_suspicious);
	struct split_piece p;
	enum split_step step;
	export_free(x);
	while ((step = split_next(s, &p)) != SPLIT_OVER) {
		ck_assert_int_lt(sim.requests, 70 * BATCHES_MAX);
		if (step == SPLIT_SEND) {
			answer(s, &p);
			continue;
		}
		if (step == SPLIT_DEAD)
			mark(sim.dead, &p);
		else
			settle_parted(s, &p);
		split_settled(s);
	}
	bool is_futile = split_was_futile(s);
	split_free(s);
	/* Whatever happened: each record is decided exactly once. */
	for (size_t b = 0; b < batches; b++)
		for (uint32_t r = 0; r < sim.records[b]; r++)
			ck_assert_int_eq(sim.delivered[b][r] + sim.dead[b][r], 1);
	return is_futile;
}

static int count_dead(size_t batches)
{
	int n = 0;
	for (size_t b = 0; b < batches; b++)
		for (uint32_t r = 0; r < sim.records[b]; r++)
			n += sim.dead[b][r];
	return n;
}

START_TEST(one_record_at_fault_dies_alone_wherever_it_is)
{
	static const size_t batches[] = { 1, 2, 3, 7, 64 };
	for (size_t i = 0; i < sizeof(batches) / sizeof(batches[0]); i++)
		for (uint32_t records = 1; records <= 2000; records = records * 5 / 2 + 1)
			for (uint32_t k = 0; k < 5; k++) {
				size_t b = batches[i] * k / 5;
				uint32_t r = records * k / 5;
				begin(batches[i], records);
				sim.is_poisoned[b][r] = true;
				(void)run(batches[i], VERDICT_REFUSED, false);
				ck_assert_int_eq(sim.dead[b][r], 1);
				ck_assert_int_eq(count_dead(batches[i]), 1);
				ck_assert_int_le(sim.requests, 36);
			}
}
END_TEST

START_TEST(several_at_fault_die_alone_within_the_bound)
{
	begin(2, 1000);
	sim.is_poisoned[0][0] = sim.is_poisoned[0][999] = true;
	sim.is_poisoned[1][5] = sim.is_poisoned[1][6] = sim.is_poisoned[1][700] = true;
	(void)run(2, VERDICT_REFUSED, false);
	ck_assert_int_eq(count_dead(2), 5);
}
END_TEST

START_TEST(too_many_at_fault_die_with_their_neighbours_within_the_bound)
{
	begin(1, 4000);
	for (uint32_t r = 100; r < 4000; r += 40)
		sim.is_poisoned[0][r] = true;
	(void)run(1, VERDICT_REFUSED, false);
	ck_assert_int_le(sim.requests, 2 * SPLIT_REFUSALS_MAX + 1);
	ck_assert_int_lt(count_dead(1), 4000);
	for (uint32_t r = 100; r < 4000; r += 40)
		ck_assert_int_eq(sim.dead[0][r], 1);
}
END_TEST

START_TEST(a_batch_that_is_bad_to_the_last_record_does_not_take_others_along)
{
	begin(16, 100);
	for (uint32_t r = 0; r < 100; r++)
		sim.is_poisoned[0][r] = true;
	sim.is_poisoned[9][50] = true;
	ck_assert(!run(16, VERDICT_REFUSED, false));
	ck_assert_int_eq(count_dead(16), 101);
}
END_TEST

START_TEST(faults_in_every_batch_of_a_large_export_take_nothing_else_along)
{
	begin(BATCHES_MAX, 100);
	for (uint32_t b = 0; b < BATCHES_MAX; b++)
		sim.is_poisoned[b][b * 7 % 100] = true;
	(void)run(BATCHES_MAX, VERDICT_REFUSED, false);
	ck_assert_int_eq(count_dead(BATCHES_MAX), BATCHES_MAX);
	ck_assert_int_le(sim.requests, 20 * BATCHES_MAX);
	/* And where nothing is taken any more, the end comes as soon as before. */
	begin(BATCHES_MAX, 100);
	for (uint32_t b = 10; b < BATCHES_MAX; b++)
		for (uint32_t r = 0; r < 100; r++)
			sim.is_poisoned[b][r] = true;
	(void)run(BATCHES_MAX, VERDICT_REFUSED, false);
	ck_assert_int_eq(count_dead(BATCHES_MAX), (BATCHES_MAX - 10) * 100);
	ck_assert_int_le(sim.requests, SPLIT_REFUSALS_MAX * (SPLIT_BARREN_MAX + 2));
}
END_TEST

START_TEST(what_refuses_everything_costs_few_requests)
{
	static const size_t batches[] = { 1, 2, 20, 256 };
	for (size_t i = 0; i < sizeof(batches) / sizeof(batches[0]); i++) {
		begin(batches[i], 500);
		sim.refuses_everything = true;
		ck_assert(run(batches[i], VERDICT_REFUSED, false));
		ck_assert_int_eq(count_dead(batches[i]), (int)batches[i] * 500);
		ck_assert_int_le(sim.requests, 2 * SPLIT_BARREN_MAX + 2);
		begin(batches[i], 500);
		sim.refuses_everything = true;
		(void)run(batches[i], VERDICT_REFUSED, true);
		ck_assert_int_le(sim.requests, 2);
	}
}
END_TEST

START_TEST(a_suspicion_that_is_wrong_loses_only_what_is_at_fault)
{
	begin(8, 100);
	sim.is_poisoned[5][50] = true;
	(void)run(8, VERDICT_REFUSED, true);
	ck_assert_int_eq(count_dead(8), 1);
}
END_TEST

START_TEST(what_is_too_large_is_sent_in_parts_and_all_of_it_is_taken)
{
	begin(1, 1000);
	sim.max_records = 300;
	ck_assert(!run(1, VERDICT_TOO_LARGE, false));
	ck_assert_int_eq(count_dead(1), 0);
	ck_assert_int_le(sim.requests, 6);
	/* A request of many times what the backend takes. */
	begin(1, 4000);
	sim.max_records = 65;
	(void)run(1, VERDICT_TOO_LARGE, false);
	ck_assert_int_eq(count_dead(1), 0);
	/* A single record that is too large dies. */
	begin(3, 4);
	sim.max_records = 1;
	sim.is_poisoned[1][2] = true;
	(void)run(3, VERDICT_TOO_LARGE, false);
	ck_assert_int_eq(count_dead(3), 1);
}
END_TEST

START_TEST(what_a_part_rejects_is_added_up)
{
	begin(1, 64);
	sim.partial = 1;
	sim.is_poisoned[0][63] = true;
	(void)run(1, VERDICT_REFUSED, false);
	ck_assert_int_eq(count_dead(1), 1);
	ck_assert_int_gt(sim.rejected, 0);
}
END_TEST

START_TEST(a_part_rejects_no_more_than_was_sent)
{
	begin(1, 64);
	sim.partial = INT64_MAX;
	sim.is_poisoned[0][0] = sim.is_poisoned[0][63] = true;
	(void)run(1, VERDICT_REFUSED, false);
	ck_assert_int_eq(count_dead(1), 2);
	ck_assert_int_eq(sim.rejected, 62);
}
END_TEST

START_TEST(members_that_are_gone_are_neither_sent_nor_settled_twice)
{
	begin(4, 10);
	struct export *x = refused_export(4, VERDICT_REFUSED);
	struct split *s = split_new(x, false);
	struct split_piece p;
	struct claim claims[BATCHES_MAX];
	export_free(x);
	ck_assert_int_eq(split_next(s, &p), SPLIT_SEND);
	ck_assert_uint_eq(split_members(s, &p, claims), 2);
	split_drop(s, 1);
	ck_assert_uint_eq(split_members(s, &p, claims), 1);
	ck_assert_int_eq(claims[0].batch_id, 0);
	split_drop(s, 0);
	ck_assert_uint_eq(split_members(s, &p, claims), 0);
	split_skipped(s);
	ck_assert_int_eq(split_next(s, &p), SPLIT_SEND);
	ck_assert_uint_eq(p.first, 2);
	split_give_up(s, "no part of it can be read");
	ck_assert_int_eq(split_next(s, &p), SPLIT_DEAD);
	ck_assert_uint_eq(split_members(s, &p, claims), 2);
	ck_assert_str_eq(split_reason(s)->error, "HTTP 400: no; no part of it can be read");
	split_free(s);
}
END_TEST

/* Random backends, random batches: the invariants of run() hold. */
START_TEST(whatever_is_refused_each_record_is_decided_once)
{
	uint64_t random = 42;
	for (int round = 0; round < 300; round++) {
		random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
		size_t batches = 1 + (random >> 40) % 40;
		begin(batches, 1 + (uint32_t)(random >> 33) % 60);
		sim.max_records = random >> 50 & 1 ? 1 + (uint32_t)(random >> 20) % 200 : 0;
		for (uint64_t n = random >> 60; n > 0; n--) {
			random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
			size_t b = (random >> 33) % batches;
			sim.is_poisoned[b][(random >> 45) % sim.records[b]] = true;
		}
		(void)run(batches, random >> 51 & 1 ? VERDICT_REFUSED : VERDICT_TOO_LARGE,
			  (random >> 52) % 4 == 0);
	}
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		one_record_at_fault_dies_alone_wherever_it_is,
		several_at_fault_die_alone_within_the_bound,
		too_many_at_fault_die_with_their_neighbours_within_the_bound,
		a_batch_that_is_bad_to_the_last_record_does_not_take_others_along,
		faults_in_every_batch_of_a_large_export_take_nothing_else_along,
		what_refuses_everything_costs_few_requests,
		a_suspicion_that_is_wrong_loses_only_what_is_at_fault,
		what_is_too_large_is_sent_in_parts_and_all_of_it_is_taken,
		what_a_part_rejects_is_added_up,
		a_part_rejects_no_more_than_was_sent,
		members_that_are_gone_are_neither_sent_nor_settled_twice,
		whatever_is_refused_each_record_is_decided_once,
	};
	return run_cases("split", cases, sizeof(cases) / sizeof(cases[0]));
}
