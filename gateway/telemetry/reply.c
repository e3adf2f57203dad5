/* reply.c - the small messages around an export: what we answer, and what a backend answered.
 *
 * Replies are written and read field by field with telemetry/wire.h. What a backend sends is as
 * hostile as what a client sends: nothing is unpacked, nothing nests (the details of a Status are
 * looked at two levels deep and no further), and a JSON reply is parsed only up to 64 KiB, which
 * bounds the memory of its document.
 *
 * A body that is no Status at all is common: proxies answer with HTML or plain text. Such a body is
 * ST_INVALID, and so is one that happens to parse but holds none of Status's fields. */
#include "gateway/telemetry/reply.h"

#include <jansson.h>
#include <stdlib.h>

#include "gateway/telemetry/json_text.h"
#include "gateway/telemetry/utf8.h"
#include "gateway/telemetry/wire.h"

/* google/rpc/status.proto, error_details.proto, protobuf's any.proto and duration.proto. */
enum { STATUS_CODE = 1, STATUS_MESSAGE = 2, STATUS_DETAILS = 3 };
enum { ANY_TYPE_URL = 1, ANY_VALUE = 2, RETRY_DELAY = 1, DURATION_SECONDS = 1, DURATION_NANOS = 2 };
enum { RESPONSE_PARTIAL = 1, PARTIAL_REJECTED = 1, PARTIAL_MESSAGE = 2 };
enum { JSON_MAX = 64 << 10 };

#define RETRY_INFO "type.googleapis.com/google.rpc.RetryInfo"

/* --- writing ---------------------------------------------------------------------------------- */

static enum status write_retry_info(struct buf *out, int retry_after_s)
{
	struct wire_open any;
	struct wire_open info;
	struct wire_open duration;
	enum status st = wire_begin(out, STATUS_DETAILS, 60, &any);
	if (!st)
		st = wire_put_bytes(out, ANY_TYPE_URL, bytes_str(RETRY_INFO));
	if (!st)
		st = wire_begin(out, ANY_VALUE, 10, &info);
	if (!st)
		st = wire_begin(out, RETRY_DELAY, 10, &duration);
	if (!st)
		st = wire_put_number(out, DURATION_SECONDS, (uint64_t)retry_after_s);
	if (!st)
		st = wire_end(out, &duration);
	if (!st)
		st = wire_end(out, &info);
	return st ? st : wire_end(out, &any);
}

static enum status write_protobuf(struct buf *out, int code, const char *message, int retry_after_s)
{
	struct wire_open text;
	enum status st = code ? wire_put_number(out, STATUS_CODE, (uint64_t)(int64_t)code) : ST_OK;
	if (!st)
		st = wire_begin(out, STATUS_MESSAGE, strlen(message), &text);
	if (!st)
		st = utf8_append_clean(out, bytes_str(message));
	if (!st)
		st = wire_end(out, &text);
	return st || retry_after_s <= 0 ? st : write_retry_info(out, retry_after_s);
}

static enum status write_json(struct buf *out, int code, const char *message, int retry_after_s)
{
	enum status st = buf_printf(out, "{\"code\":%d,\"message\":", code);
	if (!st)
		st = json_put_string(out, bytes_str(message));
	if (!st && retry_after_s > 0)
		st = buf_printf(out, ",\"details\":[{\"@type\":\"%s\",\"retryDelay\":\"%ds\"}]",
				RETRY_INFO, retry_after_s);
	return st ? st : buf_append_byte(out, '}');
}

enum status reply_write_status(struct buf *out, int grpc_code, const char *message,
			       int retry_after_s, bool is_json)
{
	return is_json ? write_json(out, grpc_code, message, retry_after_s) :
			 write_protobuf(out, grpc_code, message, retry_after_s);
}

/* --- reading: shared -------------------------------------------------------------------------- */

