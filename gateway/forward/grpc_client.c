/* grpc_client.c - nghttp2's client session under limits, for unary calls.
 *
 * A call, as grpc/doc/PROTOCOL-HTTP2.md has it, is one stream: headers, one length-prefixed
 * message, END_STREAM; and back come headers, a message, trailers. Calls start only when the
 * server's SETTINGS came: by then it has proved that it speaks HTTP/2, and how many streams it
 * allows.
 *
 *   open -> ended: ANSWERED      [on_frame: END_STREAM; on_data: more than anybody reads]
 *   open -> ended: REFUSED       [on_stream_close: REFUSED_STREAM, which is also what nghttp2
 *                                 closes streams above a GOAWAY's last id with, and calls that
 *                                 could not be sent before it]
 *   open -> ended: RESET         [on_stream_close: any other code]
 *   open -> ended: STALLED, LATE [grpc_client_tick]
 *   open -> ended: LOST          [grpc_client_die]
 *
 * grpc-timeout is our patience as a whole, grpc_client_patience: a shorter one would
 * make the server give up where we would not. */
#include "gateway/forward/grpc_client_internal.h"

#include <poll.h>
#include <stdlib.h>

#include "gateway/base/grpc_status.h"
#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"
#include "gateway/forward/grpc_tls.h"

enum {
	STREAMS_MAX = 32, /* calls at a time; the server may allow fewer */
	/* Answers are small: with these, none of them ever waits for a window. */
	STREAM_WINDOW = 256 * 1024,
	CONNECTION_WINDOW = STREAMS_MAX * STREAM_WINDOW,
	HEADER_LIST_SIZE = 64 * 1024,
	/* An answer without an end would use up the link. gRPC's own clients stop here too. */
	ANSWER_MAX = 4 * 1024 * 1024,
	SETTINGS_MAX = 32,
	ACK_QUEUE_MAX = 1000,
	OUT_BATCH = 256 * 1024, /* gather no more than this before a write */
	OUT_MAX = 512 * 1024,   /* OUT_BATCH and the largest single frame */
	READ_SIZE = 16 * 1024,
	READS_MAX = 64 /* in one turn */
};

/* ---- ends ---- */

void grpc_client_end(struct grpc_client *c, struct grpc_exchange *x, enum grpc_end how)
{
	x->end = how;
	(void)nghttp2_session_set_stream_user_data(c->session, x->stream_id, NULL);
	TAILQ_REMOVE(&c->open, x, link);
	TAILQ_INSERT_TAIL(&c->ended, x, link);
	c->open_count--;
}

void grpc_client_die(struct grpc_client *c, const char *why)
{
	struct grpc_exchange *x;
	if (!c->why.text[0])
		err_format(&c->why, "%s", c->io.text[0] ? c->io.text : why);
	c->is_dead = true;
	while ((x = TAILQ_FIRST(&c->open)) != NULL)
		grpc_client_end(c, x, c->is_silent ? GRPC_END_STALLED : GRPC_END_LOST);
}

void grpc_client_cancel(struct grpc_client *c, int32_t stream_id)
{
	if (nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, stream_id, NGHTTP2_CANCEL) !=
	    0)
		grpc_client_die(c, "out of memory");
}

/* ---- what nghttp2 tells ---- */

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags,
		     void *user_data)
{
	(void)flags;
	(void)user_data;
	struct grpc_exchange *x =
		nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	if (x) {
		x->moved_ns = now_mono_ns();
		grpc_response_header(&x->response, bytes_of(name, name_n),
				     bytes_of(value, value_n));
	}
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *data,
		   size_t n, void *user_data)
{
	(void)flags;
	struct grpc_client *c = user_data;
	struct grpc_exchange *x = nghttp2_session_get_stream_user_data(session, stream_id);
	if (!x)
		return 0;
	x->moved_ns = now_mono_ns();
	x->received += n;
	grpc_response_data(&x->response, bytes_of(data, n));
	if (x->received > ANSWER_MAX) {
		grpc_client_end(c, x, GRPC_END_ANSWERED);
		grpc_client_cancel(c, stream_id);
	}
	return 0;
}

