/* What the thread in front of the writer promises: every put is completed exactly once, whatever
 * becomes of its neighbours, and none waits longer than it must. */
#include "storage/packer.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "gateway/base/compression.h"
#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"
#include "storage/writer_internal.h"
#include "tests/support/expect.h"
#include "tests/support/patience.h"
#include "tests/support/queue_file.h"

/* What packer.c keeps under way, and from how many bytes on a put is packed alone. */
enum { PACKS = 6, ALONE = 2 << 20 };

static uint8_t zeros[ALONE];

/* A bug of ours in the compressor, for bodies that say so. The linker puts it in front of the real
 * one (tests/CMakeLists.txt). */
static const char poison[] = "poison";
enum status __real_compress_parts(struct compressor *c, const struct bytes *parts, size_t count,
				  struct buf *out);
enum status __wrap_compress_parts(struct compressor *c, const struct bytes *parts, size_t count,
				  struct buf *out);
enum status __wrap_compress_parts(struct compressor *c, const struct bytes *parts, size_t count,
				  struct buf *out)
{
	for (size_t i = 0; i < count; i++)
		if (bytes_equal(parts[i], bytes_str(poison)))
			return ST_INTERNAL;
	return __real_compress_parts(c, parts, count, out);
}

struct fixture {
	struct queue_file file;
	struct writer *w;
	int64_t id;
	int64_t interval_ns;
};

static void open_queue(struct fixture *f, int64_t interval_ns)
{
	struct err e = { .text = "" };
	int slot;
	queue_file_make(&f->file);
	f->interval_ns = interval_ns;
	struct writer_options o = { .path = f->file.path,
				    .commit_interval_ns = interval_ns,
				    .has_encoding = true,
				    .encoding = ENCODING_NONE };
	enum status st = writer_open(&o, &f->w, &e);
	ck_assert_msg(!st, "%s", e.text);
	EXPECT_OK(writer_destination(f->w, "alpha", "file", &slot, &f->id, &e));
}

static void start(struct fixture *f)
{
	struct err e;
	EXPECT_OK(writer_start(f->w, &e));
}

static void end(struct fixture *f)
{
	writer_stop(f->w);
	queue_file_remove(&f->file);
}

static int64_t ask(struct fixture *f, const char *sql)
{
	return queue_file_int(f->file.path, sql);
}

/* A put that knows how often it was completed. */
struct counted {
	struct put_job put;
	atomic_int done;
	enum status st;
	sem_t *sem;
};

static void count_done(struct write_job *job, enum status st)
{
	struct counted *c = (struct counted *)job;
	c->st = st;
	(void)atomic_fetch_add(&c->done, 1);
	if (c->sem)
		(void)sem_post(c->sem);
}

static void fill(struct counted *c, sem_t *sem, struct bytes body)
{
	memset(c, 0, sizeof(*c));
	c->sem = sem;
	c->put.job.done = count_done;
	c->put.signal = SIGNAL_LOGS;
	c->put.part_count = 1;
	c->put.parts[0] = (struct put_part){
		.class = RECORD_CLASS_INFO, .records = 1, .body = body, .destinations = 1
	};
}

static void wait_for(sem_t *sem, int count)
{
	const struct timespec until = patience_until(CLOCK_REALTIME);
	for (int i = 0; i < count; i++)
		ck_assert_msg(sem_timedwait(sem, &until) == 0, "%d of %d were completed", i, count);
}

/* A job that holds the writer within a transaction until it is let go. */
struct gate {
	struct write_job job;
	struct writer *w;
	sem_t entered;
	sem_t open;
	sem_t done;
	bool fills_the_disk;
	enum status result;
};

static enum status gate_apply(struct queue *q, struct write_job *job)
{
	struct gate *g = (struct gate *)job;
	(void)q;
	(void)sem_post(&g->entered);
	while (sem_wait(&g->open))
		;
	if (g->fills_the_disk) {
		g->w->space.min_free_bytes = UINT64_MAX / 2;
		atomic_store(&g->w->state, (int)ST_NO_SPACE);
	}
	return g->result;
}

static void gate_done(struct write_job *job, enum status st)
{
	(void)st;
	(void)sem_post(&((struct gate *)job)->done);
}

