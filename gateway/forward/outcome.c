/* outcome.c - HTTP status and gRPC code to verdict, as a table each.
 *
 * Where OTLP (specification 1.x, "OTLP/HTTP Response") and the promise agree, OTLP decides: 429,
 * 502, 503 and 504 are retried, other 4xx are refusals. It differs where OTLP speaks for SDKs,
 * which have no disk and must drop sooner or later:
 *
 *  - No answer at all, 408 and 425: again. The request may never have arrived whole.
 *  - 401, 403, 407: on an edge box this means an expired token or a proxy, not bad data.
 *    The data waits.
 *  - 500 and every other 5xx: again. OTLP calls them permanent, but a backend that has a bad day
 * answers 500 to everything, and turning a backlog into dead letters because of it is loss in slow
 * motion. The price: a batch that makes one backend answer 500 for ever holds up its own signal and
 * class until age, quota or a person lets it go. Others go on (forward.c backs off by lane).
 *  - 3xx: again. Redirects are not followed (a credential would go to a stranger), and a captive
 * portal redirects everything: it is no statement about the data.
 *  - 1xx as a final answer, or a number that is no HTTP status: a broken middle box. Again.
 *  - 260: Loki's word, at its push API and at its OTLP endpoint, for a tenant whose ingestion is
 *    blocked. It is in the range of successes so that clients drop what was not taken. Again.
 *
 * 404 and its like are refusals, but for an address at which nothing was ever taken: then it is the
 * address that is wrong, and answer.c keeps the data.
 *
 * 413 and 415 are first about the form of the export: it is sent smaller, or encoded otherwise,
 * before anything dies. Some say 413 in words only, under a status that would lose the data or hold
 * it up for ever: the Collector answers 400 to a body over its limit, and Tempo 429 (gRPC
 * RESOURCE_EXHAUSTED) to a batch over its burst, whenever it comes. And Tempo says 503
 * (UNAVAILABLE) to a request without its tenant, for which Loki and Mimir have 401.
 *
 * gRPC (OTLP, "OTLP/gRPC Response"; docs/decisions/0008) differs from OTLP for the same reasons:
 *
 *  - UNKNOWN and INTERNAL: again. They are gRPC's 500: what a server answers when its handler threw
 *    something.
 *  - UNAUTHENTICATED and PERMISSION_DENIED: the data waits for a credential.
 *  - RESOURCE_EXHAUSTED: with RetryInfo again, as OTLP says. Without, it is two different things
 *    under one code, and only the words tell them apart: a message that is too large, which is sent
 *    smaller; or a rate or quota that is used up, which passes. OTLP's rule (drop it) is right for
 *    neither. tonic says OUT_OF_RANGE for a message that is too large. */
#include "gateway/forward/outcome.h"

#include <stddef.h>
#include <string.h>

#include "gateway/base/grpc_status.h"

static const struct {
	int first;
	int last;
	enum verdict verdict;
} rows[] = {
	/* The first row that matches decides. */
	{ 0, 0, VERDICT_RETRY },
	{ 260, 260, VERDICT_RETRY },
	{ 200, 299, VERDICT_DELIVERED },
	{ 401, 401, VERDICT_UNAUTHORIZED },
	{ 403, 403, VERDICT_UNAUTHORIZED },
	{ 407, 407, VERDICT_UNAUTHORIZED },
	{ 408, 408, VERDICT_RETRY },
	{ 413, 413, VERDICT_TOO_LARGE },
	{ 425, 425, VERDICT_RETRY },
	{ 429, 429, VERDICT_RETRY },
	{ 400, 499, VERDICT_REFUSED },
};

enum verdict outcome_of_http(int status)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (status >= rows[i].first && status <= rows[i].last)
			return rows[i].verdict;
	return VERDICT_RETRY;
}

