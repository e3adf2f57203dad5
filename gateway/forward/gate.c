/* gate.c - between the turns of a destination and the scheduler that it shares with others.
 *
 * Every turn asks anew, class by class, as far as there is something to start: a grant is used at
 * once, and a refusal closes the class for this turn and says when the next turn has to come. So
 * the thread sleeps through windows and budgets, and whatever rings it (new data, another rate, a
 * grant) finds it asking.
 *
 * What waits for the rate is the normal life of a thin link and not worth a word. What waits for a
 * window or a budget is shown as the destination's reason, with the time at which it ends, and
 * logged once when it begins. */
#include "gateway/forward/gate.h"

#include <stdio.h>

#include "gateway/base/log.h"
#include "gateway/base/now.h"

#define FLUSH_MAX_NS (3600 * NS_PER_S)
enum {
	CONNECT_BYTES = 300 /* SYN, its answer, the end of it, and what the network says if not */
};

void gate_init(struct gate *g, struct uplink *uplink, const char *destination, struct chan *chan)
{
	*g = (struct gate){ .destination = destination };
	if (!uplink)
		return;
	g->member = uplink_join(uplink, destination, chan);
	g->uplink = uplink_name(uplink);
}

void gate_done(struct gate *g)
{
	uplink_leave(g->member);
	*g = (struct gate){ 0 };
}

void gate_turn(struct gate *g, const bool has_work[RECORD_CLASS_COUNT], int64_t now)
{
	unsigned wanted = 0;
	g->closed = 0;
	if (!g->member)
		return;
	for (int c = 0; c < RECORD_CLASS_COUNT; c++)
		wanted |= (unsigned)has_work[c] << c;
	if (g->flush_until_ns && (!wanted || now >= g->flush_until_ns)) {
		g->flush_until_ns = 0;
		uplink_set_flush(g->member, false);
	}
	uplink_tick(g->member, wanted);
}

static void log_waiting(struct gate *g, enum record_class class, const struct uplink_answer *a)
{
	enum uplink_wait wait = a->wait >= UPLINK_WINDOW ? a->wait : UPLINK_FREE;
	if (g->waits[class] == wait)
		return;
	g->waits[class] = wait;
	double ahead_s = a->until_ns ? (double)(a->until_ns - now_wall_ns()) / NS_PER_S : 0;
	if (wait == UPLINK_WINDOW)
		log_info("uplink.waiting", "uplink=%s destination=%s class=%s for=%s seconds=%.0f",
			 g->uplink, g->destination, record_class_text(class),
			 uplink_wait_text(wait), ahead_s);
	else if (wait)
		log_warn("uplink.waiting", "uplink=%s destination=%s class=%s for=%s seconds=%.0f",
			 g->uplink, g->destination, record_class_text(class),
			 uplink_wait_text(wait), ahead_s);
}

bool gate_pass(struct gate *g, enum record_class class)
{
	if (!g->member)
		return true;
	CHECK(!g->granted);
	const struct uplink_answer a = uplink_ask(g->member, class);
	log_waiting(g, class, &a);
	if (a.granted) {
		g->granted = a.granted;
		g->granted_class = class;
		return true;
	}
	g->closed |= 1u << class;
	g->due_ns[class] = a.at_ns;
	return false;
}

void gate_sent(struct gate *g, const struct export *x)
{
	if (!g->member)
		return;
	uplink_sent(g->member, x->class, g->granted, x->raw_bytes, uplink_wire_bytes(x->body.n));
	g->granted = 0;
}

void gate_give_back(struct gate *g)
{
	if (!g->granted)
		return;
	uplink_sent(g->member, g->granted_class, g->granted, 0, 0);
	g->granted = 0;
}

void gate_ended(struct gate *g, const struct export *x, size_t body_bytes)
{
	if (g->member && x->reply.is_own)
		uplink_correct(g->member, x->class, -uplink_wire_bytes(body_bytes));
	else if (g->member && x->reply.is_unreachable)
		uplink_correct(g->member, x->class, CONNECT_BYTES - uplink_wire_bytes(body_bytes));
}

bool gate_probe(struct gate *g, const bool has_work[RECORD_CLASS_COUNT])
{
	for (int c = 0; c < RECORD_CLASS_COUNT; c++) {
		if (!has_work[c])
			continue;
		if (!g->member)
			return true;
		if (uplink_is_shut(g->member, (enum record_class)c))
			continue;
		uplink_correct(g->member, (enum record_class)c, CONNECT_BYTES);
		return true;
	}
	return false;
}

size_t gate_export_max(const struct gate *g)
{
	return g->member ? uplink_export_max(g->member) : SIZE_MAX;
}

void gate_note_down(struct gate *g)
{
	if (g->member)
		uplink_note_down(g->member);
}

void gate_note_up(struct gate *g)
{
	if (g->member)
		uplink_note_up(g->member);
}

void gate_flush(struct gate *g, int64_t now)
{
	if (!g->member)
		return;
	g->flush_until_ns = now + FLUSH_MAX_NS;
	uplink_set_flush(g->member, true);
}

void gate_withdraw(struct gate *g)
{
	if (g->member)
		uplink_withdraw(g->member);
}

bool gate_reason(const struct gate *g, char *ret, size_t size, int64_t *ret_until_ns)
{
	enum uplink_wait wait = g->member ? uplink_blocked(g->member, ret_until_ns) : UPLINK_FREE;
	if (wait < UPLINK_WINDOW)
		return false;
	(void)snprintf(ret, size, "waits: the %s of uplink %s %s",
		       wait == UPLINK_WINDOW ? "next window" :
		       wait == UPLINK_DAY    ? "daily budget" :
					       "monthly budget",
		       g->uplink, wait == UPLINK_WINDOW ? "has not come" : "is used up");
	return true;
}
