/* otlp_schema.c - OTLP's messages as tables, made from protobuf-c's descriptors.
 *
 * The .proto files are the one place where OTLP is written down. What protobuf-c generates from
 * them includes descriptors; they are turned into arrays by field number here, once, so that the
 * scan, JSON in and JSON out look a field up with an index, and none of them knows a message that
 * the .proto files do not have.
 *
 * A descriptor that does not fit the tables is a bug of the build, so CHECK may stop at it: it
 * would at the first use, in every test. */
#include "gateway/telemetry/otlp_schema.h"

#include <pthread.h>

#include "gateway/base/status.h"
#include "gateway/telemetry/wire.h"
#include "proto/opentelemetry/collector_logs.pb-c.h"
#include "proto/opentelemetry/collector_metrics.pb-c.h"
#include "proto/opentelemetry/collector_trace.pb-c.h"

enum { MESSAGES_MAX = 48 };

static struct {
	pthread_once_t once;
	struct otlp_message messages[MESSAGES_MAX];
	const ProtobufCMessageDescriptor *descriptors[MESSAGES_MAX];
	size_t count;
	const struct otlp_message *requests[SIGNAL_COUNT];
} schema = { .once = PTHREAD_ONCE_INIT };

static const struct {
	ProtobufCType from;
	enum otlp_type type;
	uint32_t wire_type;
} types[] = {
	{ PROTOBUF_C_TYPE_MESSAGE, OTLP_MESSAGE, WIRE_LEN },
	{ PROTOBUF_C_TYPE_STRING, OTLP_STRING, WIRE_LEN },
	{ PROTOBUF_C_TYPE_BYTES, OTLP_BYTES, WIRE_LEN },
	{ PROTOBUF_C_TYPE_BOOL, OTLP_BOOL, WIRE_VARINT },
	{ PROTOBUF_C_TYPE_ENUM, OTLP_ENUM, WIRE_VARINT },
	{ PROTOBUF_C_TYPE_INT32, OTLP_INT32, WIRE_VARINT },
	{ PROTOBUF_C_TYPE_SINT32, OTLP_SINT32, WIRE_VARINT },
	{ PROTOBUF_C_TYPE_UINT32, OTLP_UINT32, WIRE_VARINT },
	{ PROTOBUF_C_TYPE_FIXED32, OTLP_FIXED32, WIRE_FIXED32 },
	{ PROTOBUF_C_TYPE_INT64, OTLP_INT64, WIRE_VARINT },
	{ PROTOBUF_C_TYPE_UINT64, OTLP_UINT64, WIRE_VARINT },
	{ PROTOBUF_C_TYPE_FIXED64, OTLP_FIXED64, WIRE_FIXED64 },
	{ PROTOBUF_C_TYPE_SFIXED64, OTLP_SFIXED64, WIRE_FIXED64 },
	{ PROTOBUF_C_TYPE_DOUBLE, OTLP_DOUBLE, WIRE_FIXED64 },
};

static void set_type(struct otlp_field *f, ProtobufCType from)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (types[i].from == from) {
			f->type = types[i].type;
			f->wire_type = types[i].wire_type;
		}
	}
	CHECK(f->type != OTLP_NONE);
}

static void set_json_name(struct otlp_field *f)
{
	size_t n = 0;
	bool upper = false;
	for (const char *c = f->name; *c; c++) {
		if (*c == '_') {
			upper = true;
			continue;
		}
		CHECK(n + 1 < sizeof(f->json_name));
		f->json_name[n++] = (char)(upper && *c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c);
		upper = false;
	}
	f->json_name_n = n;
	f->json_key[0] = ',';
	f->json_key[1] = '"';
	memcpy(f->json_key + 2, f->json_name, n);
	f->json_key[n + 2] = '"';
	f->json_key[n + 3] = ':';
}

/* 0: no id. */
static uint32_t id_size(const char *name)
{
	enum { TRACE_ID_SIZE = 16, SPAN_ID_SIZE = 8 };
	if (strcmp(name, "trace_id") == 0)
		return TRACE_ID_SIZE;
	bool is_span = strcmp(name, "span_id") == 0 || strcmp(name, "parent_span_id") == 0;
	return is_span ? SPAN_ID_SIZE : 0;
}

/* The members of a oneof share the place of its case in the generated struct. */
static unsigned oneof_of(const ProtobufCMessageDescriptor *d, const ProtobufCFieldDescriptor *fd)
{
	if (!(fd->flags & PROTOBUF_C_FIELD_FLAG_ONEOF))
		return 0;
	unsigned first = 0;
	while (!(d->fields[first].flags & PROTOBUF_C_FIELD_FLAG_ONEOF) ||
	       d->fields[first].quantifier_offset != fd->quantifier_offset)
		first++;
	return first + 1;
}

static struct otlp_message *message_of(const ProtobufCMessageDescriptor *d)
{
	for (size_t i = 0; i < schema.count; i++)
		if (schema.descriptors[i] == d)
			return &schema.messages[i];
	CHECK(schema.count < MESSAGES_MAX);
	struct otlp_message *m = &schema.messages[schema.count];
	m->name = d->short_name;
	m->index = schema.count;
	schema.descriptors[schema.count++] = d;
	return m;
}

static void build_message(struct otlp_message *m, const ProtobufCMessageDescriptor *d)
{
	for (unsigned i = 0; i < d->n_fields; i++) {
		const ProtobufCFieldDescriptor *fd = &d->fields[i];
		CHECK(fd->id <= OTLP_NUMBER_MAX);
		struct otlp_field *f = &m->fields[fd->id];
		f->name = fd->name;
		f->number = fd->id;
		m->number_max = fd->id > m->number_max ? fd->id : m->number_max;
		set_type(f, fd->type);
		set_json_name(f);
		f->is_repeated = fd->label == PROTOBUF_C_LABEL_REPEATED;
		f->id_size = f->type == OTLP_BYTES ? id_size(fd->name) : 0;
		f->is_hex = f->id_size > 0;
		f->oneof = oneof_of(d, fd);
		if (f->type == OTLP_MESSAGE)
			f->message = message_of(fd->descriptor);
	}
}

static void build(void)
{
	schema.requests[SIGNAL_TRACES] = message_of(
		&opentelemetry__proto__collector__trace__v1__export_trace_service_request__descriptor);
	schema.requests[SIGNAL_METRICS] = message_of(
		&opentelemetry__proto__collector__metrics__v1__export_metrics_service_request__descriptor);
	schema.requests[SIGNAL_LOGS] = message_of(
		&opentelemetry__proto__collector__logs__v1__export_logs_service_request__descriptor);
	/* Building a message adds those that it holds to the end. */
	for (size_t i = 0; i < schema.count; i++)
		build_message(&schema.messages[i], schema.descriptors[i]);
}

const struct otlp_message *otlp_request(enum signal signal)
{
	(void)pthread_once(&schema.once, build);
	return schema.requests[signal];
}

size_t otlp_message_count(void)
{
	(void)pthread_once(&schema.once, build);
	return schema.count;
}

const struct otlp_message *otlp_message_at(size_t index)
{
	(void)pthread_once(&schema.once, build);
	return &schema.messages[index];
}

const struct otlp_field *otlp_field_of(const struct otlp_message *m, uint32_t number)
{
	if (number > OTLP_NUMBER_MAX || m->fields[number].type == OTLP_NONE)
		return NULL;
	return &m->fields[number];
}
