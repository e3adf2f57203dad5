/* prometheus_reply.c - what the answer to a remote write request says.
 *
 * 1.0: the status alone. 2.0 (prometheus.io/docs/specs/prw/remote_write_spec_2_0): receivers say
 * how much they wrote, in headers. A success without any of these comes from a receiver that took
 * the request for an empty 1.0 message: nothing was stored, and it counts as 415. The same is
 * assumed of a 400 from a receiver that never spoke 2.0, as some check the message before the
 * content type.
 *
 * Fewer written than sent, with a success or with a 400, is a partial success: what was written
 * stays written, the rest is counted as rejected, and nothing is sent again. The headers count
 * samples, we count data points: a share of the ones is taken for the same share of the others,
 * which is exact where each point is one sample, and never less than one. */
#include "gateway/forward/prometheus_reply.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of a header's number; garbage is 0. */
static uint64_t number_of(const char *text)
{
	char *end = NULL;
	unsigned long long n = strtoull(text, &end, 10);
	return end != text && text[0] >= '0' && text[0] <= '9' ? n : 0;
}

/* False: the answer has no such header. */
static bool read_written(const struct http_answer *a, uint64_t *ret_samples)
{
	static const char *const names[] = { "X-Prometheus-Remote-Write-Samples-Written",
					     "X-Prometheus-Remote-Write-Histograms-Written",
					     "X-Prometheus-Remote-Write-Exemplars-Written" };
	bool has_any = false;
	*ret_samples = 0;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *value = http_answer_header(a, names[i]);
		has_any = has_any || value;
		/* Exemplars are no records: what became of them changes nothing. */
		if (value && i < 2)
			*ret_samples += number_of(value);
	}
	return has_any;
}

static void set_partial(const struct prometheus_sent *sent, uint64_t written,
			struct export_reply *ret)
{
	char reason[SETTLE_ERROR_MAX];
	uint64_t missing = sent->samples - written;
	double share = (double)missing / (double)sent->samples;
	uint64_t records = (uint64_t)(share * (double)sent->records + 0.999999);
	if (records < 1)
		records = 1;
	if (records > sent->records)
		records = sent->records;
	(void)snprintf(reason, sizeof(reason), "%s", ret->error);
	ret->verdict = VERDICT_DELIVERED;
	ret->rejected = (int64_t)records;
	(void)snprintf(ret->error, sizeof(ret->error),
		       "%llu of %llu samples were not written%s%.400s", (unsigned long long)missing,
		       (unsigned long long)sent->samples, reason[0] ? ": " : "", reason);
}

static void set_swallowed(const struct http_answer *a, struct export_reply *ret)
{
	ret->verdict = VERDICT_RETRY;
	ret->rejected = 0;
	(void)snprintf(ret->error, sizeof(ret->error),
		       "HTTP %d without X-Prometheus-Remote-Write-Samples-Written: the receiver "
		       "does not know remote write 2.0; set prometheus.protocol: 1.0",
		       a->status);
}

/* Prometheus before 3.9, without its feature flag, answers 500 to a request with a native
 * histogram. Nothing that passes: until it is started otherwise every request with one would be
 * answered so, and all that waits behind it would wait with it. */
static bool is_without_histograms(const struct http_answer *a, const struct export_reply *r)
{
	return a->status == 500 && strstr(r->error, "native histogram") &&
	       strstr(r->error, "disabled");
}

enum prometheus_answer prometheus_reply_read(const struct http_answer *a,
					     const struct prometheus_sent *sent, bool is_2_known,
					     struct export_reply *ret)
{
	uint64_t written;
	http_reply_read_plain(a, ret);
	if (is_without_histograms(a, ret))
		ret->verdict = VERDICT_REFUSED;
	if (sent->protocol != PROMETHEUS_WRITE_2)
		return PROMETHEUS_ANSWER_PLAIN;
	if (read_written(a, &written)) {
		bool is_success = ret->verdict == VERDICT_DELIVERED;
		bool is_partial = a->status == 400 && written > 0;
		if ((is_success || is_partial) && written < sent->samples)
			set_partial(sent, written, ret);
		/* A 400 for warnings, with everything written. */
		else if (is_partial)
			ret->verdict = VERDICT_DELIVERED;
		return PROMETHEUS_ANSWER_2;
	}
	if (ret->verdict == VERDICT_DELIVERED) {
		set_swallowed(a, ret);
		return PROMETHEUS_ANSWER_NOT_2;
	}
	if (a->status == 415 || (a->status == 400 && !is_2_known))
		return PROMETHEUS_ANSWER_NOT_2;
	return PROMETHEUS_ANSWER_PLAIN;
}
