/* grpc_response.c - from headers, a message and trailers to a verdict with a reason.
 *
 * Three kinds of answer come: a gRPC one (headers, message, trailers), a trailers-only one (its
 * grpc-status stands in the headers, which is the same to us: all names go into one struct), and
 * one of something in the way, a proxy or a web server, that is no gRPC at all. The last is judged
 * as HTTP (http_reply.c), and a 200 without grpc-status is never a delivery.
 *
 * Everything is hostile: texts are cut to fit, gathered bytes have caps, and what cannot be read is
 * left out. An answer that says OK stays a delivery whatever stands in its message: the data is
 * there, and sending it again would double it.
 *
 * UNIMPLEMENTED means one of two things: the server has no such service, or it cannot decompress.
 * It is the second where it says so, or where it lists what it accepts and our encoding is not in
 * the list (grpc/doc/compression.md). grpc-core says INTERNAL where it does not know the encoding's
 * name, and grpc-go where decompressing failed. */
#include "gateway/forward/grpc_response.h"

#include <stdio.h>

#include "gateway/base/grpc_status.h"
#include "gateway/base/now.h"
#include "gateway/forward/http_reply.h"
#include "gateway/telemetry/reply.h"

enum { MESSAGE_MAX = 4096, DETAILS_MAX = 16 * 1024, TEXT_SIZE = 300 };

void grpc_response_init(struct grpc_response *r)
{
	*r = (struct grpc_response){ .status = -1 };
	buf_init(&r->message, MESSAGE_MAX, NULL);
	buf_init(&r->details, DETAILS_MAX, NULL);
	buf_init(&r->body, GRPC_BODY_MAX, NULL);
	grpc_frame_reader_init(&r->frame);
}

void grpc_response_done(struct grpc_response *r)
{
	buf_done(&r->message);
	buf_done(&r->details);
	buf_done(&r->body);
}

/* ---- gathering ---- */

static void copy_text(char *dst, size_t size, struct bytes src)
{
	size_t n = src.n < size - 1 ? src.n : size - 1;
	if (n)
		memcpy(dst, src.p, n);
	dst[n] = '\0';
}

/* The last one counts; what is too long is cut. */
static void keep(struct buf *b, struct bytes value)
{
	buf_clear(b);
	if (buf_append(b, bytes_of(value.p, value.n < b->max ? value.n : b->max)) != ST_OK)
		buf_clear(b);
}

/* Digits only; -1: no number, and nothing that a gRPC or HTTP status could be. */
static int number_of(struct bytes value)
{
	int n = 0;
	if (value.n == 0 || value.n > 3)
		return -1;
	for (size_t i = 0; i < value.n; i++) {
		if (value.p[i] < '0' || value.p[i] > '9')
			return -1;
		n = n * 10 + value.p[i] - '0';
	}
	return n;
}

static bool is_grpc_type(struct bytes value)
{
	static const char type[] = "application/grpc";
	size_t n = sizeof(type) - 1;
	return value.n >= n && memcmp(value.p, type, n) == 0 &&
	       (value.n == n || value.p[n] == '+' || value.p[n] == ';' || value.p[n] == ' ');
}

void grpc_response_header(struct grpc_response *r, struct bytes name, struct bytes value)
{
	if (bytes_equal(name, bytes_str(":status"))) {
		r->http_status = number_of(value);
	} else if (bytes_equal(name, bytes_str("content-type"))) {
		copy_text(r->content_type, sizeof(r->content_type), value);
		r->is_grpc = is_grpc_type(value);
	} else if (bytes_equal(name, bytes_str("grpc-status"))) {
		int code = number_of(value);
		r->status = code >= 0 ? code : GRPC_UNKNOWN;
	} else if (bytes_equal(name, bytes_str("grpc-message"))) {
		keep(&r->message, value);
	} else if (bytes_equal(name, bytes_str("grpc-status-details-bin"))) {
		keep(&r->details, value);
	} else if (bytes_equal(name, bytes_str("grpc-accept-encoding"))) {
		copy_text(r->accept_encoding, sizeof(r->accept_encoding), value);
	} else if (bytes_equal(name, bytes_str("retry-after"))) {
		copy_text(r->retry_after, sizeof(r->retry_after), value);
	}
}

/* As much as there is room for. */
static void gather(struct grpc_response *r, struct bytes data)
{
	size_t room = r->body.max - r->body.n;
	if (data.n > room)
		r->is_message_unreadable = true;
	if (buf_append(&r->body, bytes_of(data.p, data.n < room ? data.n : room)) != ST_OK)
		r->is_message_unreadable = true;
}

void grpc_response_data(struct grpc_response *r, struct bytes data)
{
	if (!r->is_grpc) {
		gather(r, data);
		return;
	}
	for (;;) {
		struct bytes piece = { 0 };
		switch (grpc_frame_next(&r->frame, &data, &piece)) {
		case GRPC_FRAME_MORE:
			return;
		case GRPC_FRAME_BAD:
			r->is_message_unreadable = true;
			return;
		case GRPC_FRAME_PREFIX:
			/* We accept identity only, and a unary call has one message. */
			if (r->frame.is_compressed || r->body.n)
				r->is_message_unreadable = true;
			break;
		case GRPC_FRAME_BYTES:
			gather(r, piece);
			break;
		case GRPC_FRAME_END:
			break;
		}
	}
}

