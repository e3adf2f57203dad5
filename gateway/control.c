/* control.c - takes operators' orders to the threads that they are for.
 *
 * An order for a destination goes through its channel, as everything else that others want of it.
 * A rate goes to the uplink, which wakes whoever waits. Names are looked up in the configuration:
 * a destination that is only in the queue file has no thread to tell. */
#include "gateway/control.h"

#include <stdio.h>
#include <string.h>

#include "gateway/forward/backoff.h"

static enum status no_such(const char *what, const char *name, struct err *e)
{
	return err_set(e, ST_NOT_FOUND, "there is no %s %.64s in the configuration", what, name);
}

static void order(const struct switchboard *s, size_t i, enum control_order o, const char *caller)
{
	static const enum forward_order orders[] = { [CONTROL_PAUSE] = FORWARD_PAUSE,
						     [CONTROL_RESUME] = FORWARD_RESUME,
						     [CONTROL_FLUSH] = FORWARD_FLUSH };
	char reason[SETTLE_ERROR_MAX] = "";
	if (o == CONTROL_PAUSE)
		(void)snprintf(reason, sizeof(reason), "paused by an operator (from %.64s)",
			       caller);
	forward_order(s->forwards[i], orders[o], reason);
}

static enum status order_destination(void *ctx, const char *name, enum control_order o,
				     const char *caller, struct err *e)
{
	const struct switchboard *s = ctx;
	for (size_t i = 0; i < s->config->destination_count; i++)
		if (strcmp(s->config->destinations[i].name, name) == 0) {
			order(s, i, o, caller);
			return ST_OK;
		}
	return no_such("destination", name, e);
}

/* The index of the uplink of this name; -1: there is none. */
static int find_uplink(const struct switchboard *s, const char *name)
{
	for (size_t i = 0; i < s->config->uplink_count; i++)
		if (strcmp(s->config->uplinks[i].name, name) == 0)
			return (int)i;
	return -1;
}

static enum status order_uplink(void *ctx, const char *name, enum control_order o,
				const char *caller, struct err *e)
{
	const struct switchboard *s = ctx;
	int found = find_uplink(s, name);
	if (found < 0)
		return no_such("uplink", name, e);
	for (size_t i = 0; i < s->config->destination_count; i++)
		if (switchboard_uplink(s, &s->config->destinations[i]) == s->uplinks[found])
			order(s, i, o, caller);
	return ST_OK;
}

static enum status set_rate(void *ctx, const char *name, uint64_t rate, int64_t for_ns,
			    struct err *e)
{
	const struct switchboard *s = ctx;
	int i = find_uplink(s, name);
	if (i < 0)
		return no_such("uplink", name, e);
	uplink_set_rate(s->uplinks[i], rate, for_ns);
	return ST_OK;
}

static void look(struct uplink *u, struct control_uplink *ret)
{
	static const char *const periods[CONTROL_PERIODS] = { "day", "month" };
	struct uplink_view v;
	uplink_look(u, &v);
	*ret = (struct control_uplink){
		.name = v.config->name,
		.configured_rate = v.config->rate,
		.rate = v.rate,
		.rate_until_ns = v.rate_until_ns,
		.is_known = v.is_known,
		.has_windows = v.has_windows,
		.is_open = v.is_open,
		.next_change_ns = v.next_change_ns,
		.destinations = v.members,
	};
	for (int i = 0; i < CONTROL_PERIODS; i++) {
		ret->periods[i].name = periods[i];
		ret->periods[i].used = v.used[i];
		ret->periods[i].ends_at_ns = v.ends_ns[i];
		memcpy(ret->periods[i].period, v.periods[i], sizeof(ret->periods[i].period));
	}
	ret->periods[0].budget = (int64_t)v.config->daily_budget;
	ret->periods[1].budget = (int64_t)v.config->monthly_budget;
	_Static_assert((int)CONTROL_REASONS == (int)UPLINK_WAIT_COUNT - 1, "all but UPLINK_FREE");
	for (int w = 1; w < UPLINK_WAIT_COUNT; w++) {
		ret->waiting[w - 1].reason = uplink_wait_text((enum uplink_wait)w);
		ret->waiting[w - 1].count = v.waiting[w];
	}
}

static size_t list_uplinks(void *ctx, struct control_uplink *ret, size_t max)
{
	const struct switchboard *s = ctx;
	size_t i = 0;
	for (; i < s->config->uplink_count && i < max; i++)
		look(s->uplinks[i], &ret[i]);
	return i;
}

void switchboard_init(struct switchboard *s, const struct config *c, struct writer *w,
		      struct forward **forwards)
{
	*s = (struct switchboard){ .control = { .ctx = s,
						.destination = order_destination,
						.uplink = order_uplink,
						.rate = set_rate,
						.uplinks = list_uplinks },
				   .config = c,
				   .forwards = forwards };
	for (size_t i = 0; i < c->uplink_count; i++)
		s->uplinks[i] = uplink_new(&c->uplinks[i], w, backoff_system_random);
}

struct uplink *switchboard_uplink(const struct switchboard *s, const struct destination_config *d)
{
	int i = d->kind == CONFIG_KIND_FILE ? -1 : find_uplink(s, d->uplink);
	return i < 0 ? NULL : s->uplinks[i];
}

void switchboard_stop(struct switchboard *s, int64_t deadline_ns)
{
	for (size_t i = 0; s->config && i < s->config->uplink_count; i++)
		uplink_stop(s->uplinks[i], deadline_ns);
}

void switchboard_done(struct switchboard *s)
{
	for (size_t i = 0; s->config && i < s->config->uplink_count; i++)
		uplink_free(s->uplinks[i]);
	*s = (struct switchboard){ 0 };
}
