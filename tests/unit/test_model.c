/* What the queue promises, against a model (tests/support/queue_model.h): after any sequence of
 * puts, outcomes, splits, moves, replays, purges, exports, pauses, ages, bounds, eviction, lost
 * payloads, crashes and restarts every row is what the model says, and the books balance.
 *
 * Sequences are random, but seeded. The rows are compared after every step, so the step that fails
 * ends the shortest prefix that does; main prints that prefix, from memory that a crash of the
 * test leaves alone. TIDEGATE_MODEL_SEED chooses another seed (0: a random one), and
 * TIDEGATE_MODEL_STEPS how many steps.
 *
 * The clock is a fake that only moves where a step says so, and background work goes by it: so
 * nothing happens between two steps but what was asked for. A crash leaves the files as they are at
 * a moment, log and all. The wall clock jumps with the odd seeds; with the even ones it does not,
 * and dead letters have an age. */
#include <jansson.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "admin/dead_export.h"
#include "gateway/base/log.h"
#include "gateway/base/now.h"
#include "storage/evict.h"
#include "tests/support/expect.h"
#include "tests/support/fault_vfs.h"
#include "tests/support/patience.h"
#include "tests/support/queue_client.h"
#include "tests/support/queue_model.h"

/* Sanitizers make each step many times as long, and find in fewer steps what they are for. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
enum { STEPS = 200, SEEDS = 4 };
#else
enum { STEPS = 300, SEEDS = 6 };
#endif
enum { ALPHA, BETA, GAMMA, UNROUTED };
enum { TRACE_SIZE = 1 << 20, PARTS_MAX = 3, ITEMS_MAX = 3, ROUNDS_MAX = 200 };
#define MINUTE (INT64_C(60) * NS_PER_S)
#define HOUR   (60 * MINUTE)
#define TODAY  INT64_C(1780272000000000000) /* 2026-06-01 */
/* Time goes by in steps that no waiting for background work adds up to. */
#define STEP_NS  (20 * MINUTE)
#define ROUND_NS (400 * NS_PER_MS)

/* What happened, for who reads the failure. Shared, as each case runs in a process of its own. */
struct trace {
	uint64_t seed;
	int steps;
	int step;     /* that is under way */
	bool is_over; /* and all was well */
	size_t n;
	char text[TRACE_SIZE];
};

static struct trace *traces;
static struct trace *trace;
static struct model model;
static int next_request;
static int64_t batch_of[CLIENT_IDS_MAX]; /* request to batch */
static int64_t waited_ns;                /* beside the steps of time */
static int slots[MODEL_PLACES];
static char dir[CLIENT_PATH_SIZE];
static char path[CLIENT_PATH_SIZE + 16];
static char what[64];
static struct facts facts;
static uint64_t random_state;

static const bool may_evict[RECORD_CLASS_COUNT] = { false, true, true };
/* Errors, and the reason that each shares with others. */
static const struct {
	const char *error;
	const char *reason;
} errors[] = {
	{ "HTTP 400: line 17 is bad", "HTTP 400: line # is bad" },
	{ "HTTP 400: line 4711 is bad", "HTTP 400: line # is bad" },
	{ "too old for stream {app=\"till-17\"}", "too old for stream {app=#}" },
	{ "no", "no" },
};
enum { ERROR_COUNT = sizeof(errors) / sizeof(errors[0]) };

static uint32_t pick(uint32_t count)
{
	random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(random_state >> 33) % count;
}

__attribute__((format(printf, 1, 2))) static void say(const char *fmt, ...)
{
	va_list ap;
	size_t room = TRACE_SIZE - trace->n;
	va_start(ap, fmt);
	int n = vsnprintf(trace->text + trace->n, room, fmt, ap);
	va_end(ap);
	trace->n += (size_t)n < room ? (size_t)n : room - 1;
}

static const char *name_of(int place)
{
	return model.places[place].name;
}

/* ---- the writer ---- */

static bool has_jumps(void)
{
	return trace->seed % 2 != 0;
}

