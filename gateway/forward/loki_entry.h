/* forward/loki_entry.h - one log record as a line and its structured metadata, within Loki's
 * limits. Owner: one conversion. Needs: forward/loki_index.h. */
#ifndef FORWARD_LOKI_ENTRY_H
#define FORWARD_LOKI_ENTRY_H

#include "gateway/forward/loki_index.h"

/* One name and value. Places in the buffers of the set that it is in: those grow, and move. */
struct loki_item {
	const uint8_t *value; /* borrowed from the request; NULL: at value_at of texts */
	size_t value_at;
	size_t value_n;
	size_t name_at; /* in names */
	size_t name_n;
	uint32_t hash; /* of the name */
};

/* Metadata, no name twice. One place of Loki's 128 is kept for saying what was cut. */
enum { LOKI_ITEMS_MAX = LOKI_METADATA_MAX };
struct loki_items {
	struct loki_item items[LOKI_ITEMS_MAX];
	unsigned count;
	size_t bytes;  /* of names and values: what Loki counts */
	uint64_t seen; /* a bit of each hash */
	uint32_t cut;  /* items that are left out or shortened */
	struct buf names;
	struct buf texts;
	struct buf one; /* a text while it is made */
};

/* What all records of a context have at the end of their metadata. In the index's arena. */
struct loki_shared {
	struct bytes encoded; /* as loki_convert.c writes it */
	struct loki_item *items;
	unsigned count;
	size_t bytes;
	uint64_t seen;
	uint32_t cut;
	struct bytes names;
	struct bytes texts;
};

/* A record on its way into the push; reused from record to record. */
struct loki_record {
	struct loki_items items;
	struct bytes line; /* borrowed from the request or from text */
	struct buf text;
	bool is_line_cut;
	size_t line_out; /* >0: the line is this long and the form leaves such out */
};

void loki_record_init(struct loki_record *r, size_t max_line, struct budget *budget);
void loki_record_done(struct loki_record *r);
/* Fills line and items with what the record itself says. */
MUST_USE enum status loki_record_read(struct loki_record *r, const struct loki_form *form,
				      const struct loki_entry *entry);
/* Add what its scope and resource say, item by item, and what was cut. */
MUST_USE enum status loki_record_add_shared(struct loki_record *r, const struct loki_shared *s);
/* Do record and context have room for one another, and no name in common? Then shared->encoded can
 * be put behind the record's own as it is. */
bool loki_record_is_apart(const struct loki_record *r, const struct loki_shared *s);
/* What scope and resource of a context say, into items. */
MUST_USE enum status loki_context_read(struct loki_items *items, const struct loki_form *form,
				       const struct loki_context *c);

void loki_items_init(struct loki_items *s, struct budget *budget);
void loki_items_clear(struct loki_items *s);
void loki_items_done(struct loki_items *s);
static inline struct bytes loki_item_name(const struct loki_items *s, const struct loki_item *i)
{
	return bytes_of(s->names.p + i->name_at, i->name_n);
}
static inline struct bytes loki_item_value(const struct loki_items *s, const struct loki_item *i)
{
	return bytes_of(i->value ? i->value : s->texts.p + i->value_at, i->value_n);
}

#endif
