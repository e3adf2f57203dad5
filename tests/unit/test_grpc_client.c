/* What grpc_client promises, against an HTTP/2 server that does what a test tells it: calls go out
 * as gRPC has them, as many as the server allows; each end is told apart; and silence is noticed by
 * a clock that the test moves. */
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"
#include "gateway/forward/grpc_client.h"
#include "tests/support/expect.h"
#include "tests/support/h2_server.h"

enum { CALLS = 100, TIMEOUT_S = 8 };
#define T0 (1000 * NS_PER_S)

static struct {
	struct destination_config config;
	struct grpc_target target;
	struct grpc_client *c;
	struct h2_server server;
	struct export *exports[CALLS];
	struct grpc_exchange calls[CALLS];
	size_t count;
	enum encoding encoding; /* of what call() sends */
} t;

static void open_with(uint32_t max_streams, uint32_t window)
{
	int fds[2];
	memset(&t, 0, sizeof(t));
	now_fake(T0, T0);
	t.config.timeout = TIMEOUT_S * NS_PER_S;
	t.config.endpoint = xstrdup("http://backend:4317");
	struct err e = { 0 };
	EXPECT_OK(grpc_target_init(&t.target, &t.config, &e));
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
			 0);
	t.c = grpc_client_new(&t.target, fds[0]);
	h2_server_init(&t.server, fds[1], max_streams, window);
}

static void close_all(void)
{
	for (size_t i = 0; i < t.count; i++) {
		grpc_response_done(&t.calls[i].response);
		export_free(t.exports[i]);
	}
	grpc_client_free(t.c);
	h2_server_done(&t.server);
	if (t.server.fd >= 0)
		(void)close(t.server.fd);
	grpc_target_done(&t.target);
	free(t.config.endpoint);
	now_fake_off();
}

static void turn(void)
{
	if (!t.c->is_dead)
		grpc_client_turn(t.c, now_mono_ns());
}

/* Both ends talk until neither has anything to say. */
static void pump(void)
{
	for (int quiet = 0; quiet < 3; quiet++) {
		t.server.has_moved = false;
		turn();
		h2_server_turn(&t.server);
		turn();
		if (t.server.has_moved)
			quiet = -1;
	}
}

static void advance(int64_t ns)
{
	now_fake_advance(ns);
	pump();
}

static struct grpc_exchange *call(size_t body_bytes)
{
	const struct claim member = { .signal = SIGNAL_LOGS, .records = 1, .raw_bytes = 1 };
	size_t i = t.count++;
	struct export *x = t.exports[i] = export_new(&member, 1);
	buf_init(&x->body, body_bytes, NULL);
	EXPECT_OK(buf_reserve(&x->body, body_bytes));
	for (size_t k = 0; k < body_bytes; k++)
		x->body.p[k] = (uint8_t)(k * 7);
	buf_advance(&x->body, body_bytes);
	x->encoding = t.encoding;
	t.calls[i].export = x;
	grpc_response_init(&t.calls[i].response);
	ck_assert(grpc_client_has_room(t.c));
	grpc_client_start(t.c, &t.calls[i], i % 2 ? "Bearer secret" : NULL);
	return &t.calls[i];
}

static void expect_end(const struct grpc_exchange *x, enum grpc_end want)
{
	ck_assert_int_eq(x->end, want);
}

static struct export_reply reply_of(struct grpc_exchange *x)
{
	struct export_reply r;
	expect_end(x, GRPC_END_ANSWERED);
	grpc_response_read(&x->response, SIGNAL_LOGS, x->export->encoding, NULL, &r);
	return r;
}

static const uint8_t empty_message[GRPC_FRAME_PREFIX_SIZE];
#define EMPTY bytes_of(empty_message, sizeof(empty_message))

