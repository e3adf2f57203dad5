/* What looking into a queue file promises: right numbers, pages that meet, no change to the file.
 */
#include "storage/inspect.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/base/now.h"
#include "tests/support/expect.h"
#include "tests/support/patience.h"
#include "tests/support/sample_queue.h"

static struct sample_queue queue;
static const int64_t hour = 3600 * NS_PER_S;

static struct inspect *open_it(void)
{
	struct inspect *in = NULL;
	struct err e = { 0 };
	ck_assert_msg(inspect_open(queue.path, 5 * NS_PER_S, &in, &e) == ST_OK, "%s", e.text);
	return in;
}

static int64_t add(const char *signal, const char *class, int destination, const char *state,
		   int records, int64_t at_ns)
{
	return sample_queue_add(&queue, signal, class, destination, state, bytes_str("payload"),
				records, at_ns);
}

struct seen {
	int64_t ids[1000];
	size_t count;
	size_t deliveries;
	char last[200];
};

static void saw_batch(void *ctx, const struct inspect_batch *b)
{
	struct seen *s = ctx;
	ck_assert_uint_lt(s->count, 1000);
	s->ids[s->count++] = b->id;
}

static void saw_delivery(void *ctx, const struct inspect_delivery *d)
{
	struct seen *s = ctx;
	s->deliveries++;
	(void)snprintf(s->last, sizeof(s->last), "%s %s %d %s", d->destination, d->state,
		       d->last_status, d->last_error ? d->last_error : "-");
}

static struct inspect_visitor visitor(struct seen *s)
{
	return (struct inspect_visitor){ .batch = saw_batch, .delivery = saw_delivery, .ctx = s };
}

/* Every page, until the cursor ends. */
static void list_all(struct inspect *in, struct inspect_filter f, struct seen *s)
{
	struct inspect_visitor v = visitor(s);
	struct err e = { 0 };
	do {
		enum status st = inspect_batches(in, &f, &v, &f.after_id, &e);
		ck_assert_msg(st == ST_OK, "%s", e.text);
	} while (f.after_id);
}

START_TEST(each_filter_keeps_what_it_names)
{
	sample_queue_make(&queue);
	add("traces", "info", 1, "ready", 1, 1 * hour);    /* 1 */
	add("logs", "critical", 2, "ready", 2, 2 * hour);  /* 2 */
	add("logs", "info", 2, "dead", 3, 3 * hour);       /* 3 */
	add("metrics", "warning", 1, "dead", 4, 4 * hour); /* 4 */
	sample_queue_run(&queue, "UPDATE batches SET service = 'billing' WHERE id = 4");
	struct inspect *in = open_it();
	const struct {
		const char *what;
		struct inspect_filter f;
		int64_t ids[5];
	} cases[] = {
		{ "everything", { .limit = 9 }, { 1, 2, 3, 4 } },
		{ "ready", { .limit = 9, .state = "ready" }, { 1, 2 } },
		{ "dead", { .limit = 9, .state = "dead" }, { 3, 4 } },
		{ "destination", { .limit = 9, .destination = "logs" }, { 2, 3 } },
		{ "dead of a destination",
		  { .limit = 9, .destination = "central", .state = "dead" },
		  { 4 } },
		{ "signal", { .limit = 9, .signal = "logs" }, { 2, 3 } },
		{ "class", { .limit = 9, .class = "info" }, { 1, 3 } },
		{ "service", { .limit = 9, .service = "billing" }, { 4 } },
		{ "from", { .limit = 9, .received_from_ns = 3 * hour }, { 3, 4 } },
		{ "to", { .limit = 9, .received_to_ns = 2 * hour }, { 1, 2 } },
		{ "pages of one", { .limit = 1 }, { 1, 2, 3, 4 } },
		{ "pages of one dead", { .limit = 1, .state = "dead" }, { 3, 4 } },
		{ "behind a cursor", { .limit = 9, .after_id = 2 }, { 3, 4 } },
		{ "all at once",
		  { .limit = 9,
		    .state = "ready",
		    .destination = "logs",
		    .signal = "logs",
		    .class = "critical",
		    .service = "checkout",
		    .received_from_ns = hour,
		    .received_to_ns = 3 * hour },
		  { 2 } },
		{ "nothing", { .limit = 9, .signal = "metrics", .class = "info" }, { 0 } },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct seen s = { 0 };
		list_all(in, cases[i].f, &s);
		size_t want = 0;
		while (cases[i].ids[want])
			want++;
		ck_assert_msg(s.count == want, "%s: %zu batches", cases[i].what, s.count);
		for (size_t k = 0; k < want; k++)
			ck_assert_msg(s.ids[k] == cases[i].ids[k], "%s", cases[i].what);
		ck_assert_uint_eq(s.deliveries, want);
	}
	inspect_close(in);
	sample_queue_remove(&queue);
}
END_TEST

