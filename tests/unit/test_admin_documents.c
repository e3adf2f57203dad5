/* What the API answers, call by call, and that the command line shows the same from the file. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "admin/cli.h"
#include "admin/routes.h"
#include "gateway/base/metrics.h"
#include "gateway/base/now.h"
#include "tests/support/expect.h"
#include "tests/support/sample_queue.h"

static struct sample_queue queue;
static const int64_t t0 = INT64_C(1700000000) * NS_PER_S;

/* ExportLogsServiceRequest: resource_logs { scope_logs { log_records { body { "tide" } } } } */
static const uint8_t log_body[] = { 0x0a, 0x0c, 0x12, 0x0a, 0x12, 0x08, 0x2a,
				    0x06, 0x0a, 0x04, 't',  'i',  'd',  'e' };

static void make_queue(void)
{
	sample_queue_make(&queue);
	(void)sample_queue_add(&queue, "logs", "critical", 2, "ready",
			       bytes_of(log_body, sizeof(log_body)), 1, t0);
	(void)sample_queue_add(&queue, "traces", "info", 1, "dead", bytes_str("\x0a\x00"), 4, t0);
}

struct got {
	enum status st;
	json_t *json;
	struct buf text;
	char error[600];
	const char *type;
};

/* One call through the table, as server.c makes it. */
static struct got ask(const char *path, const char *name, const char *value)
{
	static struct sampler sampler;
	struct got g = { 0 };
	struct err e = { 0 };
	const struct route *route = NULL;
	struct call c = { .queue_path = queue.path,
			  .capacity_bytes = 1 << 30,
			  .gateway = { .state = ST_OK, .uptime_ns = 5 * NS_PER_S },
			  .sampler = &sampler };
	sampler_init(&sampler, queue.path, 1 << 30);
	parameters_init(&c.parameters);
	buf_init(&c.out, DOCUMENT_MAX, NULL);
	struct route_words words = { 0 };
	g.st = route_find(path, &route, &words, &e);
	c.id = words.id;
	c.name = words.name;
	if (!g.st && name)
		g.st = parameters_set(&c.parameters, route->set, name, value, &e);
	parameters_finish(&c.parameters);
	if (!g.st)
		g.st = route->answer(&c, &e);
	if (!g.st && !c.parameters.is_otlp)
		g.json = json_loadb((const char *)c.out.p, c.out.n, JSON_ALLOW_NUL, NULL);
	(void)snprintf(g.error, sizeof(g.error), "%s", err_text(&e, g.st));
	buf_move(&g.text, &c.out);
	parameters_done(&c.parameters);
	return g;
}

static void got_done(struct got *g)
{
	json_decref(g->json);
	buf_done(&g->text);
}

/* The value at a path like "destinations.0.ready.records". */
static json_t *at(json_t *root, const char *path)
{
	char copy[200];
	char *rest = NULL;
	(void)snprintf(copy, sizeof(copy), "%s", path);
	for (char *key = strtok_r(copy, ".", &rest); key; key = strtok_r(NULL, ".", &rest))
		root = json_is_array(root) ? json_array_get(root, strtoul(key, NULL, 10)) :
					     json_object_get(root, key);
	return root;
}

static void expect_int(json_t *root, const char *path, int64_t want)
{
	json_t *v = at(root, path);
	ck_assert_msg(json_is_integer(v) && json_integer_value(v) == want, "%s is %lld", path,
		      (long long)json_integer_value(v));
}

static void expect_text(json_t *root, const char *path, const char *want)
{
	const char *text = json_string_value(at(root, path));
	ck_assert_msg(text && strcmp(text, want) == 0, "%s is %s", path, text ? text : "no text");
}

static void expect_null(json_t *root, const char *path)
{
	ck_assert_msg(json_is_null(at(root, path)), "%s", path);
}