static struct writer *open_writer(void)
{
	struct err e = { 0 };
	struct writer *w = NULL;
	const struct writer_options o = { .path = path,
					  .max_size_bytes = UINT64_C(1) << 30,
					  .checkpoint_bytes = 512 << 10,
					  .limits = model.rules };
	enum status st = writer_open(&o, &w, &e);
	ck_assert_msg(st == ST_OK, "%s: open: %s", what, e.text);
	for (int i = 0; i < MODEL_PLACES; i++) {
		struct model_place *p = &model.places[i];
		struct destination_stored stored;
		int64_t before = p->id;
		slots[i] = -1;
		if (!p->is_configured)
			continue;
		EXPECT_OK(writer_destination(w, p->name, "otlp_http", &slots[i], &p->id, &e));
		ck_assert_msg(!before || before == p->id, "%s: the id of %s changed", what,
			      p->name);
		writer_set_quota(w, slots[i], model.quotas[i]);
		EXPECT_OK(writer_destination_stored(w, p->id, &stored));
		ck_assert_msg(stored.state == p->state && strcmp(stored.reason, p->reason) == 0,
			      "%s: %s came back as %s", what, p->name,
			      destination_state_text(stored.state));
	}
	EXPECT_OK(writer_start(w, &e));
	return w;
}

static void nudge(struct writer *w)
{
	const int64_t none = INT64_C(1) << 50;
	EXPECT_OK(client_settle(w, model.places[ALPHA].id, &none, 1, SETTLE_DELIVERED, 0));
}

/* Records that the rules let go. */
static int64_t let_go(void)
{
	int64_t sum = 0;
	for (int i = 0; i < MODEL_PLACES; i++)
		for (int s = 0; s < SIGNAL_COUNT; s++)
			sum += model.totals[i][s][OUTCOME_EXPIRED] +
			       model.totals[i][s][OUTCOME_EVICTED];
	return sum;
}

/* Until the background work has done what there is to do, and then until it has looked. */
static void await_rules(struct writer *w)
{
	static const char sql[] = "SELECT ifnull(sum(records), 0) FROM totals WHERE outcome IN "
				  "('expired', 'evicted')";
	model_obey(&model);
	for (int i = 0; i < ROUNDS_MAX && (i < 3 || facts_int(path, sql) != let_go()); i++) {
		now_fake_advance(ROUND_NS);
		waited_ns += ROUND_NS;
		nudge(w);
	}
	ck_assert_int_lt(waited_ns, STEP_NS);
	nudge(w);
	nudge(w);
}

static void choose_rules(void)
{
	model.rules = (struct writer_limits){
		.max_age_ns = { 0, 6 * STEP_NS, 3 * STEP_NS },
		.may_evict = { may_evict[0], may_evict[1], may_evict[2] },
		.dead_max_bytes = pick(3) ? 0 : 6000,
		.dead_max_age_ns = has_jumps() || pick(2) ? 0 : 9 * STEP_NS,
	};
	model.quotas[BETA] = pick(3) ? 0 : 12000;
	model.places[GAMMA].is_configured = pick(4) != 0 || !model.places[GAMMA].id;
	say("start: dead letters up to %llu bytes, %lld h; beta up to %llu bytes; gamma %s\n",
	    (unsigned long long)model.rules.dead_max_bytes,
	    (long long)(model.rules.dead_max_age_ns / HOUR), (unsigned long long)model.quotas[BETA],
	    model.places[GAMMA].is_configured ? "is configured" : "is not configured");
}

