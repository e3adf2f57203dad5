/* Options that are right by themselves and wrong together: what fails, what is warned of, and what
 * nothing is said about. */
#include <stdio.h>
#include <stdlib.h>

#include "gateway/base/config.h"
#include "tests/support/expect.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define A          "destinations:\n  a: {kind: otlp_http, endpoint: 'https://h:1'"
#define FILE_A     "destinations:\n  a: {kind: file, path: x}\n"
#define GRPC(keys) "destinations:\n  a: {kind: otlp_grpc, " keys "}"

static const struct {
	const char *yaml;
	const char *warning; /* NULL: there is none */
} allowed[] = {
	/* Options that need others. */
	{ A ", backfill_share: 30}",
	  "t.yaml:2:65: destination a: backfill_share does nothing without order: fresh_first" },
	{ A ", backfill_share: 30, order: fresh_first}", NULL },
	{ A ", backfill_share: 50}", NULL },
	{ "destinations:\n  a: {kind: prometheus, endpoint: 'https://h/w', prometheus: "
	  "{out_of_order_window: 1h}}",
	  "t.yaml:2:84: destination a: prometheus.out_of_order_window does nothing without order: "
	  "fresh_first" },
	{ "uplinks: {default: {burst: 1MiB}}\n" A "}",
	  "t.yaml:1:28: uplink default: burst does nothing without rate" },
	{ "uplinks: {default: {burst: 1MiB, rate: 1MiB/s}}\n" A "}", NULL },
	{ "uplinks: {default: {budget_reserve: 20}}\n" A "}",
	  "t.yaml:1:37: uplink default: budget_reserve does nothing without daily_budget or "
	  "monthly_budget" },
	{ "uplinks: {default: {budget_reserve: 20, monthly_budget: 1GB}}\n" A "}", NULL },
	{ "uplinks: {default: {budget_exempt: info}}\n" A "}",
	  "t.yaml:1:36: uplink default: budget_exempt does nothing without daily_budget or "
	  "monthly_budget" },
	{ "uplinks: {default: {windows_exempt: [critical]}}\n" A "}",
	  "t.yaml:1:37: uplink default: windows_exempt does nothing without windows" },
	{ "uplinks: {default: {windows_exempt: [critical], windows: sun}}\n" A "}", NULL },
	{ "receivers: {otlp: {http: {cors: {allowed_headers: x}}}}",
	  "t.yaml:1:51: receivers.otlp.http.cors.allowed_headers does nothing without "
	  "receivers.otlp.http.cors.allowed_origins" },
	{ "receivers: {otlp: {http: {cors: {max_age: 1h}}}}",
	  "t.yaml:1:43: receivers.otlp.http.cors.max_age does nothing without "
	  "receivers.otlp.http.cors.allowed_origins" },
	{ "receivers: {otlp: {http: {cors: {max_age: 1h, allowed_origins: '*'}}}}", NULL },
	{ GRPC("endpoint: 'h:1', tls: {ca_file: f}"), NULL },
	{ GRPC("endpoint: 'http://h:1', tls: {insecure_skip_verify: true}"),
	  "t.yaml:2:76: destination a: tls.insecure_skip_verify does nothing without TLS (https:// "
	  "in the endpoint)" },
	{ A ", tls: {ca_file: f, insecure_skip_verify: true}}",
	  "t.yaml:2:64: destination a: tls.ca_file does nothing with tls.insecure_skip_verify: "
	  "true" },
	/* The whole file. */
	{ "uplinks: {sat: {rate: 1MiB/s}}\n" A "}",
	  "t.yaml:1:11: uplink sat does nothing: no destination is on it" },
	{ "uplinks: {default: {rate: 1MiB/s}}\n" FILE_A,
	  "t.yaml:1:11: uplink default does nothing: no destination is on it" },
	{ "uplinks: {default: {rate: 0}}\n" FILE_A, NULL },
	{ FILE_A "  b: {kind: file, path: y}\nroutes: [{to: a}]",
	  "t.yaml:3:3: destination b gets nothing: no route goes to it" },
	{ "destinations:\n  a: {kind: file, path: x, too_old: {after: 1d, send_to: b}}\n  b: "
	  "{kind: "
	  "file, path: y}\nroutes: [{to: a}]",
	  NULL },
	{ FILE_A "routes: [{to: a}, {match: {signal: logs}, to: a}]",
	  "t.yaml:3:19: this route adds nothing: those before it send all of that there" },
	{ FILE_A "routes: [{match: {signal: logs}, to: a}, {to: a}]", NULL },
	{ FILE_A "routes: [{to: a, match: {signal: metrics, class: [critical, warning]}}]",
	  "t.yaml:3:10: this route matches nothing: metrics are always of class info, traces of "
	  "class critical or info" },
	{ FILE_A "routes: [{to: a, match: {signal: [metrics, traces], class: warning}}]",
	  "t.yaml:3:10: this route matches nothing: metrics are always of class info, traces of "
	  "class critical or info" },
	{ FILE_A "routes: [{to: a, match: {signal: traces, class: [critical, warning]}}]", NULL },
	{ FILE_A "routes: [{to: a, match: {class: warning}}]", NULL },
	{ A "}\n  b: {kind: otlp_http, endpoint: 'https://h:1'}",
	  "t.yaml:3:3: destination b is the same backend as a: what is routed to both arrives "
	  "there "
	  "twice" },
	{ A "}\n  b: {kind: otlp_http, endpoint: 'https://h:1', headers: {X-Scope-OrgID: b}}",
	  NULL },
	{ A "}\n  b: {kind: otlp_http, endpoint: 'https://h:1'}\n"
	    "routes: [{match: {signal: logs}, to: a}, {match: {signal: traces}, to: b}]",
	  NULL },
	{ A ", traces_endpoint: 'https://t', metrics_endpoint: 'https://m', logs_endpoint: "
	    "'https://l'}",
	  "t.yaml:2:34: destination a: endpoint does nothing: each signal has one of its own" },
	{ A ", logs_endpoint: 'https://l'}\nroutes: [{match: {signal: traces}, to: a}]",
	  "t.yaml:2:64: destination a: logs_endpoint does nothing: no route sends logs there" },
	{ "site: a\nresource: {attributes: {tidegate.site: b}}",
	  "t.yaml:1:7: site does nothing: resource.attributes has tidegate.site" },
	/* Bounds beside bounds. */
	{ "queue: {max_size: 64MiB}\ndead_letters: {max_size: 64MiB}",
	  "t.yaml:2:26: dead_letters.max_size does nothing: queue.max_size is not more" },
	{ "queue: {max_size: 64MiB}", NULL },
	{ A ", max_queue_size: 9GiB}",
	  "t.yaml:2:65: destination a: max_queue_size does nothing: queue.max_size is not more" },
	{ A ", max_queue_size: 1GiB}\nroutes: [{match: {class: critical}, to: a}]",
	  "t.yaml:2:65: destination a: max_queue_size does nothing: queue.when_full is reject for "
	  "all that is routed there" },
	{ A ", max_queue_size: 1GiB}\nroutes: [{match: {class: [critical, info]}, to: a}]", NULL },
	{ "receivers: {max_in_flight: 4MiB, otlp: {grpc: {max_recv_msg_size: 2MiB}}}",
	  "t.yaml:1:67: receivers.otlp.grpc.max_recv_msg_size: messages above 1398101 bytes are "
	  "refused all the same, because one may take a third of receivers.max_in_flight" },
	{ "receivers: {max_in_flight: 4MiB}", NULL },
	{ "queue: {when_full: {info: reject}}",
	  "t.yaml:1:27: queue.when_full: warnings are dropped where info must stay: set "
	  "queue.when_full.warning to reject too" },
	{ "queue: {when_full: {info: reject, warning: reject}}", NULL },
	{ "queue: {max_age: {info: 40d}}",
	  "t.yaml:1:25: queue.max_age: warnings go earlier than info: set queue.max_age.warning to "
	  "as much, or more" },
	{ "queue: {max_age: {critical: 0}}", NULL },
	{ "queue: {max_age: {info: 0, warning: 0, critical: 0}}", NULL },
};

