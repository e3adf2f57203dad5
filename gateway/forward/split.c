/* split.c - bisection, first of an export into batches, then of a batch into records.
 *
 * A stack holds the ranges that are not decided, the first on top, so that parts go out in the
 * order of the whole. A refused range of more than one is replaced by its halves. When the first
 * half of a refused range was taken whole, the fault must be in the other: that one is halved
 * without being sent. A single fault among n costs about 1.5 log2(n) requests so. Nothing is found
 * at fault without having been sent alone: what is inferred is only where to look.
 *
 *   members     [0, n) of the export; a single one that is refused goes on as
 *   records     [0, records) of that batch, on a stack of its own
 *
 * Bounds: SPLIT_REFUSALS_MAX refusals for the records of a batch, and as many in a row for batches
 * (where something is taken in between, it is worth going on); and SPLIT_BARREN_MAX while nothing
 * at all was taken, since a backend that refuses everything (a wrong URL) is found out no better by
 * more. When no record of
 * one batch was taken, the next ones die whole, until something is taken. What is undecided at a
 * bound dies together, with words that say so. What is refused for its size says nothing about the
 * other half.
 *
 * What was taken of a batch stays counted here until all of it is decided, and is then settled
 * together with what died (storage: SETTLE_SPLIT). A crash before that sends the batch again. */
#include "gateway/forward/split.h"

#include <stdio.h>

#include "gateway/base/xalloc.h"

enum {
	DEPTH_MAX = 40,    /* halving 2^32 leaves one right half a level */
	FUTILE_MIN = 4,    /* fewer refusals say nothing of the backend */
	SUSPICIOUS_MAX = 2 /* requests, while nothing is taken where nothing was before */
};

struct range {
	uint32_t first;
	uint32_t count;
	bool is_guilty; /* it has a fault: its other half was taken, and both together refused */
	bool tells;     /* if it is taken whole, the range below it on the stack is guilty */
};

struct stack {
	struct range ranges[DEPTH_MAX];
	size_t depth;
	int refusals;     /* of batches: since something was taken */
	bool is_fruitful; /* something of it was taken */
};

struct found {
	struct select_range range;
	size_t reason;
};

struct split {
	struct claim members[EXPORT_MEMBERS_MAX];
	bool is_gone[EXPORT_MEMBERS_MAX];
	size_t member_count;
	int refusals;
	struct stack batches;
	bool is_suspicious;
	bool had_barren; /* of some batch no record was taken */
	/* Of the batch that is being taken apart. */
	bool is_in_batch;
	size_t batch;
	struct stack records;
	uint32_t taken;
	int64_t rejected;
	char rejected_reason[SETTLE_ERROR_MAX];
	struct found found[SPLIT_RANGES_MAX];
	size_t found_count;
	struct export_reply reasons[SPLIT_REASONS_MAX];
	size_t reason_count;
	struct export_reply reply; /* the last refusal */
	/* What split_next tells until it is settled. */
	enum split_step told; /* SPLIT_DEAD or SPLIT_PARTED; SPLIT_OVER: nothing */
	struct split_piece settling;
	struct export_reply reason; /* of SPLIT_DEAD */
};

static void push(struct stack *k, uint32_t first, uint32_t count, bool tells)
{
	CHECK(k->depth < DEPTH_MAX);
	if (count)
		k->ranges[k->depth++] =
			(struct range){ .first = first, .count = count, .tells = tells };
}

/* Half of it goes first. */
static void push_halves(struct stack *k, struct range r, bool tells)
{
	uint32_t half = r.count / 2;
	push(k, r.first + half, r.count - half, false);
	push(k, r.first, half, tells);
}

static struct range *top(struct stack *k)
{
	CHECK(k->depth > 0);
	return &k->ranges[k->depth - 1];
}

static struct range pop(struct stack *k)
{
	struct range r = *top(k);
	k->depth--;
	return r;
}

/* Known to be at fault, and more than one: no need to send it. */
static void halve_guilty(struct stack *k)
{
	while (k->depth > 0 && top(k)->is_guilty && top(k)->count > 1)
		push_halves(k, pop(k), true);
}

static void top_delivered(struct stack *k, bool is_whole)
{
	struct range r = pop(k);
	k->is_fruitful = true;
	if (is_whole && r.tells && k->depth > 0)
		top(k)->is_guilty = true;
}

static bool is_spent(const struct split *s, const struct stack *k)
{
	int barren_max = s->is_suspicious ? SUSPICIOUS_MAX : SPLIT_BARREN_MAX;
	return k->refusals >= SPLIT_REFUSALS_MAX || (!k->is_fruitful && k->refusals >= barren_max);
}