static void gate_close(struct gate *g, struct fixture *f)
{
	g->w = f->w;
	g->job.apply = gate_apply;
	g->job.done = gate_done;
	(void)sem_init(&g->entered, 0, 0);
	(void)sem_init(&g->open, 0, 0);
	(void)sem_init(&g->done, 0, 0);
	/* As if it had waited for company already. */
	writer_give_as_of(f->w, &g->job, now_mono_ns() - f->interval_ns);
	wait_for(&g->entered, 1);
}

static void gate_open(struct gate *g)
{
	(void)sem_post(&g->open);
	wait_for(&g->done, 1);
}

static void wait_until_given(struct fixture *f, size_t count)
{
	AWAIT(chan_count(&f->w->chan) >= count);
	ck_assert_uint_eq(chan_count(&f->w->chan), count);
}

/* All that may be under way is: what comes now must wait. */
static void occupy(struct fixture *f, struct counted *puts, sem_t *sem)
{
	for (int i = 0; i < PACKS; i++) {
		fill(&puts[i], sem, bytes_of(zeros, ALONE));
		writer_put(f->w, &puts[i].put);
	}
	wait_until_given(f, PACKS);
}

START_TEST(a_put_at_fault_is_told_so_and_its_neighbours_are_stored_in_order)
{
	enum { PUTS = 9 };
	struct fixture f;
	struct counted puts[PUTS];
	sem_t sem;
	char text[32];
	static const char long_tenant[TENANT_MAX + 1];
	(void)sem_init(&sem, 0, 0);
	open_queue(&f, 0);
	for (int i = 0; i < PUTS; i++)
		fill(&puts[i], &sem, bytes_of(&"abcdefghi"[i], 1));
	puts[0].put.parts[0].destinations = 2; /* no such slot */
	puts[3].put.parts[0].body.n = 0;
	puts[4].put.tenant = bytes_of(long_tenant, sizeof(long_tenant));
	puts[8].put.part_count = 0;
	/* Before the start: all of them wait together. */
	for (int i = 0; i < PUTS; i++)
		writer_put(f.w, &puts[i].put);
	start(&f);
	wait_for(&sem, PUTS);
	for (int i = 0; i < PUTS; i++) {
		bool is_bad = i == 0 || i == 3 || i == 4 || i == 8;
		ck_assert_int_eq(atomic_load(&puts[i].done), 1);
		EXPECT_STATUS(puts[i].st, is_bad ? ST_INVALID : ST_OK);
	}
	queue_file_text(f.file.path, "SELECT CAST(body AS TEXT) FROM payloads", text, sizeof(text));
	ck_assert_str_eq(text, "bcfgh");
	ck_assert_int_eq(ask(&f, "SELECT sum(requests) FROM batches"), 5);
	end(&f);
}
END_TEST

START_TEST(a_put_that_cannot_be_packed_fails_alone)
{
	enum { PUTS = 5, BAD = 2 };
	struct fixture f;
	struct counted puts[PUTS];
	sem_t sem;
	char text[32];
	(void)sem_init(&sem, 0, 0);
	open_queue(&f, 0);
	for (int i = 0; i < PUTS; i++) {
		fill(&puts[i], &sem, i == BAD ? bytes_str(poison) : bytes_of(&"abcde"[i], 1));
		writer_put(f.w, &puts[i].put);
	}
	start(&f);
	wait_for(&sem, PUTS);
	for (int i = 0; i < PUTS; i++) {
		ck_assert_int_eq(atomic_load(&puts[i].done), 1);
		EXPECT_STATUS(puts[i].st, i == BAD ? ST_UNAVAILABLE : ST_OK);
	}
	queue_file_text(f.file.path,
			"SELECT group_concat(CAST(body AS TEXT), '') FROM "
			"(SELECT body FROM payloads ORDER BY batch_id)",
			text, sizeof(text));
	ck_assert_str_eq(text, "abde");
	end(&f);
}
END_TEST

START_TEST(puts_gather_while_all_that_may_be_under_way_is)
{
	enum { PUTS = 200 };
	struct fixture f;
	struct gate gate = { .result = ST_OK };
	struct counted large[PACKS];
	struct counted *puts = xcalloc(PUTS, sizeof(*puts));
	sem_t sem;
	(void)sem_init(&sem, 0, 0);
	open_queue(&f, 0);
	start(&f);
	gate_close(&gate, &f);
	occupy(&f, large, &sem);
	for (int i = 0; i < PUTS; i++) {
		fill(&puts[i], &sem, bytes_str("x"));
		writer_put(f.w, &puts[i].put);
	}
	ck_assert_uint_eq(chan_count(&f.w->chan), PACKS);
	gate_open(&gate);
	wait_for(&sem, PACKS + PUTS);
	for (int i = 0; i < PUTS; i++)
		EXPECT_OK(puts[i].st);
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM batches"), PACKS + 1);
	ck_assert_int_eq(ask(&f, "SELECT requests FROM batches ORDER BY id DESC LIMIT 1"), PUTS);
	end(&f);
	free(puts);
}
END_TEST

