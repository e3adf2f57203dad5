/* h2_client.c - nghttp2's client on a socket, with everything it sees written down. */
#include "tests/support/h2_client.h"

#include <string.h>
#include <sys/socket.h>

#include "gateway/base/buf.h"
#include "tests/support/expect.h"

struct h2_seen *h2_client_seen(struct h2_client *c, int32_t stream)
{
	ck_assert_int_lt(stream / 2, H2_STREAMS);
	return &c->seen[stream / 2];
}

static void copy_text(char *dst, size_t size, const uint8_t *p, size_t n)
{
	n = n < size - 1 ? n : size - 1;
	memcpy(dst, p, n);
	dst[n] = '\0';
}

static int client_header(nghttp2_session *s, const nghttp2_frame *f, const uint8_t *name,
			 size_t name_n, const uint8_t *value, size_t n, uint8_t flags, void *user)
{
	(void)s, (void)flags;
	struct h2_seen *x = h2_client_seen(user, f->hd.stream_id);
	struct bytes key = bytes_of(name, name_n);
	if (bytes_equal(key, bytes_str(":status")))
		copy_text(x->http_status, sizeof(x->http_status), value, n);
	else if (bytes_equal(key, bytes_str("grpc-status")))
		copy_text(x->grpc_status, sizeof(x->grpc_status), value, n);
	else if (bytes_equal(key, bytes_str("grpc-message")))
		copy_text(x->message, sizeof(x->message), value, n);
	else if (bytes_equal(key, bytes_str("grpc-accept-encoding")))
		copy_text(x->accept_encoding, sizeof(x->accept_encoding), value, n);
	else if (bytes_equal(key, bytes_str("grpc-status-details-bin")))
		x->has_details = n > 0;
	return 0;
}

static int client_data(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *p, size_t n,
		       void *user)
{
	(void)s, (void)flags;
	struct h2_seen *x = h2_client_seen(user, id);
	ck_assert_uint_le(x->body_n + n, sizeof(x->body));
	memcpy(x->body + x->body_n, p, n);
	x->body_n += n;
	return 0;
}

static int client_close(nghttp2_session *s, int32_t id, uint32_t error_code, void *user)
{
	(void)s;
	struct h2_seen *x = h2_client_seen(user, id);
	x->is_closed = true;
	x->error_code = error_code;
	return 0;
}

static int client_frame(nghttp2_session *s, const nghttp2_frame *f, void *user)
{
	(void)s;
	struct h2_client *c = user;
	if (f->hd.type == NGHTTP2_GOAWAY) {
		c->goaways++;
		c->goaway_last = f->goaway.last_stream_id;
		c->goaway_error = f->goaway.error_code;
	}
	return 0;
}

static ssize_t client_send(nghttp2_session *s, const uint8_t *p, size_t n, int flags, void *user)
{
	(void)s, (void)flags;
	struct h2_client *c = user;
	ssize_t done = send(c->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
	c->has_moved = c->has_moved || done > 0;
	return done >= 0 ? done : NGHTTP2_ERR_WOULDBLOCK;
}

static ssize_t client_read(nghttp2_session *s, int32_t id, uint8_t *dst, size_t size,
			   uint32_t *flags, nghttp2_data_source *source, void *user)
{
	(void)s, (void)id, (void)user;
	struct h2_upload *u = source->ptr;
	size_t n = u->n < size ? u->n : size;
	n = n < u->chunk ? n : u->chunk;
	if (n == 0 && u->is_open)
		return NGHTTP2_ERR_DEFERRED;
	memcpy(dst, u->p, n);
	u->p += n;
	u->n -= n;
	if (u->n == 0 && !u->is_open)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

void h2_client_init(struct h2_client *c, int fd)
{
	nghttp2_session_callbacks *cb;
	*c = (struct h2_client){ .fd = fd };
	ck_assert_int_eq(nghttp2_session_callbacks_new(&cb), 0);
	nghttp2_session_callbacks_set_on_header_callback(cb, client_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, client_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, client_close);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, client_frame);
	nghttp2_session_callbacks_set_send_callback(cb, client_send);
	ck_assert_int_eq(nghttp2_session_client_new(&c->session, cb, c), 0);
	nghttp2_session_callbacks_del(cb);
	ck_assert_int_eq(nghttp2_submit_settings(c->session, 0, NULL, 0), 0);
}

void h2_client_done(struct h2_client *c)
{
	nghttp2_session_del(c->session);
}

void h2_client_flush(struct h2_client *c)
{
	(void)nghttp2_session_send(c->session);
}

bool h2_client_read(struct h2_client *c)
{
	uint8_t in[65536];
	ssize_t n = recv(c->fd, in, sizeof(in), MSG_DONTWAIT);
	if (n > 0)
		ck_assert_int_eq(nghttp2_session_mem_recv(c->session, in, (size_t)n), n);
	return n > 0;
}

static nghttp2_nv nv(const char *name, const char *value)
{
	return (nghttp2_nv){ .name = (uint8_t *)(uintptr_t)name,
			     .value = (uint8_t *)(uintptr_t)value,
			     .namelen = strlen(name),
			     .valuelen = strlen(value) };
}

int32_t h2_client_request(struct h2_client *c, const char *path, struct h2_upload up,
			  const char *name, const char *value)
{
	nghttp2_nv h[8] = { nv(":method", "POST"), nv(":scheme", "http"), nv(":path", path),
			    nv(":authority", "x"), nv("te", "trailers") };
	size_t n = 5;
	if (!name || strcmp(name, "content-type") != 0)
		h[n++] = nv("content-type", "application/grpc");
	if (name && strcmp(name, ":method") == 0)
		h[0] = nv(name, value);
	else if (name)
		h[n++] = nv(name, value);
	int32_t next = (int32_t)nghttp2_session_get_next_stream_id(c->session);
	struct h2_upload *u = &c->uploads[next / 2];
	*u = up;
	if (u->chunk == 0)
		u->chunk = SIZE_MAX;
	nghttp2_data_provider provider = { .source.ptr = u, .read_callback = client_read };
	int32_t id = nghttp2_submit_request(c->session, NULL, h, n, &provider, NULL);
	ck_assert_int_eq(id, next);
	return id;
}
