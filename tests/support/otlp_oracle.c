/* otlp_oracle.c - protobuf-c as an oracle, with a capped arena as its allocator. */
#include "tests/support/otlp_oracle.h"

#include "gateway/telemetry/otlp_schema.h"
#include "gateway/telemetry/wire.h"
#include "proto/opentelemetry/collector_logs.pb-c.h"
#include "proto/opentelemetry/collector_metrics.pb-c.h"
#include "proto/opentelemetry/collector_trace.pb-c.h"

typedef Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceRequest traces_request;
typedef Opentelemetry__Proto__Collector__Metrics__V1__ExportMetricsServiceRequest metrics_request;
typedef Opentelemetry__Proto__Collector__Logs__V1__ExportLogsServiceRequest logs_request;
typedef Opentelemetry__Proto__Metrics__V1__Metric metric;

static void *oracle_alloc(void *arena, size_t n)
{
	return arena_alloc(arena, n);
}

static void oracle_free(void *arena, void *p)
{
	(void)arena;
	(void)p;
}

static ProtobufCMessage *unpack(enum signal signal, struct bytes body, struct arena *arena)
{
	static const ProtobufCMessageDescriptor *const requests[] = {
		[SIGNAL_TRACES] =
			&opentelemetry__proto__collector__trace__v1__export_trace_service_request__descriptor,
		[SIGNAL_METRICS] =
			&opentelemetry__proto__collector__metrics__v1__export_metrics_service_request__descriptor,
		[SIGNAL_LOGS] =
			&opentelemetry__proto__collector__logs__v1__export_logs_service_request__descriptor,
	};
	ProtobufCAllocator allocator = { oracle_alloc, oracle_free, arena };
	return protobuf_c_message_unpack(requests[signal], &allocator, body.n, body.p);
}

static size_t count_spans(const traces_request *request)
{
	size_t n = 0;
	for (size_t i = 0; i < request->n_resource_spans; i++)
		for (size_t k = 0; k < request->resource_spans[i]->n_scope_spans; k++)
			n += request->resource_spans[i]->scope_spans[k]->n_spans;
	return n;
}

static size_t count_logs(const logs_request *request)
{
	size_t n = 0;
	for (size_t i = 0; i < request->n_resource_logs; i++)
		for (size_t k = 0; k < request->resource_logs[i]->n_scope_logs; k++)
			n += request->resource_logs[i]->scope_logs[k]->n_log_records;
	return n;
}

static size_t count_points(const metric *m)
{
	switch (m->data_case) {
	case OPENTELEMETRY__PROTO__METRICS__V1__METRIC__DATA_GAUGE:
		return m->gauge->n_data_points;
	case OPENTELEMETRY__PROTO__METRICS__V1__METRIC__DATA_SUM:
		return m->sum->n_data_points;
	case OPENTELEMETRY__PROTO__METRICS__V1__METRIC__DATA_HISTOGRAM:
		return m->histogram->n_data_points;
	case OPENTELEMETRY__PROTO__METRICS__V1__METRIC__DATA_EXPONENTIAL_HISTOGRAM:
		return m->exponential_histogram->n_data_points;
	case OPENTELEMETRY__PROTO__METRICS__V1__METRIC__DATA_SUMMARY:
		return m->summary->n_data_points;
	default:
		return 0;
	}
}

static size_t count_metrics(const metrics_request *request)
{
	size_t n = 0;
	for (size_t i = 0; i < request->n_resource_metrics; i++) {
		const Opentelemetry__Proto__Metrics__V1__ResourceMetrics *r =
			request->resource_metrics[i];
		for (size_t k = 0; k < r->n_scope_metrics; k++)
			for (size_t m = 0; m < r->scope_metrics[k]->n_metrics; m++)
				n += count_points(r->scope_metrics[k]->metrics[m]);
	}
	return n;
}

bool oracle_count(enum signal signal, struct bytes body, struct arena *arena, size_t *ret_records)
{
	const void *request = unpack(signal, body, arena);
	if (!request)
		return false;
	*ret_records = signal == SIGNAL_TRACES ? count_spans(request) :
		       signal == SIGNAL_LOGS   ? count_logs(request) :
						 count_metrics(request);
	return true;
}

static bool has_merge(const struct otlp_message *m, struct bytes body)
{
	bool is_seen[OTLP_NUMBER_MAX + 1] = { false };
	struct wire_reader r = wire_reader_of(body);
	struct wire_field f;
	while (wire_next(&r, &f)) {
		const struct otlp_field *field = otlp_field_of(m, f.number);
		if (!field || !field->message || f.type != WIRE_LEN)
			continue;
		if ((!field->is_repeated && is_seen[f.number]) ||
		    has_merge(field->message, f.bytes))
			return true;
		is_seen[f.number] = true;
	}
	return false;
}

bool oracle_must_merge(enum signal signal, struct bytes body)
{
	return has_merge(otlp_request(signal), body);
}

struct bytes oracle_repack(enum signal signal, struct bytes body, struct arena *arena)
{
	const ProtobufCMessage *request = unpack(signal, body, arena);
	if (!request)
		return bytes_of(NULL, 0);
	size_t n = protobuf_c_message_get_packed_size(request);
	uint8_t *p = arena_alloc(arena, n + 1);
	if (!p)
		return bytes_of(NULL, 0);
	return bytes_of(p, protobuf_c_message_pack(request, p));
}