/* Cut to fit, whole characters, one line. */
static void copy_message(struct bytes s, char *to, size_t size)
{
	struct bytes good = utf8_cut(bytes_of(s.p, utf8_valid_prefix(s)), size - 1);
	for (size_t i = 0; i < good.n; i++)
		to[i] = (char)(good.p[i] < 0x20 || good.p[i] == 0x7f ? ' ' : good.p[i]);
	to[good.n] = '\0';
}

/* Negative delays are none; absurd ones are cut to a day, so that a backend cannot stop us. */
static int64_t delay_ms(int64_t seconds, int64_t nanos)
{
	enum { DAY_S = 86400 };
	if (seconds < 0 || (seconds == 0 && nanos <= 0))
		return 0;
	if (seconds >= DAY_S)
		return DAY_S * INT64_C(1000);
	if (nanos < 0 || nanos > 999999999)
		nanos = 0;
	/* Rounded up: never come early. */
	return seconds * 1000 + (nanos + 999999) / 1000000;
}

static json_t *load_object(struct bytes body)
{
	if (body.n > JSON_MAX)
		return NULL;
	json_t *root = json_loadb((const char *)body.p, body.n, JSON_ALLOW_NUL, NULL);
	if (!json_is_object(root)) {
		json_decref(root);
		return NULL;
	}
	return root;
}

static void copy_json_string(const json_t *string, char *to, size_t size)
{
	if (json_is_string(string))
		copy_message(bytes_of(json_string_value(string), json_string_length(string)), to,
			     size);
}

/* 64-bit integers are numbers or strings in protobuf's JSON. */
static int64_t json_int64(const json_t *value)
{
	if (json_is_string(value))
		return strtoll(json_string_value(value), NULL, 10);
	return json_integer_value(value);
}

/* --- google.rpc.Status ------------------------------------------------------------------------ */

/* Codes that gRPC does not have (HTTP's, say) are UNKNOWN. */
static int known_code(int64_t code)
{
	enum { UNKNOWN = 2, UNAUTHENTICATED = 16 };
	return code >= 0 && code <= UNAUTHENTICATED ? (int)code : UNKNOWN;
}

static int64_t read_duration(struct bytes message)
{
	int64_t seconds = 0;
	int64_t nanos = 0;
	struct wire_reader r = wire_reader_of(message);
	struct wire_field f;
	while (wire_next(&r, &f)) {
		if (f.number == DURATION_SECONDS && f.type == WIRE_VARINT)
			seconds = (int64_t)f.value;
		else if (f.number == DURATION_NANOS && f.type == WIRE_VARINT)
			nanos = (int64_t)f.value;
	}
	return delay_ms(seconds, nanos);
}

/* The retry delay of a detail, 0 where it is another kind of detail. */
static int64_t read_detail(struct bytes any)
{
	bool is_retry_info = false;
	int64_t ms = 0;
	struct wire_reader r = wire_reader_of(any);
	struct wire_field f;
	while (wire_next(&r, &f)) {
		if (f.type != WIRE_LEN)
			continue;
		if (f.number == ANY_TYPE_URL)
			is_retry_info = bytes_equal(f.bytes, bytes_str(RETRY_INFO));
		if (f.number != ANY_VALUE)
			continue;
		struct wire_reader info = wire_reader_of(f.bytes);
		struct wire_field delay;
		while (wire_next(&info, &delay))
			if (delay.number == RETRY_DELAY && delay.type == WIRE_LEN)
				ms = read_duration(delay.bytes);
	}
	return is_retry_info ? ms : 0;
}

static enum status read_status_protobuf(struct bytes body, struct reply_status *ret)
{
	size_t known = 0;
	struct wire_reader r = wire_reader_of(body);
	struct wire_field f;
	while (wire_next(&r, &f)) {
		if (f.number > STATUS_DETAILS)
			continue;
		if (f.type != (f.number == STATUS_CODE ? WIRE_VARINT : WIRE_LEN))
			return ST_INVALID;
		known++;
		if (f.number == STATUS_CODE)
			ret->code = known_code((int32_t)f.value);
		else if (f.number == STATUS_MESSAGE)
			copy_message(f.bytes, ret->message, sizeof(ret->message));
		else if (ret->retry_after_ms == 0)
			ret->retry_after_ms = read_detail(f.bytes);
	}
	return r.fault || (body.n && known == 0) ? ST_INVALID : ST_OK;
}

