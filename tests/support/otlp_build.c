/* otlp_build.c - realistic requests, written field by field with telemetry/wire.h.
 *
 * Field numbers stand here as OTLP's .proto files have them; unit tests unpack the result with
 * protobuf-c, so a wrong one would show. */
#include "tests/support/otlp_build.h"

#include <inttypes.h>
#include <stdio.h>

#include "gateway/telemetry/wire.h"

#define MUST(call) CHECK((call) == ST_OK)

struct builder {
	const struct otlp_build *b;
	struct buf *out;
	uint64_t random;
	size_t index; /* of the record */
	int64_t base_ns;
};

/* splitmix64 (Steele, Lea, Flood 2014). */
static uint64_t next_random(struct builder *w)
{
	uint64_t z = w->random += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static struct wire_open open_field(struct builder *w, uint32_t number, size_t expect)
{
	struct wire_open open;
	MUST(wire_begin(w->out, number, expect, &open));
	return open;
}

static void close_field(struct builder *w, struct wire_open open)
{
	MUST(wire_end(w->out, &open));
}

static void put_string(struct builder *w, uint32_t number, const char *s)
{
	MUST(wire_put_bytes(w->out, number, bytes_str(s)));
}

static void put_random_bytes(struct builder *w, uint32_t number, size_t n)
{
	uint64_t r[2] = { next_random(w), next_random(w) };
	MUST(wire_put_bytes(w->out, number, bytes_of(r, n)));
}

static void put_number(struct builder *w, uint32_t number, uint64_t v)
{
	MUST(wire_put_number(w->out, number, v));
}

static void put_fixed64(struct builder *w, uint32_t number, uint64_t v)
{
	MUST(wire_put_tag(w->out, number, WIRE_FIXED64));
	MUST(wire_put_fixed64(w->out, v));
}

static void put_double(struct builder *w, uint32_t number, double v)
{
	uint64_t bits;
	memcpy(&bits, &v, sizeof(bits));
	put_fixed64(w, number, bits);
}

static void put_attribute(struct builder *w, uint32_t number, const char *key, const char *value)
{
	struct wire_open kv = open_field(w, number, 40);
	put_string(w, 1, key);
	struct wire_open any = open_field(w, 2, 20);
	put_string(w, 1, value);
	close_field(w, any);
	close_field(w, kv);
}

static void put_int_attribute(struct builder *w, uint32_t number, const char *key, uint64_t value)
{
	struct wire_open kv = open_field(w, number, 40);
	put_string(w, 1, key);
	struct wire_open any = open_field(w, 2, 10);
	put_number(w, 3, value);
	close_field(w, any);
	close_field(w, kv);
}

static void put_test_id(struct builder *w, uint32_t number)
{
	char text[64];
	(void)snprintf(text, sizeof(text), "%" PRIu64 "-%zu", w->b->seed, w->index);
	put_attribute(w, number, "test.id", text);
}

static uint64_t time_of(const struct builder *w)
{
	return (uint64_t)(w->base_ns + (int64_t)w->index * 1000000);
}

/* Which class this record shall have, in per cent of 100. */
static enum record_class wanted_class(struct builder *w)
{
	unsigned roll = (unsigned)(next_random(w) % 100);
	if (roll < w->b->critical_percent)
		return RECORD_CLASS_CRITICAL;
	if (roll < w->b->critical_percent + w->b->warning_percent)
		return RECORD_CLASS_WARNING;
	return RECORD_CLASS_INFO;
}

static void put_span(struct builder *w)
{
	static const char *const routes[] = { "/api/v1/orders", "/api/v1/orders/{id}", "/healthz",
					      "/api/v2/temperature" };
	const char *route = routes[next_random(w) % 4];
	struct wire_open span = open_field(w, 2, 400);
	put_random_bytes(w, 1, 16);
	put_random_bytes(w, 2, 8);
	put_random_bytes(w, 4, 8);
	put_string(w, 5, route);
	put_number(w, 6, 1 + next_random(w) % 5);
	put_fixed64(w, 7, time_of(w));
	put_fixed64(w, 8, time_of(w) + next_random(w) % 1000000);
	put_test_id(w, 9);
	put_attribute(w, 9, "http.request.method", "GET");
	put_attribute(w, 9, "http.route", route);
	put_int_attribute(w, 9, "http.response.status_code", 200);
	put_attribute(w, 9, "server.address", "edge-7.plant.example.com");
	put_int_attribute(w, 9, "server.port", 8443);
	put_attribute(w, 9, "user_agent.original", "edge-probe/1.4 (linux)");
	struct wire_open event = open_field(w, 11, 40);
	put_fixed64(w, 1, time_of(w));
	put_string(w, 2, "cache.miss");
	close_field(w, event);
	struct wire_open status = open_field(w, 15, 4);
	if (wanted_class(w) == RECORD_CLASS_CRITICAL) {
		put_string(w, 2, "upstream answered 503");
		put_number(w, 3, 2);
	}
	close_field(w, status);
	MUST(wire_put_tag(w->out, 16, WIRE_FIXED32));
	MUST(wire_put_fixed32(w->out, 0x101));
	close_field(w, span);
}

static void put_log(struct builder *w)
{
	static const uint64_t severity[] = {
		[RECORD_CLASS_CRITICAL] = 17, [RECORD_CLASS_WARNING] = 13, [RECORD_CLASS_INFO] = 9
	};
	static const char *const text[] = { [RECORD_CLASS_CRITICAL] = "ERROR",
					    [RECORD_CLASS_WARNING] = "WARN",
					    [RECORD_CLASS_INFO] = "INFO" };
	enum record_class class = wanted_class(w);
	struct wire_open record = open_field(w, 2, 300);
	put_fixed64(w, 1, time_of(w));
	put_fixed64(w, 11, time_of(w) + 1000);
	put_number(w, 2, severity[class]);
	put_string(w, 3, text[class]);
	char line[160];
	(void)snprintf(line, sizeof(line),
		       "valve %d reports %d.%d °C, set point 21.5 °C, loop took %d ms",
		       (int)(next_random(w) % 40), (int)(next_random(w) % 90),
		       (int)(next_random(w) % 10), (int)(next_random(w) % 200));
	struct wire_open body = open_field(w, 5, 100);
	put_string(w, 1, line);
	close_field(w, body);
	put_test_id(w, 6);
	put_attribute(w, 6, "logger.name", "plant.loop");
	put_attribute(w, 6, "thread.name", "worker-3");
	put_random_bytes(w, 9, 16);
	put_random_bytes(w, 10, 8);
	close_field(w, record);
}

static void put_number_point(struct builder *w)
{
	struct wire_open point = open_field(w, 1, 100);
	put_fixed64(w, 2, (uint64_t)w->base_ns);
	put_fixed64(w, 3, time_of(w));
	put_double(w, 4, (double)(next_random(w) % 10000) / 100);
	put_test_id(w, 7);
	put_attribute(w, 7, "line", "B");
	close_field(w, point);
}

static void put_histogram_point(struct builder *w)
{
	struct wire_open point = open_field(w, 1, 200);
	put_fixed64(w, 2, (uint64_t)w->base_ns);
	put_fixed64(w, 3, time_of(w));
	put_fixed64(w, 4, 6);
	put_double(w, 5, 12.5);
	struct wire_open counts = open_field(w, 6, 32);
	for (uint64_t i = 0; i < 4; i++)
		MUST(wire_put_fixed64(w->out, i));
	close_field(w, counts);
	struct wire_open bounds = open_field(w, 7, 24);
	static const double bound[] = { 0.5, 2, 10 };
	for (int i = 0; i < 3; i++) {
		uint64_t bits;
		memcpy(&bits, &bound[i], sizeof(bits));
		MUST(wire_put_fixed64(w->out, bits));
	}
	close_field(w, bounds);
	put_test_id(w, 9);
	put_double(w, 11, 0.25);
	put_double(w, 12, 9.75);
	close_field(w, point);
}

/* A metric with one point, of the kinds in turn. */
static void put_metric(struct builder *w)
{
	static const char *const names[] = { "plant.temperature", "plant.parts", "plant.loop" };
	static const uint32_t fields[] = { 5, 7, 9 }; /* gauge, sum, histogram */
	size_t kind = w->index % 3;
	struct wire_open metric = open_field(w, 2, 250);
	put_string(w, 1, names[kind]);
	put_string(w, 3, kind == 1 ? "{part}" : kind == 0 ? "Cel" : "s");
	struct wire_open data = open_field(w, fields[kind], 200);
	if (kind == 2)
		put_histogram_point(w);
	else
		put_number_point(w);
	if (kind != 0)
		put_number(w, 2, 2); /* cumulative */
	if (kind == 1)
		put_number(w, 3, 1); /* monotonic */
	close_field(w, data);
	close_field(w, metric);
}

static void put_resource(struct builder *w, size_t index)
{
	char name[40];
	(void)snprintf(name, sizeof(name), "service-%zu", index);
	struct wire_open resource = open_field(w, 1, 200);
	put_attribute(w, 1, "service.name", name);
	put_attribute(w, 1, "host.name", "edge-7");
	put_attribute(w, 1, "k8s.pod.name", "loop-controller-6d5f7c9b8-x2x4k");
	close_field(w, resource);
}

static void put_scope(struct builder *w, size_t records)
{
	static void (*const put_record[SIGNAL_COUNT])(struct builder *) = {
		[SIGNAL_TRACES] = put_span,
		[SIGNAL_METRICS] = put_metric,
		[SIGNAL_LOGS] = put_log,
	};
	struct wire_open scope_x = open_field(w, 2, 400 * records);
	struct wire_open scope = open_field(w, 1, 30);
	put_string(w, 1, "plant.instrumentation");
	put_string(w, 2, "1.4.0");
	close_field(w, scope);
	for (; records > 0; records--) {
		put_record[w->b->signal](w);
		w->index++;
	}
	put_string(w, 3, "https://opentelemetry.io/schemas/1.26.0");
	close_field(w, scope_x);
}

void otlp_build(const struct otlp_build *b, struct buf *out)
{
	struct builder w = { .b = b, .out = out, .random = b->seed };
	w.base_ns = b->time_ns ? b->time_ns : INT64_C(1767225600000000000);
	size_t resources = b->resources ? b->resources : 1;
	size_t scopes = b->scopes ? b->scopes : 1;
	size_t places = resources * scopes;
	for (size_t i = 0; i < resources; i++) {
		struct wire_open resource_x =
			open_field(&w, 1, 400 * (b->records / resources) + 200);
		put_resource(&w, i);
		for (size_t k = 0; k < scopes; k++) {
			/* Whole shares; the first places take one more until the rest is used up.
			 */
			size_t place = i * scopes + k;
			put_scope(&w, b->records / places + (place < b->records % places ? 1 : 0));
		}
		close_field(&w, resource_x);
	}
}
