/* queue_compare.c - the file beside the model, row by row, through the stock library.
 *
 * Everything is written as lines of text on both sides, in the same order, and the first line that
 * differs is the failure: so it reads as a row of the table that is wrong. Rows of the ledger are
 * summed up by destination, signal, class and reason, because old ones are folded. */
#include <check.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/base/xalloc.h"
#include "tests/support/queue_model.h"

struct lines {
	char *p;
	size_t n;
	size_t cap;
};

__attribute__((format(printf, 2, 3))) static void line(struct lines *l, const char *fmt, ...)
{
	va_list ap;
	if (l->cap - l->n < 512) {
		l->cap = l->cap * 2 + 4096;
		l->p = realloc(l->p, l->cap);
		CHECK(l->p);
	}
	va_start(ap, fmt);
	int n = vsnprintf(l->p + l->n, l->cap - l->n, fmt, ap);
	va_end(ap);
	CHECK(n >= 0 && (size_t)n < l->cap - l->n);
	l->n += (size_t)n;
}

/* ---- the model's ---- */

static void want_batches(const struct model *m, struct lines *l)
{
	for (int i = 0; i < m->count; i++) {
		const struct model_batch *b = &m->batches[i];
		if (!model_is_stored(b))
			continue;
		line(l, "batch %lld %s %s %d records=%lld bytes=%lld time=%lld..%lld at=%lld %s\n",
		     (long long)b->id, signal_text(b->signal), record_class_text(b->class),
		     (int)b->class, (long long)b->records, (long long)b->bytes,
		     (long long)b->first_ns, (long long)b->last_ns, (long long)b->received_ns,
		     b->has_payload ? "whole" : "no payload");
		for (int k = 0; k < MODEL_PLACES; k++) {
			const struct model_delivery *d = &b->to[k];
			if (d->state == MODEL_NONE)
				continue;
			line(l,
			     "delivery %lld to %s %s %d records=%lld attempts=%lld at=%lld "
			     "status=%d error=%s\n",
			     (long long)b->id, m->places[k].name,
			     d->state == MODEL_READY ? "ready" : "dead", (int)b->class,
			     (long long)d->records, (long long)d->attempts,
			     (long long)d->attempt_ns, d->status, d->error);
		}
	}
}

static void want_totals(const struct model *m, struct lines *l)
{
	for (int i = 0; i < MODEL_PLACES; i++)
		for (int s = 0; s < SIGNAL_COUNT; s++)
			for (int o = 0; o < OUTCOME_COUNT; o++)
				if (m->totals[i][s][o])
					line(l, "total %s %s %s %lld\n", m->places[i].name,
					     signal_text((enum signal)s),
					     outcome_text((enum outcome)o),
					     (long long)m->totals[i][s][o]);
}

static void want_loss(const struct model *m, int i, int s, int c, struct lines *l)
{
	for (int o = 0; o < OUTCOME_COUNT; o++) {
		const struct model_loss *loss = &m->losses[i][s][c][o];
		if (loss->records)
			line(l, "loss %s %s %s %s records=%lld bytes=%lld time=%lld..%lld\n",
			     m->places[i].name, signal_text((enum signal)s),
			     record_class_text((enum record_class)c), outcome_text((enum outcome)o),
			     (long long)loss->records, (long long)loss->bytes,
			     (long long)loss->first_ns, (long long)loss->last_ns);
	}
}

static void want(const struct model *m, struct lines *l)
{
	want_batches(m, l);
	want_totals(m, l);
	for (int i = 0; i < MODEL_PLACES; i++)
		for (int s = 0; s < SIGNAL_COUNT; s++)
			for (int c = 0; c < RECORD_CLASS_COUNT; c++)
				want_loss(m, i, s, c, l);
	for (int i = 0; i < MODEL_PLACES; i++)
		line(l, "destination %s %d %s %s\n", m->places[i].name, m->places[i].is_configured,
		     destination_state_text(m->places[i].state), m->places[i].reason);
	line(l, "payloads without a batch: 0\ndeliveries without a batch: 0\n");
	line(l, "difference: 0\n");
}

/* ---- the file's ---- */

