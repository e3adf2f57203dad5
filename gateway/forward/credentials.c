/* credentials.c - basic and bearer authentication (RFC 7617, RFC 6750), rotated without a restart.
 *
 * Tokens of edge sites expire, and something beside the gateway renews them: a file that is
 * replaced. Before each request the file's identity is compared with the one that was read (inode,
 * size, mtime, ctime: replaced by rename or written in place, both show), which costs one stat. No
 * inotify: it is blind on network mounts, and Kubernetes changes a symbolic link two levels up.
 *
 * What is read must be a credential, or it changes nothing: a file that is being written is empty
 * for a moment, a volume is unmounted for longer. The last value stays in use, because the backend
 * is the one to say whether it is still good; the log says once that the file is at fault, and once
 * when it is right again. At the start there is no last value: it is an error then.
 *
 * Redaction works on bytes, not on words: a backend that rejects a request likes to show it, with
 * its headers, and what it shows becomes an error text, a log line, a dead letter's reason, a field
 * of the status. So the answer is wiped before any of them is made of it, in place and without
 * changing its length, which keeps a protobuf answer readable. The predecessor of a rotated value
 * is wiped as well: an answer may be to the request before. */
#include "gateway/forward/credentials.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/base/grpc_status.h"
#include "gateway/base/log.h"
#include "gateway/base/url.h"
#include "gateway/base/xalloc.h"
#include "gateway/forward/secrets.h"

enum {
	FILE_MAX = 16 * 1024,
	QUERY_SECRET_MIN = 8 /* shorter ones are words like "true" */
};

/* What tells one content of a file from another without reading it. */
struct file_identity {
	dev_t device;
	ino_t inode;
	off_t size;
	struct timespec modified;
	struct timespec changed;
};

/* A value and what of it is secret. */
struct credential {
	char *authorization; /* NULL: none yet */
	char *secret;        /* password or token alone */
};

struct credentials {
	const struct destination_config *config;
	const char *file; /* NULL: the configuration has the secret itself */
	const char *key;  /* of the file, for messages */
	struct file_identity identity;
	bool is_at_fault; /* the file, and the log knows */
	struct credential now;
	struct credential before;
	unsigned generation;
	struct secrets fixed;   /* of headers and URLs */
	struct secrets current; /* of now and before */
};

static void credential_done(struct credential *c)
{
	free(c->authorization);
	free(c->secret);
	*c = (struct credential){ 0 };
}

static char *base64_dup(const char *scheme, const char *text)
{
	static const char *const fills[] = { "", "", "==", "=" }; /* by the length, modulo 4 */
	struct buf out;
	buf_init(&out, SIZE_MAX, NULL);
	CHECK(grpc_base64_encode(&out, bytes_str(text)) == ST_OK);
	size_t size = strlen(scheme) + out.n + 3;
	char *made = xcalloc(1, size);
	(void)snprintf(made, size, "%s%.*s%s", scheme, (int)out.n, (const char *)out.p,
		       fills[out.n % 4]);
	buf_done(&out);
	return made;
}

static char *join_dup(const char *a, const char *between, const char *b)
{
	size_t size = strlen(a) + strlen(between) + strlen(b) + 1;
	char *out = xcalloc(1, size);
	(void)snprintf(out, size, "%s%s%s", a, between, b);
	return out;
}

static struct credential make_basic(const char *user, const char *password)
{
	char *pair = join_dup(user, ":", password);
	struct credential c = { .authorization = base64_dup("Basic ", pair),
				.secret = xstrdup(password) };
	free(pair);
	return c;
}

static struct credential make_bearer(const char *token)
{
	return (struct credential){ .authorization = join_dup("Bearer", " ", token),
				    .secret = xstrdup(token) };
}

static struct credential make(const struct credentials *k, const char *secret)
{
	return *k->config->auth_basic_username ?
		       make_basic(k->config->auth_basic_username, secret) :
		       make_bearer(secret);
}

/* A header's value, and what stands behind its scheme. */
static void add_header(struct secrets *s, const char *value)
{
	const char *blank = value ? strrchr(value, ' ') : NULL;
	secrets_add(s, value);
	if (blank)
		secrets_add(s, blank + 1);
}

