"""Kind loki: what was acknowledged comes to Loki, in the order of its streams, within its limits, under the names
that a query expects; and what Loki refuses is accounted for."""
import time

import pytest

from tests.support import otlp
from tests.support.loki_standin import Limits, Loki, parse_labels

FAST = {"initial_interval": "20ms", "max_interval": "200ms", "probe_interval": "100ms"}


def config(server, **more):
    return {"destinations": {"logs": {"kind": "loki", "endpoint": server.url, "retry_on_failure": FAST, **more}}}


def request(lines, *, start_ns=None, severity=9, service="shop", resource=(), step_ns=1_000_000):
    """A log record for each line (a text, or a function that fills the record), from start_ns on."""
    message = otlp.REQUEST["logs"]()
    entry = message.resource_logs.add()
    for key, value in (("service.name", service), *resource):
        item = entry.resource.attributes.add()
        item.key, item.value.string_value = key, value
    scope = entry.scope_logs.add()
    scope.scope.name, scope.scope.version = "test", "1.0"
    start_ns = start_ns or time.time_ns()
    for i, line in enumerate(lines):
        record = scope.log_records.add()
        record.time_unix_nano = start_ns + i * step_ns
        record.severity_number = severity
        if callable(line):
            line(record)
        else:
            record.body.string_value = line
    return message


def send(gateway, message):
    reply = otlp.post(gateway, "logs", message)
    assert reply.status_code == 200, reply.text


def set_attributes(target, **pairs):
    for key, value in pairs.items():
        item = target.attributes.add()
        item.key, item.value.string_value = key, value


@pytest.mark.smoke
@pytest.mark.parametrize("encoding", ["protobuf", "json"])
def test_a_record_arrives_with_labels_line_and_metadata(start_gateway, encoding):
    def fill(record):
        record.body.string_value = 'pallet "7" verr\u00fcckt\n\tstuck'
        record.severity_text = "INFO"
        record.trace_id = bytes(range(16))
        record.span_id = bytes(range(8))
        record.flags = 1
        record.event_name = "pallet.stuck"
        record.observed_time_unix_nano = 1_700_000_000_123_456_789
        for key, value in (("http.status_code", 503), ("ratio", 0.5), ("ok", True)):
            item = record.attributes.add()
            item.key = key
            setattr(item.value, {int: "int_value", float: "double_value", bool: "bool_value"}[type(value)], value)
        set_attributes(record, **{"host.name": "of the record", "0day": "x", "h\u00f6he": "2", "empty": ""})
        item = record.attributes.add()
        item.key = "list"
        item.value.array_value.values.add().int_value = 1
        item.value.array_value.values.add().string_value = "two"

    with Loki() as loki:
        gateway = start_gateway(config(loki, loki={"format": encoding}))
        start = time.time_ns()
        send(gateway, request([fill], start_ns=start, resource=[("host.name", "plant-7"), ("cloud.region", "x")]))
        gateway.wait_drained()
        [entry] = loki.entries()
        assert entry.labels == '{class="info", service_name="shop"}'
        assert entry.line == 'pallet "7" verr\u00fcckt\n\tstuck'
        assert entry.time_ns == start
        assert entry.metadata == [
            ("trace_id", bytes(range(16)).hex()), ("span_id", bytes(range(8)).hex()),
            ("severity_text", "INFO"), ("severity_number", "9"), ("event_name", "pallet.stuck"),
            ("observed_timestamp", "1700000000123456789"), ("flags", "1"),
            ("http_status_code", "503"), ("ratio", "0.5"), ("ok", "true"),
            ("host_name", "of the record"), ("key_0day", "x"), ("h_he", "2"), ("list", '[1,"two"]'),
            ("scope_name", "test"), ("scope_version", "1.0"),
            ("host_name_2", "plant-7"), ("cloud_region", "x")]
        assert loki.pushes[0].headers["User-Agent"].startswith("tidegate/")
        gateway.assert_balanced()


def test_the_time_is_that_of_the_event_or_of_its_observation_or_of_its_arrival(start_gateway):
    now = time.time_ns()

    def observed(record):
        record.body.string_value = "observed"
        record.time_unix_nano = 0
        record.observed_time_unix_nano = now - 5

    def arrived(record):
        record.body.string_value = "arrived"
        record.time_unix_nano = 0

    with Loki() as loki:
        gateway = start_gateway(config(loki))
        send(gateway, request(["event", observed, arrived], start_ns=now - 9))
        gateway.wait_drained()
        times = {e.line: e.time_ns for e in loki.entries()}
        assert times["event"] == now - 9 and times["observed"] == now - 5
        assert now < times["arrived"] <= time.time_ns()
        # Sorted by time within the push, whatever order they came in.
        assert loki.lines() == ["event", "observed", "arrived"]


