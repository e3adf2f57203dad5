/* config_reader.h - what the files that read the configuration share. Not for callers of config.h.
 * Owner: one config_parse. Needs: config_values, config_yaml. */
#ifndef BASE_CONFIG_READER_H
#define BASE_CONFIG_READER_H

#include "gateway/base/config_values.h"
#include "gateway/base/config_yaml.h"

/* A part of the file (the whole, an uplink, a destination), and the node behind each option of its
 * table; NULL: not given. */
struct config_given {
	const struct yaml_node *part;
	const struct yaml_node *nodes[CONFIG_OPTIONS_MAX];
};

struct config_reader {
	const char *name; /* of the file */
	struct arena arena;
	struct err *e;
	struct config *config;
	struct config_given given;               /* of the whole */
	struct config_given *given_uplinks;      /* one for each of config's, in the arena */
	struct config_given *given_destinations; /* the same */
	const struct yaml_node **given_routes;   /* the same; NULL: the file has none */
};

/* "FILE:LINE:COLUMN: ..." of the value, or of its key. Both return ST_INVALID. */
enum status config_fail_at(const struct config_reader *r, const struct yaml_node *n,
			   const char *fmt, ...) PRINTF_LIKE(3, 4);
enum status config_fail_key(const struct config_reader *r, const struct yaml_node *n,
			    const char *fmt, ...) PRINTF_LIKE(3, 4);
/* The same as a warning: the configuration holds, but the operator should know. */
void config_warn_at(const struct config_reader *r, const struct yaml_node *n, const char *fmt, ...)
	PRINTF_LIKE(3, 4);
void config_warn_key(const struct config_reader *r, const struct yaml_node *n, const char *fmt, ...)
	PRINTF_LIKE(3, 4);
/* "; did you mean NEAR?", or the candidates where none is near. The text lives in the arena. */
const char *config_hint(struct config_reader *r, const char *text, const char *const *candidates,
			size_t count);

/* A scalar's text with the environment put in. what names it in messages, and allowed says what is
 * right, as in "a text". *ret_is_plain: it has the type that it looks like (no quotes, or from the
 * environment). The text lives in the arena. */
struct config_wanted {
	const char *what;
	const char *allowed;
};
MUST_USE enum status config_read_text(struct config_reader *r, const struct yaml_node *n,
				      struct config_wanted wanted, const char **ret,
				      bool *ret_is_plain);
/* Every key of the map is an option of the table: sets the fields of base. skip: top-level keys
 * that are not options, NULL-terminated; may be NULL. ret_given may be NULL. */
MUST_USE enum status config_read_section(struct config_reader *r, const struct yaml_node *map,
					 const struct config_table *table, void *base,
					 const char *const *skip, struct config_given *ret_given);
/* Every field of base to its default. */
void config_set_defaults(const struct config_table *table, void *base);

/* The name of what repeats: 1 to 63 of a-z 0-9 _ -. what is in the message. */
MUST_USE enum status config_check_name(const struct config_reader *r, const struct yaml_node *n,
				       const char *what);
/* map NULL: none is given. The uplink "default" is made where it is not given. */
MUST_USE enum status config_read_uplinks(struct config_reader *r, const struct yaml_node *map);
/* After config_read_uplinks. */
MUST_USE enum status config_read_destinations(struct config_reader *r, const struct yaml_node *map);
/* list NULL: everything goes to every destination that takes it. After config_read_destinations. */
MUST_USE enum status config_read_routes(struct config_reader *r, const struct yaml_node *list);

/* One destination, read, for the checks of what its keys have to do with one another. */
struct destination_reading {
	struct config_reader *r;
	const struct yaml_node *node; /* the destination's map */
	const struct destination_config *d;
	const struct config_given *given;
};
/* Where the file gives this key (one of config.def); NULL: nowhere. */
const struct yaml_node *config_node_of(const struct config_table *table,
				       const struct config_given *given, const char *key);
const struct yaml_node *config_given_node(const struct destination_reading *dr, const char *key);
/* auth.*, of any kind. config_auth.c */
MUST_USE enum status config_check_auth(const struct destination_reading *dr);
/* endpoint and labels of a Loki. config_loki.c */
MUST_USE enum status config_check_loki(const struct destination_reading *dr);
/* order, max_in_flight, max_queue_size, too_old.*, of any kind. config_order.c */
MUST_USE enum status config_check_order(const struct destination_reading *dr);
/* too_old.send_to of all destinations. After config_read_routes. */
MUST_USE enum status config_check_diversions(struct config_reader *r);

/* What must or should hold among options, whatever part they are in. After everything is read.
 * config_sense.c */
MUST_USE enum status config_check_sense(struct config_reader *r);
/* Of that: options that need others. config_needs.c */
MUST_USE enum status config_check_needs(struct config_reader *r);
/* Of that: ports, files, and this gateway as its own destination. config_collisions.c */
MUST_USE enum status config_check_listeners(struct config_reader *r);
MUST_USE enum status config_check_targets(struct config_reader *r);
MUST_USE enum status config_check_files(struct config_reader *r);

/* ${NAME}, ${NAME:-default}, ${env:NAME}, $$. *ret is text itself where there is none of them. */
MUST_USE enum status config_expand(const char *text, struct arena *arena, const char **ret,
				   struct err *e);

#endif
