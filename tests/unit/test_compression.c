/* What compression promises: what goes in comes out, and hostile bytes cost no more than the cap.
 */
#include <stdio.h>

#include "gateway/base/compression.h"
#include "tests/support/expect.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const enum encoding encodings[] = { ENCODING_NONE, ENCODING_GZIP, ENCODING_ZSTD };
static const enum encoding packed[] = { ENCODING_GZIP, ENCODING_ZSTD };

/* Text that compresses, mixed with bytes that do not. */
static void fill(struct buf *b, size_t n)
{
	uint32_t x = 1;
	buf_init(b, n, NULL);
	EXPECT_OK(buf_reserve(b, n));
	for (size_t i = 0; i < n; i++) {
		x = x * 1664525 + 1013904223;
		b->p[i] = (i / 64) % 3 ? (uint8_t)("telemetry "[i % 10]) : (uint8_t)(x >> 24);
	}
	buf_advance(b, n);
}

static void pack(enum encoding encoding, struct bytes src, struct buf *out)
{
	struct compressor *c = compressor_new(encoding, 1);
	EXPECT_OK(compress_append(c, src, out));
	compressor_free(c);
}

static const size_t sizes[] = { 0, 1, 100, 65535, 65536, 65537, 1000000 };

START_TEST(what_goes_in_comes_out)
{
	for (size_t i = 0; i < COUNT(encodings) * COUNT(sizes); i++) {
		enum encoding encoding = encodings[i % COUNT(encodings)];
		size_t n = sizes[i / COUNT(encodings)];
		struct buf src;
		struct buf small;
		struct buf back;
		fill(&src, n);
		buf_init(&small, 4 << 20, NULL);
		/* Exactly the size: the cap itself is allowed. */
		buf_init(&back, n, NULL);
		pack(encoding, buf_view(&src), &small);
		struct err e = { 0 };
		enum status st = decompress(encoding, buf_view(&small), &back, &e);
		ck_assert_msg(st == ST_OK, "%s of %zu bytes: %s", encoding_text(encoding), n,
			      err_text(&e, st));
		ck_assert(bytes_equal(buf_view(&back), buf_view(&src)));
		buf_done(&src);
		buf_done(&small);
		buf_done(&back);
	}
}
END_TEST

START_TEST(outputs_one_after_the_other_are_one_stream)
{
	for (size_t i = 0; i < COUNT(encodings); i++) {
		struct compressor *c = compressor_new(encodings[i], 3);
		struct buf out;
		struct buf back;
		const struct bytes parts[] = { bytes_str("three "), bytes_of(NULL, 0),
					       bytes_str("parts") };
		buf_init(&out, 1 << 20, NULL);
		buf_init(&back, 1000, NULL);
		EXPECT_OK(compress_append(c, bytes_str("one, "), &out));
		EXPECT_OK(compress_append(c, bytes_str(""), &out));
		EXPECT_OK(compress_parts(c, parts, COUNT(parts), &out));
		EXPECT_OK(compress_parts(c, parts, 0, &out));
		EXPECT_OK(compress_append(c, bytes_str(", end"), &out));
		EXPECT_OK(decompress(encodings[i], buf_view(&out), &back, NULL));
		ck_assert(bytes_equal(buf_view(&back), bytes_str("one, three parts, end")));
		buf_done(&out);
		buf_done(&back);
		compressor_free(c);
	}
}
END_TEST

START_TEST(a_stream_cut_at_any_byte_is_invalid)
{
	for (size_t i = 0; i < COUNT(packed); i++) {
		struct buf src;
		struct buf small;
		fill(&src, 3000);
		buf_init(&small, 1 << 20, NULL);
		pack(packed[i], buf_view(&src), &small);
		for (size_t n = 0; n < small.n; n++) {
			struct buf back;
			struct err e = { 0 };
			buf_init(&back, 1 << 20, NULL);
			enum status st = decompress(packed[i], bytes_of(small.p, n), &back, &e);
			ck_assert_msg(st == ST_INVALID, "%s cut at %zu of %zu: %s",
				      encoding_text(packed[i]), n, small.n, status_name(st));
			ck_assert_ptr_nonnull(strstr(e.text, "byte"));
			buf_done(&back);
		}
		buf_done(&src);
		buf_done(&small);
	}
}
END_TEST

