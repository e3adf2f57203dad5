/* What the queue promises, against a model that fits a page: after any sequence of puts,
 * settlements and restarts the books are the model's, to the record, and balance.
 *
 * The model keeps, for each batch, its records and its state at each destination, and sums up. It
 * knows nothing of rows. Sequences are random, but seeded: a failure names seed and step. */
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "gateway/base/log.h"
#include "tests/support/expect.h"
#include "tests/support/fault_vfs.h"
#include "tests/support/queue_client.h"

enum { STEPS = 250, DESTINATIONS = 3, BATCHES_MAX = 1024 };
enum state { ABSENT, READY, DEAD, GONE };
enum column { ACCEPTED, DELIVERED, QUEUED, DIED, REJECTED, COLUMN_COUNT };

struct model_batch {
	int64_t id;
	enum signal signal;
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
					  .checkpoint_bytes = 512 << 10 };
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
						.class = (enum record_class)pick(2),
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
				  "rejected, difference"
				  " FROM balance";
	sqlite3 *db = NULL;
	sqlite3_stmt *stmt = NULL;
	ck_assert_int_eq(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
	while (sqlite3_step(stmt) == SQLITE_ROW) {
		const char *name = (const char *)sqlite3_column_text(stmt, 0);
		const char *signal = (const char *)sqlite3_column_text(stmt, 1);
		ck_assert_msg(sqlite3_column_int64(stmt, 7) == 0, "%s: %s does not balance", what,
			      name);
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
							   "dead", "rejected" };
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
	client_make_dir(dir, sizeof(dir), "model");
	(void)snprintf(path, sizeof(path), "%s/queue.db", dir);
	struct writer *w = open_writer();
	for (int step = 0; step < STEPS; step++) {
		(void)snprintf(what, sizeof(what), "seed %d, step %d", _i + 1, step);
		uint32_t choice = pick(20);
		if (choice == 0) {
			writer_stop(w);
			compare_rows();
			w = open_writer();
		} else if (choice < 11) {
			step_put(w);
		} else {
			step_settle(w);
		}
		compare_books();
	}
	writer_stop(w);
	compare_rows();
	client_remove_dir(dir);
}
END_TEST

int main(void)
{
	log_init(LOG_ERROR_LEVEL, LOG_FORMAT_LOGFMT);
	/* Nothing is cut off here: syncs would only take time. */
	fault_vfs_install();
	fault_vfs_skip_sync(true);
	return run_loop("model", the_queue_does_what_the_model_does, 4, 60);
}
