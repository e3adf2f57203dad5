/* status.h - the one way to report a result: enum status, and struct err for the words.
 * Owner: none. Needs: schema/status.def. */
#ifndef BASE_STATUS_H
#define BASE_STATUS_H

#include <stdarg.h>
#include <stdbool.h>

#define MUST_USE          __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))
#define NO_RETURN         __attribute__((noreturn, cold))

enum status_class { CLASS_OK, CLASS_REJECT, CLASS_RETRY, CLASS_FATAL };

enum status {
#define STATUS(name, class, grpc, http, text) ST_##name,
#include "schema/status.def"
#undef STATUS
	STATUS_COUNT
};

enum status_class status_class(enum status st);
/* A gRPC status code (grpc/doc/statuscodes.md), 0..16. */
int status_grpc(enum status st);
/* An HTTP status code. */
int status_http(enum status st);
/* For people: lower case, no full stop. Static storage. */
const char *status_text(enum status st);
/* The symbol without its prefix ("TOO_LARGE"), for logs and tests. Static storage. */
const char *status_name(enum status st);

/* The words that go with a failure: what happened, where, what to do. Filled where the failure is
 * understood, wrapped on the way up, printed once at the edge. A NULL err is always accepted. */
struct err {
	char text[512];
};

/* Replace the text. Gives st, so that `return err_set(e, ST_INVALID, "...")` reads well: a macro,
 * so that compilers and analyzers see that it does. */
#define err_set(e, st, ...) (err_format((e), __VA_ARGS__), err_status(st))
/* Put "fmt: " in front of the text. Gives st, which is evaluated twice. */
#define err_wrap(e, st, ...) (err_prefix((e), (st), __VA_ARGS__), err_status(st))
static inline enum status err_status(enum status st)
{
	return st;
}
void err_format(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);
void err_prefix(struct err *e, enum status st, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* The text, or the status's own text where none was set. */
const char *err_text(const struct err *e, enum status st);

/* A programming error: print where, and abort, in release builds too. Input never reaches a CHECK.
 */
#define CHECK(cond) ((cond) ? (void)0 : check_failed(#cond, __FILE__, __LINE__))
NO_RETURN void check_failed(const char *cond, const char *file, int line);

#endif
