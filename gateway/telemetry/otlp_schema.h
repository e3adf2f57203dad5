/* telemetry/otlp_schema.h - OTLP's messages as tables: by field number, type, names.
 * Owner: built once at first use, then immutable and shared by all threads. Needs: proto, schema.
 */
#ifndef TELEMETRY_OTLP_SCHEMA_H
#define TELEMETRY_OTLP_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schema/vocabulary.h"

enum otlp_type {
	OTLP_NONE, /* no such field */
	OTLP_MESSAGE,
	OTLP_STRING,
	OTLP_BYTES,
	OTLP_BOOL,
	OTLP_ENUM,
	OTLP_INT32,
	OTLP_SINT32,
	OTLP_UINT32,
	OTLP_FIXED32,
	OTLP_INT64,
	OTLP_UINT64,
	OTLP_FIXED64,
	OTLP_SFIXED64,
	OTLP_DOUBLE,
};

/* Larger than any that OTLP uses; the tables are built with a check. */
enum { OTLP_NUMBER_MAX = 16, OTLP_JSON_NAME_MAX = 32, OTLP_JSON_KEY_MAX = 36 };

struct otlp_field {
	const char *name;                   /* snake_case, as in the .proto */
	char json_name[OTLP_JSON_NAME_MAX]; /* lowerCamelCase */
	size_t json_name_n;
	char json_key[OTLP_JSON_KEY_MAX];   /* the same as an object's further key: ,"name": */
	const struct otlp_message *message; /* of OTLP_MESSAGE */
	enum otlp_type type;
	uint32_t number;
	uint32_t wire_type; /* WIRE_*, of one value */
	unsigned oneof;     /* members of one oneof share a number from 1; 0: none */
	bool is_repeated;   /* of numbers: packed or not, both are legal */
	bool is_hex;        /* trace and span ids, which JSON writes in hex */
	uint32_t id_size;   /* of these: 16 or 8 bytes */
};

struct otlp_message {
	const char *name;                              /* without the package: "Span" */
	size_t index;                                  /* below otlp_message_count() */
	uint32_t number_max;                           /* the highest that it has */
	struct otlp_field fields[OTLP_NUMBER_MAX + 1]; /* by number */
};

/* The Export*ServiceRequest of a signal. */
const struct otlp_message *otlp_request(enum signal signal);
/* Every message that a request can hold, and the requests. */
size_t otlp_message_count(void);
const struct otlp_message *otlp_message_at(size_t index);
/* The field of a number, or NULL. */
const struct otlp_field *otlp_field_of(const struct otlp_message *m, uint32_t number);

#endif
