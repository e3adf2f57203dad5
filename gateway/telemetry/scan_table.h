/* telemetry/scan_table.h - what the scan does with each field of each message.
 * Owner: built once at first use, then immutable. Needs: otlp_schema. Private to scan.c. */
#ifndef TELEMETRY_SCAN_TABLE_H
#define TELEMETRY_SCAN_TABLE_H

#include "gateway/telemetry/otlp_schema.h"

/* By growing number: odd fields, numbers, then everything that has a length. */
enum scan_op {
	SCAN_ODD, /* not a one-byte tag of a known field in its own wire type: look closer */
	SCAN_VARINT,
	SCAN_FIXED64,
	SCAN_FIXED32,
	SCAN_LEVEL,      /* varint: severity_number, status code */
	SCAN_TIME,       /* fixed64: the record's event time */
	SCAN_OTHER_TIME, /* fixed64: end of a span, when a log was observed */
	SCAN_BYTES,      /* from here on: WIRE_LEN */
	SCAN_TRACE_ID,
	SCAN_SPAN_ID,
	SCAN_STRING,
	SCAN_NAME, /* string: of a span or metric */
	SCAN_PACKED_VARINT,
	SCAN_PACKED_FIXED64,
	SCAN_MESSAGE,
	SCAN_ATTRIBUTE, /* message: KeyValue */
	SCAN_BODY,      /* message: AnyValue of a log record */
	SCAN_ENVELOPE,  /* message: ResourceSpans, ResourceMetrics, ResourceLogs */
	SCAN_RESOURCE,  /* message */
	SCAN_RECORD,    /* message: Span, LogRecord */
	SCAN_METRIC,    /* message */
	SCAN_DATA,      /* message: Gauge, Sum, ... : only one of them in a Metric */
	SCAN_POINT,     /* message: a record too, named by its metric */
};

struct scan_table {
	uint8_t op[256];                       /* by a tag of one byte */
	uint8_t op_of[8][OTLP_NUMBER_MAX + 1]; /* by wire type and number, for longer tags */
	const struct scan_table *sub[OTLP_NUMBER_MAX + 1];
	const struct otlp_message *message;
};

/* The table of a signal's request. */
const struct scan_table *scan_table_of(enum signal signal);

#endif
