/* fault_sync.c - what an fsync could not write stays readable, and is not on the disk.
 *
 * Linux marks such pages as clean. Whoever reopens the file at once finds the frames of the failed
 * commit valid in the page cache and appends acknowledged commits behind them; a power cut then
 * takes the middle away, and with it all that follows. No checkpoint happens here, which would hide
 * it: the log is longer than the run. The disk is laid out as the power cut leaves it after each
 * request that was acknowledged since. */
#include <stdio.h>
#include <time.h>

#include "gateway/base/log.h"
#include "tests/support/crash_image.h"
#include "tests/support/expect.h"
#include "tests/support/patience.h"
#include "tests/support/queue_client.h"

enum { AFTER = 4, MARK_ACKED = 1 };

static struct writer *open_writer(const char *path)
{
	const struct writer_options o = { .path = path,
					  .page_size = 4096,
					  .checkpoint_bytes = 16 << 20 };
	struct writer *w = NULL;
	struct err e = { .text = "" };
	int slot;
	int64_t id;
	enum status st = writer_open(&o, &w, &e);
	ck_assert_msg(!st, "%s", e.text);
	EXPECT_OK(writer_destination(w, "backend", "otlp_http", &slot, &id, &e));
	EXPECT_OK(writer_start(w, &e));
	return w;
}

static enum status put(struct writer *w, int64_t id)
{
	enum status st;
	const struct client_request r = { .id = id,
					  .signal = SIGNAL_LOGS,
					  .class = RECORD_CLASS_INFO,
					  .records = 1,
					  .size = 5000,
					  .destinations = 1 };
	client_put(w, &r, 1, &st, NULL);
	if (!st)
		vfs_log_mark(MARK_ACKED, id);
	return st;
}

/* Every request that was acknowledged up to here is on the disk. */
static void check_cut(struct crash_disk *disk, const bool *is_acked, int count)
{
	static struct facts facts;
	char dir[CLIENT_PATH_SIZE];
	char path[CLIENT_PATH_SIZE + 16];
	client_make_dir(dir, sizeof(dir), "sync-cut");
	(void)snprintf(path, sizeof(path), "%s/queue.db", dir);
	(void)crash_disk_cut(disk, CRASH_DROPPED, 1);
	crash_disk_write(disk, dir);
	writer_stop(open_writer(path));
	ck_assert(facts_read(path, &facts));
	ck_assert_msg(facts.is_sound, "%s", facts.problem);
	for (int id = 1; id < count; id++)
		ck_assert_msg(!is_acked[id] || facts.ready[1][id],
			      "put %d was acknowledged and is gone", id);
	client_remove_dir(dir);
}

static void cut_after_each(int count)
{
	bool is_acked[64] = { false };
	struct crash_disk *disk = crash_disk_new();
	for (size_t i = 0; i < vfs_log_count(); i++) {
		const struct vfs_event *event = vfs_log_event(i);
		crash_disk_advance(disk, event);
		if (event->kind != VFS_MARK)
			continue;
		is_acked[event->id] = true;
		check_cut(disk, is_acked, count);
	}
	crash_disk_free(disk);
}

/* is_lasting: the probes of the recovery fail too. */
static void run(bool is_lasting)
{
	char dir[CLIENT_PATH_SIZE];
	char path[CLIENT_PATH_SIZE + 16];
	const struct timespec moment = { .tv_nsec = 20 * 1000 * 1000 };
	client_make_dir(dir, sizeof(dir), "sync");
	(void)snprintf(path, sizeof(path), "%s/queue.db", dir);
	vfs_log_start();
	struct writer *w = open_writer(path);
	int id = 1;
	EXPECT_OK(put(w, id++));
	EXPECT_OK(put(w, id++));
	fault_plan(FAULT_SYNC, FAULT_EIO, 1, is_lasting);
	ck_assert_int_eq(status_class(put(w, id++)), CLASS_RETRY);
	for (int i = 0; i < 50 && is_lasting; i++) /* past the last probe */
		(void)nanosleep(&moment, NULL);
	ck_assert(fault_off());
	AWAIT(writer_state(w) == ST_OK);
	for (int i = 0; i < AFTER; i++)
		EXPECT_OK(put(w, id++));
	vfs_log_stop();
	writer_stop(w);
	cut_after_each(id);
	vfs_log_clear();
	client_remove_dir(dir);
}

START_TEST(what_comes_after_a_failed_sync_survives_a_power_cut)
{
	run(false);
}
END_TEST

START_TEST(what_comes_after_syncs_that_kept_failing_survives_a_power_cut)
{
	run(true);
}
END_TEST

int main(void)
{
	fault_begin();
	const TTest *const cases[] = {
		what_comes_after_a_failed_sync_survives_a_power_cut,
		what_comes_after_syncs_that_kept_failing_survives_a_power_cut,
	};
	return run_cases("sync", cases, sizeof(cases) / sizeof(cases[0]));
}
