/* outcome.c - HTTP status to verdict, as one table.
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
 *
 * 413 and 415 are first about the form of the export: it is sent smaller, or encoded otherwise,
 * before anything dies. */
#include "gateway/forward/outcome.h"

#include <stddef.h>

static const struct {
	int first;
	int last;
	enum verdict verdict;
} rows[] = {
	/* The first row that matches decides. */
	{ 0, 0, VERDICT_RETRY },
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

const char *outcome_verdict_text(enum verdict v)
{
	static const char *const text[VERDICT_COUNT] = {
		[VERDICT_DELIVERED] = "delivered",       [VERDICT_RETRY] = "retry",
		[VERDICT_UNAUTHORIZED] = "unauthorized", [VERDICT_TOO_LARGE] = "too_large",
		[VERDICT_REFUSED] = "refused",           [VERDICT_ENCODING] = "encoding",
	};
	return text[v];
}
