/* forward/bucket.h - a token bucket that may be overdrawn: a rate, and what may go at once.
 * A value without threads or clock. Owner: whoever holds the struct. Needs: nothing. */
#ifndef FORWARD_BUCKET_H
#define FORWARD_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

struct bucket {
	double rate;   /* bytes a second; 0: no limit */
	double burst;  /* bytes */
	double level;  /* bytes; below 0: overdrawn */
	int64_t at_ns; /* mono: of the level */
};

/* Full. */
void bucket_init(struct bucket *b, uint64_t rate, uint64_t burst, int64_t now);
/* From here on. What was saved is kept up to the new burst, what was overdrawn stays. */
void bucket_set_rate(struct bucket *b, uint64_t rate, uint64_t burst, int64_t now);
/* May something go now? Of any size: what is larger than the level overdraws it. */
bool bucket_is_ready(struct bucket *b, int64_t now);
/* When it may (mono); now where it may already. */
int64_t bucket_ready_ns(struct bucket *b, int64_t now);
/* So many bytes went, or came back (negative). */
void bucket_take(struct bucket *b, int64_t bytes, int64_t now);

#endif
