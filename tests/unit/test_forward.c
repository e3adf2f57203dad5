/* What forwarding promises, with a real queue file, a real writer and a real HTTP server: delivered
 * once where nothing crashes, in order, and never let go before the destination took it. */
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/base/metrics.h"
#include "gateway/base/now.h"
#include "gateway/forward/forward.h"
#include "tests/support/expect.h"
#include "tests/support/forwarding.h"
#include "tests/support/patience.h"
#include "tests/support/queue_file.h"

#define FAST "retry_on_failure: {initial_interval: 10ms, max_interval: 50ms}"

START_TEST(what_is_queued_is_delivered_and_leaves_the_queue)
{
	struct forwarding *fx = forwarding_new_one("headers: {authorization: Bearer secret}");
	struct side *s = &fx->sides[0];
	forwarding_start(fx);
	forwarding_put(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, 1, 1, 1000);
	forwarding_put(fx, SIGNAL_METRICS, RECORD_CLASS_INFO, 2, 2, 1000);
	forwarding_put(fx, SIGNAL_LOGS, RECORD_CLASS_CRITICAL, 3, 3, 1000);
	http_sink_wait(s->sink, 3);
	forwarding_wait_drained(fx);
	ck_assert_int_eq(facts_int(fx->path, "SELECT count(*) FROM batches"), 0);
	ck_assert_int_eq(forwarding_total(fx, "delivered"), 30);
	/* Lanes are independent: requests of different signals come in any order. */
	static const char *const wants[] = { "/v1/traces 1", "/v1/metrics 2", "/v1/logs 3" };
	unsigned seen = 0;
	for (size_t i = 0; i < 3; i++) {
		const struct sink_request *r = http_sink_request(s->sink, i);
		char ids[64];
		char got[160];
		(void)snprintf(got, sizeof(got), "%s %s", r->path,
			       forwarding_ids(r, ids, sizeof(ids)));
		for (size_t j = 0; j < 3; j++)
			seen |= strcmp(got, wants[j]) == 0 ? 1u << j : 0;
		ck_assert_str_eq(r->content_type, "application/x-protobuf");
		ck_assert_str_eq(r->encoding, "gzip");
		ck_assert_str_eq(r->user_agent, "tidegate/" TIDEGATE_VERSION);
		ck_assert_str_eq(r->authorization, "Bearer secret");
	}
	ck_assert_uint_eq(seen, 7);
	forwarding_free(fx);
}
END_TEST

START_TEST(a_failed_export_is_sent_again_with_its_members_before_what_follows)
{
	struct forwarding *fx =
		forwarding_new_one("max_in_flight: 1, max_export_size: 64KiB, " FAST);
	struct side *s = &fx->sides[0];
	forwarding_put(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, 1, 6, 30000);
	http_sink_script(s->sink, (struct sink_answer){ .status = 503 }, 2);
	http_sink_script(s->sink, (struct sink_answer){ .act = SINK_CLOSE }, 1);
	http_sink_script(s->sink, (struct sink_answer){ .status = 500 }, 1);
	forwarding_start(fx);
	http_sink_wait(s->sink, 1);
	forwarding_put(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, 7, 7, 10000);
	forwarding_wait_drained(fx);
	/* libcurl sends a request once more by itself where a kept connection was closed under it.
	 */
	size_t last = http_sink_count(s->sink) - 1;
	ck_assert_uint_ge(last, 6);
	for (size_t i = 0; i < 5; i++)
		EXPECT_IDS(s, i, "1 2");
	EXPECT_IDS(s, last - 2, "3 4");
	EXPECT_IDS(s, last - 1, "5 6");
	EXPECT_IDS(s, last, "7");
	forwarding_wait_state(fx, "up");
	forwarding_free(fx);
}
END_TEST

