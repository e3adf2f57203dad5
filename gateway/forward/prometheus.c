/* prometheus.c - remote write (1.0 and 2.0), the exporter of kind prometheus.
 *
 * One export is one request: converted (prometheus_convert.c), written (prometheus_write.c),
 * compressed with snappy, sent by http_exporter.c, its answer read by prometheus_reply.c.
 *
 * Version: auto begins with 2.0. A receiver that does not take it gets the same export as 1.0 at
 * once, and everything after it, until the next start. What is older than BACKLOG_S goes as 1.0 in
 * any case: receivers refuse samples an hour behind others, and of a 2.0 request they then store a
 * part and say how many, but not which. A 1.0 request is taken whole or not at all, so that what
 * was refused is found and kept (docs/decisions/0020).
 *
 * Delta metrics: what an export adds to the sums is kept beside it while it is under way. Its
 * answer decides: delivered, and it is the state from then on; anything else, and it is forgotten,
 * so that the next attempt starts from what was delivered (prometheus_delta.c). Two exports with
 * deltas cannot be under way at a time: the second waits for the first.
 *
 * A request that would be larger than any receiver takes, or that memory has no room for, is not
 * sent: the reply is made here, as if the receiver had said 413, and the export goes in parts. */
#include <stdio.h>
#include <sys/random.h>

#include "gateway/base/compression.h"
#include "gateway/base/log.h"
#include "gateway/base/metrics.h"
#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"
#include "gateway/forward/http_exporter.h"
#include "gateway/forward/prometheus_convert.h"
#include "gateway/forward/prometheus_reply.h"

enum {
	RAW_BYTES_MAX =
		1024 * 1024, /* of OTLP: remote write says for each sample what that says once */
	ROOM_MIN = 8 << 20,
	ROOM_MAX = 256 << 20,
	ROOM_GROWTH = 32, /* times the OTLP: no real telemetry comes near */
	SLOTS = 16,
	BACKLOG_S = 1800,
	LOG_EVERY_S = 60
};

/* One export, from its conversion to its answer. */
struct slot {
	const struct export *export; /* NULL: free */
	bool is_under_way;
	bool is_too_large;
	struct prometheus_changes *changes;
	struct prometheus_sent sent;
	struct prometheus_tally tally;
};

struct prometheus {
	struct http_exporter http;
	const struct destination_config *config;
	struct prometheus_settings settings;
	struct prometheus_delta *delta;
	enum prometheus_protocol protocol;
	bool is_2_known; /* the receiver spoke 2.0 */
	bool is_2_only;  /* and answered 415 to 1.0 */
	struct slot slots[SLOTS];
	struct log_rate begun_rate;
	uint64_t begun; /* not yet in the log */
	uint64_t evicted;
	struct series *delta_series;
	struct series *delta_begun;
	struct series *delta_evicted;
	struct series *attributes_left_out;
	struct log_rate attributes_rate;
};

/* ---- slots ---- */

static struct slot *slot_of(struct prometheus *p, const struct export *x)
{
	for (size_t i = 0; i < SLOTS; i++)
		if (p->slots[i].export == x)
			return &p->slots[i];
	return NULL;
}

static void slot_clear(struct slot *s)
{
	prometheus_changes_free(s->changes);
	*s = (struct slot){ 0 };
}

/* An export that was converted and never sent (there was no room for its body) is over. */
static struct slot *slot_take(struct prometheus *p, const struct export *x)
{
	for (size_t i = 0; i < SLOTS; i++)
		if (!p->slots[i].is_under_way)
			slot_clear(&p->slots[i]);
	struct slot *s = slot_of(p, NULL);
	if (s)
		s->export = x;
	return s;
}

static bool are_sums_under_way(const struct prometheus *p)
{
	for (size_t i = 0; i < SLOTS; i++)
		if (p->slots[i].is_under_way && p->slots[i].changes &&
		    prometheus_changes_has_sums(p->slots[i].changes))
			return true;
	return false;
}

