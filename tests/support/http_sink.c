/* http_sink.c - libmicrohttpd with a thread per connection, so that a hanging answer is a waiting
 * thread.
 *
 * Requests are kept under a mutex; a condition tells the test thread of each. A connection is
 * closed without an answer by returning MHD_NO from the handler. */
#include "tests/support/http_sink.h"

#include <arpa/inet.h>
#include <check.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/base/compression.h"
#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"
#include "tests/support/patience.h"

enum { SCRIPT_MAX = 64, REQUESTS_MAX = 1024, BODY_MAX = 64 << 20 };

struct http_sink {
	struct MHD_Daemon *daemon;
	int port;
	int held_fd; /* keeps the port while it is stopped; -1: none */
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	struct {
		struct sink_answer answer;
		int times;
	} script[SCRIPT_MAX];
	size_t script_count;
	size_t script_next;
	http_sink_judge_fn judge;
	void *judge_ctx;
	unsigned releases; /* grows: lets those go that hang since before */
	struct sink_request requests[REQUESTS_MAX];
	struct buf bodies[REQUESTS_MAX];
	size_t count;
};

/* One request while it comes in. */
struct incoming {
	struct buf body;
};

static void copy_header(struct MHD_Connection *c, const char *name, char *dst, size_t size)
{
	const char *v = MHD_lookup_connection_value(c, MHD_HEADER_KIND, name);
	(void)snprintf(dst, size, "%s", v ? v : "");
}

static enum encoding encoding_of(const char *text)
{
	for (int i = 0; i < ENCODING_COUNT; i++)
		if (strcmp(text, encoding_text((enum encoding)i)) == 0)
			return (enum encoding)i;
	return ENCODING_NONE;
}

/* Called with the lock held. */
static struct sink_answer next_answer(struct http_sink *s, const struct sink_request *r)
{
	struct sink_answer a = { .act = SINK_ANSWER };
	if (s->judge && s->judge(s->judge_ctx, r, &a))
		return a;
	if (s->script_next == s->script_count)
		return (struct sink_answer){ .act = SINK_ANSWER };
	a = s->script[s->script_next].answer;
	if (--s->script[s->script_next].times == 0)
		s->script_next++;
	return a;
}

static struct sink_answer note(struct http_sink *s, struct MHD_Connection *c, const char *path,
			       struct bytes wire)
{
	CHECK(pthread_mutex_lock(&s->mutex) == 0);
	CHECK(s->count < REQUESTS_MAX);
	struct sink_request *r = &s->requests[s->count];
	struct buf *body = &s->bodies[s->count];
	(void)snprintf(r->path, sizeof(r->path), "%s", path);
	copy_header(c, "Content-Type", r->content_type, sizeof(r->content_type));
	copy_header(c, "Content-Encoding", r->encoding, sizeof(r->encoding));
	copy_header(c, "User-Agent", r->user_agent, sizeof(r->user_agent));
	copy_header(c, "Authorization", r->authorization, sizeof(r->authorization));
	buf_init(body, BODY_MAX, NULL);
	CHECK(decompress(encoding_of(r->encoding), wire, body, NULL) == ST_OK);
	r->body = buf_view(body);
	r->at_ns = now_mono_ns();
	struct sink_answer a = next_answer(s, r);
	if (a.act == SINK_ANSWER)
		r->status = a.status ? a.status : 200;
	s->count++;
	unsigned releases = s->releases;
	CHECK(pthread_cond_broadcast(&s->cond) == 0);
	while (a.act == SINK_HANG && releases == s->releases)
		CHECK(pthread_cond_wait(&s->cond, &s->mutex) == 0);
	CHECK(pthread_mutex_unlock(&s->mutex) == 0);
	return a;
}

static enum MHD_Result answer(struct MHD_Connection *c, const struct sink_answer *a)
{
	if (a->act != SINK_ANSWER)
		return MHD_NO;
	struct MHD_Response *response = MHD_create_response_from_buffer(
		a->body.n, (void *)(uintptr_t)a->body.p, MHD_RESPMEM_MUST_COPY);
	CHECK(response);
	CHECK(MHD_add_response_header(response, "Content-Type",
				      a->content_type ? a->content_type :
							"application/x-protobuf") == MHD_YES);
	if (a->retry_after)
		CHECK(MHD_add_response_header(response, "Retry-After", a->retry_after) == MHD_YES);
	enum MHD_Result rc =
		MHD_queue_response(c, (unsigned)(a->status ? a->status : 200), response);
	MHD_destroy_response(response);
	return rc;
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *c, const char *path,
				  const char *method, const char *version, const char *data,
				  size_t *size, void **req)
{
	struct incoming *in = *req;
	(void)method;
	(void)version;
	if (!in) {
		in = xcalloc(1, sizeof(*in));
		buf_init(&in->body, BODY_MAX, NULL);
		*req = in;
		return MHD_YES;
	}
	if (*size) {
		CHECK(buf_append(&in->body, bytes_of(data, *size)) == ST_OK);
		*size = 0;
		return MHD_YES;
	}
	struct sink_answer a = note(ctx, c, path, buf_view(&in->body));
	return answer(c, &a);
}

