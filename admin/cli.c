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
#include "gateway/base/config_values.h"

enum {
	TAKES_CONFIG = 1,
	TAKES_GATEWAY = 2, /* --endpoint, --token, --output */
	TAKES_FILE = 4,    /* --queue */
	TAKES_SOURCE = TAKES_GATEWAY | TAKES_FILE,
	TAKES_ID = 8,
	TAKES_NAME = 16,
	TAKES_FIRST = 32,
	TAKES_CHECK = 64,
	TAKES_MAYBE_NAME = 128
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
	{ "check-destination", "check-destination NAME [--config FILE] [options]",
	  "Say whether a destination can be reached, takes the credentials and a test record, and "
	  "what "
	  "to do if not.",
	  TAKES_CONFIG | TAKES_NAME | TAKES_CHECK, PARAMETERS_NONE, cli_check_destination },
	{ "status", "status [options]",
	  "Show how the gateway, the queue and every destination are.", TAKES_CONFIG | TAKES_SOURCE,
	  PARAMETERS_NONE, cli_status },
	{ "queue", "queue [options] [filters]", "List batches that wait or are dead, oldest first.",
	  TAKES_CONFIG | TAKES_SOURCE, PARAMETERS_BATCHES, cli_queue },
	{ "show", "show [options] ID", "Show one batch: where it is owed, and its records.",
	  TAKES_CONFIG | TAKES_SOURCE | TAKES_ID, PARAMETERS_NONE, cli_show },
	{ "losses", "losses [options]",
	  "Show what was let go, newest first: to which destination, by which rule, how much.",
	  TAKES_CONFIG | TAKES_SOURCE, PARAMETERS_LOSSES, cli_losses },
	{ "pause", "pause [options] NAME",
	  "Send nothing to a destination until it is resumed, also after a restart.",
	  TAKES_CONFIG | TAKES_GATEWAY | TAKES_NAME, PARAMETERS_NONE, cli_pause },
	{ "resume", "resume [options] NAME", "End the pause of a destination.",
	  TAKES_CONFIG | TAKES_GATEWAY | TAKES_NAME, PARAMETERS_NONE, cli_resume },
	{ "flush", "flush [options] NAME",
	  "Send what waits for a destination now: no back-off, no windows, no slow start.",
	  TAKES_CONFIG | TAKES_GATEWAY | TAKES_NAME, PARAMETERS_NONE, cli_flush },
	{ "uplink", "uplink [options] [NAME] [--rate RATE --for TIME]",
	  "Show rates, budgets and windows of uplinks, or set a rate for a while.",
	  TAKES_CONFIG | TAKES_GATEWAY | TAKES_MAYBE_NAME, PARAMETERS_RATE, cli_uplink },
	{ "uplink reset", "uplink reset [options] NAME", "End a rate that was set for a while.",
	  TAKES_CONFIG | TAKES_GATEWAY | TAKES_NAME, PARAMETERS_NONE, cli_uplink_reset },
	{ "uplink pause", "uplink pause [options] NAME", "Pause every destination on an uplink.",
	  TAKES_CONFIG | TAKES_GATEWAY | TAKES_NAME, PARAMETERS_NONE, cli_uplink_pause },
	{ "uplink resume", "uplink resume [options] NAME", "Resume every destination on an uplink.",
	  TAKES_CONFIG | TAKES_GATEWAY | TAKES_NAME, PARAMETERS_NONE, cli_uplink_resume },
	{ "uplink flush", "uplink flush [options] NAME", "Flush every destination on an uplink.",
	  TAKES_CONFIG | TAKES_GATEWAY | TAKES_NAME, PARAMETERS_NONE, cli_uplink_flush },
	{ "queue purge", "queue purge --destination NAME [options] [filters]",
	  "Let waiting batches go; the loss ledger says so.", TAKES_CONFIG | TAKES_GATEWAY,
	  PARAMETERS_PURGE_READY, cli_queue_purge },
	{ "queue move", "queue move --from NAME --to NAME [options] [filters]",
	  "Give what one destination is owed to another, as after a rename.",
	  TAKES_CONFIG | TAKES_GATEWAY, PARAMETERS_MOVE, cli_queue_move },
	{ "dead-letters", "dead-letters [list] [options]",
	  "Show why destinations refused data for good, grouped by reason.",
	  TAKES_CONFIG | TAKES_SOURCE, PARAMETERS_GROUPS, cli_dead_groups },
	{ "dead-letters show", "dead-letters show --destination NAME [options] [filters]",
	  "Show dead letters one by one.", TAKES_CONFIG | TAKES_SOURCE, PARAMETERS_DEAD,
	  cli_dead_letters },
	{ "dead-letters replay", "dead-letters replay --destination NAME [options] [filters]",
	  "Send dead letters again: a few first, and the rest when those were delivered.",
	  TAKES_CONFIG | TAKES_GATEWAY | TAKES_FIRST, PARAMETERS_REPLAY, cli_dead_replay },
	{ "dead-letters purge", "dead-letters purge --destination NAME [options] [filters]",
	  "Let dead letters go; the loss ledger says so.", TAKES_CONFIG | TAKES_GATEWAY,
	  PARAMETERS_PURGE_DEAD, cli_dead_purge },
	{ "dead-letters export", "dead-letters export --destination NAME [options] [filters]",
	  "Print dead letters with their records, as lines of OTLP JSON.",
	  TAKES_CONFIG | TAKES_SOURCE, PARAMETERS_EXPORT, cli_dead_export },
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
	{ 'e', "endpoint", "HOST:PORT", TAKES_GATEWAY, "the gateway's admin listener, or its URL" },
	{ 't', "token", "TOKEN", TAKES_GATEWAY, "admin token (or TIDEGATE_ADMIN_TOKEN)" },
	{ 'q', "queue", "PATH", TAKES_FILE, "queue file to read where no gateway is asked" },
	{ 'o', "output", "json|table", TAKES_GATEWAY | TAKES_CHECK,
	  "how to print (default table)" },
	{ 'n', "first", "N", TAKES_FIRST,
	  "try so many batches before the rest (default 5, at most 100)" },
	{ 'w', "timeout", "SECONDS", TAKES_FIRST | TAKES_CHECK,
	  "wait so long: for those few (default 60), or for each step of a check (default 10)" },
	{ 's', "no-send", NULL, TAKES_CHECK, "look only, send no test record" },
	{ 'h', "help", NULL, 0, "this help" },
};
enum {
	COMMON = sizeof(common) / sizeof(common[0]),
	FIRST_FILTER = 1000,
	FIRST_DEFAULT = 5,
	TIMEOUT_DEFAULT = 60,
	CHECK_DEFAULT = 10
};

