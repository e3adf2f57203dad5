"""Kind prometheus against a receiver that takes nothing that the specifications of remote write forbid: every kind
of metric, both versions and the way from one to the other, and answers that are no plain yes."""
import math
import time

import pytest

from tests.support.otlp_metrics import DELTA, Metrics, send
from tests.support.prometheus_standin import Receiver, is_stale

FAST = {"initial_interval": "20ms", "max_interval": "200ms", "probe_interval": "100ms"}
T0 = int(time.time()) * 1000
MINUTE = 60_000


def config(receiver, **more):
    options = {"prometheus": more} if more else {}
    return {"destinations": {"metrics": {"kind": "prometheus", "endpoint": receiver.url, "retry_on_failure": FAST,
                                         **options}}}


def every_kind(t=T0):
    """One point of each, and what is awkward about names and labels."""
    m = Metrics(instance="7", resource={"host.name": "plant", "service.namespace": "eu"})
    m.gauge("room.temperature", [(t, 21.5)], unit="Cel", attributes={"room": "a", "Zone": "1", "0day": "x"})
    m.gauge("room.temperature", [(t, 19)], unit="Cel", attributes={"room": "b", "empty": "", "a.b": "1", "a_b": "2"})
    m.sum("http.requests", [(t, 17, t - MINUTE)], unit="{request}", help_text="Requests.",
          exemplars=[(t - 10, 1.0, bytes(range(16)), bytes(range(8)))])
    m.sum("queue.items", [(t, -3, t - MINUTE)], unit="1", monotonic=False)
    m.histogram("latency", [(t, [1, 2, 3], 42.5)], bounds=[0.005, 10.0], unit="s", attributes={"le": "own"},
                exemplars=[(t - 20, 7.0, bytes(range(16)), b"")])
    m.exponential("size", t, scale=3, positive=(-2, [1, 0, 0, 0, 0, 2, 3]), negative=(4, [1]), zero=2, total=9.5,
                  unit="By")
    m.summary("rpc", t, {0.5: 1.25, 0.99: 7.0}, 10, 20.5, unit="ms")
    return m


LABELS = 'instance="7",job="eu/shop"'
EXPECTED = {
    f'room_temperature_celsius{{Zone="1",{LABELS},key_0day="x",room="a"}}': 21.5,
    f'room_temperature_celsius{{a_b="1;2",{LABELS},room="b"}}': 19,
    f"http_requests_total{{{LABELS}}}": 17,
    f"queue_items{{{LABELS}}}": -3,
    f'latency_seconds_bucket{{{LABELS},le="0.005"}}': 1,
    f'latency_seconds_bucket{{{LABELS},le="10"}}': 3,
    f'latency_seconds_bucket{{{LABELS},le="+Inf"}}': 6,
    f"latency_seconds_sum{{{LABELS}}}": 42.5,
    f"latency_seconds_count{{{LABELS}}}": 6,
    f'rpc_milliseconds{{{LABELS},quantile="0.5"}}': 1.25,
    f'rpc_milliseconds{{{LABELS},quantile="0.99"}}': 7,
    f"rpc_milliseconds_sum{{{LABELS}}}": 20.5,
    f"rpc_milliseconds_count{{{LABELS}}}": 10,
    f'target_info{{host_name="plant",{LABELS}}}': 1,
}


def check_every_kind(receiver):
    receiver.wait(lambda r: len(r.names()) == len(EXPECTED) + 1, "every series")
    assert {name: receiver.values(name) for name in EXPECTED} == {k: [(T0, v)] for k, v in EXPECTED.items()}
    [(t, h, _)] = receiver.get(f"size_bytes{{{LABELS}}}").histograms
    assert (t, h.schema, h.count, h.sum, h.zero_count, h.zero_threshold) == (T0, 3, 9, 9.5, 2, 1e-128)
    assert (h.positive, h.negative) == ({-1: 1, 4: 2, 5: 3}, {5: 1})
    trace = "000102030405060708090a0b0c0d0e0f"
    assert receiver.get(f"http_requests_total{{{LABELS}}}").exemplars == [
        (T0 - 10, 1.0, {"trace_id": trace, "span_id": "0001020304050607"})]
    assert receiver.get(f'latency_seconds_bucket{{{LABELS},le="10"}}').exemplars == [(T0 - 20, 7.0, {"trace_id": trace})]


