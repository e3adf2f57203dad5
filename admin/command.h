/* admin/command.h - what the commands share: options, exit codes, where documents come from.
 * Owner: cli*.c alone. Needs: document, parameters, jansson.
 * large file: every command, with what it is told, in one place. */
#ifndef ADMIN_COMMAND_H
#define ADMIN_COMMAND_H

#include <jansson.h>
#include <stdio.h>

#include "admin/cli.h"
#include "admin/document.h"

/* EXIT_CODE(name, code, meaning): shown by --help, and in docs/admin-api.md. */
#define EXIT_CODES(EXIT_CODE)                                                                      \
	EXIT_CODE(DONE, 0, "done; for status: all is well")                                        \
	EXIT_CODE(FAILED, 1, "failed: the message says why")                                       \
	EXIT_CODE(USAGE, 2, "the command line is wrong")                                           \
	EXIT_CODE(CONFIG, 3, "the configuration is invalid")                                       \
	EXIT_CODE(NOT_FOUND, 4, "no such batch or destination, or neither gateway nor queue file") \
	EXIT_CODE(DENIED, 5, "the gateway wants a token, or another one")                          \
	EXIT_CODE(ATTENTION, 6,                                                                    \
		  "status: the gateway is down, not ready or degraded, or the books do not "       \
		  "balance; "                                                                      \
		  "replay: some died again, or none left in time")                                 \
	EXIT_CODE(UNREACHABLE, 7, "check-destination: no connection (name, port, TLS)")            \
	EXIT_CODE(UNAUTHORIZED, 8, "check-destination: the credentials are not taken")             \
	EXIT_CODE(REFUSED, 9, "check-destination: it answers, but takes no test record")

enum exit_code {
#define EXIT_CODE(name, code, meaning) EXIT_CODE_##name = code,
	EXIT_CODES(EXIT_CODE)
#undef EXIT_CODE
};

enum { CLI_PARAMETERS_MAX = 16 };

struct cli_options {
	const char *config;   /* NULL: none was given; the same below */
	const char *endpoint; /* host:port, or a URL */
	const char *token;
	const char *queue;
	bool is_json;
	const char *id; /* of show, or a name */
	int first;      /* replay: try so many before the rest */
	int timeout_s;  /* replay: and wait for them so long; check-destination: for the whole */
	bool is_without_send;
	struct parameters parameters;
	/* As given, for the URL. */
	size_t pair_count;
	struct {
		const char *name;
		const char *value;
	} pairs[CLI_PARAMETERS_MAX];
};

/* Where a document came from. */
struct cli_source {
	bool is_gateway;
	bool is_fallback; /* a file, because no gateway listens */
	char text[600];   /* in words */
};

/* The document at path (with "?..." made from the pairs): from the gateway's API; where nothing
 * listens, from the queue file through write. Gives *ret_document, which has the key "source" on
 * top. EXIT_CODE_DONE, or what was printed to stderr and the code to exit with. */
MUST_USE enum exit_code cli_fetch(const struct cli_options *o, const char *path,
				  enum status (*write)(const struct document_source *s,
						       const struct cli_options *o, struct buf *out,
						       struct err *e),
				  json_t **ret_document, struct cli_source *ret_source);

/* What the command line says about where to ask. */
struct cli_plan {
	char *endpoint; /* NULL: ask no gateway */
	char *token;
	char *queue; /* NULL: read no file */
	uint64_t capacity_bytes;
};
MUST_USE enum exit_code cli_plan_make(const struct cli_options *o, struct cli_plan *ret);
void cli_plan_done(struct cli_plan *p);

/* One request. Everything is borrowed. */
struct cli_request {
	const char *endpoint;
	const char *token;
	const char *path;                /* with "?..." where there is something to ask */
	const struct cli_options *query; /* its pairs are appended; NULL: none */
	const struct buf *json;          /* POST it; NULL: GET */
	struct buf *body;                /* the answer is appended to it */
	FILE *stream;                    /* a 200 goes here instead; NULL: no */
};
/* ST_UNAVAILABLE: nothing listens there. ST_IO: it does not answer as HTTP should. */
MUST_USE enum status cli_http(const struct cli_request *r, int *ret_code, struct err *e);
/* What an answer comes to; its error goes to stderr. document may be NULL: it was no JSON. */
enum exit_code cli_read_answer(const char *endpoint, int code, json_t *document);
/* GET, or POST of body, to the gateway of the plan, which must be running. Takes body. Gives
 * *ret_document. */
MUST_USE enum exit_code cli_call(const struct cli_plan *p, const char *path, json_t *body,
				 json_t **ret_document);
MUST_USE json_t *cli_parse(const struct buf *text);

/* For -o json. */
enum exit_code cli_print_json(json_t *document);

/* Uplinks as a table: name NULL: all. How many were shown. */
int cli_print_uplinks(json_t *list, const char *name);

enum exit_code cli_status(const struct cli_options *o);
enum exit_code cli_queue(const struct cli_options *o);
enum exit_code cli_show(const struct cli_options *o);
enum exit_code cli_check_config(const struct cli_options *o);
enum exit_code cli_check_destination(const struct cli_options *o);
void cli_set_check(cli_check_fn fn); /* before cli_check_destination */
/* The kind accepts the destination, and its files can be read; else it is said on stderr. */
bool cli_is_usable(const struct config *c, const struct destination_config *d);
enum exit_code cli_losses(const struct cli_options *o);
enum exit_code cli_dead_groups(const struct cli_options *o);
enum exit_code cli_dead_letters(const struct cli_options *o);
enum exit_code cli_dead_export(const struct cli_options *o);
enum exit_code cli_dead_replay(const struct cli_options *o);
enum exit_code cli_dead_purge(const struct cli_options *o);
enum exit_code cli_queue_purge(const struct cli_options *o);
enum exit_code cli_queue_move(const struct cli_options *o);
enum exit_code cli_pause(const struct cli_options *o);
enum exit_code cli_resume(const struct cli_options *o);
enum exit_code cli_flush(const struct cli_options *o);
enum exit_code cli_uplink(const struct cli_options *o);
enum exit_code cli_uplink_pause(const struct cli_options *o);
enum exit_code cli_uplink_resume(const struct cli_options *o);
enum exit_code cli_uplink_flush(const struct cli_options *o);
enum exit_code cli_uplink_reset(const struct cli_options *o);

#endif
