/* document.c - the documents of the API, built from what storage/inspect.h finds.
 *
 * Keys are stable: docs/admin-api.md shows each, and the command line and dashboards read them.
 * Times are RFC 3339 in UTC, ages and durations seconds, sizes bytes. What is not known is null and
 * never a made-up zero. Counts of objects stay in the list of keys even where they are 0.
 *
 * A batch's records can be large. They are decoded to text and spliced into the document, not built
 * as a tree: that would cost ten times their size. */
#include "admin/document.h"

#include "admin/control_call.h"
#include "admin/value.h"
#include "gateway/base/compression.h"
#include "gateway/base/now.h"
#include "gateway/telemetry/json.h"

/* json_object_set_new takes the value, also where it fails; out of memory then shows as a missing
 * key, and the document as a whole is checked by value_write. */
static void set(json_t *object, const char *key, json_t *value)
{
	(void)json_object_set_new(object, key, value);
}

static const char *state_word(enum status state)
{
	switch (state) {
	case ST_OK:
		return "ok";
	case ST_FULL:
	case ST_NO_SPACE:
		return "full";
	case ST_STOPPING:
		return "stopping";
	default:
		return "recovering";
	}
}

static const char salvaging[] =
	"a damaged queue file was set aside; what can be read of it is being moved over";

static json_t *gateway_object(const struct gateway_view *g)
{
	json_t *o = json_object();
	bool is_ready = g->state == ST_OK;
	set(o, "state", json_string(state_word(g->state)));
	set(o, "is_ready", json_boolean(is_ready));
	set(o, "is_degraded", json_boolean(g->is_degraded));
	set(o, "reason",
	    !is_ready      ? json_string(status_text(g->state)) :
	    g->is_degraded ? json_string(salvaging) :
			     json_null());
	set(o, "uptime_s", json_integer(g->uptime_ns / NS_PER_S));
	set(o, "in_flight_bytes", json_integer((json_int_t)g->in_flight_bytes));
	return o;
}

enum status document_health(const struct gateway_view *g, struct buf *out)
{
	json_t *o = json_object();
	set(o, "status", json_string(g->is_degraded ? "degraded" : "ok"));
	set(o, "reason", g->is_degraded ? json_string(salvaging) : json_null());
	set(o, "queue", json_string(state_word(g->state)));
	set(o, "version", json_string(TIDEGATE_VERSION));
	set(o, "uptime_s", json_integer(g->uptime_ns / NS_PER_S));
	return value_write(o, out);
}

enum status document_ready(const struct gateway_view *g, struct buf *out)
{
	json_t *o = json_object();
	set(o, "status", json_string(g->state == ST_OK ? "ready" : "not_ready"));
	set(o, "reason", g->state == ST_OK ? json_null() : json_string(status_text(g->state)));
	enum status st = value_write(o, out);
	return st ? st : g->state;
}

enum status document_error(const char *error, const char *hint, struct buf *out)
{
	json_t *o = json_object();
	set(o, "error", value_string(error));
	if (hint)
		set(o, "hint", value_string(hint));
	return value_write(o, out);
}

static json_t *count_object(const struct inspect_count *c)
{
	json_t *o = json_object();
	set(o, "records", json_integer(c->records));
	set(o, "bytes", json_integer(c->bytes));
	set(o, "batches", c->batches < 0 ? json_null() : json_integer(c->batches));
	return o;
}

/* The sum, and below "signals" its parts. */
static json_t *counts_object(const struct inspect_count *of_signal)
{
	struct inspect_count sum = { 0 };
	json_t *signals = json_object();
	for (int s = 0; s < SIGNAL_COUNT; s++) {
		const struct inspect_count *c = &of_signal[s];
		sum.records += c->records;
		sum.bytes += c->bytes;
		sum.batches = c->batches < 0 || sum.batches < 0 ? -1 : sum.batches + c->batches;
		set(signals, signal_text((enum signal)s), count_object(c));
	}
	json_t *o = count_object(&sum);
	set(o, "signals", signals);
	return o;
}

static int64_t difference_of(const struct inspect_destination *d)
{
	int64_t sum = 0;
	for (int s = 0; s < SIGNAL_COUNT; s++)
		sum += inspect_difference(d, (enum signal)s);
	return sum;
}