@pytest.mark.smoke
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_every_kind_of_metric_arrives(start_gateway, version):
    with Receiver() as receiver:
        gateway = start_gateway(config(receiver, protocol=version))
        send(gateway, every_kind())
        check_every_kind(receiver)
        assert set(receiver.versions()) == {"0.1.0" if version == "1.0" else "2.0.0"}
        if version == "2.0":
            series = receiver.get(f"http_requests_total{{{LABELS}}}")
            assert series.metadata == ("counter", "Requests.", "")
            assert series.samples[0][2] == T0 - MINUTE
            assert receiver.get(f"latency_seconds_sum{{{LABELS}}}").metadata == ("histogram", "", "seconds")
        gateway.wait_drained()
        gateway.assert_balanced()


@pytest.mark.parametrize("old", ["415", "swallow", "400"])
def test_a_receiver_of_1_gets_1_after_one_try(start_gateway, old):
    with Receiver(old=old) as receiver:
        gateway = start_gateway(config(receiver))
        send(gateway, every_kind())
        check_every_kind(receiver)
        send(gateway, Metrics().gauge("later", [(T0, 1.0)]))
        receiver.wait(lambda r: 'later{job="shop"}' in r.names(), "the second export")
        assert receiver.versions() == ["2.0.0", "0.1.0", "0.1.0"]
        gateway.wait_event("forward.protocol")
        gateway.wait_drained()
        gateway.assert_balanced()
        gateway.restart()
        send(gateway, Metrics().gauge("after", [(T0, 1.0)]))
        receiver.wait(lambda r: 'after{job="shop"}' in r.names(), "the export after the restart")
        assert receiver.versions()[3:] == ["2.0.0", "0.1.0"]


def test_2_alone_keeps_what_a_receiver_swallows(start_gateway):
    with Receiver(old="swallow") as receiver:
        gateway = start_gateway(config(receiver, protocol="2.0"), expect=[r"event=forward\.down"])
        send(gateway, Metrics().gauge("a", [(T0, 1.0)]))
        line = gateway.wait_event("forward.down")
        assert "prometheus.protocol: 1.0" in line["reason"]
        receiver.old = None
        receiver.wait(lambda r: r.names(), "the sample")
        gateway.wait_drained()
        gateway.assert_balanced()


def test_samples_of_a_series_are_in_order_and_once(start_gateway):
    with Receiver() as receiver:
        gateway = start_gateway(config(receiver), expect=[r"event=forward\.partial_success"])
        times = [T0 + i * 1000 for i in (3, 1, 2, 5, 4, 4, 6)]
        message = Metrics().gauge("g", [(t, float(i)) for i, t in enumerate(times)])
        message.gauge("g", [(T0 + 1000, 1.0)])  # a twin: no loss
        send(gateway, message)
        receiver.wait(lambda r: r.names(), "the series")
        assert receiver.values('g{job="shop"}') == [(T0 + s * 1000, v) for s, v in
                                                    [(1, 1.0), (2, 2.0), (3, 0.0), (4, 5.0), (5, 3.0), (6, 6.0)]]
        gateway.wait_drained()
        assert gateway.metrics()['tidegate_destination_left_out_records{destination="metrics",reason="duplicate"}'] == 1
        assert gateway.sqlite("SELECT records FROM totals WHERE outcome = 'rejected'") == [(1,)]
        gateway.assert_balanced()


