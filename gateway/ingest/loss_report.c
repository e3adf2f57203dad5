/* loss_report.c - what was let go, said in telemetry's own words.
 *
 * The ledger may get a row for every 256 batches that retention takes, thousands an hour on a bad
 * day. For the centre that is one statement: so many records, of this kind, for this reason,
 * between then and then. So rows that differ in time and size alone become one record, but not over
 * an hour's border: what is reported after a long silence keeps a shape.
 *
 * A device without a battery starts in 1970. The ledger corrects the times of that boot when it
 * learns the time. Until then a record has none: one with a wrong time is worse, for backends sort
 * it into the wrong place, or refuse it as too old; without, the time of receipt stands in for it,
 * which the queue corrects. */
#include "gateway/ingest/loss_report.h"

#include <stdio.h>
#include <time.h>

#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"
#include "gateway/telemetry/utf8.h"
#include "gateway/telemetry/wire.h"

#define HOUR_NS (3600 * NS_PER_S)

enum { SEVERITY_WARN = 13, BODY_MAX = 400 };

/* Field numbers of opentelemetry/proto: logs.proto, common.proto, resource.proto. */
enum {
	REQUEST_RESOURCE_LOGS = 1,
	RESOURCE_LOGS_RESOURCE = 1,
	RESOURCE_LOGS_SCOPE_LOGS = 2,
	RESOURCE_ATTRIBUTES = 1,
	SCOPE_LOGS_SCOPE = 1,
	SCOPE_LOGS_RECORDS = 2,
	SCOPE_NAME = 1,
	SCOPE_VERSION = 2,
	RECORD_TIME = 1,
	RECORD_SEVERITY_NUMBER = 2,
	RECORD_SEVERITY_TEXT = 3,
	RECORD_BODY = 5,
	RECORD_ATTRIBUTES = 6,
	RECORD_OBSERVED_TIME = 11,
	RECORD_EVENT_NAME = 12,
	KEY_VALUE_KEY = 1,
	KEY_VALUE_VALUE = 2,
	ANY_VALUE_STRING = 1,
	ANY_VALUE_INT = 3
};

static bool is_same(const char *a, const char *b)
{
	return strcmp(a, b ? b : "") == 0;
}

static int64_t time_of(const struct inspect_loss *l)
{
	return l->is_at_known ? l->at_ns : 0;
}

static struct loss_group *find_group(struct loss_report *r, const struct inspect_loss *l)
{
	for (size_t i = r->count; i-- > 0;) {
		struct loss_group *g = &r->groups[i];
		if (g->first_at_ns / HOUR_NS == time_of(l) / HOUR_NS &&
		    is_same(g->destination, l->destination) && is_same(g->signal, l->signal) &&
		    is_same(g->class, l->class) && is_same(g->reason, l->reason))
			return g;
	}
	return NULL;
}

static struct loss_group *new_group(struct loss_report *r, const struct inspect_loss *l)
{
	if (r->count == LOSS_REPORT_RECORDS_MAX)
		return NULL;
	struct loss_group *g = &r->groups[r->count++];
	*g = (struct loss_group){ .destination = xstrdup(l->destination ? l->destination : ""),
				  .signal = xstrdup(l->signal ? l->signal : ""),
				  .class = xstrdup(l->class ? l->class : ""),
				  .reason = xstrdup(l->reason ? l->reason : ""),
				  .first_id = l->id,
				  .first_at_ns = time_of(l),
				  .first_time_ns = l->first_time_ns };
	return g;
}

bool loss_report_add(struct loss_report *r, const struct inspect_loss *l)
{
	struct loss_group *g = find_group(r, l);
	if (!g)
		g = new_group(r, l);
	if (!g)
		return false;
	g->rows++;
	g->records += l->records;
	g->bytes += l->bytes;
	g->last_id = l->id;
	g->last_at_ns = time_of(l);
	if (l->first_time_ns && (!g->first_time_ns || l->first_time_ns < g->first_time_ns))
		g->first_time_ns = l->first_time_ns;
	if (l->last_time_ns > g->last_time_ns)
		g->last_time_ns = l->last_time_ns;
	(void)snprintf(g->detail, sizeof(g->detail), "%s", l->detail ? l->detail : "");
	r->last_id = l->id;
	return true;
}

