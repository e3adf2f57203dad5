/* One export: membership, bodies in each encoding, memory that is bounded and given back. */
#include <stdio.h>
#include <stdlib.h>

#include "gateway/base/now.h"
#include "gateway/forward/export.h"
#include "tests/support/expect.h"
#include "tests/support/queue_client.h"

enum { BATCHES = 4, SIZE = 50000 };

struct fixture {
	char dir[512];
	char path[CLIENT_PATH_SIZE];
	struct writer *writer;
	struct claim_reader *reader;
	struct encoder encoder;
	struct budget budget;
	struct export *export;
};

/* An export of four batches of 50,000 bytes, stored as this. */
static struct fixture *set_up(enum encoding stored)
{
	struct fixture *fx = calloc(1, sizeof(*fx));
	struct err e = { 0 };
	struct claim claims[8];
	size_t n = 0;
	int slot;
	int64_t destination_id;
	ck_assert_ptr_nonnull(fx);
	client_make_dir(fx->dir, sizeof(fx->dir), "export");
	(void)snprintf(fx->path, sizeof(fx->path), "%s/queue.db", fx->dir);
	struct writer_options o = { .path = fx->path,
				    .max_size_bytes = 1u << 30,
				    .encoding = stored,
				    .level = 1,
				    .has_encoding = true };
	ck_assert_msg(writer_open(&o, &fx->writer, &e) == ST_OK, "%s", e.text);
	EXPECT_OK(writer_destination(fx->writer, "d", "file", &slot, &destination_id, &e));
	EXPECT_OK(writer_start(fx->writer, &e));
	for (int64_t id = 1; id <= BATCHES; id++) {
		struct client_request r = { .id = id,
					    .signal = SIGNAL_LOGS,
					    .class = RECORD_CLASS_INFO,
					    .records = 7,
					    .size = SIZE,
					    .destinations = 1 };
		enum status st;
		client_put(fx->writer, &r, 1, &st, NULL);
		EXPECT_OK(st);
	}
	EXPECT_OK(claim_reader_open(fx->path, &fx->reader, &e));
	EXPECT_OK(claim_list(fx->reader, destination_id, -1, 0, claims, 8, &n, &e));
	ck_assert_uint_eq(n, BATCHES);
	budget_init(&fx->budget, 1 << 20);
	fx->export = export_new(claims, n);
	return fx;
}

static void tear_down(struct fixture *fx)
{
	export_free(fx->export);
	ck_assert_uint_eq(budget_used(&fx->budget), 0);
	encoder_done(&fx->encoder);
	claim_reader_close(fx->reader);
	writer_stop(fx->writer);
	client_remove_dir(fx->dir);
	free(fx);
}

static enum status load(struct fixture *fx, enum encoding encoding, size_t *ret_index)
{
	struct err e = { 0 };
	const struct export_form form = { .encoding = encoding };
	return export_load(fx->export, &fx->encoder, fx->reader, &form, &fx->budget, ret_index, &e);
}

START_TEST(the_body_is_all_members_in_order_whatever_the_encodings)
{
	for (int stored = 0; stored < ENCODING_COUNT; stored++) {
		struct fixture *fx = set_up((enum encoding)stored);
		for (int wire = 0; wire < ENCODING_COUNT; wire++) {
			struct buf body;
			size_t index = 99;
			buf_init(&body, SIZE_MAX, NULL);
			EXPECT_OK(load(fx, (enum encoding)wire, &index));
			ck_assert_int_eq(fx->export->encoding, wire);
			EXPECT_OK(decompress((enum encoding)wire, buf_view(&fx->export->body),
					     &body, NULL));
			ck_assert_uint_eq(body.n, BATCHES * SIZE);
			ck_assert_uint_eq(body.n, fx->export->raw_bytes);
			for (int i = 0; i < BATCHES; i++) {
				char name[32];
				(void)snprintf(name, sizeof(name), "<id=%08d>", i + 1);
				ck_assert(memcmp(body.p + i * SIZE, name, strlen(name)) == 0);
			}
			if (wire == stored)
				ck_assert_uint_eq(fx->export->body.n,
						  fx->export->members[0].stored_bytes +
							  fx->export->members[1].stored_bytes +
							  fx->export->members[2].stored_bytes +
							  fx->export->members[3].stored_bytes);
			/* The body holds no more than itself. */
			ck_assert_uint_le(budget_used(&fx->budget), fx->export->body.n + 256);
			export_unload(fx->export);
			ck_assert_uint_eq(budget_used(&fx->budget), 0);
			buf_done(&body);
		}
		tear_down(fx);
	}
}
END_TEST