static void on_goaway(struct grpc_client *c, const nghttp2_goaway *frame)
{
	c->is_draining = true;
	if (frame->error_code == NGHTTP2_NO_ERROR || c->why.text[0])
		return;
	char text[64];
	size_t n = 0;
	for (; n < frame->opaque_data_len && n + 1 < sizeof(text); n++)
		text[n] = frame->opaque_data[n] >= 0x20 && frame->opaque_data[n] < 0x7f ?
				  (char)frame->opaque_data[n] :
				  ' ';
	text[n] = '\0';
	err_format(&c->why, "the server ended the connection: %s%s%s",
		   nghttp2_http2_strerror(frame->error_code), n ? ": " : "", text);
}

/* The answer is whole. A server may give it before it has read everything: stop sending then. */
static void on_end_stream(struct grpc_client *c, int32_t stream_id)
{
	struct grpc_exchange *x = nghttp2_session_get_stream_user_data(c->session, stream_id);
	if (!x)
		return;
	c->is_proven = true;
	grpc_client_end(c, x, GRPC_END_ANSWERED);
	if (nghttp2_session_get_stream_local_close(c->session, stream_id) == 0)
		grpc_client_cancel(c, stream_id);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
	(void)session;
	struct grpc_client *c = user_data;
	bool is_end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
	switch (frame->hd.type) {
	case NGHTTP2_SETTINGS:
		c->is_ready = true;
		break;
	case NGHTTP2_GOAWAY:
		on_goaway(c, &frame->goaway);
		break;
	case NGHTTP2_HEADERS:
	case NGHTTP2_DATA:
		if (is_end)
			on_end_stream(c, frame->hd.stream_id);
		break;
	default:
		break;
	}
	return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t error_code,
			   void *user_data)
{
	struct grpc_exchange *x = nghttp2_session_get_stream_user_data(session, stream_id);
	if (!x)
		return 0;
	x->error_code = error_code;
	grpc_client_end(user_data, x,
			error_code == NGHTTP2_REFUSED_STREAM ? GRPC_END_REFUSED : GRPC_END_RESET);
	return 0;
}

/* nghttp2 says here what is wrong with what the server sends. */
static int on_error(nghttp2_session *session, int code, const char *message, size_t n,
		    void *user_data)
{
	(void)session;
	(void)code;
	struct grpc_client *c = user_data;
	if (!c->why.text[0])
		err_format(&c->why, "the server broke HTTP/2: %.*s", (int)(n < 200 ? n : 200),
			   message);
	return 0;
}

/* The prefix, and then the export's body. */
static ssize_t on_body(nghttp2_session *session, int32_t stream_id, uint8_t *dst, size_t size,
		       uint32_t *flags, nghttp2_data_source *source, void *user_data)
{
	(void)source;
	struct grpc_client *c = user_data;
	struct grpc_exchange *x = nghttp2_session_get_stream_user_data(session, stream_id);
	if (!x)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	size_t n = 0;
	if (x->sent < GRPC_FRAME_PREFIX_SIZE) {
		uint8_t prefix[GRPC_FRAME_PREFIX_SIZE];
		grpc_frame_write_prefix(prefix, x->export->encoding != ENCODING_NONE,
					(uint32_t)x->export->body.n);
		n = GRPC_FRAME_PREFIX_SIZE - x->sent;
		n = n < size ? n : size;
		memcpy(dst, prefix + x->sent, n);
		x->sent += n;
	}
	size_t left = grpc_client_size_of(x) - x->sent;
	size_t piece = left < size - n ? left : size - n;
	if (piece)
		memcpy(dst + n, x->export->body.p + (x->sent - GRPC_FRAME_PREFIX_SIZE), piece);
	x->sent += piece;
	c->fed += n + piece;
	x->moved_ns = now_mono_ns();
	if (x->sent == grpc_client_size_of(x))
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)(n + piece);
}

/* ---- life ---- */

static nghttp2_session *make_session(struct grpc_client *c)
{
	nghttp2_session_callbacks *callbacks;
	nghttp2_option *option;
	nghttp2_session *session;
	CHECK(nghttp2_session_callbacks_new(&callbacks) == 0);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
	nghttp2_session_callbacks_set_error_callback2(callbacks, on_error);
	CHECK(nghttp2_option_new(&option) == 0);
	nghttp2_option_set_no_closed_streams(option, 1);
	nghttp2_option_set_max_settings(option, SETTINGS_MAX);
	nghttp2_option_set_max_outbound_ack(option, ACK_QUEUE_MAX);
	CHECK(nghttp2_session_client_new2(&session, callbacks, c, option) == 0);
	nghttp2_option_del(option);
	nghttp2_session_callbacks_del(callbacks);
	return session;
}

