/* grpc_connection.c - an HTTP/2 session under limits.
 *
 * Input: nghttp2 parses straight from the thread's read buffer, and a message's bytes are copied
 * once, into the call. Output: everything that one turn of the loop makes nghttp2 say is gathered
 * in `out` and written at once.
 *
 * Back-pressure:
 *  - A byte that was stored or thrown away goes back to its stream's window at once: messages are
 *    bounded by the budget, and a message larger than any window must still come in.
 *  - It goes back to the connection's window only while less than GRPC_HELD_MAX of complete
 *    messages wait for the writer; the rest is owed until answers bring that down. Answers never
 *    depend on further input, so this cannot lock up.
 *  - While a peer does not read its answers (OUT_PAUSE), nothing is read from it; nor while `out`
 *    is full, even if most of it went: what a request makes nghttp2 say then stays in its queue,
 *    which has no limit for resets of streams.
 *
 * Memory: messages are charged to the in-flight budget. Open streams, whether or not their messages
 * come, and output that a peer does not take are charged to one of their own, so that a client is
 * still told that there is no room for its message, and a health check still answered. Past it
 * streams are refused for a retry, and connections that do not read are closed.
 *
 * Floods: nghttp2 bounds streams, settings, acknowledgements and the rate of resets. It ignores
 * frames without telling: of unknown types, for streams that are closed, and, before 1.61 and where
 * no patch came for CVE-2024-28182, a header without end; unheard_bytes bounds them. What else
 * remains are frames that cost little each and carry nothing: control_cost counts them and a
 * request pays for them, because clients that measure bandwidth send a ping for each answer.
 *
 * A client that speaks HTTP/1.1 is told so in HTTP/1.1, with the port that it probably wants. For
 * that nothing is said before the client's preface, which in HTTP/2 comes unasked. What it sends
 * on is read and thrown away for a moment, so that the answer is not lost to a reset.
 *
 * The end (RFC 9113, 6.8): GOAWAY with the largest id and a PING; when the PING's answer shows that
 * the client knows (or after a while), GOAWAY with the last id that is served. Calls go on until
 * they are answered; then nghttp2 wants nothing any more, and the connection closes. */
#include "gateway/ingest/grpc_connection.h"

#include <sys/epoll.h>

#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"

enum {
	STREAM_WINDOW = 4 * 1024 * 1024,
	CONNECTION_WINDOW = 16 * 1024 * 1024,
	HEADER_LIST_SIZE = 16 * 1024,
	OUT_BATCH = 256 * 1024,  /* gather no more than this before a write */
	OUT_MAX = 512 * 1024,    /* OUT_BATCH and the largest single frame */
	OUT_PAUSE = 64 * 1024,   /* more unwritten than this: stop reading */
	CONTROL_COST_MAX = 2000, /* frames without a request */
	/* Without a whole frame or data. Data for streams that were reset, which a window bounds,
	 * is not told of either. */
	UNHEARD_MAX = 2 * CONNECTION_WINDOW,
	ACK_QUEUE_MAX = 1000,
	SETTINGS_MAX = 32,
	/* What an open stream costs: the call, and nghttp2's own. */
	STREAM_COST = sizeof(struct grpc_call) + 1024,
	RESET_BURST = 1000,
	RESETS_PER_S = 100,
};
static const int64_t greeting_timeout_ns = 10 * NS_PER_S;
static const int64_t goaway_patience_ns = NS_PER_S;
static const int64_t farewell_patience_ns = 2 * NS_PER_S;
static const uint8_t goaway_ping[8] = "goaway!";

static void give_back(struct grpc_connection *c, size_t n)
{
	if (n && nghttp2_session_consume_connection(c->session, n) != 0)
		c->is_dead = true;
}

/* The call's message waits no more: what it held back may flow. */
static void release(struct grpc_connection *c, struct grpc_call *call)
{
	c->held_bytes -= call->held_bytes;
	call->held_bytes = 0;
	if (c->held_bytes <= GRPC_HELD_MAX && c->owed_bytes) {
		give_back(c, c->owed_bytes);
		c->owed_bytes = 0;
	}
}

/* After anything happened to a call. */
static void look_at(struct grpc_connection *c, struct grpc_call *call)
{
	if (call->is_broken)
		c->is_dead = true;
	if (call->state == GRPC_CALL_ANSWERED)
		release(c, call);
}

