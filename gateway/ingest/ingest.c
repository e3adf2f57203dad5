/* ingest.c - what every receiver does with a body: admit, decompress, convert, scan, enrich, sort,
 * enqueue.
 *
 * A call carries all memory of its request, and every byte of it is charged to one budget: what
 * came from the wire, what it decompressed to, what enriching made of it. So many small requests
 * and few large ones meet the same bound, and a bomb is refused while it unfolds.
 *
 * Each step frees what the step before needed no more, so a plain protobuf request is held once:
 * its received bytes are what the writer compresses into the queue.
 *
 * A success reply comes from put_done only, which the writer calls after the fsync (invariant 1 of
 * docs/durability.md). A request without records has nothing to lose and is answered at once. */
#include "gateway/ingest/ingest.h"

#include <stdlib.h>

#include "gateway/base/compression.h"
#include "gateway/base/config.h"
#include "gateway/base/container.h"
#include "gateway/base/metrics.h"
#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"
#include "gateway/ingest/preparer.h"
#include "gateway/telemetry/json.h"

/* Body, its decompressed form and its enriched copy may exist at a time (CONFIG_MESSAGE_COPIES). A
 * light request is one whose worst case takes the receiver's thread some milliseconds. What costs
 * with compressed bytes is not what comes out of them: a deflate block that makes nothing costs
 * three tables for 11 bytes, so 64 KiB take 8 ms. */
enum { ARENA_MIN = 4 << 20, LIGHT_BYTES = 1 << 20, LIGHT_COMPRESSED_BYTES = 64 << 10 };
/* And many light ones at a time are not. */
#define LIGHT_NS (50 * NS_PER_MS)
enum { TRANSPORT_GRPC, TRANSPORT_HTTP, TRANSPORT_COUNT };

struct ingest {
	struct writer *writer;
	const struct attributes *resource;
	const struct route_table *routes;
	struct preparer *preparer; /* NULL: not started */
	struct budget in_flight;
	int retry_after_s;
	struct series *accepted[SIGNAL_COUNT][TRANSPORT_COUNT];
	struct series *refused[SIGNAL_COUNT][TRANSPORT_COUNT];
};

struct ingest *ingest_new(const struct ingest_options *o)
{
	static const enum metric accepted[SIGNAL_COUNT] = {
		[SIGNAL_TRACES] = M_RECEIVER_ACCEPTED_SPANS,
		[SIGNAL_METRICS] = M_RECEIVER_ACCEPTED_METRIC_POINTS,
		[SIGNAL_LOGS] = M_RECEIVER_ACCEPTED_LOG_RECORDS,
	};
	static const enum metric refused[SIGNAL_COUNT] = {
		[SIGNAL_TRACES] = M_RECEIVER_REFUSED_SPANS,
		[SIGNAL_METRICS] = M_RECEIVER_REFUSED_METRIC_POINTS,
		[SIGNAL_LOGS] = M_RECEIVER_REFUSED_LOG_RECORDS,
	};
	static const char *const transports[TRANSPORT_COUNT] = { "grpc", "http" };
	struct ingest *in = xcalloc(1, sizeof(*in));
	in->writer = o->writer;
	in->resource = o->resource;
	in->routes = o->routes;
	in->retry_after_s = o->retry_after_s;
	budget_init(&in->in_flight, o->max_in_flight_bytes);
	for (int s = 0; s < SIGNAL_COUNT; s++) {
		for (int t = 0; t < TRANSPORT_COUNT; t++) {
			in->accepted[s][t] = metric_series(accepted[s], "otlp", transports[t]);
			in->refused[s][t] = metric_series(refused[s], "otlp", transports[t]);
		}
	}
	return in;
}

