/* config_sense.c - what each part of the file allows, and the whole does not.
 *
 * Every part was read and checked by itself. Here come the rules that look at several: one function
 * each, in one list. A rule that finds what cannot work fails; one that finds what does nothing, or
 * what nobody wants, warns, because the gateway can do its work all the same. check-config prints
 * the warnings, and the log begins with them.
 *
 * A value that the file does not give is never complained of: defaults are ours. */
#include <string.h>

#include "gateway/base/config_reader.h"
#include "gateway/base/net.h"
#include "schema/vocabulary.h"

static const struct yaml_node *global_node(const struct config_reader *r, const char *key)
{
	return config_node_of(&config_global_table, &r->given, key);
}

static const struct yaml_node *destination_node(const struct config_reader *r, size_t i,
						const char *key)
{
	return config_node_of(&config_destination_table, &r->given_destinations[i], key);
}

/* Bit signal * RECORD_CLASS_COUNT + class. */
static unsigned cells_of(const struct route_config *route)
{
	unsigned cells = 0;
	for (unsigned s = 0; s < SIGNAL_COUNT; s++)
		if (route->signal_mask & 1u << s)
			cells |= route->class_mask << s * RECORD_CLASS_COUNT;
	return cells;
}

static bool goes_to(const struct route_config *route, const char *name)
{
	for (char **to = route->to; *to; to++)
		if (strcmp(*to, name) == 0)
			return true;
	return false;
}

/* What the first routes send to a destination. */
static unsigned cells_sent_to(const struct config *c, const char *name, size_t routes)
{
	unsigned cells = 0;
	for (size_t i = 0; i < routes; i++)
		if (goes_to(&c->routes[i], name))
			cells |= cells_of(&c->routes[i]);
	return cells;
}

static unsigned cells_of_signal(enum signal s)
{
	return ((1u << RECORD_CLASS_COUNT) - 1) << (unsigned)s * RECORD_CLASS_COUNT;
}

/* What there is: the rules in telemetry/record.h give data points no urgency, and spans no warning.
 */
static unsigned cells_that_exist(void)
{
	unsigned bit = 1u << RECORD_CLASS_INFO;
	unsigned metrics = bit << SIGNAL_METRICS * RECORD_CLASS_COUNT;
	unsigned traces = (bit | 1u << RECORD_CLASS_CRITICAL) << SIGNAL_TRACES * RECORD_CLASS_COUNT;
	return cells_of_signal(SIGNAL_LOGS) | metrics | traces;
}

static enum status check_token(struct config_reader *r)
{
	const struct config *c = r->config;
	/* The default is loopback, so the file has one. */
	return *c->admin_token || net_is_loopback(c->admin_endpoint) ?
		       ST_OK :
		       config_fail_at(r, global_node(r, "admin.endpoint"),
				      "admin.endpoint %s is no loopback address, so that "
				      "admin.token is required",
				      c->admin_endpoint);
}

static enum status check_site(struct config_reader *r)
{
	const struct config_map *attributes = &r->config->resource_attributes;
	const struct yaml_node *n = global_node(r, "site");
	for (size_t i = 0; i < attributes->count; i++)
		if (n && *r->config->site && strcmp(attributes->items[i].key, "tidegate.site") == 0)
			config_warn_at(r, n,
				       "site does nothing: resource.attributes has tidegate.site");
	return ST_OK;
}

/* ingest clamps what it takes, so that one message leaves room for its copies. */
static enum status check_message_sizes(struct config_reader *r)
{
	const struct config *c = r->config;
	const struct {
		const char *key;
		uint64_t size;
	} sizes[] = {
		{ "receivers.otlp.grpc.max_recv_msg_size", c->grpc_max_recv_msg_size },
		{ "receivers.otlp.http.max_request_body_size", c->http_max_request_body_size },
	};
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		const struct yaml_node *n = global_node(r, sizes[i].key);
		if (n && sizes[i].size > c->max_in_flight / CONFIG_MESSAGE_COPIES)
			config_warn_at(
				r, n,
				"%s: messages above %llu bytes are refused all the same, "
				"because one may take a third of receivers.max_in_flight",
				sizes[i].key,
				(unsigned long long)(c->max_in_flight / CONFIG_MESSAGE_COPIES));
	}
	return ST_OK;
}

