/* cli_source.c - asks the gateway, or reads the file: one document either way.
 *
 * What was named on the command line decides what is asked:
 *
 *   nothing, or --config    the configuration's admin.endpoint; its queue where nothing listens
 *   --queue alone           that file: a gateway on the default port may well be another one
 *   --endpoint alone        that gateway; there is no file that would be known to be its own
 *   --endpoint and --queue  that gateway; where nothing listens, that file
 *
 * A gateway that answers with an error has answered: the file is read only where nobody listens. */
#include "admin/command.h"

#include "admin/value.h"
#include "gateway/base/config.h"
#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"

/* A person waits for it, and no gateway is answering: longer than an API call may take. */
static const int64_t look_limit_ns = 20 * NS_PER_S;

static char *copy_or_null(const char *text)
{
	return text && text[0] ? xstrdup(text) : NULL;
}

void cli_plan_done(struct cli_plan *p)
{
	free(p->endpoint);
	free(p->token);
	free(p->queue);
}

enum exit_code cli_plan_make(const struct cli_options *o, struct cli_plan *p)
{
	struct config *c = NULL;
	struct err e = { 0 };
	enum status st = o->config ? config_load(o->config, &c, &e) : config_default(&c, &e);
	if (st) {
		(void)fprintf(stderr, "tidegate: %s\n", err_text(&e, st));
		return EXIT_CODE_CONFIG;
	}
	bool is_named = !o->config && (o->endpoint || o->queue);
	const char *environment = getenv("TIDEGATE_ADMIN_TOKEN");
	p->endpoint = o->endpoint ? copy_or_null(o->endpoint) :
		      is_named    ? NULL :
				    copy_or_null(c->admin_endpoint);
	p->queue = o->queue ? copy_or_null(o->queue) :
		   is_named ? NULL :
			      copy_or_null(c->queue_path);
	p->token = o->token                      ? copy_or_null(o->token) :
		   environment && environment[0] ? xstrdup(environment) :
						   copy_or_null(c->admin_token);
	p->capacity_bytes = o->config ? c->queue_max_size : 0;
	config_free(c);
	return EXIT_CODE_DONE;
}

/* The API's own hints speak of paths and parameters. */
static const char *hint_of_http(int code)
{
	switch (code) {
	case 400:
		return "--help says what each option takes";
	case 401:
		return "give --token, TIDEGATE_ADMIN_TOKEN, or the gateway's --config";
	case 404:
		return "tidegate status shows destinations and uplinks, tidegate queue the batches";
	case 421:
		return "give --endpoint with 127.0.0.1 or localhost, or set admin.token";
	case 409:
		return "tidegate status shows which destinations are configured";
	case 413:
		return "it is too large to be shown: read the file with sqlite3 "
		       "(docs/forensics.md)";
	case 504:
		return "the queue is long: ask for less, or read the file with sqlite3 "
		       "(docs/forensics.md)";
	default:
		return "try again; tidegate status says how the gateway is";
	}
}

static enum exit_code code_of_http(int code)
{
	switch (code) {
	case 400:
		return EXIT_CODE_USAGE;
	case 401:
		return EXIT_CODE_DENIED;
	case 404:
		return EXIT_CODE_NOT_FOUND;
	default:
		return EXIT_CODE_FAILED;
	}
}

json_t *cli_parse(const struct buf *text)
{
	return json_loadb((const char *)text->p, text->n, JSON_ALLOW_NUL, NULL);
}

static const char *text_of(json_t *document, const char *key)
{
	const char *text = json_string_value(json_object_get(document, key));
	return text ? text : "";
}

/* The gateway's answer, which may be an error in its own words. */
enum exit_code cli_read_answer(const char *endpoint, int code, json_t *document)
{
	if (code == 200 && json_is_object(document))
		return EXIT_CODE_DONE;
	if (!json_is_object(document) || !json_object_get(document, "error")) {
		(void)fprintf(
			stderr,
			"tidegate: %s answers with HTTP status %d, but not as tidegate's admin "
			"API; is it another program's port?\n",
			endpoint, code);
		return EXIT_CODE_FAILED;
	}
	(void)fprintf(stderr, "tidegate: %s: %s\n", endpoint, text_of(document, "error"));
	(void)fprintf(stderr, "  %s\n", hint_of_http(code));
	return code_of_http(code);
}

/* *ret_nobody: nothing listens there, which is no error yet. */
static enum exit_code ask(const struct cli_plan *p, const struct cli_options *o, const char *path,
			  json_t **ret, bool *ret_nobody)
{
	struct buf body;
	struct err e = { 0 };
	int code = 0;
	buf_init(&body, DOCUMENT_MAX, NULL);
	const struct cli_request r = {
		.endpoint = p->endpoint, .token = p->token, .path = path, .query = o, .body = &body
	};
	enum status st = cli_http(&r, &code, &e);
	*ret_nobody = st == ST_UNAVAILABLE;
	enum exit_code rc = EXIT_CODE_FAILED;
	if (!st) {
		*ret = cli_parse(&body);
		rc = cli_read_answer(p->endpoint, code, *ret);
	} else if (st == ST_INVALID) {
		(void)fprintf(stderr, "tidegate: --endpoint: %s\n", err_text(&e, st));
		rc = EXIT_CODE_USAGE;
	} else if (!*ret_nobody) {
		(void)fprintf(stderr, "tidegate: %s\n", err_text(&e, st));
	} else if (!p->queue) {
		(void)fprintf(stderr,
			      "tidegate: %s\n  name the queue file with --queue to read it without "
			      "a gateway\n",
			      err_text(&e, st));
		rc = EXIT_CODE_NOT_FOUND;
	}
	buf_done(&body);
	return rc;
}

