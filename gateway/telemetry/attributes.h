/* telemetry/attributes.h - resource attributes to insert, encoded once.
 * Owner: made by main, then immutable and shared. Needs: gateway/base. */
#ifndef TELEMETRY_ATTRIBUTES_H
#define TELEMETRY_ATTRIBUTES_H

#include "gateway/base/buf.h"
#include "gateway/base/config.h"

enum { ATTRIBUTES_MAX = 64 };

struct attribute {
	char *key;
	char *value;
	struct bytes
		encoded; /* field 1 of Resource (tag, length, KeyValue): ready to be spliced in */
};

struct attributes {
	struct attribute items[ATTRIBUTES_MAX];
	size_t count;
};

/* Inserts key with a string value where the key is not there yet: the first to set a key wins.
 * ST_INVALID: empty key, or not UTF-8. ST_TOO_LARGE: more than ATTRIBUTES_MAX. */
MUST_USE enum status attributes_insert(struct attributes *a, const char *key, const char *value,
				       struct err *e);
/* OTEL_RESOURCE_ATTRIBUTES: k=v pairs with commas between, values percent-encoded (OpenTelemetry
 * specification, "Specifying resource information via an environment variable"). A bad list is
 * refused whole, as the specification asks. NULL is an empty list. */
MUST_USE enum status attributes_insert_list(struct attributes *a, const char *list, struct err *e);
/* All that a gateway of this configuration adds, in the order of precedence: resource.attributes,
 * OTEL_RESOURCE_ATTRIBUTES (list, may be NULL), site. The error begins with what is wrong. */
MUST_USE enum status attributes_from_config(struct attributes *a, const struct config *c,
					    const char *list, struct err *e);
void attributes_done(struct attributes *a);

#endif
