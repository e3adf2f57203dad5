/* forward/loki_convert.h - OTLP log records as one Loki push.
 * Owner: stateless. Needs: gateway/base, telemetry/wire.h, forward/loki_names.h. */
#ifndef FORWARD_LOKI_CONVERT_H
#define FORWARD_LOKI_CONVERT_H

#include "gateway/base/buf.h"
#include "gateway/forward/loki_names.h"
#include "schema/vocabulary.h"

/* Limits of Loki's that one entry has to keep, and what one push may hold: its burst of ingestion
 * (6 MB as it ships) is the most that it ever takes at once, lines and metadata together. */
enum {
	LOKI_METADATA_MAX = 128,
	LOKI_METADATA_BYTES_MAX = 64 * 1024,
	LOKI_METADATA_VALUE_MAX = 16 * 1024, /* ours: one value leaves room for others */
	LOKI_PUSH_MAX = 4 * 1024 * 1024,
};
#define LOKI_CUT_MARK "[cut]"
/* The label that keeps records of different urgency, which do not wait for one another, in
 * different streams. */
#define LOKI_CLASS_LABEL "class"

/* An attribute that becomes a label of the stream. */
struct loki_label_source {
	struct bytes attribute;
	struct bytes name; /* of the label */
};

/* How; made once from the configuration. */
struct loki_form {
	/* Without class; ordered by name. */
	struct loki_label_source labels[LOKI_LABELS_MAX];
	size_t label_count;
	size_t max_line; /* bytes; a longer line is cut, or left out */
	bool leaves_out; /* lines that are too long */
	bool is_json;
};

/* What. Members' OTLP stand behind one another in otlp, and each has so many bytes of it. */
struct loki_member {
	size_t raw_bytes;
	int64_t received_at_ns; /* for records without a time */
};
struct loki_source {
	struct bytes otlp; /* an ExportLogsServiceRequest that the scan accepted once */
	enum record_class class;
	const struct loki_member *members;
	size_t member_count;
};

struct loki_push {
	uint32_t entries;
	uint32_t left_out;  /* records that are in no entry */
	size_t longest_out; /* of them, bytes of the longest line */
	bool is_too_large;  /* more than LOKI_PUSH_MAX: what stands in out is not to be sent */
};

/* Appends a PushRequest (or its JSON form) to out, not compressed; nothing where no entry is in it.
 * Memory is charged to out's budget. ST_INVALID: not the bytes that a scan accepted. ST_TOO_LARGE,
 * ST_BUSY: from out. */
MUST_USE enum status loki_convert(const struct loki_form *form, const struct loki_source *source,
				  struct buf *out, struct loki_push *ret, struct err *e);

#endif
