/* fault_salvage_cut.c - the power goes, or the disk fails, while a damaged file is salvaged, and
 * each batch comes over once.
 *
 * A file with one leaf of its payloads zeroed is set aside and salvaged, and all that the new file
 * gets is recorded. Then the run is cut at every event: the new file is laid out as the disk would
 * hold it, the damaged one beside it (it is never written), and the gateway starts again. When its
 * salvage ends, the queue holds what the run that was not cut held: every request as often, and the
 * same books. What an operator paused is paused from the first moment on. It is the same when the
 * Nth write or sync of a salvage fails and the process goes on. */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "gateway/base/log.h"
#include "storage/salvage.h"
#include "tests/support/crash_image.h"
#include "tests/support/expect.h"
#include "tests/support/patience.h"
#include "tests/support/queue_client.h"

enum { REQUESTS = 100, PAGE = 4096 };

static char dir[CLIENT_PATH_SIZE];
static char path[CLIENT_PATH_SIZE + 16];
static char aside_name[256];
static char stash[CLIENT_PATH_SIZE + 16]; /* the damaged file, outside of dir */
static struct facts whole;                /* after the run that was not cut */
static struct facts facts;
static int64_t whole_ids[2];
static int64_t ids[2];   /* of the destinations, which need not be the same in each run */
static struct chan bell; /* of the second destination's thread */

static struct writer *open_writer(void)
{
	struct err e = { 0 };
	struct writer *w = NULL;
	const struct writer_options o = { .path = path,
					  .max_size_bytes = UINT64_C(1) << 30,
					  .page_size = PAGE,
					  .checkpoint_bytes = 64 << 10 };
	enum status st = writer_open(&o, &w, &e);
	ck_assert_msg(st == ST_OK, "the start fails: %s: %s", status_name(st), e.text);
	for (int i = 0; i < 2; i++) {
		int slot;
		EXPECT_OK(writer_destination(w, i ? "second" : "first", "otlp_http", &slot, &ids[i],
					     &e));
	}
	writer_subscribe(w, 1, &bell);
	EXPECT_OK(writer_start(w, &e));
	return w;
}

static void fill_queue(void)
{
	struct writer *w = open_writer();
	for (int id = 1; id <= REQUESTS; id++) {
		enum status st;
		const struct client_request r = { .id = id,
						  .signal = (enum signal)(id % 3),
						  .records = (uint32_t)(id % 5 + 1),
						  .size = 300,
						  .destinations = (uint64_t)(id % 3 + 1) };
		client_put(w, &r, 1, &st, NULL);
		EXPECT_OK(st);
	}
	writer_stop(w);
	client_execute(path, "UPDATE destinations SET state = 'paused' WHERE name = 'second';"
			     "INSERT INTO uplink_usage VALUES ('wan', '2026-06', 77)");
}

/* The first leaf of the payloads: the start looks there. */
static void zero_a_leaf(void)
{
	static const uint8_t zeros[PAGE];
	int64_t page = facts_int(path, "SELECT min(pageno) FROM dbstat WHERE name = 'payloads'"
				       " AND pagetype = 'leaf'");
	ck_assert_int_gt(page, 1);
	int fd = open(path, O_RDWR);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, zeros, PAGE, (off_t)(page - 1) * PAGE), PAGE);
	(void)close(fd);
}

/* Before anything could be sent: what an operator paused, and what the uplink carried. */
static void check_inherited(const char *what)
{
	ck_assert_msg(facts_int(path,
				"SELECT count(*) FROM destinations WHERE state = 'paused' AND "
				"name = 'second'") == 1,
		      "%s: the pause is lost", what);
	ck_assert_msg(facts_int(path, "SELECT bytes FROM uplink_usage") == 77,
		      "%s: the usage is lost", what);
}

/* With a fault, which lasts for a moment, or is met by nothing: returns whether it was met. */
static bool salvage_to_the_end(const char *what, const struct fault_row *row, int nth)
{
	bool has_fired = false;
	struct salvage *s = NULL;
	int64_t end = patience_end_ns();
	struct writer *w = open_writer();
	check_inherited(what);
	if (row)
		fault_plan(row->op, row->error, nth, row->is_lasting);
	EXPECT_OK(salvage_start(w, &s, NULL));
	while (writer_is_degraded(w) && patience_pause(end)) {
		has_fired = has_fired || fault_has_fired();
		if (has_fired)
			(void)fault_off();
	}
	has_fired = fault_off() || has_fired;
	ck_assert_msg(!writer_is_degraded(w), "%s: the salvage does not end", what);
	salvage_stop(s);
	writer_stop(w);
	ck_assert_msg(facts_read(path, &facts), "%s: unreadable: %s", what, facts.problem);
	ck_assert_msg(facts.is_sound, "%s: %s", what, facts.problem);
	ck_assert_msg(!facts.imbalance && !facts.crc_errors, "%s: books or payloads", what);
	return has_fired;
}

/* The only name in dir with the mark of a set-aside file. */
static void stash_damaged(void)
{
	char from[CLIENT_PATH_SIZE + 300];
	char stash_dir[CLIENT_PATH_SIZE];
	const char *slash;
	char found[CLIENT_PATH_SIZE];
	ck_assert(facts_text(path, "SELECT path FROM salvages", found, sizeof(found)));
	slash = strrchr(found, '/');
	ck_assert_ptr_nonnull(slash);
	(void)snprintf(aside_name, sizeof(aside_name), "%s", slash + 1);
	client_make_dir(stash_dir, sizeof(stash_dir), "stash");
	(void)snprintf(stash, sizeof(stash), "%s/damaged", stash_dir);
	(void)snprintf(from, sizeof(from), "%s/%s", dir, aside_name);
	client_copy_file(from, stash);
}