START_TEST(a_changed_byte_is_an_error_or_at_least_no_crash)
{
	for (size_t i = 0; i < COUNT(packed); i++) {
		struct buf src;
		struct buf small;
		fill(&src, 2000);
		buf_init(&small, 1 << 20, NULL);
		pack(packed[i], buf_view(&src), &small);
		for (size_t n = 0; n < small.n; n++) {
			struct buf back;
			buf_init(&back, 1 << 20, NULL);
			small.p[n] ^= 0x55;
			enum status st = decompress(packed[i], buf_view(&small), &back, NULL);
			small.p[n] ^= 0x55;
			/* gzip has a CRC-32 of the data; its header has bytes that mean nothing. */
			if (!st && packed[i] == ENCODING_GZIP)
				ck_assert(bytes_equal(buf_view(&back), buf_view(&src)));
			buf_done(&back);
		}
		buf_done(&src);
		buf_done(&small);
	}
}
END_TEST

START_TEST(a_bomb_costs_the_cap_and_no_more)
{
	for (size_t i = 0; i < COUNT(packed); i++) {
		struct buf zeros;
		struct buf bomb;
		struct buf back;
		struct budget budget;
		struct err e = { 0 };
		buf_init(&zeros, 64 << 20, NULL);
		EXPECT_OK(buf_reserve(&zeros, 64 << 20));
		memset(zeros.p, 0, 64 << 20);
		buf_advance(&zeros, 64 << 20);
		buf_init(&bomb, 128 << 20, NULL);
		pack(packed[i], buf_view(&zeros), &bomb);
		ck_assert_uint_lt(bomb.n, 1 << 20);
		buf_done(&zeros);

		budget_init(&budget, 16 << 20);
		buf_init(&back, 1 << 20, &budget);
		EXPECT_STATUS(decompress(packed[i], buf_view(&bomb), &back, &e), ST_TOO_LARGE);
		ck_assert_uint_le(budget_used(&budget), 1 << 20);
		buf_done(&back);
		buf_init(&back, 64 << 20, &budget);
		EXPECT_STATUS(decompress(packed[i], buf_view(&bomb), &back, &e), ST_BUSY);
		buf_done(&back);
		ck_assert_uint_eq(budget_used(&budget), 0);
		buf_done(&bomb);
	}
}
END_TEST

START_TEST(one_byte_over_the_cap_is_too_large)
{
	for (size_t i = 0; i < COUNT(packed); i++) {
		struct buf src;
		struct buf small;
		struct buf back;
		struct err e = { 0 };
		fill(&src, 70000);
		buf_init(&small, 1 << 20, NULL);
		pack(packed[i], buf_view(&src), &small);
		buf_init(&back, 69999, NULL);
		EXPECT_STATUS(decompress(packed[i], buf_view(&small), &back, &e), ST_TOO_LARGE);
		ck_assert_str_eq(e.text, "the body decompresses to more than 69999 bytes");
		buf_done(&src);
		buf_done(&small);
		buf_done(&back);
	}
}
END_TEST

START_TEST(bytes_behind_the_end_are_not_ignored)
{
	for (size_t i = 0; i < COUNT(packed); i++) {
		struct buf small;
		struct buf back;
		buf_init(&small, 1000, NULL);
		buf_init(&back, 1000, NULL);
		pack(packed[i], bytes_str("data"), &small);
		EXPECT_OK(buf_append_str(&small, "garbage"));
		EXPECT_STATUS(decompress(packed[i], buf_view(&small), &back, NULL), ST_INVALID);
		buf_done(&small);
		buf_done(&back);
	}
}
END_TEST

/* A zstd frame that asks for a window of 1 GiB (RFC 8878, 3.1.1.1.2): magic, descriptor 0, window
 * descriptor 20 << 3, an empty last block. */