static void prepare_and_commit(struct chan_item *item, bool is_stopping)
{
	struct ingest_call *call = container_of(item, struct ingest_call, item);
	enum status st = is_stopping ? ST_STOPPING : ST_OK;
	/* Else a client that sends and leaves, again and again, keeps the one thread busy for all.
	 */
	if (atomic_load(&call->is_unwanted))
		st = ST_CANCELLED;
	st = st ? ingest_refuse(call, st) : ingest_prepare(call);
	if (st)
		call->done(call);
	else
		ingest_commit(call);
}

enum status ingest_start(struct ingest *in, struct err *e)
{
	return preparer_start(prepare_and_commit, &in->preparer, e);
}

void ingest_stop(struct ingest *in)
{
	if (!in)
		return;
	preparer_stop(in->preparer);
	in->preparer = NULL;
}

void ingest_free(struct ingest *in)
{
	free(in);
}

size_t ingest_in_flight(struct ingest *in)
{
	return budget_used(&in->in_flight);
}

size_t ingest_max_message_bytes(const struct ingest *in)
{
	return in->in_flight.max / CONFIG_MESSAGE_COPIES;
}

void ingest_call_init(struct ingest *in, struct ingest_call *call, size_t max_message_bytes)
{
	size_t most = ingest_max_message_bytes(in);
	*call = (struct ingest_call){ .in = in };
	call->max_message_bytes = max_message_bytes < most ? max_message_bytes : most;
	buf_init(&call->body, call->max_message_bytes, &in->in_flight);
}

void ingest_call_done(struct ingest_call *call)
{
	buf_done(&call->body);
	buf_done(&call->decoded);
	buf_done(&call->sorted);
	arena_done(&call->arena);
}

static int transport_index(const struct ingest_call *call)
{
	CHECK(call->transport);
	return strcmp(call->transport, "grpc") == 0 ? TRANSPORT_GRPC : TRANSPORT_HTTP;
}

/* The one place that turns a status into what the client is told. */
static enum status fail(struct ingest_call *call, enum status st)
{
	struct ingest *in = call->in;
	call->status = st;
	if (status_class(st) == CLASS_RETRY)
		call->retry_after_s = in->retry_after_s;
	if (!call->err.text[0]) {
		if (st == ST_TOO_LARGE)
			(void)err_set(&call->err, st,
				      "the message is larger than %zu bytes: send smaller batches",
				      call->max_message_bytes);
		else if (status_class(st) == CLASS_RETRY)
			(void)err_set(&call->err, st,
				      "%s; nothing was stored, send it again in %d s",
				      status_text(st), in->retry_after_s);
	}
	if (call->scan.all.records)
		series_add(in->refused[call->signal][transport_index(call)],
			   call->scan.all.records);
	return st;
}

enum status ingest_refuse(struct ingest_call *call, enum status st)
{
	return fail(call, st);
}

enum status ingest_admit(struct ingest *in, struct ingest_call *call, size_t bytes)
{
	call->in = in;
	enum status st = writer_state(in->writer);
	if (!st && bytes > in->in_flight.max - budget_used(&in->in_flight))
		st = bytes > in->in_flight.max ? ST_TOO_LARGE : ST_BUSY;
	return st ? fail(call, st) : ST_OK;
}

/* Decompress into call->decoded, at most max bytes, and let the compressed bytes go. */
static enum status decode_body(struct ingest_call *call, size_t max)
{
	if (call->encoding == ENCODING_NONE || call->decoded.p)
		return ST_OK;
	struct buf plain;
	buf_init(&plain, max, &call->in->in_flight);
	enum status st = decompress(call->encoding, buf_view(&call->body), &plain, &call->err);
	if (st) {
		buf_done(&plain);
		return st;
	}
	buf_done(&call->body);
	buf_move(&call->decoded, &plain);
	return ST_OK;
}

bool ingest_is_light(struct ingest_call *call, int64_t began_ns)
{
	bool is_plain = call->encoding == ENCODING_NONE;
	if (call->body.n > (is_plain ? LIGHT_BYTES : LIGHT_COMPRESSED_BYTES) ||
	    now_mono_ns() - began_ns > LIGHT_NS)
		return false;
	if (is_plain || call->max_message_bytes <= LIGHT_BYTES)
		return true;
	/* Any other failure is found again, as quickly, when the request is prepared. */
	enum status st = decode_body(call, LIGHT_BYTES);
	call->err.text[0] = '\0';
	return st != ST_TOO_LARGE;
}

