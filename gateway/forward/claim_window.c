/* claim_window.c - claims live in memory only: a crash just means sending again.
 *
 * One list a class, sorted by batch id, so that a backlog of `info` never keeps a `critical` batch
 * that has just been stored from being seen. An entry moves
 *
 *   (queue) -> waiting [fill] -> taken [take] -> (gone) [release]
 *              waiting <- taken [put_back]
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
};

struct class_window {
	struct entry *entries; /* CLAIM_WINDOW_MAX, sorted by batch id */
	size_t count;
	size_t bytes;
	int64_t cursor;    /* everything up to here was looked at */
	int64_t rescan_ns; /* start from the front when it is so late */
};

struct claim_window {
	int64_t destination_id;
	size_t max_bytes;
	struct class_window classes[RECORD_CLASS_COUNT];
};

struct claim_window *claim_window_new(int64_t destination_id, size_t max_bytes)
{
	struct claim_window *w = xcalloc(1, sizeof(*w));
	w->destination_id = destination_id;
	w->max_bytes = max_bytes;
	for (int c = 0; c < RECORD_CLASS_COUNT; c++)
		w->classes[c].entries = xcalloc(CLAIM_WINDOW_MAX, sizeof(struct entry));
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

static bool has_room(const struct claim_window *w, const struct class_window *cw)
{
	return cw->count == 0 || (cw->count < CLAIM_WINDOW_MAX && cw->bytes < w->max_bytes);
}

/* A batch whose class was changed after it was claimed keeps its place under the old one. */
static void insert(struct claim_window *w, int class, const struct claim *c)
{
	struct class_window *cw = &w->classes[class];
	for (int i = 0; i < RECORD_CLASS_COUNT; i++)
		if (find(&w->classes[i], c->batch_id))
			return;
	size_t i = lower_bound(cw, c->batch_id);
	memmove(&cw->entries[i + 1], &cw->entries[i], (cw->count - i) * sizeof(cw->entries[0]));
	cw->entries[i] = (struct entry){ .claim = *c, .state = WAITING };
	cw->entries[i].claim.class = (enum record_class) class;
	cw->count++;
	cw->bytes += c->raw_bytes;
}

static enum status fill_class(struct claim_window *w, int class, struct claim_reader *r,
			      struct err *e)
{
	struct class_window *cw = &w->classes[class];
	int64_t now = now_mono_ns();
	if (cw->count == 0 || now >= cw->rescan_ns) {
		cw->cursor = 0;
		cw->rescan_ns = now + RESCAN_NS;
	}
	/* The list goes on with the rows of the next class: ask for few before asking for many. */
	size_t max = CHUNK_FIRST;
	while (has_room(w, cw)) {
		struct claim rows[CHUNK_MAX];
		size_t n = 0;
		enum status st =
			claim_list(r, w->destination_id, class, cw->cursor, rows, max, &n, e);
		if (st)
			return st;
		size_t i = 0;
		for (; i < n && rows[i].priority == class && has_room(w, cw); i++) {
			insert(w, class, &rows[i]);
			cw->cursor = rows[i].batch_id;
		}
		if (n < max || i < n)
			break;
		max = CHUNK_MAX;
	}
	return ST_OK;
}

enum status claim_window_fill(struct claim_window *w, struct claim_reader *r, struct err *e)
{
	enum status st = ST_OK;
	for (int c = 0; c < RECORD_CLASS_COUNT && !st; c++)
		st = fill_class(w, c, r, e);
	return st;
}

void claim_window_refresh(struct claim_window *w)
{
	for (int c = 0; c < RECORD_CLASS_COUNT; c++) {
		struct class_window *cw = &w->classes[c];
		size_t kept = 0;
		for (size_t i = 0; i < cw->count; i++) {
			if (cw->entries[i].state == TAKEN)
				cw->entries[kept++] = cw->entries[i];
			else
				cw->bytes -= cw->entries[i].claim.raw_bytes;
		}
		cw->count = kept;
		cw->rescan_ns = 0;
	}
}

bool claim_window_has(const struct claim_window *w, enum signal signal, enum record_class class,
		      int64_t *ret_batch_id)
{
	const struct class_window *cw = &w->classes[class];
	for (size_t i = 0; i < cw->count; i++) {
		if (cw->entries[i].state != WAITING || cw->entries[i].claim.signal != signal)
			continue;
		if (ret_batch_id)
			*ret_batch_id = cw->entries[i].claim.batch_id;
		return true;
	}
	return false;
}

size_t claim_window_take(struct claim_window *w, enum signal signal, enum record_class class,
			 size_t max_bytes, struct claim *ret, size_t max)
{
	struct class_window *cw = &w->classes[class];
	size_t n = 0;
	size_t bytes = 0;
	for (size_t i = 0; i < cw->count && n < max; i++) {
		struct entry *entry = &cw->entries[i];
		if (entry->state != WAITING || entry->claim.signal != signal)
			continue;
		if (n > 0 && (bytes >= max_bytes || entry->claim.raw_bytes > max_bytes - bytes))
			break;
		entry->state = TAKEN;
		bytes += entry->claim.raw_bytes;
		ret[n++] = entry->claim;
	}
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
	size_t i = (size_t)(entry - cw->entries);
	cw->bytes -= entry->claim.raw_bytes;
	cw->count--;
	memmove(entry, entry + 1, (cw->count - i) * sizeof(*entry));
}

size_t claim_window_count(const struct claim_window *w)
{
	size_t n = 0;
	for (int c = 0; c < RECORD_CLASS_COUNT; c++)
		n += w->classes[c].count;
	return n;
}
