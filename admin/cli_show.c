/* cli_show.c - `tidegate show ID`: one batch, where it is owed, and what is in it. */
#include <stdlib.h>

#include "admin/command.h"
#include "admin/table.h"

static enum status write_show(const struct document_source *s, const struct cli_options *o,
			      struct buf *out, struct err *e)
{
	return document_batch(s, strtoll(o->id, NULL, 10), &o->parameters, out, e);
}

static const char *text_of(json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

static long long number_of(json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static void print_fields(json_t *b)
{
	static const char *const keys[] = { "received_at", "signal",    "class",
					    "tenant",      "service",   "preview",
					    "first_time",  "last_time", "encoding" };
	char clean[TABLE_CELL_MAX];
	char raw[32];
	char stored[32];
	(void)printf("%-12s %lld\n", "batch", number_of(b, "id"));
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		const char *value = text_of(b, keys[i]);
		if (value && value[0])
			(void)printf("%-12s %s\n", keys[i],
				     table_clean(clean, sizeof(clean), value));
	}
	(void)printf("%-12s %lld in %lld request%s, %s (%s stored)\n\n", "records",
		     number_of(b, "records"), number_of(b, "requests"),
		     number_of(b, "requests") == 1 ? "" : "s",
		     table_bytes(raw, sizeof(raw), number_of(b, "raw_bytes")),
		     table_bytes(stored, sizeof(stored), number_of(b, "stored_bytes")));
}

static void print_deliveries(json_t *deliveries)
{
	struct table *t = table_new("DESTINATION|STATE|>RECORDS|>ATTEMPTS|>STATUS|LAST ATTEMPT", 0);
	size_t i;
	json_t *d;
	json_array_foreach(deliveries, i, d)
	{
		table_add(t, text_of(d, "destination"));
		table_add(t, text_of(d, "state"));
		table_addf(t, "%lld", number_of(d, "records"));
		table_addf(t, "%lld", number_of(d, "attempts"));
		if (json_is_integer(json_object_get(d, "last_status")))
			table_addf(t, "%lld", number_of(d, "last_status"));
		else
			table_add(t, NULL);
		table_add(t, text_of(d, "last_attempt_at"));
	}
	table_print(t, stdout);
	table_free(t);
	/* Whole, as they are what one looks for here. */
	json_array_foreach(deliveries, i, d)
	{
		char name[64];
		char error[600];
		const char *destination = text_of(d, "destination");
		if (text_of(d, "last_error"))
			(void)printf(
				"\n%s: %s\n",
				table_clean(name, sizeof(name), destination ? destination : "?"),
				table_clean(error, sizeof(error), text_of(d, "last_error")));
	}
}

/* jansson escapes C0; DEL and C1 could still reach the terminal. */
static void print_data(json_t *data)
{
	char *text = json_dumps(data, JSON_INDENT(2) | JSON_REAL_PRECISION(17));
	for (const unsigned char *p = (const unsigned char *)text; p && *p; p++) {
		bool is_c1 = *p == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f;
		if (is_c1 || *p == 0x7f)
			(void)printf("\\u00%02x", is_c1 ? *++p : *p);
		else
			(void)putchar(*p);
	}
	(void)putchar('\n');
	free(text);
}

static void print_batch(json_t *document, const struct cli_source *source)
{
	char clean[600];
	(void)printf("source: %s\n\n", source->text);
	print_fields(document);
	print_deliveries(json_object_get(document, "deliveries"));
	const char *error = text_of(document, "data_error");
	(void)putchar('\n');
	if (error)
		(void)printf("the records cannot be shown: %s\n",
			     table_clean(clean, sizeof(clean), error));
	else
		print_data(json_object_get(document, "data"));
}

enum exit_code cli_show(const struct cli_options *o)
{
	json_t *document = NULL;
	struct cli_source source;
	char path[80];
	(void)snprintf(path, sizeof(path), "/api/v1/batches/%s", o->id);
	enum exit_code rc = cli_fetch(o, path, write_show, &document, &source);
	if (rc != EXIT_CODE_DONE)
		return rc;
	if (o->is_json)
		rc = cli_print_json(document);
	else
		print_batch(document, &source);
	json_decref(document);
	return rc;
}