def test_a_huge_resource_costs_its_points_nothing(start_gateway):
    """Its attributes alone are more than a request may hold: the points go without what is too much of them."""
    with Receiver() as receiver:
        gateway = start_gateway(config(receiver), expect=[r"event=forward\.attributes_left_out"])
        message = Metrics(resource={"os.type": "linux", "process.environment": "x" * (20 << 20)})
        message.gauge("g", [(T0 + i * 1000, float(i)) for i in range(500)])
        send(gateway, message)
        receiver.wait(lambda r: r.names(), "the series")
        gateway.wait_drained()
        assert len(receiver.values('g{job="shop"}')) == 500
        assert 'target_info{job="shop",os_type="linux"}' in receiver.names()
        assert len(receiver.versions()) == 1
        assert gateway.metrics()['tidegate_destination_left_out_attributes{destination="metrics"}'] == 1
        assert gateway.sqlite("SELECT outcome, records FROM totals ORDER BY 1") == [("accepted", 500), ("delivered", 500)]
        gateway.assert_balanced()


def test_what_ends_leaves_a_stale_marker(start_gateway):
    with Receiver() as receiver:
        gateway = start_gateway(config(receiver))
        send(gateway, Metrics().gauge("g", [(T0, 1.0), (T0 + 1000, None)]).gauge("n", [(T0, math.nan)]))
        receiver.wait(lambda r: r.names(), "the series")
        values = receiver.values('g{job="shop"}')
        assert values[0] == (T0, 1.0) and values[1][0] == T0 + 1000 and is_stale(values[1][1])
        [(_, value)] = receiver.values('n{job="shop"}')
        assert math.isnan(value) and not is_stale(value)


def test_what_prometheus_cannot_say_is_left_out_and_counted(start_gateway):
    with Receiver() as receiver:
        gateway = start_gateway(config(receiver), expect=[r"event=forward\.partial_success"])
        m = Metrics().gauge("good", [(T0, 1.0)]).gauge("\u00fc", [(T0, 1.0)])
        m.sum("neither", [(T0, 1)], temporality=0)
        m.exponential("coarse", T0, scale=-5, positive=(0, [1]))
        m.exponential("wrong", T0, scale=0, positive=(0, [1]), count=7)
        m.gauge("wide", [(T0, 1.0)], attributes={f"a{i}": i for i in range(257)})
        point = m._metric("empty", "", "").gauge.data_points.add()
        point.time_unix_nano = T0 * 1_000_000
        send(gateway, m)
        receiver.wait(lambda r: r.names(), "the good one")
        gateway.wait_drained()
        found = {k.split('reason="')[1][:-2]: v for k, v in gateway.metrics().items()
                 if "left_out_records" in k}
        assert found == {"name": 1, "temporality": 1, "scale": 1, "buckets": 1, "labels": 1, "value": 1}
        assert receiver.names() == ['good{job="shop"}']
        # Nothing at all to say is no request.
        before = len(receiver.requests)
        send(gateway, Metrics().sum("neither", [(T0, 1)], temporality=0))
        gateway.wait_drained()
        assert len(receiver.requests) == before
        assert gateway.sqlite("SELECT sum(records) FROM totals WHERE outcome = 'rejected'") == [(7,)]
        gateway.assert_balanced()


