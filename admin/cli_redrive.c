/* cli_redrive.c - `tidegate dead-letters replay | purge` and `tidegate queue purge | move`.
 *
 * A call of the API works for some seconds and says where to go on; these commands call again until
 * all is done. A replay tries a few first: what a backend refused once it will mostly refuse again,
 * and a thousand refusals more help nobody. It waits until those few have left or are dead again,
 * and goes on only where nothing died: the count of dead letters tells, as a refusal may have been
 * split into batches with other ids. */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "admin/command.h"
#include "admin/redrive_call.h"
#include "admin/table.h"
#include "gateway/base/now.h"

struct totals {
	int64_t batches;
	int64_t records;
	int64_t bytes;
	int64_t cursor; /* 0: it is complete */
	json_t *ids;    /* of the first answer */
};

static int64_t number_of(json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static const char *destination_of(const struct cli_options *o)
{
	const char *name = o->parameters.selector.destination;
	return name ? name : "?";
}

/* The parameters as they were given, but for those named. */
static json_t *make_body(const struct cli_options *o, enum parameter_set set, const char *without)
{
	json_t *body = json_object();
	for (size_t i = 0; i < o->pair_count; i++) {
		enum parameter_type type = PARAMETER_TEXT;
		const char *value = o->pairs[i].value;
		json_t *v = NULL;
		if (without && strcmp(o->pairs[i].name, without) == 0)
			continue;
		(void)parameters_type(set, o->pairs[i].name, &type);
		switch (type) {
		case PARAMETER_TEXT:
			v = json_string(value);
			break;
		case PARAMETER_NUMBER:
			v = json_integer(strtoll(value, NULL, 10));
			break;
		case PARAMETER_FLAG:
			v = json_boolean(strcmp(value, "true") == 0);
			break;
		}
		(void)json_object_set_new(body, o->pairs[i].name, v);
	}
	return body;
}

static enum exit_code call_once(const struct cli_plan *p, const char *path, json_t *body,
				struct totals *t)
{
	json_t *answer = NULL;
	enum exit_code rc = cli_call(p, path, json_incref(body), &answer);
	if (rc != EXIT_CODE_DONE)
		return rc;
	t->batches += number_of(answer, "batches");
	t->records += number_of(answer, "records");
	t->bytes += number_of(answer, "bytes");
	t->cursor = number_of(answer, "next_cursor");
	if (!t->ids)
		t->ids = json_incref(json_object_get(answer, "batch_ids"));
	json_decref(answer);
	return rc;
}

/* Until it is complete, or as many batches as the body's limit says are done. */
static enum exit_code call_all(const struct cli_plan *p, const char *path, json_t *body,
			       struct totals *t)
{
	int64_t limit = number_of(body, "limit");
	enum exit_code rc;
	do {
		rc = call_once(p, path, body, t);
		if (t->cursor)
			(void)json_object_set_new(body, "cursor", json_integer(t->cursor));
		if (limit)
			(void)json_object_set_new(body, "limit", json_integer(limit - t->batches));
	} while (rc == EXIT_CODE_DONE && t->cursor && (!limit || t->batches < limit));
	return rc;
}

static void print_totals(const struct cli_options *o, const struct totals *t, const char *done)
{
	char bytes[32];
	char name[64];
	(void)printf("%s: %lld batches, %lld records, %s %s%s\n",
		     table_clean(name, sizeof(name), destination_of(o)), (long long)t->batches,
		     (long long)t->records, table_bytes(bytes, sizeof(bytes), t->bytes),
		     o->parameters.is_dry_run ? "would be " : "", done);
}

static enum exit_code print_result(const struct cli_options *o, const struct totals *t,
				   const char *done)
{
	if (!o->is_json) {
		print_totals(o, t, done);
		return EXIT_CODE_DONE;
	}
	json_t *r = json_pack("{s:s, s:s, s:b, s:I, s:I, s:I}", "destination", destination_of(o),
			      "done", done, "is_dry_run", o->parameters.is_dry_run, "batches",
			      (json_int_t)t->batches, "records", (json_int_t)t->records, "bytes",
			      (json_int_t)t->bytes);
	enum exit_code rc = r ? cli_print_json(r) : EXIT_CODE_FAILED;
	json_decref(r);
	return rc;
}

static enum exit_code change(const struct cli_options *o, enum parameter_set set, const char *path,
			     const char *done)
{
	struct cli_plan p = { 0 };
	struct totals t = { 0 };
	enum exit_code rc = cli_plan_make(o, &p);
	json_t *body = make_body(o, set, NULL);
	if (rc == EXIT_CODE_DONE)
		rc = call_all(&p, path, body, &t);
	if (rc == EXIT_CODE_DONE)
		rc = print_result(o, &t, done);
	else if (t.batches)
		print_totals(o, &t, done);
	json_decref(body);
	json_decref(t.ids);
	cli_plan_done(&p);
	return rc;
}

enum exit_code cli_dead_purge(const struct cli_options *o)
{
	return change(o, PARAMETERS_PURGE_DEAD, "/api/v1/dead-letters/purge", "purged");
}

enum exit_code cli_queue_purge(const struct cli_options *o)
{
	return change(o, PARAMETERS_PURGE_READY, "/api/v1/queue/purge", "purged");
}

enum exit_code cli_queue_move(const struct cli_options *o)
{
	return change(o, PARAMETERS_MOVE, "/api/v1/queue/move", "moved");
}

/* Replay */

struct replay {
	const struct cli_options *o;
	struct cli_plan plan;
	char *query; /* "?destination=..." */
	json_t *body;
	int64_t dead; /* records, at the start; -1: too many to be counted */
	struct totals few;
	struct totals rest;
};

/* -1 where the gateway could not count them all in its time. */
static enum exit_code count_dead(struct replay *r, int64_t *ret)
{
	char path[1024];
	json_t *answer = NULL;
	(void)snprintf(path, sizeof(path), "/api/v1/dead-letters?%s", r->query);
	enum exit_code rc = cli_call(&r->plan, path, NULL, &answer);
	if (rc == EXIT_CODE_DONE)
		*ret = json_is_true(json_object_get(answer, "is_complete")) ?
			       number_of(answer, "records") :
			       -1;
	json_decref(answer);
	return rc;
}

/* Is the batch still to be sent? Dead again, and gone, are both no. */
static enum exit_code is_ready(struct replay *r, int64_t id, bool *ret)
{
	char path[1024];
	json_t *answer = NULL;
	int n = snprintf(path, sizeof(path), "/api/v1/batches?%s&limit=1", r->query);
	if (id > 1) /* a cursor is at least 1 */
		(void)snprintf(path + n, sizeof(path) - (size_t)n, "&cursor=%lld",
			       (long long)id - 1);
	enum exit_code rc = cli_call(&r->plan, path, NULL, &answer);
	json_t *batch = json_array_get(json_object_get(answer, "batches"), 0);
	*ret = false;
	size_t i;
	json_t *d;
	json_array_foreach(json_object_get(batch, "deliveries"), i, d)
	{
		const char *name = json_string_value(json_object_get(d, "destination"));
		const char *state = json_string_value(json_object_get(d, "state"));
		if (number_of(batch, "id") == id && name && state &&
		    strcmp(name, destination_of(r->o)) == 0 && strcmp(state, "ready") == 0)
			*ret = true;
	}
	json_decref(answer);
	return rc;
}

static void pause_ms(long ms)
{
	struct timespec left = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * NS_PER_MS };
	while (nanosleep(&left, &left) && errno == EINTR)
		continue;
}

