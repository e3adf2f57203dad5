/* routes.c - every path of the admin listener, and what answers it.
 *
 * Health and readiness are open, also under the names that the OpenTelemetry Collector, Kubernetes
 * and Prometheus use. Ready means that the queue takes writes, never that an uplink is up: a
 * gateway that is restarted because its uplink is down helps no one.
 *
 * What changes the queue is a POST with a JSON object, and goes to the writer as jobs.
 *
 * Each API call opens its own look into the queue file. That costs under a millisecond, and it
 * finds the new file where a damaged one was set aside meanwhile.
 * tests/integration/it_admin_api.py compares this table with docs/admin-api.md. */
#include "admin/routes.h"

#include <errno.h>
#include <stdlib.h>

#include "admin/control_call.h"
#include "admin/dead_export.h"
#include "admin/dead_letters.h"
#include "admin/redrive_call.h"
#include "gateway/base/log.h"
#include "gateway/base/metrics.h"
#include "gateway/base/now.h"

/* How long one API call may hold a snapshot. */
static const int64_t look_limit_ns = 2 * NS_PER_S;

static const char json_media[] = "application/json";
static const char lines_media[] = "application/x-ndjson";

static enum status answer_health(struct call *c, struct err *e)
{
	(void)e;
	return document_health(&c->gateway, &c->out);
}

static enum status answer_ready(struct call *c, struct err *e)
{
	(void)e;
	return document_ready(&c->gateway, &c->out);
}

static enum status answer_metrics(struct call *c, struct err *e)
{
	static struct log_rate rate;
	struct err why = { 0 };
	enum status st = sampler_refresh(c->sampler, c->gateway.in_flight_bytes, &why);
	/* The counters are right all the same, so they are shown. */
	if (st && log_every(&rate, 60, NULL))
		log_warn("admin.sample", "error=%s", LOG_QUOTE(err_text(&why, st)));
	(void)e;
	return metrics_write(&c->out);
}

typedef enum status (*write_fn)(const struct document_source *s, struct call *c, struct err *e);

static enum status with_queue(struct call *c, write_fn write, struct err *e)
{
	struct document_source s = { .queue_path = c->queue_path,
				     .capacity_bytes = c->capacity_bytes,
				     .gateway = &c->gateway,
				     .control = c->control };
	enum status st = inspect_open(c->queue_path, look_limit_ns, &s.in, e);
	if (!st)
		st = write(&s, c, e);
	inspect_close(s.in);
	return st;
}

static enum status write_status(const struct document_source *s, struct call *c, struct err *e)
{
	return document_status(s, &c->out, e);
}

static enum status write_batches(const struct document_source *s, struct call *c, struct err *e)
{
	return document_batches(s, &c->parameters, &c->out, e);
}

static enum status write_batch(const struct document_source *s, struct call *c, struct err *e)
{
	return document_batch(s, c->id, &c->parameters, &c->out, e);
}

static enum status write_losses(const struct document_source *s, struct call *c, struct err *e)
{
	return document_losses(s, &c->parameters, &c->out, e);
}

static enum status write_balance(const struct document_source *s, struct call *c, struct err *e)
{
	return document_balance(s, &c->out, e);
}

static enum status answer_status(struct call *c, struct err *e)
{
	return with_queue(c, write_status, e);
}

static enum status answer_batches(struct call *c, struct err *e)
{
	return with_queue(c, write_batches, e);
}

static enum status answer_batch(struct call *c, struct err *e)
{
	return with_queue(c, write_batch, e);
}

static enum status answer_losses(struct call *c, struct err *e)
{
	return with_queue(c, write_losses, e);
}

static enum status answer_balance(struct call *c, struct err *e)
{
	return with_queue(c, write_balance, e);
}

static enum status write_dead_groups(const struct document_source *s, struct call *c, struct err *e)
{
	return document_dead_groups(s, &c->parameters, &c->out, e);
}

static enum status write_dead_letters(const struct document_source *s, struct call *c,
				      struct err *e)
{
	return document_dead_letters(s, &c->parameters, &c->out, e);
}

