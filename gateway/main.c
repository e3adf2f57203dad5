/* main.c - the composition root: makes every part, starts them, waits for a signal, stops them.
 *
 * Start order is the dependency order, and stop order its reverse where it matters for the promise:
 *
 *   start   config, writer (queue open and verified), routes, salvage, loss reporter,
 *           destinations, admin, receivers
 *   stop    receivers (answer what is in flight: needs the writer),
 *           destinations (settle what was sent: needs the writer),
 *           salvage, admin, loss reporter, writer (checkpoint and close)
 *
 * Signals are blocked in every thread and taken here with sigwait: no handler runs anywhere.
 * SIGTERM and SIGINT stop within shutdown_timeout; a second one exits at once (the queue is safe at
 * any moment: that is what it is for), and so does a stop that hangs. */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "admin/admin.h"
#include "admin/cli.h"
#include "gateway/base/config.h"
#include "gateway/base/log.h"
#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"
#include "gateway/control.h"
#include "gateway/forward/check_destination.h"
#include "gateway/forward/forward.h"
#include "gateway/ingest/ingest.h"
#include "gateway/ingest/loss_reporter.h"
#include "gateway/ingest/receive_grpc.h"
#include "gateway/ingest/receive_http.h"
#include "gateway/telemetry/attributes.h"
#include "storage/salvage.h"
#include "storage/writer.h"

/* What a refused client is told to wait: long enough for a commit to recover, short for an SDK. */
enum { RETRY_AFTER_S = 5, EXIT_OK = 0, EXIT_FAILED = 1, EXIT_CONFIG = 3, WHERE_SIZE = 600 };

/* For what comes behind the deadline: joining threads, the last checkpoint on a slow disk. */
#define STOP_SLACK_NS (10 * NS_PER_S)

/* Data that no route matches is owed to this name, which is no valid name in a configuration. */
#define UNROUTED "(unrouted)"

struct gateway {
	struct config *config;
	struct attributes resource;
	struct route_table routes;
	struct writer *writer;
	struct ingest *ingest;
	struct forward **forwards; /* one for each of config->destinations */
	struct switchboard switchboard;
	struct salvage *salvage;
	struct loss_reporter *losses; /* NULL: not configured, or no route for it */
	struct admin *admin;
	struct receive_grpc *grpc;
	struct receive_http *http;
	int unrouted_slot;
};

/* The rules by which data may leave, by class. */
static struct writer_limits limits_of(const struct config *c)
{
	return (struct writer_limits){
		.max_age_ns = {
			[RECORD_CLASS_INFO] = c->queue_max_age_info,
			[RECORD_CLASS_WARNING] = c->queue_max_age_warning,
			[RECORD_CLASS_CRITICAL] = c->queue_max_age_critical,
		},
		.may_evict = {
			[RECORD_CLASS_INFO] =
				c->queue_when_full_info == CONFIG_WHEN_FULL_DROP_OLDEST,
			[RECORD_CLASS_WARNING] =
				c->queue_when_full_warning == CONFIG_WHEN_FULL_DROP_OLDEST,
			[RECORD_CLASS_CRITICAL] =
				c->queue_when_full_critical == CONFIG_WHEN_FULL_DROP_OLDEST,
		},
		.dead_max_bytes = c->dead_letters_max_size,
		.dead_max_age_ns = c->dead_letters_max_age,
	};
}

static enum status open_writer(struct gateway *g, struct err *e)
{
	const struct config *c = g->config;
	struct writer_options o = {
		.path = c->queue_path,
		.max_size_bytes = c->queue_max_size,
		.min_free_disk_bytes = c->queue_min_free_disk,
		.commit_interval_ns = c->queue_commit_interval,
		.limits = limits_of(c),
	};
	enum status st = writer_open(&o, &g->writer, e);
	return st ? err_wrap(e, st, "queue.path") : ST_OK;
}

static uint64_t slots_of(const struct config *c, const int *slots, char *const *names)
{
	uint64_t set = 0;
	for (; *names; names++)
		for (size_t i = 0; i < c->destination_count; i++)
			if (strcmp(c->destinations[i].name, *names) == 0)
				set |= UINT64_C(1) << slots[i];
	return set;
}

/* 0: none. */
static int64_t id_of(const struct config *c, const int64_t *ids, const char *name)
{
	for (size_t i = 0; i < c->destination_count; i++)
		if (strcmp(c->destinations[i].name, name) == 0)
			return ids[i];
	return 0;
}

