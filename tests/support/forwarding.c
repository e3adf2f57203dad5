/* forwarding.c - the parts of a gateway between the queue and the backends, without receivers.
 *
 * Waiting is asking the queue file again, through a connection of its own, until a deadline. */
#include "tests/support/forwarding.h"

#include <stdio.h>
#include <stdlib.h>

#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"
#include "tests/support/expect.h"
#include "tests/support/patience.h"

/* Options of each destination are YAML lines of a flow mapping, as in "timeout: 1s, compression:
 * none". */
struct forwarding *forwarding_new_sized(const char *const *options, size_t count,
					uint64_t max_size_bytes)
{
	struct forwarding *fx = calloc(1, sizeof(*fx));
	struct buf yaml;
	struct err e = { 0 };
	ck_assert_ptr_nonnull(fx);
	client_make_dir(fx->dir, sizeof(fx->dir), "forward");
	(void)snprintf(fx->path, sizeof(fx->path), "%s/queue.db", fx->dir);
	buf_init(&yaml, 65536, NULL);
	EXPECT_OK(buf_append_str(&yaml, "destinations:\n"));
	fx->count = count;
	for (size_t i = 0; i < count; i++) {
		fx->sides[i].sink = http_sink_new(0);
		EXPECT_OK(buf_printf(
			&yaml, "  d%zu: {kind: otlp_http, endpoint: 'http://127.0.0.1:%d/', %s}\n",
			i, http_sink_port(fx->sides[i].sink), options[i]));
	}
	ck_assert_msg(config_parse("test", buf_view(&yaml), &fx->config, &e) == ST_OK, "%s",
		      e.text);
	buf_done(&yaml);
	struct writer_options o = { .path = fx->path, .max_size_bytes = max_size_bytes };
	ck_assert_msg(writer_open(&o, &fx->writer, &e) == ST_OK, "%s", e.text);
	for (size_t i = 0; i < count; i++) {
		struct side *s = &fx->sides[i];
		const struct destination_config *c = &fx->config->destinations[i];
		EXPECT_OK(
			writer_destination(fx->writer, c->name, "otlp_http", &s->slot, &s->id, &e));
		struct forward_options fo = {
			.config = c, .writer = fx->writer, .slot = s->slot, .destination_id = s->id
		};
		ck_assert_msg(forward_new(&fo, &s->forward, &e) == ST_OK, "%s", e.text);
	}
	EXPECT_OK(writer_start(fx->writer, &e));
	return fx;
}

struct forwarding *forwarding_new(const char *const *options, size_t count)
{
	return forwarding_new_sized(options, count, 1u << 30);
}

struct forwarding *forwarding_new_one(const char *options)
{
	return forwarding_new(&options, 1);
}

void forwarding_start(struct forwarding *fx)
{
	for (size_t i = 0; i < fx->count; i++)
		EXPECT_OK(forward_start(fx->sides[i].forward, NULL));
}

void forwarding_stop(struct forwarding *fx, int64_t grace_ns)
{
	for (size_t i = 0; i < fx->count; i++)
		forward_begin_stop(fx->sides[i].forward, now_mono_ns() + grace_ns);
	for (size_t i = 0; i < fx->count; i++)
		forward_stop(fx->sides[i].forward, now_mono_ns() + grace_ns);
}

/* Stops all, and the books must balance. */
void forwarding_free(struct forwarding *fx)
{
	struct facts *facts = xcalloc(1, sizeof(*facts));
	forwarding_stop(fx, patience_ns());
	writer_stop(fx->writer);
	for (size_t i = 0; i < fx->count; i++) {
		forward_free(fx->sides[i].forward);
		http_sink_free(fx->sides[i].sink);
	}
	ck_assert(facts_read(fx->path, facts));
	ck_assert_msg(facts->is_sound, "%s", facts->problem);
	ck_assert_int_eq(facts->imbalance, 0);
	free(facts);
	config_free(fx->config);
	client_remove_dir(fx->dir);
	free(fx);
}

/* ids from first to last, each a batch of its own, owed to every destination. */
void forwarding_put(struct forwarding *fx, enum signal signal, enum record_class class,
		    int64_t first, int64_t last, size_t size)
{
	for (int64_t id = first; id <= last; id++) {
		struct client_request r = { .id = id,
					    .signal = signal,
					    .class = class,
					    .records = 10,
					    .size = size,
					    .destinations = (UINT64_C(1) << fx->count) - 1 };
		enum status st;
		client_put(fx->writer, &r, 1, &st, NULL);
		EXPECT_OK(st);
	}
}

void forwarding_wait(const struct forwarding *fx, const char *sql, int64_t want)
{
	facts_await(fx->path, sql, want);
}

void forwarding_wait_drained(const struct forwarding *fx)
{
	forwarding_wait(fx, "SELECT count(*) FROM deliveries WHERE state = 'ready'", 0);
}

int64_t forwarding_total(const struct forwarding *fx, const char *outcome)
{
	char sql[200];
	(void)snprintf(sql, sizeof(sql),
		       "SELECT coalesce(sum(records), 0) FROM totals WHERE outcome = '%s'",
		       outcome);
	return facts_int(fx->path, sql);
}

void forwarding_wait_state(const struct forwarding *fx, const char *state)
{
	char sql[200];
	(void)snprintf(sql, sizeof(sql),
		       "SELECT count(*) FROM destinations WHERE name = 'd0' AND state = '%s'",
		       state);
	forwarding_wait(fx, sql, 1);
}

/* The ids that a body names, as "1 2 3". */
const char *forwarding_ids(const struct sink_request *r, char *dst, size_t size)
{
	size_t n = 0;
	dst[0] = '\0';
	for (size_t i = 0; i + 13 <= r->body.n; i++) {
		if (memcmp(r->body.p + i, "<id=", 4) != 0)
			continue;
		char digits[9] = { 0 };
		memcpy(digits, r->body.p + i + 4, 8);
		n += (size_t)snprintf(dst + n, size - n, "%s%ld", n ? " " : "",
				      strtol(digits, NULL, 10));
	}
	return dst;
}
