"""A backend that refuses some records for good: those become dead letters, everything else is delivered."""
import pytest

from tests.support import otlp
from tests.support.sink import Sink

FAST = {"initial_interval": "20ms", "max_interval": "100ms"}
DEAD = r"event=forward\.dead_letter"


def config(sink, **more):
    return {"destinations": {"central": {"kind": "otlp_http", "endpoint": sink.url, "retry_on_failure": FAST, **more}}}


def send(gateway, signal, ids, per_request=100, record_class="info"):
    for i in range(0, len(ids), per_request):
        request = otlp.request(signal, ids[i:i + per_request], record_class=record_class)
        assert otlp.post(gateway, signal, request).status_code == 200


def dead_ids(gateway, signal):
    rows = gateway.sqlite(
        "SELECT b.encoding, p.body FROM deliveries q JOIN batches b ON b.id = q.batch_id "
        "JOIN payloads p ON p.batch_id = q.batch_id WHERE q.state = 'dead' ORDER BY b.id")
    return [i for encoding, body in rows for i in otlp.record_ids(otlp.parse(signal, otlp.decompress(encoding, body)))]


def total(gateway, outcome):
    return gateway.sqlite("SELECT coalesce(sum(records), 0) FROM totals WHERE outcome = ?", outcome)[0][0]


@pytest.mark.smoke
@pytest.mark.parametrize("signal", otlp.SIGNALS)
def test_one_poisoned_record_among_two_thousand_is_the_only_dead_letter(start_gateway, signal):
    with Sink() as sink:
        gateway = start_gateway(config(sink), expect=[DEAD, r"event=forward\.down"])
        ids = otlp.new_ids(2000)
        sink.answer(503)  # so that they gather, and are merged
        send(gateway, signal, ids)
        sink.refuse([ids[1234]], b"label name is not valid")
        sink.ok()
        gateway.wait_drained()
        assert sorted(sink.ids(signal)) == sorted(i for i in ids if i != ids[1234])
        assert dead_ids(gateway, signal) == [ids[1234]]
        status, error, records, service = gateway.sqlite(
            "SELECT last_status, last_error, records, service FROM dead_letters")[0]
        assert (status, records, service) == (400, 1, "shop")
        assert error == "HTTP 400: label name is not valid"
        assert total(gateway, "delivered") == 1999 and total(gateway, "accepted") == 2000
        # The whole, then about 1.5 requests for each halving.
        assert len([r for r in sink.refused if r.status == 400]) + len(sink.received) < 50
        gateway.assert_balanced()


def test_several_poisoned_records_die_alone_and_in_order(start_gateway):
    with Sink() as sink:
        gateway = start_gateway(config(sink), expect=[DEAD, r"event=forward\.down"])
        ids = otlp.new_ids(400)
        bad = [ids[0], ids[57], ids[58], ids[399]]
        sink.answer(503)
        send(gateway, "logs", ids)
        sink.refuse(bad)
        sink.ok()
        gateway.wait_drained()
        assert sink.ids("logs") == [i for i in ids if i not in bad]
        assert dead_ids(gateway, "logs") == bad
        gateway.assert_balanced()


def test_a_backend_that_stumbles_while_a_batch_is_taken_apart_loses_nothing(start_gateway):
    with Sink() as sink:
        gateway = start_gateway(config(sink), expect=[DEAD, r"event=forward\.down"])
        ids = otlp.new_ids(300)
        sink.refuse([ids[200]])
        send(gateway, "traces", ids, per_request=300)
        sink.answer(503, times=3)
        gateway.wait_drained()
        assert sorted(sink.ids("traces")) == sorted(i for i in ids if i != ids[200])
        assert dead_ids(gateway, "traces") == [ids[200]]
        gateway.assert_balanced()


def test_a_crash_while_a_batch_is_taken_apart_loses_nothing(start_gateway):
    with Sink() as sink:
        gateway = start_gateway(config(sink), expect=[DEAD, r"event=forward\.down"])
        ids = otlp.new_ids(300)
        sink.refuse([ids[10]])
        send(gateway, "logs", ids, per_request=300)
        sink.wait(lambda s: len(s.refused) > 2, "the splitting to begin")
        gateway.sigkill()
        gateway.restart()
        gateway.wait_drained()
        assert set(sink.ids("logs")) == set(ids) - {ids[10]}
        assert dead_ids(gateway, "logs") == [ids[10]]
        assert total(gateway, "delivered") == 299
        gateway.assert_balanced()


@pytest.mark.parametrize("status", [404, 405])
def test_a_wrong_path_keeps_the_backlog(start_gateway, status):
    """Before anything was taken, a 404 speaks of the address; afterwards of what was sent."""
    with Sink() as sink:
        gateway = start_gateway(config(sink, traces_endpoint=f"{sink.url}/v1/traces"),
                                expect=[DEAD, r"event=forward\.down"])
        sink.answer(status)
        ids = otlp.new_ids(300)
        send(gateway, "logs", ids)
        reason = gateway.wait_event("forward.down")["reason"]
        assert f"HTTP {status}" in reason and "look at endpoint" in reason and "logs" in reason
        gateway.wait_until(lambda: gateway.sqlite("SELECT count(*) FROM destinations WHERE state = 'backing_off' "
                                                  "AND reason LIKE '%look at endpoint%'") == [(1,)], "the status says so")
        assert sorted(otlp.queued_ids(gateway)) == ids and total(gateway, "accepted") == 300
        assert dead_ids(gateway, "logs") == []
        sink.ok()
        gateway.wait_drained()
        assert set(sink.ids("logs")) == set(ids)
        # A path of its own is another address, at which nothing was taken yet.
        sink.answer(status, times=2)
        traces = otlp.new_ids(10)
        send(gateway, "traces", traces)
        gateway.wait_drained()
        assert set(sink.ids("traces")) == set(traces) and dead_ids(gateway, "traces") == []
        # At the other one it is a refusal by now: metrics share it with logs.
        sink.answer(status)
        refused = otlp.new_ids(10)
        send(gateway, "metrics", refused)
        gateway.wait_drained()
        assert sorted(dead_ids(gateway, "metrics")) == refused
        gateway.assert_balanced()


def test_a_backend_that_refuses_everything_is_not_stormed(start_gateway):
    with Sink() as sink:
        gateway = start_gateway(config(sink, max_export_size="64KiB"),
                                expect=[DEAD, r"event=forward\.down", r"event=forward\.refuses_everything"])
        batches = 30
        sink.answer(422)
        for _ in range(batches):
            send(gateway, "logs", otlp.new_ids(100))
            gateway.wait_drained()
        assert gateway.events("forward.refuses_everything")
        assert len(sink.refused) < 2 * 25 + 3 * batches
        assert gateway.sqlite("SELECT sum(records) FROM dead_letters") == [(batches * 100,)]
        # What it takes again is taken apart again.
        sink.ok()
        ids = otlp.new_ids(100)
        send(gateway, "logs", ids[:50])
        gateway.wait_drained()
        sink.refuse([ids[70]])
        send(gateway, "logs", ids[50:])
        gateway.wait_drained()
        assert set(sink.ids("logs")) == set(ids) - {ids[70]}
        gateway.assert_balanced()