static enum status answer_dead_groups(struct call *c, struct err *e)
{
	return with_queue(c, write_dead_groups, e);
}

static enum status answer_dead_letters(struct call *c, struct err *e)
{
	return with_queue(c, write_dead_letters, e);
}

static enum status answer_export(struct call *c, struct err *e)
{
	struct dead_export *x = NULL;
	enum status st = dead_export_open(c->queue_path, &c->parameters, &x, e);
	if (!st)
		c->stream = (struct call_stream){ .next = dead_export_next,
						  .end = dead_export_close,
						  .ctx = x };
	return st;
}

static enum status write_change(const struct document_source *s, struct call *c,
				enum redrive_action action, enum delivery_state state,
				struct err *e)
{
	const struct redrive_call r = { .writer = c->writer,
					.in = s->in,
					.parameters = &c->parameters,
					.action = action,
					.state = state,
					.caller = c->caller,
					.is_stopping = c->is_stopping };
	return redrive_call(&r, &c->out, e);
}

static enum status write_replay(const struct document_source *s, struct call *c, struct err *e)
{
	return write_change(s, c, REDRIVE_REPLAY, DELIVERY_DEAD, e);
}

static enum status write_purge_dead(const struct document_source *s, struct call *c, struct err *e)
{
	return write_change(s, c, REDRIVE_PURGE, DELIVERY_DEAD, e);
}

static enum status write_purge_ready(const struct document_source *s, struct call *c, struct err *e)
{
	return write_change(s, c, REDRIVE_PURGE, DELIVERY_READY, e);
}

static enum status write_move(const struct document_source *s, struct call *c, struct err *e)
{
	return write_change(s, c, REDRIVE_MOVE, DELIVERY_READY, e);
}

static enum status answer_replay(struct call *c, struct err *e)
{
	return with_queue(c, write_replay, e);
}

static enum status answer_purge_dead(struct call *c, struct err *e)
{
	return with_queue(c, write_purge_dead, e);
}

static enum status answer_purge_ready(struct call *c, struct err *e)
{
	return with_queue(c, write_purge_ready, e);
}

static enum status answer_move(struct call *c, struct err *e)
{
	return with_queue(c, write_move, e);
}

static struct control_call control_call(const struct call *c)
{
	return (struct control_call){ .control = c->control, .caller = c->caller, .name = c->name };
}

/* NAME_pause_destination, ...: one function for each order and what it is for. */
#define ANSWER_ORDER(order, ORDER, what)                                          \
	static enum status answer_##order##_##what(struct call *c, struct err *e) \
	{                                                                         \
		const struct control_call call = control_call(c);                 \
		return control_call_##what(&call, CONTROL_##ORDER, &c->out, e);   \
	}
ANSWER_ORDER(pause, PAUSE, destination)
ANSWER_ORDER(resume, RESUME, destination)
ANSWER_ORDER(flush, FLUSH, destination)
ANSWER_ORDER(pause, PAUSE, uplink)
ANSWER_ORDER(resume, RESUME, uplink)
ANSWER_ORDER(flush, FLUSH, uplink)

static enum status answer_rate(struct call *c, struct err *e)
{
	const struct control_call call = control_call(c);
	return control_call_rate(&call, c->parameters.rate, c->parameters.for_ns, &c->out, e);
}

static enum status answer_uplinks(struct call *c, struct err *e)
{
	const struct control_call call = control_call(c);
	(void)e;
	return control_call_uplinks(&call, &c->out);
}

#define ROUTE(path, set, is_open, is_change, type, answer, doc)  \
	{                                                        \
		path, set, is_open, is_change, type, answer, doc \
	}
#define OPEN_ROUTE(path, answer, doc) \
	ROUTE(path, PARAMETERS_NONE, true, false, json_media, answer, doc)