def test_a_backlog_comes_in_the_order_of_its_streams_with_live_traffic_on(start_gateway):
    """Over the hour that Loki takes entries out of order: live records before the backlog would have it refused."""
    with Loki() as loki:
        gateway = start_gateway(config(loki), expect=[r"event=forward\.down"])
        loki.stop()
        now = time.time_ns()
        want = {}
        sent = []
        for i in range(60):
            for severity, word in ((9, "info"), (13, "warning"), (17, "critical")):
                lines = [f"{word} {i} {k}" for k in range(10)]
                sent.append((word, lines))
                # Two hours and more, a step every two minutes.
                send(gateway, request(lines, start_ns=now - (60 - i) * 120 * 10**9, severity=severity))
        loki.start()
        for i in range(20):
            for severity, word in ((9, "info"), (17, "critical")):
                lines = [f"{word} live {i} {k}" for k in range(5)]
                sent.append((word, lines))
                send(gateway, request(lines, severity=severity))
        for word, lines in sent:
            want.setdefault(f'{{class="{word}", service_name="shop"}}', []).extend(lines)
        gateway.wait_drained()
        assert {labels: loki.lines(labels) for labels in loki.streams()} == want
        assert {p.status for p in loki.pushes} == {204}
        gateway.assert_balanced()


def test_limits_are_kept_before_they_bite(start_gateway):
    """Nothing of this would be taken as it is, and everything arrives."""
    def many(record):
        record.body.string_value = "many"
        for i in range(300):
            set_attributes(record, **{f"a.{i}": "v" * 10})

    def large(record):
        record.body.string_value = "large"
        for i in range(20):
            set_attributes(record, **{f"big{i}": "x" * 20_000})
        set_attributes(record, small="fits")

    def alike(record):
        record.body.string_value = "alike"
        set_attributes(record, **{"a.b": "1", "a_b": "2", "a/b": "1", "a-b": "3", "scope_name": "mine"})

    long_value = "\u00fc" * 2000
    with Loki() as loki:
        gateway = start_gateway(config(loki, loki={"labels": ["service.name", "area"]}))
        send(gateway, request(["x" * 300_000, "y" * 262_144, many, large, alike, ""],
                              resource=[("area", long_value)]))
        gateway.wait_drained()
        assert {p.status for p in loki.pushes} == {204}
        cut, whole, many_, large_, alike_, empty = loki.entries()
        assert cut.line == "x" * (262_144 - 5) + "[cut]" and cut.meta["tidegate_line_cut"] == "true"
        assert whole.line == "y" * 262_144 and "tidegate_line_cut" not in whole.meta
        label = dict(parse_labels(cut.labels))
        assert label["area"] == "\u00fc" * 1024 and cut.meta["area"] == long_value
        assert [f"a_{i}" for i in range(126)] == [k for k in many_.meta if k.startswith("a_")]
        assert many_.meta["tidegate_metadata_cut"] == str(300 - 126 + 3) and len(many_.metadata) == 128
        assert [k for k in large_.meta if k.startswith("big")] == ["big0", "big1", "big2"]
        assert large_.meta["big0"] == "x" * 16_384 and large_.meta["small"] == "fits"
        assert large_.meta["tidegate_metadata_cut"] == "20"
        assert [(k, v) for k, v in alike_.metadata if k.startswith("a_b")] == [("a_b", "1"), ("a_b_2", "2"), ("a_b_3", "3")]
        assert alike_.meta["scope_name"] == "mine" and alike_.meta["scope_name_2"] == "test"
        assert empty.line == ""
        gateway.assert_balanced()


def test_lines_that_are_too_long_can_be_left_out_and_count_as_rejected(start_gateway):
    with Loki() as loki:
        gateway = start_gateway(config(loki, loki={"max_line_size": "1KiB", "long_lines": "leave_out"}),
                                expect=[r"event=forward\.partial_success"])
        send(gateway, request(["short", "x" * 1025, "y" * 1024]))
        gateway.wait_drained()
        assert loki.lines() == ["short", "y" * 1024]
        send(gateway, request(["z" * 2000]))
        gateway.wait_drained()
        assert len(loki.pushes) == 1
        assert gateway.sqlite("SELECT sum(records) FROM totals WHERE outcome = 'rejected'") == [(2,)]
        gateway.assert_balanced()


def test_labels_come_from_the_resource_or_from_the_record(start_gateway):
    with Loki() as loki:
        gateway = start_gateway(config(loki, loki={"labels": ["service.name", "zone", "k8s.pod.name"]}))
        message = request([lambda r: set_attributes(r, zone="a"), lambda r: set_attributes(r, zone="b", other="c"),
                           lambda r: None], resource=[("k8s.pod.name", 'p"1"\\')])
        send(gateway, message)
        gateway.wait_drained()
        common = 'k8s_pod_name="p\\"1\\"\\\\", service_name="shop"'
        assert loki.streams() == sorted([f'{{class="info", {common}, zone="a"}}', f'{{class="info", {common}, zone="b"}}',
                                         f'{{class="info", {common}}}'])
        # What is a label is not said again.
        assert all("zone" not in e.meta and "service_name" not in e.meta for e in loki.entries())
        assert [e.meta.get("other") for e in loki.entries()].count("c") == 1