START_TEST(a_call_is_what_grpc_says_it_is)
{
	open_with(100, 65535);
	ck_assert_msg(!grpc_client_has_room(t.c), "not before the server's SETTINGS");
	pump();
	t.encoding = ENCODING_GZIP;
	struct grpc_exchange *first = call(1000);
	t.encoding = ENCODING_NONE;
	struct grpc_exchange *second = call(0);
	pump();
	struct h2_taken *taken = h2_server_taken(&t.server, 0);
	ck_assert_str_eq(taken->path, "/opentelemetry.proto.collector.logs.v1.LogsService/Export");
	ck_assert_str_eq(taken->authority, "backend:4317");
	ck_assert_str_eq(taken->encoding, "gzip");
	ck_assert_str_eq(taken->timeout, "160000m");
	ck_assert_str_eq(taken->authorization, "");
	ck_assert(taken->is_whole);
	ck_assert_uint_eq(taken->body.n, 1005);
	ck_assert_mem_eq(taken->body.p, "\1\0\0\3\350", 5);
	ck_assert_mem_eq(taken->body.p + 5, first->export->body.p, 1000);
	taken = h2_server_taken(&t.server, 1);
	ck_assert_str_eq(taken->encoding, "");
	ck_assert_str_eq(taken->authorization, "Bearer secret");
	ck_assert_mem_eq(taken->body.p, "\0\0\0\0\0", 5);
	h2_server_answer(&t.server, 1, EMPTY, "grpc-status: 0", NULL);
	h2_server_refuse(&t.server, 0, ":status: 200", "content-type: application/grpc",
			 "grpc-status: 14", "grpc-message: busy", NULL);
	pump();
	ck_assert_int_eq(reply_of(second).verdict, VERDICT_DELIVERED);
	ck_assert_str_eq(reply_of(first).error, "grpc UNAVAILABLE: busy");
	close_all();
}
END_TEST

START_TEST(a_large_body_goes_through_a_small_window)
{
	open_with(100, 1000);
	pump();
	call(300000);
	pump();
	struct h2_taken *taken = h2_server_taken(&t.server, 0);
	ck_assert(taken->is_whole);
	ck_assert_uint_eq(taken->body.n, 300005);
	ck_assert_mem_eq(taken->body.p + 5, t.exports[0]->body.p, 300000);
	close_all();
}
END_TEST

START_TEST(no_more_calls_than_the_server_allows)
{
	open_with(2, 65535);
	pump();
	call(10);
	struct grpc_exchange *second = call(10);
	ck_assert(!grpc_client_has_room(t.c));
	pump();
	h2_server_answer(&t.server, 1, EMPTY, "grpc-status: 0", NULL);
	pump();
	expect_end(second, GRPC_END_ANSWERED);
	ck_assert(grpc_client_has_room(t.c));
	close_all();
	/* And not more than we want, where it allows any number. */
	open_with(1000000, 65535);
	pump();
	while (grpc_client_has_room(t.c))
		call(1);
	ck_assert_uint_eq(t.count, 32);
	close_all();
}
END_TEST

START_TEST(goaway_tells_which_calls_were_never_looked_at)
{
	open_with(100, 65535);
	pump();
	struct grpc_exchange *first = call(10);
	struct grpc_exchange *second = call(10);
	struct grpc_exchange *third = call(10);
	pump();
	/* Graceful: nothing is decided yet, but nothing new may start. */
	h2_server_goaway(&t.server, INT32_MAX, NGHTTP2_NO_ERROR, "");
	pump();
	ck_assert(t.c->is_draining && !t.c->is_dead && !grpc_client_has_room(t.c));
	expect_end(third, GRPC_END_NONE);
	h2_server_goaway(&t.server, 3, NGHTTP2_NO_ERROR, "");
	pump();
	expect_end(third, GRPC_END_REFUSED);
	expect_end(second, GRPC_END_NONE);
	h2_server_answer(&t.server, 0, EMPTY, "grpc-status: 0", NULL);
	pump();
	expect_end(first, GRPC_END_ANSWERED);
	h2_server_answer(&t.server, 1, EMPTY, "grpc-status: 0", NULL);
	pump();
	expect_end(second, GRPC_END_ANSWERED);
	close_all();
}
END_TEST

/* Its headers never left. */
START_TEST(goaway_ends_a_call_that_is_stuck_behind_others)
{
	open_with(100, 64 << 20);
	pump();
	call(8 << 20);
	turn();
	h2_server_turn(&t.server); /* sees that it began */
	t.server.is_deaf = true;
	turn();
	struct grpc_exchange *stuck = call(10);
	turn();
	h2_server_goaway(&t.server, 1, NGHTTP2_NO_ERROR, "");
	turn();
	ck_assert(t.c->is_draining);
	expect_end(stuck, GRPC_END_NONE);
	t.server.is_deaf = false;
	pump();
	expect_end(stuck, GRPC_END_REFUSED);
	ck_assert(h2_server_taken(&t.server, 0)->is_whole);
	ck_assert_uint_eq(t.server.streams, 1);
	close_all();
}
END_TEST