START_TEST(pages_cross_wide_gaps_and_many_windows)
{
	sample_queue_make(&queue);
	for (int i = 0; i < 30; i++) {
		int64_t id = add("logs", "info", 2, i % 10 ? "ready" : "dead", 1, hour);
		sample_queue_run(&queue,
				 "UPDATE batches SET id = %lld WHERE id = %lld;"
				 "UPDATE deliveries SET batch_id = %lld WHERE batch_id = %lld;"
				 "UPDATE sqlite_sequence SET seq = %lld WHERE name = 'batches'",
				 (long long)(i + 1) * 1000003, (long long)id,
				 (long long)(i + 1) * 1000003, (long long)id,
				 (long long)(i + 1) * 1000003);
	}
	struct inspect *in = open_it();
	struct seen all = { 0 };
	list_all(in, (struct inspect_filter){ .limit = 7 }, &all);
	ck_assert_uint_eq(all.count, 30);
	for (size_t i = 0; i < all.count; i++)
		ck_assert_int_eq(all.ids[i], (int64_t)(i + 1) * 1000003);
	struct seen dead = { 0 };
	list_all(in, (struct inspect_filter){ .limit = 2, .state = "dead" }, &dead);
	ck_assert_uint_eq(dead.count, 3);
	inspect_close(in);
	sample_queue_remove(&queue);
}
END_TEST

START_TEST(an_unknown_destination_is_told)
{
	sample_queue_make(&queue);
	struct inspect *in = open_it();
	struct seen s = { 0 };
	struct inspect_visitor v = visitor(&s);
	struct inspect_filter f = { .limit = 5, .destination = "nowhere" };
	int64_t next = -7;
	struct err e = { 0 };
	EXPECT_STATUS(inspect_batches(in, &f, &v, &next, &e), ST_NOT_FOUND);
	ck_assert_str_eq(e.text, "the queue has no destination \"nowhere\"");
	ck_assert_int_eq(next, -7);
	inspect_close(in);
	sample_queue_remove(&queue);
}
END_TEST

START_TEST(one_batch_comes_with_deliveries_and_payload)
{
	sample_queue_make(&queue);
	int64_t id = add("logs", "info", 2, "dead", 3, hour);
	sample_queue_run(&queue,
			 "INSERT INTO deliveries (batch_id, destination_id, priority, state, "
			 "records) VALUES (%lld, 1, 2, 'ready', 3)",
			 (long long)id);
	struct inspect *in = open_it();
	struct seen s = { 0 };
	struct inspect_visitor v = visitor(&s);
	struct buf body;
	buf_init(&body, 100, NULL);
	enum encoding encoding = ENCODING_ZSTD;
	enum signal signal = SIGNAL_TRACES;
	EXPECT_OK(inspect_batch(in, id, &v, &body, &encoding, &signal, NULL));
	ck_assert(bytes_equal(buf_view(&body), bytes_str("payload")));
	ck_assert_int_eq(encoding, ENCODING_NONE);
	ck_assert_int_eq(signal, SIGNAL_LOGS);
	ck_assert_uint_eq(s.deliveries, 2);
	ck_assert_str_eq(s.last, "logs dead 400 bad label");
	EXPECT_STATUS(inspect_batch(in, 99, &v, NULL, NULL, NULL, NULL), ST_NOT_FOUND);
	inspect_close(in);
	buf_done(&body);
	sample_queue_remove(&queue);
}
END_TEST

