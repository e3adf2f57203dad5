/* http_reply.c - what a client is told: status line, headers and body, in the request's encoding.
 *
 * Success is an empty Export*ServiceResponse: no bytes as protobuf, {} as JSON. An error is a
 * google.rpc.Status (OTLP specification, "Failures"), or plain text where the client did not say
 * that it speaks OTLP. Everything that may be sent again carries Retry-After.
 *
 * Nearly all replies are the same success, which is made once for each worker and queued again and
 * again. The others are made for their request and copied by libmicrohttpd. */
#include <stdio.h>

#include "gateway/base/log.h"
#include "gateway/base/metrics.h"
#include "gateway/ingest/http_request.h"
#include "gateway/telemetry/reply.h"

enum { REPLY_MAX = 4096, LOG_INTERVAL_S = 10 };

static enum status write_body(const struct http_request *r, struct buf *out)
{
	const struct ingest_call *call = &r->call;
	if (r->is_preflight)
		return ST_OK;
	if (call->status == ST_OK)
		return r->media == HTTP_MEDIA_JSON ? buf_append_str(out, "{}") : ST_OK;
	const char *text = err_text(&call->err, call->status);
	if (r->media == HTTP_MEDIA_OTHER)
		return buf_printf(out, "%s\n", text);
	return reply_write_status(out, status_grpc(call->status), text, call->retry_after_s,
				  r->media == HTTP_MEDIA_JSON);
}

/* False where memory is out. */
static bool add(struct MHD_Response *response, const char *name, const char *value)
{
	return MHD_add_response_header(response, name, value) == MHD_YES;
}

static bool add_cors(const struct http_request *r, struct MHD_Response *response)
{
	const struct cors *cors = &r->worker->server->cors;
	if (!cors_is_on(cors))
		return true;
	bool is_ok = add(response, "Vary", "Origin");
	enum cors_match match = cors_check(cors, r->origin);
	if (match == CORS_REFUSED)
		return is_ok;
	is_ok = is_ok && add(response, "Access-Control-Allow-Origin", r->origin);
	/* navigator.sendBeacon, which SDKs use when a page closes, always sends credentials. */
	if (match == CORS_LISTED)
		is_ok = is_ok && add(response, "Access-Control-Allow-Credentials", "true");
	if (!r->is_preflight)
		return is_ok && add(response, "Access-Control-Expose-Headers", "Retry-After");
	return is_ok && add(response, "Access-Control-Allow-Methods", "POST") &&
	       add(response, "Access-Control-Allow-Headers", (char *)cors->allow_headers.p) &&
	       add(response, "Access-Control-Max-Age", cors->max_age);
}

static bool add_headers(const struct http_request *r, struct MHD_Response *response)
{
	const struct http_server *server = r->worker->server;
	const char *allow = cors_is_on(&server->cors) ? "POST, OPTIONS" : "POST";
	bool is_ok = add_cors(r, response);
	if (r->is_preflight)
		return is_ok && add(response, "Allow", allow);
	is_ok = is_ok && add(response, "Content-Type", http_media_text(r->media));
	if (r->call.status == ST_METHOD)
		is_ok = is_ok && add(response, "Allow", allow);
	if (r->call.status == ST_UNSUPPORTED)
		is_ok = is_ok && add(response, "Accept-Encoding", HTTP_ENCODINGS);
	if (r->call.retry_after_s > 0) {
		char seconds[16];
		(void)snprintf(seconds, sizeof(seconds), "%d", r->call.retry_after_s);
		is_ok = is_ok && add(response, "Retry-After", seconds);
	}
	if (r->must_close || atomic_load(&server->is_stopping))
		is_ok = is_ok && add(response, "Connection", "close");
	return is_ok;
}

void http_reply_count(const struct http_request *r, enum status st)
{
	struct series **s = &r->worker->requests[r->signal][st];
	if (!*s)
		*s = metric_series(M_RECEIVER_REQUESTS, "otlp", "http",
				   r->signal == SIGNAL_COUNT ? "none" :
							       signal_text((enum signal)r->signal),
				   status_name(st));
	series_add(*s, 1);
}

static void log_refusal(const struct http_request *r)
{
	static struct log_rate rate;
	uint64_t skipped = 0;
	if (r->call.status == ST_OK || !log_every(&rate, LOG_INTERVAL_S, &skipped))
		return;
	log_info("receiver.refused", "transport=http status=%s error=%s skipped=%llu",
		 status_name(r->call.status), LOG_QUOTE(err_text(&r->call.err, r->call.status)),
		 (unsigned long long)skipped);
}

static struct MHD_Response *make_success(enum http_media media)
{
	static char json[] = "{}";
	bool is_json = media == HTTP_MEDIA_JSON;
	struct MHD_Response *response = MHD_create_response_from_buffer(
		is_json ? strlen(json) : 0, json, MHD_RESPMEM_PERSISTENT);
	if (response && !add(response, "Content-Type", http_media_text(media))) {
		MHD_destroy_response(response);
		return NULL;
	}
	return response;
}

enum status http_reply_prepare(struct http_worker *w, struct err *e)
{
	for (enum http_media m = 0; m < HTTP_MEDIA_OTHER; m++) {
		w->success[m] = make_success(m);
		if (!w->success[m])
			return err_set(e, ST_NO_MEMORY, "no memory for the HTTP receiver's reply");
	}
	return ST_OK;
}

void http_reply_done(struct http_worker *w)
{
	for (enum http_media m = 0; m < HTTP_MEDIA_OTHER; m++)
		if (w->success[m])
			MHD_destroy_response(w->success[m]);
}

/* Success without a word that depends on the request. */
static bool is_plain_success(const struct http_request *r)
{
	const struct http_server *server = r->worker->server;
	return r->call.status == ST_OK && !r->is_preflight && !r->must_close &&
	       r->media < HTTP_MEDIA_OTHER && !cors_is_on(&server->cors) &&
	       !atomic_load(&server->is_stopping);
}

static struct MHD_Response *make_reply(const struct http_request *r)
{
	struct MHD_Response *response = NULL;
	struct buf body;
	buf_init(&body, REPLY_MAX, NULL);
	if (!write_body(r, &body))
		response = MHD_create_response_from_buffer(body.n, body.n ? body.p : (void *)"",
							   MHD_RESPMEM_MUST_COPY);
	buf_done(&body);
	if (response && !add_headers(r, response)) {
		MHD_destroy_response(response);
		return NULL;
	}
	return response;
}

enum MHD_Result http_reply_send(struct http_request *r)
{
	bool is_plain = is_plain_success(r);
	unsigned code =
		r->is_preflight ? MHD_HTTP_NO_CONTENT : (unsigned)status_http(r->call.status);
	struct MHD_Response *response = is_plain ? r->worker->success[r->media] : make_reply(r);
	if (!response)
		return MHD_NO;
	enum MHD_Result result = MHD_queue_response(r->mhd, code, response);
	r->is_answered = result == MHD_YES;
	if (r->is_answered && !r->is_preflight)
		http_reply_count(r, r->call.status);
	log_refusal(r);
	if (!is_plain)
		MHD_destroy_response(response);
	return result;
}
