/* prometheus_labels.c - strings and labels of one conversion, each kept once.
 *
 * Telemetry repeats itself: a request of thousands of points has a few hundred different
 * attributes. So an attribute is recognised by the bytes of its KeyValue, before anything is
 * parsed, and leads to the number of its label. Only where it is new are its key turned into a
 * name, its value into text, both looked up as strings, and the label encoded for remote write 1.0.
 * From there on a series is a list of numbers, cheap to compare, and encoding it is copying pieces
 * that stand ready.
 *
 * Two attributes may give one label (the integer 1 and the string "1"); a label's number is that of
 * its strings, so equal labels have equal numbers.
 *
 * The tables are open addressing with a quarter of the slots free at least, and the full 32-bit
 * hash beside the entry. Hashes are seeded: a client that could choose collisions could make one
 * request cost minutes. */
#include "gateway/forward/prometheus_labels.h"

#include "gateway/telemetry/any_value.h"
#include "gateway/telemetry/wire.h"

enum { INDEX_MIN = 256, ROOM_MIN = 64, VALUE_MAX = 16 << 20 };

struct hash_slot {
	uint32_t hash;
	uint32_t entry; /* 0: free */
};

enum status prometheus_labels_full(const struct arena *a)
{
	return a->is_starved ? ST_BUSY : ST_TOO_LARGE;
}

static uint64_t mix(uint64_t a, uint64_t b)
{
	__extension__ typedef unsigned __int128 wide;
	wide m = (wide)a * b;
	return (uint64_t)m ^ (uint64_t)(m >> 64);
}

/* Multiply and fold, 16 bytes at a time. */
uint64_t prometheus_labels_hash(uint64_t seed, struct bytes b)
{
	const uint64_t k1 = UINT64_C(0x9e3779b97f4a7c15);
	const uint64_t k2 = UINT64_C(0xd6e8feb86659fd93);
	uint64_t h = seed ^ k1;
	const uint8_t *p = b.p;
	size_t n = b.n;
	for (; n > 16; p += 16, n -= 16)
		h = mix(wire_fixed64(p) ^ k1 ^ h, wire_fixed64(p + 8) ^ seed);
	uint64_t low = 0;
	uint64_t high = 0;
	if (n >= 8) {
		low = wire_fixed64(p);
		high = wire_fixed64(p + n - 8);
	} else if (n >= 4) {
		low = wire_fixed32(p);
		high = wire_fixed32(p + n - 4);
	} else if (n) {
		low = (uint64_t)p[0] << 16 | (uint64_t)p[n / 2] << 8 | p[n - 1];
	}
	h = mix(low ^ k2 ^ h, high ^ seed ^ k1);
	return mix(h ^ k2, b.n ^ seed ^ k1);
}

static enum status grow(struct hash_index *x, struct arena *a)
{
	uint32_t size = x->slots ? (x->mask + 1) * 2 : INDEX_MIN;
	if (size == 0)
		return ST_TOO_LARGE;
	struct hash_slot *slots = arena_calloc(a, size, sizeof(*slots));
	if (!slots)
		return prometheus_labels_full(a);
	for (uint32_t i = 0; x->slots && i <= x->mask; i++) {
		if (!x->slots[i].entry)
			continue;
		uint32_t at = x->slots[i].hash & (size - 1);
		while (slots[at].entry)
			at = (at + 1) & (size - 1);
		slots[at] = x->slots[i];
	}
	x->slots = slots;
	x->mask = size - 1;
	return ST_OK;
}

/* *ret points to the entry's number; where that is 0, there was none, and the caller stores it. */
enum status hash_index_find(struct hash_index *x, struct arena *a, uint64_t hash,
			    bool (*match)(const void *ctx, uint32_t entry), const void *ctx,
			    uint32_t **ret)
{
	if (!x->slots || x->count >= (x->mask + 1) / 4 * 3) {
		enum status st = grow(x, a);
		if (st)
			return st;
	}
	CHECK(x->slots);
	uint32_t h = (uint32_t)(hash >> 32 ^ hash);
	uint32_t at = h & x->mask;
	while (x->slots[at].entry && !(x->slots[at].hash == h && match(ctx, x->slots[at].entry)))
		at = (at + 1) & x->mask;
	if (!x->slots[at].entry) {
		x->slots[at].hash = h;
		x->count++;
	}
	*ret = &x->slots[at].entry;
	return ST_OK;
}