START_TEST(a_damaged_missing_or_large_payload_is_told)
{
	sample_queue_make(&queue);
	int64_t id = add("logs", "info", 2, "ready", 3, hour);
	struct inspect *in = open_it();
	struct seen s = { 0 };
	struct inspect_visitor v = visitor(&s);
	struct buf body;
	enum encoding encoding;
	enum signal signal;
	struct err e = { 0 };
	buf_init(&body, 3, NULL);
	EXPECT_STATUS(inspect_batch(in, id, &v, &body, &encoding, &signal, &e), ST_TOO_LARGE);
	sample_queue_run(&queue, "UPDATE payloads SET body = x'00'");
	EXPECT_STATUS(inspect_batch(in, id, &v, &body, &encoding, &signal, &e), ST_CORRUPT);
	ck_assert_ptr_nonnull(strstr(e.text, "checksum"));
	sample_queue_run(&queue, "DELETE FROM payloads");
	EXPECT_STATUS(inspect_batch(in, id, &v, &body, &encoding, &signal, &e), ST_CORRUPT);
	ck_assert_ptr_nonnull(strstr(e.text, "no payload"));
	inspect_close(in);
	buf_done(&body);
	sample_queue_remove(&queue);
}
END_TEST

static void sum_difference(void *ctx, const struct inspect_balance *b)
{
	*(int64_t *)ctx += b->difference;
}

START_TEST(the_shape_counts_and_agrees_with_the_balance_view)
{
	sample_queue_make(&queue);
	add("traces", "info", 1, "ready", 5, 7 * hour);
	add("traces", "critical", 1, "ready", 6, 9 * hour);
	add("logs", "info", 1, "dead", 7, 3 * hour);
	add("logs", "warning", 2, "ready", 8, 4 * hour);
	sample_queue_run(&queue, "INSERT INTO totals VALUES (1, 'traces', 'delivered', 100);"
				 "UPDATE totals SET records = records + 100 WHERE destination_id = "
				 "1 AND signal = 'traces' AND outcome = 'accepted'");
	struct inspect *in = open_it();
	for (int is_broken = 0; is_broken < 2; is_broken++) {
		struct inspect_shape s;
		EXPECT_OK(inspect_shape(in, &s, NULL));
		ck_assert(!s.is_estimate);
		ck_assert_uint_eq(s.count, 3);
		const struct inspect_destination *d = &s.items[0];
		ck_assert_str_eq(d->name, "central");
		ck_assert_int_eq(d->oldest_at_ns, 7 * hour);
		ck_assert_int_eq(d->ready[SIGNAL_TRACES].records, 11);
		ck_assert_int_eq(d->ready[SIGNAL_TRACES].batches, 2);
		ck_assert_int_eq(d->ready[SIGNAL_TRACES].bytes, 14);
		ck_assert_int_eq(d->dead[SIGNAL_LOGS].records, 7);
		ck_assert_int_eq(d->totals[SIGNAL_TRACES][OUTCOME_DELIVERED], is_broken ? 97 : 100);
		ck_assert_str_eq(s.items[1].reason, "connection refused");
		ck_assert_int_eq(s.items[2].oldest_at_ns, 0);
		int64_t from_shape = 0;
		int64_t from_view = 0;
		for (size_t i = 0; i < s.count; i++)
			for (int k = 0; k < SIGNAL_COUNT; k++)
				from_shape += inspect_difference(&s.items[i], (enum signal)k);
		EXPECT_OK(inspect_balance(in, sum_difference, &from_view, NULL));
		ck_assert_int_eq(from_shape, is_broken ? 3 : 0);
		ck_assert_int_eq(from_view, from_shape);
		inspect_shape_done(&s);
		sample_queue_run(&queue, "UPDATE totals SET records = records - 3 WHERE outcome = "
					 "'delivered'");
	}
	inspect_close(in);
	sample_queue_remove(&queue);
}
END_TEST

