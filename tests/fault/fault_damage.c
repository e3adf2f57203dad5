/* fault_damage.c - a damaged queue file never stops the start, and what can be read of it comes
 * over.
 *
 * A file with known content (a WAL beside it, as after a crash) is damaged at one place: a page of
 * each kind, chosen through dbstat, or the WAL; bytes flipped, the page zeroed, filled with noise,
 * or the file cut there. Then the writer and the salvage start, and each time:
 *
 *   (1) the start succeeds and a put is taken at once
 *   (2) the salvage ends, the gateway is no longer degraded, the damaged file is still there
 *   (3) no more requests are missing than the page could hold; for pages that hold none, none
 *   (4) dead deliveries are still dead; the books balance; every payload is whole
 *   (5) what is missing stands in the loss ledger, to the record where the totals could be read
 *   (6) the next start finds nothing to complain about
 *
 * Where the damage does no harm to the structure (a byte of a payload, of free space), the file may
 * stay: then only the payload's checksum tells, when it is read. */
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/base/log.h"
#include "gateway/base/xalloc.h"
#include "storage/salvage.h"
#include "tests/support/crash_image.h"
#include "tests/support/expect.h"
#include "tests/support/patience.h"
#include "tests/support/queue_client.h"

enum pattern { FLIPPED, ZEROED, NOISE, CUT, PATTERN_COUNT };
enum { SETTLED = 295, REQUESTS = 300, PAGE = 4096, SEEDS = 2, LATE_ID = 4000 };

/* Which page: `where` is a condition on dbstat; `max_missing` is (3): requests that may be missing
 * at one destination, -1 for all. */
struct damage_row {
	const char *name;
	const char *where;
	int max_missing;
	bool has_totals; /* the totals are readable, so the ledger is exact */
};

static const struct damage_row rows[] = {
	{ "the header page", "pageno = 1", 0, true },
	{ "a page of the schema", "name = 'sqlite_schema' AND pageno > 1", -1, false },
	{ "an interior page of batches", "name = 'batches' AND pagetype = 'internal'", -1, true },
	{ "a leaf of batches", "name = 'batches' AND pagetype = 'leaf'", 60, true },
	{ "a leaf of payloads", "name = 'payloads' AND pagetype = 'leaf'", 30, true },
	{ "an overflow page of payloads", "name = 'payloads' AND pagetype = 'overflow'", 1, true },
	{ "an interior page of payloads", "name = 'payloads' AND pagetype = 'internal'", -1, true },
	{ "a leaf of deliveries", "name = 'deliveries' AND pagetype = 'leaf'", 0, true },
	{ "the index of what is ready", "name = 'deliveries_ready'", 0, true },
	{ "the totals", "name = 'totals'", 0, false },
	{ "the destinations", "name = 'destinations'", 0, false },
	{ "the sequence of ids", "name = 'sqlite_sequence'", 0, true },
	{ "the WAL", NULL, -1, false },
};

static const char *const pattern_names[PATTERN_COUNT] = { "flipped", "zeroed", "noise", "cut" };
static const char *const names[] = { "first", "second" };

/* Two files to damage: as a clean stop leaves it, and as a crash does, with a WAL. Damage to a page
 * that is also in the WAL does nothing. */
enum { CLEAN, CRASHED, ORIGINALS };
struct original {
	char dir[CLIENT_PATH_SIZE];
	char path[CLIENT_PATH_SIZE + 16];
	struct facts facts;
	int64_t owed[2]; /* records, by name */
};
static struct original originals[ORIGINALS];
static const struct original *original; /* of the case at hand */
static char dir[CLIENT_PATH_SIZE];
static char path[CLIENT_PATH_SIZE + 16];
static struct facts after;

static uint64_t next_random(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return *state >> 33;
}

static struct writer *open_writer(const char *file, int64_t ids[2])
{
	struct err e = { 0 };
	struct writer *w = NULL;
	const struct writer_options o = { .path = file,
					  .max_size_bytes = UINT64_C(1) << 30,
					  .page_size = PAGE,
					  .checkpoint_bytes = 256 << 10 };
	enum status st = writer_open(&o, &w, &e);
	ck_assert_msg(st == ST_OK, "the start fails: %s: %s", status_name(st), e.text);
	for (int i = 0; i < 2; i++) {
		int slot;
		EXPECT_OK(writer_destination(w, names[i], "otlp_http", &slot, &ids[i], &e));
	}
	EXPECT_OK(writer_start(w, &e));
	return w;
}