START_TEST(what_does_nothing_is_warned_of)
{
	for (size_t i = 0; i < COUNT(allowed); i++) {
		struct config *c = NULL;
		struct err e = { 0 };
		enum status st = config_parse("t.yaml", bytes_str(allowed[i].yaml), &c, &e);
		ck_assert_msg(!st, "%s\n%s", err_text(&e, st), allowed[i].yaml);
		const char *first = c->warnings[0];
		ck_assert_msg(!first == !allowed[i].warning, "%s\nsays %s", allowed[i].yaml,
			      first ? first : "nothing");
		if (first) {
			ck_assert_str_eq(first, allowed[i].warning);
			ck_assert_msg(!c->warnings[1], "%s, too", c->warnings[1]);
		}
		config_free(c);
	}
}
END_TEST

static const struct {
	const char *yaml;
	const char *message;
} refused[] = {
	/* Who sets these believes in something that is not so. */
	{ "destinations:\n  a: {kind: loki, endpoint: 'http://h', tls: {ca_file: f}}",
	  "t.yaml:2:56: destination a: tls.ca_file does nothing without TLS (https:// in the "
	  "endpoint)" },
	{ GRPC("endpoint: 'h:1', tls: {insecure: true, cert_file: c, key_file: k}"),
	  "t.yaml:2:74: destination a: tls.cert_file does nothing without TLS (https:// in the "
	  "endpoint)" },
	/* Ports. */
	{ "receivers: {otlp: {http: {endpoint: 'localhost:4317'}}}",
	  "t.yaml:1:37: receivers.otlp.http.endpoint and receivers.otlp.grpc.endpoint have the "
	  "same "
	  "port 4317: give each its own" },
	{ "receivers: {otlp: {grpc: {endpoint: '0.0.0.0:13133'}}}",
	  "t.yaml:1:37: admin.endpoint and receivers.otlp.grpc.endpoint have the same port 13133: "
	  "give each its own" },
	{ "admin: {endpoint: '[::]:4318', token: t}",
	  "t.yaml:1:19: admin.endpoint and receivers.otlp.http.endpoint have the same port 4318: "
	  "give each its own" },
	{ "destinations: {a: {kind: otlp_http, endpoint: 'http://localhost:4318/'}}",
	  "t.yaml:1:47: destination a: endpoint is this gateway itself "
	  "(receivers.otlp.http.endpoint): what it sends would come back for ever" },
	{ "receivers: {otlp: {grpc: {endpoint: ':1234'}}}\n" GRPC("endpoint: 'http://[::1]:1234'"),
	  "t.yaml:3:34: destination a: endpoint is this gateway itself "
	  "(receivers.otlp.grpc.endpoint): what it sends would come back for ever" },
	/* Files. */
	{ FILE_A "  b: {kind: file, path: ./y/.././x}",
	  "t.yaml:3:25: destination b: path is a file of destination a too (PATH, and PATH.1 and "
	  "so "
	  "on from rotation)" },
	{ FILE_A "  b: {kind: file, path: x.12}", "t.yaml:3:25: destination b: path is a file of "
						  "destination a too (PATH, and PATH.1 and so "
						  "on from rotation)" },
	{ "destinations: {a: {kind: file, path: data/queue.db-wal}}",
	  "t.yaml:1:38: destination a: path is a file of the queue (queue.path)" },
	{ "destinations: {a: {kind: file, path: data/queue.db.reserve}}",
	  "t.yaml:1:38: destination a: path is a file of the queue (queue.path)" },
	{ "destinations: {a: {kind: file, path: data/queue.db.damaged-20260101T000000Z}}",
	  "t.yaml:1:38: destination a: path is a file of the queue (queue.path)" },
	{ "queue: {path: /x/q.1}\ndestinations: {a: {kind: file, path: /x/q}}",
	  "t.yaml:2:38: destination a: path is a file of the queue (queue.path)" },
	/* Headers. */
	{ A ", headers: {X-Tenant: a, x-tenant: b}}",
	  "t.yaml:2:58: destination a: header \"x-tenant\" stands here twice" },
	{ "destinations:\n  a: {kind: otlp_http, endpoint: 'https://u:p@h', headers: "
	  "{Authorization: "
	  "b}}",
	  "t.yaml:2:34: destination a: headers.authorization and the user in endpoint both set the "
	  "Authorization header: give one" },
};