/* Where others have the machine, so short a limit may pass before anything is read: again, then. */
#define EXPECT_IN_TIME(call)                                      \
	do {                                                      \
		int64_t end_ = patience_end_ns();                 \
		enum status st_ = (call);                         \
		while (st_ == ST_TIMEOUT && patience_pause(end_)) \
			st_ = (call);                             \
		EXPECT_OK(st_);                                   \
	} while (0)

START_TEST(a_queue_too_long_to_count_in_time_is_estimated)
{
	sample_queue_make(&queue);
	add("logs", "info", 2, "ready", 10, hour);
	/* Many copies of the one row; the count cannot end within the limit below. */
	sample_queue_run(
		&queue,
		"BEGIN; WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < "
		"400000) INSERT INTO batches SELECT i, received_at, signal, tenant, class, "
		"priority, requests, records, raw_bytes, stored_bytes, encoding, crc, service, "
		"first_time, last_time, preview, boot, received_mono FROM batches, n WHERE id = 1;"
		"INSERT INTO deliveries (batch_id, destination_id, priority, state, records) "
		"SELECT id, 2, 2, 'ready', 10 FROM "
		"batches WHERE id > 1; UPDATE totals SET records = 4000000; COMMIT");
	struct inspect *in = NULL;
	EXPECT_OK(inspect_open(queue.path, 100 * NS_PER_MS, &in, NULL));
	struct inspect_shape s;
	EXPECT_IN_TIME(inspect_shape(in, &s, NULL));
	ck_assert(s.is_estimate);
	ck_assert_int_eq(s.items[1].ready[SIGNAL_LOGS].records, 4000000);
	ck_assert_int_eq(s.items[1].ready[SIGNAL_LOGS].bytes, 7 * 400000);
	ck_assert_int_eq(s.items[1].ready[SIGNAL_LOGS].batches, -1);
	ck_assert_int_eq(s.items[1].oldest_at_ns, hour);
	inspect_shape_done(&s);
	/* A search that matches nothing ends in time, with a cursor that goes on. */
	struct seen seen = { 0 };
	struct inspect_visitor v = visitor(&seen);
	struct inspect_filter f = { .limit = 5, .service = "nobody" };
	int64_t next = 0;
	int pages = 0;
	do {
		EXPECT_IN_TIME(inspect_batches(in, &f, &v, &next, NULL));
		ck_assert(next == 0 || next > f.after_id);
		f.after_id = next;
		pages++;
	} while (next && pages < 1000);
	ck_assert_uint_eq(seen.count, 0);
	ck_assert_int_lt(pages, 1000);
	int64_t difference = 0;
	struct err e = { 0 };
	EXPECT_STATUS(inspect_balance(in, sum_difference, &difference, &e), ST_TIMEOUT);
	ck_assert_ptr_nonnull(strstr(e.text, "reading took longer than"));
	inspect_close(in);
	sample_queue_remove(&queue);
}
END_TEST

static void count_loss(void *ctx, const struct inspect_loss *l)
{
	*(int64_t *)ctx += l->records;
}

