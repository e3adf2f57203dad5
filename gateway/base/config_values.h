/* config_values.h - the options of schema/config.def as tables, and their types: from text, to
 * text, and freed. Owner: none, tables are constants. Needs: config, status. */
#ifndef BASE_CONFIG_VALUES_H
#define BASE_CONFIG_VALUES_H

#include "gateway/base/config.h"

enum config_type {
	CONFIG_TYPE_STRING,
	CONFIG_TYPE_SECRET,
	CONFIG_TYPE_SIZE,
	CONFIG_TYPE_RATE,
	CONFIG_TYPE_DURATION,
	CONFIG_TYPE_INT,
	CONFIG_TYPE_BOOL,
	CONFIG_TYPE_ENDPOINT,
	CONFIG_TYPE_LIST,
	CONFIG_TYPE_MAP,
	CONFIG_TYPE_SECRET_MAP,
	CONFIG_TYPE_CHOICE,
};

struct config_option {
	const char *key; /* with its sections: queue.max_size */
	enum config_type type;
	size_t offset; /* in the struct of the table */
	const char *initial;
	const char *min; /* CHOICE: the words, separated by | */
	const char *max;
	const char *doc;
};

/* A group of options, and the struct that it fills. */
struct config_table {
	const struct config_option *options;
	size_t count;
};
extern const struct config_table config_global_table;
extern const struct config_table config_destination_table;
extern const struct config_table config_uplink_table;
enum { CONFIG_OPTIONS_MAX = 64 }; /* of one table */

/* The option's field in the struct that base points to. */
static inline void *config_field(const struct config_option *o, void *base)
{
	return (char *)base + o->offset;
}

/* The option is for destinations of this kind: its doc begins with "KIND: " or "KIND, KIND: ", or
 * with no kind. */
bool config_option_is_for(const struct config_option *o, int kind);
/* "otlp_http" for CONFIG_KIND_OTLP_HTTP. Copies to dst. */
void config_choice_word(const struct config_option *o, int choice, char *dst, size_t size);

/* The option of this key, which the table has. */
const struct config_option *config_option_of(const struct config_table *table, const char *key);
/* What may be written, in words: "a whole number from 1 to 100". Copies to dst. */
void config_allowed(const struct config_option *o, char *dst, size_t size);
enum { CONFIG_ALLOWED_SIZE = 320 };
/* " Does nothing without rate.", where the option does. config_needs.c */
MUST_USE enum status config_needs_write(const struct config_table *table, const char *key,
					struct buf *out);
/* The field's value is the option's default. */
bool config_value_is_default(const struct config_option *o, const void *field);

/* Set a field from a text: any type but LIST and MAP, which take "" only (empty). is_plain: the
 * text had no quotes. The field's old value is freed. e says what is wrong and what would be right,
 * without the key, and never shows a secret. */
MUST_USE enum status config_value_parse(const struct config_option *o, const char *text,
					bool is_plain, void *field, struct err *e);
/* Append one text to a LIST, one pair to a MAP. */
void config_list_add(config_LIST *list, const char *text);
void config_map_add(struct config_map *map, const char *key, const char *value);
/* The value as YAML on one line, secrets masked. */
MUST_USE enum status config_value_write(const struct config_option *o, const void *field,
					struct buf *out);
/* A text as a YAML scalar in double quotes, with $ as $$. */
MUST_USE enum status config_text_write(const char *text, struct buf *out);
void config_value_free(const struct config_option *o, void *field);

/* The candidate that text was probably meant to be, or NULL: nearest by edit distance, within a
 * third of its length. */
const char *config_nearest(const char *text, const char *const *candidates, size_t count);
/* All that are as near as the nearest: "ath" may be auth or path. Gives their number. */
enum { CONFIG_NEAREST_MAX = 3 };
size_t config_nearest_all(const char *text, const char *const *candidates, size_t count,
			  const char *ret[CONFIG_NEAREST_MAX]);

#endif
