/* fuzz_grpc_client.c - a gRPC client's connection to a server that sends arbitrary bytes.
 *
 * The first byte says how the rest is cut into reads, the second what the calls are like; between
 * reads time goes on, so that calls stall and pings go out. Whatever comes: no crash, no leak,
 * every call has one end, a verdict and a reason, and none of them a delivery without grpc-status
 * 0. */
#include "gateway/base/now.h"
#include "gateway/base/xalloc.h"
#include "gateway/forward/grpc_client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { CALLS = 6 };

/* What the server has yet to say. */
static struct bytes input;
static size_t step;
static bool has_given; /* in this turn */

static enum status give(struct transport *t, void *dst, size_t size, size_t *ret_n)
{
	(void)t;
	size_t n = input.n < step ? input.n : step;
	n = n < size ? n : size;
	if (n == 0 || has_given)
		return ST_BUSY;
	has_given = true;
	memcpy(dst, input.p, n);
	input.p += n;
	input.n -= n;
	*ret_n = n;
	return ST_OK;
}

/* Writes go nowhere: always room. */
static enum status sink(struct transport *t, struct bytes src, size_t *ret_n)
{
	(void)t;
	*ret_n = src.n;
	return ST_OK;
}

static void no_end(struct transport *t)
{
	(void)t;
}

static const struct transport_ops ops = { give, sink, no_end };

static struct export *make_export(size_t body_bytes, enum encoding encoding)
{
	const struct claim member = { .signal = SIGNAL_TRACES, .records = 1, .raw_bytes = 1 };
	struct export *x = export_new(&member, 1);
	buf_init(&x->body, body_bytes, NULL);
	CHECK(buf_reserve(&x->body, body_bytes) == ST_OK);
	if (body_bytes)
		memset(x->body.p, 7, body_bytes);
	buf_advance(&x->body, body_bytes);
	x->encoding = encoding;
	return x;
}

static void judge(struct grpc_client *c, size_t *ended)
{
	struct grpc_exchange *x;
	while ((x = TAILQ_FIRST(&c->ended)) != NULL) {
		struct export_reply r;
		TAILQ_REMOVE(&c->ended, x, link);
		CHECK(x->end != GRPC_END_NONE);
		++*ended;
		if (x->end != GRPC_END_ANSWERED)
			continue;
		grpc_response_read(&x->response, x->export->signal, x->export->encoding, NULL, &r);
		CHECK(r.verdict != VERDICT_DELIVERED || (r.status == 0 && x->response.is_grpc));
		CHECK(r.verdict == VERDICT_DELIVERED || r.error[0]);
		CHECK(r.rejected >= 0 && r.retry_after_ns >= 0);
		CHECK(r.retry_after_ns <= 3600 * NS_PER_S);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct destination_config config = { .timeout = NS_PER_S,
						    .endpoint = (char *)(uintptr_t) "http://h" };
	struct grpc_target target = { 0 };
	struct grpc_exchange calls[CALLS] = { 0 };
	size_t started = 0;
	size_t ended = 0;
	if (n < 2)
		return 0;
	now_fake(NS_PER_S, NS_PER_S);
	CHECK(grpc_target_init(&target, &config, NULL) == ST_OK);
	step = (size_t)data[0] * 16 + 1;
	input = bytes_of(data + 2, n - 2);
	struct grpc_client *c = grpc_client_new(&target, -1);
	c->plain.ops = &ops;
	while (!c->is_dead && input.n) {
		has_given = false;
		grpc_client_turn(c, now_mono_ns());
		if (started < CALLS && grpc_client_has_room(c)) {
			struct grpc_exchange *x = &calls[started++];
			x->export = make_export((size_t)(data[1] & 15) * 1000,
						data[1] & 16 ? ENCODING_GZIP : ENCODING_NONE);
			grpc_client_start(c, x, NULL);
		}
		judge(c, &ended);
		now_fake_advance(data[1] & 32 ? 300 * NS_PER_MS : NS_PER_MS);
		(void)grpc_client_due_ns(c, now_mono_ns());
		CHECK(grpc_client_events(c));
	}
	/* Past the patience with the largest body, whatever moved. */
	now_fake_advance(60 * NS_PER_S);
	if (!c->is_dead)
		grpc_client_turn(c, now_mono_ns());
	judge(c, &ended);
	CHECK(ended == started && TAILQ_EMPTY(&c->open));
	grpc_client_free(c);
	for (size_t i = 0; i < started; i++) {
		grpc_response_done(&calls[i].response);
		export_free(calls[i].export);
	}
	grpc_target_done(&target);
	return 0;
}