/* ---- the file ---- */

static struct client_request request(int id)
{
	return (struct client_request){ .id = id,
					.signal = (enum signal)(id % 3),
					.class = (enum record_class)(id / 3 % 3),
					.records = (uint32_t)(id % 7 + 1),
					.size = id % 5 ? 200 + (size_t)id % 300 : 9000,
					.destinations = (uint64_t)(id % 3 + 1) };
}

static void put_range(struct writer *w, int from, int to)
{
	enum status st;
	for (int id = from; id <= to; id++) {
		const struct client_request r = request(id);
		client_put(w, &r, 1, &st, NULL);
		EXPECT_OK(st);
	}
}

static void settle_some(struct writer *w, const char *file, const int64_t ids[2])
{
	ck_assert(facts_read(file, &after));
	for (int id = 10; id <= SETTLED; id += 5) {
		int64_t batch = after.batch_of[id];
		bool is_delivered = id % 10 == 5;
		int slot = request(id).destinations & (is_delivered ? 2 : 1) ? is_delivered :
									       !is_delivered;
		enum settle_outcome outcome = is_delivered ? SETTLE_DELIVERED :
					      id % 20      ? SETTLE_DEAD :
							     SETTLE_RETRY;
		EXPECT_OK(client_settle(w, ids[slot], &batch, 1, outcome, 0));
	}
}

/* Lay out what was recorded until now. */
static void keep(struct original *o)
{
	client_make_dir(o->dir, sizeof(o->dir), "original");
	(void)snprintf(o->path, sizeof(o->path), "%s/queue.db", o->dir);
	struct crash_disk *disk = crash_disk_new();
	for (size_t i = 0; i < vfs_log_count(); i++)
		crash_disk_advance(disk, vfs_log_event(i));
	(void)crash_disk_cut(disk, CRASH_KEPT, 0);
	crash_disk_write(disk, o->dir);
	crash_disk_free(disk);
	ck_assert(facts_read(o->path, &o->facts));
	ck_assert(o->facts.is_sound && !o->facts.imbalance && !o->facts.crc_errors);
	for (int i = 0; i < 2; i++) {
		char sql[128];
		(void)snprintf(sql, sizeof(sql),
			       "SELECT sum(queued + dead) FROM balance WHERE destination = '%s'",
			       names[i]);
		o->owed[i] = facts_int(o->path, sql);
		ck_assert_int_gt(o->owed[i], 0);
	}
}

static void make_originals(void)
{
	char work[CLIENT_PATH_SIZE];
	char file[CLIENT_PATH_SIZE + 16];
	int64_t ids[2];
	client_make_dir(work, sizeof(work), "work");
	(void)snprintf(file, sizeof(file), "%s/queue.db", work);
	vfs_log_start();
	struct writer *w = open_writer(file, ids);
	put_range(w, 1, SETTLED);
	settle_some(w, file, ids);
	writer_stop(w);
	keep(&originals[CLEAN]);
	w = open_writer(file, ids);
	put_range(w, SETTLED + 1, REQUESTS);
	vfs_log_stop();
	writer_stop(w);
	keep(&originals[CRASHED]);
	vfs_log_clear();
	client_remove_dir(work);
}

static void copy_file(const char *name)
{
	char from[CLIENT_PATH_SIZE + 32];
	char to[CLIENT_PATH_SIZE + 32];
	(void)snprintf(from, sizeof(from), "%s/%s", original->dir, name);
	(void)snprintf(to, sizeof(to), "%s/%s", dir, name);
	client_copy_file(from, to);
}

/* ---- the damage ---- */

/* The nth page that the condition names, counted around. 0: there is none. */
static int64_t choose_page(const char *where, uint64_t nth)
{
	char sql[512];
	(void)snprintf(sql, sizeof(sql), "SELECT count(*) FROM dbstat WHERE %s", where);
	int64_t count = facts_int(original->path, sql);
	if (count <= 0)
		return 0;
	(void)snprintf(sql, sizeof(sql),
		       "SELECT pageno FROM dbstat WHERE %s ORDER BY pageno LIMIT 1 OFFSET %lld",
		       where, (long long)(nth % (uint64_t)count));
	return facts_int(original->path, sql);
}