START_TEST(a_goaway_for_a_fault_says_why)
{
	open_with(100, 65535);
	pump();
	call(10);
	pump();
	h2_server_goaway(&t.server, 1, NGHTTP2_ENHANCE_YOUR_CALM, "too_many_pings");
	pump();
	ck_assert_str_eq(t.c->why.text,
			 "the server ended the connection: ENHANCE_YOUR_CALM: too_many_pings");
	(void)close(t.server.fd);
	t.server.fd = -1;
	turn();
	ck_assert(t.c->is_dead);
	expect_end(&t.calls[0], GRPC_END_LOST);
	close_all();
}
END_TEST

START_TEST(resets_are_told_apart)
{
	open_with(100, 65535);
	pump();
	struct grpc_exchange *first = call(10);
	struct grpc_exchange *second = call(10);
	pump();
	h2_server_reset(&t.server, 0, NGHTTP2_REFUSED_STREAM);
	h2_server_reset(&t.server, 1, NGHTTP2_ENHANCE_YOUR_CALM);
	pump();
	expect_end(first, GRPC_END_REFUSED);
	expect_end(second, GRPC_END_RESET);
	ck_assert_uint_eq(second->error_code, NGHTTP2_ENHANCE_YOUR_CALM);
	ck_assert(!t.c->is_dead && grpc_client_has_room(t.c));
	close_all();
}
END_TEST

START_TEST(an_answer_before_the_body_is_whole_ends_the_upload)
{
	open_with(100, 1000);
	pump();
	t.server.is_deaf = true;
	struct grpc_exchange *x = call(1000000);
	turn();
	t.server.is_deaf = false;
	h2_server_turn(&t.server);
	h2_server_refuse(&t.server, 0, ":status: 200", "content-type: application/grpc",
			 "grpc-status: 8", "grpc-message: larger than max", NULL);
	pump();
	ck_assert_int_eq(reply_of(x).verdict, VERDICT_TOO_LARGE);
	ck_assert(h2_server_taken(&t.server, 0)->is_closed);
	ck_assert(!h2_server_taken(&t.server, 0)->is_whole);
	/* The connection is as good as before. */
	struct grpc_exchange *next = call(10);
	pump();
	h2_server_answer(&t.server, 1, EMPTY, "grpc-status: 0", NULL);
	pump();
	ck_assert_int_eq(reply_of(next).verdict, VERDICT_DELIVERED);
	close_all();
}
END_TEST

START_TEST(a_slow_server_that_answers_pings_loses_one_call_only)
{
	open_with(100, 65535);
	pump();
	struct grpc_exchange *slow = call(10);
	pump();
	int pings = t.server.pings;
	ck_assert_int_le(grpc_client_due_ns(t.c, now_mono_ns()), T0 + TIMEOUT_S * NS_PER_S / 2);
	advance(TIMEOUT_S * NS_PER_S / 2);
	ck_assert_int_eq(t.server.pings, pings + 1);
	struct grpc_exchange *other = call(10);
	advance(TIMEOUT_S * NS_PER_S / 2);
	expect_end(slow, GRPC_END_STALLED);
	expect_end(other, GRPC_END_NONE);
	ck_assert(!t.c->is_dead && !t.c->is_silent);
	ck_assert(h2_server_taken(&t.server, 0)->is_closed);
	ck_assert_uint_eq(h2_server_taken(&t.server, 0)->error_code, NGHTTP2_CANCEL);
	close_all();
}
END_TEST

/* Its answers to our PINGs, and that its TCP takes them, say nothing about the call. */
START_TEST(a_server_that_never_opens_its_window_is_given_up)
{
	open_with(100, 0);
	pump();
	struct grpc_exchange *x = call(1000);
	pump();
	for (int i = 0; i < 2; i++) {
		expect_end(x, GRPC_END_NONE);
		advance((TIMEOUT_S / 2 + 1) * NS_PER_S);
	}
	expect_end(x, GRPC_END_STALLED);
	ck_assert(!t.c->is_dead);
	close_all();
}
END_TEST

START_TEST(a_connection_that_leads_nowhere_is_given_up_within_the_timeout)
{
	open_with(100, 65535);
	pump();
	struct grpc_exchange *first = call(10);
	pump();
	t.server.is_deaf = true;
	advance(TIMEOUT_S * NS_PER_S / 2);
	struct grpc_exchange *second = call(10);
	pump();
	advance(TIMEOUT_S * NS_PER_S / 2 - 1);
	expect_end(first, GRPC_END_NONE);
	advance(1);
	ck_assert(t.c->is_dead && t.c->is_silent);
	expect_end(first, GRPC_END_STALLED);
	expect_end(second, GRPC_END_STALLED);
	close_all();
}
END_TEST

