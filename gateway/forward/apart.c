/* apart.c - what split.c decides, done: pieces are made, and what is decided is settled.
 *
 * A lane that takes something apart does only that; other lanes go on. A piece is an export like
 * any other: answered with "not now" it waits and is sent again, and what is decided stays so.
 * Until a batch is decided whole its delivery is ready in the queue: a crash sends it again from
 * the start, which duplicates what was taken and loses nothing.
 *
 * What died of a batch becomes a batch of its own, made here: its bytes are those of the old one
 * (select.c), its preview and times those of its records (scan.c).
 *
 * A backend that refuses everything (a wrong URL answers 404 to all) must not be asked more often
 * for it. When of FUTILE_EXPORTS exports in a row nothing at all was taken though they were split,
 * the lane stops splitting in earnest: for a minute, then for two, up to an hour, until something
 * is taken, a refused export costs two more requests and dies. docs/decisions/0011 has the numbers.
 */
#include "gateway/forward/apart.h"

#include <stdio.h>
#include <stdlib.h>

#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"
#include "gateway/forward/loading.h"
#include "gateway/telemetry/scan.h"
#include "gateway/telemetry/utf8.h"

enum { FUTILE_EXPORTS = 2, LOG_EVERY_S = 10, PLACES_MAX = 1 << 20 };
#define EARNEST_FIRST_NS (60 * NS_PER_S)
#define EARNEST_MAX_NS   (3600 * NS_PER_S)

/* ---- dead parts of a batch ---- */

static struct bytes keep_words(char *dst, struct bytes words)
{
	words = utf8_cut(words, SETTLE_WORDS_MAX - 1);
	if (words.n)
		memcpy(dst, words.p, words.n);
	return bytes_of(dst, words.n);
}

/* Where the records cannot be looked at, the words of their batch stand for them. */
static void describe(enum signal signal, struct bytes records, struct settle_dead_part *p)
{
	struct arena arena;
	struct scan scan;
	arena_init(&arena, PLACES_MAX, NULL);
	if (scan_request(signal, records, NULL, &arena, &scan, NULL) == ST_OK) {
		p->part.first_time_ns = scan.all.first_time_ns;
		p->part.last_time_ns = scan.all.last_time_ns;
		p->part.service = keep_words(p->service, scan.all.service);
		p->part.preview = keep_words(p->preview, scan.all.preview);
	}
	arena_done(&arena);
}

static enum status make_part(struct dispatch *d, enum signal signal, struct bytes batch,
			     const struct split_fault *fault, struct settle_dead_part *p)
{
	struct buf records;
	uint32_t n = 0;
	buf_init(&records, batch.n + 64, &d->budget);
	enum status st = select_records(signal, batch, fault->ranges, fault->range_count, &records,
					&n, NULL);
	if (!st && n != fault->records)
		st = ST_INVALID;
	if (!st) {
		/* Small, and gone with its commit: not of the budget, which exports wait for. */
		buf_init(&p->body, SIZE_MAX, NULL);
		st = compress_append(encoder_get(&d->encoder, ENCODING_ZSTD), buf_view(&records),
				     &p->body);
	}
	if (!st) {
		p->part = (struct settle_part){ .records = n,
						.raw_bytes = records.n,
						.encoding = ENCODING_ZSTD,
						.body = buf_view(&p->body),
						.status = fault->reply->status,
						.error = p->error };
		(void)snprintf(p->error, sizeof(p->error), "%s", fault->reply->error);
		describe(signal, buf_view(&records), p);
	}
	buf_done(&records);
	return st;
}

/* *ret_count at most SPLIT_REASONS_MAX. */
static enum status make_parts(struct dispatch *d, const struct split *s, const struct claim *c,
			      struct settle_dead_part *parts, size_t *ret_count)
{
	struct split_fault fault;
	struct buf batch;
	struct err e = { 0 };
	enum status st = ST_OK;
	buf_init(&batch, c->raw_bytes, &d->budget);
	*ret_count = 0;
	if (split_fault(s, 0, &fault))
		st = loading_batch(d, c, &batch, &e);
	while (!st && split_fault(s, *ret_count, &fault)) {
		st = make_part(d, c->signal, buf_view(&batch), &fault, &parts[*ret_count]);
		(*ret_count)++;
	}
	buf_done(&batch);
	return st;
}

/* False: not now. */
static bool settle_parted(struct dispatch *d, struct slot *slot, const struct split_piece *piece)
{
	struct claim c[EXPORT_MEMBERS_MAX];
	struct split *s = slot->split;
	if (split_members(s, piece, c) == 0) {
		split_settled(s);
		return true;
	}
	if (!settle_has_room(&d->settler))
		return false;
	size_t count = 0;
	struct settle_dead_part *parts = xcalloc(SPLIT_REASONS_MAX, sizeof(*parts));
	enum status st = make_parts(d, s, &c[0], parts, &count);
	if (st) {
		settle_parts_free(parts, count);
		if (st != ST_CORRUPT && st != ST_NOT_FOUND && st != ST_INVALID &&
		    st != ST_TOO_LARGE)
			return false;
		split_give_up(s, "its records cannot be told apart any more");
		return true;
	}
	for (size_t i = 0; i < count; i++)
		loading_log_dead(d, &c[0], parts[i].part.records, parts[i].part.status,
				 parts[i].error);
	settle_split(&d->settler, &c[0], split_rejected(s), split_rejected_reason(s), parts, count);
	split_settled(s);
	return true;
}

