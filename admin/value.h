/* admin/value.h - values that documents have in common: texts, times, ages.
 * Owner: stateless. Needs: jansson, gateway/base. */
#ifndef ADMIN_VALUE_H
#define ADMIN_VALUE_H

#include <jansson.h>

#include "gateway/base/buf.h"

/* A text that may come from a client; what is not UTF-8 becomes question marks. NULL gives null. */
json_t *value_string(const char *text);
/* Unix ns as RFC 3339 in UTC with milliseconds; 0 gives null. */
json_t *value_time(int64_t ns);
/* Seconds since then, never negative; 0 gives null. */
json_t *value_age(int64_t ns);
/* Appends the compact text of root. Takes root (also where it fails); NULL is out of memory. */
MUST_USE enum status value_write(json_t *root, struct buf *out);

#endif