#define API_ROUTE(path, set, answer, doc)    ROUTE(path, set, false, false, json_media, answer, doc)
#define CHANGE_ROUTE(path, set, answer, doc) ROUTE(path, set, false, true, json_media, answer, doc)
#define STREAM_ROUTE(path, set, answer, doc) \
	ROUTE(path, set, false, false, lines_media, answer, doc)

const struct route routes[] = {
	OPEN_ROUTE("/", answer_health, "As /healthz, where the Collector has its health check."),
	OPEN_ROUTE("/healthz", answer_health,
		   "The process answers; degraded while a salvage runs."),
	OPEN_ROUTE("/livez", answer_health, "As /healthz."),
	OPEN_ROUTE("/-/healthy", answer_health, "As /healthz."),
	OPEN_ROUTE("/readyz", answer_ready, "The queue takes writes; else 503 and why not."),
	OPEN_ROUTE("/-/ready", answer_ready, "As /readyz."),
	ROUTE("/metrics", PARAMETERS_NONE, false, false, "text/plain; version=0.0.4; charset=utf-8",
	      answer_metrics, "Prometheus text."),
	API_ROUTE("/api/v1/status", PARAMETERS_NONE, answer_status,
		  "The gateway, the queue file and every destination."),
	API_ROUTE("/api/v1/batches", PARAMETERS_BATCHES, answer_batches,
		  "Batches in the queue, oldest first, by filters."),
	API_ROUTE("/api/v1/batches/{id}", PARAMETERS_BATCH, answer_batch,
		  "One batch with its deliveries and its records."),
	API_ROUTE("/api/v1/losses", PARAMETERS_LOSSES, answer_losses,
		  "The loss ledger, newest first."),
	API_ROUTE("/api/v1/balance", PARAMETERS_NONE, answer_balance,
		  "The books, by destination and signal."),
	API_ROUTE("/api/v1/dead-letters", PARAMETERS_GROUPS, answer_dead_groups,
		  "Dead letters, grouped by destination, reason, status and signal."),
	API_ROUTE("/api/v1/dead-letters/list", PARAMETERS_DEAD, answer_dead_letters,
		  "Dead letters of one destination, one by one."),
	STREAM_ROUTE("/api/v1/dead-letters/export", PARAMETERS_EXPORT, answer_export,
		     "Dead letters with their records, as lines of OTLP JSON."),
	CHANGE_ROUTE("/api/v1/dead-letters/replay", PARAMETERS_REPLAY, answer_replay,
		     "Send dead letters again."),
	CHANGE_ROUTE("/api/v1/dead-letters/purge", PARAMETERS_PURGE_DEAD, answer_purge_dead,
		     "Let dead letters go, into the loss ledger."),
	CHANGE_ROUTE("/api/v1/queue/purge", PARAMETERS_PURGE_READY, answer_purge_ready,
		     "Let a backlog go, into the loss ledger."),
	CHANGE_ROUTE("/api/v1/queue/move", PARAMETERS_MOVE, answer_move,
		     "Give what one destination is owed to another."),
	CHANGE_ROUTE("/api/v1/destinations/{name}/pause", PARAMETERS_NONE, answer_pause_destination,
		     "Send nothing to the destination, until it is resumed."),
	CHANGE_ROUTE("/api/v1/destinations/{name}/resume", PARAMETERS_NONE,
		     answer_resume_destination, "End a pause, and try at once."),
	CHANGE_ROUTE("/api/v1/destinations/{name}/flush", PARAMETERS_NONE, answer_flush_destination,
		     "Send what waits now: no back-off, no windows, no slow start."),
	API_ROUTE("/api/v1/uplinks", PARAMETERS_NONE, answer_uplinks,
		  "Every uplink: rate, budgets, windows, and who waits for what."),
	CHANGE_ROUTE("/api/v1/uplinks/{name}/pause", PARAMETERS_NONE, answer_pause_uplink,
		     "Pause every destination on the uplink."),
	CHANGE_ROUTE("/api/v1/uplinks/{name}/resume", PARAMETERS_NONE, answer_resume_uplink,
		     "Resume every destination on the uplink."),
	CHANGE_ROUTE("/api/v1/uplinks/{name}/flush", PARAMETERS_NONE, answer_flush_uplink,
		     "Flush every destination on the uplink."),
	CHANGE_ROUTE("/api/v1/uplinks/{name}/rate", PARAMETERS_RATE, answer_rate,
		     "Another rate for a while."),
};
const size_t route_count = sizeof(routes) / sizeof(routes[0]);

