/* What a connection of the gRPC receiver promises: windows and limits hold, calls outlive their
 * streams, and its end is announced. */
#include <stdio.h>

#include "tests/support/grpc_pair_requests.h"

/* A prefix and n zero bytes. The caller frees. */
static uint8_t *large_message(size_t n)
{
	uint8_t *p = xcalloc(1, n + GRPC_FRAME_PREFIX_SIZE);
	grpc_frame_write_prefix(p, false, (uint32_t)n);
	return p;
}

/* A DATA frame, as if the client had sent it. */
static void feed_data(int32_t id, const uint8_t *p, size_t n)
{
	const uint8_t head[9] = { (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n, 0, 0, 0, 0,
				  (uint8_t)(id >> 8), (uint8_t)id };
	grpc_connection_feed(t.c, bytes_of(head, sizeof(head)));
	grpc_connection_feed(t.c, bytes_of(p, n));
}

START_TEST(a_spent_budget_is_unavailable_and_not_fatal)
{
	uint8_t *p = large_message(MAX_MESSAGE);
	ck_assert(budget_reserve(&t.ingest.budget, BUDGET - 200000));
	int32_t id =
		request(EXPORT, (struct h2_upload){ .p = p, .n = MAX_MESSAGE + 5 }, NULL, NULL);
	pump();
	expect_status(id, "200", "14");
	ck_assert(seen(id)->has_details);
	budget_release(&t.ingest.budget, BUDGET - 200000);
	free(p);
}
END_TEST

START_TEST(a_reset_stream_leaves_its_call_to_the_writer)
{
	int32_t id = export_small();
	pump();
	ck_assert_int_eq(nghttp2_submit_rst_stream(t.client.session, 0, id, NGHTTP2_CANCEL), 0);
	pump();
	ck_assert_uint_eq(t.server.open_calls, 0);
	ck_assert_uint_eq(t.server.with_writer, 1);
	ck_assert(atomic_load(&t.ingest.given[0]->is_unwanted));
	fake_complete(&t.ingest, ST_OK);
	pump();
	ck_assert_uint_eq(t.server.with_writer, 0);
	int32_t next = export_small();
	pump();
	close_server(); /* the whole connection goes: teardown completes the call */
	ck_assert_str_eq(seen(next)->http_status, "");
}
END_TEST

START_TEST(a_request_that_stops_coming_is_ended)
{
	static const uint8_t part[] = { 0, 0, 0, 0, 9, 1 };
	int32_t id = request(EXPORT, (struct h2_upload){ .p = part, .n = 6, .is_open = true }, NULL,
			     NULL);
	pump();
	tick(4 * NS_PER_S);
	ck_assert(!seen(id)->is_closed);
	tick(2 * NS_PER_S);
	expect_status(id, "200", "4");
	ck_assert_uint_eq(budget_used(&t.ingest.budget), 0);
	ck_assert(!t.is_over);
}
END_TEST

START_TEST(a_request_that_trickles_is_ended)
{
	/* A claim of 1 MiB, whose bytes come by the hundred: always some within the timeout. */
	static const uint8_t prefix[] = { 0, 0, 0x10, 0, 0 };
	static const uint8_t few[100];
	int32_t id = request(EXPORT, (struct h2_upload){ .p = prefix, .n = 5, .is_open = true },
			     NULL, NULL);
	pump();
	ck_assert_uint_gt(budget_used(&t.ingest.budget), 0);
	for (int i = 0; i < 4; i++) {
		feed_data(id, few, sizeof(few));
		tick(2 * NS_PER_S);
	}
	expect_status(id, "200", "4");
	ck_assert_uint_eq(budget_used(&t.ingest.budget), 0);
	ck_assert(!t.is_over);
}
END_TEST

START_TEST(a_request_that_comes_slowly_is_taken)
{
	enum { PIECE = 16 * 1024, PIECES = 64 };
	static const uint8_t prefix[] = { 0, 0, 0x10, 0, 0 };
	static const uint8_t piece[PIECE];
	int32_t id = request(EXPORT, (struct h2_upload){ .p = prefix, .n = 5, .is_open = true },
			     NULL, NULL);
	pump();
	for (int i = 0; i < PIECES; i++) {
		tick(4 * NS_PER_S);
		feed_data(id, piece, PIECE);
	}
	pump();
	ck_assert(!seen(id)->is_closed);
	ck_assert_uint_ge(budget_used(&t.ingest.budget), (size_t)PIECE * PIECES);
}
END_TEST

START_TEST(an_answer_that_is_not_taken_is_given_up)
{
	/* No window for DATA: the answer cannot leave. */
	const nghttp2_settings_entry none = { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0 };
	ck_assert_int_eq(nghttp2_submit_settings(t.client.session, 0, &none, 1), 0);
	int32_t id = export_small();
	pump();
	fake_complete(&t.ingest, ST_OK);
	pump();
	ck_assert(!seen(id)->is_closed);
	tick(6 * NS_PER_S);
	ck_assert(seen(id)->is_closed);
	ck_assert_uint_eq(seen(id)->error_code, NGHTTP2_CANCEL);
	ck_assert(!t.is_over);
}
END_TEST

START_TEST(an_answer_fits_a_window_of_one_byte)
{
	const nghttp2_settings_entry one = { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 };
	ck_assert_int_eq(nghttp2_submit_settings(t.client.session, 0, &one, 1), 0);
	int32_t id = export_small();
	pump();
	fake_complete(&t.ingest, ST_OK);
	pump();
	for (int i = 0; i < 4; i++) {
		ck_assert_int_eq(nghttp2_submit_window_update(t.client.session, 0, id, 1), 0);
		pump();
	}
	expect_status(id, "200", "0");
	ck_assert_uint_eq(seen(id)->body_n, 5);
}
END_TEST

START_TEST(complete_messages_close_the_window_until_they_are_answered)
{
	uint8_t *p = large_message(MAX_MESSAGE);
	enum { REQUESTS = 60 };
	t.ingest.budget.max = 400 << 20;
	int32_t ids[REQUESTS];
	for (int i = 0; i < REQUESTS; i++) {
		ids[i] = request(EXPORT, (struct h2_upload){ .p = p, .n = MAX_MESSAGE + 5 }, NULL,
				 NULL);
		pump();
	}
	/* What is held, and one window more, came in; the rest waits at the client. */
	ck_assert_uint_ge(t.ingest.given_count, 16);
	ck_assert_uint_le(t.ingest.given_count, 33);
	ck_assert(!t.is_over);
	while (t.ingest.given_count) {
		fake_complete(&t.ingest, ST_OK);
		pump();
	}
	for (int i = 0; i < REQUESTS; i++)
		expect_status(ids[i], "200", "0");
	free(p);
}
END_TEST

START_TEST(a_message_larger_than_every_window_comes_in)
{
	enum { LARGE = 40 << 20 };
	t.server.options.max_message_bytes = LARGE;
	uint8_t *p = large_message(LARGE);
	/* Beside more complete messages than may be held: they close the window, answers open it.
	 */
	int32_t id = request(EXPORT, (struct h2_upload){ .p = p, .n = LARGE + 5 }, NULL, NULL);
	t.ingest.budget.max = 200 << 20;
	pump();
	ck_assert_uint_eq(t.ingest.given_count, 1);
	ck_assert_uint_eq(t.ingest.prepared_bytes, LARGE);
	fake_complete(&t.ingest, ST_OK);
	pump();
	expect_status(id, "200", "0");
	free(p);
}
END_TEST

START_TEST(a_client_that_does_not_read_is_not_read_from)
{
	/* Each request is answered with a long refusal, and the client reads none of them. */
	pump();
	int small_size = 4096;
	ck_assert_int_eq(setsockopt(t.c->transport.fd, SOL_SOCKET, SO_SNDBUF, &small_size,
				    sizeof(small_size)),
			 0);
	for (int i = 0; i < H2_STREAMS - 100 && grpc_connection_wants(t.c) & EPOLLIN; i++) {
		/* No two alike: header compression would make them one byte. */
		char path[90];
		memset(path, '%', sizeof(path));
		path[snprintf(path, sizeof(path), "/%d", i)] = '%';
		path[sizeof(path) - 1] = '\0';
		int32_t id = request(path, small, NULL, NULL);
		h2_client_flush(&t.client);
		server_turn();
		ck_assert_int_eq(nghttp2_submit_rst_stream(t.client.session, 0, id, NGHTTP2_CANCEL),
				 0);
	}
	ck_assert(!t.is_over);
	ck_assert_uint_eq(grpc_connection_wants(t.c), EPOLLOUT);
	pump();
	ck_assert_uint_eq(grpc_connection_wants(t.c), EPOLLIN);
}
END_TEST

START_TEST(a_client_that_reads_a_little_is_not_read_from)
{
	/* It never acknowledges our SETTINGS, so that streams beyond the limit are reset one by one
	 * and the connection stays. It reads just so much that little is left of what is full. */
	static const uint8_t settings[9] = { 0, 0, 0, 4 };
	static const uint8_t open[] = { 0x83, 0x84, 0x86 };
	enum { FULL = 256 * 1024, LEFT = 32 * 1024, HEAD = 9 };
	int smallest = 1;
	uint32_t id = 1;
	ck_assert_int_eq(
		setsockopt(t.c->transport.fd, SOL_SOCKET, SO_SNDBUF, &smallest, sizeof(smallest)),
		0);
	grpc_connection_feed(t.c, bytes_str(NGHTTP2_CLIENT_MAGIC));
	grpc_connection_feed(t.c, bytes_of(settings, sizeof(settings)));
	for (; t.c->out.n < FULL; id += 2) {
		uint8_t frame[HEAD + sizeof(open)] = {
			0,          0, sizeof(open),        1,
			4,          0, (uint8_t)(id >> 16), (uint8_t)(id >> 8),
			(uint8_t)id
		};
		memcpy(frame + HEAD, open, sizeof(open));
		grpc_connection_feed(t.c, bytes_of(frame, sizeof(frame)));
		ck_assert(grpc_connection_flush(t.c));
	}
	static uint8_t dump[1024];
	while (t.c->out.n - t.c->out_sent > LEFT) {
		ck_assert_int_gt(recv(t.client.fd, dump, sizeof(dump), 0), 0);
		ck_assert(grpc_connection_flush(t.c));
	}
	ck_assert_uint_gt(t.c->out.n - t.c->out_sent, 0);
	ck_assert_uint_eq(grpc_connection_wants(t.c), EPOLLOUT);
	while (t.c->out.n) {
		ck_assert_int_gt(recv(t.client.fd, dump, sizeof(dump), 0), 0);
		ck_assert(grpc_connection_flush(t.c));
	}
	ck_assert_uint_eq(grpc_connection_wants(t.c), EPOLLIN);
}
END_TEST

START_TEST(a_client_that_never_reads_is_closed)
{
	const uint8_t ping[17] = { 0, 0, 8, 6 };
	int smallest = 1;
	pump();
	ck_assert_int_eq(
		setsockopt(t.c->transport.fd, SOL_SOCKET, SO_SNDBUF, &smallest, sizeof(smallest)),
		0);
	for (int i = 0; i < 900; i++)
		grpc_connection_feed(t.c, bytes_of(ping, sizeof(ping)));
	ck_assert(grpc_connection_flush(t.c));
	ck_assert_uint_eq(grpc_connection_wants(t.c) & EPOLLOUT, EPOLLOUT);
	ck_assert_uint_ge(budget_used(&t.server.overhead), t.c->out.n);
	t.server.now_ns += 6 * NS_PER_S;
	grpc_connection_tick(t.c);
	ck_assert(!grpc_connection_flush(t.c));
}
END_TEST

START_TEST(a_client_that_does_not_read_is_closed_when_memory_is_short)
{
	const uint8_t ping[17] = { 0, 0, 8, 6 };
	int smallest = 1;
	pump();
	t.server.overhead.max = 1024;
	ck_assert_int_eq(
		setsockopt(t.c->transport.fd, SOL_SOCKET, SO_SNDBUF, &smallest, sizeof(smallest)),
		0);
	for (int i = 0; i < 900; i++)
		grpc_connection_feed(t.c, bytes_of(ping, sizeof(ping)));
	ck_assert(!grpc_connection_flush(t.c));
}
END_TEST

START_TEST(a_ping_flood_is_told_to_calm_down)
{
	pump();
	for (int i = 0; i < 40 && !t.is_over; i++) {
		for (int k = 0; k < 100; k++)
			ck_assert_int_eq(nghttp2_submit_ping(t.client.session, 0, NULL), 0);
		pump();
	}
	ck_assert(t.is_over);
	ck_assert_uint_eq(t.client.goaway_error, NGHTTP2_ENHANCE_YOUR_CALM);
}
END_TEST

START_TEST(pings_between_requests_are_welcome)
{
	for (int i = 0; i < 100; i++) {
		for (int k = 0; k < 100; k++)
			ck_assert_int_eq(nghttp2_submit_ping(t.client.session, 0, NULL), 0);
		int32_t id = export_small();
		pump();
		fake_complete(&t.ingest, ST_OK);
		pump();
		expect_status(id, "200", "0");
	}
}
END_TEST

START_TEST(streams_beyond_the_limit_are_refused_for_a_retry)
{
	pump();
	t.c->server->options.max_concurrent_streams = 100;
	/* The client honours the limit by itself: it holds back what is too many. */
	for (int i = 0; i < 150; i++)
		(void)export_small();
	pump();
	ck_assert_uint_eq(t.ingest.given_count, 100);
	while (t.ingest.given_count) {
		fake_complete(&t.ingest, ST_OK);
		pump();
	}
	expect_status(299, "200", "0");
}
END_TEST

START_TEST(streams_without_messages_are_bounded)
{
	const struct h2_upload nothing = { .is_open = true };
	pump();
	t.server.overhead.max = 16 * 1024;
	int32_t id = 0;
	for (int i = 0; i < 50; i++)
		id = request(EXPORT, nothing, NULL, NULL);
	pump();
	ck_assert_uint_gt(t.server.open_calls, 2);
	ck_assert_uint_lt(t.server.open_calls, 16);
	ck_assert(seen(id)->is_closed);
	ck_assert_uint_eq(seen(id)->error_code, NGHTTP2_REFUSED_STREAM);
	ck_assert(!t.is_over);
}
END_TEST

START_TEST(goaway_comes_twice_and_calls_are_answered_between)
{
	int32_t id = export_small();
	pump();
	grpc_connection_shutdown(t.c);
	pump();
	/* The client answered the PING, so both are out; nothing is lost. */
	ck_assert_int_eq(t.client.goaways, 2);
	ck_assert_int_eq(t.client.goaway_last, id);
	ck_assert(!t.is_over);
	fake_complete(&t.ingest, ST_OK);
	pump();
	expect_status(id, "200", "0");
	ck_assert(t.is_over);
}
END_TEST

START_TEST(a_silent_client_gets_its_second_goaway_too)
{
	int32_t id = export_small();
	pump();
	grpc_connection_shutdown(t.c);
	(void)grpc_connection_flush(t.c);
	t.server.now_ns += 2 * NS_PER_S;
	grpc_connection_tick(t.c);
	(void)grpc_connection_flush(t.c);
	fake_complete(&t.ingest, ST_OK);
	pump();
	ck_assert_int_eq(t.client.goaways, 2);
	expect_status(id, "200", "0");
	ck_assert(t.is_over);
}
END_TEST

START_TEST(an_idle_connection_is_closed_and_a_busy_one_is_not)
{
	int32_t id = export_small();
	pump();
	tick(61 * NS_PER_S);
	ck_assert_int_eq(t.client.goaways, 0);
	fake_complete(&t.ingest, ST_OK);
	pump();
	expect_status(id, "200", "0");
	tick(59 * NS_PER_S);
	ck_assert(!t.is_over);
	tick(2 * NS_PER_S);
	ck_assert_int_ge(t.client.goaways, 1);
	ck_assert_uint_eq(t.client.goaway_error, NGHTTP2_NO_ERROR);
	ck_assert(t.is_over);
}
END_TEST

START_TEST(who_does_not_speak_http2_is_closed)
{
	static const char tls[] = "\x16\x03\x01\x02\x00\x01";
	grpc_connection_feed(t.c, bytes_of(tls, sizeof(tls)));
	ck_assert(!grpc_connection_flush(t.c));
}
END_TEST

START_TEST(who_speaks_http1_is_told_where_to_go)
{
	static const char *const pieces[] = { "P", "OST /v1/traces HTTP/1.1\r\n", "Host: x\r\n\r\n",
					      "a body" };
	char said[1024];
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		grpc_connection_feed(t.c, bytes_str(pieces[i]));
		ck_assert(grpc_connection_flush(t.c));
	}
	ssize_t n = read(t.client.fd, said, sizeof(said) - 1);
	ck_assert_int_gt(n, 0);
	said[n] = '\0';
	ck_assert_int_eq(strncmp(said, "HTTP/1.1 400 ", 13), 0);
	ck_assert_ptr_nonnull(strstr(said, "usually 4318"));
	t.server.now_ns += 3 * NS_PER_S;
	grpc_connection_tick(t.c);
	ck_assert(!grpc_connection_flush(t.c));
}
END_TEST

