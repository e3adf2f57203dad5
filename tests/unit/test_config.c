/* What the configuration promises: right files give their values, wrong ones say where and what. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "gateway/base/config.h"
#include "gateway/base/now.h"
#include "schema/vocabulary.h"
#include "tests/support/expect.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct config *parse(const char *yaml)
{
	struct config *c = NULL;
	struct err e = { 0 };
	enum status st = config_parse("t.yaml", bytes_str(yaml), &c, &e);
	ck_assert_msg(st == ST_OK, "%s\nin:\n%s", err_text(&e, st), yaml);
	return c;
}

START_TEST(an_empty_file_is_a_configuration_of_defaults)
{
	static const char *const files[] = { "", "# nothing\n", "---\n", "~\n", "{}\n" };
	for (size_t i = 0; i < COUNT(files); i++) {
		struct config *c = parse(files[i]);
		ck_assert_str_eq(c->site, "");
		ck_assert_str_eq(c->queue_path, "./data/queue.db");
		ck_assert_uint_eq(c->queue_max_size, UINT64_C(8) << 30);
		ck_assert_int_eq(c->queue_commit_interval, 0);
		ck_assert_str_eq(c->grpc_endpoint, "127.0.0.1:4317");
		ck_assert_int_eq(c->grpc_max_concurrent_streams, 100);
		ck_assert_int_eq(c->log_level, 1);
		ck_assert_ptr_null(c->cors_allowed_origins[0]);
		ck_assert_uint_eq(c->resource_attributes.count, 0);
		ck_assert_uint_eq(c->destination_count, 0);
		ck_assert_uint_eq(c->route_count, 0);
		config_free(c);
	}
}
END_TEST

START_TEST(every_type_takes_what_the_file_says)
{
	struct config *c =
		parse("site: \"plant-7\"\n"
		      "queue: {max_size: 20MB, min_free_disk: 0, commit_interval: 1s500ms}\n"
		      "receivers:\n"
		      "  otlp:\n"
		      "    grpc: {endpoint: \"[::1]:0\", max_concurrent_streams: 0x1f}\n"
		      "    http:\n"
		      "      cors: {allowed_origins: [https://a.example, 'https://*.b'], "
		      "allowed_headers: X-One}\n"
		      "resource:\n"
		      "  attributes: {a: b, n: 10, yes: no, t: true}\n"
		      "admin:\n"
		      "log: {level: warn, format: json}\n"
		      "destinations:\n"
		      "  up-link_1:\n"
		      "    kind: otlp_http\n"
		      "    endpoint: https://otlp.example.com\n"
		      "    headers: {authorization: Bearer x}\n"
		      "    compression: zstd\n"
		      "    tls: {insecure_skip_verify: true}\n"
		      "  disk: {kind: file, path: /tmp/x, rotation: {max_backups: 0o17}}\n"
		      "routes:\n"
		      "  - {match: {signal: [traces, logs], class: critical}, to: [disk, "
		      "up-link_1]}\n"
		      "  - to: disk\n");
	ck_assert_str_eq(c->file, "t.yaml");
	ck_assert_str_eq(c->site, "plant-7");
	ck_assert_uint_eq(c->queue_max_size, 20000000);
	ck_assert_uint_eq(c->queue_min_free_disk, 0);
	ck_assert_int_eq(c->queue_commit_interval, 1500 * NS_PER_MS);
	ck_assert_str_eq(c->grpc_endpoint, "[::1]:0");
	ck_assert_int_eq(c->grpc_max_concurrent_streams, 31);
	ck_assert_str_eq(c->cors_allowed_origins[1], "https://*.b");
	ck_assert_ptr_null(c->cors_allowed_origins[2]);
	ck_assert_str_eq(c->cors_allowed_headers[0], "X-One");
	ck_assert_uint_eq(c->resource_attributes.count, 4);
	ck_assert_str_eq(c->resource_attributes.items[1].value, "10");
	ck_assert_str_eq(c->resource_attributes.items[2].key, "yes");
	ck_assert_str_eq(c->resource_attributes.items[2].value, "no");
	ck_assert_int_eq(c->log_level, 2);
	ck_assert_uint_eq(c->destination_count, 2);
	const struct destination_config *d = &c->destinations[0];
	ck_assert_str_eq(d->name, "up-link_1");
	ck_assert_int_eq(d->place.line, 13);
	ck_assert_int_eq(d->kind, CONFIG_KIND_OTLP_HTTP);
	ck_assert_int_eq(d->compression, CONFIG_COMPRESSION_ZSTD);
	ck_assert_str_eq(d->headers.items[0].value, "Bearer x");
	ck_assert(d->tls_insecure_skip_verify);
	ck_assert_int_eq(c->destinations[1].kind, CONFIG_KIND_FILE);
	ck_assert_int_eq(c->destinations[1].rotation_max_backups, 15);
	ck_assert_uint_eq(c->route_count, 2);
	ck_assert_uint_eq(c->routes[0].signal_mask, 1u << SIGNAL_TRACES | 1u << SIGNAL_LOGS);
	ck_assert_uint_eq(c->routes[0].class_mask, 1u << RECORD_CLASS_CRITICAL);
	ck_assert_str_eq(c->routes[0].to[1], "up-link_1");
	ck_assert_uint_eq(c->routes[1].signal_mask, (1u << SIGNAL_COUNT) - 1);
	ck_assert_uint_eq(c->routes[1].class_mask, (1u << RECORD_CLASS_COUNT) - 1);
	ck_assert_str_eq(c->routes[1].to[0], "disk");
	config_free(c);
}
END_TEST

START_TEST(without_routes_everything_goes_everywhere)
{
	struct config *c = parse("destinations:\n"
				 "  a: {kind: file, path: a}\n"
				 "  b: {kind: file, path: b}\n");
	ck_assert_uint_eq(c->route_count, 1);
	ck_assert_uint_eq(c->routes[0].signal_mask, (1u << SIGNAL_COUNT) - 1);
	ck_assert_uint_eq(c->routes[0].class_mask, (1u << RECORD_CLASS_COUNT) - 1);
	ck_assert_str_eq(c->routes[0].to[0], "a");
	ck_assert_str_eq(c->routes[0].to[1], "b");
	ck_assert_ptr_null(c->routes[0].to[2]);
	config_free(c);
	c = parse("routes: []\ndestinations: {a: {kind: file, path: a}}\n");
	ck_assert_uint_eq(c->route_count, 0);
	config_free(c);
}
END_TEST

START_TEST(three_signal_endpoints_need_no_common_one)
{
	config_free(parse("destinations:\n"
			  "  a:\n"
			  "    kind: otlp_http\n"
			  "    traces_endpoint: http://t:1/x\n"
			  "    metrics_endpoint: http://m\n"
			  "    logs_endpoint: http://l\n"));
}
END_TEST

static const struct {
	const char *yaml;
	const char *site;
} expansions[] = {
	{ "site: ${TIDE_SET}", "value" },
	{ "site: ${env:TIDE_SET}", "value" },
	{ "site: a${TIDE_SET}b${TIDE_SET}c", "avaluebvaluec" },
	{ "site: ${TIDE_SET:-other}", "value" },
	{ "site: ${TIDE_UNSET:-other}", "other" },
	{ "site: ${env:TIDE_UNSET:-other one}", "other one" },
	{ "site: ${TIDE_UNSET:-}", "" },
	{ "site: ${TIDE_EMPTY:-other}", "other" },
	{ "site: \"${TIDE_EMPTY}\"", "" },
	{ "site: '${TIDE_SET}'", "value" },
	{ "site: $$", "$" },
	{ "site: $${TIDE_SET}", "${TIDE_SET}" },
	{ "site: $$$${TIDE_SET}", "$${TIDE_SET}" },
	{ "site: $5 and $", "$5 and $" },
	{ "site: ${TIDE_NESTED}", "${TIDE_SET}" },
	{ "site: ${TIDE_YAML}", "a: [b" },
	{ "# ${TIDE_UNSET}\nsite: x", "x" },
};

START_TEST(values_come_from_the_environment)
{
	(void)setenv("TIDE_SET", "value", 1);
	(void)setenv("TIDE_EMPTY", "", 1);
	(void)setenv("TIDE_NESTED", "${TIDE_SET}", 1);
	(void)setenv("TIDE_YAML", "a: [b", 1);
	(void)setenv("TIDE_NUMBER", "7", 1);
	(void)unsetenv("TIDE_UNSET");
	for (size_t i = 0; i < COUNT(expansions); i++) {
		struct config *c = parse(expansions[i].yaml);
		ck_assert_msg(strcmp(c->site, expansions[i].site) == 0, "%s gives \"%s\"",
			      expansions[i].yaml, c->site);
		config_free(c);
	}
	/* Inside {} YAML wants quotes; the number in the variable is a number all the same. */
	struct config *c =
		parse("receivers: {otlp: {grpc: {max_concurrent_streams: \"${TIDE_NUMBER}\"}}}");
	ck_assert_int_eq(c->grpc_max_concurrent_streams, 7);
	config_free(c);
}
END_TEST