void *prometheus_labels_room(struct arena *a, void *array, uint32_t count, uint32_t *room,
			     size_t size)
{
	if (count < *room)
		return array;
	if (*room > UINT32_MAX / 4)
		return NULL;
	uint32_t more = *room ? *room * 2 : ROOM_MIN;
	void *p = arena_alloc(a, more * size);
	if (!p)
		return NULL;
	if (array)
		memcpy(p, array, count * size);
	*room = more;
	return p;
}

static enum status symbol_room(struct prometheus_labels *l)
{
	void *p = prometheus_labels_room(l->arena, l->symbols, l->symbol_count, &l->symbol_room,
					 sizeof(*l->symbols));
	if (!p)
		return prometheus_labels_full(l->arena);
	l->symbols = p;
	return ST_OK;
}

static enum status label_room(struct prometheus_labels *l)
{
	void *p = prometheus_labels_room(l->arena, l->labels, l->label_count, &l->label_room,
					 sizeof(*l->labels));
	if (!p)
		return prometheus_labels_full(l->arena);
	l->labels = p;
	return ST_OK;
}

static enum status attribute_room(struct prometheus_labels *l)
{
	void *p = prometheus_labels_room(l->arena, l->attributes, l->attribute_count,
					 &l->attribute_room, sizeof(*l->attributes));
	if (!p)
		return prometheus_labels_full(l->arena);
	l->attributes = p;
	return ST_OK;
}

struct wanted_symbol {
	const struct prometheus_labels *l;
	struct bytes text;
};

static bool is_symbol(const void *ctx, uint32_t entry)
{
	const struct wanted_symbol *w = ctx;
	return bytes_equal(w->l->symbols[entry].text, w->text);
}

static enum status copy(struct arena *a, struct bytes b, struct bytes *ret)
{
	uint8_t *p = arena_alloc(a, b.n ? b.n : 1);
	if (!p)
		return prometheus_labels_full(a);
	if (b.n)
		memcpy(p, b.p, b.n);
	*ret = bytes_of(p, b.n);
	return ST_OK;
}

enum status prometheus_labels_symbol(struct prometheus_labels *l, struct bytes text, uint32_t *ret)
{
	const struct wanted_symbol w = { l, text };
	uint32_t *entry = NULL;
	if (text.n == 0) {
		*ret = 0;
		return ST_OK;
	}
	struct bytes kept;
	enum status st = symbol_room(l);
	if (!st)
		st = hash_index_find(&l->symbol_index, l->arena,
				     prometheus_labels_hash(l->seed, text), is_symbol, &w, &entry);
	if (!st && !*entry) {
		st = copy(l->arena, text, &kept);
		if (st)
			return st;
		l->symbols[l->symbol_count].text = kept;
		*entry = l->symbol_count++;
	}
	if (!st)
		*ret = *entry;
	return st;
}

struct wanted_label {
	const struct prometheus_labels *l;
	uint32_t pair[2];
};

static bool is_label(const void *ctx, uint32_t entry)
{
	const struct wanted_label *w = ctx;
	return w->l->labels[entry].name == w->pair[0] && w->l->labels[entry].value == w->pair[1];
}

/* TimeSeries.labels (1) of a Label (name 1, value 2). */
static enum status encode(struct prometheus_labels *l, struct prometheus_label *label)
{
	struct bytes name = l->symbols[label->name].text;
	struct bytes value = l->symbols[label->value].text;
	size_t inner = 2 + wire_varint_size(name.n) + name.n + wire_varint_size(value.n) + value.n;
	buf_clear(&l->scratch);
	enum status st = wire_put_tag(&l->scratch, 1, WIRE_LEN);
	if (!st)
		st = wire_put_varint(&l->scratch, inner);
	if (!st)
		st = wire_put_bytes(&l->scratch, 1, name);
	if (!st)
		st = wire_put_bytes(&l->scratch, 2, value);
	return st ? st : copy(l->arena, buf_view(&l->scratch), &label->encoded);
}