START_TEST(retry_after_is_waited_for)
{
	struct forwarding *fx = forwarding_new_one(FAST);
	struct side *s = &fx->sides[0];
	http_sink_script(s->sink, (struct sink_answer){ .status = 429, .retry_after = "1" }, 1);
	forwarding_start(fx);
	forwarding_put(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, 1, 1, 100);
	http_sink_wait(s->sink, 2);
	ck_assert_int_ge(http_sink_request(s->sink, 1)->at_ns -
				 http_sink_request(s->sink, 0)->at_ns,
			 NS_PER_S - 20 * NS_PER_MS);
	forwarding_wait_drained(fx);
	forwarding_free(fx);
}
END_TEST

/* Refuses bodies that name this id. */
struct refusal {
	const char *name;
	int status;
	struct bytes body;
};

static bool refuse(void *ctx, const struct sink_request *r, struct sink_answer *ret)
{
	const struct refusal *x = ctx;
	if (!memmem(r->body.p, r->body.n, x->name, strlen(x->name)))
		return false;
	*ret = (struct sink_answer){ .status = x->status,
				     .body = x->body,
				     .content_type = "text/plain; charset=utf-8" };
	return true;
}

START_TEST(only_the_batch_that_is_refused_becomes_a_dead_letter)
{
	struct forwarding *fx = forwarding_new_one(FAST);
	struct side *s = &fx->sides[0];
	struct refusal x = { "<id=00000003>", 400, bytes_str("no such tenant\n") };
	static struct facts facts;
	http_sink_judge(s->sink, refuse, &x);
	forwarding_put(fx, SIGNAL_LOGS, RECORD_CLASS_INFO, 1, 4, 100);
	forwarding_start(fx);
	forwarding_wait_drained(fx);
	forwarding_put(fx, SIGNAL_LOGS, RECORD_CLASS_INFO, 5, 6, 100);
	forwarding_wait_drained(fx);
	ck_assert(facts_read(fx->path, &facts));
	for (int id = 1; id <= 6; id++)
		ck_assert_int_eq(facts.dead[s->id][id], id == 3);
	ck_assert_int_eq(facts_int(fx->path, "SELECT last_status FROM dead_letters"), 400);
	ck_assert_int_eq(facts_int(fx->path, "SELECT count(*) FROM dead_letters WHERE last_error "
					     "LIKE 'HTTP 400: no such tenant%'"),
			 1);
	ck_assert_int_eq(forwarding_total(fx, "delivered"), 50);
	EXPECT_IDS(s, 0, "1 2 3 4");
	EXPECT_IDS(s, 1, "1 2"); /* taken: so it is in the other half, and that is not sent whole */
	EXPECT_IDS(s, 2, "3");
	EXPECT_IDS(s, 3, "4");
	forwarding_free(fx);
}
END_TEST

static bool deny_while_set(void *ctx, const struct sink_request *r, struct sink_answer *ret)
{
	(void)r;
	*ret = (struct sink_answer){ .status = 401 };
	return atomic_load((atomic_bool *)ctx);
}

START_TEST(missing_credentials_park_the_destination_and_keep_the_data)
{
	struct forwarding *fx = forwarding_new_one(FAST);
	struct side *s = &fx->sides[0];
	atomic_bool is_denied = true;
	http_sink_judge(s->sink, deny_while_set, &is_denied);
	forwarding_start(fx);
	forwarding_put(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, 1, 1, 100);
	forwarding_wait_state(fx, "unauthorized");
	http_sink_wait(s->sink, 3);
	ck_assert_int_eq(
		facts_int(fx->path, "SELECT count(*) FROM deliveries WHERE state = 'ready'"), 1);
	atomic_store(&is_denied, false);
	forwarding_wait_drained(fx);
	forwarding_wait_state(fx, "up");
	ck_assert_int_eq(forwarding_total(fx, "delivered"), 10);
	forwarding_free(fx);
}
END_TEST

