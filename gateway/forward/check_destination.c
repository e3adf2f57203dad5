/* check_destination.c - asks a destination as its own thread would, once, and tells what happened.
 *
 *   config       the kind's open accepts what is configured
 *   name, connection, tls      of each host (check_network.c)
 *   traces, metrics, logs      a test record of each signal that is routed to it, sent by the
 * kind's own exporter: what that says is what the gateway would see
 *
 * A kind needs nothing but its exporter_ops to be checked. Without a route every signal is tried,
 * and what the kind itself does not take is left out.
 *
 * A file is the exception: the running gateway knows how long it is, and would cut off a line that
 * somebody else put there as a half-written one. So the test record goes to a file beside it, which
 * is removed. */
#include "gateway/forward/check_destination.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "gateway/base/now.h"
#include "gateway/forward/check_hint.h"
#include "gateway/forward/check_network.h"
#include "gateway/forward/check_record.h"
#include "gateway/forward/exporter.h"
#include "gateway/telemetry/json.h"

enum { TRIES = 2, LEVEL = 1 };

struct check {
	const struct check_request *request;
	struct exporter *exporter;
	int wake_fd;
};

static void tell(const struct check_request *r, const char *what, struct check_step *s)
{
	(void)snprintf(s->what, sizeof(s->what), "%s", what);
	r->tell(r->ctx, s);
}

static bool open_exporter(struct check *k)
{
	const struct check_request *r = k->request;
	struct check_step s = { .outcome = CHECK_FINE, .text = "accepted" };
	struct err e = { 0 };
	k->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	enum status st = k->wake_fd < 0 ?
				 err_set(&e, ST_IO, "no eventfd: %s", strerror(errno)) :
				 exporter_ops_of(r->destination)
					 ->open(r->destination, k->wake_fd, &k->exporter, &e);
	if (st) {
		s.outcome = CHECK_FAILED;
		(void)snprintf(s.text, sizeof(s.text), "%s", err_text(&e, st));
	}
	tell(r, "config", &s);
	return !st;
}

/* Bit i: signal i goes there. Without any route to it: all that the kind takes. */
static unsigned signals_of(const struct check_request *r)
{
	unsigned mask = 0;
	for (size_t i = 0; i < r->config->route_count; i++)
		for (char *const *to = r->config->routes[i].to; *to; to++)
			if (strcmp(*to, r->destination->name) == 0)
				mask |= r->config->routes[i].signal_mask;
	return mask ? mask : config_signals_of(r->destination);
}

/* The record as it goes on the wire. */
static enum status make_body(struct check *k, struct export *x, struct bytes otlp, struct err *e)
{
	const struct exporter_ops *ops = k->exporter->ops;
	x->left_out = 0;
	x->left_out_reason[0] = '\0';
	x->encoding = ops->convert ? ENCODING_NONE : ops->encoding(k->exporter);
	buf_done(&x->body);
	buf_init(&x->body, SIZE_MAX, NULL);
	if (ops->convert)
		return ops->convert(k->exporter, x, otlp, &x->body, e);
	if (x->encoding == ENCODING_NONE)
		return buf_append(&x->body, otlp);
	struct compressor *compressor = compressor_new(x->encoding, LEVEL);
	enum status st = compress_append(compressor, otlp, &x->body);
	compressor_free(compressor);
	return st;
}

/* False: no answer within the time. */
static bool send_and_wait(struct check *k, struct export *x)
{
	const struct exporter_ops *ops = k->exporter->ops;
	int64_t end = now_mono_ns() + k->request->timeout_ns;
	struct export *back = NULL;
	x->started_ns = now_mono_ns();
	x->attempts++;
	ops->send(k->exporter, x);
	while (!back && now_mono_ns() < end)
		(void)ops->poll(k->exporter, end, &back);
	return back != NULL;
}