/* Until none of the few waits any more, or the time is up: *ret_waiting of them wait then. */
static enum exit_code wait_for_few(struct replay *r, size_t *ret_waiting)
{
	int64_t end = now_mono_ns() + r->o->timeout_s * NS_PER_S;
	size_t next = 0;
	long wait_ms = 50;
	enum exit_code rc = EXIT_CODE_DONE;
	while (rc == EXIT_CODE_DONE && next < json_array_size(r->few.ids)) {
		bool is_waiting = false;
		rc = is_ready(r, json_integer_value(json_array_get(r->few.ids, next)), &is_waiting);
		if (rc == EXIT_CODE_DONE && !is_waiting) {
			next++;
			continue;
		}
		if (now_mono_ns() >= end)
			break;
		pause_ms(wait_ms);
		wait_ms = wait_ms < 500 ? wait_ms * 2 : 1000;
	}
	*ret_waiting = json_array_size(r->few.ids) - next;
	return rc;
}

/* What is said on the way: JSON is one document, at the end. */
static FILE *progress(const struct replay *r)
{
	return r->o->is_json ? stderr : stdout;
}

/* ATTENTION: they were not all delivered; said so. */
static enum exit_code judge_few(struct replay *r)
{
	size_t waiting = 0;
	int64_t dead = 0;
	long long n = r->few.records;
	(void)fprintf(progress(r),
		      "replayed %lld records in %lld batches as a trial, waiting for them\n", n,
		      (long long)r->few.batches);
	(void)fflush(progress(r));
	enum exit_code rc = wait_for_few(r, &waiting);
	if (rc == EXIT_CODE_DONE)
		rc = count_dead(r, &dead);
	if (rc != EXIT_CODE_DONE)
		return rc;
	int64_t again = dead - (r->dead - r->few.records);
	if (waiting) {
		(void)fprintf(progress(r),
			      "%zu of them still wait after %d s: is the destination up? "
			      "(tidegate status); the rest stays dead\n",
			      waiting, r->o->timeout_s);
		return EXIT_CODE_ATTENTION;
	}
	if (dead < 0 || r->dead < 0) {
		(void)fprintf(progress(r),
			      "none of them waits any more, but there are too many dead letters to "
			      "count, so what became of them is not known: look at one (tidegate "
			      "show ID), and replay with --all; the rest stays dead\n");
		return EXIT_CODE_ATTENTION;
	}
	if (again > 0) {
		(void)fprintf(progress(r),
			      "%lld records died again (tidegate dead-letters says why); "
			      "the rest stays dead\n",
			      (long long)again);
		return EXIT_CODE_ATTENTION;
	}
	(void)fprintf(progress(r), "all of them were delivered\n");
	return EXIT_CODE_DONE;
}

