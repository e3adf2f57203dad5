/* When a commit is let through without a measurement, and that what such commits wrote is taken to
 * be there until the next one. */
#include "storage/space.h"

#include "storage/db.h"
#include "tests/support/expect.h"
#include "tests/support/queue_file.h"

#define CAP      (UINT64_C(1) << 30)
#define FAR_ROOM (UINT64_C(256) << 20)

struct fixture {
	struct queue_file file;
	sqlite3 *db;
	struct queue q;
	struct checkpoint checkpoint;
	struct space space;
};

static void begin(struct fixture *f, uint64_t cap)
{
	uint64_t step = CHECKPOINT_BYTES;
	f->db = queue_file_open(&f->file);
	queue_init(&f->q, f->db);
	EXPECT_OK(checkpoint_init(&f->checkpoint, f->db, step, NULL));
	space_init(&f->space, f->file.path, cap, 0, &step);
}

static void end(struct fixture *f)
{
	queue_done(&f->q);
	db_close(f->db);
	queue_file_remove(&f->file);
}

/* A measurement puts this right. */
static void forget(struct fixture *f)
{
	f->space.file_bytes = 0;
}

static bool was_measured(const struct fixture *f)
{
	return f->space.file_bytes > 0;
}

static void commit(struct fixture *f, int64_t frames)
{
	EXPECT_OK(space_check_commit(&f->space, &f->q, &f->checkpoint, frames, true));
}

START_TEST(the_first_commit_is_measured_and_those_far_from_the_cap_are_not)
{
	struct fixture f;
	begin(&f, CAP);
	EXPECT_OK(space_measure_if_near(&f.space, &f.q, &f.checkpoint, 10));
	ck_assert(was_measured(&f));
	forget(&f);
	EXPECT_OK(space_measure_if_near(&f.space, &f.q, &f.checkpoint, 10));
	commit(&f, 10);
	ck_assert(!was_measured(&f));
	end(&f);
}
END_TEST

START_TEST(commits_without_a_measurement_add_up_until_there_is_one)
{
	enum { FRAMES = 1000 };
	struct fixture f;
	uint64_t written = 0;
	begin(&f, CAP);
	EXPECT_OK(space_measure(&f.space, &f.q, &f.checkpoint));
	uint64_t file = f.space.file_bytes;
	forget(&f);
	while (!was_measured(&f)) {
		commit(&f, FRAMES);
		written += FRAMES * (f.checkpoint.page_bytes + f.checkpoint.frame_bytes);
		ck_assert_msg(file + written < CAP - FAR_ROOM, "%llu bytes unmeasured",
			      (unsigned long long)written);
	}
	ck_assert_uint_gt(written, CAP / 4);
	/* And then it begins anew: nothing of them is there. */
	forget(&f);
	commit(&f, FRAMES);
	ck_assert(!was_measured(&f));
	end(&f);
}
END_TEST

START_TEST(near_the_cap_each_commit_is_measured)
{
	struct fixture f;
	begin(&f, FAR_ROOM);
	for (int i = 0; i < 3; i++) {
		commit(&f, 1);
		ck_assert(was_measured(&f));
		forget(&f);
		EXPECT_OK(space_measure_if_near(&f.space, &f.q, &f.checkpoint, 1));
		ck_assert(was_measured(&f));
		forget(&f);
	}
	/* One commit may be so large that a far cap is near. */
	f.space.max_bytes = CAP;
	commit(&f, (int64_t)(CAP / 4 / f.checkpoint.page_bytes));
	ck_assert(!was_measured(&f));
	commit(&f, (int64_t)(CAP / 4 / f.checkpoint.page_bytes));
	ck_assert(was_measured(&f));
	end(&f);
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		the_first_commit_is_measured_and_those_far_from_the_cap_are_not,
		commits_without_a_measurement_add_up_until_there_is_one,
		near_the_cap_each_commit_is_measured,
	};
	return run_cases("space", cases, sizeof(cases) / sizeof(cases[0]));
}
