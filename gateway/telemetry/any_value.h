/* telemetry/any_value.h - attribute values as text, for backends whose labels are strings.
 * Owner: stateless. Needs: gateway/base. */
#ifndef TELEMETRY_ANY_VALUE_H
#define TELEMETRY_ANY_VALUE_H

#include "gateway/base/buf.h"

/* Appends the text of an AnyValue, given as its wire bytes, as the OpenTelemetry specification has
 * it ("Prometheus and OpenMetrics Compatibility", "AnyValue to string"): strings as they are,
 * numbers in decimal, true and false, bytes as base64, arrays and maps as JSON. Nothing for a value
 * that is not set. ST_INVALID: damaged, or nested deeper than the scan lets in. ST_TOO_LARGE,
 * ST_BUSY, ST_NO_MEMORY: from out. */
MUST_USE enum status any_value_text(struct bytes value, struct buf *out);

/* The shortest decimal that reads back as v, without an exponent: "0.005", "100", "+Inf", "-Inf",
 * "NaN". As Go's strconv.FormatFloat(v, 'f', -1, 64). */
enum { NUMBER_TEXT_MAX = 352 };
size_t any_value_fixed(double v, char text[static NUMBER_TEXT_MAX]);

#endif