static void commit_sums(struct prometheus *p, struct slot *s)
{
	struct prometheus_delta_counts counts;
	uint64_t skipped;
	prometheus_delta_commit(p->delta, s->changes, &counts);
	s->changes = NULL;
	series_add(p->delta_begun, (double)counts.begun);
	series_add(p->delta_evicted, (double)counts.evicted);
	series_set(p->delta_series, (double)prometheus_delta_count(p->delta));
	p->begun += counts.begun;
	p->evicted += counts.evicted;
	if (!(p->begun + p->evicted) || !log_every(&p->begun_rate, LOG_EVERY_S, &skipped))
		return;
	log_info("forward.delta_sums", "destination=%s begun=%llu evicted=%llu kept=%zu",
		 p->config->name, (unsigned long long)p->begun, (unsigned long long)p->evicted,
		 prometheus_delta_count(p->delta));
	p->begun = 0;
	p->evicted = 0;
}

/* Of resources and scopes: the data points were sent without them. */
static void note_attributes(struct prometheus *p, uint64_t left_out)
{
	uint64_t skipped;
	series_add(p->attributes_left_out, (double)left_out);
	if (left_out && log_every(&p->attributes_rate, LOG_EVERY_S, &skipped))
		log_warn("forward.attributes_left_out",
			 "destination=%s attributes=%llu hint=\"a resource or scope has more than "
			 "256 attributes, or 64 KiB of them: see docs/destinations.md\"",
			 p->config->name, (unsigned long long)left_out);
}

/* What the slot's export leaves behind when it is delivered. */
static void slot_delivered(struct prometheus *p, struct slot *s)
{
	for (int i = 0; i < PROMETHEUS_LEFT_COUNT; i++)
		if (s->tally.left_out[i])
			series_add(metric_series(M_DESTINATION_LEFT_OUT, p->config->name,
						 prometheus_left_word((enum prometheus_left)i)),
				   (double)s->tally.left_out[i]);
	note_attributes(p, s->tally.attributes);
	commit_sums(p, s);
	slot_clear(s);
}

/* ---- conversion ---- */

static size_t room_for(size_t raw_bytes)
{
	size_t room = raw_bytes < ROOM_MAX / ROOM_GROWTH ? raw_bytes * ROOM_GROWTH : ROOM_MAX;
	return room < ROOM_MAX - ROOM_MIN ? room + ROOM_MIN : ROOM_MAX;
}

static enum prometheus_protocol protocol_for(const struct prometheus *p,
					     const struct prometheus_batch *b)
{
	int64_t backlog_ms = now_wall_ns() / NS_PER_MS - BACKLOG_S * 1000LL;
	bool is_free = p->config->prometheus_protocol == CONFIG_PROMETHEUS_AUTO && !p->is_2_only;
	return is_free && b->oldest_ms < backlog_ms ? PROMETHEUS_WRITE_1 : p->protocol;
}

static enum status convert_to(struct prometheus *p, struct slot *s, struct bytes otlp,
			      struct arena *arena, struct buf *out)
{
	const struct export *x = s->export;
	struct prometheus_origin origins[EXPORT_MEMBERS_MAX];
	struct prometheus_batch b;
	struct buf raw;
	size_t end = 0;
	for (size_t i = 0; i < x->count; i++) {
		end += x->members[i].raw_bytes;
		origins[i] = (struct prometheus_origin){ end, x->members[i].received_at_ns };
	}
	const struct prometheus_input in = { otlp, origins, x->count };
	buf_init(&raw, room_for(otlp.n), out->budget);
	enum status st =
		prometheus_series_init(&b, &p->settings.naming, p->settings.seeds[0], arena);
	if (!st)
		st = prometheus_convert(&p->settings, &in, p->delta, s->changes, &b, &s->tally);
	s->sent = (struct prometheus_sent){ .protocol = protocol_for(p, &b),
					    .samples = b.values + b.histograms };
	if (!st)
		st = prometheus_write(s->sent.protocol, &b, &raw);
	if (!st && s->sent.samples)
		st = snappy_append(buf_view(&raw), out);
	prometheus_series_done(&b);
	buf_done(&raw);
	return st;
}

