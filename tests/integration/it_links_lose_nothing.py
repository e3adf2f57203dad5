"""Links that misbehave: nothing is lost, what arrives twice is bounded, counted and reported, there is no storm of
retries, and the first delivery after a return takes less than two seconds with any backlog.

All links misbehave at the same time, each with a gateway of its own; then each is judged by its own test."""
import collections
import concurrent.futures
import dataclasses
import threading
import time

import pytest

from tests.support import otlp
from tests.support.bad_link import BadLink
from tests.support.gateway import Gateway
from tests.support.patience import Stopwatch
from tests.support.sink import Sink

RECORDS = 20          # of a request
MISBEHAVE_S = 2
ATTEMPT = 'tidegate_destination_attempts{destination="central",outcome="%s"}'


def pause(seconds):
    threading.Event().wait(seconds)


@dataclasses.dataclass
class Behaviour:
    """What a link does for some seconds, and what the gateway may make of it."""
    name: str
    begin: object                   # called with the link
    is_lossy: bool = True           # exports fail; else not one may
    attempts_per_s: float = 12      # at most, while it misbehaves
    has_return: bool = False        # it is gone, and comes back
    backlog: int = 0                # records that wait besides, when it does
    options: dict = dataclasses.field(default_factory=dict)


# No link here is so slow, however busy the machine is.
PATIENT = {"timeout": "1h"}

BEHAVIOURS = [
    Behaviour("delay", lambda link: link.delay(0.3), is_lossy=False, options=PATIENT),
    Behaviour("thin", lambda link: link.limit(40 * 1024), is_lossy=False, options=PATIENT),
    Behaviour("trickle", lambda link: link.trickle(64, 0.001), is_lossy=False, options=PATIENT),
    Behaviour("down", lambda link: link.down(), has_return=True),
    Behaviour("down_with_the_defaults", lambda link: link.down(), has_return=True, attempts_per_s=4,
              backlog=30000, options={"timeout": "30s", "retry_on_failure": {}}),
    Behaviour("half_open", lambda link: link.swallow(), has_return=True),
    Behaviour("lost_answers", lambda link: link.cut_answers(6), options=PATIENT),
    Behaviour("cut_requests", lambda link: link.cut_requests(6, 3000), options=PATIENT),
    Behaviour("flap", lambda link: (link.delay(0.04), link.flap(0.15, 0.25)), attempts_per_s=25),
]


@dataclasses.dataclass
class Outcome:
    error: Exception = None
    sent: list = None
    received: list = None           # ids, in the order of arrival, with repeats
    attempts: dict = None           # by outcome, while it misbehaved and after
    attempts_then: float = 0        # while it misbehaved
    connections_then: int = 0
    misbehaved_s: float = 0
    first_after_s: float = None     # from the return to the first delivery
    exports_received: int = 0
    cuts: int = 0
    connections: int = 0
    metrics: dict = None

    def repeats(self):
        return sum(n - 1 for n in collections.Counter(self.received).values())


def attempts_of(gateway):
    metrics = gateway.metrics()
    return {v: metrics.get(ATTEMPT % v, 0) for v in ("delivered", "retry", "refused", "unauthorized", "too_large")}


def send(gateway, outcome, until):
    """Requests of two signals at a steady pace, as clients do that know nothing of the link."""
    i = 0
    while time.monotonic() < until:
        ids = otlp.new_ids(RECORDS)
        signal = ("logs", "traces")[i % 2]
        record_class = ("info", "critical")[i % 7 == 6]
        assert otlp.post(gateway, signal, otlp.request(signal, ids, record_class=record_class)).status_code == 200
        outcome.sent += ids
        i += 1
        pause(0.01)