/* More urgent data should not be the first to go. */
static enum status check_class_order(struct config_reader *r)
{
	const struct config *c = r->config;
	static const char *const full_keys[] = { "queue.when_full.info", "queue.when_full.warning",
						 "queue.when_full.critical" };
	static const char *const age_keys[] = { "queue.max_age.info", "queue.max_age.warning",
						"queue.max_age.critical" };
	static const char *const words[] = { "info", "warnings", "critical data" };
	const int full[] = { c->queue_when_full_info, c->queue_when_full_warning,
			     c->queue_when_full_critical };
	const int64_t age[] = { c->queue_max_age_info, c->queue_max_age_warning,
				c->queue_max_age_critical };
	for (size_t i = 1; i < 3; i++) {
		const struct yaml_node *low = global_node(r, full_keys[i - 1]);
		const struct yaml_node *high = global_node(r, full_keys[i]);
		if (full[i] == CONFIG_WHEN_FULL_DROP_OLDEST &&
		    full[i - 1] == CONFIG_WHEN_FULL_REJECT && (low || high))
			config_warn_at(r, low ? low : high,
				       "queue.when_full: %s are dropped where %s must stay: set %s "
				       "to reject too",
				       words[i], words[i - 1], full_keys[i]);
		low = global_node(r, age_keys[i - 1]);
		high = global_node(r, age_keys[i]);
		if (age[i] && (!age[i - 1] || age[i] < age[i - 1]) && (low || high))
			config_warn_at(
				r, high ? high : low,
				"queue.max_age: %s go earlier than %s: set %s to as much, or "
				"more",
				words[i], words[i - 1], age_keys[i]);
	}
	return ST_OK;
}

static unsigned protected_cells(const struct config *c)
{
	unsigned classes = 0;
	classes |= c->queue_when_full_info == CONFIG_WHEN_FULL_REJECT ? 1u << RECORD_CLASS_INFO : 0;
	classes |= c->queue_when_full_warning == CONFIG_WHEN_FULL_REJECT ?
			   1u << RECORD_CLASS_WARNING :
			   0;
	classes |= c->queue_when_full_critical == CONFIG_WHEN_FULL_REJECT ?
			   1u << RECORD_CLASS_CRITICAL :
			   0;
	const struct route_config all = { .signal_mask = (1u << SIGNAL_COUNT) - 1,
					  .class_mask = classes };
	return cells_of(&all);
}

/* Bounds that another bound makes pointless. */
static enum status check_quotas(struct config_reader *r)
{
	const struct config *c = r->config;
	const struct yaml_node *dead = global_node(r, "dead_letters.max_size");
	if (dead && c->dead_letters_max_size >= c->queue_max_size)
		config_warn_at(r, dead,
			       "dead_letters.max_size does nothing: queue.max_size is not more");
	for (size_t i = 0; i < c->destination_count; i++) {
		const struct destination_config *d = &c->destinations[i];
		const struct yaml_node *n = destination_node(r, i, "max_queue_size");
		unsigned cells = cells_sent_to(c, d->name, c->route_count);
		if (!n || d->max_queue_size == 0)
			continue;
		if (d->max_queue_size >= c->queue_max_size)
			config_warn_at(
				r, n,
				"destination %s: max_queue_size does nothing: queue.max_size "
				"is not more",
				d->name);
		else if (cells && !(cells & ~protected_cells(c)))
			config_warn_at(r, n,
				       "destination %s: max_queue_size does nothing: "
				       "queue.when_full is reject for all that is routed there",
				       d->name);
	}
	return ST_OK;
}

static bool is_all_default(const struct config_table *table, const void *base)
{
	bool is_default = true;
	for (size_t i = 0; i < table->count; i++)
		is_default = is_default &&
			     config_value_is_default(&table->options[i],
						     (const char *)base + table->options[i].offset);
	return is_default;
}

/* Without a change in it the one that always exists may stand there, as it does in what
 * check-config prints. */
static bool may_be_unused(const struct uplink_config *u)
{
	return !u->place.line ||
	       (strcmp(u->name, "default") == 0 && is_all_default(&config_uplink_table, u));
}

static enum status check_unused_uplinks(struct config_reader *r)
{
	const struct config *c = r->config;
	for (size_t i = 0; i < c->uplink_count; i++) {
		const struct uplink_config *u = &c->uplinks[i];
		bool is_used = may_be_unused(u);
		for (size_t k = 0; k < c->destination_count; k++)
			is_used = is_used || (c->destinations[k].kind != CONFIG_KIND_FILE &&
					      strcmp(c->destinations[k].uplink, u->name) == 0);
		if (!is_used)
			config_warn_key(r, r->given_uplinks[i].part,
					"uplink %s does nothing: no destination is on it", u->name);
	}
	return ST_OK;
}

static bool is_diverted_to(const struct config *c, const char *name)
{
	for (size_t i = 0; i < c->destination_count; i++)
		if (strcmp(c->destinations[i].too_old_send_to, name) == 0)
			return true;
	return false;
}

static enum status check_idle_destinations(struct config_reader *r)
{
	const struct config *c = r->config;
	for (size_t i = 0; i < c->destination_count; i++) {
		const char *name = c->destinations[i].name;
		if (!cells_sent_to(c, name, c->route_count) && !is_diverted_to(c, name))
			config_warn_key(r, r->given_destinations[i].part,
					"destination %s gets nothing: no route goes to it", name);
	}
	return ST_OK;
}

