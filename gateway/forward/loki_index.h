/* forward/loki_index.h - the records of a request, by stream and time: the first pass of
 * loki_convert.c. Owner: one conversion. Needs: gateway/base/arena.h, forward/loki_convert.h. */
#ifndef FORWARD_LOKI_INDEX_H
#define FORWARD_LOKI_INDEX_H

#include "gateway/base/arena.h"
#include "gateway/forward/loki_convert.h"

struct loki_stream {
	struct loki_stream *next; /* of the same slot of the table */
	struct bytes labels;      /* as the push says them; in the arena */
	uint32_t hash;
	uint32_t number; /* in the order of appearance */
};

/* What a scope's records have in common. */
struct loki_context {
	struct bytes resource_logs;
	struct bytes scope_logs;
	struct loki_stream *stream; /* NULL: it depends on the record */
	/* By label: its value, where the resource has it, and the KeyValue that is wholly said by
	 * the label (NULL: metadata says it too). */
	struct bytes values[LOKI_LABELS_MAX];
	const uint8_t *said[LOKI_LABELS_MAX];
	struct loki_shared *shared; /* loki_entry.h; NULL: not prepared yet */
};

struct loki_entry {
	int64_t time_ns;
	struct bytes record; /* the LogRecord */
	struct loki_context *context;
	struct loki_stream *stream;
};

struct loki_index {
	struct arena arena; /* streams and contexts */
	struct buf entries; /* of struct loki_entry, by stream, time, and order of the queue */
	size_t count;
	/* While it is made. */
	const struct loki_form *form;
	const struct loki_source *source;
	size_t member;
	size_t member_end;
	struct loki_stream **slots;
	uint64_t seed;
	uint32_t streams;
	struct buf text;
};

/* Borrows form and source as long as the index lives. ST_TOO_LARGE: more records or streams than
 * one conversion holds. ST_INVALID: damaged. ST_BUSY: from the budget. The index is to be done in
 * any case. */
MUST_USE enum status loki_index_make(struct loki_index *x, const struct loki_form *form,
				     const struct loki_source *source, struct budget *budget);
void loki_index_done(struct loki_index *x);
static inline const struct loki_entry *loki_index_entries(const struct loki_index *x)
{
	return (const struct loki_entry *)(const void *)x->entries.p;
}

/* A KeyValue's parts. False: damaged. */
bool loki_key_value(struct bytes pair, struct bytes *ret_key, struct bytes *ret_value);
/* The string of an AnyValue. False: it is of another type, or none. */
bool loki_string_of(struct bytes any, struct bytes *ret);

#endif
