/* select.c - copies byte ranges of a request, so that a part of its records can be sent alone.
 *
 * A destination that refuses a request does not say which record it is about. So requests are taken
 * apart (forward/split.c), and the parts must be to the backend what the whole was: the same bytes
 * of the same records below the same resources, scopes and metrics, with every field that we do not
 * know. Unpacking would lose those.
 *
 *   request > envelope (resource) > scope > record              traces, logs
 *   request > envelope (resource) > scope > metric > data > record   metrics
 *
 * One walk. At each level the fields that lead to records are walked into, and all others are
 * copied as they stand. A message in which no record was selected is taken back, whatever else it
 * has: an empty envelope would be a resource that sent nothing. Fields of the request itself are
 * copied into each part. Lengths are guessed and corrected by wire_end.
 *
 * All parts of a request together have its records, each once and in order: fuzz_select checks it.
 * The bytes were scanned when they were received; should they be others now (a damaged file), every
 * read is bounded and the answer is ST_INVALID. */
#include "gateway/telemetry/select.h"

#include "gateway/telemetry/wire.h"

enum { LEVELS_MAX = 5 };

/* What leads to records, as bits by field number. The last one is the record itself. */
struct path {
	unsigned levels;
	uint32_t numbers[LEVELS_MAX];
};
#define BIT(number) (UINT32_C(1) << (number))
/* gauge, sum, histogram, exponential_histogram, summary */
#define METRIC_DATA (BIT(5) | BIT(7) | BIT(9) | BIT(10) | BIT(11))
static const struct path paths[SIGNAL_COUNT] = {
	[SIGNAL_TRACES] = { 3, { BIT(1), BIT(2), BIT(2) } },
	[SIGNAL_METRICS] = { 5, { BIT(1), BIT(2), BIT(2), METRIC_DATA, BIT(1) } },
	[SIGNAL_LOGS] = { 3, { BIT(1), BIT(2), BIT(2) } },
};

struct selector {
	const struct path *path;
	struct buf *out;
	const struct select_range *range; /* the first that is not passed yet */
	const struct select_range *ranges_end;
	uint32_t index; /* of the next record */
	uint32_t selected;
};

static bool is_on_path(const struct selector *s, unsigned level, const struct wire_field *f)
{
	return f->type == WIRE_LEN && f->number < 32 && s->path->numbers[level] >> f->number & 1;
}

static enum status put_record(struct selector *s, const struct wire_field *f)
{
	uint32_t i = s->index++;
	while (s->range < s->ranges_end && i >= s->range->first &&
	       i - s->range->first >= s->range->count)
		s->range++;
	if (s->range == s->ranges_end || i < s->range->first)
		return ST_OK;
	s->selected++;
	return buf_append(s->out, f->whole);
}

static enum status put_fields(struct selector *s, struct bytes message, unsigned level);

/* The message with what is selected in it; nothing where that is nothing. */
/* NOLINTNEXTLINE(misc-no-recursion): as deep as paths has levels */
static enum status put_message(struct selector *s, const struct wire_field *f, unsigned level)
{
	size_t before = s->out->n;
	uint32_t selected = s->selected;
	struct wire_open open;
	enum status st = wire_begin(s->out, f->number, f->bytes.n, &open);
	if (!st)
		st = put_fields(s, f->bytes, level);
	if (st)
		return st;
	if (s->selected == selected) {
		buf_truncate(s->out, before);
		return ST_OK;
	}
	return wire_end(s->out, &open);
}

/* NOLINTNEXTLINE(misc-no-recursion): as deep as paths has levels */
static enum status put_fields(struct selector *s, struct bytes message, unsigned level)
{
	enum status st = ST_OK;
	struct wire_reader r = wire_reader_of(message);
	struct wire_field f;
	while (!st && wire_next(&r, &f)) {
		if (!is_on_path(s, level, &f))
			st = buf_append(s->out, f.whole);
		else if (level + 1 == s->path->levels)
			st = put_record(s, &f);
		else
			st = put_message(s, &f, level + 1);
	}
	return !st && r.fault ? ST_INVALID : st;
}

enum status select_records(enum signal signal, struct bytes request,
			   const struct select_range *ranges, size_t count, struct buf *out,
			   uint32_t *ret, uint32_t *ret_total)
{
	struct selector s = { .path = &paths[signal],
			      .out = out,
			      .range = ranges,
			      .ranges_end = count ? ranges + count : ranges };
	enum status st = put_fields(&s, request, 0);
	if (st)
		return st;
	*ret = s.selected;
	if (ret_total)
		*ret_total = s.index;
	return ST_OK;
}
