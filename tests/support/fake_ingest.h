/* fake_ingest.h - stands in for ingest.c: defines every function of ingest.h that a receiver calls,
 * so that the real one is not linked. Calls wait in `given` until the test completes them. One
 * thread. Owner: the one test program that includes it. Needs: ingest.h, compression. */
#ifndef TESTS_SUPPORT_FAKE_INGEST_H
#define TESTS_SUPPORT_FAKE_INGEST_H

#include "gateway/base/compression.h"
#include "gateway/ingest/ingest.h"

enum { FAKE_GIVEN_MAX = 256, FAKE_RETRY_AFTER_S = 7 };

struct ingest {
	struct budget budget;
	enum status admit;   /* what ingest_admit says */
	enum status prepare; /* what ingest_prepare says */
	bool is_heavy;       /* requests are given, and not prepared by the receiver */
	struct ingest_call *given[FAKE_GIVEN_MAX];
	size_t given_count;
	size_t prepared_bytes; /* of the last message, decompressed */
};

void ingest_call_init(struct ingest *in, struct ingest_call *call, size_t max_message_bytes)
{
	*call = (struct ingest_call){ .in = in, .max_message_bytes = max_message_bytes };
	buf_init(&call->body, max_message_bytes, &in->budget);
}

void ingest_call_done(struct ingest_call *call)
{
	buf_done(&call->body);
	buf_done(&call->decoded);
}

enum status ingest_refuse(struct ingest_call *call, enum status st)
{
	call->status = st;
	if (status_class(st) == CLASS_RETRY)
		call->retry_after_s = FAKE_RETRY_AFTER_S;
	return st;
}

enum status ingest_admit(struct ingest *in, struct ingest_call *call, size_t bytes)
{
	(void)bytes;
	return in->admit ? ingest_refuse(call, in->admit) : ST_OK;
}

enum status ingest_prepare(struct ingest_call *call)
{
	buf_init(&call->decoded, call->max_message_bytes, &call->in->budget);
	enum status st =
		decompress(call->encoding, buf_view(&call->body), &call->decoded, &call->err);
	if (!st)
		st = call->in->prepare;
	call->in->prepared_bytes = call->decoded.n;
	return st ? ingest_refuse(call, st) : ST_OK;
}

bool ingest_is_light(struct ingest_call *call, int64_t began_ns)
{
	(void)began_ns;
	return !call->in->is_heavy;
}

void ingest_commit(struct ingest_call *call)
{
	struct ingest *in = call->in;
	CHECK(in->given_count < FAKE_GIVEN_MAX);
	in->given[in->given_count++] = call;
}

/* What is wrong with it shows when it is completed. */
void ingest_give(struct ingest_call *call)
{
	ingest_commit(call);
}

/* What the writer's thread does with the call that came first. */
static inline void fake_complete(struct ingest *in, enum status st)
{
	CHECK(in->given_count > 0);
	struct ingest_call *call = in->given[0];
	in->given_count--;
	for (size_t i = 0; i < in->given_count; i++)
		in->given[i] = in->given[i + 1];
	call->status = st;
	if (st)
		(void)ingest_refuse(call, st);
	call->done(call);
}

#endif
