/* ingest/loss_report.h - rows of the loss ledger as one OTLP logs request.
 * Owner: the loss reporter's thread. Needs: storage/inspect.h, telemetry. */
#ifndef INGEST_LOSS_REPORT_H
#define INGEST_LOSS_REPORT_H

#include "gateway/telemetry/attributes.h"
#include "storage/inspect.h"

enum { LOSS_REPORT_RECORDS_MAX = 256, LOSS_DETAIL_MAX = 256 };

/* Losses that differ in time and size alone, within an hour: one log record. */
struct loss_group {
	char *destination;
	char *signal;
	char *class;
	char *reason;
	char detail[LOSS_DETAIL_MAX]; /* of the last */
	int64_t rows;
	int64_t first_id;
	int64_t last_id;
	int64_t first_at_ns; /* 0: the clock was not set, and nobody knows */
	int64_t last_at_ns;
	int64_t records;
	int64_t bytes;
	int64_t first_time_ns; /* of the data; 0: unknown */
	int64_t last_time_ns;
};

struct loss_report {
	size_t count;
	struct loss_group groups[LOSS_REPORT_RECORDS_MAX];
	int64_t last_id; /* of the ledger: everything up to it is in here */
};

/* Rows come in the order of their ids. False: it is of another kind, and there is no room for one
 * more; nothing was added. */
bool loss_report_add(struct loss_report *r, const struct inspect_loss *l);
/* Forgets the groups, keeps last_id. */
void loss_report_clear(struct loss_report *r);
/* Appends an ExportLogsServiceRequest with one record for each group, of severity WARN and with the
 * event name tidegate.loss. resource: attributes of the gateway. now_ns 0: it is not known. */
MUST_USE enum status loss_report_write(const struct loss_report *r,
				       const struct attributes *resource, int64_t now_ns,
				       struct buf *out);
/* When the first of them was let go, and the last; 0: not known. */
void loss_report_times(const struct loss_report *r, int64_t *ret_first_ns, int64_t *ret_last_ns);

#endif
