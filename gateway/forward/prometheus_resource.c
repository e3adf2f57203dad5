/* prometheus_resource.c - what a resource is in Prometheus: job, instance, and target_info.
 *
 * job is service.namespace/service.name, instance is service.instance.id (OpenTelemetry
 * specification); what is empty is no label. Other attributes are on each series where the
 * configuration asks for it, and on target_info in any case: one series, a sample at the time of
 * the resource's points, every two and a half minutes where they span more, so that it is found
 * wherever the points are.
 *
 * There is room for POINT_ATTRIBUTES_MAX attributes of ATTRIBUTE_BYTES_MAX in all; others are left
 * out, and counted. Without its name a resource's points are left out: they would be mixed up with
 * those of others.
 *
 * target_info never goes back in time: two processes under one job and instance would otherwise
 * make Prometheus refuse the metrics of both (out of order). So there is one per job and instance
 * at a time, and its last time is kept with the sums of deltas. */
#include "gateway/base/now.h"
#include "gateway/forward/prometheus_point.h"

#define INFO_EVERY_MS (150 * 1000) /* half of the time for which PromQL looks back */
#define AHEAD_MAX_NS  ((uint64_t)600 * NS_PER_S)
enum { INFO_SAMPLES_MAX = 64 };

static struct bytes value_of(struct conversion *c, uint32_t attribute)
{
	const struct prometheus_labels *l = &c->b->labels;
	return prometheus_labels_text(l, l->labels[l->attributes[attribute].label].value);
}

static struct bytes key_of(struct bytes key_value)
{
	struct wire_reader r = wire_reader_of(key_value);
	struct bytes key = { 0 };
	while (wire_next_of(&r, 1, &key))
		continue; /* the last one counts */
	return key;
}

/* What job and instance are made of; NULL: another attribute. */
static struct bytes *identity_of(struct resource *x, struct bytes key)
{
	return bytes_equal(key, bytes_str("service.name"))        ? &x->service_name :
	       bytes_equal(key, bytes_str("service.namespace"))   ? &x->service_namespace :
	       bytes_equal(key, bytes_str("service.instance.id")) ? &x->service_instance :
								    NULL;
}

/* What is too much is left out before anything is made of it: a resource of tens of MiB costs no
 * more than being read. */
static enum status resource_attribute(struct conversion *c, struct resource *x,
				      struct bytes key_value)
{
	struct bytes *own = identity_of(x, key_of(key_value));
	bool is_long = key_value.n > ATTRIBUTE_BYTES_MAX - x->bytes;
	uint32_t a;
	if (is_long || (!own && x->count == POINT_ATTRIBUTES_MAX)) {
		/* Under another name its series would be those of somebody else. */
		c->is_nameless = c->is_nameless || own;
		c->tally.attributes++;
		return ST_OK;
	}
	enum status st = prometheus_labels_attribute(&c->b->labels, key_value, &a);
	if (st || !c->b->labels.attributes[a].label)
		return st;
	x->bytes += key_value.n;
	if (own)
		*own = value_of(c, a);
	else
		x->has_more = true;
	if (x->count < POINT_ATTRIBUTES_MAX)
		x->attributes[x->count++] = a;
	return ST_OK;
}

static enum status add_identity(struct conversion *c, struct base *b, const struct resource *x)
{
	struct buf job;
	enum status st = ST_OK;
	buf_init(&job, SIZE_MAX, c->arena->budget);
	if (x->service_namespace.n && x->service_name.n) {
		st = buf_append(&job, x->service_namespace);
		if (!st)
			st = buf_append_byte(&job, '/');
	}
	if (!st)
		st = buf_append(&job, x->service_name);
	if (!st)
		st = base_add(c, b, "job", buf_view(&job), false);
	if (!st)
		st = base_add(c, b, "instance", x->service_instance, false);
	buf_done(&job);
	const struct config_map *external = &c->settings->external_labels;
	for (size_t i = 0; i < external->count && !st; i++)
		st = base_add(c, b, external->items[i].key, bytes_str(external->items[i].value),
			      true);
	return st;
}