/* node NULL: the routes are not from the file. */
static enum status check_idle_routes(struct config_reader *r)
{
	const struct config *c = r->config;
	for (size_t i = 0; i < c->route_count; i++) {
		bool adds = r->given_routes == NULL;
		if (!adds && !(cells_of(&c->routes[i]) & cells_that_exist())) {
			config_warn_at(r, r->given_routes[i],
				       "this route matches nothing: metrics are always of class "
				       "info, traces of class critical or info");
			continue;
		}
		for (char **to = c->routes[i].to; *to; to++)
			adds = adds || (cells_of(&c->routes[i]) & ~cells_sent_to(c, *to, i));
		if (!adds)
			config_warn_at(r, r->given_routes[i],
				       "this route adds nothing: those before it send all of that "
				       "there");
	}
	return ST_OK;
}

static bool is_same_map(const struct config_map *a, const struct config_map *b)
{
	bool is_same = a->count == b->count;
	for (size_t i = 0; i < a->count && is_same; i++)
		is_same = strcmp(a->items[i].key, b->items[i].key) == 0 &&
			  strcmp(a->items[i].value, b->items[i].value) == 0;
	return is_same;
}

/* The same place, asked in the same name. */
static bool is_same_backend(const struct destination_config *a, const struct destination_config *b)
{
	const struct config_endpoints x = config_endpoints(a);
	const struct config_endpoints y = config_endpoints(b);
	bool is_same_place = true;
	for (size_t i = 0; i < CONFIG_ENDPOINTS; i++)
		is_same_place = is_same_place && strcmp(x.items[i].url, y.items[i].url) == 0;
	return a->kind != CONFIG_KIND_FILE && a->kind == b->kind && is_same_place &&
	       strcmp(a->auth_basic_username, b->auth_basic_username) == 0 &&
	       strcmp(a->auth_bearer_token, b->auth_bearer_token) == 0 &&
	       strcmp(a->auth_bearer_token_file, b->auth_bearer_token_file) == 0 &&
	       is_same_map(&a->headers, &b->headers);
}

static enum status check_twins(struct config_reader *r)
{
	const struct config *c = r->config;
	for (size_t i = 0; i < c->destination_count; i++)
		for (size_t k = 0; k < i; k++) {
			const struct destination_config *a = &c->destinations[i];
			const struct destination_config *b = &c->destinations[k];
			if (!is_same_backend(a, b) || !(cells_sent_to(c, a->name, c->route_count) &
							cells_sent_to(c, b->name, c->route_count)))
				continue;
			config_warn_key(r, r->given_destinations[i].part,
					"destination %s is the same backend as %s: what is "
					"routed to both arrives there twice",
					a->name, b->name);
			break; /* a third one is said by the second */
		}
	return ST_OK;
}

static enum status check_signal_endpoints(struct config_reader *r)
{
	const struct config *c = r->config;
	for (size_t i = 0; i < c->destination_count; i++) {
		const struct destination_config *d = &c->destinations[i];
		const struct config_endpoints urls = config_endpoints(d);
		unsigned cells = cells_sent_to(c, d->name, c->route_count);
		const struct yaml_node *n = destination_node(r, i, urls.all.key);
		unsigned own = 0;
		for (unsigned s = 0; s < SIGNAL_COUNT; s++)
			own += *urls.of[s].url != '\0';
		if (n && *urls.all.url && own == SIGNAL_COUNT)
			config_warn_at(
				r, n,
				"destination %s: endpoint does nothing: each signal has one of "
				"its own",
				d->name);
		for (unsigned s = 0; s < SIGNAL_COUNT && cells; s++) {
			n = destination_node(r, i, urls.of[s].key);
			if (n && n->text && *n->text && !(cells & cells_of_signal((enum signal)s)))
				config_warn_at(r, n,
					       "destination %s: %s does nothing: no route sends %s "
					       "there",
					       d->name, urls.of[s].key,
					       signal_text((enum signal)s));
		}
	}
	return ST_OK;
}

static enum status check_verification(struct config_reader *r)
{
	for (size_t i = 0; i < r->config->destination_count; i++) {
		const struct destination_config *d = &r->config->destinations[i];
		if (*d->tls_ca_file && d->tls_insecure_skip_verify)
			config_warn_at(r, destination_node(r, i, "tls.ca_file"),
				       "destination %s: tls.ca_file does nothing with "
				       "tls.insecure_skip_verify: true",
				       d->name);
	}
	return ST_OK;
}

enum status config_check_sense(struct config_reader *r)
{
	static enum status (*const rules[])(struct config_reader *) = {
		check_token,          config_check_needs,      config_check_listeners,
		config_check_targets, config_check_files,      check_site,
		check_message_sizes,  check_class_order,       check_quotas,
		check_unused_uplinks, check_idle_destinations, check_idle_routes,
		check_twins,          check_signal_endpoints,  check_verification,
	};
	enum status st = ST_OK;
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]) && !st; i++)
		st = rules[i](r);
	return st;
}
