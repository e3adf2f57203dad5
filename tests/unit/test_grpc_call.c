/* What a gRPC call promises: success after the commit only, and for everything else the status that
 * makes a client do the right thing. */
#include "tests/support/grpc_pair_requests.h"

START_TEST(success_comes_after_the_commit_only)
{
	int32_t id = export_small();
	pump();
	ck_assert_uint_eq(t.ingest.given_count, 1);
	ck_assert_str_eq(seen(id)->http_status, "");
	fake_complete(&t.ingest, ST_OK);
	pump();
	expect_status(id, "200", "0");
	ck_assert_uint_eq(seen(id)->body_n, 5);
	ck_assert_int_eq(memcmp(seen(id)->body, "\0\0\0\0\0", 5), 0);
	ck_assert_uint_eq(seen(id)->error_code, 0);
}
END_TEST

START_TEST(a_failed_commit_is_unavailable_with_retry_info)
{
	int32_t id = export_small();
	pump();
	fake_complete(&t.ingest, ST_IO);
	pump();
	expect_status(id, "200", "14");
	ck_assert(seen(id)->has_details);
	ck_assert_uint_eq(seen(id)->body_n, 0);
}
END_TEST

START_TEST(a_message_may_be_cut_into_frames_anywhere)
{
	for (size_t chunk = 1; chunk <= sizeof(small_message); chunk++) {
		struct h2_upload up = small;
		up.chunk = chunk;
		int32_t id = request(EXPORT, up, NULL, NULL);
		pump();
		ck_assert_uint_eq(t.ingest.prepared_bytes, 3);
		fake_complete(&t.ingest, ST_OK);
		pump();
		expect_status(id, "200", "0");
	}
}
END_TEST

/* Requests that are answered without the writer. */
static const struct {
	const char *promise;
	const char *path;
	uint8_t body[16];
	size_t n;
	const char *extra;
	const char *value;
	const char *http;
	const char *grpc;
} refusals[] = {
	{ "two messages",
	  EXPORT,
	  { 0, 0, 0, 0, 1, 7, 0, 0, 0, 0, 0 },
	  11,
	  NULL,
	  NULL,
	  "200",
	  "13" },
	{ "no message", EXPORT, { 0 }, 0, NULL, NULL, "200", "13" },
	{ "a cut prefix", EXPORT, { 0, 0 }, 2, NULL, NULL, "200", "13" },
	{ "a cut message", EXPORT, { 0, 0, 0, 0, 4, 1 }, 6, NULL, NULL, "200", "13" },
	{ "a bad flag", EXPORT, { 9, 0, 0, 0, 0 }, 5, NULL, NULL, "200", "13" },
	{ "compressed, with what", EXPORT, { 1, 0, 0, 0, 1, 7 }, 6, NULL, NULL, "200", "13" },
	{ "compressed identity",
	  EXPORT,
	  { 1, 0, 0, 0, 1, 7 },
	  6,
	  "grpc-encoding",
	  "identity",
	  "200",
	  "13" },
	{ "damaged gzip", EXPORT, { 1, 0, 0, 0, 1, 7 }, 6, "grpc-encoding", "gzip", "200", "3" },
	{ "too large", EXPORT, { 0, 0, 0x10, 0, 1 }, 5, NULL, NULL, "200", "8" },
	{ "too large by far", EXPORT, { 0, 255, 255, 255, 255 }, 5, NULL, NULL, "200", "8" },
	{ "unknown encoding", EXPORT, { 0 }, 0, "grpc-encoding", "snappy", "200", "12" },
	{ "unknown method", "/a.B/C", { 0 }, 0, NULL, NULL, "200", "12" },
	{ "no watching", "/grpc.health.v1.Health/Watch", { 0 }, 0, NULL, NULL, "200", "12" },
	{ "bad timeout", EXPORT, { 0 }, 0, "grpc-timeout", "soon", "200", "13" },
	{ "not POST", EXPORT, { 0 }, 0, ":method", "PUT", "405", "13" },
	{ "not gRPC", EXPORT, { 0 }, 0, "content-type", "application/json", "415", "13" },
	{ "not protobuf", EXPORT, { 0 }, 0, "content-type", "application/grpc+json", "415", "13" },
	{ "almost gRPC", EXPORT, { 0 }, 0, "content-type", "application/grpcx", "415", "13" },
	{ "unknown service", HEALTH, { 0, 0, 0, 0, 3, 0x0a, 1, 'x' }, 8, NULL, NULL, "200", "5" },
	{ "damaged health request", HEALTH, { 0, 0, 0, 0, 1, 0x0a }, 6, NULL, NULL, "200", "3" },
};

START_TEST(bad_requests_get_their_status)
{
	int32_t id = request(refusals[_i].path,
			     (struct h2_upload){ .p = refusals[_i].body, .n = refusals[_i].n },
			     refusals[_i].extra, refusals[_i].value);
	pump();
	expect_status(id, refusals[_i].http, refusals[_i].grpc);
	ck_assert_msg(seen(id)->message[0], "%s: no grpc-message", refusals[_i].promise);
	ck_assert_msg(!seen(id)->has_details, "%s: RetryInfo", refusals[_i].promise);
	ck_assert_uint_eq(t.ingest.given_count, 0);
	/* The connection is as good as before. */
	int32_t next = export_small();
	pump();
	fake_complete(&t.ingest, ST_OK);
	pump();
	expect_status(next, "200", "0");
}
END_TEST