static enum check_result judge(struct check *k, const struct export *x, bool has_answer,
			       struct check_step *s)
{
	const struct export_reply *r = &x->reply;
	s->outcome = CHECK_FAILED;
	(void)snprintf(s->text, sizeof(s->text), "%s", r->error);
	if (!has_answer) {
		(void)snprintf(s->text, sizeof(s->text), "connected, but no answer within %lld s",
			       (long long)(k->request->timeout_ns / NS_PER_S));
		(void)snprintf(
			s->hint, sizeof(s->hint),
			"a wrong port, an overloaded backend, or a proxy that swallows data");
		return CHECK_RESULT_REFUSED;
	}
	if (r->verdict == VERDICT_DELIVERED && r->rejected == 0) {
		s->outcome = CHECK_FINE;
		(void)snprintf(s->text, sizeof(s->text), "took the test record, in %.0f ms%s%s",
			       (double)(now_mono_ns() - x->started_ns) / NS_PER_MS,
			       r->error[0] ? "; " : "", r->error);
		return CHECK_RESULT_FINE;
	}
	/* Refused without being asked: the kind does not take this signal, or has no URL for it. */
	if (r->verdict == VERDICT_REFUSED && r->status == 0) {
		s->outcome = CHECK_LEFT_OUT;
		return CHECK_RESULT_FINE;
	}
	(void)snprintf(s->hint, sizeof(s->hint), "%s", check_hint(k->request->destination, r));
	return r->is_unreachable                  ? CHECK_RESULT_UNREACHABLE :
	       r->verdict == VERDICT_UNAUTHORIZED ? CHECK_RESULT_UNAUTHORIZED :
						    CHECK_RESULT_REFUSED;
}

static enum check_result send_record(struct check *k, enum signal signal, struct bytes otlp,
				     struct check_step *s)
{
	const struct claim claim = { .batch_id = 1,
				     .signal = signal,
				     .class = RECORD_CLASS_INFO,
				     .records = 1,
				     .received_at_ns = now_wall_ns(),
				     .raw_bytes = otlp.n,
				     .stored_bytes = otlp.n };
	struct export *x = export_new(&claim, 1);
	struct err e = { 0 };
	enum check_result result = CHECK_RESULT_REFUSED;
	bool has_answer = true;
	enum status st = make_body(k, x, otlp, &e);
	bool is_nothing = !st && x->body.n == 0 && k->exporter->ops->convert;
	if (is_nothing) {
		s->outcome = CHECK_LEFT_OUT;
		(void)snprintf(s->text, sizeof(s->text), "%s", x->left_out_reason);
		result = CHECK_RESULT_FINE;
	} else if (st) {
		s->outcome = CHECK_FAILED;
		(void)snprintf(s->text, sizeof(s->text), "%s", err_text(&e, st));
	} else {
		has_answer = send_and_wait(k, x);
		/* The backend does not take the encoding: the exporter offers another one. */
		for (int i = 1; i < TRIES && has_answer && x->reply.verdict == VERDICT_ENCODING;
		     i++)
			has_answer = make_body(k, x, otlp, &e) == ST_OK && send_and_wait(k, x);
		result = judge(k, x, has_answer, s);
	}
	/* The exporter still holds what has no answer. */
	if (!has_answer) {
		k->exporter->ops->close(k->exporter);
		k->exporter = NULL;
	}
	export_free(x);
	return result;
}

static enum check_result send_records(struct check *k)
{
	const struct check_request *r = k->request;
	unsigned signals = signals_of(r);
	enum check_result worst = CHECK_RESULT_FINE;
	size_t taken = 0;
	for (int i = 0; i < SIGNAL_COUNT && k->exporter; i++) {
		struct check_step s = { .outcome = CHECK_FAILED };
		struct buf otlp;
		if (!(signals >> i & 1))
			continue;
		buf_init(&otlp, 1 << 16, NULL);
		enum check_result result = CHECK_RESULT_REFUSED;
		if (check_record_write((enum signal)i, r->config->site, now_wall_ns(), &otlp) ==
		    ST_OK)
			result = send_record(k, (enum signal)i, buf_view(&otlp), &s);
		buf_done(&otlp);
		tell(r, signal_text((enum signal)i), &s);
		taken += s.outcome == CHECK_FINE;
		worst = result && !worst ? result : worst;
	}
	return worst || taken ? worst : CHECK_RESULT_REFUSED;
}