START_TEST(large_puts_are_not_all_packed_at_once)
{
	enum { PUTS = 5, LARGE = 8 << 20, AT_A_TIME = 2 };
	struct fixture f;
	struct gate gate = { .result = ST_OK };
	struct counted puts[PUTS];
	uint8_t *body = xcalloc(1, LARGE);
	sem_t sem;
	(void)sem_init(&sem, 0, 0);
	open_queue(&f, 0);
	start(&f);
	gate_close(&gate, &f);
	for (int i = 0; i < PUTS; i++) {
		fill(&puts[i], &sem, bytes_of(body, LARGE));
		writer_put(f.w, &puts[i].put);
	}
	wait_until_given(&f, AT_A_TIME);
	(void)usleep(50000); /* no more follow */
	ck_assert_uint_eq(chan_count(&f.w->chan), AT_A_TIME);
	gate_open(&gate);
	wait_for(&sem, PUTS);
	for (int i = 0; i < PUTS; i++)
		EXPECT_OK(puts[i].st);
	end(&f);
	free(body);
}
END_TEST

START_TEST(a_put_that_waits_for_company_is_packed_when_room_comes_back_meanwhile)
{
	struct fixture f;
	struct gate gate = { .result = ST_OK };
	struct counted large[PACKS];
	struct counted last;
	sem_t sem;
	(void)sem_init(&sem, 0, 0);
	open_queue(&f, NS_PER_S);
	start(&f);
	gate_close(&gate, &f);
	occupy(&f, large, &sem);
	fill(&last, &sem, bytes_str("x"));
	writer_put(f.w, &last.put);
	/* The packer takes it, and waits for company, while the others come back. */
	(void)usleep(20000);
	gate_open(&gate);
	wait_for(&sem, PACKS + 1);
	EXPECT_OK(last.st);
	end(&f);
}
END_TEST

static void settled(struct write_job *job, enum status st)
{
	struct settlement *s = (struct settlement *)job;
	s->status = (int)st;
	(void)sem_post(s->owner);
}

START_TEST(with_a_commit_interval_nothing_is_delayed_twice)
{
	struct fixture f;
	struct counted put;
	sem_t sem;
	(void)sem_init(&sem, 0, 0);
	open_queue(&f, NS_PER_S);
	start(&f);
	int64_t began = now_mono_ns();
	struct stopwatch watch = stopwatch_start();
	fill(&put, &sem, bytes_str("x"));
	writer_put(f.w, &put.put);
	wait_for(&sem, 1);
	EXPECT_OK(put.st);
	ck_assert_int_ge(now_mono_ns() - began, NS_PER_S);
	ck_assert_int_lt(stopwatch_ns(&watch), 2 * NS_PER_S);

	/* A settlement, and a put that comes when the settlement has waited for half of its time:
	 * neither begins the other's wait anew. */
	struct settlement *s = xcalloc(1, sizeof(*s) + sizeof(s->items[0]));
	*s = (struct settlement){
		.job.done = settled, .owner = &sem, .destination_id = f.id, .at_ns = 1, .count = 1
	};
	s->items[0] = (struct settle_item){ .batch_id = 1, .outcome = SETTLE_DELIVERED };
	watch = stopwatch_start();
	writer_settle(f.w, s);
	(void)usleep(NS_PER_S / 2 / 1000);
	fill(&put, NULL, bytes_str("x"));
	struct stopwatch put_watch = stopwatch_start();
	writer_put(f.w, &put.put);
	wait_for(&sem, 1);
	ck_assert_int_lt(stopwatch_ns(&watch), 2 * NS_PER_S);
	ck_assert_int_eq(s->status, ST_OK);
	AWAIT(atomic_load(&put.done));
	ck_assert_int_lt(stopwatch_ns(&put_watch), 2 * NS_PER_S);
	EXPECT_OK(put.st);
	free(s);
	end(&f);
}
END_TEST