/* What the salvage that nothing disturbed gave. */
static void check_whole(const char *what)
{
	for (int i = 0; i < 2; i++)
		for (int id = 1; id <= REQUESTS; id++) {
			int want = whole.ready[whole_ids[i]][id];
			int got = facts.ready[ids[i]][id];
			ck_assert_msg(got == want, "%s: request %d is there %d times, not %d", what,
				      id, got, want);
		}
	ck_assert_msg(facts.accepted == whole.accepted, "%s: %lld records accepted, not %lld", what,
		      (long long)facts.accepted, (long long)whole.accepted);
	ck_assert_msg(facts_int(path, "SELECT sum(records) FROM losses WHERE reason = 'damaged'") ==
			      facts_int(path, "SELECT sum(damaged) FROM balance"),
		      "%s: the ledger and the totals differ", what);
}

static void lay_beside(void)
{
	char to[CLIENT_PATH_SIZE + 300];
	(void)snprintf(to, sizeof(to), "%s/%s", dir, aside_name);
	client_copy_file(stash, to);
}

static void check_cut(const char *what)
{
	lay_beside();
	(void)salvage_to_the_end(what, NULL, 0);
	check_whole(what);
}

static void begin(void)
{
	EXPECT_OK(chan_init(&bell, CHAN_WAKE_FD));
	client_make_dir(dir, sizeof(dir), "salvage-cut");
	(void)snprintf(path, sizeof(path), "%s/queue.db", dir);
	fill_queue();
	zero_a_leaf();
	ck_assert_ptr_null(chan_take_all(&bell));
}

static void salvage_undisturbed(void)
{
	vfs_log_start();
	(void)salvage_to_the_end("not cut", NULL, 0);
	vfs_log_stop();
	/* Its thread is told that there is something to send, as after a put. */
	struct pollfd rung = { .fd = chan_fd(&bell), .events = POLLIN };
	ck_assert_int_eq(poll(&rung, 1, 0), 1);
	whole = facts;
	memcpy(whole_ids, ids, sizeof(ids));
	ck_assert_int_gt(whole.batches, REQUESTS / 2);
	ck_assert_int_gt(facts_int(path, "SELECT sum(damaged) FROM balance"), 0);
	stash_damaged();
}

static void end(void)
{
	ck_assert_ptr_null(chan_take_all(&bell));
	chan_done(&bell);
	vfs_log_clear();
	client_remove_dir(dir);
	if (stash[0]) {
		*strrchr(stash, '/') = '\0';
		client_remove_dir(stash);
	}
}

START_TEST(a_salvage_that_is_cut_off_goes_on_where_it_was)
{
	const struct crash_cuts cuts = { .dir = dir,
					 .variants = 1 << CRASH_KEPT | 1 << CRASH_DROPPED |
						     1 << CRASH_TORN,
					 .check = check_cut };
	begin();
	salvage_undisturbed();
	int images = crash_cut_everywhere(&cuts);
	(void)printf("salvage cut: %zu events, %d images\n", vfs_log_count(), images);
	ck_assert_int_gt(images, 100);
	end();
}
END_TEST

START_TEST(a_salvage_on_a_failing_disk_goes_on_where_it_was)
{
	begin();
	salvage_undisturbed();
	vfs_log_clear();
	for (size_t i = 0; i < FAULT_ROWS_WRITING; i++) {
		int runs = 0;
		bool has_fired = true;
		for (int nth = 1; has_fired; nth += 1 + nth / 2, runs++) {
			char what[96];
			(void)snprintf(what, sizeof(what), "%s (number %d)", fault_rows[i].name,
				       nth);
			client_remove_dir(dir);
			client_make_dir(dir, sizeof(dir), "salvage-cut");
			(void)snprintf(path, sizeof(path), "%s/queue.db", dir);
			lay_beside();
			has_fired = salvage_to_the_end(what, &fault_rows[i], nth);
			check_whole(what);
		}
		ck_assert_msg(runs > 1, "%s: never", fault_rows[i].name);
	}
	end();
}
END_TEST

/* What a first file gave is in the second, and comes over with it: the first must be left alone. */
START_TEST(a_file_that_was_moved_over_is_not_moved_over_again)
{
	begin();
	(void)salvage_to_the_end("the first file", NULL, 0);
	int64_t first_batches = facts.batches;
	zero_a_leaf();
	(void)salvage_to_the_end("the second file", NULL, 0);
	ck_assert_int_eq(facts_int(path, "SELECT count(*) FROM salvages"), 2);
	ck_assert_int_eq(facts_int(path, "SELECT count(*) FROM salvages WHERE state = 'done'"), 2);
	ck_assert_int_lt(facts.batches, first_batches);
	ck_assert_int_gt(facts.batches, first_batches / 2);
	for (int i = 0; i < 2; i++)
		for (int id = 1; id <= REQUESTS; id++)
			ck_assert_msg(facts.ready[ids[i]][id] <= 1, "request %d is there %d times",
				      id, facts.ready[ids[i]][id]);
	end();
}
END_TEST

int main(void)
{
	fault_begin();
	const TTest *const cases[] = {
		a_salvage_that_is_cut_off_goes_on_where_it_was,
		a_salvage_on_a_failing_disk_goes_on_where_it_was,
		a_file_that_was_moved_over_is_not_moved_over_again,
	};
	return run_cases("salvage_cut", cases, sizeof(cases) / sizeof(cases[0]));
}
