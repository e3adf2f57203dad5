/* forward/loki_names.h - names and label sets as Loki takes them.
 * Owner: stateless. Needs: gateway/base. */
#ifndef FORWARD_LOKI_NAMES_H
#define FORWARD_LOKI_NAMES_H

#include "gateway/base/buf.h"

/* Loki's limits, as it ships (limits_config). */
enum {
	LOKI_LABELS_MAX = 15, /* of a stream, class among them */
	LOKI_NAME_MAX = 1024,
	LOKI_LABEL_VALUE_MAX = 2048,
};

/* Appends an attribute's name as a label name, as Loki's own OTLP endpoint does it: every run of
 * characters other than letters and digits becomes one underscore, and what would not begin with a
 * letter gets "key_" (or "key" where it begins with an underscore) in front. Cut at LOKI_NAME_MAX.
 */
MUST_USE enum status loki_name(struct bytes attribute, struct buf *out);
/* Appends name="value" as LogQL writes it, the value cut to LOKI_LABEL_VALUE_MAX at a whole
 * character. */
MUST_USE enum status loki_label(struct bytes name, struct bytes value, struct buf *out);
/* The longest prefix of s of at most max bytes that ends at a whole character. */
struct bytes loki_cut(struct bytes s, size_t max);

/* FNV-1a, with its low bits mixed. */
static inline uint32_t loki_hash(struct bytes s)
{
	uint32_t h = 2166136261u;
	for (size_t i = 0; i < s.n; i++)
		h = (h ^ s.p[i]) * 16777619u;
	return h ^ h >> 15;
}

#endif