/* --- what nghttp2 tells --- */

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
	struct grpc_connection *c = user_data;
	if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	/* A stream costs us memory before it has sent a byte of its message. */
	if (!budget_reserve(&c->server->overhead, STREAM_COST))
		return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
						 NGHTTP2_REFUSED_STREAM) ?
			       NGHTTP2_ERR_CALLBACK_FAILURE :
			       0;
	struct grpc_call *call = grpc_call_new(c->server, session, frame->hd.stream_id);
	if (nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, call) != 0) {
		grpc_call_free(call);
		budget_release(&c->server->overhead, STREAM_COST);
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	}
	call->connection = c;
	LIST_INSERT_HEAD(&c->calls, call, link);
	c->server->open_calls++;
	c->control_cost = 0;
	return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags,
		     void *user_data)
{
	(void)flags;
	(void)user_data;
	struct grpc_call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	if (call)
		grpc_call_header(call, bytes_of(name, name_n), bytes_of(value, value_n));
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *data,
		   size_t n, void *user_data)
{
	(void)flags;
	struct grpc_connection *c = user_data;
	struct grpc_call *call = nghttp2_session_get_stream_user_data(session, stream_id);
	c->unheard_bytes = 0;
	if (call) {
		grpc_call_data(call, bytes_of(data, n));
		look_at(c, call);
	}
	if (nghttp2_session_consume_stream(session, stream_id, n) != 0)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	if (c->held_bytes > GRPC_HELD_MAX)
		c->owed_bytes += n;
	else
		give_back(c, n);
	return 0;
}

/* A frame that carries no request. */
static void charge(struct grpc_connection *c)
{
	c->control_cost++;
	if (c->control_cost == CONTROL_COST_MAX)
		(void)nghttp2_session_terminate_session(c->session, NGHTTP2_ENHANCE_YOUR_CALM);
}

static void send_last_goaway(struct grpc_connection *c)
{
	if (c->is_last_goaway)
		return;
	c->is_last_goaway = true;
	int32_t last = nghttp2_session_get_last_proc_stream_id(c->session);
	if (nghttp2_submit_goaway(c->session, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, NULL, 0) !=
	    0)
		c->is_dead = true;
}

static void on_ping(struct grpc_connection *c, const nghttp2_ping *ping)
{
	if (!(ping->hd.flags & NGHTTP2_FLAG_ACK))
		charge(c);
	else if (c->shutdown_ns && memcmp(ping->opaque_data, goaway_ping, 8) == 0)
		send_last_goaway(c);
}

static void on_request(struct grpc_connection *c, const nghttp2_frame *frame)
{
	struct grpc_call *call =
		nghttp2_session_get_stream_user_data(c->session, frame->hd.stream_id);
	if (!call)
		return;
	if (frame->hd.type == NGHTTP2_HEADERS && call->state == GRPC_CALL_HEADERS)
		grpc_call_start(call);
	if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM && call->state == GRPC_CALL_BODY) {
		grpc_call_end(call);
		c->held_bytes += call->held_bytes;
	}
	look_at(c, call);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
	(void)session;
	struct grpc_connection *c = user_data;
	c->unheard_bytes = 0;
	switch (frame->hd.type) {
	case NGHTTP2_DATA:
		if (frame->hd.length == 0 && !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
			charge(c);
		on_request(c, frame);
		break;
	case NGHTTP2_HEADERS:
		on_request(c, frame);
		break;
	case NGHTTP2_PING:
		on_ping(c, &frame->ping);
		break;
	case NGHTTP2_SETTINGS:
		c->is_greeted = true;
		charge(c);
		break;
	case NGHTTP2_PRIORITY:
	case NGHTTP2_WINDOW_UPDATE:
		charge(c);
		break;
	default:
		break;
	}
	return 0;
}

static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
	(void)user_data;
	/* Answered before the request was whole: tell the client to stop sending (RFC 9113, 8.1).
	 */
	if (frame->hd.type == NGHTTP2_HEADERS && frame->hd.flags & NGHTTP2_FLAG_END_STREAM &&
	    nghttp2_session_get_stream_remote_close(session, frame->hd.stream_id) == 0 &&
	    nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
				      NGHTTP2_NO_ERROR) != 0)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	return 0;
}

static void detach(struct grpc_connection *c, struct grpc_call *call)
{
	release(c, call);
	LIST_REMOVE(call, link);
	c->server->open_calls--;
	budget_release(&c->server->overhead, STREAM_COST);
	c->idle_since_ns = c->server->now_ns;
	grpc_call_abandon(call);
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t error_code,
			   void *user_data)
{
	(void)error_code;
	struct grpc_call *call = nghttp2_session_get_stream_user_data(session, stream_id);
	if (call)
		detach(user_data, call);
	return 0;
}

/* --- life --- */

