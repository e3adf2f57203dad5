/* scan_table.c - turns the schema into the scan's jump tables.
 *
 * A field's operation follows from its type; some fields have a part to play, and `roles` lists
 * them by name. Tags of one byte (numbers up to 15) index the table directly, so the scan spends
 * one load and one jump on a field. Everything else, which is the one field with number 16, fields
 * that we do not know and damage, comes out as SCAN_ODD and is looked at without hurry. */
#include "gateway/telemetry/scan_table.h"

#include <pthread.h>
#include <string.h>

#include "gateway/base/status.h"
#include "gateway/telemetry/wire.h"

enum { TABLES_MAX = 48 };

static struct {
	pthread_once_t once;
	struct scan_table tables[TABLES_MAX];
} built = { .once = PTHREAD_ONCE_INIT };

static const struct {
	const char *message;
	const char *field;
	enum scan_op op;
} roles[] = {
	{ "ExportTraceServiceRequest", "resource_spans", SCAN_ENVELOPE },
	{ "ExportMetricsServiceRequest", "resource_metrics", SCAN_ENVELOPE },
	{ "ExportLogsServiceRequest", "resource_logs", SCAN_ENVELOPE },
	{ "ResourceSpans", "resource", SCAN_RESOURCE },
	{ "ResourceMetrics", "resource", SCAN_RESOURCE },
	{ "ResourceLogs", "resource", SCAN_RESOURCE },
	{ "ScopeSpans", "spans", SCAN_RECORD },
	{ "ScopeLogs", "log_records", SCAN_RECORD },
	{ "ScopeMetrics", "metrics", SCAN_METRIC },
	{ "Metric", "gauge", SCAN_DATA },
	{ "Metric", "sum", SCAN_DATA },
	{ "Metric", "histogram", SCAN_DATA },
	{ "Metric", "exponential_histogram", SCAN_DATA },
	{ "Metric", "summary", SCAN_DATA },
	{ "Gauge", "data_points", SCAN_POINT },
	{ "Sum", "data_points", SCAN_POINT },
	{ "Histogram", "data_points", SCAN_POINT },
	{ "ExponentialHistogram", "data_points", SCAN_POINT },
	{ "Summary", "data_points", SCAN_POINT },
	{ "Span", "name", SCAN_NAME },
	{ "Metric", "name", SCAN_NAME },
	{ "Span", "start_time_unix_nano", SCAN_TIME },
	{ "Span", "end_time_unix_nano", SCAN_OTHER_TIME },
	{ "LogRecord", "time_unix_nano", SCAN_TIME },
	{ "LogRecord", "observed_time_unix_nano", SCAN_OTHER_TIME },
	{ "NumberDataPoint", "time_unix_nano", SCAN_TIME },
	{ "HistogramDataPoint", "time_unix_nano", SCAN_TIME },
	{ "ExponentialHistogramDataPoint", "time_unix_nano", SCAN_TIME },
	{ "SummaryDataPoint", "time_unix_nano", SCAN_TIME },
	{ "LogRecord", "severity_number", SCAN_LEVEL },
	{ "LogRecord", "body", SCAN_BODY },
	{ "Status", "code", SCAN_LEVEL },
};
enum { ROLE_COUNT = sizeof(roles) / sizeof(roles[0]) };

static enum scan_op plain_op(const struct otlp_field *f)
{
	switch (f->type) {
	case OTLP_MESSAGE:
		return strcmp(f->message->name, "KeyValue") == 0 ? SCAN_ATTRIBUTE : SCAN_MESSAGE;
	case OTLP_STRING:
		return SCAN_STRING;
	case OTLP_BYTES:
		return f->id_size == 0  ? SCAN_BYTES :
		       f->id_size == 16 ? SCAN_TRACE_ID :
					  SCAN_SPAN_ID;
	default:
		return f->wire_type == WIRE_VARINT  ? SCAN_VARINT :
		       f->wire_type == WIRE_FIXED64 ? SCAN_FIXED64 :
						      SCAN_FIXED32;
	}
}

static enum scan_op op_of(const struct otlp_message *m, const struct otlp_field *f, size_t *used)
{
	for (size_t i = 0; i < ROLE_COUNT; i++) {
		if (strcmp(roles[i].message, m->name) == 0 &&
		    strcmp(roles[i].field, f->name) == 0) {
			(*used)++;
			return roles[i].op;
		}
	}
	return plain_op(f);
}

static void set_op(struct scan_table *t, const struct otlp_field *f, uint32_t wire, enum scan_op op)
{
	uint32_t tag = f->number << 3 | wire;
	t->op_of[wire][f->number] = (uint8_t)op;
	if (tag < 0x80)
		t->op[tag] = (uint8_t)op;
}

static void build(void)
{
	size_t used = 0;
	CHECK(otlp_message_count() <= TABLES_MAX);
	for (size_t i = 0; i < otlp_message_count(); i++) {
		struct scan_table *t = &built.tables[i];
		t->message = otlp_message_at(i);
		for (uint32_t number = 1; number <= OTLP_NUMBER_MAX; number++) {
			const struct otlp_field *f = otlp_field_of(t->message, number);
			if (!f)
				continue;
			enum scan_op op = op_of(t->message, f, &used);
			set_op(t, f, f->wire_type, op);
			/* OTLP packs 64-bit numbers and doubles, and nothing else. */
			if (f->is_repeated && f->wire_type != WIRE_LEN) {
				CHECK(op != SCAN_FIXED32);
				set_op(t, f, WIRE_LEN,
				       op == SCAN_VARINT ? SCAN_PACKED_VARINT :
							   SCAN_PACKED_FIXED64);
			}
			if (f->message)
				t->sub[number] = &built.tables[f->message->index];
		}
	}
	CHECK(used == ROLE_COUNT);
}

const struct scan_table *scan_table_of(enum signal signal)
{
	(void)pthread_once(&built.once, build);
	return &built.tables[otlp_request(signal)->index];
}