/* Payloads are whole, and those of the requests that the model knows to be there. */
static void check_payloads(void)
{
	int64_t missing = 0;
	ck_assert(facts_read(path, &facts));
	for (int i = 0; i < model.count; i++)
		for (int k = 0; k < MODEL_PLACES; k++)
			missing += model.batches[i].to[k].state != MODEL_NONE &&
				   !model.batches[i].has_payload;
	ck_assert_msg(facts.is_sound && facts.crc_errors == missing, "%s: %lld of %lld damaged: %s",
		      what, (long long)facts.crc_errors, (long long)missing, facts.problem);
	for (int id = 1; id <= next_request; id++) {
		const struct model_batch *b = model_find(&model, batch_of[id]);
		int64_t where = b && model_is_stored(b) && b->has_payload ? b->id : 0;
		if (facts.batch_of[id] != where)
			ck_abort_msg("%s: request %d is in batch %lld, not %lld", what, id,
				     (long long)facts.batch_of[id], (long long)where);
	}
}

static struct writer *start(void)
{
	choose_rules();
	struct writer *w = open_writer();
	await_rules(w);
	return w;
}

static void step_restart(struct writer **w)
{
	say("restart, ");
	writer_stop(*w);
	check_payloads();
	*w = start();
}

/* The process is gone between two instructions: what the files hold at that moment is what is left.
 */
static void step_crash(struct writer **w)
{
	static const char *const suffixes[] = { "", "-wal", "-shm" };
	char from[CLIENT_PATH_SIZE + 32];
	char to[CLIENT_PATH_SIZE + 32];
	sqlite3 *db = NULL;
	say("crash, ");
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
	writer_stop(*w);
	for (int i = 0; i < 3; i++) {
		(void)snprintf(to, sizeof(to), "%s%s", path, suffixes[i]);
		(void)snprintf(from, sizeof(from), "%s.kept%s", path, suffixes[i]);
		(void)unlink(to);
		(void)rename(from, to);
	}
	*w = start();
	check_payloads();
}

/* ---- puts ---- */

static unsigned to_slots(unsigned places)
{
	unsigned mask = 0;
	for (int i = 0; i < MODEL_PLACES; i++)
		if (places >> i & 1)
			mask |= 1U << slots[i];
	return mask;
}

/* A row of requests of one kind: which of them, its own times say. */
static void learn_row(const struct client_request *r, const unsigned *places, size_t count,
		      const struct model_batch *row, int requests)
{
	struct model_batch b = *row;
	unsigned to = 0;
	int members = 0;
	for (size_t i = 0; i < count; i++) {
		int64_t at = r[i].id * NS_PER_S;
		if (r[i].class != b.class || at < b.first_ns || at > b.last_ns ||
		    (members && places[i] != to))
			continue;
		to = places[i];
		b.records += r[i].records;
		batch_of[r[i].id] = model.last_id + 1;
		members++;
	}
	ck_assert_msg(members == requests, "%s: a row of %d requests has %d", what, requests,
		      members);
	(void)model_put(&model, &b, to);
}

/* Requests given together may be merged: the file says which, and nothing else. */
static void learn_puts(const struct client_request *r, const unsigned *places, size_t count)
{
	sqlite3 *db = NULL;
	sqlite3_stmt *stmt = NULL;
	ck_assert_int_eq(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_prepare_v2(db,
					    "SELECT priority, requests, first_time, last_time, "
					    "stored_bytes FROM batches WHERE id > ?1 ORDER BY id",
					    -1, &stmt, NULL),
			 SQLITE_OK);
	(void)sqlite3_bind_int64(stmt, 1, model.last_id);
	for (size_t i = 0; i < count; i++)
		batch_of[r[i].id] = 0;
	while (sqlite3_step(stmt) == SQLITE_ROW) {
		const struct model_batch row = {
			.signal = r[0].signal,
			.class = (enum record_class)sqlite3_column_int(stmt, 0),
			.received_ns = now_boot_ns(),
			.first_ns = sqlite3_column_int64(stmt, 2),
			.last_ns = sqlite3_column_int64(stmt, 3),
			.bytes = sqlite3_column_int64(stmt, 4),
		};
		learn_row(r, places, count, &row, sqlite3_column_int(stmt, 1));
	}
	(void)sqlite3_finalize(stmt);
	(void)sqlite3_close(db);
	for (size_t i = 0; i < count; i++)
		ck_assert_msg(batch_of[r[i].id], "%s: request %d is not there", what, (int)r[i].id);
}