def test_deltas_add_up_whatever_becomes_of_an_export(start_gateway):
    with Receiver() as receiver:
        gateway = start_gateway(config(receiver), expect=[r"event=forward\.(down|dead_letter)"])

        def delta(i, value):
            t = T0 + i * MINUTE
            m = Metrics().sum("d", [(t, value, t - MINUTE)], temporality=DELTA)
            m.sum("level", [(t, value, t - MINUTE)], temporality=DELTA, monotonic=False)
            m.histogram("h", [(t, [value, 1], float(value))], bounds=[1.0], temporality=DELTA, start=t - MINUTE)
            m.exponential("e", t, scale=2 - i % 2, positive=(i, [value]), total=1.0, temporality=DELTA,
                          start=t - MINUTE)
            send(gateway, m)

        delta(1, 5)
        receiver.wait(lambda r: len(r.values('d_total{job="shop"}')) == 2, "the first delta")
        receiver.answer(503, times=3)
        delta(2, 7)
        receiver.wait(lambda r: len(r.values('d_total{job="shop"}')) == 3, "the second delta")
        receiver.keep = lambda labels, t: t != T0 + 3 * MINUTE
        delta(3, 100)
        gateway.wait_drained()
        assert gateway.sqlite("SELECT sum(records) FROM dead_letters") == [(4,)]
        delta(4, 1)
        receiver.wait(lambda r: len(r.values('d_total{job="shop"}')) == 4, "the delta after the refused one")
        times = [T0 + 1, T0 + MINUTE, T0 + 2 * MINUTE, T0 + 4 * MINUTE]
        assert receiver.values('d_total{job="shop"}') == list(zip(times, [0, 5, 12, 13]))
        assert receiver.values('level{job="shop"}') == list(zip(times[1:], [5, 12, 13]))
        assert receiver.values('h_bucket{job="shop",le="1"}') == list(zip(times, [0, 5, 12, 13]))
        assert receiver.values('h_count{job="shop"}') == list(zip(times, [0, 6, 14, 16]))
        assert receiver.values('h_sum{job="shop"}') == list(zip(times, [0, 5, 12, 13]))
        histograms = receiver.get('e{job="shop"}').histograms
        assert [(t, h.count, h.schema) for t, h, _ in histograms] == list(zip(times, [0, 5, 12, 13], [1, 1, 1, 1]))
        # Bucket 1 of scale 1, 2 >> 1 and 4 >> 1 of scale 2, each with the 1 that Prometheus counts from.
        assert histograms[-1][1].positive == {2: 5 + 7, 3: 1}
        assert {s for _, _, s in receiver.get('d_total{job="shop"}').samples} == {T0}
        gateway.wait_drained()
        gateway.assert_balanced()


def test_after_a_restart_deltas_begin_at_zero_and_that_is_said(start_gateway):
    with Receiver() as receiver:
        gateway = start_gateway(config(receiver))
        send(gateway, Metrics().sum("d", [(T0, 100, T0 - MINUTE)], temporality=DELTA))
        receiver.wait(lambda r: r.names(), "the first delta")
        gateway.wait_drained()
        gateway.restart()
        send(gateway, Metrics().sum("d", [(T0 + MINUTE, 300, T0)], temporality=DELTA))
        receiver.wait(lambda r: len(r.values('d_total{job="shop"}')) == 4, "the delta after the restart")
        # rate() sees a reset at T0 + 1, and the 300 whole.
        assert receiver.values('d_total{job="shop"}') == [
            (T0 - MINUTE + 1, 0), (T0, 100), (T0 + 1, 0), (T0 + MINUTE, 300)]
        gateway.wait_drained()
        assert gateway.metrics()['tidegate_destination_delta_series_begun{destination="metrics"}'] == 1
        assert gateway.metrics()['tidegate_destination_delta_series{destination="metrics"}'] == 1
        assert gateway.wait_event("forward.delta_sums")["begun"] == "1"


def test_what_2_did_not_write_is_rejected_and_not_sent_again(start_gateway):
    with Receiver(keep=lambda labels, t: labels.get("room") != "b") as receiver:
        gateway = start_gateway(config(receiver), expect=[r"event=forward\.partial_success"])
        send(gateway, Metrics().gauge("t", [(T0, 1.0), (T0 + 1, 2.0)], attributes={"room": "a"})
             .gauge("t", [(T0, 1.0)], attributes={"room": "b"}))
        gateway.wait_drained()
        assert receiver.names() == ['t{job="shop",room="a"}']
        assert len(receiver.requests) == 1
        assert gateway.sqlite("SELECT outcome, records FROM totals WHERE outcome <> 'accepted' ORDER BY 1") == [
            ("delivered", 2), ("rejected", 1)]
        assert "1 of 3 samples were not written: HTTP 400: out of order" in (
            gateway.wait_event("forward.partial_success")["reason"])
        gateway.assert_balanced()


