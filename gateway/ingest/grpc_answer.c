/* grpc_answer.c - the two shapes of a unary answer (PROTOCOL-HTTP2.md, "Responses").
 *
 *   success:  HEADERS :status 200   DATA prefix+message   HEADERS grpc-status 0 + END_STREAM
 *   failure:  HEADERS :status 200, grpc-status, grpc-message, ... + END_STREAM
 *
 * The message is pulled by nghttp2 when the peer's window has room, a byte at a time if need be;
 * trailers are submitted from there, as nghttp2 wants it. A refusal for load carries RetryInfo in
 * grpc-status-details-bin: OTLP clients wait that long instead of dropping the data. */
#include "gateway/ingest/grpc_answer.h"

#include <stdio.h>

#include "gateway/base/grpc_frame.h"
#include "gateway/base/grpc_status.h"
#include "gateway/telemetry/reply.h"

/* More than the longest message in percent-encoding and details together. */
enum { FAILURE_TEXT_MAX = 8 * 1024, FAILURE_HEADERS_MAX = 6 };

static nghttp2_nv header(const char *name, struct bytes value)
{
	/* nghttp2 copies what is not marked, and never writes: its struct is just not const. */
	return (nghttp2_nv){ .name = (uint8_t *)(uintptr_t)name,
			     .namelen = strlen(name),
			     .value = (uint8_t *)(uintptr_t)value.p,
			     .valuelen = value.n,
			     .flags = NGHTTP2_NV_FLAG_NO_COPY_NAME };
}

/* Both name and value are string constants. */
static nghttp2_nv header_static(const char *name, const char *value)
{
	nghttp2_nv nv = header(name, bytes_str(value));
	nv.flags |= NGHTTP2_NV_FLAG_NO_COPY_VALUE;
	return nv;
}

static ssize_t read_reply(nghttp2_session *session, int32_t stream_id, uint8_t *dst, size_t size,
			  uint32_t *flags, nghttp2_data_source *source, void *user_data)
{
	(void)user_data;
	struct grpc_reply *reply = source->ptr;
	size_t left = (size_t)(reply->n - reply->sent);
	size_t n = left < size ? left : size;
	memcpy(dst, reply->bytes + reply->sent, n);
	reply->sent = (uint8_t)(reply->sent + n);
	if (reply->sent < reply->n)
		return (ssize_t)n;
	*flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
	nghttp2_nv trailer = header_static("grpc-status", "0");
	if (nghttp2_submit_trailer(session, stream_id, &trailer, 1) != 0)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	return (ssize_t)n;
}

enum status grpc_answer_message(nghttp2_session *session, int32_t stream_id,
				struct grpc_reply *reply, struct bytes message)
{
	CHECK(message.n <= GRPC_REPLY_MAX);
	grpc_frame_write_prefix(reply->bytes, false, (uint32_t)message.n);
	if (message.n)
		memcpy(reply->bytes + GRPC_FRAME_PREFIX_SIZE, message.p, message.n);
	reply->n = (uint8_t)(GRPC_FRAME_PREFIX_SIZE + message.n);
	reply->sent = 0;
	const nghttp2_nv headers[] = {
		header_static(":status", "200"),
		header_static("content-type", "application/grpc"),
	};
	const nghttp2_data_provider provider = { .source.ptr = reply, .read_callback = read_reply };
	int rc = nghttp2_submit_response(session, stream_id, headers, 2, &provider);
	return rc == 0 ? ST_OK : ST_INTERNAL;
}

/* google.rpc.Status with RetryInfo, in base64, behind what out holds. */
static enum status write_details(struct buf *out, const struct grpc_failure *f)
{
	struct buf status;
	buf_init(&status, FAILURE_TEXT_MAX, NULL);
	enum status st = reply_write_status(&status, f->code, f->message, f->retry_after_s, false);
	if (!st)
		st = grpc_base64_encode(out, buf_view(&status));
	buf_done(&status);
	return st;
}

enum status grpc_answer_failure(nghttp2_session *session, int32_t stream_id,
				const struct grpc_failure *f)
{
	char http_status[16];
	char code[16];
	(void)snprintf(http_status, sizeof(http_status), "%d", f->http_status);
	(void)snprintf(code, sizeof(code), "%d", f->code);
	struct buf message;
	struct buf details;
	buf_init(&message, FAILURE_TEXT_MAX, NULL);
	buf_init(&details, FAILURE_TEXT_MAX, NULL);
	enum status st = grpc_message_encode(&message, f->message);
	if (!st && f->retry_after_s > 0)
		st = write_details(&details, f);
	if (st)
		goto out;

	nghttp2_nv headers[FAILURE_HEADERS_MAX];
	size_t n = 0;
	headers[n++] = header(":status", bytes_str(http_status));
	headers[n++] = header_static("content-type", "application/grpc");
	headers[n++] = header("grpc-status", bytes_str(code));
	headers[n++] = header("grpc-message", buf_view(&message));
	if (details.n)
		headers[n++] = header("grpc-status-details-bin", buf_view(&details));
	if (f->is_encoding_listed)
		headers[n++] = header_static("grpc-accept-encoding", "identity,gzip,zstd");
	if (nghttp2_submit_response(session, stream_id, headers, n, NULL) != 0)
		st = ST_INTERNAL;
out:
	buf_done(&message);
	buf_done(&details);
	return st;
}