/* Classes compete for a destination as they do for its uplink. */
static void shares_of(const struct config *c, const char *uplink, int shares[RECORD_CLASS_COUNT])
{
	for (size_t i = 0; i < c->uplink_count; i++) {
		const struct uplink_config *u = &c->uplinks[i];
		if (strcmp(u->name, uplink) != 0)
			continue;
		shares[RECORD_CLASS_CRITICAL] = u->share_critical;
		shares[RECORD_CLASS_WARNING] = u->share_warning;
		shares[RECORD_CLASS_INFO] = u->share_info;
	}
}

/* Destinations get their slots and stable ids, routes their bit sets. */
static enum status make_destinations(struct gateway *g, struct err *e)
{
	const struct config *c = g->config;
	int slots[DESTINATIONS_MAX];
	int64_t ids[DESTINATIONS_MAX];
	int64_t id;
	enum status st = writer_destination(g->writer, UNROUTED, "none", &g->unrouted_slot, &id, e);
	g->forwards = xcalloc(c->destination_count + 1, sizeof(struct forward *));
	switchboard_init(&g->switchboard, c, g->writer, g->forwards);
	for (size_t i = 0; i < c->destination_count && !st; i++) {
		const struct destination_config *d = &c->destinations[i];
		st = writer_destination(g->writer, d->name, config_kind_text(d->kind), &slots[i],
					&ids[i], e);
		if (!st)
			writer_set_quota(g->writer, slots[i], d->max_queue_size);
	}
	for (size_t i = 0; i < c->destination_count && !st; i++) {
		const struct destination_config *d = &c->destinations[i];
		int shares[RECORD_CLASS_COUNT] = { 0 };
		shares_of(c, d->uplink, shares);
		struct forward_options o = { .config = d,
					     .writer = g->writer,
					     .slot = slots[i],
					     .destination_id = ids[i],
					     .too_old_id = id_of(c, ids, d->too_old_send_to),
					     .uplink = switchboard_uplink(&g->switchboard, d),
					     .shares = shares };
		st = forward_new(&o, &g->forwards[i], e);
		if (st)
			return err_wrap(e, st, "%s", c->file ? c->file : "default");
	}
	for (size_t i = 0; i < c->route_count && !st; i++)
		route_add(&g->routes, c->routes[i].signal_mask, c->routes[i].class_mask,
			  slots_of(c, slots, c->routes[i].to));
	route_fill(&g->routes, g->unrouted_slot);
	return st;
}

/* Where no route takes its logs there is nothing to report to; the ledger keeps everything. */
static enum status make_loss_reporter(struct gateway *g, struct err *e)
{
	uint64_t unrouted = UINT64_C(1) << g->unrouted_slot;
	struct loss_reporter_options o = {
		.writer = g->writer,
		.resource = &g->resource,
		.destinations = g->routes.slots[SIGNAL_LOGS][RECORD_CLASS_WARNING] & ~unrouted,
	};
	return g->config->telemetry_losses && o.destinations ?
		       loss_reporter_new(&o, &g->losses, e) :
		       ST_OK;
}

static enum status start_storage(struct gateway *g, struct err *e)
{
	enum status st = make_loss_reporter(g, e);
	if (!st)
		st = writer_start(g->writer, e);
	if (st)
		return st;
	/* C17 does not convert to an array of const by itself. */
	writer_reroute(g->writer, g->unrouted_slot,
		       (const uint64_t(*)[RECORD_CLASS_COUNT])g->routes.slots);
	st = salvage_start(g->writer, &g->salvage, e);
	if (!st && g->losses)
		st = loss_reporter_start(g->losses, e);
	for (size_t i = 0; i < g->config->destination_count && !st; i++)
		st = forward_start(g->forwards[i], e);
	return st;
}

static size_t in_flight_bytes(void *ctx)
{
	return ingest_in_flight(ctx);
}

static enum status start_admin(struct gateway *g, struct err *e)
{
	const struct config *c = g->config;
	struct admin_options o = {
		.endpoint = c->admin_endpoint,
		.token = c->admin_token,
		.writer = g->writer,
		.queue_path = c->queue_path,
		.capacity_bytes = c->queue_max_size,
		.in_flight = in_flight_bytes,
		.in_flight_ctx = g->ingest,
		.control = &g->switchboard.control,
	};
	return admin_start(&o, &g->admin, e);
}

