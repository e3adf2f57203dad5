/* admin/document.h - what the API answers, as JSON text. The command line builds the same documents
 * from the file when no gateway runs, so there is one renderer for both.
 * Owner: stateless. Needs: storage/inspect, telemetry. */
#ifndef ADMIN_DOCUMENT_H
#define ADMIN_DOCUMENT_H

#include "admin/control.h"
#include "admin/parameters.h"

/* What only a running gateway knows. */
struct gateway_view {
	enum status state; /* writer_state */
	bool is_degraded;
	size_t in_flight_bytes;
	int64_t uptime_ns;
};

/* Where the file's documents come from. */
struct document_source {
	struct inspect *in;
	const char *queue_path;
	uint64_t capacity_bytes;            /* queue.max_size; 0: not known */
	const struct gateway_view *gateway; /* NULL: none runs */
	const struct control *control;      /* of the uplinks; NULL: not known */
};

enum { DOCUMENT_PAYLOAD_MAX = 16 << 20, DOCUMENT_MAX = 96 << 20 };

/* Each appends one JSON document to out. Statuses: those of inspect, and of out. */
MUST_USE enum status document_health(const struct gateway_view *g, struct buf *out);
/* The status says whether the queue takes writes: ST_OK, or why not. */
MUST_USE enum status document_ready(const struct gateway_view *g, struct buf *out);
MUST_USE enum status document_status(const struct document_source *s, struct buf *out,
				     struct err *e);
MUST_USE enum status document_batches(const struct document_source *s, const struct parameters *p,
				      struct buf *out, struct err *e);
/* Metadata, deliveries, and the records as OTLP JSON under "data". Where p->is_otlp: the protobuf
 * itself, decompressed. ST_TOO_LARGE: the records are larger than DOCUMENT_PAYLOAD_MAX. */
MUST_USE enum status document_batch(const struct document_source *s, int64_t id,
				    const struct parameters *p, struct buf *out, struct err *e);
MUST_USE enum status document_losses(const struct document_source *s, const struct parameters *p,
				     struct buf *out, struct err *e);
MUST_USE enum status document_balance(const struct document_source *s, struct buf *out,
				      struct err *e);
/* {"error": ..., "hint": ...}; hint may be NULL. */
MUST_USE enum status document_error(const char *error, const char *hint, struct buf *out);

#endif