START_TEST(what_cannot_work_is_refused)
{
	for (size_t i = 0; i < COUNT(refused); i++) {
		struct config *c = NULL;
		struct err e = { 0 };
		EXPECT_STATUS(config_parse("t.yaml", bytes_str(refused[i].yaml), &c, &e),
			      ST_INVALID);
		ck_assert_msg(strcmp(e.text, refused[i].message) == 0, "%s\nsays: %s\nnot:  %s",
			      refused[i].yaml, e.text, refused[i].message);
	}
}
END_TEST

static const char *const harmless[] = {
	"receivers: {otlp: {grpc: {endpoint: '127.0.0.1:0'}, http: {endpoint: '127.0.0.1:0'}}}\n"
	"admin: {endpoint: '127.0.0.1:0'}",
	"receivers: {otlp: {grpc: {endpoint: '127.0.0.2:4318'}}}",
	"destinations: {a: {kind: otlp_http, endpoint: 'http://127.0.0.1:4319'}}",
	"destinations: {a: {kind: otlp_http, endpoint: 'http://central:4318'}}",
	FILE_A "  b: {kind: file, path: x.old}\n  c: {kind: file, path: /x}",
	"destinations:\n"
	"  a: {kind: otlp_http, endpoint: 'https://u:p@h', traces_endpoint: 'https://u:p@t'}",
};