START_TEST(health_tells_a_salvage_and_readiness_a_full_queue)
{
	struct gateway_view g = { .state = ST_FULL, .is_degraded = true };
	struct buf out;
	buf_init(&out, 4096, NULL);
	EXPECT_OK(document_health(&g, &out));
	json_t *o = json_loadb((const char *)out.p, out.n, 0, NULL);
	expect_text(o, "status", "degraded");
	expect_text(o, "queue", "full");
	json_decref(o);
	buf_clear(&out);
	EXPECT_STATUS(document_ready(&g, &out), ST_FULL);
	ck_assert(bytes_equal(
		buf_view(&out),
		bytes_str("{\"status\":\"not_ready\",\"reason\":\"the queue is full\"}")));
	g = (struct gateway_view){ .state = ST_OK };
	buf_clear(&out);
	EXPECT_OK(document_ready(&g, &out));
	ck_assert(bytes_equal(buf_view(&out), bytes_str("{\"status\":\"ready\",\"reason\":null}")));
	buf_done(&out);
}
END_TEST

START_TEST(status_has_every_destination_with_its_numbers)
{
	make_queue();
	struct got g = ask("/api/v1/status", NULL, NULL);
	EXPECT_STATUS(g.st, ST_OK);
	expect_text(g.json, "gateway.state", "ok");
	expect_int(g.json, "gateway.uptime_s", 5);
	expect_int(g.json, "queue.capacity_bytes", 1 << 30);
	expect_int(g.json, "queue.page_bytes", 16384);
	expect_text(g.json, "destinations.1.name", "logs");
	expect_text(g.json, "destinations.1.state", "backing_off");
	expect_text(g.json, "destinations.1.reason", "connection refused");
	expect_text(g.json, "destinations.1.next_attempt_at", "2023-11-14T22:13:25.000Z");
	expect_text(g.json, "destinations.1.oldest_at", "2023-11-14T22:13:20.000Z");
	expect_int(g.json, "destinations.1.ready.signals.logs.records", 1);
	expect_int(g.json, "destinations.1.ready.bytes", sizeof(log_body));
	expect_int(g.json, "destinations.0.dead.records", 4);
	expect_null(g.json, "destinations.0.oldest_at");
	expect_int(g.json, "balance.difference", 0);
	ck_assert(json_is_true(at(g.json, "balance.is_balanced")));
	got_done(&g);
	sample_queue_run(&queue, "UPDATE totals SET records = records + 2 WHERE signal = 'logs';"
				 "UPDATE totals SET records = records - 2 WHERE signal = 'traces'");
	g = ask("/api/v1/status", NULL, NULL);
	/* Two errors do not cancel out. */
	expect_int(g.json, "balance.difference", 4);
	got_done(&g);
	g = ask("/api/v1/balance", NULL, NULL);
	ck_assert(json_is_false(at(g.json, "is_balanced")));
	expect_text(g.json, "balance.0.destination", "central");
	expect_int(g.json, "balance.0.dead", 4);
	expect_int(g.json, "balance.0.difference", -2);
	got_done(&g);
	sample_queue_remove(&queue);
}
END_TEST

START_TEST(batches_are_listed_filtered_and_paged)
{
	make_queue();
	struct got g = ask("/api/v1/batches", NULL, NULL);
	ck_assert_uint_eq(json_array_size(at(g.json, "batches")), 2);
	expect_null(g.json, "next_cursor");
	expect_text(g.json, "batches.1.deliveries.0.last_error", "bad label");
	expect_int(g.json, "batches.1.deliveries.0.last_status", 400);
	expect_null(g.json, "batches.0.deliveries.0.last_status");
	got_done(&g);
	g = ask("/api/v1/batches", "state", "dead");
	ck_assert_uint_eq(json_array_size(at(g.json, "batches")), 1);
	expect_int(g.json, "batches.0.id", 2);
	got_done(&g);
	g = ask("/api/v1/batches", "limit", "1");
	expect_int(g.json, "next_cursor", 1);
	got_done(&g);
	g = ask("/api/v1/batches", "min_age", "36500d");
	ck_assert_uint_eq(json_array_size(at(g.json, "batches")), 0);
	got_done(&g);
	g = ask("/api/v1/batches", "destination", "nowhere");
	EXPECT_STATUS(g.st, ST_NOT_FOUND);
	got_done(&g);
	g = ask("/api/v1/losses", NULL, NULL);
	ck_assert_uint_eq(json_array_size(at(g.json, "losses")), 0);
	got_done(&g);
	sample_queue_remove(&queue);
}
END_TEST

