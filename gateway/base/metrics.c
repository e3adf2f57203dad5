/* metrics.c - the registry behind metrics.h.
 *
 * Series of a metric form a list that only grows, so readers walk it without a lock: the list head
 * is an atomic pointer, and a series is complete before it is published. Values are doubles in
 * atomic 64-bit words (compare and swap to add): a counter of records stays exact up to 2^53. */
#include "gateway/base/metrics.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "gateway/base/xalloc.h"

enum metric_type { COUNTER, GAUGE, HISTOGRAM };
enum { LABELS_MAX = 4 };

static const double bounds[] = { 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
				 0.1,    0.25,    0.5,    1,     2.5,    5,     10,   30 };
enum { BOUNDS = sizeof(bounds) / sizeof(bounds[0]) };

struct series {
	struct series *next;
	char *labels[LABELS_MAX];
	_Atomic uint64_t value; /* a double's bits; histograms: the sum */
	_Atomic uint64_t buckets[BOUNDS + 1];
};

static const struct {
	const char *name;
	enum metric_type type;
	const char *labels;
	const char *help;
} rows[] = {
#define METRIC(name, exposed, type, labels, help) { exposed, type, labels, help },
#include "schema/metrics.def"
#undef METRIC
};

static struct {
	_Atomic(struct series *) head;
	size_t count;
} lists[METRIC_COUNT];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static int label_count(enum metric m)
{
	const char *p = rows[m].labels;
	int n = *p ? 1 : 0;
	for (; *p; p++)
		n += *p == ',';
	return n;
}

static struct series *find(enum metric m, int n, const char *const *values)
{
	for (struct series *s = atomic_load_explicit(&lists[m].head, memory_order_acquire); s;
	     s = s->next) {
		int i = 0;
		while (i < n && strcmp(s->labels[i], values[i]) == 0)
			i++;
		if (i == n)
			return s;
	}
	return NULL;
}

/* Called with the lock held. */
static struct series *add(enum metric m, int n, const char *const *values)
{
	struct series *s = xcalloc(1, sizeof(*s));
	for (int i = 0; i < n; i++)
		s->labels[i] = xstrdup(values[i]);
	s->next = atomic_load_explicit(&lists[m].head, memory_order_relaxed);
	lists[m].count++;
	atomic_store_explicit(&lists[m].head, s, memory_order_release);
	return s;
}

struct series *metric_series(enum metric m, ...)
{
	const char *values[LABELS_MAX];
	static const char *const other[LABELS_MAX] = { "other", "other", "other", "other" };
	int n = label_count(m);
	CHECK(n <= LABELS_MAX);
	va_list ap;
	va_start(ap, m);
	for (int i = 0; i < n; i++)
		values[i] = va_arg(ap, const char *);
	va_end(ap);

	struct series *s = find(m, n, values);
	if (s)
		return s;
	CHECK(pthread_mutex_lock(&mutex) == 0);
	s = find(m, n, values);
	if (!s && lists[m].count >= METRIC_SERIES_MAX - 1) {
		s = find(m, n, other);
		if (!s)
			s = add(m, n, other);
	}
	if (!s)
		s = add(m, n, values);
	CHECK(pthread_mutex_unlock(&mutex) == 0);
	return s;
}

static double from_bits(uint64_t bits)
{
	double v;
	memcpy(&v, &bits, sizeof(v));
	return v;
}

static uint64_t to_bits(double v)
{
	uint64_t bits;
	memcpy(&bits, &v, sizeof(bits));
	return bits;
}

void series_add(struct series *s, double n)
{
	uint64_t old = atomic_load_explicit(&s->value, memory_order_relaxed);
	while (!atomic_compare_exchange_weak_explicit(&s->value, &old, to_bits(from_bits(old) + n),
						      memory_order_relaxed, memory_order_relaxed))
		;
}

void series_set(struct series *s, double v)
{
	atomic_store_explicit(&s->value, to_bits(v), memory_order_relaxed);
}

