/* cli_check_destination.c - `tidegate check-destination NAME`: will it take our data?
 *
 * The check itself belongs to forward, which main hands over as a function. Nothing of the queue is
 * opened, so it works beside a running gateway, and before the first start. */
#include "admin/command.h"
#include "admin/table.h"
#include "admin/value.h"
#include "gateway/base/now.h"

static cli_check_fn check;

void cli_set_check(cli_check_fn fn)
{
	check = fn;
}

static void keep_step(void *ctx, const struct check_step *s)
{
	*(struct check_step *)ctx = *s;
}

bool cli_is_usable(const struct config *c, const struct destination_config *d)
{
	struct check_step s = { 0 };
	const struct check_request r = {
		.config = c, .destination = d, .is_config_only = true, .tell = keep_step, .ctx = &s
	};
	if (!check || check(&r) == CHECK_RESULT_FINE)
		return true;
	char where[600];
	(void)config_where(c, d, s.text, where, sizeof(where));
	(void)fprintf(stderr, "tidegate: %s: destinations.%s: %s\n", where, d->name, s.text);
	return false;
}

static const char *outcome_word(enum check_outcome o)
{
	static const char *const words[] = { [CHECK_FINE] = "ok",
					     [CHECK_LEFT_OUT] = "left out",
					     [CHECK_WARNING] = "warning",
					     [CHECK_FAILED] = "FAILED" };
	return words[o];
}

static void print_step(void *ctx, const struct check_step *s)
{
	char text[sizeof(s->text)];
	(void)ctx;
	(void)printf("%-12s%-10s%s\n", s->what, outcome_word(s->outcome),
		     table_clean(text, sizeof(text), s->text));
	if (s->hint[0])
		(void)printf("%-12s%-10s%s\n", "",
			     "  hint:", table_clean(text, sizeof(text), s->hint));
	(void)fflush(stdout);
}

static void add_step(void *ctx, const struct check_step *s)
{
	static const char *const words[] = { [CHECK_FINE] = "ok",
					     [CHECK_LEFT_OUT] = "left_out",
					     [CHECK_WARNING] = "warning",
					     [CHECK_FAILED] = "failed" };
	json_t *o = json_object();
	(void)json_object_set_new(o, "step", json_string(s->what));
	(void)json_object_set_new(o, "outcome", json_string(words[s->outcome]));
	(void)json_object_set_new(o, "text", value_string(s->text));
	(void)json_object_set_new(o, "hint", s->hint[0] ? value_string(s->hint) : json_null());
	(void)json_array_append_new(ctx, o);
}

static enum exit_code code_of(enum check_result r)
{
	switch (r) {
	case CHECK_RESULT_FINE:
		return EXIT_CODE_DONE;
	case CHECK_RESULT_INVALID:
		return EXIT_CODE_CONFIG;
	case CHECK_RESULT_UNREACHABLE:
		return EXIT_CODE_UNREACHABLE;
	case CHECK_RESULT_UNAUTHORIZED:
		return EXIT_CODE_UNAUTHORIZED;
	case CHECK_RESULT_REFUSED:
		return EXIT_CODE_REFUSED;
	}
	return EXIT_CODE_FAILED;
}

static const struct destination_config *find(const struct config *c, const char *name)
{
	for (size_t i = 0; i < c->destination_count; i++)
		if (strcmp(c->destinations[i].name, name) == 0)
			return &c->destinations[i];
	(void)fprintf(stderr, "tidegate: the configuration has no destination %s; it has", name);
	for (size_t i = 0; i < c->destination_count; i++)
		(void)fprintf(stderr, "%s %s", i ? "," : "", c->destinations[i].name);
	(void)fprintf(stderr, "%s\n", c->destination_count ? "" : " none");
	return NULL;
}

static enum exit_code run_check(const struct cli_options *o, const struct config *c,
				const struct destination_config *d)
{
	json_t *steps = json_array();
	struct check_request r = { .config = c,
				   .destination = d,
				   .is_without_send = o->is_without_send,
				   .timeout_ns = o->timeout_s * NS_PER_S,
				   .tell = o->is_json ? add_step : print_step,
				   .ctx = steps };
	if (!o->is_json)
		(void)printf("%-12s%s\n", "destination", d->name);
	enum exit_code rc = code_of(check(&r));
	if (o->is_json) {
		json_t *root = json_pack("{s:s, s:b, s:O}", "destination", d->name, "is_fine",
					 rc == EXIT_CODE_DONE, "steps", steps);
		if (cli_print_json(root) != EXIT_CODE_DONE)
			rc = EXIT_CODE_FAILED;
		json_decref(root);
	}
	json_decref(steps);
	return rc;
}

enum exit_code cli_check_destination(const struct cli_options *o)
{
	struct config *c = NULL;
	struct err e = { 0 };
	enum status st = o->config ? config_load(o->config, &c, &e) : config_default(&c, &e);
	enum exit_code rc = EXIT_CODE_CONFIG;
	if (st) {
		(void)fprintf(stderr, "tidegate: %s\n", err_text(&e, st));
	} else {
		const struct destination_config *d = find(c, o->id);
		rc = d ? run_check(o, c, d) : EXIT_CODE_NOT_FOUND;
	}
	config_free(c);
	return rc;
}
