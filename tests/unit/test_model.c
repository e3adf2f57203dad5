/* What the queue promises, against a model that fits a page: after any sequence of puts,
 * settlements, replays, purges, expiry, eviction, crashes and restarts the books are the model's,
 * to the record, and balance.
 *
 * The model keeps, for each batch, its records, its time and its state at each destination, and
 * sums up. It knows nothing of rows. What is evicted it does not predict, but judges: a whole
 * batch, of the class that has to go, and none that is older stays. Sequences are random, but
 * seeded: a failure names seed and step. A crash leaves the files as they are, log and all. */
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "gateway/base/log.h"
#include "gateway/base/now.h"
#include "storage/evict.h"
#include "storage/redrive.h"
#include "tests/support/expect.h"
#include "tests/support/fault_vfs.h"
#include "tests/support/patience.h"
#include "tests/support/queue_client.h"

enum { STEPS = 250, DESTINATIONS = 3, BATCHES_MAX = 1024 };
enum state { ABSENT, READY, DEAD, GONE };
enum column { ACCEPTED, DELIVERED, QUEUED, DIED, REJECTED, EXPIRED, EVICTED, PURGED, COLUMN_COUNT };
#define HOUR  (INT64_C(3600) * NS_PER_S)
#define TODAY INT64_C(1780272000000000000) /* 2026-06-01 */

struct model_batch {
	int64_t id;
	enum signal signal;
	enum record_class class;
	int64_t received_ns; /* of the boot clock */
	int64_t records;
	enum state state[DESTINATIONS];
};

static struct {
	struct model_batch batches[BATCHES_MAX];
	int count;
	/* What is over and done. */
	int64_t sums[DESTINATIONS][SIGNAL_COUNT][COLUMN_COUNT];
	int next_request;
} model;

static const char *const names[DESTINATIONS] = { "alpha", "beta", "gamma" };
static int64_t ids[DESTINATIONS];
static char dir[CLIENT_PATH_SIZE];
static char path[CLIENT_PATH_SIZE + 16];
static char what[64];
static struct facts facts;
static uint64_t random_state;

/* By class: critical data is for ever, and never evicted. */
static const int64_t max_age[RECORD_CLASS_COUNT] = { 0, 2 * HOUR, HOUR };
static const bool may_evict[RECORD_CLASS_COUNT] = { false, true, true };

static uint32_t pick(uint32_t count)
{
	random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(random_state >> 33) % count;
}

static struct writer *open_writer(void)
{
	struct err e = { 0 };
	struct writer *w = NULL;
	const struct writer_options o = { .path = path,
					  .max_size_bytes = UINT64_C(1) << 30,
					  .checkpoint_bytes = 512 << 10,
					  .limits.max_age_ns = { max_age[0], max_age[1],
								 max_age[2] } };
	enum status st = writer_open(&o, &w, &e);
	ck_assert_msg(st == ST_OK, "%s: open: %s", what, e.text);
	for (int i = 0; i < DESTINATIONS; i++) {
		int slot;
		int64_t before = ids[i];
		EXPECT_OK(writer_destination(w, names[i], "otlp_http", &slot, &ids[i], &e));
		ck_assert_msg(!before || before == ids[i], "%s: the id of a destination changed",
			      what);
	}
	EXPECT_OK(writer_start(w, &e));
	return w;
}

/* ---- steps ---- */

static struct model_batch *find_batch(int64_t id)
{
	for (int i = 0; i < model.count; i++)
		if (model.batches[i].id == id)
			return &model.batches[i];
	ck_assert_int_lt(model.count, BATCHES_MAX);
	model.batches[model.count] = (struct model_batch){ .id = id };
	return &model.batches[model.count++];
}

/* Requests given together may be merged: each one joins the batch that the file says. */
static void learn_put(const struct client_request *r)
{
	struct model_batch *b = find_batch(facts.batch_of[r->id]);
	b->signal = r->signal;
	b->class = r->class;
	b->received_ns = now_boot_ns();
	b->records += r->records;
	for (int i = 0; i < DESTINATIONS; i++) {
		if (!(r->destinations >> i & 1))
			continue;
		ck_assert_msg(b->state[i] == ABSENT || b->state[i] == READY,
			      "%s: merged into a batch that is settled", what);
		b->state[i] = READY;
		model.sums[i][r->signal][ACCEPTED] += r->records;
	}
}

