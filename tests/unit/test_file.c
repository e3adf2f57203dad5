/* A file destination: every line whole whatever happened before, synced before it counts, rotated.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "gateway/base/xalloc.h"
#include "gateway/forward/file.h"
#include "tests/support/expect.h"
#include "tests/support/otlp_build.h"
#include "tests/support/queue_client.h"

enum { LINE_MAX_BYTES = 1 << 20, SYNCED_MAX = 16 };

/* Which directories were synced. In place of libc's. */
static char synced[SYNCED_MAX][600];
static size_t synced_count;

int fsync(int fd)
{
	char link[64];
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, synced[synced_count % SYNCED_MAX], sizeof(synced[0]) - 1);
	synced[synced_count++ % SYNCED_MAX][n > 0 ? n : 0] = '\0';
	return (int)syscall(SYS_fsync, fd);
}

static bool was_synced(const char *dir)
{
	for (size_t i = 0; i < SYNCED_MAX; i++)
		if (strcmp(synced[i], dir) == 0)
			return true;
	return false;
}

struct fixture {
	char dir[512];
	char path[600];
	struct destination_config config;
	struct exporter *exporter;
	int wake_fd;
};

static struct fixture *set_up(uint64_t max_size, int max_backups)
{
	struct fixture *fx = xcalloc(1, sizeof(*fx));
	struct err e = { 0 };
	client_make_dir(fx->dir, sizeof(fx->dir), "file");
	(void)snprintf(fx->path, sizeof(fx->path), "%s/out.jsonl", fx->dir);
	fx->config.path = fx->path;
	fx->config.rotation_max_size = max_size;
	fx->config.rotation_max_backups = max_backups;
	fx->wake_fd = eventfd(0, EFD_CLOEXEC);
	ck_assert_msg(file_ops.open(&fx->config, fx->wake_fd, &fx->exporter, &e) == ST_OK, "%s",
		      e.text);
	return fx;
}

static void tear_down(struct fixture *fx)
{
	file_ops.close(fx->exporter);
	(void)close(fx->wake_fd);
	client_remove_dir(fx->dir);
	free(fx);
}

/* Sends one export whose records are named by the seed, with the process's files limited to this
 * size. (Within the limit nothing is asserted: check writes a file of its own.) */
static struct export_reply send_limited(struct fixture *fx, uint64_t seed, size_t records,
					rlim_t limit)
{
	struct claim c = { .batch_id = 1, .signal = SIGNAL_LOGS, .records = 1 };
	struct export *x = export_new(&c, 1);
	struct otlp_build b = { .signal = SIGNAL_LOGS, .records = records, .seed = seed };
	struct export *done = NULL;
	struct rlimit old;
	buf_init(&x->body, LINE_MAX_BYTES, NULL);
	otlp_build(&b, &x->body);
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
	struct rlimit tight = { .rlim_cur = limit < old.rlim_cur ? limit : old.rlim_cur,
				.rlim_max = old.rlim_max };
	CHECK(setrlimit(RLIMIT_FSIZE, &tight) == 0);
	file_ops.send(fx->exporter, x);
	CHECK(setrlimit(RLIMIT_FSIZE, &old) == 0);
	ck_assert_int_eq(file_ops.poll(fx->exporter, 0, &done), EXPORTER_DONE);
	ck_assert_ptr_eq(done, x);
	ck_assert_int_eq(file_ops.poll(fx->exporter, 0, &done), EXPORTER_NOTHING);
	struct export_reply reply = x->reply;
	export_free(x);
	return reply;
}

static struct export_reply send_one(struct fixture *fx, uint64_t seed, size_t records)
{
	return send_limited(fx, seed, records, RLIM_INFINITY);
}

static void expect_delivered(struct fixture *fx, uint64_t seed)
{
	struct export_reply r = send_one(fx, seed, 3);
	ck_assert_msg(r.verdict == VERDICT_DELIVERED, "%s", r.error);
}