START_TEST(the_ledger_is_paged_newest_first_and_summed_from_where_it_was)
{
	sample_queue_make(&queue);
	for (int i = 1; i <= 5; i++)
		sample_queue_run(&queue,
				 "INSERT INTO losses (at, destination_id, signal, class, reason, "
				 "records, bytes) VALUES (%d, 1, 'logs', 'info', 'evicted', %d, 9)",
				 i, i);
	struct inspect *in = open_it();
	int64_t records = 0;
	int64_t next = 0;
	EXPECT_OK(inspect_losses(in, 0, 3, count_loss, &records, &next, NULL));
	ck_assert_int_eq(records, 5 + 4 + 3);
	ck_assert_int_eq(next, 3);
	EXPECT_OK(inspect_losses(in, next, 3, count_loss, &records, &next, NULL));
	ck_assert_int_eq(records, 15);
	ck_assert_int_eq(next, 0);

	int64_t after = 0;
	records = 0;
	EXPECT_OK(inspect_loss_sums(in, &after, count_loss, &records, NULL));
	ck_assert_int_eq(records, 15);
	EXPECT_OK(inspect_loss_sums(in, &after, count_loss, &records, NULL));
	ck_assert_int_eq(records, 15);

	/* The file is set aside: its rows are gone, and come back. */
	sample_queue_run(&queue, "UPDATE losses SET destination_id = -id, id = -id");
	EXPECT_OK(inspect_loss_sums(in, &after, count_loss, &records, NULL));
	sample_queue_run(&queue, "UPDATE losses SET destination_id = 1, id = -id");
	sample_queue_run(&queue, "INSERT INTO losses (at, destination_id, signal, class, reason, "
				 "records, bytes) VALUES (6, 1, 'logs', 'info', 'evicted', 6, 9)");
	EXPECT_OK(inspect_loss_sums(in, &after, count_loss, &records, NULL));
	ck_assert_int_eq(records, 21);
	inspect_close(in);
	sample_queue_remove(&queue);
}
END_TEST

START_TEST(a_look_leaves_the_file_as_it_was)
{
	sample_queue_make(&queue);
	add("logs", "info", 2, "ready", 3, hour);
	char wal[320];
	struct stat before;
	struct stat after;
	(void)snprintf(wal, sizeof(wal), "%s-wal", queue.path);
	ck_assert_int_eq(stat(wal, &before), 0);
	ck_assert_int_gt(before.st_size, 0);
	struct inspect *in = open_it();
	struct inspect_file f;
	EXPECT_OK(inspect_file(in, &f, NULL));
	ck_assert_int_eq(f.page_bytes, 16384);
	ck_assert_int_eq(f.wal_bytes, before.st_size);
	inspect_close(in);
	ck_assert_int_eq(stat(wal, &after), 0);
	ck_assert_int_eq(after.st_size, before.st_size);
	/* And when no one else has it open: no checkpoint at the last close. */
	sample_queue_close(&queue);
	in = open_it();
	struct seen s = { 0 };
	list_all(in, (struct inspect_filter){ .limit = 5 }, &s);
	ck_assert_uint_eq(s.count, 1);
	inspect_close(in);
	sample_queue_remove(&queue);
}
END_TEST

START_TEST(what_is_no_queue_is_refused_in_words)
{
	sample_queue_make(&queue);
	struct inspect *in = NULL;
	struct err e = { 0 };
	EXPECT_STATUS(inspect_open("/nowhere/queue.db", NS_PER_S, &in, &e), ST_NOT_FOUND);
	ck_assert_str_eq(e.text, "there is no queue file at /nowhere/queue.db");
	sample_queue_run(&queue, "PRAGMA user_version = 99");
	EXPECT_STATUS(inspect_open(queue.path, NS_PER_S, &in, &e), ST_UNSUPPORTED);
	ck_assert_ptr_nonnull(strstr(e.text, "newer tidegate"));
	sample_queue_close(&queue);
	FILE *f = fopen(queue.path, "w");
	for (int i = 0; i < 1000; i++)
		(void)fputs("this is a text file\n", f);
	(void)fclose(f);
	EXPECT_STATUS(inspect_open(queue.path, NS_PER_S, &in, &e), ST_UNSUPPORTED);
	ck_assert_ptr_nonnull(strstr(e.text, "not a SQLite file"));
	ck_assert_ptr_null(in);
	sample_queue_remove(&queue);
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		each_filter_keeps_what_it_names,
		pages_cross_wide_gaps_and_many_windows,
		an_unknown_destination_is_told,
		one_batch_comes_with_deliveries_and_payload,
		a_damaged_missing_or_large_payload_is_told,
		the_shape_counts_and_agrees_with_the_balance_view,
		a_queue_too_long_to_count_in_time_is_estimated,
		the_ledger_is_paged_newest_first_and_summed_from_where_it_was,
		a_look_leaves_the_file_as_it_was,
		what_is_no_queue_is_refused_in_words,
	};
	return run_cases("inspect", cases, sizeof(cases) / sizeof(cases[0]));
}