START_TEST(one_batch_is_shown_with_its_records)
{
	make_queue();
	struct got g = ask("/api/v1/batches/1", NULL, NULL);
	EXPECT_STATUS(g.st, ST_OK);
	expect_text(g.json, "class", "critical");
	expect_text(g.json, "deliveries.0.destination", "logs");
	expect_text(g.json, "data.resourceLogs.0.scopeLogs.0.logRecords.0.body.stringValue",
		    "tide");
	expect_null(g.json, "data_error");
	got_done(&g);
	g = ask("/api/v1/batches/1", "format", "otlp");
	EXPECT_STATUS(g.st, ST_OK);
	ck_assert(bytes_equal(buf_view(&g.text), bytes_of(log_body, sizeof(log_body))));
	got_done(&g);
	g = ask("/api/v1/batches/77", NULL, NULL);
	EXPECT_STATUS(g.st, ST_NOT_FOUND);
	ck_assert_str_eq(g.error, "the queue has no batch 77");
	got_done(&g);
	g = ask("/api/v1/batches/x7", NULL, NULL);
	EXPECT_STATUS(g.st, ST_INVALID);
	got_done(&g);
	sample_queue_remove(&queue);
}
END_TEST

START_TEST(a_damaged_payload_hides_nothing_else)
{
	make_queue();
	sample_queue_run(&queue, "UPDATE payloads SET body = x'0a0b0c' WHERE batch_id = 1");
	struct got g = ask("/api/v1/batches/1", NULL, NULL);
	EXPECT_STATUS(g.st, ST_OK);
	expect_null(g.json, "data");
	expect_text(g.json, "data_error", "the payload of batch 1 does not match its checksum");
	expect_text(g.json, "deliveries.0.destination", "logs");
	got_done(&g);
	g = ask("/api/v1/batches/1", "format", "otlp");
	EXPECT_STATUS(g.st, ST_CORRUPT);
	got_done(&g);
	/* The checksum is right, but the bytes are no OTLP: cut within a record. */
	int64_t id =
		sample_queue_add(&queue, "logs", "info", 1, "ready", bytes_of(log_body, 9), 1, t0);
	char path[64];
	(void)snprintf(path, sizeof(path), "/api/v1/batches/%lld", (long long)id);
	g = ask(path, NULL, NULL);
	EXPECT_STATUS(g.st, ST_OK);
	expect_null(g.json, "data");
	ck_assert(json_is_string(at(g.json, "data_error")));
	got_done(&g);
	sample_queue_remove(&queue);
}
END_TEST

START_TEST(text_that_is_not_utf8_does_not_break_a_document)
{
	make_queue();
	sample_queue_run(&queue,
			 "UPDATE batches SET preview = CAST(x'6162ff63' AS TEXT), service = "
			 "'caf\xc3\xa9' WHERE id = 1");
	struct got g = ask("/api/v1/batches", NULL, NULL);
	expect_text(g.json, "batches.0.preview", "ab?c");
	expect_text(g.json, "batches.0.service", "caf\xc3\xa9");
	got_done(&g);
	sample_queue_remove(&queue);
}
END_TEST