/* c NULL: of all commands. A meaning that begins with another command's name is only its own. */
static void print_exit_codes(const struct command *c)
{
	static const char checks[] = "check-destination";
	bool is_check = !c || strcmp(c->name, checks) == 0;
	(void)printf("\nExit codes:\n");
#define EXIT_CODE(name, code, meaning)                                     \
	if (is_check || strncmp(meaning, checks, sizeof(checks) - 1) != 0) \
		(void)printf("  %d  %s\n", code, meaning);
	EXIT_CODES(EXIT_CODE)
#undef EXIT_CODE
}

static void print_overview(void)
{
	(void)printf("tidegate %s: keeps telemetry safe until its backend can take it.\n\n"
		     "Usage: tidegate COMMAND [options]\n\nCommands:\n",
		     TIDEGATE_VERSION);
	for (int i = 0; i < COMMANDS; i++)
		(void)printf("  %-21s%s\n", commands[i].name, commands[i].help);
	(void)printf("\n  tidegate COMMAND --help   options of a command\n"
		     "  tidegate --version        version\n");
	print_exit_codes(NULL);
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
		char option[48];
		enum parameter_type type = PARAMETER_TEXT;
		(void)parameters_type(c->set, name, &type);
		dashed(text, sizeof(text), name);
		(void)snprintf(option, sizeof(option), "--%s%s", text,
			       type == PARAMETER_FLAG   ? "" :
			       type == PARAMETER_NUMBER ? " N" :
							  " VALUE");
		(void)printf("%s      %-22s %s\n", i ? "" : "\nFilters:\n", option, help);
	}
	if (c->takes & TAKES_FILE)
		(void)printf(
			"\nAsks the running gateway. Where none listens, reads the queue file; "
			"with --queue alone,\nonly that file. Reading never changes it.\n");
	print_exit_codes(c);
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
		enum parameter_type type = PARAMETER_TEXT;
		(void)parameters_type(c->set, t->parameters[i], &type);
		t->longs[n++] =
			(struct option){ t->names[i],
					 type == PARAMETER_FLAG ? no_argument : required_argument,
					 NULL, FIRST_FILTER + i };
	}
}

static enum exit_code usage_error(const struct command *c, const char *what, const char *which)
{
	(void)fprintf(stderr, "tidegate %s: %s%s\n  tidegate %s --help lists what it takes\n",
		      c->name, what, which, c->name);
	return EXIT_CODE_USAGE;
}