/* The refusal, with words that say why more than what was sent alone shares its fate. */
static struct export_reply with_words(const struct export_reply *reply, const char *why)
{
	struct export_reply r = *reply;
	(void)snprintf(r.error, sizeof(r.error), "%.300s; %s", reply->error, why);
	return r;
}

/* why: NULL where the refusal says it all. */
static void tell_dead(struct split *s, size_t first, size_t count, const char *why)
{
	s->told = SPLIT_DEAD;
	s->settling = (struct split_piece){ .first = first, .count = count };
	s->reason = why ? with_words(&s->reply, why) : s->reply;
}

/* Records at fault; of one reason they are one dead letter. Past SPLIT_REASONS_MAX reasons the last
 * one stands for the others. */
static void add_found(struct split *s, struct select_range range, const struct export_reply *reply)
{
	size_t reason = 0;
	while (reason < s->reason_count && (s->reasons[reason].status != reply->status ||
					    strcmp(s->reasons[reason].error, reply->error) != 0))
		reason++;
	if (reason == s->reason_count && reason < SPLIT_REASONS_MAX)
		s->reasons[s->reason_count++] = *reply;
	if (reason == SPLIT_REASONS_MAX)
		reason--;
	CHECK(s->found_count < SPLIT_RANGES_MAX);
	s->found[s->found_count++] = (struct found){ .range = range, .reason = reason };
}

/* Everything of the batch is decided. */
static void end_batch(struct split *s, const char *why)
{
	if (!s->records.is_fruitful) {
		s->had_barren = true;
		tell_dead(s, s->batch, 1, why);
		return;
	}
	s->batches.is_fruitful = true;
	s->batches.refusals = 0;
	s->told = SPLIT_PARTED;
	s->settling = (struct split_piece){ .first = s->batch, .count = 1 };
}

/* No more requests for this batch: what is not decided dies together. */
static void end_records(struct split *s)
{
	static const char why[] =
		"one of these records, not told apart within the refusals for one batch";
	struct stack *k = &s->records;
	if (k->is_fruitful) {
		uint32_t first = top(k)->first;
		struct select_range rest = { .first = first,
					     .count = s->members[s->batch].batch_records - first };
		struct export_reply reply = with_words(&s->reply, why);
		add_found(s, rest, &reply);
	}
	k->depth = 0;
	end_batch(s, why);
}

/* The same for batches. */
static void end_batches(struct split *s)
{
	struct stack *k = &s->batches;
	uint32_t first = top(k)->first;
	uint32_t end = k->ranges[0].first + k->ranges[0].count;
	k->depth = 0;
	tell_dead(s, first, end - first, "not tried alone, as those before it were refused");
}

static void begin_batch(struct split *s, size_t batch, bool is_refusal)
{
	struct range all = { .count = s->members[batch].batch_records };
	bool is_hopeless = s->is_suspicious || s->had_barren;
	if (all.count <= 1 || (is_hopeless && !s->batches.is_fruitful)) {
		tell_dead(s, batch, 1, NULL);
		return;
	}
	s->is_in_batch = true;
	s->batch = batch;
	s->records = (struct stack){ 0 };
	s->taken = 0;
	s->rejected = 0;
	s->rejected_reason[0] = '\0';
	s->found_count = 0;
	s->reason_count = 0;
	push_halves(&s->records, all, is_refusal);
}

struct split *split_new(const struct export *x, bool is_suspicious)
{
	struct split *s = xcalloc(1, sizeof(*s));
	struct range all = { .count = (uint32_t)x->count };
	bool is_refusal = x->reply.verdict == VERDICT_REFUSED;
	memcpy(s->members, x->members, x->count * sizeof(x->members[0]));
	s->member_count = x->count;
	s->told = SPLIT_OVER;
	s->reply = x->reply;
	s->is_suspicious = is_suspicious;
	if (all.count == 1) {
		begin_batch(s, 0, is_refusal);
	} else if (is_suspicious) {
		push(&s->batches, 1, all.count - 1, false);
		push(&s->batches, 0, 1, is_refusal);
	} else {
		push_halves(&s->batches, all, is_refusal);
	}
	return s;
}

void split_free(struct split *s)
{
	free(s);
}

size_t split_members(const struct split *s, const struct split_piece *piece, struct claim *ret)
{
	size_t n = 0;
	for (size_t i = piece->first; i < piece->first + piece->count; i++)
		if (!s->is_gone[i])
			ret[n++] = s->members[i];
	return n;
}