/* "1.500s" */
static int64_t read_duration_text(const char *text)
{
	char *end;
	double seconds = strtod(text, &end);
	if (end == text || strcmp(end, "s") != 0 || !(seconds > 0))
		return 0;
	if (seconds > 1e6)
		return delay_ms((int64_t)1e6, 0);
	int64_t whole = (int64_t)seconds;
	return delay_ms(whole, (int64_t)((seconds - (double)whole) * 1e9));
}

static int64_t read_details_json(const json_t *details)
{
	size_t i;
	const json_t *detail;
	json_array_foreach(details, i, detail)
	{
		const char *type = json_string_value(json_object_get(detail, "@type"));
		const char *delay = json_string_value(json_object_get(detail, "retryDelay"));
		if (type && delay && strcmp(type, RETRY_INFO) == 0)
			return read_duration_text(delay);
	}
	return 0;
}

static enum status read_status_json(struct bytes body, struct reply_status *ret)
{
	json_t *root = load_object(body);
	if (!root)
		return ST_INVALID;
	const json_t *code = json_object_get(root, "code");
	const json_t *message = json_object_get(root, "message");
	bool is_status = code || message || json_object_size(root) == 0;
	ret->code = known_code(json_int64(code));
	copy_json_string(message, ret->message, sizeof(ret->message));
	ret->retry_after_ms = read_details_json(json_object_get(root, "details"));
	json_decref(root);
	return is_status ? ST_OK : ST_INVALID;
}

enum status reply_read_status(struct bytes body, bool is_json, struct reply_status *ret)
{
	struct reply_status status = { 0 };
	enum status st =
		is_json ? read_status_json(body, &status) : read_status_protobuf(body, &status);
	if (!st)
		*ret = status;
	return st;
}

/* --- partial success -------------------------------------------------------------------------- */

static enum status read_partial_protobuf(struct bytes body, struct reply_partial *ret)
{
	struct wire_reader r = wire_reader_of(body);
	struct wire_field f;
	while (wire_next(&r, &f)) {
		if (f.number != RESPONSE_PARTIAL)
			continue;
		if (f.type != WIRE_LEN)
			return ST_INVALID;
		struct wire_reader partial = wire_reader_of(f.bytes);
		struct wire_field p;
		while (wire_next(&partial, &p)) {
			if (p.number == PARTIAL_REJECTED && p.type == WIRE_VARINT)
				ret->rejected = (int64_t)p.value;
			else if (p.number == PARTIAL_MESSAGE && p.type == WIRE_LEN)
				copy_message(p.bytes, ret->message, sizeof(ret->message));
		}
		if (partial.fault)
			return ST_INVALID;
	}
	return r.fault ? ST_INVALID : ST_OK;
}

static enum status read_partial_json(enum signal signal, struct bytes body,
				     struct reply_partial *ret)
{
	static const char *const keys[] = { [SIGNAL_TRACES] = "rejectedSpans",
					    [SIGNAL_METRICS] = "rejectedDataPoints",
					    [SIGNAL_LOGS] = "rejectedLogRecords" };
	json_t *root = load_object(body);
	if (!root)
		return body.n ? ST_INVALID : ST_OK;
	const json_t *partial = json_object_get(root, "partialSuccess");
	ret->rejected = json_int64(json_object_get(partial, keys[signal]));
	copy_json_string(json_object_get(partial, "errorMessage"), ret->message,
			 sizeof(ret->message));
	json_decref(root);
	return ST_OK;
}

enum status reply_read_partial(enum signal signal, struct bytes body, bool is_json,
			       struct reply_partial *ret)
{
	struct reply_partial partial = { 0 };
	enum status st = is_json ? read_partial_json(signal, body, &partial) :
				   read_partial_protobuf(body, &partial);
	if (partial.rejected < 0)
		partial.rejected = 0;
	if (!st)
		*ret = partial;
	return st;
}
