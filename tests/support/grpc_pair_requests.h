/* grpc_pair_requests.h - short words for what tests say through a grpc_pair.
 * Owner: the one test program that includes it. Needs: grpc_pair. */
#ifndef TESTS_SUPPORT_GRPC_PAIR_REQUESTS_H
#define TESTS_SUPPORT_GRPC_PAIR_REQUESTS_H

#include "tests/support/grpc_pair.h"

#define EXPORT "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
#define HEALTH "/grpc.health.v1.Health/Check"

static inline struct h2_seen *seen(int32_t id)
{
	return h2_client_seen(&t.client, id);
}

static inline int32_t request(const char *path, struct h2_upload up, const char *name,
			      const char *value)
{
	return h2_client_request(&t.client, path, up, name, value);
}

static const uint8_t small_message[] = { 0, 0, 0, 0, 3, 1, 2, 3 };
static const struct h2_upload small = { .p = small_message, .n = sizeof(small_message) };

static inline int32_t export_small(void)
{
	return request(EXPORT, small, NULL, NULL);
}

static inline void expect_status(int32_t id, const char *http, const char *grpc)
{
	struct h2_seen *x = seen(id);
	ck_assert_msg(strcmp(x->http_status, http) == 0 && strcmp(x->grpc_status, grpc) == 0,
		      "stream %d: http \"%s\", grpc \"%s\" \"%s\"; want \"%s\", \"%s\"", id,
		      x->http_status, x->grpc_status, x->message, http, grpc);
	ck_assert(x->is_closed);
}

#endif
