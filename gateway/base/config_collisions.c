/* config_collisions.c - two things in one place: listeners on one port, files in one file, a
 * destination that is this gateway itself.
 *
 * Each of them would come to light later and worse: as a port that "another program" has, as a
 * queue file that somebody appended to, as telemetry that goes round for ever. They are compared as
 * text, without asking a name server or the disk: what needs those is for the start to find out. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gateway/base/config_reader.h"
#include "gateway/base/grpc_endpoint.h"
#include "gateway/base/net.h"
#include "gateway/base/url.h"

enum { HOST_SIZE = 256, PORT_SIZE = 16, LISTENERS = 3, WHERE_SIZE = 64 };

struct address {
	char host[HOST_SIZE];
	char port[PORT_SIZE];
};

struct listener {
	const char *key;
	struct address address;
};

static void list_listeners(const struct config *c, struct listener ret[LISTENERS])
{
	const char *const keys[LISTENERS] = { "receivers.otlp.grpc.endpoint",
					      "receivers.otlp.http.endpoint", "admin.endpoint" };
	const char *const endpoints[LISTENERS] = { c->grpc_endpoint, c->http_endpoint,
						   c->admin_endpoint };
	for (size_t i = 0; i < LISTENERS; i++) {
		struct address *a = &ret[i].address;
		ret[i].key = keys[i];
		CHECK(!net_split(endpoints[i], a->host, sizeof(a->host), a->port, sizeof(a->port),
				 NULL));
	}
}

static bool is_loopback_name(const char *host)
{
	return strcmp(host, "localhost") == 0 || strcmp(host, "127.0.0.1") == 0 ||
	       strcmp(host, "::1") == 0;
}

/* Does a listener on host hear what is sent to other? Listeners on :: hear IPv4 too. */
static bool hears(const char *host, const char *other)
{
	bool is_v6 = strchr(other, ':') != NULL;
	return strcmp(host, other) == 0 || !*host || strcmp(host, "::") == 0 ||
	       (strcmp(host, "0.0.0.0") == 0 && !is_v6) ||
	       (strcmp(host, "localhost") == 0 && is_loopback_name(other)) ||
	       (strcmp(other, "localhost") == 0 && is_loopback_name(host));
}

/* Port 0 is whatever is free. */
static bool is_same_port(const char *a, const char *b)
{
	long port = strtol(a, NULL, 10);
	return port > 0 && port == strtol(b, NULL, 10);
}

enum status config_check_listeners(struct config_reader *r)
{
	struct listener all[LISTENERS];
	list_listeners(r->config, all);
	for (size_t i = 0; i < LISTENERS; i++)
		for (size_t k = 0; k < i; k++) {
			const struct address *a = &all[i].address;
			const struct address *b = &all[k].address;
			if (!is_same_port(a->port, b->port) ||
			    (!hears(a->host, b->host) && !hears(b->host, a->host)))
				continue;
			/* The defaults do not collide: the file has one of them at least. */
			const struct yaml_node *n =
				config_node_of(&config_global_table, &r->given, all[i].key);
			if (!n)
				n = config_node_of(&config_global_table, &r->given, all[k].key);
			return config_fail_at(r, n,
					      "%s and %s have the same port %s: give each its own",
					      all[i].key, all[k].key, a->port);
		}
	return ST_OK;
}

/* Host and port of an http:// or https:// URL. False: it has none of its own. */
static bool read_url(const char *url, struct address *ret)
{
	struct bytes host = url_host(url);
	char text[HOST_SIZE + PORT_SIZE];
	if (host.n == 0 || host.n + PORT_SIZE >= sizeof(text))
		return false;
	const char *port = strncmp(url, "https", 5) == 0 ? "443" : "80";
	const uint8_t *colon = memrchr(host.p, ':', host.n);
	const uint8_t *bracket = memrchr(host.p, ']', host.n);
	bool has_port = colon && (!bracket || bracket < colon);
	(void)snprintf(text, sizeof(text), "%.*s%s%s", (int)host.n, (const char *)host.p,
		       has_port ? "" : ":", has_port ? "" : port);
	return net_split(text, ret->host, sizeof(ret->host), ret->port, sizeof(ret->port), NULL) ==
	       ST_OK;
}

static bool read_address(const struct destination_config *d, const char *url, struct address *ret)
{
	struct grpc_endpoint g;
	if (d->kind != CONFIG_KIND_OTLP_GRPC)
		return read_url(url, ret);
	if (grpc_endpoint_parse(url, d->tls_insecure, &g, NULL))
		return false;
	memcpy(ret->host, g.host, sizeof(g.host));
	memcpy(ret->port, g.port, sizeof(g.port));
	return true;
}

static enum status check_target(struct config_reader *r, size_t i, const struct config_endpoint *at)
{
	const struct destination_config *d = &r->config->destinations[i];
	struct listener all[LISTENERS];
	struct address to;
	if (!*at->url || !read_address(d, at->url, &to))
		return ST_OK;
	list_listeners(r->config, all);
	for (size_t k = 0; k < LISTENERS; k++)
		if (is_same_port(all[k].address.port, to.port) &&
		    hears(all[k].address.host, to.host) && is_loopback_name(to.host))
			return config_fail_at(
				r,
				config_node_of(&config_destination_table, &r->given_destinations[i],
					       at->key),
				"destination %s: %s is this gateway itself (%s): what it sends "
				"would come back for ever",
				d->name, at->key, all[k].key);
	return ST_OK;
}

