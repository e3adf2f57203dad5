/* dead_export.c - takes dead letters out of the queue, to be mended and sent by other means.
 *
 * A line is the object of the list with the records as OTLP JSON under "data", so that
 * `jq -c .data` gives what any OTLP/HTTP endpoint takes with Content-Type: application/json. Where
 * records cannot be shown (a damaged payload, or one larger than DOCUMENT_PAYLOAD_MAX) data is null
 * and data_error says why: the line still says that the dead letter exists.
 *
 * Memory: a page of rows, and one batch at a time. No snapshot is held between two lines, so the
 * export may take as long as its reader likes; what was replayed or purged meanwhile is left out.
 */
#include "admin/dead_export.h"

#include "admin/dead_letters.h"
#include "admin/value.h"
#include "gateway/base/compression.h"
#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"
#include "gateway/telemetry/json.h"

enum { PAGE_ROWS = 50 };
static const int64_t look_limit_ns = 10 * NS_PER_S;

struct dead_export {
	struct inspect *in;
	struct inspect_selector selector;
	char *texts[4]; /* of the selector */
	int64_t cursor; /* behind the page */
	bool is_last;   /* the page is */
	json_t *page;
	size_t next; /* row of the page */
};

static const char *keep(char **slot, const char *text)
{
	if (text)
		*slot = xstrdup(text);
	return *slot;
}

static void add_row(void *ctx, const struct inspect_owed *o)
{
	(void)json_array_append_new(ctx, dead_letter_object(o));
}

/* Pages may be empty: the time was up. */
static enum status read_page(struct dead_export *x, struct err *e)
{
	enum status st = ST_OK;
	x->next = 0;
	(void)json_array_clear(x->page);
	while (!st && !x->is_last && json_array_size(x->page) == 0) {
		st = inspect_owed(x->in, &x->selector, &x->cursor, PAGE_ROWS, add_row, x->page, e);
		x->is_last = x->cursor == 0;
	}
	return st;
}

enum status dead_export_open(const char *queue_path, const struct parameters *p,
			     struct dead_export **ret, struct err *e)
{
	struct dead_export *x = xcalloc(1, sizeof(*x));
	x->selector = p->selector;
	x->selector.state = DELIVERY_DEAD;
	x->selector.destination = keep(&x->texts[0], p->selector.destination);
	x->selector.reason = keep(&x->texts[1], p->selector.reason);
	x->selector.signal = keep(&x->texts[2], p->selector.signal);
	x->selector.class = keep(&x->texts[3], p->selector.class);
	x->page = json_array();
	enum status st = inspect_open(queue_path, look_limit_ns, &x->in, e);
	if (!st)
		st = read_page(x, e);
	if (st) {
		dead_export_close(x);
		return st;
	}
	*ret = x;
	return ST_OK;
}

void dead_export_close(void *ctx)
{
	struct dead_export *x = ctx;
	if (!x)
		return;
	inspect_close(x->in);
	json_decref(x->page);
	for (size_t i = 0; i < sizeof(x->texts) / sizeof(x->texts[0]); i++)
		free(x->texts[i]);
	free(x);
}

static void ignore_batch(void *ctx, const struct inspect_batch *b)
{
	(void)ctx;
	(void)b;
}

static void ignore_delivery(void *ctx, const struct inspect_delivery *d)
{
	(void)ctx;
	(void)d;
}

static enum status read_records(struct inspect *in, int64_t id, struct buf *text, struct err *e)
{
	const struct inspect_visitor v = { .batch = ignore_batch, .delivery = ignore_delivery };
	struct buf stored;
	struct buf raw;
	enum encoding encoding;
	enum signal signal;
	buf_init(&stored, DOCUMENT_PAYLOAD_MAX, text->budget);
	buf_init(&raw, DOCUMENT_PAYLOAD_MAX, text->budget);
	enum status st = inspect_batch(in, id, &v, &stored, &encoding, &signal, e);
	if (!st)
		st = decompress(encoding, buf_view(&stored), &raw, e);
	buf_done(&stored);
	if (!st)
		st = otlp_to_json(signal, buf_view(&raw), text, e);
	buf_done(&raw);
	return st == ST_TOO_LARGE ? err_set(e, st, "the records are larger than %d MiB",
					    DOCUMENT_PAYLOAD_MAX >> 20) :
				    st;
}

/* {...row...} becomes {...row...,"data_error":null,"data":{...}}. */
static enum status write_line(json_t *row, enum status read, const struct buf *text,
			      const struct err *why, struct buf *out)
{
	(void)json_object_set_new(row, "data_error",
				  read ? value_string(err_text(why, read)) : json_null());
	enum status st = value_write(json_incref(row), out);
	if (st)
		return st;
	buf_truncate(out, out->n - 1);
	st = buf_append_str(out, ",\"data\":");
	if (!st)
		st = read ? buf_append_str(out, "null") : buf_append(out, buf_view(text));
	return st ? st : buf_append_str(out, "}\n");
}

static enum status export_row(struct dead_export *x, json_t *row, struct buf *out)
{
	struct err why = { 0 };
	struct buf text;
	buf_init(&text, DOCUMENT_MAX, out->budget);
	enum status st =
		read_records(x->in, json_integer_value(json_object_get(row, "batch")), &text, &why);
	bool is_shown = !st || st == ST_CORRUPT || st == ST_INVALID || st == ST_TOO_LARGE;
	if (is_shown)
		st = write_line(row, st, &text, &why, out);
	buf_done(&text);
	return st;
}

enum status dead_export_next(void *ctx, struct buf *out)
{
	struct dead_export *x = ctx;
	struct err why = { 0 };
	enum status st = ST_NOT_FOUND;
	/* ST_NOT_FOUND: the batch has left meanwhile. */
	while (st == ST_NOT_FOUND) {
		if (x->next == json_array_size(x->page)) {
			st = x->is_last ? ST_END : read_page(x, &why);
			if (st)
				return st;
			if (json_array_size(x->page) == 0)
				return ST_END;
		}
		st = export_row(x, json_array_get(x->page, x->next++), out);
	}
	return st;
}