static enum status read_id(const char *text, int64_t *ret, struct err *e)
{
	char *end = NULL;
	errno = 0;
	long long id = strtoll(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end || errno)
		return err_set(e, ST_INVALID,
			       "\"%.40s\" is not the id of a batch: that is a number", text);
	*ret = id;
	return ST_OK;
}

/* The rest of a path, from where the pattern's brace is. */
static enum status read_rest(const char *pattern, const char *rest, struct route_words *words,
			     struct err *e)
{
	static const char name[] = "{name}";
	if (strncmp(pattern, name, sizeof(name) - 1) != 0)
		return *rest ? read_id(rest, &words->id, e) : ST_END;
	size_t n = strspn(rest, "abcdefghijklmnopqrstuvwxyz0123456789_-");
	if (n == 0 || n >= sizeof(words->name) || strcmp(rest + n, pattern + sizeof(name) - 1) != 0)
		return ST_END;
	memcpy(words->name, rest, n);
	words->name[n] = '\0';
	return ST_OK;
}

enum status route_find(const char *path, const struct route **ret, struct route_words *ret_words,
		       struct err *e)
{
	for (size_t i = 0; i < route_count; i++) {
		const char *brace = strchr(routes[i].path, '{');
		size_t n = brace ? (size_t)(brace - routes[i].path) : 0;
		if (!brace && strcmp(path, routes[i].path) != 0)
			continue;
		if (brace && strncmp(path, routes[i].path, n) != 0)
			continue;
		enum status st = brace ? read_rest(brace, path + n, ret_words, e) : ST_OK;
		if (st == ST_END)
			continue;
		if (!st)
			*ret = &routes[i];
		return st;
	}
	return err_set(e, ST_NOT_FOUND, "there is nothing at %.80s", path);
}

static const char *not_found_hint(const struct route *r)
{
	if (!r)
		return "docs/admin-api.md lists the paths";
	if (strstr(r->path, "{name}"))
		return "/api/v1/status has the destinations and the uplinks";
	if (strchr(r->path, '{'))
		return "a batch leaves the queue when its last delivery is done";
	return "/api/v1/status has the destinations and the queue file";
}

const char *route_hint(const struct route *r, enum status st)
{
	switch (st) {
	case ST_NOT_FOUND:
		return not_found_hint(r);
	case ST_INVALID:
		return "docs/admin-api.md lists the parameters of each call";
	case ST_METHOD:
		return r && r->is_change ? "this call changes the queue: POST a JSON object" :
					   "this listener answers GET and HEAD here";
	case ST_UNSUPPORTED:
		return "send the parameters as a JSON object, with Content-Type: application/json";
	case ST_DENIED:
		return "send the header Authorization: Bearer TOKEN with the admin.token of the "
		       "configuration";
	case ST_MISDIRECTED:
		return "ask for 127.0.0.1 or localhost, or set admin.token: any web page can have "
		       "a "
		       "name of its own lead here";
	case ST_TOO_LARGE:
		return r && r->is_change ? "what a call changes is selected by a few words "
					   "(docs/admin-api.md), not by a list" :
					   "ask with ?format=otlp for the protobuf, or read the "
					   "file with sqlite3 "
					   "(docs/forensics.md)";
	case ST_TIMEOUT:
		return "the queue is long: ask with narrower filters, or ask the file with sqlite3 "
		       "(docs/forensics.md)";
	default:
		return status_class(st) == CLASS_RETRY ?
			       "try again; /readyz says whether the queue "
			       "takes writes" :
			       NULL;
	}
}