START_TEST(a_partial_success_is_recorded_and_not_sent_again)
{
	struct forwarding *fx = forwarding_new_one(FAST);
	struct side *s = &fx->sides[0];
	/* ExportTraceServiceResponse: partial_success { rejected_spans: 12, error_message: "old" }
	 */
	static const uint8_t partial[] = { 0x0a, 7, 0x08, 12, 0x12, 3, 'o', 'l', 'd' };
	forwarding_put(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, 1, 2, 100);
	http_sink_script(s->sink,
			 (struct sink_answer){ .body = bytes_of(partial, sizeof(partial)) }, 1);
	forwarding_start(fx);
	forwarding_wait_drained(fx);
	ck_assert_int_eq(forwarding_total(fx, "rejected"), 12);
	ck_assert_int_eq(forwarding_total(fx, "delivered"), 8);
	forwarding_put(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, 3, 3, 100);
	forwarding_wait_drained(fx);
	ck_assert_uint_eq(http_sink_count(s->sink), 2);
	EXPECT_IDS(s, 0, "1 2");
	EXPECT_IDS(s, 1, "3");
	forwarding_free(fx);
}
END_TEST

START_TEST(a_returned_uplink_is_used_within_two_seconds_whatever_the_back_off)
{
	struct forwarding *fx = forwarding_new_one(
		"retry_on_failure: {initial_interval: 1h, max_interval: 1h, probe_interval: 1s}");
	struct side *s = &fx->sides[0];
	http_sink_stop(s->sink);
	forwarding_start(fx);
	forwarding_put(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, 1, 3, 100);
	forwarding_wait_state(fx, "backing_off");
	struct stopwatch watch = stopwatch_start();
	http_sink_start(s->sink);
	http_sink_wait(s->sink, 1);
	ck_assert_int_lt(stopwatch_ns(&watch), 2 * NS_PER_S);
	forwarding_wait_drained(fx);
	forwarding_free(fx);
}
END_TEST

/* A listener whose queue of connections is full: SYNs to it are dropped, as on a dead uplink. */
struct black_hole {
	int listener;
	int clients[4];
};

static void black_hole_open(struct black_hole *h, int port)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int one = 1;
	h->listener = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(setsockopt(h->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
	ck_assert_int_eq(bind(h->listener, (struct sockaddr *)&at, sizeof(at)), 0);
	ck_assert_int_eq(listen(h->listener, 0), 0);
	for (int i = 0; i < 4; i++) {
		h->clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)connect(h->clients[i], (struct sockaddr *)&at, sizeof(at));
	}
}

static void black_hole_close(struct black_hole *h)
{
	for (int i = 0; i < 4; i++)
		(void)close(h->clients[i]);
	(void)close(h->listener);
}

START_TEST(an_uplink_that_swallows_packets_is_used_within_two_seconds_of_its_return)
{
	struct forwarding *fx = forwarding_new_one(
		"timeout: 2s, retry_on_failure: {initial_interval: 10ms, max_interval: 50ms}");
	struct side *s = &fx->sides[0];
	struct black_hole hole;
	int port = http_sink_port(s->sink);
	http_sink_stop(s->sink);
	black_hole_open(&hole, port);
	forwarding_start(fx);
	forwarding_put(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, 1, 3, 100);
	forwarding_wait_state(fx, "backing_off");
	/* An export and a probe are being connected for about all of the time now. */
	black_hole_close(&hole);
	struct stopwatch watch = stopwatch_start();
	http_sink_start(s->sink);
	http_sink_wait(s->sink, 1);
	ck_assert_int_lt(stopwatch_ns(&watch), 2 * NS_PER_S);
	forwarding_wait_drained(fx);
	forwarding_free(fx);
}
END_TEST

START_TEST(an_export_without_an_answer_times_out_and_is_sent_again)
{
	struct forwarding *fx = forwarding_new_one("timeout: 200ms, " FAST);
	struct side *s = &fx->sides[0];
	http_sink_script(s->sink, (struct sink_answer){ .act = SINK_HANG }, 1);
	forwarding_start(fx);
	forwarding_put(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, 1, 1, 100);
	http_sink_wait(s->sink, 2);
	forwarding_wait_drained(fx);
	EXPECT_IDS(s, 0, "1");
	EXPECT_IDS(s, 1, "1");
	ck_assert_int_eq(forwarding_total(fx, "delivered"), 10);
	forwarding_free(fx);
}
END_TEST

