/* loki_items.c - the structured metadata of one entry, within Loki's limits.
 *
 * Two rules make items fit, so that the same record always gives the same entry:
 *
 *   - A name that is taken: with the same value the later item is left out; with another one it
 *     becomes NAME_2, NAME_3 ... (service.name and service_name are one name to Loki).
 *   - A value of more than LOKI_METADATA_VALUE_MAX bytes is shortened to it; an item that does not
 *     fit into the room or the number that is left is left out, and a shorter one after it may
 *     still fit. How many items were shortened or left out stands in tidegate_metadata_cut, for
 *     which a place is kept.
 *
 * Empty values are not added: to Loki they are as good as absent.
 *
 * Names and texts are made in two buffers that are reused from record to record; strings stay where
 * they are in the request. Whether a name is taken is asked of a word of 64 bits first, one for
 * each value of six bits of its hash: most records never compare two names. */
#include "gateway/forward/loki_items.h"

#include "gateway/forward/loki_index.h"
#include "gateway/telemetry/any_value.h"
#include "gateway/telemetry/json_text.h"

enum {
	NAMES_MAX = LOKI_ITEMS_MAX * (LOKI_NAME_MAX + 16),
	TEXTS_MAX = 2 * LOKI_METADATA_BYTES_MAX,
	ONE_MAX = 64 * 1024,
	RESERVE = 64, /* for saying what was cut */
	SAME_NAME_MAX = 16,
};

void loki_items_init(struct loki_items *s, struct budget *budget)
{
	*s = (struct loki_items){ 0 };
	buf_init(&s->names, NAMES_MAX, budget);
	buf_init(&s->texts, TEXTS_MAX, budget);
	buf_init(&s->one, ONE_MAX, budget);
}

void loki_items_clear(struct loki_items *s)
{
	s->count = 0;
	s->bytes = 0;
	s->seen = 0;
	s->cut = 0;
	buf_clear(&s->names);
	buf_clear(&s->texts);
}

void loki_items_done(struct loki_items *s)
{
	buf_done(&s->names);
	buf_done(&s->texts);
	buf_done(&s->one);
}

/* ---- one item ---- */

static uint64_t bit_of(uint32_t hash)
{
	return UINT64_C(1) << (hash & 63);
}

static const struct loki_item *find(const struct loki_items *s, struct bytes name, uint32_t hash)
{
	if (!(s->seen & bit_of(hash)))
		return NULL;
	for (unsigned i = 0; i < s->count; i++)
		if (s->items[i].hash == hash && bytes_equal(loki_item_name(s, &s->items[i]), name))
			return &s->items[i];
	return NULL;
}

static struct bytes name_of(const struct loki_items *s, const struct loki_item *i)
{
	return loki_item_name(s, i);
}

/* The name stands at the end of names. Gives it a number until no other item has it. False: the
 * item is not to be added. */
static enum status make_unique(struct loki_items *s, struct loki_item *item, bool *ret_is_new)
{
	size_t base_n = item->name_n;
	struct bytes value = loki_item_value(s, item);
	*ret_is_new = true;
	for (int k = 2;; k++) {
		const struct loki_item *other = find(s, name_of(s, item), item->hash);
		if (!other)
			return ST_OK;
		bool is_same = bytes_equal(loki_item_value(s, other), value);
		if (is_same || k > SAME_NAME_MAX) {
			s->cut += !is_same;
			*ret_is_new = false;
			return ST_OK;
		}
		buf_truncate(&s->names, item->name_at + base_n);
		enum status st = buf_printf(&s->names, "_%d", k);
		if (st)
			return st;
		item->name_n = s->names.n - item->name_at;
		item->hash = loki_hash(name_of(s, item));
	}
}

/* What stands behind `at`. */
static struct bytes tail(const struct buf *b, size_t at)
{
	return b->n > at ? bytes_of(b->p + at, b->n - at) : (struct bytes){ 0 };
}

/* The last name of names, and this value, become an item, or are left out. */
static enum status add(struct loki_items *s, size_t name_at, struct bytes value, bool is_text)
{
	struct bytes cut = loki_cut(value, LOKI_METADATA_VALUE_MAX);
	struct loki_item item = { .value = is_text ? NULL : cut.p,
				  .value_at =
					  is_text && value.n ? (size_t)(value.p - s->texts.p) : 0,
				  .value_n = cut.n,
				  .name_at = name_at,
				  .name_n = s->names.n - name_at };
	bool is_new = cut.n > 0;
	enum status st = ST_OK;
	item.hash = loki_hash(name_of(s, &item));
	if (is_new && (s->seen & bit_of(item.hash)))
		st = make_unique(s, &item, &is_new);
	bool has_room = s->count < LOKI_ITEMS_MAX - 1 &&
			s->bytes + item.name_n + item.value_n <= LOKI_METADATA_BYTES_MAX - RESERVE;
	if (!st && is_new && has_room) {
		s->items[s->count++] = item;
		s->bytes += item.name_n + item.value_n;
		s->seen |= bit_of(item.hash);
		s->cut += cut.n < value.n;
		return ST_OK;
	}
	s->cut += is_new && !has_room;
	buf_truncate(&s->names, name_at);
	if (is_text && value.n)
		buf_truncate(&s->texts, item.value_at);
	return st;
}