#define DEST(keys) "destinations:\n  a:\n    kind: otlp_http\n    endpoint: http://h\n" keys

/* Every message whole: it is what the operator has to go by. */
static const struct {
	const char *yaml;
	const char *message;
} refused[] = {
	/* YAML itself. */
	{ "queue: [", "t.yaml:2:1: did not find expected node content while parsing a flow node: "
		      "close the bracket" },
	{ "a: b\n\tc: d", "t.yaml:2:1: found a tab character that violates indentation while "
			  "scanning a plain scalar: indent with blanks, not with tabs" },
	{ "site: \xff", "t.yaml:1:7: invalid leading UTF-8 octet: save the file as UTF-8" },
	{ "site: a\n---\nsite: b",
	  "t.yaml:2:1: a second document begins here: write one, without ---" },
	{ "site: &x a\nadmin: {token: *x}",
	  "t.yaml:2:16: aliases (*) are not supported: write the value out" },
	{ "<<: {site: a}", "t.yaml:1:1: merge keys (<<) are not supported: write the keys out" },
	{ "site: !!str a",
	  "t.yaml:1:7: tags (!) are not supported: leave it out, or put the value in quotes" },
	{ "queue: !x {path: a}",
	  "t.yaml:1:8: tags (!) are not supported: leave it out, or put the value in quotes" },
	{ "site: a\nlog:\nsite: b", "t.yaml:3:1: site stands here twice, first at 1:1" },
	{ "? [a]\n: b", "t.yaml:1:3: a key is a word: neither a list nor a mapping" },
	{ "site: \"a\\0b\"", "t.yaml:1:7: a NUL character is not allowed: leave it out" },
	{ "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
	  "t.yaml:1:33: nested too deep: no option is more than a few keys deep" },
	{ "- a", "t.yaml:1:1: the file is a mapping of keys to values" },
	{ "hello", "t.yaml:1:1: the file is a mapping of keys to values" },
	/* Keys. */
	{ "queue:\n  max_sze: 1GiB",
	  "t.yaml:2:3: queue.max_sze is no key; did you mean max_size?" },
	{ "recievers: {}", "t.yaml:1:1: recievers is no key; did you mean receivers?" },
	{ "routs: []", "t.yaml:1:1: routs is no key; did you mean routes?" },
	{ "zzz: 1",
	  "t.yaml:1:1: zzz is no key; known here: site, queue, dead_letters, receivers, resource, "
	  "telemetry, admin, log, "
	  "shutdown_timeout, uplinks, destinations, routes" },
	{ "receivers: {otlp: {htp: {}}}",
	  "t.yaml:1:20: receivers.otlp.htp is no key; did you mean http?" },
	{ "queue.path: x",
	  "t.yaml:1:1: queue.path is no key: sections are nested, not joined by dots" },
	{ "\"\": x",
	  "t.yaml:1:1:  is no key; known here: site, queue, dead_letters, receivers, resource, "
	  "telemetry, admin, log, "
	  "shutdown_timeout, uplinks, destinations, routes" },
	{ "queue: 5", "t.yaml:1:8: queue is a mapping" },
	{ "queue: [path]", "t.yaml:1:8: queue is a mapping" },
	{ "site: {a: b}", "t.yaml:1:7: site is a single value, not a mapping: write a text" },
	{ "site: [a]", "t.yaml:1:7: site is a single value, not a list: write a text" },
	{ "site:", "t.yaml:1:6: site has no value: write a text, or \"\" for an empty one" },
	{ "site: ~", "t.yaml:1:7: site has no value: write a text, or \"\" for an empty one" },
	/* Types and bounds. */
	{ "queue: {max_size: many}", "t.yaml:1:19: queue.max_size: \"many\" is no size: write a "
				     "whole number and a unit, from 16MiB to 16TiB" },
	{ "queue: {max_size: 1.5GiB}", "t.yaml:1:19: queue.max_size: \"1.5GiB\" is no size: write "
				       "a whole number and a unit, from 16MiB to 16TiB" },
	{ "queue: {max_size: -1}", "t.yaml:1:19: queue.max_size: \"-1\" is no size: write a whole "
				   "number and a unit, from 16MiB to 16TiB" },
	{ "queue: {max_size: 99999999999999999999999}",
	  "t.yaml:1:19: queue.max_size: \"99999999999999999999999\" is no size: write a whole "
	  "number and a unit, from 16MiB to 16TiB" },
	{ "queue: {max_size: 1KiB}",
	  "t.yaml:1:19: queue.max_size: 1KiB is out of range: it must be from 16MiB to 16TiB" },
	{ "queue: {max_size: 17TiB}",
	  "t.yaml:1:19: queue.max_size: 17TiB is out of range: it must be from 16MiB to 16TiB" },
	{ "shutdown_timeout: 10", "t.yaml:1:19: shutdown_timeout: \"10\" is no duration: write "
				  "whole numbers and units, as in 30s or 1h30m, from 1s to 1h" },
	{ "shutdown_timeout: 1w", "t.yaml:1:19: shutdown_timeout: \"1w\" is no duration: write "
				  "whole numbers and units, as in 30s or 1h30m, from 1s to 1h" },
	{ "shutdown_timeout: 0s",
	  "t.yaml:1:19: shutdown_timeout: 0s is out of range: it must be from 1s to 1h" },
	{ "shutdown_timeout: 60m1ns",
	  "t.yaml:1:19: shutdown_timeout: 60m1ns is out of range: it must be from 1s to 1h" },
	{ "receivers: {otlp: {http: {max_connections: 0}}}",
	  "t.yaml:1:44: receivers.otlp.http.max_connections: 0 is out of range: it must be from 1 "
	  "to 100000" },
	{ "receivers: {otlp: {http: {max_connections: 1e3}}}",
	  "t.yaml:1:44: receivers.otlp.http.max_connections: \"1e3\" is no whole number: write a "
	  "whole number from 1 to 100000" },
	{ "receivers: {otlp: {http: {max_connections: '5'}}}",
	  "t.yaml:1:44: receivers.otlp.http.max_connections: \"5\" is a text: remove the quotes" },
	{ DEST("    tls: {insecure_skip_verify: yes}"),
	  "t.yaml:5:33: tls.insecure_skip_verify: \"yes\" is neither true nor false" },
	{ DEST("    tls: {insecure_skip_verify: \"true\"}"),
	  "t.yaml:5:33: tls.insecure_skip_verify: \"true\" is a text: remove the quotes" },
	{ "admin: {endpoint: 13133}", "t.yaml:1:19: admin.endpoint: \"13133\" is not host:port" },
	{ "admin: {endpoint: \"h:65536\"}", "t.yaml:1:19: admin.endpoint: \"h:65536\": the port is "
					    "above 65535 or the host too long" },
	{ "log: {level: warning}", "t.yaml:1:14: log.level: \"warning\" is none of debug, info, "
				   "warn, error; did you mean warn?" },
	{ "log: {level: x}", "t.yaml:1:14: log.level: \"x\" is none of debug, info, warn, error" },
	{ "receivers: {otlp: {http: {cors: {allowed_origins: {a: b}}}}}",
	  "t.yaml:1:51: receivers.otlp.http.cors.allowed_origins is a list, not a mapping: write a "
	  "list of texts, as in [a, b], or one text, or [] for none" },
	{ "resource: {attributes: [a]}",
	  "t.yaml:1:24: resource.attributes is a mapping, not a list: write a mapping of names to "
	  "texts, as in {a: b}, or {} for none" },
	{ "resource: {attributes: {a: [b]}}",
	  "t.yaml:1:28: resource.attributes.a is a single value, not a list: write a text" },
	{ "resource: {attributes: {a: }}", "t.yaml:1:28: resource.attributes.a has no value: write "
					   "a text, or \"\" for an empty one" },
	{ "resource: {attributes: {\"\": b}}", "t.yaml:1:25: resource.attributes: a name is empty: "
					       "write a mapping of names to texts, as in {a: b}" },
	/* The environment. */
	{ "site: ${TIDE_UNSET}",
	  "t.yaml:1:7: site: the environment variable TIDE_UNSET is not set; "
	  "set it, or write ${TIDE_UNSET:-default}" },
	{ "site: ${TIDE", "t.yaml:1:7: site: ${ without its }" },
	{ "site: ${}",
	  "t.yaml:1:7: site: \"${}\" names no environment variable; write $$ for a dollar sign" },
	{ "site: ${1A}",
	  "t.yaml:1:7: site: \"${1A}\" names no environment variable; write $$ for a dollar sign" },
	{ "site: ${TIDE_BINARY}",
	  "t.yaml:1:7: site: the environment variable TIDE_BINARY holds no valid UTF-8" },
	{ "admin: {endpoint: \"0.0.0.0:1\"}",
	  "t.yaml:1:19: admin.endpoint 0.0.0.0:1 is no loopback address, so that admin.token is "
	  "required" },
	/* Destinations. */
	{ "destinations: [a]", "t.yaml:1:15: destinations is a mapping of names to destinations" },
	{ "destinations: {Up: {kind: file}}", "t.yaml:1:16: destination \"Up\": a name is 1 to 63 "
					      "of the characters a-z 0-9 _ -" },
	{ "destinations: {a: file}", "t.yaml:1:19: destination a is a mapping, with its kind" },
	{ "destinations:\n  a: {path: x}", "t.yaml:2:3: destination a: kind is missing" },
	{ "destinations: {a: {kind: otlphttp}}",
	  "t.yaml:1:26: kind: \"otlphttp\" is none of otlp_http, otlp_grpc, prometheus, loki, "
	  "file; did you mean otlp_http?" },
	{ "destinations: {a: {kind: file}}", "t.yaml:1:16: destination a: path is missing" },
	{ "destinations: {a: {kind: otlp_http}}",
	  "t.yaml:1:16: destination a: endpoint is missing (or all of traces_endpoint, "
	  "metrics_endpoint and logs_endpoint)" },
	{ "destinations: {a: {kind: otlp_http, logs_endpoint: http://x}}",
	  "t.yaml:1:16: destination a: endpoint is missing (or all of traces_endpoint, "
	  "metrics_endpoint and logs_endpoint)" },
	{ "destinations: {a: {kind: otlp_http, endpoint: 'h:4318'}}",
	  "t.yaml:1:47: destination a: endpoint is no URL: write https://host:port or "
	  "http://host:port" },
	{ "destinations: {a: {kind: otlp_http, endpoint: http://h a}}",
	  "t.yaml:1:47: destination a: endpoint has a blank or control character" },
	{ DEST("    path: x"),
	  "t.yaml:5:5: destination a: path is no key of its kind, but of file" },
	{ "destinations: {a: {kind: file, path: x, compression: gzip}}",
	  "t.yaml:1:41: destination a: compression is no key of its kind, but of otlp_http, "
	  "otlp_grpc" },
	{ "destinations: {a: {kind: prometheus}}",
	  "t.yaml:1:16: destination a: endpoint is missing: the URL of the receiver, as in "
	  "http://prometheus:9090/api/v1/write" },
	{ "destinations: {a: {kind: prometheus, endpoint: \"http://h:9090/\"}}",
	  "t.yaml:1:48: destination a: endpoint has no path: write the whole URL of the receiver, "
	  "as in http://prometheus:9090/api/v1/write" },
	{ "destinations: {a: {kind: prometheus, endpoint: http://h, prometheus: {protocol: 3}}}",
	  "t.yaml:1:81: prometheus.protocol: \"3\" is none of auto, 1.0, 2.0" },
	{ "destinations: {a: {kind: prometheus, endpoint: http://h/w, prometheus: "
	  "{external_labels: {a.b: x}}}}",
	  "t.yaml:1:90: destination a: prometheus.external_labels: \"a.b\" is no label name: "
	  "letters, digits and _, no digit first, not __ first" },
	{ "destinations: {a: {kind: prometheus, endpoint: http://h, headers: {x: y}, "
	  "prometheus: {external_label: {}}}}",
	  "t.yaml:1:88: prometheus.external_label is no key; did you mean external_labels?" },
	{ "destinations: {a: {kind: prometheus, endpoint: http://h/w}}\n"
	  "routes: [{match: {signal: logs}, to: a}]",
	  "t.yaml:2:10: this route sends logs to a, which takes metrics only: match them" },
	{ "destinations: {a: {kind: prometheus, endpoint: http://h/w, external_labels: {b: c}}}",
	  "t.yaml:1:60: external_labels is no key; did you mean prometheus.external_labels?" },
	{ "destinations: {a: {kind: otlp_http, endpoint: http://h, bearer: t}}",
	  "t.yaml:1:57: bearer is no key; did you mean auth.bearer?" },
	{ "destinations: {a: {kind: otlp, endpoint: http://h}}",
	  "t.yaml:1:26: kind: \"otlp\" is none of otlp_http, otlp_grpc, prometheus, loki, file; "
	  "did "
	  "you mean otlp_http?" },
	{ "destinations: {a: {kind: prometheusremotewrite, endpoint: http://h}}",
	  "t.yaml:1:26: kind: \"prometheusremotewrite\" is none of otlp_http, otlp_grpc, "
	  "prometheus, "
	  "loki, file; did you mean prometheus?" },
	{ "destinations: {a: {kind: otlp_http, endpoint: http://h, max_queue_size: 99}}",
	  "t.yaml:1:73: destination a: max_queue_size is 99 bytes: is a unit missing? The least is "
	  "1MiB, and 0 is no limit of its own" },
	{ "destinations: {a: {kind: otlp_http, endpoint: http://h, too_old: {after: 1d, send_to: "
	  "p}}, "
	  "p: {kind: prometheus, endpoint: http://h/w}}\nroutes: [{match: {signal: [logs, "
	  "metrics]}, to: a}]",
	  "t.yaml:1:87: destination a: too_old.send_to is p, which takes no logs" },
	{ "destinations: {a: {kind: loki}}", "t.yaml:1:16: destination a: endpoint is missing" },
	{ "destinations: {a: {kind: loki, endpoint: http://h, logs_endpoint: http://h}}",
	  "t.yaml:1:52: destination a: logs_endpoint is no key of its kind, but of otlp_http" },
	{ "destinations: {a: {kind: loki, endpoint: http://h, loki: {labels: [a.b, a_b]}}}",
	  "t.yaml:1:67: destination a: loki.labels: a.b and a_b are the same label" },
	{ "destinations: {a: {kind: loki, endpoint: http://h, loki: {labels: [class]}}}",
	  "t.yaml:1:67: destination a: loki.labels: class is always a label, with the urgency of "
	  "the record" },
	{ "destinations: {a: {kind: loki, endpoint: http://h, loki: {labels: [\"\"]}}}",
	  "t.yaml:1:68: loki.labels: a text in it is empty: write a list of texts, as in [a, b], "
	  "or one text, or [] for none" },
	{ "destinations: {a: {kind: loki, endpoint: http://h, loki: {labels: [a, b, c, d, e, f, g, "
	  "h, "
	  "i, j, k, l, m, n, o]}}}",
	  "t.yaml:1:67: destination a: loki.labels has more than 14 names, which with class is all "
	  "that Loki takes" },
	{ "destinations: {a: {kind: loki, endpoint: http://h, loki: {max_line_size: 1}}}",
	  "t.yaml:1:74: loki.max_line_size: 1 is out of range: it must be from 1KiB to 16MiB" },
	{ "destinations: {a: {kind: loki, endpoint: http://h}}\nroutes: [{to: a}]",
	  "t.yaml:2:10: this route sends traces to a, which takes logs only: match them" },
	{ "destinations: {a: {kind: loki, endpoint: http://h}}\n"
	  "routes: [{match: {signal: [logs, metrics]}, to: a}]",
	  "t.yaml:2:10: this route sends metrics to a, which takes logs only: match them" },
	{ "destinations: {a: {kind: file, path: x}, b: {kind: file, path: x}}",
	  "t.yaml:1:64: destination b: path is a file of destination a too (PATH, and PATH.1 and "
	  "so on from rotation)" },
	{ "destinations: {a: {kind: file, path: x, max_in_flight: 2}}",
	  "t.yaml:1:56: destination a: max_in_flight above 1 lets exports overtake each other, and "
	  "kind file needs them in order" },
	{ "destinations: {a: {kind: loki, endpoint: 'http://h', order: fresh_first}}",
	  "t.yaml:1:61: destination a: order: fresh_first would lose the backlog: Loki refuses "
	  "what "
	  "is older than half of max_chunk_age behind the newest of its stream. Leave order at "
	  "fifo" },
	{ "destinations: {a: {kind: prometheus, endpoint: 'http://h/w', order: fresh_first}}",
	  "t.yaml:1:69: destination a: order: fresh_first would lose the backlog: Prometheus "
	  "refuses "
	  "samples that are older than the newest of their series. Set "
	  "prometheus.out_of_order_window to the out_of_order_time_window of the server, or leave "
	  "order at fifo" },
	{ DEST("    too_old: {send_to: b}\n  b: {kind: file, path: x}"),
	  "t.yaml:5:24: destination a: too_old.send_to does nothing without too_old.after" },
	{ DEST("    too_old: {after: 1h, send_to: b}"),
	  "t.yaml:5:35: there is no destination \"b\"; known here: a" },
	{ DEST("    too_old: {after: 1h, send_to: a}"),
	  "t.yaml:5:35: destination a: too_old.send_to is itself" },
	{ DEST("    too_old: {after: 1h, send_to: b}\n"
	       "  b: {kind: file, path: x, too_old: {after: 1h, send_to: c}}\n"
	       "  c: {kind: file, path: y}"),
	  "t.yaml:5:35: destination a: too_old.send_to is b, which sends what is too old on "
	  "itself: "
	  "name the last one" },
	{ DEST("    compresion: gzip"),
	  "t.yaml:5:5: compresion is no key; did you mean compression?" },
	{ DEST("    tls: {cert_file: c}"),
	  "t.yaml:5:22: destination a: tls.cert_file and tls.key_file belong together" },
	{ DEST("    headers: {\"a b\": c}"),
	  "t.yaml:5:14: destination a: header \"a b\" has a character that no header may have" },
	{ DEST("    headers: {a: \"secret\\r\\nb: c\"}"),
	  "t.yaml:5:14: destination a: header \"a\" has a character that no header may have" },
	{ DEST("    auth: {basic: {password: hush}}"),
	  "t.yaml:5:30: destination a: auth.basic.username is missing" },
	{ DEST("    auth: {basic: {username: \"\", password: hush}}"),
	  "t.yaml:5:44: destination a: auth.basic.username is missing" },
	{ DEST("    auth: {basic: {username: u}}"),
	  "t.yaml:5:30: destination a: auth.basic needs password or password_file" },
	{ DEST("    auth: {basic: {username: u, password: hush, password_file: f}}"),
	  "t.yaml:5:64: destination a: auth.basic has password and password_file: give one" },
	{ DEST("    auth: {basic: {username: \"u:v\", password: hush}}"),
	  "t.yaml:5:30: destination a: auth.basic.username has a character that it may not have "
	  "(a colon)" },
	{ DEST("    auth: {basic: {username: u, password: \"hush\\n\"}}"),
	  "t.yaml:5:43: destination a: auth.basic.password has a character that it may not have "
	  "(a line break or another control character)" },
	{ DEST("    auth: {bearer: {token: hush hush}}"),
	  "t.yaml:5:28: destination a: auth.bearer.token has a character that it may not have "
	  "(a blank)" },
	{ DEST("    auth: {bearer: {token: hush, token_file: f}}"),
	  "t.yaml:5:46: destination a: auth.bearer has token and token_file: give one" },
	{ DEST("    auth: {bearer: {token: hush}, basic: {username: u, password: hush}}"),
	  "t.yaml:5:28: destination a: auth.basic and auth.bearer both set the Authorization "
	  "header: give one" },
	{ DEST("    headers: {AUTHORIZATION: hush}\n    auth: {bearer: {token_file: f}}"),
	  "t.yaml:5:14: destination a: auth.bearer and headers.authorization both set the "
	  "Authorization header: give one" },
	{ "destinations: {a: {kind: otlp_http, endpoint: 'http://me@h', "
	  "auth: {bearer: {token: t}}}}",
	  "t.yaml:1:47: destination a: auth.bearer and the user in endpoint both set the "
	  "Authorization header: give one" },
	{ DEST("    retry_on_failure: {initial_interval: 31s}"),
	  "t.yaml:5:42: destination a: retry_on_failure.initial_interval is longer than "
	  "retry_on_failure.max_interval" },
	{ DEST("    retry_on_failure: {max_interval: 500ms}"),
	  "t.yaml:5:38: destination a: retry_on_failure.initial_interval is longer than "
	  "retry_on_failure.max_interval" },
	/* Routes. */
	{ "routes: {}", "t.yaml:1:9: routes is a list of {match, to}" },
	{ "routes: [a]", "t.yaml:1:10: a route is a mapping, with match and to" },
	{ DEST("routes:\n  - {match: {signal: logs}}"),
	  "t.yaml:6:5: a route needs to: the destinations that it goes to" },
	{ DEST("routes:\n  - {to: []}"),
	  "t.yaml:6:10: to is the name of a destination, or a list of names" },
	{ DEST("routes:\n  - {to: b}"),
	  "t.yaml:6:10: there is no destination \"b\"; known here: a" },
	{ "destinations: {central: {kind: file, path: x}}\nroutes: [{to: [centrl]}]",
	  "t.yaml:2:16: there is no destination \"centrl\"; did you mean central?" },
	{ DEST("routes:\n  - {to: [a, a]}"), "t.yaml:6:14: destination a stands here twice" },
	{ DEST("routes:\n  - {too: a}"), "t.yaml:6:6: too is no key of a route; did you mean to?" },
	{ DEST("routes:\n  - {match: {signals: logs}, to: a}"),
	  "t.yaml:6:14: signals is no key of match; did you mean signal?" },
	{ DEST("routes:\n  - {match: {signal: log}, to: a}"),
	  "t.yaml:6:22: \"log\" is no signal; did you mean logs?" },
	{ DEST("routes:\n  - {match: {class: [info, loud]}, to: a}"),
	  "t.yaml:6:28: \"loud\" is no class; known here: critical, warning, info" },
	{ DEST("routes:\n  - {match: {class: []}, to: a}"),
	  "t.yaml:6:21: class is a word or a list of words" },
	{ DEST("routes:\n  - {match: all, to: a}"),
	  "t.yaml:6:13: match is a mapping, with signal or class" },
};

