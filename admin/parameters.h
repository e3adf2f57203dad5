/* admin/parameters.h - names and values of a query, from a URL or from the command line.
 * Owner: the caller. Needs: storage/inspect. */
#ifndef ADMIN_PARAMETERS_H
#define ADMIN_PARAMETERS_H

#include "storage/inspect.h"

/* Which parameters a call takes. */
enum parameter_set {
	PARAMETERS_NONE = 0,
	PARAMETERS_BATCHES = 1,
	PARAMETERS_BATCH = 2,
	PARAMETERS_LOSSES = 4
};

enum { PARAMETERS_LIMIT_DEFAULT = 50 };

struct parameters {
	struct inspect_filter filter; /* its texts belong to the struct; after_id is the cursor */
	bool is_otlp;                 /* format=otlp: the payload itself */
	int64_t min_age_ns;           /* -1: not given */
	int64_t max_age_ns;
};

void parameters_init(struct parameters *p);
void parameters_done(struct parameters *p);
/* ST_INVALID: e says which parameter is wrong, and what is allowed. Borrows name and value; value
 * NULL: the name came without one. */
MUST_USE enum status parameters_set(struct parameters *p, enum parameter_set set, const char *name,
				    const char *value, struct err *e);
/* After the last set: ages become times. */
void parameters_finish(struct parameters *p);
/* The i-th parameter that belongs to the set and its meaning; false: there is none. For --help, and
 * for the test that compares the table with docs/admin-api.md. */
bool parameters_describe(enum parameter_set set, int i, const char **ret_name,
			 const char **ret_help);

#endif