bool outcome_is_about_address(int status)
{
	/* HTTP: not found, method not allowed, gone, misdirected, upgrade required. */
	static const int statuses[] = { 404, 405, 410, 421, 426, GRPC_UNIMPLEMENTED };
	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
		if (status == statuses[i])
			return true;
	return false;
}

/* Tempo, of a batch that is larger than its limit and its burst: waiting does not help. */
static bool is_above_burst(const char *message)
{
	return strstr(message, "exceeds ingestion limit");
}

static bool is_without_tenant(const char *message)
{
	return strstr(message, "no org id");
}

enum verdict outcome_of_http_words(int status, const char *message)
{
	if (status == 503 && is_without_tenant(message))
		return VERDICT_UNAUTHORIZED;
	if ((status == 400 && strstr(message, "request body too large")) ||
	    (status == 429 && is_above_burst(message)))
		return VERDICT_TOO_LARGE;
	return outcome_of_http(status);
}

/* What servers say to a message over their limit: grpc-go and grpc-core ("larger than max"),
 * grpc-java and .NET ("exceeds maximum", "exceeds the maximum"), tonic ("too large"), tidegate
 * ("larger than the limit"). */
static bool is_about_size(const char *message)
{
	static const char *const words[] = { "larger than", "too large", "exceeds maximum",
					     "exceeds the maximum" };
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strstr(message, words[i]))
			return true;
	return false;
}

enum verdict outcome_of_grpc(int code, bool has_retry_info, const char *message)
{
	enum { UNAVAILABLE = 14 };
	static const struct {
		enum verdict verdict;
		bool may_be_size; /* the words decide */
	} codes[] = {
		{ VERDICT_DELIVERED, false },    /* OK */
		{ VERDICT_RETRY, false },        /* CANCELLED */
		{ VERDICT_RETRY, false },        /* UNKNOWN */
		{ VERDICT_REFUSED, false },      /* INVALID_ARGUMENT */
		{ VERDICT_RETRY, false },        /* DEADLINE_EXCEEDED */
		{ VERDICT_REFUSED, false },      /* NOT_FOUND */
		{ VERDICT_REFUSED, false },      /* ALREADY_EXISTS */
		{ VERDICT_UNAUTHORIZED, false }, /* PERMISSION_DENIED */
		{ VERDICT_RETRY, true },         /* RESOURCE_EXHAUSTED */
		{ VERDICT_REFUSED, false },      /* FAILED_PRECONDITION */
		{ VERDICT_RETRY, false },        /* ABORTED */
		{ VERDICT_RETRY, true },         /* OUT_OF_RANGE */
		{ VERDICT_REFUSED, false },      /* UNIMPLEMENTED */
		{ VERDICT_RETRY, false },        /* INTERNAL */
		{ VERDICT_RETRY, false },        /* UNAVAILABLE */
		{ VERDICT_RETRY, false },        /* DATA_LOSS */
		{ VERDICT_UNAUTHORIZED, false }, /* UNAUTHENTICATED */
	};
	/* A code that does not exist is UNKNOWN to gRPC. */
	if (code < 0 || (size_t)code >= sizeof(codes) / sizeof(codes[0]))
		return VERDICT_RETRY;
	if (code == UNAVAILABLE && is_without_tenant(message))
		return VERDICT_UNAUTHORIZED;
	if (codes[code].may_be_size &&
	    (is_above_burst(message) || (!has_retry_info && is_about_size(message))))
		return VERDICT_TOO_LARGE;
	return codes[code].verdict;
}

const char *outcome_verdict_text(enum verdict v)
{
	static const char *const text[VERDICT_COUNT] = {
		[VERDICT_DELIVERED] = "delivered",       [VERDICT_RETRY] = "retry",
		[VERDICT_UNAUTHORIZED] = "unauthorized", [VERDICT_TOO_LARGE] = "too_large",
		[VERDICT_REFUSED] = "refused",           [VERDICT_ENCODING] = "encoding",
	};
	return text[v];
}