static unsigned pick_places(void)
{
	unsigned places = 1 + pick((1U << MODEL_PLACES) - 1);
	for (int i = 0; i < MODEL_PLACES; i++)
		if (slots[i] < 0)
			places &= ~(1U << i);
	return places ? places : 1;
}

static void step_put(struct writer *w)
{
	struct client_request r[3];
	unsigned places[3];
	enum status st[3];
	size_t count = 1 + pick(3);
	enum signal signal = (enum signal)pick(SIGNAL_COUNT);
	if (next_request + (int)count >= CLIENT_IDS_MAX)
		return;
	for (size_t i = 0; i < count; i++) {
		places[i] = pick_places();
		r[i] = (struct client_request){ .id = ++next_request,
						.signal = signal,
						.class = (enum record_class)pick(3),
						.records = 1 + pick(20),
						.size = 20 + pick(pick(10) ? 3000 : 60000),
						.destinations = to_slots(places[i]) };
		say("put request %d: %u records of %s, %s, to places %x\n", next_request,
		    r[i].records, signal_text(signal), record_class_text(r[i].class), places[i]);
	}
	client_put(w, r, count, st, NULL);
	for (size_t i = 0; i < count; i++)
		ck_assert_msg(st[i] == ST_OK, "%s: put: %s", what, status_name(st[i]));
	learn_puts(r, places, count);
}

/* ---- outcomes ---- */

/* One that is owed there, as a rule; sometimes any that ever was. */
static int64_t pick_batch(int place, enum model_state state)
{
	int at = (int)pick((uint32_t)model.count);
	bool is_any = pick(8) == 0;
	for (int i = 0; i < model.count && !is_any; i++) {
		const struct model_batch *b = &model.batches[(at + i) % model.count];
		if (b->to[place].state == state)
			return b->id;
	}
	return model.batches[at].id;
}

struct parts {
	struct settle_part of[PARTS_MAX];
	uint8_t bodies[PARTS_MAX][256];
};

/* Sometimes they say that they are more than the batch has. */
static size_t make_parts(struct parts *p)
{
	size_t count = 1 + pick(PARTS_MAX);
	for (size_t i = 0; i < count; i++) {
		size_t n = CLIENT_BODY_MIN + pick(200);
		int64_t id = ++next_request;
		client_fill_body(p->bodies[i], n, id);
		p->of[i] = (struct settle_part){ .records = 1 + pick(4),
						 .raw_bytes = n,
						 .encoding = ENCODING_NONE,
						 .body = bytes_of(p->bodies[i], n),
						 .first_time_ns = pick(2) ? id * 1000 : 0,
						 .last_time_ns = pick(2) ? id * 1000 + 1 : 0,
						 .status = pick(2) ? 400 : 0,
						 .error = errors[pick(ERROR_COUNT)].error };
	}
	return count;
}

static enum settle_outcome pick_outcome(void)
{
	static const enum settle_outcome outcomes[] = {
		SETTLE_DELIVERED, SETTLE_DELIVERED, SETTLE_DELIVERED,  SETTLE_RETRY,
		SETTLE_DEAD,      SETTLE_DEAD,      SETTLE_DEAD,       SETTLE_SPLIT,
		SETTLE_SPLIT,     SETTLE_MOVED,     SETTLE_UNREADABLE, SETTLE_EXPIRED
	};
	return outcomes[pick(sizeof(outcomes) / sizeof(outcomes[0]))];
}

static int pick_other(int place)
{
	return (place + 1 + (int)pick(MODEL_PLACES - 1)) % MODEL_PLACES;
}

/* The parts of a split get the ids behind the last one, in order; where a batch was not to be
 * split, there are none. */