START_TEST(what_is_wrong_is_said_with_its_place)
{
	(void)unsetenv("TIDE_UNSET");
	(void)setenv("TIDE_BINARY", "a\xc3", 1);
	for (size_t i = 0; i < COUNT(refused); i++) {
		struct config *c = NULL;
		struct err e = { 0 };
		enum status st = config_parse("t.yaml", bytes_str(refused[i].yaml), &c, &e);
		ck_assert_msg(st == ST_INVALID, "%s: %s", status_name(st), refused[i].yaml);
		ck_assert_ptr_null(c);
		ck_assert_msg(strcmp(e.text, refused[i].message) == 0, "%s\nsays: %s\nnot:  %s",
			      refused[i].yaml, e.text, refused[i].message);
		/* Who does not want the words gets the status. */
		EXPECT_STATUS(config_parse("t.yaml", bytes_str(refused[i].yaml), &c, NULL),
			      ST_INVALID);
	}
}
END_TEST

START_TEST(a_document_has_its_caps)
{
	struct config *c = NULL;
	struct err e = { 0 };
	struct buf text;
	buf_init(&text, 4 << 20, NULL);
	for (int i = 0; i < 25000; i++)
		EXPECT_OK(buf_append_str(&text, i ? ",a" : "site: [a"));
	EXPECT_STATUS(config_parse("t.yaml", buf_view(&text), &c, &e), ST_INVALID);
	ck_assert_ptr_nonnull(strstr(e.text, "the file has too many values"));

	buf_clear(&text);
	while (text.n <= 1 << 20)
		EXPECT_OK(buf_append_str(&text, "# nothing to see here\n"));
	EXPECT_STATUS(config_parse("t.yaml", buf_view(&text), &c, &e), ST_INVALID);
	ck_assert_str_eq(e.text, "t.yaml:47663:13: here the file has 1 MiB, and the rest is not "
				 "read: no configuration is so large");

	buf_clear(&text);
	EXPECT_OK(buf_append_str(&text, "destinations:\n"));
	for (int i = 0; i < 63; i++)
		EXPECT_OK(buf_printf(&text, "  d%d: {kind: file, path: f%d}\n", i, i));
	EXPECT_STATUS(config_parse("t.yaml", buf_view(&text), &c, &e), ST_INVALID);
	ck_assert_str_eq(e.text, "t.yaml:2:3: 63 destinations are too many: the most is 62");
	buf_done(&text);
}
END_TEST

