/* What packing promises: equal keys merge in order, unequal ones never, nothing is lost at any
 * size. */
#include "storage/pack.h"

#include <stdio.h>
#include <stdlib.h>

#include "gateway/base/compression.h"
#include "storage/claim.h"
#include "storage/db.h"
#include "tests/support/expect.h"
#include "tests/support/queue_file.h"

struct fixture {
	struct queue_file file;
	sqlite3 *db;
	struct queue q;
	struct pack *p;
	struct packed *packed;
	int64_t ids[2];
};

static void begin(struct fixture *f, size_t merge_bytes, enum encoding encoding)
{
	f->db = queue_file_open(&f->file);
	queue_init(&f->q, f->db);
	struct pack_compression compression = { encoding, 1, 1 };
	f->p = pack_new(merge_bytes, &compression);
	EXPECT_OK(queue_begin(&f->q));
	for (int i = 0; i < 2; i++) {
		char name[] = { (char)('a' + i), '\0' };
		EXPECT_OK(queue_destination(&f->q, name, "file", 0, true, &f->ids[i]));
		pack_set_slot(f->p, i, f->ids[i]);
	}
	f->packed = packed_new(f->p);
	pack_begin(f->p, f->packed, false);
}

static void insert(struct fixture *f)
{
	EXPECT_OK(pack_flush(f->p));
	EXPECT_OK(packed_insert(f->packed, &f->q));
}

static void commit(struct fixture *f)
{
	insert(f);
	EXPECT_OK(queue_commit(&f->q));
}

static void end(struct fixture *f)
{
	packed_free(f->packed);
	pack_free(f->p);
	queue_done(&f->q);
	db_close(f->db);
	queue_file_remove(&f->file);
}

static void fill(struct put_job *put, enum signal signal, const char *tenant, struct bytes body)
{
	memset(put, 0, sizeof(*put));
	put->signal = signal;
	put->tenant = bytes_str(tenant);
	put->part_count = 1;
	put->parts[0] = (struct put_part){
		.class = RECORD_CLASS_INFO, .records = 2, .body = body, .destinations = 1
	};
}

static int64_t ask(struct fixture *f, const char *sql)
{
	return queue_file_int(f->file.path, sql);
}

START_TEST(only_equal_keys_merge)
{
	struct fixture f;
	struct put_job puts[6];
	begin(&f, 1000, ENCODING_NONE);
	for (int i = 0; i < 6; i++)
		fill(&puts[i], SIGNAL_LOGS, "", bytes_str("x"));
	puts[1].signal = SIGNAL_METRICS;
	puts[2].tenant = bytes_str("t");
	puts[3].parts[0].class = RECORD_CLASS_CRITICAL;
	puts[4].parts[0].destinations = 3;
	for (int i = 0; i < 6; i++)
		EXPECT_OK(pack_add(f.p, &puts[i]));
	commit(&f);
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM batches"), 5);
	ck_assert_int_eq(ask(&f, "SELECT max(requests) FROM batches"), 2);
	ck_assert_int_eq(ask(&f, "SELECT records FROM batches WHERE requests = 2"), 4);
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM deliveries"), 6);
	ck_assert_uint_eq(f.packed->slots, 3);
	end(&f);
}
END_TEST

/* Bodies of many sizes, more keys than rows may be open: all of it comes out, in order by key. */
START_TEST(nothing_is_lost_or_reordered_at_any_size)
{
	static const enum encoding encodings[] = { ENCODING_NONE, ENCODING_GZIP, ENCODING_ZSTD };
	enum { PUTS = 1200, KEYS = 40 };
	for (size_t k = 0; k < 3; k++) {
		struct fixture f;
		static struct put_job puts[PUTS];
		static char bodies[PUTS][700];
		static char tenants[KEYS][16];
		struct buf want[KEYS];
		begin(&f, 300, encodings[k]);
		for (int i = 0; i < KEYS; i++) {
			buf_init(&want[i], 1 << 20, NULL);
			(void)snprintf(tenants[i], sizeof(tenants[i]), "t%d", i);
		}
		for (int i = 0; i < PUTS; i++) {
			int key = i < 600 ? i % 3 : i * 7 % KEYS;
			int n = snprintf(bodies[i], sizeof(bodies[i]), "<%d", i);
			int size = n + 1 + i * 37 % (i % 11 ? 40 : 600);
			memset(bodies[i] + n, '.', (size_t)(size - n));
			struct bytes body = bytes_of(bodies[i], (size_t)size);
			fill(&puts[i], SIGNAL_LOGS, tenants[key], body);
			EXPECT_OK(buf_append(&want[key], body));
			if (!pack_has_room(f.p)) {
				insert(&f);
				pack_begin(f.p, f.packed, false);
			}
			EXPECT_OK(pack_add(f.p, &puts[i]));
		}
		commit(&f);
		ck_assert_int_eq(ask(&f, "SELECT sum(records) FROM batches"), 2 * PUTS);
		ck_assert_int_eq(ask(&f, "SELECT sum(requests) FROM batches"), PUTS);
		for (int i = 0; i < KEYS; i++) {
			struct err e = { .text = "" };
			struct buf got;
			sqlite3_stmt *s = NULL;
			buf_init(&got, 1 << 20, NULL);
			EXPECT_OK(stmt_prepare(f.db,
					       "SELECT body FROM payloads JOIN batches ON id = "
					       "batch_id WHERE tenant = ?1 ORDER BY id",
					       &s, &e));
			stmt_bind_text(s, 1, bytes_str(tenants[i]));
			while (stmt_step(s, &e) == ST_OK)
				EXPECT_OK(decompress(encodings[k],
						     bytes_of(sqlite3_column_blob(s, 0),
							      (size_t)sqlite3_column_bytes(s, 0)),
						     &got, &e));
			(void)sqlite3_finalize(s);
			ck_assert(bytes_equal(buf_view(&got), buf_view(&want[i])));
			buf_done(&got);
			buf_done(&want[i]);
		}
		end(&f);
	}
}
END_TEST