static json_t *destination_object(const struct inspect_destination *d, bool is_estimate)
{
	json_t *o = json_object();
	set(o, "name", value_string(d->name));
	set(o, "kind", value_string(d->kind));
	set(o, "is_configured", json_boolean(d->is_configured));
	set(o, "state", value_string(d->state));
	set(o, "state_since", value_time(d->state_since_ns));
	set(o, "reason", value_string(d->reason));
	set(o, "next_attempt_at", value_time(d->next_attempt_at_ns));
	set(o, "last_success_at", value_time(d->last_success_at_ns));
	set(o, "oldest_at", value_time(d->oldest_at_ns));
	set(o, "oldest_age_s", value_age(d->oldest_at_ns));
	set(o, "ready", counts_object(d->ready));
	set(o, "dead", counts_object(d->dead));
	set(o, "difference", is_estimate ? json_null() : json_integer(difference_of(d)));
	return o;
}

static void add_salvage(void *ctx, const struct inspect_salvage *s)
{
	json_t *o = json_object();
	set(o, "path", value_string(s->path));
	set(o, "reason", value_string(s->reason));
	set(o, "state", value_string(s->state));
	set(o, "found_at", value_time(s->found_at_ns));
	set(o, "finished_at", value_time(s->finished_at_ns));
	set(o, "batches", json_integer(s->batches));
	set(o, "records", json_integer(s->records));
	(void)json_array_append_new(ctx, o);
}

static json_t *queue_object(const struct document_source *s, const struct inspect_file *f)
{
	json_t *o = json_object();
	int64_t file = f->pages * f->page_bytes;
	set(o, "path", value_string(s->queue_path));
	set(o, "file_bytes", json_integer(file));
	set(o, "free_bytes", json_integer(f->free_pages * f->page_bytes));
	set(o, "wal_bytes", json_integer(f->wal_bytes));
	set(o, "used_bytes", json_integer(file - f->free_pages * f->page_bytes + f->wal_bytes));
	set(o, "capacity_bytes",
	    s->capacity_bytes ? json_integer((json_int_t)s->capacity_bytes) : json_null());
	set(o, "page_bytes", json_integer(f->page_bytes));
	set(o, "schema_version", json_integer(f->version));
	return o;
}

/* Sum of the differences, null where it cannot be known: the one number that must be 0. */
static json_t *balance_object(const struct inspect_shape *shape)
{
	int64_t sum = 0;
	for (size_t i = 0; i < shape->count; i++)
		for (int s = 0; s < SIGNAL_COUNT; s++) {
			int64_t d = inspect_difference(&shape->items[i], (enum signal)s);
			sum += d < 0 ? -d : d; /* two errors must not cancel out */
		}
	json_t *o = json_object();
	set(o, "is_balanced", shape->is_estimate ? json_null() : json_boolean(sum == 0));
	set(o, "difference", shape->is_estimate ? json_null() : json_integer(sum));
	return o;
}

enum status document_status(const struct document_source *s, struct buf *out, struct err *e)
{
	struct inspect_file file;
	struct inspect_shape shape = { 0 };
	json_t *salvages = json_array();
	json_t *root = NULL;
	enum status st = inspect_file(s->in, &file, e);
	if (!st)
		st = inspect_shape(s->in, &shape, e);
	if (!st)
		st = inspect_salvages(s->in, add_salvage, salvages, e);
	if (st)
		goto out;
	root = json_object();
	set(root, "version", json_string(TIDEGATE_VERSION));
	set(root, "at", value_time(now_wall_ns()));
	set(root, "gateway", s->gateway ? gateway_object(s->gateway) : json_null());
	set(root, "queue", queue_object(s, &file));
	set(root, "balance", balance_object(&shape));
	set(root, "is_estimate", json_boolean(shape.is_estimate));
	json_t *list = json_array();
	for (size_t i = 0; i < shape.count; i++)
		(void)json_array_append_new(list,
					    destination_object(&shape.items[i], shape.is_estimate));
	set(root, "destinations", list);
	set(root, "uplinks", control_uplinks(s->control));
	(void)json_object_set(root, "salvages", salvages);
	st = value_write(root, out);
out:
	json_decref(salvages);
	inspect_shape_done(&shape);
	return st;
}