static void note_left_out(struct slot *s, struct export *x)
{
	uint64_t records = 0;
	uint64_t left_out = 0;
	for (size_t i = 0; i < x->count; i++)
		records += x->members[i].records;
	if (x->part.count)
		records = x->part.count;
	for (int i = 0; i < PROMETHEUS_LEFT_COUNT; i++) {
		if (s->tally.left_out[i] && !left_out)
			(void)snprintf(x->left_out_reason, sizeof(x->left_out_reason), "%s",
				       prometheus_left_text((enum prometheus_left)i));
		left_out += s->tally.left_out[i];
	}
	x->left_out = (uint32_t)(left_out < records ? left_out : records);
	s->sent.records = records - x->left_out;
}

static enum status convert(void *exporter, struct export *x, struct bytes otlp, struct buf *out,
			   struct err *e)
{
	struct prometheus *p = exporter;
	struct slot *s = slot_take(p, x);
	if (!s)
		return err_set(e, ST_BUSY, "too many exports are under way");
	/* What was queued when the destination was of another kind, or was moved to it. To be sent
	 * is something that http_exporter_send refuses: read as metrics, logs would be garbage. */
	if (x->signal != SIGNAL_METRICS)
		return buf_append_byte(out, 0);
	size_t start = out->n;
	struct arena arena;
	arena_init(&arena, room_for(otlp.n), out->budget);
	p->settings.has_metadata = p->protocol == PROMETHEUS_WRITE_2;
	s->changes = prometheus_changes_new(room_for(otlp.n), out->budget);
	enum status st = convert_to(p, s, otlp, &arena, out);
	arena_done(&arena);
	if (!st && prometheus_changes_has_sums(s->changes) && are_sums_under_way(p))
		st = ST_BUSY;
	/* Not the bytes that were stored, though their checksum is right. Alone it is known which.
	 */
	if (st == ST_INVALID && x->count == 1)
		st = err_set(e, ST_CORRUPT, "the stored batch is no metrics request");
	s->is_too_large = st == ST_TOO_LARGE || st == ST_INVALID;
	if (s->is_too_large) {
		buf_truncate(out, start);
		s->tally = (struct prometheus_tally){ 0 };
		st = buf_append_byte(out, 0); /* something to send, which send_write looks at */
	}
	note_left_out(s, x);
	if (st)
		slot_clear(s);
	else if (out->n == start)
		slot_delivered(p, s);
	return st;
}

/* ---- request and answer ---- */

static void send_write(struct exporter *x, struct export *export)
{
	struct prometheus *p = (struct prometheus *)x;
	struct slot *s = slot_of(p, export);
	CHECK(s);
	s->is_under_way = true;
	if (!s->is_too_large) {
		http_exporter_send(x, export);
		return;
	}
	export->reply = (struct export_reply){ .verdict = VERDICT_TOO_LARGE, .is_own = true };
	(void)snprintf(export->reply.error, sizeof(export->reply.error),
		       "as remote write this is more than %d MiB, which is too much for one "
		       "request",
		       PROMETHEUS_WRITE_MAX >> 20);
	http_exporter_answer(x, export);
}

static void add_headers(struct exporter *x, const struct export *export, struct http_headers *h)
{
	struct prometheus *p = (struct prometheus *)x;
	bool is_2 = slot_of(p, export)->sent.protocol == PROMETHEUS_WRITE_2;
	http_headers_add(h, "Content-Encoding", "snappy");
	http_headers_add(h, "Content-Type",
			 is_2 ? "application/x-protobuf;proto=io.prometheus.write.v2.Request" :
				"application/x-protobuf");
	http_headers_add(h, "X-Prometheus-Remote-Write-Version", is_2 ? "2.0.0" : "0.1.0");
}

static void read_answer(struct exporter *x, const struct http_answer *a, struct export *export)
{
	struct prometheus *p = (struct prometheus *)x;
	const struct slot *s = slot_of(p, export);
	enum prometheus_answer answer =
		prometheus_reply_read(a, &s->sent, p->is_2_known, &export->reply);
	if (answer == PROMETHEUS_ANSWER_2)
		p->is_2_known = true;
	if (a->status == 415 && s->sent.protocol == PROMETHEUS_WRITE_1 &&
	    p->protocol == PROMETHEUS_WRITE_2) {
		p->is_2_only = true;
		export->reply.verdict = VERDICT_ENCODING;
		(void)snprintf(export->reply.error, sizeof(export->reply.error),
			       "the receiver takes remote write 2.0 only: the backlog too");
		return;
	}
	if (answer != PROMETHEUS_ANSWER_NOT_2 ||
	    p->config->prometheus_protocol != CONFIG_PROMETHEUS_AUTO)
		return;
	p->protocol = PROMETHEUS_WRITE_1;
	export->reply.verdict = VERDICT_ENCODING;
	(void)snprintf(export->reply.error, sizeof(export->reply.error),
		       "the receiver does not take remote write 2.0 (HTTP %d): 1.0 from here on",
		       a->status);
}

