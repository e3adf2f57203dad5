/* admin/control.h - what an operator may tell a running gateway, as functions that main hands in.
 * Owner: main; the functions may be called from any thread. Needs: gateway/base. */
#ifndef ADMIN_CONTROL_H
#define ADMIN_CONTROL_H

#include "gateway/base/config.h"

enum control_order { CONTROL_PAUSE, CONTROL_RESUME, CONTROL_FLUSH };
const char *control_order_text(enum control_order order);

enum { CONTROL_REASONS = 6, CONTROL_PERIODS = 2 };

/* An uplink at one moment. Texts are borrowed from the gateway, or static. */
struct control_uplink {
	const char *name;
	uint64_t configured_rate; /* bytes a second; 0: no limit, the same below */
	uint64_t rate;            /* in force */
	int64_t rate_until_ns;    /* wall: end of a temporary one; 0: it is the configured */
	struct {
		const char *name;   /* "day", "month" */
		char period[16];    /* "2026-11-23", "2026-11" */
		int64_t used;       /* bytes */
		int64_t budget;     /* 0: none */
		int64_t ends_at_ns; /* wall */
	} periods[CONTROL_PERIODS];
	bool is_known; /* what was used before the start is counted in */
	bool has_windows;
	bool is_open;
	int64_t next_change_ns; /* wall: when a window opens or closes; 0: never */
	int destinations;
	struct {
		const char *reason;
		int count; /* classes of destinations that have to wait for it */
	} waiting[CONTROL_REASONS];
};

struct control {
	void *ctx;
	/* The order is on its way to the destination's thread, or (uplink) to those of all on it.
	 * caller: who gave it, for the destination's reason. ST_NOT_FOUND: no such name. */
	enum status (*destination)(void *ctx, const char *name, enum control_order order,
				   const char *caller, struct err *e);
	enum status (*uplink)(void *ctx, const char *name, enum control_order order,
			      const char *caller, struct err *e);
	/* Another rate for so long; for_ns 0: back to the configured one. */
	enum status (*rate)(void *ctx, const char *name, uint64_t rate, int64_t for_ns,
			    struct err *e);
	size_t (*uplinks)(void *ctx, struct control_uplink *ret, size_t max);
};

#endif
