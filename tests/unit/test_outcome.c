/* What each answer of a backend means for the data: every row of the tables, and their edges. */
#include "gateway/forward/outcome.h"
#include "tests/support/expect.h"

START_TEST(every_status_has_its_verdict)
{
	static const struct {
		int status;
		enum verdict want;
		const char *why;
	} cases[] = {
		{ 0, VERDICT_RETRY, "no answer" },
		{ 100, VERDICT_RETRY, "no final answer" },
		{ 199, VERDICT_RETRY, "no final answer" },
		{ 200, VERDICT_DELIVERED, "OTLP success" },
		{ 202, VERDICT_DELIVERED, "accepted" },
		{ 204, VERDICT_DELIVERED, "Loki's success" },
		{ 259, VERDICT_DELIVERED, "just below Loki's own" },
		{ 260, VERDICT_RETRY, "Loki: ingestion is blocked, nothing was taken" },
		{ 261, VERDICT_DELIVERED, "just above Loki's own" },
		{ 299, VERDICT_DELIVERED, "the last of 2xx" },
		{ 300, VERDICT_RETRY, "redirects say nothing of the data" },
		{ 302, VERDICT_RETRY, "a captive portal" },
		{ 308, VERDICT_RETRY, "redirects are not followed" },
		{ 400, VERDICT_REFUSED, "bad data" },
		{ 401, VERDICT_UNAUTHORIZED, "an expired token" },
		{ 402, VERDICT_REFUSED, "other 4xx" },
		{ 403, VERDICT_UNAUTHORIZED, "an expired token" },
		{ 404, VERDICT_REFUSED, "other 4xx" },
		{ 407, VERDICT_UNAUTHORIZED, "a proxy's credentials" },
		{ 408, VERDICT_RETRY, "it did not come whole" },
		{ 409, VERDICT_REFUSED, "other 4xx" },
		{ 413, VERDICT_TOO_LARGE, "send smaller" },
		{ 415, VERDICT_REFUSED, "otlp_http tries another encoding first" },
		{ 422, VERDICT_REFUSED, "other 4xx" },
		{ 425, VERDICT_RETRY, "too early" },
		{ 429, VERDICT_RETRY, "OTLP: retryable" },
		{ 499, VERDICT_REFUSED, "the last of 4xx" },
		{ 500, VERDICT_RETRY, "a bad day" },
		{ 501, VERDICT_RETRY, "a bad day" },
		{ 502, VERDICT_RETRY, "OTLP: retryable" },
		{ 503, VERDICT_RETRY, "OTLP: retryable" },
		{ 504, VERDICT_RETRY, "OTLP: retryable" },
		{ 505, VERDICT_RETRY, "a bad day" },
		{ 599, VERDICT_RETRY, "a bad day" },
		{ 600, VERDICT_RETRY, "no HTTP status" },
		{ -1, VERDICT_RETRY, "no HTTP status" },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		enum verdict got = outcome_of_http(cases[i].status);
		ck_assert_msg(got == cases[i].want, "%d is %s, expected %s: %s", cases[i].status,
			      outcome_verdict_text(got), outcome_verdict_text(cases[i].want),
			      cases[i].why);
	}
}
END_TEST