static void note_parts(const struct settle_item *item, int64_t *io_id)
{
	for (size_t i = 0; i < item->part_count; i++) {
		long request = strtol((const char *)item->parts[i].body.p + 4, NULL, 10);
		const struct model_batch *b = model_find(&model, *io_id + 1);
		bool is_made = b && b->bytes == (int64_t)item->parts[i].body.n;
		batch_of[request] = is_made ? ++*io_id : 0;
	}
}

/* Up to three batches of one destination, whatever their state; each has its own outcome. */
static void step_settle(struct writer *w)
{
	static struct parts parts[ITEMS_MAX];
	struct settle_item items[ITEMS_MAX];
	size_t count = 1 + pick(ITEMS_MAX);
	struct model_answer a = { .place = (int)pick(MODEL_PLACES),
				  .at_ns = now_wall_ns(),
				  .status = pick(3) ? 400 : 0,
				  .error = errors[pick(ERROR_COUNT)].error };
	if (!model.count || next_request + ITEMS_MAX * PARTS_MAX >= CLIENT_IDS_MAX)
		return;
	for (size_t i = 0; i < count; i++) {
		items[i] = (struct settle_item){
			.batch_id = pick_batch(a.place, MODEL_READY),
			.outcome = pick_outcome(),
			.rejected_records = pick(3) ? 0 : 1 + pick(12),
			.parts = parts[i].of,
			.to_destination_id = model.places[pick_other(a.place)].id,
		};
		if (items[i].outcome == SETTLE_SPLIT)
			items[i].part_count = make_parts(&parts[i]);
		if (items[i].outcome == SETTLE_DEAD || items[i].outcome == SETTLE_UNREADABLE)
			items[i].taken_records = pick(2) ? 0 : 1 + pick(20);
		say("settle batch %lld at %s: outcome %d, %u taken, %u rejected, %zu parts, to "
		    "%lld\n",
		    (long long)items[i].batch_id, name_of(a.place), (int)items[i].outcome,
		    items[i].taken_records, items[i].rejected_records, items[i].part_count,
		    (long long)items[i].to_destination_id);
	}
	enum status st =
		client_settle_items(w, model.places[a.place].id, a.status, a.error, items, count);
	ck_assert_msg(st == ST_OK, "%s: settle: %s", what, status_name(st));
	int64_t id = model.last_id;
	model_settle(&model, &a, items, count);
	for (size_t i = 0; i < count; i++)
		note_parts(&items[i], &id);
}

/* ---- people ---- */

static void choose_one(void *ctx, const struct inspect_owed *o)
{
	struct redrive *r = ctx;
	r->batch_ids[r->count++] = o->batch_id;
}

static bool is_chosen(const struct model_batch *b, int place, enum model_state state,
		      const char *reason)
{
	const struct model_delivery *d = &b->to[place];
	int i = 0;
	if (d->state != state || !reason)
		return d->state == state;
	while (i + 1 < ERROR_COUNT && strcmp(errors[i].error, d->error) != 0)
		i++;
	return strcmp(d->error, errors[i].error) == 0 && strcmp(errors[i].reason, reason) == 0;
}

/* All of the state, or of one reason: those that the model knows to be so. */
static void choose(struct redrive *r, int place, const char *reason)
{
	enum model_state state = r->state == DELIVERY_DEAD ? MODEL_DEAD : MODEL_READY;
	const struct inspect_selector s = { .destination = name_of(place),
					    .state = r->state,
					    .reason = reason };
	struct inspect *in = NULL;
	struct err e = { 0 };
	int64_t cursor = 0;
	size_t n = 0;
	EXPECT_OK(inspect_open(path, 60 * NS_PER_S, &in, &e));
	EXPECT_OK(inspect_owed(in, &s, &cursor, REDRIVE_MAX, choose_one, r, &e));
	inspect_close(in);
	/* Ready ones by class. */
	for (int c = 0; c < RECORD_CLASS_COUNT; c++)
		for (int i = 0; i < model.count && n < REDRIVE_MAX; i++) {
			const struct model_batch *b = &model.batches[i];
			bool is_turn = state == MODEL_DEAD ? c == 0 : (int)b->class == c;
			if (!is_turn || !is_chosen(b, place, state, reason))
				continue;
			ck_assert_msg(n < r->count && r->batch_ids[n] == b->id,
				      "%s: batch %lld was not chosen", what, (long long)b->id);
			n++;
		}
	ck_assert_msg(n == r->count, "%s: %zu chosen, not %zu", what, r->count, n);
}