static enum status label_of(struct prometheus_labels *l, uint32_t name, uint32_t value,
			    uint32_t *ret)
{
	const struct wanted_label w = { l, { name, value } };
	uint32_t *entry = NULL;
	struct prometheus_label label = { .name = name, .value = value };
	enum status st = label_room(l);
	if (!st)
		st = hash_index_find(
			&l->label_index, l->arena,
			prometheus_labels_hash(l->seed, bytes_of(w.pair, sizeof(w.pair))), is_label,
			&w, &entry);
	if (!st && !*entry) {
		st = encode(l, &label);
		if (st)
			return st;
		l->labels[l->label_count] = label;
		*entry = l->label_count++;
	}
	if (!st)
		*ret = *entry;
	return st;
}

enum status prometheus_labels_add(struct prometheus_labels *l, struct bytes name,
				  struct bytes value, uint32_t *ret)
{
	uint32_t n;
	uint32_t v;
	*ret = 0;
	if (value.n == 0)
		return ST_OK;
	enum status st = prometheus_labels_symbol(l, name, &n);
	if (!st)
		st = prometheus_labels_symbol(l, value, &v);
	return st ? st : label_of(l, n, v, ret);
}

struct wanted_attribute {
	const struct prometheus_labels *l;
	struct bytes key_value;
};

static bool is_attribute(const void *ctx, uint32_t entry)
{
	const struct wanted_attribute *w = ctx;
	return bytes_equal(w->l->attributes[entry].key_value, w->key_value);
}

static enum status read_attribute(struct prometheus_labels *l, struct prometheus_attribute *a)
{
	struct wire_reader r = wire_reader_of(a->key_value);
	struct wire_field f;
	struct bytes value = bytes_of(NULL, 0);
	while (wire_next(&r, &f)) {
		if (f.number == 1 && f.type == WIRE_LEN)
			a->key = f.bytes;
		if (f.number == 2 && f.type == WIRE_LEN)
			value = f.bytes;
	}
	if (r.fault)
		return ST_INVALID;
	uint32_t name;
	uint32_t text;
	buf_clear(&l->scratch);
	enum status st = prometheus_label_name(l->naming, a->key, &l->scratch);
	if (!st)
		st = prometheus_labels_symbol(l, buf_view(&l->scratch), &name);
	buf_clear(&l->scratch);
	if (!st)
		st = any_value_text(value, &l->scratch);
	if (!st && l->scratch.n == 0)
		return ST_OK;
	if (!st)
		st = prometheus_labels_symbol(l, buf_view(&l->scratch), &text);
	return st ? st : label_of(l, name, text, &a->label);
}

enum status prometheus_labels_attribute(struct prometheus_labels *l, struct bytes key_value,
					uint32_t *ret)
{
	const struct wanted_attribute w = { l, key_value };
	uint32_t *entry = NULL;
	struct prometheus_attribute a = { .key_value = key_value };
	enum status st = attribute_room(l);
	if (!st)
		st = hash_index_find(&l->attribute_index, l->arena,
				     prometheus_labels_hash(l->seed, key_value), is_attribute, &w,
				     &entry);
	if (!st && !*entry) {
		st = read_attribute(l, &a);
		if (st)
			return st;
		l->attributes[l->attribute_count] = a;
		*entry = l->attribute_count++;
	}
	if (!st)
		*ret = *entry;
	return st;
}

enum status prometheus_labels_init(struct prometheus_labels *l,
				   const struct prometheus_naming *naming, uint64_t seed,
				   struct arena *arena)
{
	*l = (struct prometheus_labels){ .naming = naming, .arena = arena, .seed = seed };
	buf_init(&l->scratch, VALUE_MAX, arena->budget);
	enum status st = symbol_room(l);
	if (!st)
		st = label_room(l);
	if (!st)
		st = attribute_room(l);
	if (st)
		return st;
	/* Number 0 of each means none. */
	l->symbols[l->symbol_count++].text = bytes_of("", 0);
	l->labels[l->label_count++] = (struct prometheus_label){ 0 };
	l->attributes[l->attribute_count++] = (struct prometheus_attribute){ 0 };
	return ST_OK;
}

void prometheus_labels_done(struct prometheus_labels *l)
{
	buf_done(&l->scratch);
}