static enum exit_code post(const struct cli_plan *p, const char *path, json_t *body,
			   struct buf *answer, int *ret_code, struct err *e)
{
	struct buf json;
	buf_init(&json, 64 << 10, NULL);
	const struct cli_request r = { .endpoint = p->endpoint,
				       .token = p->token,
				       .path = path,
				       .json = body ? &json : NULL,
				       .body = answer };
	enum status st = body ? value_write(body, &json) : ST_OK;
	if (!st)
		st = cli_http(&r, ret_code, e);
	buf_done(&json);
	if (!st)
		return EXIT_CODE_DONE;
	(void)fprintf(stderr, "tidegate: %s\n", err_text(e, st));
	if (st == ST_UNAVAILABLE)
		(void)fprintf(stderr, "  only a running gateway %s: start it first\n",
			      body ? "changes its queue" : "knows that");
	return st == ST_INVALID     ? EXIT_CODE_USAGE :
	       st == ST_UNAVAILABLE ? EXIT_CODE_NOT_FOUND :
				      EXIT_CODE_FAILED;
}

enum exit_code cli_call(const struct cli_plan *p, const char *path, json_t *body,
			json_t **ret_document)
{
	struct buf answer;
	struct err e = { 0 };
	int code = 0;
	buf_init(&answer, DOCUMENT_MAX, NULL);
	enum exit_code rc = post(p, path, body, &answer, &code, &e);
	json_t *document = rc == EXIT_CODE_DONE ? cli_parse(&answer) : NULL;
	if (rc == EXIT_CODE_DONE)
		rc = cli_read_answer(p->endpoint, code, document);
	buf_done(&answer);
	if (rc == EXIT_CODE_DONE)
		*ret_document = document;
	else
		json_decref(document);
	return rc;
}

static enum exit_code read_file(const struct cli_plan *p, const struct cli_options *o,
				enum status (*write)(const struct document_source *s,
						     const struct cli_options *o, struct buf *out,
						     struct err *e),
				json_t **ret)
{
	struct document_source s = { .queue_path = p->queue, .capacity_bytes = p->capacity_bytes };
	struct buf text;
	struct err e = { 0 };
	buf_init(&text, DOCUMENT_MAX, NULL);
	enum status st = inspect_open(p->queue, look_limit_ns, &s.in, &e);
	if (!st)
		st = write(&s, o, &text, &e);
	if (!st)
		*ret = cli_parse(&text);
	inspect_close(s.in);
	buf_done(&text);
	if (!st)
		return EXIT_CODE_DONE;
	(void)fprintf(stderr, "tidegate: %s\n", err_text(&e, st));
	if (st == ST_NOT_FOUND && p->endpoint)
		(void)fprintf(stderr, "  (and no gateway listens on %s)\n", p->endpoint);
	if (st == ST_CORRUPT)
		(void)fprintf(stderr, "  a gateway that starts with it sets it aside, and moves "
				      "what can be read of it to a new file\n");
	return st == ST_NOT_FOUND ? EXIT_CODE_NOT_FOUND : EXIT_CODE_FAILED;
}

static void note_source(const struct cli_plan *p, json_t *document, struct cli_source *s)
{
	json_t *o = json_object();
	if (s->is_gateway)
		(void)snprintf(s->text, sizeof(s->text), "gateway at %s", p->endpoint);
	else if (s->is_fallback)
		(void)snprintf(s->text, sizeof(s->text), "file %s (no gateway listens on %s)",
			       p->queue, p->endpoint);
	else
		(void)snprintf(s->text, sizeof(s->text), "file %s", p->queue);
	(void)json_object_set_new(o, "kind", json_string(s->is_gateway ? "gateway" : "file"));
	(void)json_object_set_new(o, s->is_gateway ? "endpoint" : "path",
				  json_string(s->is_gateway ? p->endpoint : p->queue));
	(void)json_object_set_new(document, "source", o);
}

enum exit_code cli_fetch(const struct cli_options *o, const char *path,
			 enum status (*write)(const struct document_source *s,
					      const struct cli_options *o, struct buf *out,
					      struct err *e),
			 json_t **ret_document, struct cli_source *ret_source)
{
	struct cli_plan p = { 0 };
	struct cli_source source = { 0 };
	json_t *document = NULL;
	bool is_nobody = false;
	enum exit_code rc = cli_plan_make(o, &p);
	if (rc != EXIT_CODE_DONE)
		goto out;
	if (p.endpoint) {
		rc = ask(&p, o, path, &document, &is_nobody);
		source.is_gateway = rc == EXIT_CODE_DONE;
	}
	if (p.queue && (!p.endpoint || is_nobody)) {
		source.is_fallback = is_nobody;
		rc = read_file(&p, o, write, &document);
	}
	if (rc != EXIT_CODE_DONE)
		goto out;
	note_source(&p, document, &source);
	*ret_source = source;
	*ret_document = document;
	document = NULL;
out:
	json_decref(document);
	cli_plan_done(&p);
	return rc;
}

enum exit_code cli_print_json(json_t *document)
{
	/* 17 digits tell any two doubles apart. */
	int rc = json_dumpf(document, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(17));
	return rc == 0 && putchar('\n') != EOF && fflush(stdout) == 0 ? EXIT_CODE_DONE :
									EXIT_CODE_FAILED;
}
