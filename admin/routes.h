/* admin/routes.h - what the admin listener answers: the one table of paths.
 * Owner: the table is constant; a struct call belongs to the thread that answers it. Needs:
 * document, parameters, sampler. */
#ifndef ADMIN_ROUTES_H
#define ADMIN_ROUTES_H

#include "admin/document.h"
#include "admin/sampler.h"

/* One request, with everything it is answered from. */
struct call {
	const char *queue_path;
	uint64_t capacity_bytes;
	struct gateway_view gateway;
	struct sampler *sampler;
	struct parameters parameters;
	int64_t id;     /* of the path's {id} */
	struct buf out; /* the answer's body */
};

struct route {
	const char *path; /* may end in {id} */
	enum parameter_set set;
	bool is_open; /* asks for no token */
	const char *content_type;
	enum status (*answer)(struct call *c, struct err *e);
	const char *doc;
};

extern const struct route routes[];
extern const size_t route_count;

/* The route for this path. ST_NOT_FOUND: none. ST_INVALID: the {id} is no number. */
MUST_USE enum status route_find(const char *path, const struct route **ret, int64_t *ret_id,
				struct err *e);
/* What to try after this failure of r (NULL: no route was found); NULL: nothing to say. Static
 * storage. */
const char *route_hint(const struct route *r, enum status st);

#endif
