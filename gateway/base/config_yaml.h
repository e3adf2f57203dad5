/* config_yaml.h - a YAML document as a small tree in which every node knows its line and column.
 * Owner: the caller's arena holds the tree. Needs: arena, status. */
#ifndef BASE_CONFIG_YAML_H
#define BASE_CONFIG_YAML_H

#include "gateway/base/arena.h"

enum yaml_node_kind { YAML_TEXT, YAML_MAP, YAML_LIST };

struct yaml_node {
	enum yaml_node_kind kind;
	int line; /* from 1 */
	int column;
	bool is_plain;    /* YAML_TEXT: written without quotes */
	const char *text; /* YAML_TEXT */
	const char *key;  /* of an entry of a map; NULL elsewhere */
	int key_line;
	int key_column;
	struct yaml_node *first; /* YAML_MAP, YAML_LIST: entries in the order of the file */
	struct yaml_node *last;  /* private */
	struct yaml_node *next;
	size_t count;
};

/* What a document may have at most. A configuration has far less; an attack has far more. */
enum { YAML_BYTES_MAX = 1 << 20, YAML_DEPTH_MAX = 32, YAML_NODES_MAX = 20000 };

/* *ret: the root, or NULL for a document without content. Refused, each with its place: what is no
 * YAML, a second document, aliases, tags, merge keys, keys that are no text, duplicate keys, NUL
 * characters, and anything past the caps. name stands for the file in messages. */
MUST_USE enum status yaml_read(const char *name, struct bytes text, struct arena *arena,
			       const struct yaml_node **ret, struct err *e);
/* A plain empty value, ~ or null. */
bool yaml_is_null(const struct yaml_node *n);

#endif