struct export_taken split_taken(const struct split *s, int64_t batch_id)
{
	if (!s->is_in_batch || s->members[s->batch].batch_id != batch_id)
		return (struct export_taken){ 0 };
	return (struct export_taken){
		.records = s->taken,
		.rejected = s->rejected < s->taken ? (uint32_t)s->rejected : s->taken,
	};
}

void split_drop(struct split *s, int64_t batch_id)
{
	for (size_t i = 0; i < s->member_count; i++)
		if (s->members[i].batch_id == batch_id)
			s->is_gone[i] = true;
}

static void decide_records(struct split *s)
{
	if (s->records.depth == 0)
		end_batch(s, NULL);
	else if (is_spent(s, &s->records))
		end_records(s);
	else
		halve_guilty(&s->records);
}

enum split_step split_next(struct split *s, struct split_piece *ret)
{
	if (s->told == SPLIT_OVER && s->is_in_batch)
		decide_records(s);
	else if (s->told == SPLIT_OVER && s->batches.depth > 0 && is_spent(s, &s->batches))
		end_batches(s);
	else if (s->told == SPLIT_OVER)
		halve_guilty(&s->batches);
	if (s->told != SPLIT_OVER) {
		*ret = s->settling;
		return s->told;
	}
	if (s->is_in_batch) {
		const struct range *r = top(&s->records);
		*ret = (struct split_piece){ .first = s->batch,
					     .count = 1,
					     .records = { .first = r->first, .count = r->count } };
		return SPLIT_SEND;
	}
	if (s->batches.depth == 0)
		return SPLIT_OVER;
	*ret = (struct split_piece){ .first = top(&s->batches)->first,
				     .count = top(&s->batches)->count };
	return SPLIT_SEND;
}

void split_delivered(struct split *s, int64_t rejected)
{
	struct stack *k = s->is_in_batch ? &s->records : &s->batches;
	s->is_suspicious = false; /* it takes data: the others are looked into in earnest */
	if (s->is_in_batch) {
		uint32_t count = top(k)->count;
		s->taken += count;
		/* What it says beyond that is not of this piece. */
		s->rejected += rejected < count ? rejected : count;
	} else {
		k->refusals = 0;
	}
	top_delivered(k, rejected == 0);
}

void split_refused(struct split *s, const struct export_reply *reply)
{
	bool is_refusal = reply->verdict == VERDICT_REFUSED;
	struct stack *k = s->is_in_batch ? &s->records : &s->batches;
	struct range r = pop(k);
	k->refusals++;
	s->refusals++;
	s->reply = *reply;
	if (r.count > 1)
		push_halves(k, r, is_refusal);
	else if (s->is_in_batch)
		add_found(s, (struct select_range){ .first = r.first, .count = 1 }, reply);
	else
		begin_batch(s, r.first, is_refusal);
}

void split_skipped(struct split *s)
{
	if (s->is_in_batch)
		s->records.depth = 0;
	else
		(void)pop(&s->batches);
	s->is_in_batch = false;
}

void split_give_up(struct split *s, const char *why)
{
	struct range r = { .first = (uint32_t)s->batch, .count = 1 };
	if (!s->is_in_batch)
		r = pop(&s->batches);
	s->records.depth = 0;
	tell_dead(s, r.first, r.count, why);
}

void split_settled(struct split *s)
{
	CHECK(s->told != SPLIT_OVER);
	s->told = SPLIT_OVER;
	s->is_in_batch = false;
}

const struct export_reply *split_reason(const struct split *s)
{
	return &s->reason;
}

bool split_fault(const struct split *s, size_t i, struct split_fault *ret)
{
	if (i >= s->reason_count)
		return false;
	*ret = (struct split_fault){ .reply = &s->reasons[i] };
	for (size_t k = 0; k < s->found_count; k++) {
		if (s->found[k].reason != i)
			continue;
		ret->ranges[ret->range_count++] = s->found[k].range;
		ret->records += s->found[k].range.count;
	}
	return true;
}

int64_t split_rejected(const struct split *s)
{
	return s->rejected;
}

void split_note_rejected(struct split *s, const char *why)
{
	(void)snprintf(s->rejected_reason, sizeof(s->rejected_reason), "%s", why);
}

const char *split_rejected_reason(const struct split *s)
{
	return s->rejected_reason;
}

bool split_was_futile(const struct split *s)
{
	return !s->batches.is_fruitful && !s->records.is_fruitful && s->refusals >= FUTILE_MIN;
}
