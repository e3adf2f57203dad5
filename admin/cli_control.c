/* cli_control.c - `tidegate pause | resume | flush` and `tidegate uplink`.
 *
 * Orders go to the running gateway: a pause that is written into a file which nobody reads would
 * please nobody. What came of one is seen in `tidegate status`. */
#include "admin/command.h"
#include "admin/control.h"
#include "admin/table.h"
#include "gateway/base/now.h"

static const char *text_of(json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

/* POST of body (taken) to what the format makes of the name. */
static enum exit_code post(const struct cli_options *o, const char *kind, const char *order,
			   json_t *body, json_t **ret)
{
	struct cli_plan p = { 0 };
	char path[300];
	enum exit_code rc = cli_plan_make(o, &p);
	(void)snprintf(path, sizeof(path), "/api/v1/%s/%.80s/%s", kind, o->id, order);
	if (rc == EXIT_CODE_DONE)
		rc = cli_call(&p, path, json_incref(body), ret);
	json_decref(body);
	cli_plan_done(&p);
	return rc;
}

static enum exit_code give_order(const struct cli_options *o, const char *kind,
				 enum control_order order)
{
	static const char *const done[] = {
		[CONTROL_PAUSE] = "is being paused: what is under way ends, nothing new is sent",
		[CONTROL_RESUME] = "is resumed",
		[CONTROL_FLUSH] = "sends what waits, without back-off, windows and slow start",
	};
	json_t *answer = NULL;
	char name[100];
	enum exit_code rc = post(o, kind, control_order_text(order), json_object(), &answer);
	if (rc == EXIT_CODE_DONE && o->is_json)
		rc = cli_print_json(answer);
	else if (rc == EXIT_CODE_DONE)
		(void)printf("%s %s\n", table_clean(name, sizeof(name), o->id), done[order]);
	json_decref(answer);
	return rc;
}

enum exit_code cli_pause(const struct cli_options *o)
{
	return give_order(o, "destinations", CONTROL_PAUSE);
}

enum exit_code cli_resume(const struct cli_options *o)
{
	return give_order(o, "destinations", CONTROL_RESUME);
}

enum exit_code cli_flush(const struct cli_options *o)
{
	return give_order(o, "destinations", CONTROL_FLUSH);
}

enum exit_code cli_uplink_pause(const struct cli_options *o)
{
	return give_order(o, "uplinks", CONTROL_PAUSE);
}

enum exit_code cli_uplink_resume(const struct cli_options *o)
{
	return give_order(o, "uplinks", CONTROL_RESUME);
}

enum exit_code cli_uplink_flush(const struct cli_options *o)
{
	return give_order(o, "uplinks", CONTROL_FLUSH);
}

static enum exit_code set_rate(const struct cli_options *o)
{
	json_t *answer = NULL;
	json_t *body = json_object();
	char name[100];
	char rate[32];
	for (size_t i = 0; i < o->pair_count; i++)
		(void)json_object_set_new(body, o->pairs[i].name, json_string(o->pairs[i].value));
	enum exit_code rc = post(o, "uplinks", "rate", body, &answer);
	if (rc == EXIT_CODE_DONE && o->is_json)
		rc = cli_print_json(answer);
	else if (rc == EXIT_CODE_DONE && o->parameters.rate)
		(void)printf("%s: %s/s until %s\n", table_clean(name, sizeof(name), o->id),
			     table_bytes(rate, sizeof(rate), o->parameters.rate),
			     text_of(answer, "until"));
	else if (rc == EXIT_CODE_DONE)
		(void)printf("%s: no limit until %s\n", table_clean(name, sizeof(name), o->id),
			     text_of(answer, "until"));
	json_decref(answer);
	return rc;
}

enum exit_code cli_uplink_reset(const struct cli_options *o)
{
	json_t *answer = NULL;
	char name[100];
	enum exit_code rc = post(o, "uplinks", "rate", json_object(), &answer);
	if (rc == EXIT_CODE_DONE && o->is_json)
		rc = cli_print_json(answer);
	else if (rc == EXIT_CODE_DONE)
		(void)printf("%s: the configured rate again\n",
			     table_clean(name, sizeof(name), o->id));
	json_decref(answer);
	return rc;
}

static void add_rate(struct table *t, json_t *u)
{
	char text[32];
	json_t *rate = json_object_get(u, "rate");
	if (json_is_integer(rate))
		table_addf(t, "%s/s%s", table_bytes(text, sizeof(text), json_integer_value(rate)),
			   text_of(u, "rate_until") ? " for now" : "");
	else
		table_add(t, text_of(u, "rate_until") ? "no limit for now" : "no limit");
}

/* "1.2 GiB of 5.0 GiB". */
static void add_period(struct table *t, json_t *u, const char *key)
{
	json_t *p = json_object_get(u, key);
	json_t *budget = json_object_get(p, "budget_bytes");
	char used[32];
	char all[32];
	table_bytes(used, sizeof(used), json_integer_value(json_object_get(p, "used_bytes")));
	if (json_is_integer(budget))
		table_addf(t, "%s of %s", used,
			   table_bytes(all, sizeof(all), json_integer_value(budget)));
	else
		table_add(t, used);
}

static void add_window(struct table *t, json_t *u)
{
	const char *opens = text_of(u, "next_window_at");
	const char *ends = text_of(u, "window_ends_at");
	if (!json_is_true(json_object_get(u, "is_open")))
		table_addf(t, "opens %.16s", opens ? opens : "never");
	else if (ends)
		table_addf(t, "until %.16s", ends);
	else
		table_add(t, "always");
}

static void add_waiting(struct table *t, json_t *u)
{
	char text[120] = "";
	size_t n = 0;
	const char *reason;
	json_t *count;
	json_object_foreach(json_object_get(u, "waiting"), reason, count)
	{
		if (json_integer_value(count) > 0 && n < sizeof(text))
			n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", n ? ", " : "",
					      reason);
	}
	table_add(t, text);
}

