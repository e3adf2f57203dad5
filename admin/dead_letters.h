/* admin/dead_letters.h - the documents of dead letters: groups, and one by one.
 * Owner: stateless. Needs: document.h, storage/inspect_dead.h. */
#ifndef ADMIN_DEAD_LETTERS_H
#define ADMIN_DEAD_LETTERS_H

#include <jansson.h>

#include "admin/document.h"

/* Each appends one JSON document to out. ST_INVALID: no destination is named; ST_NOT_FOUND: it does
 * not exist. */
MUST_USE enum status document_dead_groups(const struct document_source *s,
					  const struct parameters *p, struct buf *out,
					  struct err *e);
MUST_USE enum status document_dead_letters(const struct document_source *s,
					   const struct parameters *p, struct buf *out,
					   struct err *e);
/* One dead letter as an object: of the list, and of an export's lines. */
json_t *dead_letter_object(const struct inspect_owed *o);

#endif