/* A few, those of one reason, or all that one destination has. */
static void step_redrive(struct writer *w)
{
	static const char *const actions[] = { "replay", "purge", "move" };
	struct redrive r = { .action = (enum redrive_action)pick(3), .detail = "the test says so" };
	struct redrive predicted;
	int place = (int)pick(MODEL_PLACES);
	uint32_t way = pick(4);
	r.state = r.action == REDRIVE_REPLAY || pick(2) ? DELIVERY_DEAD : DELIVERY_READY;
	r.destination_id = model.places[place].id;
	r.to_id = model.places[pick_other(place)].id;
	if (!model.count)
		return;
	if (way < 2) {
		for (r.count = 0; r.count < 3; r.count++)
			r.batch_ids[r.count] = pick_batch(
				place, r.state == DELIVERY_DEAD ? MODEL_DEAD : MODEL_READY);
	} else {
		choose(&r, place, way == 2 ? errors[pick(ERROR_COUNT)].reason : NULL);
	}
	say("%s %zu %s ones of %s, to %lld\n", actions[r.action], r.count,
	    delivery_state_text(r.state), name_of(place), (long long)r.to_id);
	predicted = r;
	enum status st = redrive_run(w, &r);
	ck_assert_msg(st == ST_OK, "%s: redrive: %s", what, status_name(st));
	model_redrive(&model, &predicted);
	ck_assert_msg(r.batches == predicted.batches && r.records == predicted.records,
		      "%s: %zu batches with %lld records were done, not %zu with %lld", what,
		      r.batches, (long long)r.records, predicted.batches,
		      (long long)predicted.records);
}

static void check_line(const struct buf *text, const struct model_batch *b, int place)
{
	const struct model_delivery *d = &b->to[place];
	json_t *o = json_loadb((const char *)text->p, text->n, 0, NULL);
	ck_assert_msg(o, "%s: an export that is no JSON", what);
	const char *error = json_string_value(json_object_get(o, "error"));
	ck_assert_msg(json_integer_value(json_object_get(o, "batch")) == b->id &&
			      json_integer_value(json_object_get(o, "records")) == d->records &&
			      json_integer_value(json_object_get(o, "status")) == d->status &&
			      json_integer_value(json_object_get(o, "attempts")) == d->attempts &&
			      strcmp(error ? error : "", d->error) == 0,
		      "%s: exported for batch %lld: %.*s", what, (long long)b->id, (int)text->n,
		      (const char *)text->p);
	json_decref(o);
}

/* Lines of dead letters, of one reason or all: they are shown, and stay. */
static void step_export(void)
{
	int place = (int)pick(MODEL_PLACES);
	const char *reason = pick(2) ? errors[pick(ERROR_COUNT)].reason : NULL;
	struct parameters p;
	struct dead_export *x = NULL;
	struct err e = { 0 };
	struct buf text;
	enum status st;
	say("export %s of %s\n", reason ? reason : "all", name_of(place));
	parameters_init(&p);
	EXPECT_OK(parameters_set(&p, PARAMETERS_EXPORT, "destination", name_of(place), &e));
	if (reason)
		EXPECT_OK(parameters_set(&p, PARAMETERS_EXPORT, "reason", reason, &e));
	parameters_finish(&p);
	EXPECT_OK(dead_export_open(path, &p, &x, &e));
	buf_init(&text, 1 << 20, NULL);
	for (int i = 0; i < model.count; i++) {
		if (!is_chosen(&model.batches[i], place, MODEL_DEAD, reason))
			continue;
		buf_clear(&text);
		st = dead_export_next(x, &text);
		ck_assert_msg(!st, "%s: export of batch %lld: %s", what,
			      (long long)model.batches[i].id, status_name(st));
		check_line(&text, &model.batches[i], place);
	}
	EXPECT_STATUS(dead_export_next(x, &text), ST_END);
	dead_export_close(x);
	parameters_done(&p);
	buf_done(&text);
}