START_TEST(the_byte_of_a_fault_counts_from_the_start_of_the_body)
{
	struct buf in;
	struct buf out;
	struct err e = { .text = "" };
	buf_init(&in, 1 << 20, NULL);
	buf_init(&out, 1 << 20, NULL);
	pack(ENCODING_GZIP, bytes_str("the first member"), &in);
	size_t first = in.n;
	pack(ENCODING_GZIP, bytes_str("the second member, which is cut off"), &in);
	EXPECT_STATUS(decompress(ENCODING_GZIP, bytes_of(in.p, in.n - 9), &out, &e), ST_INVALID);
	unsigned long at = 0;
	const char *number = strstr(e.text, "at byte ");
	ck_assert_ptr_nonnull(number);
	ck_assert_int_eq(sscanf(number, "at byte %lu of the compressed body", &at), 1);
	ck_assert_uint_gt(at, first);
	ck_assert_uint_le(at, in.n - 9);
	buf_done(&in);
	buf_done(&out);
}
END_TEST

START_TEST(a_zstd_window_above_8_mib_is_refused)
{
	static const uint8_t frame[] = { 0x28, 0xb5, 0x2f, 0xfd, 0x00, 20 << 3, 0x01, 0x00, 0x00 };
	struct buf back;
	struct err e = { 0 };
	buf_init(&back, 1000, NULL);
	EXPECT_STATUS(decompress(ENCODING_ZSTD, bytes_of(frame, sizeof(frame)), &back, &e),
		      ST_INVALID);
	buf_done(&back);
}
END_TEST

START_TEST(output_past_the_cap_of_the_compressed_side_is_an_error)
{
	for (size_t i = 0; i < COUNT(packed); i++) {
		struct compressor *c = compressor_new(packed[i], 1);
		struct buf src;
		struct buf out;
		fill(&src, 100000);
		buf_init(&out, 1000, NULL);
		EXPECT_STATUS(compress_append(c, buf_view(&src), &out), ST_TOO_LARGE);
		/* The compressor is good for the next one. */
		struct buf more;
		struct buf back;
		buf_init(&more, 1 << 20, NULL);
		buf_init(&back, 1 << 20, NULL);
		EXPECT_OK(compress_append(c, bytes_str("next"), &more));
		EXPECT_OK(decompress(packed[i], buf_view(&more), &back, NULL));
		ck_assert(bytes_equal(buf_view(&back), bytes_str("next")));
		buf_done(&src);
		buf_done(&out);
		buf_done(&more);
		buf_done(&back);
		compressor_free(c);
	}
}
END_TEST

START_TEST(snappy_is_one_raw_block)
{
	/* By hand, of the format description: length 5, a literal of 5. */
	static const uint8_t want[] = { 5, 4 << 2, 'h', 'e', 'l', 'l', 'o' };
	struct buf out;
	buf_init(&out, 1 << 20, NULL);
	EXPECT_OK(snappy_append(bytes_str("hello"), &out));
	ck_assert(bytes_equal(buf_view(&out), bytes_of(want, sizeof(want))));
	/* What repeats is said once. */
	buf_clear(&out);
	char many[64 * 1024];
	memset(many, 'x', sizeof(many));
	EXPECT_OK(snappy_append(bytes_of(many, sizeof(many)), &out));
	ck_assert_uint_lt(out.n, sizeof(many) / 10);
	buf_clear(&out);
	EXPECT_OK(snappy_append(bytes_of(NULL, 0), &out));
	ck_assert(bytes_equal(buf_view(&out), bytes_of("\0", 1)));
	buf_done(&out);
	buf_init(&out, 8, NULL);
	EXPECT_STATUS(snappy_append(bytes_str("hello"), &out), ST_TOO_LARGE);
	buf_done(&out);
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		what_goes_in_comes_out,
		outputs_one_after_the_other_are_one_stream,
		a_stream_cut_at_any_byte_is_invalid,
		a_changed_byte_is_an_error_or_at_least_no_crash,
		a_bomb_costs_the_cap_and_no_more,
		one_byte_over_the_cap_is_too_large,
		bytes_behind_the_end_are_not_ignored,
		the_byte_of_a_fault_counts_from_the_start_of_the_body,
		a_zstd_window_above_8_mib_is_refused,
		output_past_the_cap_of_the_compressed_side_is_an_error,
		snappy_is_one_raw_block,
	};
	return run_cases("compression", cases, COUNT(cases));
}
