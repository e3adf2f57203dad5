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
 * Fill reads on from where it stopped, which each signal remembers for itself: a signal that is
 * held up fills its own part of the window, and the others are looked for behind its rows, LOOK_MAX
 * of them at a time. Batch ids grow in the order of commits, so what is new is behind. What becomes
 * ready again before that (a dead letter that somebody replays) is found by starting from the
 * front: when the class is empty here, when somebody changed the queue by hand (refresh), and, as
 * far as a window reaches, every RESCAN_NS otherwise.
 *
 * With two sides (order: fresh_first) the same list is filled from both ends of the queue. A claim
 * belongs to the side that found it first, and the two meet in the middle, so nothing is claimed
 * twice and nothing is left between them. The newest side keeps the range [low, top] of ids that it
 * has looked at: what is above top came since, what is below low is older and is claimed as far as
 * there is room. What came since always gets room: the oldest of those that wait on that side are
 * forgotten for it, and low is raised above them. They are found again, from one end or the other.
 *
 * Bounded by count and by bytes: the oldest side for each signal, the newest for all together,
 * where what came last always gets room. */
#include "gateway/forward/claim_window.h"

#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"

enum {
	CHUNK_MAX = 64,
	CHUNK_FIRST = 4,
	LOOK_MAX = 8192, /* rows in one fill: some 20 ms */
	ENTRIES_MAX = CLAIM_WINDOW_MAX * SIGNAL_COUNT
};
#define RESCAN_NS (10 * NS_PER_S)

enum entry_state { WAITING, TAKEN };

struct entry {
	struct claim claim;
	enum entry_state state;
	enum claim_side side;
};

/* One signal on the oldest side, or the newest side. */
struct part {
	size_t count;
	size_t bytes;
	int64_t looked; /* the oldest side: everything of the signal up to here was looked at */
};

struct class_window {
	struct entry *entries; /* ENTRIES_MAX, sorted by batch id */
	size_t count;
	struct part oldest[SIGNAL_COUNT];
	struct part newest;
	int64_t rescan_ns; /* start from the front when it is so late */
	bool is_behind;    /* the last fill ended before the rows did */
	int64_t low;       /* the newest side: everything from here to top was looked at */
	int64_t top;
};

