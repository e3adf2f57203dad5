/* config.h - the configuration: schema/config.def as structs, filled from YAML.
 * large file: all parts of the configuration, as one snapshot.
 * Owner: made by main, then an immutable snapshot that every thread may read. Needs: status,
 * schema/config.def. */
#ifndef BASE_CONFIG_H
#define BASE_CONFIG_H

#include <stddef.h>
#include <stdint.h>

#include "gateway/base/buf.h"
#include "gateway/base/status.h"
#include "gateway/base/week.h"
#include "schema/vocabulary.h"

/* How a type of config.def stands in the structs. SIZE in bytes, DURATION in ns. CHOICE is the
 * index of the word. Strings are never NULL. LIST is NULL-terminated. */
struct config_pair {
	char *key;
	char *value;
};
struct config_map {
	struct config_pair *items;
	size_t count;
};
typedef char *config_STRING;
typedef char *config_SECRET;
typedef char *config_ENDPOINT;
typedef uint64_t config_SIZE;
typedef int64_t config_DURATION;
typedef uint64_t config_RATE; /* bytes a second */
typedef int config_INT;
typedef bool config_BOOL;
typedef int config_CHOICE;
typedef char **config_LIST;
typedef struct config_map config_MAP;
typedef struct config_map config_SECRET_MAP;

/* Choices, in the order of config.def. */
enum {
	CONFIG_KIND_OTLP_HTTP,
	CONFIG_KIND_OTLP_GRPC,
	CONFIG_KIND_PROMETHEUS,
	CONFIG_KIND_LOKI,
	CONFIG_KIND_FILE,
	CONFIG_KIND_COUNT
};
enum { CONFIG_ORDER_FIFO, CONFIG_ORDER_FRESH_FIRST };
enum { CONFIG_WHEN_FULL_REJECT, CONFIG_WHEN_FULL_DROP_OLDEST };
enum { CONFIG_COMPRESSION_NONE, CONFIG_COMPRESSION_GZIP, CONFIG_COMPRESSION_ZSTD };
enum { CONFIG_PROMETHEUS_AUTO, CONFIG_PROMETHEUS_1, CONFIG_PROMETHEUS_2 };
enum {
	CONFIG_PROMETHEUS_ESCAPED_SUFFIXED,
	CONFIG_PROMETHEUS_ESCAPED,
	CONFIG_PROMETHEUS_SUFFIXED,
	CONFIG_PROMETHEUS_AS_IS
};
enum { CONFIG_LOKI_FORMAT_PROTOBUF, CONFIG_LOKI_FORMAT_JSON };
enum { CONFIG_LOKI_LONG_LINES_CUT, CONFIG_LOKI_LONG_LINES_LEAVE_OUT };

/* Where something stands in the file, from 1; line 0: it is not in it. */
struct config_place {
	int line;
	int column;
};

struct destination_config {
	char *name;
	struct config_place place;
	struct config_place *places; /* of its options, in the order of config.def */
#define OPT_GLOBAL(field, type)
#define OPT_DESTINATION(field, type) config_##type field;
#define OPT_UPLINK(field, type)
#define OPT(group, field, key, type, def, min, max, doc) OPT_##group(field, type)
#include "schema/config.def"
#undef OPT
#undef OPT_GLOBAL
#undef OPT_DESTINATION
#undef OPT_UPLINK
};

/* How often the bytes of a message may stand in memory while it is on its way to the queue: one
 * takes no more than max_in_flight by this. */
enum { CONFIG_MESSAGE_COPIES = 3 };
enum { UPLINKS_MAX = 16, UPLINK_RATE_MIN = 512 };