static void damage_page(const char *file, off_t at, int pattern, uint64_t seed)
{
	uint8_t page[PAGE];
	uint64_t random = seed;
	int fd = open(file, O_RDWR);
	ck_assert_int_ge(fd, 0);
	if (pattern == CUT) {
		ck_assert_int_eq(ftruncate(fd, at + PAGE / 2), 0);
		(void)close(fd);
		return;
	}
	memset(page, 0, sizeof(page));
	ck_assert_int_ge(pread(fd, page, sizeof(page), at), 0);
	for (size_t i = 0; i < sizeof(page); i++) {
		if (pattern == ZEROED)
			page[i] = 0;
		else if (pattern == NOISE)
			page[i] = (uint8_t)next_random(&random);
	}
	/* Not in the header's version and application: a file of another owner is refused. */
	for (int i = 0; pattern == FLIPPED && i < 24; i++) {
		size_t k = next_random(&random) % sizeof(page);
		if (at != 0 || k < 60 || k >= 72)
			page[k] ^= (uint8_t)(1 + next_random(&random) % 255);
	}
	ck_assert_int_eq(pwrite(fd, page, sizeof(page), at), (ssize_t)sizeof(page));
	(void)close(fd);
}

/* False: the file has no such page. */
static bool damage(const struct damage_row *row, int pattern, uint64_t seed)
{
	char file[CLIENT_PATH_SIZE + 32];
	struct stat sb;
	copy_file("queue.db");
	copy_file("queue.db-wal");
	if (!row->where) {
		(void)snprintf(file, sizeof(file), "%s/queue.db-wal", dir);
		if (stat(file, &sb) != 0)
			return false;
		off_t at = sb.st_size > PAGE ? (off_t)(seed * 7919) % (sb.st_size - PAGE) : 0;
		damage_page(file, at, pattern, seed);
		return true;
	}
	int64_t page = choose_page(row->where, seed * 17);
	if (page)
		damage_page(path, (off_t)(page - 1) * PAGE, pattern, seed);
	return page != 0;
}

/* ---- the oracle ---- */

static void await_salvage(struct writer *w, const char *what)
{
	int64_t end = patience_end_ns();
	while (writer_is_degraded(w) && patience_pause(end))
		;
	ck_assert_msg(!writer_is_degraded(w),
		      "%s: the salvage does not end: the writer is %s, %lld batches came over",
		      what, status_name(writer_state(w)),
		      (long long)facts_int(path, "SELECT sum(batches) FROM salvages"));
}

/* Is the request owed anywhere? */
static bool is_there(const struct facts *f, int id)
{
	for (int d = 0; d < CLIENT_DESTINATIONS_MAX; d++)
		if (f->ready[d][id] || f->dead[d][id])
			return true;
	return false;
}

/* (3) and (4) */
static int check_requests(const int64_t ids[2], int max_missing, const char *what)
{
	int missing = 0;
	for (int id = 1; id <= REQUESTS; id++) {
		if (is_there(&original->facts, id) && !is_there(&after, id))
			missing++;
		for (int i = 0; i < 2; i++)
			ck_assert_msg(after.ready[ids[i]][id] + after.dead[ids[i]][id] <= 1,
				      "%s: request %d came over twice", what, id);
	}
	ck_assert_msg(max_missing < 0 || missing <= max_missing, "%s: %d requests are missing",
		      what, missing);
	return missing;
}

/* (5) */
static void check_ledger(bool is_exact, int missing, const char *what)
{
	for (int i = 0; i < 2 && is_exact; i++) {
		char sql[160];
		(void)snprintf(sql, sizeof(sql),
			       "SELECT sum(queued + dead + damaged) FROM balance"
			       " WHERE destination = '%s'",
			       names[i]);
		int64_t owed = facts_int(path, sql);
		int64_t late = i == 0 ? 1 : 0;
		ck_assert_msg(owed == original->owed[i] + late,
			      "%s: %s was owed %lld records, and the books now say %lld", what,
			      names[i], (long long)original->owed[i], (long long)(owed - late));
	}
	if (missing)
		ck_assert_msg(
			facts_int(path, "SELECT count(*) FROM losses WHERE reason = 'damaged'") > 0,
			"%s: nothing in the loss ledger", what);
}

