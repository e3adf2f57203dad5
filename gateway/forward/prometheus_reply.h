/* forward/prometheus_reply.h - what the answer to a remote write request says.
 * Owner: stateless. Needs: forward/{http_reply,prometheus_write}.h. */
#ifndef FORWARD_PROMETHEUS_REPLY_H
#define FORWARD_PROMETHEUS_REPLY_H

#include "gateway/forward/http_reply.h"
#include "gateway/forward/prometheus_write.h"

/* What was sent. */
struct prometheus_sent {
	enum prometheus_protocol protocol;
	uint64_t samples; /* with native histograms */
	uint64_t records; /* that they stand for */
};

enum prometheus_answer {
	PROMETHEUS_ANSWER_PLAIN, /* the reply says it all */
	PROMETHEUS_ANSWER_2,     /* and the receiver speaks 2.0 */
	PROMETHEUS_ANSWER_NOT_2  /* it does not: nothing was stored */
};

/* Fills the reply. is_2_known: it spoke 2.0 before. After PROMETHEUS_ANSWER_NOT_2 the same may be
 * sent as 1.0; the reply's verdict and error are for those who may not. */
enum prometheus_answer prometheus_reply_read(const struct http_answer *a,
					     const struct prometheus_sent *sent, bool is_2_known,
					     struct export_reply *ret);

#endif
