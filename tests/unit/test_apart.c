/* What taking a refused export apart promises where the queue itself is in trouble: what was taken
 * is counted as taken and not sent again, whether the payload is damaged half-way or the queue has
 * no room for what died. And what a 413 teaches is unlearned. */
#include <stdio.h>
#include <stdlib.h>

#include "gateway/base/now.h"
#include "gateway/telemetry/wire.h"
#include "tests/support/expect.h"
#include "tests/support/forwarding.h"
#include "tests/support/queue_file.h"

#define FAST "retry_on_failure: {initial_interval: 10ms, max_interval: 50ms}"
enum { RECORDS = 4, FULL_MAX = 24 << 20, FILLER = 512 * 1024 };

/* Logs whose bodies are "<record=i>" and random letters; those of `poisoned` say so. */
static void build(struct buf *out, size_t size, unsigned poisoned)
{
	struct wire_open resource;
	struct wire_open scope;
	struct wire_open record;
	struct wire_open any;
	char *text = calloc(1, size);
	uint64_t random = 1;
	ck_assert_ptr_nonnull(text);
	EXPECT_OK(wire_begin(out, 1, size, &resource));
	EXPECT_OK(wire_begin(out, 2, size, &scope));
	for (unsigned i = 0; i < RECORDS; i++) {
		for (size_t k = 0; k < size; k++) {
			random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
			text[k] = (char)(' ' + 1 + (random >> 58));
		}
		(void)snprintf(text, size, "<record=%u>%s", i,
			       poisoned >> i & 1 ? "<poison>" : "<fine>");
		text[strlen(text)] = ' ';
		EXPECT_OK(wire_begin(out, 2, size, &record));
		EXPECT_OK(wire_begin(out, 5, size, &any));
		EXPECT_OK(wire_put_bytes(out, 1, bytes_of(text, size)));
		EXPECT_OK(wire_end(out, &any));
		EXPECT_OK(wire_end(out, &record));
	}
	EXPECT_OK(wire_end(out, &scope));
	EXPECT_OK(wire_end(out, &resource));
	free(text);
}

static enum status put(struct forwarding *fx, struct bytes body, uint64_t destinations)
{
	struct client_request r = { .id = 1,
				    .signal = SIGNAL_LOGS,
				    .class = RECORD_CLASS_INFO,
				    .records = RECORDS,
				    .size = FILLER,
				    .body = body,
				    .destinations = destinations };
	enum status st;
	client_put(fx->writer, &r, 1, &st, NULL);
	return st;
}

static void put_records(struct forwarding *fx, size_t size, unsigned poisoned,
			uint64_t destinations)
{
	struct buf body;
	buf_init(&body, 64 << 20, NULL);
	build(&body, size, poisoned);
	EXPECT_OK(put(fx, buf_view(&body), destinations));
	buf_done(&body);
}

/* Refuses what is poisoned. Where there is a path, the payload is damaged while the first piece is
 * taken. */
struct judge {
	const char *path;
	int taken[RECORDS];
};

static bool judge(void *ctx, const struct sink_request *r, struct sink_answer *ret)
{
	struct judge *j = ctx;
	*ret = (struct sink_answer){ .status = 400,
				     .content_type = "text/plain",
				     .body = bytes_str("poison is not taken") };
	if (memmem(r->body.p, r->body.n, "<poison>", 8))
		return true;
	for (int i = 0; i < RECORDS; i++) {
		char name[32];
		(void)snprintf(name, sizeof(name), "<record=%d>", i);
		j->taken[i] += memmem(r->body.p, r->body.n, name, strlen(name)) != NULL;
	}
	if (j->path)
		client_execute(j->path, "UPDATE payloads SET body = zeroblob(length(body))");
	j->path = NULL;
	return false;
}

static void expect_taken(const struct judge *j, const int *want)
{
	for (int i = 0; i < RECORDS; i++)
		ck_assert_int_eq(j->taken[i], want[i]);
}

static int64_t ask(const struct forwarding *fx, const char *sql)
{
	return facts_int(fx->path, sql);
}