/* Resource attributes as weak labels of b: all, or without those that job and instance are of. */
static enum status add_attributes(struct conversion *c, struct base *b, struct resource *x,
				  bool has_identifying)
{
	uint32_t labels[POINT_ATTRIBUTES_MAX];
	size_t n = 0;
	for (size_t i = 0; i < x->count; i++)
		if (has_identifying ||
		    !identity_of(x, c->b->labels.attributes[x->attributes[i]].key))
			labels[n++] = x->attributes[i];
	enum status st = point_join(c, labels, n, &n);
	for (size_t i = 0; i < n && !st; i++)
		st = base_insert(c, b, labels[i], true);
	return st;
}

/* Before the scopes: everything that their points need to know. */
enum status resource_begin(struct conversion *c, struct bytes message, struct resource *x)
{
	struct wire_reader r = wire_reader_of(message);
	struct bytes resource;
	enum status st = ST_OK;
	c->is_nameless = false;
	while (!st && wire_next_of(&r, 1, &resource)) {
		struct wire_reader inner = wire_reader_of(resource);
		struct bytes attribute;
		while (!st && wire_next_of(&inner, 1, &attribute))
			st = resource_attribute(c, x, attribute);
		if (!st && inner.fault)
			st = ST_INVALID;
	}
	c->resource.count = 0;
	if (!st)
		st = add_identity(c, &c->resource, x);
	if (!st && c->settings->has_resource_labels)
		st = add_attributes(c, &c->resource, x, true);
	return st;
}

static enum status info_series(struct conversion *c, struct resource *x, uint32_t *ret)
{
	static const struct prometheus_metadata gauge = { .type = PROMETHEUS_TYPE_GAUGE };
	enum status st = add_identity(c, &x->info, x);
	if (!st)
		st = base_add(c, &x->info, "__name__", bytes_str("target_info"), false);
	if (!st)
		st = add_attributes(c, &x->info, x, false);
	for (size_t i = 0; i < x->info.count; i++)
		c->labels[i] = x->info.labels[i].label;
	return st ? st :
		    prometheus_series_find(c->b, c->labels, (uint32_t)x->info.count, false, &gauge,
					   ret);
}

/* The last time of target_info under this job and instance. */
static enum status info_sum(struct conversion *c, const struct resource *x,
			    struct prometheus_sum **ret)
{
	const struct bytes parts[] = { x->service_namespace, x->service_name, x->service_instance };
	struct prometheus_key key = { .a = 't' };
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		key.a = prometheus_labels_hash(c->settings->seeds[1] ^ key.a, parts[i]);
		key.b = prometheus_labels_hash(c->settings->seeds[2] ^ key.b, parts[i]);
	}
	return prometheus_changes_open(c->changes, c->delta, key, false, ret);
}

/* After the scopes: the times of the points are known. */
enum status resource_info(struct conversion *c, struct resource *x)
{
	struct prometheus_sum *sum;
	uint32_t series;
	bool is_identified = x->service_name.n || x->service_instance.n;
	if (!c->last_ns || !x->has_more || !is_identified)
		return ST_OK;
	enum status st = info_sum(c, x, &sum);
	int64_t last = point_time_ms(c->last_ns);
	int64_t first = point_time_ms(c->first_ns);
	if (st || (sum->last_ns && point_time_ms(sum->last_ns) >= last))
		return st;
	if (sum->last_ns && first <= point_time_ms(sum->last_ns))
		first = point_time_ms(sum->last_ns) + INFO_EVERY_MS;
	if (last - first > INFO_SAMPLES_MAX * INFO_EVERY_MS)
		first = last;
	st = info_series(c, x, &series);
	for (int64_t t = first; t < last && !st; t += INFO_EVERY_MS)
		st = prometheus_series_sample(
			c->b, series, &(struct prometheus_sample){ .time_ms = t, .value = 1 });
	if (!st)
		st = prometheus_series_sample(
			c->b, series, &(struct prometheus_sample){ .time_ms = last, .value = 1 });
	/* A clock that is ahead must not silence all that come after it. */
	if (c->last_ns < c->received_ns + AHEAD_MAX_NS)
		sum->last_ns = c->last_ns;
	return st;
}