START_TEST(metrics_show_the_queue_and_count_each_loss_once)
{
	make_queue();
	struct series *lost = metric_series(M_LOST, "logs", "logs", "evicted");
	double before = series_value(lost);
	sample_queue_run(&queue, "INSERT INTO losses (at, destination_id, signal, class, reason, "
				 "records, bytes) VALUES (1, 2, 'logs', 'info', 'evicted', 7, 1)");
	struct sampler s;
	struct err e = { 0 };
	now_fake(t0 + 90 * NS_PER_S, 1000 * NS_PER_S);
	sampler_init(&s, queue.path, 4096);
	EXPECT_OK(sampler_refresh(&s, 123, &e));
	ck_assert_double_eq(series_value(lost), before + 7);
	ck_assert_double_eq(series_value(metric_series(M_IN_FLIGHT_BYTES)), 123);
	ck_assert_double_eq(series_value(metric_series(M_DESTINATION_OLDEST_AGE, "logs")), 90);
	ck_assert_double_eq(series_value(metric_series(M_DESTINATION_OLDEST_AGE, "central")), 0);
	ck_assert_double_eq(series_value(metric_series(M_DESTINATION_QUEUED, "logs", "logs")), 1);
	ck_assert_double_eq(series_value(metric_series(M_DESTINATION_DEAD, "central", "traces")),
			    4);
	ck_assert_double_eq(series_value(metric_series(M_EXPORTER_QUEUE_SIZE, "logs")),
			    sizeof(log_body));
	ck_assert_double_eq(series_value(metric_series(M_EXPORTER_QUEUE_CAPACITY, "logs")), 4096);
	ck_assert_double_eq(series_value(metric_series(M_BALANCE, "central")), 0);
	ck_assert_double_gt(series_value(metric_series(M_PROCESS_RSS)), 1 << 20);
	/* Within the second nothing is read again; after it, only what is new is added. */
	sample_queue_run(&queue, "DELETE FROM deliveries WHERE destination_id = 2");
	EXPECT_OK(sampler_refresh(&s, 0, &e));
	ck_assert_double_eq(series_value(metric_series(M_DESTINATION_QUEUED, "logs", "logs")), 1);
	now_fake_advance(2 * NS_PER_S);
	EXPECT_OK(sampler_refresh(&s, 0, &e));
	ck_assert_double_eq(series_value(metric_series(M_DESTINATION_QUEUED, "logs", "logs")), 0);
	ck_assert_double_eq(series_value(metric_series(M_BALANCE, "logs")), 1);
	ck_assert_double_eq(series_value(lost), before + 7);
	now_fake_off();
	sample_queue_remove(&queue);
}
END_TEST

START_TEST(a_queue_that_cannot_be_read_is_told)
{
	make_queue();
	sample_queue_remove(&queue);
	struct got g = ask("/api/v1/status", NULL, NULL);
	EXPECT_STATUS(g.st, ST_NOT_FOUND);
	ck_assert_ptr_nonnull(strstr(g.error, "there is no queue file at"));
	got_done(&g);
	g = ask("/nothing/here", NULL, NULL);
	EXPECT_STATUS(g.st, ST_NOT_FOUND);
	ck_assert_str_eq(g.error, "there is nothing at /nothing/here");
	got_done(&g);
	g = ask("/api/v1/batches/", NULL, NULL);
	EXPECT_STATUS(g.st, ST_NOT_FOUND);
	got_done(&g);
}
END_TEST

static int no_run(const char *config_path)
{
	(void)config_path;
	return 99;
}

/* Runs the command line with stdout going to a file. *ret_text is what it printed. */
static int cli(char **ret_text, int argc, ...)
{
	char *argv[16] = { 0 };
	va_list ap;
	va_start(ap, argc);
	for (int i = 0; i < argc; i++)
		argv[i] = va_arg(ap, char *);
	va_end(ap);
	FILE *file = tmpfile();
	(void)fflush(stdout);
	int saved = dup(STDOUT_FILENO);
	ck_assert_int_ge(dup2(fileno(file), STDOUT_FILENO), 0);
	int rc = cli_main(argc, argv, no_run, NULL);
	(void)fflush(stdout);
	(void)dup2(saved, STDOUT_FILENO);
	(void)close(saved);
	long n = ftell(file);
	(void)fseek(file, 0, SEEK_END);
	n = ftell(file);
	rewind(file);
	*ret_text = calloc(1, (size_t)n + 1);
	ck_assert_uint_eq(fread(*ret_text, 1, (size_t)n, file), (size_t)n);
	(void)fclose(file);
	return rc;
}