static nghttp2_session *make_session(struct grpc_connection *c)
{
	nghttp2_session_callbacks *callbacks;
	nghttp2_option *option;
	nghttp2_session *session;
	CHECK(nghttp2_session_callbacks_new(&callbacks) == 0);
	nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
	nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
	CHECK(nghttp2_option_new(&option) == 0);
	nghttp2_option_set_no_auto_window_update(option, 1);
	nghttp2_option_set_no_closed_streams(option, 1);
	nghttp2_option_set_max_settings(option, SETTINGS_MAX);
	nghttp2_option_set_max_outbound_ack(option, ACK_QUEUE_MAX);
	nghttp2_option_set_stream_reset_rate_limit(option, RESET_BURST, RESETS_PER_S);
	CHECK(nghttp2_session_server_new2(&session, callbacks, c, option) == 0);
	nghttp2_option_del(option);
	nghttp2_session_callbacks_del(callbacks);
	return session;
}

struct grpc_connection *grpc_connection_new(struct grpc_server *server, int fd)
{
	struct grpc_connection *c = xcalloc(1, sizeof(*c));
	transport_init_plain(&c->transport, fd);
	c->server = server;
	c->opened_ns = c->idle_since_ns = c->written_ns = server->now_ns;
	LIST_INIT(&c->calls);
	buf_init(&c->out, OUT_MAX, NULL);
	c->session = make_session(c);
	const nghttp2_settings_entry settings[] = {
		{ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS,
		  (uint32_t)server->options.max_concurrent_streams },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HEADER_LIST_SIZE },
	};
	if (nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings, 3) != 0 ||
	    nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0,
						  CONNECTION_WINDOW) != 0)
		c->is_dead = true;
	return c;
}

void grpc_connection_free(struct grpc_connection *c)
{
	/* nghttp2_session_del closes no streams: calls are let go here. */
	struct grpc_call *call;
	while ((call = LIST_FIRST(&c->calls)) != NULL)
		detach(c, call);
	nghttp2_session_del(c->session);
	c->transport.ops->done(&c->transport);
	buf_done(&c->out);
	budget_release(&c->server->overhead, c->charged_bytes);
	free(c);
}

/* --- input and output --- */

/* HTTP/1.1 begins with a method, TLS does not. */
static bool is_like_http1(const struct grpc_connection *c)
{
	return !c->is_greeted && c->first_byte >= 'A' && c->first_byte <= 'Z';
}

static void say_wrong_port(struct grpc_connection *c)
{
	static const char words[] = "this port takes OTLP/gRPC, which is HTTP/2; OTLP/HTTP has a "
				    "port of its own, usually 4318\n";
	c->farewell_ns = c->server->now_ns;
	if (buf_printf(&c->out,
		       "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n"
		       "Content-Length: %zu\r\nConnection: close\r\n\r\n%s",
		       strlen(words), words) != ST_OK)
		c->is_dead = true;
}

void grpc_connection_feed(struct grpc_connection *c, struct bytes src)
{
	if (src.n == 0 || c->farewell_ns)
		return;
	if (c->heard_bytes == 0)
		c->first_byte = src.p[0];
	c->heard_bytes += src.n;
	c->unheard_bytes += src.n;
	/* Protocol errors make nghttp2 queue a GOAWAY and still return n; what fails here (no
	 * client preface, a flood, no memory) leaves nothing to say. */
	ssize_t n = nghttp2_session_mem_recv(c->session, src.p, src.n);
	if (n == NGHTTP2_ERR_BAD_CLIENT_MAGIC && is_like_http1(c))
		say_wrong_port(c);
	else if (n < 0 || (size_t)n != src.n || c->unheard_bytes > UNHEARD_MAX)
		c->is_dead = true;
}

void grpc_connection_read(struct grpc_connection *c)
{
	size_t n;
	enum status st =
		c->transport.ops->read(&c->transport, c->server->read_buffer, GRPC_READ_SIZE, &n);
	if (st == ST_OK)
		grpc_connection_feed(c, bytes_of(c->server->read_buffer, n));
	else if (st != ST_BUSY)
		c->is_dead = true;
}

struct grpc_connection *grpc_connection_take_back(struct grpc_call *call)
{
	struct grpc_connection *c = call->connection;
	call->is_with_writer = false;
	call->server->with_writer--;
	if (!c) {
		grpc_call_free(call);
		return NULL;
	}
	grpc_call_completed(call);
	look_at(c, call);
	return c;
}

