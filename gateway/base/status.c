/* status.c - tables made from schema/status.def, and the text of an error.
 *
 * A status says what a caller may do next (its class); a struct err says what a person should know.
 * Both are plain values: nothing here allocates or logs. */
#include "gateway/base/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name;
	enum status_class class;
	int grpc;
	int http;
	const char *text;
} rows[] = {
#define STATUS(name, class, grpc, http, text) { #name, class, grpc, http, text },
#include "schema/status.def"
#undef STATUS
};

enum status_class status_class(enum status st)
{
	return rows[st].class;
}

int status_grpc(enum status st)
{
	return rows[st].grpc;
}

int status_http(enum status st)
{
	return rows[st].http;
}

const char *status_text(enum status st)
{
	return rows[st].text;
}

const char *status_name(enum status st)
{
	return rows[st].name;
}

void err_format(struct err *e, const char *fmt, ...)
{
	if (!e)
		return;
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
}

void err_prefix(struct err *e, enum status st, const char *fmt, ...)
{
	if (!e)
		return;
	struct err inner = *e;
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	size_t n = strlen(e->text);
	const char *what = inner.text[0] ? inner.text : status_text(st);
	(void)snprintf(e->text + n, sizeof(e->text) - n, ": %s", what);
}

const char *err_text(const struct err *e, enum status st)
{
	return e && e->text[0] ? e->text : status_text(st);
}

void check_failed(const char *cond, const char *file, int line)
{
	(void)fprintf(stderr, "level=fatal event=check.failed at=%s:%d condition=\"%s\"\n", file,
		      line, cond);
	abort();
}