START_TEST(what_is_near_a_mistake_and_none_passes)
{
	for (size_t i = 0; i < COUNT(harmless); i++) {
		struct config *c = NULL;
		struct err e = { 0 };
		enum status st = config_parse("t.yaml", bytes_str(harmless[i]), &c, &e);
		ck_assert_msg(!st, "%s\n%s", err_text(&e, st), harmless[i]);
		ck_assert_msg(!c->warnings[0], "%s\n%s", c->warnings[0], harmless[i]);
		config_free(c);
	}
}
END_TEST

START_TEST(later_errors_find_their_option)
{
	static const struct {
		const char *text;
		const char *where;
	} cases[] = {
		{ "tls.ca_file: cannot read f", "t.yaml:3:64" },
		{ "tls.cert_file, tls.key_file: cannot read", "t.yaml:3:3" },
		{ "headers.x: is set by the gateway itself", "t.yaml:3:77" },
		{ "no eventfd", "t.yaml:3:3" },
	};
	struct config *c = NULL;
	struct err e = { 0 };
	char where[64];
	EXPECT_OK(config_parse(
		"t.yaml",
		bytes_str("queue: {path: /x}\n" A ", tls: {ca_file: f}, headers: {x: y}}"), &c,
		&e));
	for (size_t i = 0; i < COUNT(cases); i++) {
		ck_assert(
			config_where(c, &c->destinations[0], cases[i].text, where, sizeof(where)));
		ck_assert_str_eq(where, cases[i].where);
	}
	ck_assert(config_where(c, NULL, "queue.path: no such directory", where, sizeof(where)));
	ck_assert_str_eq(where, "t.yaml:1:15");
	ck_assert(!config_where(c, NULL, "admin.endpoint: taken", where, sizeof(where)));
	ck_assert_str_eq(where, "t.yaml");
	config_free(c);
}
END_TEST

int main(void)
{
	const TTest *const cases[] = {
		what_does_nothing_is_warned_of,
		what_cannot_work_is_refused,
		what_is_near_a_mistake_and_none_passes,
		later_errors_find_their_option,
	};
	return run_cases("config_sense", cases, COUNT(cases));
}
