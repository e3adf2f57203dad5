/* claim_window.c - claims live in memory only: a crash just means sending again.
 *
 * One list a class, sorted by batch id, so that a backlog of `info` never keeps a `critical` batch
 * that has just been stored from being seen. An entry moves
 *
 *   (queue) -> waiting [fill] -> taken [take] -> (gone) [release]
 *              waiting <- taken [put_back]
 *              waiting -> (queue) [fill: newer ones need its room]
 *              waiting -> (gone) [refresh]
 *
 * and while it is here, whatever its state, fill does not claim it a second time. That is what
 * makes "sent once, unless we crash" true: between the answer of the backend and the commit of the
 * settlement, the row in the queue still says ready.
 *
 * Fill reads on from where it stopped (a cursor by class). Batch ids grow in the order of commits,
 * so what is new is behind the cursor. What becomes ready again before it (a dead letter that
 * somebody replays) is found by starting from the front: when the class is empty here, when
 * somebody changed the queue by hand (refresh), and every RESCAN_NS otherwise.
 *
 * With two sides (order: fresh_first) the same list is filled from both ends of the queue. A claim
 * belongs to the side that found it first, and the two meet in the middle, so nothing is claimed
 * twice and nothing is left between them. The newest side keeps the range [low, top] of ids that it
 * has looked at: what is above top came since, what is below low is older and is claimed as far as
 * there is room. What came since always gets room: the oldest of those that wait on that side are
 * forgotten for it, and low is raised above them. They are found again, from one end or the other.
 *
 * Bounded by count and by bytes. A signal that is held up can so fill its class's window, and the
 * other signals of that class wait with it: order is promised by (destination, class). */
#include "gateway/forward/claim_window.h"

#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"

enum { CHUNK_MAX = 64, CHUNK_FIRST = 4 };
#define RESCAN_NS (10 * NS_PER_S)

enum entry_state { WAITING, TAKEN };

struct entry {
	struct claim claim;
	enum entry_state state;
	enum claim_side side;
};

struct class_window {
	struct entry *entries; /* CLAIM_WINDOW_MAX, sorted by batch id */
	size_t count;
	size_t counts[CLAIM_SIDE_COUNT];
	size_t bytes[CLAIM_SIDE_COUNT];
	int64_t cursor;    /* the oldest side: everything up to here was looked at */
	int64_t rescan_ns; /* start from the front when it is so late */
	int64_t low;       /* the newest side: everything from here to top was looked at */
	int64_t top;
};

struct claim_window {
	int64_t destination_id;
	size_t max_bytes; /* of a side */
	size_t max_count;
	bool has_two_sides;
	struct class_window classes[RECORD_CLASS_COUNT];
};

struct claim_window *claim_window_new(int64_t destination_id, size_t max_bytes, bool has_two_sides)
{
	struct claim_window *w = xcalloc(1, sizeof(*w));
	size_t sides = has_two_sides ? 2 : 1;
	w->destination_id = destination_id;
	w->max_bytes = max_bytes / sides;
	w->max_count = CLAIM_WINDOW_MAX / sides;
	w->has_two_sides = has_two_sides;
	for (int c = 0; c < RECORD_CLASS_COUNT; c++) {
		w->classes[c].entries = xcalloc(CLAIM_WINDOW_MAX, sizeof(struct entry));
		w->classes[c].low = INT64_MAX;
	}
	return w;
}

void claim_window_free(struct claim_window *w)
{
	if (!w)
		return;
	for (int c = 0; c < RECORD_CLASS_COUNT; c++)
		free(w->classes[c].entries);
	free(w);
}