static enum status reroute(struct queue *q, void *ctx)
{
	const struct queue_routes *routes = ctx;
	struct queue_cursor cursor = { .priority = -1 };
	size_t count = QUEUE_REROUTE_MAX;
	enum status st = ST_OK;
	while (!st && count == QUEUE_REROUTE_MAX)
		st = queue_reroute(q, model.places[UNROUTED].id, routes, cursor, &cursor, &count);
	return st;
}

/* Routes for some of what no route matched. */
static void step_reroute(struct writer *w)
{
	unsigned to[SIGNAL_COUNT][RECORD_CLASS_COUNT];
	struct queue_routes routes = { 0 };
	say("reroute");
	for (int s = 0; s < SIGNAL_COUNT; s++)
		for (int c = 0; c < RECORD_CLASS_COUNT; c++) {
			size_t n = 0;
			to[s][c] = pick(2) ? pick(1U << UNROUTED) : 0;
			for (int i = 0; i < UNROUTED; i++)
				if (to[s][c] >> i & 1)
					routes.ids[s][c][n++] = model.places[i].id;
			say(" %x", to[s][c]);
		}
	say("\n");
	EXPECT_OK(client_run(w, reroute, &routes));
	model_reroute(&model, UNROUTED, to);
}

static void update_is_done(struct write_job *job, enum status st)
{
	ck_assert_msg(st == ST_OK, "%s: pause or resume: %s", what, status_name(st));
	free(job);
}

/* Paused, it stays so over restarts and crashes, until it is resumed. */
static void step_pause(struct writer *w)
{
	struct model_place *p = &model.places[pick(MODEL_PLACES)];
	struct destination_update *u = calloc(1, sizeof(*u));
	ck_assert_ptr_nonnull(u);
	p->state = p->state == DESTINATION_PAUSED ? DESTINATION_UP : DESTINATION_PAUSED;
	p->reason = p->state == DESTINATION_PAUSED ? "the test says so" : "";
	say("%s %s\n", p->state == DESTINATION_PAUSED ? "pause" : "resume", p->name);
	*u = (struct destination_update){ .job = { .done = update_is_done },
					  .destination_id = p->id,
					  .state = p->state,
					  .since_ns = now_wall_ns() };
	(void)snprintf(u->reason, sizeof(u->reason), "%s", p->reason);
	writer_update_destination(w, u);
	nudge(w);
}

/* ---- what nobody asked for ---- */

/* Time passes; the wall clock may say what it likes. What is too old goes, and nothing else. */
static void step_time(struct writer *w)
{
	static const int64_t walls[] = { 0, TODAY, TODAY + 3650 * 24 * HOUR };
	int64_t by = (int64_t)pick(4) * STEP_NS;
	int64_t wall = has_jumps() ? walls[pick(3)] : now_wall_ns() + by;
	say("%lld minutes later it is %lld\n", (long long)(by / MINUTE), (long long)wall);
	now_fake(wall, now_boot_ns() + by);
	await_rules(w);
}

/* The last pages of a payload's row fell out of the file. */
static void step_damage(void)
{
	char sql[96];
	if (!model.count)
		return;
	struct model_batch *b = &model.batches[pick((uint32_t)model.count)];
	say("batch %lld loses its payload\n", (long long)b->id);
	(void)snprintf(sql, sizeof(sql), "DELETE FROM payloads WHERE batch_id = %lld",
		       (long long)b->id);
	client_execute(path, sql);
	b->has_payload = false;
}