static void add_credential(struct secrets *s, const struct credential *c)
{
	add_header(s, c->authorization);
	secrets_add(s, c->secret);
}

static void replace(struct credentials *k, struct credential c)
{
	credential_done(&k->before);
	k->before = k->now;
	k->now = c;
	k->generation++;
	secrets_done(&k->current);
	add_credential(&k->current, &k->now);
	add_credential(&k->current, &k->before);
}

/* ---- the file ---- */

static struct file_identity identity_of(const struct stat *s)
{
	return (struct file_identity){ .device = s->st_dev,
				       .inode = s->st_ino,
				       .size = s->st_size,
				       .modified = s->st_mtim,
				       .changed = s->st_ctim };
}

static bool is_same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool is_same(const struct file_identity *a, const struct file_identity *b)
{
	return a->device == b->device && a->inode == b->inode && a->size == b->size &&
	       is_same_time(a->modified, b->modified) && is_same_time(a->changed, b->changed);
}

/* One line, whose end is not part of it, without control characters: it goes into a header. */
static enum status check_secret(const struct credentials *k, char *text, size_t n, struct err *e)
{
	while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r'))
		n--;
	text[n] = '\0';
	if (n == 0)
		return err_set(e, ST_INVALID, "%s: %s is empty", k->key, k->file);
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			return err_set(e, ST_INVALID,
				       "%s: %s holds more than one line, or a control character",
				       k->key, k->file);
	return ST_OK;
}

/* text has room for FILE_MAX bytes and a NUL. */
static enum status read_file(const struct credentials *k, char *text, struct file_identity *ret,
			     struct err *e)
{
	struct stat s;
	size_t n = 0;
	ssize_t got = 0;
	/* NONBLOCK: a FIFO without a writer would hold the thread for ever. */
	int fd = open(k->file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return err_set(e, ST_INVALID, "%s: cannot read %s: %s", k->key, k->file,
			       strerror(errno));
	enum status st = ST_OK;
	if (fstat(fd, &s) || !S_ISREG(s.st_mode))
		st = err_set(e, ST_INVALID, "%s: %s is no regular file", k->key, k->file);
	while (!st && n <= FILE_MAX && (got = read(fd, text + n, FILE_MAX + 1 - n)) > 0)
		n += (size_t)got;
	if (got < 0)
		st = err_set(e, ST_INVALID, "%s: cannot read %s: %s", k->key, k->file,
			     strerror(errno));
	else if (n > FILE_MAX)
		st = err_set(e, ST_INVALID, "%s: %s is longer than a credential (%d bytes)", k->key,
			     k->file, FILE_MAX);
	(void)close(fd);
	if (st)
		return st;
	*ret = identity_of(&s);
	return check_secret(k, text, n, e);
}

static enum status load(struct credentials *k, struct err *e)
{
	char *text = xcalloc(1, FILE_MAX + 2);
	struct file_identity identity;
	enum status st = read_file(k, text, &identity, e);
	if (!st) {
		k->identity = identity;
		if (!k->now.secret || strcmp(k->now.secret, text) != 0)
			replace(k, make(k, text));
	}
	explicit_bzero(text, FILE_MAX);
	free(text);
	return st;
}

/* Reads the file again where it is another one. */
static void refresh(struct credentials *k)
{
	struct stat s;
	struct err e = { 0 };
	unsigned before = k->generation;
	if (!k->file)
		return;
	if (stat(k->file, &s) == 0) {
		struct file_identity identity = identity_of(&s);
		if (!k->is_at_fault && is_same(&identity, &k->identity))
			return;
	}
	enum status st = load(k, &e);
	if (st && !k->is_at_fault)
		log_warn("forward.credentials", "destination=%s kept=previous reason=%s",
			 k->config->name, LOG_QUOTE(err_text(&e, st)));
	else if (!st && (k->is_at_fault || k->generation != before))
		log_info("forward.credentials", "destination=%s is_new=%s file=%s", k->config->name,
			 k->generation != before ? "yes" : "no", LOG_QUOTE(k->file));
	k->is_at_fault = st != ST_OK;
}

/* ---- secrets that stand in URLs ---- */

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' :
	       c >= 'a' && c <= 'f' ? c - 'a' + 10 :
	       c >= 'A' && c <= 'F' ? c - 'A' + 10 :
				      -1;
}