static void settle_whole(struct dispatch *d, struct slot *slot, const struct split_piece *piece)
{
	struct claim members[EXPORT_MEMBERS_MAX];
	size_t n = split_members(slot->split, piece, members);
	const struct export_reply *reply = split_reason(slot->split);
	if (n == 1) {
		struct export_taken taken = split_taken(slot->split, members[0].batch_id);
		settle_batch_dead(&d->settler, &members[0], taken, reply->status, reply->error);
		loading_log_dead(d, &members[0], export_left(&members[0], taken), reply->status,
				 reply->error);
	} else if (n > 1) {
		struct export *x = export_new(members, n);
		x->reply = *reply;
		settle_dead(&d->settler, x);
		loading_log_dead(d, &members[0], members[0].records, reply->status, reply->error);
		export_free(x);
	}
	split_settled(slot->split);
}

/* ---- a backend that refuses everything ---- */

static bool is_suspicious(const struct lane *l)
{
	return l->barren >= FUTILE_EXPORTS && now_mono_ns() < l->earnest_ns;
}

static void note_futile(struct dispatch *d, struct lane *l)
{
	if (++l->barren < FUTILE_EXPORTS)
		return;
	l->earnest_wait_ns = l->earnest_wait_ns ? l->earnest_wait_ns * 2 : EARNEST_FIRST_NS;
	if (l->earnest_wait_ns > EARNEST_MAX_NS)
		l->earnest_wait_ns = EARNEST_MAX_NS;
	l->earnest_ns = now_mono_ns() + l->earnest_wait_ns;
	if (log_every(&d->rates[RATE_FUTILE], LOG_EVERY_S, NULL))
		log_warn("forward.refuses_everything",
			 "destination=%s signal=%s class=%s not_split_for_s=%lld "
			 "hint=\"look at its endpoint and at the reason of its dead letters\"",
			 d->config->name, signal_text(l->signal), record_class_text(l->class),
			 (long long)(l->earnest_wait_ns / NS_PER_S));
}

/* ---- steps ---- */

/* Settle what is decided. APART_PIECE: *piece is to be sent. */
static enum apart_next settle_decided(struct dispatch *d, struct lane *l, struct slot *slot,
				      struct split_piece *piece)
{
	for (;;) {
		switch (split_next(slot->split, piece)) {
		case SPLIT_SEND:
			return APART_PIECE;
		case SPLIT_DEAD:
			settle_whole(d, slot, piece);
			break;
		case SPLIT_PARTED:
			if (!settle_parted(d, slot, piece))
				return APART_WAIT;
			break;
		case SPLIT_OVER:
			if (split_was_futile(slot->split))
				note_futile(d, l);
			lane_remove(l, slot);
			return APART_GONE;
		}
	}
}

static void forget_piece(struct slot *slot)
{
	export_free(slot->export);
	slot->export = NULL;
}

void apart_begin(struct dispatch *d, struct lane *l, struct slot *slot)
{
	struct split_piece piece;
	slot->split = split_new(slot->export, is_suspicious(l));
	forget_piece(slot);
	(void)settle_decided(d, l, slot, &piece);
}

void apart_delivered(struct dispatch *d, struct lane *l, struct slot *slot)
{
	struct split_piece piece;
	const struct export *x = slot->export;
	if (x->part.count == 0)
		settle_delivered(&d->settler, x);
	if (x->reply.rejected)
		split_note_rejected(slot->split, x->reply.error);
	split_delivered(slot->split, x->reply.rejected);
	forget_piece(slot);
	(void)settle_decided(d, l, slot, &piece);
}

void apart_refused(struct dispatch *d, struct lane *l, struct slot *slot)
{
	struct split_piece piece;
	split_refused(slot->split, &slot->export->reply);
	forget_piece(slot);
	(void)settle_decided(d, l, slot, &piece);
}

enum apart_next apart_next(struct dispatch *d, struct lane *l, struct slot *slot)
{
	struct claim members[EXPORT_MEMBERS_MAX];
	struct split_piece piece;
	for (;;) {
		enum apart_next next = settle_decided(d, l, slot, &piece);
		if (next != APART_PIECE)
			return next;
		size_t n = split_members(slot->split, &piece, members);
		if (n > 0) {
			slot->export = export_new(members, n);
			slot->export->lane = (int)(l - d->lanes.lanes);
			slot->export->part = piece.records;
			return APART_PIECE;
		}
		split_skipped(slot->split);
	}
}

void apart_failed(struct dispatch *d, struct lane *l, struct slot *slot, enum status st)
{
	struct split_piece piece;
	if (st)
		split_give_up(slot->split, "its records cannot be told apart");
	else
		split_skipped(slot->split);
	forget_piece(slot);
	(void)settle_decided(d, l, slot, &piece);
}
