/* sampler.c - the gauges that no one updates by the way: queue, ledger, process.
 *
 * Counting the queue costs time, so it is bounded threefold: at most once a second, each time at
 * most LIMIT_NS (storage/inspect_shape.c then estimates), and after a count that took long no other
 * before twenty times as long has passed. So scraping costs at most 5 % of a core whatever the
 * backlog and however many scrapers there are.
 *
 * Losses are a counter: only ledger rows that came since the last refresh are added. They are
 * gathered first and added together, as a read that fails half way must not count anything twice.
 */
#include "admin/sampler.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "gateway/base/metrics.h"
#include "gateway/base/now.h"

enum { REST = 20 };
static const int64_t LIMIT_NS = NS_PER_S;

void sampler_init(struct sampler *s, const char *queue_path, uint64_t capacity_bytes)
{
	*s = (struct sampler){ .queue_path = queue_path,
			       .capacity_bytes = capacity_bytes,
			       .started_ns = now_mono_ns() };
	atomic_flag_clear(&s->is_busy);
	series_set(metric_series(M_BUILD_INFO, TIDEGATE_VERSION, inspect_engine_version()), 1);
}

static void refresh_process(const struct sampler *s, size_t in_flight_bytes)
{
	struct timespec cpu;
	long pages = 0;
	series_set(metric_series(M_IN_FLIGHT_BYTES), (double)in_flight_bytes);
	series_set(metric_series(M_PROCESS_UPTIME),
		   (double)(now_mono_ns() - s->started_ns) / (double)NS_PER_S);
	if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu) == 0)
		series_set(metric_series(M_PROCESS_CPU),
			   (double)cpu.tv_sec + (double)cpu.tv_nsec / (double)NS_PER_S);
	FILE *f = fopen("/proc/self/statm", "re");
	if (f && fscanf(f, "%*s %ld", &pages) == 1)
		series_set(metric_series(M_PROCESS_RSS),
			   (double)pages * (double)sysconf(_SC_PAGESIZE));
	if (f)
		(void)fclose(f);
}

static void set_destination(const struct sampler *s, const struct inspect_destination *d,
			    bool is_estimate)
{
	int64_t bytes = 0;
	int64_t difference = 0;
	for (int i = 0; i < SIGNAL_COUNT; i++) {
		const char *signal = signal_text((enum signal)i);
		bytes += d->ready[i].bytes;
		difference += inspect_difference(d, (enum signal)i);
		series_set(metric_series(M_DESTINATION_QUEUED, d->name, signal),
			   (double)d->ready[i].records);
		series_set(metric_series(M_DESTINATION_DEAD, d->name, signal),
			   (double)d->dead[i].records);
	}
	int64_t age = d->oldest_at_ns ? now_wall_ns() - d->oldest_at_ns : 0;
	series_set(metric_series(M_DESTINATION_OLDEST_AGE, d->name),
		   age > 0 ? (double)age / (double)NS_PER_S : 0);
	series_set(metric_series(M_EXPORTER_QUEUE_SIZE, d->name), (double)bytes);
	series_set(metric_series(M_EXPORTER_QUEUE_CAPACITY, d->name), (double)s->capacity_bytes);
	/* An estimate takes the balance for granted, so it cannot show it. */
	if (!is_estimate)
		series_set(metric_series(M_BALANCE, d->name), (double)difference);
}

static enum status refresh_destinations(const struct sampler *s, struct inspect *in, struct err *e)
{
	struct inspect_shape shape;
	enum status st = inspect_shape(in, &shape, e);
	if (st)
		return st;
	for (size_t i = 0; i < shape.count; i++)
		set_destination(s, &shape.items[i], shape.is_estimate);
	inspect_shape_done(&shape);
	return ST_OK;
}

struct pending {
	struct series *series;
	int64_t records;
};

struct pending_list {
	size_t count;
	struct pending items[METRIC_SERIES_MAX];
};

static void gather_loss(void *ctx, const struct inspect_loss *l)
{
	struct pending_list *list = ctx;
	struct series *s = metric_series(M_LOST, l->destination, l->signal, l->reason);
	size_t i = 0;
	while (i < list->count && list->items[i].series != s)
		i++;
	CHECK(i < METRIC_SERIES_MAX); /* there are no more series than that */
	list->items[i].series = s;
	list->items[i].records += l->records;
	list->count += i == list->count;
}

static enum status refresh_losses(struct sampler *s, struct inspect *in, struct err *e)
{
	struct pending_list list = { 0 };
	enum status st = inspect_loss_sums(in, &s->last_loss_id, gather_loss, &list, e);
	for (size_t i = 0; i < list.count && !st; i++)
		series_add(list.items[i].series, (double)list.items[i].records);
	return st;
}

static enum status refresh_queue(struct sampler *s, struct err *e)
{
	struct inspect *in = NULL;
	enum status st = inspect_open(s->queue_path, LIMIT_NS, &in, e);
	if (!st)
		st = refresh_destinations(s, in, e);
	if (!st)
		st = refresh_losses(s, in, e);
	inspect_close(in);
	return st;
}

enum status sampler_refresh(struct sampler *s, size_t in_flight_bytes, struct err *e)
{
	enum status st = ST_OK;
	if (atomic_flag_test_and_set(&s->is_busy))
		return ST_OK;
	refresh_process(s, in_flight_bytes);
	int64_t begin = now_mono_ns();
	if (begin >= s->next_ns) {
		st = refresh_queue(s, e);
		int64_t took = now_mono_ns() - begin;
		s->next_ns = begin + (took * REST > NS_PER_S ? took * REST : NS_PER_S);
	}
	atomic_flag_clear(&s->is_busy);
	return st;
}