static void percent_decode(char *text)
{
	char *to = text;
	for (const char *p = text; *p; p++) {
		int high = p[0] == '%' ? hex_digit(p[1]) : -1;
		int low = high >= 0 ? hex_digit(p[2]) : -1;
		int c = low < 0 ? *p : high << 4 | low;
		*to++ = (char)c;
		p += low < 0 ? 0 : 2;
	}
	*to = '\0';
}

/* http://user:password@host: libcurl makes a Basic header of it. */
static struct credential credential_of_url(const char *url)
{
	struct credential c = { 0 };
	struct bytes all = url_user(url);
	if (!all.p)
		return c;
	const char *start = (const char *)all.p;
	const char *at = start + all.n;
	/* A token may stand there alone, as the user. */
	const char *colon = memchr(start, ':', (size_t)(at - start));
	const char *user_end = colon ? colon : at;
	char *user = strndup(start, (size_t)(user_end - start));
	char *password = colon ? strndup(colon + 1, (size_t)(at - colon - 1)) : strdup("");
	CHECK(user && password);
	percent_decode(user);
	percent_decode(password);
	c = make_basic(user, password);
	if (!colon) {
		free(c.secret);
		c.secret = xstrdup(user);
	}
	free(user);
	free(password);
	return c;
}

/* Values of a URL's query: many services take a key there. */
static void add_query(struct secrets *s, const char *url)
{
	const char *at = strchr(url, '?');
	while (at && (at = strchr(at, '=')) != NULL) {
		size_t length = strcspn(++at, "&#");
		char *value = strndup(at, length);
		CHECK(value);
		percent_decode(value);
		if (strlen(value) >= QUERY_SECRET_MIN)
			secrets_add(s, value);
		free(value);
		at += length;
	}
}

/* Tenant and user agent are no secrets, and a reason that says whose limit was hit should say so.
 */
static bool is_secret(const char *header)
{
	return strcasecmp(header, "x-scope-orgid") != 0 && strcasecmp(header, "user-agent") != 0;
}

static void add_fixed(struct secrets *s, const struct destination_config *c)
{
	const struct config_endpoints urls = config_endpoints(c);
	for (size_t i = 0; i < CONFIG_ENDPOINTS; i++) {
		struct credential of_url = credential_of_url(urls.items[i].url);
		add_query(s, urls.items[i].url);
		add_credential(s, &of_url);
		credential_done(&of_url);
	}
	for (size_t i = 0; i < c->headers.count; i++)
		if (is_secret(c->headers.items[i].key))
			add_header(s, c->headers.items[i].value);
}

/* ---- open, ask, close ---- */

enum status credentials_open(const struct destination_config *c, struct credentials **ret,
			     struct err *e)
{
	struct credentials *k = xcalloc(1, sizeof(*k));
	k->config = c;
	add_fixed(&k->fixed, c);
	if (*c->auth_basic_password_file) {
		k->file = c->auth_basic_password_file;
		k->key = "auth.basic.password_file";
	} else if (*c->auth_bearer_token_file) {
		k->file = c->auth_bearer_token_file;
		k->key = "auth.bearer.token_file";
	} else if (*c->auth_basic_username) {
		replace(k, make(k, c->auth_basic_password));
	} else if (*c->auth_bearer_token) {
		replace(k, make(k, c->auth_bearer_token));
	}
	enum status st = k->file ? load(k, e) : ST_OK;
	if (st) {
		credentials_free(k);
		return st;
	}
	*ret = k;
	return ST_OK;
}

void credentials_free(struct credentials *k)
{
	if (!k)
		return;
	credential_done(&k->now);
	credential_done(&k->before);
	secrets_done(&k->current);
	secrets_done(&k->fixed);
	free(k);
}

const char *credentials_authorization(struct credentials *k)
{
	refresh(k);
	return k->now.authorization;
}

unsigned credentials_generation(struct credentials *k)
{
	refresh(k);
	return k->generation;
}

void credentials_redact(const struct credentials *k, void *p, size_t n)
{
	secrets_wipe(&k->current, p, n);
	secrets_wipe(&k->fixed, p, n);
}
