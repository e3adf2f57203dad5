/* forward/prometheus_point.h - one data point on its way to series: what prometheus_convert.c,
 * prometheus_point.c, prometheus_exemplar.c, prometheus_resource.c,
 * prometheus_histogram.c and prometheus_native.c share.
 * For these only.
 * Owner: the conversion. Needs: forward/prometheus_convert.h.
 * large file: the inside of one module that is too long for one .c file. */
#ifndef FORWARD_PROMETHEUS_POINT_H
#define FORWARD_PROMETHEUS_POINT_H

#include "gateway/forward/prometheus_convert.h"
#include "gateway/telemetry/wire.h"

enum {
	POINT_ATTRIBUTES_MAX = 256,      /* of a point, a resource, a scope */
	ATTRIBUTE_BYTES_MAX = 64 * 1024, /* of a resource, a scope, as OTLP */
	HELP_MAX = 64 * 1024,
	BASE_MAX = 2 * POINT_ATTRIBUTES_MAX + 64,
	POINT_LABELS_MAX = POINT_ATTRIBUTES_MAX + BASE_MAX + 2,
	FLAG_NO_RECORDED_VALUE = 1
};
#define POINT_STALE UINT64_C(0x7ff0000000000002) /* the NaN that ends a series */

/* The series that one data point of a histogram becomes differ in their names. */
enum point_name { POINT_PLAIN, POINT_SUM, POINT_COUNT, POINT_BUCKET, POINT_NAMES };

/* A label that all points of a resource, scope or metric share. */
struct base_label {
	uint32_t label;
	bool is_weak; /* a point's own label of this name wins */
};

struct base {
	struct base_label labels[BASE_MAX]; /* sorted by name */
	size_t count;
};

/* Numbers of a repeated field; the memory is used again from point to point. */
struct words {
	uint64_t *p;
	uint32_t count;
	uint32_t room;
};

struct metric {
	struct buf name; /* as Prometheus has it, without _sum and its like */
	bool is_named;
	enum prometheus_kind kind;
	bool is_delta;
	bool is_unspecified;
	struct prometheus_metadata metadata;
	struct base bases[POINT_NAMES]; /* the scope's, with __name__ */
	bool has_base[POINT_NAMES];
	uint32_t reserved; /* symbol of le or quantile: no attribute may have it. 0: none */
};

/* What all kinds of data points have. */
struct point {
	struct bytes message;
	uint64_t start_ns;
	uint64_t time_ns;
	uint64_t flags;
	uint32_t labels[POINT_ATTRIBUTES_MAX]; /* of its attributes, sorted by name */
	size_t label_count;
	uint32_t attributes[POINT_ATTRIBUTES_MAX]; /* as they came */
	size_t attribute_count;
	bool has_exemplars;
	bool is_overfull; /* more attributes than there is room for */
};

struct conversion {
	const struct prometheus_settings *settings;
	const struct prometheus_delta *delta;
	struct prometheus_changes *changes;
	struct prometheus_batch *b;
	struct arena *arena;
	struct prometheus_tally tally;
	uint64_t received_ns;
	uint64_t first_ns; /* of the resource's points */
	uint64_t last_ns;
	uint32_t name_symbol; /* __name__ */
	uint32_t le_symbol;
	uint32_t quantile_symbol;
	struct base resource;
	struct base scope;
	size_t scope_bytes; /* of the attributes that are kept */
	bool is_nameless;   /* the resource: job or instance would be larger than a label can be */
	struct metric metric;
	struct point point;
	uint32_t labels[POINT_LABELS_MAX]; /* of a series */
	struct words counts;
	struct words bounds;
	struct words le_bounds; /* that le_labels belong to */
	struct words le_labels;
	struct words bucket_series;
	struct words positive;
	struct words negative;
};

/* All of these: ST_TOO_LARGE, ST_BUSY where the arena is full; ST_INVALID for damaged data. */

MUST_USE enum status words_add(struct conversion *c, struct words *w, uint64_t v);
/* Appends a repeated fixed64 or double, packed or not. */
MUST_USE enum status words_add_fixed(struct conversion *c, struct words *w,
				     const struct wire_field *f);