static enum status start_receivers(struct gateway *g, struct err *e)
{
	const struct config *c = g->config;
	struct receive_grpc_options grpc = {
		.endpoint = c->grpc_endpoint,
		.max_message_bytes = c->grpc_max_recv_msg_size,
		.max_connections = c->grpc_max_connections,
		.max_concurrent_streams = c->grpc_max_concurrent_streams,
		.idle_timeout_ns = c->grpc_idle_timeout,
		.read_timeout_ns = c->grpc_read_timeout,
	};
	enum status st = receive_grpc_start(&grpc, g->ingest, &g->grpc, e);
	if (st)
		return err_wrap(e, st, "receivers.otlp.grpc.endpoint");
	struct receive_http_options http = {
		.endpoint = c->http_endpoint,
		.max_message_bytes = c->http_max_request_body_size,
		.max_connections = c->http_max_connections,
		.idle_timeout_ns = c->http_idle_timeout,
		.read_timeout_ns = c->http_read_timeout,
		.cors_allowed_origins = (const char *const *)c->cors_allowed_origins,
		.cors_allowed_headers = (const char *const *)c->cors_allowed_headers,
		.cors_max_age_s = (int)(c->cors_max_age / NS_PER_S),
	};
	st = receive_http_start(&http, g->ingest, &g->http, e);
	return st ? err_wrap(e, st, "receivers.otlp.http.endpoint") : ST_OK;
}

static enum status start(struct gateway *g, struct err *e)
{
	enum status st = open_writer(g, e);
	if (!st)
		st = make_destinations(g, e);
	if (st)
		return st;
	struct ingest_options o = {
		.writer = g->writer,
		.resource = &g->resource,
		.routes = &g->routes,
		.max_in_flight_bytes = g->config->max_in_flight,
		.retry_after_s = RETRY_AFTER_S,
	};
	g->ingest = ingest_new(&o);
	st = ingest_start(g->ingest, e);
	if (!st)
		st = start_storage(g, e);
	if (!st)
		st = start_admin(g, e);
	return st ? st : start_receivers(g, e);
}

/* Accepts a gateway of which any part was never made. */
static void stop(struct gateway *g, int64_t timeout_ns)
{
	int64_t deadline = now_mono_ns() + timeout_ns;
	size_t forward_count = g->config && g->forwards ? g->config->destination_count : 0;
	for (size_t i = 0; i < forward_count; i++)
		forward_begin_stop(g->forwards[i], deadline);
	/* HTTP gives unfinished uploads a second, gRPC all the time that there is. */
	receive_http_stop(g->http, deadline);
	receive_grpc_stop(g->grpc, deadline);
	ingest_stop(g->ingest); /* it may still give to the writer */
	for (size_t i = 0; i < forward_count; i++)
		forward_stop(g->forwards[i], deadline);
	salvage_stop(g->salvage);
	admin_stop(g->admin);
	switchboard_stop(&g->switchboard, deadline);
	loss_reporter_stop(g->losses);
	writer_stop(g->writer);
	/* It rang their channels until now. */
	for (size_t i = 0; i < forward_count; i++)
		forward_free(g->forwards[i]);
	switchboard_done(&g->switchboard);
	loss_reporter_free(g->losses);
	ingest_free(g->ingest);
	attributes_done(&g->resource);
	free(g->forwards);
	config_free(g->config);
}

/* What the thread reads that watches the stop: it outlives main's frames. */
static struct {
	sigset_t signals;
	int64_t limit_ns;
} stopping;

/* Detached, so that a stop that hangs ends all the same: by hand, or when it took too long. A disk
 * that does not answer holds the writer for ever, and all who wait for it. */
static void *watch_stop(void *arg)
{
	int64_t end = now_mono_ns() + stopping.limit_ns;
	int sig;
	(void)arg;
	do {
		int64_t left = end > now_mono_ns() ? end - now_mono_ns() : 0;
		const struct timespec limit = { .tv_sec = (time_t)(left / NS_PER_S),
						.tv_nsec = (long)(left % NS_PER_S) };
		sig = sigtimedwait(&stopping.signals, NULL, &limit);
		/* Debuggers and leak checkers stop threads, which ends the wait early. */
	} while (sig < 0 && errno == EINTR);
	if (sig > 0)
		log_warn("gateway.stop", "signal=%d reason=\"second signal, leaving at once\"",
			 sig);
	else
		log_error(
			"gateway.stop",
			"reason=\"the stop hangs, leaving as it is\" hint=\"does the queue's disk "
			"answer? what was acknowledged is safe\"");
	_exit(EXIT_FAILED);
}

static void wait_for_signal(int64_t shutdown_timeout_ns)
{
	int sig = 0;
	CHECK(sigwait(&stopping.signals, &sig) == 0);
	log_info("gateway.stopping", "signal=%d", sig);
	stopping.limit_ns = shutdown_timeout_ns + STOP_SLACK_NS;
	pthread_t thread;
	if (pthread_create(&thread, NULL, watch_stop, NULL) == 0)
		(void)pthread_detach(thread);
}