/* (1) Damage that the start has not seen may stop a put when it meets it, but not for long. */
static void put_late(struct writer *w, bool is_at_once, const char *what)
{
	enum status st;
	int64_t end = patience_end_ns();
	const struct client_request late = {
		.id = LATE_ID, .records = 1, .size = 100, .destinations = 1
	};
	client_put(w, &late, 1, &st, NULL);
	while (st && !is_at_once && patience_pause(end))
		client_put(w, &late, 1, &st, NULL);
	ck_assert_msg(st == ST_OK, "%s: the first put gets %s", what, status_name(st));
}

/* The second start. */
static void start_again(const char *what)
{
	int64_t ids[2];
	int aside = client_count_files(dir, "queue.db.damaged-");
	struct writer *w = open_writer(path, ids);
	ck_assert_msg(!writer_is_degraded(w), "%s: the second start is degraded", what);
	writer_stop(w);
	ck_assert_int_eq(client_count_files(dir, "queue.db.damaged-"), aside);
}

/* How many requests are missing. */
static int check_case(const struct damage_row *row, int pattern, const char *what)
{
	int64_t ids[2];
	struct salvage *s = NULL;
	struct writer *w = open_writer(path, ids);
	bool was_degraded = writer_is_degraded(w);
	EXPECT_OK(salvage_start(w, &s, NULL));
	put_late(w, was_degraded, what);
	await_salvage(w, what);
	salvage_stop(s);
	writer_stop(w);
	if (client_count_files(dir, "queue.db.damaged-") == 0) {
		ck_assert_msg(facts_int(path, "SELECT count(*) FROM payloads WHERE batch_id ="
					      " (SELECT max(id) FROM batches)") == 1,
			      "%s: the late put is lost", what);
		return 0;
	}
	ck_assert_msg(facts_read(path, &after), "%s: unreadable afterwards", what);
	ck_assert_msg(after.ready[ids[0]][LATE_ID] == 1, "%s: the late put is lost", what);
	ck_assert_msg(after.is_sound, "%s: %s", what, after.problem);
	ck_assert_msg(!after.imbalance, "%s: the books do not balance", what);
	ck_assert_msg(!after.crc_errors, "%s: damaged payloads came over", what);
	/* A cut takes what lies behind it, too. */
	int missing = check_requests(ids, pattern == CUT ? -1 : row->max_missing, what);
	check_ledger(row->has_totals && pattern != CUT, missing, what);
	for (int id = 1; id <= REQUESTS; id++)
		for (int i = 0; i < 2; i++)
			ck_assert_msg(!original->facts.dead[ids[i]][id] || !after.ready[ids[i]][id],
				      "%s: the dead request %d is alive", what, id);
	start_again(what);
	return missing;
}

START_TEST(a_damaged_file_never_stops_the_start_and_is_salvaged)
{
	const struct damage_row *row = &rows[_i];
	int set_aside = 0;
	int cases = 0;
	int most = 0;
	make_originals();
	for (int i = 0; i < PATTERN_COUNT * SEEDS * ORIGINALS; i++) {
		char what[160];
		int pattern = i % PATTERN_COUNT;
		uint64_t seed = (uint64_t)(i / PATTERN_COUNT / ORIGINALS) + 1;
		int which = i / PATTERN_COUNT % ORIGINALS;
		original = &originals[which];
		(void)snprintf(what, sizeof(what), "%s, %s, seed %d, %s", row->name,
			       pattern_names[pattern], (int)seed, which ? "crashed" : "clean");
		client_make_dir(dir, sizeof(dir), "damage");
		(void)snprintf(path, sizeof(path), "%s/queue.db", dir);
		if (damage(row, pattern, seed)) {
			int missing = check_case(row, pattern, what);
			most = missing > most && pattern != CUT ? missing : most;
			cases++;
			set_aside += client_count_files(dir, "queue.db.damaged-") > 0;
		}
		client_remove_dir(dir);
	}
	(void)printf("%-32s %d cases, %d set aside, at most %d of %d missing\n", row->name, cases,
		     set_aside, most, REQUESTS);
	/* Damage that nobody noticed would prove nothing. */
	ck_assert(set_aside > 0 || !row->where);
	for (int i = 0; i < ORIGINALS; i++)
		client_remove_dir(originals[i].dir);
}
END_TEST

int main(void)
{
	fault_begin();
	return run_loop("damage", a_damaged_file_never_stops_the_start_and_is_salvaged,
			(int)(sizeof(rows) / sizeof(rows[0])));
}