static enum exporter_event poll_write(struct exporter *x, int64_t deadline_ns, struct export **ret)
{
	struct prometheus *p = (struct prometheus *)x;
	enum exporter_event event = http_exporter_poll(x, deadline_ns, ret);
	if (event != EXPORTER_DONE)
		return event;
	struct slot *s = slot_of(p, *ret);
	CHECK(s);
	if ((*ret)->reply.verdict == VERDICT_DELIVERED)
		slot_delivered(p, s);
	else
		slot_clear(s);
	return event;
}

/* ---- opening ---- */

static void close_prometheus(struct exporter *x)
{
	struct prometheus *p = (struct prometheus *)x;
	if (!p)
		return;
	http_exporter_done(&p->http);
	for (size_t i = 0; i < SLOTS; i++)
		slot_clear(&p->slots[i]);
	prometheus_delta_free(p->delta);
	free(p);
}

static void make_settings(struct prometheus *p, const struct destination_config *c)
{
	struct prometheus_settings *s = &p->settings;
	int strategy = c->prometheus_translation_strategy;
	s->naming.is_escaped = strategy == CONFIG_PROMETHEUS_ESCAPED_SUFFIXED ||
			       strategy == CONFIG_PROMETHEUS_ESCAPED;
	s->naming.has_suffixes = c->prometheus_add_metric_suffixes &&
				 (strategy == CONFIG_PROMETHEUS_ESCAPED_SUFFIXED ||
				  strategy == CONFIG_PROMETHEUS_SUFFIXED);
	s->has_scope_labels = c->prometheus_scope_labels;
	s->has_resource_labels = c->prometheus_resource_labels;
	s->external_labels = c->prometheus_external_labels;
	CHECK(getrandom(s->seeds, sizeof(s->seeds), 0) == (ssize_t)sizeof(s->seeds));
}

static const char *const own_headers[] = { "x-prometheus-remote-write-version", "user-agent",
					   NULL };

static const struct http_kind kind = {
	.name = "prometheus",
	.paths = { [SIGNAL_METRICS] = "" },
	.own_headers = own_headers,
	.headers = add_headers,
	.read = read_answer,
};

static enum status open_prometheus(const struct destination_config *c, int wake_fd,
				   struct exporter **ret, struct err *e)
{
	struct prometheus *p = xcalloc(1, sizeof(*p));
	p->http.base.ops = &prometheus_ops;
	p->config = c;
	p->protocol = c->prometheus_protocol == CONFIG_PROMETHEUS_1 ? PROMETHEUS_WRITE_1 :
								      PROMETHEUS_WRITE_2;
	p->delta = prometheus_delta_new(c->prometheus_delta_state_size);
	p->delta_series = metric_series(M_DELTA_SERIES, c->name);
	p->delta_begun = metric_series(M_DELTA_BEGUN, c->name);
	p->delta_evicted = metric_series(M_DELTA_EVICTED, c->name);
	p->attributes_left_out = metric_series(M_DESTINATION_LEFT_OUT_ATTRIBUTES, c->name);
	make_settings(p, c);
	enum status st = http_exporter_init(&p->http, &kind, c, wake_fd, e);
	if (st) {
		close_prometheus(&p->http.base);
		return st;
	}
	*ret = &p->http.base;
	return ST_OK;
}

const struct exporter_ops prometheus_ops = {
	.max_raw_bytes = RAW_BYTES_MAX,
	.convert = convert,
	.open = open_prometheus,
	.send = send_write,
	.probe = http_exporter_probe,
	.poll = poll_write,
	.is_renewed = http_exporter_is_renewed,
	.close = close_prometheus,
};