/* getopt says where it is, and for letters which: "-abc" is one argument with several. */
static enum exit_code unknown_option(const struct command *c, const struct option_table *t,
				     const char *given)
{
	const char letter[] = { '-', (char)optopt, '\0' };
	if (strncmp(given, "--", 2) != 0 && optopt)
		given = letter;
	const char *names[COMMON + CLI_PARAMETERS_MAX];
	char name[80];
	size_t count = 0;
	for (; t->longs[count].name; count++)
		names[count] = t->longs[count].name;
	(void)snprintf(name, sizeof(name), "%.*s", (int)strcspn(given, "="), given);
	const char *near =
		strncmp(name, "--", 2) == 0 ? config_nearest(name + 2, names, count) : NULL;
	(void)fprintf(stderr, "tidegate %s: unknown option %s\n", c->name, name);
	if (near)
		(void)fprintf(stderr, "  did you mean --%s?\n", near);
	(void)fprintf(stderr, "  tidegate %s --help lists what it takes\n", c->name);
	return EXIT_CODE_USAGE;
}

static enum exit_code take_filter(const struct command *c, const struct option_table *t, int i,
				  const char *value, struct cli_options *o)
{
	struct err e = { 0 };
	if (parameters_set(&o->parameters, c->set, t->parameters[i], value, &e))
		return usage_error(c, e.text, "");
	if (o->pair_count == CLI_PARAMETERS_MAX)
		return usage_error(c, "too many filters: ", t->names[i]);
	o->pairs[o->pair_count].name = t->parameters[i];
	o->pairs[o->pair_count++].value = value;
	return EXIT_CODE_DONE;
}

static enum exit_code take_number(const struct command *c, const char *name, const char *value,
				  int *ret)
{
	size_t n = strlen(value);
	if (n == 0 || n > 6 || strspn(value, "0123456789") != n || value[0] == '0') {
		(void)fprintf(stderr, "tidegate %s: %s wants a number from 1 to 999999, not %s\n",
			      c->name, name, value);
		return EXIT_CODE_USAGE;
	}
	*ret = (int)strtol(value, NULL, 10);
	return EXIT_CODE_DONE;
}

/* Empty is a variable of the shell that is not set, and would mean another gateway or file. */
static enum exit_code take_place(const struct command *c, const char *name, const char **ret)
{
	*ret = optarg;
	return optarg[0] ? EXIT_CODE_DONE : usage_error(c, "an empty value for ", name);
}

static enum exit_code take_option(const struct command *c, const struct option_table *t, int letter,
				  char **argv, struct cli_options *o)
{
	if (letter >= FIRST_FILTER)
		return take_filter(c, t, letter - FIRST_FILTER, optarg ? optarg : "true", o);
	switch (letter) {
	case 's':
		o->is_without_send = true;
		return EXIT_CODE_DONE;
	case 'n':
		return take_number(c, "--first", optarg, &o->first);
	case 'w':
		return take_number(c, "--timeout", optarg, &o->timeout_s);
	case 'c':
		return take_place(c, "--config", &o->config);
	case 'e':
		return take_place(c, "--endpoint", &o->endpoint);
	case 't':
		o->token = optarg;
		return EXIT_CODE_DONE;
	case 'q':
		return take_place(c, "--queue", &o->queue);
	case 'o':
		o->is_json = strcmp(optarg, "json") == 0;
		return o->is_json || strcmp(optarg, "table") == 0 ?
			       EXIT_CODE_DONE :
			       usage_error(c, "--output is json or table, not ", optarg);
	case ':':
		return usage_error(c, "a value is missing after ", argv[optind - 1]);
	default:
		return unknown_option(c, t, argv[optind - 1]);
	}
}

/* What stands behind the command may be meant to be one of its own: "queue pruge". */
static enum exit_code unexpected(const struct command *c, const char *given)
{
	const char *names[COMMANDS];
	size_t count = 0;
	size_t n = strlen(c->name);
	for (int i = 0; i < COMMANDS; i++)
		if (strncmp(commands[i].name, c->name, n) == 0 && commands[i].name[n] == ' ')
			names[count++] = commands[i].name + n + 1;
	const char *near = config_nearest(given, names, count);
	(void)fprintf(stderr, "tidegate %s: unexpected argument %s\n", c->name, given);
	if (near)
		(void)fprintf(stderr, "  did you mean tidegate %s %s?\n", c->name, near);
	(void)fprintf(stderr, "  tidegate %s --help lists what it takes\n", c->name);
	return EXIT_CODE_USAGE;
}

static enum exit_code take_id(const struct command *c, int argc, char **argv, struct cli_options *o)
{
	if (!(c->takes & TAKES_ID))
		return optind == argc ? EXIT_CODE_DONE : unexpected(c, argv[optind]);
	if (argc - optind != 1)
		return usage_error(c, "wants the id of one batch", "");
	const char *id = argv[optind];
	errno = 0;
	if (!id[0] || strspn(id, "0123456789") != strlen(id) || strtoll(id, NULL, 10) < 0 || errno)
		return usage_error(c, "the id of a batch is a number, not ", id);
	o->id = id;
	return EXIT_CODE_DONE;
}