static bool file_failed(struct check_step *s, const char *what, const char *path)
{
	s->outcome = CHECK_FAILED;
	(void)snprintf(s->text, sizeof(s->text), "%s %.300s: %s", what, path, strerror(errno));
	(void)snprintf(s->hint, sizeof(s->hint),
		       "the gateway's user must be able to write there; check as that user");
	return false;
}

/* The line that a delivery would be, in a file beside it. */
static bool write_beside(const char *path, const char *site, struct check_step *s)
{
	char name[PATH_MAX];
	struct buf otlp;
	struct buf line;
	struct err e = { 0 };
	buf_init(&otlp, 1 << 16, NULL);
	buf_init(&line, 1 << 16, NULL);
	(void)snprintf(name, sizeof(name), "%s.check", path);
	enum status st = check_record_write(SIGNAL_LOGS, site, now_wall_ns(), &otlp);
	if (!st)
		st = otlp_to_json(SIGNAL_LOGS, buf_view(&otlp), &line, &e);
	int fd = open(name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
	bool is_fine = fd >= 0 || file_failed(s, "cannot make", name);
	if (is_fine && (st || write(fd, line.p, line.n) != (ssize_t)line.n || fdatasync(fd)))
		is_fine = file_failed(s, "cannot write", name);
	if (fd >= 0) {
		(void)close(fd);
		(void)unlink(name);
	}
	buf_done(&otlp);
	buf_done(&line);
	return is_fine;
}

static bool check_file(const struct check_request *r)
{
	const char *path = r->destination->path;
	struct check_step s = { .outcome = CHECK_FINE };
	struct statvfs fs = { 0 };
	char dir[PATH_MAX];
	(void)snprintf(dir, sizeof(dir), "%s", path);
	char *slash = strrchr(dir, '/');
	if (slash)
		slash[slash == dir] = '\0'; /* the root keeps its name */
	else
		(void)snprintf(dir, sizeof(dir), ".");
	bool is_fine = true;
	if (access(dir, F_OK) && errno == ENOENT) {
		s.outcome = CHECK_WARNING;
		(void)snprintf(s.text, sizeof(s.text), "%.300s is made by the first delivery", dir);
	} else if (access(dir, W_OK | X_OK)) {
		is_fine = file_failed(&s, "no access to", dir);
	} else if (access(path, F_OK) == 0 && access(path, R_OK | W_OK)) {
		is_fine = file_failed(&s, "no access to", path);
	} else if (r->is_without_send || write_beside(path, r->config->site, &s)) {
		(void)statvfs(dir, &fs);
		(void)snprintf(s.text, sizeof(s.text), "%.300s can be written, %llu MiB are free",
			       path, (unsigned long long)fs.f_bavail * fs.f_frsize / (1 << 20));
	} else {
		is_fine = false;
	}
	tell(r, "file", &s);
	return is_fine;
}

enum check_result check_destination(const struct check_request *r)
{
	struct check k = { .request = r, .wake_fd = -1 };
	enum check_result result = CHECK_RESULT_INVALID;
	if (!open_exporter(&k))
		goto out;
	if (r->is_config_only)
		result = CHECK_RESULT_FINE;
	else if (r->destination->kind == CONFIG_KIND_FILE)
		result = check_file(r) ? CHECK_RESULT_FINE : CHECK_RESULT_REFUSED;
	else if (!check_network(r))
		result = CHECK_RESULT_UNREACHABLE;
	else
		result = r->is_without_send ? CHECK_RESULT_FINE : send_records(&k);
out:
	if (k.exporter)
		k.exporter->ops->close(k.exporter);
	if (k.wake_fd >= 0)
		(void)close(k.wake_fd);
	return result;
}
