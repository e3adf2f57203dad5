/* What the admin listener promises on the wire, with a real writer behind it. */
#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>

#include "admin/admin.h"
#include "tests/support/expect.h"
#include "tests/support/queue_client.h"

static char dir[CLIENT_PATH_SIZE];
static struct writer *writer;
static struct admin *admin;

static size_t in_flight(void *ctx)
{
	return *(size_t *)ctx;
}

static char queue_path[CLIENT_PATH_SIZE + 16];

static void make_path(void)
{
	client_make_dir(dir, sizeof(dir), "admin");
	(void)snprintf(queue_path, sizeof(queue_path), "%s/queue.db", dir);
}

static void start(const char *token)
{
	static size_t bytes = 4096;
	struct err e = { 0 };
	int slot = -1;
	int64_t id = 0;
	const struct writer_options o = { .path = queue_path, .max_size_bytes = 64 << 20 };
	ck_assert_msg(writer_open(&o, &writer, &e) == ST_OK, "%s", e.text);
	EXPECT_OK(writer_destination(writer, "central", "file", &slot, &id, &e));
	EXPECT_OK(writer_start(writer, &e));
	const struct admin_options a = { .endpoint = "127.0.0.1:0",
					 .token = token,
					 .writer = writer,
					 .queue_path = queue_path,
					 .capacity_bytes = 64 << 20,
					 .in_flight = in_flight,
					 .in_flight_ctx = &bytes };
	ck_assert_msg(admin_start(&a, &admin, &e) == ST_OK, "%s", e.text);
	ck_assert_int_gt(admin_port(admin), 0);
}

static void stop(void)
{
	admin_stop(admin);
	writer_stop(writer);
}

static size_t take(char *data, size_t size, size_t count, void *ctx)
{
	return buf_append(ctx, bytes_of(data, size * count)) ? 0 : size * count;
}

/* The status code; *body is what came. */
static long get(const char *path, const char *header, struct buf *body)
{
	char url[200];
	long code = 0;
	CURL *curl = curl_easy_init();
	struct curl_slist *headers = header ? curl_slist_append(NULL, header) : NULL;
	(void)snprintf(url, sizeof(url), "http://127.0.0.1:%d%s", admin_port(admin), path);
	(void)curl_easy_setopt(curl, CURLOPT_URL, url);
	(void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
	(void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	(void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
	(void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
	ck_assert_int_eq(curl_easy_perform(curl), CURLE_OK);
	(void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &code);
	curl_slist_free_all(headers);
	curl_easy_cleanup(curl);
	return code;
}

static long code_of(const char *path, const char *header)
{
	struct buf body;
	buf_init(&body, 1 << 20, NULL);
	long code = get(path, header, &body);
	buf_done(&body);
	return code;
}

START_TEST(the_token_opens_the_api_and_health_needs_none)
{
	make_path();
	start("sesame");
	ck_assert_int_eq(code_of("/healthz", NULL), 200);
	ck_assert_int_eq(code_of("/readyz", NULL), 200);
	ck_assert_int_eq(code_of("/api/v1/status", NULL), 401);
	ck_assert_int_eq(code_of("/metrics", NULL), 401);
	ck_assert_int_eq(code_of("/nothing", NULL), 401);
	ck_assert_int_eq(code_of("/api/v1/status", "Authorization: Bearer sesam"), 401);
	ck_assert_int_eq(code_of("/api/v1/status", "Authorization: Bearer sesame"), 200);
	ck_assert_int_eq(code_of("/nothing", "Authorization: Bearer sesame"), 404);
	stop();
	client_remove_dir(dir);
}
END_TEST

START_TEST(metrics_carry_what_main_hands_in)
{
	make_path();
	start(NULL);
	struct buf body;
	buf_init(&body, 1 << 20, NULL);
	ck_assert_int_eq(get("/metrics", NULL, &body), 200);
	EXPECT_OK(buf_append_byte(&body, 0));
	const char *text = (const char *)body.p;
	ck_assert_msg(strstr(text, "\ntidegate_in_flight_bytes 4096\n") != NULL, "%s", text);
	ck_assert_msg(strstr(text, "otelcol_exporter_queue_capacity{exporter=\"central\"} "
				   "67108864\n") != NULL,
		      "%s", text);
	buf_done(&body);
	stop();
	client_remove_dir(dir);
}
END_TEST

static void *ask_often(void *arg)
{
	(void)arg;
	for (int i = 0; i < 10; i++) {
		ck_assert_int_eq(code_of("/metrics", NULL), 200);
		ck_assert_int_eq(code_of("/api/v1/status", NULL), 200);
		ck_assert_int_eq(code_of("/healthz", NULL), 200);
	}
	return NULL;
}

START_TEST(many_may_ask_at_once_while_the_writer_writes)
{
	make_path();
	start(NULL);
	pthread_t threads[4];
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, ask_often, NULL), 0);
	for (int64_t id = 1; id <= 40; id++) {
		const struct client_request r = { .id = id,
						  .signal = SIGNAL_LOGS,
						  .class = RECORD_CLASS_INFO,
						  .records = 1,
						  .size = 500,
						  .destinations = 1 };
		enum status st = ST_INTERNAL;
		client_put(writer, &r, 1, &st, NULL);
		EXPECT_OK(st);
	}
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	stop();
	client_remove_dir(dir);
}
END_TEST

static void expect_text(const char *call, const char *want)
{
	struct buf body;
	buf_init(&body, 1 << 20, NULL);
	ck_assert_int_eq(get(call, NULL, &body), 200);
	EXPECT_OK(buf_append_byte(&body, 0));
	ck_assert_msg(strstr((const char *)body.p, want) != NULL, "%s: %s", call,
		      (const char *)body.p);
	buf_done(&body);
}

START_TEST(a_damaged_file_makes_health_degraded_and_leaves_the_rest_at_work)
{
	make_path();
	start(NULL);
	expect_text("/healthz", "\"status\":\"ok\"");
	stop();
	FILE *f = fopen(queue_path, "r+");
	ck_assert_int_eq(fseek(f, 16384, SEEK_SET), 0);
	for (int i = 0; i < 100000; i++)
		(void)fputc(0xa5, f);
	(void)fclose(f);
	/* No salvage runs in this test, so it stays as it is found. */
	start(NULL);
	expect_text("/healthz", "\"status\":\"degraded\"");
	expect_text("/readyz", "\"status\":\"ready\"");
	expect_text("/api/v1/status", "\"salvages\":[{\"path\":");
	expect_text("/api/v1/status", "\"is_degraded\":true");
	stop();
	client_remove_dir(dir);
}
END_TEST

START_TEST(an_open_listener_without_a_token_does_not_start)
{
	struct err e = { 0 };
	struct admin *a = NULL;
	const struct admin_options o = { .endpoint = "0.0.0.0:0", .queue_path = "/nowhere" };
	EXPECT_STATUS(admin_start(&o, &a, &e), ST_INVALID);
	ck_assert_ptr_nonnull(strstr(e.text, "admin.token"));
	ck_assert_ptr_null(a);
	admin_stop(NULL);
}
END_TEST

int main(void)
{
	(void)curl_global_init(CURL_GLOBAL_ALL);
	const TTest *const cases[] = {
		the_token_opens_the_api_and_health_needs_none,
		metrics_carry_what_main_hands_in,
		many_may_ask_at_once_while_the_writer_writes,
		a_damaged_file_makes_health_degraded_and_leaves_the_rest_at_work,
		an_open_listener_without_a_token_does_not_start,
	};
	return run_cases("admin_server", cases, sizeof(cases) / sizeof(cases[0]));
}