START_TEST(what_moves_slowly_is_not_given_up_but_not_borne_for_ever)
{
	open_with(100, 65535);
	pump();
	struct grpc_exchange *x = call(10);
	pump();
	nghttp2_nv h[] = { { .name = (uint8_t *)(uintptr_t) ":status",
			     .namelen = 7,
			     .value = (uint8_t *)(uintptr_t) "103",
			     .valuelen = 3 } };
	/* An interim answer every now and then. */
	for (int i = 0; i < 26; i++) {
		ck_assert_int_eq(nghttp2_submit_headers(t.server.session, 0, 1, NULL, h, 1, NULL),
				 0);
		h2_server_turn(&t.server);
		expect_end(x, GRPC_END_NONE);
		advance(TIMEOUT_S * NS_PER_S * 3 / 4);
	}
	ck_assert_int_eq(nghttp2_submit_headers(t.server.session, 0, 1, NULL, h, 1, NULL), 0);
	h2_server_turn(&t.server);
	advance(TIMEOUT_S * NS_PER_S * 3 / 4);
	expect_end(x, GRPC_END_LATE);
	close_all();
}
END_TEST

START_TEST(an_answer_without_an_end_is_broken_off)
{
	const size_t n = 6 << 20;
	uint8_t *page = xcalloc(1, n);
	open_with(100, 65535);
	pump();
	struct grpc_exchange *x = call(10);
	struct grpc_exchange *other = call(10);
	pump();
	page[1] = 1; /* the prefix of a message of 16 MiB */
	h2_server_begin_answer(&t.server, 0, bytes_of(page, n));
	pump();
	struct export_reply r = reply_of(x);
	ck_assert_int_eq(r.verdict, VERDICT_RETRY);
	ck_assert_str_eq(r.error, "the answer ended without a grpc-status");
	ck_assert_uint_lt(x->received, 5 << 20);
	h2_server_answer(&t.server, 1, EMPTY, "grpc-status: 0", NULL);
	pump();
	ck_assert_int_eq(reply_of(other).verdict, VERDICT_DELIVERED);
	close_all();
	free(page);
}
END_TEST

START_TEST(strangers_are_told_apart)
{
	static const char *const rows[][2] = {
		{ "HTTP/1.1 400 Bad Request\r\n\r\n", "the server speaks HTTP/1.1 and no gRPC" },
		{ "<!DOCTYPE HTML>", "the server speaks HTTP/1.1 and no gRPC" },
		{ "\x15\x03\x01", "the server speaks TLS: write https://" },
		{ "SSH-2.0-x", "what the server speaks is no HTTP/2" },
		{ "", "the server closed the connection before it said anything of HTTP/2: perhaps "
		      "it wants TLS" },
	};
	open_with(100, 65535);
	size_t n = strlen(rows[_i][0]);
	ck_assert_int_eq(send(t.server.fd, rows[_i][0], n, MSG_NOSIGNAL), (ssize_t)n);
	(void)close(t.server.fd);
	t.server.fd = -1;
	turn();
	ck_assert(t.c->is_dead && !t.c->is_ready);
	ck_assert_msg(strncmp(t.c->why.text, rows[_i][1], strlen(rows[_i][1])) == 0, "%s",
		      t.c->why.text);
	close_all();
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		a_call_is_what_grpc_says_it_is,
		a_large_body_goes_through_a_small_window,
		no_more_calls_than_the_server_allows,
		goaway_tells_which_calls_were_never_looked_at,
		goaway_ends_a_call_that_is_stuck_behind_others,
		a_goaway_for_a_fault_says_why,
		resets_are_told_apart,
		an_answer_without_an_end_is_broken_off,
		an_answer_before_the_body_is_whole_ends_the_upload,
		a_slow_server_that_answers_pings_loses_one_call_only,
		a_server_that_never_opens_its_window_is_given_up,
		a_connection_that_leads_nowhere_is_given_up_within_the_timeout,
		what_moves_slowly_is_not_given_up_but_not_borne_for_ever,
	};
	int failed = run_cases("grpc_client", cases, sizeof(cases) / sizeof(cases[0]));
	return failed | run_loop("grpc_client strangers", strangers_are_told_apart, 5);
}
