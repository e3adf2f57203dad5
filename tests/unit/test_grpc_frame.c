/* What grpc_frame promises: the same messages come out however the bytes are cut, lengths are told
 * before bytes are stored, and a bad flag is said at once. */
#include "gateway/base/grpc_frame.h"
#include "tests/support/expect.h"

/* Reads all of src in pieces of `step` bytes and writes what came out: "P<flag>,<length>", then the
 * bytes in hex, then "E". Stops behind "X" where the framing is bad. */
static void trace(struct bytes src, size_t step, struct buf *out, bool *ret_is_between)
{
	struct grpc_frame_reader r;
	grpc_frame_reader_init(&r);
	for (size_t at = 0; at < src.n || at == 0; at += step) {
		struct bytes in = bytes_of(src.p + at, src.n - at < step ? src.n - at : step);
		struct bytes piece;
		enum grpc_frame_event ev;
		while ((ev = grpc_frame_next(&r, &in, &piece)) != GRPC_FRAME_MORE) {
			if (ev == GRPC_FRAME_BAD) {
				EXPECT_OK(buf_append_str(out, "X"));
				ck_assert_int_eq(grpc_frame_next(&r, &in, &piece), GRPC_FRAME_BAD);
				return;
			}
			if (ev == GRPC_FRAME_PREFIX)
				EXPECT_OK(buf_printf(out, "P%d,%u ", r.is_compressed, r.length));
			if (ev == GRPC_FRAME_END)
				EXPECT_OK(buf_append_str(out, "E "));
			for (size_t i = 0; ev == GRPC_FRAME_BYTES && i < piece.n; i++)
				EXPECT_OK(buf_printf(out, "%02x", piece.p[i]));
		}
		ck_assert_uint_eq(in.n, 0);
	}
	*ret_is_between = grpc_frame_is_between(&r);
}

static const struct {
	const char *promise;
	uint8_t in[24];
	size_t n;
	const char *want;
	bool is_between;
} cases[] = {
	{ "nothing gives nothing", { 0 }, 0, "", true },
	{ "an empty message has a begin and an end", { 0, 0, 0, 0, 0 }, 5, "P0,0 E ", true },
	{ "a message comes whole", { 0, 0, 0, 0, 3, 1, 2, 3 }, 8, "P0,3 010203E ", true },
	{ "the compressed flag is told", { 1, 0, 0, 0, 1, 9 }, 6, "P1,1 09E ", true },
	{ "several messages share the bytes",
	  { 0, 0, 0, 0, 1, 7, 1, 0, 0, 0, 2, 8, 9, 0, 0, 0, 0, 0 },
	  18,
	  "P0,1 07E P1,2 0809E P0,0 E ",
	  true },
	{ "the length is big endian, and told before the bytes",
	  { 0, 0x12, 0x34, 0x56, 0x78, 5 },
	  6,
	  "P0,305419896 05",
	  false },
	{ "the largest length is no negative number",
	  { 0, 0xff, 0xff, 0xff, 0xff },
	  5,
	  "P0,4294967295 ",
	  false },
	{ "a cut prefix is half read", { 0, 0, 0 }, 3, "", false },
	{ "a cut message is half read", { 0, 0, 0, 0, 2, 1 }, 6, "P0,2 01", false },
	{ "a flag of 2 is bad before the length is there", { 2 }, 1, "X", false },
	{ "a bad flag behind a good message is bad",
	  { 0, 0, 0, 0, 0, 'G', 'E' },
	  7,
	  "P0,0 E X",
	  false },
};

START_TEST(messages_are_the_same_however_they_are_cut)
{
	for (size_t step = 1; step <= 24; step++) {
		struct buf out;
		buf_init(&out, 1000, NULL);
		bool is_between = false;
		trace(bytes_of(cases[_i].in, cases[_i].n), step, &out, &is_between);
		EXPECT_OK(buf_append_byte(&out, 0));
		ck_assert_msg(strcmp((char *)out.p, cases[_i].want) == 0 &&
				      is_between == cases[_i].is_between,
			      "%s, cut in pieces of %zu: got \"%s\", want \"%s\"",
			      cases[_i].promise, step, (char *)out.p, cases[_i].want);
		buf_done(&out);
	}
}
END_TEST

START_TEST(a_written_prefix_is_read_back)
{
	static const uint32_t lengths[] = { 0, 1, 255, 256, 65536, 67108864, UINT32_MAX };
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		uint8_t prefix[GRPC_FRAME_PREFIX_SIZE];
		struct grpc_frame_reader r;
		struct bytes in = bytes_of(prefix, sizeof(prefix));
		struct bytes piece;
		grpc_frame_write_prefix(prefix, i % 2 == 1, lengths[i]);
		grpc_frame_reader_init(&r);
		ck_assert_int_eq(grpc_frame_next(&r, &in, &piece), GRPC_FRAME_PREFIX);
		ck_assert_uint_eq(r.length, lengths[i]);
		ck_assert_int_eq(r.is_compressed, i % 2 == 1);
	}
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("grpc_frame");
	tcase_add_loop_test(tc, messages_are_the_same_however_they_are_cut, 0,
			    sizeof(cases) / sizeof(cases[0]));
	tcase_add_test(tc, a_written_prefix_is_read_back);
	return run_tcase("grpc_frame", tc);
}
