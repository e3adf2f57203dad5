/* cli_dead_letters.c - `tidegate dead-letters [list | show | export]` and `tidegate losses`: what
 * was refused and why, and what was let go.
 *
 * Errors and details are printed whole, also where that is wider than a terminal: they are what one
 * came for. The gateway is asked, or the file where none listens; nothing here changes either. */
#include "admin/command.h"
#include "admin/dead_export.h"
#include "admin/dead_letters.h"
#include "admin/table.h"

static const char *text_of(json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

static long long number_of(json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static void add_status(struct table *t, json_t *o)
{
	json_t *status = json_object_get(o, "status");
	if (json_is_integer(status))
		table_addf(t, "%lld", (long long)json_integer_value(status));
	else
		table_add(t, NULL);
}

/* The commands' common end. */
static enum exit_code show(const struct cli_options *o, const char *path,
			   enum status (*write)(const struct document_source *s,
						const struct cli_options *o, struct buf *out,
						struct err *e),
			   void (*print)(json_t *document))
{
	json_t *document = NULL;
	struct cli_source source;
	enum exit_code rc = cli_fetch(o, path, write, &document, &source);
	if (rc != EXIT_CODE_DONE)
		return rc;
	if (o->is_json) {
		rc = cli_print_json(document);
	} else {
		(void)printf("source: %s\n\n", source.text);
		print(document);
	}
	json_decref(document);
	return rc;
}

static enum status write_groups(const struct document_source *s, const struct cli_options *o,
				struct buf *out, struct err *e)
{
	return document_dead_groups(s, &o->parameters, out, e);
}

static void print_groups(json_t *document)
{
	char bytes[32];
	struct table *t = table_new(
		"DESTINATION|SIGNAL|>STATUS|>RECORDS|>BATCHES|>BYTES|LAST DIED|>EXAMPLE", 0);
	size_t i;
	json_t *g;
	json_array_foreach(json_object_get(document, "groups"), i, g)
	{
		table_add(t, text_of(g, "destination"));
		table_add(t, text_of(g, "signal"));
		add_status(t, g);
		table_addf(t, "%lld", number_of(g, "records"));
		table_addf(t, "%lld", number_of(g, "batches"));
		table_add(t, table_bytes(bytes, sizeof(bytes), number_of(g, "bytes")));
		table_add(t, text_of(g, "last_died_at"));
		table_addf(t, "%lld", number_of(g, "example_batch"));
	}
	table_print(t, stdout);
	table_free(t);
	/* Whole, one by one: they are what one looks for, and what --reason takes. */
	json_array_foreach(json_object_get(document, "groups"), i, g)
	{
		char reason[600];
		char name[64];
		const char *text = text_of(g, "reason");
		const char *destination = text_of(g, "destination");
		const char *signal = text_of(g, "signal");
		(void)printf("\n%s, %lld records of %s: %s\n",
			     table_clean(name, sizeof(name), destination ? destination : "?"),
			     number_of(g, "records"), signal ? signal : "?",
			     text && text[0] ? table_clean(reason, sizeof(reason), text) :
					       "(no reason)");
	}
	if (i == 0)
		(void)printf("no dead letters\n");
	if (json_is_false(json_object_get(document, "is_complete")))
		(void)printf("\nthere are more than could be looked at: name a --destination\n");
}

enum exit_code cli_dead_groups(const struct cli_options *o)
{
	return show(o, "/api/v1/dead-letters", write_groups, print_groups);
}

static enum status write_letters(const struct document_source *s, const struct cli_options *o,
				 struct buf *out, struct err *e)
{
	return document_dead_letters(s, &o->parameters, out, e);
}

static void print_letters(json_t *document)
{
	struct table *t = table_new(">BATCH|DIED|SIGNAL|CLASS|>RECORDS|>STATUS|ERROR", TABLE_WHOLE);
	size_t i;
	json_t *d;
	json_array_foreach(json_object_get(document, "dead_letters"), i, d)
	{
		table_addf(t, "%lld", number_of(d, "batch"));
		table_add(t, text_of(d, "died_at"));
		table_add(t, text_of(d, "signal"));
		table_add(t, text_of(d, "class"));
		table_addf(t, "%lld", number_of(d, "records"));
		add_status(t, d);
		table_add(t, text_of(d, "error"));
	}
	table_print(t, stdout);
	table_free(t);
	if (i == 0)
		(void)printf("no dead letter matches\n");
	else
		(void)printf("\ntidegate show ID has the records of one\n");
	if (json_is_integer(json_object_get(document, "next_cursor")))
		(void)printf("more: --cursor %lld\n", number_of(document, "next_cursor"));
}

enum exit_code cli_dead_letters(const struct cli_options *o)
{
	return show(o, "/api/v1/dead-letters/list", write_letters, print_letters);
}

static enum status write_losses(const struct document_source *s, const struct cli_options *o,
				struct buf *out, struct err *e)
{
	return document_losses(s, &o->parameters, out, e);
}

static void print_losses(json_t *document)
{
	static const char *const words[] = { "at", "destination", "signal", "class", "reason" };
	char bytes[32];
	struct table *t = table_new(">ID|AT|DESTINATION|SIGNAL|CLASS|REASON|>RECORDS|>BYTES|DETAIL",
				    TABLE_WHOLE);
	size_t i;
	json_t *l;
	json_array_foreach(json_object_get(document, "losses"), i, l)
	{
		table_addf(t, "%lld", number_of(l, "id"));
		for (size_t w = 0; w < sizeof(words) / sizeof(words[0]); w++)
			table_add(t, text_of(l, words[w]));
		table_addf(t, "%lld", number_of(l, "records"));
		table_add(t, table_bytes(bytes, sizeof(bytes), number_of(l, "bytes")));
		table_add(t, text_of(l, "detail"));
	}
	table_print(t, stdout);
	table_free(t);
	if (i == 0)
		(void)printf("nothing was let go\n");
	if (json_is_integer(json_object_get(document, "next_cursor")))
		(void)printf("\nmore: --cursor %lld\n", number_of(document, "next_cursor"));
}

enum exit_code cli_losses(const struct cli_options *o)
{
	return show(o, "/api/v1/losses", write_losses, print_losses);
}

static enum exit_code failed(enum status st, const struct err *e)
{
	(void)fprintf(stderr, "tidegate: %s\n", err_text(e, st));
	return st == ST_NOT_FOUND ? EXIT_CODE_NOT_FOUND :
	       st == ST_INVALID   ? EXIT_CODE_USAGE :
				    EXIT_CODE_FAILED;
}

static enum exit_code export_file(const struct cli_plan *p, const struct cli_options *o)
{
	struct dead_export *x = NULL;
	struct err e = { 0 };
	struct buf line;
	buf_init(&line, DOCUMENT_MAX, NULL);
	enum status st = dead_export_open(p->queue, &o->parameters, &x, &e);
	while (!st) {
		buf_clear(&line);
		st = dead_export_next(x, &line);
		if (!st && fwrite(line.p, 1, line.n, stdout) != line.n)
			st = err_set(&e, ST_IO, "stdout cannot be written");
	}
	dead_export_close(x);
	buf_done(&line);
	if (st == ST_END)
		st = fflush(stdout) ? err_set(&e, ST_IO, "stdout cannot be written") : ST_OK;
	return st ? failed(st, &e) : EXIT_CODE_DONE;
}

enum exit_code cli_dead_export(const struct cli_options *o)
{
	struct cli_plan p = { 0 };
	struct err e = { 0 };
	struct buf error;
	int code = 200;
	buf_init(&error, 64 << 10, NULL);
	enum exit_code rc = cli_plan_make(o, &p);
	if (rc != EXIT_CODE_DONE)
		goto out;
	enum status st = ST_UNAVAILABLE;
	if (p.endpoint) {
		const struct cli_request r = { .endpoint = p.endpoint,
					       .token = p.token,
					       .path = "/api/v1/dead-letters/export",
					       .query = o,
					       .body = &error,
					       .stream = stdout };
		st = cli_http(&r, &code, &e);
	}
	if (st == ST_UNAVAILABLE && p.queue) {
		rc = export_file(&p, o);
	} else if (st) {
		rc = st == ST_UNAVAILABLE ? EXIT_CODE_NOT_FOUND :
		     st == ST_INVALID     ? EXIT_CODE_USAGE :
					    EXIT_CODE_FAILED;
		(void)fprintf(stderr, "tidegate: %s%s\n", st == ST_INVALID ? "--endpoint: " : "",
			      err_text(&e, st));
	} else if (code != 200) {
		json_t *document = cli_parse(&error);
		rc = cli_read_answer(p.endpoint, code, document);
		json_decref(document);
	} else {
		rc = fflush(stdout) == 0 ? EXIT_CODE_DONE : EXIT_CODE_FAILED;
	}
out:
	buf_done(&error);
	cli_plan_done(&p);
	return rc;
}