START_TEST(stopping_keeps_what_has_no_answer)
{
	struct forwarding *fx = forwarding_new_one("timeout: 1h");
	struct side *s = &fx->sides[0];
	http_sink_script(s->sink, (struct sink_answer){ .act = SINK_HANG }, 1);
	forwarding_start(fx);
	forwarding_put(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, 1, 1, 100);
	http_sink_wait(s->sink, 1);
	forwarding_stop(fx, 50 * NS_PER_MS);
	ck_assert_int_eq(
		facts_int(fx->path, "SELECT count(*) FROM deliveries WHERE state = 'ready'"), 1);
	ck_assert_int_eq(forwarding_total(fx, "delivered"), 0);
	forwarding_free(fx);
}
END_TEST

START_TEST(once_the_stop_has_begun_nothing_new_is_sent)
{
	static const char *const options[] = { "timeout: 1h", FAST };
	struct forwarding *fx = forwarding_new(options, 2);
	http_sink_script(fx->sides[0].sink, (struct sink_answer){ .act = SINK_HANG }, 1);
	forwarding_start(fx);
	forwarding_put(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, 1, 1, 100);
	http_sink_wait(fx->sides[0].sink, 1);
	forwarding_wait(fx, "SELECT count(*) FROM deliveries", 1);
	int64_t deadline = now_mono_ns() + 500 * NS_PER_MS;
	for (size_t i = 0; i < 2; i++)
		forward_begin_stop(fx->sides[i].forward, deadline);
	forwarding_put(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, 2, 2, 100);
	/* The first keeps us waiting. */
	for (size_t i = 0; i < 2; i++)
		forward_stop(fx->sides[i].forward, deadline);
	ck_assert_int_ge(now_mono_ns(), deadline);
	ck_assert_uint_eq(http_sink_count(fx->sides[1].sink), 1);
	ck_assert_int_eq(facts_int(fx->path, "SELECT count(*) FROM deliveries"), 3);
	forwarding_free(fx);
}
END_TEST

START_TEST(stopping_does_not_wait_where_nothing_is_left_to_do)
{
	struct forwarding *fx = forwarding_new_one("timeout: 1h");
	forwarding_start(fx);
	int64_t deadline = now_mono_ns() + patience_ns();
	forwarding_stop(fx, patience_ns());
	ck_assert_int_lt(now_mono_ns(), deadline);
	forwarding_free(fx);
}
END_TEST

static void *stop_in_thread(void *arg)
{
	forwarding_stop(arg, patience_ns());
	return NULL;
}

/* Answers once the test has called forward_stop. */
static bool answer_late(void *ctx, const struct sink_request *r, struct sink_answer *ret)
{
	(void)r;
	while (!atomic_load((atomic_bool *)ctx))
		(void)poll(NULL, 0, 1);
	*ret = (struct sink_answer){ .status = 200 };
	return true;
}

START_TEST(stopping_waits_for_an_answer_that_comes_in_time_and_settles_it)
{
	struct forwarding *fx = forwarding_new_one("timeout: 1h");
	struct side *s = &fx->sides[0];
	atomic_bool may_answer = false;
	pthread_t stopper;
	http_sink_judge(s->sink, answer_late, &may_answer);
	forwarding_start(fx);
	forwarding_put(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, 1, 1, 100);
	forwarding_wait(fx, "SELECT count(*) FROM deliveries", 1);
	ck_assert_int_eq(pthread_create(&stopper, NULL, stop_in_thread, fx), 0);
	atomic_store(&may_answer, true);
	ck_assert_int_eq(pthread_join(stopper, NULL), 0);
	/* Either it had not been sent yet, or it was answered, and then it is settled. */
	int64_t sent = (int64_t)http_sink_count(s->sink);
	ck_assert_int_eq(forwarding_total(fx, "delivered"), sent * 10);
	ck_assert_int_eq(facts_int(fx->path, "SELECT count(*) FROM deliveries"), 1 - sent);
	forwarding_free(fx);
}
END_TEST

