/* ingest/loss_reporter.h - sends the loss ledger as telemetry: one more source of log records.
 * Owner: main makes, starts and stops it; the rest belongs to its thread. Needs: storage,
 * telemetry.
 */
#ifndef INGEST_LOSS_REPORTER_H
#define INGEST_LOSS_REPORTER_H

#include "gateway/telemetry/attributes.h"
#include "storage/writer.h"

struct loss_reporter;

struct loss_reporter_options {
	struct writer *writer;
	const struct attributes *resource; /* outlives the reporter */
	uint64_t destinations; /* slots that logs of class warning go to; never the unrouted one */
	int64_t interval_ns;   /* between two reports, at least; 0: a minute. Only tests set it */
};

/* Before writer_start: it is told of new rows by the writer. */
MUST_USE enum status loss_reporter_new(const struct loss_reporter_options *o,
				       struct loss_reporter **ret, struct err *e);
/* After writer_start. */
MUST_USE enum status loss_reporter_start(struct loss_reporter *r, struct err *e);
/* Waits for what is at the writer, which must still run. Accepts NULL. */
void loss_reporter_stop(struct loss_reporter *r);
/* After writer_stop, which rings until then. Accepts NULL. */
void loss_reporter_free(struct loss_reporter *r);

#endif