static void step_put(struct writer *w)
{
	struct client_request r[3];
	enum status st[3];
	size_t count = 1 + pick(3);
	enum signal signal = (enum signal)pick(SIGNAL_COUNT);
	for (size_t i = 0; i < count; i++)
		r[i] = (struct client_request){ .id = ++model.next_request,
						.signal = signal,
						.class = (enum record_class)pick(3),
						.records = 1 + pick(20),
						.size = 20 + pick(3000),
						.destinations = 1 + pick(7) };
	client_put(w, r, count, st, NULL);
	ck_assert(facts_read(path, &facts));
	for (size_t i = 0; i < count; i++) {
		ck_assert_msg(st[i] == ST_OK, "%s: put: %s", what, status_name(st[i]));
		ck_assert_msg(facts.batch_of[r[i].id], "%s: request %d is not there", what,
			      (int)r[i].id);
		learn_put(&r[i]);
	}
}

static void learn_settled(struct model_batch *b, int slot, enum settle_outcome outcome,
			  int64_t rejected)
{
	int64_t *sums = model.sums[slot][b->signal];
	if (b->state[slot] != READY)
		return; /* a settlement that comes late changes nothing */
	if (outcome == SETTLE_DEAD)
		b->state[slot] = DEAD;
	if (outcome != SETTLE_DELIVERED)
		return;
	rejected = rejected < b->records ? rejected : b->records;
	sums[REJECTED] += rejected;
	sums[DELIVERED] += b->records - rejected;
	b->state[slot] = GONE;
}

/* Up to three batches of one destination, whatever their state. */
static void step_settle(struct writer *w)
{
	int64_t batch_ids[3];
	int at[3];
	size_t count = 1 + pick(3);
	int slot = (int)pick(DESTINATIONS);
	uint32_t choice = pick(5);
	enum settle_outcome outcome = choice < 3  ? SETTLE_DELIVERED :
				      choice == 3 ? SETTLE_RETRY :
						    SETTLE_DEAD;
	uint32_t rejected = choice == 2 ? 1 + pick(30) : 0;
	if (!model.count)
		return;
	for (size_t i = 0; i < count; i++) {
		at[i] = (int)pick((uint32_t)model.count);
		batch_ids[i] = model.batches[at[i]].id;
	}
	enum status st = client_settle(w, ids[slot], batch_ids, count, outcome, rejected);
	ck_assert_msg(st == ST_OK, "%s: settle: %s", what, status_name(st));
	for (size_t i = 0; i < count; i++)
		learn_settled(&model.batches[at[i]], slot, outcome, rejected);
}

/* Deliveries that a rule takes: all of the state, into the column. */
static void learn_gone(struct model_batch *b, int slot, enum column column)
{
	model.sums[slot][b->signal][column] += b->records;
	b->state[slot] = GONE;
}

/* People: a few of one destination's, whatever their state. */
static void step_redrive(struct writer *w)
{
	struct redrive r = { .action = pick(2) ? REDRIVE_REPLAY : REDRIVE_PURGE,
			     .detail = "the test says so" };
	int slot = (int)pick(DESTINATIONS);
	r.state = r.action == REDRIVE_REPLAY || pick(2) ? DELIVERY_DEAD : DELIVERY_READY;
	r.destination_id = ids[slot];
	if (!model.count)
		return;
	for (r.count = 0; r.count < 3; r.count++)
		r.batch_ids[r.count] = model.batches[pick((uint32_t)model.count)].id;
	enum status st = redrive_run(w, &r);
	ck_assert_msg(st == ST_OK, "%s: redrive: %s", what, status_name(st));
	for (size_t i = 0; i < r.count; i++) {
		struct model_batch *b = find_batch(r.batch_ids[i]);
		if (b->state[slot] != (r.state == DELIVERY_DEAD ? DEAD : READY))
			continue;
		if (r.action == REDRIVE_PURGE)
			learn_gone(b, slot, PURGED);
		else
			b->state[slot] = READY;
	}
}

/* Time passes; the wall clock may say what it likes. What is too old goes, and nothing else. */
static void step_expire(struct writer *w)
{
	static const int64_t walls[] = { 0, TODAY, TODAY + 3650 * 24 * HOUR };
	static const char sql[] =
		"SELECT ifnull(sum(records), 0) FROM totals WHERE outcome = 'expired'";
	const int64_t none = 1000000;
	int64_t want = 0;
	now_fake(walls[pick(3)], now_boot_ns() + pick(40) * (HOUR / 60));
	for (int k = 0; k < model.count; k++) {
		struct model_batch *b = &model.batches[k];
		bool is_old =
			max_age[b->class] && now_boot_ns() - b->received_ns >= max_age[b->class];
		for (int i = 0; i < DESTINATIONS && is_old; i++)
			if (b->state[i] == READY)
				learn_gone(b, i, EXPIRED);
	}
	for (int i = 0; i < DESTINATIONS; i++)
		for (int s = 0; s < SIGNAL_COUNT; s++)
			want += model.sums[i][s][EXPIRED];
	for (int i = 0; i < 500 && facts_int(path, sql) != want; i++) {
		now_fake_advance(10 * NS_PER_MS);
		(void)client_settle(w, ids[0], &none, 1, SETTLE_DELIVERED, 0);
	}
	ck_assert_msg(facts_int(path, sql) == want, "%s: %lld expired, expected %lld", what,
		      (long long)facts_int(path, sql), (long long)want);
}