START_TEST(spans_are_pipelined_and_logs_wait_for_their_turn)
{
	struct forwarding *fx = forwarding_new_one("max_export_size: 64KiB, timeout: 1h, " FAST);
	struct side *s = &fx->sides[0];
	http_sink_script(s->sink, (struct sink_answer){ .act = SINK_HANG }, 4);
	forwarding_put(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, 1, 6, 60000);
	forwarding_start(fx);
	http_sink_wait(s->sink, 4);
	/* Each of the four has its own; the fifth waits. */
	unsigned seen = 0;
	for (size_t i = 0; i < 4; i++) {
		char ids[64];
		seen |= 1u << atoi(forwarding_ids(http_sink_request(s->sink, i), ids, sizeof(ids)));
	}
	ck_assert_uint_eq(seen, 0x1e);
	seen = 0;
	/* All four fail. The first is sent again alone; once it is taken, the others go together,
	 * and the backend's threads note them as they come. */
	http_sink_release(s->sink);
	forwarding_wait_drained(fx);
	size_t last = http_sink_count(s->sink) - 6;
	EXPECT_IDS(s, last, "1");
	for (size_t i = last; i < last + 6; i++) {
		char ids[64];
		seen |= 1u << atoi(forwarding_ids(http_sink_request(s->sink, i), ids, sizeof(ids)));
	}
	ck_assert_uint_eq(seen, 0x7e);
	ck_assert_int_eq(forwarding_total(fx, "delivered"), 60);
	/* Of logs the next one waits for the answer to the one before. */
	size_t before = http_sink_count(s->sink);
	http_sink_script(s->sink, (struct sink_answer){ .act = SINK_HANG }, 1);
	forwarding_put(fx, SIGNAL_LOGS, RECORD_CLASS_INFO, 11, 13, 60000);
	http_sink_wait(s->sink, before + 1);
	forwarding_put(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, 14, 14, 100);
	http_sink_wait(s->sink, before + 2);
	EXPECT_IDS(s, before, "11");
	EXPECT_IDS(s, before + 1, "14");
	http_sink_release(s->sink);
	forwarding_wait_drained(fx);
	forwarding_free(fx);
}
END_TEST

START_TEST(a_dead_destination_does_not_slow_another)
{
	static const char *const options[] = { "timeout: 1h, max_in_flight: 1", "timeout: 1h" };
	struct forwarding *fx = forwarding_new(options, 2);
	http_sink_script(fx->sides[0].sink, (struct sink_answer){ .act = SINK_HANG }, 1);
	forwarding_start(fx);
	forwarding_put(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, 1, 20, 100);
	forwarding_wait(
		fx,
		"SELECT count(*) FROM deliveries q JOIN destinations d ON d.id = q.destination_id "
		"WHERE d.name = 'd1'",
		0);
	http_sink_wait(fx->sides[0].sink, 1);
	ck_assert_int_eq(facts_int(fx->path, "SELECT count(*) FROM deliveries"), 20);
	ck_assert_uint_eq(http_sink_count(fx->sides[0].sink), 1);
	forwarding_stop(fx, 0);
	forwarding_free(fx);
}
END_TEST

START_TEST(a_signal_that_fails_alone_does_not_hold_up_the_others)
{
	struct forwarding *fx = forwarding_new_one(FAST);
	struct side *s = &fx->sides[0];
	struct refusal x = { "<id=00000001>", 500, bytes_str("") };
	http_sink_judge(s->sink, refuse, &x);
	forwarding_start(fx);
	forwarding_put(fx, SIGNAL_LOGS, RECORD_CLASS_CRITICAL, 1, 2, 100);
	/* Its first failure after the last success of the others would rightly leave it down. */
	forwarding_wait_state(fx, "backing_off");
	forwarding_put(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, 3, 12, 100);
	forwarding_put(fx, SIGNAL_LOGS, RECORD_CLASS_INFO, 13, 14, 100);
	forwarding_wait(fx, "SELECT count(*) FROM deliveries", 2);
	static struct facts facts;
	ck_assert(facts_read(fx->path, &facts));
	ck_assert_int_eq(facts.ready[s->id][1], 1);
	ck_assert_int_eq(facts.ready[s->id][2], 1);
	forwarding_wait_state(fx, "up");
	forwarding_stop(fx, 0);
	forwarding_free(fx);
}
END_TEST

