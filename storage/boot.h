/* storage/boot.h - which boot of the machine this is, what time it is, and how old a batch is,
 * whatever the wall clock does.
 * Owner: the connection's thread. Needs: gateway/base, sqlite3. */
#ifndef STORAGE_BOOT_H
#define STORAGE_BOOT_H

#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

#include "gateway/base/status.h"

/* No true time is before this: 2026-01-01, before the first release. */
#define BOOT_RELEASE_NS INT64_C(1767225600000000000)

enum { BOOT_FORMER_MAX = 64 };

/* A row of `boots`. */
struct boot_row {
	int64_t id;
	int64_t offset_ns;     /* wall clock minus boot clock, as last believed */
	int64_t age_offset_ns; /* the least one that was believed */
	int64_t last_mono_ns;
	bool is_set; /* the wall clock was believable */
};

struct boot {
	struct boot_row this; /* id 0: nothing is known */
	bool is_changed;      /* since it was written */
	int64_t trusted_ns;   /* the newest time that a former boot believed in */
	size_t former_count;  /* newest first */
	struct boot_row former[BOOT_FORMER_MAX];
};

/* Find or make the row of this boot, in the open transaction, and read those before it. */
MUST_USE enum status boot_register(struct boot *b, sqlite3 *db, struct err *e);
/* The same by reading only. Where this boot has no row, this.id is 0. */
MUST_USE enum status boot_load(struct boot *b, sqlite3 *db, struct err *e);
/* Look at the clocks. A step of the wall clock, or its first believable time, sets is_changed. */
void boot_look(struct boot *b);
/* Write this boot's row, in the open transaction. Clear is_changed when that was committed. */
MUST_USE enum status boot_save(const struct boot *b, sqlite3 *db, struct err *e);

/* The best wall time that is known now. */
int64_t boot_wall_ns(const struct boot *b);
/* How old a batch is at least: never more than its true age as far as can be told. boot is 0 and
 * received_mono without meaning where they are not known. */
int64_t boot_age_ns(const struct boot *b, int64_t boot, int64_t received_mono_ns,
		    int64_t received_at_ns);

#endif
