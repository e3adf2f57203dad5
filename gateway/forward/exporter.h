/* forward/exporter.h - what a kind of destination has to offer: open, send, probe, poll, close.
 * Owner: the destination's thread; open and close: main. Needs: gateway/base/config.h,
 * forward/export.h. */
#ifndef FORWARD_EXPORTER_H
#define FORWARD_EXPORTER_H

#include "gateway/base/config.h"
#include "gateway/forward/export.h"

struct exporter_ops;

/* Embed as the first member. */
struct exporter {
	const struct exporter_ops *ops;
};

/* Exports that may be under way with one exporter. */
enum { EXPORTER_IN_FLIGHT_MAX = 24 };

enum exporter_event {
	EXPORTER_NOTHING,   /* the deadline came, or the wake fd is readable */
	EXPORTER_DONE,      /* *ret is the export; its reply is filled */
	EXPORTER_REACHABLE, /* what the probe found */
	EXPORTER_UNREACHABLE,
};

struct exporter_ops {
	/* Decompressed bytes of one export, whatever max_export_size says; 0: no such limit. */
	size_t max_raw_bytes;
	/* Several exports may be under way together, and overtake each other. */
	bool takes_any_order;
	/* What goes on the wire, where it is not OTLP. NULL: OTLP, in the encoding that follows. */
	export_convert_fn convert;
	/* Checks what the configuration says without the network. e names the key. wake_fd ends a
	 * poll when it is readable; borrowed. Gives *ret. */
	enum status (*open)(const struct destination_config *c, int wake_fd, struct exporter **ret,
			    struct err *e);
	/* Of the bodies that it takes at this moment. NULL where convert is not. */
	enum encoding (*encoding)(const struct exporter *x);
	/* Borrows the export, with its body, until poll gives it back or close. Never fails:
	 * failures are replies. */
	void (*send)(struct exporter *x, struct export *export);
	/* Find out whether a connection can be made; poll tells. Does nothing while one runs. NULL:
	 * the kind has no connections. */
	void (*probe)(struct exporter *x);
	/* Waits until the deadline (now_mono_ns). Returns one event; call again with a deadline in
	 * the past until there is none. */
	enum exporter_event (*poll)(struct exporter *x, int64_t deadline_ns, struct export **ret);
	/* Is there another credential by now than the one that was last refused (401, 403)? Asked
	 * about once a second while the destination is unauthorized; true: the export is tried at
	 * once. NULL: the kind has no credentials. */
	bool (*is_renewed)(struct exporter *x);
	/* Breaks off what is under way: what was sent has no reply then. Accepts NULL. */
	void (*close)(struct exporter *x);
};

extern const struct exporter_ops otlp_http_ops;  /* otlp_http.c */
extern const struct exporter_ops otlp_grpc_ops;  /* otlp_grpc.c */
extern const struct exporter_ops prometheus_ops; /* prometheus.c */
extern const struct exporter_ops loki_ops;       /* loki.c */
extern const struct exporter_ops file_ops;       /* file.c */

/* Of the destination's kind (forward.c). */
const struct exporter_ops *exporter_ops_of(const struct destination_config *c);

#endif
