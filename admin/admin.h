/* admin/admin.h - health, metrics and the HTTP API.
 * Owner: main starts and stops it; connections belong to libmicrohttpd's threads. Needs: storage,
 * telemetry, gateway/base. */
#ifndef ADMIN_ADMIN_H
#define ADMIN_ADMIN_H

#include "admin/control.h"
#include "storage/writer.h"

struct admin;

struct admin_options {
	const char *endpoint; /* host:port, [v6]:port; port 0: any */
	const char *token;    /* NULL or empty: none is asked for */
	struct writer *writer;
	const char *queue_path;
	uint64_t capacity_bytes; /* queue.max_size */
	/* Bytes of requests that were received and not yet answered. May be NULL. */
	size_t (*in_flight)(void *ctx);
	void *in_flight_ctx;
	/* What operators may tell; outlives the admin. NULL: nothing. */
	const struct control *control;
};

/* Borrows the options' texts until return, the writer until admin_stop. ST_INVALID: the endpoint is
 * not loopback and there is no token. */
MUST_USE enum status admin_start(const struct admin_options *o, struct admin **ret, struct err *e);
/* The port that was bound. */
int admin_port(const struct admin *a);
/* Close every connection, join. The writer must still exist. Accepts NULL. */
void admin_stop(struct admin *a);

#endif