/* A destination's or an uplink's. */
static enum exit_code take_name(const struct command *c, int argc, char **argv,
				struct cli_options *o)
{
	if (!(c->takes & (TAKES_NAME | TAKES_MAYBE_NAME)))
		return take_id(c, argc, argv, o);
	if (optind == argc && c->takes & TAKES_MAYBE_NAME)
		return EXIT_CODE_DONE;
	if (c->takes & TAKES_MAYBE_NAME && argc - optind > 1)
		return unexpected(c, argv[optind]);
	if (argc - optind != 1)
		return usage_error(
			c, optind == argc ? "wants a name: " : "wants one name, and not also ",
			optind == argc ? c->synopsis : argv[optind + 1]);
	o->id = argv[optind];
	size_t n = strspn(o->id, "abcdefghijklmnopqrstuvwxyz0123456789_-");
	return n && !o->id[n] ?
		       EXIT_CODE_DONE :
		       usage_error(c, "a name has the characters a-z 0-9 _ - only, not ", o->id);
}

static enum exit_code run_command(const struct command *c, int argc, char **argv,
				  int (*run)(const char *config_path))
{
	struct cli_options o = { .first = FIRST_DEFAULT,
				 .timeout_s =
					 c->takes & TAKES_CHECK ? CHECK_DEFAULT : TIMEOUT_DEFAULT };
	struct option_table t;
	enum exit_code rc = EXIT_CODE_DONE;
	make_table(c, &t);
	parameters_init(&o.parameters);
	o.parameters.is_command_line = true;
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
		rc = take_name(c, argc, argv, &o);
	parameters_finish(&o.parameters);
	struct err e = { 0 };
	if (rc == EXIT_CODE_DONE && parameters_check(&o.parameters, c->set, &e))
		rc = usage_error(c, e.text, "");
	if (rc == EXIT_CODE_DONE)
		rc = c->execute ? c->execute(&o) : (enum exit_code)run(o.config);
	parameters_done(&o.parameters);
	return rc;
}

/* The longest name that fits: "queue purge" before "queue". "list" is what dead-letters does. */
static const struct command *find_command(int argc, char **argv, int *ret_words)
{
	char two[64];
	bool is_list =
		argc > 2 && strcmp(argv[1], "dead-letters") == 0 && strcmp(argv[2], "list") == 0;
	*ret_words = is_list ? 2 : 1;
	(void)snprintf(two, sizeof(two), "%.30s %.30s", argc > 1 ? argv[1] : "",
		       argc > 2 ? argv[2] : "");
	for (int i = 0; i < COMMANDS; i++)
		if (strcmp(two, commands[i].name) == 0) {
			*ret_words = 2;
			return &commands[i];
		}
	for (int i = 0; i < COMMANDS; i++)
		if (argc > 1 && strcmp(argv[1], commands[i].name) == 0)
			return &commands[i];
	return NULL;
}

static enum exit_code unknown_command(const char *name)
{
	const char *names[COMMANDS];
	for (int i = 0; i < COMMANDS; i++)
		names[i] = commands[i].name;
	const char *near = config_nearest(name, names, COMMANDS);
	(void)fprintf(stderr,
		      !name[0]       ? "tidegate: no command%s\n" :
		      name[0] == '-' ? "tidegate: %s stands before the command, and options stand "
				       "behind it\n" :
				       "tidegate: unknown command %s\n",
		      name);
	if (near)
		(void)fprintf(stderr, "  did you mean %s?\n", near);
	(void)fprintf(stderr, "  tidegate --help lists the commands\n");
	return EXIT_CODE_USAGE;
}

static enum exit_code run_words(int argc, char **argv, int (*run)(const char *config_path))
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
	int words = 1;
	const struct command *c = find_command(argc, argv, &words);
	if (c)
		return run_command(c, argc - words, argv + words, run);
	return unknown_command(name);
}

/* What was printed and did not get out was not done, whatever the command says. */
int cli_main(int argc, char **argv, int (*run)(const char *config_path), cli_check_fn check)
{
	cli_set_check(check);
	enum exit_code rc = run_words(argc, argv, run);
	if ((fflush(stdout) || ferror(stdout)) && rc == EXIT_CODE_DONE) {
		(void)fprintf(stderr, "tidegate: stdout cannot be written\n");
		return EXIT_CODE_FAILED;
	}
	return (int)rc;
}