START_TEST(the_embedded_default_writes_to_a_file)
{
	struct config *c = NULL;
	struct err e = { 0 };
	EXPECT_OK(config_default(&c, &e));
	ck_assert_ptr_null(c->file);
	ck_assert_uint_eq(c->destination_count, 1);
	ck_assert_int_eq(c->destinations[0].kind, CONFIG_KIND_FILE);
	ck_assert_str_eq(c->destinations[0].path, "./data/delivered.jsonl");
	ck_assert_str_eq(c->routes[0].to[0], c->destinations[0].name);
	config_free(c);
}
END_TEST

START_TEST(the_sample_is_a_configuration)
{
	struct config *c = NULL;
	struct err e = { 0 };
	enum status st = config_load(TIDEGATE_SOURCE_DIR "/deploy/tidegate.yaml", &c, &e);
	ck_assert_msg(st == ST_OK, "%s", err_text(&e, st));
	ck_assert_uint_eq(c->destination_count, 2);
	ck_assert_uint_eq(c->route_count, 2);
	config_free(c);
}
END_TEST

START_TEST(a_file_is_loaded_by_its_path)
{
	char path[] = "/tmp/test_config_XXXXXX";
	struct config *c = NULL;
	struct err e = { 0 };
	int fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq((int)write(fd, "site: here\n", 11), 11);
	EXPECT_OK(config_load(path, &c, &e));
	ck_assert_str_eq(c->site, "here");
	ck_assert_str_eq(c->file, path);
	config_free(c);
	(void)close(fd);
	(void)unlink(path);
	c = NULL;
	EXPECT_STATUS(config_load("/nowhere/t.yaml", &c, &e), ST_IO);
	ck_assert_str_eq(e.text, "cannot open /nowhere/t.yaml: No such file or directory");
	EXPECT_STATUS(config_load("/", &c, &e), ST_IO);
	ck_assert_str_eq(e.text, "cannot read /: Is a directory");
}
END_TEST