void series_observe(struct series *s, double seconds)
{
	int i = 0;
	while (i < BOUNDS && seconds > bounds[i])
		i++;
	atomic_fetch_add_explicit(&s->buckets[i], 1, memory_order_relaxed);
	series_add(s, seconds);
}

static uint64_t histogram_count(const struct series *s)
{
	uint64_t n = 0;
	for (int i = 0; i <= BOUNDS; i++)
		n += atomic_load_explicit(&s->buckets[i], memory_order_relaxed);
	return n;
}

double series_value(struct series *s)
{
	uint64_t n = histogram_count(s);
	return n ? (double)n : from_bits(atomic_load_explicit(&s->value, memory_order_relaxed));
}

/* Label values escape backslash, quote and line feed (Prometheus text format). */
static enum status write_value(struct buf *out, const char *v)
{
	enum status st = ST_OK;
	for (; *v && !st; v++) {
		if (*v == '\n')
			st = buf_append_str(out, "\\n");
		else if (*v == '"' || *v == '\\')
			st = buf_printf(out, "\\%c", *v);
		else
			st = buf_append_byte(out, (uint8_t)*v);
	}
	return st;
}

/* {a="b",le="..."}; nothing where there is no label. */
static enum status write_labels(struct buf *out, enum metric m, const struct series *s,
				const char *le)
{
	enum status st = ST_OK;
	const char *names = rows[m].labels;
	bool is_open = false;
	for (int i = 0; *names && !st; i++) {
		size_t n = strcspn(names, ",");
		st = buf_printf(out, "%c%.*s=\"", is_open ? ',' : '{', (int)n, names);
		if (!st)
			st = write_value(out, s->labels[i]);
		if (!st)
			st = buf_append_byte(out, '"');
		is_open = true;
		names += n + (names[n] == ',');
	}
	if (!st && le) {
		st = buf_printf(out, "%cle=\"%s\"", is_open ? ',' : '{', le);
		is_open = true;
	}
	return st || !is_open ? st : buf_append_byte(out, '}');
}

static enum status write_sample(struct buf *out, enum metric m, const struct series *s,
				const char *suffix, const char *le, double v)
{
	enum status st = buf_printf(out, "%s%s", rows[m].name, suffix);
	if (!st)
		st = write_labels(out, m, s, le);
	if (st)
		return st;
	return floor(v) == v && fabs(v) < 9e15 ? buf_printf(out, " %.0f\n", v) :
						 buf_printf(out, " %.15g\n", v);
}

static enum status write_histogram(struct buf *out, enum metric m, const struct series *s)
{
	enum status st = ST_OK;
	uint64_t n = 0;
	for (int i = 0; i <= BOUNDS && !st; i++) {
		char le[32] = "+Inf";
		if (i < BOUNDS)
			(void)snprintf(le, sizeof(le), "%g", bounds[i]);
		n += atomic_load_explicit(&s->buckets[i], memory_order_relaxed);
		st = write_sample(out, m, s, "_bucket", le, (double)n);
	}
	if (!st)
		st = write_sample(out, m, s, "_sum", NULL, from_bits(s->value));
	return st ? st : write_sample(out, m, s, "_count", NULL, (double)n);
}

static enum status write_metric(struct buf *out, enum metric m)
{
	static const char *const types[] = { "counter", "gauge", "histogram" };
	struct series *s = atomic_load_explicit(&lists[m].head, memory_order_acquire);
	if (!s)
		return ST_OK;
	enum status st = buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", rows[m].name, rows[m].help,
				    rows[m].name, types[rows[m].type]);
	for (; s && !st; s = s->next) {
		if (rows[m].type == HISTOGRAM)
			st = write_histogram(out, m, s);
		else
			st = write_sample(out, m, s, "", NULL, series_value(s));
	}
	return st;
}

enum status metrics_write(struct buf *out)
{
	enum status st = ST_OK;
	for (int m = 0; m < METRIC_COUNT && !st; m++)
		st = write_metric(out, (enum metric)m);
	return st;
}