def test_a_backlog_goes_as_1_so_that_what_is_refused_is_kept(start_gateway):
    """Of a 2.0 request Prometheus 3 stores a part and says how many: what it refused of an outage would be gone."""
    old = [T0 - 120 * MINUTE + i * MINUTE for i in range(3)]
    with Receiver(keep=lambda labels, t: t not in old) as receiver:
        gateway = start_gateway(config(receiver), expect=[r"event=forward\.(dead_letter|split)"])
        m = Metrics().gauge("a", [(t, 1.0) for t in old])
        send(gateway, m.gauge("b", [(T0 - 10 * MINUTE, 1.0), (T0, 2.0)]))
        gateway.wait_drained()
        assert receiver.values('b{job="shop"}') == [(T0 - 10 * MINUTE, 1.0), (T0, 2.0)]
        assert gateway.sqlite("SELECT sum(records), max(last_error) FROM dead_letters") == [
            (3, "HTTP 400: out of order sample")]
        send(gateway, Metrics().gauge("c", [(T0, 1.0)]))
        receiver.wait(lambda r: 'c{job="shop"}' in r.names(), "what is fresh")
        assert receiver.versions()[0] == "0.1.0" and receiver.versions()[-1] == "2.0.0"
        gateway.wait_drained()
        gateway.assert_balanced()


def test_a_backlog_goes_as_2_where_1_is_not_taken(start_gateway):
    old = T0 - 120 * MINUTE
    with Receiver(new=True) as receiver:
        gateway = start_gateway(config(receiver))
        for i in range(2):
            send(gateway, Metrics().gauge("a", [(old + i, 1.0)]))
            receiver.wait(lambda r: len(r.values('a{job="shop"}')) == i + 1, "the backlog")
        assert receiver.versions() == ["0.1.0", "2.0.0", "2.0.0"]
        gateway.wait_drained()
        gateway.assert_balanced()


def test_429_and_5xx_are_tried_again_when_they_say(start_gateway):
    with Receiver() as receiver:
        receiver.answer(429, times=1, headers={"Retry-After": "1"})
        gateway = start_gateway(config(receiver), expect=[r"event=forward\.down"])
        start = time.monotonic()
        send(gateway, Metrics().gauge("a", [(T0, 1.0)]))
        receiver.wait(lambda r: r.names(), "the sample")
        assert time.monotonic() - start > 0.9
        receiver.answer(500, times=2)
        send(gateway, Metrics().gauge("a", [(T0 + 1, 2.0)]))
        receiver.wait(lambda r: len(r.values('a{job="shop"}')) == 2, "the second sample")
        assert [status for status, _ in receiver.requests] == [429, 204, 500, 500, 204]
        gateway.wait_drained()
        gateway.assert_balanced()


def test_labels_as_configured(start_gateway):
    with Receiver() as receiver:
        gateway = start_gateway(config(
            receiver, scope_labels=True, resource_to_telemetry_conversion=True, add_metric_suffixes=False,
            external_labels={"site": "plant-7", "room": "none", "zz": "${ZZ:-9}"}))
        send(gateway, Metrics(resource={"host.name": "h"}).sum("a.b", [(T0, 1)], unit="s", attributes={"room": "a"}))
        receiver.wait(lambda r: r.names(), "the series")
        assert receiver.names() == [
            'a_b{host_name="h",job="shop",otel_scope_name="test",otel_scope_version="1.0",room="a",'
            'service_name="shop",site="plant-7",zz="9"}',
            'target_info{host_name="h",job="shop",room="none",site="plant-7",zz="9"}']


def test_target_info_never_goes_back(start_gateway):
    """Two processes under one job, whose clocks differ."""
    with Receiver() as receiver:
        gateway = start_gateway(config(receiver))
        for pid, t in (("1", T0), ("2", T0 - 5000), ("1", T0 + 1000), ("2", T0 + 4000)):
            send(gateway, Metrics(resource={"host": pid}).gauge("g", [(t, 1.0)], attributes={"pid": pid}))
            gateway.wait_drained()
        assert receiver.values('target_info{host="1",job="shop"}') == [(T0, 1), (T0 + 1000, 1)]
        assert receiver.values('target_info{host="2",job="shop"}') == [(T0 + 4000, 1)]
        assert len(receiver.values('g{job="shop",pid="2"}')) == 2
