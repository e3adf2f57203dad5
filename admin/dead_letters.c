/* dead_letters.c - what was refused for good, shown by reason and one by one.
 *
 * Groups answer "what is wrong?" and a list answers "which are they?". Both give the reason without
 * numbers (storage/reason.h), and either form of it chooses the same dead letters everywhere. */
#include "admin/dead_letters.h"

#include "admin/value.h"

static void set(json_t *object, const char *key, json_t *value)
{
	(void)json_object_set_new(object, key, value);
}

static json_t *status_value(int status)
{
	return status ? json_integer(status) : json_null();
}

static json_t *group_object(const struct inspect_dead_group *g)
{
	json_t *o = json_object();
	set(o, "destination", value_string(g->destination));
	set(o, "reason", value_string(g->reason));
	set(o, "status", status_value(g->status));
	set(o, "signal", json_string(signal_text(g->signal)));
	set(o, "records", json_integer(g->records));
	set(o, "batches", json_integer(g->batches));
	set(o, "bytes", json_integer(g->bytes));
	set(o, "first_died_at", value_time(g->first_died_ns));
	set(o, "last_died_at", value_time(g->last_died_ns));
	set(o, "example_batch", json_integer(g->example_batch_id));
	return o;
}

enum status document_dead_groups(const struct document_source *s, const struct parameters *p,
				 struct buf *out, struct err *e)
{
	struct inspect_dead_groups groups;
	struct inspect_selector selector = p->selector;
	selector.state = DELIVERY_DEAD;
	enum status st = inspect_dead_groups(s->in, &selector, &groups, e);
	if (st)
		return st;
	json_t *root = json_object();
	json_t *list = json_array();
	for (size_t i = 0; i < groups.count; i++)
		(void)json_array_append_new(list, group_object(&groups.items[i]));
	set(root, "groups", list);
	set(root, "records", json_integer(groups.sum.records));
	set(root, "batches", json_integer(groups.sum.batches));
	set(root, "bytes", json_integer(groups.sum.bytes));
	set(root, "is_complete", json_boolean(groups.is_complete));
	inspect_dead_groups_done(&groups);
	return value_write(root, out);
}

json_t *dead_letter_object(const struct inspect_owed *d)
{
	json_t *o = json_object();
	set(o, "destination", value_string(d->destination));
	set(o, "reason", value_string(d->reason));
	set(o, "status", status_value(d->status));
	set(o, "error", value_string(d->error));
	set(o, "attempts", json_integer(d->attempts));
	set(o, "died_at", value_time(d->last_attempt_at_ns));
	set(o, "batch", json_integer(d->batch_id));
	set(o, "received_at", value_time(d->received_at_ns));
	set(o, "signal", value_string(d->signal));
	set(o, "class", value_string(d->class));
	set(o, "service", value_string(d->service));
	set(o, "preview", value_string(d->preview));
	set(o, "records", json_integer(d->records));
	set(o, "bytes", json_integer(d->bytes));
	return o;
}

static void add_dead_letter(void *ctx, const struct inspect_owed *d)
{
	(void)json_array_append_new(ctx, dead_letter_object(d));
}

enum status document_dead_letters(const struct document_source *s, const struct parameters *p,
				  struct buf *out, struct err *e)
{
	struct inspect_selector selector = p->selector;
	int64_t cursor = p->filter.after_id;
	json_t *list = json_array();
	selector.state = DELIVERY_DEAD;
	enum status st = inspect_owed(s->in, &selector, &cursor, (size_t)p->filter.limit,
				      add_dead_letter, list, e);
	if (st) {
		json_decref(list);
		return st;
	}
	json_t *root = json_object();
	set(root, "dead_letters", list);
	set(root, "next_cursor", cursor ? json_integer(cursor) : json_null());
	return value_write(root, out);
}