/* Insert by name. One of the same name is replaced, where label is not weak. */
MUST_USE enum status base_insert(struct conversion *c, struct base *b, uint32_t label,
				 bool is_weak);
MUST_USE enum status base_add(struct conversion *c, struct base *b, const char *name,
			      struct bytes value, bool is_weak);

/* attributes (numbers of prometheus_labels), n of them, as labels sorted by name, in place; those
 * of one name become one, with their values joined by ';' in the order of their keys. Returns how
 * many. */
MUST_USE enum status point_join(struct conversion *c, uint32_t *attributes, size_t n,
				size_t *ret_count);
/* Begin reading the point in message. */
void point_begin(struct conversion *c, struct bytes message);
/* Remembers a KeyValue. */
MUST_USE enum status point_attribute(struct conversion *c, struct bytes key_value);
/* The point is read: its time is known, and its labels are in order. */
MUST_USE enum status point_end(struct conversion *c);

/* The labels of a series of this point to c->labels; with one more, where extra is not 0. *ret_at
 * is where extra stands, so that the next bucket may just replace it. */
MUST_USE enum status point_labels(struct conversion *c, enum point_name name, uint32_t extra,
				  size_t *ret_count, size_t *ret_at);
/* The series itself. */
MUST_USE enum status point_series(struct conversion *c, enum point_name name, bool has_histograms,
				  uint32_t *ret);
/* Its sum, for delta points. ST_END: the point is not newer than what is in it, and left out.
 * tag sets kinds of points apart. */
MUST_USE enum status point_sum(struct conversion *c, char tag, struct prometheus_sum **ret);
/* One sample of the point's series of a name, or of a series; time and start are s's. */
MUST_USE enum status point_value(struct conversion *c, enum point_name name,
				 const struct prometheus_sample *s, double value, bool is_record);
MUST_USE enum status point_value_to(struct conversion *c, uint32_t series,
				    const struct prometheus_sample *s, double value,
				    bool is_record);
/* The sum begins with this point: the time of a zero before it, or 0 where none is to be sent. */
int64_t point_zero_ms(const struct conversion *c);
int64_t point_time_ms(uint64_t ns);
bool point_is_stale(const struct conversion *c);
void point_left_out(struct conversion *c, enum prometheus_left why);
/* False: Prometheus cannot say it, whatever its value is. It is counted as left out. */
bool point_is_sayable(struct conversion *c);
/* start_time_unix_nano and time_unix_nano, which all kinds have under the same numbers. */
void point_field(struct conversion *c, const struct wire_field *f);
/* Of two labels, by name. */
int point_compare(const struct conversion *c, uint32_t a, uint32_t b);
static inline double point_double(uint64_t bits)
{
	double v;
	memcpy(&v, &bits, sizeof(v));
	return v;
}
/* Puts this point's exemplars, its fields of that number, on a series; where c->bucket_series has
 * any, each on that of its bucket. */
MUST_USE enum status point_exemplars(struct conversion *c, uint32_t number, uint32_t series);

/* prometheus_resource.c */
struct resource {
	uint32_t attributes[POINT_ATTRIBUTES_MAX];
	size_t count;
	size_t bytes;                   /* of the attributes that are kept */
	struct bytes service_namespace; /* texts */
	struct bytes service_name;
	struct bytes service_instance;
	struct base info; /* labels of target_info */
	bool has_more;    /* than what job and instance say */
};

/* Before the scopes: c->resource, and x, which is zeroed. message is the ResourceMetrics. */
MUST_USE enum status resource_begin(struct conversion *c, struct bytes message, struct resource *x);
/* After the scopes, when the times of the points are known: target_info. */
MUST_USE enum status resource_info(struct conversion *c, struct resource *x);

/* prometheus_histogram.c, prometheus_native.c */
MUST_USE enum status histogram_point(struct conversion *c, struct bytes message);
MUST_USE enum status exponential_point(struct conversion *c, struct bytes message);

#endif
