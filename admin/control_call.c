/* control_call.c - what operators tell a running gateway.
 *
 * An order is given to the destination's thread and answered at once: the thread takes it between
 * two exports, and status shows what came of it. What is under way is never broken off.
 *
 * Every order that was taken leaves one line in the log, with the address it came from: the log is
 * the record of who did what. */
#include "admin/control_call.h"

#include "admin/value.h"
#include "gateway/base/log.h"
#include "gateway/base/now.h"

const char *control_order_text(enum control_order order)
{
	static const char *const words[] = {
		[CONTROL_PAUSE] = "pause", [CONTROL_RESUME] = "resume", [CONTROL_FLUSH] = "flush"
	};
	return words[order];
}

static void set(json_t *object, const char *key, json_t *value)
{
	(void)json_object_set_new(object, key, value);
}

static enum status check(const struct control_call *c, struct err *e)
{
	return c->control ?
		       ST_OK :
		       err_set(e, ST_UNAVAILABLE, "the gateway takes no orders at this moment");
}

static enum status answer_order(const char *key, const struct control_call *c,
				enum control_order order, struct buf *out)
{
	json_t *o = json_object();
	set(o, key, value_string(c->name));
	set(o, "order", json_string(control_order_text(order)));
	set(o, "is_given", json_true());
	return value_write(o, out);
}

enum status control_call_destination(const struct control_call *c, enum control_order order,
				     struct buf *out, struct err *e)
{
	enum status st = check(c, e);
	if (!st)
		st = c->control->destination(c->control->ctx, c->name, order, c->caller, e);
	if (st)
		return st;
	log_info("admin.order", "order=%s destination=%s from=%s", control_order_text(order),
		 c->name, c->caller);
	return answer_order("destination", c, order, out);
}

enum status control_call_uplink(const struct control_call *c, enum control_order order,
				struct buf *out, struct err *e)
{
	enum status st = check(c, e);
	if (!st)
		st = c->control->uplink(c->control->ctx, c->name, order, c->caller, e);
	if (st)
		return st;
	log_info("admin.order", "order=%s uplink=%s from=%s", control_order_text(order), c->name,
		 c->caller);
	return answer_order("uplink", c, order, out);
}

enum status control_call_rate(const struct control_call *c, int64_t rate, int64_t for_ns,
			      struct buf *out, struct err *e)
{
	enum status st = check(c, e);
	if (!st)
		st = c->control->rate(c->control->ctx, c->name, rate < 0 ? 0 : (uint64_t)rate,
				      for_ns, e);
	if (st)
		return st;
	log_info("admin.order", "order=rate uplink=%s rate=%lld for_s=%lld from=%s", c->name,
		 (long long)rate, (long long)(for_ns / NS_PER_S), c->caller);
	json_t *o = json_object();
	set(o, "uplink", value_string(c->name));
	set(o, "rate", rate >= 0 ? json_integer(rate) : json_null());
	set(o, "until", value_time(for_ns ? now_wall_ns() + for_ns : 0));
	return value_write(o, out);
}

static json_t *limit(uint64_t bytes)
{
	return bytes ? json_integer((json_int_t)bytes) : json_null();
}

static json_t *period_object(const struct control_uplink *u, int i)
{
	json_t *o = json_object();
	int64_t budget = u->periods[i].budget;
	int64_t left = budget - u->periods[i].used;
	set(o, "period", json_string(u->periods[i].period));
	set(o, "used_bytes", json_integer(u->periods[i].used));
	set(o, "budget_bytes", limit((uint64_t)budget));
	set(o, "left_bytes", budget ? json_integer(left > 0 ? left : 0) : json_null());
	set(o, "ends_at", value_time(u->periods[i].ends_at_ns));
	return o;
}

static json_t *uplink_object(const struct control_uplink *u)
{
	json_t *o = json_object();
	set(o, "name", value_string(u->name));
	set(o, "destinations", json_integer(u->destinations));
	set(o, "rate", limit(u->rate));
	set(o, "configured_rate", limit(u->configured_rate));
	set(o, "rate_until", value_time(u->rate_until_ns));
	for (int i = 0; i < CONTROL_PERIODS; i++)
		set(o, u->periods[i].name, period_object(u, i));
	set(o, "is_usage_known", json_boolean(u->is_known));
	set(o, "is_open", u->has_windows ? json_boolean(u->is_open) : json_true());
	set(o, "next_window_at", value_time(u->has_windows && !u->is_open ? u->next_change_ns : 0));
	set(o, "window_ends_at", value_time(u->has_windows && u->is_open ? u->next_change_ns : 0));
	json_t *waiting = json_object();
	for (int i = 0; i < CONTROL_REASONS; i++)
		set(waiting, u->waiting[i].reason, json_integer(u->waiting[i].count));
	set(o, "waiting", waiting);
	return o;
}

json_t *control_uplinks(const struct control *control)
{
	struct control_uplink uplinks[UPLINKS_MAX + 1];
	if (!control)
		return json_null();
	json_t *list = json_array();
	size_t count = control->uplinks(control->ctx, uplinks, UPLINKS_MAX + 1);
	for (size_t i = 0; i < count; i++)
		(void)json_array_append_new(list, uplink_object(&uplinks[i]));
	return list;
}

enum status control_call_uplinks(const struct control_call *c, struct buf *out)
{
	json_t *o = json_object();
	set(o, "at", value_time(now_wall_ns()));
	set(o, "uplinks", control_uplinks(c->control));
	return value_write(o, out);
}
