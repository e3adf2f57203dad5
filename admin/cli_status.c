/* cli_status.c - `tidegate status`: is all well, and what waits where?
 *
 * The head says how the gateway and the queue are. Below it a line per destination and signal that
 * holds something; the reasons of those that are not up follow, as they need the width. */
#include <time.h>

#include "admin/command.h"
#include "admin/table.h"
#include "gateway/base/now.h"

static enum status write_status(const struct document_source *s, const struct cli_options *o,
				struct buf *out, struct err *e)
{
	(void)o;
	return document_status(s, out, e);
}

static const char *text_of(json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

static int64_t number_of(json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static bool is_true(json_t *o, const char *key)
{
	return json_is_true(json_object_get(o, key));
}

/* Seconds from now to an RFC 3339 time of the document; negative: it is past. */
static bool seconds_until(json_t *o, const char *key, int64_t *ret)
{
	struct tm tm = { 0 };
	const char *text = text_of(o, key);
	if (!text || !strptime(text, "%Y-%m-%dT%H:%M:%S", &tm))
		return false;
	*ret = (int64_t)timegm(&tm) - now_wall_ns() / NS_PER_S;
	return true;
}

static void print_gateway(json_t *g)
{
	char text[64];
	if (!json_is_object(g)) {
		(void)printf("gateway      not asked: these are the file's contents\n");
		return;
	}
	const char *reason = text_of(g, "reason");
	(void)printf("gateway      %s%s%s, up %s, %s in flight\n",
		     is_true(g, "is_ready") ? (is_true(g, "is_degraded") ? "degraded" : "ready") :
					      "not ready",
		     reason ? ": " : "", reason ? reason : "",
		     table_age(text, 32, number_of(g, "uptime_s")),
		     table_bytes(text + 32, 32, number_of(g, "in_flight_bytes")));
}

static void print_queue(json_t *q)
{
	char path[300];
	char used[32];
	char cap[32];
	char wal[32];
	const char *name = text_of(q, "path");
	(void)printf("queue        %s\n", table_clean(path, sizeof(path), name ? name : "?"));
	table_bytes(used, sizeof(used), number_of(q, "used_bytes"));
	table_bytes(wal, sizeof(wal), number_of(q, "wal_bytes"));
	int64_t most = number_of(q, "capacity_bytes");
	if (most > 0)
		(void)printf("             %s of %s (%.0f%%), write-ahead log %s\n", used,
			     table_bytes(cap, sizeof(cap), most),
			     100.0 * (double)number_of(q, "used_bytes") / (double)most, wal);
	else
		(void)printf("             %s used, write-ahead log %s\n", used, wal);
}

static void print_balance(json_t *document)
{
	json_t *b = json_object_get(document, "balance");
	if (json_is_null(json_object_get(b, "is_balanced")))
		(void)printf("balance      not computed: the queue is too long to be counted in "
			     "time; records and bytes below are estimates\n");
	else if (is_true(b, "is_balanced"))
		(void)printf("balance      ok\n");
	else
		(void)printf("balance      %lld records are not accounted for\n",
			     (long long)number_of(b, "difference"));
}

/* Where what no route matches waits: no destination, and of no interest while it is empty. */
static bool is_unrouted(json_t *d)
{
	const char *kind = text_of(d, "kind");
	return kind && strcmp(kind, "none") == 0;
}

static void add_destination(struct table *t, json_t *d)
{
	char text[32];
	int64_t s = 0;
	table_add(t, text_of(d, "name"));
	table_add(t, is_unrouted(d) ? NULL : text_of(d, "state"));
	table_add(t,
		  seconds_until(d, "state_since", &s) ? table_age(text, sizeof(text), -s) : NULL);
	if (!seconds_until(d, "next_attempt_at", &s))
		table_add(t, NULL);
	else if (s <= 0)
		table_add(t, "now");
	else
		table_addf(t, "in %s", table_age(text, sizeof(text), s));
	table_add(t, json_is_integer(json_object_get(d, "oldest_age_s")) ?
			     table_age(text, sizeof(text), number_of(d, "oldest_age_s")) :
			     NULL);
}

static void add_signal(struct table *t, json_t *d, const char *signal)
{
	char text[32];
	json_t *ready =
		json_object_get(json_object_get(json_object_get(d, "ready"), "signals"), signal);
	json_t *dead =
		json_object_get(json_object_get(json_object_get(d, "dead"), "signals"), signal);
	table_add(t, signal);
	table_addf(t, "%lld", (long long)number_of(ready, "records"));
	table_add(t, table_bytes(text, sizeof(text), number_of(ready, "bytes")));
	table_addf(t, "%lld", (long long)number_of(dead, "records"));
}

static bool holds(json_t *d, const char *signal)
{
	static const char *const states[] = { "ready", "dead" };
	int64_t n = 0;
	for (int i = 0; i < 2; i++)
		n += number_of(
			json_object_get(json_object_get(json_object_get(d, states[i]), "signals"),
					signal),
			"records");
	return n > 0;
}

/* Destinations that are gone from the configuration and hold nothing are history. */
static bool is_shown(json_t *d)
{
	bool is_shown = is_true(d, "is_configured") && !is_unrouted(d);
	for (int s = 0; s < SIGNAL_COUNT; s++)
		is_shown = is_shown || holds(d, signal_text((enum signal)s));
	return is_shown;
}

static void add_rows(struct table *t, json_t *d)
{
	int rows = 0;
	for (int s = 0; s < SIGNAL_COUNT; s++) {
		const char *signal = signal_text((enum signal)s);
		if (!holds(d, signal))
			continue;
		if (rows++ == 0)
			add_destination(t, d);
		else
			for (int i = 0; i < 5; i++)
				table_add(t, " ");
		add_signal(t, d, signal);
	}
	if (rows == 0) {
		add_destination(t, d);
		table_add(t, NULL);
		table_add(t, "0");
		table_add(t, "0 B");
		table_add(t, "0");
	}
}

static void print_destinations(json_t *list)
{
	static const char unrouted[] = "no route matches this data; it waits until one does, from "
				       "the next start on, or until it is too old";
	size_t i;
	json_t *d;
	struct table *t = table_new(
		"DESTINATION|STATE|>SINCE|>NEXT TRY|>OLDEST|SIGNAL|>QUEUED|>BYTES|>DEAD", 0);
	json_array_foreach(list, i, d) if (is_shown(d)) add_rows(t, d);
	(void)putchar('\n');
	table_print(t, stdout);
	table_free(t);
	bool is_first = true;
	json_array_foreach(list, i, d)
	{
		char name[64];
		char clean[600];
		const char *reason = is_unrouted(d) ? unrouted : text_of(d, "reason");
		if (!is_shown(d) || !reason || !text_of(d, "name"))
			continue;
		(void)printf("%s%s: %s\n", is_first ? "\n" : "",
			     table_clean(name, sizeof(name), text_of(d, "name")),
			     table_clean(clean, sizeof(clean), reason));
		is_first = false;
	}
}

/* Where there is more than one, or any that limits something. */
static void print_uplinks(json_t *list)
{
	size_t i;
	json_t *u;
	bool is_worth = json_array_size(list) > 1;
	json_array_foreach(list, i, u) is_worth =
		is_worth || !json_is_null(json_object_get(u, "rate")) || !is_true(u, "is_open") ||
		text_of(u, "window_ends_at") ||
		!json_is_null(json_object_get(json_object_get(u, "day"), "budget_bytes")) ||
		!json_is_null(json_object_get(json_object_get(u, "month"), "budget_bytes"));
	if (!is_worth)
		return;
	(void)putchar('\n');
	(void)cli_print_uplinks(list, NULL);
}

static void print_salvages(json_t *list)
{
	size_t i;
	json_t *s;
	char path[300];
	json_array_foreach(list, i, s) if (text_of(s, "path") && text_of(s, "state"))(void)
		printf("%ssalvage of %s: %s, %lld batches with %lld records moved\n", i ? "" : "\n",
		       table_clean(path, sizeof(path), text_of(s, "path")), text_of(s, "state"),
		       (long long)number_of(s, "batches"), (long long)number_of(s, "records"));
}

/* All is well, or something wants attention. */
static enum exit_code verdict(json_t *document, const struct cli_source *source)
{
	json_t *g = json_object_get(document, "gateway");
	bool is_well = !source->is_fallback &&
		       !json_is_false(json_object_get(json_object_get(document, "balance"),
						      "is_balanced"));
	if (source->is_gateway)
		is_well = is_well && is_true(g, "is_ready") && !is_true(g, "is_degraded");
	return is_well ? EXIT_CODE_DONE : EXIT_CODE_ATTENTION;
}

enum exit_code cli_status(const struct cli_options *o)
{
	json_t *document = NULL;
	struct cli_source source;
	enum exit_code rc = cli_fetch(o, "/api/v1/status", write_status, &document, &source);
	if (rc != EXIT_CODE_DONE)
		return rc;
	if (o->is_json) {
		rc = cli_print_json(document);
	} else {
		(void)printf("source       %s\n", source.text);
		print_gateway(json_object_get(document, "gateway"));
		print_queue(json_object_get(document, "queue"));
		print_balance(document);
		print_destinations(json_object_get(document, "destinations"));
		print_uplinks(json_object_get(document, "uplinks"));
		print_salvages(json_object_get(document, "salvages"));
	}
	if (rc == EXIT_CODE_DONE)
		rc = verdict(document, &source);
	json_decref(document);
	return rc;
}
