/* cli.c - the commands, their options and their help, in two tables.
 *
 * A command says which options it takes; getopt_long's table is made from that, so an option that a
 * command would ignore is an error. The filters of `queue` come from the table that the API reads
 * its parameters from (parameters.c), with dashes for underscores.
 *
 * Help goes to stdout and exits with 0 where it was asked for; a wrong command line says what is
 * wrong, and where to find help, on stderr. */
#include "admin/cli.h"

#include <errno.h>
#include <getopt.h>

#include <stdlib.h>

#include "admin/command.h"

enum {
	TAKES_CONFIG = 1,
	TAKES_SOURCE = 2, /* --endpoint, --token, --queue, --output */
	TAKES_ID = 4
};

struct command {
	const char *name;
	const char *synopsis;
	const char *help;
	unsigned takes;
	enum parameter_set set;
	enum exit_code (*execute)(const struct cli_options *o); /* NULL: run */
};

static const struct command commands[] = {
	{ "run", "run [--config FILE]",
	  "Run the gateway in the foreground, until SIGTERM or SIGINT.", TAKES_CONFIG,
	  PARAMETERS_NONE, NULL },
	{ "check-config", "check-config [--config FILE]",
	  "Check the configuration, and print what it comes to; secrets are masked.", TAKES_CONFIG,
	  PARAMETERS_NONE, cli_check_config },
	{ "status", "status [options]",
	  "Show how the gateway, the queue and every destination are.", TAKES_CONFIG | TAKES_SOURCE,
	  PARAMETERS_NONE, cli_status },
	{ "queue", "queue [options] [filters]", "List batches that wait or are dead, oldest first.",
	  TAKES_CONFIG | TAKES_SOURCE, PARAMETERS_BATCHES, cli_queue },
	{ "show", "show [options] ID", "Show one batch: where it is owed, and its records.",
	  TAKES_CONFIG | TAKES_SOURCE | TAKES_ID, PARAMETERS_NONE, cli_show },
};
enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static const struct {
	char letter;
	const char *name;
	const char *value; /* NULL: none */
	unsigned takes;    /* of the command; 0: every command */
	const char *help;
} common[] = {
	{ 'c', "config", "FILE", TAKES_CONFIG, "configuration file (default: the embedded one)" },
	{ 'e', "endpoint", "HOST:PORT", TAKES_SOURCE, "the gateway's admin listener, or its URL" },
	{ 't', "token", "TOKEN", TAKES_SOURCE, "admin token (or TIDEGATE_ADMIN_TOKEN)" },
	{ 'q', "queue", "PATH", TAKES_SOURCE, "queue file to read where no gateway is asked" },
	{ 'o', "output", "json|table", TAKES_SOURCE, "how to print (default table)" },
	{ 'h', "help", NULL, 0, "this help" },
};
enum { COMMON = sizeof(common) / sizeof(common[0]), FIRST_FILTER = 1000 };

static void print_exit_codes(void)
{
	(void)printf("\nExit codes:\n");
#define EXIT_CODE(name, code, meaning) (void)printf("  %d  %s\n", code, meaning);
	EXIT_CODES(EXIT_CODE)
#undef EXIT_CODE
}

static void print_overview(void)
{
	(void)printf("tidegate %s: keeps telemetry safe until its backend can take it.\n\n"
		     "Usage: tidegate COMMAND [options]\n\nCommands:\n",
		     TIDEGATE_VERSION);
	for (int i = 0; i < COMMANDS; i++)
		(void)printf("  %-14s%s\n", commands[i].name, commands[i].help);
	(void)printf("\n  tidegate COMMAND --help   options of a command\n"
		     "  tidegate --version        version\n");
	print_exit_codes();
}

static void dashed(char *dst, size_t size, const char *name)
{
	(void)snprintf(dst, size, "%s", name);
	for (char *p = dst; *p; p++)
		if (*p == '_')
			*p = '-';
}

static void print_help(const struct command *c)
{
	(void)printf("Usage: tidegate %s\n\n%s\n\nOptions:\n", c->synopsis, c->help);
	for (int i = 0; i < COMMON; i++)
		if (!common[i].takes || common[i].takes & c->takes) {
			char text[40];
			(void)snprintf(text, sizeof(text), "--%s %s", common[i].name,
				       common[i].value ? common[i].value : "");
			(void)printf("  -%c, %-22s %s\n", common[i].letter, text, common[i].help);
		}
	const char *name = NULL;
	const char *help = NULL;
	for (int i = 0; parameters_describe(c->set, i, &name, &help); i++) {
		char text[40];
		dashed(text, sizeof(text), name);
		(void)printf("%s      --%-20s %s\n", i ? "" : "\nFilters:\n", text, help);
	}
	if (c->takes & TAKES_SOURCE)
		(void)printf(
			"\nAsks the running gateway. Where none listens, reads the queue file; "
			"with --queue alone,\nonly that file. Reading never changes it.\n");
	print_exit_codes();
}

/* getopt's tables for one command. */
struct option_table {
	struct option longs[COMMON + CLI_PARAMETERS_MAX + 1];
	char shorts[2 * COMMON + 3];
	char names[CLI_PARAMETERS_MAX][32];
	const char *parameters[CLI_PARAMETERS_MAX];
};