/* The file's text, or NULL where there is none. The caller frees it. */
static char *read_file(const char *path)
{
	FILE *f = fopen(path, "r");
	if (!f)
		return NULL;
	char *text = xcalloc(1, LINE_MAX_BYTES);
	size_t n = fread(text, 1, LINE_MAX_BYTES - 1, f);
	text[n] = '\0';
	(void)fclose(f);
	return text;
}

/* How many lines; each is whole and of the seeds from first on. */
static int count_lines(const char *path, uint64_t first)
{
	char *text = read_file(path);
	int n = 0;
	if (!text)
		return -1;
	for (char *line = text; *line; n++) {
		char *end = strchr(line, '\n');
		char id[64];
		ck_assert_ptr_nonnull(end);
		*end = '\0';
		(void)snprintf(id, sizeof(id), "\"%llu-0\"",
			       (unsigned long long)(first + (uint64_t)n));
		ck_assert_msg(line[0] == '{' && end[-1] == '}', "half a line: %s", line);
		ck_assert_msg(strstr(line, id), "no %s in %s", id, line);
		line = end + 1;
	}
	free(text);
	return n;
}

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(fputs(text, f), 0);
	ck_assert_int_eq(fclose(f), 0);
}

START_TEST(exports_are_appended_as_lines)
{
	struct fixture *fx = set_up(1 << 30, 10);
	for (uint64_t seed = 1; seed <= 3; seed++)
		expect_delivered(fx, seed);
	ck_assert_int_eq(count_lines(fx->path, 1), 3);
	/* A new process goes on behind them. */
	struct err e;
	file_ops.close(fx->exporter);
	EXPECT_OK(file_ops.open(&fx->config, fx->wake_fd, &fx->exporter, &e));
	expect_delivered(fx, 4);
	ck_assert_int_eq(count_lines(fx->path, 1), 4);
	tear_down(fx);
}
END_TEST

START_TEST(half_a_line_that_a_crash_left_is_cut_off)
{
	static const struct {
		const char *before;
		const char *after;
	} cases[] = {
		{ "", "" },
		{ "{}\n", "{}\n" },
		{ "{}\n{\"resourceL", "{}\n" },
		{ "{\"resourceL", "" },
		{ "{}\n\n", "{}\n\n" },
		{ "\n", "\n" },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fixture *fx = set_up(1 << 30, 10);
		write_file(fx->path, cases[i].before);
		int fd = open(fx->path, O_RDWR | O_CLOEXEC);
		int64_t size = -1;
		int64_t cut = -1;
		struct err e = { 0 };
		EXPECT_OK(file_repair(fd, &size, &cut, &e));
		(void)close(fd);
		ck_assert_int_eq(size, (int64_t)strlen(cases[i].after));
		ck_assert_int_eq(cut, (int64_t)(strlen(cases[i].before) - strlen(cases[i].after)));
		char *text = read_file(fx->path);
		ck_assert_str_eq(text, cases[i].after);
		free(text);
		tear_down(fx);
	}
}
END_TEST

START_TEST(the_half_line_may_be_longer_than_one_look)
{
	struct fixture *fx = set_up(1 << 30, 10);
	char *text = xcalloc(1, 300001);
	memset(text, 'x', 300000);
	text[99999] = '\n';
	write_file(fx->path, text);
	int fd = open(fx->path, O_RDWR | O_CLOEXEC);
	int64_t size;
	int64_t cut;
	EXPECT_OK(file_repair(fd, &size, &cut, NULL));
	(void)close(fd);
	ck_assert_int_eq(size, 100000);
	ck_assert_int_eq(cut, 200000);
	free(text);
	tear_down(fx);
}
END_TEST

