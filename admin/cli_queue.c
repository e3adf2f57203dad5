/* cli_queue.c - `tidegate queue`: the batches that wait or are dead, one line each. */
#include "admin/command.h"
#include "admin/table.h"

static enum status write_queue(const struct document_source *s, const struct cli_options *o,
			       struct buf *out, struct err *e)
{
	return document_batches(s, &o->parameters, out, e);
}

static const char *text_of(json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

static int64_t number_of(json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

/* "ready:central,logs dead:archive": the state first, so that a narrow column still shows it. */
static void add_deliveries(struct table *t, json_t *deliveries)
{
	struct buf text;
	enum status st = ST_OK;
	buf_init(&text, TABLE_CELL_MAX, NULL);
	for (int s = 0; s < DELIVERY_GONE; s++) {
		const char *wanted = delivery_state_text((enum delivery_state)s);
		bool is_first = true;
		size_t i;
		json_t *d;
		json_array_foreach(deliveries, i, d)
		{
			const char *name = text_of(d, "destination");
			const char *state = text_of(d, "state");
			if (st || !state || strcmp(state, wanted) != 0)
				continue;
			if (is_first)
				st = buf_printf(&text, "%s%s:", text.n ? " " : "", wanted);
			if (!st)
				st = buf_printf(&text, "%s%s", is_first ? "" : ",",
						name ? name : "?");
			is_first = false;
		}
	}
	/* What does not fit would not have been shown. */
	table_addf(t, "%.*s", (int)text.n, text.n ? (const char *)text.p : "");
	buf_done(&text);
}

static void print_table(json_t *document, const struct cli_source *source)
{
	char text[64];
	struct table *t =
		table_new(">ID|>AGE|SIGNAL|CLASS|SERVICE|>RECORDS|>BYTES|DELIVERIES|PREVIEW", 8);
	size_t i;
	json_t *b;
	json_array_foreach(json_object_get(document, "batches"), i, b)
	{
		char service[24];
		const char *name = text_of(b, "service");
		table_addf(t, "%lld", (long long)number_of(b, "id"));
		table_add(t, table_age(text, sizeof(text), number_of(b, "age_s")));
		table_add(t, text_of(b, "signal"));
		table_add(t, text_of(b, "class"));
		table_add(t, table_clean(service, sizeof(service), name ? name : ""));
		table_addf(t, "%lld", (long long)number_of(b, "records"));
		table_add(t, table_bytes(text, sizeof(text), number_of(b, "stored_bytes")));
		add_deliveries(t, json_object_get(b, "deliveries"));
		table_add(t, text_of(b, "preview"));
	}
	(void)printf("source: %s\n\n", source->text);
	table_print(t, stdout);
	table_free(t);
	if (i == 0)
		(void)printf("no batch matches%s\n",
			     json_is_integer(json_object_get(document, "next_cursor")) ? " so far" :
											 "");
	if (json_is_integer(json_object_get(document, "next_cursor")))
		(void)printf("\nmore: --cursor %lld\n",
			     (long long)number_of(document, "next_cursor"));
}

enum exit_code cli_queue(const struct cli_options *o)
{
	json_t *document = NULL;
	struct cli_source source;
	enum exit_code rc = cli_fetch(o, "/api/v1/batches", write_queue, &document, &source);
	if (rc != EXIT_CODE_DONE)
		return rc;
	if (o->is_json)
		rc = cli_print_json(document);
	else
		print_table(document, &source);
	json_decref(document);
	return rc;
}