void ingest_give(struct ingest_call *call)
{
	if (call->in->preparer)
		preparer_give(call->in->preparer, &call->item);
	else
		prepare_and_commit(&call->item, false);
}

/* JSON text, wherever it is, becomes protobuf in call->decoded. */
static enum status convert_json(struct ingest_call *call)
{
	if (!call->is_json)
		return ST_OK;
	struct buf *text = call->encoding == ENCODING_NONE ? &call->body : &call->decoded;
	struct buf otlp;
	buf_init(&otlp, call->max_message_bytes, &call->in->in_flight);
	enum status st = json_to_otlp(call->signal, buf_view(text), &otlp, &call->err);
	buf_done(text);
	if (st)
		buf_done(&otlp);
	else
		buf_move(&call->decoded, &otlp);
	return st;
}

static void put_done(struct write_job *job, enum status st)
{
	struct ingest_call *call = container_of(job, struct ingest_call, put.job);
	if (st)
		(void)fail(call, st);
	else
		series_add(call->in->accepted[call->signal][transport_index(call)],
			   call->scan.all.records);
	call->status = st;
	call->done(call);
}

static void fill_put(struct ingest_call *call, const struct sorted *sorted)
{
	struct put_job *put = &call->put;
	*put = (struct put_job){ .job.done = put_done, .signal = call->signal };
	put->part_count = sorted->count;
	for (size_t i = 0; i < sorted->count; i++) {
		const struct sorted_part *from = &sorted->parts[i];
		put->parts[i] = (struct put_part){
			.class = from->class,
			.records = from->summary->records,
			.first_time_ns = from->summary->first_time_ns,
			.last_time_ns = from->summary->last_time_ns,
			.service = from->summary->service,
			.preview = from->summary->preview,
			.body = from->body,
			.destinations = call->in->routes->slots[call->signal][from->class],
		};
	}
}

/* The call ran out of room. Where others hold it, the message itself is fine, and its client must
 * not drop it. Where it holds all there is, coming again would not help. */
static enum status out_of_room(struct ingest_call *call)
{
	size_t own = call->body.cap + call->decoded.cap + call->sorted.cap + call->arena.total;
	call->err.text[0] = '\0';
	return budget_used(&call->in->in_flight) > own ? ST_BUSY : ST_TOO_LARGE;
}

enum status ingest_prepare(struct ingest_call *call)
{
	struct ingest *in = call->in;
	enum status st = writer_state(in->writer);
	if (!st)
		st = decode_body(call, call->max_message_bytes);
	if (!st)
		st = convert_json(call);
	if (st)
		return fail(call, st);

	struct bytes body = buf_view(call->decoded.p ? &call->decoded : &call->body);
	arena_init(&call->arena, ARENA_MIN + body.n, &in->in_flight);
	st = scan_request(call->signal, body, in->resource, &call->arena, &call->scan, &call->err);
	if (st == ST_TOO_LARGE && call->arena.is_starved)
		st = out_of_room(call);
	if (st)
		return fail(call, st);

	/* Attributes add to each resource: a request of very many resources must not grow without
	 * bound. */
	buf_init(&call->sorted, call->max_message_bytes + ARENA_MIN, &in->in_flight);
	struct sorted sorted = { 0 };
	st = sort_request(&call->scan, in->resource, &call->sorted, &sorted);
	if (st == ST_BUSY)
		st = out_of_room(call);
	if (st)
		return fail(call, st);
	fill_put(call, &sorted);
	return ST_OK;
}

void ingest_commit(struct ingest_call *call)
{
	if (call->put.part_count == 0)
		put_done(&call->put.job, ST_OK);
	else
		writer_put(call->in->writer, &call->put);
}
