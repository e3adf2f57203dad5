/* admin/command.h - what the commands share: options, exit codes, where documents come from.
 * Owner: cli*.c alone. Needs: document, parameters, jansson. */
#ifndef ADMIN_COMMAND_H
#define ADMIN_COMMAND_H

#include <jansson.h>
#include <stdio.h>

#include "admin/document.h"

/* EXIT_CODE(name, code, meaning): shown by --help, and in docs/admin-api.md. */
#define EXIT_CODES(EXIT_CODE)                                                                      \
	EXIT_CODE(DONE, 0, "done; for status: all is well")                                        \
	EXIT_CODE(FAILED, 1, "failed: the message says why")                                       \
	EXIT_CODE(USAGE, 2, "the command line is wrong")                                           \
	EXIT_CODE(CONFIG, 3, "the configuration is invalid")                                       \
	EXIT_CODE(NOT_FOUND, 4, "no such batch or destination, or neither gateway nor queue file") \
	EXIT_CODE(DENIED, 5, "the gateway wants a token, or another one")                          \
	EXIT_CODE(                                                                                 \
		ATTENTION, 6,                                                                      \
		"status: the gateway is down, not ready or degraded, or the books do not balance")

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
	const char *id; /* of show */
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

/* GET. ST_UNAVAILABLE: nothing listens there. ST_IO: it does not answer as HTTP should. */
MUST_USE enum status cli_http_get(const char *endpoint, const char *token, const char *path,
				  const struct cli_options *o, struct buf *body, int *ret_code,
				  struct err *e);

/* For -o json. */
enum exit_code cli_print_json(json_t *document);

enum exit_code cli_status(const struct cli_options *o);
enum exit_code cli_queue(const struct cli_options *o);
enum exit_code cli_show(const struct cli_options *o);
enum exit_code cli_check_config(const struct cli_options *o);

#endif