def live(directory, behaviour):
    """The life of one link."""
    o = Outcome(sent=[])
    options = {"timeout": "700ms", "max_export_size": "64KiB",
               "retry_on_failure": {"initial_interval": "100ms", "max_interval": "800ms", "probe_interval": "300ms"},
               **behaviour.options}
    with Sink() as sink, BadLink(sink.port) as link, Gateway(
            directory, {"destinations": {"central": {"kind": "otlp_http", "endpoint": link.url, **options}}},
            expect=[r"event=forward\.down"]) as gateway:
        send(gateway, o, time.monotonic() + 0.3)
        before = attempts_of(gateway)
        connections = link.connections
        began = time.monotonic()
        behaviour.begin(link)
        send(gateway, o, began + MISBEHAVE_S)
        after = attempts_of(gateway)
        o.misbehaved_s = time.monotonic() - began
        o.attempts_then = after["retry"] - before["retry"]
        o.connections_then = link.connections - connections
        if behaviour.backlog:
            ids = otlp.new_ids(behaviour.backlog)
            for i in range(0, len(ids), 500):
                assert otlp.post(gateway, "logs", otlp.logs(ids[i:i + 500])).status_code == 200
            o.sent += ids
        if behaviour.has_return:
            assert otlp.queued_ids(gateway), "there is no backlog"
        seen = len(sink.received)
        back = Stopwatch()
        link.ok()
        if behaviour.has_return:
            sink.wait(lambda s: len(s.received) > seen, "the first export after the return")
            o.first_after_s = back.seconds()
        gateway.wait_drained()
        gateway.assert_balanced()
        o.received = sink.ids()
        o.exports_received = len(sink.received)
        o.cuts = link.cuts
        o.connections = link.connections
        o.attempts = attempts_of(gateway)
        o.metrics = gateway.metrics()
    return o


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    directories = {b.name: tmp_path_factory.mktemp(b.name) for b in BEHAVIOURS}

    def run(behaviour):
        try:
            return live(directories[behaviour.name], behaviour)
        except Exception as error:  # told by the test that it belongs to
            return Outcome(error=error)

    with concurrent.futures.ThreadPoolExecutor(len(BEHAVIOURS)) as pool:
        return dict(zip((b.name for b in BEHAVIOURS), pool.map(run, BEHAVIOURS)))


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=lambda b: b.name)
def test_nothing_is_lost_and_repeats_are_bounded(outcomes, behaviour, record_property):
    o = outcomes[behaviour.name]
    if o.error:
        raise o.error
    repeats = o.repeats()
    report = {"records": len(o.sent), "records_twice": repeats, "exports_taken_twice":
              o.exports_received - o.attempts["delivered"], "retries": o.attempts["retry"],
              "connections": o.connections, "cuts": o.cuts, "first_after_return_s": o.first_after_s}
    record_property("link", str(report))
    print(behaviour.name, report)

    assert set(o.received) == set(o.sent), "records are missing, or came from nowhere"
    # The gateway delivered each record once, by its own books.
    sent = sum(v for k, v in o.metrics.items() if k.startswith("otelcol_exporter_sent_"))
    assert sent == len(o.sent)
    # What the backend took more than once is what the gateway sent again without having seen an answer: its
    # retries, and the requests that libcurl repeats by itself where a kept connection was cut under it.
    twice = o.exports_received - o.attempts["delivered"]
    assert 0 <= twice <= o.attempts["retry"] + o.cuts
    assert (repeats > 0) == (twice > 0)
    if behaviour.name == "lost_answers":
        assert repeats > 0 and twice <= 6
    if not behaviour.is_lossy:
        assert repeats == 0 and o.attempts["retry"] == 0
    assert o.attempts["refused"] == o.attempts["unauthorized"] == o.attempts["too_large"] == 0


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=lambda b: b.name)
def test_there_is_no_storm_of_retries(outcomes, behaviour):
    o = outcomes[behaviour.name]
    assert not o.error
    assert o.attempts_then / o.misbehaved_s <= behaviour.attempts_per_s
    # Probes and retries together, each a connection at most.
    assert o.connections_then / o.misbehaved_s <= behaviour.attempts_per_s + 4


@pytest.mark.parametrize("behaviour", [b for b in BEHAVIOURS if b.has_return], ids=lambda b: b.name)
def test_the_first_delivery_after_a_return_takes_less_than_two_seconds(outcomes, behaviour):
    o = outcomes[behaviour.name]
    assert not o.error
    assert o.first_after_s < 2


@pytest.mark.parametrize("act", ["hang", "drip"])
def test_a_link_on_which_nothing_moves_is_noticed(start_gateway, act):
    """Connected, and silent; or one byte of an answer now and then, for ever."""
    with Sink() as sink, BadLink(sink.port) as link:
        gateway = start_gateway(
            {"destinations": {"central": {
                "kind": "otlp_http", "endpoint": link.url, "timeout": "100ms",
                "retry_on_failure": {"initial_interval": "10ms", "max_interval": "100ms"}}},
             "shutdown_timeout": "1s"},
            expect=[r"event=forward\.down", r"event=forward\.partial_success"])
        if act == "hang":
            link.swallow()
        else:
            # A body that is longer than its headers, and an answer that counts as a success only when it is whole.
            response = otlp.RESPONSE["logs"]()
            response.partial_success.error_message = "x" * 1000
            sink.answer(200, body=response.SerializeToString())
            link.drip_answers(0.06, 300)
        ids = otlp.new_ids(5)
        watch = Stopwatch()
        assert otlp.post(gateway, "logs", otlp.logs(ids)).status_code == 200
        down = gateway.wait_event("forward.down")
        # Silence: after the timeout. Dripping: after 20 times as long, in which it could have got through.
        assert watch.seconds() < (3 if act == "hang" else 8)
        assert "moved" in down["reason"] or "timed out" in down["reason"].lower()

        def central():
            status = gateway.admin_get("/api/v1/status").json()["destinations"]
            return next(d for d in status if d["name"] == "central")

        gateway.wait_until(lambda: central()["state"] == "backing_off", "the status says so")
        assert central()["reason"] and central()["next_attempt_at"] and central()["state_since"]
        sink.ok()
        link.ok()
        gateway.wait_drained()
        assert set(sink.ids()) == set(ids)
