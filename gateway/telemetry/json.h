/* telemetry/json.h - OTLP JSON to protobuf and back (OTLP specification, "JSON Protobuf Encoding").
 * Owner: stateless. Needs: gateway/base, proto. */
#ifndef TELEMETRY_JSON_H
#define TELEMETRY_JSON_H

#include "gateway/base/buf.h"
#include "schema/vocabulary.h"

/* Appends the request as protobuf to out. Rules: lowerCamelCase keys, trace and span ids in hex of
 * any case, other bytes base64, 64-bit integers as strings or numbers (1.7e18 too), enums as
 * integers, doubles also "NaN", "Infinity", "-Infinity", null is absence, unknown keys are ignored.
 * Converts while it reads: no document is built, out is the only memory. ST_INVALID: e says the
 * path and line. ST_TOO_LARGE, ST_BUSY: from out. Borrows text. */
MUST_USE enum status json_to_otlp(enum signal signal, struct bytes text, struct buf *out,
				  struct err *e);

/* Appends one line of OTLP JSON without the line feed. Works on concatenated requests. Unknown
 * fields cannot be shown and are left out. ST_INVALID for damaged bytes: depth and lengths are
 * checked again. */
MUST_USE enum status otlp_to_json(enum signal signal, struct bytes body, struct buf *out,
				  struct err *e);

#endif
