/* telemetry/record.h - the class of one record: the built-in rules.
 * Owner: stateless. Needs: gateway/base, schema. */
#ifndef TELEMETRY_RECORD_H
#define TELEMETRY_RECORD_H

#include "gateway/base/buf.h"
#include "schema/vocabulary.h"

/* level is a log record's severity_number, or a span's status code; nothing of a data point. */
static inline enum record_class record_class_of_level(enum signal signal, int32_t level)
{
	enum { SEVERITY_WARN = 13, SEVERITY_ERROR = 17, STATUS_CODE_ERROR = 2 };
	if (signal == SIGNAL_LOGS && level >= SEVERITY_WARN)
		return level >= SEVERITY_ERROR ? RECORD_CLASS_CRITICAL : RECORD_CLASS_WARNING;
	if (signal == SIGNAL_TRACES && level == STATUS_CODE_ERROR)
		return RECORD_CLASS_CRITICAL;
	return RECORD_CLASS_INFO;
}

/* The level of a Span or LogRecord that the scan has accepted. Looks at its top fields only. */
int32_t record_level(enum signal signal, struct bytes record);

#endif
