"""Kind prometheus against the real Prometheus: what was sent as OTLP is there by PromQL, value for value, also after a
two-hour outage with kills in the middle.

The outage is made with a fake clock: the gateway runs with its wall clock two hours, then one hour behind
(libfaketime; the monotonic clock stays, so that its waits are real), is killed in between, and only then Prometheus
comes up. The data carries the times of that clock of its own."""
import math
import pathlib
import time

import pytest

from tests.support.gateway import Gateway
from tests.support.otlp_metrics import DELTA, Metrics, send
from tests.support.prometheus_server import BINARY, PrometheusServer

pytestmark = pytest.mark.skipif(not BINARY, reason="waits for Prometheus (deploy/install-deps.sh --test)")

FAST = {"initial_interval": "20ms", "max_interval": "200ms", "probe_interval": "100ms"}
MINUTE, HOUR = 60_000, 3_600_000
FAKETIME = next(iter(pathlib.Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)
ALL = '{__name__=~".+"}'


def now_ms():
    return int(time.time() * 1000)


def config(server, **more):
    return {"destinations": {"metrics": {"kind": "prometheus", "endpoint": server.url, "retry_on_failure": FAST,
                                         **more}}}


def set_clock(gateway, hours_behind):
    """From the next start on."""
    for name in ("LD_PRELOAD", "FAKETIME", "FAKETIME_DONT_FAKE_MONOTONIC"):
        gateway._env.pop(name, None)
    if hours_behind:
        gateway._env.update({"LD_PRELOAD": str(FAKETIME), "FAKETIME": f"-{hours_behind}h",
                             "FAKETIME_DONT_FAKE_MONOTONIC": "1"})


def point(t, i, start):
    """One export of every kind of metric; the i-th of its series."""
    m = Metrics(service="shop", instance="7", resource={"service.namespace": "eu", "host.name": "plant"})
    m.gauge("room.temperature", [(t, 20 + i / 8)], unit="Cel", attributes={"room": "a", "Zone": 1})
    m.gauge("load", [(t, 0.1 + i)], unit="1")
    m.sum("http.requests", [(t, 10 * i, start)], unit="{request}")
    m.sum("queue.items", [(t, 5 - i)], monotonic=False)
    m.sum("bytes", [(t, 100 + i, t - MINUTE)], unit="By", temporality=DELTA)
    m.histogram("latency", [(t, [i, 2 * i, 1], 1.5 * i)], bounds=[0.25, 2.0], unit="s", start=start)
    m.summary("rpc", t, {0.5: i / 4, 0.99: float(i)}, i, 2.0 * i, unit="ms")
    return m


L = 'instance="7",job="eu/shop"'


def expected(times):
    """The samples of point() at these times, by series."""
    values = {
        f'room_temperature_celsius{{Zone="1",{L},room="a"}}': lambda i: 20 + i / 8,
        f"load_ratio{{{L}}}": lambda i: 0.1 + i,
        f"http_requests_total{{{L}}}": lambda i: 10.0 * i,
        f"queue_items{{{L}}}": lambda i: 5.0 - i,
        f"bytes_total{{{L}}}": lambda i: float(sum(100 + k for k in range(i + 1))),
        f'latency_seconds_bucket{{{L},le="0.25"}}': lambda i: float(i),
        f'latency_seconds_bucket{{{L},le="2"}}': lambda i: 3.0 * i,
        f'latency_seconds_bucket{{{L},le="+Inf"}}': lambda i: 3.0 * i + 1,
        f"latency_seconds_sum{{{L}}}": lambda i: 1.5 * i,
        f"latency_seconds_count{{{L}}}": lambda i: 3.0 * i + 1,
        f'rpc_milliseconds{{{L},quantile="0.5"}}': lambda i: i / 4,
        f'rpc_milliseconds{{{L},quantile="0.99"}}': lambda i: float(i),
        f"rpc_milliseconds_sum{{{L}}}": lambda i: 2.0 * i,
        f"rpc_milliseconds_count{{{L}}}": lambda i: float(i),
        f'target_info{{host_name="plant",{L}}}': lambda i: 1.0,
    }
    out = {name: [(t, f(i)) for i, t in enumerate(times)] for name, f in values.items()}
    # The delta begins at zero, a millisecond after its start.
    out[f"bytes_total{{{L}}}"].insert(0, (times[0] - MINUTE + 1, 0.0))
    return out


def test_every_kind_of_metric_comes_back(tmp_path, start_gateway):
    t = now_ms() - 2 * MINUTE
    trace, span = bytes(range(16)), bytes(range(8))
    with PrometheusServer(tmp_path / "server") as server:
        gateway = start_gateway(config(server))
        for i in range(2):
            m = point(t + i * MINUTE, i, t - MINUTE)
            m.exponential("size", t + i * MINUTE, scale=0, positive=(1, [1 + i, 0, 0, 0, 0, 2]), negative=(0, [3]),
                          zero=1, total=30.0, unit="By")
            m.exponential("fine", t + i * MINUTE, scale=10, positive=(0, [1, 1, 1, 1, 1, 1, 1, 1]), total=8.5)
            m.exponential("delta", t + i * MINUTE, scale=1, positive=(2 * i, [4]), total=2.0, temporality=DELTA,
                          start=t + (i - 1) * MINUTE)
            m.sum("traced", [(t + i * MINUTE, i)], exemplars=[(t + i * MINUTE - 5, 0.5, trace, span)])
            m.gauge("gone", [(t + i * MINUTE, None if i else 1.0)])
            m.gauge("odd", [(t + i * MINUTE, math.inf if i else math.nan)])
            send(gateway, m)
        gateway.wait_drained()
        found = server.samples(ALL, t + 2 * MINUTE)
        want = expected([t, t + MINUTE])
        assert {name: found.get(name) for name in want} == want
        assert found[f"odd{{{L}}}"] == [(t, "NaN"), (t + MINUTE, math.inf)]
        # A stale marker ends the series at once; without it PromQL looks back five minutes.
        assert found[f"gone{{{L}}}"] == [(t, 1.0)]
        assert len(server.query("gone", t + MINUTE - 1)) == 1
        assert server.query("gone", t + MINUTE) == []
        check_histograms(server, t)
        assert server.value("increase(bytes_total[3m])", t + MINUTE) > 200
        assert server.exemplars("traced_total", t - MINUTE, t + MINUTE) == [
            (f"traced_total{{{L}}}", t + i * MINUTE - 5, 0.5,
             {"trace_id": trace.hex(), "span_id": span.hex()}) for i in range(2)]
        # A join as dashboards make it.
        assert server.value("load_ratio * on (job, instance) group_left (host_name) target_info", t + MINUTE) == 1.1
        gateway.assert_balanced()


def buckets(histogram):
    """[(low, high, count)]"""
    return [(float(low), float(high), float(n)) for _, low, high, n in histogram["buckets"]]


def check_histograms(server, t):
    found = server.histograms('{__name__=~"size.*|fine|delta"}', t + 2 * MINUTE)
    sizes = found[f"size_bytes{{{L}}}"]
    assert [(at, h["count"], h["sum"]) for at, h in sizes] == [(t, "7", "30"), (t + MINUTE, "8", "30")]
    # OTLP: bucket 1 of base 2 is (2, 4], bucket 6 is (64, 128]; bucket 0 below zero is [-2, -1).
    assert buckets(sizes[1][1]) == [(-2, -1, 3), (-1e-128, 1e-128, 1), (2, 4, 2), (64, 128, 2)]
    [(_, fine), _] = found[f"fine{{{L}}}"]
    base = 2 ** (1 / 256)
    assert [n for _, _, n in buckets(fine)] == [4, 4]
    assert math.isclose(buckets(fine)[1][1], base ** 2, rel_tol=1e-9)
    deltas = found[f"delta{{{L}}}"]
    assert [(at, h["count"], h["sum"]) for at, h in deltas] == [
        (t - MINUTE + 1, "0", "0"), (t, "4", "2"), (t + MINUTE, "8", "4")]
    root = math.sqrt(2)
    assert [(round(low, 6), round(high, 6), n) for low, high, n in buckets(deltas[2][1])] == [
        (1.0, round(root, 6), 4), (2.0, round(2 * root, 6), 4)]


@pytest.mark.skipif(not FAKETIME, reason="waits for libfaketime (deploy/install-deps.sh --test)")
@pytest.mark.parametrize("window", [None, "3h"])
def test_a_two_hour_outage_comes_back_in_order(tmp_path, window):
    end = now_ms()
    times = [end - 2 * HOUR + i * 4 * MINUTE for i in range(30)]
    server = PrometheusServer(tmp_path / "server", window)
    gateway = Gateway(tmp_path / "gateway", config(server), expect=[r"event=forward\.down"])
    for hours_behind, part in ((2, times[:15]), (1, times[15:])):
        set_clock(gateway, hours_behind)
        gateway.start()
        for t in part:
            send(gateway, point(t, times.index(t), times[0] - MINUTE))
        # A point without a time of its own gets that of its arrival. To the gateway this clock is one that was wrong,
        # as the monotonic one did not go with it: what it sets itself it corrects.
        send(gateway, Metrics(service="clockless").gauge("arrived", [(0, float(hours_behind))]))
        gateway.sigkill()
    set_clock(gateway, 0)
    with gateway, server:
        gateway.wait_drained()
        found = server.samples(ALL, now_ms())
        want = expected(times)
        want[f'target_info{{host_name="plant",{L}}}'] = found[f'target_info{{host_name="plant",{L}}}']
        arrived = found.pop('arrived{job="clockless"}')
        assert found == want
        assert {t for t, _ in want[f'target_info{{host_name="plant",{L}}}']} >= {times[0], times[-1]}
        assert [v for _, v in arrived] == [2.0, 1.0]
        assert all(end <= t <= now_ms() for t, _ in arrived)
        # What dashboards ask for: the rate over the whole outage.
        assert math.isclose(server.value(f"increase(http_requests_total[{4 * 29}m])", times[-1]), 290, rel_tol=0.05)
        gateway.assert_balanced()
        assert gateway.sqlite("SELECT count(*) FROM deliveries") == [(0,)]


@pytest.mark.parametrize("window", [None, "3h"])
def test_what_is_behind_others_needs_the_window(tmp_path, start_gateway, window):
    """Somebody else's samples are newer: Prometheus takes what is up to an hour old for series of their own, and no
    more, unless it has an out-of-order window. What it refuses is taken apart: only what is at fault dies."""
    end = now_ms()
    old = [end - 2 * HOUR + i * MINUTE for i in range(3)]
    new = [end - 10 * MINUTE + i * MINUTE for i in range(3)]
    with PrometheusServer(tmp_path / "server", window) as server:
        server.push({"__name__": "up", "job": "other"}, [(end - 1000, 1.0)])
        expect = [] if window else [r"event=forward\.(dead_letter|split)"]
        gateway = start_gateway(config(server), expect=expect)
        m = Metrics()
        for i in range(3):
            m.gauge("old", [(old[i], float(i))]).gauge("new", [(new[i], float(i))])
        send(gateway, m)
        gateway.wait_drained()
        found = server.samples('{job="shop"}', end)
        assert found.pop('new{job="shop"}') == [(new[i], float(i)) for i in range(3)]
        assert found == ({'old{job="shop"}': [(old[i], float(i)) for i in range(3)]} if window else {})
        gateway.assert_balanced()
        dead = gateway.sqlite("SELECT sum(records), max(last_status), max(last_error) FROM dead_letters")
        if window:
            assert dead == [(None, None, None)]
        else:
            [(records, status, reason)] = dead
            assert (records, status) == (3, 400) and "out of bounds" in reason
            assert gateway.sqlite("SELECT records FROM totals WHERE outcome = 'delivered'") == [(3,)]


def test_without_native_histograms_only_they_are_refused(tmp_path, start_gateway):
    """Prometheus before 3.9, as it ships, answers 500 to each: nothing may wait behind them."""
    t = now_ms() - MINUTE
    with PrometheusServer(tmp_path / "server", features="exemplar-storage") as server:
        gateway = start_gateway(config(server), expect=[r"event=forward\.(dead_letter|split)"])
        send(gateway, Metrics().gauge("a", [(t, 1.0)]).exponential("size", t, scale=0, positive=(1, [1, 2]))
             .gauge("b", [(t, 2.0)]))
        gateway.wait_drained()
        assert server.samples('{job="shop"}', now_ms()) == {'a{job="shop"}': [(t, 1.0)], 'b{job="shop"}': [(t, 2.0)]}
        assert gateway.sqlite("SELECT records, last_status, last_error FROM dead_letters") == [
            (1, 500, "HTTP 500: native histograms are disabled")]
        gateway.assert_balanced()