START_TEST(who_says_nothing_is_closed)
{
	t.server.now_ns += 11 * NS_PER_S;
	grpc_connection_tick(t.c);
	ck_assert(!grpc_connection_flush(t.c));
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		a_spent_budget_is_unavailable_and_not_fatal,
		a_reset_stream_leaves_its_call_to_the_writer,
		a_request_that_stops_coming_is_ended,
		a_request_that_trickles_is_ended,
		a_request_that_comes_slowly_is_taken,
		an_answer_that_is_not_taken_is_given_up,
		an_answer_fits_a_window_of_one_byte,
		complete_messages_close_the_window_until_they_are_answered,
		a_message_larger_than_every_window_comes_in,
		a_client_that_does_not_read_is_not_read_from,
		a_client_that_reads_a_little_is_not_read_from,
		a_client_that_never_reads_is_closed,
		a_client_that_does_not_read_is_closed_when_memory_is_short,
		a_ping_flood_is_told_to_calm_down,
		pings_between_requests_are_welcome,
		streams_beyond_the_limit_are_refused_for_a_retry,
		streams_without_messages_are_bounded,
		goaway_comes_twice_and_calls_are_answered_between,
		a_silent_client_gets_its_second_goaway_too,
		an_idle_connection_is_closed_and_a_busy_one_is_not,
		who_does_not_speak_http2_is_closed,
		who_speaks_http1_is_told_where_to_go,
		who_says_nothing_is_closed,
	};
	TCase *tc = tcase_create("grpc_connection");
	tcase_add_checked_fixture(tc, setup, teardown);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		tcase_add_test(tc, cases[i]);
	return run_tcase("grpc_connection", tc);
}
