/* forward/loki_entry.h - one log record as a line and its structured metadata.
 * Owner: one conversion. Needs: forward/loki_index.h, forward/loki_items.h. */
#ifndef FORWARD_LOKI_ENTRY_H
#define FORWARD_LOKI_ENTRY_H

#include "gateway/forward/loki_index.h"
#include "gateway/forward/loki_items.h"

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
/* What scope and resource of a context say, into items. */
MUST_USE enum status loki_context_read(struct loki_items *items, const struct loki_form *form,
				       const struct loki_context *c);

#endif
