/* admin/routes.h - what the admin listener answers: the one table of paths.
 * Owner: the table is constant; a struct call belongs to the thread that answers it. Needs:
 * document, parameters, sampler. */
#ifndef ADMIN_ROUTES_H
#define ADMIN_ROUTES_H

#include "admin/document.h"
#include "admin/sampler.h"
#include "storage/writer.h"

/* A body that is made piece by piece while it is sent. */
struct call_stream {
	/* Appends the next piece to out, which is empty. ST_END: that was all. Any other failure
	 * breaks the answer off. */
	enum status (*next)(void *ctx, struct buf *out); /* NULL: no stream */
	void (*end)(void *ctx);                          /* takes ctx */
	void *ctx;
};

/* One request, with everything it is answered from. */
struct call {
	const char *queue_path;
	uint64_t capacity_bytes;
	struct gateway_view gateway;
	struct sampler *sampler;
	const struct control *control;
	struct writer *writer;
	const char *caller;       /* address of whoever asks, for the loss ledger */
	atomic_bool *is_stopping; /* the listener is: end soon */
	struct parameters parameters;
	int64_t id;                /* of the path's {id} */
	const char *name;          /* of the path's {name} */
	struct buf out;            /* the answer's body, or */
	struct call_stream stream; /* where its answer is one: ST_OK gives it to the server */
};

struct route {
	const char *path; /* may end in {id}, or hold {name} */
	enum parameter_set set;
	bool is_open;   /* asks for no token */
	bool is_change; /* POST with a JSON body; others are GET */
	const char *content_type;
	enum status (*answer)(struct call *c, struct err *e);
	const char *doc;
};

extern const struct route routes[];
extern const size_t route_count;

/* What a path says besides its route. */
enum { ROUTE_NAME_MAX = 64 };
struct route_words {
	int64_t id;
	char name[ROUTE_NAME_MAX];
};

/* The route for this path. ST_NOT_FOUND: none. ST_INVALID: the {id} is no number. */
MUST_USE enum status route_find(const char *path, const struct route **ret,
				struct route_words *ret_words, struct err *e);
/* What to try after this failure of r (NULL: no route was found); NULL: nothing to say. Static
 * storage. */
const char *route_hint(const struct route *r, enum status st);

#endif
