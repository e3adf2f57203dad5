/* config_order.c - which order of sending a kind of destination can stand, where data goes that is
 * too old for it, and how little of it may be kept.
 *
 * Loki and Prometheus refuse what arrives out of order, so what would lose data by design is an
 * error here, with its reason, and not a surprise after the first outage. */
#include <stdlib.h>

#include "gateway/base/config_reader.h"
#include "gateway/base/xalloc.h"
#include "schema/vocabulary.h"

enum { KIND_SIZE = 32, QUOTA_MIN = 1 << 20 };

static void kind_word(const struct destination_reading *dr, char word[KIND_SIZE])
{
	config_choice_word(config_option_of(&config_destination_table, "kind"), dr->d->kind, word,
			   KIND_SIZE);
}

static enum status check_fresh_first(const struct destination_reading *dr, const char *kind)
{
	const struct yaml_node *n = config_given_node(dr, "order");
	if (dr->d->order != CONFIG_ORDER_FRESH_FIRST)
		return ST_OK;
	if (strcmp(kind, "loki") == 0)
		return config_fail_at(
			dr->r, n,
			"destination %s: order: fresh_first would lose the backlog: Loki refuses "
			"what is older than half of max_chunk_age behind the newest of its stream. "
			"Leave order at fifo",
			dr->d->name);
	if (strcmp(kind, "prometheus") == 0 && dr->d->prometheus_out_of_order_window == 0)
		return config_fail_at(
			dr->r, n,
			"destination %s: order: fresh_first would lose the backlog: Prometheus "
			"refuses samples that are older than the newest of their series. Set "
			"prometheus.out_of_order_window to the out_of_order_time_window of the "
			"server, or leave order at fifo",
			dr->d->name);
	return ST_OK;
}

static enum status check_in_flight(const struct destination_reading *dr, const char *kind)
{
	if (dr->d->max_in_flight <= 1 || strncmp(kind, "otlp_", 5) == 0)
		return ST_OK;
	return config_fail_at(dr->r, config_given_node(dr, "max_in_flight"),
			      "destination %s: max_in_flight above 1 lets exports overtake each "
			      "other, and kind %s needs them in order",
			      dr->d->name, kind);
}

/* As with a rate or a budget: so little is a unit that was forgotten, and would evict everything.
 */
static enum status check_quota(const struct destination_reading *dr)
{
	if (dr->d->max_queue_size == 0 || dr->d->max_queue_size >= QUOTA_MIN)
		return ST_OK;
	return config_fail_at(
		dr->r, config_given_node(dr, "max_queue_size"),
		"destination %s: max_queue_size is %llu bytes: is a unit missing? The "
		"least is 1MiB, and 0 is no limit of its own",
		dr->d->name, (unsigned long long)dr->d->max_queue_size);
}

enum status config_check_order(const struct destination_reading *dr)
{
	char kind[KIND_SIZE];
	kind_word(dr, kind);
	enum status st = check_fresh_first(dr, kind);
	if (!st)
		st = check_in_flight(dr, kind);
	return st ? st : check_quota(dr);
}

static const struct destination_config *find(const struct config *c, const char *name)
{
	for (size_t i = 0; i < c->destination_count; i++)
		if (strcmp(c->destinations[i].name, name) == 0)
			return &c->destinations[i];
	return NULL;
}

/* Which signals the routes send to d. */
static unsigned routed_signals(const struct config *c, const struct destination_config *d)
{
	unsigned mask = 0;
	for (size_t i = 0; i < c->route_count; i++)
		for (char **to = c->routes[i].to; *to; to++)
			if (strcmp(*to, d->name) == 0)
				mask |= c->routes[i].signal_mask;
	return mask;
}

static enum status check_diversion(struct config_reader *r, const struct yaml_node *n,
				   const struct destination_config *d,
				   const struct destination_config *to)
{
	unsigned wrong = routed_signals(r->config, d) & ~config_signals_of(to);
	if (to == d)
		return config_fail_at(r, n, "destination %s: too_old.send_to is itself", d->name);
	if (*to->too_old_send_to)
		return config_fail_at(r, n,
				      "destination %s: too_old.send_to is %s, which sends what "
				      "is too old on itself: name the last one",
				      d->name, to->name);
	if (wrong)
		return config_fail_at(
			r, n, "destination %s: too_old.send_to is %s, which takes no %s", d->name,
			to->name, signal_text((enum signal)__builtin_ctz(wrong)));
	return ST_OK;
}

/* What is too old goes one step only: two destinations that send it to each other would never be
 * done with it. */
enum status config_check_diversions(struct config_reader *r)
{
	const struct config *c = r->config;
	const char **names = xcalloc(c->destination_count + 1, sizeof(*names));
	enum status st = ST_OK;
	for (size_t i = 0; i < c->destination_count && !st; i++)
		names[i] = c->destinations[i].name;
	for (size_t i = 0; i < c->destination_count && !st; i++) {
		const struct destination_config *d = &c->destinations[i];
		if (!*d->too_old_send_to)
			continue;
		const struct destination_config *to = find(c, d->too_old_send_to);
		const struct yaml_node *n = config_node_of(
			&config_destination_table, &r->given_destinations[i], "too_old.send_to");
		if (!to)
			st = config_fail_at(
				r, n, "there is no destination \"%.64s\"%s", d->too_old_send_to,
				config_hint(r, d->too_old_send_to, names, c->destination_count));
		else
			st = check_diversion(r, n, d, to);
	}
	free((void *)names);
	return st;
}