struct evict_job {
	struct write_job job;
	enum record_class arriving;
	size_t count;
	struct chan done;
};

static enum status apply_evict(struct queue *q, struct write_job *job)
{
	struct evict_job *e = (struct evict_job *)job;
	return evict_some(q, may_evict, e->arriving, &e->count);
}

static void evict_is_done(struct write_job *job, enum status st)
{
	ck_assert(st == ST_OK);
	chan_give_item(&((struct evict_job *)job)->done, &job->item);
}

static bool has_state(const struct model_batch *b, enum state state)
{
	bool has = false;
	for (int i = 0; i < DESTINATIONS; i++)
		has = has || b->state[i] == state;
	return has;
}

/* Of two batches that may go, which first: what nobody needs, the less urgent, the older. */
static int64_t rank(const struct model_batch *b)
{
	int64_t tier = has_state(b, READY) ? 1 : 0;
	return (tier << 48) + ((int64_t)(RECORD_CLASS_COUNT - b->class) << 40) + b->id;
}

static void step_evict(struct writer *w)
{
	struct evict_job e = { .job = { .apply = apply_evict, .done = evict_is_done },
			       .arriving = (enum record_class)pick(3) };
	int64_t last = 0;
	int64_t first_kept = INT64_MAX;
	ck_assert(chan_init(&e.done, CHAN_WAKE_WAIT) == ST_OK);
	writer_give(w, &e.job);
	while (!chan_wait_all(&e.done, INT64_MAX))
		continue;
	chan_done(&e.done);
	static char kept[BATCHES_MAX * 8];
	ck_assert(facts_text(path, "SELECT ',' || ifnull(group_concat(id), '') || ',' FROM batches",
			     kept, sizeof(kept)));
	for (int k = 0; k < model.count; k++) {
		struct model_batch *b = &model.batches[k];
		char name[32];
		if (!has_state(b, READY) && !has_state(b, DEAD))
			continue;
		(void)snprintf(name, sizeof(name), ",%lld,", (long long)b->id);
		bool may_go = may_evict[b->class] && b->class >= e.arriving;
		if (strstr(kept, name)) {
			if (may_go && rank(b) < first_kept)
				first_kept = rank(b);
			continue;
		}
		ck_assert_msg(may_go, "%s: batch %lld was not to go", what, (long long)b->id);
		last = rank(b) > last ? rank(b) : last;
		for (int i = 0; i < DESTINATIONS; i++)
			if (b->state[i] == READY || b->state[i] == DEAD)
				learn_gone(b, i, EVICTED);
	}
	ck_assert_msg(last < first_kept, "%s: evicted in the wrong order", what);
	ck_assert_msg(last > 0 || first_kept == INT64_MAX, "%s: nothing was evicted", what);
}

/* The process is gone between two instructions: what the files hold at that moment is what is left.
 */