void loss_report_times(const struct loss_report *r, int64_t *ret_first_ns, int64_t *ret_last_ns)
{
	*ret_first_ns = 0;
	*ret_last_ns = 0;
	for (size_t i = 0; i < r->count; i++) {
		const struct loss_group *g = &r->groups[i];
		if (g->first_at_ns && (!*ret_first_ns || g->first_at_ns < *ret_first_ns))
			*ret_first_ns = g->first_at_ns;
		if (g->last_at_ns > *ret_last_ns)
			*ret_last_ns = g->last_at_ns;
	}
}

void loss_report_clear(struct loss_report *r)
{
	for (size_t i = 0; i < r->count; i++) {
		free(r->groups[i].destination);
		free(r->groups[i].signal);
		free(r->groups[i].class);
		free(r->groups[i].reason);
	}
	r->count = 0;
}

/* The first failure sticks: out knows its cap, and what is written into it is small. */
struct writing {
	struct buf *out;
	enum status st;
};

static void begin(struct writing *w, uint32_t number, size_t expect, struct wire_open *open)
{
	if (!w->st)
		w->st = wire_begin(w->out, number, expect, open);
}

static void end(struct writing *w, const struct wire_open *open)
{
	if (!w->st)
		w->st = wire_end(w->out, open);
}

/* Details are words of backends, perhaps cut within a character; protobuf wants UTF-8. */
static void put_text(struct writing *w, uint32_t number, const char *text)
{
	char clean[BODY_MAX];
	if (!utf8_is_valid(bytes_str(text))) {
		(void)snprintf(clean, sizeof(clean), "%s", text);
		for (char *p = clean; *p; p++)
			*p = (unsigned char)*p < 0x80 ? *p : '?';
		text = clean;
	}
	if (!w->st)
		w->st = wire_put_bytes(w->out, number, bytes_str(text));
}

static void put_number(struct writing *w, uint32_t number, uint64_t v)
{
	if (!w->st)
		w->st = wire_put_number(w->out, number, v);
}

static void put_time(struct writing *w, uint32_t number, int64_t ns)
{
	if (!w->st && ns)
		w->st = wire_put_tag(w->out, number, WIRE_FIXED64);
	if (!w->st && ns)
		w->st = wire_put_fixed64(w->out, (uint64_t)ns);
}

/* An attribute: a text, or a number where text is NULL. */
static void put_attribute(struct writing *w, uint32_t number, const char *key, const char *text,
			  int64_t value)
{
	struct wire_open attribute = { 0 };
	struct wire_open any = { 0 };
	begin(w, number, 64, &attribute);
	put_text(w, KEY_VALUE_KEY, key);
	begin(w, KEY_VALUE_VALUE, 16, &any);
	if (text)
		put_text(w, ANY_VALUE_STRING, text);
	else
		put_number(w, ANY_VALUE_INT, (uint64_t)value);
	end(w, &any);
	end(w, &attribute);
}

