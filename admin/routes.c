/* routes.c - every path of the admin listener, and what answers it.
 *
 * Health and readiness are open, also under the names that the OpenTelemetry Collector, Kubernetes
 * and Prometheus use. Ready means that the queue takes writes, never that an uplink is up: a
 * gateway that is restarted because its uplink is down helps no one.
 *
 * Each API call opens its own look into the queue file. That costs under a millisecond, and it
 * finds the new file where a damaged one was set aside meanwhile.
 * tests/integration/it_admin_api.py compares this table with docs/admin-api.md. */
#include "admin/routes.h"

#include <errno.h>
#include <stdlib.h>

#include "gateway/base/log.h"
#include "gateway/base/metrics.h"
#include "gateway/base/now.h"

/* How long one API call may hold a snapshot. */
static const int64_t look_limit_ns = 2 * NS_PER_S;

static const char json_type[] = "application/json";

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
				     .gateway = &c->gateway };
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

#define OPEN_ROUTE(path, answer, doc)                               \
	{                                                           \
		path, PARAMETERS_NONE, true, json_type, answer, doc \
	}
#define API_ROUTE(path, set, answer, doc)                \
	{                                                \
		path, set, false, json_type, answer, doc \
	}

const struct route routes[] = {
	OPEN_ROUTE("/", answer_health, "As /healthz, where the Collector has its health check."),
	OPEN_ROUTE("/healthz", answer_health,
		   "The process answers; degraded while a salvage runs."),
	OPEN_ROUTE("/livez", answer_health, "As /healthz."),
	OPEN_ROUTE("/-/healthy", answer_health, "As /healthz."),
	OPEN_ROUTE("/readyz", answer_ready, "The queue takes writes; else 503 and why not."),
	OPEN_ROUTE("/-/ready", answer_ready, "As /readyz."),
	{ "/metrics", PARAMETERS_NONE, false, "text/plain; version=0.0.4; charset=utf-8",
	  answer_metrics, "Prometheus text." },
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

enum status route_find(const char *path, const struct route **ret, int64_t *ret_id, struct err *e)
{
	for (size_t i = 0; i < route_count; i++) {
		const char *brace = strchr(routes[i].path, '{');
		size_t n = brace ? (size_t)(brace - routes[i].path) : 0;
		if (!brace && strcmp(path, routes[i].path) != 0)
			continue;
		if (brace && (strncmp(path, routes[i].path, n) != 0 || !path[n]))
			continue;
		enum status st = brace ? read_id(path + n, ret_id, e) : ST_OK;
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
		return "this listener answers GET and HEAD";
	case ST_DENIED:
		return "send the header Authorization: Bearer TOKEN with the admin.token of the "
		       "configuration";
	case ST_TOO_LARGE:
		return "ask with ?format=otlp for the protobuf, or read the file with sqlite3 "
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