static void on_end(void *ctx, struct MHD_Connection *c, void **req,
		   enum MHD_RequestTerminationCode why)
{
	struct incoming *in = *req;
	(void)ctx;
	(void)c;
	(void)why;
	if (in)
		buf_done(&in->body);
	free(in);
	*req = NULL;
}

static struct sockaddr_in address_of(const struct http_sink *s)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
				     .sin_port = htons((uint16_t)s->port),
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

/* Bound, but not listening: connections are refused, and nobody else is given the port. */
static void hold_port(struct http_sink *s)
{
	struct sockaddr_in at = address_of(s);
	const int one = 1;
	s->held_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(setsockopt(s->held_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0);
	CHECK(bind(s->held_fd, (struct sockaddr *)&at, sizeof(at)) == 0);
}

static void release_port(struct http_sink *s)
{
	if (s->held_fd >= 0)
		(void)close(s->held_fd);
	s->held_fd = -1;
}

void http_sink_start(struct http_sink *s)
{
	struct sockaddr_in at = address_of(s);
	s->daemon = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD |
					     MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL,
				     0, NULL, NULL, on_request, s, MHD_OPTION_SOCK_ADDR,
				     (struct sockaddr *)&at, MHD_OPTION_LISTENING_ADDRESS_REUSE, 1u,
				     MHD_OPTION_NOTIFY_COMPLETED, on_end, NULL, MHD_OPTION_END);
	CHECK(s->daemon);
	s->port = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
	release_port(s);
}

struct http_sink *http_sink_new(int port)
{
	struct http_sink *s = xcalloc(1, sizeof(*s));
	pthread_condattr_t attr;
	CHECK(pthread_mutex_init(&s->mutex, NULL) == 0);
	CHECK(pthread_condattr_init(&attr) == 0);
	CHECK(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
	CHECK(pthread_cond_init(&s->cond, &attr) == 0);
	(void)pthread_condattr_destroy(&attr);
	s->port = port;
	s->held_fd = -1;
	http_sink_start(s);
	return s;
}

int http_sink_port(const struct http_sink *s)
{
	return s->port;
}

void http_sink_release(struct http_sink *s)
{
	CHECK(pthread_mutex_lock(&s->mutex) == 0);
	s->releases++;
	CHECK(pthread_cond_broadcast(&s->cond) == 0);
	CHECK(pthread_mutex_unlock(&s->mutex) == 0);
}

void http_sink_stop(struct http_sink *s)
{
	if (!s->daemon)
		return;
	http_sink_release(s);
	MHD_stop_daemon(s->daemon);
	s->daemon = NULL;
	hold_port(s);
}

void http_sink_free(struct http_sink *s)
{
	if (!s)
		return;
	http_sink_stop(s);
	release_port(s);
	for (size_t i = 0; i < s->count; i++)
		buf_done(&s->bodies[i]);
	(void)pthread_mutex_destroy(&s->mutex);
	(void)pthread_cond_destroy(&s->cond);
	free(s);
}

void http_sink_script(struct http_sink *s, struct sink_answer a, int times)
{
	CHECK(pthread_mutex_lock(&s->mutex) == 0);
	CHECK(s->script_count < SCRIPT_MAX);
	s->script[s->script_count].answer = a;
	s->script[s->script_count++].times = times;
	CHECK(pthread_mutex_unlock(&s->mutex) == 0);
}

void http_sink_judge(struct http_sink *s, http_sink_judge_fn judge, void *ctx)
{
	CHECK(pthread_mutex_lock(&s->mutex) == 0);
	s->judge = judge;
	s->judge_ctx = ctx;
	CHECK(pthread_mutex_unlock(&s->mutex) == 0);
}

void http_sink_wait(struct http_sink *s, size_t count)
{
	const struct timespec until = patience_until(CLOCK_MONOTONIC);
	int rc = 0;
	CHECK(pthread_mutex_lock(&s->mutex) == 0);
	while (s->count < count && rc == 0)
		rc = pthread_cond_timedwait(&s->cond, &s->mutex, &until);
	size_t got = s->count;
	CHECK(pthread_mutex_unlock(&s->mutex) == 0);
	ck_assert_msg(got >= count, "%zu requests within %d s, expected %zu", got, patience_s(),
		      count);
}

size_t http_sink_count(struct http_sink *s)
{
	CHECK(pthread_mutex_lock(&s->mutex) == 0);
	size_t n = s->count;
	CHECK(pthread_mutex_unlock(&s->mutex) == 0);
	return n;
}

const struct sink_request *http_sink_request(struct http_sink *s, size_t index)
{
	CHECK(pthread_mutex_lock(&s->mutex) == 0);
	CHECK(index < s->count);
	CHECK(pthread_mutex_unlock(&s->mutex) == 0);
	return &s->requests[index];
}