/* The index of the first entry whose id is not below. */
static size_t lower_bound(const struct class_window *cw, int64_t batch_id)
{
	size_t lo = 0;
	size_t hi = cw->count;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (cw->entries[mid].claim.batch_id < batch_id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static struct entry *find(struct class_window *cw, int64_t batch_id)
{
	size_t i = lower_bound(cw, batch_id);
	return i < cw->count && cw->entries[i].claim.batch_id == batch_id ? &cw->entries[i] : NULL;
}

static bool has_room(const struct claim_window *w, const struct class_window *cw,
		     enum claim_side side)
{
	return cw->counts[side] == 0 ||
	       (cw->counts[side] < w->max_count && cw->bytes[side] < w->max_bytes);
}

static void remove_entry(struct class_window *cw, struct entry *entry)
{
	size_t i = (size_t)(entry - cw->entries);
	cw->bytes[entry->side] -= entry->claim.raw_bytes;
	cw->counts[entry->side]--;
	cw->count--;
	memmove(entry, entry + 1, (cw->count - i) * sizeof(*entry));
}

/* A batch whose class was changed after it was claimed keeps its place under the old one. */
static void insert(struct claim_window *w, int class, enum claim_side side, const struct claim *c)
{
	struct class_window *cw = &w->classes[class];
	CHECK(cw->count < CLAIM_WINDOW_MAX);
	for (int i = 0; i < RECORD_CLASS_COUNT; i++)
		if (find(&w->classes[i], c->batch_id))
			return;
	size_t i = lower_bound(cw, c->batch_id);
	memmove(&cw->entries[i + 1], &cw->entries[i], (cw->count - i) * sizeof(cw->entries[0]));
	cw->entries[i] = (struct entry){ .claim = *c, .state = WAITING, .side = side };
	cw->entries[i].claim.class = (enum record_class) class;
	cw->count++;
	cw->counts[side]++;
	cw->bytes[side] += c->raw_bytes;
}

static enum status fill_oldest(struct claim_window *w, int class, struct claim_reader *r,
			       struct err *e)
{
	struct class_window *cw = &w->classes[class];
	int64_t now = now_mono_ns();
	if (cw->counts[CLAIM_OLDEST] == 0 || now >= cw->rescan_ns) {
		cw->cursor = 0;
		cw->rescan_ns = now + RESCAN_NS;
	}
	/* The list goes on with the rows of the next class: ask for few before asking for many. */
	size_t max = CHUNK_FIRST;
	while (has_room(w, cw, CLAIM_OLDEST)) {
		struct claim rows[CHUNK_MAX];
		size_t n = 0;
		enum status st =
			claim_list(r, w->destination_id, class, cw->cursor, rows, max, &n, e);
		if (st)
			return st;
		size_t i = 0;
		for (; i < n && rows[i].priority == class && has_room(w, cw, CLAIM_OLDEST); i++) {
			insert(w, class, CLAIM_OLDEST, &rows[i]);
			cw->cursor = rows[i].batch_id;
		}
		if (n < max || i < n)
			break;
		max = CHUNK_MAX;
	}
	return ST_OK;
}

/* Forget the oldest that wait on the newest side, as long as more wait than it may hold. Those that
 * are taken do not count here: what is fresh shall not wait for them. */
static void make_room(struct claim_window *w, struct class_window *cw)
{
	size_t count = 0;
	size_t bytes = 0;
	for (size_t i = cw->count; i-- > 0;) {
		struct entry *entry = &cw->entries[i];
		if (entry->side != CLAIM_NEWEST || entry->state != WAITING)
			continue;
		count++;
		bytes += entry->claim.raw_bytes;
		if (count == 1 || (count <= w->max_count && bytes <= w->max_bytes))
			continue;
		if (cw->low <= entry->claim.batch_id)
			cw->low = entry->claim.batch_id + 1;
		remove_entry(cw, entry);
	}
}

/* What came since the last look. */
static enum status fill_above(struct claim_window *w, int class, struct claim_reader *r,
			      struct err *e)
{
	struct class_window *cw = &w->classes[class];
	struct claim rows[CHUNK_MAX];
	size_t n = 0;
	size_t max = CLAIM_WINDOW_MAX - cw->count;
	if (max > CHUNK_MAX)
		max = CHUNK_MAX;
	if (max == 0)
		return ST_OK;
	enum status st = claim_list_newest(r, w->destination_id, class, cw->top, INT64_MAX, rows,
					   max, &n, e);
	if (st || n == 0)
		return st;
	for (size_t i = 0; i < n; i++)
		insert(w, class, CLAIM_NEWEST, &rows[i]);
	/* A full answer may leave some between it and the old top: they are below low from now on.
	 */
	if (n == max || cw->low > cw->top)
		cw->low = rows[n - 1].batch_id;
	cw->top = rows[0].batch_id;
	make_room(w, cw);
	return ST_OK;
}

static enum status fill_newest(struct claim_window *w, int class, struct claim_reader *r,
			       struct err *e)
{
	struct class_window *cw = &w->classes[class];
	enum status st = fill_above(w, class, r, e);
	size_t n = CHUNK_MAX;
	while (!st && n == CHUNK_MAX && has_room(w, cw, CLAIM_NEWEST) &&
	       cw->count + CHUNK_MAX <= CLAIM_WINDOW_MAX) {
		struct claim rows[CHUNK_MAX];
		st = claim_list_newest(r, w->destination_id, class, 0, cw->low, rows, CHUNK_MAX, &n,
				       e);
		for (size_t i = 0; !st && i < n && has_room(w, cw, CLAIM_NEWEST); i++) {
			insert(w, class, CLAIM_NEWEST, &rows[i]);
			cw->low = rows[i].batch_id;
		}
	}
	return st;
}

enum status claim_window_fill(struct claim_window *w, struct claim_reader *r, struct err *e)
{
	enum status st = ST_OK;
	for (int c = 0; c < RECORD_CLASS_COUNT && !st; c++) {
		if (w->has_two_sides)
			st = fill_newest(w, c, r, e);
		if (!st)
			st = fill_oldest(w, c, r, e);
	}
	return st;
}

void claim_window_refresh(struct claim_window *w)
{
	for (int c = 0; c < RECORD_CLASS_COUNT; c++) {
		struct class_window *cw = &w->classes[c];
		for (size_t i = cw->count; i-- > 0;)
			if (cw->entries[i].state == WAITING)
				remove_entry(cw, &cw->entries[i]);
		cw->rescan_ns = 0;
		cw->low = INT64_MAX;
		cw->top = 0;
	}
}

static bool is_waiting(const struct entry *entry, enum claim_side side, enum signal signal)
{
	return entry->state == WAITING && entry->side == side && entry->claim.signal == signal;
}

bool claim_window_has(const struct claim_window *w, enum claim_side side, enum signal signal,
		      enum record_class class)
{
	const struct class_window *cw = &w->classes[class];
	for (size_t i = 0; i < cw->count; i++)
		if (is_waiting(&cw->entries[i], side, signal))
			return true;
	return false;
}

static void reverse(struct claim *claims, size_t n)
{
	for (size_t i = 0; i < n / 2; i++) {
		struct claim c = claims[i];
		claims[i] = claims[n - 1 - i];
		claims[n - 1 - i] = c;
	}
}

size_t claim_window_take(struct claim_window *w, enum claim_side side, enum signal signal,
			 enum record_class class, size_t max_bytes, struct claim *ret, size_t max)
{
	struct class_window *cw = &w->classes[class];
	size_t n = 0;
	size_t bytes = 0;
	for (size_t i = 0; i < cw->count && n < max; i++) {
		struct entry *entry = &cw->entries[side == CLAIM_OLDEST ? i : cw->count - 1 - i];
		if (!is_waiting(entry, side, signal))
			continue;
		if (n > 0 && (bytes >= max_bytes || entry->claim.raw_bytes > max_bytes - bytes))
			break;
		entry->state = TAKEN;
		bytes += entry->claim.raw_bytes;
		ret[n++] = entry->claim;
	}
	if (side == CLAIM_NEWEST)
		reverse(ret, n);
	return n;
}

void claim_window_put_back(struct claim_window *w, const struct claim *c)
{
	struct entry *entry = find(&w->classes[c->class], c->batch_id);
	CHECK(entry && entry->state == TAKEN);
	entry->state = WAITING;
}

void claim_window_release(struct claim_window *w, enum record_class class, int64_t batch_id)
{
	struct class_window *cw = &w->classes[class];
	struct entry *entry = find(cw, batch_id);
	CHECK(entry);
	remove_entry(cw, entry);
}

size_t claim_window_count(const struct claim_window *w)
{
	size_t n = 0;
	for (int c = 0; c < RECORD_CLASS_COUNT; c++)
		n += w->classes[c].count;
	return n;
}
