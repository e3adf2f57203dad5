/* week.h - hours of the week, in local time: "mon-fri 01:00-05:00".
 * Owner: whoever holds the struct. Needs: status. */
#ifndef BASE_WEEK_H
#define BASE_WEEK_H

#include <stdint.h>

#include "gateway/base/status.h"

enum { WEEK_MINUTES = 7 * 24 * 60 };

/* Bit i of the bytes: minute i from Sunday 00:00 on. Zeroed: closed. */
struct week {
	uint8_t minutes[WEEK_MINUTES / 8];
};

/* Open it as the text says: days (sun mon tue wed thu fri sat, with "-" and ","), hours
 * (HH:MM-HH:MM, up to 24:00; past midnight where the end is not after the begin), or both with a
 * blank between. Without days: every day. ST_INVALID: e says what is wrong. */
MUST_USE enum status week_add(struct week *w, const char *text, struct err *e);
bool week_is_empty(const struct week *w);
/* Is it open at this Unix time, by the process's time zone (TZ, /etc/localtime)? */
bool week_is_open(const struct week *w, int64_t wall_ns);
/* The first minute after wall_ns (Unix ns) at which it opens or closes; INT64_MAX: it never does.
 */
int64_t week_next_change(const struct week *w, int64_t wall_ns);

#endif