static void expect_books(const struct forwarding *fx, int64_t delivered, int64_t dead)
{
	ck_assert_int_eq(ask(fx, "SELECT sum(abs(difference)) FROM balance"), 0);
	ck_assert_int_eq(ask(fx, "SELECT delivered FROM balance WHERE destination = 'd0'"),
			 delivered);
	ck_assert_int_eq(ask(fx, "SELECT dead FROM balance WHERE destination = 'd0'"), dead);
}

/* Of a file that the test damaged. */
static void free_damaged(struct forwarding *fx)
{
	forwarding_stop(fx, NS_PER_S);
	writer_stop(fx->writer);
	fx->writer = NULL;
	client_execute(fx->path, "DELETE FROM deliveries; DELETE FROM batches; "
				 "DELETE FROM payloads; DELETE FROM totals");
	forwarding_free(fx);
}

START_TEST(of_a_batch_that_is_damaged_half_way_what_was_taken_counts_as_taken)
{
	struct forwarding *fx = forwarding_new_one(FAST);
	struct judge j = { .path = fx->path };
	http_sink_judge(fx->sides[0].sink, judge, &j);
	put_records(fx, 100, 1u << 3, 1);
	forwarding_start(fx);
	forwarding_wait(fx, "SELECT count(*) FROM dead_letters", 1);
	expect_taken(&j, (int[]){ 1, 1, 0, 0 });
	expect_books(fx, 2, 2);
	ck_assert_int_eq(ask(fx, "SELECT count(*) FROM dead_letters WHERE records = 2 AND "
				 "last_error LIKE '%2 of the 4 records of this batch were taken%'"),
			 1);
	free_damaged(fx);
}
END_TEST

static void fill(struct forwarding *fx)
{
	enum status st = ST_OK;
	for (int i = 0; i < 100 && !st; i++)
		st = put(fx, (struct bytes){ 0 }, 1u << 1);
	ck_assert_int_eq(st, ST_FULL);
}

static struct forwarding *new_full(struct judge *j, uint64_t destinations)
{
	static const char *const options[] = { "max_export_size: 8MiB, " FAST, FAST };
	struct forwarding *fx = forwarding_new_sized(options, 2, FULL_MAX);
	http_sink_judge(fx->sides[0].sink, judge, j);
	put_records(fx, 600 * 1024, 0xe, destinations);
	fill(fx);
	EXPECT_OK(forward_start(fx->sides[0].forward, NULL));
	forwarding_wait(fx,
			"SELECT count(*) FROM deliveries WHERE destination_id = 1 AND "
			"state = 'ready'",
			0);
	expect_taken(j, (int[]){ 1, 0, 0, 0 });
	expect_books(fx, 1, 3);
	return fx;
}

START_TEST(on_a_full_queue_what_died_takes_the_room_of_its_batch)
{
	struct judge j = { 0 };
	struct forwarding *fx = new_full(&j, 1);
	ck_assert_int_eq(ask(fx, "SELECT count(*) FROM dead_letters WHERE last_error LIKE "
				 "'HTTP 400: poison is not taken'"),
			 1);
	ck_assert_int_eq(ask(fx, "SELECT records FROM batches WHERE id = "
				 "(SELECT batch_id FROM dead_letters)"),
			 3);
	forwarding_free(fx);
}
END_TEST

START_TEST(what_died_and_has_no_room_is_kept_whole_with_what_was_taken_named)
{
	struct judge j = { 0 };
	struct forwarding *fx = new_full(&j, 3);
	ck_assert_int_eq(ask(fx, "SELECT count(*) FROM dead_letters WHERE records = 3 AND "
				 "last_status = 400 AND last_error LIKE 'HTTP 400: poison%' AND "
				 "last_error LIKE '%1 of the 4 records of this batch were taken%'"),
			 1);
	ck_assert_int_eq(ask(fx, "SELECT records FROM batches WHERE id = "
				 "(SELECT batch_id FROM dead_letters)"),
			 4);
	forwarding_free(fx);
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		of_a_batch_that_is_damaged_half_way_what_was_taken_counts_as_taken,
		on_a_full_queue_what_died_takes_the_room_of_its_batch,
		what_died_and_has_no_room_is_kept_whole_with_what_was_taken_named,
	};
	return run_cases("apart", cases, sizeof(cases) / sizeof(cases[0]));
}
