/* h2_server.c - nghttp2's server on a socket, with everything it sees written down. */
#include "tests/support/h2_server.h"

#include <stdarg.h>
#include <sys/socket.h>

#include "tests/support/expect.h"

enum { TRAILERS_MAX = 8 };

struct h2_taken *h2_server_taken(struct h2_server *s, size_t n)
{
	ck_assert_uint_lt(n, H2_SERVER_STREAMS);
	return &s->taken[n];
}

static struct h2_taken *taken_of(struct h2_server *s, int32_t id)
{
	size_t n = (size_t)(id / 2);
	if (n >= s->streams)
		s->streams = n + 1;
	return h2_server_taken(s, n);
}

static void copy_text(char *dst, size_t size, const uint8_t *p, size_t n)
{
	n = n < size - 1 ? n : size - 1;
	memcpy(dst, p, n);
	dst[n] = '\0';
}

static int on_header(nghttp2_session *session, const nghttp2_frame *f, const uint8_t *name,
		     size_t name_n, const uint8_t *value, size_t n, uint8_t flags, void *user)
{
	(void)session, (void)flags;
	struct h2_taken *t = taken_of(user, f->hd.stream_id);
	const struct {
		const char *name;
		char *dst;
		size_t size;
	} texts[] = { { ":path", t->path, sizeof(t->path) },
		      { ":authority", t->authority, sizeof(t->authority) },
		      { "grpc-encoding", t->encoding, sizeof(t->encoding) },
		      { "grpc-timeout", t->timeout, sizeof(t->timeout) },
		      { "authorization", t->authorization, sizeof(t->authorization) } };
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (bytes_equal(bytes_of(name, name_n), bytes_str(texts[i].name)))
			copy_text(texts[i].dst, texts[i].size, value, n);
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p, size_t n,
		   void *user)
{
	(void)session, (void)flags;
	EXPECT_OK(buf_append(&taken_of(user, id)->body, bytes_of(p, n)));
	return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *f, void *user)
{
	(void)session;
	struct h2_server *s = user;
	bool is_end = f->hd.flags & NGHTTP2_FLAG_END_STREAM;
	if ((f->hd.type == NGHTTP2_HEADERS || f->hd.type == NGHTTP2_DATA) && is_end)
		taken_of(s, f->hd.stream_id)->is_whole = true;
	s->pings += f->hd.type == NGHTTP2_PING;
	return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t error_code, void *user)
{
	(void)session;
	taken_of(user, id)->is_closed = true;
	taken_of(user, id)->error_code = error_code;
	return 0;
}

static ssize_t on_send(nghttp2_session *session, const uint8_t *p, size_t n, int flags, void *user)
{
	(void)session, (void)flags;
	struct h2_server *s = user;
	ssize_t done = send(s->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
	s->has_moved = s->has_moved || done > 0;
	return done >= 0 ? done : NGHTTP2_ERR_WOULDBLOCK;
}

void h2_server_init(struct h2_server *s, int fd, uint32_t max_streams, uint32_t window)
{
	nghttp2_session_callbacks *cb;
	*s = (struct h2_server){ .fd = fd };
	for (size_t i = 0; i < H2_SERVER_STREAMS; i++)
		buf_init(&s->taken[i].body, 64 << 20, NULL);
	ck_assert_int_eq(nghttp2_session_callbacks_new(&cb), 0);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
	nghttp2_session_callbacks_set_send_callback(cb, on_send);
	ck_assert_int_eq(nghttp2_session_server_new(&s->session, cb, s), 0);
	nghttp2_session_callbacks_del(cb);
	const nghttp2_settings_entry settings[] = {
		{ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, max_streams },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window },
	};
	ck_assert_int_eq(nghttp2_submit_settings(s->session, 0, settings, 2), 0);
	ck_assert_int_eq(nghttp2_session_set_local_window_size(
				 s->session, 0, 0, window > 65535 ? (int32_t)window : 65535),
			 0);
}

