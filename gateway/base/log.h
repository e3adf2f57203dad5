/* log.h - one line per event on stderr: stable event name, then logfmt pairs.
 * Owner: any thread. Needs: now, status.
 *
 *   log_info("queue.commit", "rows=%d bytes=%zu", rows, bytes);
 *   -> ts=2026-11-23T09:00:00.123Z level=info event=queue.commit rows=12 bytes=40960
 *
 * Only thread loops log (receive_*, writer, forward, admin, main); everything below returns
 * statuses. Never payload, never secrets: ids, sizes, names. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stddef.h>
#include <stdint.h>

#include "gateway/base/status.h"

enum log_level {
	LOG_DEBUG_LEVEL,
	LOG_INFO_LEVEL,
	LOG_WARN_LEVEL,
	LOG_ERROR_LEVEL,
	LOG_FATAL_LEVEL
};
enum log_format { LOG_FORMAT_LOGFMT, LOG_FORMAT_JSON };

/* Call before threads start. With JOURNAL_STREAM set, lines carry the journal's <N> priority. */
void log_init(enum log_level least, enum log_format format);

/* fmt gives logfmt pairs (key=value key="quoted value"). Text that is not ours goes through
 * log_quote. */
void log_event(enum log_level level, const char *event, const char *fmt, ...) PRINTF_LIKE(3, 4);

#define log_debug(event, ...) log_event(LOG_DEBUG_LEVEL, event, __VA_ARGS__)
#define log_info(event, ...)  log_event(LOG_INFO_LEVEL, event, __VA_ARGS__)
#define log_warn(event, ...)  log_event(LOG_WARN_LEVEL, event, __VA_ARGS__)
#define log_error(event, ...) log_event(LOG_ERROR_LEVEL, event, __VA_ARGS__)
#define log_fatal(event, ...) log_event(LOG_FATAL_LEVEL, event, __VA_ARGS__)

/* src as a logfmt value in quotes, control characters escaped, cut to fit. Returns dst. */
char *log_quote(char *dst, size_t size, const char *src);
/* For calls like log_info("x", "error=%s", LOG_QUOTE(text)): lives until the end of the block. */
#define LOG_QUOTE(src) log_quote((char[600]){ 0 }, 600, (src))

/* At most once in interval_s seconds: `static struct log_rate r; if (log_every(&r, 10))
 * log_warn(...)`. *ret_skipped (may be NULL) says how many were held back since the last. */
struct log_rate {
	_Atomic int64_t next_ns;
	_Atomic uint64_t skipped;
};
bool log_every(struct log_rate *r, int interval_s, uint64_t *ret_skipped);

#endif