static struct writer *step_crash(struct writer *w)
{
	static const char *const suffixes[] = { "", "-wal", "-shm" };
	char from[CLIENT_PATH_SIZE + 32];
	char to[CLIENT_PATH_SIZE + 32];
	sqlite3 *db = NULL;
	/* A moment that two copies can show: nobody commits, and the log does not begin anew. The
	 * log first: a checkpoint that runs meanwhile then only repeats what it says. */
	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	(void)sqlite3_busy_timeout(db, patience_s() * 1000);
	ck_assert_int_eq(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	for (int i = 1; i >= 0; i--) {
		(void)snprintf(from, sizeof(from), "%s%s", path, suffixes[i]);
		(void)snprintf(to, sizeof(to), "%s.kept%s", path, suffixes[i]);
		client_copy_file(from, to);
	}
	ck_assert_int_eq(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
	(void)sqlite3_close(db);
	writer_stop(w);
	for (int i = 0; i < 3; i++) {
		(void)snprintf(to, sizeof(to), "%s%s", path, suffixes[i]);
		(void)snprintf(from, sizeof(from), "%s.kept%s", path, suffixes[i]);
		(void)unlink(to);
		(void)rename(from, to);
	}
	return open_writer();
}

/* ---- the comparison ---- */

static void add_what_stays(int64_t sums[DESTINATIONS][SIGNAL_COUNT][COLUMN_COUNT])
{
	memcpy(sums, model.sums, sizeof(model.sums));
	for (int k = 0; k < model.count; k++) {
		const struct model_batch *b = &model.batches[k];
		for (int i = 0; i < DESTINATIONS; i++) {
			if (b->state[i] == READY)
				sums[i][b->signal][QUEUED] += b->records;
			if (b->state[i] == DEAD)
				sums[i][b->signal][DIED] += b->records;
		}
	}
}

/* What the balance view says. */
static void read_books(int64_t sums[DESTINATIONS][SIGNAL_COUNT][COLUMN_COUNT])
{
	static const char sql[] = "SELECT destination, signal, accepted, delivered, queued, dead, "
				  "rejected, expired, evicted, purged, difference"
				  " FROM balance";
	sqlite3 *db = NULL;
	sqlite3_stmt *stmt = NULL;
	ck_assert_int_eq(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
	while (sqlite3_step(stmt) == SQLITE_ROW) {
		const char *name = (const char *)sqlite3_column_text(stmt, 0);
		const char *signal = (const char *)sqlite3_column_text(stmt, 1);
		ck_assert_msg(sqlite3_column_int64(stmt, 2 + COLUMN_COUNT) == 0,
			      "%s: %s does not balance", what, name);
		for (int i = 0; i < DESTINATIONS; i++)
			for (int s = 0; s < SIGNAL_COUNT; s++)
				for (int c = 0; c < COLUMN_COUNT; c++)
					if (strcmp(name, names[i]) == 0 &&
					    strcmp(signal, signal_text((enum signal)s)) == 0)
						sums[i][s][c] = sqlite3_column_int64(stmt, 2 + c);
	}
	(void)sqlite3_finalize(stmt);
	(void)sqlite3_close(db);
}

static void compare_books(void)
{
	static const char *const columns[COLUMN_COUNT] = { "accepted", "delivered", "queued",
							   "dead",     "rejected",  "expired",
							   "evicted",  "purged" };
	int64_t want[DESTINATIONS][SIGNAL_COUNT][COLUMN_COUNT];
	int64_t got[DESTINATIONS][SIGNAL_COUNT][COLUMN_COUNT] = { 0 };
	add_what_stays(want);
	read_books(got);
	for (int i = 0; i < DESTINATIONS; i++)
		for (int s = 0; s < SIGNAL_COUNT; s++)
			for (int c = 0; c < COLUMN_COUNT; c++)
				ck_assert_msg(got[i][s][c] == want[i][s][c],
					      "%s: %s of %s, %s is %lld, expected %lld", what,
					      columns[c], names[i], signal_text((enum signal)s),
					      (long long)got[i][s][c], (long long)want[i][s][c]);
}

/* Rows go with the last delivery, and not before. */
static void compare_rows(void)
{
	int64_t kept = 0;
	for (int k = 0; k < model.count; k++) {
		const struct model_batch *b = &model.batches[k];
		bool is_kept = false;
		for (int i = 0; i < DESTINATIONS; i++)
			is_kept = is_kept || b->state[i] == READY || b->state[i] == DEAD;
		kept += is_kept;
	}
	ck_assert_msg(facts_int(path, "SELECT count(*) FROM batches") == kept, "%s: batches", what);
	ck_assert_msg(facts_int(path, "SELECT count(*) FROM payloads") == kept, "%s: payloads",
		      what);
	ck_assert(facts_read(path, &facts));
	ck_assert_msg(facts.is_sound && !facts.crc_errors, "%s: %s", what, facts.problem);
}

START_TEST(the_queue_does_what_the_model_does)
{
	memset(&model, 0, sizeof(model));
	memset(ids, 0, sizeof(ids));
	random_state = (uint64_t)_i + 1;
	now_fake(TODAY, HOUR);
	client_make_dir(dir, sizeof(dir), "model");
	(void)snprintf(path, sizeof(path), "%s/queue.db", dir);
	struct writer *w = open_writer();
	for (int step = 0; step < STEPS; step++) {
		(void)snprintf(what, sizeof(what), "seed %d, step %d", _i + 1, step);
		uint32_t choice = pick(24);
		if (choice == 0) {
			writer_stop(w);
			compare_rows();
			w = open_writer();
		} else if (choice == 1) {
			w = step_crash(w);
		} else if (choice == 2) {
			step_expire(w);
		} else if (choice == 3) {
			step_evict(w);
		} else if (choice < 6) {
			step_redrive(w);
		} else if (choice < 14) {
			step_put(w);
		} else {
			step_settle(w);
		}
		compare_books();
	}
	writer_stop(w);
	compare_rows();
	client_remove_dir(dir);
	now_fake_off();
}
END_TEST

int main(void)
{
	log_init(LOG_ERROR_LEVEL, LOG_FORMAT_LOGFMT);
	/* Nothing is cut off here: syncs would only take time. */
	fault_vfs_install();
	fault_vfs_skip_sync(true);
	return run_loop("model", the_queue_does_what_the_model_does, 4);
}
