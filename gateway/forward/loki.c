/* loki.c - Loki's push API (HTTP POST /loki/api/v1/push), the exporter of kind loki.
 *
 * One export is one push: converted (loki_convert.c), compressed as the format has it, sent by
 * http_exporter.c. Answers:
 *
 *   204   taken
 *   260   Loki's own: ingestion is blocked for this tenant, and nothing was taken. Again later
 *   400   some entry was refused for good, and the text names the first; the valid ones may be
 *         stored. The export is taken apart as any refusal is; what Loki has already it recognises
 *         by stream, time and line, and drops
 *   429   a rate or stream limit. Again, when Retry-After says or the back-off ends
 *
 * A push that holds more than Loki ever takes at once would be answered with 429 for ever. So it is
 * not sent: the reply is made here, as if Loki had said 413, and the export goes in parts. */
#include <stdio.h>

#include "gateway/base/xalloc.h"
#include "gateway/forward/http_exporter.h"
#include "gateway/forward/loki_convert.h"

enum {
	GZIP_LEVEL = 3, /* as export.c */
	/* Small beside LOKI_PUSH_MAX, as a push says with each line what OTLP says once. */
	RAW_BYTES_MAX = 1024 * 1024
};
static const char default_label[] = "service.name";

struct loki {
	struct http_exporter http;
	struct loki_form form;
	struct buf names;        /* what the form's labels are called */
	struct compressor *gzip; /* NULL: protobuf */
};

/* The body of an export that is not to be sent, but in parts: no push of any kind is so short. */
static const uint8_t in_parts[] = { 0 };

/* ---- opening ---- */

static int compare_names(const void *left, const void *right)
{
	const struct loki_label_source *a = left;
	const struct loki_label_source *b = right;
	size_t n = a->name.n < b->name.n ? a->name.n : b->name.n;
	int by_text = memcmp(a->name.p, b->name.p, n);
	return by_text ? by_text : (a->name.n > b->name.n) - (a->name.n < b->name.n);
}

static enum status make_label(struct loki *l, const char *attribute, struct err *e)
{
	struct loki_form *f = &l->form;
	size_t at = l->names.n;
	enum status st = loki_name(bytes_str(attribute), &l->names);
	struct bytes name = bytes_of(l->names.p + at, l->names.n - at);
	bool is_taken = bytes_equal(name, bytes_str(LOKI_CLASS_LABEL));
	for (size_t i = 0; i < f->label_count; i++)
		is_taken = is_taken || bytes_equal(name, f->labels[i].name);
	if (st || is_taken || f->label_count == LOKI_LABELS_MAX - 1)
		return err_set(e, st ? st : ST_INVALID,
			       "loki.labels: %.64s is one label too many, or twice the same",
			       attribute);
	f->labels[f->label_count++] =
		(struct loki_label_source){ .attribute = bytes_str(attribute), .name = name };
	return ST_OK;
}

static enum status make_form(struct loki *l, const struct destination_config *c, struct err *e)
{
	char *const defaults[] = { (char *)(uintptr_t)default_label, NULL };
	char *const *labels = c->loki_labels && c->loki_labels[0] ? c->loki_labels : defaults;
	enum status st;
	l->form.is_json = c->loki_format == CONFIG_LOKI_FORMAT_JSON;
	l->form.max_line = c->loki_max_line_size;
	l->form.leaves_out = c->loki_long_lines == CONFIG_LOKI_LONG_LINES_LEAVE_OUT;
	/* Reserved at once: labels point into it. */
	buf_init(&l->names, LOKI_LABELS_MAX * (LOKI_NAME_MAX + 8), NULL);
	st = buf_reserve(&l->names, l->names.max);
	for (; *labels && !st; labels++)
		st = make_label(l, *labels, e);
	qsort(l->form.labels, l->form.label_count, sizeof(l->form.labels[0]), compare_names);
	if (l->form.is_json)
		l->gzip = compressor_new(ENCODING_GZIP, GZIP_LEVEL);
	return st;
}

static void close_loki(struct exporter *x)
{
	struct loki *l = (struct loki *)x;
	if (!l)
		return;
	http_exporter_done(&l->http);
	buf_done(&l->names);
	compressor_free(l->gzip);
	free(l);
}

