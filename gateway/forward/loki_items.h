/* forward/loki_items.h - the structured metadata of one entry, within Loki's limits.
 * Owner: one conversion. Needs: gateway/base, forward/loki_convert.h. */
#ifndef FORWARD_LOKI_ITEMS_H
#define FORWARD_LOKI_ITEMS_H

#include "gateway/forward/loki_convert.h"

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

void loki_items_init(struct loki_items *s, struct budget *budget);
void loki_items_clear(struct loki_items *s);
void loki_items_done(struct loki_items *s);

/* All of these add one item, or count it in cut where it does not fit. ST_BUSY, ST_NO_MEMORY: from
 * the buffers. Values that are empty, and ids of zeros only, say nothing and are not added. */

/* name is a label name already. Borrows value as long as the items live. */
MUST_USE enum status loki_items_add_named(struct loki_items *s, const char *name,
					  struct bytes value);
MUST_USE enum status loki_items_add_number(struct loki_items *s, const char *name, uint64_t v);
/* In hex. */
MUST_USE enum status loki_items_add_id(struct loki_items *s, const char *name, struct bytes id);
/* key as OTLP has it, any its AnyValue. Borrows any. */
MUST_USE enum status loki_items_add_attribute(struct loki_items *s, struct bytes key,
					      struct bytes any);

/* Do a record's items and the shared ones have room for one another, and no name in common? Then
 * s->encoded can be put behind the record's own as it is. */
bool loki_items_are_apart(const struct loki_items *own, const struct loki_shared *s);
/* Otherwise: add the shared ones one by one, and what was cut. */
MUST_USE enum status loki_items_add_shared(struct loki_items *own, const struct loki_shared *s);

static inline struct bytes loki_item_name(const struct loki_items *s, const struct loki_item *i)
{
	return bytes_of(s->names.p + i->name_at, i->name_n);
}
static inline struct bytes loki_item_value(const struct loki_items *s, const struct loki_item *i)
{
	return bytes_of(i->value ? i->value : s->texts.p + i->value_at, i->value_n);
}

#endif