static void make_table(const struct command *c, struct option_table *t)
{
	size_t n = 0;
	size_t s = 0;
	*t = (struct option_table){ 0 };
	t->shorts[s++] = ':'; /* tell a missing value from an unknown option */
	for (int i = 0; i < COMMON; i++) {
		if (common[i].takes && !(common[i].takes & c->takes))
			continue;
		int has_arg = common[i].value ? required_argument : no_argument;
		t->longs[n++] = (struct option){ common[i].name, has_arg, NULL, common[i].letter };
		t->shorts[s++] = common[i].letter;
		if (common[i].value)
			t->shorts[s++] = ':';
	}
	const char *help = NULL;
	for (int i = 0; parameters_describe(c->set, i, &t->parameters[i], &help); i++) {
		CHECK(i < CLI_PARAMETERS_MAX);
		dashed(t->names[i], sizeof(t->names[i]), t->parameters[i]);
		t->longs[n++] =
			(struct option){ t->names[i], required_argument, NULL, FIRST_FILTER + i };
	}
}

static enum exit_code usage_error(const struct command *c, const char *what, const char *which)
{
	(void)fprintf(stderr, "tidegate %s: %s%s\n  tidegate %s --help lists what it takes\n",
		      c->name, what, which, c->name);
	return EXIT_CODE_USAGE;
}

static enum exit_code take_filter(const struct command *c, const struct option_table *t, int i,
				  const char *value, struct cli_options *o)
{
	struct err e = { 0 };
	if (parameters_set(&o->parameters, c->set, t->parameters[i], value, &e))
		return usage_error(c, "--", e.text);
	if (o->pair_count == CLI_PARAMETERS_MAX)
		return usage_error(c, "too many filters: ", t->names[i]);
	o->pairs[o->pair_count].name = t->parameters[i];
	o->pairs[o->pair_count++].value = value;
	return EXIT_CODE_DONE;
}

static enum exit_code take_option(const struct command *c, const struct option_table *t, int letter,
				  char **argv, struct cli_options *o)
{
	if (letter >= FIRST_FILTER)
		return take_filter(c, t, letter - FIRST_FILTER, optarg, o);
	switch (letter) {
	case 'c':
		o->config = optarg;
		return EXIT_CODE_DONE;
	case 'e':
		o->endpoint = optarg;
		return EXIT_CODE_DONE;
	case 't':
		o->token = optarg;
		return EXIT_CODE_DONE;
	case 'q':
		o->queue = optarg;
		return EXIT_CODE_DONE;
	case 'o':
		o->is_json = strcmp(optarg, "json") == 0;
		return o->is_json || strcmp(optarg, "table") == 0 ?
			       EXIT_CODE_DONE :
			       usage_error(c, "--output is json or table, not ", optarg);
	case ':':
		return usage_error(c, "a value is missing after ", argv[optind - 1]);
	default:
		return usage_error(c, "unknown option ", argv[optind - 1]);
	}
}

static enum exit_code take_id(const struct command *c, int argc, char **argv, struct cli_options *o)
{
	if (!(c->takes & TAKES_ID))
		return optind == argc ? EXIT_CODE_DONE :
					usage_error(c, "unexpected argument ", argv[optind]);
	if (argc - optind != 1)
		return usage_error(c, "wants the id of one batch", "");
	const char *id = argv[optind];
	errno = 0;
	if (!id[0] || strspn(id, "0123456789") != strlen(id) || strtoll(id, NULL, 10) < 0 || errno)
		return usage_error(c, "the id of a batch is a number, not ", id);
	o->id = id;
	return EXIT_CODE_DONE;
}

static enum exit_code run_command(const struct command *c, int argc, char **argv,
				  int (*run)(const char *config_path))
{
	struct cli_options o = { 0 };
	struct option_table t;
	enum exit_code rc = EXIT_CODE_DONE;
	make_table(c, &t);
	parameters_init(&o.parameters);
	optind = 0; /* the GNU way to begin anew: tests call this more than once */
	opterr = 0;
	for (int letter; rc == EXIT_CODE_DONE &&
			 (letter = getopt_long(argc, argv, t.shorts, t.longs, NULL)) != -1;) {
		if (letter == 'h') {
			print_help(c);
			parameters_done(&o.parameters);
			return EXIT_CODE_DONE;
		}
		rc = take_option(c, &t, letter, argv, &o);
	}
	if (rc == EXIT_CODE_DONE)
		rc = take_id(c, argc, argv, &o);
	parameters_finish(&o.parameters);
	if (rc == EXIT_CODE_DONE)
		rc = c->execute ? c->execute(&o) : (enum exit_code)run(o.config);
	parameters_done(&o.parameters);
	return rc;
}

int cli_main(int argc, char **argv, int (*run)(const char *config_path))
{
	const char *name = argc > 1 ? argv[1] : "";
	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
		print_overview();
		return EXIT_CODE_DONE;
	}
	if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
		(void)printf("tidegate %s (SQLite %s)\n", TIDEGATE_VERSION,
			     inspect_engine_version());
		return EXIT_CODE_DONE;
	}
	for (int i = 0; i < COMMANDS; i++)
		if (strcmp(name, commands[i].name) == 0)
			return (int)run_command(&commands[i], argc - 1, argv + 1, run);
	(void)fprintf(stderr,
		      name[0] ? "tidegate: unknown command %s\n" : "tidegate: no command%s\n",
		      name);
	(void)fprintf(stderr, "  tidegate --help lists the commands\n");
	return EXIT_CODE_USAGE;
}