/* How many go at once is the product's own affair; which, and that some do, is not. */
static void step_evict(struct writer *w)
{
	struct client_eviction e = { .may_evict = may_evict,
				     .arriving = (enum record_class)pick(3) };
	say("evict for %s\n", record_class_text(e.arriving));
	EXPECT_OK(client_evict(w, &e));
	bool could = model_to_evict(&model, may_evict, e.arriving) != NULL;
	int gone = model_stored(&model) - (int)facts_int(path, "SELECT count(*) FROM batches");
	ck_assert_msg(e.can == could && gone <= EVICT_SLICE && (gone == 0 || e.count > 0) &&
			      (!could || e.count > 0 || e.is_searching),
		      "%s: %d evicted, in %zu", what, gone, e.count);
	for (; gone > 0; gone--)
		model_evict(&model, model_to_evict(&model, may_evict, e.arriving));
}

/* ---- the run ---- */

static void step(struct writer **w)
{
	uint32_t choice = pick(64);
	if (choice < 2)
		step_restart(w);
	else if (choice < 4)
		step_crash(w);
	else if (choice < 6)
		step_time(*w);
	else if (choice < 8)
		step_evict(*w);
	else if (choice < 9)
		step_damage();
	else if (choice < 10)
		step_reroute(*w);
	else if (choice < 12)
		step_pause(*w);
	else if (choice < 14)
		step_export();
	else if (choice < 20)
		step_redrive(*w);
	else if (choice < 40)
		step_put(*w);
	else
		step_settle(*w);
}

START_TEST(the_queue_does_what_the_model_does)
{
	trace = &traces[_i];
	random_state = trace->seed;
	model.places[ALPHA].name = "alpha";
	model.places[BETA].name = "beta";
	model.places[GAMMA].name = "gamma";
	model.places[UNROUTED].name = "(unrouted)";
	for (int i = 0; i < MODEL_PLACES; i++) {
		model.places[i].is_configured = true;
		model.places[i].reason = "";
	}
	now_fake(TODAY, CLIENT_BOOT_NS);
	client_make_dir(dir, sizeof(dir), "model");
	(void)snprintf(path, sizeof(path), "%s/queue.db", dir);
	struct writer *w = start();
	for (int i = 0; i < trace->steps; i++) {
		trace->step = i + 1;
		(void)snprintf(what, sizeof(what), "seed %llu, step %d",
			       (unsigned long long)trace->seed, trace->step);
		say("%4d ", trace->step);
		step(&w);
		model_compare(&model, path, what);
	}
	writer_stop(w);
	model_compare(&model, path, what);
	check_payloads();
	client_remove_dir(dir);
	now_fake_off();
	trace->is_over = true;
}
END_TEST

static uint64_t number_of(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);
	return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

/* What to run again, and what it does. */
static void print_failures(int count)
{
	for (int i = 0; i < count; i++) {
		const struct trace *t = &traces[i];
		if (!t->is_over)
			(void)printf("%sTIDEGATE_MODEL_SEED=%llu TIDEGATE_MODEL_STEPS=%d makes "
				     "these steps again; the last one fails.\n",
				     t->text, (unsigned long long)t->seed, t->step);
	}
}

int main(void)
{
	uint64_t seed = number_of("TIDEGATE_MODEL_SEED", 1);
	int count = getenv("TIDEGATE_MODEL_SEED") ? 1 : SEEDS;
	log_init(LOG_ERROR_LEVEL, LOG_FORMAT_LOGFMT);
	/* Nothing is cut off here: syncs would only take time. */
	fault_vfs_install();
	fault_vfs_skip_sync(true);
	traces = mmap(NULL, sizeof(*traces) * (size_t)count, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (traces == MAP_FAILED || (!seed && getrandom(&seed, 4, 0) != 4))
		return EXIT_FAILURE;
	for (int i = 0; i < count; i++) {
		traces[i].seed = seed + (uint64_t)i;
		traces[i].steps = (int)number_of("TIDEGATE_MODEL_STEPS", STEPS);
	}
	int rc = run_loop("model", the_queue_does_what_the_model_does, count);
	if (rc)
		print_failures(count);
	return rc;
}