static bool too_large(void *ctx, const struct sink_request *r, struct sink_answer *ret)
{
	*ret = (struct sink_answer){ .status = 413 };
	return r->body.n > *(const size_t *)ctx;
}

START_TEST(too_large_an_export_is_sent_in_smaller_ones)
{
	struct forwarding *fx = forwarding_new_one("compression: none");
	struct side *s = &fx->sides[0];
	size_t limit = 150000;
	http_sink_judge(s->sink, too_large, &limit);
	forwarding_put(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, 1, 8, 60000);
	forwarding_put(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, 9, 9, 200000);
	forwarding_put(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, 10, 10, 1000);
	forwarding_start(fx);
	forwarding_wait_drained(fx);
	static struct facts facts;
	ck_assert(facts_read(fx->path, &facts));
	for (int id = 1; id <= 10; id++)
		ck_assert_int_eq(facts.dead[s->id][id], id == 9);
	ck_assert_int_eq(forwarding_total(fx, "delivered"), 90);
	forwarding_free(fx);
}
END_TEST

static bool refuse_zstd(void *ctx, const struct sink_request *r, struct sink_answer *ret)
{
	*ret = (struct sink_answer){ .status = *(int *)ctx };
	return strcmp(r->encoding, "zstd") == 0;
}

START_TEST(a_backend_without_zstd_gets_gzip)
{
	static const int statuses[] = { 415, 400 };
	for (size_t i = 0; i < 2; i++) {
		struct forwarding *fx = forwarding_new_one("compression: zstd, " FAST);
		struct side *s = &fx->sides[0];
		int status = statuses[i];
		http_sink_judge(s->sink, refuse_zstd, &status);
		forwarding_put(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, 1, 3, 5000);
		forwarding_start(fx);
		forwarding_wait_drained(fx);
		forwarding_put(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, 4, 4, 100);
		forwarding_wait_drained(fx);
		ck_assert_uint_eq(http_sink_count(s->sink), 3);
		ck_assert_str_eq(http_sink_request(s->sink, 0)->encoding, "zstd");
		ck_assert_str_eq(http_sink_request(s->sink, 1)->encoding, "gzip");
		ck_assert_str_eq(http_sink_request(s->sink, 2)->encoding, "gzip");
		EXPECT_IDS(s, 0, "1 2 3");
		EXPECT_IDS(s, 1, "1 2 3");
		ck_assert_int_eq(forwarding_total(fx, "delivered"), 40);
		forwarding_free(fx);
	}
}
END_TEST

START_TEST(every_compression_carries_the_same_bytes)
{
	static const char *const options[] = { "compression: none", "compression: gzip",
					       "compression: zstd" };
	static const char *const encodings[] = { "", "gzip", "zstd" };
	struct bytes first = { 0 };
	struct forwarding *all[3];
	for (size_t i = 0; i < 3; i++) {
		struct forwarding *fx = all[i] = forwarding_new_one(options[i]);
		forwarding_put(fx, SIGNAL_METRICS, RECORD_CLASS_INFO, 1, 5, 12000);
		forwarding_start(fx);
		forwarding_wait_drained(fx);
		const struct sink_request *r = http_sink_request(fx->sides[0].sink, 0);
		ck_assert_str_eq(r->encoding, encodings[i]);
		ck_assert_uint_eq(r->body.n, 60000);
		if (i == 0)
			first = r->body;
		ck_assert(bytes_equal(first, r->body));
	}
	for (size_t i = 0; i < 3; i++)
		forwarding_free(all[i]);
}
END_TEST