START_TEST(a_write_that_ends_half_way_leaves_no_half_line)
{
	struct fixture *fx = set_up(1 << 30, 10);
	(void)signal(SIGXFSZ, SIG_IGN);
	expect_delivered(fx, 1);
	struct stat sb;
	ck_assert_int_eq(stat(fx->path, &sb), 0);
	/* The kernel writes what fits, and fails the rest. Each limit up to a whole line more. */
	for (rlim_t more = 0; more < (rlim_t)sb.st_size; more += (rlim_t)sb.st_size / 10) {
		struct export_reply r = send_limited(fx, 2, 30, (rlim_t)sb.st_size + more);
		ck_assert_int_eq(r.verdict, VERDICT_RETRY);
		ck_assert_int_eq(r.status, 0);
		ck_assert_msg(strstr(r.error, fx->path), "%s", r.error);
		ck_assert_int_eq(count_lines(fx->path, 1), 1);
	}
	expect_delivered(fx, 2);
	ck_assert_int_eq(count_lines(fx->path, 1), 2);
	(void)signal(SIGXFSZ, SIG_DFL);
	tear_down(fx);
}
END_TEST

static int lines_of_backup(const struct fixture *fx, int number, uint64_t first)
{
	char path[700];
	(void)snprintf(path, sizeof(path), "%s.%d", fx->path, number);
	return count_lines(path, first);
}

START_TEST(a_full_file_becomes_the_first_backup_and_the_oldest_goes)
{
	struct fixture *fx = set_up(100, 3); /* each line fills a file */
	for (uint64_t seed = 1; seed <= 6; seed++)
		expect_delivered(fx, seed);
	ck_assert_int_eq(count_lines(fx->path, 6), 1);
	ck_assert_int_eq(lines_of_backup(fx, 1, 5), 1);
	ck_assert_int_eq(lines_of_backup(fx, 2, 4), 1);
	ck_assert_int_eq(lines_of_backup(fx, 3, 3), 1);
	ck_assert_int_eq(lines_of_backup(fx, 4, 2), -1);
	tear_down(fx);
}
END_TEST

START_TEST(without_a_bound_all_backups_stay)
{
	struct fixture *fx = set_up(100, 0);
	for (uint64_t seed = 1; seed <= 15; seed++)
		expect_delivered(fx, seed);
	for (int i = 1; i <= 14; i++)
		ck_assert_int_eq(lines_of_backup(fx, i, (uint64_t)(15 - i)), 1);
	tear_down(fx);
}
END_TEST

START_TEST(a_gap_that_a_crash_or_a_person_left_is_filled_before_anything_goes)
{
	struct fixture *fx = set_up(100, 3);
	char path[700];
	for (uint64_t seed = 1; seed <= 4; seed++)
		expect_delivered(fx, seed);
	(void)snprintf(path, sizeof(path), "%s.2", fx->path);
	ck_assert_int_eq(unlink(path), 0);
	expect_delivered(fx, 5);
	ck_assert_int_eq(lines_of_backup(fx, 1, 4), 1);
	ck_assert_int_eq(lines_of_backup(fx, 2, 3), 1);
	ck_assert_int_eq(lines_of_backup(fx, 3, 1), 1);
	tear_down(fx);
}
END_TEST

START_TEST(a_file_that_was_moved_away_is_made_anew)
{
	struct fixture *fx = set_up(1 << 30, 3);
	char path[700];
	expect_delivered(fx, 1);
	(void)snprintf(path, sizeof(path), "%s/taken", fx->dir);
	ck_assert_int_eq(rename(fx->path, path), 0);
	expect_delivered(fx, 2);
	ck_assert_int_eq(count_lines(path, 1), 1);
	ck_assert_int_eq(count_lines(fx->path, 2), 1);
	tear_down(fx);
}
END_TEST