/* ---- judging ---- */

/* Before it is cut: half a secret is one too. */
static void redact(const struct credentials *k, struct buf *b)
{
	if (k && b->n)
		credentials_redact(k, b->p, b->n);
}

/* For people: printable, cut to fit. */
static void message_text(const struct grpc_response *r, const struct credentials *k, char *dst,
			 size_t size)
{
	struct buf decoded;
	size_t n = 0;
	buf_init(&decoded, MESSAGE_MAX, NULL);
	enum status st = grpc_message_decode(&decoded, buf_view(&r->message));
	redact(k, &decoded);
	if (!st)
		for (; n < decoded.n && n + 1 < size; n++)
			dst[n] = decoded.p[n] >= 0x20 && decoded.p[n] < 0x7f ? (char)decoded.p[n] :
									       ' ';
	dst[n] = '\0';
	buf_done(&decoded);
}

static void read_details(const struct grpc_response *r, const struct credentials *k,
			 struct reply_status *ret)
{
	struct buf decoded;
	buf_init(&decoded, DETAILS_MAX, NULL);
	enum status st = grpc_base64_decode(&decoded, buf_view(&r->details));
	redact(k, &decoded);
	if (st || reply_read_status(buf_view(&decoded), false, ret) != ST_OK)
		*ret = (struct reply_status){ 0 };
	buf_done(&decoded);
}

/* The server names what it accepts, and this is not among it. */
static bool is_not_accepted(const struct grpc_response *r, enum encoding encoding)
{
	return r->accept_encoding[0] && !strstr(r->accept_encoding, encoding_text(encoding));
}

static bool is_about_encoding(const struct grpc_response *r, enum encoding encoding,
			      const char *message)
{
	if (encoding == ENCODING_NONE)
		return false;
	if (strstr(message, "grpc-encoding") || strstr(message, "decompress"))
		return r->status == GRPC_UNIMPLEMENTED || r->status == GRPC_INTERNAL;
	return r->status == GRPC_UNIMPLEMENTED &&
	       (is_not_accepted(r, encoding) || strstr(message, encoding_text(encoding)) ||
		strstr(message, "ompress"));
}

static void read_failure(const struct grpc_response *r, enum encoding encoding,
			 const struct credentials *k, struct export_reply *ret)
{
	char message[TEXT_SIZE];
	struct reply_status details;
	message_text(r, k, message, sizeof(message));
	read_details(r, k, &details);
	ret->verdict = outcome_of_grpc(r->status, details.retry_after_ms > 0, message);
	if (is_about_encoding(r, encoding, message))
		ret->verdict = VERDICT_ENCODING;
	if (ret->verdict == VERDICT_RETRY)
		ret->retry_after_ns = details.retry_after_ms > 3600 * 1000 ?
					      3600 * NS_PER_S :
					      details.retry_after_ms * NS_PER_MS;
	const char *words = message[0] ? message : details.message;
	(void)snprintf(ret->error, sizeof(ret->error), "grpc %s%s%s", grpc_status_text(r->status),
		       words[0] ? ": " : "", words);
}

/* Something in the way answered, or nothing did to the end. */
static void read_other(const struct grpc_response *r, struct export_reply *ret)
{
	struct http_answer a = { .status = r->http_status,
				 .content_type = r->content_type[0] ? r->content_type : NULL,
				 .retry_after = r->retry_after[0] ? r->retry_after : NULL,
				 .body = r->is_grpc ? bytes_of(NULL, 0) : buf_view(&r->body) };
	http_reply_read_plain(&a, ret);
	if (ret->verdict != VERDICT_DELIVERED)
		return;
	ret->verdict = VERDICT_RETRY;
	(void)snprintf(ret->error, sizeof(ret->error),
		       r->is_grpc ? "the answer ended without a grpc-status" :
				    "HTTP %d with content type \"%s\", which is no gRPC answer: a "
				    "captive portal, or a wrong endpoint",
		       r->http_status, r->content_type);
}

void grpc_response_read(struct grpc_response *r, enum signal signal, enum encoding encoding,
			const struct credentials *k, struct export_reply *ret)
{
	redact(k, &r->body);
	if (k)
		credentials_redact(k, r->content_type, strlen(r->content_type));
	*ret = (struct export_reply){ .status = r->status };
	if (r->status < 0 || !r->is_grpc) {
		read_other(r, ret);
		return;
	}
	if (r->status != GRPC_OK) {
		read_failure(r, encoding, k, ret);
		return;
	}
	ret->verdict = VERDICT_DELIVERED;
	if (!r->is_message_unreadable)
		http_reply_read_partial(signal, buf_view(&r->body), false, ret);
}