/* ---- the push ---- */

static void add_headers(struct exporter *x, const struct export *export, struct http_headers *h)
{
	const struct loki *l = (const struct loki *)x;
	(void)export;
	http_headers_add(h, "Content-Type",
			 l->form.is_json ? "application/json" : "application/x-protobuf");
	/* Of protobuf Loki takes snappy for granted. */
	if (l->form.is_json)
		http_headers_add(h, "Content-Encoding", "gzip");
}

static void read_answer(struct exporter *x, const struct http_answer *a, struct export *export)
{
	(void)x;
	http_reply_read_plain(a, &export->reply);
}

static enum status convert(void *exporter, struct export *x, struct bytes otlp, struct buf *out,
			   struct err *e)
{
	struct loki *l = exporter;
	struct loki_member members[EXPORT_MEMBERS_MAX];
	struct loki_push push = { 0 };
	struct buf text;
	/* What was queued when the destination was of another kind, or was moved to it: something
	 * to be sent, which http_exporter_send refuses. */
	if (x->signal != SIGNAL_LOGS)
		return buf_append_byte(out, 0);
	for (size_t i = 0; i < x->count; i++)
		members[i] = (struct loki_member){ .raw_bytes = x->members[i].raw_bytes,
						   .received_at_ns = x->members[i].received_at_ns };
	struct loki_source source = {
		.otlp = otlp, .class = x->class, .members = members, .member_count = x->count
	};
	buf_init(&text, SIZE_MAX, out->budget);
	enum status st = loki_convert(&l->form, &source, &text, &push, e);
	/* Not the bytes that were stored, though their checksum is right: alone it is known whose.
	 */
	if (st == ST_INVALID && x->count == 1)
		st = ST_CORRUPT;
	else if (st == ST_INVALID)
		push.is_too_large = true;
	if (push.is_too_large && st != ST_BUSY)
		st = buf_append(out, bytes_of(in_parts, sizeof(in_parts)));
	else if (!st && text.n)
		st = l->gzip ? compress_append(l->gzip, buf_view(&text), out) :
			       snappy_append(buf_view(&text), out);
	buf_done(&text);
	x->left_out = push.is_too_large ? 0 : push.left_out;
	if (x->left_out)
		(void)snprintf(x->left_out_reason, sizeof(x->left_out_reason),
			       "longer than loki.max_line_size: %u lines, the longest of %zu bytes",
			       push.left_out, push.longest_out);
	return st;
}

static void send_push(struct exporter *x, struct export *export)
{
	if (export->signal != SIGNAL_LOGS || export->body.n != sizeof(in_parts)) {
		http_exporter_send(x, export);
		return;
	}
	export->reply = (struct export_reply){ .verdict = VERDICT_TOO_LARGE, .is_own = true };
	(void)snprintf(export->reply.error, sizeof(export->reply.error),
		       "more than %d MiB of lines and metadata, which is too much for one push",
		       LOKI_PUSH_MAX >> 20);
	http_exporter_answer(x, export);
}

static const struct http_kind kind = {
	.name = "loki",
	.paths = { [SIGNAL_LOGS] = "/loki/api/v1/push" },
	.is_whole_endpoint_fine = true,
	.headers = add_headers,
	.read = read_answer,
};

static enum status open_loki(const struct destination_config *c, int wake_fd, struct exporter **ret,
			     struct err *e)
{
	struct loki *l = xcalloc(1, sizeof(*l));
	l->http.base.ops = &loki_ops;
	enum status st = make_form(l, c, e);
	if (!st)
		st = http_exporter_init(&l->http, &kind, c, wake_fd, e);
	if (st) {
		close_loki(&l->http.base);
		return st;
	}
	*ret = &l->http.base;
	return ST_OK;
}

const struct exporter_ops loki_ops = {
	.max_raw_bytes = RAW_BYTES_MAX,
	.convert = convert,
	.open = open_loki,
	.send = send_push,
	.probe = http_exporter_probe,
	.poll = http_exporter_poll,
	.is_renewed = http_exporter_is_renewed,
	.close = close_loki,
};
