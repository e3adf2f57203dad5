"""After an outage a site does not fall upon its backend: what it sends grows with time, whatever waits."""
import threading

from tests.support import otlp
from tests.support.bad_link import BadLink
from tests.support.sink import Sink

RAMP_S = 2.0
FLOOR = 64 * 1024        # bytes a second at the start, where the uplink has no rate (docs/uplink.md)
DOUBLINGS = 10
SHIFT = (0.5, 1.5)       # chance shortens the ramp and raises its floor by that much at most


def most_bytes(seconds):
    """What may have been sent so long after the return at most: with the highest floor and the shortest ramp."""
    step = RAMP_S * SHIFT[0] / DOUBLINGS
    total, rate = 0.0, FLOOR * SHIFT[1]
    while seconds > 0:
        total += rate * min(step, seconds)
        rate, seconds = rate * 2, seconds - step
    return total


def test_after_an_outage_a_backlog_goes_out_slowly_at_first(start_gateway):
    """Every comparison is of bytes with the earliest time at which they may be there: a slow machine is only later."""
    with Sink() as sink, BadLink(sink.port) as link:
        gateway = start_gateway({
            "uplinks": {"default": {"slow_start": f"{RAMP_S:.0f}s"}},
            "destinations": {"central": {
                "kind": "otlp_http", "endpoint": link.url, "compression": "none", "max_export_size": "64KiB",
                "max_in_flight": 4,
                "retry_on_failure": {"initial_interval": "50ms", "max_interval": "200ms", "probe_interval": "100ms"}}}},
            expect=[r"event=forward\.down"])
        ids = otlp.new_ids(6010)
        assert otlp.post(gateway, "traces", otlp.request("traces", ids[:10])).status_code == 200
        gateway.wait_drained()
        link.down()
        assert otlp.post(gateway, "traces", otlp.request("traces", ids[10:20])).status_code == 200
        gateway.wait_event("forward.down")
        for i in range(20, len(ids), 500):
            assert otlp.post(gateway, "traces", otlp.request("traces", ids[i:i + 500])).status_code == 200
        threading.Event().wait(RAMP_S * 1.1)  # an outage that is worth a ramp
        before = len(sink.received)
        link.ok()
        gateway.wait_drained()
        sent = sink.received[before:]
        assert set(sink.ids()) == set(ids)
        # The first finds out that the link is back. What follows is paced from its answer on, each by those before it.
        first, rest = sent[0], sent[1:]
        assert sum(r.body_bytes for r in rest) > 8 * FLOOR, "no backlog to speak of"
        paced = [(i, r.at - first.at) for i, r in enumerate(rest) if r.at - first.at < RAMP_S * SHIFT[0]]
        for i, seconds in paced:
            assert sum(r.body_bytes for r in rest[:i]) <= most_bytes(seconds), f"export {i} after {seconds} s"
        gateway.assert_balanced()