START_TEST(what_is_written_can_be_read_and_shows_no_secret)
{
	struct config *c = parse(
		"site: \"a\\\"b\\\\c $$x \\u00fc \\u0085 \\ufeff\\t\"\n"
		"admin: {token: hush}\n"
		"queue: {max_size: 20MB, commit_interval: 1500ms}\n"
		"resource: {attributes: {\"k: ]$\": \"v\\n\"}}\n"
		"destinations:\n"
		"  one: {kind: otlp_http, endpoint: 'http://me:hush@h/p@th', headers: {x: hush}}\n"
		"  two: {kind: file, path: p}\n"
		"  key: {kind: otlp_http, endpoint: 'http://h/p?a=hush&b=1'}\n"
		"routes: [{match: {class: info}, to: two}]\n");
	struct buf first;
	struct buf second;
	buf_init(&first, 1 << 20, NULL);
	buf_init(&second, 1 << 20, NULL);
	EXPECT_OK(config_write(c, &first));
	EXPECT_OK(buf_append_byte(&first, '\0'));
	ck_assert_ptr_null(strstr((const char *)first.p, "hush"));
	ck_assert_ptr_nonnull(strstr((const char *)first.p, "  token: \"***\"\n"));
	ck_assert_ptr_nonnull(strstr((const char *)first.p, "endpoint: \"http://***@h/p@th\"\n"));
	ck_assert_ptr_nonnull(strstr((const char *)first.p, "endpoint: \"http://h/p?***\"\n"));
	ck_assert_ptr_nonnull(strstr((const char *)first.p, "headers: {\"x\": \"***\"}\n"));
	ck_assert_ptr_nonnull(strstr((const char *)first.p, "  max_size: 20MB\n"));
	struct config *again = parse((const char *)first.p);
	ck_assert_str_eq(again->site, c->site);
	ck_assert_uint_eq(again->queue_max_size, c->queue_max_size);
	ck_assert_int_eq(again->queue_commit_interval, c->queue_commit_interval);
	ck_assert_str_eq(again->resource_attributes.items[0].key, "k: ]$");
	ck_assert_str_eq(again->resource_attributes.items[0].value, "v\n");
	ck_assert_uint_eq(again->destination_count, 3);
	ck_assert_uint_eq(again->routes[0].class_mask, c->routes[0].class_mask);
	EXPECT_OK(config_write(again, &second));
	EXPECT_OK(buf_append_byte(&second, '\0'));
	ck_assert_str_eq((const char *)second.p, (const char *)first.p);
	buf_done(&first);
	buf_done(&second);
	config_free(again);
	config_free(c);
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		an_empty_file_is_a_configuration_of_defaults,
		every_type_takes_what_the_file_says,
		without_routes_everything_goes_everywhere,
		three_signal_endpoints_need_no_common_one,
		values_come_from_the_environment,
		what_is_wrong_is_said_with_its_place,
		a_document_has_its_caps,
		the_embedded_default_writes_to_a_file,
		the_sample_is_a_configuration,
		a_file_is_loaded_by_its_path,
		what_is_written_can_be_read_and_shows_no_secret,
	};
	return run_cases("config", cases, COUNT(cases));
}