START_TEST(an_unknown_encoding_is_told_which_are_known)
{
	int32_t id = request(EXPORT, small, "grpc-encoding", "br");
	pump();
	ck_assert_str_eq(seen(id)->accept_encoding, "identity,gzip,zstd");
}
END_TEST

START_TEST(what_claims_to_be_too_large_is_refused_before_its_bytes)
{
	static const uint8_t prefix[] = { 0, 4, 0, 0, 1 };
	int32_t id = request(EXPORT, (struct h2_upload){ .p = prefix, .n = 5, .is_open = true },
			     NULL, NULL);
	pump();
	expect_status(id, "200", "8");
	ck_assert_uint_eq(budget_used(&t.ingest.budget), 0);
	ck_assert_uint_eq(seen(id)->error_code, NGHTTP2_NO_ERROR);
}
END_TEST

START_TEST(a_claimed_length_reserves_little)
{
	static const uint8_t prefix[] = { 0, 0, 0x10, 0, 0 };
	(void)request(EXPORT, (struct h2_upload){ .p = prefix, .n = 5, .is_open = true }, NULL,
		      NULL);
	pump();
	ck_assert_uint_le(budget_used(&t.ingest.budget), 64 * 1024);
}
END_TEST

START_TEST(load_is_refused_at_the_headers_with_retry_info)
{
	static const enum status states[] = { ST_FULL, ST_BUSY, ST_UNAVAILABLE, ST_STOPPING };
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
		t.ingest.admit = states[i];
		int32_t id = request(EXPORT, (struct h2_upload){ .is_open = true }, NULL, NULL);
		pump();
		expect_status(id, "200", "14");
		ck_assert(seen(id)->has_details);
	}
}
END_TEST

START_TEST(health_tells_whether_the_queue_takes_data)
{
	static const uint8_t check[] = { 0, 0, 0, 0, 0 };
	static const struct h2_upload up = { .p = check, .n = 5 };
	for (int i = 0; i < 3; i++) {
		t.ingest.admit = i == 1 ? ST_FULL : ST_OK;
		t.server.is_stopping = i == 2;
		int32_t id = request(HEALTH, up, NULL, NULL);
		pump();
		expect_status(id, "200", "0");
		ck_assert_uint_eq(seen(id)->body_n, 7);
		ck_assert_int_eq(seen(id)->body[6], i == 0 ? 1 : 2);
	}
}
END_TEST

START_TEST(a_deadline_is_kept_and_the_late_commit_is_dropped)
{
	int32_t id = request(EXPORT, small, "grpc-timeout", "200m");
	pump();
	tick(150 * NS_PER_MS);
	ck_assert(!seen(id)->is_closed);
	ck_assert(!atomic_load(&t.ingest.given[0]->is_unwanted));
	tick(100 * NS_PER_MS);
	expect_status(id, "200", "4");
	ck_assert_uint_eq(t.server.with_writer, 1);
	ck_assert(atomic_load(&t.ingest.given[0]->is_unwanted));
	fake_complete(&t.ingest, ST_OK);
	pump();
	ck_assert_uint_eq(t.server.with_writer, 0);
	expect_status(id, "200", "4");
}
END_TEST

START_TEST(a_large_request_is_prepared_elsewhere)
{
	t.ingest.is_heavy = true;
	t.ingest.prepare = ST_INVALID; /* would be told at once if it were prepared here */
	int32_t bad = request(EXPORT, small, NULL, NULL);
	int32_t good = request(EXPORT, small, NULL, NULL);
	pump();
	ck_assert(!seen(bad)->is_closed);
	ck_assert_uint_eq(t.server.with_writer, 2);
	fake_complete(&t.ingest, ST_INVALID);
	fake_complete(&t.ingest, ST_OK);
	pump();
	expect_status(bad, "200", "3");
	expect_status(good, "200", "0");
}
END_TEST

START_TEST(a_large_header_list_is_refused)
{
	static char big[20000];
	memset(big, 'a', sizeof(big) - 1);
	int32_t id = request(EXPORT, small, "x-big", big);
	pump();
	expect_status(id, "200", "8");
	ck_assert(!t.is_over);
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		success_comes_after_the_commit_only,
		a_failed_commit_is_unavailable_with_retry_info,
		a_message_may_be_cut_into_frames_anywhere,
		an_unknown_encoding_is_told_which_are_known,
		what_claims_to_be_too_large_is_refused_before_its_bytes,
		a_claimed_length_reserves_little,
		load_is_refused_at_the_headers_with_retry_info,
		health_tells_whether_the_queue_takes_data,
		a_deadline_is_kept_and_the_late_commit_is_dropped,
		a_large_request_is_prepared_elsewhere,
		a_large_header_list_is_refused,
	};
	TCase *tc = tcase_create("grpc_call");
	tcase_add_checked_fixture(tc, setup, teardown);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		tcase_add_test(tc, cases[i]);
	tcase_add_loop_test(tc, bad_requests_get_their_status, 0,
			    sizeof(refusals) / sizeof(refusals[0]));
	return run_tcase("grpc_call", tc);
}