START_TEST(words_tell_what_a_status_does_not)
{
	static const struct {
		int status;
		const char *message;
		enum verdict want;
	} cases[] = {
		{ 400, "http: request body too large", VERDICT_TOO_LARGE },
		{ 400, "structured metadata too large", VERDICT_REFUSED },
		{ 400, "", VERDICT_REFUSED },
		{ 503, "http: request body too large", VERDICT_RETRY },
		{ 429,
		  "RATE_LIMITED: batch size (9 bytes) exceeds ingestion limit (burst: 8 bytes)",
		  VERDICT_TOO_LARGE },
		{ 429, "RATE_LIMITED: ingestion rate limit (burst: 8 bytes) exceeded",
		  VERDICT_RETRY },
		{ 503, "no org id", VERDICT_UNAUTHORIZED },
		{ 500, "no org id", VERDICT_RETRY },
		{ 413, "", VERDICT_TOO_LARGE },
		{ 0, "", VERDICT_RETRY },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		ck_assert_msg(outcome_of_http_words(cases[i].status, cases[i].message) ==
				      cases[i].want,
			      "%d \"%s\"", cases[i].status, cases[i].message);
}
END_TEST

START_TEST(every_grpc_code_has_its_verdict)
{
	static const struct {
		int code;
		bool has_retry_info;
		const char *message;
		enum verdict want;
		const char *why;
	} cases[] = {
		{ 0, false, "", VERDICT_DELIVERED, "OK" },
		{ 1, false, "", VERDICT_RETRY, "OTLP: retryable" },
		{ 2, false, "", VERDICT_RETRY, "a bad day" },
		{ 3, false, "too large", VERDICT_REFUSED, "bad data, whatever it says" },
		{ 4, false, "", VERDICT_RETRY, "OTLP: retryable" },
		{ 5, false, "", VERDICT_REFUSED, "OTLP: not retryable" },
		{ 6, false, "", VERDICT_REFUSED, "OTLP: not retryable" },
		{ 7, false, "", VERDICT_UNAUTHORIZED, "an expired token" },
		{ 8, true, "slow down", VERDICT_RETRY, "OTLP: retryable with RetryInfo" },
		{ 8, true, "grpc: received message larger than max (5 vs. 4)", VERDICT_RETRY,
		  "it says when to come again" },
		{ 8, false, "grpc: received message larger than max (5 vs. 4)", VERDICT_TOO_LARGE,
		  "grpc-go" },
		{ 8, false, "Received message larger than max (5 vs. 4)", VERDICT_TOO_LARGE,
		  "grpc-core" },
		{ 8, false, "gRPC message exceeds maximum size 4: 5", VERDICT_TOO_LARGE,
		  "grpc-java" },
		{ 8, false, "Received message exceeds the maximum configured message size.",
		  VERDICT_TOO_LARGE, ".NET" },
		{ 8, false, "larger than the limit", VERDICT_TOO_LARGE, "tidegate" },
		{ 8, false, "RATE_LIMITED: ingestion rate limit (15000000 bytes) exceeded",
		  VERDICT_RETRY, "Tempo: it passes" },
		{ 8, false,
		  "RATE_LIMITED: batch size (9 bytes) exceeds ingestion limit (burst: 8 bytes)",
		  VERDICT_TOO_LARGE, "Tempo: it never passes" },
		{ 8, true,
		  "RATE_LIMITED: batch size (9 bytes) exceeds ingestion limit (burst: 8 bytes)",
		  VERDICT_TOO_LARGE, "Tempo: whatever it says of coming again" },
		{ 8, false, "", VERDICT_RETRY, "it may pass" },
		{ 9, false, "", VERDICT_REFUSED, "OTLP: not retryable" },
		{ 10, false, "", VERDICT_RETRY, "OTLP: retryable" },
		{ 11, false, "", VERDICT_RETRY, "OTLP: retryable" },
		{ 11, false, "Error, decoded message length too large: found 5 bytes",
		  VERDICT_TOO_LARGE, "tonic" },
		{ 12, false, "", VERDICT_REFUSED, "OTLP: not retryable" },
		{ 13, false, "", VERDICT_RETRY, "a bad day" },
		{ 14, false, "too large", VERDICT_RETRY, "OTLP: retryable" },
		{ 14, false, "no org id", VERDICT_UNAUTHORIZED, "Tempo without its tenant" },
		{ 15, false, "", VERDICT_RETRY, "OTLP: retryable" },
		{ 16, false, "", VERDICT_UNAUTHORIZED, "an expired token" },
		{ 17, false, "", VERDICT_RETRY, "no code: UNKNOWN" },
		{ 999, false, "", VERDICT_RETRY, "no code: UNKNOWN" },
		{ -1, false, "", VERDICT_RETRY, "no code" },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		enum verdict got =
			outcome_of_grpc(cases[i].code, cases[i].has_retry_info, cases[i].message);
		ck_assert_msg(got == cases[i].want, "%d \"%s\" is %s, expected %s: %s",
			      cases[i].code, cases[i].message, outcome_verdict_text(got),
			      outcome_verdict_text(cases[i].want), cases[i].why);
	}
}
END_TEST

START_TEST(every_verdict_has_a_word_of_its_own)
{
	for (int a = 0; a < VERDICT_COUNT; a++) {
		ck_assert_ptr_nonnull(outcome_verdict_text((enum verdict)a));
		for (int b = 0; b < a; b++)
			ck_assert_str_ne(outcome_verdict_text((enum verdict)a),
					 outcome_verdict_text((enum verdict)b));
	}
}
END_TEST

int main(void)
{
	const TTest *const cases[] = { every_status_has_its_verdict,
				       words_tell_what_a_status_does_not,
				       every_grpc_code_has_its_verdict,
				       every_verdict_has_a_word_of_its_own };
	return run_cases("outcome", cases, sizeof(cases) / sizeof(cases[0]));
}
