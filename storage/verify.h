/* storage/verify.h - is the queue file sound: a check whose time is bounded, for the start and
 * after a failure.
 * Owner: the connection's thread. Needs: gateway/base, sqlite3. */
#ifndef STORAGE_VERIFY_H
#define STORAGE_VERIFY_H

#include <sqlite3.h>

#include "gateway/base/status.h"

/* ST_CORRUPT: damaged, e says what was found first. is_thorough: read everything where the file is
 * small enough (after an unclean stop or a failure); else both ends of each table. */
MUST_USE enum status verify_file(sqlite3 *db, bool is_thorough, struct err *e);

#endif
