/* forward/outcome.h - what an answer means for the data: delivered, again, never, not now.
 * Owner: stateless. Needs: nothing. */
#ifndef FORWARD_OUTCOME_H
#define FORWARD_OUTCOME_H

#include <stdbool.h>

enum verdict {
	VERDICT_DELIVERED,    /* taken, perhaps in part: never sent again */
	VERDICT_RETRY,        /* not now: the same export again, later */
	VERDICT_UNAUTHORIZED, /* not with these credentials: keep everything, ask now and then */
	VERDICT_TOO_LARGE,    /* not so much at once: send smaller, or it is refused */
	VERDICT_REFUSED,      /* never: what is at fault becomes a dead letter */
	VERDICT_ENCODING,     /* not so encoded: again at once with another encoding */
	VERDICT_COUNT
};

/* As the label `outcome` of tidegate_destination_attempts. */
const char *outcome_verdict_text(enum verdict v);
/* Of an HTTP status; 0 stands for no answer (refused, reset, timed out, name not found). */
enum verdict outcome_of_http(int status);
/* A refusal with this HTTP status or gRPC code speaks of the address and not of the data, as far as
 * one answer can tell: no such path, no such method, no such service. */
bool outcome_is_about_address(int status);
/* The same, with what the answer says in words; not NULL. */
enum verdict outcome_of_http_words(int status, const char *message);
/* Of a gRPC code. has_retry_info: the answer says when to come again. message: what it says, in
 * words; not NULL. */
enum verdict outcome_of_grpc(int code, bool has_retry_info, const char *message);

#endif