static enum exit_code try_few(struct replay *r)
{
	static const char path[] = "/api/v1/dead-letters/replay";
	int64_t limit = number_of(r->body, "limit");
	int64_t few = r->o->first < REDRIVE_IDS_SHOWN ? r->o->first : REDRIVE_IDS_SHOWN;
	few = limit && limit < few ? limit : few;
	(void)json_object_set_new(r->body, "limit", json_integer(few));
	enum exit_code rc = count_dead(r, &r->dead);
	if (rc == EXIT_CODE_DONE)
		rc = call_once(&r->plan, path, r->body, &r->few);
	if (rc != EXIT_CODE_DONE)
		return rc;
	if (r->few.batches == 0) {
		(void)fprintf(progress(r), "no dead letter matches\n");
		return rc;
	}
	rc = judge_few(r);
	if (rc != EXIT_CODE_DONE || !r->few.cursor || (limit && limit <= r->few.batches))
		return rc;
	(void)json_object_set_new(r->body, "cursor", json_integer(r->few.cursor));
	if (limit)
		(void)json_object_set_new(r->body, "limit", json_integer(limit - r->few.batches));
	else
		(void)json_object_del(r->body, "limit");
	rc = call_all(&r->plan, path, r->body, &r->rest);
	if (!r->o->is_json) {
		(void)printf("and the rest: ");
		print_totals(r->o, &r->rest, "replayed");
	}
	return rc;
}

static enum exit_code print_replay(const struct replay *r, enum exit_code rc)
{
	json_t *o = json_pack("{s:s, s:b, s:{s:I, s:I}, s:{s:I, s:I}}", "destination",
			      destination_of(r->o), "is_fine", rc == EXIT_CODE_DONE, "trial",
			      "batches", (json_int_t)r->few.batches, "records",
			      (json_int_t)r->few.records, "rest", "batches",
			      (json_int_t)r->rest.batches, "records", (json_int_t)r->rest.records);
	enum exit_code printed = o ? cli_print_json(o) : EXIT_CODE_FAILED;
	json_decref(o);
	return printed == EXIT_CODE_DONE ? rc : printed;
}

/* For a URL: the names of destinations need no more, others are for the gateway to refuse. */
static char *make_query(const char *name)
{
	static const char hex[] = "0123456789ABCDEF";
	char *query = calloc(strlen(name) * 3 + 20, 1);
	CHECK(query);
	char *out = query + snprintf(query, 20, "destination=");
	for (const unsigned char *p = (const unsigned char *)name; *p; p++) {
		*out++ = '%';
		*out++ = hex[*p >> 4];
		*out++ = hex[*p & 15];
	}
	return query;
}

enum exit_code cli_dead_replay(const struct cli_options *o)
{
	struct replay r = { .o = o };
	const struct parameters *p = &o->parameters;
	bool is_narrow = p->selector.batch_id || p->selector.reason;
	enum exit_code rc = cli_plan_make(o, &r.plan);
	r.query = make_query(p->selector.destination);
	/* --all asks for no trial; a reason or a batch says already which. */
	r.body = make_body(o, PARAMETERS_REPLAY, "all");
	if (!is_narrow)
		(void)json_object_set_new(r.body, "all", json_true());
	if (rc == EXIT_CODE_DONE && (p->is_all || p->is_dry_run)) {
		rc = call_all(&r.plan, "/api/v1/dead-letters/replay", r.body, &r.rest);
		if (rc == EXIT_CODE_DONE)
			rc = print_result(o, &r.rest, "replayed");
	} else if (rc == EXIT_CODE_DONE) {
		rc = try_few(&r);
		if (o->is_json && (rc == EXIT_CODE_DONE || rc == EXIT_CODE_ATTENTION))
			rc = print_replay(&r, rc);
	}
	json_decref(r.body);
	json_decref(r.few.ids);
	json_decref(r.rest.ids);
	free(r.query);
	cli_plan_done(&r.plan);
	return rc;
}