START_TEST(a_damaged_payload_becomes_a_dead_letter_and_holds_nothing_up)
{
	struct forwarding *fx = forwarding_new_one("compression: zstd");
	struct side *s = &fx->sides[0];
	forwarding_put(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, 1, 3, 500);
	client_execute(fx->path,
		       "UPDATE payloads SET body = zeroblob(length(body)) WHERE batch_id = "
		       "(SELECT max(batch_id) - 1 FROM payloads)");
	forwarding_start(fx);
	forwarding_wait_drained(fx);
	EXPECT_IDS(s, 0, "1 3");
	ck_assert_int_eq(facts_int(fx->path, "SELECT count(*) FROM dead_letters"), 1);
	ck_assert_int_eq(facts_int(fx->path, "SELECT count(*) FROM dead_letters WHERE "
					     "length(last_error) > 10 AND last_status IS NULL"),
			 1);
	forwarding_stop(fx, NS_PER_S);
	writer_stop(fx->writer);
	fx->writer = NULL;
	client_execute(fx->path,
		       "DELETE FROM deliveries; DELETE FROM batches; DELETE FROM payloads; "
		       "DELETE FROM totals");
	forwarding_free(fx);
}
END_TEST

START_TEST(what_is_ready_again_is_found_though_newer_was_sent)
{
	struct forwarding *fx = forwarding_new_one(FAST);
	struct side *s = &fx->sides[0];
	struct refusal x = { "<id=00000001>", 400, bytes_str("") };
	http_sink_judge(s->sink, refuse, &x);
	forwarding_start(fx);
	forwarding_put(fx, SIGNAL_LOGS, RECORD_CLASS_INFO, 1, 1, 100);
	forwarding_wait(fx, "SELECT count(*) FROM dead_letters", 1);
	forwarding_put(fx, SIGNAL_LOGS, RECORD_CLASS_INFO, 2, 2, 100);
	forwarding_wait_drained(fx);
	http_sink_judge(s->sink, NULL, NULL);
	client_execute(fx->path, "UPDATE deliveries SET state = 'ready'");
	forwarding_put(fx, SIGNAL_LOGS, RECORD_CLASS_INFO, 3, 3, 100); /* its commit rings */
	forwarding_wait(fx, "SELECT count(*) FROM deliveries", 0);
	ck_assert_int_eq(forwarding_total(fx, "delivered"), 30);
	forwarding_free(fx);
}
END_TEST

START_TEST(a_page_of_html_is_no_delivery)
{
	struct forwarding *fx = forwarding_new_one(FAST);
	struct side *s = &fx->sides[0];
	http_sink_script(s->sink,
			 (struct sink_answer){ .content_type = "text/html; charset=utf-8",
					       .body = bytes_str("<html>Accept our terms") },
			 2);
	forwarding_start(fx);
	forwarding_put(fx, SIGNAL_TRACES, RECORD_CLASS_INFO, 1, 1, 100);
	http_sink_wait(s->sink, 3);
	forwarding_wait_drained(fx);
	ck_assert_uint_eq(http_sink_count(s->sink), 3);
	forwarding_free(fx);
}
END_TEST

START_TEST(what_is_rejected_within_a_split_batch_keeps_its_reason)
{
	struct forwarding *fx = forwarding_new_one(FAST);
	/* ExportLogsServiceResponse: partial_success { rejected_log_records: 1, "old" } */
	static const uint8_t partial[] = { 0x0a, 7, 0x08, 1, 0x12, 3, 'o', 'l', 'd' };
	/* Two log records. */
	static const uint8_t request[] = { 0x0a, 10, 0x12, 8, 0x12, 2, 0x10, 9, 0x12, 2, 0x10, 10 };
	http_sink_script(fx->sides[0].sink, (struct sink_answer){ .status = 400 }, 1);
	http_sink_script(fx->sides[0].sink,
			 (struct sink_answer){ .body = bytes_of(partial, sizeof(partial)) }, 1);
	forwarding_start(fx);
	EXPECT_OK(test_put_run(fx->writer, SIGNAL_LOGS, RECORD_CLASS_INFO, 2, 1,
			       bytes_of(request, sizeof(request))));
	forwarding_wait_drained(fx);
	ck_assert_int_eq(forwarding_total(fx, "delivered"), 1);
	ck_assert_int_eq(
		facts_int(fx->path, "SELECT records FROM losses WHERE detail LIKE '%old%'"), 1);
	forwarding_free(fx);
}
END_TEST