START_TEST(what_is_wrong_with_a_put_is_found_before_anything_is_taken)
{
	struct fixture f;
	struct put_job put;
	begin(&f, 1000, ENCODING_ZSTD);
	struct {
		size_t parts;
		uint32_t records;
		uint64_t destinations;
		size_t size;
		size_t tenant;
		enum status want;
	} rows[] = {
		{ 0, 1, 1, 1, 0, ST_INVALID },  { 4, 1, 1, 1, 0, ST_INVALID },
		{ 1, 0, 1, 1, 0, ST_INVALID },  { 1, 1, 0, 1, 0, ST_INVALID },
		{ 1, 1, 4, 1, 0, ST_INVALID },  { 1, 1, 1, 0, 0, ST_INVALID },
		{ 1, 1, 1, 1, 65, ST_INVALID }, { 1, 1, 1, SIZE_MAX, 0, ST_TOO_LARGE },
	};
	char tenant[65] = "";
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		fill(&put, SIGNAL_LOGS, "", bytes_of("x", rows[i].size));
		put.part_count = rows[i].parts;
		put.tenant = bytes_of(tenant, rows[i].tenant);
		put.parts[0].records = rows[i].records;
		put.parts[0].destinations = rows[i].destinations;
		EXPECT_STATUS(pack_add(f.p, &put), rows[i].want);
	}
	/* The first part is fine, the second is not: neither is taken. */
	fill(&put, SIGNAL_LOGS, "", bytes_str("x"));
	put.part_count = 2;
	EXPECT_STATUS(pack_add(f.p, &put), ST_INVALID);
	commit(&f);
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM batches"), 0);
	end(&f);
}
END_TEST

START_TEST(words_are_cut_between_characters_and_times_span_the_parts)
{
	struct fixture f;
	struct put_job puts[2];
	char words[400];
	begin(&f, 1000, ENCODING_NONE);
	for (size_t i = 0; i + 3 <= sizeof(words); i += 3)
		memcpy(words + i, "\xe2\x82\xac", 3); /* euro signs */
	fill(&puts[0], SIGNAL_LOGS, "", bytes_str("a"));
	fill(&puts[1], SIGNAL_LOGS, "", bytes_str("b"));
	puts[0].parts[0].first_time_ns = 50;
	puts[0].parts[0].last_time_ns = 60;
	puts[1].parts[0].first_time_ns = 10;
	puts[1].parts[0].last_time_ns = 20;
	puts[1].parts[0].service = bytes_of(words, 399);
	puts[1].parts[0].preview = bytes_str("hello");
	EXPECT_OK(pack_add(f.p, &puts[0]));
	EXPECT_OK(pack_add(f.p, &puts[1]));
	commit(&f);
	ck_assert_int_eq(ask(&f, "SELECT length(service) FROM batches"), PACK_WORDS_MAX / 3);
	ck_assert_int_eq(ask(&f, "SELECT first_time FROM batches"), 10);
	ck_assert_int_eq(ask(&f, "SELECT last_time FROM batches"), 60);
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM batches WHERE preview = 'hello'"), 1);
	end(&f);
}
END_TEST

START_TEST(an_emptied_packed_gives_back_what_a_large_body_took)
{
	enum { LARGE = 5 << 20 };
	struct fixture f;
	struct put_job put;
	uint8_t *body = calloc(1, LARGE);
	begin(&f, 1000, ENCODING_NONE);
	fill(&put, SIGNAL_LOGS, "", bytes_of(body, LARGE));
	EXPECT_OK(pack_add(f.p, &put));
	commit(&f);
	ck_assert_uint_ge(f.packed->out.cap, LARGE);
	packed_empty(f.packed);
	ck_assert_uint_eq(f.packed->out.cap, 0);
	ck_assert_uint_eq(f.packed->row_count, 0);
	pack_begin(f.p, f.packed, false);
	fill(&put, SIGNAL_LOGS, "", bytes_str("small"));
	EXPECT_OK(queue_begin(&f.q));
	EXPECT_OK(pack_add(f.p, &put));
	commit(&f);
	size_t cap = f.packed->out.cap;
	packed_empty(f.packed);
	ck_assert_uint_eq(f.packed->out.cap, cap);
	free(body);
	end(&f);
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		only_equal_keys_merge,
		nothing_is_lost_or_reordered_at_any_size,
		what_is_wrong_with_a_put_is_found_before_anything_is_taken,
		words_are_cut_between_characters_and_times_span_the_parts,
		an_emptied_packed_gives_back_what_a_large_body_took,
	};
	return run_cases("pack", cases, sizeof(cases) / sizeof(cases[0]));
}
