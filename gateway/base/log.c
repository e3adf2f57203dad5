/* log.c - formats a line on the stack and writes it with one write(2).
 *
 * One write per line keeps lines of several threads whole without a lock (POSIX makes writes of up
 * to PIPE_BUF bytes to a pipe atomic; a longer line is cut to stay below). A log that cannot be
 * written is lost: the gateway must not stop for it. */
#include "gateway/base/log.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "gateway/base/characters.h"
#include "gateway/base/now.h"

enum { LINE_MAX_BYTES = 2048 };

static enum log_level least_level = LOG_INFO_LEVEL;
static enum log_format line_format = LOG_FORMAT_LOGFMT;
static bool is_journal;

static const struct {
	const char *name;
	int priority; /* syslog(3) */
} levels[] = { { "debug", 7 }, { "info", 6 }, { "warn", 4 }, { "error", 3 }, { "fatal", 2 } };

void log_init(enum log_level least, enum log_format format)
{
	least_level = least;
	line_format = format;
	is_journal = getenv("JOURNAL_STREAM") != NULL;
}

static void format_time(char *dst, size_t size)
{
	int64_t ns = now_wall_ns();
	time_t s = (time_t)(ns / NS_PER_S);
	struct tm tm;
	char day[32];
	(void)gmtime_r(&s, &tm);
	(void)strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(dst, size, "%s.%03dZ", day, (int)(ns % NS_PER_S / NS_PER_MS));
}

/* The pairs "k=v k2=\"v 2\"" as JSON members. Values stay strings: what reads logs types them. */
static size_t pairs_to_json(char *dst, size_t size, const char *pairs)
{
	size_t n = 0;
	const char *p = pairs;
	while (*p && n + 8 < size) {
		size_t key = strcspn(p, "= ");
		if (key == 0 || p[key] != '=') {
			p += key + (p[key] != '\0');
			continue;
		}
		n += (size_t)snprintf(dst + n, size - n, ",\"%.*s\":\"", (int)key, p);
		p += key + 1;
		bool is_quoted = *p == '"';
		p += is_quoted;
		while (*p && (is_quoted ? *p != '"' : *p != ' ') && n + 8 < size) {
			if (*p == '\\' && p[1])
				dst[n++] = *p++;
			dst[n++] = *p++;
		}
		p += *p != '\0';
		if (n + 1 < size)
			dst[n++] = '"';
	}
	dst[n < size ? n : size - 1] = '\0';
	return n;
}

void log_event(enum log_level level, const char *event, const char *fmt, ...)
{
	if (level < least_level)
		return;
	char pairs[LINE_MAX_BYTES - 256];
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(pairs, sizeof(pairs), fmt, ap);
	va_end(ap);

	char ts[48];
	format_time(ts, sizeof(ts));
	char prefix[8] = "";
	if (is_journal)
		(void)snprintf(prefix, sizeof(prefix), "<%d>", levels[level].priority);

	char line[LINE_MAX_BYTES];
	int n;
	if (line_format == LOG_FORMAT_JSON) {
		char members[LINE_MAX_BYTES - 256];
		(void)pairs_to_json(members, sizeof(members), pairs);
		n = snprintf(line, sizeof(line),
			     "%s{\"ts\":\"%s\",\"level\":\"%s\",\"event\":\"%s\"%s}\n", prefix, ts,
			     levels[level].name, event, members);
	} else {
		n = snprintf(line, sizeof(line), "%sts=%s level=%s event=%s%s%s\n", prefix, ts,
			     levels[level].name, event, pairs[0] ? " " : "", pairs);
	}
	if (n >= (int)sizeof(line)) {
		n = (int)sizeof(line) - 1;
		line[n - 1] = '\n';
	}
	ssize_t written = write(STDERR_FILENO, line, (size_t)n);
	(void)written;
}

char *log_quote(char *dst, size_t size, const char *src)
{
	size_t n = 0;
	const char *p = src ? src : "";
	dst[n++] = '"';
	for (; *p && n + 8 < size; p++) {
		unsigned char c = (unsigned char)*p;
		if (c == '"' || c == '\\') {
			dst[n++] = '\\';
			dst[n++] = (char)c;
		} else if (c < 0x20 || c == 0x7f) {
			n += (size_t)snprintf(dst + n, size - n, "\\u%04x", c);
		} else {
			dst[n++] = (char)c;
		}
	}
	/* A JSON line with half a character in it is no JSON to most readers. */
	if (*p)
		n = characters_whole(dst, n);
	dst[n++] = '"';
	dst[n] = '\0';
	return dst;
}

bool log_every(struct log_rate *r, int interval_s, uint64_t *ret_skipped)
{
	int64_t now = now_mono_ns();
	int64_t next = atomic_load(&r->next_ns);
	if (now < next ||
	    !atomic_compare_exchange_strong(&r->next_ns, &next, now + interval_s * NS_PER_S)) {
		atomic_fetch_add(&r->skipped, 1);
		return false;
	}
	uint64_t skipped = atomic_exchange(&r->skipped, 0);
	if (ret_skipped)
		*ret_skipped = skipped;
	return true;
}
