/* check_record.c - a test record that nobody can take for anything else.
 *
 * Its resource has service.name tidegate-check, tidegate.test true, and the site, so that it is
 * found, and filtered out, at the centre. One gauge, one log record of severity INFO, one span of
 * no length: the least that every backend of the signal takes. */
#include "gateway/forward/check_record.h"

#include <stdio.h>

#include "gateway/telemetry/wire.h"

static const char name[] = "tidegate.check-destination";

/* Field numbers of opentelemetry/proto. The three signals have the same outer messages. */
enum {
	RESOURCE_ITEMS = 1,
	ITEMS_RESOURCE = 1,
	ITEMS_SCOPE_ITEMS = 2,
	RESOURCE_ATTRIBUTES = 1,
	SCOPE_ITEMS_SCOPE = 1,
	SCOPE_ITEMS_ITEM = 2,
	SCOPE_NAME = 1,
	KEY_VALUE_KEY = 1,
	KEY_VALUE_VALUE = 2,
	ANY_VALUE_STRING = 1,
	ANY_VALUE_BOOL = 2,
	LOG_TIME = 1,
	LOG_SEVERITY_NUMBER = 2,
	LOG_SEVERITY_TEXT = 3,
	LOG_BODY = 5,
	LOG_OBSERVED_TIME = 11,
	LOG_EVENT_NAME = 12,
	SPAN_TRACE_ID = 1,
	SPAN_ID = 2,
	SPAN_NAME = 5,
	SPAN_KIND = 6,
	SPAN_START = 7,
	SPAN_END = 8,
	METRIC_NAME = 1,
	METRIC_DESCRIPTION = 2,
	METRIC_GAUGE = 5,
	GAUGE_POINTS = 1,
	POINT_TIME = 3,
	POINT_AS_INT = 6,
	SEVERITY_INFO = 9,
	SPAN_KIND_INTERNAL = 1
};

/* The first failure sticks. */
struct writing {
	struct buf *out;
	enum status st;
};

static void begin(struct writing *w, uint32_t number, struct wire_open *open)
{
	if (!w->st)
		w->st = wire_begin(w->out, number, 100, open);
}

static void end(struct writing *w, const struct wire_open *open)
{
	if (!w->st)
		w->st = wire_end(w->out, open);
}

static void put_bytes(struct writing *w, uint32_t number, struct bytes b)
{
	if (!w->st)
		w->st = wire_put_bytes(w->out, number, b);
}

static void put_text(struct writing *w, uint32_t number, const char *text)
{
	put_bytes(w, number, bytes_str(text));
}

static void put_number(struct writing *w, uint32_t number, uint64_t v)
{
	if (!w->st)
		w->st = wire_put_number(w->out, number, v);
}

static void put_fixed(struct writing *w, uint32_t number, int64_t v)
{
	if (!w->st)
		w->st = wire_put_tag(w->out, number, WIRE_FIXED64);
	if (!w->st)
		w->st = wire_put_fixed64(w->out, (uint64_t)v);
}

/* text NULL: true. */
static void put_attribute(struct writing *w, const char *key, const char *text)
{
	struct wire_open attribute = { 0 };
	struct wire_open any = { 0 };
	begin(w, RESOURCE_ATTRIBUTES, &attribute);
	put_text(w, KEY_VALUE_KEY, key);
	begin(w, KEY_VALUE_VALUE, &any);
	if (text)
		put_text(w, ANY_VALUE_STRING, text);
	else
		put_number(w, ANY_VALUE_BOOL, 1);
	end(w, &any);
	end(w, &attribute);
}

static void put_resource(struct writing *w, const char *site)
{
	struct wire_open resource = { 0 };
	begin(w, ITEMS_RESOURCE, &resource);
	put_attribute(w, "service.name", "tidegate-check");
	put_attribute(w, "tidegate.test", NULL);
	if (site[0])
		put_attribute(w, "tidegate.site", site);
	end(w, &resource);
}

static void put_log(struct writing *w, const char *site, int64_t now_ns)
{
	char text[300];
	struct wire_open any = { 0 };
	(void)snprintf(text, sizeof(text), "test record of tidegate check-destination%s%.200s",
		       site[0] ? " from site " : "", site);
	put_fixed(w, LOG_TIME, now_ns);
	put_number(w, LOG_SEVERITY_NUMBER, SEVERITY_INFO);
	put_text(w, LOG_SEVERITY_TEXT, "INFO");
	begin(w, LOG_BODY, &any);
	put_text(w, ANY_VALUE_STRING, text);
	end(w, &any);
	put_fixed(w, LOG_OBSERVED_TIME, now_ns);
	put_text(w, LOG_EVENT_NAME, name);
}

/* The ids come from the time: unlike each other from call to call, and never zero. */
static void put_span(struct writing *w, int64_t now_ns)
{
	uint8_t id[16];
	uint64_t mixed = (uint64_t)now_ns * UINT64_C(0x9e3779b97f4a7c15) | 1;
	memcpy(id, &mixed, sizeof(mixed));
	memcpy(id + sizeof(mixed), &now_ns, sizeof(now_ns));
	put_bytes(w, SPAN_TRACE_ID, bytes_of(id, 16));
	put_bytes(w, SPAN_ID, bytes_of(id, 8));
	put_text(w, SPAN_NAME, name);
	put_number(w, SPAN_KIND, SPAN_KIND_INTERNAL);
	put_fixed(w, SPAN_START, now_ns);
	put_fixed(w, SPAN_END, now_ns);
}

static void put_metric(struct writing *w, int64_t now_ns)
{
	struct wire_open gauge = { 0 };
	struct wire_open point = { 0 };
	put_text(w, METRIC_NAME, name);
	put_text(w, METRIC_DESCRIPTION, "Test point of tidegate check-destination.");
	begin(w, METRIC_GAUGE, &gauge);
	begin(w, GAUGE_POINTS, &point);
	put_fixed(w, POINT_TIME, now_ns);
	put_fixed(w, POINT_AS_INT, 1);
	end(w, &point);
	end(w, &gauge);
}

enum status check_record_write(enum signal signal, const char *site, int64_t now_ns,
			       struct buf *out)
{
	struct writing w = { .out = out };
	struct wire_open items = { 0 };
	struct wire_open scope_items = { 0 };
	struct wire_open scope = { 0 };
	struct wire_open item = { 0 };
	begin(&w, RESOURCE_ITEMS, &items);
	put_resource(&w, site);
	begin(&w, ITEMS_SCOPE_ITEMS, &scope_items);
	begin(&w, SCOPE_ITEMS_SCOPE, &scope);
	put_text(&w, SCOPE_NAME, "tidegate");
	end(&w, &scope);
	begin(&w, SCOPE_ITEMS_ITEM, &item);
	if (signal == SIGNAL_LOGS)
		put_log(&w, site, now_ns);
	else if (signal == SIGNAL_TRACES)
		put_span(&w, now_ns);
	else
		put_metric(&w, now_ns);
	end(&w, &item);
	end(&w, &scope_items);
	end(&w, &items);
	return w.st;
}