/* The order is the model's: signals, classes and outcomes as schema/vocabulary.def has them. */
#define IN_ORDER(column, words) "instr('" words "', " column ")"
#define OUTCOMES                "accepted delivered rejected expired evicted purged damaged"
static const char *const queries[] = {
	"SELECT text FROM (SELECT id, -1 AS place, format('batch %d %s %s %d records=%d bytes=%d "
	"time=%d..%d at=%d %s', id, signal, class, priority, records, stored_bytes, "
	"ifnull(first_time, 0), ifnull(last_time, 0), received_mono, CASE WHEN body IS NULL THEN "
	"'no payload' WHEN length(body) = stored_bytes THEN 'whole' ELSE 'cut' END) AS text FROM "
	"batches LEFT JOIN payloads ON batch_id = id UNION ALL "
	"SELECT batch_id, d.id, format('delivery %d to %s %s %d records=%d attempts=%d at=%d "
	"status=%d error=%s', batch_id, name, q.state, priority, records, attempts, "
	"ifnull(last_attempt_at, -1), ifnull(last_status, 0), ifnull(last_error, '')) "
	"FROM deliveries q JOIN destinations d ON d.id = destination_id) ORDER BY id, place",
	"SELECT format('total %s %s %s %d', name, signal, outcome, records) FROM totals JOIN "
	"destinations d ON d.id = destination_id WHERE records <> 0 ORDER BY d.id, " IN_ORDER(
		"signal", "traces metrics logs") ", " IN_ORDER("outcome", OUTCOMES),
	"SELECT format('loss %s %s %s %s records=%d bytes=%d time=%d..%d', name, signal, class, "
	"l.reason, sum(records), sum(bytes), ifnull(min(first_time), 0), ifnull(max(last_time), "
	"0)) FROM losses l JOIN destinations d ON d.id = destination_id GROUP BY d.id, signal, "
	"class, l.reason ORDER BY d.id, " IN_ORDER("signal", "traces metrics logs") ", " IN_ORDER(
		"class", "critical warning info") ", " IN_ORDER("l.reason", OUTCOMES),
	"SELECT format('destination %s %d %s %s', name, is_configured, state, ifnull(reason, '')) "
	"FROM destinations ORDER BY id",
	"SELECT format('payloads without a batch: %d', count(*)) FROM payloads WHERE batch_id NOT "
	"IN (SELECT id FROM batches)",
	"SELECT format('deliveries without a batch: %d', count(*)) FROM deliveries WHERE batch_id "
	"NOT IN (SELECT id FROM batches)",
	"SELECT format('difference: %d', ifnull(sum(abs(difference)), 0)) FROM balance",
};

static void get(const char *path, struct lines *l)
{
	sqlite3 *db = NULL;
	ck_assert_int_eq(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
	(void)sqlite3_busy_timeout(db, 10000);
	for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++) {
		sqlite3_stmt *stmt = NULL;
		int rc = sqlite3_prepare_v2(db, queries[i], -1, &stmt, NULL);
		ck_assert_msg(rc == SQLITE_OK, "%s: %s", sqlite3_errmsg(db), queries[i]);
		while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
			line(l, "%s\n", (const char *)sqlite3_column_text(stmt, 0));
		ck_assert_msg(rc == SQLITE_DONE, "%s: %s", sqlite3_errmsg(db), queries[i]);
		(void)sqlite3_finalize(stmt);
	}
	(void)sqlite3_close(db);
}

void model_compare(const struct model *m, const char *path, const char *what)
{
	struct lines wanted = { 0 };
	struct lines got = { 0 };
	size_t at = 0;
	want(m, &wanted);
	get(path, &got);
	for (size_t i = 0; i < wanted.n && i < got.n && wanted.p[i] == got.p[i]; i++)
		at = wanted.p[i] == '\n' ? i + 1 : at;
	bool is_same = wanted.n == got.n && memcmp(wanted.p, got.p, got.n) == 0;
	if (!is_same)
		ck_abort_msg("%s: the queue has\n  %.*s\nand should have\n  %.*s", what,
			     (int)strcspn(got.p + at, "\n"), got.p + at,
			     (int)strcspn(wanted.p + at, "\n"), wanted.p + at);
	free(wanted.p);
	free(got.p);
}
