/* What log promises: one whole line per event, in a form that machines read, whatever is put in. */
#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "gateway/base/log.h"
#include "gateway/base/now.h"
#include "tests/support/expect.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { CAUGHT_MAX = 1 << 20 };
static char caught[CAUGHT_MAX];

/* Everything that call() writes to stderr. */
static const char *catch_log(void (*call)(void))
{
	char path[] = "/tmp/test_log_XXXXXX";
	int fd = mkstemp(path);
	int saved = dup(STDERR_FILENO);
	ck_assert_int_ge(fd, 0);
	(void)unlink(path);
	(void)dup2(fd, STDERR_FILENO);
	call();
	(void)dup2(saved, STDERR_FILENO);
	(void)close(saved);
	ssize_t n = pread(fd, caught, sizeof(caught) - 1, 0);
	ck_assert_int_ge((int)n, 0);
	caught[n] = '\0';
	(void)close(fd);
	return caught;
}

static void log_some(void)
{
	log_debug("test.debug", "a=%d", 1);
	log_info("test.info", "a=%d b=%s", 1, LOG_QUOTE("x \"y\" \\ \n\x01z"));
	log_warn("test.warn", "%s", "");
}

START_TEST(a_line_has_time_level_event_and_pairs)
{
	now_fake(INT64_C(1790000000123000000), 0);
	log_init(LOG_INFO_LEVEL, LOG_FORMAT_LOGFMT);
	ck_assert_str_eq(catch_log(log_some),
			 "ts=2026-09-21T14:13:20.123Z level=info event=test.info a=1 "
			 "b=\"x \\\"y\\\" \\\\ \\u000a\\u0001z\"\n"
			 "ts=2026-09-21T14:13:20.123Z level=warn event=test.warn\n");
	log_init(LOG_DEBUG_LEVEL, LOG_FORMAT_LOGFMT);
	ck_assert_ptr_nonnull(strstr(catch_log(log_some), "level=debug event=test.debug a=1\n"));
	log_init(LOG_ERROR_LEVEL, LOG_FORMAT_LOGFMT);
	ck_assert_str_eq(catch_log(log_some), "");
}
END_TEST

START_TEST(json_lines_are_json)
{
	now_fake(INT64_C(1790000000123000000), 0);
	log_init(LOG_INFO_LEVEL, LOG_FORMAT_JSON);
	const char *text = catch_log(log_some);
	size_t line = strcspn(text, "\n");
	json_error_t error;
	json_t *o = json_loadb(text, line, 0, &error);
	ck_assert_msg(o, "%s: %s", error.text, text);
	ck_assert_str_eq(json_string_value(json_object_get(o, "ts")), "2026-09-21T14:13:20.123Z");
	ck_assert_str_eq(json_string_value(json_object_get(o, "level")), "info");
	ck_assert_str_eq(json_string_value(json_object_get(o, "event")), "test.info");
	ck_assert_str_eq(json_string_value(json_object_get(o, "a")), "1");
	ck_assert_str_eq(json_string_value(json_object_get(o, "b")), "x \"y\" \\ \n\x01z");
	json_decref(o);
}
END_TEST

static void log_too_much(void)
{
	static char many[4000];
	memset(many, 'm', sizeof(many) - 1);
	log_info("test.long", "many=%s", many);
	/* Escapes, where the cut may not fall inside of one. */
	memset(many, '"', sizeof(many) - 1);
	log_info("test.quoted", "many=%s", LOG_QUOTE(many));
}

START_TEST(a_long_line_is_cut_and_stays_one_line)
{
	for (int format = LOG_FORMAT_LOGFMT; format <= LOG_FORMAT_JSON; format++) {
		log_init(LOG_INFO_LEVEL, (enum log_format)format);
		const char *text = catch_log(log_too_much);
		int lines = 0;
		for (const char *p = text; *p; lines++) {
			size_t n = strcspn(p, "\n");
			ck_assert_uint_lt(n, 4096);
			ck_assert_int_eq(p[n], '\n');
			if (format == LOG_FORMAT_JSON) {
				json_error_t error;
				json_t *o = json_loadb(p, n, 0, &error);
				ck_assert_msg(o, "%s: %.*s", error.text, (int)n, p);
				json_decref(o);
			}
			p += n + 1;
		}
		ck_assert_int_eq(lines, 2);
	}
}
END_TEST

START_TEST(a_quoted_value_fits_its_buffer)
{
	char small[20];
	ck_assert_str_eq(log_quote(small, sizeof(small), "0123456789abcdef"), "\"0123456789a\"");
	ck_assert_str_eq(log_quote(small, sizeof(small), NULL), "\"\"");
	ck_assert_str_eq(log_quote(small, sizeof(small), "\x01\x02\x03\x04"), "\"\\u0001\\u0002\"");
	/* Cut between characters, of which some are longer than one byte. */
	ck_assert_str_eq(log_quote(small, sizeof(small), "0123456789\xe2\x82\xac!!!!"),
			 "\"0123456789\"");
	ck_assert_str_eq(log_quote(small, sizeof(small), "01234567\xe2\x82\xac!!!!"),
			 "\"01234567\xe2\x82\xac\"");
}
END_TEST

START_TEST(repeats_are_held_back_and_counted)
{
	struct log_rate r = { 0 };
	uint64_t skipped = 7;
	now_fake(0, NS_PER_S);
	ck_assert(log_every(&r, 10, &skipped));
	ck_assert_uint_eq(skipped, 0);
	now_fake_advance(NS_PER_S * 10 - 1);
	ck_assert(!log_every(&r, 10, &skipped));
	ck_assert(!log_every(&r, 10, NULL));
	now_fake_advance(1);
	ck_assert(log_every(&r, 10, &skipped));
	ck_assert_uint_eq(skipped, 2);
	now_fake_off();
}
END_TEST

enum { THREADS = 4, LINES = 200 };

static void *log_lines(void *arg)
{
	for (int i = 0; i < LINES; i++)
		log_info("test.thread", "thread=%d line=%d end=here", *(int *)arg, i);
	return NULL;
}

static void log_from_threads(void)
{
	pthread_t threads[THREADS];
	int numbers[THREADS];
	for (int i = 0; i < THREADS; i++) {
		numbers[i] = i;
		ck_assert_int_eq(pthread_create(&threads[i], NULL, log_lines, &numbers[i]), 0);
	}
	for (int i = 0; i < THREADS; i++)
		(void)pthread_join(threads[i], NULL);
}

START_TEST(lines_of_several_threads_stay_whole)
{
	now_fake_off();
	log_init(LOG_INFO_LEVEL, LOG_FORMAT_LOGFMT);
	const char *text = catch_log(log_from_threads);
	int lines = 0;
	for (const char *p = text; *p; lines++) {
		size_t n = strcspn(p, "\n");
		ck_assert_msg(n > 12 && memcmp(p, "ts=", 3) == 0 &&
				      memcmp(p + n - 9, " end=here", 9) == 0,
			      "torn: %.*s", (int)n, p);
		p += n + 1;
	}
	ck_assert_int_eq(lines, THREADS * LINES);
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		a_line_has_time_level_event_and_pairs, json_lines_are_json,
		a_long_line_is_cut_and_stays_one_line, a_quoted_value_fits_its_buffer,
		repeats_are_held_back_and_counted,     lines_of_several_threads_stay_whole,
	};
	return run_cases("log", cases, COUNT(cases));
}