START_TEST(a_put_on_a_full_disk_is_told_so_and_not_what_another_job_was_told)
{
	struct fixture f;
	struct gate gate = { .result = ST_NOT_FOUND, .fills_the_disk = true };
	struct counted put;
	sem_t sem;
	(void)sem_init(&sem, 0, 0);
	open_queue(&f, 0);
	start(&f);
	gate_close(&gate, &f);
	fill(&put, &sem, bytes_str("x"));
	writer_put(f.w, &put.put);
	wait_until_given(&f, 1);
	gate_open(&gate);
	wait_for(&sem, 1);
	EXPECT_STATUS(put.st, ST_NO_SPACE);
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM batches"), 0);
	end(&f);
}
END_TEST

enum { GIVERS = 3, GIVEN = 400 };

struct giver {
	struct writer *w;
	struct counted *puts;
	pthread_t thread;
};

static void *give_all(void *arg)
{
	struct giver *g = arg;
	for (int i = 0; i < GIVEN; i++)
		writer_put(g->w, &g->puts[i].put);
	return NULL;
}

static struct counted *make_puts(void)
{
	static uint8_t body[20000];
	struct counted *puts = xcalloc(GIVERS * GIVEN, sizeof(*puts));
	for (int i = 0; i < GIVERS * GIVEN; i++)
		fill(&puts[i], NULL, bytes_of(body, i % 7 ? 200 : sizeof(body)));
	return puts;
}

/* What is logged goes to this file from here on. */
static FILE *catch_log(void)
{
	FILE *file = tmpfile();
	ck_assert_ptr_nonnull(file);
	(void)fflush(stderr);
	ck_assert_int_ge(dup2(fileno(file), STDERR_FILENO), 0);
	return file;
}

static void expect_no_errors(FILE *file)
{
	char line[1024];
	rewind(file);
	while (fgets(line, sizeof(line), file))
		ck_assert_msg(!strstr(line, "level=error"), "%s", line);
	(void)fclose(file);
}

/* _i: how long the givers are ahead of the stop. */
START_TEST(a_stop_completes_every_put_once_and_what_was_acknowledged_is_there)
{
	struct fixture f;
	struct giver givers[GIVERS];
	struct counted *puts = make_puts();
	FILE *log = catch_log();
	int stored = 0;
	open_queue(&f, _i % 2 ? 20 * NS_PER_MS : 0);
	start(&f);
	for (int i = 0; i < GIVERS; i++) {
		givers[i] = (struct giver){ .w = f.w, .puts = puts + i * GIVEN };
		ck_assert(!pthread_create(&givers[i].thread, NULL, give_all, &givers[i]));
	}
	for (int i = 0; i < GIVERS; i++)
		ck_assert(!pthread_join(givers[i].thread, NULL));
	(void)usleep((useconds_t)_i * 2000);
	writer_stop(f.w);
	expect_no_errors(log);
	for (int i = 0; i < GIVERS * GIVEN; i++) {
		ck_assert_int_eq(atomic_load(&puts[i].done), 1);
		ck_assert(puts[i].st == ST_OK || puts[i].st == ST_STOPPING);
		stored += puts[i].st == ST_OK;
	}
	ck_assert_int_eq(ask(&f, "SELECT coalesce(sum(requests), 0) FROM batches"), stored);
	ck_assert_int_eq(ask(&f, "SELECT coalesce(sum(records), 0) FROM deliveries"), stored);
	ck_assert_int_eq(ask(&f, "SELECT count(*) FROM balance WHERE difference <> 0"), 0);
	queue_file_remove(&f.file);
	free(puts);
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		a_put_at_fault_is_told_so_and_its_neighbours_are_stored_in_order,
		a_put_that_cannot_be_packed_fails_alone,
		puts_gather_while_all_that_may_be_under_way_is,
		large_puts_are_not_all_packed_at_once,
		a_put_that_waits_for_company_is_packed_when_room_comes_back_meanwhile,
		with_a_commit_interval_nothing_is_delayed_twice,
		a_put_on_a_full_disk_is_told_so_and_not_what_another_job_was_told,
	};
	int failed = run_cases("packer", cases, sizeof(cases) / sizeof(cases[0]));
	int stop_failed =
		run_loop("packer_stop",
			 a_stop_completes_every_put_once_and_what_was_acknowledged_is_there, 6);
	return failed || stop_failed;
}