struct grpc_client *grpc_client_new(const struct grpc_target *target, int fd)
{
	struct grpc_client *c = xcalloc(1, sizeof(*c));
	c->target = target;
	c->heard_ns = now_mono_ns();
	TAILQ_INIT(&c->open);
	TAILQ_INIT(&c->ended);
	buf_init(&c->out, OUT_MAX, NULL);
	c->session = make_session(c);
	if (!target->endpoint.is_tls) {
		transport_init_plain(&c->plain, fd);
		c->plain.err = &c->io;
		c->transport = &c->plain;
	} else if (grpc_tls_open(target->config, target->endpoint.host, fd, &c->io,
				 &c->transport) != ST_OK) {
		grpc_client_die(c, "TLS does not start");
		return c;
	}
	const nghttp2_settings_entry settings[] = {
		{ NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HEADER_LIST_SIZE },
	};
	CHECK(nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings, 3) == 0);
	CHECK(nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0,
						    CONNECTION_WINDOW) == 0);
	return c;
}

void grpc_client_free(struct grpc_client *c)
{
	if (!c)
		return;
	nghttp2_session_del(c->session);
	if (c->transport)
		c->transport->ops->done(c->transport);
	buf_done(&c->out);
	free(c);
}

bool grpc_client_has_room(const struct grpc_client *c)
{
	uint32_t allowed = nghttp2_session_get_remote_settings(
		c->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
	size_t max = allowed < STREAMS_MAX ? allowed : STREAMS_MAX;
	return c->is_ready && !c->is_draining && !c->is_dead && c->open_count < max &&
	       nghttp2_session_check_request_allowed(c->session);
}

/* ---- calls ---- */

static nghttp2_nv nv(const char *name, const char *value)
{
	return (nghttp2_nv){ .name = (uint8_t *)(uintptr_t)name,
			     .value = (uint8_t *)(uintptr_t)value,
			     .namelen = strlen(name),
			     .valuelen = strlen(value) };
}

static int32_t submit(struct grpc_client *c, struct grpc_exchange *x, const char *authorization)
{
	const struct grpc_target *t = c->target;
	const struct export *export = x->export;
	const nghttp2_data_provider body = { .read_callback = on_body };
	nghttp2_nv *h = xcalloc(t->metadata.count + 10, sizeof(*h));
	size_t n = 0;
	char timeout[GRPC_TIMEOUT_SIZE];
	grpc_timeout_write(grpc_client_patience(c, x), timeout);
	h[n++] = nv(":method", "POST");
	h[n++] = nv(":scheme", t->endpoint.is_tls ? "https" : "http");
	h[n++] = nv(":path", signal_grpc_path(export->signal));
	h[n++] = nv(":authority", t->endpoint.authority);
	h[n++] = nv("te", "trailers");
	h[n++] = nv("grpc-timeout", timeout);
	h[n++] = nv("content-type", "application/grpc");
	if (export->encoding != ENCODING_NONE) {
		h[n++] = nv("grpc-encoding", encoding_text(export->encoding));
		/* Kept out of HPACK's table: grpc-core, which refuses an encoding that it does not
		 * know, refuses from then on whatever refers to that entry. */
		h[n - 1].flags = NGHTTP2_NV_FLAG_NO_INDEX;
	}
	h[n++] = nv("grpc-accept-encoding", "identity");
	if (authorization)
		h[n++] = nv("authorization", authorization);
	for (size_t i = 0; i < t->metadata.count; i++)
		h[n++] = nv(t->metadata.items[i].key, t->metadata.items[i].value);
	int32_t id = nghttp2_submit_request(c->session, NULL, h, n, &body, x);
	free(h);
	return id;
}

void grpc_client_start(struct grpc_client *c, struct grpc_exchange *x, const char *authorization)
{
	grpc_response_done(&x->response);
	grpc_response_init(&x->response);
	x->end = GRPC_END_NONE;
	x->error_code = 0;
	x->sent = 0;
	x->received = 0;
	x->is_written = false;
	x->is_away = false;
	x->started_ns = now_mono_ns();
	x->moved_ns = x->started_ns;
	/* A silence before this call is none that it waited in. */
	if (TAILQ_EMPTY(&c->open) && !c->ping_ns)
		c->heard_ns = x->started_ns;
	TAILQ_INSERT_TAIL(&c->open, x, link);
	c->open_count++;
	c->fed++;
	c->is_used = true;
	x->stream_id = submit(c, x, authorization);
	/* Stream ids are used up, or memory is. */
	if (x->stream_id < 0) {
		c->is_draining = true;
		grpc_client_end(c, x, GRPC_END_REFUSED);
	}
}

void grpc_client_abandon(struct grpc_client *c)
{
	grpc_client_die(c,
			"the server ended several connections in a row, and this call with them");
}

/* ---- input and output ---- */

/* What other servers say to an HTTP/2 preface. A first frame is SETTINGS, whose length has a first
 * byte of 0. */
static bool is_stranger(struct grpc_client *c, struct bytes src)
{
	if (c->has_heard || src.n == 0 || src.p[0] == 0)
		return false;
	if (src.p[0] == 'H' || src.p[0] == '<')
		grpc_client_die(
			c, "the server speaks HTTP/1.1 and no gRPC: is it the port of OTLP/HTTP? "
			   "Then the kind is otlp_http");
	else if (src.p[0] == 0x15)
		grpc_client_die(c, "the server speaks TLS: write https://");
	else
		grpc_client_die(c, "what the server speaks is no HTTP/2");
	return true;
}

static void feed(struct grpc_client *c, struct bytes src)
{
	if (is_stranger(c, src))
		return;
	c->has_heard = true;
	c->heard_ns = now_mono_ns();
	c->ping_ns = 0;
	ssize_t n = nghttp2_session_mem_recv(c->session, src.p, src.n);
	if (n < 0 || (size_t)n != src.n)
		grpc_client_die(c, n < 0 ? nghttp2_strerror((int)n) : "the server broke HTTP/2");
}

static void read_all(struct grpc_client *c)
{
	uint8_t chunk[READ_SIZE];
	for (int i = 0; i < READS_MAX && !c->is_dead; i++) {
		size_t n = 0;
		enum status st = c->transport->ops->read(c->transport, chunk, sizeof(chunk), &n);
		if (st == ST_BUSY)
			return;
		if (st == ST_OK)
			feed(c, bytes_of(chunk, n));
		else
			grpc_client_die(
				c, c->has_heard ?
					   "the server closed the connection" :
				   c->target->endpoint.is_tls ?
					   "the server closed the connection before it said "
					   "anything of HTTP/2" :
					   "the server closed the connection before it said "
					   "anything of HTTP/2: perhaps it wants TLS, which is "
					   "https://");
	}
}

/* Move what nghttp2 has to say into out. */
static void gather(struct grpc_client *c)
{
	while (c->out.n < OUT_BATCH) {
		const uint8_t *p;
		ssize_t n = nghttp2_session_mem_send(c->session, &p);
		if (n == 0)
			return;
		if (n < 0 || buf_append(&c->out, bytes_of(p, (size_t)n)) != ST_OK) {
			grpc_client_die(c, n < 0 ? nghttp2_strerror((int)n) : "out of memory");
			return;
		}
	}
}

/* True: all of it went. */
static bool drain(struct grpc_client *c)
{
	while (c->out_sent < c->out.n) {
		size_t n = 0;
		struct bytes rest = bytes_of(c->out.p + c->out_sent, c->out.n - c->out_sent);
		enum status st = c->transport->ops->write(c->transport, rest, &n);
		if (st == ST_BUSY)
			return false;
		if (st) {
			grpc_client_die(c, "the connection broke");
			return false;
		}
		c->out_sent += n;
		c->written += n;
	}
	c->out_sent = 0;
	buf_clear(&c->out);
	return true;
}

static void write_all(struct grpc_client *c)
{
	bool is_drained = true;
	bool is_more = true;
	while (is_drained && is_more && !c->is_dead) {
		gather(c);
		is_more = c->out.n >= OUT_BATCH;
		is_drained = !c->is_dead && drain(c);
	}
	if (is_drained && !c->is_dead && !nghttp2_session_want_read(c->session))
		grpc_client_die(c, c->is_used ? "the server ended the connection" :
						"the server ended the connection before it took a "
						"call");
	if (is_drained && TAILQ_EMPTY(&c->open))
		buf_done(&c->out); /* idle for hours, perhaps */
}

void grpc_client_turn(struct grpc_client *c, int64_t now)
{
	if (!c->is_dead)
		read_all(c);
	if (!c->is_dead)
		grpc_client_tick(c, now);
	if (!c->is_dead)
		write_all(c);
}

short grpc_client_events(const struct grpc_client *c)
{
	if (c->transport->is_opening)
		return c->transport->wants_write ? POLLOUT : POLLIN;
	return (short)(POLLIN | (c->out_sent < c->out.n ? POLLOUT : 0));
}