@pytest.mark.parametrize("per_request", [250, 4500])
def test_a_push_never_holds_more_than_loki_takes_at_once(start_gateway, per_request):
    """A large resource is said once in OTLP and with each line in Loki: 1.2 kB times 4,500, in many batches or one."""
    with Loki(limits=Limits(rate=1 << 40)) as loki:
        gateway = start_gateway(config(loki))
        lines = [f"{i} {'x' * 40}" for i in range(4500)]
        now = time.time_ns()
        for i in range(0, len(lines), per_request):
            send(gateway, request(lines[i:i + per_request], start_ns=now + i, step_ns=1, resource=[("big", "r" * 1200)]))
        gateway.wait_drained()
        assert loki.lines() == lines
        assert {p.status for p in loki.pushes} == {204}
        assert max(p.entries for p in loki.pushes) * 1250 < 6 << 20
        gateway.assert_balanced()


def test_a_rate_limit_slows_down_and_loses_nothing(start_gateway):
    with Loki(limits=Limits(rate=0, burst=300_000)) as loki:
        gateway = start_gateway(config(loki, max_export_size="64KiB"), expect=[r"event=forward\.down"])
        lines = [f"{i} {'x' * 1000}" for i in range(400)]
        now = time.time_ns()
        for i in range(0, len(lines), 50):
            send(gateway, request(lines[i:i + 50], start_ns=now + i, step_ns=1))
        loki.wait(lambda s: 429 in {p.status for p in s.pushes}, "the limit")
        assert gateway.sqlite("SELECT count(*) FROM deliveries WHERE state = 'dead'") == [(0,)]
        loki.limits.rate = 100e6
        gateway.wait_drained()
        assert loki.lines() == lines
        gateway.assert_balanced()


@pytest.mark.parametrize("kind, path", [("loki", ""), ("otlp_http", "/otlp")])
def test_blocked_ingestion_is_no_delivery(start_gateway, kind, path):
    with Loki() as loki:
        gateway = start_gateway(config(loki, kind=kind, endpoint=loki.url + path), expect=[r"event=forward\.down.*260"])
        loki.answer(260, times=3)
        send(gateway, request(["kept"]))
        gateway.wait_drained()
        assert loki.lines() == ["kept"]
        assert [p.status for p in loki.pushes] == [260] * 3 + [204]


def test_a_tenant_is_asked_for_and_given(start_gateway):
    with Loki(multi_tenant=True) as loki:
        gateway = start_gateway(config(loki, headers={"X-Scope-OrgID": "plant-7"}))
        send(gateway, request(["mine"]))
        gateway.wait_drained()
        assert [e.line for e in loki.entries(tenant="plant-7")] == ["mine"]


def test_a_whole_push_url_is_taken_too(start_gateway):
    with Loki() as loki:
        gateway = start_gateway(config(loki, endpoint=loki.url + "/loki/api/v1/push"))
        send(gateway, request(["here"]))
        gateway.wait_drained()
        assert loki.lines() == ["here"]


def test_other_signals_find_no_way_to_loki(start_gateway):
    """Without routes it gets the logs, and what nobody takes stays unrouted."""
    with Loki() as loki:
        gateway = start_gateway(config(loki))
        assert otlp.post(gateway, "traces", otlp.request("traces", otlp.new_ids(3))).status_code == 200
        send(gateway, request(["a log"]))
        gateway.wait_until(lambda: gateway.sqlite("SELECT count(*) FROM batches WHERE signal = 'logs'") == [(0,)],
                           "the log is delivered")
        assert loki.lines() == ["a log"]
        assert gateway.sqlite("SELECT sum(records) FROM batches WHERE signal = 'traces'") == [(3,)]


def test_lokis_own_otlp_endpoint_is_a_destination_of_kind_otlp_http(start_gateway):
    with Loki(multi_tenant=True) as loki:
        gateway = start_gateway({"destinations": {"logs": {
            "kind": "otlp_http", "endpoint": loki.url + "/otlp", "headers": {"X-Scope-OrgID": "plant-7"}}}})
        send(gateway, request(["one", "two"], resource=[("host.name", "h")]))
        gateway.wait_drained()
        assert [(e.labels, e.line, e.meta["host_name"]) for e in loki.entries(tenant="plant-7")] == [
            ('{service_name="shop"}', "one", "h"), ('{service_name="shop"}', "two", "h")]
        gateway.assert_balanced()


def test_a_refused_record_dies_alone_and_the_rest_arrives(start_gateway):
    """Too old for Loki, among others that are not: Loki stored those, and takes them for what it has."""
    def old(record):
        record.time_unix_nano = time.time_ns() - 8 * 86400 * 10**9
        record.body.string_value = "old"

    with Loki() as loki:
        gateway = start_gateway(config(loki), expect=[r"event=forward\."])
        lines = [f"good {i}" for i in range(50)]
        send(gateway, request(lines[:20] + [old] + lines[20:]))
        gateway.wait_drained()
        assert sorted(loki.lines()) == sorted(lines)
        [(reason, records)] = gateway.sqlite("SELECT d.last_error, b.records FROM deliveries d JOIN batches b "
                                             "ON b.id = d.batch_id WHERE d.state = 'dead'")
        assert "has timestamp too old" in reason and reason.startswith("HTTP 400: ") and records == 1
        gateway.assert_balanced()