static void write_time(int64_t ns, char *ret, size_t size)
{
	time_t seconds = (time_t)(ns / NS_PER_S);
	struct tm tm;
	if (!gmtime_r(&seconds, &tm) || strftime(ret, size, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		(void)snprintf(ret, size, "?");
}

static void put_body(struct writing *w, const struct loss_group *g)
{
	char text[BODY_MAX];
	char from[32];
	char to[32];
	struct wire_open any = { 0 };
	write_time(g->first_time_ns, from, sizeof(from));
	write_time(g->last_time_ns, to, sizeof(to));
	(void)snprintf(text, sizeof(text),
		       "%lld records of %s (%s) for %.100s were let go: %.60s%s%s%s%s",
		       (long long)g->records, g->signal, g->class,
		       g->destination[0] ? g->destination : "?", g->reason,
		       g->first_time_ns ? "; they were of " : "", g->first_time_ns ? from : "",
		       g->first_time_ns ? " to " : "", g->first_time_ns ? to : "");
	begin(w, RECORD_BODY, 128, &any);
	put_text(w, ANY_VALUE_STRING, text);
	end(w, &any);
}

static void put_numbers(struct writing *w, const struct loss_group *g)
{
	const struct {
		const char *key;
		int64_t value;
		bool is_known;
	} numbers[] = {
		{ "tidegate.loss.records", g->records, true },
		{ "tidegate.loss.bytes", g->bytes, true },
		{ "tidegate.loss.first_time_unix_nano", g->first_time_ns, g->first_time_ns != 0 },
		{ "tidegate.loss.last_time_unix_nano", g->last_time_ns, g->last_time_ns != 0 },
		{ "tidegate.loss.first_id", g->first_id, true },
		{ "tidegate.loss.last_id", g->last_id, true },
	};
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (numbers[i].is_known)
			put_attribute(w, RECORD_ATTRIBUTES, numbers[i].key, NULL, numbers[i].value);
}

static void put_record(struct writing *w, const struct loss_group *g, int64_t now_ns)
{
	struct wire_open record = { 0 };
	begin(w, SCOPE_LOGS_RECORDS, 512, &record);
	put_time(w, RECORD_TIME, g->last_at_ns);
	put_number(w, RECORD_SEVERITY_NUMBER, SEVERITY_WARN);
	put_text(w, RECORD_SEVERITY_TEXT, "WARN");
	put_body(w, g);
	put_attribute(w, RECORD_ATTRIBUTES, "tidegate.loss.destination", g->destination, 0);
	put_attribute(w, RECORD_ATTRIBUTES, "tidegate.loss.signal", g->signal, 0);
	put_attribute(w, RECORD_ATTRIBUTES, "tidegate.loss.class", g->class, 0);
	put_attribute(w, RECORD_ATTRIBUTES, "tidegate.loss.reason", g->reason, 0);
	put_numbers(w, g);
	if (g->detail[0])
		put_attribute(w, RECORD_ATTRIBUTES, "tidegate.loss.detail", g->detail, 0);
	put_time(w, RECORD_OBSERVED_TIME, now_ns);
	put_text(w, RECORD_EVENT_NAME, "tidegate.loss");
	end(w, &record);
}

static void put_resource(struct writing *w, const struct attributes *resource)
{
	struct wire_open open = { 0 };
	bool has_service = false;
	begin(w, RESOURCE_LOGS_RESOURCE, 256, &open);
	for (size_t i = 0; i < resource->count; i++) {
		has_service |= is_same(resource->items[i].key, "service.name");
		if (!w->st)
			w->st = buf_append(w->out, resource->items[i].encoded);
	}
	if (!has_service)
		put_attribute(w, RESOURCE_ATTRIBUTES, "service.name", "tidegate", 0);
	end(w, &open);
}

enum status loss_report_write(const struct loss_report *r, const struct attributes *resource,
			      int64_t now_ns, struct buf *out)
{
	struct writing w = { .out = out };
	struct wire_open resource_logs = { 0 };
	struct wire_open scope_logs = { 0 };
	struct wire_open scope = { 0 };
	begin(&w, REQUEST_RESOURCE_LOGS, 1 << 14, &resource_logs);
	put_resource(&w, resource);
	begin(&w, RESOURCE_LOGS_SCOPE_LOGS, 1 << 14, &scope_logs);
	begin(&w, SCOPE_LOGS_SCOPE, 32, &scope);
	put_text(&w, SCOPE_NAME, "tidegate");
	put_text(&w, SCOPE_VERSION, TIDEGATE_VERSION);
	end(&w, &scope);
	for (size_t i = 0; i < r->count; i++)
		put_record(&w, &r->groups[i], now_ns);
	end(&w, &scope_logs);
	end(&w, &resource_logs);
	return w.st;
}