void h2_server_done(struct h2_server *s)
{
	nghttp2_session_del(s->session);
	for (size_t i = 0; i < H2_SERVER_STREAMS; i++)
		buf_done(&s->taken[i].body);
}

static size_t split_headers(va_list args, nghttp2_nv *nv)
{
	size_t n = 0;
	const char *text;
	while ((text = va_arg(args, const char *)) != NULL) {
		const char *colon = strstr(text, ": ");
		ck_assert(colon && n < TRAILERS_MAX);
		nv[n++] = (nghttp2_nv){ .name = (uint8_t *)(uintptr_t)text,
					.namelen = (size_t)(colon - text),
					.value = (uint8_t *)(uintptr_t)(colon + 2),
					.valuelen = strlen(colon + 2) };
	}
	return n;
}

static ssize_t on_reply(nghttp2_session *session, int32_t id, uint8_t *dst, size_t size,
			uint32_t *flags, nghttp2_data_source *source, void *user)
{
	(void)session, (void)id, (void)source;
	struct h2_server *s = user;
	size_t n = s->reply.n < size ? s->reply.n : size;
	if (n)
		memcpy(dst, s->reply.p, n);
	s->reply = bytes_of(s->reply.p + n, s->reply.n - n);
	if (s->reply.n == 0)
		*flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
	return (ssize_t)n;
}

static nghttp2_nv nv_of(const char *name, const char *value)
{
	return (nghttp2_nv){ .name = (uint8_t *)(uintptr_t)name,
			     .namelen = strlen(name),
			     .value = (uint8_t *)(uintptr_t)value,
			     .valuelen = strlen(value) };
}

void h2_server_begin_answer(struct h2_server *s, size_t n, struct bytes message)
{
	const nghttp2_nv headers[] = { nv_of(":status", "200"),
				       nv_of("content-type", "application/grpc") };
	const nghttp2_data_provider provider = { .read_callback = on_reply };
	s->reply = message;
	ck_assert_int_eq(
		nghttp2_submit_response(s->session, (int32_t)n * 2 + 1, headers, 2, &provider), 0);
	h2_server_turn(s);
}

void h2_server_answer(struct h2_server *s, size_t n, struct bytes message, ...)
{
	nghttp2_nv trailers[TRAILERS_MAX];
	int32_t id = (int32_t)n * 2 + 1;
	va_list args;
	va_start(args, message);
	size_t count = split_headers(args, trailers);
	va_end(args);
	h2_server_begin_answer(s, n, message);
	ck_assert_int_eq(nghttp2_submit_trailer(s->session, id, trailers, count), 0);
	h2_server_turn(s);
}

void h2_server_refuse(struct h2_server *s, size_t n, ...)
{
	nghttp2_nv headers[TRAILERS_MAX];
	va_list args;
	va_start(args, n);
	size_t count = split_headers(args, headers);
	va_end(args);
	ck_assert_int_eq(
		nghttp2_submit_response(s->session, (int32_t)n * 2 + 1, headers, count, NULL), 0);
	h2_server_turn(s);
}

void h2_server_reset(struct h2_server *s, size_t n, uint32_t error_code)
{
	ck_assert_int_eq(nghttp2_submit_rst_stream(s->session, 0, (int32_t)n * 2 + 1, error_code),
			 0);
	h2_server_turn(s);
}

void h2_server_goaway(struct h2_server *s, int32_t last_stream_id, uint32_t error_code,
		      const char *text)
{
	ck_assert_int_eq(nghttp2_submit_goaway(s->session, 0, last_stream_id, error_code,
					       (const uint8_t *)text, strlen(text)),
			 0);
	h2_server_turn(s);
}

void h2_server_turn(struct h2_server *s)
{
	uint8_t in[65536];
	(void)nghttp2_session_send(s->session);
	ssize_t n = s->is_deaf ? -1 : recv(s->fd, in, sizeof(in), MSG_DONTWAIT);
	if (n > 0) {
		ck_assert_int_eq(nghttp2_session_mem_recv(s->session, in, (size_t)n), n);
		s->has_moved = true;
	}
	(void)nghttp2_session_send(s->session);
}