enum status config_check_targets(struct config_reader *r)
{
	enum status st = ST_OK;
	for (size_t i = 0; i < r->config->destination_count && !st; i++) {
		const struct destination_config *d = &r->config->destinations[i];
		const struct config_endpoints urls = config_endpoints(d);
		for (size_t k = 0; k < CONFIG_ENDPOINTS && !st; k++)
			st = check_target(r, i, &urls.items[k]);
	}
	return st;
}

/* The path from the root, without //, . and .., as the text says: no link is followed. */
static void write_whole_path(const char *path, char ret[PATH_MAX])
{
	char joined[2 * PATH_MAX] = "";
	size_t n = 0;
	if (*path != '/' && !getcwd(joined, PATH_MAX))
		joined[0] = '\0';
	size_t at = strlen(joined);
	(void)snprintf(joined + at, sizeof(joined) - at, "/%.*s", PATH_MAX, path);
	for (const char *p = joined; *p;) {
		p += strspn(p, "/");
		size_t length = strcspn(p, "/");
		if (length == 2 && memcmp(p, "..", 2) == 0) {
			while (n > 0 && ret[--n] != '/')
				;
		} else if (length && !(length == 1 && *p == '.') && n + length + 2 < PATH_MAX) {
			ret[n++] = '/';
			memcpy(ret + n, p, length);
			n += length;
		}
		p += length;
	}
	ret[n] = '\0';
}

/* PATH, or PATH.1 and so on: what a file destination writes. */
static bool is_file_of(const char *file, const char *path)
{
	size_t n = strlen(path);
	if (strncmp(file, path, n) != 0)
		return false;
	const char *rest = file + n;
	return !*rest ||
	       (*rest == '.' && rest[1] && strspn(rest + 1, "0123456789") == strlen(rest + 1));
}

/* The file as the disk knows it: a link is what it leads to. Where there is no file yet, its
 * directory as the disk knows it; where there is none either, as write_whole_path. */
static void write_real_path(const char *path, char ret[PATH_MAX])
{
	char target[PATH_MAX];
	char joined[2 * PATH_MAX];
	char whole[PATH_MAX];
	if (realpath(path, ret))
		return;
	ssize_t n = readlink(path, target, sizeof(target) - 1);
	const char *slash = strrchr(path, '/');
	int directory = n > 0 && *target != '/' && slash ? (int)(slash - path + 1) : 0;
	(void)snprintf(joined, sizeof(joined), "%.*s%.*s", directory, path,
		       n > 0 ? (int)n : PATH_MAX, n > 0 ? target : path);
	write_whole_path(joined, whole);
	char *name = strrchr(whole, '/');
	memcpy(ret, whole, sizeof(whole));
	if (!name || name == whole)
		return;
	*name++ = '\0';
	if (!realpath(whole, target))
		return;
	int length = snprintf(joined, sizeof(joined), "%s/%s", target, name);
	if (length < PATH_MAX)
		memcpy(ret, joined, (size_t)length + 1);
}

/* Also one that was set aside, of any time. */
static bool is_queue_file(const char *file, const char *queue)
{
	static const char *const ends[] = { "", "-wal", "-shm", "-journal", ".lock", ".reserve" };
	static const char damaged[] = ".damaged-";
	size_t n = strlen(queue);
	if (strncmp(file, queue, n) != 0)
		return false;
	bool is_one = strncmp(file + n, damaged, strlen(damaged)) == 0;
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		is_one = is_one || strcmp(file + n, ends[i]) == 0;
	return is_one;
}

static enum status check_file(struct config_reader *r, size_t i)
{
	const struct config *c = r->config;
	const struct destination_config *d = &c->destinations[i];
	const struct yaml_node *n =
		config_node_of(&config_destination_table, &r->given_destinations[i], "path");
	char path[PATH_MAX];
	char other[PATH_MAX];
	write_real_path(d->path, path);
	write_real_path(c->queue_path, other);
	if (is_queue_file(path, other) || is_file_of(other, path))
		return config_fail_at(
			r, n, "destination %s: path is a file of the queue (queue.path)", d->name);
	for (size_t k = 0; k < i; k++) {
		const struct destination_config *o = &c->destinations[k];
		if (o->kind != CONFIG_KIND_FILE)
			continue;
		write_real_path(o->path, other);
		if (is_file_of(path, other) || is_file_of(other, path))
			return config_fail_at(
				r, n,
				"destination %s: path is a file of destination %s too (PATH, and "
				"PATH.1 and so on from rotation)",
				d->name, o->name);
	}
	return ST_OK;
}

/* Two writers of one file would rotate it under each other. */
enum status config_check_files(struct config_reader *r)
{
	enum status st = ST_OK;
	for (size_t i = 0; i < r->config->destination_count && !st; i++)
		if (r->config->destinations[i].kind == CONFIG_KIND_FILE)
			st = check_file(r, i);
	return st;
}