START_TEST(a_member_that_is_damaged_or_gone_is_named)
{
	struct fixture *fx = set_up(ENCODING_ZSTD);
	for (int wire = 0; wire < ENCODING_COUNT; wire++) {
		size_t index = 99;
		client_execute(fx->path,
			       "UPDATE payloads SET body = CAST(x'00' || substr(body, 2) AS BLOB) "
			       "WHERE batch_id = 3");
		EXPECT_STATUS(load(fx, (enum encoding)wire, &index), ST_CORRUPT);
		ck_assert_uint_eq(index, 2);
		ck_assert_uint_eq(budget_used(&fx->budget), 0);
	}
	client_execute(fx->path, "DELETE FROM deliveries WHERE batch_id = 1; "
				 "DELETE FROM payloads WHERE batch_id = 1; "
				 "DELETE FROM batches WHERE id = 1");
	size_t index = 99;
	EXPECT_STATUS(load(fx, ENCODING_GZIP, &index), ST_NOT_FOUND);
	ck_assert_uint_eq(index, 0);
	export_drop(fx->export, 2);
	export_drop(fx->export, 0);
	ck_assert_uint_eq(fx->export->count, 2);
	ck_assert_uint_eq(fx->export->raw_bytes, 2 * SIZE);
	ck_assert_int_eq(fx->export->members[0].batch_id, 2);
	ck_assert_int_eq(fx->export->members[1].batch_id, 4);
	EXPECT_OK(load(fx, ENCODING_GZIP, &index));
	tear_down(fx);
}
END_TEST

START_TEST(what_has_no_room_in_the_budget_is_refused_whole)
{
	for (int wire = 0; wire < ENCODING_COUNT; wire++) {
		struct fixture *fx = set_up(ENCODING_ZSTD);
		size_t index = 0;
		budget_init(&fx->budget, 3 * SIZE / 2);
		EXPECT_STATUS(load(fx, (enum encoding)wire, &index), ST_BUSY);
		ck_assert_uint_eq(budget_used(&fx->budget), 0);
		budget_init(&fx->budget, 3 * BATCHES * SIZE);
		EXPECT_OK(load(fx, (enum encoding)wire, &index));
		tear_down(fx);
	}
}
END_TEST

START_TEST(patience_grows_with_what_has_to_go_through)
{
	struct export x = { .body = { .n = 0 } };
	ck_assert_int_eq(export_patience_ns(&x, 30 * NS_PER_S), 600 * NS_PER_S);
	/* Six of 1 MiB at a time, on 64 kbit/s. */
	x.body.n = 1 << 20;
	ck_assert_int_gt(export_patience_ns(&x, 30 * NS_PER_S),
			 6 * (int64_t)(x.body.n / 8000) * NS_PER_S);
	/* The largest that can be configured is still no overflow. */
	x.body.n = (size_t)1 << 30;
	ck_assert_int_lt(export_patience_ns(&x, 3600 * NS_PER_S), INT64_MAX / 1000);
}
END_TEST

START_TEST(a_size_that_is_not_the_rows_is_damage)
{
	struct fixture *fx = set_up(ENCODING_ZSTD);
	size_t index = 99;
	fx->export->members[1].raw_bytes -= 5;
	fx->export->raw_bytes -= 5;
	EXPECT_STATUS(load(fx, ENCODING_GZIP, &index), ST_CORRUPT);
	fx->export->members[1].raw_bytes += 9;
	fx->export->raw_bytes += 9;
	EXPECT_STATUS(load(fx, ENCODING_NONE, &index), ST_CORRUPT);
	ck_assert_uint_eq(index, 1);
	tear_down(fx);
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		the_body_is_all_members_in_order_whatever_the_encodings,
		a_member_that_is_damaged_or_gone_is_named,
		what_has_no_room_in_the_budget_is_refused_whole,
		patience_grows_with_what_has_to_go_through,
		a_size_that_is_not_the_rows_is_damage,
	};
	return run_cases("export", cases, sizeof(cases) / sizeof(cases[0]));
}