struct claim_window {
	int64_t destination_id;
	size_t max_bytes; /* of a part */
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
		w->classes[c].entries = xcalloc(ENTRIES_MAX, sizeof(struct entry));
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

static struct part *part_of(struct class_window *cw, enum claim_side side, enum signal signal)
{
	return side == CLAIM_OLDEST ? &cw->oldest[signal] : &cw->newest;
}

static bool has_room(const struct claim_window *w, const struct part *p)
{
	return p->count == 0 || (p->count < w->max_count && p->bytes < w->max_bytes);
}

static void remove_entry(struct class_window *cw, struct entry *entry)
{
	size_t i = (size_t)(entry - cw->entries);
	struct part *p = part_of(cw, entry->side, entry->claim.signal);
	p->bytes -= entry->claim.raw_bytes;
	p->count--;
	cw->count--;
	memmove(entry, entry + 1, (cw->count - i) * sizeof(*entry));
}

/* A batch whose class was changed after it was claimed keeps its place under the old one. */
static void insert(struct claim_window *w, int class, enum claim_side side, const struct claim *c)
{
	struct class_window *cw = &w->classes[class];
	CHECK(cw->count < ENTRIES_MAX);
	for (int i = 0; i < RECORD_CLASS_COUNT; i++)
		if (find(&w->classes[i], c->batch_id))
			return;
	size_t i = lower_bound(cw, c->batch_id);
	memmove(&cw->entries[i + 1], &cw->entries[i], (cw->count - i) * sizeof(cw->entries[0]));
	cw->entries[i] = (struct entry){ .claim = *c, .state = WAITING, .side = side };
	cw->entries[i].claim.class = (enum record_class) class;
	cw->count++;
	struct part *p = part_of(cw, side, c->signal);
	p->count++;
	p->bytes += c->raw_bytes;
}

/* Rows of the class behind *cursor, which moves to the last of them. *ret_is_end: no more follow.
 * The list goes on with the rows of the next class: asking for few before many keeps that cheap. */
static enum status next_rows(struct claim_window *w, int class, struct claim_reader *r,
			     int64_t *cursor, size_t max, struct claim rows[CHUNK_MAX],
			     size_t *ret_n, bool *ret_is_end, struct err *e)
{
	size_t listed = 0;
	size_t n = 0;
	enum status st = claim_list(r, w->destination_id, class, *cursor, rows, max, &listed, e);
	if (st)
		return st;
	while (n < listed && rows[n].priority == class)
		n++;
	if (n)
		*cursor = rows[n - 1].batch_id;
	*ret_n = n;
	*ret_is_end = n < max;
	return ST_OK;
}

/* The signals that are still looked for in this fill. */
struct search {
	bool is_over[SIGNAL_COUNT];
	size_t left; /* rows */
};

/* Where to read on: INT64_MAX where nothing is looked for. */
static int64_t first_unlooked(const struct class_window *cw, const struct search *s)
{
	int64_t first = INT64_MAX;
	for (int i = 0; i < SIGNAL_COUNT; i++)
		if (!s->is_over[i] && cw->oldest[i].looked < first)
			first = cw->oldest[i].looked;
	return first;
}

static void look_at(struct claim_window *w, int class, struct search *s, const struct claim *row)
{
	struct part *p = &w->classes[class].oldest[row->signal];
	if (s->is_over[row->signal] || row->batch_id <= p->looked)
		return;
	s->is_over[row->signal] = !has_room(w, p);
	p->looked = s->is_over[row->signal] ? row->batch_id - 1 : row->batch_id;
	if (!s->is_over[row->signal])
		insert(w, class, CLAIM_OLDEST, row);
}

/* On from where each signal stopped, until there is no room for any, or no more. */
static enum status look_on(struct claim_window *w, int class, struct claim_reader *r, struct err *e)
{
	struct class_window *cw = &w->classes[class];
	struct search s = { .left = LOOK_MAX };
	size_t max = CHUNK_FIRST;
	bool is_end = false;
	int64_t cursor;
	for (int i = 0; i < SIGNAL_COUNT; i++)
		s.is_over[i] = !has_room(w, &cw->oldest[i]);
	while (!is_end && s.left >= CHUNK_MAX && (cursor = first_unlooked(cw, &s)) != INT64_MAX) {
		struct claim rows[CHUNK_MAX];
		size_t n = 0;
		enum status st = next_rows(w, class, r, &cursor, max, rows, &n, &is_end, e);
		if (st)
			return st;
		for (size_t i = 0; i < n; i++)
			look_at(w, class, &s, &rows[i]);
		for (int i = 0; i < SIGNAL_COUNT; i++)
			if (!s.is_over[i] && cw->oldest[i].looked < cursor)
				cw->oldest[i].looked = cursor;
		s.left -= n;
		max = CHUNK_MAX;
	}
	cw->is_behind = s.left < CHUNK_MAX;
	return ST_OK;
}

/* From the front, for what was not there when it was looked at. */
static enum status look_again(struct claim_window *w, int class, struct claim_reader *r,
			      struct err *e)
{
	struct class_window *cw = &w->classes[class];
	int64_t cursor = 0;
	bool is_end = false;
	for (size_t left = CLAIM_WINDOW_MAX; left > 0 && !is_end; left -= CHUNK_MAX) {
		struct claim rows[CHUNK_MAX];
		size_t n = 0;
		enum status st = next_rows(w, class, r, &cursor, CHUNK_MAX, rows, &n, &is_end, e);
		if (st)
			return st;
		for (size_t i = 0; i < n; i++) {
			const struct part *p = &cw->oldest[rows[i].signal];
			if (rows[i].batch_id <= p->looked && has_room(w, p))
				insert(w, class, CLAIM_OLDEST, &rows[i]);
		}
	}
	return ST_OK;
}

static void look_from_front(struct class_window *cw)
{
	for (int i = 0; i < SIGNAL_COUNT; i++)
		cw->oldest[i].looked = 0;
}

static enum status fill_oldest(struct claim_window *w, int class, struct claim_reader *r,
			       struct err *e)
{
	struct class_window *cw = &w->classes[class];
	int64_t now = now_mono_ns();
	size_t count = 0;
	enum status st = ST_OK;
	for (int i = 0; i < SIGNAL_COUNT; i++)
		count += cw->oldest[i].count;
	if (count == 0)
		look_from_front(cw);
	else if (now >= cw->rescan_ns)
		st = look_again(w, class, r, e);
	if (count == 0 || now >= cw->rescan_ns)
		cw->rescan_ns = now + RESCAN_NS;
	return st ? st : look_on(w, class, r, e);
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
	size_t max = ENTRIES_MAX - cw->count;
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
	while (!st && n == CHUNK_MAX && has_room(w, &cw->newest) &&
	       cw->count + CHUNK_MAX <= ENTRIES_MAX) {
		struct claim rows[CHUNK_MAX];
		st = claim_list_newest(r, w->destination_id, class, 0, cw->low, rows, CHUNK_MAX, &n,
				       e);
		for (size_t i = 0; !st && i < n && has_room(w, &cw->newest); i++) {
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

bool claim_window_is_behind(const struct claim_window *w)
{
	bool is_behind = false;
	for (int c = 0; c < RECORD_CLASS_COUNT; c++)
		is_behind = is_behind || w->classes[c].is_behind;
	return is_behind;
}

void claim_window_refresh(struct claim_window *w)
{
	for (int c = 0; c < RECORD_CLASS_COUNT; c++) {
		struct class_window *cw = &w->classes[c];
		for (size_t i = cw->count; i-- > 0;)
			if (cw->entries[i].state == WAITING)
				remove_entry(cw, &cw->entries[i]);
		look_from_front(cw);
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