START_TEST(what_cannot_be_written_is_kept_for_later_and_says_why)
{
	struct fixture *fx = set_up(1 << 30, 3);
	char path[700];
	/* A directory stands where the file should be. */
	ck_assert_int_eq(mkdir(fx->path, 0700), 0);
	struct export_reply r = send_one(fx, 1, 1);
	ck_assert_int_eq(r.verdict, VERDICT_RETRY);
	ck_assert_msg(strstr(r.error, "out.jsonl"), "%s", r.error);
	ck_assert_int_eq(rmdir(fx->path), 0);
	expect_delivered(fx, 1);
	/* Its directory is made. */
	(void)snprintf(path, sizeof(path), "%s/a/b/out.jsonl", fx->dir);
	fx->config.path = path;
	expect_delivered(fx, 2);
	ck_assert_int_eq(count_lines(path, 2), 1);
	ck_assert_int_eq(unlink(path), 0);
	(void)snprintf(path, sizeof(path), "%s/a/b", fx->dir);
	ck_assert_int_eq(rmdir(path), 0);
	(void)snprintf(path, sizeof(path), "%s/a", fx->dir);
	ck_assert_int_eq(rmdir(path), 0);
	tear_down(fx);
}
END_TEST

START_TEST(damaged_bytes_are_refused_for_good)
{
	struct fixture *fx = set_up(1 << 30, 3);
	struct claim c = { .batch_id = 1, .signal = SIGNAL_LOGS };
	struct export *x = export_new(&c, 1);
	struct export *done = NULL;
	buf_init(&x->body, 100, NULL);
	EXPECT_OK(buf_append(&x->body, bytes_str("\x0a\x7f")));
	file_ops.send(fx->exporter, x);
	ck_assert_int_eq(file_ops.poll(fx->exporter, 0, &done), EXPORTER_DONE);
	ck_assert_int_eq(x->reply.verdict, VERDICT_REFUSED);
	ck_assert_str_ne(x->reply.error, "");
	export_free(x);
	ck_assert_int_eq(count_lines(fx->path, 1), -1);
	tear_down(fx);
}
END_TEST

START_TEST(each_directory_that_is_made_is_synced_into_its_parent)
{
	struct fixture *fx = set_up(1000000, 2);
	char path[700];
	char dir[600];
	(void)snprintf(path, sizeof(path), "%s/a/b/out.jsonl", fx->dir);
	fx->config.path = path;
	ck_assert_int_eq(send_one(fx, 1, 1).verdict, VERDICT_DELIVERED);
	ck_assert(was_synced(fx->dir));
	(void)snprintf(dir, sizeof(dir), "%s/a", fx->dir);
	ck_assert(was_synced(dir));
	(void)snprintf(dir, sizeof(dir), "%s/a/b", fx->dir);
	ck_assert(was_synced(dir));
	(void)unlink(path);
	(void)rmdir(dir);
	(void)snprintf(dir, sizeof(dir), "%s/a", fx->dir);
	(void)rmdir(dir);
	tear_down(fx);
}
END_TEST

START_TEST(a_wrong_configuration_names_its_key)
{
	static const char *const paths[] = { "", "dir/" };
	for (size_t i = 0; i < 2; i++) {
		char path[16];
		struct destination_config c = { .path = path };
		struct exporter *x = NULL;
		struct err e = { 0 };
		(void)snprintf(path, sizeof(path), "%s", paths[i]);
		EXPECT_STATUS(file_ops.open(&c, -1, &x, &e), ST_INVALID);
		ck_assert(strncmp(e.text, "path: ", 6) == 0);
	}
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		exports_are_appended_as_lines,
		half_a_line_that_a_crash_left_is_cut_off,
		the_half_line_may_be_longer_than_one_look,
		a_write_that_ends_half_way_leaves_no_half_line,
		a_full_file_becomes_the_first_backup_and_the_oldest_goes,
		without_a_bound_all_backups_stay,
		a_gap_that_a_crash_or_a_person_left_is_filled_before_anything_goes,
		a_file_that_was_moved_away_is_made_anew,
		what_cannot_be_written_is_kept_for_later_and_says_why,
		damaged_bytes_are_refused_for_good,
		each_directory_that_is_made_is_synced_into_its_parent,
		a_wrong_configuration_names_its_key,
	};
	return run_cases("file", cases, sizeof(cases) / sizeof(cases[0]));
}