struct balance_rows {
	json_t *list;
	int64_t sum;
};

static void add_balance(void *ctx, const struct inspect_balance *b)
{
	struct balance_rows *rows = ctx;
	json_t *o = json_object();
	set(o, "destination", value_string(b->destination));
	set(o, "signal", value_string(b->signal));
	set(o, outcome_text(OUTCOME_ACCEPTED), json_integer(b->totals[OUTCOME_ACCEPTED]));
	set(o, "queued", json_integer(b->queued));
	set(o, "dead", json_integer(b->dead));
	for (int i = 0; i < OUTCOME_COUNT; i++)
		if (i != OUTCOME_ACCEPTED)
			set(o, outcome_text((enum outcome)i), json_integer(b->totals[i]));
	set(o, "difference", json_integer(b->difference));
	rows->sum += b->difference < 0 ? -b->difference : b->difference;
	(void)json_array_append_new(rows->list, o);
}

enum status document_balance(const struct document_source *s, struct buf *out, struct err *e)
{
	struct balance_rows rows = { .list = json_array() };
	enum status st = inspect_balance(s->in, add_balance, &rows, e);
	if (st) {
		json_decref(rows.list);
		return st;
	}
	json_t *root = json_object();
	set(root, "at", value_time(now_wall_ns()));
	set(root, "is_balanced", json_boolean(rows.sum == 0));
	set(root, "balance", rows.list);
	return value_write(root, out);
}

static json_t *cursor_value(int64_t next)
{
	return next ? json_integer(next) : json_null();
}

static void add_loss(void *ctx, const struct inspect_loss *l)
{
	json_t *o = json_object();
	set(o, "id", json_integer(l->id));
	set(o, "at", value_time(l->at_ns));
	set(o, "destination", value_string(l->destination));
	set(o, "signal", value_string(l->signal));
	set(o, "class", value_string(l->class));
	set(o, "reason", value_string(l->reason));
	set(o, "records", json_integer(l->records));
	set(o, "bytes", json_integer(l->bytes));
	set(o, "first_time", value_time(l->first_time_ns));
	set(o, "last_time", value_time(l->last_time_ns));
	set(o, "detail", value_string(l->detail));
	(void)json_array_append_new(ctx, o);
}

enum status document_losses(const struct document_source *s, const struct parameters *p,
			    struct buf *out, struct err *e)
{
	json_t *list = json_array();
	int64_t next = 0;
	enum status st = inspect_losses(s->in, p->filter.after_id, p->filter.limit, add_loss, list,
					&next, e);
	if (st) {
		json_decref(list);
		return st;
	}
	json_t *root = json_object();
	set(root, "losses", list);
	set(root, "next_cursor", cursor_value(next));
	return value_write(root, out);
}

static void add_batch(void *ctx, const struct inspect_batch *b)
{
	json_t *o = json_object();
	set(o, "id", json_integer(b->id));
	set(o, "received_at", value_time(b->received_at_ns));
	set(o, "age_s", value_age(b->received_at_ns));
	set(o, "signal", value_string(b->signal));
	set(o, "class", value_string(b->class));
	set(o, "tenant", value_string(b->tenant));
	set(o, "service", value_string(b->service));
	set(o, "preview", value_string(b->preview));
	set(o, "requests", json_integer(b->requests));
	set(o, "records", json_integer(b->records));
	set(o, "raw_bytes", json_integer(b->raw_bytes));
	set(o, "stored_bytes", json_integer(b->stored_bytes));
	set(o, "encoding", value_string(b->encoding));
	set(o, "first_time", value_time(b->first_time_ns));
	set(o, "last_time", value_time(b->last_time_ns));
	set(o, "deliveries", json_array());
	(void)json_array_append_new(ctx, o);
}