static enum status put_named(struct loki_items *s, const char *name, struct bytes value,
			     bool is_text)
{
	size_t at = s->names.n;
	enum status st = buf_append_str(&s->names, name);
	return st ? st : add(s, at, value, is_text);
}

enum status loki_items_add_named(struct loki_items *s, const char *name, struct bytes value)
{
	return put_named(s, name, value, false);
}

enum status loki_items_add_number(struct loki_items *s, const char *name, uint64_t v)
{
	size_t at = s->texts.n;
	enum status st = json_put_integer(&s->texts, v, false, false);
	if (st)
		return st == ST_TOO_LARGE ? ST_OK : st;
	return put_named(s, name, tail(&s->texts, at), true);
}

enum status loki_items_add_id(struct loki_items *s, const char *name, struct bytes id)
{
	static const char digits[] = "0123456789abcdef";
	size_t at = s->texts.n;
	bool is_any = false;
	for (size_t i = 0; i < id.n; i++)
		is_any = is_any || id.p[i];
	if (!is_any)
		return ST_OK;
	id = loki_cut(id, LOKI_NAME_MAX);
	enum status st = buf_reserve(&s->texts, 2 * id.n);
	if (st)
		return st;
	for (size_t i = 0; i < id.n; i++) {
		s->texts.p[at + 2 * i] = (uint8_t)digits[id.p[i] >> 4];
		s->texts.p[at + 2 * i + 1] = (uint8_t)digits[id.p[i] & 15];
	}
	buf_advance(&s->texts, 2 * id.n);
	return put_named(s, name, tail(&s->texts, at), true);
}

enum status loki_items_add_attribute(struct loki_items *s, struct bytes key, struct bytes any)
{
	struct bytes value;
	size_t name_at = s->names.n;
	/* Nothing more can come in: only count. */
	if (s->count >= LOKI_ITEMS_MAX - 1) {
		s->cut++;
		return ST_OK;
	}
	enum status st = loki_name(key, &s->names);
	if (st)
		return st;
	if (loki_string_of(any, &value))
		return add(s, name_at, value, false);
	buf_clear(&s->one);
	st = any_value_text(any, &s->one);
	/* What did fit will be shortened anyway. */
	if (st && st != ST_TOO_LARGE)
		return st;
	struct bytes text = buf_view(&s->one);
	size_t at = s->texts.n;
	st = buf_append(&s->texts, text);
	if (st == ST_TOO_LARGE) {
		s->cut++;
		buf_truncate(&s->names, name_at);
		return ST_OK;
	}
	return st ? st : add(s, name_at, tail(&s->texts, at), true);
}

bool loki_items_are_apart(const struct loki_items *own, const struct loki_shared *s)
{
	if (own->cut || s->cut || own->count + s->count > LOKI_ITEMS_MAX - 1 ||
	    own->bytes + s->bytes > LOKI_METADATA_BYTES_MAX - RESERVE)
		return false;
	if (!(own->seen & s->seen))
		return true;
	for (unsigned i = 0; i < own->count; i++) {
		if (!(s->seen & bit_of(own->items[i].hash)))
			continue;
		for (unsigned k = 0; k < s->count; k++)
			if (s->items[k].hash == own->items[i].hash)
				return false;
	}
	return true;
}

/* In the place that was kept for it. */
static enum status add_cut(struct loki_items *own)
{
	struct loki_item item = { .name_at = own->names.n, .value_at = own->texts.n };
	bool is_new;
	enum status st = buf_append_str(&own->names, "tidegate_metadata_cut");
	if (!st)
		st = json_put_integer(&own->texts, own->cut, false, false);
	if (st)
		return st;
	item.name_n = own->names.n - item.name_at;
	item.value_n = own->texts.n - item.value_at;
	item.hash = loki_hash(name_of(own, &item));
	st = make_unique(own, &item, &is_new);
	if (st || !is_new)
		return st;
	own->bytes += item.name_n + item.value_n;
	own->items[own->count++] = item;
	return ST_OK;
}

enum status loki_items_add_shared(struct loki_items *own, const struct loki_shared *s)
{
	enum status st = ST_OK;
	for (unsigned i = 0; i < s->count && !st; i++) {
		const struct loki_item *item = &s->items[i];
		size_t at = own->names.n;
		const uint8_t *value = item->value ? item->value : s->texts.p + item->value_at;
		st = buf_append(&own->names, bytes_of(s->names.p + item->name_at, item->name_n));
		if (!st)
			st = add(own, at, bytes_of(value, item->value_n), false);
	}
	own->cut += s->cut;
	return st || !own->cut ? st : add_cut(own);
}