START_TEST(the_command_line_reads_the_file_where_no_gateway_is_asked)
{
	make_queue();
	char *text = NULL;
	ck_assert_int_eq(cli(&text, 4, "tidegate", "status", "--queue", queue.path), 0);
	ck_assert_msg(strstr(text, "balance      ok") != NULL, "%s", text);
	ck_assert_msg(strstr(text, "logs: connection refused") != NULL, "%s", text);
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		ck_assert_msg(strlen(line) <= 100 || strstr(line, queue.dir), "%s", line);
	free(text);
	ck_assert_int_eq(cli(&text, 6, "tidegate", "queue", "-q", queue.path, "--state", "dead"),
			 0);
	ck_assert_msg(strstr(text, "dead:central") && !strstr(text, "ready:logs"), "%s", text);
	free(text);
	ck_assert_int_eq(cli(&text, 5, "tidegate", "show", "--queue", queue.path, "1"), 0);
	ck_assert_msg(strstr(text, "\"stringValue\": \"tide\"") != NULL, "%s", text);
	free(text);
	ck_assert_int_eq(cli(&text, 6, "tidegate", "show", "-o", "json", "-q", queue.path), 2);
	free(text);
	ck_assert_int_eq(cli(&text, 7, "tidegate", "show", "-o", "json", "-q", queue.path, "1"), 0);
	json_t *o = json_loads(text, 0, NULL);
	expect_text(o, "source.kind", "file");
	expect_text(o, "source.path", queue.path);
	expect_int(o, "id", 1);
	json_decref(o);
	free(text);
	ck_assert_int_eq(cli(&text, 5, "tidegate", "show", "-q", queue.path, "9"), 4);
	free(text);
	sample_queue_remove(&queue);
	ck_assert_int_eq(cli(&text, 4, "tidegate", "status", "-q", queue.path), 4);
	free(text);
}
END_TEST

START_TEST(a_wrong_command_line_is_refused)
{
	char *text = NULL;
	static char *const cases[][3] = {
		{ "frobnicate", NULL, NULL },
		{ "status", "extra", NULL },
		{ "status", "--nope", NULL },
		{ "status", "--state", "dead" },
		{ "queue", "--state", "gone" },
		{ "queue", "--limit", NULL },
		{ "show", NULL, NULL },
		{ "show", "x", NULL },
		{ "status", "-o", "xml" },
		{ "run", "--queue", "x" },
		{ "check-config", "extra", NULL },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int argc = 2 + (cases[i][1] != NULL) + (cases[i][2] != NULL);
		int rc = cli(&text, argc, "tidegate", cases[i][0], cases[i][1], cases[i][2]);
		ck_assert_msg(rc == 2, "%s %s gives %d", cases[i][0],
			      cases[i][1] ? cases[i][1] : "", rc);
		ck_assert_str_eq(text, "");
		free(text);
	}
	ck_assert_int_eq(cli(&text, 1, "tidegate"), 2);
	free(text);
	ck_assert_int_eq(cli(&text, 2, "tidegate", "run"), 99);
	free(text);
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		health_tells_a_salvage_and_readiness_a_full_queue,
		status_has_every_destination_with_its_numbers,
		batches_are_listed_filtered_and_paged,
		one_batch_is_shown_with_its_records,
		a_damaged_payload_hides_nothing_else,
		text_that_is_not_utf8_does_not_break_a_document,
		metrics_show_the_queue_and_count_each_loss_once,
		a_queue_that_cannot_be_read_is_told,
		the_command_line_reads_the_file_where_no_gateway_is_asked,
		a_wrong_command_line_is_refused,
	};
	return run_cases("admin_documents", cases, sizeof(cases) / sizeof(cases[0]));
}
