/* forwarding.h - a queue, its writer, and destinations of kind otlp_http with a backend each.
 * Owner: one test thread. Needs: storage, forward, tests/support/{http_sink,queue_client}.h. */
#ifndef TESTS_SUPPORT_FORWARDING_H
#define TESTS_SUPPORT_FORWARDING_H

#include "gateway/forward/forward.h"
#include "tests/support/http_sink.h"
#include "tests/support/queue_client.h"

enum { SIDES_MAX = 2 };

/* One destination (d0, d1) with its backend. */
struct side {
	struct http_sink *sink;
	struct forward *forward;
	int slot;
	int64_t id;
};

struct forwarding {
	char dir[512];
	char path[CLIENT_PATH_SIZE];
	struct config *config;
	struct writer *writer;
	struct side sides[SIDES_MAX];
	size_t count;
};

/* Options of each destination are YAML of a flow mapping, as in "timeout: 1s, compression: none".
 * The writer runs, the destinations do not yet. */
struct forwarding *forwarding_new(const char *const *options, size_t count);
struct forwarding *forwarding_new_one(const char *options);
/* The same with a queue of so many bytes. */
struct forwarding *forwarding_new_sized(const char *const *options, size_t count,
					uint64_t max_size_bytes);
void forwarding_start(struct forwarding *fx);
/* All destinations, with so much time to end. */
void forwarding_stop(struct forwarding *fx, int64_t grace_ns);
/* Stops all; the file must be sound and the books must balance. */
void forwarding_free(struct forwarding *fx);

/* Requests first to last, 10 records each, each committed as a batch of its own, owed to every
 * destination. */
void forwarding_put(struct forwarding *fx, enum signal signal, enum record_class class,
		    int64_t first, int64_t last, size_t size);
/* Until the query's one integer is this. */
void forwarding_wait(const struct forwarding *fx, const char *sql, int64_t want);
void forwarding_wait_drained(const struct forwarding *fx);
/* Until d0 is in this state. */
void forwarding_wait_state(const struct forwarding *fx, const char *state);
/* Records of all destinations with this outcome. */
int64_t forwarding_total(const struct forwarding *fx, const char *outcome);
/* The requests that a body names, as "1 2 3". Returns dst. */
const char *forwarding_ids(const struct sink_request *r, char *dst, size_t size);

#define EXPECT_IDS(side, index, want)                                                         \
	do {                                                                                  \
		char got_[256];                                                               \
		ck_assert_str_eq(forwarding_ids(http_sink_request((side)->sink, index), got_, \
						sizeof(got_)),                                \
				 want);                                                       \
	} while (0)

#endif