START_TEST(a_pause_is_stored_though_the_queue_could_not_take_it_at_first)
{
	struct forwarding *fx = forwarding_new_one(FAST);
	struct series *paused = metric_series(M_DESTINATION_STATE, "d0", "paused");
	forwarding_start(fx);
	forwarding_wait_state(fx, "up");
	queue_file_exec(fx->path, "ALTER TABLE destinations RENAME reason TO lost");
	forward_order(fx->sides[0].forward, FORWARD_PAUSE, "maintenance");
	AWAIT(series_value(paused) >= 1);
	/* Behind the update, which it sees fail. */
	forwarding_put(fx, SIGNAL_LOGS, RECORD_CLASS_INFO, 1, 3, 100);
	queue_file_exec(fx->path, "ALTER TABLE destinations RENAME lost TO reason");
	forwarding_wait_state(fx, "paused");
	ck_assert_uint_eq(http_sink_count(fx->sides[0].sink), 0);
	forwarding_free(fx);
}
END_TEST

START_TEST(a_wrong_configuration_names_its_key)
{
	static const struct {
		const char *yaml;
		const char *want;
	} cases[] = {
		{ "endpoint: 'not a url'", "endpoint" },
		{ "endpoint: 'ftp://x'", "endpoint" },
		{ "timeout: 1s", "endpoint" },
		{ "logs_endpoint: 'http://'", "logs_endpoint" },
		{ "endpoint: 'http://x', headers: {'a b': c}", "header" },
		{ "endpoint: 'http://x', headers: {Content-Type: text/plain}", "Content-Type" },
		{ "endpoint: 'http://x', headers: {a: \"b\\r\\nHost: evil\"}", "header" },
		{ "endpoint: 'https://x', tls: {ca_file: /nowhere}", "tls.ca_file" },
		{ "endpoint: 'https://x', tls: {cert_file: /dev/null}", "tls.key_file" },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char yaml[400];
		struct config *config = NULL;
		struct forward *forward = NULL;
		struct err e = { 0 };
		(void)snprintf(yaml, sizeof(yaml), "destinations: {d0: {kind: otlp_http, %s}}",
			       cases[i].yaml);
		enum status st = config_parse("test", bytes_str(yaml), &config, &e);
		if (!st) {
			struct forward_options o = { .config = &config->destinations[0] };
			st = forward_new(&o, &forward, &e);
		}
		EXPECT_STATUS(st, ST_INVALID);
		ck_assert_msg(strstr(e.text, cases[i].want), "%s: %s", cases[i].yaml, e.text);
		config_free(config);
	}
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		what_is_queued_is_delivered_and_leaves_the_queue,
		a_failed_export_is_sent_again_with_its_members_before_what_follows,
		retry_after_is_waited_for,
		only_the_batch_that_is_refused_becomes_a_dead_letter,
		missing_credentials_park_the_destination_and_keep_the_data,
		a_partial_success_is_recorded_and_not_sent_again,
		a_returned_uplink_is_used_within_two_seconds_whatever_the_back_off,
		an_uplink_that_swallows_packets_is_used_within_two_seconds_of_its_return,
		an_export_without_an_answer_times_out_and_is_sent_again,
		stopping_keeps_what_has_no_answer,
		once_the_stop_has_begun_nothing_new_is_sent,
		stopping_does_not_wait_where_nothing_is_left_to_do,
		stopping_waits_for_an_answer_that_comes_in_time_and_settles_it,
		spans_are_pipelined_and_logs_wait_for_their_turn,
		a_dead_destination_does_not_slow_another,
		a_signal_that_fails_alone_does_not_hold_up_the_others,
		too_large_an_export_is_sent_in_smaller_ones,
		a_backend_without_zstd_gets_gzip,
		every_compression_carries_the_same_bytes,
		a_damaged_payload_becomes_a_dead_letter_and_holds_nothing_up,
		what_is_ready_again_is_found_though_newer_was_sent,
		a_page_of_html_is_no_delivery,
		what_is_rejected_within_a_split_batch_keeps_its_reason,
		a_pause_is_stored_though_the_queue_could_not_take_it_at_first,
		a_wrong_configuration_names_its_key,
	};
	return run_cases("forward", cases, sizeof(cases) / sizeof(cases[0]));
}
