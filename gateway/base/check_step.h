/* check_step.h - what check-destination found out, step by step: from forward to the command line.
 * Owner: the caller. Needs: config. */
#ifndef BASE_CHECK_STEP_H
#define BASE_CHECK_STEP_H

#include "gateway/base/config.h"

enum check_outcome { CHECK_FINE, CHECK_LEFT_OUT, CHECK_WARNING, CHECK_FAILED };

struct check_step {
	char what[16]; /* config, name, connection, tls, file, or a signal */
	enum check_outcome outcome;
	char text[600]; /* what was found */
	char hint[600]; /* what to do; empty: nothing */
};

enum check_result {
	CHECK_RESULT_FINE,
	CHECK_RESULT_INVALID,      /* the configuration, or a file that it names */
	CHECK_RESULT_UNREACHABLE,  /* name, connection or TLS */
	CHECK_RESULT_UNAUTHORIZED, /* it answers, but not to these credentials */
	CHECK_RESULT_REFUSED       /* it answers, but does not take the test record */
};

/* Everything is borrowed. */
struct check_request {
	const struct config *config;
	const struct destination_config *destination; /* one of config's */
	bool is_config_only;                          /* no step but the first: no network */
	bool is_without_send;                         /* look, but leave no test record */
	int64_t timeout_ns;                           /* of each step */
	void (*tell)(void *ctx, const struct check_step *s);
	void *ctx;
};

#endif