static void add_delivery(void *ctx, const struct inspect_delivery *d)
{
	json_t *batch = json_array_get(ctx, json_array_size(ctx) - 1);
	json_t *o = json_object();
	set(o, "destination", value_string(d->destination));
	set(o, "state", value_string(d->state));
	set(o, "records", json_integer(d->records));
	set(o, "attempts", json_integer(d->attempts));
	set(o, "last_attempt_at", value_time(d->last_attempt_at_ns));
	set(o, "last_status", d->last_status ? json_integer(d->last_status) : json_null());
	set(o, "last_error", value_string(d->last_error));
	(void)json_array_append_new(json_object_get(batch, "deliveries"), o);
}

enum status document_batches(const struct document_source *s, const struct parameters *p,
			     struct buf *out, struct err *e)
{
	json_t *list = json_array();
	int64_t next = 0;
	struct inspect_visitor v = { .batch = add_batch, .delivery = add_delivery, .ctx = list };
	enum status st = inspect_batches(s->in, &p->filter, &v, &next, e);
	if (st) {
		json_decref(list);
		return st;
	}
	json_t *root = json_object();
	set(root, "batches", list);
	set(root, "next_cursor", cursor_value(next));
	return value_write(root, out);
}

/* The records as JSON text, or why they cannot be shown: a damaged payload is no reason to hide
 * what else is known of the batch. */
static enum status decode(enum status st, enum encoding encoding, enum signal signal,
			  struct bytes stored, struct buf *text, struct err *e)
{
	struct buf raw;
	buf_init(&raw, DOCUMENT_PAYLOAD_MAX, text->budget);
	if (!st)
		st = decompress(encoding, stored, &raw, e);
	if (!st)
		st = otlp_to_json(signal, buf_view(&raw), text, e);
	buf_done(&raw);
	return st;
}

static bool is_damage(enum status st)
{
	return st == ST_CORRUPT || st == ST_INVALID;
}

/* {...metadata...} becomes {...metadata...,"data":{...records...}}. */
static enum status write_batch(json_t *list, enum status decoded, const struct buf *text,
			       struct buf *out, const struct err *e)
{
	struct buf head;
	buf_init(&head, DOCUMENT_MAX, out->budget);
	json_t *batch = json_array_get(list, 0);
	set(batch, "data_error", decoded ? value_string(err_text(e, decoded)) : json_null());
	enum status st = value_write(json_incref(batch), &head);
	if (!st)
		st = buf_append(out, bytes_of(head.p, head.n - 1));
	if (!st)
		st = buf_append_str(out, ",\"data\":");
	if (!st)
		st = decoded ? buf_append_str(out, "null") : buf_append(out, buf_view(text));
	if (!st)
		st = buf_append_byte(out, '}');
	buf_done(&head);
	return st;
}

static enum status say_too_large(enum status st, int64_t id, struct err *e)
{
	if (st == ST_TOO_LARGE)
		return err_set(e, st, "the records of batch %lld are larger than %d MiB",
			       (long long)id, DOCUMENT_PAYLOAD_MAX >> 20);
	return st == ST_BUSY ?
		       err_set(e, st, "too many batches are being looked at at this moment") :
		       st;
}

enum status document_batch(const struct document_source *s, int64_t id, const struct parameters *p,
			   struct buf *out, struct err *e)
{
	json_t *list = json_array();
	struct buf stored;
	struct buf text;
	enum encoding encoding = ENCODING_NONE;
	enum signal signal = SIGNAL_TRACES;
	struct inspect_visitor v = { .batch = add_batch, .delivery = add_delivery, .ctx = list };
	buf_init(&stored, DOCUMENT_PAYLOAD_MAX, out->budget);
	buf_init(&text, DOCUMENT_MAX, out->budget);
	enum status st = inspect_batch(s->in, id, &v, &stored, &encoding, &signal, e);
	if (p->is_otlp) {
		if (!st)
			st = decompress(encoding, buf_view(&stored), out, e);
	} else if (!st || (st == ST_CORRUPT && json_array_size(list) == 1)) {
		st = decode(st, encoding, signal, buf_view(&stored), &text, e);
		if (!st || is_damage(st))
			st = write_batch(list, st, &text, out, e);
	}
	json_decref(list);
	buf_done(&stored);
	buf_done(&text);
	return say_too_large(st, id, e);
}
