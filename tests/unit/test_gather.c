/* What the gathering of log writes promises: the same bytes in the same order, in fewer calls, and
 * a failure told at once or at the flush, once. */
#include "storage/gather.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/expect.h"

enum { FILE_BYTES = 5 * GATHER_BYTES, CALLS_MAX = 32 };

/* A file in memory that notes how it was written. */
struct fake {
	sqlite3_file base; /* first */
	uint8_t *bytes;
	int calls;
	sqlite3_int64 offsets[CALLS_MAX];
	int lengths[CALLS_MAX];
	int result;
};

static int fake_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 offset)
{
	struct fake *fake = (struct fake *)(void *)f;
	ck_assert_int_lt(fake->calls, CALLS_MAX);
	/* What SQLite's unix VFS can write at a time. */
	ck_assert_int_eq(n & 0x1ffff, n);
	fake->offsets[fake->calls] = offset;
	fake->lengths[fake->calls++] = n;
	if (fake->result == SQLITE_OK)
		memcpy(fake->bytes + offset, p, (size_t)n);
	return fake->result;
}

static const sqlite3_io_methods methods = { .iVersion = 1, .xWrite = fake_write };
static struct fake fake;
static struct gather gather;

static void make(void)
{
	fake = (struct fake){ .base = { &methods }, .bytes = calloc(1, FILE_BYTES) };
	ck_assert_ptr_nonnull(fake.bytes);
	gather = (struct gather){ 0 };
}

static void drop(void)
{
	gather_done(&gather);
	free(fake.bytes);
}

static int put(size_t n, sqlite3_int64 offset, uint8_t fill)
{
	uint8_t *p = malloc(n);
	ck_assert_ptr_nonnull(p);
	memset(p, fill, n);
	int rc = gather_write(&gather, &fake.base, p, (int)n, offset);
	free(p);
	return rc;
}

static void check_fill(size_t from, size_t to, uint8_t fill)
{
	for (size_t i = from; i < to; i++)
		ck_assert_uint_eq(fake.bytes[i], fill);
}

START_TEST(writes_that_follow_each_other_become_one)
{
	make();
	ck_assert_int_eq(put(24, 32, 1), SQLITE_OK);
	ck_assert_int_eq(put(4096, 56, 2), SQLITE_OK);
	ck_assert_int_eq(put(24, 4152, 3), SQLITE_OK);
	ck_assert_int_eq(fake.calls, 0);
	ck_assert_int_eq(gather_flush(&gather, &fake.base), SQLITE_OK);
	ck_assert_int_eq(fake.calls, 1);
	ck_assert_int_eq(fake.offsets[0], 32);
	check_fill(0, 32, 0);
	check_fill(32, 56, 1);
	check_fill(56, 4152, 2);
	check_fill(4152, 4176, 3);
	ck_assert_int_eq(gather_flush(&gather, &fake.base), SQLITE_OK);
	ck_assert_int_eq(fake.calls, 1);
	drop();
}
END_TEST

START_TEST(a_write_elsewhere_comes_behind_those_before_it)
{
	make();
	ck_assert_int_eq(put(100, 1000, 1), SQLITE_OK);
	ck_assert_int_eq(put(100, 1050, 2), SQLITE_OK);
	ck_assert_int_eq(put(32, 0, 3), SQLITE_OK);
	ck_assert_int_eq(fake.calls, 2);
	ck_assert_int_eq(gather_flush(&gather, &fake.base), SQLITE_OK);
	check_fill(0, 32, 3);
	check_fill(1000, 1050, 1);
	check_fill(1050, 1150, 2);
	drop();
}
END_TEST

START_TEST(any_amount_goes_through_in_order)
{
	make();
	sqlite3_int64 at = 0;
	static const size_t sizes[] = { 1,     GATHER_BYTES - 1,  GATHER_BYTES, 24, 65536,
					65536, GATHER_BYTES + 100 };
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		ck_assert_int_eq(put(sizes[i], at, (uint8_t)(i + 1)), SQLITE_OK);
		at += (sqlite3_int64)sizes[i];
	}
	ck_assert_int_eq(gather_flush(&gather, &fake.base), SQLITE_OK);
	size_t from = 0;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		check_fill(from, from + sizes[i], (uint8_t)(i + 1));
		from += sizes[i];
	}
	drop();
}
END_TEST

START_TEST(a_failure_is_told_once_and_what_failed_is_not_written_later)
{
	make();
	ck_assert_int_eq(put(100, 0, 1), SQLITE_OK);
	fake.result = SQLITE_FULL;
	ck_assert_int_eq(gather_flush(&gather, &fake.base), SQLITE_FULL);
	fake.result = SQLITE_OK;
	ck_assert_int_eq(gather_flush(&gather, &fake.base), SQLITE_OK);
	ck_assert_int_eq(fake.calls, 1);
	/* The same where another write pushes it out: that one was not taken either. */
	ck_assert_int_eq(put(100, 0, 1), SQLITE_OK);
	fake.result = SQLITE_IOERR_WRITE;
	ck_assert_int_eq(put(100, 500, 2), SQLITE_IOERR_WRITE);
	fake.result = SQLITE_OK;
	ck_assert_int_eq(gather_flush(&gather, &fake.base), SQLITE_OK);
	check_fill(0, FILE_BYTES, 0);
	drop();
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		writes_that_follow_each_other_become_one,
		a_write_elsewhere_comes_behind_those_before_it,
		any_amount_goes_through_in_order,
		a_failure_is_told_once_and_what_failed_is_not_written_later,
	};
	return run_cases("gather", cases, sizeof(cases) / sizeof(cases[0]));
}
