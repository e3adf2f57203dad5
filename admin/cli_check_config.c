/* cli_check_config.c - `tidegate check-config`: is the file right, and what does it come to?
 *
 * Prints the effective configuration, defaults filled in and secrets masked, or the error with
 * file, line and column. What is allowed and does nothing is a warning, on stderr, and no reason to
 * exit with anything but 0. Files that destinations name (authorities, certificates, passwords)
 * must be there, and OTEL_RESOURCE_ATTRIBUTES of this environment is read; whether a port is free
 * or a disk is there is for the start to find out, and what the network says for check-destination.
 */
#include "admin/command.h"
#include "gateway/base/config.h"
#include "gateway/telemetry/attributes.h"

static enum exit_code print_config(const struct config *c)
{
	struct buf text;
	buf_init(&text, 1 << 20, NULL);
	enum status st = config_write(c, &text);
	bool is_written = !st && fwrite(text.p, 1, text.n, stdout) == text.n && fflush(stdout) == 0;
	buf_done(&text);
	return is_written ? EXIT_CODE_DONE : EXIT_CODE_FAILED;
}

static bool is_resource_usable(const struct config *c)
{
	struct attributes a = { 0 };
	struct err e = { 0 };
	enum status st = attributes_from_config(&a, c, getenv("OTEL_RESOURCE_ATTRIBUTES"), &e);
	attributes_done(&a);
	if (!st)
		return true;
	char where[600];
	bool has_place = config_where(c, NULL, e.text, where, sizeof(where));
	(void)fprintf(stderr, "tidegate: %s%s%s\n", has_place ? where : "", has_place ? ": " : "",
		      err_text(&e, st));
	return false;
}

/* All that are not are named. */
static bool are_destinations_usable(const struct config *c)
{
	bool is_fine = true;
	for (size_t i = 0; i < c->destination_count; i++)
		is_fine = cli_is_usable(c, &c->destinations[i]) && is_fine;
	return is_fine;
}

enum exit_code cli_check_config(const struct cli_options *o)
{
	struct config *c = NULL;
	struct err e = { 0 };
	enum status st = o->config ? config_load(o->config, &c, &e) : config_default(&c, &e);
	if (st) {
		(void)fprintf(stderr, "tidegate: %s\n", err_text(&e, st));
		return EXIT_CODE_CONFIG;
	}
	for (char **w = c->warnings; w && *w; w++)
		(void)fprintf(stderr, "tidegate: warning: %s\n", *w);
	bool is_usable = is_resource_usable(c);
	is_usable = are_destinations_usable(c) && is_usable;
	enum exit_code rc = is_usable ? print_config(c) : EXIT_CODE_CONFIG;
	config_free(c);
	return rc;
}