/* What destinations share on their way out. */
struct uplink_config {
	char *name;
	struct config_place place;
#define OPT_GLOBAL(field, type)
#define OPT_DESTINATION(field, type)
#define OPT_UPLINK(field, type)                          config_##type field;
#define OPT(group, field, key, type, def, min, max, doc) OPT_##group(field, type)
#include "schema/config.def"
#undef OPT
#undef OPT_GLOBAL
#undef OPT_DESTINATION
#undef OPT_UPLINK
	struct week week;             /* of windows; closed all week: there are none */
	unsigned windows_exempt_mask; /* bit i: enum record_class i */
	unsigned budget_exempt_mask;
};

/* routes: - {match: {signal: traces, class: [critical, warning]}, to: [central]}. A match without a
 * key matches all of it. */
struct route_config {
	unsigned signal_mask; /* bit i: enum signal i */
	unsigned class_mask;  /* bit i: enum record_class i */
	char **to;            /* names of destinations, NULL-terminated */
	struct config_place place;
};

struct config {
	char *file; /* the path it came from; NULL: the embedded default */
#define OPT_GLOBAL(field, type) config_##type field;
#define OPT_DESTINATION(field, type)
#define OPT_UPLINK(field, type)
#define OPT(group, field, key, type, def, min, max, doc) OPT_##group(field, type)
#include "schema/config.def"
#undef OPT
#undef OPT_GLOBAL
#undef OPT_DESTINATION
#undef OPT_UPLINK
	struct uplink_config *uplinks; /* "default" is always among them */
	size_t uplink_count;
	struct destination_config *destinations;
	size_t destination_count;
	struct route_config *routes;
	size_t route_count;
	struct config_place *places; /* of the gateway's options, in the order of config.def */
	char **warnings;             /* what is allowed and does nothing: "FILE:LINE:COLUMN: ..." */
};

/* Read the file. ${NAME}, ${NAME:-default} and ${env:NAME} come from the environment, $$ is a
 * dollar sign. ST_INVALID: e says file, line, column, what is wrong, and the nearest right key. */
MUST_USE enum status config_load(const char *path, struct config **ret, struct err *e);
/* The same from memory; name stands for the file in messages. */
MUST_USE enum status config_parse(const char *name, struct bytes yaml, struct config **ret,
				  struct err *e);
/* The embedded default: OTLP on loopback, everything to ./data/delivered.jsonl. */
MUST_USE enum status config_default(struct config **ret, struct err *e);
void config_free(struct config *c);
/* "otlp_http" for CONFIG_KIND_OTLP_HTTP. */
const char *config_kind_text(int kind);
/* "FILE:LINE:COLUMN" of the option whose key the text begins with, as in "tls.ca_file: cannot read
 * /etc/ca.pem"; else of the destination. False: neither is in the file, and it is "FILE" alone. d
 * NULL: the gateway's options. For what is found out after the file was read. */
bool config_where(const struct config *c, const struct destination_config *d, const char *text,
		  char *ret, size_t size);
/* The signals that the destination's kind takes, as bits; the same of a kind by its word, where one
 * that does not exist takes none. */
unsigned config_signals_of(const struct destination_config *d);
unsigned config_signals_of_kind(const char *kind);

/* Where a destination sends. A url that is not given is "". */
struct config_endpoint {
	const char *key;
	const char *url;
};
enum { CONFIG_ENDPOINTS = 1 + SIGNAL_COUNT };
struct config_endpoints {
	union {
		struct {
			struct config_endpoint all; /* for signals without one of their own */
			struct config_endpoint of[SIGNAL_COUNT];
		};
		struct config_endpoint items[CONFIG_ENDPOINTS];
	};
};
/* Borrows from d. */
struct config_endpoints config_endpoints(const struct destination_config *d);

/* The effective configuration as YAML that config_parse takes; secrets are masked as "***". */
MUST_USE enum status config_write(const struct config *c, struct buf *out);
/* A rate as in the file, "2Mbit/s" or "0" (none). False: it is no rate that an uplink takes. */
bool config_read_rate(const char *text, uint64_t *ret);
/* docs/configuration.md. */
MUST_USE enum status config_write_docs(struct buf *out);

#endif
