/* What a full queue does on a machine where everything takes long: each look at the clock finds it
 * further on than all that a commit may take. */
#include "storage/admit.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "gateway/base/log.h"
#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"
#include "tests/support/expect.h"
#include "tests/support/queue_file.h"

enum { MAX = 16 << 20, BODY = 200 << 10 };

static _Atomic int64_t lost_ns;

int64_t __real_now_mono_ns(void);
int64_t __wrap_now_mono_ns(void);

int64_t __wrap_now_mono_ns(void)
{
	return __real_now_mono_ns() + atomic_fetch_add(&lost_ns, 50 * NS_PER_MS);
}

START_TEST(a_put_is_not_refused_for_the_time_that_others_took)
{
	struct queue_file file;
	struct writer *w = NULL;
	struct err e = { .text = "" };
	int64_t id;
	int slot;
	queue_file_make(&file);
	const struct writer_options o = { .path = file.path,
					  .max_size_bytes = MAX,
					  .has_encoding = true,
					  .encoding = ENCODING_NONE,
					  .limits.may_evict = { false, true, true } };
	EXPECT_OK(writer_open(&o, &w, &e));
	EXPECT_OK(writer_destination(w, "alpha", "file", &slot, &id, &e));
	EXPECT_OK(writer_start(w, &e));
	char *body = xcalloc(1, BODY);
	for (int i = 0; i < 2 * MAX / BODY; i++)
		EXPECT_OK(test_put_run(w, SIGNAL_LOGS, RECORD_CLASS_INFO, 1, 1U << slot,
				       bytes_of(body, BODY)));
	ck_assert_int_gt(queue_file_int(file.path, "SELECT evicted FROM balance WHERE "
						   "difference = 0"),
			 0);
	free(body);
	writer_stop(w);
	queue_file_remove(&file);
}
END_TEST

int main(void)
{
	log_init(LOG_FATAL_LEVEL, LOG_FORMAT_LOGFMT);
	queue_file_in_memory();
	const TTest *const cases[] = {
		a_put_is_not_refused_for_the_time_that_others_took,
	};
	return run_cases("admit", cases, sizeof(cases) / sizeof(cases[0]));
}