int cli_print_uplinks(json_t *list, const char *name)
{
	size_t i;
	json_t *u;
	int count = 0;
	struct table *t = table_new("UPLINK|>RATE|>TODAY|>MONTH|WINDOW (UTC)|WAITS FOR", 5);
	json_array_foreach(list, i, u)
	{
		const char *own = text_of(u, "name");
		if (name && (!own || strcmp(name, own) != 0))
			continue;
		count++;
		table_add(t, own);
		add_rate(t, u);
		add_period(t, u, "day");
		add_period(t, u, "month");
		add_window(t, u);
		add_waiting(t, u);
	}
	if (count)
		table_print(t, stdout);
	table_free(t);
	return count;
}

static enum exit_code print_uplinks(const struct cli_options *o, json_t *list)
{
	if (cli_print_uplinks(list, o->id))
		return EXIT_CODE_DONE;
	(void)fprintf(stderr, "tidegate: there is no uplink %.80s\n", o->id ? o->id : "");
	return EXIT_CODE_NOT_FOUND;
}

enum exit_code cli_uplink(const struct cli_options *o)
{
	struct cli_plan p = { 0 };
	json_t *answer = NULL;
	if (o->pair_count && !o->id) {
		(void)fprintf(stderr, "tidegate uplink: name the uplink that gets the rate\n");
		return EXIT_CODE_USAGE;
	}
	if (o->pair_count)
		return set_rate(o);
	enum exit_code rc = cli_plan_make(o, &p);
	if (rc == EXIT_CODE_DONE)
		rc = cli_call(&p, "/api/v1/uplinks", NULL, &answer);
	if (rc == EXIT_CODE_DONE)
		rc = o->is_json ? cli_print_json(answer) :
				  print_uplinks(o, json_object_get(answer, "uplinks"));
	json_decref(answer);
	cli_plan_done(&p);
	return rc;
}