/* Move what nghttp2 has to say into out. */
static void gather(struct grpc_connection *c)
{
	if (c->heard_bytes < NGHTTP2_CLIENT_MAGIC_LEN || c->farewell_ns)
		return;
	while (c->out.n < OUT_BATCH) {
		const uint8_t *p;
		ssize_t n = nghttp2_session_mem_send(c->session, &p);
		if (n == 0)
			return;
		if (n < 0 || buf_append(&c->out, bytes_of(p, (size_t)n)) != ST_OK) {
			c->is_dead = true;
			return;
		}
	}
}

/* Write out. True: all of it went. */
static bool drain(struct grpc_connection *c)
{
	while (c->out_sent < c->out.n) {
		size_t n;
		enum status st = c->transport.ops->write(
			&c->transport, bytes_of(c->out.p + c->out_sent, c->out.n - c->out_sent),
			&n);
		if (st == ST_BUSY)
			return false;
		if (st) {
			c->is_dead = true;
			return false;
		}
		c->out_sent += n;
		c->written_ns = c->server->now_ns;
	}
	c->out_sent = 0;
	buf_clear(&c->out);
	if (c->out.cap > OUT_PAUSE)
		buf_done(&c->out);
	return true;
}

/* Output that cannot be written now is the peer's doing. */
static void charge_output(struct grpc_connection *c, bool is_drained)
{
	size_t bytes = is_drained ? 0 : c->out.cap;
	if (bytes > c->charged_bytes) {
		if (!budget_reserve(&c->server->overhead, bytes - c->charged_bytes)) {
			c->is_dead = true;
			return;
		}
	} else {
		budget_release(&c->server->overhead, c->charged_bytes - bytes);
	}
	c->charged_bytes = bytes;
}

bool grpc_connection_flush(struct grpc_connection *c)
{
	bool is_drained;
	bool is_more;
	if (c->out.n == 0)
		c->written_ns =
			c->server->now_ns; /* a stall counts from the first byte that waits */
	do {
		if (!c->is_dead)
			gather(c);
		is_more = c->out.n >= OUT_BATCH;
		is_drained = !c->is_dead && drain(c);
	} while (is_drained && is_more);
	charge_output(c, is_drained);
	if (is_drained && !c->farewell_ns && !nghttp2_session_want_read(c->session))
		c->is_dead = true;
	return !c->is_dead;
}

uint32_t grpc_connection_wants(const struct grpc_connection *c)
{
	size_t waiting = c->out.n - c->out_sent;
	bool may_read = waiting <= OUT_PAUSE && c->out.n < OUT_BATCH;
	return (may_read ? (uint32_t)EPOLLIN : 0) | (waiting ? (uint32_t)EPOLLOUT : 0);
}

/* --- time --- */

void grpc_connection_shutdown(struct grpc_connection *c)
{
	if (c->shutdown_ns)
		return;
	c->shutdown_ns = c->server->now_ns;
	/* Without a word from the client there is nobody to say goodbye to. */
	if (c->heard_bytes < NGHTTP2_CLIENT_MAGIC_LEN)
		c->is_dead = true;
	if (nghttp2_submit_shutdown_notice(c->session) != 0 ||
	    nghttp2_submit_ping(c->session, NGHTTP2_FLAG_NONE, goaway_ping) != 0)
		c->is_dead = true;
}

static void expire_calls(struct grpc_connection *c)
{
	struct grpc_call *next;
	for (struct grpc_call *call = LIST_FIRST(&c->calls); call; call = next) {
		next = LIST_NEXT(call, link);
		bool was_open = call->state == GRPC_CALL_HEADERS;
		if (!grpc_call_expire(call)) {
			look_at(c, call);
			continue;
		}
		/* Within a header block no other frame may come: only closing is left. */
		if (was_open || nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE,
							  call->stream_id, NGHTTP2_CANCEL) != 0)
			c->is_dead = true;
	}
}

void grpc_connection_tick(struct grpc_connection *c)
{
	int64_t now = c->server->now_ns;
	const struct receive_grpc_options *o = &c->server->options;
	c->control_cost -= c->control_cost / 8;
	expire_calls(c);
	if (!c->is_greeted && now - c->opened_ns > greeting_timeout_ns)
		c->is_dead = true;
	if (c->farewell_ns && now - c->farewell_ns > farewell_patience_ns)
		c->is_dead = true;
	if (c->out.n > 0 && now - c->written_ns > o->read_timeout_ns)
		c->is_dead = true;
	if (LIST_EMPTY(&c->calls) && now - c->idle_since_ns > o->idle_timeout_ns)
		grpc_connection_shutdown(c);
	if (c->shutdown_ns && now - c->shutdown_ns > goaway_patience_ns)
		send_last_goaway(c);
}
