/* admin/parameters.h - names and values of a query, from a URL or from the command line.
 * Owner: the caller. Needs: storage/inspect. */
#ifndef ADMIN_PARAMETERS_H
#define ADMIN_PARAMETERS_H

#include "storage/inspect_dead.h"

/* Which parameters a call takes. */
enum parameter_set {
	PARAMETERS_NONE = 0,
	PARAMETERS_BATCHES = 1,
	PARAMETERS_BATCH = 2,
	PARAMETERS_LOSSES = 4,
	PARAMETERS_GROUPS = 8, /* of dead letters */
	PARAMETERS_DEAD = 16,
	PARAMETERS_EXPORT = 32,
	PARAMETERS_REPLAY = 64,
	PARAMETERS_PURGE_DEAD = 128,
	PARAMETERS_PURGE_READY = 256,
	PARAMETERS_MOVE = 512,
	PARAMETERS_RATE = 1024
};

/* How a value is written in JSON. */
enum parameter_type { PARAMETER_TEXT, PARAMETER_NUMBER, PARAMETER_FLAG };

enum { PARAMETERS_LIMIT_DEFAULT = 50 };

struct parameters {
	struct inspect_filter filter; /* its texts belong to the struct; after_id is the cursor */
	bool is_otlp;                 /* format=otlp: the payload itself */
	int64_t min_age_ns;           /* -1: not given */
	int64_t max_age_ns;
	struct inspect_selector selector; /* its texts belong to the struct */
	int64_t status;                   /* of the selector; -1: not given */
	int64_t max_batches;              /* that are changed; 0: no limit */
	char *to;
	char *why;
	bool is_all;
	bool is_dry_run;
	int64_t rate;         /* bytes a second; -1: not given */
	int64_t for_ns;       /* 0: not given */
	bool is_command_line; /* messages spell names as options: --older-than */
	uint64_t seen;        /* rows of the table that were set */
};

void parameters_init(struct parameters *p);
void parameters_done(struct parameters *p);
/* ST_INVALID: e says which parameter is wrong, and what is allowed. Borrows name and value; value
 * NULL: the name came without one. */
MUST_USE enum status parameters_set(struct parameters *p, enum parameter_set set, const char *name,
				    const char *value, struct err *e);
/* After the last set: ages become times. */
void parameters_finish(struct parameters *p);
/* What the call needs is there, and what excludes each other is not. ST_INVALID: e says what is
 * missing. */
MUST_USE enum status parameters_check(const struct parameters *p, enum parameter_set set,
				      struct err *e);
/* A name as it is written there: "older_than", or "--older-than". Copies to dst. */
void parameters_spell(const struct parameters *p, const char *name, char *dst, size_t size);
/* The i-th parameter that belongs to the set and its meaning; false: there is none. For --help, and
 * for the test that compares the table with docs/admin-api.md. */
bool parameters_describe(enum parameter_set set, int i, const char **ret_name,
			 const char **ret_help);
/* False: the set has no such name. */
bool parameters_type(enum parameter_set set, const char *name, enum parameter_type *ret);
/* The same as parameters_set for each member of a JSON object: the body of a call. ST_INVALID: it
 * is no object, or a member is of another type. Borrows text. */
MUST_USE enum status parameters_read_json(struct parameters *p, enum parameter_set set,
					  struct bytes text, struct err *e);

#endif
