/* forward/prometheus_labels.h - strings and labels of one conversion, each kept once.
 * Owner: the conversion. Needs: telemetry/prometheus_names.h, gateway/base. */
#ifndef FORWARD_PROMETHEUS_LABELS_H
#define FORWARD_PROMETHEUS_LABELS_H

#include "gateway/base/arena.h"
#include "gateway/telemetry/prometheus_names.h"

/* Finds entries by their hash: open addressing, in an arena. */
struct hash_index {
	struct hash_slot *slots;
	uint32_t mask; /* slots - 1; 0: none yet */
	uint32_t count;
};

/* A name, a value, a help text. Number 0 is the empty string. */
struct prometheus_symbol {
	struct bytes text;
};

/* A name with a value: the same pair has the same number. Number 0 is no label. */
struct prometheus_label {
	uint32_t name; /* symbols */
	uint32_t value;
	struct bytes encoded; /* field 1 of a remote write 1.0 TimeSeries, whole */
};

/* What became of an OTLP attribute. Number 0 is none. */
struct prometheus_attribute {
	struct bytes key_value; /* as on the wire; borrowed from the request */
	struct bytes key;
	uint32_t label; /* 0: its value is empty */
};

struct prometheus_labels {
	const struct prometheus_naming *naming;
	struct arena *arena;
	struct buf scratch;
	uint64_t seed; /* of the hashes: clients must not be able to choose their collisions */
	struct hash_index symbol_index;
	struct hash_index label_index;
	struct hash_index attribute_index;
	struct prometheus_symbol *symbols;
	struct prometheus_label *labels;
	struct prometheus_attribute *attributes;
	uint32_t symbol_count;
	uint32_t label_count;
	uint32_t attribute_count;
	uint32_t symbol_room;
	uint32_t label_room;
	uint32_t attribute_room;
};

/* What out of memory is called here. */
enum status prometheus_labels_full(const struct arena *a);

/* Borrows naming and arena. All of these: ST_TOO_LARGE, ST_BUSY where the arena is full. */
MUST_USE enum status prometheus_labels_init(struct prometheus_labels *l,
					    const struct prometheus_naming *naming, uint64_t seed,
					    struct arena *arena);
void prometheus_labels_done(struct prometheus_labels *l);

/* Copies text. */
MUST_USE enum status prometheus_labels_symbol(struct prometheus_labels *l, struct bytes text,
					      uint32_t *ret);
/* The label of a name and a value as they are. */
MUST_USE enum status prometheus_labels_add(struct prometheus_labels *l, struct bytes name,
					   struct bytes value, uint32_t *ret);
/* The attribute of a KeyValue's wire bytes, which it borrows. ST_INVALID: damaged. */
MUST_USE enum status prometheus_labels_attribute(struct prometheus_labels *l,
						 struct bytes key_value, uint32_t *ret);

uint64_t prometheus_labels_hash(uint64_t seed, struct bytes b);
/* For tables of others in the same arena. Borrows match and ctx until return. */
MUST_USE enum status hash_index_find(struct hash_index *x, struct arena *a, uint64_t hash,
				     bool (*match)(const void *ctx, uint32_t entry),
				     const void *ctx, uint32_t **ret);
/* The array with room for one more entry of `size` bytes, perhaps moved; NULL: the arena is full.
 */
MUST_USE void *prometheus_labels_room(struct arena *a, void *array, uint32_t count, uint32_t *room,
				      size_t size);

static inline struct bytes prometheus_labels_text(const struct prometheus_labels *l,
						  uint32_t symbol)
{
	return l->symbols[symbol].text;
}

static inline struct bytes prometheus_labels_name(const struct prometheus_labels *l, uint32_t label)
{
	return l->symbols[l->labels[label].name].text;
}

/* As strings are sorted in labels: byte by byte. */
static inline int prometheus_labels_compare(struct bytes a, struct bytes b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int c = n ? memcmp(a.p, b.p, n) : 0;
	return c ? c : (a.n > b.n) - (a.n < b.n);
}

#endif