static void block_signals(void)
{
	sigset_t *set = &stopping.signals;
	(void)sigemptyset(set);
	(void)sigaddset(set, SIGTERM);
	(void)sigaddset(set, SIGINT);
	CHECK(pthread_sigmask(SIG_BLOCK, set, NULL) == 0);
	/* A peer that went away, and a file at the process's size limit: errors, not ends. */
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGXFSZ, SIG_IGN);
}

/* Shells and service managers often give 1024, which a thousand connections and the queue's own
 * files exceed. */
static void raise_file_limit(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* Bodies come and go by the thousand. Left alone, glibc gives the top of the heap back to the
 * system and faults it in again for each group, and keeps a heap for each thread, which looks like
 * a leak after a burst. Large bodies are mapped, and so given back at once. */
static void tune_malloc(void)
{
	enum {
		ARENAS = 2,
		MAP_FROM_BYTES = 512 << 10,
		KEEP_BYTES = 16 << 20,
		GROW_BYTES = 1 << 20
	};
	(void)mallopt(M_ARENA_MAX, ARENAS);
	(void)mallopt(M_MMAP_THRESHOLD, MAP_FROM_BYTES);
	(void)mallopt(M_TRIM_THRESHOLD, KEEP_BYTES);
	(void)mallopt(M_TOP_PAD, GROW_BYTES);
}

static void keep_text(void *ctx, const struct check_step *s)
{
	(void)err_set((struct err *)ctx, ST_INVALID, "%s", s->text);
}

/* Every file that a destination names is there and is what it should be: said with its place,
 * before the queue or a port is touched. */
static enum status check_destinations(const struct config *c, struct err *e)
{
	for (size_t i = 0; i < c->destination_count; i++) {
		const struct destination_config *d = &c->destinations[i];
		struct err what = { 0 };
		char where[WHERE_SIZE];
		const struct check_request r = { .config = c,
						 .destination = d,
						 .is_config_only = true,
						 .tell = keep_text,
						 .ctx = &what };
		if (check_destination(&r) == CHECK_RESULT_FINE)
			continue;
		(void)config_where(c, d, what.text, where, sizeof(where));
		return err_set(e, ST_INVALID, "%s: destinations.%s: %s", where, d->name, what.text);
	}
	return ST_OK;
}

/* The option that the error begins with, where the file has it. */
static void add_place(const struct config *c, enum status st, struct err *e)
{
	char where[WHERE_SIZE];
	if (config_where(c, NULL, e->text, where, sizeof(where)))
		(void)err_wrap(e, st, "%s", where);
}

static int run(const char *config_path)
{
	static const enum log_level levels[] = { LOG_DEBUG_LEVEL, LOG_INFO_LEVEL, LOG_WARN_LEVEL,
						 LOG_ERROR_LEVEL };
	struct gateway g = { 0 };
	struct err e = { 0 };
	enum status st = config_path ? config_load(config_path, &g.config, &e) :
				       config_default(&g.config, &e);
	if (st) {
		(void)fprintf(stderr, "tidegate: %s\n", err_text(&e, st));
		return EXIT_CONFIG;
	}
	log_init(levels[g.config->log_level], (enum log_format)g.config->log_format);
	tune_malloc();
	raise_file_limit();
	block_signals();
	log_info("gateway.start", "version=%s config=%s queue=%s", TIDEGATE_VERSION,
		 LOG_QUOTE(config_path ? config_path : "embedded default"),
		 LOG_QUOTE(g.config->queue_path));
	for (char **w = g.config->warnings; *w; w++)
		log_warn("config.warning", "message=%s", LOG_QUOTE(*w));
	st = attributes_from_config(&g.resource, g.config, getenv("OTEL_RESOURCE_ATTRIBUTES"), &e);
	if (!st)
		st = check_destinations(g.config, &e);
	bool is_usable = !st;
	if (!st)
		st = start(&g, &e);
	if (st) {
		add_place(g.config, st, &e);
		log_fatal("gateway.start.failed", "error=%s", LOG_QUOTE(err_text(&e, st)));
	} else {
		log_info("gateway.ready", "pid=%d", (int)getpid());
		wait_for_signal(g.config->shutdown_timeout);
	}
	/* What never started has nobody to wait for: a wrong configuration is said at once. */
	stop(&g, st ? 0 : g.config->shutdown_timeout);
	int code = !st ? EXIT_OK : is_usable ? EXIT_FAILED : EXIT_CONFIG;
	log_info("gateway.stop", "exit=%d", code);
	return code;
}

int main(int argc, char **argv)
{
	return cli_main(argc, argv, run, check_destination);
}
